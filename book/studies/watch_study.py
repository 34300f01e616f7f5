"""A watch of a data set's test clips, recorded with its events, for the book to show.

    python -m ddllib study watch FOOTAGE [--method METHOD --epochs N] --to FOLDER

The training clips, joined into videos, stand for a user's ordinary footage, as in
``study stream``. The test clips are then watched one after the other. FOLDER gets the events with
their pictures, the scores of four clips with their frames and error maps (``figures.interactive``),
and ``watch.json``.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from data_prep.footage.pictures import resized
from data_prep.footage.video_writing import WEBM, VideoWriter
from ddllib.camera import assembly
from ddllib.camera.event_file import read_events
from ddllib.camera.events import against_labels
from ddllib.camera.listener import Listener, filter_name
from ddllib.camera.pictures import seen
from ddllib.camera.verdicts import HIT, counts, verdicts
from ddllib.camera.watch import watch
from ddllib.devices import describe_device
from ddllib.errors import DDLError
from ddllib.figures.interactive import Clip, error_pictures, write_timeline
from ddllib.io.commands import Parser, frames_per_second, run_command
from ddllib.io.files import write_json
from ddllib.records import environment
from studies.stream_study import clip_labels, trained

SHAPE = (128, 192)  # height and width of the timeline's pictures
SHOWN = 4  # clips of the timeline, evenly spaced: chosen by no score
LOOP_S = 6.0  # seconds of the looping clip about the peak of the highest hit
PICTURES = (".jpg", "-rebuilt.jpg", "-error.jpg", ".svg")  # kept of every event
WHOLE = (".webm", ".npz")  # kept of the highest hit alone: they are large


class Pictures(Listener):
    """Keeps the filtered score, the frame as a person sees it, and the error map of every frame."""

    def __init__(self, smooth):
        self.filter = filter_name(smooth)
        self.scores: list[float] = []
        self.frames: list[np.ndarray] = []
        self.maps: list[np.ndarray] = []

    def on_frame(self, scored, time_s: float, value: float) -> None:
        self.scores.append(value)
        self.frames.append(resized(seen(scored), SHAPE))
        self.maps.append(np.asarray(scored.map, np.float32))


def masks_of(surveyed, names: Sequence[str], size) -> np.ndarray | None:
    """The abnormal pixels of the test clips one after the other, N x H x W; None without masks."""
    from data_prep.footage.masks import mask_to_working_size, read_masks

    paths = surveyed.footage.masks
    if not all(name in paths for name in names):
        return None
    return np.stack([mask_to_working_size(m, size) for n in names for m in read_masks(paths[n])])


def measure(footage: Path, rate: float, folder: Path, **values) -> dict:
    """Train by the profile ``own-camera``, watch the test clips and fill ``folder``; plain values.

    ``values`` override the profile. Raises ``DDLError`` for footage without labelled test clips,
    and where the watch was stopped.
    """
    from data_prep.footage.layouts import split_folder
    from data_prep.footage.survey import survey

    surveyed = survey(footage)
    labels = clip_labels(surveyed)
    if not labels:
        raise DDLError(f"{footage}: expected labelled test clips to watch")
    settings, data, run = trained(surveyed.footage, rate, **values)
    threshold = assembly.threshold(settings, data, run)
    watched_folder = assembly.watch_folder(settings)
    place = str(split_folder(footage, "testing"))
    source = assembly.open_watched(place, data, rate)
    alarms = assembly.alarms(
        settings, data, threshold, watched_folder, lambda line: None, source.where
    )
    smooth = assembly.smoother(settings)
    pictures = Pictures(smooth)
    scorer = assembly.scorer(settings, data, run)
    watched = watch(source, scorer, watched_folder, [alarms, pictures], smooth=smooth)
    alarms.close()
    names = list(labels)
    joined = np.concatenate([labels[name] for name in names])
    if watched.stopped or not len(joined) == watched.frames == len(pictures.scores):
        raise DDLError("not every frame was watched and scored: nothing is recorded; run it again")
    events, facts = read_events(watched_folder)
    told = verdicts(events, joined, masks_of(surveyed, names, data.size))
    hits = [number for number, kind in enumerate(told, start=1) if kind == HIT]
    highest = max(hits, key=lambda number: events[number - 1].score, default=None)
    folder.mkdir(parents=True, exist_ok=True)
    keep_events(watched_folder, folder, len(events), highest)
    facts |= {"data": surveyed.name, "source": "its test clips"}  # not where they lie here
    write_json(folder / "events.json", facts)
    offsets = dict(zip(names, np.cumsum([0, *(len(labels[name]) for name in names)]), strict=False))
    shown = [names[k] for k in np.linspace(0, len(names) - 1, SHOWN).round().astype(int)]
    least = round(assembly.LEAST_S * rate)
    maps = error_pictures(np.stack(pictures.maps), SHAPE)
    parts = {name: slice(offsets[name], offsets[name] + len(labels[name])) for name in names}
    clips = [
        Clip(
            name,
            np.array(pictures.scores[parts[name]]),
            labels[name],
            np.stack(pictures.frames[parts[name]]),
            maps[parts[name]],
        )
        for name in shown
    ]
    write_timeline(folder, clips, threshold.value, threshold.quiet, least)
    if highest:
        peak = events[highest - 1].peak
        inside = next(part for part in parts.values() if part.start <= peak < part.stop)
        half = round(LOOP_S * rate / 2)
        first, last = max(peak - half, inside.start), min(peak + half, inside.stop)
        write_loop(folder, np.stack(pictures.frames[first:last]), maps[first:last], rate)
    scores = np.array(pictures.scores)
    return {
        "footage": surveyed.name,
        "method": settings.method,
        "mode": settings.mode if settings.method == "ddl" else None,
        "epochs": settings.epochs,
        "rate": rate,
        "frames": watched.frames,
        "normal_seconds": float((joined == 0).sum() / rate),
        "normal_share_above": float((scores[joined == 0] > threshold.value).mean()),
        "threshold": threshold.asdict(),
        "verdicts": told,
        "met": list(against_labels(events, joined)),
        "changed": sum(bool(event.drift) for event in events),
        "events": [asdict(event) for event in events],
        "highest_hit": highest,
        "train_seconds": run.seconds,
        "device": describe_device(run.device),
        "environment": environment(),
    }


def keep_events(watched: Path, folder: Path, count: int, highest: int | None) -> None:
    """Copy the events of a watched folder, with the large files of number ``highest`` alone."""
    shutil.copyfile(watched / "events.csv", folder / "events.csv")
    for number in range(1, count + 1):
        for suffix in PICTURES + (WHOLE if number == highest else ()):
            path = watched / f"{number:04d}{suffix}"
            if path.is_file():
                shutil.copyfile(path, folder / path.name)


def write_loop(folder: Path, frames: np.ndarray, maps: np.ndarray, rate: float) -> None:
    """Write frames and their error maps side by side, n x H x W x 3 BGR each, as ``loop.webm``."""
    height, width = frames.shape[1:3]
    video = VideoWriter(folder / f"loop{WEBM.ending}", WEBM, rate, (height, 2 * width))
    for pair in zip(frames, maps, strict=True):
        video.write(np.concatenate(pair, axis=1))
    video.close()


def lines(report: Mapping) -> list[str]:
    """The results in sentences."""
    met, abnormal, _ = report["met"]
    return [
        counts(report["verdicts"]),
        f"{met} of {abnormal} abnormal stretches meet an event",
        f"{100 * report['normal_share_above']:.0f} % of the normal frames lie above the threshold",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study watch", description=__doc__)
    parser.add_argument("footage", type=Path, help="a data set with training and test clips")
    parser.add_argument(
        "--rate", type=frames_per_second, default=10.0, help="frames per second (default 10)"
    )
    parser.add_argument("--method", help="by default that of the profile own-camera")
    parser.add_argument("--epochs", type=int, help="likewise")
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(arguments)
    return run_command("study watch", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    values = {name: getattr(options, name) for name in ("method", "epochs")}
    given = {name: value for name, value in values.items() if value is not None}
    report = measure(options.footage, options.rate, options.to, **given)
    print(*lines(report), sep="\n")
    write_json(options.to / "watch.json", report)
