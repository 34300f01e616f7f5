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
    highest = [grid.amax(dim=(1, 2)) for grid in patch_means(maps, patch)]
    return torch.stack(highest).amax(dim=0)


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
