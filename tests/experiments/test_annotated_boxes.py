"""Files of boxes made by others: both forms are read, and judged as arithmetic done by hand."""

import numpy as np
import pytest

from ddllib import DDLError
from ddllib.experiments.annotated_boxes import read_boxes, region_and_track_by_boxes
from ddllib.localisation import region_and_track, smooth

LENGTHS, SHAPES = {"01": 10, "02": 10}, {"01": (240, 360), "02": (240, 360)}


def written(folder, files):
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def walk(frames=12, step=2):
    """Maps of noise with a brighter square that walks, and its mask and boxes."""
    mask = np.zeros((frames, 32, 32), np.uint8)
    for t in range(frames):
        mask[t, 8:16, step * t : step * t + 8] = 1
    noise = smooth(np.random.default_rng(0).random((frames, 32, 32)), 3) + 0.15 * smooth(mask, 3)
    boxes = [(t, 1, step * t / 32, 8 / 32, (step * t + 8) / 32, 16 / 32) for t in range(frames)]
    return noise.astype(np.float16), mask, np.array(boxes, float)


def test_both_forms_give_the_same_boxes(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    merl = written(tmp_path / "a", {"Test001_gt.txt": "4 7 90 60 36 24\n3 7 54.0 60 36 24\n\n"})
    aed = written(tmp_path / "b", {"01.txt": "7,3,36,48,72,72\n7,4,72,48,108,72\n"})
    one, other = (read_boxes(folder, LENGTHS, SHAPES) for folder in (merl, aed))
    assert one["01"].tolist() == [[3, 7, 0.1, 0.2, 0.2, 0.3], [4, 7, 0.2, 0.2, 0.3, 0.3]]
    assert np.allclose(one["01"], other["01"]) and len(one["02"]) == len(other["02"]) == 0


def test_frames_may_be_counted_from_one(tmp_path):
    folder = written(tmp_path, {"02.txt": "10 1 90 60 36 24\n"})
    assert read_boxes(folder, LENGTHS, SHAPES, first=1)["02"][0, 0] == 9
    with pytest.raises(DDLError, match="line 1 is of frame 10, the clip has 10 from 0 on"):
        read_boxes(folder, LENGTHS, SHAPES)


@pytest.mark.parametrize(
    "files, words",
    [
        ({}, "no files of boxes"),
        ({"07.txt": "1 1 9 9 4 4"}, "07.txt: of no test clip; expected the name or number"),
        ({"01.txt": "1 1 9 9 4"}, "line 1 is no box .'1 1 9 9 4'.; expected frame track"),
        ({"01.txt": "1 1 9 9 4 4\n1 1 9 nan 4 4"}, "line 2 is no box"),
        ({"01.txt": "1,1,9,9,9,12"}, "line 1 is an empty box"),
        ({"01.txt": "1 1 9 9 4 4", "Test1.txt": "1 1 9 9 4 4"}, "a second file of clip '01'"),
        ({"01.csv": "x0,y0"}, "line 1 is no box"),
    ],
)
def test_what_is_no_file_of_boxes_is_reported(tmp_path, files, words):
    with pytest.raises(DDLError, match=words):
        read_boxes(written(tmp_path, files), LENGTHS, SHAPES)


@pytest.mark.parametrize("levels", [2, 60, 600])
def test_boxes_that_fill_the_masks_give_the_same_figures(levels):
    noise, mask, boxes = walk()
    by_masks = region_and_track({"01": noise}, {"01": mask}, 3, levels=levels)
    by_boxes = region_and_track_by_boxes({"01": noise}, {"01": boxes}, 3, levels=levels)
    assert by_boxes == pytest.approx(by_masks) and by_boxes.levels == levels
    assert by_boxes.regions == 12 and by_boxes.tracks == 1


def test_more_thresholds_find_no_less():
    noise, _, boxes = walk()
    maps, boxes = {"01": noise}, {"01": boxes}
    few, many = (region_and_track_by_boxes(maps, boxes, 3, levels=k) for k in (60, 600))
    assert many.rbdc >= few.rbdc > 0


def test_overlapping_boxes_are_two_regions_of_two_tracks():
    hot = np.zeros((2, 16, 16), np.float16)
    hot[:, 4:8, 4:8] = 1
    boxes = [(t, n, *((4 + n) / 16,) * 2, *((8 + n) / 16,) * 2) for t in (0, 1) for n in (0, 1)]
    figures = region_and_track_by_boxes({"01": hot}, {"01": np.array(boxes)}, 1)
    assert (figures.regions, figures.tracks) == (4, 2)
    assert figures.rbdc == figures.tbdc == 1  # IoU 1 and 9 / 23, both above 0.1
    strict = region_and_track_by_boxes({"01": hot}, {"01": np.array(boxes)}, 1, beta=0.5)
    assert strict.rbdc == strict.tbdc == 0.5


def test_tracks_of_the_same_number_in_two_clips_are_two():
    hot, _, boxes = walk()
    maps = {"01": hot, "02": hot}
    figures = region_and_track_by_boxes(maps, {"01": boxes, "02": boxes}, 3)
    assert (figures.regions, figures.tracks) == (24, 2)


def test_clips_without_any_box_cannot_be_judged():
    hot, _, _ = walk()
    with pytest.raises(DDLError, match="boxes: none for these clips"):
        region_and_track_by_boxes({"01": hot}, {"01": np.zeros((0, 6))}, 3)
