"""A watch's events and scene changes on disk, and the events that nobody was told of yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ddllib.camera.event_file import EventFile
from ddllib.camera.events import Event, joined
from ddllib.camera.scene_changes import ChangeFile

KEEP_S = 1.0  # seconds of a running event that a killed process may lose


class Journal:
    """``events.csv`` and ``changes.csv`` of a folder, continued where an earlier watch ended.

    ``events`` (``EventFile``) holds a row for each event; ``changes`` (``ChangeFile``) one for each
    change of the scene. ``facts`` and ``renew`` are those of ``EventFile``. ``earlier`` is the last
    event of an earlier part of this watch, with all that was added since; None if there is none. An
    event that overlaps it is the same event, found again or continued. Between the
    first row that an event has in the file and ``settle`` it is owed: if this process is killed,
    the next one reports it.
    """

    def __init__(self, folder: Path | str, facts: Mapping, renew: bool = False):
        self.events, self.changes = EventFile(folder, facts, renew), ChangeFile(folder)
        self.earlier: Event | None = None
        self._saved_start: int | None = None  # first frame of the running event that was saved
        self._told_start: int | None = None  # first frame of the event that a person was told of
        self._saved_s = 0.0  # time in seconds up to which the running event is on disk

    def resume(self) -> Event | None:
        """The watch of a recording is resumed; returns the last event in the file."""
        self.earlier = self.events.last()
        if self.earlier:
            self._told_start = None if self.earlier.drift else self.earlier.start
        return self.earlier

    def take_owed(self) -> tuple[int, Event] | None:
        """Number and event during which an earlier process was killed, if it is to be reported.

        The next call returns None. The caller reports the event and then calls ``settle``.
        """
        owed, self.events.left = self.events.left, None
        if owed is None:
            return None
        number, event, loud = owed
        if loud or not event.drift:
            return number, event
        self.settle()
        return None

    def goes_on(self, event: Event) -> bool:
        """Whether an event is the ``earlier`` one, or its continuation."""
        return self.earlier is not None and event.start <= self.earlier.end

    def is_clearer(self, event: Event) -> bool:
        """Whether an event that continues ``earlier`` has the higher peak, or the only box."""
        return self.earlier.box is None or joined(self.earlier, event).peak == event.peak

    def is_silent(self, event: Event) -> bool:
        """Whether it began in a changed scene: such events are counted, not reported singly."""
        return bool(event.drift) and event.start != self._told_start

    def is_due(self, running: Event) -> bool:
        """Whether to save a running event now: it is new, or ``KEEP_S`` longer than when saved."""
        saved_s = self._saved_s
        if self.goes_on(running):
            saved_s = max(saved_s, self.earlier.end_s)
        elif running.start != self._saved_start:
            return True
        return running.end_s - saved_s >= KEEP_S

    def save(self, running: Event) -> bool:
        """Save the present state of a running event; returns whether to report it now.

        That is true once for each event, unless it began in a changed scene.
        """
        self._saved_s = running.end_s
        if self.goes_on(running):
            self.events.amend(replace(joined(self.earlier, running), open=True))
            return False
        begins = running.start != self._saved_start
        self._saved_start = running.start
        tells = begins and not running.drift
        if tells:
            self._told_start = running.start
        self.events.begin(running, self._told_start == running.start)
        return tells

    def write(self, event: Event) -> int:
        """Write an event that has ended, in place of ``earlier`` if it continues it; its number."""
        continues = self.goes_on(event)
        if continues:
            self.earlier = event
        self._owe(event)
        return self.events.amend(event) if continues else self.events.append(event)

    def end_earlier(self) -> int:
        """The ``earlier`` event was open and is over now; returns its number."""
        self.earlier = replace(self.earlier, open=False)
        self._owe(self.earlier)
        return self.events.amend(self.earlier)

    def settle(self) -> None:
        """All owed events were reported."""
        self.events.told()

    def _owe(self, event: Event) -> None:
        self.events.begin(event, loud=not self.is_silent(event))
