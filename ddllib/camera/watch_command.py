"""``python -m ddllib watch``: a trained run watches a video, a folder, a webcam or an address."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from ddllib.camera.choices import BACKENDS, STILL
from ddllib.camera.watch_result import WatchResult
from ddllib.io.commands import (
    Parser,
    alarms_per_hour,
    frames_per_second,
    minutes,
    number,
    run_command,
    seconds,
    whole,
)

GAVE_UP = 75  # exit status if a live source sends no frames any more: try again later


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch a source, or the cameras of a file; returns the exit status."""
    reader = parser()
    options = reader.parse_args(arguments)
    if options.config:
        _check_alone(reader, options)
        return run_command("watch", lambda: _watch_many(options))
    missing = [name for name in ("run", "source", "to") if getattr(options, name) is None]
    if missing:
        required = ", ".join(f"--{name}" for name in missing)
        reader.error(f"the following arguments are required: {required} (or --config)")
    return run_command("watch", lambda: _watch_one(options))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(prog="python -m ddllib watch", description="Watch a source with a trained run.")
    many = "a file of many cameras, cameras.yaml, which has all other options but the last two"
    parser.add_argument("--config", type=Path, metavar="FILE", help=many)
    parser.add_argument("--run", type=Path, help="folder of a trained run")
    source = "a video file, a folder, the number of a webcam, or an address (rtsp://, http://)"
    parser.add_argument("--source", help=source)
    parser.add_argument("--to", type=Path, help="folder for scores and events")
    alarms = "false ones an hour (default: the run's)"
    parser.add_argument("--alarms", type=alarms_per_hour, help=alarms)
    level = "the score above which an event begins, instead of a rate of false alarms"
    parser.add_argument("--threshold", type=number("a score"), help=level)
    parser.add_argument("--no-alarms", action="store_true", help="only scores, no events")
    video = "also a video of all that is watched, with error maps and scores; up to 1 GB an hour"
    parser.add_argument("--video", action="store_true", help=video)
    mask = "an image, white where nothing counts, or boxes: [[0, 0, 0.5, 0.2]], from 0 to 1; none"
    command = "is run as CMD FOLDER NUMBER for each event that has ended"
    parser.add_argument("--on-event", metavar="CMD", help=command)
    rests = "seconds that CMD rests after a run; then CMD FOLDER NUMBER COUNT is one run for COUNT"
    parser.add_argument("--cooldown", type=seconds, help=rests)
    parser.add_argument("--ignore", help=f"{mask} (default: the run's)")
    parser.add_argument("--patch", type=whole("pixels"), help="side of a patch (default: by size)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="default: the run's")
    backend = "what computes the model; `benchmark export` measures which is quicker here"
    parser.add_argument("--backend", choices=BACKENDS, default=BACKENDS[0], help=backend)
    rate = "frames per second (default: the run's)"
    parser.add_argument("--rate", type=frames_per_second, help=rate)
    still = "skip: a frame in which nothing moves takes the score of the one before"
    parser.add_argument("--still", choices=STILL, default=STILL[0], help=still)
    parser.add_argument("--patience", type=seconds, default=10.0, help="seconds without a frame")
    silent = f"after so many seconds without a frame, with status {GAVE_UP}"
    parser.add_argument("--give-up", type=seconds, default=600.0, help=silent)
    parser.add_argument("--minutes", type=minutes, help="how long (default: to the end, or Ctrl-C)")
    parser.add_argument("--every", type=seconds, default=30.0, help="seconds between reports")
    return parser


def _check_alone(reader: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """With a file of cameras, only the options that are the same for all are given beside it."""
    for name, value in vars(options).items():
        if name not in ("config", "minutes", "every") and value != reader.get_default(name):
            option = name.replace("_", "-")
            reader.error(f"--{option} stands beside --config; write `{name}` into the file")


def _watch_one(options: argparse.Namespace) -> int:
    # Imported late: of the commands only this one needs the modules that read footage.
    from ddllib.camera.camera_watch import CameraWatch

    with CameraWatch(options) as camera:
        return status_of(camera.run())


def _watch_many(options: argparse.Namespace) -> int:
    from ddllib.camera.cameras_file import read_cameras
    from ddllib.camera.many_cameras import ManyCameras

    cameras = read_cameras(options.config, every=options.every)
    with ManyCameras(cameras) as watch:
        statuses = [status_of(watched) for watched in watch.run(options.minutes)]
    return watch.stopped + 128 if watch.stopped else max(statuses, default=0) or int(watch.failed)


def status_of(watched: WatchResult) -> int:
    """The exit status of a watch that has ended."""
    if watched.stopped:
        return 128 + watched.stopped
    return GAVE_UP if watched.gave_up else int(bool(watched.faults))
