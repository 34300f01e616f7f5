"""Plots of AUCs: bars, and held-out against test clips."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure

from ddllib.figures.colours import ACCENT, INK, SECOND
from ddllib.figures.plots import axes_of


def rank_scatter(pairs: pd.DataFrame, x: str, y: str, names: tuple[str, str]) -> Figure:
    """Scatter plot of ranks by columns ``x`` and ``y`` of a table; the number names the variant.

    The highest value has rank 1, to the right and above; equal values share a rank. On the line
    both ranks agree. Unlike values, ranks stay readable where one run is far from the others.
    """
    ranks = pairs.assign(**pairs[[x, y]].rank(ascending=False))
    variants = ranks.groupby("variant", sort=False)
    lines = -(-len(variants) // 3)
    figure, axis = axes_of(figsize=(6.5, 3.6 + 0.22 * lines))
    ends = [0.5, len(ranks) + 0.5]
    axis.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
    style = {"linestyle": "", "color": SECOND, "markeredgewidth": 0}
    for number, (variant, rows) in enumerate(variants, start=1):
        style |= {"marker": f"${number}$", "markersize": 6 if number < 10 else 9}
        axis.plot(rows[x], rows[y], label=variant, **style)
    ticks = [1, *range(5, len(ranks) + 1, 5)]
    axis.set(xlim=ends[::-1], ylim=ends[::-1], xticks=ticks, yticks=ticks)
    axis.set(xlabel=f"rank by {names[0]}", ylabel=f"rank by {names[1]}")
    figure.legend(frameon=False, loc="outside lower center", ncols=3, fontsize="small")
    return figure


def auc_bars(values: Mapping[str, float], limits: Mapping[str, float] | None = None) -> Figure:
    """AUC in percent by name, with an optional limit marked for some of them."""
    figure, axis = axes_of(figsize=(6, 0.4 * len(values) + 0.8))
    names = list(values)
    bars = axis.barh(names[::-1], [100 * values[n] for n in names[::-1]], color=SECOND, height=0.6)
    axis.bar_label(bars, fmt="%.2f", padding=-36, color="white")
    for name, limit in (limits or {}).items():
        row = len(names) - 1 - names.index(name)
        axis.plot([limit * 100] * 2, [row - 0.4, row + 0.4], color=ACCENT, linewidth=2)
    axis.axvline(50, color=INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel="AUC, %", xlim=(0, 100))
    return figure
