"""Detectors and the tracker, each by itself, and the real Ped2 where DDL_DATA names it."""

import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from data_prep import detection, layouts
from data_prep.detection import MotionDetector, YoloDetector, make_detector
from data_prep.frames import mask_to_working_size, read_frames, read_mask, to_working_size
from data_prep.tracking import COLUMNS, ClipTracker, common_track_coverage
from ddllib.errors import DDLError

PED2_LENGTHS = {
    "training": [120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150],
    "testing": [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180],
}


@pytest.fixture
def weights(ped2):
    return ped2.parents[1] / "models" / "yolo11n_int8_openvino_model"


def moving_square(frames=30, step=3):
    """H x W x 3 frames of a square that crosses a still, noisy background, with its boxes."""
    rng = np.random.default_rng(1)
    texture = rng.integers(80, 120, (90, 120, 3))
    clip, boxes = [], []
    for t in range(frames):
        frame = texture + rng.normal(0, 2, texture.shape)
        frame[30:54, step * t : step * t + 14] = 220
        clip.append(frame.clip(0, 255).astype(np.uint8))
        boxes.append((step * t, 30, step * t + 14, 54))
    return clip, np.array(boxes, float)


def rows_of(clip, detector):
    detector.start(iter(clip))
    tracker = ClipTracker()
    return [row for f in clip for row in tracker.push(detector.detect(f), *f.shape[:2])]


def table(clips):
    """Tracks of {clip: {track: frames}}, the boxes of no interest."""
    rows = [
        ("training", clip, frame, track, 0, 0, 1, 1, 1.0, -1)
        for clip, tracks in clips.items()
        for track, frames in tracks.items()
        for frame in frames
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def test_motion_and_ocsort_keep_one_id():
    clip, boxes = moving_square()
    rows = rows_of(clip, MotionDetector())
    assert {row[1] for row in rows} == {0} and {row[7] for row in rows} == {-1}
    assert len(rows) == len(clip), "the first frames are not blind"
    for row in rows:
        assert np.allclose(np.array(row[2:6]) * [120, 90, 120, 90], boxes[row[0]], atol=2)


def test_tracks_are_deterministic_and_restart():
    clip, _ = moving_square(12)
    detector = MotionDetector()
    assert rows_of(clip, detector) == rows_of(clip, detector)


def test_still_scene_has_no_motion():
    clip, _ = moving_square()
    still = [clip[0]] * 10
    assert rows_of(still, MotionDetector()) == []


def test_tracker_takes_frames_without_objects():
    tracker, none = ClipTracker(), np.zeros((0, 6))
    box = np.array([[10, 10, 20, 30, 0.9, 5.0]])
    assert tracker.push(none, 100, 100) == []
    (first,) = tracker.push(box, 100, 100)
    assert tracker.push(none, 100, 100) == []
    (later,) = tracker.push(box + [[2, 0, 2, 0, 0, 0]], 100, 100)
    assert first == (1, 0, 0.1, 0.1, 0.2, 0.3, 0.9, 5)
    assert (later[0], later[1]) == (3, 0)


def test_boxes_end_at_the_frame():
    (row,) = ClipTracker().push(np.array([[-5, 90, 10, 120, 0.9, 0.0]]), 100, 100)
    assert row[2:6] == (0.0, 0.9, 0.1, 1.0)
    outside = np.array([[-9, 10, -2, 20, 0.9, 0.0]])
    assert ClipTracker().push(outside, 100, 100) == []


@pytest.mark.parametrize(
    "tracks, lengths, expected",
    [
        ({"a": {0: range(5)}}, {"a": 5}, 1.0),
        ({"a": {0: range(5)}}, {"a": 5, "b": 5}, 0.5),
        ({"a": {0: [0, 1], 1: [2, 3]}}, {"a": 4}, 0.0),  # objects in every frame, none in common
        ({"a": {0: [0, 1, 2], 1: [1, 2, 3]}}, {"a": 6}, 0.5),
        ({"a": {0: [0, 1]}}, {"a": 2}, 0.0),
        ({}, {"a": 9}, 0.0),
    ],
)
def test_coverage(tracks, lengths, expected):
    assert common_track_coverage(table(tracks), lengths, window=3) == expected


def test_coverage_of_other_windows():
    assert common_track_coverage(table({"a": {0: [0, 1]}}), {"a": 3}, window=2) == 0.5
    assert common_track_coverage(table({"a": {0: [1]}}), {"a": 4}, window=1) == 0.25


def test_resizing_is_bilinear_without_smoothing():
    import torch

    frame = np.random.default_rng(0).integers(0, 256, (48, 61, 3)).astype(np.uint8)
    tensor = torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32))
    expected = torch.nn.functional.interpolate(tensor, (20, 23), mode="bilinear")[0].numpy()
    assert np.abs(to_working_size(frame, (20, 23), 3) - expected).max() <= 1


