"""Figures 1 and 3 of the paper with frames of a trained run: the whole method, and its ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from ddllib.figures.picture_rows import residual_norm
from ddllib.figures.plots import ERROR_MAP, INK, blank, panels, to_image

_SIDE = 1.4  # of a picture, in units of the drawing
# Where each picture of figure 1 lies: its lower left corner.
_PLACES = {
    "$X^t$": (0.1, 3.0),
    "$M^t$": (0.1, 1.15),
    "$N^t$": (0.1, -0.7),
    "$X_A^t$": (3.7, 0.65),
    "$f(X)$": (7.2, 3.0),
    "$f(X_A)$": (7.2, 0.65),
}
_ARROWS = (
    ((1.5, 3.7), (5.5, 3.7)),
    ((1.5, 3.3), (3.7, 1.9)),
    ((1.5, 1.85), (3.7, 1.35)),
    ((1.5, 0.1), (3.7, 0.9)),
    ((5.1, 1.35), (5.5, 1.35)),
    ((6.7, 3.7), (7.2, 3.7)),
    ((6.7, 1.35), (7.2, 1.35)),
    ((8.6, 3.7), (9.1, 3.7)),
    ((8.6, 1.35), (9.1, 1.35)),
)


def whole_method(pictures: Mapping[str, np.ndarray], sigma: float) -> Figure:
    """Figure 1: from a frame and its pseudo-anomaly through the model to both losses.

    ``pictures`` are C x H x W in [0, 1], by the names of ``_PLACES``; ``sigma`` is the weight.
    """
    limits = (0, 11), (-0.8, 4.8)
    figure, axis = blank((10, 5.1), *limits)
    for name, (x, y) in _PLACES.items():
        axis.imshow(to_image(pictures[name]), extent=(x, x + _SIDE, y, y + _SIDE), aspect="auto")
        axis.text(x + _SIDE / 2, y + _SIDE + 0.06, name, ha="center", va="bottom")
    for start, stop in _ARROWS:
        axis.annotate("", stop, start, arrowprops={"arrowstyle": "->", "color": INK})
    _box(axis, (5.5, 0.65), (1.2, 3.75), "model\n$f$")
    _box(axis, (9.1, 3.35), (1.8, 0.7), r"$L_\mathrm{recon}$: to $X^t$")
    _box(axis, (9.1, 0.85), (1.8, 1.0), "$L_\\mathrm{dist}$: $P$ to $X^t$,\n$Q$ to $X_A^t$")
    axis.text(4.4, 0.35, f"blended at $\\sigma={sigma:.2f}$", ha="center", va="top", fontsize=8)
    axis.set(xlim=limits[0], ylim=limits[1])
    return figure


def _box(axis, corner: tuple[float, float], size: tuple[float, float], text: str) -> None:
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": INK}
    axis.add_patch(FancyBboxPatch(corner, *size, facecolor="#eeeeee", **style))
    middle = (corner[0] + size[0] / 2, corner[1] + size[1] / 2)
    axis.text(*middle, text, ha="center", va="center", fontsize=9)


def sigma_rows(
    sigmas: Sequence[float],
    frames: Sequence[np.ndarray],
    rebuilt: Sequence[np.ndarray],
    p: Sequence[np.ndarray],
    q: Sequence[np.ndarray],
) -> Figure:
    """Figure 3 for a trained model: X_A, f(X_A), P and Q, a column for each anomaly weight.

    Frames are C x H x W in [0, 1]; P and Q are H x W under the mask, on one scale.
    """
    norm = residual_norm([*p, *q])
    rows = {"$X_A^t$": frames, "$f(X_A)$": rebuilt, "$P$": p, "$Q$": q}
    figure, axes = panels(4, len(sigmas), width=1.8, aspect=frames[0].shape[1] / frames[0].shape[2])
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(row, pictures, strict=True):
            is_map = picture.ndim == 2
            axis.imshow(picture if is_map else to_image(picture), cmap=ERROR_MAP,
                        norm=norm if is_map else None)  # fmt: skip
        row[0].text(-0.06, 0.5, name, transform=row[0].transAxes, ha="right", va="center")
    for axis, sigma in zip(axes[0], sigmas, strict=True):
        axis.set_title(f"$\\sigma={sigma:.2f}$")
    return figure
