"""Ablations: what changes of the method do to the AUC on held-out and on test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.experiments.comparisons import BEYOND, MODES, difference_row, mean_and_spread
from ddllib.experiments.foretelling import _held_out_auc, _test_auc
from ddllib.experiments.grid import Trial
from ddllib.figures.chapter import percent


def effect_table(trials: Sequence[Trial], protocol: str, unchanged: str) -> pd.DataFrame:
    """The effect of each change on the held-out AUC, paired by seed with the variant without it.

    The AUC is the unweighted mean over the kinds of pseudo-anomaly. A change with one seed is
    compared with the spread over seeds (``seed_spread``), unless both share the same weights.
    Variants that were not run come last.
    """
    aucs, bases = _aucs_by_seed(trials, protocol), _bases(trials, unchanged)
    spread, rows = [*aucs.get(unchanged, {}).values()], []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        variant_aucs, base_aucs = aucs.get(variant, {}), aucs.get(bases[variant].name, {})
        differences = [
            variant_aucs[s] - base_aucs[s] for s in sorted(variant_aucs.keys() & base_aucs.keys())
        ]
        reference = [] if bases[variant].same_weights else spread
        effect = {"against": bases[variant].name, **_effect_row(differences, reference)}
        if variant == unchanged or not variant_aucs:
            effect = {}
        rows.append(
            {
                "variant": variant,
                "held-out AUC": mean_and_spread([*variant_aucs.values()]),
                **effect,
            }
        )
    rows.sort(key=lambda row: row["held-out AUC"] == "not run")  # stable
    return pd.DataFrame(rows).fillna("–")


_MODES_COMPARED = ("none", "ddl")  # without and with pseudo-anomalies in training


class _Base(NamedTuple):
    """The variant that another is compared with, and whether both score with the same weights."""

    name: str
    same_weights: bool


def _bases(trials: Sequence[Trial], unchanged: str) -> dict[str, _Base]:
    """For each variant the one that lacks its last change; without such a variant the unchanged."""
    unchanged_values = next((t.settings.asdict() for t in trials if t.variant == unchanged), {})
    changes: dict[str, dict] = {}
    for trial in trials:
        values = trial.settings.asdict().items()
        changes[trial.variant] = {
            k: v for k, v in values if k != "seed" and v != unchanged_values.get(k)
        }
    bases = {}
    for variant, changed_values in changes.items():
        candidates = [n for n, part in changes.items() if part.items() < changed_values.items()]
        nearest = max(
            candidates, key=lambda n: (len(changes[n]), variant.startswith(n)), default=unchanged
        )
        last_change = changed_values.keys() - changes.get(nearest, {}).keys()
        bases[variant] = _Base(nearest, last_change == {"patch"})
    return bases


def _effect_row(differences: Sequence[float], spread: Sequence[float]) -> dict[str, str]:
    """``difference_row``; a single difference is compared with AUCs over seeds, ``spread``."""
    row = difference_row(differences)
    if len(differences) == 1 and len(spread) > 2:
        row[BEYOND] = "yes" if abs(differences[0]) > _chance_bound(spread, 1, 1) else "no"
    return row


def seed_spread(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """How much the unchanged variant differs from seed to seed, a sentence.

    A change with one seed has no standard error of its own, so it is compared with a bound: two
    runs that differ only by chance exceed it once in twenty times. The bound uses Student's t for
    the number of seeds.
    """
    values = [*_aucs_by_seed(trials, protocol).get(unchanged, {}).values()]
    if len(values) < 3:
        return f"{unchanged}: {len(values)} of 3 seeds were run; a single run may differ by chance"
    spread, tried_once = float(np.std(values, ddof=1)), len(_tried_once(trials, unchanged))
    return (
        f"{unchanged}: standard deviation {percent(spread)} over {len(values)} seeds; a change "
        f"tried with one seed should exceed {percent(_chance_bound(values, 1, 1))} to be more than "
        f"chance (changes tried so: {tried_once}; to be expected beyond it by chance alone: "
        f"{tried_once / 20:.1f})"
    )


def _tried_once(trials: Sequence[Trial], unchanged: str) -> list[str]:
    """The changes with one recorded seed, except those that change only the score."""
    excluded = {name for name, base in _bases(trials, unchanged).items() if base.same_weights}
    excluded |= {unchanged}
    variants = [t.variant for t in trials if t.variant not in excluded and t.record() is not None]
    return [variant for variant in dict.fromkeys(variants) if variants.count(variant) == 1]


def _chance_bound(values: Sequence[float], *sizes: int) -> float:
    """The largest difference by chance, in 95 cases of 100, of means over ``sizes`` runs each.

    ``values`` are AUCs of runs that differ only in their seed; all runs are taken to vary alike.
    """
    error = np.std(values, ddof=1) * sum(1 / size for size in sizes) ** 0.5
    return float(stats.t.ppf(0.975, len(values) - 1) * error)


def ends_alike(trials: Sequence[Trial], protocol: str, unchanged: str, variant: str) -> str:
    """Whether a variant's held-out AUC lies among the seeds of the unchanged one, a sentence.

    Two means are alike if they differ by at most the standard deviation over the unchanged
    variant's seeds. The sentence also gives the difference that chance explains (95 cases of 100).
    """
    aucs = _aucs_by_seed(trials, protocol)
    base_aucs, variant_aucs = ([*aucs.get(name, {}).values()] for name in (unchanged, variant))
    if len(base_aucs) < 3 or not variant_aucs:
        missing = f"{len(base_aucs)} of 3 seeds of '{unchanged}', {len(variant_aucs)} runs"
        return f"not run: {missing} of '{variant}'"
    difference = float(np.mean(variant_aucs) - np.mean(base_aucs))
    relation = "within" if abs(difference) <= np.std(base_aucs, ddof=1) else "beyond"
    bound = _chance_bound(base_aucs, len(base_aucs), len(variant_aucs))
    return (
        f"held-out AUC {percent(np.mean(variant_aucs))} {variant}, {mean_and_spread(base_aucs)} "
        f"{unchanged}: a difference of {100 * difference:+.2f} points, {relation} the standard "
        f"deviation over seeds; runs so few tell it to {percent(bound)} points either way"
    )


def judged_alike(trials: Sequence[Trial], unchanged: str) -> str:
    """Whether the same frames were altered for all runs, a sentence that names the exceptions.

    The place in a frame may differ slightly, since the detector's boxes depend on the processor.
    """
    records = [(t, record) for t in trials if (record := t.record()) is not None]
    base_labels = next((r.labels for t, r in records if t.variant == unchanged), {})
    others = [t.variant for t, r in records if not _same_labels(r.labels, base_labels)]
    if others:
        return f"judged by other frames: {', '.join(dict.fromkeys(others))}"
    return f"the same frames of the held-out clips were altered for all {len(records)} runs"


def _same_labels(first: Mapping, second: Mapping) -> bool:
    same_clips = first.keys() == second.keys()
    return same_clips and all(np.array_equal(first[name], second[name]) for name in first)


def other_boxes(trials: Sequence[Trial], unchanged: str) -> str:
    """Which runs were trained on other boxes than the unchanged variant's, a sentence.

    An 8-bit detector gives slightly different boxes on another kind of processor, which changes all
    later random draws. Changes of size or detector are left out: there boxes must differ.
    """
    records = [(trial, record) for trial in trials if (record := trial.record())]
    unchanged_runs = {t.settings.seed: (t, r) for t, r in records if t.variant == unchanged}
    run_count, others = 0, []
    for trial, record in records:
        base_trial, base_record = unchanged_runs.get(trial.settings.seed, (None, None))
        if base_trial is None or trial.variant == unchanged:
            continue
        run_count += 1
        same_settings = trial.settings.prepared_folder == base_trial.settings.prepared_folder
        if same_settings and record.facts["data"]["digest"] != base_record.facts["data"]["digest"]:
            others.append(trial.variant)
    if not others:
        return f"boxes: {run_count} runs had those of '{unchanged}', or others by their setting"
    return (
        f"trained where the detector gave slightly other boxes than '{unchanged}' had, which "
        f"is a part of the difference: {', '.join(dict.fromkeys(others))}"
    )


def effect_by_size(trials: Sequence[Trial], protocol: str, unchanged: str) -> pd.DataFrame:
    """What pseudo-anomalies add to the AUC at each working size, paired by seed.

    Pairs are runs whose settings differ only in ``mode``. Each size with such a pair has a row for
    the held-out clips and one for the test clips, where the runs scored them. A difference of one
    seed is compared with the spread over the seeds of the ``unchanged`` variant.
    """
    unchanged_records = [
        r for t in trials if t.variant == unchanged and (r := t.record()) is not None
    ]
    runs: dict[str, dict] = {}
    for trial in trials:
        record, values = trial.record(), trial.settings.asdict()
        mode, size = values.pop("mode"), values["size"]
        if record is not None and mode in _MODES_COMPARED:
            runs.setdefault(repr(values), {"size": size})[mode] = record
    pairs = [pair for pair in runs.values() if set(_MODES_COMPARED) <= pair.keys()]
    rows = []
    for size in sorted({pair["size"] for pair in pairs}):
        for place, auc in (("held out", _held_out_auc), ("test", _test_auc)):
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
            spread = [value for r in unchanged_records if (value := auc(r, protocol)) is not None]
            row |= _effect_row([pair["ddl"] - pair["none"] for pair in auc_pairs], spread)
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
        f"{place} clips, with pseudo-anomalies: ahead at {ahead}, behind at {behind}, not to be "
        f"told apart at {even}"
    )


def most_seeds(trials: Sequence[Trial], unchanged: str) -> str:
    """Which changes were tried with several seeds, a sentence."""
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        if trial.record() is not None:
            seeds.setdefault(trial.variant, set()).add(trial.settings.seed)
    variants = [
        v for v, variant_seeds in seeds.items() if len(variant_seeds) > 1 and v != unchanged
    ]
    if not variants:
        return "no change was tried with more than one seed"
    return f"changes tried with more than one seed: {', '.join(variants)}"


def what_one_seed_told(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """Whether the first seed alone shows the effects that all seeds show, a sentence."""
    aucs = _aucs_by_seed(trials, protocol)
    variants = [name for name, seeds in aucs.items() if name != unchanged and len(seeds) > 1]
    if not variants:
        return "no change has a second seed to check its first by"
    rows = effect_table(trials, protocol, unchanged).set_index("variant")
    first_trials = [t for t in trials if t.settings.seed == trials[0].settings.seed]
    unchanged_trials = [t for t in trials if t.variant == unchanged]
    first_rows = effect_table([*first_trials, *unchanged_trials], protocol, unchanged).set_index(
        "variant"
    )
    by_first = [name for name in variants if first_rows.loc[name, BEYOND] == "yes"]
    confirmed = [name for name in by_first if rows.loc[name, BEYOND] == "yes"]
    by_all_only = [
        name for name in variants if name not in by_first and rows.loc[name, BEYOND] == "yes"
    ]
    return (
        f"of {len(variants)} changes with several seeds the first alone would have told "
        f"{len(by_first)} for an effect ({', '.join(by_first) or 'none'}), of which "
        f"{len(confirmed)} stood with all; told by all seeds alone: "
        f"{', '.join(by_all_only) or 'none'}"
    )


def _aucs_by_seed(trials: Sequence[Trial], protocol: str) -> dict[str, dict[int, float]]:
    """Variant -> seed -> mean held-out AUC, of the recorded runs."""
    aucs: dict[str, dict[int, float]] = {}
    for trial in trials:
        record = trial.record()
        if record is not None:
            variant_aucs = aucs.setdefault(trial.variant, {})
            variant_aucs[trial.settings.seed] = _held_out_auc(record, protocol)
    return aucs
