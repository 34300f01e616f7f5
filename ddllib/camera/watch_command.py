"""``python -m ddllib watch``: a trained run watches a video, a folder, a webcam or an address."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ddllib.camera.annotated import AnnotatedVideo
from ddllib.camera.event_page import write_page
from ddllib.camera.listener import Listener
from ddllib.camera.on_event import OnEvent
from ddllib.camera.page_renewal import PageRenewal
from ddllib.camera.watch import check_folder, claimed, watch_claimed
from ddllib.camera.watched import Watched
from ddllib.errors import DDLError
from ddllib.io.commands import (
    Parser,
    alarms_per_hour,
    frames_per_second,
    minutes,
    run_command,
    seconds,
    whole,
)

GAVE_UP = 75  # exit status if a live source sends no frames any more: try again later


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch a source with a trained run; returns the exit status."""
    options = parser().parse_args(arguments)
    return run_command("watch", lambda: _watch_by(options))


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = Parser(prog="python -m ddllib watch", description="Watch a source with a trained run.")
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    source = "a video file, a folder, the number of a webcam, or an address (rtsp://, http://)"
    parser.add_argument("--source", required=True, help=source)
    parser.add_argument("--to", type=Path, required=True, help="folder for scores and events")
    alarms = "false ones an hour (default: the run's)"
    parser.add_argument("--alarms", type=alarms_per_hour, help=alarms)
    parser.add_argument("--no-alarms", action="store_true", help="only scores, no events")
    video = "also a video of all that is watched, with error maps and scores; up to 1 GB an hour"
    parser.add_argument("--video", action="store_true", help=video)
    mask = "an image, white where nothing counts, or boxes: [[0, 0, 0.5, 0.2]], from 0 to 1; none"
    command = "is run as CMD FOLDER NUMBER for each event that has ended"
    parser.add_argument("--on-event", metavar="CMD", help=command)
    parser.add_argument("--ignore", help=f"{mask} (default: the run's)")
    parser.add_argument("--patch", type=whole("pixels"), help="side of a patch (default: by size)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="default: the run's")
    rate = "frames per second (default: the run's)"
    parser.add_argument("--rate", type=frames_per_second, help=rate)
    parser.add_argument("--patience", type=seconds, default=10.0, help="seconds without a frame")
    silent = f"after so many seconds without a frame, with status {GAVE_UP}"
    parser.add_argument("--give-up", type=seconds, default=600.0, help=silent)
    parser.add_argument("--minutes", type=minutes, help="how long (default: to the end, or Ctrl-C)")
    parser.add_argument("--every", type=seconds, default=30.0, help="seconds between reports")
    return parser


def _watch_by(options: argparse.Namespace) -> int:
    if options.no_alarms and options.video:
        raise DDLError("--video marks what is above the threshold; leave --no-alarms out for it")
    if options.no_alarms and options.on_event:
        raise DDLError("--on-event runs when an event has ended; leave --no-alarms out for it")
    on_event = OnEvent(options.on_event, options.to) if options.on_event else None
    # Imported late: of the commands only this one needs the modules that read footage.
    from ddllib.camera import assembly
    from ddllib.camera.watch_setup import set_up

    ready = set_up(options)
    run, known, settings = ready.run, ready.known, ready.run.settings
    known_rate = assembly.frame_rate(settings, known)
    rate = known_rate if options.rate is None else options.rate
    waits = {"patience": options.patience, "give_up": options.give_up}
    source = assembly.open_watched(options.source, known, rate, **waits)
    scorer = assembly.scorer(settings, known, run)
    if scorer.ignore is not None:
        print(f"ignored: {scorer.ignore.mean():.1%} of the picture, by {settings.ignore}")
    watching = {"every": options.every, "tell": print, "minutes": options.minutes}
    with claimed(options.to):  # locked before any file in it changes
        check_folder(options.to)
        if options.no_alarms:
            return _status(watch_claimed(source, scorer, options.to, (), **watching))
        chosen = assembly.threshold(settings, known, run)
        ready.keep()
        print(*ready.notes(), chosen, *[chosen.warning] * bool(chosen.warning), sep="\n")
        if rate != known_rate:
            print(
                f"note: chosen at {known_rate:g} frames per second, watched at {rate:g}: what "
                "moves looks faster or slower than normal"
            )
        with ExitStack() as after:
            hooks = {"where": source.where, "rate": rate, "renew": source.identity is None}
            if on_event:
                hooks["on_event"] = on_event
                after.callback(on_event.close)
            alarms = assembly.alarms(settings, known, chosen, options.to, **hooks)
            after.callback(_leave_page, options.to)
            after.callback(alarms.close)
            listeners: list[Listener] = [alarms, PageRenewal(alarms)]
            if options.video:
                stem = options.to / time.strftime("annotated-%Y-%m-%d-%H%M%S")
                video = AnnotatedVideo(stem, chosen.value, rate, settings.patch_size)
                listeners.append(video)
                after.callback(_leave_video, video)
            watching["smooth"] = assembly.smoother(settings)
            return _status(watch_claimed(source, scorer, options.to, tuple(listeners), **watching))


def _status(watched: Watched) -> int:
    if watched.stopped:
        return 128 + watched.stopped
    return GAVE_UP if watched.gave_up else int(bool(watched.faults))


def _leave_page(folder: Path) -> None:
    print(f"{write_page(folder)}: the events, to step through")


def _leave_video(video: AnnotatedVideo) -> None:
    video.close()
    print(f"{video.path}: the video" if video.path else "no frame was watched: no video")
