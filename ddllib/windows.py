"""Training windows: T consecutive frames and the mask of one object tracked through all of them.

The whole training set lives on the device as uint8; a batch is gathered by index and its masks
are painted from boxes, so nothing is decoded inside the training loop.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ddllib.errors import DDLError


def common_tracks(tracks: pd.DataFrame, frames: int, temporal: int) -> list[list[np.ndarray]]:
    """For every window of one clip, the boxes of each track present in all its frames.

    ``tracks`` holds one clip's rows. Returns one list per window, frames - T + 1 of them, each
    holding T x 4 arrays of relative (x0, y0, x1, y1).
    """
    found: list[list[np.ndarray]] = [[] for _ in range(max(frames - temporal + 1, 0))]
    for _, rows in tracks.groupby("track"):
        rows = rows.sort_values("frame")
        times = rows["frame"].to_numpy()
        boxes = rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
        for i in range(len(times) - temporal + 1):
            if times[i + temporal - 1] - times[i] == temporal - 1:
                found[times[i]].append(boxes[i : i + temporal])
    return found


def to_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """Relative corners (..., 4) as whole pixels, truncated.

    The thousandth of a pixel undoes the rounding of the tracks table: 2.0 must not become 1.
    """
    scale = boxes.new_tensor([width, height, width, height])
    return (boxes * scale + 1e-3).floor()


def paint_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks from relative boxes: B x T x 4 -> B x 1 x T x H x W of 0 and 1.

    Corners are truncated to whole pixels, the end excluded, as in the released code; an empty box
    paints nothing.
    """
    x0, y0, x1, y1 = to_pixels(boxes, height, width).unbind(-1)
    ys = torch.arange(height, device=boxes.device)
    xs = torch.arange(width, device=boxes.device)
    rows = (ys >= y0[..., None]) & (ys < y1[..., None])
    columns = (xs >= x0[..., None]) & (xs < x1[..., None])
    return (rows[..., :, None] & columns[..., None, :]).float().unsqueeze(1)


class Windows:
    """All windows of the training clips, on ``device``.

    ``clips`` maps names to uint8 frames, N x C0 x H x W; ``tracks`` holds the training rows of
    the tracks table. ``len(windows)`` counts the windows; ``gather`` makes a batch. ``boxes`` has
    for each window the T x 4 boxes of every track that paints a pixel in all T frames, and
    ``coverage`` is the share of windows that have one. Raises ``DDLError`` for clips without a
    window, with other channels than the model's, or with tracks of other footage.
    """

    def __init__(
        self,
        clips: Mapping[str, np.ndarray],
        tracks: pd.DataFrame,
        temporal: int,
        channels: int = 3,
        device: str | torch.device = "cpu",
    ):
        if not clips:
            raise DDLError("there are no training clips; expected at least one; prepare the data")
        _check_clips(clips, temporal, channels)
        _check_tracks(clips, tracks)
        self.temporal, self.channels = temporal, channels
        self.frames = torch.cat([torch.from_numpy(np.array(c)) for c in clips.values()]).to(device)
        starts, self.boxes, offset = [], [], 0
        for name, clip in clips.items():
            rows = tracks[tracks["clip"] == name]
            windows = common_tracks(rows, len(clip), temporal)
            starts += range(offset, offset + len(windows))
            self.boxes += [[b for b in boxes if _paints(b, *clip.shape[2:])] for boxes in windows]
            offset += len(clip)
        self.starts = torch.tensor(starts)
        self.coverage = sum(bool(b) for b in self.boxes) / max(len(self.boxes), 1)

    def __len__(self) -> int:
        return len(self.starts)

    def gather(self, indices: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """The windows X, B x C x T x H x W in [0, 1], and masks M, B x 1 x T x H x W of 0 and 1.

        Each mask is one track common to the window's frames, drawn by ``rng``; a window without
        one gets an empty mask. Grey frames become C equal channels.
        """
        return self.batch(indices, self.draw(indices, rng))

    def draw(self, indices: Tensor, rng: torch.Generator) -> Tensor:
        """The boxes of one track of each window, B x T x 4, relative corners; zeros without one."""
        return torch.stack([self._draw(int(i), rng) for i in indices])

    def batch(self, indices: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """X and M as ``gather`` gives them, with these boxes; the device is not waited for."""
        device = self.frames.device
        times = self.starts[indices][:, None] + torch.arange(self.temporal)
        x = self.frames[times.to(device, non_blocking=True)].transpose(1, 2).float() / 255
        if x.shape[1] != self.channels:
            x = x.expand(-1, self.channels, -1, -1, -1)
        return x, paint_boxes(boxes.to(device, non_blocking=True), x.shape[-2], x.shape[-1])

    def _draw(self, index: int, rng: torch.Generator) -> Tensor:
        candidates = self.boxes[index]
        if not candidates:
            return torch.zeros(self.temporal, 4)
        chosen = int(torch.randint(len(candidates), (), generator=rng))
        return torch.from_numpy(candidates[chosen])


def _paints(boxes: np.ndarray, height: int, width: int) -> bool:
    """Whether every box of a track, T x 4, covers at least one pixel at this size."""
    x0, y0, x1, y1 = to_pixels(torch.from_numpy(boxes), height, width).unbind(-1)
    return bool(((x1 > x0) & (y1 > y0)).all())


def _check_tracks(clips: Mapping[str, np.ndarray], tracks: pd.DataFrame) -> None:
    lengths = tracks["clip"].map({name: len(clip) for name, clip in clips.items()})
    odd = tracks[~((tracks["frame"] >= 0) & (tracks["frame"] < lengths))]
    if len(odd):
        row = odd.iloc[0]
        raise DDLError(
            f"tracks.csv: a box in frame {row['frame']} of training clip {row['clip']!r}, which is "
            "not among the clips' frames; expected tracks of this footage; prepare the data again"
        )


def _check_clips(clips: Mapping[str, np.ndarray], temporal: int, channels: int) -> None:
    for name, clip in clips.items():
        if clip.shape[1] not in (1, channels):
            raise DDLError(
                f"training clip {name!r} has {clip.shape[1]} channels; expected 1 or the model's "
                f"{channels}; set channels to {clip.shape[1]}"
            )
    longest = max(map(len, clips.values()))
    if longest < temporal:
        raise DDLError(
            f"every training clip is shorter than a window of {temporal} frames (the longest has "
            f"{longest}); expected longer footage"
        )
