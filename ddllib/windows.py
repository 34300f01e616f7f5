"""Training windows: T consecutive frames and the mask of one object tracked through all of them.

A batch is gathered by index from the uint8 frames and its masks are painted from boxes, so nothing
is decoded inside the training loop. A GPU holds the whole training set where it has room for it;
otherwise, and on a CPU, frames stay memory-mapped on disk as ``data_prep`` writes them, so that
footage may be larger than memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ddllib.errors import DDLError

GPU_MEMORY_SHARE = 0.5  # of a GPU's free memory that the training set may take


def common_tracks(tracks: pd.DataFrame, frames: int, temporal: int) -> list[list[np.ndarray]]:
    """For every window of one clip, the boxes of each track present in all its frames.

    ``tracks`` holds one clip's rows. Returns one list per window, frames - T + 1 of them, each
    holding T x 4 arrays of relative (x0, y0, x1, y1).
    """
    boxes_by_window: list[list[np.ndarray]] = [[] for _ in range(max(frames - temporal + 1, 0))]
    for _, rows in tracks.groupby("track"):
        rows = rows.sort_values("frame")
        times = rows["frame"].to_numpy()
        boxes = rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float32)
        for i in range(len(times) - temporal + 1):
            if times[i + temporal - 1] - times[i] == temporal - 1:
                boxes_by_window[times[i]].append(boxes[i : i + temporal])
    return boxes_by_window


def to_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """Relative corners (..., 4) as whole pixels, truncated.

    The 1e-3 corrects rounding in the tracks table: 1.9999 counts as 2.
    """
    scale = boxes.new_tensor([width, height, width, height])
    return (boxes * scale + 1e-3).floor()


def paint_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks from relative boxes: B x T x 4 -> B x 1 x T x H x W of 0 and 1.

    Corners are truncated to whole pixels, the end excluded, as in the released code; an empty box
    paints nothing.
    """
    return paint_pixels(to_pixels(boxes, height, width), height, width)


