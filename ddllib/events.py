"""From scores to events: hysteresis, a least duration, the place in the picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import cv2
import numpy as np

from ddllib.errors import DDLError

SHARE = 0.5  # of the peak: how far down the error map the region of an event reaches
GAP_S = 1.0  # seconds without a frame that end an event; a dropped frame or two do not
GAP_FRAMES = 2.5  # or so many frames of a camera slower than that
EPOCH = 1e9  # seconds: times above are a clock's, since 1970, not those of a recording
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Event:
    """One event: from the first frame above the threshold to the last one not below the release.

    ``start``, ``end`` (included) and ``peak`` count frames, the same with ``_s`` are seconds;
    ``score`` is the peak's. ``box`` is (x0, y0, x1, y1), relative to the picture, in [0, 1], of
    what is strange at the peak (``region``), None without an error map. ``open`` says that the
    footage ended before the event did; ``drift`` why it is not to be trusted, else it is empty.
    Where several clips were watched, ``clip`` names the one and ``clip_s`` is the start in it.
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
    """One event of two that overlap, as when a watch heard the end of the earlier one again.

    The peak is that of the higher score, but of frames heard again the later one knows better: the
    earlier watch may have ended there. Where a kill left the earlier one without its evidence, and
    so without a box, the later one's box stands in.
    """
    peak = max(earlier, later, key=lambda event: event.score)  # of equal ones the earlier
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
    ``release``; what lasted less than ``least_s`` seconds is dropped. ``runs_until`` is the last
    frame of an event known from before: up to it the release is enough to be within that event.
    Raises ``DDLError`` where the release lies above the threshold.
    """

    def __init__(
        self,
        threshold: float,
        release: float,
        least_s: float = 0.0,
        patch: int = 8,
        gap_s: float = GAP_S,
    ):
        if not release <= threshold or least_s < 0:
            raise DDLError(
                f"release is {release:g}, threshold {threshold:g}, least duration {least_s:g} s; "
                "expected a release not above the threshold and a duration from 0 up"
            )
        self.threshold, self.release, self.least_s, self.patch = threshold, release, least_s, patch
        self.gap_s, self.runs_until = gap_s, -1
        self._running: Event | None = None
        self._counts = False  # whether what runs has lasted long enough
        self._last: tuple[int, float] | None = None
        self._step = 0.0
        self._map: np.ndarray | None = None

    @property
    def started(self) -> Event | None:
        """What is above the release now, however short; an event or not."""
        return self._running

    @property
    def running(self) -> Event | None:
        """The event so far, once it has lasted long enough to be one."""
        return self._running if self._running and self._counts else None

    def push(
        self,
        index: int,
        seconds: float,
        score: float,
        error: np.ndarray | None = None,
        drift: str = "",
    ) -> Event | None:
        """Take frame ``index``, its time and score; an event that it ends comes back.

        ``error`` is the frame's error map, H x W. ``gap_s`` seconds without a frame, frames or time
        that run backwards and a score that is not finite end an event. ``drift`` marks it.
        """
        known = index <= self.runs_until
        gap = is_gap(self._last, (index, seconds), self.gap_s)
        ended = self.reset() if gap or not np.isfinite(score) else None
        if self._last:
            self._step = seconds - self._last[1]
        self._last = (index, seconds) if np.isfinite(score) else None
        if self._running and score < self.release:
            ended = self.reset(keep_time=True)
        elif self._running:
            self._extend(index, seconds, score, error, drift)
        elif score > self.threshold or (known and score >= self.release):
            self._running = Event(
                seconds, seconds, seconds, index, index, index, float(score), drift=drift
            )
            self._map, self._counts = error, known
        if self._running and self._long_enough(self._running):
            self._counts = True  # for good: it may have been told
        return ended

    def reset(self, keep_time: bool = False) -> Event | None:
        """End a running event here, as before a gap in the footage; it comes back."""
        event, self._running = self._running, None
        counts = event and (self._counts or self._long_enough(event))
        finished = self._finish(event) if counts else None
        self._map = None
        if not keep_time:
            self._last = None
        return finished

    def close(self) -> Event | None:
        """The footage is over: an event that still runs comes back, marked open."""
        event = self.reset()
        return replace(event, open=True) if event else None

    def _extend(self, index, seconds, score, error, drift) -> None:
        changes = {"end": index, "end_s": seconds, "drift": self._running.drift or drift}
        if score > self._running.score:
            changes |= {"peak": index, "peak_s": seconds, "score": float(score)}
            self._map = error
        self._running = replace(self._running, **changes)

    def _long_enough(self, event: Event) -> bool:
        # A frame lasts until the next one: n frames last n steps. Clocks are not exact.
        return event.end_s - event.start_s + self._step >= self.least_s - 1e-6

    def _finish(self, event: Event) -> Event:
        if self._map is None:
            return event
        return replace(event, box=region(self._map, self.patch))


def is_gap(last: tuple[int, float] | None, now: tuple[int, float], gap_s: float = GAP_S) -> bool:
    """Whether the footage was interrupted between two frames, each its number and seconds."""
    return last is not None and not (last[0] < now[0] and 0 < now[1] - last[1] <= gap_s)


def longest_gap(frame_rate: float) -> float:
    """Seconds without a frame that still interrupt nothing, at so many frames per second."""
    return max(GAP_S, GAP_FRAMES / frame_rate)


def clock(seconds: float) -> str:
    """A time as people read it: ``0:01:02.5`` of a recording, date and time of a live source."""
    if seconds > EPOCH:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    hours, rest = divmod(seconds, 3600)
    return f"{int(hours)}:{int(rest // 60):02d}:{rest % 60:04.1f}"


def when(event: Event, end: bool = True) -> str:
    """From when to when an event lasted, or only from when; of several clips, in which."""
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
    """The events of one clip, scores N, as the stream would find them; an open one comes last.

    ``maps`` are its error maps, N x H x W, memory-mapped or not; without them there is no box.
    """
    detector = EventDetector(threshold, release, least_s, patch, longest_gap(frame_rate))
    found = [
        detector.push(i, i / frame_rate, float(score), None if maps is None else maps[i])
        for i, score in enumerate(scores)
    ]
    return [event for event in [*found, detector.close()] if event]


def least_frames(least_s: float, frame_rate: float) -> int:
    """How many frames an event has that lasts ``least_s`` seconds; one at least."""
    return max(math.ceil(least_s * frame_rate - 1e-6), 1)


def count_events(scores: np.ndarray, threshold: float, release: float, least: int = 1) -> int:
    """How many events ``find_events`` has in scores N for ``least`` frames, without a loop."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], scores >= release, [0]]).astype(np.int8)))
    above = np.append(np.flatnonzero(scores > threshold), len(scores) + 1)
    starts = above[np.searchsorted(above, edges[::2])]  # the first one above in or after each run
    return int((edges[1::2] - starts >= max(least, 1)).sum())


