"""Pixel masks of a test clip: images, one array (ShanghaiTech) or a MATLAB file (Avenue)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from data_prep.frames import read_image
from data_prep.labels import load_mat
from ddllib.errors import DDLError


def read_masks(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Masks of one clip in order, each H x W uint8 0/1; any non-zero value is abnormal.

    `paths`: one image per frame, or one .npy (N x H x W) or .mat file (`volLabel`, a cell per
    frame). A .mat file is held in memory whole, the others mask by mask. Raises DDLError for a
    file that cannot be read.
    """
    readers = {".npy": read_array, ".mat": read_volume}
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
    try:
        masks = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise DDLError(f"{path}: not a readable array of masks ({reason})") from error
    if not isinstance(masks, np.ndarray):
        raise DDLError(f"{path}: several arrays; expected one, frames x height x width")
    if masks.ndim != 3:
        raise DDLError(f"{path}: masks of shape {masks.shape}; expected frames x height x width")
    return masks


def read_array(path: Path) -> Iterator[np.ndarray]:
    yield from open_array(path)


def load_volume(path: Path) -> np.ndarray:
    """The masks of an Avenue file, an object array of N arrays H x W."""
    masks = load_mat(path, "volLabel", "a cell with one mask per frame").ravel()
    shapes = {mask.shape if isinstance(mask, np.ndarray) else () for mask in masks}
    if len(shapes) != 1 or len(shapes.pop()) != 2:
        raise DDLError(f"{path}: `volLabel` is no cell of masks of one size; fetch it again")
    return masks


def read_volume(path: Path) -> Iterator[np.ndarray]:
    yield from load_volume(path)


def mask_to_working_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """H x W 0/1 -> size 0/1, the nearest pixel."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
