"""Many runs side by side: the paper's tables with ours below, differences by seed, effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from ddllib.chapter import Cited, percent
from ddllib.experiments import Trial
from ddllib.records import Record
from ddllib.settings import Settings

_MODELS = {"unet": "UNet", "c3dsu": "C3DSU"}
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
) -> pd.DataFrame:
    """Table 2: for each model the paper's AUC by mode, and below it ours.

    ``sources`` maps a row's name to a function of model and mode that gives its records, one per
    seed; each has a row for each protocol, or one where nothing was run. Mean and standard
    deviation over seeds are shown, ``not run`` where there is none.
    """
    rows = []
    for model, modes in paper.items():
        named = {"model": _MODELS[model]}
        stated = {MODES[mode]: f"{value:.2f}" for mode, value in modes.items()}
        rows.append({**named, "source": "paper", **stated})
        for name, find in sources.items():
            ran = any(find(model, mode) for mode in modes)
            for protocol in protocols if ran else protocols[:1]:
                cells = {MODES[mode]: cited_mean(find(model, mode), protocol) for mode in modes}
                rows.append({**named, "source": f"{name}; {protocol}", **cells})
    return pd.DataFrame(rows)


def made_by(records: Sequence[Record], trials: Sequence[Trial]) -> list[Record]:
    """Those of the records that are an experiment's runs, in its order."""
    return [r for trial in trials for r in records if r.made_by(trial.settings)]


def finder(
    records: Sequence[Record], trials: Sequence[Trial], **wanted
) -> Callable[[str, str], list[Record]]:
    """A function of model and mode that gives those records of an experiment, one per seed.

    ``wanted`` narrows it to trials of these settings, such as ``preset="paper"``.
    """

    def find(model: str, mode: str) -> list[Record]:
        values = {**wanted, "model": model, "mode": mode}
        chosen = [t for t in trials if values.items() <= t.settings.asdict().items()]
        return made_by(records, chosen)

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
    other = {r.facts["settings"]["seed"]: r.auc(protocol) for r in second}
    mine = {r.facts["settings"]["seed"]: r.auc(protocol) for r in first}
    return [mine[seed] - other[seed] for seed in sorted(mine.keys() & other.keys())]


def against(experiments: Mapping[str, Sequence[Record]], protocol: str) -> str:
    """What the second of two experiments adds to the micro AUC of the first, a sentence."""
    (one, before), (other, after) = experiments.items()
    found = paired_differences(after, before, protocol)
    if len(found) < 2:
        return f"{other} against {one}: {len(found)} of the seeds in common, too few to compare"
    row = difference_row(found)
    return (
        f"{other} against {one}: {row['mean, points']} points over {row['seeds']} seeds, standard "
        f"error {row['standard error']}; {BEYOND}: {row[BEYOND]}"
    )


def difference_row(differences: Sequence[float]) -> dict[str, str]:
    """Mean of paired differences in points, its standard error, and whether chance explains it.

    By Student's t, which asks the more of the mean the fewer seeds there are (4.3 standard errors
    of three): chance alone exceeds it once in twenty times.
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
        BEYOND: "yes" if abs(mean) > stats.t.ppf(0.975, len(differences) - 1) * error else "no",
    }


def difference_table(
    find: Callable[[str, str], list[Record]], protocol: str, models=("unet", "c3dsu")
) -> pd.DataFrame:
    """Each way of training against each other, paired by seed, for every model."""
    rows = []
    for model in models:
        for one, other in (("ddl", "none"), ("ddl", "sdl"), ("sdl", "none")):
            found = paired_differences(find(model, one), find(model, other), protocol)
            name = f"{MODES[one]} against {MODES[other]}"
            rows.append({"model": _MODELS[model], "": name, **difference_row(found)})
    return pd.DataFrame(rows)


def verdict(find: Callable[[str, str], list[Record]], protocol: str, model: str) -> str:
    """What the paired differences of one model say, a sentence."""

    def compared(other: str) -> str:
        found = paired_differences(find(model, "ddl"), find(model, other), protocol)
        beyond = difference_row(found)[BEYOND]
        if beyond == "yes":
            return "is better than" if np.mean(found) > 0 else "is worse than"
        return "does not clearly differ from" if beyond == "no" else "has too few seeds against"

    return (
        f"{_MODELS[model]}: training with pseudo-anomalies at a learnt weight {compared('none')} "
        f"training without them, and {compared('sdl')} training with them at a fixed weight"
    )


def unlike_pairs(find: Callable[[str, str], list[Record]], models=("unet", "c3dsu")) -> str:
    """Which of a difference's pairs had other boxes or came of other code, a sentence or two.

    Boxes differ where the detector ran on another kind of processor; code by its commit.
    """
    boxes, code, pairs = [], [], 0
    for model in models:
        for one, other in (("ddl", "none"), ("ddl", "sdl"), ("sdl", "none")):
            second = {r.facts["settings"]["seed"]: r for r in find(model, other)}
            for record in find(model, one):
                seed = record.facts["settings"]["seed"]
                if seed not in second:
                    continue
                pairs += 1
                name = f"{_MODELS[model]} {MODES[one]} and {MODES[other]}, seed {seed}"
                if record.facts["data"]["digest"] != second[seed].facts["data"]["digest"]:
                    boxes.append(name)
                code += [name] * (_commit(record) != _commit(second[seed]))
    told = f"slightly other boxes in {len(boxes)} of {pairs} pairs ({'; '.join(boxes)})"
    told = told if boxes else f"the same boxes in all {pairs} pairs"
    return f"{told}; other commits of this project in {len(code)} of them"


def _commit(record: Record) -> str | None:
    return record.facts.get("environment", {}).get("commit")


def protocol_effects(groups: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """What each step after scoring does to the micro AUC: paired within each record.

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
            found = [record.auc(after) - record.auc(before) for record in records]
            rows.append({"runs": name, "what is done": step, **difference_row(found)})
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


