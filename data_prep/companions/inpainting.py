"""In-painters: a region of a frame filled from what surrounds it."""

import cv2
import numpy as np

RADIUS = 3  # pixels around the region that Telea's method looks at


def telea(frame: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The frame with its mask filled by Telea's method (2004), which erases objects.

    uint8 C x H x W and H x W of 0 and 1; pixels outside the mask are unchanged.
    """
    if not mask.any():
        return np.array(frame)
    picture = np.ascontiguousarray(frame.transpose(1, 2, 0))
    filled = cv2.inpaint(picture, mask, RADIUS, cv2.INPAINT_TELEA).reshape(picture.shape)
    return np.where(mask, np.ascontiguousarray(filled.transpose(2, 0, 1)), frame)


INPAINTERS = {"telea": telea}
