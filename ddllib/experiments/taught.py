"""Which pseudo-anomaly teaches which anomaly: a matrix, by runs on generated scenes.

A generated scene tells for each frame which kinds of anomaly it shows. So the AUC of one kind is
that of its frames beside the frames without any, and the frames of other kinds are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.metrics import roc_auc_score

from data_prep.demo import ANOMALIES, labels_by_kind
from ddllib.evaluation import apply_protocol
from ddllib.experiments.grid import Trial
from ddllib.experiments.spread import LEVEL
from ddllib.figures.chapter import Cited
from ddllib.pipeline import SCENES
from ddllib.records import Record

ALL = "all frames"
COLUMNS = (*ANOMALIES, ALL)

Run = tuple[str, int]  # the scene and the seed: what is equal in the two runs of a pair


class Gain(NamedTuple):
    """What a kind adds to the AUC of an anomaly, in points, over pairs of runs.

    ``p`` is the p-value of a two-sided t-test of the pairs; ``holds`` says whether the gain is
    beyond chance after all comparisons of its matrix are allowed for (Holm).
    """

    mean: float
    pairs: int
    p: float
    holds: bool


@cache
def anomalies_of(scene: str) -> dict[str, dict[str, np.ndarray]]:
    """Which test frames of a generated scene show each kind, by kind and clip: N bool."""
    counts = {k: v for k, v in SCENES[scene].items() if k != "training_clips"}
    return labels_by_kind(**counts)


def aucs_by_anomaly(record: Record, protocol: str) -> dict[str, float]:
    """The AUC in [0, 1] of each kind of anomaly of a record, and of all frames by its labels."""
    by_kind, clips = anomalies_of(record.facts["settings"]["data"]), list(record.scores)
    scores = np.concatenate([apply_protocol(record.scores[clip], protocol) for clip in clips])
    labels = np.concatenate([record.labels[clip] for clip in clips])
    aucs = {}
    for kind in ANOMALIES:
        of_kind = np.concatenate([by_kind[kind][clip] for clip in clips])
        counted = of_kind | (labels == 0)
        aucs[kind] = float(roc_auc_score(of_kind[counted], scores[counted]))
    return aucs | {ALL: float(roc_auc_score(labels, scores))}


def aucs_by_run(trials: Sequence[Trial], protocol: str) -> dict[str, dict[Run, dict[str, float]]]:
    """``aucs_by_anomaly`` of each variant's runs, by scene and seed; empty where it was not run."""
    aucs: dict[str, dict[Run, dict[str, float]]] = {trial.variant: {} for trial in trials}
    for trial in trials:
        record = trial.record(published_first=True)
        if record:
            run = trial.settings.data, trial.settings.seed
            aucs[trial.variant][run] = aucs_by_anomaly(record, protocol)
    return aucs


def gains(
    aucs: Mapping[str, Mapping[Run, Mapping[str, float]]], pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Gain]]:
    """By how many points the first variant of each pair exceeds the second, for each anomaly.

    Runs are paired by scene and seed. The comparisons are corrected together: those with the
    smallest p-values hold as long as each is below ``LEVEL`` divided by how many remain.
    """
    means, tests = {}, {}
    for first, second in pairs:
        runs = sorted(aucs[first].keys() & aucs[second].keys())
        for column in COLUMNS:
            differences = [100 * (aucs[first][r][column] - aucs[second][r][column]) for r in runs]
            if differences:
                means[first, second, column] = float(np.mean(differences)), len(differences)
            if len(differences) > 1:
                p = float(stats.ttest_1samp(differences, 0).pvalue)
                tests[first, second, column] = 1.0 if np.isnan(p) else p
    holding = holm(tests)
    table: dict[tuple[str, str], dict[str, Gain]] = {pair: {} for pair in pairs}
    for key, (mean, count) in means.items():
        table[key[:2]][key[2]] = Gain(mean, count, tests.get(key, 1.0), key in holding)
    return table


def holm(p_values: Mapping, level: float = LEVEL) -> set:
    """The keys whose p-values hold at ``level`` for all comparisons together (Holm 1979)."""
    holding = set()
    for rank, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        if p_values[key] > level / (len(p_values) - rank):
            break
        holding.add(key)
    return holding


def matrix(
    trials: Sequence[Trial], protocol: str, without: str
) -> tuple[pd.DataFrame, dict[str, dict[str, Gain]]]:
    """The mean AUC in percent of each variant for each anomaly, and its gains over ``without``.

    The table has a row for each variant that was run, linked to its records.
    """
    aucs = aucs_by_run(trials, protocol)
    rows = []
    for variant, runs in aucs.items():
        if runs:
            records = [r for t in trials if t.variant == variant and (r := t.record(True))]
            cells = {c: 100 * float(np.mean([a[c] for a in runs.values()])) for c in COLUMNS}
            rows.append({"trained against": Cited(variant, *records), **cells, "runs": len(runs)})
    pairs = [(variant, without) for variant in aucs if variant != without]
    return pd.DataFrame(rows), {pair[0]: row for pair, row in gains(aucs, pairs).items()}


