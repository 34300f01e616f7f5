"""Training windows: which tracks are common, how boxes become masks, how batches are gathered."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddllib import DDLError
from ddllib.data import TRACK_COLUMNS
from ddllib.windows import Windows, _joined, common_tracks, paint_boxes, to_pixels


def track_rows(frames, track=1, clip="01", box=(0.25, 0.5, 0.5, 1.0)):
    rows = [("training", clip, t, track, *box, 0.9, 0) for t in frames]
    return pd.DataFrame(rows, columns=TRACK_COLUMNS)


def test_a_common_track_is_in_every_frame_of_the_window():
    rows = pd.concat([track_rows([0, 1, 2, 4, 5], 1), track_rows([3, 4, 5, 6], 2)])
    tracks = common_tracks(rows, frames=8, temporal=3)
    assert [len(boxes) for boxes in tracks] == [1, 0, 0, 1, 1, 0]
    assert tracks[0][0].shape == (3, 4)


def test_boxes_are_truncated_with_the_end_excluded():
    boxes = torch.tensor([[[0.12, 0.2, 0.58, 0.99]]])
    mask = paint_boxes(boxes, height=10, width=10)[0, 0, 0]
    expected = torch.zeros(10, 10)
    expected[2:9, 1:5] = 1
    assert torch.equal(mask, expected)


@given(corner=st.integers(0, 96), width=st.sampled_from([192, 360, 640, 1920]))
def test_six_digits_in_the_tracks_table_lose_no_pixel(corner, width):
    pixel = corner * width // 96
    relative = float(f"{pixel / width:.6f}")
    expected = pixel * 96 // width
    assert int(to_pixels(torch.tensor([0.0, 0.0, relative, 1.0]), 96, 96)[2]) == expected


def test_an_empty_box_paints_nothing():
    assert not paint_boxes(torch.zeros(1, 3, 4), 8, 8).any()


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return {n: rng.integers(0, 256, (6, 1, 16, 16), dtype=np.uint8) for n in ("01", "02")}


def test_windows_never_cross_from_clip_to_clip(clips):
    windows = Windows(clips, track_rows(range(6)), temporal=3)
    assert len(windows) == 2 * (6 - 3 + 1)
    x, mask = windows.gather(torch.arange(len(windows)), torch.Generator())
    assert x.shape == (8, 3, 3, 16, 16) and mask.shape == (8, 1, 3, 16, 16)
    expected = torch.from_numpy(clips["02"][1:4, 0]).float() / 255
    for channel in range(3):
        assert torch.equal(x[5, channel], expected)


def test_frames_stay_where_they_are_and_a_copy_on_the_device_gives_the_same(clips, tmp_path):
    np.save(tmp_path / "01.npy", clips["01"])
    clips["01"] = np.load(tmp_path / "01.npy", mmap_mode="r")
    windows = Windows(clips, track_rows(range(6)), temporal=3)
    assert windows.held is None and windows.clips[0] is clips["01"]  # more than memory holds
    indices = torch.tensor([7, 0, 3, 5])
    x, mask = windows.gather(indices, torch.Generator())
    windows.held = _joined(windows.clips, windows.device)
    held, painted = windows.gather(indices, torch.Generator())
    assert torch.equal(x, held) and torch.equal(mask, painted)


def test_a_window_without_a_track_gets_an_empty_mask(clips):
    windows = Windows(clips, track_rows(range(6)), temporal=3)
    _, mask = windows.gather(torch.arange(8), torch.Generator())
    assert all(m.any() for m in mask[:4]) and not mask[4:].any()
    assert windows.coverage == 0.5


def test_tracks_are_drawn_at_random_but_by_the_seed(clips):
    rows = pd.concat([track_rows(range(6), k, box=(0, 0, k / 10, 1)) for k in range(2, 10)])
    windows = Windows(clips, rows, temporal=3)
    indices = torch.zeros(50, dtype=torch.long)

    def areas(seed):
        _, mask = windows.gather(indices, torch.Generator().manual_seed(seed))
        return mask[:, 0, 0].sum(dim=(1, 2))

    assert areas(0).unique().numel() > 3
    assert torch.equal(areas(0), areas(0)) and not torch.equal(areas(0), areas(1))


def test_what_cannot_be_used_is_reported(clips):
    with pytest.raises(DDLError, match="no training clips"):
        Windows({}, track_rows([]), 3)
    with pytest.raises(DDLError, match="shorter than"):
        Windows(clips, track_rows(range(6)), temporal=7)
    with pytest.raises(DDLError, match="frame 6 of training clip '01'"):
        Windows(clips, track_rows(range(7)), 3)
    with pytest.raises(DDLError, match="training clip 'other'"):
        Windows(clips, track_rows(range(3), clip="other"), 3)
    colour = {"01": np.zeros((6, 3, 16, 16), np.uint8)}
    with pytest.raises(DDLError, match="channels"):
        Windows(colour, track_rows(range(6)), temporal=3, channels=1)


def test_boxes_too_small_to_paint_a_pixel_do_not_count(clips):
    speck = track_rows(range(6), box=(0.5, 0.5, 0.501, 0.501))
    windows = Windows(clips, speck, temporal=3)
    assert windows.coverage == 0 and not any(windows.boxes)
