"""Training windows: T consecutive frames and the mask of one object tracked through all of them.

A batch is gathered by index from the uint8 frames and its masks are painted from boxes, so nothing
is decoded inside the training loop. A GPU holds the whole training set where it has room for it;
else, and on a processor, frames stay where they are, memory-mapped as ``data_prep`` leaves them, so
that footage may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ddllib.errors import DDLError

ROOM = 0.5  # of a GPU's free memory: so much of it the training set may take


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
    """All windows of the training clips, for a model on ``device``.

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
        self.device, self.clips = torch.device(device), list(clips.values())
        self.held = _held(self.clips, self.device)
        self.places: list[tuple[int, int]] = []  # of each window, its clip and first frame there
        self.boxes: list[list[np.ndarray]] = []
        for number, (name, clip) in enumerate(clips.items()):
            rows = tracks[tracks["clip"] == name]
            windows = common_tracks(rows[_paints(rows, *clip.shape[2:])], len(clip), temporal)
            self.places += [(number, first) for first in range(len(windows))]
            self.boxes += windows
        self.coverage = sum(bool(b) for b in self.boxes) / max(len(self.boxes), 1)

    def __len__(self) -> int:
        return len(self.places)

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
        """X and M as ``gather`` gives them, with these boxes.

        A device that holds the frames is not waited for.
        """
        frames = self._frames([self.places[int(i)] for i in indices])
        x = frames.transpose(1, 2).float() / 255
        if x.shape[1] != self.channels:
            x = x.expand(-1, self.channels, -1, -1, -1)
        return x, paint_boxes(boxes.to(self.device, non_blocking=True), x.shape[-2], x.shape[-1])

    def _frames(self, places: list[tuple[int, int]]) -> Tensor:
        """The frames of windows at these places, uint8 B x T x C0 x H x W, on the device."""
        if self.held is None:
            cut = [self.clips[clip][first : first + self.temporal] for clip, first in places]
            return torch.from_numpy(np.stack(cut)).to(self.device)
        frames, offsets = self.held
        starts = torch.tensor([offsets[clip] + first for clip, first in places])
        times = starts[:, None] + torch.arange(self.temporal)
        return frames[times.to(self.device, non_blocking=True)]

    def _draw(self, index: int, rng: torch.Generator) -> Tensor:
        candidates = self.boxes[index]
        if not candidates:
            return torch.zeros(self.temporal, 4)
        chosen = int(torch.randint(len(candidates), (), generator=rng))
        return torch.from_numpy(candidates[chosen])


def _held(clips: list[np.ndarray], device: torch.device) -> tuple[Tensor, list[int]] | None:
    """All frames one after the other on a GPU, and where each clip begins; None if not there."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if sum(clip.nbytes for clip in clips) > ROOM * (torch.cuda.mem_get_info(device)[0] + cached):
        return None
    return _joined(clips, device)


def _joined(clips: list[np.ndarray], device: torch.device) -> tuple[Tensor, list[int]]:
    """Clips as one tensor, one after the other, and the number of the first frame of each.

    Memory of the processor holds one of them at a time.
    """
    offsets = [0, *np.cumsum([len(clip) for clip in clips]).tolist()]
    frames = torch.empty((offsets[-1], *clips[0].shape[1:]), dtype=torch.uint8, device=device)
    for clip, first in zip(clips, offsets, strict=False):
        frames[first : first + len(clip)].copy_(torch.from_numpy(np.array(clip)))
    return frames, offsets


def _paints(rows: pd.DataFrame, height: int, width: int) -> np.ndarray:
    """Of each row of the tracks table whether its box covers at least one pixel at this size."""
    boxes = torch.from_numpy(rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float32))
    x0, y0, x1, y1 = to_pixels(boxes, height, width).unbind(-1)
    return ((x1 > x0) & (y1 > y0)).numpy()


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
