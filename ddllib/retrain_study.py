"""A camera that was turned, in worse light: what it takes to alarm again as before.

    python -m ddllib.retrain_study FOOTAGE [--rate 10] [--to FOLDER]

A run of the profile ``own-camera`` is made from a data set's training clips, as in
``ddllib.stream_study``. Then training and test clips are altered as if the camera had been turned
and the light had faded. The old run watches them; so do runs that were trained on for a while from
its weights, and others that began from nothing. Each has the threshold that its own normal footage
asks for, the old one the old threshold, and no drift monitor to hush it. No choice is made by what
comes out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib import camera
from ddllib.commands import run_command
from ddllib.data import Prepared
from ddllib.devices import describe_device
from ddllib.drift_study import Change, gain, nudge
from ddllib.errors import DDLError
from ddllib.evaluation import apply_protocol, evaluate
from ddllib.events import against_labels, find_events
from ddllib.files import write_json
from ddllib.records import environment
from ddllib.scoring import score_clips
from ddllib.settings import runs_root
from ddllib.stream_study import clip_labels, trained
from ddllib.thresholds import Threshold
from ddllib.training import Run

MOVED, DIMMED = (20, -12), 0.6  # pixels right and down as recorded; times as bright
AGAIN = (1, 2)  # epochs of training on
Clips = Mapping[str, np.ndarray]


def turned(frame: np.ndarray, seconds: float = 0.0) -> np.ndarray:
    """A frame, uint8 H x W x 3, as the camera sees it after the change."""
    return nudge(*MOVED)(gain(DIMMED)(frame, seconds), seconds)


@dataclass(frozen=True)
class Outcome:
    """How a run's alarms meet the labels of test clips.

    ``met`` of ``abnormal`` stretches have an alarm; ``in_alarm`` is the share of normal frames that
    lie within one, ``auc`` the micro AUC of filtered scores, both in [0, 1].
    """

    met: int
    abnormal: int
    in_alarm: float
    auc: float


def altered_frames(clips: Sequence, data: Prepared, change: Change | None) -> dict[str, np.ndarray]:
    """Test clips at the working size of ``data``, uint8 N x C x H x W, altered or as they are."""
    from data_prep.frames import read_frames, to_working_size

    change = change or (lambda frame, seconds: frame)
    return {
        clip.name: np.stack(
            [
                to_working_size(change(frame, 0.0), data.size, data.channels)
                for frame in read_frames(clip, colour=True)
            ]
        )
        for clip in clips
    }


def outcome(frames: Clips, labels: Clips, run: Run, threshold: Threshold, rate: float) -> Outcome:
    """What a run makes of test clips, each scored as a whole and filtered as on watch.

    ``frames`` are uint8 N x C x H x W and ``labels`` N of 0 and 1, by clip; ``rate`` is in frames
    per second.
    """
    scores = score_clips(run.model, frames, run.settings.patch_size, run.precision)
    met = abnormal = alarmed = normal = 0
    for name, values in scores.items():
        filtered = apply_protocol(values, "median")
        limits = threshold.value, threshold.release
        events = find_events(filtered, *limits, rate, camera.LEAST_S)
        inside = np.zeros(len(filtered), bool)
        for event in events:
            inside[event.start : event.end + 1] = True
        found, stretches, _ = against_labels(events, labels[name])
        met, abnormal = met + found, abnormal + stretches
        alarmed += int(inside[labels[name] == 0].sum())
        normal += int((labels[name] == 0).sum())
    return Outcome(met, abnormal, alarmed / normal, evaluate(scores, labels, "median").auc)


def measure(footage: Path, rate: float) -> dict:
    """Train, alter, train on and compare; plain values, a row for each run and footage.

    Raises ``DDLError`` for footage without labelled test clips.
    """
    from data_prep.survey import survey

    found = survey(footage)
    clips, labels = list(found.footage.clips["testing"].values()), clip_labels(found)
    if not labels or None in found.lengths["testing"].values():
        raise DDLError(
            f"{footage}: no labelled test clips of known length; expected some, to count alarms by"
        )
    rows = []

    def add(name: str, made, change: Change | None) -> None:
        settings, data, run = made
        threshold = camera.threshold(settings, data, run)
        seen = outcome(altered_frames(clips, data, change), labels, run, threshold, rate)
        minutes = run.seconds / 60
        facts = {"epochs": run.epoch, "minutes": minutes, "usual": threshold.quiet}
        rows.append({"run": name, **facts, **vars(seen)})

    first = trained(found.footage, rate, frame_rate=rate)
    add("before the change", first, None)
    add("as it was", first, turned)
    start = str(first[2].folder.relative_to(runs_root()))
    name = f"turned{MOVED[0]:+d}{MOVED[1]:+d}-{DIMMED:g}"
    altered = {"change": turned, "name": name, "frame_rate": rate}
    for epochs in AGAIN:
        some = {**altered, "epochs": epochs}
        add("trained on", trained(found.footage, rate, start_from=start, **some), turned)
        add("from nothing", trained(found.footage, rate, **some), turned)
    add("from nothing", trained(found.footage, rate, **altered), turned)
    return {
        "footage": found.name,
        "rate": rate,
        "moved": MOVED,
        "dimmed": DIMMED,
        "rows": rows,
        "precision": first[2].precision,
        "device": describe_device(first[2].creator.l.device),
        "environment": environment(),
    }


def table(report: Mapping) -> pd.DataFrame:
    """A row for each run: how long it was trained, and how its alarms met the labels."""
    return pd.DataFrame(
        {
            "run": row["run"],
            "epochs": row["epochs"],
            "minutes": f"{row['minutes']:.1f}",
            "abnormal stretches met": f"{row['met']} of {row['abnormal']}",
            "normal frames in alarm, %": f"{100 * row['in_alarm']:.1f}",
            "AUC": f"{100 * row['auc']:.1f}",
        }
        for row in report["rows"]
    )


def verdict(report: Mapping) -> str:
    """What the longest training on is worth beside the old run and beside the best new one."""
    first, old, *rest = report["rows"]
    on = [row for row in rest if row["run"] == "trained on"][-1]
    new = max((row for row in rest if row["run"] == "from nothing"), key=lambda row: row["auc"])
    return (
        f"Trained on for {on['minutes']:.1f} minutes: AUC {100 * on['auc']:.1f}, where the run as "
        f"it was has {100 * old['auc']:.1f} and the best from nothing {100 * new['auc']:.1f} after "
        f"{new['minutes']:.1f} minutes; before the change it was {100 * first['auc']:.1f}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ddllib.retrain_study", description=__doc__)
    parser.add_argument("footage", type=Path, help="a data set with labelled test clips")
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second (default 10)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    given = parser.parse_args()
    return run_command("retrain_study", lambda: _report(given))


def _report(given: argparse.Namespace) -> None:
    report = measure(given.footage, given.rate)
    print(table(report).to_string(index=False), verdict(report), sep="\n")
    if given.to:
        write_json(given.to / "retrain.json", report)


if __name__ == "__main__":
    sys.exit(main())
