"""``changes.csv``: when the scene changed, how, and when it was as before again."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ddllib.errors import DDLError
from ddllib.io.files import disk_faults, write_whole

NAME = "changes.csv"
OVER = "over"  # the kind of a row that says that the scene is as before


@dataclass(frozen=True)
class SceneChange:
    """A row: time and frame at which it was reported, the kind (``drift.Drift``), a sentence."""

    time_s: float
    frame: int
    kind: str
    told: str


COLUMNS = tuple(field.name for field in fields(SceneChange))


class ChangeFile:
    """``changes.csv`` in a folder; the file is created at the first change.

    A row is on disk before the change is reported; ``added`` counts the rows of this process. An
    incomplete last line of a killed process is cut off. Raises ``DDLError`` for a file that is no
    such table.
    """

    def __init__(self, folder: Path | str):
        self.path, self.added = Path(folder) / NAME, 0
        self._running: str | None = None  # the kind of the change that is not over yet
        if self.path.is_file():
            content = self.path.read_bytes()
            whole = content[: content.rfind(b"\n") + 1]
            if whole and not whole.startswith(_line(COLUMNS)):
                raise _no_table(self.path)
            if whole != content:
                write_whole(self.path, lambda file: file.write(whole))
            self._running = next(
                (c.kind for c in read_changes(folder)[-1:] if c.kind != OVER), None
            )

    def add(self, change: SceneChange) -> None:
        """Append a change, unless it is running already, as after a restart of the watch."""
        if change.kind != self._running or not self.path.is_file():
            self._append(change)
            self._running = change.kind

    def close(self, change: SceneChange) -> None:
        """Append that the scene is as before, if a change is running."""
        if self._running and self.path.is_file():
            self._append(change)
        self._running = None

    def _append(self, change: SceneChange) -> None:
        row = _line([f"{change.time_s:.3f}", *astuple(change)[1:]])
        with disk_faults(self.path), self.path.open("ab") as file:
            file.write(row if file.tell() else _line(COLUMNS) + row)
            file.flush()
            os.fsync(file.fileno())
        self.added += 1


def _line(values: Sequence) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def read_changes(folder: Path | str) -> list[SceneChange]:
    """The changes reported during a watch; empty if there is no file.

    Raises ``DDLError`` for a file that is no such table.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        return []
    text = path.read_bytes().decode("utf-8", "replace")
    rows = list(csv.reader(text[: text.rfind("\n") + 1].splitlines()))
    try:
        if rows and tuple(rows[0]) != COLUMNS:
            raise ValueError
        return [
            SceneChange(float(s), int(frame), kind, message) for s, frame, kind, message in rows[1:]
        ]
    except ValueError:
        raise _no_table(path) from None


def _no_table(path: Path) -> DDLError:
    return DDLError(
        f"{path}: no table of changes; expected {','.join(COLUMNS)}; choose another folder or "
        "remove it"
    )
