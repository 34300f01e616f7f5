"""Pixel masks of a test clip: images, one array (ShanghaiTech) or a MATLAB file (Avenue)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data_prep.frames import read_image
from data_prep.matlab import load_cells
from ddllib.errors import DDLError
from ddllib.reading import read_array


def read_masks(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Masks of one clip in order, each H x W uint8 0/1; any non-zero value is abnormal.

    `paths`: one image per frame, or one .npy (N x H x W) or .mat file (`volLabel`, a cell per
    frame). A .mat file is held in memory whole, the others mask by mask. Raises DDLError for a
    file that cannot be read.
    """
    readers = {".npy": read_stack, ".mat": read_volume}
    read = readers.get(paths[0].suffix.lower())
    masks = read(paths[0]) if read else (read_mask_image(path) for path in paths)
    return (np.ascontiguousarray(mask != 0, np.uint8) for mask in masks)


def mask_count(paths: Sequence[Path]) -> int:
    """How many masks `read_masks` yields."""
    if paths[0].suffix.lower() == ".npy":
        return len(open_array(paths[0]))
    return len(load_volume(paths[0])) if paths[0].suffix.lower() == ".mat" else len(paths)


def abnormal_frames(paths: Sequence[Path]) -> np.ndarray:
    """0/1 per frame, uint8: whether its mask has any pixel."""
    return np.array([mask.any() for mask in read_masks(paths)], np.uint8)


def read_mask_image(path: Path) -> np.ndarray:
    """One mask, H x W; a fourth channel is opacity, not a label."""
    mask = read_image(path, cv2.IMREAD_UNCHANGED)
    return mask[..., :3].max(axis=2) if mask.ndim == 3 else mask


def open_array(path: Path) -> np.ndarray:
    masks = read_array(path, "a readable array of masks", "fetch it again", mapped=True)
    if masks.ndim != 3 or not masks.size or masks.dtype.kind not in "buif":
        raise DDLError(
            f"{path}: {masks.dtype} of shape {masks.shape}; expected numbers, frames x height x "
            "width; fetch it again"
        )
    return masks


def read_stack(path: Path) -> Iterator[np.ndarray]:
    for number, mask in enumerate(open_array(path)):
        if not np.isfinite(mask).all():
            raise DDLError(f"{path}: mask {number} (counted from 0) is not finite; fetch it again")
        yield mask


def load_volume(path: Path) -> list[np.ndarray]:
    """The masks of an Avenue file, N arrays H x W."""
    masks = load_cells(path, "volLabel", "a cell with one mask per frame")
    shapes = {mask.shape for mask in masks if mask.dtype.kind in "bui"}
    odd = [
        mask for mask in masks if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "bui"
    ]
    if odd or len(shapes) != 1:
        raise DDLError(f"{path}: `volLabel` is no cell of masks of one size; fetch it again")
    return masks


def read_volume(path: Path) -> Iterator[np.ndarray]:
    yield from load_volume(path)


def mask_to_working_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """H x W 0/1 -> size 0/1, the nearest pixel."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
