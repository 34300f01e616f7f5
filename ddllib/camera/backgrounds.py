"""Background pictures of footage, with which a watch notices that the scene has changed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

LIGHT_RATIO = 1.2  # times brighter or darker: a change of light
FEW = 8  # frames; a median of fewer may show people instead of the background


def backgrounds(frames: Sequence[np.ndarray]) -> np.ndarray:
    """The median background of footage for each light that it was taken in: K x H x W float32.

    A camera that films day and night has two or more. Frames, each uint8 C x H x W, are sorted by
    brightness and grouped; a group ends where the difference to its darkest frame would count as a
    change of light. Groups of fewer than ``FEW`` frames are left out.
    """
    pictures = np.stack([grey(frame) for frame in frames])
    middle = np.median(pictures, axis=0)
    gains = np.array([brightness(middle, picture) for picture in pictures])
    groups: list[list[int]] = []
    for k in np.argsort(gains, kind="stable"):
        if not groups or gains[k] > LIGHT_RATIO * gains[groups[-1][0]]:
            groups.append([])
        groups[-1].append(int(k))
    large_groups = [group for group in groups if len(group) >= FEW] or [list(range(len(pictures)))]
    return np.stack([np.median(pictures[group], axis=0) for group in large_groups])


def brightness(reference: np.ndarray, now: np.ndarray) -> float:
    """How many times brighter a background is than it was: the median over its pixels."""
    return float(np.median((now + 1) / (reference + 1)))


def grey(frame: np.ndarray) -> np.ndarray:
    """C x H x W -> H x W float32, the mean of the channels."""
    return frame.mean(axis=0, dtype=np.float32)
