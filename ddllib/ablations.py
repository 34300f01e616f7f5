"""What matters: changes of the method compared on held-out clips, and how that foretells tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.chapter import percent
from ddllib.comparisons import BEYOND, MODES, difference_row, mean_and_spread
from ddllib.experiments import Trial
from ddllib.heldout import KINDS, mean_held_out
from ddllib.records import Record


def effect_table(trials: Sequence[Trial], protocol: str, unchanged: str) -> pd.DataFrame:
    """What each change does to the held-out AUC, paired by seed with the variant without it.

    The AUC is the mean over the kinds of pseudo-anomaly, each counting alike. A change of one seed
    is held to how far seeds alone are apart (``seed_spread``), unless both have the same weights.
    What was not run is at the end.
    """
    found, bases = _held_out(trials, protocol), _bases(trials, unchanged)
    spread, rows = [*found.get(unchanged, {}).values()], []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        own, base = found.get(variant, {}), found.get(bases[variant].name, {})
        differences = [own[s] - base[s] for s in sorted(own.keys() & base.keys())]
        measure = [] if bases[variant].same_weights else spread
        effect = {"against": bases[variant].name, **_held_to_seeds(differences, measure)}
        if variant == unchanged or not own:
            effect = {}
        rows.append(
            {"variant": variant, "held-out AUC": mean_and_spread([*own.values()]), **effect}
        )
    rows.sort(key=lambda row: row["held-out AUC"] == "not run")  # stable
    return pd.DataFrame(rows).fillna("–")


_PAIR = ("none", "ddl")  # without and with what is learnt from pseudo-anomalies


class _Base(NamedTuple):
    """The variant that another is compared with, and whether both score with the same weights."""

    name: str
    same_weights: bool


def _bases(trials: Sequence[Trial], unchanged: str) -> dict[str, _Base]:
    """For each variant the one that lacks its last change: of two changes, the first alone.

    Where there is none, it is the unchanged one.
    """
    usual = next((t.settings.asdict() for t in trials if t.variant == unchanged), {})
    changes: dict[str, dict] = {}
    for trial in trials:
        values = trial.settings.asdict().items()
        changes[trial.variant] = {k: v for k, v in values if k != "seed" and v != usual.get(k)}
    found = {}
    for variant, own in changes.items():
        parts = [n for n, other in changes.items() if other.items() < own.items()]
        nearest = max(
            parts, key=lambda n: (len(changes[n]), variant.startswith(n)), default=unchanged
        )
        left = own.keys() - changes.get(nearest, {}).keys()
        found[variant] = _Base(nearest, left == {"patch"})
    return found


def _held_to_seeds(differences: Sequence[float], spread: Sequence[float]) -> dict[str, str]:
    """``difference_row``; one difference is held to runs that differ in their seed, ``spread``."""
    row = difference_row(differences)
    if len(differences) == 1 and len(spread) > 2:
        row[BEYOND] = "yes" if abs(differences[0]) > _bound(spread, 1, 1) else "no"
    return row


def seed_spread(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """How much the unchanged variant differs from seed to seed, a sentence.

    A change that was tried with one seed has no standard error of its own; this is its yardstick:
    two runs that differ by chance alone are further apart than the bound once in twenty times. It
    is Student's t for as few seeds as there are.
    """
    values = [*_held_out(trials, protocol).get(unchanged, {}).values()]
    if len(values) < 3:
        return f"{unchanged}: {len(values)} of 3 seeds were run; a single run may differ by chance"
    spread, single = float(np.std(values, ddof=1)), len(_tried_once(trials, unchanged))
    return (
        f"{unchanged}: standard deviation {percent(spread)} over {len(values)} seeds; a change "
        f"tried with one seed should exceed {percent(_bound(values, 1, 1))} to be more than chance "
        f"(changes tried so: {single}; to be expected beyond it by chance alone: {single / 20:.1f})"
    )


def _tried_once(trials: Sequence[Trial], unchanged: str) -> list[str]:
    """The changes of which one seed is recorded, but for those of the score alone."""
    scored = {name for name, base in _bases(trials, unchanged).items() if base.same_weights}
    scored |= {unchanged}
    tried = [t.variant for t in trials if t.variant not in scored and t.record() is not None]
    return [variant for variant in dict.fromkeys(tried) if tried.count(variant) == 1]


def _bound(values: Sequence[float], *sizes: int) -> float:
    """How far means of so many runs are apart by chance, at most in 95 cases of 100.

    ``values`` are runs that differ in their seed alone; their spread is that of all.
    """
    error = np.std(values, ddof=1) * sum(1 / size for size in sizes) ** 0.5
    return float(stats.t.ppf(0.975, len(values) - 1) * error)


def ends_alike(trials: Sequence[Trial], protocol: str, unchanged: str, variant: str) -> str:
    """Whether a variant's held-out AUC lies among the seeds of the unchanged one, a sentence.

    Alike are means no further apart than the standard deviation over the unchanged variant's
    seeds. Beside the difference stands how well so few runs tell it (95 cases of 100).
    """
    found = _held_out(trials, protocol)
    base, own = ([*found.get(name, {}).values()] for name in (unchanged, variant))
    if len(base) < 3 or not own:
        return f"not run: {len(base)} of 3 seeds of '{unchanged}', {len(own)} runs of '{variant}'"
    far, spread = float(np.mean(own) - np.mean(base)), float(np.std(base, ddof=1))
    told = "within" if abs(far) <= spread else "beyond"
    known = _bound(base, len(base), len(own))
    return (
        f"held-out AUC {percent(np.mean(own))} {variant}, {mean_and_spread(base)} {unchanged}: a "
        f"difference of {100 * far:+.2f} points, {told} the standard deviation over seeds; runs so "
        f"few tell it to {percent(known)} points either way"
    )


def judged_alike(trials: Sequence[Trial], unchanged: str) -> str:
    """Whether the same frames were altered for all runs, a sentence that names the others.

    Where in a frame may differ a little between kinds of processor, as the detector's boxes do.
    """
    records = [(t, record) for t in trials if (record := t.record()) is not None]
    base = next((r.labels for t, r in records if t.variant == unchanged), {})
    others = [t.variant for t, r in records if not _same_labels(r.labels, base)]
    if others:
        return f"judged by other frames: {', '.join(dict.fromkeys(others))}"
    return f"the same frames of the held-out clips were altered for all {len(records)} runs"


def _same_labels(one: Mapping, other: Mapping) -> bool:
    same = one.keys() == other.keys()
    return same and all(np.array_equal(one[name], other[name]) for name in one)


def other_boxes(trials: Sequence[Trial], unchanged: str) -> str:
    """Which runs were trained on other boxes than the unchanged variant's, a sentence.

    A detector in 8 bit gives slightly other boxes on another kind of processor, and training draws
    other numbers from then on. Changes of size or detector are left out: there boxes must differ.
    """
    records = [(trial, record) for trial in trials if (record := trial.record())]
    own = {t.settings.seed: (t, r) for t, r in records if t.variant == unchanged}
    compared, others = 0, []
    for trial, record in records:
        base, its = own.get(trial.settings.seed, (None, None))
        if base is None or trial.variant == unchanged:
            continue
        compared += 1
        alike = trial.settings.prepared_folder == base.settings.prepared_folder
        if alike and record.facts["data"]["digest"] != its.facts["data"]["digest"]:
            others.append(trial.variant)
    if not others:
        return f"boxes: {compared} runs had those of '{unchanged}', or others by their setting"
    return (
        f"trained where the detector gave slightly other boxes than '{unchanged}' had, which "
        f"is a part of the difference: {', '.join(dict.fromkeys(others))}"
    )


def effect_by_size(trials: Sequence[Trial], protocol: str, unchanged: str) -> pd.DataFrame:
    """What pseudo-anomalies add to the AUC at each working size, paired by seed.

    Runs are compared whose settings differ in ``mode`` alone; for each size that has both a row for
    the held-out clips, and one for the test clips, where the runs scored them afterwards. A
    difference of one seed is held to how far the seeds of the ``unchanged`` variant are apart
    there.
    """
    usual = [r for t in trials if t.variant == unchanged and (r := t.record()) is not None]
    runs: dict[str, dict] = {}
    for trial in trials:
        record, values = trial.record(), trial.settings.asdict()
        mode, size = values.pop("mode"), values["size"]
        if record is not None and mode in _PAIR:
            runs.setdefault(repr(values), {"size": size})[mode] = record
    pairs = [pair for pair in runs.values() if set(_PAIR) <= pair.keys()]
    rows = []
    for size in sorted({pair["size"] for pair in pairs}):
        for place, auc in (("held out", _held_out_auc), ("test", _test_auc)):
            both = [
                {m: auc(pair[m], protocol) for m in _PAIR} for pair in pairs if pair["size"] == size
            ]
            both = [pair for pair in both if None not in pair.values()]
            row = {"size": size, "clips": place}
            row |= {MODES[m]: mean_and_spread([pair[m] for pair in both]) for m in _PAIR}
            spread = [value for r in usual if (value := auc(r, protocol)) is not None]
            row |= _held_to_seeds([pair["ddl"] - pair["none"] for pair in both], spread)
            rows.append(row)
    return pd.DataFrame(rows)


def where_it_helps(sizes: pd.DataFrame, place: str) -> str:
    """At which sizes pseudo-anomalies change the AUC of ``place`` by more than chance, a sentence.

    ``sizes`` is what ``effect_by_size`` gives; ``place`` is "held out" or "test".
    """
    told: dict[str, list[str]] = {"ahead": [], "behind": [], "even": []}
    for row in sizes[sizes["clips"] == place].to_dict("records"):
        if row["mean, points"] != "not run":
            points = float(row["mean, points"])
            kind = "even" if row[BEYOND] != "yes" else "ahead" if points > 0 else "behind"
            told[kind].append(f"{row['size']} ({points:+.2f})")
    ahead, behind, even = (", ".join(sizes) or "no size" for sizes in told.values())
    return (
        f"{place} clips, with pseudo-anomalies: ahead at {ahead}, behind at {behind}, not to be "
        f"told apart at {even}"
    )


def most_seeds(trials: Sequence[Trial], unchanged: str) -> str:
    """Which changes were tried with several seeds, and what follows for effects; a sentence."""
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        if trial.record() is not None:
            seeds.setdefault(trial.variant, set()).add(trial.settings.seed)
    several = [v for v, tried in seeds.items() if len(tried) > 1 and v != unchanged]
    if not several:
        return "no change was tried with more than one seed"
    return f"changes tried with more than one seed: {', '.join(several)}"


def what_one_seed_told(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """How far the first seed of the changes that have several told what all tell, a sentence."""
    runs = _held_out(trials, protocol)
    several = [name for name, seeds in runs.items() if name != unchanged and len(seeds) > 1]
    if not several:
        return "no change has a second seed to check its first by"
    rows = effect_table(trials, protocol, unchanged).set_index("variant")
    first = [t for t in trials if t.settings.seed == trials[0].settings.seed]
    spread = [t for t in trials if t.variant == unchanged]
    alone = effect_table([*first, *spread], protocol, unchanged).set_index("variant")
    looked = [name for name in several if alone.loc[name, BEYOND] == "yes"]
    stood = [name for name in looked if rows.loc[name, BEYOND] == "yes"]
    found = [name for name in several if name not in looked and rows.loc[name, BEYOND] == "yes"]
    return (
        f"of {len(several)} changes with several seeds the first alone would have told "
        f"{len(looked)} for an effect ({', '.join(looked) or 'none'}), of which {len(stood)} stood "
        f"with all; told by all seeds alone: {', '.join(found) or 'none'}"
    )


def below_chance(trials: Sequence[Trial], protocol: str) -> str:
    """Which kinds of pseudo-anomaly most variants miss, a sentence."""
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
    found: dict[str, dict[int, Record]] = {without: {}, variant: {}}
    for trial in trials:
        if trial.variant in found and (record := trial.record()) is not None:
            found[trial.variant][trial.settings.seed] = record
    seeds = sorted(found[without].keys() & found[variant].keys())
    rows = []
    for kind in KINDS:
        pairs = [
            [found[name][seed].facts["held_out"][protocol][kind] for name in (without, variant)]
            for seed in seeds
        ]
        before, after = zip(*pairs, strict=True) if pairs else ((), ())
        effect = difference_row([b - a for a, b in pairs])
        cells = {without: mean_and_spread(before), variant: mean_and_spread(after)}
        rows.append({"kind": kind, **cells, "points": effect["mean, points"]})
    return pd.DataFrame(rows)


def foretold(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """Held-out AUC beside the AUC on test clips, both in [0, 1], of every run that has both.

    Columns ``variant``, ``seed``, ``held_out`` and ``tests``; a row for each run.
    """
    columns, rows = ["variant", "seed", "held_out", "tests"], []
    for trial in trials:
        record = trial.record()
        if record is not None and record.tests:
            own, there = _held_out_auc(record, protocol), _test_auc(record, protocol)
            rows.append((trial.variant, trial.settings.seed, own, there))
    return pd.DataFrame(rows, columns=columns)


def foretelling(pairs: pd.DataFrame) -> str:
    """How well the held-out AUC orders runs as their test AUC does, in a sentence."""
    if len(pairs) < 3:
        return f"not run: {len(pairs)} of these runs were scored on test clips, too few to say more"
    order = stats.spearmanr(pairs["held_out"], pairs["tests"])
    best = pairs.loc[pairs["held_out"].idxmax()]
    return (
        f"{len(pairs)} runs: rank correlation {order.statistic:.2f} (p = {order.pvalue:.2g}); of "
        f"these the best by held-out clips, {best['variant']}, has {percent(best['tests'])} on "
        f"test clips, of which the best has {percent(pairs['tests'].max())}"
    )


def _held_out(trials: Sequence[Trial], protocol: str) -> dict[str, dict[int, float]]:
    """Variant -> seed -> mean held-out AUC, of what was run."""
    found: dict[str, dict[int, float]] = {}
    for trial in trials:
        record = trial.record()
        if record is not None:
            own = found.setdefault(trial.variant, {})
            own[trial.settings.seed] = _held_out_auc(record, protocol)
    return found


def _held_out_auc(record: Record, protocol: str) -> float:
    return mean_held_out(record.facts["held_out"][protocol])


def _test_auc(record: Record, protocol: str) -> float | None:
    return record.tests[protocol]["auc"] if record.tests else None
