"""From scores to events: hysteresis, a least duration, the place in the picture, ``events.csv``."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from ddllib.errors import DDLError
from ddllib.files import disk_faults, write_whole
from ddllib.reading import read_json

SHARE = 0.5  # of the peak: how far down the error map the region of an event reaches
GAP_S = 1.0  # seconds without a frame that end an event; a dropped frame or two do not
GAP_FRAMES = 2.5  # or so many frames of a camera slower than that
MOST = 2e11  # seconds; dates beyond have more than four digits of years
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


COLUMNS = (
    "event", "start_s", "end_s", "peak_s", "start", "end", "peak", "score",
    "x0", "y0", "x1", "y1", "open", "drift", "clip", "clip_s",
)  # fmt: skip


_FAULTS = (KeyError, TypeError, ValueError, OverflowError, csv.Error)  # of a table's rows


class EventFile:
    """``events.csv`` in a folder, one line for each event as it ends; times in seconds.

    ``events.json`` beside it keeps ``facts``: which filter and which threshold made the events.
    Every line is on the disk before the next one is asked for. A folder that holds events of the
    same facts is gone on with, and a line that was cut off is taken away; events of other facts
    raise ``DDLError``. An event that was told to have begun (``begin``) when the process was killed
    gets its line when the folder is gone on with, marked open.
    """

    def __init__(self, folder: Path | str, facts: Mapping):
        self.path = Path(folder) / "events.csv"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        described = self.path.with_suffix(".json")
        content = (json.dumps(dict(facts), indent=1, sort_keys=True) + "\n").encode()
        self.gone_on = self.path.exists() and described.exists()  # from an earlier watch
        if self.path.exists() and described.exists() and described.read_bytes() != content:
            raise DDLError(
                f"{described}: events of another source, threshold or filter; expected the same; "
                "choose another folder or remove this one"
            )
        write_whole(described, lambda file: file.write(content))
        self.count = self._mended()
        self._begun = self.path.with_name("running.json")
        self._take_up()

    def begin(self, event: Event) -> None:
        """Remember an event that has begun and is not over."""
        row = dict(zip(COLUMNS, map(str, _row(self.count + 1, event)), strict=True))
        write_whole(self._begun, lambda file: file.write(json.dumps(row).encode()))

    def _take_up(self) -> None:
        """Write the event during which an earlier process was killed, unless it still did so."""
        if not self._begun.is_file():
            return
        try:
            row = read_json(self._begun, "an event", "remove it")
            (event,) = _parsed([row])
        except (DDLError, *_FAULTS):  # another hand's; there is nothing to save
            self._begun.unlink()
            return
        known = self.last()
        if not known or known.start_s != event.start_s:
            self.append(replace(event, open=True))
        self._begun.unlink(missing_ok=True)

    def set_aside(self) -> Path | None:
        """Move all events, and what each has left, into a folder beside them; returns it.

        None where there is no event. The file then is as if it were new.
        """
        if not self.count:
            return None
        folder = self.path.parent
        begun = (p for p in folder.glob("earlier-*") if not (p / self.path.name).exists())
        place = next(begun, None)  # a process was killed while it moved them
        if not place:
            place = folder / time.strftime("earlier-%Y-%m-%d-%H%M%S")
            while place.exists():
                place = place.with_name(f"{place.name}-again")
        with disk_faults(place):
            place.mkdir(exist_ok=True)
            for path in sorted(folder.iterdir()):
                number = re.match(r"(\d{4,})[-.]", path.name)
                if path.name == "index.html" or (number and int(number[1]) <= self.count):
                    os.replace(path, place / path.name)
            described = self.path.with_suffix(".json").read_bytes()
            (place / "events.json").write_bytes(described)
            os.replace(self.path, place / self.path.name)
        self.count = self._mended()
        return place

    def append(self, event: Event) -> int:
        """Write one event; returns its number, from 1."""
        with disk_faults(self.path), self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(_row(self.count + 1, event))
            file.flush()
            os.fsync(file.fileno())
        self.count += 1
        self._begun.unlink(missing_ok=True)
        return self.count

    def last(self) -> Event | None:
        """The newest event in the file."""
        events, _ = read_events(self.path.parent)
        return events[-1] if events else None

    def amend(self, event: Event) -> int:
        """Write the last event anew, of which more is known; returns its number."""
        rows = self.path.read_bytes().splitlines(keepends=True)[:-1]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(_row(self.count, event))
        content = b"".join([*rows, text.getvalue().encode()])
        write_whole(self.path, lambda file: file.write(content))
        self._begun.unlink(missing_ok=True)
        return self.count

    def _mended(self) -> int:
        """The number of whole lines below the header; what was half written is cut off."""
        whole = b""
        if self.path.exists():
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
        header = (",".join(COLUMNS) + "\n").encode()
        whole = whole or header
        if not whole.startswith(header):
            raise DDLError(
                f"{self.path}: a table with other columns; expected {','.join(COLUMNS)}; choose "
                "another folder or remove this one"
            )
        with self.path.open("r+b" if self.path.exists() else "wb") as file:
            file.write(whole)
            file.truncate()
        return whole.count(b"\n") - 1


def _row(number: int, event: Event) -> list:
    box = [""] * 4 if event.box is None else [f"{side:.4f}" for side in event.box]
    times = [f"{value:.3f}" for value in (event.start_s, event.end_s, event.peak_s)]
    frames = [event.start, event.end, event.peak]
    score = f"{event.score:.6g}"
    clip = [event.clip, f"{event.clip_s:.3f}" if event.clip else ""]
    return [number, *times, *frames, score, *box, int(event.open), event.drift, *clip]


def read_events(folder: Path | str) -> tuple[list[Event], dict]:
    """The events of a folder and what ``events.json`` says of them.

    Raises ``DDLError`` where they are missing or no table of events.
    """
    path = Path(folder) / "events.csv"
    try:
        with path.open(newline="") as file:
            events = list(_parsed(csv.DictReader(file)))
    except FileNotFoundError:
        raise DDLError(f"{path}: not there; expected events; watch footage") from None
    except _FAULTS as error:
        raise DDLError(
            f"{path}: no table of events ({error}); expected {','.join(COLUMNS)}; watch again"
        ) from None
    return events, read_json(path.with_suffix(".json"), "what made the events", "watch again")


def _number(text: str) -> float:
    value = float(text)
    if not abs(value) < MOST:
        raise ValueError(f"{value:g} is no time, place or score")
    return value


def _parsed(rows: Iterable[Mapping[str, str]]) -> Iterator[Event]:
    for row in rows:
        box = tuple(_number(row[side]) for side in ("x0", "y0", "x1", "y1")) if row["x0"] else None
        yield Event(
            *(_number(row[name]) for name in ("start_s", "end_s", "peak_s")),
            *(int(row[name]) for name in ("start", "end", "peak")),
            _number(row["score"]),
            box,
            bool(int(row["open"])),
            row["drift"],
            row.get("clip") or "",  # absent from tables written before there was one
            _number(row.get("clip_s") or "0"),
        )
