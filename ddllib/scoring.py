"""From a trained model to one score and one error map per frame (paper, section 3.4)."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddllib.errors import DDLError
from ddllib.memory import keep_freed_memory
from ddllib.models import UNet, for_scoring

CHUNK, GPU_CHUNK = 16, 64  # frames at a time; the second on a GPU in bfloat16


def distance_map(frames: Tensor, reconstructions: Tensor) -> Tensor:
    """Per-pixel Euclidean distance over channels, divided by sqrt(3) whatever C is, as released.

    Both inputs N x C x H x W in [0, 1]; output N x H x W, float32.
    """
    square = (frames.float() - reconstructions.float()).square()
    return sum(square.unbind(1)).div(3).sqrt()


def without(maps: Tensor, ignore: np.ndarray | None) -> Tensor:
    """The maps, N x H x W, with 0 at every pixel to ignore; ``ignore`` is H x W, True = ignore.

    Raises ``DDLError`` where the two differ in size.
    """
    if ignore is None:
        return maps
    if ignore.shape != maps.shape[-2:]:
        sizes = " and ".join("x".join(map(str, s)) for s in (ignore.shape, maps.shape[-2:]))
        raise DDLError(f"ignore: the mask and the frames differ in size ({sizes}); give one size")
    return maps.masked_fill(torch.from_numpy(ignore).to(maps.device, torch.bool), 0)


def patch_scores(maps: Tensor, patch: int) -> Tensor:
    """The largest mean over patches of each map: N x H x W -> N.

    Two grids of ``patch`` x ``patch`` pixels are laid, one from the corner and one shifted by half
    a patch along both axes; patches that would leave the frame are not counted.
    """
    if not 1 <= patch <= min(maps.shape[-2:]):
        raise DDLError(f"patch is {patch}; expected 1 to {min(maps.shape[-2:])}, the frame's side")
    half = patch // 2
    best = F.avg_pool2d(maps[:, None], patch).amax(dim=(1, 2, 3))
    shifted = maps[:, None, half:, half:]
    if min(shifted.shape[-2:]) >= patch:
        best = torch.maximum(best, F.avg_pool2d(shifted, patch).amax(dim=(1, 2, 3)))
    return best


def as_input(frames: np.ndarray, channels: int, device: torch.device | str = "cpu") -> Tensor:
    """uint8 N x C0 x H x W -> float N x C x H x W in [0, 1]; grey becomes equal channels."""
    x = torch.from_numpy(np.array(frames)).to(device).float() / 255
    return x.expand(-1, channels, -1, -1)


@torch.inference_mode()
def reconstruct(
    model: UNet, frames: np.ndarray, precision: str = "float32", chunk: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Slide the model's window over one clip; yields chunks of (X^t, f(X)), each n x C x H x W.

    ``frames`` is uint8 N x C0 x H x W; all chunks together hold the N - T + 1 middle frames.
    Memory is bounded by ``chunk`` (16 frames; on a GPU in bfloat16, 64) however long the clip. A
    copy of the model in evaluation mode, its batch norms folded, does the work.
    Raises ``DDLError`` for a clip shorter than the model's window.
    """
    temporal, half = model.temporal, model.temporal // 2
    if len(frames) < temporal:
        raise DDLError(f"a clip has {len(frames)} frames; expected at least {temporal}, a window")
    device, dtype = next(model.parameters()).device, getattr(torch, precision)
    large = device.type == "cuda" and precision == "bfloat16"
    chunk = chunk or (GPU_CHUNK if large else CHUNK)
    model = for_scoring(model, precision)
    for start in range(0, len(frames) - temporal + 1, chunk):
        x = as_input(frames[start : start + chunk + temporal - 1], model.channels, device)
        y = model(x.to(dtype).transpose(0, 1)[None])[0].transpose(0, 1)
        yield x[half : len(x) - half], y
        _let_go(frames)


def _let_go(frames: np.ndarray) -> None:
    """Pages of a memory-mapped clip that were read need not stay in memory."""
    mapped = getattr(frames, "_mmap", None)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def repeat_edges(values: np.ndarray, temporal: int) -> np.ndarray:
    """Give the T // 2 frames at either end, which have no window, the nearest frame's value."""
    return np.pad(values, temporal // 2, mode="edge")


@keep_freed_memory()
def score_clip(
    model: UNet,
    frames: np.ndarray,
    patch: int,
    precision: str = "float32",
    on_maps: Callable[[int, np.ndarray], None] | None = None,
    ignore: np.ndarray | None = None,
) -> np.ndarray:
    """One raw score per frame of a clip, larger for stranger: uint8 N x C0 x H x W -> float32 N.

    ``on_maps(first, maps)`` is handed each chunk's distance maps, n x H x W, the first of which
    belongs to frame ``first``. Pixels marked in ``ignore``, H x W, count 0 in maps and scores.
    """
    scores, frame = [], model.temporal // 2
    for x, y in reconstruct(model, frames, precision):
        maps = without(distance_map(x, y), ignore)
        scores.append(patch_scores(maps, patch).cpu().numpy())
        if on_maps:
            on_maps(frame, maps.cpu().numpy())
        frame += len(maps)
    return repeat_edges(np.concatenate(scores), model.temporal)


def score_clips(
    model: UNet,
    clips: Mapping[str, np.ndarray],
    patch: int,
    precision: str = "float32",
    ignore: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Raw scores, float32 N, of every clip as ``score_clip`` gives them, by its name.

    Clips are uint8 N x C0 x H x W. Raises ``DDLError`` as ``score_clip`` does.
    """
    model = for_scoring(model, precision)
    return {
        name: score_clip(model, frames, patch, precision, ignore=ignore)
        for name, frames in clips.items()
    }


def frame_difference_scores(
    frames: np.ndarray, patch: int, ignore: np.ndarray | None = None
) -> np.ndarray:
    """The naive baseline: the same patch score on ``|x_t - x_(t-1)|``; frame 0 repeats frame 1.

    uint8 N x C0 x H x W -> float32 N; zeros where there is only one frame. Pixels marked in
    ``ignore``, H x W, count 0.
    """
    if len(frames) < 2:
        return np.zeros(len(frames), np.float32)
    scores = []
    for start in range(0, len(frames) - 1, CHUNK):
        x = as_input(frames[start : start + CHUNK + 1], 3)
        scores.append(patch_scores(without(distance_map(x[1:], x[:-1]), ignore), patch).numpy())
    return np.concatenate([scores[0][:1], *scores])
