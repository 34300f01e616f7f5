"""The tracker and frames, each by itself, and the real Ped2 where DDL_DATA names it."""

import cv2
import numpy as np
import pandas as pd
import pytest

from data_prep.footage import layouts
from data_prep.footage.frames import read_frames, to_working_size
from data_prep.footage.labels import frame_labels, read_labelling
from data_prep.footage.masks import abnormal_frames, mask_to_working_size, read_masks
from data_prep.tracks.tracking import ClipTracker, common_track_coverage
from ddllib.data import TRACK_COLUMNS

PED2_LENGTHS = {
    "training": [120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150],
    "testing": [180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180],
}


def table(clips):
    """Tracks of {clip: {track: frames}}, the boxes of no interest."""
    rows = [
        ("training", clip, frame, track, 0, 0, 1, 1, 1.0, -1)
        for clip, tracks in clips.items()
        for track, frames in tracks.items()
        for frame in frames
    ]
    return pd.DataFrame(rows, columns=TRACK_COLUMNS)


def walk(start):
    """Boxes of someone who walks from `start` to the right, frame by frame, in pixels."""
    return [np.array([[start + 2 * t, 30, start + 2 * t + 12, 60, 0.9, 0.0]]) for t in range(8)]


def test_trackers_at_work_at_once_do_not_share_their_ids():
    alone = [row for b in walk(5) for row in ClipTracker().push(b, 100, 100)]
    first, second, rows = ClipTracker(), ClipTracker(), []
    for one, other in zip(walk(5), walk(40), strict=True):
        rows += first.push(one, 100, 100)
        second.push(np.concatenate([one, other]), 100, 100)
    assert {row[1] for row in rows} == {0} and len(rows) == 8
    assert [row[2:] for row in rows] == [row[2:] for row in alone]


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
    rgb = frame[..., ::-1].transpose(2, 0, 1)[None]
    tensor = torch.from_numpy(rgb.astype(np.float32))
    expected = torch.nn.functional.interpolate(tensor, (20, 23), mode="bilinear")[0].numpy()
    assert np.abs(to_working_size(frame, (20, 23), 3) - expected).max() <= 1


def test_mask_counts_any_value_and_ignores_opacity(tmp_path):
    path = tmp_path / "mask.png"
    none, opaque = np.zeros((4, 4)), np.full((4, 4), 255)
    cv2.imwrite(str(path), np.dstack([np.eye(4) * 3, none, none, opaque]))
    (mask,) = read_masks([path])
    assert np.array_equal(mask, np.eye(4, dtype=np.uint8))
    assert np.array_equal(
        mask_to_working_size(np.eye(4, dtype=np.uint8), (8, 8)),
        np.eye(4, dtype=np.uint8).repeat(2, 0).repeat(2, 1),
    )


# Real footage


def test_ped2_labels_equal_its_masks(ped2):
    footage = layouts.find_footage(ped2)
    clips = footage.clips["testing"]
    path = footage.labels["ped2.mat"]
    marks = read_labelling(path, {name: len(clip.frames) for name, clip in clips.items()})
    total = np.zeros(2, int)
    for name, clip in clips.items():
        labels = frame_labels(path, name, marks[name], len(clip.frames))
        assert labels.tolist() == abnormal_frames(footage.masks[name]).tolist(), name
        total += int(labels.sum()), len(labels)
    assert total.tolist() == [1648, 2010]


def test_ped2_clips(ped2):
    clips = layouts.find_footage(ped2).clips
    lengths = {
        split: [len(c.frames) for c in of_split.values()] for split, of_split in clips.items()
    }
    assert lengths == PED2_LENGTHS
    assert list(clips["testing"]) == [f"{k:02d}" for k in range(1, 13)]
    clip = clips["training"]["01"]
    assert next(read_frames(clip)).shape == (240, 360)
    assert next(read_frames(clip, colour=True)).shape == (240, 360, 3)
