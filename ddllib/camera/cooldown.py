"""Tell of events now and then only: the first at once, those that follow soon in one summary."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ddllib.errors import DDLError
from ddllib.io.files import write_json
from ddllib.io.reading import read_json

NAME = "suppressed.json"


class Cooldown:
    """Calls ``report(number, count)`` at once, then not for ``seconds``, then for all in between.

    ``number`` is the last event and ``count`` how many events the call stands for. What waits for
    its summary is in ``suppressed.json`` of the folder, so that a killed watch does not lose it:
    the next one reports it when it begins.
    """

    def __init__(self, seconds: float, folder: Path, report: Callable[[int, int], None]):
        self.seconds, self.path, self.report = seconds, folder / NAME, report
        self._lock = threading.Lock()
        self._waiting: tuple[int, int] | None = None  # the last event, and how many there are
        self._rests_until = 0.0  # by the clock time.monotonic
        self._timer: threading.Timer | None = None

    def __call__(self, number: int) -> None:
        """Event ``number`` has ended."""
        with self._lock:
            rest_s = self._rests_until - time.monotonic()
            if rest_s <= 0 and not self._waiting:
                self._tell(number, 1)
                return
            count = self._waiting[1] + 1 if self._waiting else 1
            self._waiting = number, count
            write_json(self.path, {"event": number, "count": count})
            if not self._timer:
                self._timer = threading.Timer(max(rest_s, 0), self._summarise)
                self._timer.daemon = True
                self._timer.start()

    def begin(self) -> None:
        """A watch begins: report what an earlier one left."""
        with self._lock, contextlib.suppress(DDLError, KeyError, TypeError, ValueError):
            if self.path.is_file() and not self._waiting:
                left = read_json(self.path, "events to report", "remove it")
                self._waiting = int(left["event"]), int(left["count"])
        self._summarise()

    def close(self) -> None:
        """The watch is over: report what waits."""
        self._summarise()

    def _summarise(self) -> None:
        with self._lock:
            if self._timer:
                self._timer.cancel()
            self._timer = None
            if self._waiting:
                waiting, self._waiting = self._waiting, None
                self._tell(*waiting)
                self.path.unlink(missing_ok=True)

    def _tell(self, number: int, count: int) -> None:
        self._rests_until = time.monotonic() + self.seconds
        self.report(number, count)
