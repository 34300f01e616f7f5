"""Optical flow finds shifts that are known."""

import cv2
import numpy as np
import pytest

from ddllib import DDLError
from ddllib.flow import FLOWS, clip_flow, optical_flow


def a_texture(channels=1, side=64):
    noise = np.random.default_rng(0).integers(0, 255, (side, side, channels)).astype(np.uint8)
    smooth = cv2.GaussianBlur(noise, (9, 9), 2).reshape(side, side, channels)
    return (
        cv2.normalize(smooth, None, 0, 255, cv2.NORM_MINMAX)
        .reshape(smooth.shape)
        .transpose(2, 0, 1)
    )


@pytest.mark.parametrize("algorithm", FLOWS)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("right, down", [(2, 1), (-1, 0), (0, -2)])
def test_flow_is_the_shift_to_the_right_and_down(algorithm, channels, right, down):
    first = a_texture(channels)
    second = np.roll(first, (down, right), (1, 2))
    field = optical_flow(first, second, algorithm)
    assert field.shape == (2, 64, 64) and field.dtype == np.float32
    inner = np.median(field[:, 12:-12, 12:-12], axis=(1, 2))
    assert inner == pytest.approx([right, down], abs=0.1)


def test_a_clip_has_a_field_for_each_frame_and_the_last_is_repeated():
    clip = np.stack([np.roll(a_texture(), t * t, 2) for t in range(4)])
    fields = np.stack(list(clip_flow(clip, "dis")))
    assert fields.shape == (4, 2, 64, 64) and fields.dtype == np.float16
    assert np.array_equal(fields[2], fields[3]) and not np.array_equal(fields[1], fields[2])
    assert not np.stack(list(clip_flow(clip[:1], "dis"))).any()


def test_another_algorithm_is_refused():
    with pytest.raises(DDLError, match="flow is 'raft'; expected one of tvl1, dis"):
        optical_flow(a_texture(), a_texture(), "raft")
