"""Compare detectors on the same footage: what each finds, and how long it takes."""

import os
import platform
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data_prep.footage.frames import read_frames
from data_prep.footage.glancing import at_own_levels
from data_prep.footage.layouts import Clip, find_footage
from data_prep.preparing.manifest import versions
from data_prep.tracks.detectors import make_detector
from data_prep.tracks.detectors.base import DETECTORS, Detector
from data_prep.tracks.tracking import ClipTracker, common_track_coverage, tracker_settings
from ddllib.data import BOX, TRACK_COLUMNS, WINDOW
from ddllib.errors import DDLError
from ddllib.paths import data_root, runs_root

# The reference is the first of these that runs here; the first is nearest to the paper's detector.
REFERENCES = ("faster-rcnn", "yolo", "motion", "none")
MIN_IOU = 0.4  # intersection over union of two boxes of the same object


def compare(
    source: str | Path, detectors: Mapping[str, str | Path | None], progress: bool = True
) -> dict:
    """Run detectors (name -> weights or None) over the training clips of `source`.

    Returns plain JSON values. Detection and tracking are timed one clip after the other, without
    any cache; detection includes the reading of frames, whose own time is given separately. A
    detector that cannot run here has `not_run` with the reason. `agreement` is the share of the
    boxes of the `reference` that a detector also finds in the same frame, at IoU 0.4 or more.
    Raises DDLError for an unknown detector or broken footage.
    """
    if unknown := set(detectors) - set(DETECTORS):
        raise DDLError(
            f"detector: unknown name {', '.join(sorted(unknown))}; expected some of "
            f"{', '.join(DETECTORS)}"
        )
    footage, tracker = at_own_levels(find_footage(source)), tracker_settings()
    clips = footage.clips["training"]
    if not clips:
        raise DDLError(f"{footage.root}: no training clips found; expected some to compare on")
    start = time.perf_counter()
    shapes = {name: frames_of(clip) for name, clip in clips.items()}
    reading = time.perf_counter() - start
    results, tracks = {}, {}
    for name, weights in detectors.items():
        try:
            detector = ready(name, weights, next(iter(clips.values())))
        except DDLError as error:
            results[name] = {"not_run": anywhere(error)}
            continue
        tracks[name], seconds = run(detector, clips, shapes, progress)
        results[name] = {**summary(tracks[name], shapes, seconds), "settings": detector.settings}
    reference = next((name for name in REFERENCES if name in tracks), None)
    for name in tracks:
        results[name]["agreement"] = share_found(tracks[reference], tracks[name])
    frames = sum(count for count, _, _ in shapes.values())
    return {
        "source": footage.root.resolve().name,
        "clips": len(clips),
        "frames": frames,
        "window": WINDOW,
        "reading_seconds_per_frame": reading / frames,
        "reference": reference,
        "agreement_iou": MIN_IOU,
        "detectors": results,
        "tracker": tracker,
        "processor": processor(),
        "cpus": os.cpu_count(),
        "gpu": gpu(),
        "versions": versions(),
    }


def anywhere(error: DDLError) -> str:
    """The error message without this machine's folders, for a record that others read."""
    text = str(error).replace(str(runs_root()), "$DDL_RUNS")
    return text.replace(str(data_root()), "$DDL_DATA")


def frames_of(clip: Clip) -> tuple[int, int, int]:
    """Number, height and width of a clip's frames; reads all, so that a broken frame raises."""
    count, size = 0, (0, 0)
    for frame in read_frames(clip, colour=True):
        count, size = count + 1, frame.shape[:2]
    return count, *size


def ready(name: str, weights: str | Path | None, clip: Clip) -> Detector:
    """The detector with its packages and weights loaded, so that their loading is not timed."""
    detector = make_detector(name, weights)
    with closing(detector.detect(clip)) as boxes:
        next(boxes)
    return detector


def run(
    detector: Detector,
    clips: Mapping[str, Clip],
    shapes: Mapping[str, tuple[int, int, int]],
    progress: bool,
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Tracks of all clips (TRACK_COLUMNS) and the seconds that detection and tracking took."""
    rows, seconds = [], {"detection": 0.0, "tracking": 0.0}
    clips_with_bar = tqdm(
        clips.items(),
        desc=detector.settings["name"],
        unit="clip",
        leave=False,
        disable=not progress,
    )
    for name, clip in clips_with_bar:
        start = time.perf_counter()
        boxes_by_frame = list(detector.detect(clip))
        detection_end = time.perf_counter()
        tracker = ClipTracker()
        size = shapes[name][1:]
        clip_rows = [row for boxes in boxes_by_frame for row in tracker.push(boxes, *size)]
        seconds["detection"] += detection_end - start
        seconds["tracking"] += time.perf_counter() - detection_end
        rows += [(clip.split, name, *row) for row in clip_rows]
    return pd.DataFrame(rows, columns=TRACK_COLUMNS), seconds


def summary(
    tracks: pd.DataFrame,
    shapes: Mapping[str, tuple[int, int, int]],
    seconds: Mapping[str, float],
) -> dict:
    """What one detector found, per frame and per clip, and the time it took."""
    lengths = {name: count for name, (count, _, _) in shapes.items()}
    frames = sum(lengths.values())
    return {
        "objects_per_frame": len(tracks) / frames,
        "tracks_per_clip": len(tracks.groupby(["clip", "track"])) / len(lengths),
        "coverage": common_track_coverage(tracks, lengths),
        **{f"{step}_seconds_per_frame": total / frames for step, total in seconds.items()},
    }


def share_found(reference: pd.DataFrame, other: pd.DataFrame) -> float | None:
    """Share of the reference's boxes with a box of `other` in their frame at IoU >= MIN_IOU.

    One box may match several, such as people detected as one object. None without any box.
    """
    by_frame = {key: boxes[BOX].to_numpy() for key, boxes in other.groupby(["clip", "frame"])}
    matches = 0
    for key, boxes in reference.groupby(["clip", "frame"]):
        if key in by_frame:
            overlaps = iou(boxes[BOX].to_numpy(), by_frame[key])
            matches += int((overlaps.max(axis=1) >= MIN_IOU).sum())
    return matches / len(reference) if len(reference) else None


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """n x 4 and m x 4 boxes -> n x m intersection over union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def processor() -> str:
    """The processor's name; on Linux it is in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def gpu() -> str | None:
    """The GPU's name, None without one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
