"""Every figure of the book; each function returns a ``matplotlib`` Figure and shows nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, ScalarFormatter

from ddllib.errors import DDLError
from ddllib.evaluation import MEDIAN_LENGTH, apply_protocol
from ddllib.figures.alt_text import DescribedFigure
from ddllib.figures.colours import ACCENT, INK, LINES, SECOND, SHADE, line_styles
from ddllib.figures.contact_sheets import Panel
from ddllib.figures.picture_rows import residual_norm, row_names

ERROR_MAP = "magma"
SCALE_TICKS = 4  # on the colour bar of error maps


def set_style() -> None:
    """Set the style of all figures; called once at the top of each chapter."""
    sns.set_theme(context="notebook", style="ticks", palette=LINES, font_scale=0.85)
    plt.rcParams.update(
        {
            "figure.dpi": 110,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "savefig.bbox": "tight",
        }
    )


def to_image(frame: np.ndarray) -> np.ndarray:
    """C x H x W, uint8 or float in [0, 1], to H x W x 3 in [0, 1]; one channel becomes grey."""
    frame = np.asarray(frame)
    frame = frame / 255 if frame.dtype == np.uint8 else np.clip(frame, 0, 1)
    return np.moveaxis(np.broadcast_to(frame, (3, *frame.shape[1:])), 0, -1)


def axes_of(rows: int = 1, columns: int = 1, *, figsize: tuple[float, float], **options):
    """A figure with its axes, closed to pyplot at once, so that a notebook shows it only once."""
    options |= {"figsize": figsize, "layout": "constrained", "FigureClass": DescribedFigure}
    figure, axes = plt.subplots(rows, columns, **options)
    plt.close(figure)
    return figure, axes


def blank(size: tuple[float, float], x: tuple[float, float], y: tuple[float, float]):
    """An empty figure of ``size`` inches to draw shapes in, between the given limits."""
    figure, axis = axes_of(figsize=size)
    axis.set_axis_off()
    axis.set(xlim=x, ylim=y)
    return figure, axis


def panels(rows: int, columns: int, width: float = 2.2, aspect: float = 1.0):
    """A figure of pictures without axes, ``width`` inches each; ``aspect`` is height by width."""
    size = (width * columns, width * rows * aspect + 0.3 * rows)
    figure, axes = axes_of(rows, columns, figsize=size, squeeze=False)
    figure.set_layout_engine("compressed")  # keeps the aspect ratio, without gaps between rows
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def error_scale(figure: Figure, axes: np.ndarray, image) -> None:
    """A colour bar as tall as the last row, which holds the error maps.

    Its ticks are evenly spaced, so that none overlap where the scale is not linear.
    """
    values = image.norm.inverse(np.linspace(0, 1, SCALE_TICKS))
    ticks = {"ticks": values, "format": FuncFormatter(lambda value, _: f"{value:.3f}")}
    figure.colorbar(image, ax=list(axes.flat), shrink=0.9 / len(axes), anchor=(0, 0), **ticks)


def frame_strip(frames: Sequence[np.ndarray], titles: Sequence[str]) -> Figure:
    """Frames side by side, each C x H x W, with a title each."""
    figure, axes = panels(1, len(frames), aspect=frames[0].shape[1] / frames[0].shape[2])
    for axis, frame, title in zip(axes[0], frames, titles, strict=True):
        axis.imshow(to_image(frame))
        axis.set_title(title)
    return figure


def tracked_frames(frames: np.ndarray, tracks, indices: Sequence[int]) -> Figure:
    """Frames of one clip, N x C x H x W, with the boxes of its tracks; one colour per track.

    ``tracks`` holds this clip's rows of the tracks table (relative boxes).
    """
    height, width = frames.shape[-2:]
    ids = sorted(tracks[tracks["frame"].isin(list(indices))]["track"].unique())
    colours = dict(zip(ids, cycle(LINES), strict=False))
    figure, axes = panels(1, len(indices), width=3.0, aspect=height / width)
    for axis, index in zip(axes[0], indices, strict=True):
        axis.imshow(to_image(frames[index]))
        axis.set_title(f"frame {index}")
        for row in tracks[tracks["frame"] == index].itertuples():
            _draw_box(axis, row, width, height, colours[row.track])
    return figure


def _draw_box(axis, row, width: int, height: int, colour) -> None:
    corner = row.x0 * width - 0.5, row.y0 * height - 0.5
    size = (row.x1 - row.x0) * width, (row.y1 - row.y0) * height
    axis.add_patch(Rectangle(corner, *size, fill=False, linewidth=1.5, edgecolor=colour))
    text = axis.text(*corner, str(row.track), color=colour, fontsize=8, va="bottom")
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])


def contact_sheet(sheet: Sequence[Panel], columns: int = 6) -> Figure:
    """Panels of ``contact_sheets`` in rows: boxes of tracks, abnormal pixels outlined in red."""
    columns = min(columns, len(sheet))
    height, width = sheet[0].frame.shape[1:]
    figure, axes = panels(-(-len(sheet) // columns), columns, width=1.7, aspect=height / width)
    for axis, panel in zip(axes.flat, sheet, strict=False):
        axis.imshow(to_image(panel.frame))
        axis.set_title(panel.title, fontsize=8)
        for (x0, y0, x1, y1), colour in zip(panel.boxes, cycle(LINES), strict=False):
            corner = x0 * width - 0.5, y0 * height - 0.5
            size = (x1 - x0) * width, (y1 - y0) * height
            axis.add_patch(Rectangle(corner, *size, fill=False, linewidth=1, edgecolor=colour))
        if panel.mask.any():
            axis.contour(panel.mask, levels=[0.5], colors=[ACCENT], linewidths=1.2)
    return figure


def objects_per_frame(tracks, clips: Mapping[str, np.ndarray]) -> Figure:
    """How many tracked objects each training frame holds, clip by clip."""
    figure, axis = axes_of(figsize=(7, 2.6))
    for (name, frames), style in zip(clips.items(), line_styles(), strict=False):
        counts = tracks[tracks["clip"] == name].groupby("frame").size()
        counts = counts.reindex(range(len(frames)), fill_value=0)
        axis.plot(counts, linewidth=1, label=name, **style)
    axis.set(xlabel="frame", ylabel="tracked objects")
    if len(clips) <= 8:
        axis.legend(title="clip", frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def creator_steps(x, mask, noise, x_a, sigma: float) -> Figure:
    """Figure 2: window X, mask M, noise N and pseudo-anomaly X_A, one row each over T frames.

    Inputs are C x T x H x W (the mask 1 x T x H x W) in [0, 1].
    """
    return window_rows({"$X$": x, "$M$": mask, "$N$": noise, f"$X_A$, $\\sigma={sigma:.2f}$": x_a})


def window_rows(rows: Mapping[str, np.ndarray], times: Sequence[int] | None = None) -> Figure:
    """Windows C x T x H x W in [0, 1], one row each, at the given frames; None takes all."""
    temporal, height, width = next(iter(rows.values())).shape[1:]
    times = range(temporal) if times is None else times
    figure, axes = panels(len(rows), len(times), width=1.7, aspect=height / width)
    for row, (name, values) in zip(axes, rows.items(), strict=True):
        for axis, t in zip(row, times, strict=True):
            axis.imshow(to_image(np.asarray(values)[:, t]))
        row[0].set_title(name, loc="left")
    return figure


def sigma_range(frames: Sequence[np.ndarray], sigmas: Sequence[float]) -> Figure:
    """Figure 3: the middle frame of X_A as sigma goes from 0 to 1; frames are C x H x W."""
    return frame_strip(frames, [f"$\\sigma={sigma:.2f}$" for sigma in sigmas])


def loss_surface(sigmas: np.ndarray, losses: Mapping[str, np.ndarray]) -> Figure:
    """L_dist over sigma for example reconstructions; one curve per name."""
    figure, axis = axes_of(figsize=(6, 3))
    for (name, values), style in zip(losses.items(), line_styles(), strict=False):
        axis.plot(sigmas, values, label=name, **style)
    axis.axhline(1, color=INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel=r"$\sigma$", ylabel=r"$L_\mathrm{dist}$", yscale="log", ylim=(0.05, 20))
    axis.set_yticks([0.1, 0.3, 1, 3, 10])
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def ratio_tails(ratios: Mapping[int, np.ndarray]) -> Figure:
    """Share of pixels whose P / Q exceeds a value, by number of channels, on logarithmic axes."""
    figure, axis = axes_of(figsize=(5.5, 3))
    for (channels, values), style in zip(ratios.items(), line_styles(), strict=False):
        values = np.sort(values)
        share = 1 - np.arange(len(values)) / len(values)
        label = f"{channels} channel{'s' if channels > 1 else ''}"
        axis.plot(values, share, label=label, **style)
    axis.set(xscale="log", yscale="log", xlabel="$P / Q$", ylabel="share of pixels above")
    axis.set_xlim(left=0.1)
    axis.legend(frameon=False)
    return figure


def reconstructions(images: Mapping[str, np.ndarray], errors: Mapping[str, np.ndarray]) -> Figure:
    """Figure 4: frames (C x H x W) above, residuals (H x W) on one scale below."""
    columns = max(len(images), len(errors))
    shape = next(iter(errors.values())).shape
    figure, axes = panels(2, columns, width=2.4, aspect=shape[0] / shape[1])
    for axis, (name, image) in zip(axes[0], images.items(), strict=False):
        axis.imshow(to_image(image))
        axis.set_title(name)
    top = max(error.max() for error in errors.values())
    for axis, (name, error) in zip(axes[1], errors.items(), strict=False):
        error_image = axis.imshow(error, cmap=ERROR_MAP, vmin=0, vmax=top)
        axis.set_title(name)
    error_scale(figure, axes, error_image)
    return figure


def smooth(values: Sequence[float | None], length: int) -> np.ndarray:
    """A moving average over ``length`` values, without its ends."""
    values = np.array([np.nan if v is None else v for v in values], dtype=float)
    length = max(min(length, len(values) // 5), 1)
    return np.convolve(values, np.ones(length) / length, mode="valid")


def loss_curves(history: Mapping[str, Sequence[float]], length: int = 25) -> Figure:
    """The loss terms over training, each a moving average of ``length`` steps.

    Raises ``DDLError`` where no step was trained, or by a method without these terms.
    """
    missing = {"reconstruction", "p", "q"} - history.keys()
    if missing:
        raise DDLError(
            f"the run logs no {' and no '.join(sorted(missing))}: these are curves of DDL; train "
            "and score another method in chapter 6"
        )
    if not history["reconstruction"]:
        raise DDLError("no step was trained, so no loss can be drawn; set epochs to 1 or more")
    figure, axes = axes_of(1, 2, figsize=(8.5, 2.8))
    axes[0].plot(smooth(history["reconstruction"], length), color=INK)
    axes[0].set(title=r"$L_\mathrm{recon}$", xlabel="step", yscale="log")
    axes[1].plot(smooth(history["p"], length), color=SECOND, label="mean $P$")
    axes[1].plot(smooth(history["q"], length), color=ACCENT, linestyle="--", label="mean $Q$")
    axes[1].set(title="distance of $f(X_A)$ under the mask", xlabel="step")
    axes[1].legend(frameon=False)
    return figure


def sigma_curve(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Figure 5: sigma over training, one curve per named run."""
    figure, axis = axes_of(figsize=(6.5, 2.8))
    for (name, history), style in zip(histories.items(), line_styles(), strict=False):
        sigma = np.array(history["sigma"], dtype=float)
        axis.plot(sigma, label=name, linewidth=1.5, **style)
    axis.axhline(0.5, color=INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel="step", ylabel=r"anomaly weight $\sigma(l)$")
    position = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2}
    axis.legend(frameon=False, fontsize="small", **position)
    return figure


