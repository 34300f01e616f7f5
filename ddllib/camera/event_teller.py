"""Report events: a line for a person, and a call of ``on_event`` when one has ended."""

from __future__ import annotations

from collections.abc import Callable

from ddllib.camera.events import Event, when
from ddllib.camera.journal import Journal


class EventTeller:
    """``tell`` gets one line for each event as it begins and as it ends.

    ``on_event`` is called with the number of each that has ended. An event that an earlier process
    could not report, as it was killed, is reported too (``journal``).
    """

    def __init__(
        self, journal: Journal, tell: Callable[[str], None], on_event: Callable[[int], None]
    ):
        self.journal, self.tell, self.on_event = journal, tell, on_event

    def runs(self, number: int, event: Event) -> None:
        """An event has begun."""
        self.tell(f"event {number} runs since {when(event, end=False)}")

    def ended(self, number: int, event: Event) -> None:
        """An event has ended, and its evidence is written."""
        suffix = f" (the scene has changed: {event.drift})" if event.drift else ""
        self.tell(f"event {number}: {when(event)}, score {event.score:.4g}{suffix}")
        self.on_event(number)

    def owed(self) -> None:
        """Report the event during which an earlier process was killed: it is over."""
        unreported = self.journal.take_owed()
        if unreported:
            self.ended(*unreported)
            self.journal.settle()

    def put_aside(self) -> None:
        """Say where events of another threshold are now; report the last if that is still due."""
        events = self.journal.events
        if events.aside:
            place = events.aside
            self.tell(f"another threshold than before; events by that one are kept in {place}")
        if events.owed:
            number, event, _ = events.owed
            self.tell(f"event {number} of those, during which the watch was killed: {when(event)}")
