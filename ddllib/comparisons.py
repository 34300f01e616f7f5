"""Many runs side by side: the paper's tables with ours below, differences by seed, effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.chapter import percent
from ddllib.experiments import Trial
from ddllib.heldout import KINDS, mean_held_out
from ddllib.records import Record
from ddllib.settings import AFTERWARDS, load_profile, recorded

_MODELS = {"unet": "UNet", "c3dsu": "C3DSU"}
_MODES = {"none": "without DDL", "sdl": "SDL", "ddl": "DDL"}


def runs_of(records: list[Record], profile: str, model: str, mode: str) -> list[Record]:
    """The records of one profile, model and mode, one per seed.

    A run with other values than its profile's own is not among them: it is another experiment.
    """
    wanted = {**load_profile(profile).asdict(), "model": model, "mode": mode}
    names = wanted.keys() - (AFTERWARDS - {"labelling"}) - {"seed"}
    return [r for r in records if all(recorded(r.facts["settings"])[n] == wanted[n] for n in names)]


def mean_auc(records: list[Record], protocol: str) -> float | None:
    """Mean micro AUC over records, in [0, 1]; None where there is none."""
    return sum(r.auc(protocol) for r in records) / len(records) if records else None


def comparison_table(paper: Mapping, ours: Mapping[str, Mapping[str, float]]) -> pd.DataFrame:
    """Table 1 of the paper with our rows below it.

    ``ours`` maps a row's name to its AUC by data set, in [0, 1]; what is absent was not run.
    A dash stands where the paper reports nothing.
    """
    datasets = list(dict.fromkeys(name for columns in paper.values() for name in columns))
    rows = [
        {"method": name, **{d: columns.get(d, "–") for d in datasets}, "source": "paper"}
        for name, columns in paper.items()
    ]
    for name, aucs in ours.items():
        cells = {d: percent(aucs.get(d)) for d in datasets}
        rows.append({"method": name, **cells, "source": "this edition"})
    return pd.DataFrame(rows)


def mode_table(
    paper: Mapping, sources: Mapping[str, Callable[[str, str], list[Record]]], protocol: str
) -> pd.DataFrame:
    """Table 2: for each model the paper's AUC by mode, and below it ours.

    ``sources`` maps a row's name to a function of model and mode that gives its records, one per
    seed; mean and standard deviation over seeds are shown, ``not run`` where there is none.
    """
    rows = []
    for model, modes in paper.items():
        named = {"model": _MODELS[model]}
        stated = {_MODES[mode]: f"{value:.2f}" for mode, value in modes.items()}
        rows.append({**named, "source": "paper", **stated})
        for name, find in sources.items():
            cells = {
                _MODES[mode]: mean_and_spread(aucs(find(model, mode), protocol)) for mode in modes
            }
            rows.append({**named, "source": name, **cells})
    return pd.DataFrame(rows)


def aucs(records: Sequence[Record], protocol: str) -> list[float]:
    """The micro AUC of each record, in [0, 1]."""
    return [record.auc(protocol) for record in records]


def mean_and_spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, in percent; ``not run`` where there is none."""
    if not values:
        return "not run"
    if len(values) == 1:
        return f"{percent(values[0])} (1 seed)"
    return f"{percent(np.mean(values))} ± {percent(np.std(values, ddof=1))} ({len(values)} seeds)"


def paired_differences(
    first: Sequence[Record], second: Sequence[Record], protocol: str
) -> list[float]:
    """AUC of ``first`` minus AUC of ``second``, for each seed that both have, in [-1, 1]."""
    other = {r.facts["settings"]["seed"]: r.auc(protocol) for r in second}
    mine = {r.facts["settings"]["seed"]: r.auc(protocol) for r in first}
    return [mine[seed] - other[seed] for seed in sorted(mine.keys() & other.keys())]


def difference_row(differences: Sequence[float]) -> dict[str, str]:
    """Mean of paired differences in points, its standard error, and whether it exceeds two."""
    if len(differences) < 2:
        mean = f"{100 * differences[0]:+.2f}" if differences else "not run"
        return {"mean, points": mean, "standard error": "–", "seeds": str(len(differences)),
                "more than two standard errors": "too few seeds to say"}  # fmt: skip
    mean, error = np.mean(differences), np.std(differences, ddof=1) / len(differences) ** 0.5
    return {
        "mean, points": f"{100 * mean:+.2f}",
        "standard error": f"{100 * error:.2f}",
        "seeds": str(len(differences)),
        "more than two standard errors": "yes" if abs(mean) > 2 * error else "no",
    }


def difference_table(
    find: Callable[[str, str], list[Record]], protocol: str, models=("unet", "c3dsu")
) -> pd.DataFrame:
    """Each way of training against each other, paired by seed, for every model."""
    rows = []
    for model in models:
        for one, other in (("ddl", "none"), ("ddl", "sdl"), ("sdl", "none")):
            found = paired_differences(find(model, one), find(model, other), protocol)
            name = f"{_MODES[one]} against {_MODES[other]}"
            rows.append({"model": _MODELS[model], "": name, **difference_row(found)})
    return pd.DataFrame(rows)


