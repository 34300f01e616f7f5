"""What retraining is needed after a camera was turned and the light got worse.

    python -m ddllib study retraining FOOTAGE [--rate 10] [--to FOLDER]

A run of the profile ``own-camera`` is made from a data set's training clips, as in
``stream_study``. Then training and test clips are altered as if the camera had been turned
and the light had faded. They are scored by the old run, by runs trained further from its weights,
and by runs trained from nothing. Each has the threshold chosen on its own normal footage, the old
run its old threshold, and no drift monitor suppresses alarms. The results decide no setting.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ddllib.camera import assembly
from ddllib.camera.events import against_labels, find_events
from ddllib.camera.thresholds import Threshold
from ddllib.data import Prepared
from ddllib.devices import describe_device
from ddllib.errors import DDLError
from ddllib.evaluation import apply_protocol, evaluate
from ddllib.io.commands import Parser, frames_per_second, run_command
from ddllib.io.files import write_json
from ddllib.paths import runs_root
from ddllib.records import environment
from ddllib.runs import Run
from ddllib.scoring import Scorer
from studies.drift_study import Change, gain, nudge
from studies.stream_study import clip_labels, trained

MOVED, DIMMED = (20, -12), 0.6  # shift right and down in recorded pixels; brightness factor
AGAIN = (1, 2)  # epochs of further training
Clips = Mapping[str, np.ndarray]


def turned(frame: np.ndarray, seconds: float = 0.0) -> np.ndarray:
    """A frame, uint8 H x W x 3, as the camera sees it after the change."""
    return nudge(*MOVED)(gain(DIMMED)(frame, seconds), seconds)


@dataclass(frozen=True)
class Outcome:
    """A run's alarms compared with the labels of test clips.

    ``met`` of ``abnormal`` stretches have an alarm; ``in_alarm`` is the share of normal frames
    within an alarm, ``auc`` the micro AUC of filtered scores, both in [0, 1].
    """

    met: int
    abnormal: int
    in_alarm: float
    auc: float


def altered_frames(clips: Sequence, data: Prepared, change: Change | None) -> dict[str, np.ndarray]:
    """Test clips at the working size of ``data``, uint8 N x C x H x W, altered or as they are."""
    from data_prep.footage.frames import read_frames, to_working_size

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
    """The outcome of a run on test clips, each scored as a whole and filtered as in a watch.

    ``frames`` are uint8 N x C x H x W and ``labels`` N of 0 and 1, by clip; ``rate`` is in frames
    per second.
    """
    scores = Scorer(run.model, run.settings.patch_size, run.precision).clips(frames)
    met = abnormal = alarmed = normal = 0
    for name, values in scores.items():
        filtered = apply_protocol(values, "median")
        limits = threshold.value, threshold.release
        events = find_events(filtered, *limits, rate, assembly.LEAST_S)
        inside = np.zeros(len(filtered), bool)
        for event in events:
            inside[event.start : event.end + 1] = True
        stretches_met, stretches, _ = against_labels(events, labels[name])
        met, abnormal = met + stretches_met, abnormal + stretches
        alarmed += int(inside[labels[name] == 0].sum())
        normal += int((labels[name] == 0).sum())
    return Outcome(met, abnormal, alarmed / normal, evaluate(scores, labels, "median").auc)


def measure(footage: Path, rate: float) -> dict:
    """Train, alter, train on and compare; plain values, a row for each run and footage.

    Raises ``DDLError`` for footage without labelled test clips.
    """
    from data_prep.footage.survey import survey

    surveyed = survey(footage)
    clips, labels = list(surveyed.footage.clips["testing"].values()), clip_labels(surveyed)
    if not labels or None in surveyed.lengths["testing"].values():
        raise DDLError(
            f"{footage}: no labelled test clips of known length; expected some, to count alarms by"
        )
    rows = []

    def add(name: str, trained_run, change: Change | None) -> None:
        settings, data, run = trained_run
        threshold = assembly.threshold(settings, data, run)
        result = outcome(altered_frames(clips, data, change), labels, run, threshold, rate)
        minutes = run.seconds / 60
        facts = {"epochs": run.epoch, "minutes": minutes, "usual": threshold.quiet}
        rows.append({"run": name, **facts, **vars(result)})

    first = trained(surveyed.footage, rate, frame_rate=rate)
    add("before the change", first, None)
    add("as it was", first, turned)
    start = str(first[2].folder.relative_to(runs_root()))
    name = f"turned{MOVED[0]:+d}{MOVED[1]:+d}-{DIMMED:g}"
    alteration = {"change": turned, "name": name, "frame_rate": rate}
    for epochs in AGAIN:
        options = {**alteration, "epochs": epochs}
        add("trained on", trained(surveyed.footage, rate, start_from=start, **options), turned)
        add("from nothing", trained(surveyed.footage, rate, **options), turned)
    add("from nothing", trained(surveyed.footage, rate, **alteration), turned)
    return {
        "footage": surveyed.name,
        "rate": rate,
        "moved": MOVED,
        "dimmed": DIMMED,
        "rows": rows,
        "precision": first[2].precision,
        "device": describe_device(first[2].device),
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
    """The longest further training compared with the old run and the best new one, a sentence."""
    first, old_run, *others = report["rows"]
    trained_on = [row for row in others if row["run"] == "trained on"][-1]
    best_new = max(
        (row for row in others if row["run"] == "from nothing"), key=lambda row: row["auc"]
    )
    return (
        f"The change takes the AUC from {100 * first['auc']:.1f} to "
        f"{100 * old_run['auc']:.1f}. Further training of {trained_on['minutes']:.1f} minutes "
        f"brings it to {100 * trained_on['auc']:.1f}. The best run that began from nothing has "
        f"{100 * best_new['auc']:.1f}, after {best_new['minutes']:.1f} minutes."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(prog="python -m ddllib study retraining", description=__doc__)
    parser.add_argument("footage", type=Path, help="a data set with labelled test clips")
    parser.add_argument(
        "--rate", type=frames_per_second, default=10.0, help="frames per second (default 10)"
    )
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="also keep everything as JSON")
    options = parser.parse_args(arguments)
    return run_command("study retraining", lambda: _report(options))


def _report(options: argparse.Namespace) -> None:
    report = measure(options.footage, options.rate)
    print(table(report).to_string(index=False), verdict(report), sep="\n")
    if options.to:
        write_json(options.to / "retrain.json", report)
