"""In JupyterLab: scores of a watched folder with a slider for the threshold; in print, a figure."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from matplotlib.figure import Figure

from ddllib.event_figures import timeline
from ddllib.events import Event, EventDetector
from ddllib.thresholds import Threshold, release_of

STEPS = 200
# A watch may go on while it is looked at: the newest seconds and scores, N each.
Read = Callable[[], tuple[np.ndarray, np.ndarray]]


def threshold_view(read: Read, chosen: Threshold, least_s: float = 0.5):
    """Scores over time with their events, and in JupyterLab a slider that moves the threshold.

    ``read`` gives the scores so far, already filtered; a button asks it again. Where no one can
    move a slider, as in a bound book, the figure at the chosen threshold comes back instead.
    """
    if "JPY_SESSION_NAME" not in os.environ or not find_spec("ipywidgets"):
        return view(*read(), chosen.value, chosen.quiet, least_s)[0]
    return _widget(read, chosen, least_s)


def view(
    seconds: np.ndarray, scores: np.ndarray, threshold: float, quiet: float, least_s: float
) -> tuple[Figure, str]:
    """The timeline at a threshold, and in one line how many events that makes.

    ``quiet`` is the usual score, above which the release is set (``thresholds.release_of``).
    """
    release = release_of(threshold, quiet)
    events = events_of(seconds, scores, threshold, release, least_s)
    hours = (seconds[-1] - seconds[0]) / 3600 if len(seconds) > 1 else 0
    rate = f", {len(events) / hours:.3g} an hour" if hours else ""
    told = f"{len(events)} events{rate} at threshold {threshold:.4g}"
    return timeline(seconds, scores, threshold, release, events), told


def events_of(
    seconds: np.ndarray, scores: np.ndarray, threshold: float, release: float, least_s: float
) -> list[Event]:
    """The events of scores N at times N in seconds, which may have gaps."""
    detector = EventDetector(threshold, release, least_s)
    pairs = enumerate(zip(seconds, scores, strict=True))
    found = [detector.push(index, float(at), float(score)) for index, (at, score) in pairs]
    return [event for event in [*found, detector.close()] if event]


def _widget(read: Read, chosen: Threshold, least_s: float):
    import ipywidgets
    from IPython.display import display

    _, scores = read()
    top = max([chosen.value * 1.2, *np.asarray(scores, float)])
    slider = ipywidgets.FloatSlider(
        chosen.value,
        min=chosen.quiet,
        max=top,
        step=(top - chosen.quiet) / STEPS,
        description="threshold",
        readout_format=".4f",
        continuous_update=False,
    )
    button = ipywidgets.Button(description="read again")
    told, output = ipywidgets.Label(), ipywidgets.Output()

    def draw(_) -> None:
        figure, told.value = view(*read(), slider.value, chosen.quiet, least_s)
        output.clear_output(wait=True)
        with output:
            display(figure)

    slider.observe(draw, names="value")
    button.on_click(draw)
    draw(None)
    return ipywidgets.VBox([ipywidgets.HBox([slider, button, told]), output])
