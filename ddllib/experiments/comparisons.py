"""Comparisons of runs: the paper's tables with our rows, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.experiments.grid import Trial
from ddllib.experiments.spread import LEVEL
from ddllib.figures.chapter import Cited, percent
from ddllib.figures.dot_plots import Dots
from ddllib.records import Record
from ddllib.settings import Settings

MODELS = {"unet": "UNet", "c3dsu": "C3DSU"}
BEYOND = "more than chance"
MODES = {"none": "without DDL", "sdl": "SDL", "ddl": "DDL"}


def described(settings: Settings) -> str:
    """The size of a model and of its frames in a few words, as rows of tables are named."""
    return f"width {settings.latent_dim}, {settings.size} x {settings.size}"


def mean_auc(records: list[Record], protocol: str) -> float | None:
    """Mean micro AUC over records, in [0, 1]; None where there is none."""
    return sum(r.auc(protocol) for r in records) / len(records) if records else None


def comparison_table(paper: Mapping, ours: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Table 1 of the paper with our rows below it.

    ``ours`` maps a row's name to its AUC by data set, as shown; what is absent was not run. A dash
    stands where the paper reports nothing.
    """
    datasets = list(dict.fromkeys(name for columns in paper.values() for name in columns))
    rows = [
        {"method": name, **{d: columns.get(d, "–") for d in datasets}, "source": "paper"}
        for name, columns in paper.items()
    ]
    for name, aucs in ours.items():
        cells = {d: aucs.get(d, "not run") for d in datasets}
        rows.append({"method": name, **cells, "source": "this edition"})
    return pd.DataFrame(rows)


def mode_table(
    paper: Mapping,
    sources: Mapping[str, Callable[[str, str], list[Record]]],
    protocols: Sequence[str],
    mean: Callable[[Sequence[Record], str], Cited] | None = None,
) -> pd.DataFrame:
    """Table 2: for each model the paper's AUC by mode, and below it ours.

    ``sources`` maps a row's name to a function of model and mode that gives its records, one per
    seed; each has a row for each protocol, or one where nothing was run. Mean and standard
    deviation over seeds are shown, ``not run`` where there is none (``cited_mean``, or ``mean``).
    """
    rows, mean = [], mean or cited_mean
    for model, modes in paper.items():
        model_cell = {"model": MODELS[model]}
        paper_cells = {MODES[mode]: f"{value:.2f}" for mode, value in modes.items()}
        rows.append({**model_cell, "source": "paper", **paper_cells})
        for name, find in sources.items():
            has_runs = any(find(model, mode) for mode in modes)
            for protocol in protocols if has_runs else protocols[:1]:
                cells = {MODES[mode]: mean(find(model, mode), protocol) for mode in modes}
                rows.append({**model_cell, "source": f"{name}; {protocol}", **cells})
    return pd.DataFrame(rows)


def mode_dots(
    paper: Mapping, find: Callable[[str, str], list[Record]], protocol: str, note: str = ""
) -> list[Dots]:
    """Table 2 as rows of ``dot_plots.seed_dots``: a row for each model and mode that was run.

    ``note`` is added to the rows' names.
    """
    return [
        Dots(f"{MODELS[model]} {MODES[mode]}{note}", [100 * v for v in values], figure)
        for model, modes in paper.items()
        for mode, figure in modes.items()
        if (values := aucs(find(model, mode), protocol))
    ]


def made_by(records: Sequence[Record], trials: Sequence[Trial]) -> list[Record]:
    """The records that are runs of an experiment, in the experiment's order."""
    return [r for trial in trials for r in records if r.made_by(trial.settings)]


def finder(
    records: Sequence[Record], trials: Sequence[Trial], **wanted
) -> Callable[[str, str], list[Record]]:
    """A function of model and mode that gives those records of an experiment, one per seed.

    ``wanted`` narrows it to trials of these settings, such as ``preset="paper"``.
    """

    def find(model: str, mode: str) -> list[Record]:
        values = {**wanted, "model": model, "mode": mode}
        matching = [t for t in trials if values.items() <= t.settings.asdict().items()]
        return made_by(records, matching)

    return find


