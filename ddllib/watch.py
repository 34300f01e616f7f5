"""Watching: frames of a source through the scorer to a table on disk and to whoever listens."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout

from ddllib import checkpoints
from ddllib.annotated import AnnotatedVideo
from ddllib.commands import run_command
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.event_page import write_page
from ddllib.files import disk_faults
from ddllib.on_event import OnEvent
from ddllib.score_table import NAME, SOURCE, Table, scored_before
from ddllib.settings import Settings, load_profile, path_or_boxes
from ddllib.stopping import stop_between_steps
from ddllib.streaming import Scored, StreamScorer

BURSTS = 3  # pieces without a score after which a report asks why
TORN = (
    "; no piece between gaps is as long as a window: frames come in bursts (give the "
    "camera's rtsp or .m3u8 address), or too slowly"
)
REST = 100  # times as long as it took the page rests before it is made anew
REMEMBERED = 10_000  # delays that the report is made of, the newest
GAVE_UP = 75  # exit status of a live source from which nothing comes any more; try again later

Listener = Callable[[Scored, float], None]


@dataclass
class Watched:
    """What came of watching so far.

    ``frames`` were read and ``scored`` of them have a score; the others lay in pieces too short for
    a window, or still wait for theirs. ``segments`` counts the pieces between gaps. ``dropped`` and
    ``reconnections`` are the source's. ``delays`` holds the seconds from reading a frame to its
    score, T // 2 frames of waiting included, for the newest ``REMEMBERED`` frames. ``stopped`` is
    the signal that ended it, if one did; ``gave_up`` says that the source did, as nothing came.
    ``faults`` has a line for each clip of a recording that broke off.
    """

    frames: int = 0
    scored: int = 0
    segments: int = 0
    dropped: int = 0
    reconnections: int = 0
    seconds: float = 0.0
    stopped: int | None = None
    gave_up: bool = False
    faults: list[str] = field(default_factory=list)
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED), repr=False)

    def delay(self, share: float = 0.5) -> float:
        """The delay in seconds that this share of frames keeps within; 0.5 is the median."""
        return float(np.quantile(self.delays, share)) if self.delays else float("nan")

    def report(self) -> str:
        """One line to read."""
        pace = self.scored / self.seconds if self.seconds else 0.0
        torn = self.segments > BURSTS and not self.scored
        return (
            f"{self.scored} of {self.frames} frames scored, {pace:.1f} per second; delay "
            f"{self.delay():.3f} s, 95 % within {self.delay(0.95):.3f} s; {self.dropped} dropped, "
            f"{self.reconnections} reconnections"
            + f"; {len(self.faults)} broken off" * bool(self.faults)
            + TORN * torn
        )


def watch(
    source: Iterable,
    scorer: StreamScorer,
    folder: Path | str,
    listeners: Iterable[Listener] = (),
    every: float = 30.0,
    tell: Callable[[str], None] = print,
    minutes: float | None = None,
) -> Watched:
    """Score a source's frames until it ends, ``minutes`` are over or the process is asked to stop.

    ``source`` yields frames as ``data_prep.sources`` does: ``index``, ``time_s``, ``image``
    (uint8 C x H x W at the model's working size), ``gap``, ``read_s`` and, if a person is to
    see it, ``view``. Each scored frame is first appended to ``<folder>/scores.csv``, then
    handed to every listener as ``listener(scored, time_s)``, ``scored.index`` being the
    source's number of the frame; a listener that has a method ``interrupt`` is told of gaps by
    it, one with ``go_on`` that a recording is gone on with, and one with ``begin_anew`` that it
    is not: then it answers where it has put what was there, if any; one with ``catch_up`` that
    the source is live, so that no frame of before is heard again. About every ``every``
    seconds, and at the end, ``tell`` gets one line. Ctrl-C and SIGTERM end it cleanly: every
    answer that can still be given is written. A recording that was watched into the folder
    before, by the same model with the same kinds of listeners, is gone on with behind its last
    scored frame (``score_table.scored_before``), unless a listener has ``resumes`` False: it
    knows nothing of the frames before. One without ``resumes`` is not asked; one with a ``lag``
    hears that many frames again, which it may not have dealt with when the process was killed.
    """
    with claimed(Path(folder)):
        return _watch(source, scorer, Path(folder), tuple(listeners), every, tell, minutes)


def _watch(
    source, scorer: StreamScorer, folder: Path, listeners: tuple, every, tell, minutes=None
) -> Watched:
    end = getattr(source, "stop", lambda: None)
    live = getattr(source, "identity", None) is None
    left = _a_core_left() if live else nullcontext()
    with left, stop_between_steps(end) as stop, _called_after(minutes, end) as over:
        table = Table(folder / NAME)
        goes_on = all(getattr(one, "resumes", True) for one in listeners)
        behind = scored_before(folder, _who(source, scorer, listeners), table.segment, goes_on)
        if behind >= 0:
            tell(f"{_name(source)}: frames up to {behind} were scored before; going on behind them")
            for listener in listeners:
                getattr(listener, "go_on", lambda: None)()
        elif not live:  # all of it is heard from the first
            places = [getattr(one, "begin_anew", lambda: None)() for one in listeners]
            for place in filter(None, places):
                tell(
                    f"{_name(source)}: begins anew; events of an earlier watch are kept in {place}"
                )
        else:
            for listener in listeners:
                getattr(listener, "catch_up", lambda: None)()
        try:
            loop = _Loop(source, scorer, table, listeners, behind)
            watched = loop.run(every, tell, lambda: bool(stop) or over.is_set())
        finally:
            table.close()
        watched.stopped = stop.signal
    why = " as its minutes were over" if over.is_set() else ""
    tell(f"{_name(source)}: ended{why}; {watched.report()}")
    return watched


@contextmanager
def _a_core_left() -> Iterator[None]:
    """A live source's thread needs one: threads that wait for one another on too few are slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - 1, 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _called_after(minutes: float | None, end: Callable[[], object]) -> Iterator[threading.Event]:
    """Call ``end`` once so many minutes have gone by within the block; the event then is set."""
    over = threading.Event()
    if minutes is None:
        yield over
        return
    timer = threading.Timer(60 * minutes, lambda: (over.set(), end()))
    timer.daemon = True  # frames may come or not
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _who(source, scorer: StreamScorer, listeners: tuple) -> list[str] | None:
    """What must be the same for a watch to go on: the model, who listens, the footage so far."""
    identity = getattr(source, "identity", None)
    if identity is None:
        return None
    heard = " ".join(sorted(type(one).__name__ for one in listeners if hasattr(one, "resumes")))
    return [scorer.identity, heard, *identity]


class _Loop:
    def __init__(self, source, scorer: StreamScorer, table: Table, listeners: tuple, behind: int):
        self.source, self.scorer, self.table, self.listeners = source, scorer, table, listeners
        self.behind = behind  # frames up to this one are in the table
        lag = max([getattr(one, "lag", 0) for one in listeners], default=0)
        self.heard = behind - lag  # the listeners need to hear of what comes after
        self.passed = self.heard - (scorer.delay if lag else 0)  # its first score needs a window
        self.unanswered: deque = deque()  # frames pushed, without the model's image
        self.watched = Watched()

    def run(self, every: float, tell: Callable, ends: Callable[[], bool]) -> Watched:
        started = told = time.monotonic()
        self.scorer.reset()
        for frame in self.source:
            if frame.index <= self.passed:
                if ends():
                    break
                continue
            if getattr(self.source, "faults", []):  # frames behind would be counted otherwise
                (self.table.path.parent / SOURCE).unlink(missing_ok=True)
            if frame.gap and self.watched.frames:
                self.end_piece()
                for listener in self.listeners:
                    getattr(listener, "interrupt", lambda: None)()
            self.push(frame)
            self.note(time.monotonic() - started)
            if time.monotonic() - told >= every:
                told = time.monotonic()
                self.table.sync()
                tell(f"{_name(self.source)}: {self.watched.report()}")
            if ends():
                break
        self.end_piece()
        self.note(time.monotonic() - started)
        return self.watched

    def push(self, frame) -> None:
        self.watched.frames += 1
        view = getattr(frame, "view", None) if self.listeners else None
        self.unanswered.append((frame.index, frame.time_s, frame.read_s, view))
        scored = self.scorer.push(frame.image)
        if scored:
            self.answer(scored)

    def end_piece(self) -> None:
        """Give the last frames their score; the next frame begins a segment."""
        for scored in self.scorer.finish():
            self.answer(scored)
        self.unanswered.clear()
        self.table.segment += 1
        self.watched.segments += 1

    def answer(self, scored: Scored) -> None:
        for one in scored.each():
            index, time_s, read_s, view = self.unanswered.popleft()
            if index > self.behind:
                self.table.add(index, time_s, one.score)
                self.watched.scored += 1
            self.watched.delays.append(time.monotonic() - read_s)
            for listener in self.listeners if index > self.heard else ():
                listener(replace(one, index=index, view=view), time_s)

    def note(self, seconds: float) -> None:
        self.watched.seconds = seconds
        self.watched.gave_up = getattr(self.source, "gave_up", False)
        self.watched.dropped = getattr(self.source, "dropped", 0)
        self.watched.reconnections = getattr(self.source, "reconnections", 0)
        self.watched.faults = getattr(self.source, "faults", [])


class _Page:
    """A listener that renews the page after each event, after its clip and after a change.

    So a killed watch leaves one, and a person who was told finds the clip. Of many events that
    takes a while: the page then is as old as leaves nearly all of the time for watching.
    """

    def __init__(self, alarms):
        self.alarms = alarms
        self.shown = self._there()
        self.rests = 0.0  # until then, by the clock time.monotonic

    def __call__(self, scored, seconds: float) -> None:
        if self._there() != self.shown and time.monotonic() >= self.rests:
            self.catch_up()

    def catch_up(self) -> None:
        started, self.shown = time.monotonic(), self._there()
        write_page(self.alarms.folder)
        self.rests = time.monotonic() + REST * (time.monotonic() - started)

    def _there(self) -> tuple[int, bool, int]:
        return self.alarms.file.count, self.alarms.filming, self.alarms.scenes.added


def _name(source) -> str:
    return getattr(source, "name", "source")


def check_folder(folder: Path) -> None:
    """Raise ``DDLError`` for a folder with files in it that no watch has left there."""
    ours = (NAME, SOURCE, "events.csv", "events.json", "running.json")
    if folder.is_dir() and not any((folder / name).exists() for name in ours):
        other = next((p for p in sorted(folder.iterdir()) if not p.name.startswith(".")), None)
        if other:
            raise DDLError(f"{folder}: holds {other.name}, of no watch; give a folder of its own")


def claimed(folder: Path):
    """Nobody else watches into the folder meanwhile; it is made if it is not there."""
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / ".watch.lock").acquire(timeout=0)
    except Timeout:
        raise DDLError(f"{folder}: another process watches into it; give another folder") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m ddllib.watch``: watch a source with a trained run; returns the exit status."""
    given = _parser().parse_args(arguments)
    return run_command("watch", lambda: _watch_by(given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ddllib.watch", description="Watch a source with a trained run."
    )
    parser.add_argument("--run", type=Path, required=True, help="folder of a trained run")
    source = "a video file, a folder, the number of a webcam, or an address (rtsp://, http://)"
    parser.add_argument("--source", required=True, help=source)
    parser.add_argument("--to", type=Path, required=True, help="folder for scores and events")
    asked = "false ones an hour (default: the profile's)"
    parser.add_argument("--alarms", type=float, help=asked)
    parser.add_argument("--no-alarms", action="store_true", help="only scores, no events")
    video = "also a video of all that is watched, with error maps and scores; up to 1 GB an hour"
    parser.add_argument("--video", action="store_true", help=video)
    mask = "an image, white where nothing counts, or boxes: [[0, 0, 0.5, 0.2]], from 0 to 1; none"
    command = "is run as CMD FOLDER NUMBER for each event that has ended"
    parser.add_argument("--on-event", metavar="CMD", help=command)
    parser.add_argument("--ignore", help=f"{mask} (default: the profile's)")
    parser.add_argument("--patch", type=int, help="side of a patch in pixels (default: by size)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="default: the run's")
    parser.add_argument("--rate", type=float, help="frames per second (default: the run's)")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds without a frame")
    silent = f"after so many seconds without a frame, with status {GAVE_UP}"
    parser.add_argument("--give-up", type=float, default=600.0, help=silent)
    parser.add_argument("--minutes", type=float, help="how long (default: to the end, or Ctrl-C)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between reports")
    return parser


def _status(watched: Watched) -> int:
    if watched.stopped:
        return 128 + watched.stopped
    return GAVE_UP if watched.gave_up else int(bool(watched.faults))


def _watch_by(given: argparse.Namespace) -> int:
    if given.no_alarms and given.video:
        raise DDLError("--video marks what is above the threshold; leave --no-alarms out for it")
    if given.no_alarms and given.on_event:
        raise DDLError("--on-event runs when an event has ended; leave --no-alarms out for it")
    hook = OnEvent(given.on_event, given.to) if given.on_event else None
    # Here alone the library needs what reads footage.
    from data_prep.sources import open_source
    from ddllib import camera
    from ddllib.training import load_run

    run = load_run(given.run)
    settings = replace(
        _as_its_profile(run.settings, given),
        watch=given.source,
        watch_minutes=given.minutes,
        precision=given.precision or run.settings.precision,
    )
    run = replace(run, settings=settings)
    data = load_prepared(given.run.resolve().parent / settings.prepared_folder.name)
    usual = camera.frame_rate(settings, data)
    rate = usual if given.rate is None else given.rate
    wishes = {"patience": given.patience, "give_up": given.give_up}
    source = open_source(given.source, data.size, channels=data.channels, rate=rate, **wishes)
    scorer = camera.scorer(settings, data, run)
    if scorer.ignore is not None:
        print(f"ignored: {scorer.ignore.mean():.1%} of the picture, by {settings.ignore}")
    wishes = {"every": given.every, "tell": print, "minutes": given.minutes}
    with claimed(given.to):  # before anything in it is touched
        check_folder(given.to)
        if given.no_alarms:
            return _status(_watch(source, scorer, given.to, (), **wishes))
        if checkpoints.trained_on(given.run) != data.training_digest:
            print(
                "note: the prepared footage has changed since this run was trained; the threshold "
                "is by what is there now; train on it (start_from)"
            )
        chosen = camera.threshold(settings, data, run)
        print(chosen, *[chosen.warning] * bool(chosen.warning), sep="\n")
        if rate != usual:
            print(
                f"note: chosen at {usual:g} frames per second, watched at {rate:g}: what moves "
                "looks faster or slower than normal"
            )
        with ExitStack() as after:
            live = source.identity is None
            options = {"where": source.where, "rate": rate, "renew": live}
            if hook:
                options["on_event"] = hook
                after.callback(hook.close)
            alarms = camera.alarms(settings, data, chosen, given.to, **options)
            after.callback(_leave_page, given.to)
            after.callback(alarms.close)
            listeners: list = [alarms, _Page(alarms)]
            if given.video:
                stem = given.to / time.strftime("annotated-%Y-%m-%d-%H%M%S")
                smooth = camera.smoother(settings)
                video = AnnotatedVideo(stem, chosen.value, rate, settings.patch_size, smooth)
                listeners.append(video)
                after.callback(_leave_video, video)
            return _status(_watch(source, scorer, given.to, tuple(listeners), **wishes))


def _as_its_profile(settings: Settings, given: argparse.Namespace) -> Settings:
    """The run's settings with the patch, mask and rate of alarms of its profile, or those given.

    A checkpoint keeps none of them, as they do not shape the weights.
    """
    profile = load_profile(settings.profile)
    ignore = profile.ignore if given.ignore is None else _mask(given.ignore)
    patch = profile.patch if given.patch is None else given.patch
    asked = profile.alarms_per_hour if given.alarms is None else given.alarms
    return replace(settings, patch=patch, ignore=ignore, alarms_per_hour=asked)


def _mask(text: str) -> str | list | None:
    """What ``--ignore`` names: the path of an image, or boxes; for none nothing."""
    return None if text == "none" else path_or_boxes(text)


def _leave_page(folder: Path) -> None:
    print(f"{write_page(folder)}: the events, to step through")


def _leave_video(video: AnnotatedVideo) -> None:
    video.close()
    print(f"{video.path}: the video" if video.path else "no frame was watched: no video")


if __name__ == "__main__":
    sys.exit(main())
