"""Figure 7 of the paper: one abnormal frame rebuilt by two models, and a part of it enlarged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ddllib.figures.picture_rows import residual_norm, row_names
from ddllib.figures.plots import ACCENT, ERROR_MAP, error_scale, panels, to_image
from ddllib.patches import best_patch, corner

ZOOM = 3  # the enlarged part is this many times larger
DPI = 110


def strangest_part(maps: Sequence[np.ndarray]) -> tuple[slice, slice]:
    """Rows and columns of the part of a frame to enlarge, a third of its height and width.

    It lies about the patch with the highest error in the sum of ``maps``, H x W each; no label is
    asked for.
    """
    total = np.sum(maps, axis=0)
    patch = max(min(total.shape) // 16, 1)
    top_left = corner(best_patch(total, patch), patch)
    sides = [length // ZOOM for length in total.shape]
    starts = [
        int(np.clip(start + patch // 2 - side // 2, 0, length - side))
        for start, side, length in zip(top_left, sides, total.shape, strict=True)
    ]
    rows, columns = (slice(s, s + side) for s, side in zip(starts, sides, strict=True))
    return rows, columns


def enlarged(frames, rebuilt, maps, titles: Sequence[str]) -> Figure:
    """Frame, reconstruction and residual of each model, beside the same part enlarged.

    ``frames`` and ``rebuilt`` are n arrays C x H x W in [0, 1], ``maps`` n arrays H x W, a pair of
    columns each. Residuals share one scale (``picture_rows.residual_norm``).
    """
    rows, columns = strangest_part(maps)
    figure, axes = panels(3, 2 * len(frames), width=2.4, aspect=maps[0].shape[0] / maps[0].shape[1])
    figure.set_dpi(DPI)
    norm = residual_norm(maps)
    for k, (frame, reconstruction, error, title) in enumerate(
        zip(frames, rebuilt, maps, titles, strict=True)
    ):
        pictures = [to_image(frame), to_image(reconstruction), error]
        for axis, part, picture in zip(axes[:, 2 * k], axes[:, 2 * k + 1], pictures, strict=True):
            for place, shown in ((axis, picture), (part, picture[rows, columns])):
                last = place.imshow(shown, cmap=ERROR_MAP, norm=norm if shown.ndim == 2 else None)
            size = columns.stop - columns.start, rows.stop - rows.start
            box = Rectangle((columns.start - 0.5, rows.start - 0.5), *size, fill=False)
            box.set(edgecolor=ACCENT, linewidth=1.5)
            axis.add_patch(box)
        axes[0, 2 * k].set_title(title)
        axes[0, 2 * k + 1].set_title(f"the same, {ZOOM} times")
    row_names(axes)
    error_scale(figure, axes, last)
    return figure
