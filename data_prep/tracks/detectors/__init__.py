"""Detectors with one small interface: the objects of a clip as boxes, frame by frame.

A detector reads the original frames, not the resized ones, in which small people would be lost.
"""

from pathlib import Path

from data_prep.tracks.detectors.base import AUTO, DETECTORS, Detector
from ddllib.errors import DDLError


def make_detector(name: str, weights: str | Path | None = None) -> Detector:
    """The detector called `name`; raises DDLError for an unknown name or missing weights.

    `weights` is for yolo and faster-rcnn; None takes their own as `weights.find_weights` says.
    """
    # Imported here, so that nobody loads the packages of a detector that is not used.
    if name == "motion":
        from data_prep.tracks.detectors.motion import MotionDetector

        return MotionDetector()
    if name == "yolo":
        from data_prep.tracks.detectors.yolo import YoloDetector

        return YoloDetector(weights)
    if name == "faster-rcnn":
        from data_prep.tracks.detectors.faster_rcnn import FasterRCNNDetector

        return FasterRCNNDetector(weights)
    if name == "none":
        from data_prep.tracks.detectors.none import RandomBoxes

        return RandomBoxes()
    known = ", ".join([*DETECTORS, AUTO])
    raise DDLError(f"detector: unknown name {name!r}; expected one of {known}")


def detectors_to_try(name: str, weights: str | Path | None = None) -> list[Detector]:
    """The detector called `name`; for "auto" several, to use the first that tracks enough.

    These are YOLO, if it is installed and has weights, then motion, which also finds objects of
    unknown classes, then random boxes for footage in which hardly anything moves.
    """
    if name != AUTO:
        return [make_detector(name, weights)]
    from data_prep.tracks.detectors.weights import PACKAGES, find_local, installed

    has_weights = weights or (installed(PACKAGES["yolo"][0]) and find_local("yolo"))
    yolo = [make_detector("yolo", weights)] if has_weights else []
    return [*yolo, make_detector("motion"), make_detector("none")]
