"""From scores to events: two thresholds (hysteresis), a shortest duration, a box in the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import cv2
import numpy as np

from data_prep.footage.gaps import GAP_S, is_gap, longest_gap
from ddllib.errors import DDLError
from ddllib.patches import best_patch, corner

REGION_SHARE = 0.5  # of the error map's peak; the region of an event has pixels above it
EPOCH = 1e9  # seconds; larger times count from 1970 (a live source), not from a recording's start
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Event:
    """One event: from the first frame above the threshold to the last one not below the release.

    ``start``, ``end`` (included) and ``peak`` count frames, the same with ``_s`` are seconds;
    ``score`` is the peak's. ``box`` is (x0, y0, x1, y1), relative to the picture, in [0, 1], of the
    strange region at the peak (``region``), None without an error map. ``open`` says that the
    footage ended before the event did. ``drift`` is the kind of scene change during which it began,
    else empty. If several clips were watched, the event begins in ``clip`` at ``clip_s``.
    """

    start_s: float
    end_s: float
    peak_s: float
    start: int
    end: int
    peak: int
    score: float
    box: Box | None = None
    open: bool = False
    drift: str = ""
    clip: str = ""
    clip_s: float = 0.0


def joined(earlier: Event, later: Event) -> Event:
    """Join two overlapping events, as when a resumed watch scores the end of the first one again.

    The peak is the higher one. But if a frame came twice, the later event's value is kept, since
    the earlier watch may have ended there. If the earlier event has no box, because the process was
    killed before it wrote its evidence, the later one's box is taken.
    """
    peak = max(earlier, later, key=lambda event: event.score)  # the earlier of two equal ones
    if earlier.peak >= later.start:
        peak = later
    if peak.box is None:
        peak = replace(peak, box=later.box)
    return replace(
        peak,
        start=earlier.start,
        start_s=earlier.start_s,
        end=later.end,
        end_s=later.end_s,
        open=later.open,
        drift=earlier.drift or later.drift,
        clip=earlier.clip,
        clip_s=earlier.clip_s,
    )


class EventDetector:
    """Turns scores into events one frame at a time; holds one event and one error map at most.

    An event starts with a score above ``threshold`` and ends before the first one below
    ``release``; an event shorter than ``least_s`` seconds is dropped. ``runs_until`` is the last
    frame of an event of an earlier watch: up to it a score above the release continues that event.
    No event spans a gap: ``gap_s`` seconds without a frame, or frames or times that run backwards.
    With ``gap_s`` None the caller detects gaps and calls ``reset``, as a watch does.
    Raises ``DDLError`` if the release lies above the threshold.
    """

    def __init__(
        self,
        threshold: float,
        release: float,
        least_s: float = 0.0,
        patch: int = 8,
        gap_s: float | None = GAP_S,
    ):
        if not release <= threshold or least_s < 0:
            raise DDLError(
                f"release is {release:g}, threshold {threshold:g}, least duration {least_s:g} s; "
                "expected a release not above the threshold and a duration from 0 up"
            )
        self.threshold, self.release, self.least_s, self.patch = threshold, release, least_s, patch
        self.gap_s, self.runs_until = gap_s, -1
        self._running: Event | None = None
        self._is_event = False  # whether the running stretch has lasted long enough
        self._last: tuple[int, float] | None = None  # number and time of the newest frame
        self._step = 0.0  # seconds between the newest two frames
        self._map: np.ndarray | None = None  # the error map of the peak

    @property
    def started(self) -> Event | None:
        """The present stretch above the release, even if it is too short to be an event."""
        return self._running

    @property
    def running(self) -> Event | None:
        """The running event, once it has lasted long enough to be one."""
        return self._running if self._running and self._is_event else None

    def push(
        self,
        index: int,
        seconds: float,
        score: float,
        error: np.ndarray | None = None,
        drift: str = "",
    ) -> Event | None:
        """Take frame ``index``, its time and score; returns the event that it ends, if any.

        ``error`` is the frame's error map, H x W. A gap and a score that is not finite end an
        event. ``drift`` is the kind of scene change to mark the event with.
        """
        continues = index <= self.runs_until
        finds_gaps = self.gap_s is not None
        gap = finds_gaps and is_gap(self._last, (index, seconds), self.gap_s)
        ended = self.reset() if gap or not np.isfinite(score) else None
        if self._last:
            self._step = seconds - self._last[1]
        self._last = (index, seconds) if np.isfinite(score) else None
        if self._running and score < self.release:
            ended = self.reset(keep_time=True)
        elif self._running:
            self._extend(index, seconds, score, error, drift)
        elif score > self.threshold or (continues and score >= self.release):
            self._running = Event(
                seconds, seconds, seconds, index, index, index, float(score), drift=drift
            )
            self._map, self._is_event = error, continues
        if self._running and self._long_enough(self._running):
            self._is_event = True  # it stays so, as a person may have been told
        return ended

    def reset(self, keep_time: bool = False) -> Event | None:
        """End and return a running event, as before a gap in the footage."""
        event, self._running = self._running, None
        lasted = event and (self._is_event or self._long_enough(event))
        finished = self._finish(event) if lasted else None
        self._map = None
        if not keep_time:
            self._last = None
        return finished

    def close(self) -> Event | None:
        """The footage is over: return a running event, marked open."""
        event = self.reset()
        return replace(event, open=True) if event else None

    def _extend(self, index, seconds, score, error, drift) -> None:
        changes = {"end": index, "end_s": seconds, "drift": self._running.drift or drift}
        if score > self._running.score:
            changes |= {"peak": index, "peak_s": seconds, "score": float(score)}
            self._map = error
        self._running = replace(self._running, **changes)

    def _long_enough(self, event: Event) -> bool:
        # A frame lasts until the next one, so n frames last n steps. 1e-6 s allows for rounding.
        return event.end_s - event.start_s + self._step >= self.least_s - 1e-6

    def _finish(self, event: Event) -> Event:
        if self._map is None:
            return event
        return replace(event, box=region(self._map, self.patch))


def clock(seconds: float) -> str:
    """A time for people: ``0:01:02.5`` in a recording, date and time for a live source."""
    if seconds > EPOCH:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    hours, rest = divmod(seconds, 3600)
    return f"{int(hours)}:{int(rest // 60):02d}:{rest % 60:04.1f}"


def when(event: Event, end: bool = True) -> str:
    """Start and ``end`` of an event as text, or only its start; after the clip's name, if any."""
    shift = event.start_s - event.clip_s if event.clip else 0.0
    span = clock(event.start_s - shift)
    span += f" to {clock(event.end_s - shift)}" if end else ""
    return f"{event.clip} {span}" if event.clip else span


