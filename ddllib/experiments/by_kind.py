"""What held-out clips say of each kind of pseudo-anomaly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ddllib.experiments.comparisons import difference_row, mean_and_spread
from ddllib.experiments.foretelling import by_kind, mean_held_out, recorded_by_one_judge
from ddllib.experiments.grid import Trial
from ddllib.figures.chapter import Cited
from ddllib.pseudo_anomalies.held_out import EASIER, KINDS, PAIRED
from ddllib.records import Record


def below_chance(trials: Sequence[Trial], protocol: str) -> str:
    """Kinds of pseudo-anomaly that most runs miss, a sentence.

    Chance is an AUC of 0.5 for a single judge, and the level of unaltered clips for a paired one.
    """
    records = [record for _, record in recorded_by_one_judge(trials)]
    chance = 0.0 if any(record.judge == PAIRED for record in records) else 0.5
    figures = [by_kind(record, protocol) for record in records]
    missed = [kind for kind in KINDS if figures and np.median([f[kind] for f in figures]) <= chance]
    names = [f"{kind} (easier to reconstruct)" if kind in EASIER else kind for kind in missed]
    return f"kinds that most runs do not find better than chance: {', '.join(names) or 'none'}"


def kinds_table(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """The held-out AUC of each variant by kind of pseudo-anomaly, the mean over its seeds."""
    recorded, rows = recorded_by_one_judge(trials), []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        figures = [by_kind(record, protocol) for t, record in recorded if t.variant == variant]
        cells = {
            kind: f"{100 * np.mean([f[kind] for f in figures]):.1f}" for kind in KINDS if figures
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
    figures: dict[str, dict[int, dict[str, float]]] = {without: {}, variant: {}}
    for trial, record in recorded_by_one_judge(trials):
        if trial.variant in figures:
            figures[trial.variant][trial.settings.seed] = by_kind(record, protocol)
    seeds = sorted(figures[without].keys() & figures[variant].keys())
    return {
        kind: [(figures[without][seed][kind], figures[variant][seed][kind]) for seed in seeds]
        for kind in KINDS
    }


def paired_table(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """What the paired judge says of each variant: points above the unaltered level, by kind.

    ``mean`` is over all kinds, ``without the easier`` over those that reconstruction can win. Each
    figure is a mean over the recorded seeds; ``not run`` where there is none.
    """
    records: dict[str, list[Record]] = {}
    for trial, record in recorded_by_one_judge(trials):
        records.setdefault(trial.variant, []).append(record)
    rows = []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        if variant not in records:
            rows.append({"variant": variant, "mean": "not run"})
            continue
        runs = records[variant]
        verdicts = [verdict for run in runs for verdict in run.facts["held_out"][protocol].values()]
        level = np.mean([verdict["unaltered"] for verdict in verdicts])
        figures = pd.DataFrame([by_kind(run, protocol) for run in runs]).mean().to_dict()
        fair = {kind: value for kind, value in figures.items() if kind not in EASIER}
        rows.append(
            {
                "variant": Cited(variant, *runs),
                "runs": f"{len(runs)}",
                "unaltered level": f"{100 * level:.1f}",
                "mean": f"{100 * mean_held_out(figures):+.1f}",
                "without the easier": f"{100 * mean_held_out(fair):+.1f}",
                **{kind: f"{100 * value:+.1f}" for kind, value in figures.items()},
            }
        )
    return pd.DataFrame(rows).fillna("–")
