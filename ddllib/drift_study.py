"""Changes of the scene on the generated walkway: how soon each is told, and that none is made up.

    python -m ddllib.drift_study [--minutes 60] [--to FOLDER]

An hour of ordinary footage, each minute with its own crowd and daylight, must pass in silence.
Then the same footage is altered from a known second on: another exposure, a camera nudged by a few
pixels, dusk, something large put into the view.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from ddllib.camera import LEAST_S, MINUTE
from ddllib.commands import run_command
from ddllib.drift import DriftMonitor
from ddllib.files import write_json
from ddllib.records import environment
from ddllib.settings import load_profile
from ddllib.threshold_study import generated_minutes
from ddllib.thresholds import choose_threshold

EVERY = 12  # of the generated frames, about one a second
BEFORE_S = 60  # seconds of unaltered footage
AFTER_S = 300
DUSK_S = 240  # seconds until it is dark
Change = Callable[[np.ndarray, float], np.ndarray]


def gain(factor: float) -> Change:
    """Another exposure: all pixels times ``factor``."""
    return lambda frame, seconds: np.clip(frame * factor, 0, 255).astype(np.uint8)


def nudge(right: int, down: int) -> Change:
    """The view moved by whole pixels of the frame as recorded."""
    move = np.array([[1, 0, right], [0, 1, down]], np.float32)

    def changed(frame: np.ndarray, seconds: float) -> np.ndarray:
        return cv2.warpAffine(frame, move, frame.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)

    return changed


def dusk(frame: np.ndarray, seconds: float) -> np.ndarray:
    """From daylight down to a quarter of it, little by little."""
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
    from data_prep.frames import to_working_size

    for index in range(minutes):
        for k, frame in enumerate(ordinary(0, index, MINUTE, EVERY)):
            seconds = (index * MINUTE + k * EVERY) / FRAME_RATE - BEFORE_S
            if change and seconds >= 0:
                frame = change(frame, seconds)
            yield to_working_size(frame[..., ::-1], size, 3)


def told(frames: Iterator, scores=None, high: float | None = None) -> list[dict]:
    """Every drift that is told of about a frame a second, with the second it was told at."""
    from data_prep.demo.story import FRAME_RATE

    monitor, found = DriftMonitor(FRAME_RATE / EVERY, high=high), []
    for k, frame in enumerate(frames):
        drift = monitor.push(frame, 0.0 if scores is None else float(scores[k]))
        if drift:
            found.append({**asdict(drift), "second": k * EVERY / FRAME_RATE})
    return found


def measure(minutes: int) -> dict:
    """What is told of ordinary footage, and of each change how soon."""
    settings, made_with = load_profile("demo"), environment()
    size = (settings.size, settings.size)
    scores = generated_minutes(settings, minutes)
    from data_prep.demo.story import FRAME_RATE

    high = choose_threshold(scores, 12.0, "alarms per hour", FRAME_RATE, LEAST_S).release
    sampled = np.concatenate([values[::EVERY] for values in scores.values()])
    changes = {}
    for name, change in CHANGES.items():
        found = told(seconds_of((BEFORE_S + AFTER_S) // 60, size, change))
        changes[name] = {
            "told": [{**drift, "after": drift["second"] - BEFORE_S} for drift in found],
        }
    return {
        "minutes": minutes,
        "ordinary": told(seconds_of(minutes, size), sampled, high),
        "changes": changes,
        "environment": made_with,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.drift_study", description=__doc__)
    parser.add_argument("--minutes", type=int, default=60, help="ordinary footage, minutes")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("drift_study", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    report = measure(given.minutes)
    print(f"{report['minutes']} minutes of ordinary footage: {len(report['ordinary'])} drifts told")
    for name, change in report["changes"].items():
        for drift in change["told"]:
            print(f"{name}: after {drift['after']:.0f} s, {drift['kind']}: {drift['sentence']}")
    if given.to:
        write_json(given.to / "drift.json", report)


if __name__ == "__main__":
    sys.exit(main())
