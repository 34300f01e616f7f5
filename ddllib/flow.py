"""Optical flow between two frames (STPA, section 3.3)."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from ddllib.errors import DDLError

FLOWS = ("tvl1", "dis")


def optical_flow(first: np.ndarray, second: np.ndarray, algorithm: str = "tvl1") -> np.ndarray:
    """How far each pixel of the first frame moves until the second, float32 2 x H x W.

    Frames are uint8 C x H x W, grey or RGB. The two channels are u, to the right, and v, down, in
    pixels. ``tvl1`` is the paper's TV-L1 (Zach et al. 2007) by scikit-image; ``dis`` (Kroeger et
    al. 2016) by OpenCV is some fifty times faster. Raises ``DDLError`` for another name, or
    where scikit-image is not installed.
    """
    if algorithm not in FLOWS:
        raise DDLError(f"flow is {algorithm!r}; expected one of {', '.join(FLOWS)}")
    one, two = _grey(first), _grey(second)
    if algorithm == "dis":
        preset = cv2.DISOPTICAL_FLOW_PRESET_MEDIUM
        return cv2.DISOpticalFlow.create(preset).calc(one, two, None).transpose(2, 0, 1).copy()
    try:
        from skimage.registration import optical_flow_tvl1
    except ImportError:
        raise DDLError(
            "flow tvl1 needs scikit-image; pip install scikit-image, or set flow to dis"
        ) from None
    return optical_flow_tvl1(one, two, dtype=np.float32)[::-1].copy()  # it gives rows first


def clip_flow(frames: np.ndarray, algorithm: str = "tvl1") -> Iterator[np.ndarray]:
    """The flow from each frame of a clip to the next: float16 2 x H x W for each of N frames.

    The last frame, which has no next one, takes the flow before it; a single frame does not move.
    """
    field = np.zeros((2, *frames.shape[2:]), np.float16)
    for t in range(len(frames) - 1):
        field = optical_flow(frames[t], frames[t + 1], algorithm).astype(np.float16)
        yield field
    yield field


def _grey(frame: np.ndarray) -> np.ndarray:
    """uint8 C x H x W to uint8 H x W."""
    if len(frame) == 1:
        return np.ascontiguousarray(frame[0])
    return cv2.cvtColor(np.ascontiguousarray(frame.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
