"""Moving regions of a fixed camera by background subtraction; no weights."""

from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np

from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import Clip
from data_prep.tracks.detectors.base import NO_CLASS


class MotionDetector:
    """Moving regions of a fixed camera by background subtraction (OpenCV's MOG2); no weights.

    The background is learnt in a first pass over the clip, so that objects are found from its first
    frame on. Each connected region of foreground is one object; its confidence is the share of its
    box that moves; its class is -1. People who walk close together become one object.
    """

    parallel = True

    def __init__(
        self, min_area: float = 6e-4, min_fill: float = 0.2, shadow: float = 0.6, warm_up: int = 500
    ):
        """`min_area` is relative to the frame; `warm_up` bounds the frames of the first pass.

        A pixel counts as shadow, not as an object, if it keeps at least the share `shadow` of the
        background's brightness: lower drops more shadow, but also people in dark clothes.
        """
        self.settings = {
            "name": "motion",
            "method": "MOG2",
            "min_area": min_area,
            "min_fill": min_fill,
            "shadow": shadow,
            "warm_up": warm_up,
        }
        self.min_area, self.min_fill = min_area, min_fill
        self.shadow, self.warm_up = shadow, warm_up

    def detect(self, clip: Clip) -> Iterator[np.ndarray]:
        """n x 6 boxes of each frame, see `Detector`; the clip is read twice."""
        background = self.learn(clip)
        for frame in read_frames(clip, colour=True):
            foreground = background.apply(cv2.GaussianBlur(frame, (3, 3), 0), learningRate=0.002)
            yield self.regions(foreground)

    def learn(self, clip: Clip) -> cv2.BackgroundSubtractorMOG2:
        """The background of the clip's first `warm_up` frames."""
        background = cv2.createBackgroundSubtractorMOG2(
            history=self.warm_up, varThreshold=16, detectShadows=True
        )
        background.setShadowThreshold(self.shadow)
        # With OpenCV's 0.9, people who cover a pixel in a tenth of the frames become background.
        background.setBackgroundRatio(0.7)
        for number, frame in enumerate(islice(read_frames(clip, colour=True), self.warm_up)):
            # Equal weights: with OpenCV's own the objects of the first frame would stay visible.
            background.apply(cv2.GaussianBlur(frame, (3, 3), 0), learningRate=1 / (number + 1))
        return background

    def regions(self, foreground: np.ndarray) -> np.ndarray:
        """Foreground mask, H x W uint8 -> n x 6 boxes of its connected regions."""
        moving = cv2.medianBlur((foreground == 255).astype(np.uint8), 3)  # 127 marks a shadow
        # Close gaps between head, body and legs; sizes are relative to the frame's height.
        tall, wide = (max(3, int(foreground.shape[0] * share) | 1) for share in (0.028, 0.01))
        moving = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, np.ones((tall, wide), np.uint8))
        _, _, regions, _ = cv2.connectedComponentsWithStats(moving, connectivity=8)
        x, y, width, height, area = regions[1:].astype(float).T  # region 0 is the background
        fill = area / (width * height)
        keep = (area >= self.min_area * moving.size) & (fill >= self.min_fill)
        boxes = np.stack([x, y, x + width, y + height, fill, np.full_like(x, NO_CLASS)], axis=1)
        return boxes[keep]