def cited_mean(records: Sequence[Record], protocol: str) -> Cited:
    """Mean micro AUC with its spread over seeds, in percent, linked to the records."""
    return Cited(mean_and_spread(aucs(records, protocol)), *records)


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
    second_aucs = {r.facts["settings"]["seed"]: r.auc(protocol) for r in second}
    first_aucs = {r.facts["settings"]["seed"]: r.auc(protocol) for r in first}
    return [
        first_aucs[seed] - second_aucs[seed]
        for seed in sorted(first_aucs.keys() & second_aucs.keys())
    ]


def against(experiments: Mapping[str, Sequence[Record]], protocol: str) -> str:
    """How much the second of two experiments exceeds the first in micro AUC, a sentence."""
    (first_name, before), (second_name, after) = experiments.items()
    names = f"{second_name} against {first_name}"
    differences = paired_differences(after, before, protocol)
    if len(differences) < 2:
        return f"{names}: {len(differences)} of the seeds in common, too few to compare"
    row = difference_row(differences)
    return (
        f"{names}: {row['mean, points']} points over {row['seeds']} seeds, with a standard error "
        f"of {row['standard error']}. This is {'' if row[BEYOND] == 'yes' else 'not '}{BEYOND}"
    )


def difference_row(differences: Sequence[float], level: float = LEVEL) -> dict[str, str]:
    """Mean of paired differences in points, its standard error, and whether chance explains it.

    A two-sided t-test at ``level``; at 5 % and with three seeds the mean must exceed 4.3 standard
    errors.
    """
    if len(differences) < 2:
        mean = f"{100 * differences[0]:+.2f}" if differences else "not run"
        return {"mean, points": mean, "standard error": "–", "seeds": str(len(differences)),
                BEYOND: "too few seeds to say"}  # fmt: skip
    mean, error = np.mean(differences), np.std(differences, ddof=1) / len(differences) ** 0.5
    return {
        "mean, points": f"{100 * mean:+.2f}",
        "standard error": f"{100 * error:.2f}",
        "seeds": str(len(differences)),
        BEYOND: "yes"
        if abs(mean) > stats.t.ppf(1 - level / 2, len(differences) - 1) * error
        else "no",
    }


def interval(differences: Sequence[float]) -> tuple[float, float, float] | None:
    """Mean, low and high of paired differences, by Student's t at 95 %; None below two."""
    if len(differences) < 2:
        return None
    mean, error = np.mean(differences), np.std(differences, ddof=1) / len(differences) ** 0.5
    reach = stats.t.ppf(0.975, len(differences) - 1) * error
    return float(mean), float(mean - reach), float(mean + reach)


def difference_table(
    find: Callable[[str, str], list[Record]], protocol: str, models=("unet", "c3dsu")
) -> pd.DataFrame:
    """Differences between the modes of training, paired by seed, for every model."""
    rows = []
    for model in models:
        for mode, other_mode in (("ddl", "none"), ("ddl", "sdl"), ("sdl", "none")):
            differences = paired_differences(find(model, mode), find(model, other_mode), protocol)
            name = f"{MODES[mode]} against {MODES[other_mode]}"
            rows.append({"model": MODELS[model], "": name, **difference_row(differences)})
    return pd.DataFrame(rows)


def verdict(find: Callable[[str, str], list[Record]], protocol: str, model: str) -> str:
    """What the paired differences of one model say, a sentence."""

    def comparison(mode: str) -> str:
        differences = paired_differences(find(model, "ddl"), find(model, mode), protocol)
        is_beyond = difference_row(differences)[BEYOND]
        if is_beyond == "yes":
            return "is better than" if np.mean(differences) > 0 else "is worse than"
        return "does not clearly differ from" if is_beyond == "no" else "has too few seeds against"

    return (
        f"{MODELS[model]}: training with pseudo-anomalies at a learnt weight {comparison('none')} "
        f"training without them, and {comparison('sdl')} training with them at a fixed weight"
    )


