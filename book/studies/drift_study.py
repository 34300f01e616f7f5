"""Scene changes on the generated walkway: how soon each is reported, and false reports.

    python -m ddllib study drift [--minutes 60] [--to FOLDER]

An hour of ordinary footage, each minute with its own crowd and daylight, must give no report. Then
the same footage is altered from a known second on: another exposure, a camera moved by a few
pixels, dusk, a large object in the view.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from ddllib.camera.assembly import LEAST_S, MINUTE
from ddllib.camera.drift import DriftMonitor
from ddllib.camera.thresholds import choose_threshold
from ddllib.io.commands import Parser, run_command, whole
from ddllib.io.files import write_json
from ddllib.records import environment
from ddllib.settings import load_profile
from studies.threshold_study import generated_minutes

FRAME_STEP = 12  # every such generated frame is used, about one per second
BEFORE_S = 60  # seconds of unaltered footage
AFTER_S = 300
DUSK_S = 240  # seconds until it is dark
Change = Callable[[np.ndarray, float], np.ndarray]


def gain(factor: float) -> Change:
    """Another exposure: all pixels times ``factor``."""
    return lambda frame, seconds: np.clip(frame * factor, 0, 255).astype(np.uint8)


def nudge(right: int, down: int) -> Change:
    """The view moved by whole pixels of the frame as recorded."""
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)

    def move(frame: np.ndarray, seconds: float) -> np.ndarray:
        return cv2.warpAffine(frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)

    return move


def dusk(frame: np.ndarray, seconds: float) -> np.ndarray:
    """Daylight that decreases gradually to a quarter."""
    return gain(1 - 0.75 * min(seconds / DUSK_S, 1))(frame, seconds)


def parked(frame: np.ndarray, seconds: float) -> np.ndarray:
    """Something dark fills a fifth of the view."""
    frame, (height, width) = frame.copy(), frame.shape[:2]
    frame[height // 2 :, int(0.55 * width) :] = 40
    return frame


CHANGES: dict[str, Change] = {
    "exposure, 1.4 times": gain(1.4),
    "exposure, 0.6 times": gain(0.6),
    "nudged, 3 pixels right": nudge(3, 0),
    "nudged, 2 pixels left, 2 down": nudge(-2, 2),
    "dusk": dusk,
    "something parked": parked,
}


def seconds_of(minutes: int, size: tuple[int, int], change: Change | None = None) -> Iterator:
    """About a frame a second of ordinary minutes, uint8 3 x H x W at ``size``.

    ``change`` alters what comes after ``BEFORE_S`` seconds.
    """
    from data_prep.demo import ordinary
    from data_prep.demo.story import FRAME_RATE
    from data_prep.footage.frames import to_working_size

    for index in range(minutes):
        for k, frame in enumerate(ordinary(0, index, MINUTE, FRAME_STEP)):
            seconds = (index * MINUTE + k * FRAME_STEP) / FRAME_RATE - BEFORE_S
            if change and seconds >= 0:
                frame = change(frame, seconds)
            yield to_working_size(frame[..., ::-1], size, 3)


def told(frames: Iterator, scores=None, high: float | None = None) -> list[dict]:
    """The drifts reported for ``frames``, about one a second, each with its second."""
    from data_prep.demo.story import FRAME_RATE

    monitor, drifts = DriftMonitor(FRAME_RATE / FRAME_STEP, high=high), []
    for k, frame in enumerate(frames):
        drift = monitor.push(frame, 0.0 if scores is None else float(scores[k]))
        if drift:
            drifts.append({**asdict(drift), "second": k * FRAME_STEP / FRAME_RATE})
    return drifts


def measure(minutes: int) -> dict:
    """The drifts reported in ordinary footage and after each change, with their delay."""
    settings, environment_facts = load_profile("demo"), environment()
    size = (settings.size, settings.size)
    scores = generated_minutes(settings, minutes)
    from data_prep.demo.story import FRAME_RATE

    high = choose_threshold(scores, 12.0, "alarms per hour", FRAME_RATE, LEAST_S).release
    sampled_scores = np.concatenate([values[::FRAME_STEP] for values in scores.values()])
    changes = {}
    for name, change in CHANGES.items():
        drifts = told(seconds_of((BEFORE_S + AFTER_S) // 60, size, change))
        changes[name] = {
            "told": [{**drift, "after": drift["second"] - BEFORE_S} for drift in drifts],
        }
    return {
        "minutes": minutes,
        "ordinary": told(seconds_of(minutes, size), sampled_scores, high),
        "changes": changes,
        "environment": environment_facts,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study drift", description=__doc__)
    parser.add_argument(
        "--minutes", type=whole("minutes"), default=60, help="ordinary footage, minutes"
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study drift", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    report = measure(options.minutes)
    print(f"{report['minutes']} minutes of ordinary footage: {len(report['ordinary'])} drifts told")
    for name, change in report["changes"].items():
        for drift in change["told"]:
            print(f"{name}: after {drift['after']:.0f} s, {drift['kind']}: {drift['sentence']}")
    if options.to:
        write_json(options.to / "drift.json", report)
