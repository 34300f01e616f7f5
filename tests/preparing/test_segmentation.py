"""Outlines by a segmentation network: looked for around each box, drawn only inside it."""

import shutil

import numpy as np
import pandas as pd
import pytest

from data_prep import companions, prepare
from data_prep.companions import segmentation
from data_prep.companions.segmentation import SIDE, Segmenter, surroundings
from data_prep.preparing.prepared import original_footage
from ddllib import DDLError
from ddllib.data import BOX, load_prepared

BOX_IN_FRAME = np.array([0.4, 0.3, 0.5, 0.7])


class BrightObjects(Segmenter):
    """Finds what is brighter than half, as one object, instead of by a network."""

    def __init__(self):
        pass

    def objects(self, crop):
        bright = (crop[..., 0] > 127).astype(np.float32)
        rows, columns = np.nonzero(bright)
        if not len(rows):
            return np.zeros((0, 4)), np.zeros((0, SIDE, SIDE), np.float32)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return np.array([box], float), bright[None]


def frame_with(x0, y0, x1, y1, shape=(240, 360)):
    frame = np.zeros((*shape, 3), np.uint8)
    frame[y0:y1, x0:x1] = 255
    return frame


def outline(frame, fallback, box=BOX_IN_FRAME):
    tracks = pd.DataFrame([[0, *box]], columns=["frame", *BOX])
    return next(iter(BrightObjects().outlines([frame], tracks, [fallback])))


def test_the_surroundings_of_a_box_are_a_square_inside_the_frame():
    for box in ([0, 0, 0.1, 0.2], [0.9, 0.8, 1, 1], [0.4, 0.3, 0.5, 0.7], [0, 0, 1, 1]):
        left, top, right, bottom = surroundings(np.array(box), (240, 360))
        assert right - left == bottom - top
        assert 0 <= left < right <= 360 and 0 <= top < bottom <= 240


def test_an_object_in_its_box_is_drawn_where_it_is():
    mask = outline(frame_with(148, 80, 176, 160), np.zeros((120, 120), np.uint8))
    rows, columns = np.nonzero(mask)
    # 360 x 240 pixels became 120 x 120: a third and a half.
    assert abs(columns.min() - 49) <= 1 and abs(columns.max() - 58) <= 1
    assert abs(rows.min() - 40) <= 1 and abs(rows.max() - 79) <= 1


def test_nothing_is_drawn_outside_the_box():
    mask = outline(frame_with(120, 60, 200, 180), np.zeros((120, 120), np.uint8))
    outside = mask.copy()
    outside[36:84, 48:60] = 0
    assert mask.any() and not outside.any()


@pytest.mark.parametrize("frame", [frame_with(0, 0, 0, 0), frame_with(100, 40, 110, 50)])
def test_a_box_without_an_object_of_its_own_keeps_its_outline(frame):
    fallback = np.zeros((120, 120), np.uint8)
    fallback[50:60, 50:55] = 1
    assert np.array_equal(outline(frame, fallback), fallback)


@pytest.fixture
def walkers(ped2, tmp_path, monkeypatch):
    """Six frames of Ped2, prepared at 64 px, and the folder of their footage."""
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    source = tmp_path / "footage"
    (source / "08").mkdir(parents=True)
    for number in range(60, 66):
        name = f"{number:03d}.jpg"
        shutil.copy(ped2 / "training" / "frames" / "08" / name, source / "08" / name)
    folder = tmp_path / "prepared"
    prepare(source, folder, size=64, detector="yolo", progress=False)
    return source, folder


def test_walkers_of_ped2_have_outlines_narrower_than_their_boxes(walkers):
    source, folder = walkers
    for name in ("silhouettes-boxes", "silhouettes-yolo"):
        companions.make(
            folder, name, progress=False, footage=lambda: original_footage(source, None, None, None)
        )
    data = load_prepared(folder)
    boxes, outlines = (
        data.companion(f"silhouettes-{kind}")["08"].astype(int) for kind in ("boxes", "yolo")
    )
    assert (outlines <= boxes).all()
    assert 0.2 < outlines.sum() / boxes.sum() < 0.8


def test_outlines_need_the_footage_and_the_weights(prepared_folder, tmp_path, monkeypatch):
    folder = shutil.copytree(prepared_folder, tmp_path / "prepared")
    with pytest.raises(DDLError, match="silhouettes-yolo: needs the footage"):
        companions.make(folder, "silhouettes-yolo", progress=False)
    monkeypatch.setattr(segmentation, "find_local", lambda name: None)
    segmentation.segmenter.cache_clear()  # other tests may have loaded it
    with pytest.raises(DDLError, match="silhouettes yolo: no weights"):
        segmentation.segmenter()
