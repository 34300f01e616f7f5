"""Regions of the frame that are not scored: a swaying tree, a screen, a neighbour's window."""

from __future__ import annotations

import json

import cv2
import numpy as np

from ddllib.errors import DDLError
from ddllib.paths import find_path


def load_ignore(value: str | list | None, size: tuple[int, int]) -> np.ndarray | None:
    """The setting ``ignore`` as a mask at the working size: bool H x W, True = ignore.

    ``value`` is the path of an image of any size, white where nothing counts, or a list of boxes
    ``[x0, y0, x1, y1]`` relative to the frame, in [0, 1]; None gives None. Raises ``DDLError`` for
    what is neither, and where all of the frame or nothing of it is left.
    """
    if value is None:
        return None
    mask = _mask_of_boxes(value, size) if isinstance(value, list) else _mask_of_image(value, size)
    if mask.all():
        raise DDLError(f"ignore: {value} leaves nothing of the frame; mark less of it")
    if not mask.any():
        raise DDLError(
            f"ignore: {value} marks nothing of the frame; expected an image that is white where "
            "nothing counts, or boxes, larger than a pixel"
        )
    return mask


def path_or_boxes(text: str) -> str | list:
    """Parse the setting ``ignore`` given as text: a list of boxes, or else an image's path."""
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise DDLError(
            f"ignore {text}: no boxes; expected [[x0, y0, x1, y1], ...] relative to the frame, "
            "from 0 to 1, such as [[0, 0, 0.5, 0.2]]"
        ) from None


def _mask_of_image(value: str, size: tuple[int, int]) -> np.ndarray:
    path = find_path(value)
    data = np.frombuffer(path.read_bytes(), np.uint8) if path.is_file() else np.zeros(0, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if len(data) else None
    if image is None:
        raise DDLError(f"{path}: not an image; expected a PNG that is white where nothing counts")
    with_alpha = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if with_alpha.ndim == 3 and with_alpha.shape[2] == 4:  # transparent pixels are not marked
        image[with_alpha[..., 3] == 0] = 0
    # INTER_AREA averages: a pixel is marked where at least half of it is white.
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA) >= 128


def _mask_of_boxes(value: list, size: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(size, bool)
    for box in value:
        corners = box if isinstance(box, list | tuple) and len(box) == 4 else ()
        in_range = all(isinstance(c, int | float) and 0 <= c <= 1 for c in corners)
        if not (corners and in_range and corners[0] < corners[2] and corners[1] < corners[3]):
            raise DDLError(
                f"ignore: {box!r} is no box; expected [x0, y0, x1, y1] relative to the frame, "
                "from 0 to 1, such as [0, 0, 0.5, 0.2]"
            )
        height, width = size
        x0, y0, x1, y1 = np.round(np.multiply(corners, (width, height) * 2)).astype(int)
        mask[y0:y1, x0:x1] = True
    return mask
