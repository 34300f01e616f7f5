"""Find events in a watched stream; leave a row, a picture and a short clip of each.

``Alarms`` listens to the watch. Its memory does not grow: it holds a few seconds of frames for the
clip (``event_clip``) and the patch means since half a minute before an event, which show how the
score at the place of the peak developed (``peak_evidence``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ddllib.camera.drift import DriftMonitor
from ddllib.camera.event_clip import ClipRecorder
from ddllib.camera.event_teller import EventTeller
from ddllib.camera.events import Event, EventDetector, joined
from ddllib.camera.journal import KEEP_S, Journal
from ddllib.camera.listener import Listener
from ddllib.camera.peak_evidence import PeakEvidence
from ddllib.camera.scene_watch import SceneWatch
from ddllib.camera.thresholds import Threshold


@dataclass(frozen=True)
class AlarmOptions:
    """How ``Alarms`` finds events and whom it tells.

    ``frame_rate``: of the watch, frames per second, above 0.
    ``patch``: the side in pixels of the patch that the scores were computed with.
    ``least_s``: the shortest event, in seconds.
    ``filter``: the name of the filter over time that the threshold was chosen with; the watch
    has to use the same (``listener.filter_name``). "none" for raw scores.
    ``drift``: watches the scene; events are marked while it has changed. None: no such check.
    ``facts``: further plain values for ``events.json`` by name, such as the source.
    ``where``: maps a time to the clip that it lies in and the seconds in that clip (``sources``).
    ``tell``: called with one line for each event and each change of the scene.
    ``on_event``: called with the number of each event that has ended, after its evidence is
    written; its clip is complete a few seconds later.
    ``renew``: what to do with events of another threshold in the folder. True moves them aside and
    says so (``EventFile``); False raises ``DDLError``.
    """

    frame_rate: float
    patch: int
    least_s: float = 0.5
    filter: str = "none"
    drift: DriftMonitor | None = None
    facts: Mapping = field(default_factory=dict)
    where: Callable[[float], tuple[str, float] | None] | None = None
    tell: Callable[[str], None] = print
    on_event: Callable[[int], None] = lambda number: None
    renew: bool = False


class Alarms(Listener):
    """A listener that finds events and writes the evidence of each.

    ``folder`` gets ``events.csv`` and ``events.json`` (``EventFile``), ``changes.csv`` when the
    scene changes (``scene_changes``), and for each event, named by its number, its clip
    (``event_clip``) and its evidence (``evidence.Evidence``). ``tell`` and ``on_event`` of the
    options are called at least once for the end of each event. If the process is killed before
    that, the next process calls them, perhaps for the second time. An event that is running when
    the watch stops is reported then; if the watch is resumed, it is reported again when it ends.
    An event that begins while the scene is changed gets its row and evidence, but no line of its
    own: one line says how many such events there were.
    """

    def __init__(self, threshold: Threshold, folder: Path | str, options: AlarmOptions):
        self.folder, self.options, self.filter = Path(folder), options, options.filter
        rate, patch, least_s = options.frame_rate, options.patch, options.least_s
        # The watch detects gaps and calls ``on_gap``, so the detector does not look for them.
        limits = threshold.value, threshold.release
        self.detector = EventDetector(*limits, least_s, patch, gap_s=None)
        facts = {"threshold": threshold.asdict(), "least_s": least_s, "patch": patch}
        facts |= {"frame_rate": rate, "filter": options.filter}
        self.journal = Journal(self.folder, {**options.facts, **facts}, options.renew)
        self.teller = EventTeller(self.journal, options.tell, options.on_event)
        self.teller.put_aside()
        changes, table = self.journal.changes, self.journal.events.path.name
        self.scene = SceneWatch(options.drift, changes, table, options.tell)
        self.clips = ClipRecorder(self.folder, rate)
        self.evidence = PeakEvidence(self.folder, patch, rate, threshold.value)

    @property
    def changes(self) -> Iterable[str]:
        """The newest messages about the scene."""
        return self.scene.lines

    @property
    def progress(self) -> tuple[int, bool, int]:
        """A value that differs after each event, each finished clip and each change of scene."""
        journal = self.journal
        return journal.events.count, self.clips.filming, journal.changes.added

    @property
    def resumes(self) -> bool:
        """Whether the folder's events are those of an earlier part of this watch."""
        return self.journal.events.gone_on

    @property
    def lag(self) -> int:
        """Frames at the end of a killed watch whose event may not be on disk yet."""
        return math.ceil((self.detector.least_s + KEEP_S) * self.options.frame_rate) + 1

    def on_resume(self) -> None:
        """The newest frames come again; an event that is known already is not found twice."""
        earlier = self.journal.resume()
        if earlier:
            self.detector.runs_until = earlier.end
            if not earlier.open:
                self.teller.owed()  # it had ended, but perhaps nobody was told

    def on_begin_anew(self) -> Path | None:
        """Move the old events aside, as the same ones will be found again."""
        return self.journal.events.set_aside()

    def on_live(self) -> None:
        """An event that was running when an earlier watch was killed is over by now."""
        self.teller.owed()

    def on_frame(self, scored, time_s: float, value: float) -> None:
        """Take the next scored frame (``streaming.FrameScore``), its time, its filtered score."""
        mark = self.scene.mark(scored, time_s)
        self.evidence.push(scored, time_s, value, running=bool(self.detector.started))
        self.clips.keep(scored)
        self._record(self.detector.push(scored.index, time_s, value, scored.map, mark))
        started = self.detector.started
        self.clips.film(scored.index, started)
        if started and started.peak == scored.index:
            self.evidence.peak = scored
        self._save_running()
        self._end_earlier(scored.index)

    def on_gap(self) -> None:
        """A running event ends at the gap."""
        self._record(self.detector.reset())
        self._forget()

    def close(self) -> None:
        """The footage is over: a running event is written and marked open."""
        self._record(self.detector.close())
        self.scene.tell_silent_events()
        self._forget()

    def _forget(self) -> None:
        self.clips.cut()
        self.evidence.clear()

    def _save_running(self) -> None:
        """Save a running event about once a second, and its evidence when there is a new peak.

        A person is told while the event runs, and a killed process does not lose it.
        """
        running, journal = self.detector.running, self.journal
        if not (running and journal.is_due(running)):
            return
        running = replace(self._with_clip(running), box=self.evidence.box())
        number = journal.events.count
        if not journal.goes_on(running):
            self.evidence.renew(number + 1, running)
        elif journal.is_clearer(running):
            self.evidence.renew(number, running)
        if journal.save(running):
            self.teller.runs(number + 1, running)

    def _end_earlier(self, index: int) -> None:
        """Close an event that was open when the earlier watch ended and does not continue now."""
        journal, started = self.journal, self.detector.started
        earlier = journal.earlier
        if earlier and earlier.open and index > earlier.end:
            if not (started and journal.goes_on(started)):
                number = journal.end_earlier()
                if not journal.is_silent(earlier):
                    self.teller.on_event(number)
                journal.settle()

    def _record(self, event: Event | None) -> None:
        """Write an event that has ended and its evidence, then report it."""
        if event is None:
            return
        journal, event = self.journal, self._with_clip(event)
        clearer = takes_clip = True
        if journal.goes_on(event):
            if event.end <= journal.earlier.end:
                return  # the frames came again and add nothing new
            clearer = journal.is_clearer(event)
            takes_clip = clearer or not self.clips.has(journal.events.count)
            event = joined(journal.earlier, event)
        number = journal.write(event)
        if takes_clip:
            self.clips.name(number)
        if self.evidence.peak is not None and clearer:
            self.evidence.leave(number, event)
        if journal.is_silent(event):
            self.scene.silent_events += 1
        else:
            self.teller.ended(number, event)
        journal.settle()

    def _with_clip(self, event: Event) -> Event:
        """The event with the clip that it begins in, if the source has several clips."""
        where = self.options.where
        place = where(event.start_s) if where else None
        return replace(event, clip=place[0], clip_s=place[1]) if place else event