def sigma_table(records: Sequence[Record]) -> pd.DataFrame:
    """The course of the anomaly weight: start, peak and when, end, of each run that learnt it."""
    rows = []
    for record in records:
        sigma = np.array(record.facts["history"]["sigma"], dtype=float)
        peak = int(sigma.argmax())
        rows.append(
            {
                "record": Cited(record.name, record),
                "start": f"{sigma[0]:.3f}",
                "peak": f"{sigma[peak]:.3f}",
                "peak after, % of steps": f"{100 * peak / max(len(sigma) - 1, 1):.0f}",
                "end": f"{sigma[-1]:.3f}",
                "from peak to end": f"{sigma[-1] - sigma[peak]:+.3f}",
            }
        )
    return pd.DataFrame(rows)


_LEAST = 0.01  # a change of sigma that counts


def sigma_verdict(records: Sequence[Record]) -> str:
    """Whether sigma takes the course that the paper describes, a sentence for each model's runs.

    That is: it rises early (highest in the first half of the steps), then declines until it settles
    (moves by less than 0.01 in the last tenth).
    """
    told = []
    for model in dict.fromkeys(r.facts["settings"]["model"] for r in records):
        curves = [
            np.array(r.facts["history"]["sigma"], dtype=float)
            for r in records
            if r.facts["settings"]["model"] == model
        ]
        as_told = sum(map(_as_described, curves))
        rising = sum(curve[-1] > curve.max() - _LEAST for curve in curves)
        told.append(
            f"{_MODELS[model]}: {as_told} of {len(curves)} runs rise early, then decline and "
            f"settle, as the paper describes; {rising} of {len(curves)} end within {_LEAST} of "
            "their peak"
        )
    return "; ".join(told) or "not run"


def _as_described(sigma: np.ndarray) -> bool:
    peak, last = int(sigma.argmax()), sigma[-max(len(sigma) // 10, 1) :]
    early = peak <= len(sigma) / 2 and sigma[peak] > sigma[0] + _LEAST
    return early and sigma[-1] < sigma[peak] - _LEAST and np.ptp(last) < _LEAST


def distance_verdict(records: Sequence[Record]) -> str:
    """Whether Q exceeds P at the end of training (supplement 7.1.1), a sentence."""
    ratios = [_late_mean(record, "q") / _late_mean(record, "p") for record in records]
    if not ratios:
        return "not run"
    return (
        f"Q exceeds P in {sum(ratio > 1 for ratio in ratios)} of {len(ratios)} runs, "
        f"{min(ratios):.1f} to {max(ratios):.1f} times"
    )


def _late_mean(record: Record, name: str) -> float:
    """The mean of a curve over the last tenth of the steps."""
    curve = record.facts["history"][name]
    return float(np.mean(curve[-max(len(curve) // 10, 1) :]))


def distance_table(records: Sequence[Record]) -> pd.DataFrame:
    """Means of P and Q under the mask over the last tenth of a run's steps (supplement 7.1.1)."""
    rows = []
    for record in records:
        p, q = (_late_mean(record, name) for name in ("p", "q"))
        cells = {"P": f"{p:.4f}", "Q": f"{q:.4f}", "Q / P": f"{q / p:.2f}"}
        rows.append({"record": Cited(record.name, record), **cells})
    return pd.DataFrame(rows)


def scene_table(trials: Sequence[Trial], protocol: str) -> pd.DataFrame:
    """One model for each scene: its AUC in percent and final sigma, and the median over scenes.

    The median is that of the scenes that were run; the paper reports it for ShanghaiTech. Empty
    where none was.
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
    if all(row["AUC"] == "not run" for row in rows):
        return pd.DataFrame()
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
