"""Watching in real time: does it keep up, and do its scores equal offline scores?

    python -m ddllib study stream FOOTAGE [--rate 10] [--to FOLDER]

The training clips of a data set, joined into videos, stand for a user's ordinary footage: a model
is trained on them with the profile ``own-camera``, where only the path of the footage is set. Then
the test clips are sent as a stream (``broadcast``) at their frame rate and watched. Afterwards the
received frames are scored again as whole clips.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from data_prep.footage.video_writing import write_lossless
from ddllib import pipeline
from ddllib.camera import assembly
from ddllib.camera.event_file import read_events
from ddllib.camera.events import against_labels
from ddllib.camera.score_table import read_scores
from ddllib.camera.watch import watch
from ddllib.camera.watch_result import REMEMBERED, WatchResult
from ddllib.data import Prepared
from ddllib.devices import describe_device
from ddllib.errors import DDLError
from ddllib.io.commands import Parser, frames_per_second, run_command
from ddllib.io.files import write_json
from ddllib.methods import with_settings
from ddllib.paths import ROOT, runs_root
from ddllib.records import environment
from ddllib.runs import Run
from ddllib.scoring import score_clip
from ddllib.settings import Settings, load_profile
from studies.drift_study import Change

CLIPS_PER_VIDEO = 4  # clips joined in one video
PART_S = 30.0  # seconds; the delay is reported for parts of this length
SILENCE_S = 5.0  # seconds without a frame after which the stream counts as ended


def join(clips: Sequence, folder: Path, rate: float, change: Change | None = None) -> Path:
    """Clips joined into videos without loss, ``CLIPS_PER_VIDEO`` to each, as training footage.

    ``rate`` is in frames per second; ``change`` alters each frame, H x W x 3, at its second of the
    clip. Videos that are there already stay. Returns ``folder``.
    """
    from data_prep.footage.frames import read_frames

    for first in range(0, len(clips), CLIPS_PER_VIDEO):
        path = folder / "training" / f"{first // CLIPS_PER_VIDEO:02d}.avi"
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        part = clips[first : first + CLIPS_PER_VIDEO]
        frames = (
            change(frame, k / rate) if change else frame
            for clip in part
            for k, frame in enumerate(read_frames(clip, colour=True))
        )
        write_lossless(unfinished, frames, rate)
        os.replace(unfinished, path)
    return folder


class Kept:
    """A source that stores its frames, uint8 N x C x H x W, and the positions of gaps."""

    def __init__(self, source):
        self.source, self.name, self.stop = source, source.name, source.stop
        self.frames: list = []

    def __getattr__(self, name: str):
        return getattr(self.source, name)  # such as dropped, reconnections

    def __iter__(self) -> Iterator:
        for frame in self.source:
            self.frames.append(replace(frame, view=None))
            yield frame

    def pieces(self) -> list[np.ndarray]:
        """The frames from one gap to the next, each piece uint8 N x C x H x W."""
        starts = [k for k, frame in enumerate(self.frames) if frame.gap and k]
        images = np.stack([frame.image for frame in self.frames])
        return np.split(images, starts)


def at_rest(pieces: Sequence[np.ndarray], run: Run, patch: int) -> np.ndarray:
    """Raw scores, float32 N, of pieces uint8 n x C x H x W, each scored as a whole clip.

    A piece shorter than a window has no scores, as in a watch.
    """
    scorable = [piece for piece in pieces if len(piece) >= run.model.temporal]
    return np.concatenate(
        [score_clip(run.model, piece, patch, run.precision) for piece in scorable]
    )


def delays(watched: WatchResult, rate: float) -> dict:
    """Seconds from reading a frame to its score, and their median for each part of the watch."""
    part = max(round(PART_S * rate), 1)
    values = np.array(watched.delays)
    return {
        "median": watched.delay(),
        "p95": watched.delay(0.95),
        "part_s": PART_S,
        "parts": [float(np.median(values[k : k + part])) for k in range(0, len(values), part)],
    }


def trained(
    footage, rate: float, change: Change | None = None, name: str = "", **values
) -> tuple[Settings, Prepared, Run]:
    """Settings, data and run of ``own-camera`` on the joined training clips, trained if necessary.

    ``change`` alters the clips, ``name`` is its name, and ``values`` override the profile. Scores
    are computed in float32, so that they can be compared with those of a stream.
    """
    from data_prep.preparing.manifest import source_checksum

    files = [path for clip in footage.clips["training"].values() for path in clip.files]
    key = f"{footage.root.resolve().name}-{source_checksum(footage.root, files)[:8]}-{rate:g}"
    key += f"-{name}" if name else ""
    folder = runs_root() / "stream-study" / key
    footage_folder = join(list(footage.clips["training"].values()), folder, rate, change)
    settings = load_profile("own-camera", data=os.path.relpath(footage_folder, ROOT), **values)
    data = pipeline.prepare(settings)
    run = pipeline.train(settings, data)
    settings = replace(settings, precision="float32")
    return settings, data, with_settings(run, settings)


def clip_labels(found) -> dict[str, np.ndarray]:
    """1 for each abnormal frame, N of each test clip; none where they are unlabelled."""
    from data_prep.footage.labels import frame_labels
    from data_prep.footage.survey import read_labels

    paths, labels = found.footage.labels, read_labels(found)
    if not labels:
        return {}
    official = found.dataset.labelling if found.dataset else None
    name = official if official in labels else next(iter(labels))
    lengths = found.lengths["testing"]
    return {c: frame_labels(paths[name], c, m, lengths[c]) for c, m in labels[name].items()}


def measure(footage: Path, rate: float) -> dict:
    """Train, watch the test clips at ``rate`` frames per second and compare; plain values.

    Raises ``DDLError`` for footage without test clips of known length, or with too many frames to
    keep every delay, and where the watch was stopped.
    """
    from data_prep.footage.survey import survey
    from data_prep.live.broadcast import broadcast
    from data_prep.live.sources import open_source

    surveyed = survey(footage)
    tests = list(surveyed.footage.clips["testing"].values())
    if not tests or None in surveyed.lengths["testing"].values():
        raise DDLError(f"{footage}: expected test clips of known length, to send them")
    sent = sum(surveyed.lengths["testing"].values())
    if sent > REMEMBERED:
        raise DDLError(f"{footage}: {sent} test frames; expected at most {REMEMBERED}; take fewer")
    settings, data, run = trained(surveyed.footage, rate)
    threshold = assembly.threshold(settings, data, run)
    folder = assembly.watch_folder(settings)
    with broadcast(tests, rate) as address:
        options = {"patience": SILENCE_S, "give_up": SILENCE_S, "rate": None}
        source = Kept(open_source(address, data.size, channels=data.channels, live=True, **options))
        alarms = assembly.alarms(settings, data, threshold, folder)
        scorer = assembly.scorer(settings, data, run)
        watched = watch(source, scorer, folder, [alarms], smooth=assembly.smoother(settings))
        alarms.close()
    if watched.stopped:
        raise DDLError("stopped before its end: nothing is recorded; run it again")
    events, facts = read_events(folder)
    scores = read_scores(folder)["score"].to_numpy()
    offline_scores = at_rest(source.pieces(), run, settings.patch_size)
    labels = list(clip_labels(surveyed).values())
    met = against_labels(events, np.concatenate(labels)) if labels else None
    is_complete = watched.frames == sent  # otherwise labels do not match frames
    return {
        "footage": surveyed.name,
        "rate": rate,
        "sent": sent,
        "frames": watched.frames,
        "scored": watched.scored,
        "dropped": source.dropped,
        "gaps": len(source.pieces()) - 1,
        "delay": delays(watched, rate),
        "largest_difference": float(np.abs(scores - offline_scores).max()),
        "precision": run.precision,
        "threshold": threshold.asdict(),
        "filter": facts["filter"],
        "events": [asdict(event) for event in events],
        "met": list(met) if met and is_complete else None,
        "train_seconds": run.seconds,
        "device": describe_device(run.device),
        "environment": environment(),
    }


def lines(report: Mapping) -> list[str]:
    """The results in sentences."""
    delay, parts = report["delay"], report["delay"]["parts"]
    sentences = [
        f"{report['scored']} of {report['sent']} frames scored at {report['rate']:g} per second; "
        f"{report['dropped']} dropped",
        f"delay of a score: median {delay['median']:.3f} s, 95 % within {delay['p95']:.3f} s. It "
        f"does not grow if these are alike: {parts[0]:.3f} s in the first half minute, "
        f"{parts[-1]:.3f} s in the last",
        "largest difference from the scores of the same frames, scored as a whole clip: "
        f"{report['largest_difference']:.1g} ({report['precision']})",
    ]
    if report["met"]:
        met, abnormal, false = report["met"]
        sentences.append(
            f"{len(report['events'])} events: they meet {met} of {abnormal} abnormal stretches; "
            f"{false} of them {'lies' if false == 1 else 'lie'} on normal frames alone"
        )
    return sentences


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study stream", description=__doc__)
    parser.add_argument("footage", type=Path, help="a data set with training and test clips")
    parser.add_argument(
        "--rate", type=frames_per_second, default=10.0, help="frames per second (default 10)"
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study stream", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    report = measure(options.footage, options.rate)
    print(*lines(report), sep="\n")
    if options.to:
        write_json(options.to / "stream.json", report)
