"""Whether the AUC on held-out clips predicts the order of runs on test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.experiments.grid import Trial
from ddllib.figures.chapter import percent
from ddllib.records import Record


def foretold(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """The AUC on held-out and on test clips, both in [0, 1], of every run that has both.

    Columns ``variant``, ``seed``, ``held_out`` and ``tests``; a row for each run.
    """
    columns, rows = ["variant", "seed", "held_out", "tests"], []
    for trial in trials:
        record = trial.record()
        if record is not None and record.tests:
            held_out_auc, test_auc = _held_out_auc(record, protocol), _test_auc(record, protocol)
            rows.append((trial.variant, trial.settings.seed, held_out_auc, test_auc))
    return pd.DataFrame(rows, columns=columns)


def foretelling(pairs: pd.DataFrame) -> str:
    """The rank correlation of held-out and test AUC, in a sentence."""
    if len(pairs) < 3:
        return f"not run: {len(pairs)} of these runs were scored on test clips, too few to say more"
    order = stats.spearmanr(pairs["held_out"], pairs["tests"])
    best = pairs.loc[pairs["held_out"].idxmax()]
    return (
        f"{len(pairs)} runs: rank correlation {order.statistic:.2f} (p = {order.pvalue:.2g}); of "
        f"these the best by held-out clips, {best['variant']}, has {percent(best['tests'])} on "
        f"test clips, of which the best has {percent(pairs['tests'].max())}"
    )


def _held_out_auc(record: Record, protocol: str) -> float:
    return mean_held_out(record.facts["held_out"][protocol])


def _test_auc(record: Record, protocol: str) -> float | None:
    return record.tests[protocol]["auc"] if record.tests else None


def mean_held_out(aucs: Mapping[str, float]) -> float:
    """The AUC by which settings are compared: the unweighted mean over kinds."""
    return float(np.mean(list(aucs.values())))
