"""From a watched stream to what a person gets: a row, a picture and a short clip of each event.

``Alarms`` listens to the watch. Its memory does not grow: a few seconds of frames for the clip,
patch means from half a minute before an event on to show how the score of the strange place came
about.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from ddllib.changes import OVER, ChangeFile, SceneChange
from ddllib.drift import PATIENCE, QUIET_S, DriftMonitor
from ddllib.event_file import EventFile
from ddllib.events import (
    Event,
    EventDetector,
    best_patch,
    clock,
    is_gap,
    joined,
    longest_gap,
    patch_means,
    region,
    when,
)
from ddllib.evidence import Evidence, Trace
from ddllib.pictures import CLIP_SIDE, CLIPS, fitted, open_video, resized, seen
from ddllib.streaming import HeldBack
from ddllib.thresholds import Threshold

AROUND_S = 2.0  # seconds of the clip before and after the event
LONGEST_S = 60.0  # a clip is no longer, whatever the event
KEEP_S = 1.0  # seconds of a running event that a killed process may lose
TRACE_S = 30.0  # seconds before an event of which patch means are kept
# Seconds after which every drift would have been seen: one told by an earlier process is over then.
SETTLED_S = QUIET_S + 2 * PATIENCE
CHANGES = 20  # lines told of the scene that are remembered


class Alarms:
    """A listener ``(scored, seconds)`` that finds events and leaves each one's evidence.

    ``folder`` gets ``events.csv`` and ``events.json`` (``EventFile``) and for each event, named by
    its number, ``<n>.webm`` (``<n>.avi`` where OpenCV writes no WebM; see ``pictures.open_video``)
    and what explains it (``evidence.Evidence``).
    ``smooth`` is the filter over time that the threshold was chosen with, such as
    ``ddllib.streaming.RunningMedian()``; ``drift`` may watch the scene, and marks events while it
    has changed; ``where`` gives the clip that a time lies in (``data_prep.sources``). ``tell`` is
    called with one line for each event and each drift, ``on_event`` with the number of each event
    that has ended, its evidence left; its clip is whole a little later. Both hear of an event's end
    at least once: where the process was killed meanwhile, the next one says it, perhaps again. An
    event that a stop cuts short is told then, and again when it has ended, if the watch goes on.
    What begins while the scene is changed has its row and its evidence, but one line says how many
    there were. With ``renew`` events of another threshold are put aside (``EventFile``), which is
    told; else they are an error. ``changes`` keeps the newest lines told of the scene;
    ``changes.csv`` has them all, with their times (``ddllib.changes``).
    """

    def __init__(
        self,
        threshold: Threshold,
        folder: Path | str,
        frame_rate: float,
        patch: int,
        least_s: float = 0.5,
        smooth=None,
        drift: DriftMonitor | None = None,
        facts: Mapping | None = None,
        where: Callable[[float], tuple[str, float] | None] | None = None,
        tell: Callable[[str], None] = print,
        on_event: Callable[[int], None] = lambda number: None,
        renew: bool = False,
    ):
        self.folder, self.frame_rate, self.patch = Path(folder), frame_rate, patch
        self.drift, self.where, self.tell = drift, where, tell
        self.on_event = on_event
        self.gap_s = longest_gap(frame_rate)
        self.detector = EventDetector(
            threshold.value, threshold.release, least_s, patch, self.gap_s
        )
        described = {"threshold": threshold.asdict(), "least_s": least_s, "patch": patch}
        described["frame_rate"] = frame_rate
        described["filter"] = type(smooth).__name__ if smooth else "none"
        self.file = EventFile(self.folder, {**(facts or {}), **described}, renew)
        if self.file.aside:
            tell(f"another threshold than before; events by that one are kept in {self.file.aside}")
        if self.file.owed:
            number, event, _ = self.file.owed
            tell(f"event {number} of those, during which the watch was killed: {when(event)}")
        self.scenes = ChangeFile(self.folder)
        self._held = HeldBack(smooth)
        self._frames: deque[np.ndarray] = deque(maxlen=max(int(AROUND_S * frame_rate), 1))
        self._trace = Trace(max(int(TRACE_S * frame_rate), 1))
        self._last: tuple[int, float] | None = None
        self._peak = None
        self._told: int | None = None  # where the event began of which is told that it runs
        self._loud: int | None = None  # the same, if a person was told
        self.changes: deque[str] = deque(maxlen=CHANGES)
        self._hushed = 0  # events that a changed scene has set off and nobody was told of
        self._kept = 0.0  # seconds up to which it is on the disk
        self._shown: int | None = None  # the peak of which there is evidence
        self._clip: _Clip | None = None
        self._known: Event | None = None  # of an earlier part of this watch, its last one
        self._blurred = 0  # frames heard again whose filtered score lacks those before them

    def go_on(self) -> None:
        """A recording is watched further: its newest frames are heard again, its events not."""
        self._known = self.file.last()
        if self._known:
            self.detector.runs_until = self._known.end
            self._loud = None if self._known.drift else self._known.start
            if not self._known.open:
                self.catch_up()  # it had ended, and its end may not have been told
        self._blurred = self._held.delay

    def begin_anew(self) -> Path | None:
        """A recording is watched from its beginning: events that are there would be found again."""
        return self.file.set_aside()

    def catch_up(self) -> None:
        """A live source is watched again: what an earlier watch was killed in is over by now."""
        left, self.file.left = self.file.left, None
        if left:
            number, event, loud = left
            if loud or not event.drift:
                self._tell_ended(number, event)
            self.file.told()

    @property
    def filming(self) -> bool:
        """Whether an event has ended and its clip has not yet."""
        return bool(self._clip and self._clip.number)

    @property
    def resumes(self) -> bool:
        """Whether the folder's events are those of an earlier part of this watch."""
        return self.file.gone_on

    @property
    def lag(self) -> int:
        """Frames that a killed process may have scored without their event being on the disk."""
        waiting = 2 * self._held.delay  # without a filtered score, and those that it begins with
        return waiting + math.ceil((self.detector.least_s + KEEP_S) * self.frame_rate) + 1

    def __call__(self, scored, seconds: float) -> None:
        """Take the next scored frame (``streaming.Scored``) and its time in seconds."""
        now = (scored.index, seconds)
        if scored.index == 0:
            self._blurred = 0  # the footage begins here, and so did the filter before
        if is_gap(self._last, now, self.gap_s):
            self.interrupt()
        mark = self._watch_scene(scored, seconds)
        self._last = now
        for due in self._held.push((scored, seconds, mark), scored.score):
            self._take(*due)

    def interrupt(self) -> None:
        """The footage has a gap here: what runs ends, what waits is judged first."""
        self._flush()
        self._record(self.detector.reset())
        self._forget()

    def close(self) -> None:
        """The footage is over; an event that runs is written and marked open."""
        self._flush()
        self._record(self.detector.close())
        self._tell_hushed()
        self._forget()

    def _flush(self) -> None:
        for due in self._held.finish():
            self._take(*due)

    def _take(self, waited: tuple, value: float) -> None:
        """A frame that was held back has its filtered score."""
        if self._blurred:
            self._blurred -= 1
        else:
            self._judge(*waited, value)

    def _forget(self) -> None:
        self._blurred = 0
        if self._clip:
            self._clip.finish()
        self._clip, self._peak, self._last = None, None, None
        self._frames.clear()
        self._trace.clear()

    def _watch_scene(self, scored, seconds: float) -> str:
        if not self.drift:
            return ""
        before = self.drift.drift
        begun = self.drift.push(scored.frame, scored.score)
        if begun:
            self.scenes.add(SceneChange(seconds, scored.index, begun.kind, begun.sentence))
            self._tell_of_scene(
                f"the scene has changed at {clock(seconds)}: {begun.sentence}; until it is as "
                "before, events are kept but not told"
            )
        if not self.drift.drift:
            if before or self.drift.seconds > SETTLED_S:
                over = SceneChange(seconds, scored.index, OVER, "the scene is as before")
                self.scenes.close(over)
            self._tell_hushed()
        return self.drift.drift.kind if self.drift.drift else ""

    def _tell_hushed(self) -> None:
        """One line for all that a changed scene has set off."""
        if self._hushed:
            name, many = self.file.path.name, self._hushed
            self._tell_of_scene(f"events that began in the changed scene: {many}, marked in {name}")
        self._hushed = 0

    def _tell_of_scene(self, line: str) -> None:
        self.changes.append(line)
        self.tell(line)

    def _judge(self, scored, seconds: float, mark: str, value: float) -> None:
        grids = [grid.astype(np.float16) for grid in patch_means(scored.map, self.patch)]
        self._trace.push((seconds, value, grids), running=bool(self.detector.started))
        image = seen(scored)
        self._frames.append(resized(image, fitted(image.shape[:2], CLIP_SIDE)))
        ended = self.detector.push(scored.index, seconds, value, scored.map, mark)
        if ended:
            self._record(ended)
        self._film(scored)
        started = self.detector.started
        if started and started.peak == scored.index:
            self._peak = scored
        self._tell_at_once()
        self._close_known(scored.index)

    def _close_known(self, index: int) -> None:
        """What was running when the watch ended, and is not any more, is over."""
        known, started = self._known, self.detector.started
        if known and known.open and index > known.end:
            if not (started and self._goes_on(started)):
                self._known = replace(known, open=False)
                self._owe(self._known)
                number = self.file.amend(self._known)
                if not self._is_hushed(self._known):
                    self.on_event(number)
                self.file.told()

    def _tell_at_once(self) -> None:
        """An alarm that is told when it is over comes too late, or never: a process is killed.

        Now and then what is known of the event is kept, its evidence whenever there is a new peak.
        """
        running = self.detector.running
        if not running:
            return
        known = self._known if self._goes_on(running) else None
        begins = not known and running.start != self._told
        kept = max(self._kept, known.end_s) if known else self._kept
        if not begins and running.end_s - kept < KEEP_S:
            return
        self._kept = running.end_s
        running = replace(self._placed(running), box=region(self._peak.map, self.patch))
        if known:  # its row is there
            whole = replace(joined(known, running), open=True)
            if known.box is None or whole.peak == running.peak:
                self._show(self.file.count, running)
            self.file.amend(whole)
            return
        self._show(self.file.count + 1, running)
        if begins:
            self._told = running.start
        if begins and not running.drift:
            self._loud = running.start
        self.file.begin(running, self._loud == running.start)
        if begins and not running.drift:
            self.tell(f"event {self.file.count + 1} runs since {when(running, end=False)}")

    def _show(self, number: int, running: Event) -> None:
        if self._shown != running.peak:
            self._shown = running.peak
            self._leave_evidence(number, running)

    def _film(self, scored) -> None:
        started = self.detector.started
        if started and started.start == scored.index:
            if self._clip:
                self._clip.finish()
            self._clip = _Clip(self.folder, self.frame_rate, self._frames[-1].shape[:2])
            for image in self._frames:
                self._clip.add(image)
        elif self._clip:
            self._clip.add(self._frames[-1])
            if not started and not self._clip.number:
                self._clip.discard()  # too short to be an event
                self._clip = None
            elif self._clip.done:
                self._clip.finish()
                self._clip = None

    def _record(self, event: Event | None) -> None:
        if event is None:
            return
        event, clearer, filmed = self._placed(event), True, True
        goes_on = self._goes_on(event)
        if goes_on:
            if event.end <= self._known.end:
                return  # heard again, no more
            whole = joined(self._known, event)
            clearer = self._known.box is None or whole.peak == event.peak
            filmed = clearer or not self._has_clip(self.file.count)
            event = self._known = whole
        self._owe(event)
        number = self.file.amend(event) if goes_on else self.file.append(event)
        if self._clip and filmed:
            self._clip.number = number
        if self._peak is not None and clearer:
            self._leave_evidence(number, event)
        if self._is_hushed(event):
            self._hushed += 1
        else:
            self._tell_ended(number, event)
        self.file.told()

    def _owe(self, event: Event) -> None:
        """Until the file hears that its end was told, whoever opens it next has to tell it."""
        self.file.begin(event, loud=not self._is_hushed(event))

    def _tell_ended(self, number: int, event: Event) -> None:
        suffix = f" (the scene has changed: {event.drift})" if event.drift else ""
        self.tell(f"event {number}: {when(event)}, score {event.score:.4g}{suffix}")
        self.on_event(number)

    def _is_hushed(self, event: Event) -> bool:
        """Whether it began in a changed scene, of which nobody was told one by one."""
        return bool(event.drift) and event.start != self._loud

    def _has_clip(self, number: int) -> bool:
        return any((self.folder / f"{number:04d}{suffix}").is_file() for suffix in CLIPS)

    def _goes_on(self, event: Event) -> bool:
        """Whether an event is one that was known before, or its continuation."""
        return self._known is not None and event.start <= self._known.end

    def _placed(self, event: Event) -> Event:
        place = self.where(event.start_s) if self.where else None
        return replace(event, clip=place[0], clip_s=place[1]) if place else event

    def _leave_evidence(self, number: int, event: Event) -> None:
        peak, place = self._peak, best_patch(self._peak.map, self.patch)
        grid, row, column = place
        image = seen(peak)
        evidence = Evidence(
            frame=peak.frame,
            reconstruction=peak.reconstruction,
            map=np.asarray(peak.map, np.float32),
            place=np.array(place),
            patch=np.array(self.patch),
            shape=np.array(image.shape[:2]),
            seconds=np.array([seconds for seconds, _, _ in self._trace.seen]),
            scores=np.array([value for _, value, _ in self._trace.seen]),
            region=np.array([float(g[grid][row, column]) for _, _, g in self._trace.seen]),
        )
        evidence.leave(self.folder, number, image, event.box, self.detector.threshold)


class _Clip:
    """The clip of one event while it is filmed; the file has its name once it is whole."""

    def __init__(self, folder: Path, frame_rate: float, shape: tuple[int, int]):
        self._video, self._shape = open_video(folder / ".running", frame_rate, shape), shape
        self.number: int | None = None  # of the event, once it has ended
        self._left = int(LONGEST_S * frame_rate)
        self._after = int(AROUND_S * frame_rate)

    def add(self, image: np.ndarray) -> None:
        self._after -= bool(self.number)
        if self._left:
            self._left -= 1
            self._video.write(resized(image, self._shape))

    @property
    def done(self) -> bool:
        return bool(self.number) and self._after <= 0

    def finish(self) -> None:
        if not self.number:
            self.discard()
            return
        path = self._video.path
        self._video.close()
        os.replace(path, path.with_name(f"{self.number:04d}{path.suffix}"))

    def discard(self) -> None:
        self._video.discard()
