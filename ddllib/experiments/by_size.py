"""What pseudo-anomalies add at each working size."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ddllib.experiments.ablations import bases_of, effect_row
from ddllib.experiments.comparisons import BEYOND, MODES, mean_and_spread
from ddllib.experiments.foretelling import auc_of_held_out, auc_of_tests, recorded_by_one_judge
from ddllib.experiments.grid import Trial
from ddllib.experiments.spread import pooled
from ddllib.records import Record

_MODES_COMPARED = ("none", "ddl")  # without and with pseudo-anomalies in training


def effect_by_size(trials: Sequence[Trial], protocol: str, unchanged: str) -> pd.DataFrame:
    """What pseudo-anomalies add to the AUC at each working size, paired by seed.

    Pairs are runs whose settings differ only in ``mode``. Each size with such a pair has a row for
    the held-out clips and one for the test clips, where the runs scored them. A difference of one
    seed is compared with the spread over seeds of all variants with several.
    """
    bases = bases_of(trials, unchanged)
    by_setting: dict[str, list[Record]] = {}
    for trial, record in recorded_by_one_judge(trials):
        if trial.variant == unchanged or not bases[trial.variant].same_weights:
            setting = repr({**trial.settings.asdict(), "seed": None})
            by_setting.setdefault(setting, []).append(record)
    runs: dict[str, dict] = {}
    for trial in trials:
        record, values = trial.record(), trial.settings.asdict()
        mode, size = values.pop("mode"), values["size"]
        if record is not None and mode in _MODES_COMPARED:
            runs.setdefault(repr(values), {"size": size})[mode] = record
    pairs = [pair for pair in runs.values() if set(_MODES_COMPARED) <= pair.keys()]
    rows = []
    for size in sorted({pair["size"] for pair in pairs}):
        for place, auc in (("held out", auc_of_held_out), ("test", auc_of_tests)):
            auc_pairs = [
                {m: auc(pair[m], protocol) for m in _MODES_COMPARED}
                for pair in pairs
                if pair["size"] == size
            ]
            auc_pairs = [pair for pair in auc_pairs if None not in pair.values()]
            row = {"size": size, "clips": place}
            row |= {
                MODES[m]: mean_and_spread([pair[m] for pair in auc_pairs]) for m in _MODES_COMPARED
            }
            spread = pooled(
                [value for r in records if (value := auc(r, protocol)) is not None]
                for records in by_setting.values()
            )
            row |= effect_row([pair["ddl"] - pair["none"] for pair in auc_pairs], spread)
            rows.append(row)
    return pd.DataFrame(rows)


def where_it_helps(sizes: pd.DataFrame, place: str) -> str:
    """At which sizes pseudo-anomalies change the AUC of ``place`` by more than chance, a sentence.

    ``sizes`` is what ``effect_by_size`` gives; ``place`` is "held out" or "test".
    """
    sizes_by_outcome: dict[str, list[str]] = {"ahead": [], "behind": [], "even": []}
    for row in sizes[sizes["clips"] == place].to_dict("records"):
        if row["mean, points"] != "not run":
            points = float(row["mean, points"])
            outcome = "even" if row[BEYOND] != "yes" else "ahead" if points > 0 else "behind"
            sizes_by_outcome[outcome].append(f"{row['size']} ({points:+.2f})")
    ahead, behind, even = (", ".join(entries) or "no size" for entries in sizes_by_outcome.values())
    return (
        f"{place} clips, by frame size: pseudo-anomalies help at {ahead} and harm at {behind}. The "
        f"difference is not more than chance at {even}"
    )
