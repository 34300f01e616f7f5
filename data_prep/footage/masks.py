"""Pixel masks of a test clip: images, one array (ShanghaiTech) or a MATLAB file (Avenue)."""

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from data_prep.footage.frames import read_image
from data_prep.footage.layouts import masks_place
from data_prep.footage.mask_values import Meaning, meaning_of
from data_prep.footage.matlab import load_cells
from ddllib.errors import DDLError
from ddllib.io.reading import read_array

LARGE_ARRAY = 1 << 26  # bytes; of a larger array a quick check reads only some masks
QUICK_MASKS = 64  # about how many masks that are


def read_masks(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Masks of one clip in order, each H x W uint8 0/1, 1 = abnormal.

    `paths`: one image per frame, or one .npy (N x H x W) or .mat file (`volLabel`, a cell per
    frame). A .mat file is held in memory whole, the others mask by mask. Raises DDLError for a
    file that cannot be read, and for ambiguous values (`mask_values`).
    """
    limit = examine(paths).limit
    return (np.ascontiguousarray(mask > limit, np.uint8) for mask in raw_masks(paths))


def raw_masks(paths: Sequence[Path], step: int = 1) -> Iterator[np.ndarray]:
    """Every mask, or every `step`-th, with the values of its file: H x W numbers."""
    readers = {".npy": read_stack, ".mat": read_volume}
    read = readers.get(paths[0].suffix.lower())
    return read(paths[0], step) if read else map(read_mask_image, paths[::step])


def examine(paths: Sequence[Path], quick: bool = False) -> Meaning:
    """The meaning of a clip's masks; a `quick` check reads only some masks of a large array.

    Raises DDLError as `read_masks` does. The result is cached as long as the files do not change.
    """
    states = [path.stat() for path in paths]
    large = paths[0].suffix.lower() == ".npy" and states[0].st_size > LARGE_ARRAY
    step = max(1, mask_count(paths) // QUICK_MASKS) if quick and large else 1
    return _examine(tuple(paths), step, tuple((s.st_size, s.st_mtime_ns) for s in states))


@lru_cache(maxsize=1024)
def _examine(paths: tuple[Path, ...], step: int, states: tuple) -> Meaning:
    def masks() -> Iterator[np.ndarray]:
        return of_one_size(paths, raw_masks(paths, step))

    return meaning_of(masks_place(paths), masks, any(map(is_jpeg, paths)))


def of_one_size(paths: Sequence[Path], masks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    size = None
    for number, mask in enumerate(masks):
        size = size or mask.shape
        if mask.shape != size:
            raise DDLError(
                f"{paths[number]}: a mask of {in_words(mask.shape)}, but the clip's first one has "
                f"{in_words(size)}; expected masks of one size, each that of its frame"
            )
        yield mask


def in_words(size: Sequence[int]) -> str:
    """A size (height, width) as text, the width first as usual."""
    return f"{size[1]} x {size[0]} pixels"


def is_jpeg(path: Path) -> bool:
    """Whether a file is a JPEG, by its content."""
    with open(path, "rb") as file:
        return file.read(2) == b"\xff\xd8"


def mask_count(paths: Sequence[Path]) -> int:
    """How many masks `read_masks` yields."""
    if paths[0].suffix.lower() == ".npy":
        return len(open_array(paths[0]))
    return len(load_volume(paths[0])) if paths[0].suffix.lower() == ".mat" else len(paths)


def abnormal_frames(paths: Sequence[Path]) -> np.ndarray:
    """0/1 per frame, uint8: whether its mask marks any pixel."""
    return (examine(paths).shares > 0).astype(np.uint8)


def read_mask_image(path: Path) -> np.ndarray:
    """One mask, H x W; of a colour image the brightest channel."""
    mask = read_image(path, cv2.IMREAD_UNCHANGED)
    return without_channels(path, mask) if mask.ndim == 3 else mask


def without_channels(path: Path, mask: np.ndarray) -> np.ndarray:
    """H x W x C -> H x W; raises DDLError if a fourth channel, opacity, contradicts the colours."""
    colour = mask[..., :3].max(axis=2)
    visible = mask[..., 3] > 0 if mask.shape[2] == 4 else np.True_
    if not visible.all() and np.any(visible != (colour > 0)):
        raise DDLError(
            f"{path}: marks in colours that its transparency contradicts; expected black for "
            "normal and white for abnormal pixels; save it without transparency (alpha channel)"
        )
    return colour


def open_array(path: Path) -> np.ndarray:
    """The masks of a .npy file, N x H x W, or N x H x W x 3 in colour."""
    masks = read_array(path, "a readable array of masks", "fetch it again", mapped=True)
    shape = masks.shape
    if masks.ndim == 4 and 1 in (shape[1], shape[3]):
        masks = masks[..., 0] if shape[3] == 1 else masks[:, 0]
    usable = masks.ndim == 3 or (masks.ndim == 4 and shape[3] in (3, 4))
    if not usable or not masks.size or masks.dtype.kind not in "buif":
        raise DDLError(
            f"{path}: {masks.dtype} of shape {shape}; expected numbers, frames x height x "
            "width; fetch it again"
        )
    return masks


def read_stack(path: Path, step: int) -> Iterator[np.ndarray]:
    masks = open_array(path)
    for number in range(0, len(masks), step):
        mask = np.asarray(masks[number])
        if not np.isfinite(mask).all():
            raise DDLError(f"{path}: mask {number} (counted from 0) is not finite; fetch it again")
        mask = mask.view(np.uint8) if mask.dtype == bool else mask
        yield without_channels(path, mask) if mask.ndim == 3 else mask


def load_volume(path: Path) -> list[np.ndarray]:
    """The masks of an Avenue file, N arrays H x W."""
    masks = load_cells(path, "volLabel", "a cell with one mask per frame")
    shapes = {mask.shape for mask in masks if mask.dtype.kind in "bui"}
    unusable = [
        mask for mask in masks if mask.ndim != 2 or not mask.size or mask.dtype.kind not in "bui"
    ]
    if unusable or len(shapes) != 1:
        raise DDLError(f"{path}: `volLabel` is no cell of masks of one size; fetch it again")
    return masks


def read_volume(path: Path, step: int) -> Iterator[np.ndarray]:
    yield from load_volume(path)[::step]


def mask_to_working_size(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """H x W 0/1 -> `size` 0/1, by the nearest pixel."""
    return cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