def verdict(find: Callable[[str, str], list[Record]], protocol: str, model: str) -> str:
    """What the paired differences of one model say, a sentence."""

    def against(other: str) -> str:
        found = paired_differences(find(model, "ddl"), find(model, other), protocol)
        beyond = difference_row(found)["more than two standard errors"]
        if beyond == "yes":
            return "is better than" if np.mean(found) > 0 else "is worse than"
        return "does not clearly differ from" if beyond == "no" else "has too few seeds against"

    return (
        f"{_MODELS[model]}: training with pseudo-anomalies at a learnt weight {against('none')} "
        f"training without them, and {against('sdl')} training with them at a fixed weight"
    )


def certainty_table(records: Sequence[Record], protocol: str) -> pd.DataFrame:
    """Each record's AUC under ``protocol`` and raw, with its bounds over clips, AP and EER."""
    rows = []
    for record in records:
        m = record.metrics[protocol]
        bounds = f"{percent(m['low'])} to {percent(m['high'])}" if m.get("low") else "–"
        pixels = record.facts.get("pixels") or {}
        rows.append(
            {
                "record": record.name,
                "AUC": percent(m["auc"]),
                "95 % over clips": bounds,
                "AUC, raw": percent(record.auc("raw")),
                "AP": percent(m.get("ap"), "–"),
                "EER": percent(m.get("eer"), "–"),
                "pixel AUROC": percent(pixels.get("pixel_auroc"), "–"),
                "RBDC": percent(pixels.get("rbdc"), "–"),
                "TBDC": percent(pixels.get("tbdc"), "–"),
            }
        )
    return pd.DataFrame(rows)


def effect_table(trials: Sequence[Trial], protocol: str, unchanged: str) -> pd.DataFrame:
    """What each change does to the held-out AUC, paired by seed with the unchanged variant.

    The AUC is the mean over the kinds of pseudo-anomaly, each counting alike. What was not run is
    at the end.
    """
    found = _held_out(trials, protocol)
    rows = []
    for variant in dict.fromkeys(trial.variant for trial in trials):
        own, base = found.get(variant, {}), found.get(unchanged, {})
        differences = [own[s] - base[s] for s in sorted(own.keys() & base.keys())]
        effect = {} if variant == unchanged or not own else difference_row(differences)
        outcome = mean_and_spread([*own.values()])
        rows.append({"variant": variant, "held-out AUC": outcome, **effect})
    rows.sort(key=lambda row: row["held-out AUC"] == "not run")  # stable
    return pd.DataFrame(rows).fillna("–")


def seed_spread(trials: Sequence[Trial], protocol: str, unchanged: str) -> str:
    """How much the unchanged variant differs from seed to seed, a sentence.

    A change that was tried with one seed has no standard error; this is its yardstick: the
    difference of two runs that differ by chance alone exceeds 2 sqrt(2) standard deviations once
    in twenty times.
    """
    values = [*_held_out(trials, protocol).get(unchanged, {}).values()]
    if len(values) < 3:
        return f"{unchanged}: {len(values)} of 3 seeds were run; a single run may differ by chance"
    spread = float(np.std(values, ddof=1))
    return (
        f"{unchanged}: standard deviation {percent(spread)} over {len(values)} seeds; a change "
        f"tried with one seed should exceed {percent(2 * 2**0.5 * spread)} to be more than chance"
    )


def ends_alike(trials: Sequence[Trial], protocol: str, unchanged: str, variant: str) -> str:
    """Whether a variant's held-out AUC lies among the seeds of the unchanged one, a sentence.

    Alike are means no further apart than two standard errors of their difference, by the spread of
    the unchanged variant's seeds.
    """
    found = _held_out(trials, protocol)
    base, own = ([*found.get(name, {}).values()] for name in (unchanged, variant))
    if len(base) < 3 or not own:
        return f"not run: {len(base)} of 3 seeds of '{unchanged}', {len(own)} runs of '{variant}'"
    far = float(np.mean(own) - np.mean(base))
    bound = 2 * float(np.std(base, ddof=1)) * (1 / len(base) + 1 / len(own)) ** 0.5
    told = "within" if abs(far) <= bound else "beyond"
    return (
        f"held-out AUC {percent(np.mean(own))} {variant}, {mean_and_spread(base)} {unchanged}: a "
        f"difference of {100 * far:+.2f} points, {told} the {percent(bound)} that seeds alone make"
    )


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


