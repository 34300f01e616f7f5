"""Figures of STPA's chapter: optical flow as colours, both branches, indicators over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure

from ddllib.figures.colours import INK, SECOND
from ddllib.figures.plots import ERROR_MAP, axes_of, panels, shade, smooth, to_image


def flow_window(fields: np.ndarray, largest: float) -> np.ndarray:
    """Flow as colours, 3 x T x H x W in [0, 1]: the hue is the direction, saturation the speed.

    ``fields`` are u, v and perhaps more, C x T x H x W. White does not move; full colour moves as
    fast as ``largest``, or faster.
    """
    u, v = np.asarray(fields[:2], np.float32)
    hue, speed = np.arctan2(v, u) / (2 * np.pi) % 1, np.clip(np.hypot(u, v) / largest, 0, 1)
    return np.moveaxis(hsv_to_rgb(np.stack([hue, speed, np.ones_like(hue)], axis=-1)), -1, 0)


def branch(frames: Sequence[np.ndarray], largest: float | None = None) -> dict[str, np.ndarray]:
    """The pictures of one branch of figure 1, by title.

    ``frames`` are a normal frame x, its pseudo-anomaly P(x), A(x) and A(P(x)), C x H x W in
    [0, 1]. With ``largest`` they are fields of flow, see ``flow_window``. The last picture is how
    far A(P(x)) is from x, H x W.
    """
    normal, altered, rebuilt, undone = (np.asarray(frame, np.float32) for frame in frames)
    error = np.sqrt(np.square(undone - normal).mean(axis=0))
    pictures = {"x": normal, "A(x)": rebuilt, "P(x)": altered, "A(P(x))": undone}
    if largest:
        pictures = {n: flow_window(x[:, None], largest)[:, 0] for n, x in pictures.items()}
    return {**pictures, "distance of A(P(x)) to x": error}


def both_branches(branches: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Figure 1: a row of pictures for each branch, by title, each C x H x W in [0, 1].

    Pictures of shape H x W are errors, and each row has its own scale for them.
    """
    first = next(iter(branches.values()))
    height, width = next(iter(first.values())).shape[-2:]
    figure, axes = panels(len(branches), len(first), width=1.7, aspect=height / width)
    for row, (branch, pictures) in zip(axes, branches.items(), strict=True):
        for axis, (title, picture) in zip(row, pictures.items(), strict=True):
            is_error = picture.ndim == 2
            axis.imshow(picture if is_error else to_image(picture), cmap=ERROR_MAP, vmin=0)
            axis.set_title(f"{branch}: {title}" if axis is row[0] else title, fontsize=8)
    return figure


def indicator_curves(curves: Mapping[str, np.ndarray], labels: np.ndarray | None) -> Figure:
    """Figure 3: one clip's scores over time, N each; frames labelled 1 are shaded."""
    size = (7, 1.3 * len(curves) + 0.4)
    figure, axes = axes_of(len(curves), figsize=size, sharex=True, squeeze=False)
    for axis, (name, values) in zip(axes[:, 0], curves.items(), strict=True):
        if labels is not None:
            shade(axis, labels)
        axis.plot(values, color=SECOND, linewidth=1.4)
        axis.set_title(name, loc="left", fontsize=9)
    axes[-1, 0].set_xlabel("frame")
    return figure


def objective_curves(history: Mapping[str, Sequence[float]], names: Sequence[str]) -> Figure:
    """The mean squared error of each named autoencoder over training, a mean over 25 steps."""
    figure, axes = axes_of(1, len(names), figsize=(4.2 * len(names), 2.6), squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        axis.plot(smooth(history[name], 25), color=INK, linewidth=1)
        axis.set(title=name, xlabel="step", ylabel="mean squared error", yscale="log")
    return figure
