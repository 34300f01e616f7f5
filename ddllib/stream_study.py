"""A watch in real time: does it keep up, and are its scores those of the footage at rest?

    python -m ddllib.stream_study FOOTAGE [--rate 10] [--to FOLDER]

The training clips of a data set, joined into videos, are taken for somebody's ordinary footage:
a model is trained on them as the profile ``own-camera`` says, with nothing but the place of the
footage set. The test clips are then sent by a camera (``data_prep.broadcast``) as fast as they were
recorded, and watched. Afterwards the frames that came are scored again as a whole clip.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from ddllib import camera, road
from ddllib.commands import run_command
from ddllib.data import Prepared
from ddllib.devices import describe_device
from ddllib.drift_study import Change
from ddllib.errors import DDLError
from ddllib.event_file import read_events
from ddllib.events import against_labels
from ddllib.files import write_json
from ddllib.pictures import write_lossless
from ddllib.records import environment
from ddllib.score_table import read_scores
from ddllib.scoring import score_clip
from ddllib.settings import ROOT, Settings, load_profile, runs_root
from ddllib.training import Run
from ddllib.watch import REMEMBERED, Watched, watch

JOINED = 4  # clips to a video
PART_S = 30.0  # the delay is told for parts of so many seconds
SILENCE_S = 5.0  # without a frame, after which the camera is taken to have ended


def join(clips: Sequence, folder: Path, rate: float, change: Change | None = None) -> Path:
    """Clips joined into videos without loss, ``JOINED`` to each, as training footage.

    ``rate`` is in frames per second; ``change`` alters each frame, H x W x 3, at its second of the
    clip. Videos that are there already stay. Returns ``folder``.
    """
    from data_prep.frames import read_frames

    for first in range(0, len(clips), JOINED):
        path = folder / "training" / f"{first // JOINED:02d}.avi"
        if path.is_file():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        half = path.with_name(f".{path.name}")
        some = clips[first : first + JOINED]
        frames = (
            change(frame, k / rate) if change else frame
            for clip in some
            for k, frame in enumerate(read_frames(clip, colour=True))
        )
        write_lossless(half, frames, rate)
        os.replace(half, path)
    return folder


class Kept:
    """A source that remembers what it gave: frames, uint8 N x C x H x W, and where gaps were."""

    def __init__(self, source):
        self.source, self.name, self.stop = source, source.name, source.stop
        self.frames: list = []

    def __getattr__(self, name: str):
        return getattr(self.source, name)  # what it counts: dropped, reconnections

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

    A piece shorter than a window has none, as on watch.
    """
    long = [piece for piece in pieces if len(piece) >= run.model.temporal]
    return np.concatenate([score_clip(run.model, piece, patch, run.precision) for piece in long])


def delays(watched: Watched, rate: float) -> dict:
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
    """The profile ``own-camera`` on the joined training clips, trained if it is not yet.

    ``change`` alters them, and has a ``name``; ``values`` are other settings than the profile's.
    Scores are computed in float32, in which those of a stream can be compared.
    """
    from data_prep.manifest import source_checksum

    files = [path for clip in footage.clips["training"].values() for path in clip.files]
    key = f"{footage.root.resolve().name}-{source_checksum(footage.root, files)[:8]}-{rate:g}"
    key += f"-{name}" if name else ""
    folder = runs_root() / "stream-study" / key
    place = join(list(footage.clips["training"].values()), folder, rate, change)
    settings = load_profile("own-camera", data=os.path.relpath(place, ROOT), **values)
    data = road.prepare(settings)
    run = road.train(settings, data)
    settings = replace(settings, precision="float32")
    return settings, data, replace(run, settings=settings)