def against_labels(events: Iterable[Event], labels: np.ndarray) -> tuple[int, int, int]:
    """How events meet labels, N of 0 and 1 for the frames that were watched.

    The abnormal stretches that an event meets, all abnormal stretches, and the events that lie on
    normal frames alone.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], labels.astype(np.int8), [0]])))
    abnormal = edges.reshape(-1, 2)
    spans = [(event.start, event.end + 1) for event in events]
    found = sum(any(a < last and first < b for a, b in spans) for first, last in abnormal)
    false = sum(not labels[a:b].any() for a, b in spans)
    return found, len(abnormal), false


def patch_means(error: np.ndarray, patch: int) -> list[np.ndarray]:
    """Mean of each patch of one map H x W, on the two grids of ``scoring.patch_scores``."""
    grids = []
    for shift in dict.fromkeys((0, patch // 2)):
        rows, columns = ((side - shift) // patch for side in error.shape)
        part = error[shift : shift + rows * patch, shift : shift + columns * patch]
        shape = rows, patch, columns, patch
        grids.append(part.reshape(shape).mean((1, 3), dtype=np.float32))
    return [grid for grid in grids if grid.size]


def best_patch(error: np.ndarray, patch: int) -> tuple[int, int, int]:
    """The patch that gives one map H x W its score: its grid (0, 1), row and column there."""
    grids = patch_means(error, patch)
    best = max(range(len(grids)), key=lambda k: grids[k].max())
    row, column = np.unravel_index(grids[best].argmax(), grids[best].shape)
    return best, int(row), int(column)


def corner(place: tuple[int, int, int], patch: int) -> tuple[int, int]:
    """Row and column of the corner pixel of a patch that ``best_patch`` gave."""
    grid, row, column = place
    return row * patch + grid * (patch // 2), column * patch + grid * (patch // 2)


def region(error: np.ndarray, patch: int, share: float = SHARE) -> Box:
    """The box of what is strange in one error map, H x W: (x0, y0, x1, y1) in [0, 1].

    The map is averaged over squares as large as a patch. Where it is highest within the patch that
    gives the score (``best_patch``) a region grows over all connected pixels that reach ``share``
    of that height; the box bounds it.
    """
    height, width = error.shape
    smooth = cv2.blur(np.asarray(error, np.float32), (patch, patch))
    row, column = corner(best_patch(error, patch), patch)
    inside = smooth[row : row + patch, column : column + patch]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    reached = (smooth >= share * inside.max()).astype(np.uint8)
    _, numbers, boxes, _ = cv2.connectedComponentsWithStats(reached, connectivity=8)
    x0, y0, w, h, _ = boxes[numbers[row + y, column + x]]
    return x0 / width, y0 / height, (x0 + w) / width, (y0 + h) / height