def paint_pixels(boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks from boxes in whole pixels, B x T x 4, ends excluded."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    ys = torch.arange(height, device=boxes.device)
    xs = torch.arange(width, device=boxes.device)
    rows = (ys >= y0[..., None]) & (ys < y1[..., None])
    columns = (xs >= x0[..., None]) & (xs < x1[..., None])
    return (rows[..., :, None] & columns[..., None, :]).float().unsqueeze(1)


def as_frames(frames: np.ndarray, like: Tensor) -> Tensor:
    """A clip's frames, uint8 n x C0 x H x W, converted to n x C x H x W in [0, 1].

    ``like`` are windows, B x C x ..., whose channels, type and device the frames get.
    """
    x = torch.from_numpy(np.array(frames)).to(like.device).to(like.dtype) / 255
    return x.expand(-1, like.shape[1], -1, -1)


@dataclass(frozen=True)
class Sample:
    """Windows, and one tracked object in each: what a pseudo-anomaly is made from.

    ``x`` is X, B x C x T x H x W in [0, 1]; ``mask`` is M, B x 1 x T x H x W of 0 and 1, painted
    from ``boxes``, B x T x 4, relative corners, zeros where a window has no object. Each window
    begins at its frame in ``starts`` of its clip in ``clips``, uint8 N x C0 x H x W. ``donors`` are
    clips from which foreign content may be taken. ``companions`` are the windows of arrays that
    stand beside the clips, by role, B x C' x T x H x W as stored (``Method.companions``).
    """

    x: Tensor
    mask: Tensor
    boxes: Tensor
    clips: Sequence[np.ndarray] = ()
    starts: Sequence[int] = ()
    donors: Sequence[np.ndarray] = ()
    companions: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def pixels(self) -> Tensor:
        """The boxes in whole pixels, B x T x 4, ends excluded."""
        return to_pixels(self.boxes, *self.x.shape[-2:])

    def take(self, windows: Tensor) -> Sample:
        """The windows of these indices as a new sample."""
        numbers = windows.tolist()
        indices = windows.to(self.x.device)
        return Sample(
            self.x[indices],
            self.mask[indices],
            self.boxes[windows.to(self.boxes.device)],
            [self.clips[n] for n in numbers] if self.clips else (),
            [self.starts[n] for n in numbers] if self.starts else (),
            self.donors,
            {role: values[indices] for role, values in self.companions.items()},
        )

    def first(self, frames: int) -> Sample:
        """The same windows without the frames after the first ``frames``."""
        x, mask = self.x[:, :, :frames], self.mask[:, :, :frames]
        cut = {role: values[:, :, :frames] for role, values in self.companions.items()}
        return replace(self, x=x, mask=mask, boxes=self.boxes[:, :frames], companions=cut)


class Windows:
    """All windows of the training clips, for a model on ``device``.

    ``clips`` maps names to uint8 frames, N x C0 x H x W; ``tracks`` holds the training rows of
    the tracks table. ``len(windows)`` counts the windows; ``gather`` makes a batch. ``boxes`` has
    for each window the T x 4 boxes of every track that paints a pixel in all T frames, and
    ``coverage`` is the share of windows that have one. ``companions`` are arrays beside the clips
    by role and clip, with an entry for each frame. Raises ``DDLError`` for clips without a window,
    with other channels than the model's, or with tracks of other footage.
    """

    def __init__(
        self,
        clips: Mapping[str, np.ndarray],
        tracks: pd.DataFrame,
        temporal: int,
        channels: int = 3,
        device: str | torch.device = "cpu",
        companions: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    ):
        if not clips:
            raise DDLError("there are no training clips; expected at least one; prepare the data")
        _check_clips(clips, temporal, channels)
        _check_tracks(clips, tracks)
        self.temporal, self.channels = temporal, channels
        self.device, self.clips = torch.device(device), list(clips.values())
        self.held = _on_gpu(self.clips, self.device)
        self.companions = {
            role: [arrays[name] for name in clips] for role, arrays in (companions or {}).items()
        }
        self.places: list[tuple[int, int]] = []  # clip and first frame of each window
        self.boxes: list[list[np.ndarray]] = []
        for number, (name, clip) in enumerate(clips.items()):
            rows = tracks[tracks["clip"] == name]
            windows = common_tracks(rows[_covers_pixel(rows, *clip.shape[2:])], len(clip), temporal)
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
        sample = self.sample(indices, self.draw(indices, rng))
        return sample.x, sample.mask

    def draw(self, indices: Tensor, rng: torch.Generator) -> Tensor:
        """The boxes of one track of each window, B x T x 4, relative corners; zeros without one."""
        return torch.stack([self._draw_boxes(int(i), rng) for i in indices])

    def sample(self, indices: Tensor, boxes: Tensor) -> Sample:
        """The windows of these indices with these boxes, B x T x 4.

        Does not wait for a GPU that holds the frames.
        """
        frames = self._frames([self.places[int(i)] for i in indices])
        x = frames.transpose(1, 2).float() / 255
        if x.shape[1] != self.channels:
            x = x.expand(-1, self.channels, -1, -1, -1)
        boxes = boxes.to(self.device, non_blocking=True)
        places = [self.places[int(i)] for i in indices]
        return Sample(
            x,
            paint_boxes(boxes, x.shape[-2], x.shape[-1]),
            boxes,
            [self.clips[clip] for clip, _ in places],
            [first for _, first in places],
            self.clips,
            {role: self._beside(arrays, places) for role, arrays in self.companions.items()},
        )

    def _beside(self, arrays: list[np.ndarray], places: list[tuple[int, int]]) -> Tensor:
        """The entries of a companion for windows at these places, B x C' x T x H x W."""
        windows = [arrays[clip][first : first + self.temporal] for clip, first in places]
        values = torch.from_numpy(np.stack(windows)).to(self.device)
        return values.transpose(1, 2) if values.dim() == 5 else values[:, None]

    def _frames(self, places: list[tuple[int, int]]) -> Tensor:
        """The frames of windows at these places, uint8 B x T x C0 x H x W, on the device."""
        if self.held is None:
            windows = [self.clips[clip][first : first + self.temporal] for clip, first in places]
            return torch.from_numpy(np.stack(windows)).to(self.device)
        frames, offsets = self.held
        starts = torch.tensor([offsets[clip] + first for clip, first in places])
        times = starts[:, None] + torch.arange(self.temporal)
        return frames[times.to(self.device, non_blocking=True)]

    def _draw_boxes(self, index: int, rng: torch.Generator) -> Tensor:
        candidates = self.boxes[index]
        if not candidates:
            return torch.zeros(self.temporal, 4)
        number = int(torch.randint(len(candidates), (), generator=rng))
        return torch.from_numpy(candidates[number])


def _on_gpu(clips: list[np.ndarray], device: torch.device) -> tuple[Tensor, list[int]] | None:
    """All frames concatenated on the GPU, and each clip's first index; None if they do not fit."""
    if device.type != "cuda":
        return None
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    free = torch.cuda.mem_get_info(device)[0] + cached
    if sum(clip.nbytes for clip in clips) > GPU_MEMORY_SHARE * free:
        return None
    return _joined(clips, device)


def _joined(clips: list[np.ndarray], device: torch.device) -> tuple[Tensor, list[int]]:
    """All clips concatenated in one tensor, and the index of each clip's first frame.

    Main memory holds one clip at a time.
    """
    offsets = [0, *np.cumsum([len(clip) for clip in clips]).tolist()]
    frames = torch.empty((offsets[-1], *clips[0].shape[1:]), dtype=torch.uint8, device=device)
    for clip, first in zip(clips, offsets, strict=False):
        frames[first : first + len(clip)].copy_(torch.from_numpy(np.array(clip)))
    return frames, offsets


def _covers_pixel(rows: pd.DataFrame, height: int, width: int) -> np.ndarray:
    """Whether the box of each row of the tracks table covers at least one pixel at this size."""
    boxes = torch.from_numpy(rows[["x0", "y0", "x1", "y1"]].to_numpy(np.float32))
    x0, y0, x1, y1 = to_pixels(boxes, height, width).unbind(-1)
    return ((x1 > x0) & (y1 > y0)).numpy()


def _check_tracks(clips: Mapping[str, np.ndarray], tracks: pd.DataFrame) -> None:
    lengths = tracks["clip"].map({name: len(clip) for name, clip in clips.items()})
    bad_rows = tracks[~((tracks["frame"] >= 0) & (tracks["frame"] < lengths))]
    if len(bad_rows):
        row = bad_rows.iloc[0]
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
