"""Whether the AUC on held-out clips predicts the order of runs on test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.errors import DDLError
from ddllib.experiments.grid import Trial
from ddllib.figures.chapter import percent
from ddllib.pseudo_anomalies.held_out import gain
from ddllib.records import Record
from ddllib.settings import Settings


def foretold(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """The AUC on held-out and on test clips, both in [0, 1], of every run that has both.

    Columns ``variant``, ``seed``, ``held_out`` and ``tests``; a row for each run.
    """
    columns, rows = ["variant", "seed", "held_out", "tests"], []
    for trial, record in recorded_by_one_judge(trials):
        if record.tests:
            aucs = auc_of_held_out(record, protocol), auc_of_tests(record, protocol)
            rows.append((trial.variant, trial.settings.seed, *aucs))
    return pd.DataFrame(rows, columns=columns)


def foretelling(pairs: pd.DataFrame) -> str:
    """The rank correlation of held-out and test AUC, in a sentence."""
    if len(pairs) < 3:
        return f"not run: {len(pairs)} of these runs were scored on test clips, too few to say more"
    order = stats.spearmanr(pairs["held_out"], pairs["tests"]).statistic
    low, high = rank_bounds(pairs)
    best = pairs.loc[pairs["held_out"].idxmax()]
    variants = pairs["variant"].nunique()
    return (
        f"the rank correlation is {order:.2f} ({low:.2f} to {high:.2f} over draws of variants), "
        f"for {len(pairs)} runs of {variants} variants. The run that is best on held-out clips, "
        f"'{best['variant']}', has a test AUC of {percent(best['tests'])}; the highest of all runs "
        f"is {percent(pairs['tests'].max())}"
    )


def rank_bounds(pairs: pd.DataFrame, draws: int = 1000) -> tuple[float, float]:
    """The central 95 % of the rank correlation over draws of whole variants with replacement.

    Runs of a variant are alike, so single runs would say more than they know. Seeded.
    """
    rng, groups = np.random.default_rng(0), [part for _, part in pairs.groupby("variant")]
    values = []
    for _ in range(draws):
        drawn = pd.concat([groups[k] for k in rng.integers(len(groups), size=len(groups))])
        if drawn["held_out"].nunique() > 1 and drawn["tests"].nunique() > 1:
            values.append(stats.spearmanr(drawn["held_out"], drawn["tests"]).statistic)
    if not values:
        return float("nan"), float("nan")
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


def of_judge(trials: Sequence[Trial], judge: str) -> list[JudgedTrial]:
    """The trials, of which only records by this judge of held-out clips count as run."""
    return [
        JudgedTrial(
            trial.variant,
            trial.settings,
            next((record for record in trial.records() if record.judge == judge), None),
        )
        for trial in trials
    ]


class JudgedTrial(NamedTuple):
    """A trial whose record was looked up."""

    variant: str
    settings: Settings
    found: Record | None

    def record(self) -> Record | None:
        """Its record, as a trial gives it."""
        return self.found


def recorded_by_one_judge(trials: Sequence[Trial]) -> list[tuple[Trial, Record]]:
    """The trials that were run, with their records.

    Raises ``DDLError`` where some are of another judge of held-out clips than others: their
    figures mean something else.
    """
    pairs = [(trial, record) for trial in trials if (record := trial.record()) is not None]
    judges = sorted({record.judge for _, record in pairs if record.judge})
    if len(judges) > 1:
        raise DDLError(
            f"held-out clips: records of several judges ({', '.join(judges)}); expected one; "
            "compare those of one only (of_judge), or remove the older records and run them again"
        )
    return pairs


def by_kind(record: Record, protocol: str) -> dict[str, float]:
    """The figure of each kind: the AUC of a single judge, the gain of a paired one."""
    verdicts = record.facts["held_out"][protocol]
    return {kind: gain(v) if isinstance(v, Mapping) else v for kind, v in verdicts.items()}


def auc_of_held_out(record: Record, protocol: str) -> float:
    return mean_held_out(by_kind(record, protocol))


def auc_of_tests(record: Record, protocol: str) -> float | None:
    return record.tests[protocol]["auc"] if record.tests else None


def mean_held_out(aucs: Mapping[str, float]) -> float:
    """The figure by which settings are compared: the unweighted mean over kinds."""
    return float(np.mean(list(aucs.values())))
