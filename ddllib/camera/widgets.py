"""Widgets for JupyterLab: a slider for the threshold, and buttons to mark events as normal."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure

from data_prep.footage.gaps import longest_gap
from ddllib.camera.events import Event, EventDetector, when
from ddllib.camera.normal_counts import release_of
from ddllib.camera.thresholds import Threshold
from ddllib.errors import DDLError
from ddllib.figures.event_plots import timeline

SLIDER_STEPS = 200
FOLLOW_S = 2.0  # seconds between two updates while a watch is followed
SILENT_S = 300.0  # seconds without a new score, after which following stops
# Reads the present times in seconds, scores and segments of a watch, N each.
Read = Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]


def threshold_view(read: Read, chosen: Threshold, frame_rate: float, least_s: float = 0.5):
    """Scores over time with their events, and in JupyterLab a slider that moves the threshold.

    ``read`` returns the scores so far, filtered already, as ``camera.filtered`` does. One button
    reads again, another one reads every few seconds as long as new scores come. ``frame_rate`` is
    that of the watch. Outside JupyterLab, as in the built book, the figure at the chosen threshold
    is returned instead.
    """
    if not in_lab():
        return view(*read(), chosen.value, chosen.quiet, frame_rate, least_s)[0]
    return _View(read, chosen, frame_rate, least_s).box


def normal_marks(events: Sequence[Event], mark: Callable[[int], object]):
    """In JupyterLab a button for each event, "this was normal"; calls ``mark`` with its number.

    ``mark`` is ``marking.mark_event`` with the folders filled in. The new clip's path, or the
    error, is shown beside the button. Returns None outside JupyterLab.
    """
    if not in_lab() or not events:
        return None
    import ipywidgets

    return ipywidgets.VBox([_mark_row(n, event, mark) for n, event in enumerate(events, start=1)])


def _mark_row(number: int, event: Event, mark: Callable[[int], object]):
    import ipywidgets

    text = f"event {number}, {when(event)}: this was normal"
    button = ipywidgets.Button(description=text, layout={"width": "auto"})
    message = ipywidgets.Label()

    def on_click(_) -> None:
        try:
            message.value = f"kept as {mark(number)}"
            button.disabled = True
        except (DDLError, OSError) as error:
            message.value = str(error)

    button.on_click(on_click)
    return ipywidgets.HBox([button, message])


def in_lab() -> bool:
    """Whether widgets work: the kernel belongs to JupyterLab and ipywidgets is installed."""
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
    """The timeline at a threshold, and one line with the number of events.

    ``quiet`` is the usual score, from which the release is computed (``release_of``).
    """
    release = release_of(threshold, quiet)
    events = events_of(seconds, scores, segments, threshold, release, frame_rate, least_s)
    hours = (seconds[-1] - seconds[0]) / 3600 if len(seconds) > 1 else 0
    rate = f", {len(events) / hours:.3g} an hour" if hours else ""
    count = "1 event" if len(events) == 1 else f"{len(events)} events"
    message = f"{count}{rate} at threshold {threshold:.4g}"
    return timeline(seconds, scores, threshold, release, events), message


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

    No event spans two ``segments``, N numbers; the length of a gap depends on ``frame_rate``.
    """
    detector = EventDetector(threshold, release, least_s, gap_s=longest_gap(frame_rate))
    events, last_segment = [], None
    for index, (time_s, score, segment) in enumerate(zip(seconds, scores, segments, strict=True)):
        if segment != last_segment:
            events.append(detector.reset())
        events.append(detector.push(index, float(time_s), float(score)))
        last_segment = segment
    return [event for event in [*events, detector.close()] if event]


class _View:
    """The slider, its figure, and two buttons that read the newest scores."""

    followed: _View | None = None  # the only view that follows its watch at present

    def __init__(self, read: Read, chosen: Threshold, frame_rate: float, least_s: float):
        import ipywidgets

        self.read, self.chosen, self.frame_rate, self.least_s = read, chosen, frame_rate, least_s
        self.task: asyncio.Task | None = None  # it draws again and again while a watch is followed
        _, scores, _ = read()
        top = max([chosen.value * 1.2, *np.asarray(scores, float)])
        self.slider = ipywidgets.FloatSlider(
            chosen.value,
            min=chosen.quiet,
            max=top,
            step=(top - chosen.quiet) / SLIDER_STEPS,
            description="threshold",
            readout_format=".4f",
            continuous_update=False,
        )
        self.button = ipywidgets.Button(description="read again")
        self.follow = ipywidgets.ToggleButton(description="follow")
        self.message, self.picture = ipywidgets.Label(), ipywidgets.Image(format="png")
        self.slider.observe(lambda _: self.draw(), names="value")
        self.button.on_click(lambda _: self.draw())
        self.follow.observe(self._switched, names="value")
        controls = ipywidgets.HBox([self.slider, self.button, self.follow, self.message])
        self.draw()
        self.box = ipywidgets.VBox([controls, self.picture])

    def draw(self) -> int:
        """Read and draw; returns the number of scores."""
        seconds, scores, segments = self.read()
        figure, self.message.value = view(
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
        """Start or stop following; another view that follows is stopped.

        When a notebook's cell runs again, its old view has no button any more to stop it.
        """
        if self.task:
            self.task.cancel()
            self.task = None
        if change["new"]:
            last_view, _View.followed = _View.followed, self
            if last_view and last_view is not self:
                last_view.follow.value = False
            self.task = asyncio.get_running_loop().create_task(self._following())

    async def _following(self) -> None:
        """Draw while the button is down and scores come, in a fifth of the kernel's time at most.

        It runs between the notebook's cells, so a running cell delays it.
        """
        count, last_growth = 0, time.monotonic()
        while time.monotonic() - last_growth < SILENT_S:
            started = time.monotonic()
            try:
                new_count = self.draw()
            except (DDLError, OSError) as error:
                self.message.value, new_count = str(error), count
            if new_count > count:
                count, last_growth = new_count, started
            await asyncio.sleep(max(FOLLOW_S, 4 * (time.monotonic() - started)))
        self.task = None
        self.follow.value = False  # the watch has ended, or its camera sends nothing


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi="figure")
    return content.getvalue()
