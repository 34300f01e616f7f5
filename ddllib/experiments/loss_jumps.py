"""Jumps of the loss in recorded runs: a few pixels with a tiny Q can throw training back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ddllib.figures.chapter import Cited, percent
from ddllib.records import Record

BEFORE = 20  # steps with whose median a step is compared
HEIGHT = 1.7  # a total so many times that median is a jump
SETTLING = 1 / 12  # of all steps, at the beginning, in which the loss still falls fast


def jumps(history: Mapping[str, Sequence[float]]) -> list[int]:
    """The steps at which the loss jumps; of a jump that lasts, the first."""
    total, steps = np.array(history["total"], float), []
    for i in range(max(int(SETTLING * len(total)), BEFORE), len(total)):
        is_high = total[i] > HEIGHT * np.median(total[i - BEFORE : i])
        if is_high and (not steps or i - steps[-1] > BEFORE):
            steps.append(i)
    return steps


def jump_table(records: Sequence[Record], protocol: str) -> pd.DataFrame:
    """The number of jumps of each run with pseudo-anomalies, where they were, and its micro AUC."""
    rows = []
    for record in _with_ratio(records):
        steps, total = jumps(record.facts["history"]), len(record.facts["history"]["total"])
        places = ", ".join(f"{100 * step / total:.0f}" for step in steps)
        row = {"record": Cited(record.name, record), "jumps": len(steps)}
        rows.append({**row, "at, % of steps": places or "–", "AUC": percent(record.auc(protocol))})
    return pd.DataFrame(rows)


def jump_verdict(records: Sequence[Record], protocol: str) -> str:
    """How many runs have jumps, and whether those are worse than others of the same setting."""
    with_ratio = _with_ratio(records)
    counts = {record.name: len(jumps(record.facts["history"])) for record in with_ratio}
    groups: dict[str, list[Record]] = {}
    for record in with_ratio:
        values = {**record.facts["settings"], "seed": None}
        groups.setdefault(repr(sorted(values.items())), []).append(record)
    both, better = 0, 0
    for group in groups.values():
        calm = [r.auc(protocol) for r in group if not counts[r.name]]
        others = [r.auc(protocol) for r in group if counts[r.name]]
        if calm and others:
            both, better = both + 1, better + (np.mean(calm) > np.mean(others))
    with_jumps = sum(count > 0 for count in counts.values())
    return (
        f"{with_jumps} of {len(with_ratio)} runs have a jump: a loss above {HEIGHT} times the "
        f"median of the {BEFORE} steps before. {both} settings have runs with and without one. "
        f"In {better} of them those without one have the higher mean AUC"
    )


def _with_ratio(records: Sequence[Record]) -> list[Record]:
    """The runs whose loss holds the ratio of equation 7 at each pixel."""
    return [
        r
        for r in records
        if r.facts["settings"]["mode"] != "none"
        and r.facts["settings"].get("distinction_form", "per_pixel") == "per_pixel"
        and r.facts["settings"].get("method", "ddl") == "ddl"
    ]
