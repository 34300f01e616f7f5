"""Rows of pictures: the scale that error maps share, and the names at the left."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm

GREYS = 1.5 / 255  # one grey level and a half


def residual_norm(maps: Sequence[np.ndarray]) -> PowerNorm:
    """One scale for error maps: the square root, up to what one pixel in two hundred exceeds.

    Less than one grey level and a half is black, since frames and records have no finer ones.
    """
    top = np.percentile(np.concatenate([np.ravel(error) for error in maps]), 99.5)
    return PowerNorm(0.5, vmin=GREYS, vmax=max(float(top), 2 * GREYS), clip=True)


def row_names(axes: np.ndarray, names: Sequence[str] = ("frame", "rebuilt", "error")) -> None:
    """The name of each row of pictures, at its left."""
    for axis, name in zip(axes[:, 0], names, strict=True):
        place = {"transform": axis.transAxes, "ha": "right", "va": "center", "rotation": 90}
        axis.text(-0.04, 0.5, name, **place)
