"""Outlines of objects by an instance segmentation network, from the footage at its own size.

At the working size a person may be four pixels wide. So each box is looked at in the original
frame, with its surroundings, enlarged to what the network was made for.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from data_prep.tracks.compare import iou
from data_prep.tracks.detectors.weights import DEFAULTS, find_local
from data_prep.tracks.detectors.yolo import load_network, moving_classes
from ddllib.data import BOX
from ddllib.errors import DDLError

SIDE = 320  # pixels that the network looks at
CONTEXT = 2.0  # side of the surroundings, relative to the longer side of the box
LEAST_OVERLAP = 0.3  # intersection over union of a found object's box and the tracked one
CONFIDENCE = 0.1


@functools.cache
def segmenter() -> Segmenter:
    """The network with the weights that are here, loaded once.

    Raises DDLError where there are none, or they cannot be used.
    """
    weights = find_local("yolo-seg")
    if weights is None:
        names = ", ".join(DEFAULTS["yolo-seg"])
        raise DDLError(
            f"silhouettes yolo: no weights, or no package that reads them; put one of {names} into "
            "models/ beside or below the data, or use silhouettes: background"
        )
    return Segmenter(weights)


class Segmenter:
    """YOLO with instance masks, through ultralytics."""

    def __init__(self, weights: Path):
        self.options = {"imgsz": SIDE, "conf": CONFIDENCE, "retina_masks": True}
        self.options |= {"verbose": False, "save": False}
        instead = "use silhouettes: background"
        self.network = load_network(weights, "segment", self.options, instead)
        self.options["classes"] = moving_classes(self.network)

    def outlines(
        self, frames: Iterable[np.ndarray], tracks: pd.DataFrame, fallback: Iterable[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """uint8 H x W of 0 and 1 for each frame: the objects inside the tracked boxes.

        `frames` are the original ones, H0 x W0 x 3 uint8 BGR, `tracks` the clip's rows. `fallback`
        has the outlines, H x W, that a box keeps where no object is found in it.
        """
        for t, (frame, mask) in enumerate(zip(frames, fallback, strict=True)):
            mask = mask.copy()
            for box in tracks.loc[tracks["frame"] == t, BOX].to_numpy(float):
                self._draw(mask, frame, box)
            yield mask

    def _draw(self, mask: np.ndarray, frame: np.ndarray, box: np.ndarray) -> None:
        """Put the outline found in one box, relative to the frame, in the place of the old one."""
        place = surroundings(box, frame.shape[:2])
        outline = self.find(frame, place, box)
        if outline is None:
            return
        height, width = mask.shape
        x0, y0, x1, y1 = (box * [width, height, width, height] + 1e-3).astype(int)
        whole = np.zeros(frame.shape[:2], np.float32)
        left, top, right, bottom = place
        whole[top:bottom, left:right] = cv2.resize(outline, (right - left, bottom - top))
        small = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA) > 0.5
        if small[y0:y1, x0:x1].any():
            mask[y0:y1, x0:x1] = small[y0:y1, x0:x1]

    def find(self, frame: np.ndarray, place: tuple, box: np.ndarray) -> np.ndarray | None:
        """The mask of the object whose box is most like this one, SIDE x SIDE float32, or None."""
        left, top, right, bottom = place
        crop = cv2.resize(
            frame[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
        )
        boxes, masks = self.objects(crop)
        if not len(boxes):
            return None
        height, width = frame.shape[:2]
        target = (box * [width, height, width, height] - [left, top, left, top]) * SIDE
        target /= [right - left, bottom - top] * 2
        overlaps = iou(target[None], boxes)[0]
        best = int(np.argmax(overlaps))
        return masks[best] if overlaps[best] >= LEAST_OVERLAP else None

    def objects(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Boxes n x 4 in pixels and masks n x SIDE x SIDE float32 of 0 and 1, in a crop."""
        result = self.network.predict(crop, **self.options)[0]
        if result.masks is None:
            return np.zeros((0, 4)), np.zeros((0, SIDE, SIDE), np.float32)
        return result.boxes.xyxy.cpu().numpy(), result.masks.data.cpu().numpy().astype(np.float32)


def surroundings(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square around a relative box, in whole pixels of a frame H x W, moved to lie inside it."""
    height, width = size
    x0, y0, x1, y1 = box * [width, height, width, height]
    side = min(int(np.ceil(CONTEXT * max(x1 - x0, y1 - y0, 1))), height, width)
    left = int(np.clip((x0 + x1 - side) / 2, 0, width - side))
    top = int(np.clip((y0 + y1 - side) / 2, 0, height - side))
    return left, top, left + side, top + side
