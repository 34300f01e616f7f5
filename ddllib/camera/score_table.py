"""The table of scores of a watch; a frame's row is on disk before listeners get the frame."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.errors import DDLError
from ddllib.io.files import disk_faults, write_whole

NAME = "scores.csv"
SOURCE = "source.txt"  # beside it: what was watched last, so that it can be resumed
HEADER = "segment,frame,time_s,score"
MARKED = f"{HEADER},reused"  # the header of a table of a watch that reuses scores
HEADERS = (HEADER, MARKED)
TAIL_BYTES = 1 << 16  # at a table's end, in which its last whole row is looked for


class Table:
    """``scores.csv``: a row for each scored frame, written without a buffer.

    One system call writes one row. So a process that is killed loses no row and leaves at most its
    last one incomplete; ``Table`` cuts that one off and continues with a new segment. Columns: the
    segment (no window spans two), the frame's number and time from the source, and the raw score.
    With ``marks`` there is one more, ``reused``: 1 where the score is that of an earlier frame, as
    nothing moved, else 0; a table from before that lacks it is written anew with it.
    With ``by_day`` the table of a day that is over is renamed to ``scores-<date>.csv``; it is for
    live sources, whose times are dates. Raises ``DDLError`` for a file that is no such table.
    """

    def __init__(self, path: Path, by_day: bool = False, marks: bool = False):
        self._by_day, self._header = by_day, MARKED if marks else HEADER
        self._day = _day(path.stat().st_mtime) if by_day and path.is_file() else None
        self.path, self.segment = path, mend(path) + 1  # mending changes the file's time
        if marks:
            _add_marks(path)
        self._open()

    def add(self, index: int, time_s: float, score: float, reused: bool = False) -> None:
        """Append one row; nine digits represent a float32 score exactly."""
        if self._by_day and self._day != (today := _day(time_s)):
            self._put_away()
            self._day = today
        mark = f",{reused:d}" if self._header == MARKED else ""
        self._append(f"{self.segment},{index},{time_s:.3f},{score:.9g}{mark}\n".encode())

    def _open(self) -> None:
        with disk_faults(self.path):
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if os.fstat(self._file).st_size == 0:
            self._append(f"{self._header}\n".encode())
        else:  # one that has marks already goes on with them
            self._header = _header_of(self.path)

    def _put_away(self) -> None:
        """Give the table the name of its day, if it has rows, and begin a new one."""
        if self._day is None or os.fstat(self._file).st_size <= len(self._header) + 1:
            return
        self.close()
        place = self.path.with_name(f"scores-{self._day}.csv")
        while place.exists():  # the clock was set back
            place = place.with_name(f"{place.stem}-again.csv")
        with disk_faults(self.path):
            os.replace(self.path, place)
        self._open()

    def _append(self, row: bytes) -> None:
        with disk_faults(self.path):
            if os.write(self._file, row) != len(row):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def sync(self) -> None:
        """Wait until the rows are on the disk, so that a power cut does not lose them."""
        os.fsync(self._file)

    def close(self) -> None:
        self.sync()
        os.close(self._file)


def _day(time_s: float) -> str:
    return date.fromtimestamp(time_s).isoformat()


def mend(path: Path) -> int:
    """Cut an incomplete row off a table's end; returns the last segment, -1 if there is no row."""
    if not path.is_file() or path.stat().st_size == 0:
        return -1
    with path.open("r+b") as file:
        head = file.readline(len(MARKED) + 1)
        if head.decode("latin-1").removesuffix("\n") not in HEADERS or not head.endswith(b"\n"):
            if any(f"{header}\n".encode().startswith(head) for header in HEADERS):
                file.truncate(0)  # an incomplete header
                return -1
            raise DDLError(f"{path}: no table of scores; expected {HEADER}; give another folder")
        start = max(file.seek(0, os.SEEK_END) - TAIL_BYTES, len(head))
        file.seek(start)
        tail = file.read()
        if start > len(head):
            first_row = tail.find(b"\n") + 1  # the bytes before it are the end of another row
            start, tail = start + first_row, tail[first_row:]
        rows = tail.split(b"\n")[:-1]  # bytes after the last line break are an incomplete row
        columns = head.count(b",") + 1
        while rows and not _is_row(rows[-1], columns):
            rows.pop()
        file.truncate(start + sum(len(row) + 1 for row in rows))
        return int(rows[-1].split(b",")[0]) if rows else -1


def _is_row(line: bytes, columns: int) -> bool:
    parts = line.split(b",")
    try:
        segment, frame, time_s, score, *marks = parts
        integers = [int(number) for number in (segment, frame, *marks)]
        float(time_s), float(score)
    except ValueError:
        return False
    return len(parts) == columns and all(0 <= integer < 1 << 63 for integer in integers)


def _header_of(path: Path) -> str:
    """The first line of a table; raises ``DDLError`` for a file that is none."""
    with path.open("rb") as file:
        header = file.readline(len(MARKED) + 1).decode("latin-1").removesuffix("\n")
    if header not in HEADERS:
        raise DDLError(f"{path}: no table of scores; expected {HEADER}; give another folder")
    return header


def _add_marks(path: Path) -> None:
    """Write a table without the column ``reused`` anew with it, 0 in every row."""
    if not path.is_file() or path.stat().st_size == 0 or _header_of(path) == MARKED:
        return
    _, *rows = path.read_bytes().splitlines()
    lines = [MARKED.encode(), *(row + b",0" for row in rows), b""]
    write_whole(path, lambda file: file.write(b"\n".join(lines)))


def read_scores(folder: Path | str) -> pd.DataFrame:
    """The table in a watched folder: segment, frame, time_s in seconds, score, reused.

    ``reused`` is True where the score is that of an earlier frame, as nothing moved; all False in a
    table without this column. It can be read during the watch; an incomplete last row is left out.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise DDLError(f"{path}: not there; expected the scores of a watched source; watch one")
    lines = path.read_bytes().split(b"\n")[:-1]
    columns = _header_of(path).split(",")
    if not lines:
        raise DDLError(f"{path}: no table of scores; expected {HEADER}; give another folder")
    rows = [line.split(b",") for line in lines[1:] if _is_row(line, len(columns))]
    kinds = {"segment": int, "frame": int, "time_s": float, "score": np.float32}
    table = pd.DataFrame(rows, columns=columns).astype(kinds)
    table["reused"] = table["reused"].astype(int).astype(bool) if "reused" in table else False
    return table


def scored_before(
    folder: Path, who: Sequence[str] | None, segment: int, goes_on: bool = True
) -> int:
    """The last frame that the same watch has scored before, -1 for a new watch.

    ``who`` identifies a watch by lines of text. Its last lines name the clips watched; there may be
    more of them now. None is a source that cannot be read again. The lines are written into the
    folder after the watch's first ``segment``, so that rows of another watch are not mistaken for
    its own. With ``goes_on`` False the watch begins anew.
    """
    path = folder / SOURCE
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    first_segment, *lines = text.split("\n")
    same = bool(who and lines) and first_segment.isdecimal() and lines == list(who[: len(lines)])
    if goes_on and same:
        table = read_scores(folder)
        frames = table["frame"][table["segment"] >= int(first_segment)]
        segment = int(first_segment) if len(frames) else segment
    else:
        frames = []
    content = "\n".join([str(segment), *(who or ())]).encode()
    write_whole(path, lambda file: file.write(content))
    return int(max(frames)) if len(frames) else -1
