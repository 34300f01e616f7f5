"""Many live cameras: does each tell what a watch of its own clip alone tells?

    python -m ddllib study cameras FOOTAGE [FOOTAGE ...] [--minutes 60] [--to FOLDER]

For each data set a small model is trained on the training clips, as in ``study stream``. Every test
clip becomes a local camera that sends H.264 in real time and hangs up at the clip's end; at the
next connection it begins anew. One process watches them all. Each whole play is compared with a
watch of the same file alone: the scores frame by frame, and the events. A frame of another camera
would have another score.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.camera import watch_command
from ddllib.camera.event_file import read_events
from ddllib.camera.events import Event
from ddllib.camera.score_table import read_scores
from ddllib.devices import describe_device, resolve_device
from ddllib.errors import DDLError
from ddllib.experiments.benchmark_cameras import hold
from ddllib.experiments.camera_streams import encode, served
from ddllib.experiments.walkway_run import MODELS
from ddllib.io.commands import Parser, frames_per_second, minutes, run_command
from ddllib.io.files import write_json
from ddllib.records import environment
from studies.stream_study import clip_labels, trained

NAME = "together.json"
MODEL = "small"  # of `walkway_run.MODELS`: so many cameras are held with it
SUMMED = ("plays", "torn", "frames", "events", "told", "more", "labelled", "labelled_told")


@dataclass(frozen=True)
class Filmed:
    """A test clip as the video that a camera plays, with its run and the labels of its frames.

    ``labels`` are N of 0 and 1; None for a clip without labels.
    """

    name: str
    video: Path
    run: Path
    labels: np.ndarray | None


@dataclass(frozen=True)
class Compared:
    """The whole plays of one camera beside the watch of its clip alone.

    ``torn`` plays lack frames, ``frames`` is the number of the others' compared scores and
    ``difference`` their largest difference. ``events`` are those of the clip alone, in all plays
    together; ``told`` of them have an event of the camera in their place, and ``more`` events of
    the camera have none. ``labelled`` events of the clip lie on abnormal frames; of these
    ``labelled_told`` have one.
    """

    camera: str
    plays: int
    torn: int
    frames: int
    difference: float
    events: int
    told: int
    more: int
    labelled: int
    labelled_told: int


def filmed(footage: Path, rate: float, folder: Path, **values) -> list[Filmed]:
    """The test clips of a data set as videos in ``folder``, and the run to watch them with.

    ``values`` override the profile ``own-camera``. Raises ``DDLError`` for footage without test
    clips.
    """
    from data_prep.footage.frames import read_frames
    from data_prep.footage.survey import survey

    surveyed = survey(footage)
    clips = surveyed.footage.clips["testing"]
    if not clips:
        raise DDLError(f"{footage}: expected test clips, to play them; add a folder `testing`")
    _, _, run = trained(surveyed.footage, rate, **{**MODELS[MODEL], **values})
    labels, films = clip_labels(surveyed), []
    for name, clip in clips.items():
        camera = f"{surveyed.name} {name}"
        video = folder / f"{camera}.mp4"
        encode(video, read_frames(clip, colour=True), rate)
        films.append(Filmed(camera, video, run.folder, labels.get(name)))
    return films


def compare(name: str, alone: Path, live: Path, labels: np.ndarray | None = None) -> Compared:
    """Compare the folder of a camera's watch with that of a watch of its clip alone.

    ``labels`` are those of the clip's frames, N of 0 and 1. The last play, in which the watch
    ended, does not count.
    """
    expected, (events, _) = read_scores(alone), read_events(alone)
    abnormal = [labels is not None and bool(labels[e.start : e.end + 1].any()) for e in events]
    plays = [play for _, play in read_scores(live).groupby("segment")][:-1]
    whole = [play for play in plays if len(play) == len(expected)]
    told_by_camera = read_events(live)[0]
    scores, differences, told, more = expected["score"].to_numpy(), [0.0], [], 0
    for play in whole:
        differences.append(float(np.abs(play["score"].to_numpy() - scores).max()))
        shift = play["frame"].iloc[0] - expected["frame"].iloc[0]
        last = play["frame"].iloc[-1]
        here = [event for event in told_by_camera if shift <= event.start <= last]
        told.append([any(_meet(event, one, shift) for one in here) for event in events])
        more += sum(not any(_meet(event, one, shift) for event in events) for one in here)
    are_told = np.array(told, bool).reshape(len(whole), len(events))
    return Compared(
        camera=name,
        plays=len(whole),
        torn=len(plays) - len(whole),
        frames=len(whole) * len(expected),
        difference=max(differences),
        events=are_told.size,
        told=int(are_told.sum()),
        more=more,
        labelled=len(whole) * sum(abnormal),
        labelled_told=int(are_told[:, abnormal].sum()),
    )


def _meet(event: Event, of_camera: Event, shift: int) -> bool:
    """Whether an event of the clip alone and one of the camera overlap in a play."""
    return event.start + shift <= of_camera.end and of_camera.start <= event.end + shift


def measure(footage: Sequence[Path], rate: float, lasts: float, folder: Path, **values) -> dict:
    """Watch the test clips of all ``footage`` as live cameras and compare; plain values.

    It ``lasts`` so many minutes. Videos and watched folders are written to ``folder``. ``values``
    override the profile. Raises ``DDLError`` as ``filmed`` and ``benchmark_cameras.hold`` do.
    """
    films = [film for place in footage for film in filmed(place, rate, folder, **values)]
    alone = folder / "alone"
    for film in films:
        options = {"--source": film.video, "--run": film.run, "--to": alone / film.name}
        if watch_command.main([str(part) for option in options.items() for part in option]):
            raise DDLError(f"{film.name}: its clip alone cannot be watched; see the line above")
    with served([film.video for film in films], once=True) as address:
        cameras = {
            film.name: {"source": f"{address}/{k}", "run": str(film.run.resolve())}
            for k, film in enumerate(films)
        }
        taken = hold(folder / "many", cameras, {}, 60 * lasts)
    live = folder / "many" / "to"
    rows = [compare(f.name, alone / f.name, live / f.name, f.labels) for f in films]
    return {
        "rate": rate,
        "minutes": lasts,
        "model": MODEL,
        "taken": taken,
        "rows": [asdict(row) for row in rows],
        "device": describe_device(resolve_device("cpu")),
        "environment": environment(),
    }


def lines(report: Mapping) -> list[str]:
    """The results in sentences."""
    rows, taken = report["rows"], report["taken"]
    total = {name: sum(row[name] for row in rows) for name in SUMMED}
    difference = max(row["difference"] for row in rows)
    return [
        f"{len(rows)} cameras watched for {report['minutes']:g} minutes: {total['plays']} whole "
        f"plays, {total['torn']} that lack frames; {taken['dropped']} frames dropped, 95 % of the "
        f"scores within {taken['delay_95_s']:.2f} s",
        f"{total['frames']} scores compared with those of each clip alone: largest difference "
        f"{difference:.1g}",
        f"{total['told']} of {total['events']} events told as alone, {total['more']} more; of "
        f"those on abnormal frames {total['labelled_told']} of {total['labelled']}",
    ]


def table(report: Mapping) -> pd.DataFrame:
    """One row for each camera, as a page shows it."""
    return pd.DataFrame(
        {
            "camera": row["camera"],
            "whole plays": row["plays"],
            "lack frames": row["torn"],
            "largest difference of a score": f"{row['difference']:.1g}",
            "events of the clip alone, in all plays": row["events"],
            "told by the camera": row["told"],
            "told beside them": row["more"],
        }
        for row in report["rows"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study cameras", description=__doc__)
    footage = "data sets with training and test clips"
    parser.add_argument("footage", type=Path, nargs="+", help=footage)
    parser.add_argument(
        "--rate", type=frames_per_second, default=10.0, help="frames per second (default 10)"
    )
    parser.add_argument("--minutes", type=minutes, default=60.0, help="default 60")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study cameras", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = measure(options.footage, options.rate, options.minutes, Path(folder))
    print(*lines(report), sep="\n")
    if options.to:
        write_json(options.to / NAME, report)
