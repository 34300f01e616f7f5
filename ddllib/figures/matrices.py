"""A matrix of gains as one picture: what each way of training adds for each anomaly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ddllib.figures.plots import axes_of


def gain_matrix(
    gains: Mapping[str, Mapping[str, tuple[float, bool]]],
    columns: Sequence[str],
    xlabel: str,
    most: float | None = None,
) -> Figure:
    """Gains in points, by row and column, coloured by sign and size: orange less, purple more.

    Each is a number and whether it is beyond chance; those that are have a frame. What is missing
    stays white. Colours end at ``most`` points, by default at the largest gain or loss.
    """
    rows = list(gains)
    values = np.array(
        [[gains[row].get(column, (np.nan, False))[0] for column in columns] for row in rows]
    )
    figure, axis = axes_of(figsize=(7, 0.34 * len(rows) + 1.2))
    end = most or max(float(np.nanmax(np.abs(values))), 1.0)
    image = axis.imshow(values, cmap="PuOr", vmin=-end, vmax=end, aspect="auto")
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if column not in gains[row]:
                continue
            value, holds = gains[row][column]
            dark = abs(value) > 0.7 * end  # white on the ends of the scale, black within
            style = {"color": "white" if dark else "black", "fontsize": 8}
            style |= {"weight": "bold"} if holds else {}
            axis.text(j, i, f"{value:+.1f}", ha="center", va="center", **style)
            if holds:
                corner, size = (j - 0.47, i - 0.46), (0.94, 0.92)
                axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor="black", lw=1.4))
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.set(xlabel=xlabel)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axis, label="points", shrink=0.9, pad=0.02)
    return figure
