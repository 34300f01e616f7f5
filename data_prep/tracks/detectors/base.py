"""Names and interface of the detectors, and the classes of objects that they look for."""

from collections.abc import Iterator
from typing import Protocol

import numpy as np

from data_prep.footage.layouts import Clip

DETECTORS = ("motion", "yolo", "faster-rcnn", "none")
AUTO = "auto"  # the first detector that tracks enough, see `detectors_to_try`
WEIGHTED = ("yolo", "faster-rcnn", AUTO)  # those that take weights
NO_CLASS = -1  # of a box whose detector knows no classes

# COCO names of objects that move on a walkway or in a street. Street furniture stands still, and a
# bag lies within the box of its carrier, so both are left out.
MOVING = (
    "person",
    "bicycle",
    "car",
    "motorcycle",
    "bus",
    "train",
    "truck",
    "bird",
    "cat",
    "dog",
    "horse",
    "skateboard",
)


class Detector(Protocol):
    """The interface of a detector."""

    settings: dict  # plain JSON: everything that the boxes depend on
    parallel: bool  # whether several clips may be processed at once, one thread each

    def detect(self, clip: Clip) -> Iterator[np.ndarray]:
        """For each frame in order n x 6 float: x0, y0, x1, y1, confidence, class.

        Boxes are in pixels of the original frame. Raises DDLError for weights or a package that
        cannot be used, and for a broken frame as `read_frames` does.
        """