def find_events(
    scores: np.ndarray,
    threshold: float,
    release: float,
    frame_rate: float,
    least_s: float = 0.0,
    maps=None,
    patch: int = 8,
) -> list[Event]:
    """The events of one clip, scores N, as ``EventDetector`` finds them; an open one is last.

    ``maps`` are its error maps, N x H x W, memory-mapped or not; without them events have no box.
    """
    detector = EventDetector(threshold, release, least_s, patch, longest_gap(frame_rate))
    events = [
        detector.push(i, i / frame_rate, float(score), None if maps is None else maps[i])
        for i, score in enumerate(scores)
    ]
    return [event for event in [*events, detector.close()] if event]


def least_frames(least_s: float, frame_rate: float) -> int:
    """How many frames an event of ``least_s`` seconds has; 1 at least."""
    return max(math.ceil(least_s * frame_rate - 1e-6), 1)


def count_events(scores: np.ndarray, threshold: float, release: float, least: int = 1) -> int:
    """How many events of ``least`` frames or more ``find_events`` has in scores N; vectorised."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], scores >= release, [0]]).astype(np.int8)))
    above = np.append(np.flatnonzero(scores > threshold), len(scores) + 1)
    starts = above[np.searchsorted(above, edges[::2])]  # first frame above, in each run or later
    return int((edges[1::2] - starts >= max(least, 1)).sum())


def against_labels(events: Iterable[Event], labels: np.ndarray) -> tuple[int, int, int]:
    """Compare events with labels, N of 0 and 1, one for each watched frame.

    Returns the number of abnormal stretches that overlap an event, of all abnormal stretches, and
    of events that overlap none.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    abnormal = edges.reshape(-1, 2)
    spans = [(event.start, event.end + 1) for event in events]
    detected = sum(any(a < last and first < b for a, b in spans) for first, last in abnormal)
    false_alarms = sum(not labels[a:b].any() for a, b in spans)
    return detected, len(abnormal), false_alarms


def region(error: np.ndarray, patch: int, share: float = REGION_SHARE) -> Box:
    """The box of the strange region in one error map, H x W: (x0, y0, x1, y1) in [0, 1].

    The map is averaged over squares as large as a patch. The region starts at the highest value
    within the patch that gives the score (``best_patch``). It holds all connected pixels of at
    least ``share`` times that value.
    """
    height, width = error.shape
    smooth = cv2.blur(np.asarray(error, np.float32), (patch, patch))
    row, column = corner(best_patch(error, patch), patch)
    inside = smooth[row : row + patch, column : column + patch]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    high = (smooth >= share * inside.max()).astype(np.uint8)
    _, numbers, boxes, _ = cv2.connectedComponentsWithStats(high, connectivity=8)
    x0, y0, w, h, _ = boxes[numbers[row + y, column + x]]
    return x0 / width, y0 / height, (x0 + w) / width, (y0 + h) / height
