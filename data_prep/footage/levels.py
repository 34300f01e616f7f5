"""Footage of more than 8 bits, as of a thermal camera: the range of levels of its scene.

A scene spans a few hundred of 65,536 levels; dropping the lower byte would leave two or three. So
the range is measured in the training footage and kept in the manifest. All frames for a model are
scaled by it, also during a watch.
"""

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import numpy as np

from ddllib.errors import DDLError

Levels = tuple[int, int]  # the levels that become 0 and 255
OUTLIERS = 0.001  # share of pixels below the range, and as many above, such as dead pixels
MARGIN = 0.1  # of the range, added at both ends: later footage may be a little warmer or colder


def levels_of(frames: Iterable[np.ndarray]) -> Levels | None:
    """The range of frames of 16 bits; None if all frames have 8."""
    counts = np.zeros(1 << 16, np.int64)
    for frame in frames:
        if frame.dtype == np.uint16:
            counts += np.bincount(frame.ravel(), minlength=len(counts))
    if not counts.any():
        return None
    sums = np.cumsum(counts)
    low, high = np.searchsorted(sums, [OUTLIERS * sums[-1], (1 - OUTLIERS) * sums[-1]])
    margin = int(np.ceil(MARGIN * (high - low)))
    low, high = max(int(low) - margin, 0), min(int(high) + margin, len(counts) - 1)
    return low, max(high, low + 1)


def to_eight_bits(frame: np.ndarray, levels: Levels | None, path: Path | str) -> np.ndarray:
    """Scale a frame of 16 bits to uint8 by `levels`; without levels return one of 8 bits unchanged.

    Raises DDLError, naming `path`, for a frame with another number of bits than the training
    footage.
    """
    if levels is None and frame.dtype == np.uint8:
        return frame
    if levels is None or frame.dtype == np.uint8:
        bits, training_bits = (16, 8) if levels is None else (8, 16)
        raise DDLError(
            f"{path}: a frame of {bits} bits, but the training footage has {training_bits}; "
            "expected one "
            "kind of camera; convert it, or train on footage of this kind"
        )
    return scale(tuple(levels))[frame]


@lru_cache(8)
def scale(levels: Levels) -> np.ndarray:
    """The table from 65,536 levels to uint8."""
    low, high = levels
    values = (np.arange(1 << 16) - low) * (255 / (high - low))
    return values.round().clip(0, 255).astype(np.uint8)
