"""Detectors side by side on the same footage: what each finds, and how long it takes."""

import os
import platform
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from data_prep.detectors import DETECTORS, Detector, make_detector
from data_prep.frames import read_frames
from data_prep.layouts import Clip, find_footage
from data_prep.manifest import versions
from data_prep.tracking import (
    BOX,
    COLUMNS,
    WINDOW,
    ClipTracker,
    common_track_coverage,
    tracker_settings,
)
from ddllib.errors import DDLError
from ddllib.settings import data_root, runs_root

# Who is asked first what there is to be found: the nearest to the paper's detector of those here.
REFERENCES = ("faster-rcnn", "yolo", "motion", "none")
FOUND = 0.4  # IoU from which a box counts as the same object


def compare(
    source: str | Path, detectors: Mapping[str, str | Path | None], progress: bool = True
) -> dict:
    """Run detectors (name -> weights or None) over the training clips of `source`; plain JSON.

    Detection and tracking are timed one clip after the other, without any cache; detection
    includes the reading of frames, whose own time is given beside it. A detector that cannot run
    here gets `not_run` with the reason. `agreement` is the share of the boxes of the `reference`
    that a detector also finds in the same frame, at IoU 0.4 or more. Raises DDLError for an
    unknown detector or broken footage.
    """
    if unknown := set(detectors) - set(DETECTORS):
        raise DDLError(
            f"detector: unknown name {', '.join(sorted(unknown))}; expected some of "
            f"{', '.join(DETECTORS)}"
        )
    footage, tracker = find_footage(source), tracker_settings()
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
        "agreement_iou": FOUND,
        "detectors": results,
        "tracker": tracker,
        "processor": processor(),
        "cpus": os.cpu_count(),
        "gpu": gpu(),
        "versions": versions(),
    }


def anywhere(error: DDLError) -> str:
    """The message without this machine's folders, for a record that others read."""
    text = str(error).replace(str(runs_root()), "$DDL_RUNS")
    return text.replace(str(data_root()), "$DDL_DATA")


def frames_of(clip: Clip) -> tuple[int, int, int]:
    """Number, height and width of a clip's frames; reads them all, so that a broken one shows."""
    count, size = 0, (0, 0)
    for frame in read_frames(clip, colour=True):
        count, size = count + 1, frame.shape[:2]
    return count, *size


def ready(name: str, weights: str | Path | None, clip: Clip) -> Detector:
    """The detector, warm: its packages and weights loaded, so that no clock runs for them."""
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
    """Tracks of all clips (COLUMNS) and the seconds that detection and tracking took."""
    rows, seconds = [], {"detection": 0.0, "tracking": 0.0}
    shown = tqdm(
        clips.items(),
        desc=detector.settings["name"],
        unit="clip",
        leave=False,
        disable=not progress,
    )
    for name, clip in shown:
        start = time.perf_counter()
        boxes = list(detector.detect(clip))
        detected = time.perf_counter()
        tracker = ClipTracker()
        found = [row for b in boxes for row in tracker.push(b, *shapes[name][1:])]
        seconds["detection"] += detected - start
        seconds["tracking"] += time.perf_counter() - detected
        rows += [(clip.split, name, *row) for row in found]
    return pd.DataFrame(rows, columns=COLUMNS), seconds


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
        **{f"{what}_seconds_per_frame": spent / frames for what, spent in seconds.items()},
    }


def share_found(reference: pd.DataFrame, other: pd.DataFrame) -> float | None:
    """Share of the reference's boxes with a box of `other` in their frame at IoU >= FOUND.

    One box may answer for several: people who came out as one object. None without any box.
    """
    there = {key: boxes[BOX].to_numpy() for key, boxes in other.groupby(["clip", "frame"])}
    found = 0
    for key, boxes in reference.groupby(["clip", "frame"]):
        if key in there:
            overlaps = iou(boxes[BOX].to_numpy(), there[key])
            found += int((overlaps.max(axis=1) >= FOUND).sum())
    return found / len(reference) if len(reference) else None


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """n x 4 and m x 4 boxes -> n x m intersection over union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def processor() -> str:
    """The processor's name; Linux tells it in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def gpu() -> str | None:
    """The GPU's name, None without one."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None