def answer(added: Mapping[str, Mapping[str, Gain]]) -> list[str]:
    """What kinds help and harm, a sentence for each anomaly; those that are open share one."""
    columns = [c for c in COLUMNS[::-1] if any(c in row for row in added.values())]
    if not columns:
        return ["which kind teaches which anomaly: not run"]
    clear = [c for c in columns if any(c in row and row[c].holds for row in added.values())]
    highest = [_highest(added, c) for c in columns if c not in clear]
    sentences = [gain_sentence(added, column) for column in clear]
    if highest:
        anomalies = "any anomaly" if not clear else "other anomalies"
        sentences.append(
            f"no kind has an effect beyond chance on {anomalies}. The highest means, in points: "
            f"{'; '.join(highest)}"
        )
    return sentences


def _highest(added: Mapping[str, Mapping[str, Gain]], column: str) -> str:
    """The kind that adds most for an anomaly, with its mean in points."""
    gains = {name: row[column].mean for name, row in added.items() if column in row}
    best = max(gains, key=gains.__getitem__)
    return f"{best} for {column} ({gains[best]:+.1f})"


def gain_sentence(added: Mapping[str, Mapping[str, Gain]], column: str = ALL) -> str:
    """What kinds help and harm beyond chance for one anomaly, or for all frames, a sentence."""
    column_gains = {name: row[column] for name, row in added.items() if column in row}
    if not column_gains:
        return f"{column}: not run"
    parts = []
    for word, sign in (("these help", 1), ("these harm", -1)):
        names = [
            f"{name} ({gain.mean:+.1f})"
            for name, gain in sorted(column_gains.items(), key=lambda item: -sign * item[1].mean)
            if gain.holds and sign * gain.mean > 0
        ]
        if names:
            parts.append(f"{word}: {', '.join(names)}")
    return f"{column}: {'; '.join(parts) or 'no kind has an effect beyond chance'}"


def learning_the_strength(
    trials: Sequence[Trial], protocol: str, kinds: Sequence[str]
) -> pd.DataFrame:
    """What learning sigma, and the distinction loss, add to each kind over all frames, in points.

    Of each kind there are variants named ``<kind>, DDL`` and ``<kind>, SDL``, with sigma learnt and
    at 0.5, and ``<kind>`` with the normal target.
    """
    aucs = aucs_by_run(trials, protocol)
    pairs = [(f"{k}, DDL", other) for k in kinds for other in (f"{k}, SDL", k) if other in aucs]
    rows = []
    for (first, second), row in gains(aucs, pairs).items():
        cells = {"": f"{first} against {second}", "runs": 0, "mean, points": "not run"}
        if gain := row.get(ALL):
            cells |= {"runs": gain.pairs, "mean, points": f"{gain.mean:+.1f}"}
            cells |= {"p": f"{gain.p:.2f}", "beyond chance": "yes" if gain.holds else "no"}
        rows.append(cells)
    return pd.DataFrame(rows).fillna("–")


def strength_sentence(rows: pd.DataFrame) -> str:
    """Whether learning sigma helps on kinds other than noise, a sentence on those rows."""
    others = rows[rows[""].str.contains("SDL") & ~rows[""].str.startswith("noise")]
    if not (others["runs"] > 0).any():
        return "Learning the strength of other kinds: not run."
    helping = [_kind_of(row) for _, row in others.iterrows() if _helps(row)]
    if helping:
        return f"Yes, for {'; '.join(helping)}: a learnt strength is better than a fixed one."
    means = "; ".join(f"{_kind_of(row)} {row['mean, points']}" for _, row in others.iterrows())
    return (
        "No: on no other kind is a learnt strength better than a fixed one by more than chance "
        f"(mean differences in points: {means})."
    )


def _kind_of(row: pd.Series) -> str:
    return row[""].partition(", DDL")[0]


def _helps(row: pd.Series) -> bool:
    return row["beyond chance"] == "yes" and row["mean, points"].startswith("+")


def seen(added: Mapping[str, Mapping[str, Gain]], learnt: pd.DataFrame) -> list[str]:
    """The chapter in three sentences: the best kind over all, kinds for one anomaly, strength."""
    if not any(ALL in row for row in added.values()):
        return ["Not run."]
    beyond = sum(gain.holds for row in added.values() for gain in row.values())
    count = sum(map(len, added.values()))
    by_anomaly = "; ".join(_highest(added, c) for c in ANOMALIES)
    return [
        f"Of all {count} differences {beyond or 'none'} {'is' if beyond < 2 else 'are'} beyond "
        f"chance; the highest mean, in points, is that of {_highest(added, ALL)}.",
        f"The kind with the highest mean for each anomaly: {by_anomaly}.",
        strength_sentence(learnt),
    ]
