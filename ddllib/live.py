"""In JupyterLab: a slider for the threshold over watched scores, buttons for what was normal."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure

from ddllib.errors import DDLError
from ddllib.event_figures import timeline
from ddllib.events import Event, EventDetector, longest_gap, when
from ddllib.thresholds import Threshold, release_of

STEPS = 200
FOLLOW_S = 2.0  # seconds between two looks at a watch that is followed
SILENT_S = 300.0  # without a new score, after which it is followed no more
# A watch may go on while it is looked at: the newest seconds, scores and segments, N each.
Read = Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]


def threshold_view(read: Read, chosen: Threshold, frame_rate: float, least_s: float = 0.5):
    """Scores over time with their events, and in JupyterLab a slider that moves the threshold.

    ``read`` gives the scores so far, already filtered, as ``camera.filtered`` does; a button asks
    it again, and another one every few seconds, for as long as new scores come. ``frame_rate`` is
    that of the watch. Where no one can move a slider, as in a bound book, the figure at the chosen
    threshold comes back instead.
    """
    if not in_lab():
        return view(*read(), chosen.value, chosen.quiet, frame_rate, least_s)[0]
    return _View(read, chosen, frame_rate, least_s).box


def normal_marks(events: Sequence[Event], mark: Callable[[int], object]):
    """In JupyterLab a button for each event, "this was normal"; calls ``mark`` with its number.

    ``mark`` is ``marking.mark_event`` with the folders filled in; where the clip went, or why it
    could not, is told beside the button. None where nobody can press one.
    """
    if not in_lab() or not events:
        return None
    import ipywidgets

    return ipywidgets.VBox([_mark_row(n, event, mark) for n, event in enumerate(events, start=1)])


def _mark_row(number: int, event: Event, mark: Callable[[int], object]):
    import ipywidgets

    text = f"event {number}, {when(event)}: this was normal"
    button = ipywidgets.Button(description=text, layout={"width": "auto"})
    told = ipywidgets.Label()

    def pressed(_) -> None:
        try:
            told.value = f"kept as {mark(number)}"
            button.disabled = True
        except (DDLError, OSError) as error:
            told.value = str(error)

    button.on_click(pressed)
    return ipywidgets.HBox([button, told])


def in_lab() -> bool:
    """Whether somebody can press a button: a kernel of JupyterLab, with ipywidgets installed."""
    return "JPY_SESSION_NAME" in os.environ and find_spec("ipywidgets") is not None


def view(
    seconds: np.ndarray,
    scores: np.ndarray,
    segments: np.ndarray,
    threshold: float,
    quiet: float,
    frame_rate: float,
    least_s: float,
) -> tuple[Figure, str]:
    """The timeline at a threshold, and in one line how many events that makes.

    ``quiet`` is the usual score, above which the release is set (``thresholds.release_of``).
    """
    release = release_of(threshold, quiet)
    events = events_of(seconds, scores, segments, threshold, release, frame_rate, least_s)
    hours = (seconds[-1] - seconds[0]) / 3600 if len(seconds) > 1 else 0
    rate = f", {len(events) / hours:.3g} an hour" if hours else ""
    count = "1 event" if len(events) == 1 else f"{len(events)} events"
    told = f"{count}{rate} at threshold {threshold:.4g}"
    return timeline(seconds, scores, threshold, release, events), told


def events_of(
    seconds: np.ndarray,
    scores: np.ndarray,
    segments: np.ndarray,
    threshold: float,
    release: float,
    frame_rate: float,
    least_s: float,
) -> list[Event]:
    """The events of scores N at times N in seconds, which may have gaps.

    No event spans two ``segments``, N numbers; ``frame_rate`` says how long a gap may be.
    """
    detector = EventDetector(threshold, release, least_s, gap_s=longest_gap(frame_rate))
    found, before = [], None
    for index, (at, score, segment) in enumerate(zip(seconds, scores, segments, strict=True)):
        if segment != before:
            found.append(detector.reset())
        found.append(detector.push(index, float(at), float(score)))
        before = segment
    return [event for event in [*found, detector.close()] if event]


class _View:
    """The slider, its figure, and two ways to see what a watch has scored since."""

    followed: _View | None = None

    def __init__(self, read: Read, chosen: Threshold, frame_rate: float, least_s: float):
        import ipywidgets

        self.read, self.chosen, self.frame_rate, self.least_s = read, chosen, frame_rate, least_s
        self.task: asyncio.Task | None = None  # that follows
        _, scores, _ = read()
        top = max([chosen.value * 1.2, *np.asarray(scores, float)])
        self.slider = ipywidgets.FloatSlider(
            chosen.value,
            min=chosen.quiet,
            max=top,
            step=(top - chosen.quiet) / STEPS,
            description="threshold",
            readout_format=".4f",
            continuous_update=False,
        )
        self.button = ipywidgets.Button(description="read again")
        self.follow = ipywidgets.ToggleButton(description="follow")
        self.told, self.picture = ipywidgets.Label(), ipywidgets.Image(format="png")
        self.slider.observe(lambda _: self.draw(), names="value")
        self.button.on_click(lambda _: self.draw())
        self.follow.observe(self._switched, names="value")
        controls = ipywidgets.HBox([self.slider, self.button, self.follow, self.told])
        self.draw()
        self.box = ipywidgets.VBox([controls, self.picture])

    def draw(self) -> int:
        """Read and draw; how many scores there are."""
        seconds, scores, segments = self.read()
        figure, self.told.value = view(
            seconds,
            scores,
            segments,
            self.slider.value,
            self.chosen.quiet,
            self.frame_rate,
            self.least_s,
        )
        self.picture.value = _png(figure)
        return len(scores)

    def _switched(self, change: dict) -> None:
        """Follow from now on, alone: a view whose cell was run again has nobody to stop it."""
        if self.task:
            self.task.cancel()
            self.task = None
        if change["new"]:
            before, _View.followed = _View.followed, self
            if before and before is not self:
                before.follow.value = False
            self.task = asyncio.get_running_loop().create_task(self._following())

    async def _following(self) -> None:
        """Draw while the button is down and scores come, in a fifth of the kernel's time at most.

        The kernel does other things in between; while a cell runs, this may have to wait.
        """
        count, grown = 0, time.monotonic()
        while time.monotonic() - grown < SILENT_S:
            started = time.monotonic()
            try:
                found = self.draw()
            except (DDLError, OSError) as error:
                self.told.value, found = str(error), count
            if found > count:
                count, grown = found, started
            await asyncio.sleep(max(FOLLOW_S, 4 * (time.monotonic() - started)))
        self.task = None
        self.follow.value = False  # the watch has ended, or its camera is away


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi="figure")
    return content.getvalue()
