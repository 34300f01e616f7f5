"""Tracks: the detections of a clip joined over time by OC-SORT (Cao et al., CVPR 2023)."""

import importlib.metadata
import logging
from collections.abc import Mapping

import numpy as np
import pandas as pd

from ddllib.data import WINDOW
from ddllib.errors import DDLError

# The detector has filtered its boxes already, so the tracker keeps them all (det_thresh). A track
# is reported from its first frame on (min_hits), since a window needs T frames of it anyway.
SETTINGS = {
    "det_thresh": 0.05,
    "iou_threshold": 0.3,
    "max_age": 30,
    "min_hits": 0,
    "delta_t": 3,
    "inertia": 0.2,
}

Row = tuple[int, int, float, float, float, float, float, int]


class ClipTracker:
    """OC-SORT over one clip. Build a new one for each clip: ids start at 0 in each.

    `push` takes the frames in order and returns the rows of one frame, without split and clip:
    (frame, track, x0, y0, x1, y1, confidence, class), the box relative to the frame, in [0, 1].
    """

    def __init__(self):
        self.tracker = import_ocsort()(**SETTINGS)
        self.frame = -1

    def push(self, detections: np.ndarray, height: int, width: int) -> list[Row]:
        """`detections`: n x 6 (x0, y0, x1, y1, confidence, class) in pixels of the frame."""
        self.frame += 1
        table = np.array(detections, float).reshape(-1, 6)
        # Class 0 for all: the tracker refuses -1, and the class of a cyclist may change in a track.
        without_class = np.column_stack([table[:, :5], np.zeros(len(table))])
        tracks = self.tracker.update(without_class)
        ids, sources = tracks[:, 4].astype(int), tracks[:, 7].astype(int)
        boxes = np.clip(table[:, :4] / [width, height, width, height], 0, 1)
        rows = [
            (self.frame, int(track), *map(float, boxes[k]), float(table[k, 4]), int(table[k, 5]))
            for track, k in sorted(zip(ids, sources, strict=True))
        ]
        return [row for row in rows if row[4] > row[2] and row[5] > row[3]]


def import_ocsort():
    """`boxmot.OcSort` without its log line for every new tracker."""
    try:
        from boxmot import OcSort
    except ImportError as error:
        raise DDLError("tracker: boxmot is not installed; pip install boxmot") from error
    logging.getLogger("boxmot").setLevel(logging.WARNING)
    return OcSort


def tracker_settings() -> dict:
    """The tracker's settings for the manifest."""
    try:
        version = importlib.metadata.version("boxmot")
    except importlib.metadata.PackageNotFoundError as error:
        raise DDLError("tracker: boxmot is not installed; pip install boxmot") from error
    return {"name": "ocsort", "version": version, **SETTINGS}


def common_track_coverage(
    tracks: pd.DataFrame, lengths: Mapping[str, int], window: int = WINDOW
) -> float:
    """Share of windows, in [0, 1], with a track present in all their frames.

    `tracks`: rows of one split with clip, frame, track; `lengths`: frames of every clip of that
    split, also of those without a track. 0.0 if no clip is as long as a window.
    """
    windows = {clip: max(n - window + 1, 0) for clip, n in lengths.items()}
    covered = {clip: np.zeros(n, bool) for clip, n in windows.items()}
    for (clip, _), frames in tracks.groupby(["clip", "track"])["frame"]:
        present = np.zeros(lengths[clip], bool)
        present[frames.to_numpy()] = True
        if windows[clip]:
            spans = np.lib.stride_tricks.sliding_window_view(present, window)
            covered[clip] |= spans.all(axis=1)
    total = sum(windows.values())
    return float(sum(c.sum() for c in covered.values()) / total) if total else 0.0
