"""The AUC on test clips against the length of training, with and without pseudo-anomalies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ddllib.experiments.comparisons import MODES
from ddllib.records import Record
from ddllib.settings import Settings, recorded

_FREE = {"profile", "epochs", "mode", "seed", "held_out", "protocol", "device", "compile"}

Points = dict[str, list[tuple[int, float]]]  # by way of training: epochs, AUC in percent


def auc_by_epochs(records: Sequence[Record], like: Settings, protocol: str) -> Points:
    """The test AUC in percent of the runs that differ from ``like`` in their length, mode or seed.

    A run that held clips out counts too, where it scored the test clips afterwards.
    """
    fixed = {k: v for k, v in like.asdict().items() if k not in _FREE}
    points: Points = {}
    for record in records:
        settings, metrics = recorded(record.facts["settings"]), record.metrics or record.tests
        is_same = all(settings[name] == value for name, value in fixed.items())
        if record.is_trained and is_same and metrics:
            point = settings["epochs"], 100 * metrics[protocol]["auc"]
            points.setdefault(MODES[settings["mode"]], []).append(point)
    return {name: sorted(points[name]) for name in MODES.values() if name in points}


def why_it_helps(points: Points) -> str:
    """What a longer training does with and without pseudo-anomalies, a sentence."""
    cells, trained = [], ""
    for mode, words in (("none", "without pseudo-anomalies"), ("ddl", "with them")):
        by_epochs: dict[int, list[float]] = {}
        for epochs, auc in points.get(MODES[mode], []):
            by_epochs.setdefault(epochs, []).append(auc)
        if len(by_epochs) > 1:
            first, last = min(by_epochs), max(by_epochs)
            before, after = np.mean(by_epochs[first]), np.mean(by_epochs[last])
            verb = "loses" if after < before else "gains"
            longer = f"training for {last} epochs instead of {first}"
            cells.append(
                f"{words}, {'it' if longer == trained else longer} {verb} "
                f"{abs(after - before):.2f} points of AUC ({before:.2f} to {after:.2f})"
            )
            trained = longer
    text = "; ".join(cells)
    return f"{text[0].upper()}{text[1:]}." if cells else "Runs of several lengths: not run."
