"""Detectors behind one small interface: the objects of a clip as boxes, frame by frame.

A detector reads the original frames, not the resized ones: small people would be lost.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from data_prep.layouts import Clip
from ddllib.errors import DDLError

DETECTORS = ("motion", "yolo", "faster-rcnn", "none")
AUTO = "auto"  # the first that tracks anything worth while, see `detectors_to_try`
WEIGHTED = ("yolo", "faster-rcnn", AUTO)  # those that weights are for
NO_CLASS = -1

# What moves through a walkway or a street, by COCO name. Street furniture stands still and
# bags lie within the box of who carries them: both would only noise the background.
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
    """What preparation asks of a detector."""

    settings: dict  # plain JSON: everything that shapes the boxes
    parallel: bool  # whether several clips may be worked on at once, one thread each

    def detect(self, clip: Clip) -> Iterator[np.ndarray]:
        """For each frame in order n x 6 float: x0, y0, x1, y1, confidence, class.

        Boxes are in pixels of the original frame. Raises DDLError for weights or a package that
        cannot be used, and for a broken frame as `read_frames` does.
        """


def make_detector(name: str, weights: str | Path | None = None) -> Detector:
    """The detector called `name`; raises DDLError for an unknown name or missing weights.

    `weights` is for yolo and faster-rcnn; None takes their own as `weights.find_weights` says.
    """
    # Imported here, so that nobody loads the packages of a detector that is not used.
    if name == "motion":
        from data_prep.detectors.motion import MotionDetector

        return MotionDetector()
    if name == "yolo":
        from data_prep.detectors.yolo import YoloDetector

        return YoloDetector(weights)
    if name == "faster-rcnn":
        from data_prep.detectors.faster_rcnn import FasterRCNNDetector

        return FasterRCNNDetector(weights)
    if name == "none":
        from data_prep.detectors.none import RandomBoxes

        return RandomBoxes()
    known = ", ".join([*DETECTORS, AUTO])
    raise DDLError(f"detector: unknown name {name!r}; expected one of {known}")


def detectors_to_try(name: str, weights: str | Path | None = None) -> list[Detector]:
    """The detector called `name`; for "auto" several, of which the first that tracks enough counts.

    These are YOLO, if it is installed and its weights are given or here, then motion, which finds
    what is of no known class, then random boxes for footage in which hardly anything moves.
    """
    if name != AUTO:
        return [make_detector(name, weights)]
    from data_prep.detectors.weights import PACKAGES, find_local, installed

    known = weights or (installed(PACKAGES["yolo"][0]) and find_local("yolo"))
    first = [make_detector("yolo", weights)] if known else []
    return [*first, make_detector("motion"), make_detector("none")]
