"""The table of scores that a watch leaves: a row on disk before anyone hears of its frame."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.errors import DDLError
from ddllib.files import disk_faults, write_whole

NAME = "scores.csv"
SOURCE = "source.txt"  # beside it: what was watched last, to go on with it
HEADER = "segment,frame,time_s,score"
TAIL = 1 << 16  # bytes at a table's end that are looked at for its last whole row


class Table:
    """``scores.csv``: a row for each scored frame, handed to the system as soon as it is known.

    A row is written whole by one call, so a process killed at any moment loses no row and leaves
    at most its last one torn; ``Table`` cuts that one off and goes on with a new segment. Columns:
    the segment (no window spans two), the frame's number and time as its source gave them, and the
    raw score. Raises ``DDLError`` for a file that is no such table.
    """

    def __init__(self, path: Path):
        self.path, self.segment = path, mend(path) + 1
        with disk_faults(path):
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        if os.fstat(self._file).st_size == 0:
            self._append(f"{HEADER}\n".encode())

    def add(self, index: int, time_s: float, score: float) -> None:
        """Append one row; nine digits give a float32 score back exactly."""
        self._append(f"{self.segment},{index},{time_s:.3f},{score:.9g}\n".encode())

    def _append(self, row: bytes) -> None:
        with disk_faults(self.path):
            if os.write(self._file, row) != len(row):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

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


def scored_before(
    folder: Path, who: Sequence[str] | None, segment: int, goes_on: bool = True
) -> int:
    """The last frame that the same watch has scored before, -1 where it is a new one.

    ``who`` tells one watch from another, a line each: its last lines name the clips watched, of
    which there may be more now; None is a source that cannot be seen again. A new watch, and one
    that begins anew (``goes_on`` False), is noted in the folder with its first ``segment``, so that
    rows of another are not taken for its own.
    """
    note = folder / SOURCE
    known = note.read_text("utf-8", "replace").split("\n") if note.is_file() else [""]
    first, *lines = known
    if goes_on and who and lines and first.isdecimal() and lines == list(who[: len(lines)]):
        table = read_scores(folder)
        frames = table["frame"][table["segment"] >= int(first)]
        segment = int(first) if len(frames) else segment
    else:
        frames = []
    content = "\n".join([str(segment), *(who or ())]).encode()
    write_whole(note, lambda file: file.write(content))
    return int(max(frames)) if len(frames) else -1
