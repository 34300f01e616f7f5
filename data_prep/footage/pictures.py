"""Write pictures completely or not at all, and fit pictures to a size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from ddllib.io.files import write_whole


def fitted(shape: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width with the same aspect ratio, even, the longer ``most`` pixels at most."""
    scale = min(most / max(shape), 1.0)
    height, width = (max(int(side * scale / 2 + 1e-6) * 2, 2) for side in shape)
    return height, width


def resized(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """An image H x W x 3 of the ``shape`` (h, w); a copy, unless it has it already."""
    if image.shape[:2] == tuple(shape):
        return image
    smaller = shape[0] < image.shape[0]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(image, shape[::-1], interpolation=interpolation)


def save_picture(path: Path, image: np.ndarray) -> None:
    """Write a BGR picture in the format of the name's ending, whole or not at all."""
    encoded = cv2.imencode(path.suffix, image)[1].tobytes()
    write_whole(path, lambda file: file.write(encoded))
