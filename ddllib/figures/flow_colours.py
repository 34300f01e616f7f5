"""Optical flow as colours."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import hsv_to_rgb


def flow_window(fields: np.ndarray, largest: float) -> np.ndarray:
    """Flow as colours, 3 x T x H x W in [0, 1]: the hue is the direction, saturation the speed.

    ``fields`` are u, v and perhaps more, C x T x H x W. White does not move; full colour moves as
    fast as ``largest``, or faster.
    """
    u, v = np.asarray(fields[:2], np.float32)
    hue, speed = np.arctan2(v, u) / (2 * np.pi) % 1, np.clip(np.hypot(u, v) / largest, 0, 1)
    return np.moveaxis(hsv_to_rgb(np.stack([hue, speed, np.ones_like(hue)], axis=-1)), -1, 0)
