"""One camera's watch: everything that a trained run, a source and a folder need to become alarms.

``python -m ddllib watch`` runs one of them, ``--config`` many at once (``many_cameras``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ddllib.camera import assembly
from ddllib.camera.alarms import Alarms
from ddllib.camera.annotated import AnnotatedVideo
from ddllib.camera.event_page import write_page
from ddllib.camera.listener import Listener
from ddllib.camera.on_event import OnEvent
from ddllib.camera.page_renewal import PageRenewal
from ddllib.camera.still_scorer import StillScorer, may_skip
from ddllib.camera.turns import InTurn, Turns
from ddllib.camera.watch import check_folder, claimed, watch_claimed
from ddllib.camera.watch_result import WatchResult
from ddllib.camera.watch_setup import rate_notes, set_up
from ddllib.errors import DDLError
from ddllib.runs import Run
from ddllib.streaming import StreamScorer
from ddllib.training import load_run


def check_fit(options: argparse.Namespace) -> None:
    """Raise ``DDLError`` for options that need alarms where there are none."""
    if options.no_alarms and options.video:
        raise DDLError("--video marks what is above the threshold; leave --no-alarms out")
    if options.no_alarms and options.on_event:
        raise DDLError("--on-event runs when an event has ended; leave --no-alarms out for it")


class CameraWatch:
    """A camera's watch, set up by the options of the command ``watch``.

    Used as a context, within which its folder is locked; the threshold is chosen when it is
    entered. ``run`` watches, in any thread; ``stop`` ends it soon, from another one. ``watched``
    and ``alarms`` (None without events) are those of the present ``run``. ``tell`` gets lines for
    people; ``tell_source`` those of the source, by default on stderr. ``load`` gives the trained
    run of a folder. With ``by_day`` a live source has a table of scores for each day.
    ``also_on_event`` can be set to what is called with the number of each event that has ended,
    beside the user's command. Raises ``DDLError`` for options that do not fit, a run that cannot be
    watched with and a source that is not there.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        tell: Callable[[str], None] = print,
        tell_source: Callable[[str], None] | None = None,
        load: Callable[[Path], Run] = load_run,
        by_day: bool = False,
    ):
        check_fit(options)
        self.options, self.tell, self.folder, self.by_day = options, tell, options.to, by_day
        command = options.on_event, options.to, tell, options.cooldown
        self.on_event = OnEvent(*command) if options.on_event else None
        self.also_on_event: Callable[[int], None] = lambda number: None
        self.ready = set_up(options, load)
        self.settings = self.ready.run.settings
        self.known_rate = assembly.frame_rate(self.settings, self.ready.known)
        self.rate = self.known_rate if options.rate is None else options.rate
        self._waits = {"patience": options.patience, "give_up": options.give_up}
        if tell_source:
            self._waits["tell"] = tell_source
        self.source = self._open()
        self.scorer: StreamScorer | InTurn = self.ready.scorer(options.backend)
        if self.scorer.ignore is not None:
            share = self.scorer.ignore.mean()
            tell(f"ignored: {100 * share:.1f} % of the picture, by {self.settings.ignore}")
        wants = options.still == "skip"
        self.skips = wants and may_skip(self.scorer, self.settings.method, self.rate, tell)
        self.watched = WatchResult()
        self.alarms: Alarms | None = None
        self._held = ExitStack()

    def __enter__(self) -> CameraWatch:
        with ExitStack() as held:
            held.enter_context(claimed(self.folder))  # locked before any file in it changes
            check_folder(self.folder)
            if not self.options.no_alarms:
                self._choose_threshold()
            self._held = held.pop_all()
        return self

    def __exit__(self, *_) -> None:
        self._held.close()

    @property
    def live(self) -> bool:
        """Whether the source is live, without an end and with frames that never come again."""
        return self.source.identity is None

    def share(self, turns: Turns) -> None:
        """Score in the thread of ``turns``; cameras with the same run share its model."""
        run = self.ready.run
        model = run.folder.resolve(), run.precision, self.options.backend
        self.scorer = turns.share(self.scorer, model)

    def stop(self) -> None:
        """End the watch soon."""
        self.source.stop()

    def run(self) -> WatchResult:
        """Watch until the source ends, or the process or ``stop`` asks for it.

        It can be called again, for a live source, which is opened anew then.
        """
        self.watched, self.alarms = WatchResult(), None
        if self.options.no_alarms:
            return self._watch(())
        with ExitStack() as after:
            hooks = {"where": self.source.where, "rate": self.rate, "renew": self.live}
            hooks["on_event"] = self._on_event
            if self.on_event:
                self.on_event.begin()
                after.callback(self.on_event.close)
            facts = self.settings, self.ready.known, self.chosen, self.folder, self.tell
            self.alarms = assembly.alarms(*facts, **hooks)
            after.callback(self._leave_page)
            after.callback(self.alarms.close)
            return self._watch((self.alarms, PageRenewal(self.alarms), *self._video(after)))

    def _on_event(self, number: int) -> None:
        self.also_on_event(number)
        if self.on_event:
            self.on_event(number)

    def _still_scorer(self) -> StillScorer:
        """The scorer that reuses scores below the release, but not during an event."""
        alarms = self.alarms
        if alarms is None:
            return StillScorer(self.scorer)
        release, detector = self.chosen.release, alarms.detector
        return StillScorer(self.scorer, release, lambda: detector.started is not None)

    def renew(self) -> None:
        """Open the source again, before another ``run``."""
        self.source = self._open()

    def _open(self):
        place, known = self.options.source, self.ready.known
        return assembly.open_watched(place, known, self.rate, **self._waits)

    def _choose_threshold(self) -> None:
        ready = self.ready
        self.chosen = assembly.threshold(
            self.settings, ready.known, ready.run, self.options.threshold
        )
        ready.keep()
        about = str(self.chosen), *filter(None, [self.chosen.warning])
        for line in (*ready.notes(), *about, *rate_notes(self.known_rate, self.rate)):
            self.tell(line)

    def _watch(self, listeners: tuple[Listener, ...]) -> WatchResult:
        return watch_claimed(
            self.source,
            self._still_scorer() if self.skips else self.scorer,
            self.folder,
            listeners,
            every=self.options.every,
            tell=self.tell,
            minutes=self.options.minutes,
            smooth=assembly.smoother(self.settings) if listeners else None,
            watched=self.watched,
            by_day=self.by_day,
        )

    def _video(self, after: ExitStack) -> list[Listener]:
        """The listener that writes the video of all that is watched, if it is asked for."""
        if not self.options.video:
            return []
        stem = self.folder / time.strftime("annotated-%Y-%m-%d-%H%M%S")
        patch_size = self.settings.patch_size
        video = AnnotatedVideo(stem, self.chosen.value, self.rate, patch_size)
        after.callback(leave_video, video, self.tell)
        return [video]

    def _leave_page(self) -> None:
        self.tell(f"{write_page(self.folder)}: the events, to step through")


def leave_video(video: AnnotatedVideo, tell: Callable[[str], None]) -> None:
    """Finish a video, and tell where it is."""
    video.close()
    tell(f"{video.path}: the video" if video.path else "no frame was watched: no video")
