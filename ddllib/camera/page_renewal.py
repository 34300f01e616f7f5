"""Write the page of events again and again during a watch."""

from __future__ import annotations

import time

from ddllib.camera.alarms import Alarms
from ddllib.camera.event_page import write_page
from ddllib.camera.listener import Listener

REST = 100  # times the duration of writing the page; so long it is not written again


class PageRenewal(Listener):
    """Writes the page after each event, after its clip and after a change of the scene.

    So a killed watch leaves a page, and a person finds the clip of an alarm at once. A page of many
    events takes a while to write; then it is written less often, so that the watch keeps 99 % of
    the time. This listener comes after ``alarms`` in the watch's list.
    """

    def __init__(self, alarms: Alarms):
        self.alarms = alarms
        self._progress_on_page = alarms.progress
        self._rests_until = 0.0  # by the clock time.monotonic

    def on_frame(self, scored, time_s: float, value: float) -> None:
        if self.alarms.progress != self._progress_on_page and time.monotonic() >= self._rests_until:
            self.renew()

    def on_live(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Write the page of the folder's present contents."""
        started, self._progress_on_page = time.monotonic(), self.alarms.progress
        write_page(self.alarms.folder)
        self._rests_until = time.monotonic() + REST * (time.monotonic() - started)
