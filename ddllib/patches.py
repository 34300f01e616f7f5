"""Grids of patches, from whose means a frame's score is computed (DDL, section 3.4)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ddllib.errors import DDLError


def patch_means(maps: Tensor, patch: int) -> list[Tensor]:
    """The mean of each patch of maps N x H x W, a tensor N x rows x columns for each grid.

    Two grids of ``patch`` x ``patch`` pixels are used, one from the corner and one shifted by half
    a patch along both axes; patches that would leave the frame are not counted, nor is a grid
    without a patch. Raises ``DDLError`` for a patch larger than the frame.
    """
    side = min(maps.shape[-2:])
    if not 1 <= patch <= side:
        raise DDLError(f"patch is {patch}; expected 1 to {side}, the frame's side")
    shifts = [shift for shift in dict.fromkeys((0, patch // 2)) if side - shift >= patch]
    return [F.avg_pool2d(maps[:, None, shift:, shift:], patch)[:, 0] for shift in shifts]


def patch_scores(maps: Tensor, patch: int) -> Tensor:
    """The largest mean over patches of each map: N x H x W -> N (``patch_means``)."""
    return highest(patch_means(maps, patch))


def highest(grids: list[Tensor]) -> Tensor:
    """The largest value of all grids, N x rows x columns each, for each frame: N."""
    return torch.stack([grid.amax(dim=(1, 2)) for grid in grids]).amax(dim=0)


def patch_deviations(
    frames: Tensor, patch: int, ignore: np.ndarray | None = None
) -> list[tuple[Tensor, Tensor]]:
    """The standard deviation of frames within each patch, for each grid of ``patch_means``.

    ``frames`` is N x C x H x W; the variances of the channels are averaged. Pixels marked in
    ``ignore``, H x W, are left out. Each grid is a pair: the deviations, N x rows x columns, which
    are 0 where all pixels are left out, and the share of pixels that count, rows x columns.
    """
    if frames.stride(1) == 0:  # grey footage, repeated over the channels
        frames = frames[:, :1]
    x = frames.float().flatten(0, 1)
    pixels = without(torch.ones_like(x[:1]), ignore)
    grids = []
    for share, mean, square in zip(
        patch_means(pixels, patch),
        patch_means(x * pixels, patch),
        patch_means(x.square() * pixels, patch),
        strict=True,
    ):
        known = share.clamp(min=1e-9)
        variance = (square / known - (mean / known).square()).clamp(min=0)
        variance = variance.unflatten(0, (len(frames), -1)).mean(dim=1)
        grids.append((variance.sqrt(), share[0]))
    return grids


def over_pixels(grid: Tensor, patch: int, height: int, width: int) -> Tensor:
    """The first grid's values at each pixel: N x rows x columns to N x height x width.

    A pixel beyond the last whole patch takes that patch's value.
    """
    rows = (torch.arange(height, device=grid.device) // patch).clamp(max=grid.shape[1] - 1)
    columns = (torch.arange(width, device=grid.device) // patch).clamp(max=grid.shape[2] - 1)
    return grid[:, rows][:, :, columns]


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


def grids_of(error: np.ndarray, patch: int) -> list[np.ndarray]:
    """``patch_means`` of one map H x W: rows x columns float32 for each grid."""
    maps = torch.from_numpy(np.asarray(error, np.float32))[None]
    return [grid[0].numpy() for grid in patch_means(maps, patch)]


def best_patch(error: np.ndarray, patch: int) -> tuple[int, int, int]:
    """The patch that gives one map H x W its score: its grid (0, 1), row and column there."""
    grids = grids_of(error, patch)
    best = max(range(len(grids)), key=lambda k: grids[k].max())
    row, column = np.unravel_index(grids[best].argmax(), grids[best].shape)
    return best, int(row), int(column)


def corner(place: tuple[int, int, int], patch: int) -> tuple[int, int]:
    """Row and column of the corner pixel of a patch that ``best_patch`` gave."""
    grid, row, column = place
    return row * patch + grid * (patch // 2), column * patch + grid * (patch // 2)
