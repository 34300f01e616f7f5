"""Frames and error maps as pictures for people."""

from __future__ import annotations

import cv2
import numpy as np

from data_prep.footage.pictures import resized

SIDE = 288  # pixels: small frames are enlarged to about this side
CLIP_SIDE = 400  # pixels of the longer side of an event's clip: OpenCV's WebM files are large
BOX_COLOUR = (0, 94, 213)  # blue, green, red: vermillion


def enlarged(shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which a small frame is shown: a whole multiple of its own."""
    times = max(round(SIDE / max(shape)), 1)
    return shape[0] * times, shape[1] * times


def seen(scored) -> np.ndarray:
    """The picture of a scored frame (``streaming.FrameScore``) for a person, h x w x 3 BGR.

    It is the frame's view, or if the source has none, the model's small frame.
    """
    if scored.view is None:
        return picture(scored.frame)
    return resized(scored.view, enlarged(scored.view.shape[:2]))


def picture(frame: np.ndarray, shape: tuple[int, int] | None = None) -> np.ndarray:
    """uint8 C x H x W (RGB or grey) to h x w x 3 BGR, of the ``shape`` (h, w) or ``enlarged``."""
    image = np.moveaxis(np.broadcast_to(frame, (3, *frame.shape[1:])), 0, -1)[..., ::-1]
    return resized(np.ascontiguousarray(image), shape or enlarged(frame.shape[1:]))


def boxed(image: np.ndarray, box: tuple[float, float, float, float] | None) -> np.ndarray:
    """A copy of a picture, h x w x 3 BGR, with a relative box drawn into it."""
    image = image.copy()
    if box is not None:
        height, width = image.shape[:2]
        x0, y0, x1, y1 = np.multiply(box, [width, height, width, height]).round().astype(int)
        cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), BOX_COLOUR, 2)
    return image


def heat(error: np.ndarray, top: float, shape: tuple[int, int] | None = None) -> np.ndarray:
    """An error map H x W as h x w x 3 BGR: black for 0, palest for ``top`` and above."""
    scaled = np.clip(np.asarray(error, np.float32) / max(top, 1e-12) * 255, 0, 255)
    large = picture(scaled.astype(np.uint8)[None], shape)[..., 0]
    return cv2.applyColorMap(np.ascontiguousarray(large), cv2.COLORMAP_MAGMA)
