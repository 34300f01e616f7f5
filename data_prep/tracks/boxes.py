"""A cache of a detector's boxes, a file for each clip, and the tracks made of them."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from data_prep.footage.frames import frame_size
from data_prep.footage.layouts import Clip
from data_prep.preparing.manifest import versions
from data_prep.tracks.detectors.base import Detector
from data_prep.tracks.tracking import ClipTracker
from ddllib.errors import DDLError
from ddllib.io.files import writing
from ddllib.io.reading import read_arrays

Progress = Callable[[Iterable], Iterable]
BoxesAndSize = tuple[list[np.ndarray], tuple[int, int]]  # boxes by frame; height and width


class Boxes:
    """A detector whose boxes are saved, one file per clip.

    The folder is named after the detector's settings and the versions of its packages, the file
    after the clip's checksum. So a new working size, new labels or a change in another clip needs
    no new detection.
    """

    def __init__(self, detector: Detector, folder: Path):
        self.detector = detector
        facts = json.dumps([detector.settings, versions()], indent=1)
        key = hashlib.sha256(facts.encode()).hexdigest()[:16]
        self.folder = folder / f"{detector.settings['name']}-{key}"

    def rows(self, clip: Clip, checksum: str, progress: Progress) -> np.ndarray:
        """The rows of the clip's tracks, n x 8 float, as `ClipTracker` returns them."""
        path = self.folder / f"{clip.split}-{clip.name}-{checksum[:16]}.npz"
        boxes_by_frame, size = self.read(path) or self.detect(path, clip, progress)
        tracker = ClipTracker()
        rows = [row for boxes in boxes_by_frame for row in tracker.push(boxes, *size)]
        return np.array(rows, float).reshape(-1, 8)

    def detect(self, path: Path, clip: Clip, progress: Progress) -> BoxesAndSize:
        size = frame_size(clip)
        boxes_by_frame = list(progress(self.detector.detect(clip)))
        ends = np.cumsum([len(boxes) for boxes in boxes_by_frame])
        joined = np.concatenate([np.zeros((0, 6)), *boxes_by_frame])
        with writing(path) as file:
            np.savez_compressed(file, boxes=joined, ends=ends, size=size)
        return boxes_by_frame, size

    def read(self, path: Path) -> BoxesAndSize | None:
        """Saved boxes by frame and the size of a frame; None if there are none."""
        if not path.is_file():
            return None
        try:
            arrays = read_arrays(path, "kept boxes", "they are made anew")
            boxes = np.split(arrays["boxes"], arrays["ends"][:-1])
            height, width = arrays["size"]
        except (DDLError, KeyError, ValueError, TypeError):
            return None  # damaged: detection runs again
        usable = arrays["boxes"].ndim == 2 and np.isfinite(arrays["boxes"]).all()
        return (boxes, (int(height), int(width))) if usable else None
