"""``marked.txt`` of a watched folder: the numbers of events that a person marked, a line each."""

from __future__ import annotations

import os
from pathlib import Path

from ddllib.io.files import disk_faults

NAME = "marked.txt"


def marked_events(folder: Path) -> set[int]:
    """The numbers of the marked events of a folder; lines that are no number do not count."""
    path = folder / NAME
    text = path.read_text("utf-8", "replace") if path.is_file() else ""
    return {int(line) for line in text.split() if line.isdecimal()}


def add_mark(folder: Path, number: int) -> None:
    """Remember that event ``number`` is marked: its evidence is kept (``retention``)."""
    path = folder / NAME
    with disk_faults(path), path.open("a") as file:
        file.write(f"{number}\n")
        file.flush()
        os.fsync(file.fileno())
