"""Frame labels and pixel masks in every form, and what broken ones get."""

import numpy as np
import pytest
from scipy.io import savemat

from data_prep.footage.labels import Marks, frame_labels, marks_of, read_labelling
from data_prep.footage.masks import abnormal_frames, mask_count, read_masks
from ddllib.errors import DDLError

CLIPS = {"a": 6, "b": 4}


def refused(path, match, clips=CLIPS):
    with pytest.raises(DDLError, match=match) as error:
        read_labelling(path, clips)
    assert "\n" not in str(error.value) and path.name in str(error.value)


@pytest.mark.parametrize("values", [[0, 0], [1, 1], [0, 1, 1, 0, 1], [1, 0, 0], []])
def test_a_vector_and_its_ranges_say_the_same(tmp_path, values):
    marks = marks_of(np.array(values, np.uint8))
    assert frame_labels(tmp_path, "a", marks, len(values)).tolist() == values


def test_a_folder_of_vectors(tmp_path):
    np.save(tmp_path / "a.npy", np.array([0, 1, 1, 0, 0, 1], bool))
    np.save(tmp_path / "b.npy", np.zeros(4, np.int64))
    marks = read_labelling(tmp_path, CLIPS)
    assert marks == {"a": Marks([(1, 2), (5, 5)], 6), "b": Marks([], 4)}
    with pytest.raises(DDLError, match="clip a: 6 labels for 7 frames"):
        frame_labels(tmp_path, "a", marks["a"], 7)
    np.save(tmp_path / "c.npy", np.zeros(4))
    with pytest.raises(DDLError, match="c.npy: labels without a test clip"):
        read_labelling(tmp_path, CLIPS)


@pytest.mark.parametrize(
    "values, match",
    [
        (np.zeros(11), "11 labels, but the 2 test clips have 10 frames"),
        (np.full(10, 2), "expected 0 for normal and 1 for abnormal"),
        (np.array([None] * 10, object), "not a readable array of labels"),
    ],
)
def test_bad_joined_labels(tmp_path, values, match):
    np.save(tmp_path / "all.npy", values, allow_pickle=True)
    refused(tmp_path / "all.npy", match)


def test_joined_labels_need_every_length(tmp_path):
    np.save(tmp_path / "all.npy", np.zeros(10))
    refused(tmp_path / "all.npy", "one video does not state its length", {"a": 6, "b": None})


@pytest.mark.parametrize(
    "text, match",
    [
        ("TestVideoFile{end+1}.gt_frame = [1:2];", "labels for 1 clips, but there are 2"),
        (
            "TestVideoFile{end+1}.gt_frame = [1:2];\nTestVideoFile{end+1}.gt_frame = [3];",
            r"clip b: expected ranges such as 61:180, found \[3\]",
        ),
        ("not MATLAB", "labels for 0 clips"),
    ],
)
def test_bad_ucsd_ground_truth(tmp_path, text, match):
    (tmp_path / "gt.m").write_text(text)
    refused(tmp_path / "gt.m", match)


# Masks


def test_masks_as_one_array(tmp_path):
    masks = np.zeros((3, 4, 5), bool)
    masks[1, 2, 3] = True
    np.save(tmp_path / "a.npy", masks)
    paths = (tmp_path / "a.npy",)
    assert mask_count(paths) == 3 and abnormal_frames(paths).tolist() == [0, 1, 0]
    assert [mask.dtype for mask in read_masks(paths)] == [np.uint8] * 3


def test_masks_as_a_matlab_cell(tmp_path):
    cells = np.empty((1, 3), object)
    cells[0, :] = [np.full((4, 5), 255 * (k == 2), np.uint8) for k in range(3)]
    savemat(tmp_path / "1_label.mat", {"volLabel": cells})
    paths = (tmp_path / "1_label.mat",)
    assert mask_count(paths) == 3 and abnormal_frames(paths).tolist() == [0, 0, 1]
    assert next(read_masks(paths)).max() == 0 and list(read_masks(paths))[2].max() == 1


def test_broken_masks_are_named(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 5)))
    with pytest.raises(
        DDLError, match=r"a.npy: float64 of shape \(4, 5\); expected numbers, frames x"
    ):
        mask_count((tmp_path / "a.npy",))
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DDLError, match="a.npy: not a readable array of masks"):
        mask_count((tmp_path / "a.npy",))
    savemat(tmp_path / "1_label.mat", {"volLabel": np.zeros((1, 3))})
    with pytest.raises(
        DDLError, match="1_label.mat: `volLabel` is no cell array; expected a cell w"
    ):
        mask_count((tmp_path / "1_label.mat",))