def test_mask_counts_any_value_and_ignores_opacity(tmp_path):
    path = tmp_path / "mask.png"
    none, opaque = np.zeros((4, 4)), np.full((4, 4), 255)
    cv2.imwrite(str(path), np.dstack([np.eye(4) * 3, none, none, opaque]))
    assert np.array_equal(read_mask(path), np.eye(4, dtype=np.uint8))
    assert np.array_equal(
        mask_to_working_size(np.eye(4, dtype=np.uint8), (8, 8)),
        np.eye(4, dtype=np.uint8).repeat(2, 0).repeat(2, 1),
    )


def test_missing_package_names_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "some.pt").write_bytes(b"weights")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    with pytest.raises(DDLError, match="ultralytics is not installed.*use detector: motion"):
        make_detector("yolo", tmp_path / "some.pt").detect(np.zeros((8, 8, 3), np.uint8))


# Real footage


def test_ped2_labels_equal_its_masks(ped2):
    footage = layouts.find_footage(ped2)
    ranges = layouts.read_ranges(footage.labels, list(footage.clips["testing"]))
    total = np.zeros(2, int)
    for name, clip in footage.clips["testing"].items():
        labels = layouts.frame_labels(footage.labels, name, ranges[name], len(clip.frames))
        masks = [read_mask(path).any() for path in footage.masks[name]]
        assert labels.tolist() == masks, name
        total += int(labels.sum()), len(labels)
    assert total.tolist() == [1648, 2010]


def test_ped2_clips(ped2):
    clips = layouts.find_footage(ped2).clips
    lengths = {split: [len(c.frames) for c in found.values()] for split, found in clips.items()}
    assert lengths == PED2_LENGTHS
    assert list(clips["testing"]) == [f"{k:02d}" for k in range(1, 13)]
    assert next(read_frames(clips["training"]["01"])).shape == (240, 360, 3)


def test_yolo_on_ped2(ped2, weights):
    import torch

    threads = torch.get_num_threads(), cv2.getNumThreads(), np.get_printoptions()
    clip = layouts.find_footage(ped2).clips["training"]["01"]
    detector, tracker = YoloDetector(weights), ClipTracker()
    rows = []
    for _, frame in zip(range(3), read_frames(clip), strict=False):
        boxes = detector.detect(frame)
        assert boxes.shape[1] == 6 and len(boxes) >= 8
        assert (boxes[:, 4] >= 0.25).all() and (boxes[:, 5] == 0).all()
        assert (boxes[:, 2] <= 360).all() and (boxes[:, 3] <= 240).all()
        rows += tracker.push(boxes, *frame.shape[:2])
    tracks = pd.DataFrame(rows).groupby(1).size()
    assert (tracks == 3).sum() >= 6, "most people keep their id"
    assert threads == (torch.get_num_threads(), cv2.getNumThreads(), np.get_printoptions())


def test_broken_weights_are_named(weights, tmp_path):
    (tmp_path / "bad.pt").write_bytes(b"no weights")
    with pytest.raises(DDLError, match="bad.pt: ultralytics cannot load.*use detector: motion"):
        YoloDetector(tmp_path / "bad.pt").detect(np.zeros((32, 32, 3), np.uint8))


def test_same_weights_same_checksum(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.bin").write_bytes(b"1")
    first, second = (detection.weights_checksum(tmp_path / n) for n in ("a", "b"))
    (tmp_path / "b" / "model.bin").write_bytes(b"2")
    assert first == second != detection.weights_checksum(tmp_path / "b")
