"""Telea's method (2004), which erases objects: it goes on with the edges of the surroundings."""

import cv2
import numpy as np

from data_prep.companions.inpainting.base import Inpainter, inpainter

RADIUS = 3  # pixels around the region that it looks at


@inpainter("telea")
class Telea(Inpainter):
    """OpenCV's; nothing is random."""

    def paint(self, picture: np.ndarray, mask: np.ndarray, seed: int) -> np.ndarray:
        return cv2.inpaint(picture, mask, RADIUS, cv2.INPAINT_TELEA)
