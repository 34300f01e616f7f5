"""Watching: frames of a source through the scorer to a table on disk and to whoever listens."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout

from ddllib.annotated import AnnotatedVideo
from ddllib.commands import run_command
from ddllib.data import load_prepared
from ddllib.errors import DDLError
from ddllib.event_page import write_page
from ddllib.files import disk_faults, write_whole
from ddllib.stopping import Stop, stop_between_steps
from ddllib.streaming import Scored, StreamScorer

NAME = "scores.csv"
SOURCE = "source.txt"  # beside it: which recording was watched last, to go on with it
HEADER = "segment,frame,time_s,score"
REMEMBERED = 10_000  # delays that the report is made of, the newest
TAIL = 1 << 16  # bytes at a table's end that are looked at for its last whole row

Listener = Callable[[Scored, float], None]


@dataclass
class Watched:
    """What came of watching so far.

    ``frames`` were read and ``scored`` of them have a score; the others lay in pieces too short for
    a window, or still wait for theirs. ``segments`` counts the pieces between gaps. ``dropped`` and
    ``reconnections`` are the source's. ``delays`` holds the seconds from reading a frame to its
    score, T // 2 frames of waiting included, for the newest ``REMEMBERED`` frames. ``stopped`` is
    the signal that ended it, if one did.
    """

    frames: int = 0
    scored: int = 0
    segments: int = 0
    dropped: int = 0
    reconnections: int = 0
    seconds: float = 0.0
    stopped: int | None = None
    delays: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED), repr=False)

    def delay(self, share: float = 0.5) -> float:
        """The delay in seconds that this share of frames keeps within; 0.5 is the median."""
        return float(np.quantile(self.delays, share)) if self.delays else float("nan")

    def report(self) -> str:
        """One line to read."""
        pace = self.scored / self.seconds if self.seconds else 0.0
        return (
            f"{self.scored} of {self.frames} frames scored, {pace:.1f} per second; delay "
            f"{self.delay():.3f} s, 95 % within {self.delay(0.95):.3f} s; {self.dropped} dropped, "
            f"{self.reconnections} reconnections"
        )


class Table:
    """``scores.csv``: a row for each scored frame, handed to the system as soon as it is known.

    A row is written whole by one call, so a process killed at any moment loses no row and leaves
    at most its last one torn; ``Table`` cuts that one off and goes on with a new segment. Columns:
    the segment (no window spans two), the frame's number and time as its source gave them, and the
    raw score. Raises ``DDLError`` for a file that is no such table.
    """

    def __init__(self, path: Path):
        self.segment = mend(path) + 1
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if os.fstat(self._file).st_size == 0:
            os.write(self._file, f"{HEADER}\n".encode())

    def add(self, index: int, time_s: float, score: float) -> None:
        """Append one row; nine digits give a float32 score back exactly."""
        row = f"{self.segment},{index},{time_s:.3f},{score:.9g}\n".encode()
        if os.write(self._file, row) != len(row):
            raise OSError("the disk is full; make room and start again")

    def sync(self) -> None:
        """Wait until the rows are on the disk, to outlive a power cut, too."""
        os.fsync(self._file)

    def close(self) -> None:
        self.sync()
        os.close(self._file)


def mend(path: Path) -> int:
    """Cut what is torn off a table's end; returns its last segment, -1 where it has no row."""
    if not path.is_file() or path.stat().st_size == 0:
        return -1
    with path.open("r+b") as file:
        head = file.read(len(HEADER) + 1)
        if head != f"{HEADER}\n".encode():
            if f"{HEADER}\n".encode().startswith(head):  # torn in its very first line
                file.truncate(0)
                return -1
            raise DDLError(f"{path}: no table of scores; expected {HEADER}; give another folder")
        start = max(file.seek(0, os.SEEK_END) - TAIL, len(head))
        file.seek(start)
        tail = file.read()
        if start > len(head):
            cut = tail.find(b"\n") + 1  # the first row may be cut by where we began
            start, tail = start + cut, tail[cut:]
        rows = tail.split(b"\n")
        whole = rows[:-1]  # what follows the last line break is torn
        while whole and not _is_row(whole[-1]):
            whole.pop()
        file.truncate(start + sum(len(row) + 1 for row in whole))
        return int(whole[-1].split(b",")[0]) if whole else -1


