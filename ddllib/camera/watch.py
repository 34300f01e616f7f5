"""Watching: a source's frames go through the scorer to a table on disk and to the listeners."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from ddllib.camera.listener import Listener, filter_name
from ddllib.camera.running_median import RunningMedian
from ddllib.camera.score_table import NAME, SOURCE, Table, scored_before
from ddllib.camera.still_scorer import StillScorer
from ddllib.camera.watch_loop import AnySource, WatchLoop
from ddllib.camera.watch_result import WatchResult
from ddllib.errors import DDLError
from ddllib.io.files import disk_faults
from ddllib.io.interrupts import stop_between_steps
from ddllib.streaming import StreamScorer


def watch(
    source: Iterable,
    scorer: StreamScorer | StillScorer,
    folder: Path | str,
    listeners: Iterable[Listener] = (),
    every: float = 30.0,
    tell: Callable[[str], None] = print,
    minutes: float | None = None,
    smooth: RunningMedian | None = None,
) -> WatchResult:
    """Score a source's frames until it ends, ``minutes`` are over or the process is asked to stop.

    ``source`` yields frames as ``data_prep.live.sources`` does: ``index``, ``time_s``, ``image``
    (uint8 C x H x W at the model's working size), ``gap``, ``read_s`` and, for people, ``view``.
    The score of each frame is first appended to ``<folder>/scores.csv``, then filtered over time by
    ``smooth``, such as ``RunningMedian()`` (None: not at all), and passed to every listener
    (``listener.Listener``); listeners also learn of gaps. About every ``every`` seconds, and at the
    end, ``tell`` gets one line. Ctrl-C and SIGTERM end the watch cleanly: all frames that can still
    be scored are written and passed on. A recording that was watched into the folder before, by the
    same model with the same kinds of listeners, is resumed after its last scored frame
    (``score_table.scored_before``), unless a listener has ``resumes`` False, as it has no results
    of the frames before. A ``StillScorer`` reuses scores where nothing moves. Raises ``DDLError``
    if a listener expects another filter.
    """
    with claimed(Path(folder)):
        return watch_claimed(
            source, scorer, Path(folder), tuple(listeners), every, tell, minutes, smooth
        )


def watch_claimed(
    source: Iterable,
    scorer: StreamScorer | StillScorer,
    folder: Path,
    listeners: tuple[Listener, ...],
    every: float,
    tell: Callable[[str], None],
    minutes: float | None = None,
    smooth: RunningMedian | None = None,
    watched: WatchResult | None = None,
    by_day: bool = False,
) -> WatchResult:
    """Watch as ``watch`` does, into a folder that is ``claimed`` already.

    ``watched`` is filled while the watch runs, so that another thread can see how it goes. With
    ``by_day`` a live source has a table of scores for each day (``Table``).
    """
    _check_filter(listeners, filter_name(smooth))
    source = AnySource(source)
    live = source.identity is None
    # Where many cameras are watched, one thread scores for all and sets this itself (``turns``).
    skips = isinstance(scorer, StillScorer)
    own = isinstance(scorer.scorer if skips else scorer, StreamScorer)
    threads = _one_core_free() if live and own else nullcontext()
    with (
        threads,
        stop_between_steps(source.stop) as stop,
        _called_after(minutes, source.stop) as over,
    ):
        table = Table(folder / NAME, by_day and live, marks=skips)
        goes_on = all(listener.resumes is not False for listener in listeners)
        identity = _identity(source, scorer, listeners)
        last_scored = scored_before(folder, identity, table.segment, goes_on)
        _tell_beginning(source.name, live, listeners, last_scored, tell)
        try:
            watched = watched or WatchResult()
            loop = WatchLoop(source, scorer, table, listeners, last_scored, smooth, watched)
            loop.run(every, tell, lambda: bool(stop) or over.is_set())
        finally:
            table.close()
        watched.stopped = stop.signal
    reason = " as its minutes were over" if over.is_set() else ""
    tell(f"{source.name}: ended{reason}; {watched.report()}")
    return watched


def _check_filter(listeners: tuple[Listener, ...], name: str) -> None:
    """Raise ``DDLError`` if a listener's threshold was chosen with another filter than ``name``."""
    for listener in listeners:
        if listener.filter not in (None, name):
            raise DDLError(
                f"{type(listener).__name__} expects scores filtered by {listener.filter}, the "
                f"watch has {name}; give the watch the filter that the threshold was chosen with "
                "(smooth)"
            )


def _tell_beginning(
    name: str, live: bool, listeners: tuple[Listener, ...], last_scored: int, tell: Callable
) -> None:
    """Tell the listeners whether the source ``name`` is resumed, live, or begun anew."""
    if last_scored >= 0:
        tell(f"{name}: frames up to {last_scored} were scored before; going on behind them")
        for listener in listeners:
            listener.on_resume()
    elif live:
        for listener in listeners:
            listener.on_live()
    else:  # a recording, from its first frame
        for place in filter(None, [listener.on_begin_anew() for listener in listeners]):
            tell(f"{name}: begins anew; events of an earlier watch are kept in {place}")


@contextmanager
def _one_core_free() -> Iterator[None]:
    """Leave one core to the thread that reads a live source; otherwise both become slow."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads - 1, 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _called_after(minutes: float | None, end: Callable[[], object]) -> Iterator[threading.Event]:
    """Call ``end`` and set the event if the block still runs after so many minutes."""
    over = threading.Event()
    if minutes is None:
        yield over
        return

    def stop() -> None:
        over.set()
        end()

    timer = threading.Timer(60 * minutes, stop)
    timer.daemon = True  # it must not keep the process alive
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()


def _identity(
    source: AnySource, scorer: StreamScorer | StillScorer, listeners: tuple[Listener, ...]
) -> list[str] | None:
    """What must be the same to resume a watch: the model, kinds of listeners, the footage so far.

    Listeners with ``resumes`` None are left out: they may be added or removed.
    """
    identity = source.identity
    if identity is None:
        return None
    resuming = [listener for listener in listeners if listener.resumes is not None]
    kinds = sorted(type(listener).__name__ for listener in resuming)
    return [scorer.identity, " ".join(kinds), *identity]


def check_folder(folder: Path) -> None:
    """Raise ``DDLError`` for a folder with other files in it than those of a watch."""
    watch_files = (NAME, SOURCE, "events.csv", "events.json", "running.json")
    if folder.is_dir() and not any((folder / name).exists() for name in watch_files):
        foreign = next((p for p in sorted(folder.iterdir()) if not p.name.startswith(".")), None)
        if foreign:
            raise DDLError(f"{folder}: holds {foreign.name}, of no watch; give a folder of its own")


def claimed(folder: Path):
    """Lock a folder, so that no other process watches into it; it is created if missing."""
    with disk_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(folder / ".watch.lock").acquire(timeout=0)
    except Timeout:
        raise DDLError(f"{folder}: another process watches into it; give another folder") from None