def effect_by_size(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """What pseudo-anomalies add to the AUC at each working size, paired by seed.

    Runs are compared whose settings differ in ``mode`` alone; a row for each size that has both.
    The AUC is that of the held-out clips, and beside it that of the test clips, where the runs
    scored them afterwards.
    """
    runs: dict[str, dict] = {}
    for trial in trials:
        record, values = trial.record(), trial.settings.asdict()
        mode, size = values.pop("mode"), values["size"]
        if record is not None and mode in ("none", "ddl"):
            runs.setdefault(repr(values), {"size": size})[mode] = record
    pairs = [pair for pair in runs.values() if {"none", "ddl"} <= pair.keys()]
    rows = []
    for size in sorted({pair["size"] for pair in pairs}):
        at, cells = [pair for pair in pairs if pair["size"] == size], {}
        for place, auc in (("held out", _held_out_auc), ("test clips", _test_auc)):
            both = [{m: auc(pair[m], protocol) for m in ("none", "ddl")} for pair in at]
            both = [pair for pair in both if None not in pair.values()]
            for mode in ("none", "ddl"):
                cells[f"{place}, {_MODES[mode]}"] = mean_and_spread([p[mode] for p in both])
            cells[f"{place}, points"] = difference_row([p["ddl"] - p["none"] for p in both])[
                "mean, points"
            ]
        rows.append({"size": size, **cells})
    return pd.DataFrame(rows)


def _held_out_auc(record: Record, protocol: str) -> float:
    return mean_held_out(record.facts["held_out"][protocol])


def _test_auc(record: Record, protocol: str) -> float | None:
    return record.tests[protocol]["auc"] if record.tests else None


def most_seeds(trials: Sequence[Trial], unchanged: str) -> str:
    """Which changes were tried with several seeds, and what follows for effects; a sentence."""
    seeds: dict[str, set[int]] = {}
    for trial in trials:
        if trial.record() is not None:
            seeds.setdefault(trial.variant, set()).add(trial.settings.seed)
    several = [v for v, tried in seeds.items() if len(tried) > 1 and v != unchanged]
    if not several:
        return "no change was tried with more than one seed: no effect can be claimed"
    return f"changes tried with more than one seed: {', '.join(several)}"


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
            kind: percent(np.mean([r.facts["held_out"][protocol][kind] for r in records]))
            for kind in KINDS
            if records
        }
        rows.append({"variant": variant, **(cells or dict.fromkeys(KINDS, "not run"))})
    rows.sort(key=lambda row: row[KINDS[0]] == "not run")
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
        f"{len(pairs)} runs: rank correlation {order.statistic:.2f} (p = {order.pvalue:.2f}); of "
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


def sigma_table(records: Sequence[Record]) -> pd.DataFrame:
    """The course of the anomaly weight: start, peak and when, end, of each run that learnt it."""
    rows = []
    for record in records:
        sigma = np.array(record.facts["history"]["sigma"], dtype=float)
        peak = int(sigma.argmax())
        rows.append(
            {
                "record": record.name,
                "start": f"{sigma[0]:.3f}",
                "peak": f"{sigma[peak]:.3f}",
                "peak after, % of steps": f"{100 * peak / max(len(sigma) - 1, 1):.0f}",
                "end": f"{sigma[-1]:.3f}",
                "from peak to end": f"{sigma[-1] - sigma[peak]:+.3f}",
            }
        )
    return pd.DataFrame(rows)


def distance_table(records: Sequence[Record]) -> pd.DataFrame:
    """Means of P and Q under the mask over the last tenth of a run's steps (supplement 7.1.1)."""
    rows = []
    for record in records:
        history = record.facts["history"]
        last = max(len(history["p"]) // 10, 1)
        p, q = (float(np.mean(history[name][-last:])) for name in ("p", "q"))
        cells = {"P": f"{p:.4f}", "Q": f"{q:.4f}", "Q / P": f"{q / p:.2f}"}
        rows.append({"record": record.name, **cells})
    return pd.DataFrame(rows)


def scene_table(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """One model for each scene: its AUC in percent and final sigma, and the median over scenes.

    The median is that of the scenes that were run; the paper reports it for ShanghaiTech.
    """
    rows, found = [], []
    for trial in trials:
        record, row = trial.record(), {"scene": trial.settings.scene}
        if record is None:
            rows.append({**row, "AUC": "not run", "sigma": "not run"})
            continue
        sigma = record.facts["history"]["sigma"][-1]
        auc = record.auc(protocol) if record.metrics else None
        found += [(auc, sigma)] if auc is not None else []
        cells = {"AUC": percent(auc, "no AUC"), "sigma": "–" if sigma is None else f"{sigma:.3f}"}
        rows.append({**row, **cells})
    middle = {"AUC": "not run", "sigma": "not run"}
    if found:
        middle["AUC"] = percent(float(np.median([auc for auc, _ in found])))
        sigmas = [sigma for _, sigma in found if sigma is not None]
        middle["sigma"] = f"{np.median(sigmas):.3f}" if sigmas else "–"
    return pd.DataFrame([*rows, {"scene": f"median of {len(found)}", **middle}])


def scene_median(trials: Sequence[Trial], protocol: str) -> float | None:
    """The median AUC over scenes, in [0, 1]; None unless every scene was run."""
    records = [trial.record() for trial in trials]
    if not records or any(record is None or not record.metrics for record in records):
        return None
    return float(np.median(aucs(records, protocol)))
