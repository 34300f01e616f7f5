"""Ablations: what changes of the method do to the AUC on held-out and on test clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ddllib.experiments.comparisons import (
    BEYOND,
    difference_row,
    interval,
    mean_and_spread,
)
from ddllib.experiments.foretelling import auc_of_held_out, recorded_by_one_judge
from ddllib.experiments.grid import Trial
from ddllib.experiments.spread import LEVEL, Spread, pooled
from ddllib.figures.chapter import percent
from ddllib.figures.dot_plots import Effect


def effect_table(
    trials: Sequence[Trial],
    protocol: str,
    unchanged: str,
    spread: Spread | None = None,
    level: float = LEVEL,
) -> pd.DataFrame:
    """The effect of each change on the held-out AUC, paired by seed with the variant without it.

    The AUC is the unweighted mean over the kinds of pseudo-anomaly. A change with one seed is
    compared with the ``spread`` over seeds, by default that of these trials (``spread_of``), unless
    both share the same weights. Chance alone passes ``level``, a share of all changes, as an
    effect. Variants that were not run come last.
    """
    aucs, bases = _aucs_by_seed(trials, protocol), bases_of(trials, unchanged)
    spread, rows = spread or spread_of(trials, protocol, unchanged), []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        variant_aucs, base_aucs = aucs.get(variant, {}), aucs.get(bases[variant].name, {})
        differences = [
            variant_aucs[s] - base_aucs[s] for s in sorted(variant_aucs.keys() & base_aucs.keys())
        ]
        reference = None if bases[variant].same_weights else spread
        effect = {"against": bases[variant].name, **effect_row(differences, reference, level)}
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


def effects(trials: Sequence[Trial], protocol: str, unchanged: str) -> list[Effect]:
    """The differences of ``effect_table`` in points, a row of ``dot_plots.forest`` for each change.

    The interval is that of the change's own seeds; a change with one seed has none.
    """
    aucs, bases, rows = _aucs_by_seed(trials, protocol), bases_of(trials, unchanged), []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        own, base = aucs.get(variant, {}), aucs.get(bases[variant].name, {})
        differences = [own[seed] - base[seed] for seed in sorted(own.keys() & base.keys())]
        if variant == unchanged or not differences:
            continue
        bounds = interval(differences)
        mean, low, high = bounds or (differences[0], None, None)
        reach = (100 * low, 100 * high) if bounds else (None, None)
        rows.append(Effect(variant, 100 * mean, *reach, len(differences)))
    return rows


def what_matters(effects: Sequence[Effect]) -> list[str]:
    """Three sentences: what is certain, what loses most, and what gains most.

    A gain or loss of one seed is named only where it is among the three largest.
    """
    if not effects:
        return ["Which change matters: not run."]
    repeated = [effect for effect in effects if effect.low is not None]
    certain = [effect for effect in repeated if effect.low > 0 or effect.high < 0]
    order = sorted(effects, key=lambda effect: effect.mean)
    losses = [_named(effect) for effect in order[:3] if effect.mean < 0]
    gains = [_named(effect) for effect in order[:-4:-1] if effect.mean > 0]
    return [
        f"Of {len(effects)} changes {len(repeated)} were tried with several seeds. More than "
        f"chance is the effect of: {', '.join(map(_named, certain)) or 'none of them'}.",
        f"The largest losses, in points of AUC: {', '.join(losses) or 'none'}.",
        f"The largest gains: {', '.join(gains) or 'none'}.",
    ]


def _named(effect: Effect) -> str:
    seeds = "one seed" if effect.seeds == 1 else f"{effect.seeds} seeds"
    return f"{effect.name} ({effect.mean:+.2f}, {seeds})"


class Base(NamedTuple):
    """The variant that another is compared with, and whether both score with the same weights."""

    name: str
    same_weights: bool


def bases_of(trials: Sequence[Trial], unchanged: str) -> dict[str, Base]:
    """What each variant is compared with: that without its last change, else the unchanged one."""
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
        bases[variant] = Base(nearest, last_change == {"patch"})
    return bases


def effect_row(
    differences: Sequence[float], spread: Spread | None, level: float = LEVEL
) -> dict[str, str]:
    """``difference_row``; a single difference is compared with the spread over seeds."""
    row = difference_row(differences, level)
    if len(differences) == 1 and spread:
        is_beyond = abs(differences[0]) > spread.bound(1, 1, level=level)
        row[BEYOND] = "yes" if is_beyond else "no"
    return row


def spread_of(trials: Sequence[Trial], protocol: str, unchanged: str) -> Spread | None:
    """The spread over seeds of the held-out AUC, pooled over variants with several seeds.

    Variants that score the weights of another by other patches say nothing more and are left out.
    """
    bases = bases_of(trials, unchanged)
    aucs = _aucs_by_seed(trials, protocol)
    return pooled(
        [*by_seed.values()]
        for variant, by_seed in aucs.items()
        if variant == unchanged or not bases[variant].same_weights
    )


def seed_spread(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """How much runs differ from seed to seed, a sentence.

    A change with one seed has no standard error of its own, so it is compared with a bound: two
    runs that differ only by chance exceed it once in twenty times. The bound uses Student's t for
    the degrees of freedom of the pooled spread.
    """
    values = [*_aucs_by_seed(trials, protocol).get(unchanged, {}).values()]
    spread = spread_of(trials, protocol, unchanged)
    if spread is None:
        return f"{unchanged}: {len(values)} of 3 seeds were run; a single run may differ by chance"
    alone = percent(np.std(values, ddof=1)) if len(values) > 1 else ""
    return (
        f"a change that was tried with one seed must exceed {percent(spread.bound(1, 1))} points "
        "to be more than chance. The standard deviation over seeds, pooled over all variants with "
        f"several, is {percent(spread.deviation)} ({spread.degrees} degrees of freedom)"
        + (f"; that of '{unchanged}' alone is {alone}" if alone else "")
    )


def multiplicity(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """How many effects are to be expected by chance alone among so many changes, a sentence."""

    def beyond(level: float) -> list[str]:
        rows = effect_table(trials, protocol, unchanged, level=level)
        return [*rows.loc[rows.get(BEYOND, "") == "yes", "variant"]]

    rows = effect_table(trials, protocol, unchanged)
    compared = int(rows[BEYOND].isin(["yes", "no"]).sum()) if BEYOND in rows else 0
    if not compared:
        return "no change can be told from chance yet: too few seeds"
    strict = beyond(LEVEL / compared)
    return (
        f"{len(beyond(LEVEL))} of {compared} changes count as effects; chance alone would give "
        f"{LEVEL * compared:.1f}. By a bound for all changes together (Bonferroni), "
        f"{len(strict)} {'counts' if len(strict) == 1 else 'count'}: {', '.join(strict) or 'none'}"
    )


def ends_alike(trials: Sequence[Trial], protocol: str, unchanged: str, variant: str) -> str:
    """Whether a variant's held-out AUC lies among the seeds of the unchanged one, a sentence.

    Two means are alike if they differ by at most the standard deviation over seeds. The sentence
    also gives the difference that chance explains (95 cases of 100).
    """
    aucs = _aucs_by_seed(trials, protocol)
    base_aucs, variant_aucs = ([*aucs.get(name, {}).values()] for name in (unchanged, variant))
    if len(base_aucs) < 3 or not variant_aucs:
        missing = f"{len(base_aucs)} of 3 seeds of '{unchanged}', {len(variant_aucs)} runs"
        return f"not run: {missing} of '{variant}'"
    difference = float(np.mean(variant_aucs) - np.mean(base_aucs))
    spread = spread_of(trials, protocol, unchanged)
    relation = "within" if abs(difference) <= spread.deviation else "beyond"
    bound = spread.bound(len(base_aucs), len(variant_aucs))
    return (
        f"the held-out AUC is {percent(np.mean(variant_aucs))} {variant} and "
        f"{mean_and_spread(base_aucs)} {unchanged}. The difference of {100 * difference:+.2f} "
        f"points is {relation} the standard deviation over seeds. With so few runs, chance alone "
        f"can make a difference of {percent(bound)} points"
    )


def judged_alike(trials: Sequence[Trial], unchanged: str) -> str:
    """Whether the same frames were altered for all runs, a sentence that names the exceptions.

    The place in a frame may differ slightly, since the detector's boxes depend on the processor.
    """
    records = [(t, record) for t in trials if (record := t.record()) is not None]
    base_labels = next((r.labels for t, r in records if t.variant == unchanged), {})
    others = [t.variant for t, r in records if not _same_labels(r.labels, base_labels)]
    if others:
        return f"in these runs other frames were altered: {', '.join(dict.fromkeys(others))}"
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
        return f"all {run_count} runs had the boxes of '{unchanged}', or others by their setting"
    return (
        f"some runs had slightly other boxes than '{unchanged}', from another kind of processor. "
        f"A part of their difference may come from that: {', '.join(dict.fromkeys(others))}"
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


def one_seed_sentence(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """Whether the first seed alone shows the effects that all seeds show, a sentence."""
    aucs = _aucs_by_seed(trials, protocol)
    variants = [name for name, seeds in aucs.items() if name != unchanged and len(seeds) > 1]
    if not variants:
        return "no change has a second seed to check its first by"
    rows = effect_table(trials, protocol, unchanged).set_index("variant")
    first_trials = [t for t in trials if t.settings.seed == trials[0].settings.seed]
    unchanged_trials = [t for t in trials if t.variant == unchanged]
    spread = spread_of(trials, protocol, unchanged)
    first_rows = effect_table([*first_trials, *unchanged_trials], protocol, unchanged, spread)
    first_rows = first_rows.set_index("variant")
    by_first = [name for name in variants if first_rows.loc[name, BEYOND] == "yes"]
    confirmed = [name for name in by_first if rows.loc[name, BEYOND] == "yes"]
    by_all_only = [
        name for name in variants if name not in by_first and rows.loc[name, BEYOND] == "yes"
    ]
    first = f"{len(by_first) or 'none'} of {len(variants)} changes with several seeds"
    told = f"by the first seed alone, {first} would count as an effect"
    if by_first:
        told += f" ({', '.join(by_first)}). With all seeds, {len(confirmed)} of them still did"
    return f"{told}. Only all seeds together showed: {', '.join(by_all_only) or 'no other'}"


def _aucs_by_seed(trials: Sequence[Trial], protocol: str) -> dict[str, dict[int, float]]:
    """Variant -> seed -> mean held-out AUC, of the recorded runs."""
    aucs: dict[str, dict[int, float]] = {}
    for trial, record in recorded_by_one_judge(trials):
        variant_aucs = aucs.setdefault(trial.variant, {})
        variant_aucs[trial.settings.seed] = auc_of_held_out(record, protocol)
    return aucs