def shade(axis, labels: np.ndarray) -> None:
    """Shade the frames that are labelled 1."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(labels, int), [0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        axis.axvspan(first - 0.5, last - 0.5, color=SHADE, linewidth=0)


def timelines(scores: Mapping, labels: Mapping, protocol: str = "median") -> Figure:
    """Score over time for every clip; frames labelled abnormal are shaded."""
    names = sorted(scores)
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    size = (8, 1.4 * rows + 0.4)
    figure, axes = axes_of(rows, columns, figsize=size, squeeze=False, sharey=True)
    for axis, name in zip(axes.flat, names, strict=False):
        if name in labels:
            shade(axis, labels[name])
        axis.plot(scores[name], color=INK, alpha=0.25, linewidth=0.8)
        axis.plot(apply_protocol(scores[name], protocol), color=SECOND, linewidth=1.4)
        axis.set_title(f"clip {name}", loc="left", fontsize=9)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    figure.supxlabel("frame", fontsize=9)
    figure.supylabel("score", fontsize=9)
    return figure


def roc_curves(curves: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """ROC curves by name, each (false positive rate, true positive rate)."""
    figure, axis = axes_of(figsize=(4.2, 4))
    for (name, (false_positive, true_positive)), style in zip(
        curves.items(), line_styles(), strict=False
    ):
        axis.plot(false_positive, true_positive, label=name, **style)
    axis.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
    axis.set(xlabel="false positive rate", ylabel="true positive rate", aspect="equal")
    axis.legend(frameon=False, loc="lower right")
    return figure


def error_maps(frames, rebuilt, maps, titles: Sequence[str]) -> Figure:
    """Frame, reconstruction and error map of n frames, a column each; maps share one scale.

    ``frames`` and ``rebuilt`` are n arrays C x H x W, ``maps`` n arrays H x W.
    """
    shape, norm = maps[0].shape, residual_norm(maps)
    figure, axes = panels(3, len(frames), width=2.2, aspect=shape[0] / shape[1])
    for column, (frame, reconstruction, error, title) in enumerate(
        zip(frames, rebuilt, maps, titles, strict=True)
    ):
        axes[0, column].imshow(to_image(frame))
        axes[1, column].imshow(to_image(reconstruction))
        error_image = axes[2, column].imshow(error, cmap=ERROR_MAP, norm=norm)
        axes[0, column].set_title(title)
    row_names(axes)
    error_scale(figure, axes, error_image)
    return figure


def median_filter_effect(raw: np.ndarray, labels: np.ndarray | None = None) -> Figure:
    """One clip's raw score and the same after the median filter; shaded where labelled 1."""
    figure, axis = axes_of(figsize=(7, 2.4))
    if labels is not None:
        shade(axis, labels)
    axis.plot(raw, color=INK, alpha=0.4, linewidth=1, label="raw")
    filtered = apply_protocol(raw, "median")
    axis.plot(filtered, color=SECOND, linewidth=1.6, label=f"median of {MEDIAN_LENGTH}")
    axis.set(xlabel="frame", ylabel="score")
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def speed_bars(rows: Sequence[Mapping]) -> Figure:
    """Speed-up of each way over the literal path; ``rows`` are those of a benchmark's record."""
    names = list(dict.fromkeys((r["case"], r["what"]) for r in rows))
    ways = list(dict.fromkeys(r["way"] for r in rows))
    colours = dict(zip(ways, cycle(LINES), strict=False))
    figure, axis = axes_of(figsize=(6, 0.75 * len(names) + 1))
    for position, (case, what) in enumerate(reversed(names)):
        group = [r for r in rows if (r["case"], r["what"]) == (case, what)]
        for k, row in enumerate(group):
            height = position + 0.25 * (len(group) - 1) / 2 - 0.25 * k
            bar = axis.barh(height, row["ratio"], 0.22, color=colours[row["way"]])
            axis.bar_label(bar, fmt="%.1f", padding=3, fontsize=8)
    axis.set_yticks(range(len(names)), [f"{what}, {case} size" for case, what in reversed(names)])
    axis.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    axis.legend([Rectangle((0, 0), 1, 1, color=colours[w]) for w in ways], ways, frameon=False)
    axis.set(xlabel="times faster than the literal path")
    return figure
