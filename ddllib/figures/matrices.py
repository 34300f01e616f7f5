"""A matrix of gains as one picture: what each way of training adds for each anomaly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ddllib.figures.plots import axes_of


class Cell(NamedTuple):
    """A gain in points; whether it is beyond chance alone, and among all cells together."""

    value: float
    is_beyond: bool
    holds: bool


def gain_matrix(
    gains: Mapping[str, Mapping[str, Cell]], columns: Sequence[str], xlabel: str
) -> Figure:
    """Gains in points, by row and column, coloured by sign and size: orange less, purple more.

    What is beyond chance alone is bold, what holds among all cells has a frame, and what is missing
    stays white. Colours end at the largest gain or loss.
    """
    rows = list(gains)
    nothing = Cell(np.nan, False, False)
    values = np.array([[gains[row].get(c, nothing).value for c in columns] for row in rows])
    figure, axis = axes_of(figsize=(7, 0.34 * len(rows) + 1.2))
    end = max(float(np.nanmax(np.abs(values))), 1.0)
    image = axis.imshow(values, cmap="PuOr", vmin=-end, vmax=end, aspect="auto")
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            if column not in gains[row]:
                continue
            value, is_beyond, holds = gains[row][column]
            is_dark = abs(value) > 0.6 * end  # white on the ends of the scale, black within
            style = {"color": "white" if is_dark else "black", "fontsize": 8}
            style |= {"weight": "bold"} if is_beyond else {}
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
    largest = [max(row, key=lambda c: row[c].value) for row in gains.values()]
    texts = [f"{r}: {c} {gains[r][c].value:+.1f}" for r, c in zip(rows, largest, strict=True)]
    figure.description = f"A table of gains in points. The largest of each row: {'; '.join(texts)}."
    return figure
