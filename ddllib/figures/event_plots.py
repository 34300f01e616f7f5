"""Figures of events; each function returns a ``matplotlib`` Figure and shows nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ddllib.camera.events import EPOCH, Event, clock
from ddllib.camera.evidence import read_evidence
from ddllib.figures.alt_text import DescribedFigure
from ddllib.figures.colours import ACCENT, INK, SECOND, SHADE
from ddllib.figures.plots import ERROR_MAP, axes_of, to_image
from ddllib.patches import corner


def timeline(
    seconds: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    release: float,
    events: Sequence[Event] = (),
) -> Figure:
    """Scores N over their times N in seconds, threshold and release, and every event shaded.

    Events during which the scene had changed are grey; each is numbered at its peak.
    """
    figure, axis = axes_of(figsize=(8, 2.6))
    seconds = np.asarray(seconds)
    first = clock_start(seconds)
    duration = seconds[-1] - first if len(seconds) else 0
    unit, name = (60, "minutes") if duration > 180 else (1, "seconds")
    for number, event in enumerate(events, start=1):
        colour = "#dddddd" if event.drift else SHADE
        start, end, peak = ((t - first) / unit for t in (event.start_s, event.end_s, event.peak_s))
        axis.axvspan(start, end, color=colour, linewidth=0)
        axis.annotate(str(number), (peak, event.score), ha="center", va="bottom", color=ACCENT)
    axis.plot((seconds - first) / unit, scores, color=SECOND, linewidth=1)
    axis.axhline(threshold, color=ACCENT, linewidth=1, label="threshold")
    axis.axhline(release, color=ACCENT, linewidth=1, linestyle=":", label="release")
    axis.set(xlabel=f"{name} since {clock(first)}" if first else name, ylabel="score")
    axis.margins(y=0.12)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def clock_start(seconds: np.ndarray) -> float:
    """The first of N times of a live source, in seconds since 1970; 0 for a recording."""
    return seconds[0] if len(seconds) and seconds[0] > EPOCH else 0


def explain(folder: Path | str, number: int, threshold: float) -> Figure:
    """Show why event ``number`` of a watch folder is an event.

    The frame at the peak, its reconstruction, the error map with the patch that gave the score, and
    over time the frame's score, raw and filtered, with the mean error of that patch. Raises
    ``DDLError`` where no evidence of the event was stored.
    """
    evidence = read_evidence(folder, number)
    figure, axes = plt.subplot_mosaic(
        [["frame", "rebuilt", "error"], ["trace"] * 3],
        figsize=(8, 4.6),
        height_ratios=[2, 1],
        layout="constrained",
        FigureClass=DescribedFigure,
    )
    plt.close(figure)
    error, patch = evidence.map, int(evidence.patch)
    pictures = {"frame": to_image(evidence.frame), "rebuilt": to_image(evidence.reconstruction)}
    (height, width), (rows, columns) = evidence.shape, error.shape
    aspect = height / width * columns / rows  # of a pixel; the working size may differ in shape
    for name, title in (("frame", "frame"), ("rebuilt", "reconstruction")):
        axes[name].imshow(pictures[name], aspect=aspect)
        axes[name].set_title(title)
    error_image = axes["error"].imshow(error, cmap=ERROR_MAP, vmin=0, aspect=aspect)
    axes["error"].set_title("error")
    figure.colorbar(
        error_image, ax=[axes[name] for name in ("frame", "rebuilt", "error")], shrink=0.8
    )
    row, column = corner(tuple(int(k) for k in evidence.place), patch)
    for name in ("frame", "rebuilt", "error"):
        axes[name].set_axis_off()
        corner_point = (column - 0.5, row - 0.5)
        axes[name].add_patch(
            Rectangle(corner_point, patch, patch, fill=False, edgecolor=ACCENT, lw=1.5)
        )
    axis = axes["trace"]
    first = clock_start(evidence.seconds)
    seconds = evidence.seconds - first
    if np.isfinite(evidence.raw).any():
        axis.plot(seconds, evidence.raw, color=INK, alpha=0.35, linewidth=0.8, label="raw score")
    axis.plot(seconds, evidence.scores, color=INK, linewidth=1.6, label="filtered score")
    axis.plot(
        seconds, evidence.region, color=SECOND, linestyle="-.", linewidth=1, label="this patch"
    )
    axis.axhline(threshold, color=ACCENT, linestyle="--", linewidth=1, label="threshold")
    axis.set(xlabel=f"seconds since {clock(first)}" if first else "seconds", ylabel="mean error")
    axis.legend(frameon=False, loc="best")
    return figure
