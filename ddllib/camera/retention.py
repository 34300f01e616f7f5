"""What a watch of weeks keeps: evidence by days, gigabytes, and a floor of free disk space."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ddllib.camera.marked import marked_events

GIGABYTE = 1e9
DAY_S = 86400
OF_EVENT = re.compile(r"(\d{4,})[-.]")  # the files of an event begin with its number
OF_DAY = re.compile(r"scores-\d{4}-\d\d-\d\d.*\.csv")  # a table of scores of a day that is over


@dataclass(frozen=True)
class Keep:
    """What is kept of all cameras: at most ``days``, at most ``gigabytes``, and free disk space.

    ``free_gigabytes`` are to be free on the disk. None is no limit.
    """

    days: float | None = None
    gigabytes: float | None = None
    free_gigabytes: float | None = None


@dataclass(frozen=True)
class _Item:
    """The files of an event, or a table of a day; its age is that of its newest file."""

    changed_s: float
    size: int
    paths: tuple[Path, ...]


class Retention:
    """Removes the oldest evidence of watched ``folders``, and tables of days that are over.

    Events of ``earlier-*`` folders count, too. Never removed are marked events (``marking``), the
    rows of ``events.csv``, and today's table of scores.
    """

    def __init__(self, folders: Iterable[Path], keep: Keep):
        self.folders, self.keep = list(folders), keep

    def apply(self) -> int:
        """Remove what is beyond a limit; returns how many events and tables were removed.

        A file that cannot be removed is left; the next call tries again.
        """
        items = sorted(self._items(), key=lambda item: item.changed_s)
        total, removed, now = sum(item.size for item in items), 0, time.time()
        for item in items:
            if not self._is_beyond(item, total, now):
                break
            for path in item.paths:
                try:
                    path.unlink(missing_ok=True)
                except OSError:
                    continue
            total, removed = total - item.size, removed + 1
        return removed

    def _is_beyond(self, item: _Item, total: int, now: float) -> bool:
        keep, folder = self.keep, item.paths[0].parent
        too_old = keep.days is not None and now - item.changed_s > keep.days * DAY_S
        too_much = keep.gigabytes is not None and total > keep.gigabytes * GIGABYTE
        return too_old or too_much or is_low(folder, keep.free_gigabytes)

    def _items(self) -> Iterator[_Item]:
        for folder in self.folders:
            for place in [folder, *folder.glob("earlier-*")]:
                yield from _items_of(place)


def _items_of(folder: Path) -> Iterator[_Item]:
    """The events and tables of days in one folder, without marked events."""
    marked, files = marked_events(folder), {}
    for path in folder.iterdir() if folder.is_dir() else ():
        event = OF_EVENT.match(path.name)
        if event and int(event[1]) not in marked:
            files.setdefault(int(event[1]), []).append(path)
        elif OF_DAY.fullmatch(path.name):
            files[path.name] = [path]
    for paths in files.values():
        stats = [path.stat() for path in paths if path.is_file()]
        if stats:
            newest = max(stat.st_mtime for stat in stats)
            yield _Item(newest, sum(stat.st_size for stat in stats), tuple(paths))


def is_low(folder: Path, free_gigabytes: float | None) -> bool:
    """Whether less than so much is free on the disk of a folder."""
    return free_gigabytes is not None and shutil.disk_usage(folder).free < free_gigabytes * GIGABYTE
