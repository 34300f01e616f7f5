"""The loop of a watch: frames go through the scorer and the filter to the table and listeners.

Only this module filters scores and detects gaps during a watch.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from data_prep.footage.gaps import is_gap
from ddllib.camera.listener import Listener
from ddllib.camera.running_median import HeldBack, RunningMedian
from ddllib.camera.score_table import SOURCE, Table
from ddllib.camera.still_scorer import StillScorer
from ddllib.camera.watch_result import WatchResult
from ddllib.streaming import FrameScore, StreamScorer

# What a source may offer beside its frames (``data_prep.live.sources``), with the values for one
# that does not, such as a list of frames.
SOURCE_DEFAULTS = {
    "name": "source",
    "identity": None,
    "stop": lambda: None,
    "dropped": 0,
    "reconnections": 0,
    "gave_up": False,
    "faults": (),
    "longest_step": math.inf,
}


class AnySource:
    """A source with all attributes of ``SOURCE_DEFAULTS``, made from any iterable of frames."""

    def __init__(self, source: Iterable):
        self._source = source

    def __iter__(self) -> Iterator:
        return iter(self._source)

    def __getattr__(self, name: str):
        return getattr(self._source, name, SOURCE_DEFAULTS[name])


class WatchLoop:
    """Scores the frames of a source after frame ``last_scored`` of the table; -1 is none.

    Listeners get each frame when its filtered score is known, and learn of a gap when they have got
    all frames before it. There are two kinds of gaps: those that the source marks, and those
    between scored frames that are more than the source's ``longest_step`` seconds apart or whose
    numbers or times run backwards. No window spans a gap of the first kind.
    """

    def __init__(
        self,
        source: AnySource,
        scorer: StreamScorer | StillScorer,
        table: Table,
        listeners: tuple[Listener, ...],
        last_scored: int,
        smooth: RunningMedian | None,
        watched: WatchResult,
    ):
        self.source, self.scorer, self.table, self.listeners = source, scorer, table, listeners
        self.last_scored = last_scored
        self.waiting_frames = HeldBack(smooth)
        lag = max([listener.lag for listener in listeners], default=0)
        if listeners:  # frames still without a filtered score, and those that start the filter
            lag += 2 * self.waiting_frames.delay
        self.first_heard = last_scored + 1 - lag  # the first frame that the listeners get
        self.first_pushed = self.first_heard - (scorer.before if lag else 0)  # to fill its window
        # The filter starts in the middle of the footage: so many of its first outputs are wrong.
        self.incomplete = self.waiting_frames.delay if last_scored >= 0 else 0
        self.unanswered: deque = deque()  # pushed frames without score, without the model's image
        self.last_moment: tuple[int, float] | None = None  # number and time of the last frame heard
        self.watched = watched
        self.skips = isinstance(scorer, StillScorer)
        if self.skips:
            watched.reused = 0

    def run(self, every: float, tell: Callable, ends: Callable[[], bool]) -> None:
        """Watch to the source's end, or until ``ends`` is true after a frame."""
        started = reported = time.monotonic()
        self.scorer.reset()
        try:
            for frame in self.source:
                if frame.index < self.first_pushed:
                    if ends():
                        break
                    continue
                if self.source.faults:  # frame numbers would differ next time, so no resuming
                    (self.table.path.parent / SOURCE).unlink(missing_ok=True)
                if frame.gap and self.watched.frames:
                    self.end_piece()
                    self.tell_gap()
                self.push(frame)
                self.note(time.monotonic() - started)
                if time.monotonic() - reported >= every:
                    reported = time.monotonic()
                    self.table.sync()
                    tell(f"{self.source.name}: {self.watched.report()}")
                if ends():
                    break
            self.end_piece()
        finally:
            self.end()  # after an error, too: listeners get the frames that wait
        self.note(time.monotonic() - started)

    def push(self, frame) -> None:
        self.watched.frames += 1
        self.watched.newest_s, self.watched.newest_read_s = frame.time_s, frame.read_s
        view = getattr(frame, "view", None) if self.listeners else None
        self.unanswered.append((frame.index, frame.time_s, frame.read_s, view))
        more = (frame.time_s,) if self.skips else ()
        scored = self.scorer.push(frame.image, *more)
        if scored:
            self.answer(scored)

    def end_piece(self) -> None:
        """Score the last frames before a gap; the next frame begins a segment."""
        for scored in self.scorer.finish():
            self.answer(scored)
        self.unanswered.clear()
        self.table.segment += 1
        self.watched.segments += 1

    def answer(self, scored: FrameScore) -> None:
        for frame in scored.each():
            index, time_s, read_s, view = self.unanswered.popleft()
            if index > self.last_scored:
                self.table.add(index, time_s, frame.score, frame.reused)
                self.watched.scored += 1
                if frame.reused:
                    self.watched.reused += 1
            self.watched.delays.append(time.monotonic() - read_s)
            if self.listeners and index >= self.first_heard:
                self.hear(replace(frame, index=index, view=view), time_s)

    def hear(self, scored: FrameScore, time_s: float) -> None:
        """Filter the score of the next frame; pass on the frames whose filtered score is ready."""
        now = scored.index, time_s
        if is_gap(self.last_moment, now, self.source.longest_step):
            self.tell_gap()
        if scored.index == 0:
            self.incomplete = 0  # the footage begins here, so the filter is right from the start
        self.last_moment = now
        self.hand_on(self.waiting_frames.push((scored, time_s), scored.score))

    def hand_on(self, pairs: list[tuple]) -> None:
        for (scored, time_s), value in pairs:
            if self.incomplete:
                self.incomplete -= 1
                continue
            for listener in self.listeners:
                listener.on_frame(scored, time_s, value)

    def end(self) -> None:
        """Pass on the frames that wait for their filtered score; the filter starts again."""
        self.hand_on(self.waiting_frames.finish())

    def tell_gap(self) -> None:
        self.end()
        self.last_moment, self.incomplete = None, 0
        for listener in self.listeners:
            listener.on_gap()

    def note(self, seconds: float) -> None:
        source = self.source
        self.watched.seconds, self.watched.gave_up = seconds, source.gave_up
        self.watched.dropped, self.watched.reconnections = source.dropped, source.reconnections
        self.watched.faults = list(source.faults)
