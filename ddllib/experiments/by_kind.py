"""The held-out AUC by kind of pseudo-anomaly, and what a change does to each kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ddllib.experiments.comparisons import difference_row, mean_and_spread
from ddllib.experiments.grid import Trial
from ddllib.pseudo_anomalies.held_out import KINDS


def below_chance(trials: Sequence[Trial], protocol: str) -> str:
    """Kinds of pseudo-anomaly with an AUC below 0.5 in most runs, a sentence."""
    records = [record for trial in trials if (record := trial.record()) is not None]
    missed = [
        kind
        for kind in KINDS
        if records
        and np.median([record.facts["held_out"][protocol][kind] for record in records]) < 0.5
    ]
    return f"below chance in most runs: {', '.join(missed) or 'no kind'}"


def kinds_table(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """The held-out AUC of each variant by kind of pseudo-anomaly, the mean over its seeds."""
    rows = []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        records = [r for t in trials if t.variant == variant and (r := t.record())]
        cells = {
            kind: f"{100 * np.mean([r.facts['held_out'][protocol][kind] for r in records]):.1f}"
            for kind in KINDS
            if records
        }
        rows.append({"variant": variant, **(cells or dict.fromkeys(KINDS, "not run"))})
    rows.sort(key=lambda row: row[KINDS[0]] == "not run")
    return pd.DataFrame(rows)


def effect_by_kind(
    trials: Sequence[Trial], protocol: str, without: str, variant: str
) -> pd.DataFrame:
    """What a variant adds to the held-out AUC of each kind of pseudo-anomaly, paired by seed."""
    rows = []
    for kind, pairs in _pairs_by_kind(trials, protocol, without, variant).items():
        without_aucs, variant_aucs = zip(*pairs, strict=True) if pairs else ((), ())
        effect = difference_row([b - a for a, b in pairs])
        cells = {without: mean_and_spread(without_aucs), variant: mean_and_spread(variant_aucs)}
        rows.append({"kind": kind, **cells, "points": effect["mean, points"]})
    return pd.DataFrame(rows)


def kind_differences(
    trials: Sequence[Trial], protocol: str, without: str, variant: str
) -> dict[str, list[float]]:
    """The differences of ``effect_by_kind``, one per seed, in [-1, 1]."""
    pairs = _pairs_by_kind(trials, protocol, without, variant)
    return {kind: [b - a for a, b in values] for kind, values in pairs.items()}


def _pairs_by_kind(
    trials: Sequence[Trial], protocol: str, without: str, variant: str
) -> dict[str, list[tuple[float, float]]]:
    """By kind the held-out AUC without and with the change, one pair per seed."""
    by_seed: dict[str, dict[int, Mapping]] = {without: {}, variant: {}}
    for trial in trials:
        if trial.variant in by_seed and (record := trial.record()) is not None:
            by_seed[trial.variant][trial.settings.seed] = record.facts["held_out"][protocol]
    seeds = sorted(by_seed[without].keys() & by_seed[variant].keys())
    return {
        kind: [(by_seed[without][seed][kind], by_seed[variant][seed][kind]) for seed in seeds]
        for kind in KINDS
    }