def unlike_pairs(find: Callable[[str, str], list[Record]], models=("unet", "c3dsu")) -> str:
    """Which pairs of runs that are subtracted had different boxes or code: a sentence.

    Boxes differ where the detector ran on another kind of processor; code is compared by commit.
    """
    boxes, code, pairs = [], [], 0
    for model in models:
        for mode, other_mode in (("ddl", "none"), ("ddl", "sdl"), ("sdl", "none")):
            other_records = {r.facts["settings"]["seed"]: r for r in find(model, other_mode)}
            for record in find(model, mode):
                seed = record.facts["settings"]["seed"]
                if seed not in other_records:
                    continue
                pairs += 1
                name = f"{MODELS[model]} {MODES[mode]} and {MODES[other_mode]}, seed {seed}"
                if record.facts["data"]["digest"] != other_records[seed].facts["data"]["digest"]:
                    boxes.append(name)
                code += [name] * (_commit(record) != _commit(other_records[seed]))
    text = f"the two runs had slightly other boxes in {len(boxes)} of {pairs} pairs: "
    text += "; ".join(boxes)
    text = text if boxes else f"the two runs had the same boxes in all {pairs} pairs"
    return f"{text}. They were made by different commits of this project in {len(code)} pairs"


def _commit(record: Record) -> str | None:
    return record.facts.get("environment", {}).get("commit")


def protocol_effects(groups: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """The effect of each step after scoring on the micro AUC, paired within each record.

    ``groups`` maps a row's first cell to its records; see ``evaluation.PROTOCOLS``.
    """
    steps = {
        "median filter": ("raw", "median"),
        "its edges padded with nought": ("median", "median-zero-edges"),
        "min-max of each clip, after it": ("median", "median+min-max"),
    }
    rows = []
    for name, records in groups.items():
        for step, (before, after) in steps.items():
            differences = [record.auc(after) - record.auc(before) for record in records]
            rows.append({"runs": name, "what is done": step, **difference_row(differences)})
    return pd.DataFrame(rows)


def certainty_table(records: Sequence[Record], protocol: str) -> pd.DataFrame:
    """Each record's AUC under ``protocol`` and raw, with their bounds over clips, AP and EER."""
    rows = []
    for record in records:
        m, raw = record.metrics[protocol], record.metrics["raw"]
        pixels = record.facts.get("pixels") or {}
        rows.append(
            {
                "record": Cited(record.name, record),
                "AUC": percent(m["auc"]),
                "95 % over clips": _bounds(m),
                "AUC, raw": percent(raw["auc"]),
                "raw, 95 %": _bounds(raw),
                "AP": percent(m.get("ap"), "–"),
                "EER": percent(m.get("eer"), "–"),
                "pixel AUROC": percent(pixels.get("pixel_auroc"), "–"),
                "RBDC": percent(pixels.get("rbdc"), "–"),
                "TBDC": percent(pixels.get("tbdc"), "–"),
            }
        )
    return pd.DataFrame(rows)


def _bounds(metrics: Mapping) -> str:
    return f"{percent(metrics['low'])} to {percent(metrics['high'])}" if metrics.get("low") else "–"


def scene_table(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """One model for each scene: its AUC in percent and final sigma, and the median over scenes.

    The median is that of the scenes that were run; the paper reports it for ShanghaiTech. Empty
    where none was.
    """
    rows, results = [], []
    for trial in trials:
        record, row = trial.record(), {"scene": trial.settings.scene}
        if record is None:
            rows.append({**row, "AUC": "not run", "sigma": "not run"})
            continue
        sigma = record.facts["history"]["sigma"][-1]
        auc = record.auc(protocol) if record.metrics else None
        results += [(auc, sigma)] if auc is not None else []
        cells = {"AUC": percent(auc, "no AUC"), "sigma": "–" if sigma is None else f"{sigma:.3f}"}
        rows.append({**row, **cells})
    if all(row["AUC"] == "not run" for row in rows):
        return pd.DataFrame()
    medians = {"AUC": "not run", "sigma": "not run"}
    if results:
        medians["AUC"] = percent(float(np.median([auc for auc, _ in results])))
        sigmas = [sigma for _, sigma in results if sigma is not None]
        medians["sigma"] = f"{np.median(sigmas):.3f}" if sigmas else "–"
    return pd.DataFrame([*rows, {"scene": f"median of {len(results)}", **medians}])


def scene_median(trials: Sequence[Trial], protocol: str) -> float | None:
    """The median AUC over scenes, in [0, 1]; None unless every scene was run."""
    records = [trial.record() for trial in trials]
    if not records or any(record is None or not record.metrics for record in records):
        return None
    return float(np.median(aucs(records, protocol)))
