"""Events on disk: ``events.csv``, a line for each, and ``events.json``, how they were found."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ddllib.camera.events import Event
from ddllib.camera.marked import NAME as MARKED
from ddllib.camera.scene_changes import NAME as CHANGES
from ddllib.errors import DDLError
from ddllib.io.files import disk_faults, write_json, write_whole
from ddllib.io.reading import read_json

LARGEST_NUMBER = 2e11  # seconds since 1970; later dates have years of more than four digits
COLUMNS = (
    "event", "start_s", "end_s", "peak_s", "start", "end", "peak", "score",
    "x0", "y0", "x1", "y1", "open", "drift", "clip", "clip_s",
)  # fmt: skip
_FAULTS = (KeyError, TypeError, ValueError, OverflowError, csv.Error)  # of a row that is no event


class EventFile:
    """``events.csv`` in a folder, one line for each event as it ends; times in seconds.

    ``events.json`` beside it keeps ``facts``, such as the filter and the threshold of the watch.
    ``append`` returns when the line is on disk. A folder with events of the same facts is
    continued, and an incomplete last line is removed. Events of other facts raise ``DDLError``.
    The exception: with ``renew``, if only the threshold differs, as after new normal footage, they
    are moved into the folder ``aside``. An event that had begun (``begin``) when the process was
    killed gets its line when the folder is opened next, marked open. Until ``told`` is called for
    an event that has begun, the next process finds it in ``left``: its number, the event, and
    whether it was loud.
    """

    def __init__(self, folder: Path | str, facts: Mapping, renew: bool = False):
        self.path = Path(folder) / "events.csv"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        facts_path = self.path.with_suffix(".json")
        content = (json.dumps(dict(facts), indent=1, sort_keys=True) + "\n").encode()
        self.gone_on = self.path.exists() and facts_path.exists()  # from an earlier watch
        differs = self.gone_on and facts_path.read_bytes() != content
        if differs and not (renew and _is_of_another_threshold(facts_path, json.loads(content))):
            raise DDLError(
                f"{facts_path}: events of another source, threshold or filter; expected the same; "
                f"give another folder, or move {self.path.parent} away"
            )
        self.count = self._repair()
        self._running_path = self.path.with_name("running.json")
        self.left: tuple[int, Event, bool] | None = None
        self._recover()
        event_left = self.left
        self.aside = self.set_aside() if differs else None
        self.owed = event_left if differs else None  # of those moved aside, nobody was told of it
        write_whole(facts_path, lambda file: file.write(content))

    def begin(self, event: Event, loud: bool = True) -> None:
        """Remember an event until ``told``; ``loud`` says whether a person is told of it at all."""
        row = dict(zip(COLUMNS, map(str, _row(self.count + 1, event)), strict=True))
        row["loud"] = loud
        write_json(self._running_path, row)

    def told(self) -> None:
        """A person was told all about the event that began last."""
        self._running_path.unlink(missing_ok=True)

    def _recover(self) -> None:
        """Find the event during which an earlier process was killed; write its line if missing."""
        if not self._running_path.is_file():
            return
        try:
            row = read_json(self._running_path, "an event", "remove it")
            (event,) = _parsed([row])
        except (DDLError, *_FAULTS):  # damaged or not ours: nothing to save
            self._running_path.unlink()
            return
        newest = self.last()
        if not newest or newest.start_s != event.start_s:
            newest = replace(event, open=True)
            self.append(newest)
        self.left = self.count, newest, bool(row.get("loud", True))

    def set_aside(self) -> Path | None:
        """Move events, their evidence and the changes into a subfolder; returns its path.

        None if there are neither events nor changes. The file then is as if it were new.
        """
        folder = self.path.parent
        incomplete = (p for p in folder.glob("earlier-*") if not (p / self.path.name).exists())
        place = next(incomplete, None)  # a process was killed while it moved them
        if not (place or self.count or (folder / CHANGES).exists()):
            return None
        if not place:
            place = folder / time.strftime("earlier-%Y-%m-%d-%H%M%S")
            while place.exists():
                place = place.with_name(f"{place.name}-again")
        with disk_faults(place):
            place.mkdir(exist_ok=True)
            for path in sorted(folder.iterdir()):
                number = re.match(r"(\d{4,})[-.]", path.name)
                ours = path.name in ("index.html", CHANGES, MARKED)
                if ours or (number and int(number[1]) <= self.count):
                    os.replace(path, place / path.name)
            facts = self.path.with_suffix(".json").read_bytes()
            (place / "events.json").write_bytes(facts)
            os.replace(self.path, place / self.path.name)
        self.count, self.left = self._repair(), None
        self.told()
        return place

    def append(self, event: Event) -> int:
        """Write one event; returns its number, from 1."""
        with disk_faults(self.path), self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(_row(self.count + 1, event))
            file.flush()
            os.fsync(file.fileno())
        self.count += 1
        return self.count

    def last(self) -> Event | None:
        """The newest event in the file."""
        events, _ = read_events(self.path.parent)
        return events[-1] if events else None

    def amend(self, event: Event) -> int:
        """Replace the last event, of which more is known now; returns its number."""
        rows = self.path.read_bytes().splitlines(keepends=True)[:-1]
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(_row(self.count, event))
        content = b"".join([*rows, text.getvalue().encode()])
        write_whole(self.path, lambda file: file.write(content))
        return self.count

    def _repair(self) -> int:
        """Cut off an incomplete last line; returns the number of lines below the header."""
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


def _is_of_another_threshold(facts_path: Path, facts: Mapping) -> bool:
    """Whether the facts in the file differ from ``facts`` in the threshold only."""
    try:
        before = read_json(facts_path, "what made the events", "remove it")
    except DDLError:
        return False
    readable = isinstance(before, dict)
    return readable and {**before, "threshold": None} == {**facts, "threshold": None}


def _row(number: int, event: Event) -> list:
    box = [""] * 4 if event.box is None else [f"{side:.4f}" for side in event.box]
    times = [f"{value:.3f}" for value in (event.start_s, event.end_s, event.peak_s)]
    frames = [event.start, event.end, event.peak]
    score = f"{event.score:.6g}"
    clip = [event.clip, f"{event.clip_s:.3f}" if event.clip else ""]
    return [number, *times, *frames, score, *box, int(event.open), event.drift, *clip]


def read_events(folder: Path | str) -> tuple[list[Event], dict]:
    """The events of a folder and what ``events.json`` says of them.

    Raises ``DDLError`` if the files are missing or hold something else.
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
    if not abs(value) < LARGEST_NUMBER:
        raise ValueError(f"{value:g} is no time, place or score")
    return value


def _parsed(rows: Iterable[Mapping[str, str]]) -> Iterator[Event]:
    for row in rows:
        box = tuple(_number(row[side]) for side in ("x0", "y0", "x1", "y1")) if row["x0"] else None
        yield Event(
            **{name: _number(row[name]) for name in ("start_s", "end_s", "peak_s", "score")},
            **{name: int(row[name]) for name in ("start", "end", "peak")},
            box=box,
            open=bool(int(row["open"])),
            drift=row["drift"],
            clip=row.get("clip") or "",  # absent from tables written before there was one
            clip_s=_number(row.get("clip_s") or "0"),
        )
