"""Detectors side by side: the numbers on footage whose objects are known."""

import json

import cv2
import numpy as np
import pandas as pd
import pytest

from data_prep.tracks.compare import compare, share_found
from ddllib.data import TRACK_COLUMNS
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there


@pytest.fixture
def footage(tmp_path):
    """Two training clips of 20 frames: one bright square that crosses a noisy background."""
    rng = np.random.default_rng(0)
    texture = rng.integers(80, 120, (60, 90, 3))
    for name in ("01", "02"):
        folder = tmp_path / "street" / "training" / "frames" / name
        folder.mkdir(parents=True)
        for t in range(20):
            frame = texture + rng.normal(0, 2, texture.shape)
            frame[20:40, 3 * t : 3 * t + 12] = 220
            cv2.imwrite(str(folder / f"{t:03d}.png"), frame.clip(0, 255).astype(np.uint8))
    return tmp_path / "street"


def table(boxes):
    """Tracks of one clip from (frame, x0, y0, x1, y1), the rest of no interest."""
    rows = [("training", "01", frame, 0, *box, 1.0, -1) for frame, *box in boxes]
    return pd.DataFrame(rows, columns=TRACK_COLUMNS)


def test_numbers_of_known_footage(footage, tmp_path):
    weights = {"none": None, "motion": None, "yolo": tmp_path / "no.pt"}
    result = json.loads(json.dumps(compare(footage, weights, progress=False)))
    assert (result["source"], result["clips"], result["frames"]) == ("street", 2, 40)
    assert result["reference"] == "motion" and result["cpus"] >= 1 and result["processor"]
    assert result["versions"]["boxmot"] and result["tracker"]["name"] == "ocsort"
    detectors = result["detectors"]
    assert list(detectors) == ["none", "motion", "yolo"]
    assert (
        set(detectors["yolo"]) == {"not_run"} and "no.pt: no such" in detectors["yolo"]["not_run"]
    )
    motion, random = detectors["motion"], detectors["none"]
    assert motion["settings"]["method"] == "MOG2" and random["settings"]["seed"] == 0
    assert (motion["objects_per_frame"], motion["tracks_per_clip"]) == (1, 1)
    assert (motion["coverage"], motion["agreement"]) == (1, 1)
    assert (random["objects_per_frame"], random["tracks_per_clip"]) == (5, 5)
    assert random["agreement"] < 0.5
    for one in (motion, random):
        assert 0 < one["detection_seconds_per_frame"] < 1
        assert 0 < one["tracking_seconds_per_frame"] < 1
    # The motion detector reads the clip twice and works between, the other only reads it.
    assert motion["detection_seconds_per_frame"] > random["detection_seconds_per_frame"]


def test_a_missing_package_is_a_reason_too(footage, monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "ultralytics", None)
    (tmp_path / "some.pt").write_bytes(b"weights")
    result = compare(footage, {"yolo": tmp_path / "some.pt"}, progress=False)
    assert "ultralytics is not installed" in result["detectors"]["yolo"]["not_run"]
    assert result["reference"] is None


def test_share_of_boxes_found():
    there = table([(0, 0, 0, 0.2, 0.2), (0, 0.5, 0.5, 0.7, 0.7), (1, 0, 0, 0.2, 0.2)])
    assert share_found(there, there) == 1
    assert share_found(there, there[:2]) == pytest.approx(2 / 3), "frame by frame"
    assert share_found(there[:1], table([(0, 0, 0, 0.2, 0.45)])) == 1  # IoU 0.44
    assert share_found(there[:1], table([(0, 0, 0, 0.2, 0.55)])) == 0  # IoU 0.36
    assert share_found(there[:1], table([(0, 0.3, 0.3, 0.5, 0.5)])) == 0, "apart on both axes"
    other_clip = there.assign(clip="02")
    assert share_found(there, other_clip) == 0 and share_found(there, table([])) == 0
    assert share_found(table([]), there) is None


def test_mistakes_are_not_taken_for_what_cannot_run(footage, tmp_path):
    with pytest.raises(DDLError, match="unknown name eyes"):
        compare(footage, {"motion": None, "eyes": None})
    image = footage / "training" / "frames" / "02" / "010.png"
    image.write_bytes(image.read_bytes()[:99])
    with pytest.raises(DDLError, match="010.png: truncated"):
        compare(footage, {"motion": None}, progress=False)
