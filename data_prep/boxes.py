"""Boxes of a detector, kept clip by clip, and the tracks made of them."""

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from data_prep.detectors import Detector
from data_prep.frames import frame_size
from data_prep.layouts import Clip
from data_prep.manifest import versions
from data_prep.tracking import ClipTracker
from ddllib.errors import DDLError
from ddllib.files import writing
from ddllib.reading import read_arrays

Watched = Callable[[Iterable], Iterable]
Found = tuple[list[np.ndarray], tuple[int, int]]  # boxes frame by frame, height and width


class Boxes:
    """A detector whose boxes are kept, one file per clip, in a folder of their own.

    The folder is named by the detector's settings and the versions of what runs it, the file by
    the clip's checksum: another working size, another label or a mended other clip asks for no
    detection anew.
    """

    def __init__(self, detector: Detector, folder: Path):
        self.detector = detector
        known = json.dumps([detector.settings, versions()], indent=1)
        key = hashlib.sha256(known.encode()).hexdigest()[:16]
        self.folder = folder / f"{detector.settings['name']}-{key}"

    def rows(
        self, clip: Clip, checksum: str, watched: Callable[[Iterable], Iterable]
    ) -> np.ndarray:
        """The rows of the clip's tracks, n x 8 float: as `ClipTracker` gives them."""
        path = self.folder / f"{clip.split}-{clip.name}-{checksum[:16]}.npz"
        found, size = self.read(path) or self.detect(path, clip, watched)
        tracker = ClipTracker()
        rows = [row for boxes in found for row in tracker.push(boxes, *size)]
        return np.array(rows, float).reshape(-1, 8)

    def detect(self, path: Path, clip: Clip, watched: Watched) -> Found:
        size = frame_size(clip)
        found = list(watched(self.detector.detect(clip)))
        ends = np.cumsum([len(boxes) for boxes in found])
        joined = np.concatenate([np.zeros((0, 6)), *found])
        with writing(path) as file:
            np.savez_compressed(file, boxes=joined, ends=ends, size=size)
        return found, size

    def read(self, path: Path) -> Found | None:
        """Boxes frame by frame and the size of a frame; None if they are not kept."""
        if not path.is_file():
            return None
        try:
            kept = read_arrays(path, "kept boxes", "they are made anew")
            found, (height, width) = np.split(kept["boxes"], kept["ends"][:-1]), kept["size"]
        except (DDLError, KeyError, ValueError, TypeError):
            return None  # damaged; it is made anew
        whole = kept["boxes"].ndim == 2 and np.isfinite(kept["boxes"]).all()
        return (found, (int(height), int(width))) if whole else None
