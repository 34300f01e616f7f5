"""Figures of many runs as points: AUC by seed beside the paper's, and effects with their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ddllib.figures.colours import ACCENT, INK, SECOND
from ddllib.figures.plots import axes_of

PALE = "#8a8a8a"


class Dots(NamedTuple):
    """A row of a dot plot: the AUC of each seed, and the paper's, all in percent."""

    name: str
    values: Sequence[float]
    paper: float | None = None


def seed_dots(rows: Sequence[Dots], lines: Mapping[str, float]) -> Figure:
    """Every seed as a point, the paper's figure as a diamond, what learns nothing as lines.

    ``lines`` are further AUC in percent by name.
    """
    figure, axis = axes_of(figsize=(7, 0.36 * len(rows) + 1.6))
    heights = range(len(rows))[::-1]
    for height, row in zip(heights, rows, strict=True):
        axis.axhline(height, color="#e6e6e6", linewidth=0.8, zorder=0)
        axis.plot(row.values, [height] * len(row.values), "o", color=SECOND, alpha=0.75)
        if row.paper is not None:
            axis.plot(row.paper, height, "D", color=ACCENT, markerfacecolor="white", markersize=6)
    axis.plot([], [], "o", color=SECOND, label="this edition, one seed each")
    axis.plot([], [], "D", color=ACCENT, markerfacecolor="white", label="the paper")
    for (name, value), style in zip(lines.items(), ("--", ":", "-."), strict=False):
        axis.axvline(
            value, color=INK, linewidth=1, linestyle=style, label=f"{name}, nothing learnt"
        )
    axis.set_yticks(heights, [row.name for row in rows])
    axis.set(xlabel="micro AUC, %", ylim=(-0.6, len(rows) - 0.4))
    figure.legend(frameon=False, fontsize="small", ncols=2, loc="outside lower center")
    return figure


class Effect(NamedTuple):
    """A row of a forest plot: a mean difference in points, its interval, and how many seeds."""

    name: str
    mean: float
    low: float | None
    high: float | None
    seeds: int


def forest(effects: Sequence[Effect], xlabel: str) -> Figure:
    """Effects with their intervals, the largest first; grey where one seed has no interval."""
    rows = sorted(effects, key=lambda effect: effect.mean)
    figure, axis = axes_of(figsize=(7, 0.27 * len(rows) + 0.9))
    axis.axvline(0, color=INK, linewidth=0.8)
    for height, row in enumerate(rows):
        is_single = row.low is None
        colour = PALE if is_single else SECOND
        axis.plot(
            row.mean, height, "o", color=colour, markerfacecolor="white" if is_single else colour
        )
        if not is_single:
            axis.plot([row.low, row.high], [height] * 2, color=colour, linewidth=1.8)
    axis.set_yticks(range(len(rows)), [f"{row.name} ({row.seeds})" for row in rows])
    axis.xaxis.set_major_locator(MaxNLocator(9))
    axis.grid(axis="x", color="#e6e6e6", linewidth=0.8)
    axis.set(xlabel=xlabel, ylim=(-0.7, len(rows) - 0.3))
    return figure


def epoch_dots(points: Mapping[str, Sequence[tuple[int, float]]]) -> Figure:
    """AUC in percent against epochs: each run a point, a line through the means of each group."""
    figure, axis = axes_of(figsize=(6.5, 3))
    styles = zip(("o", "s", "D"), (INK, PALE, SECOND), ("--", ":", "-"), strict=True)
    for (name, pairs), (marker, colour, line) in zip(points.items(), styles, strict=False):
        epochs = sorted({epoch for epoch, _ in pairs})
        means = [np.mean([auc for epoch, auc in pairs if epoch == e]) for e in epochs]
        axis.plot(*zip(*pairs, strict=True), marker, color=colour, alpha=0.7, markersize=5)
        axis.plot(epochs, means, line, color=colour, marker=marker, markersize=0, label=name)
    axis.set(xlabel="epochs of training", ylabel="micro AUC on test clips, %")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
