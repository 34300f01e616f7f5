"""What a recorded watch of labelled test clips shows: a clip, and what to expect of a watch."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from IPython.display import HTML

from ddllib.camera.verdicts import counts


def loop(folder: Path, report: Mapping) -> HTML:
    """The clip of the highest hit beside its error map, looping; it begins when it is played.

    ``folder`` is the record of a watch (``studies.watch_study``), ``report`` its ``watch.json``.
    Until then, and where no video plays, the frame of the peak is shown.
    """
    number = report["highest_hit"]
    film = _address(folder / "loop.webm", "video/webm")
    peak = _address(folder / f"{number:04d}.jpg", "image/jpeg")
    return HTML(
        f'<video class="ddl-loop" src="{film}" poster="{peak}" preload="none" controls loop muted '
        f'playsinline aria-label="Event {number}: frames and their error maps"></video>'
    )


def expectations(watch: Mapping | None, stream: Mapping | None, retraining: Mapping | None) -> HTML:
    """A box of what to expect of a watch, computed from the records of three studies.

    They are those of ``watch``, ``stream`` and ``retraining``; None where one was not run.
    """
    lines = [*_of_watch(watch), *_of_stream(stream), *_of_retraining(retraining)]
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines or ["not run"])
    return HTML(
        '<div class="admonition note"><p class="admonition-title">What to expect</p>'
        f"<ul>{items}</ul></div>"
    )


def _of_watch(report: Mapping | None) -> Sequence[str]:
    if not report:
        return []
    met, abnormal, _ = report["met"]
    chosen = report["threshold"]
    return [
        f"The watch above ({report['method']}): {counts(report['verdicts'])}. "
        f"{met} of {abnormal} abnormal stretches raised an alarm.",
        f"{_percent(report['normal_share_above'])} of its normal frames lay above the threshold.",
        f"It had {60 * chosen['hours']:.1f} minutes of normal footage for a threshold of "
        f"{chosen['rate']:g} false alarm an hour. So little footage promises little: the interval "
        f"of the rate goes from {chosen['low']:.0f} to {chosen['high']:.0f} an hour.",
    ]


def _of_stream(report: Mapping | None) -> Sequence[str]:
    if not report or not report["met"]:
        return []
    met, abnormal, false = report["met"]
    events = report["events"]
    return [
        f"A trained model, watched live on the same clips: {met} of {abnormal} abnormal stretches "
        f"met an event. Of {len(events)} events {false} lay on normal frames alone.",
        changed(events),
    ]


def changed(events: Sequence[Mapping]) -> str:
    """How many events nobody is told of, as the scene counted as changed."""
    count = sum(bool(event["drift"]) for event in events)
    return (
        f"{count} of {len(events)} events came while the scene counted as changed. They are kept, "
        "but raise no alarm of their own."
    )


def _of_retraining(report: Mapping | None) -> Sequence[str]:
    if not report:
        return []
    before, after = report["rows"][:2]
    return [
        f"Before a change of the scene, {_percent(before['in_alarm'])} of the normal frames of a "
        f"trained model were in alarm. After it, with the old threshold, only {after['met']} of "
        f"{after['abnormal']} abnormal stretches met an event. So train again after a change."
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def _address(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