def clip_labels(found) -> dict[str, np.ndarray]:
    """1 for each abnormal frame, N of each test clip; none where they are unlabelled."""
    from data_prep.labels import frame_labels
    from data_prep.survey import read_labels

    paths, marks = found.footage.labels, read_labels(found)
    if not marks:
        return {}
    official = found.dataset.labelling if found.dataset else None
    name = official if official in marks else next(iter(marks))
    lengths = found.lengths["testing"]
    return {c: frame_labels(paths[name], c, m, lengths[c]) for c, m in marks[name].items()}


def measure(footage: Path, rate: float) -> dict:
    """Train, watch the test clips at ``rate`` frames per second and compare; plain values.

    Raises ``DDLError`` for footage without test clips of known length, or with too many frames to
    keep every delay, and where the watch was stopped.
    """
    from data_prep.broadcast import broadcast
    from data_prep.sources import open_source
    from data_prep.survey import survey

    found = survey(footage)
    tests = list(found.footage.clips["testing"].values())
    if not tests or None in found.lengths["testing"].values():
        raise DDLError(f"{footage}: expected test clips of known length, to send them")
    sent = sum(found.lengths["testing"].values())
    if sent > REMEMBERED:
        raise DDLError(f"{footage}: {sent} test frames; expected at most {REMEMBERED}; take fewer")
    settings, data, run = trained(found.footage, rate)
    chosen = camera.threshold(settings, data, run)
    folder = camera.watch_folder(settings)
    with broadcast(tests, rate) as address:
        wishes = {"patience": SILENCE_S, "give_up": SILENCE_S, "rate": None}
        source = Kept(open_source(address, data.size, channels=data.channels, live=True, **wishes))
        alarms = camera.alarms(settings, data, chosen, folder)
        scorer = camera.scorer(settings, data, run)
        watched = watch(source, scorer, folder, [alarms])
        alarms.close()
    if watched.stopped:
        raise DDLError("stopped before its end: nothing is recorded; run it again")
    events, facts = read_events(folder)
    scores = read_scores(folder)["score"].to_numpy()
    rest = at_rest(source.pieces(), run, settings.patch_size)
    labels = list(clip_labels(found).values())
    met = against_labels(events, np.concatenate(labels)) if labels else None
    whole = watched.frames == sent  # else frames and labels are not of one count
    return {
        "footage": found.name,
        "rate": rate,
        "sent": sent,
        "frames": watched.frames,
        "scored": watched.scored,
        "dropped": source.dropped,
        "gaps": len(source.pieces()) - 1,
        "delay": delays(watched, rate),
        "largest_difference": float(np.abs(scores - rest).max()),
        "precision": run.precision,
        "threshold": chosen.asdict(),
        "filter": facts["filter"],
        "events": [asdict(event) for event in events],
        "met": list(met) if met and whole else None,
        "train_seconds": run.seconds,
        "device": describe_device(run.creator.l.device),
        "environment": environment(),
    }


def lines(report: Mapping) -> list[str]:
    """The record in sentences, for a page or a shell."""
    delay, parts = report["delay"], report["delay"]["parts"]
    told = [
        f"{report['scored']} of {report['sent']} frames scored at {report['rate']:g} per second; "
        f"{report['dropped']} dropped",
        f"delay: median {delay['median']:.3f} s, 95 % within {delay['p95']:.3f} s; in the first "
        f"half minute {parts[0]:.3f} s, in the last {parts[-1]:.3f} s",
        f"largest difference from the scores of the same frames at rest: "
        f"{report['largest_difference']:.1g} ({report['precision']})",
    ]
    if report["met"]:
        met, abnormal, false = report["met"]
        told.append(
            f"{len(report['events'])} events: {met} of {abnormal} abnormal stretches meet one, "
            f"{false} lie on normal frames alone"
        )
    return told


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.stream_study", description=__doc__)
    parser.add_argument("footage", type=Path, help="a data set with training and test clips")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second (default 10)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("stream_study", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    report = measure(given.footage, given.rate)
    print(*lines(report), sep="\n")
    if given.to:
        write_json(given.to / "stream.json", report)


if __name__ == "__main__":
    sys.exit(main())