def _is_row(line: bytes) -> bool:
    try:
        segment, frame, time_s, score = line.split(b",")
        counts = int(segment), int(frame)
        float(time_s), float(score)
    except ValueError:
        return False
    return all(0 <= count < 1 << 63 for count in counts)


def read_scores(folder: Path | str) -> pd.DataFrame:
    """The table in a watched folder: segment, frame, time_s in seconds, score.

    May be read while it grows; a row still being written is left out.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the scores of a watched source; watch one")
    lines = path.read_bytes().split(b"\n")[:-1]
    if not lines or lines[0] != HEADER.encode():
        raise DDLError(f"{path}: no table of scores; expected {HEADER}; give another folder")
    rows = [line.split(b",") for line in lines[1:] if _is_row(line)]
    kinds = {"segment": int, "frame": int, "time_s": float, "score": np.float32}
    return pd.DataFrame(rows, columns=HEADER.split(",")).astype(kinds)


def watch(
    source: Iterable,
    scorer: StreamScorer,
    folder: Path | str,
    listeners: Iterable[Listener] = (),
    every: float = 30.0,
    tell: Callable[[str], None] = print,
) -> Watched:
    """Score a source's frames until it ends or the process is asked to stop.

    ``source`` yields frames as ``data_prep.sources`` does: ``index``, ``time_s``, ``image`` (uint8
    C x H x W at the model's working size), ``gap`` and ``read_s``. Each scored frame is first
    appended to ``<folder>/scores.csv``, then handed to every listener as ``listener(scored,
    time_s)``, ``scored.index`` being the source's number of the frame; a listener that has a method
    ``interrupt`` is told of gaps by it. About every ``every``
    seconds, and at the end, ``tell`` gets one line. Ctrl-C and SIGTERM end it cleanly: every
    answer that can still be given is written. A recording that was watched into the folder before
    (its ``identity``) is gone on with behind its last scored frame.
    """
    folder = Path(folder)
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    end = getattr(source, "stop", lambda: None)
    with _claimed(folder), stop_between_steps(end) as stop:
        table = Table(folder / NAME)
        behind = _scored_before(folder, source)
        if behind >= 0:
            tell(f"{_name(source)}: frames up to {behind} were scored before; going on behind them")
        try:
            loop = _Loop(source, scorer, table, tuple(listeners), behind)
            watched = loop.run(every, tell, stop)
        finally:
            table.close()
        watched.stopped = stop.signal
    tell(f"{_name(source)}: ended; {watched.report()}")
    return watched


def _scored_before(folder: Path, source) -> int:
    """The last frame scored of this very recording, -1 where it is watched for the first time."""
    note, identity = folder / SOURCE, getattr(source, "identity", None)
    known = note.read_text("utf-8", "replace") if note.is_file() else None
    if identity is not None and known == identity:
        frames = read_scores(folder)["frame"]
        return int(frames.iloc[-1]) if len(frames) else -1
    write_whole(note, lambda file: file.write((identity or "").encode()))
    return -1


class _Loop:
    def __init__(self, source, scorer: StreamScorer, table: Table, listeners: tuple, behind: int):
        self.source, self.scorer, self.table, self.listeners = source, scorer, table, listeners
        self.behind = behind  # frames up to this one were scored before
        self.unanswered: deque = deque()  # frames pushed, without their images
        self.watched = Watched()

    def run(self, every: float, tell: Callable, stop: Stop) -> Watched:
        started = told = time.monotonic()
        self.scorer.reset()
        for frame in self.source:
            if frame.index <= self.behind:
                if stop:
                    break
                continue
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
            if stop:
                break
        self.end_piece()
        self.note(time.monotonic() - started)
        return self.watched

    def push(self, frame) -> None:
        self.watched.frames += 1
        self.unanswered.append((frame.index, frame.time_s, frame.read_s))
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
            index, time_s, read_s = self.unanswered.popleft()
            self.table.add(index, time_s, one.score)
            self.watched.scored += 1
            self.watched.delays.append(time.monotonic() - read_s)
            for listener in self.listeners:
                listener(replace(one, index=index), time_s)

    def note(self, seconds: float) -> None:
        self.watched.seconds = seconds
        self.watched.dropped = getattr(self.source, "dropped", 0)
        self.watched.reconnections = getattr(self.source, "reconnections", 0)


class _Page:
    """A listener that renews the page after each event, so that a killed watch leaves one."""

    def __init__(self, alarms):
        self.alarms, self.count = alarms, alarms.file.count

    def __call__(self, scored, seconds: float) -> None:
        if self.alarms.file.count != self.count:
            self.count = self.alarms.file.count
            write_page(self.alarms.folder)


def _name(source) -> str:
    return getattr(source, "name", "source")


def _claimed(folder: Path):
    """Nobody else writes into the folder meanwhile."""
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
    parser.add_argument("--alarms", type=float, default=1.0, help="false ones an hour (default 1)")
    parser.add_argument("--no-alarms", action="store_true", help="only scores, no events")
    video = "also a video of all that is watched, with error maps and scores"
    parser.add_argument("--video", action="store_true", help=video)
    parser.add_argument("--ignore", help="an image, white where nothing counts")
    parser.add_argument("--patch", type=int, help="side of a patch in pixels (default: by size)")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), help="default: the run's")
    parser.add_argument("--rate", type=float, help="frames per second (default: the run's)")
    parser.add_argument("--patience", type=float, default=10.0, help="seconds without a frame")
    parser.add_argument("--give-up", type=float, default=600.0, help="after so many seconds")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between reports")
    return parser


def _status(watched: Watched) -> int:
    return 128 + watched.stopped if watched.stopped else 0


def _watch_by(given: argparse.Namespace) -> int:
    # Here alone the library needs what reads footage.
    from data_prep.sources import open_source
    from ddllib import camera
    from ddllib.training import load_run

    run = load_run(given.run)
    settings = replace(
        run.settings,
        patch=given.patch,
        ignore=given.ignore,
        watch=given.source,
        precision=given.precision or run.settings.precision,
        alarms_per_hour=given.alarms,
    )
    run = replace(run, settings=settings)
    data = load_prepared(given.run.resolve().parent / settings.prepared_folder.name)
    rate = camera.frame_rate(settings) if given.rate is None else given.rate
    wishes = {"patience": given.patience, "give_up": given.give_up}
    source = open_source(given.source, data.size, channels=data.channels, rate=rate, **wishes)
    scorer = camera.scorer(settings, data, run)
    # The source's thread needs a core: threads that wait for one another on too few are far slower.
    torch.set_num_threads(max(torch.get_num_threads() - 1, 1))
    if given.no_alarms:
        return _status(watch(source, scorer, given.to, every=given.every))
    chosen = camera.threshold(settings, data, run)
    print(chosen, *[chosen.warning] * bool(chosen.warning), sep="\n", flush=True)
    alarms = camera.alarms(settings, data, chosen, given.to, where=source.where)
    listeners = [alarms, _Page(alarms)]
    if given.video:
        stem = given.to / time.strftime("annotated-%Y-%m-%d-%H%M%S")
        listeners.append(AnnotatedVideo(stem, chosen.value, rate, settings.patch_size))
    try:
        return _status(watch(source, scorer, given.to, listeners, every=given.every))
    finally:
        alarms.close()
        print(f"{write_page(given.to)}: the events, to step through")
        if given.video:
            listeners[-1].close()
            print(f"{listeners[-1].path or stem}: the video")


if __name__ == "__main__":
    sys.exit(main())
