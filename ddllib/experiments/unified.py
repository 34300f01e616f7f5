"""The unified score of STPA from records of its models, trained apart or together (equation 6)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from ddllib.errors import DDLError
from ddllib.evaluation import Evaluation, evaluate_lntra
from ddllib.experiments.baselines import baseline_name, baseline_settings
from ddllib.experiments.comparisons import (
    BEYOND,
    cited_mean,
    difference_row,
    made_by,
    mean_and_spread,
    paired_differences,
)
from ddllib.experiments.grid import Trial
from ddllib.figures.chapter import Cited, percent
from ddllib.pseudo_anomalies.held_out import EASIER, KINDS, PAIRED
from ddllib.records import Record
from ddllib.score_terms.terms import Terms
from ddllib.settings import Settings, recorded

STEP = 0.1  # between the weights that the oracle tries
WITHOUT = {"A_s": "A_s without", "A_t": "A_t without"}  # variants that saw normal windows only
CLAIMS = (  # of the paper, or implied by it: the first is better than the second
    ("A_s with silhouettes", "A_s without"),
    ("A_s with silhouettes", "A_s with random masks"),
    ("A_t with rectangles", "A_t without"),
    ("A_t with silhouettes", "A_t with rectangles"),
)


def term_curves(records: Sequence[Record]) -> dict[str, dict[str, np.ndarray]]:
    """The raw curve of each term by clip, of records of the same clips.

    A record with one term has its curve as its scores. Raises ``DDLError`` for a term that two
    records have, and for records of other clips.
    """
    terms: dict[str, dict[str, np.ndarray]] = {}
    for record in records:
        if record.scores.keys() != records[0].scores.keys():
            raise DDLError(f"{record.name}: has other clips than {records[0].name}; give the same")
        for name in Terms(record.facts["settings"].get("score", "distance")):
            if name in terms:
                raise DDLError(f"{record.name}: the term {name!r} is in another record, too")
            terms[name] = {
                clip: record.terms.get(f"{name}/{clip}", scores)
                for clip, scores in record.scores.items()
            }
    return terms


def unified(records: Sequence[Record], weights: Mapping[str, float] | None = None) -> Evaluation:
    """The protocol ``lntra`` on the sum of the records' terms; equal weights by default."""
    terms = term_curves(records)
    return evaluate_lntra(terms, weights or dict.fromkeys(terms, 1.0), records[0].labels)


def indicator_aucs(records: Sequence[Record]) -> dict[str, float]:
    """The micro AUC in [0, 1] of each term of the records alone, under ``lntra``."""
    return {term: unified(records, {term: 1.0}).auc for term in term_curves(records)}


def plain_settings(settings: Settings) -> dict[str, Settings]:
    """What learns nothing, by name: for the psnr of frames, and for the score of these settings."""
    frames = replace(settings, indicators="appearance", score="psnr")
    return {**baseline_settings(frames), **baseline_settings(settings)}


def oracle(records: Sequence[Record]) -> tuple[dict[str, float], Evaluation]:
    """The weights with the highest AUC on the test labels themselves, and that evaluation.

    It is no result: it bounds what any choice of weights could reach.
    """
    terms = term_curves(records)
    choices = weights_tried(terms)
    results = [evaluate_lntra(terms, weights, records[0].labels) for weights in choices]
    best = max(range(len(choices)), key=lambda k: results[k].auc)
    return choices[best], results[best]


def weights_tried(terms: Sequence[str]) -> list[dict[str, float]]:
    """All weights of some terms that sum to 1, in steps of ``STEP``."""
    count = round(1 / STEP)
    splits = itertools.product(range(count + 1), repeat=len(terms))
    shares = [[part / count for part in split] for split in splits if sum(split) == count]
    return [dict(zip(terms, parts, strict=True)) for parts in shares]


def chosen_weights(records: Sequence[Record]) -> dict[str, float]:
    """The weights that tell altered from normal frames best, by the held-out clips of some runs.

    They have the highest AUC under ``lntra``, as a mean over runs and kinds of pseudo-anomaly.
    Kinds that an error can hardly see (``EASIER``) are left out, and no test clip is looked at. Of
    equal ones the most even is taken. Raises ``DDLError`` for a record of another judge.
    """
    for record in records:
        if record.judge != PAIRED:
            raise DDLError(f"{record.name}: has no held-out clips; give a run with held_out set")
    curves = [term_curves([record]) for record in records]

    def quality(weights: Mapping[str, float]) -> tuple[float, float]:
        aucs = [
            evaluate_lntra(terms, weights, _labels_of(record, kind)).auc
            for terms, record in zip(curves, records, strict=True)
            for kind in KINDS
            if kind not in EASIER
        ]
        return round(float(np.mean(aucs)), 9), -max(weights.values())

    return max(weights_tried(list(curves[0])), key=quality)


def _labels_of(record: Record, kind: str) -> dict[str, np.ndarray]:
    """The labels of the held-out clips with alterations of this kind."""
    return {name: labels for name, labels in record.labels.items() if name.split("/")[0] == kind}


def by_variant(records: Sequence[Record], trials: Sequence[Trial]) -> dict[str, list[Record]]:
    """The records of each variant of an experiment, one per seed; empty where it was not run."""
    return {
        name: made_by(records, [trial for trial in trials if trial.variant == name])
        for name in dict.fromkeys(trial.variant for trial in trials)
    }


def variant_table(
    groups: Mapping[str, Sequence[Record]],
    protocols: Sequence[str],
    paper: Mapping[str, float],
    base_of: Callable[[str], str] = lambda name: WITHOUT[name[:3]],
) -> pd.DataFrame:
    """Each autoencoder alone: its AUC by protocol, and what its pseudo-anomalies add.

    ``groups`` are records by variant, ``paper`` the paper's AUC of some of them. Differences are
    paired by seed, under the first protocol, to the variant without that ``base_of`` names.
    """
    rows = []
    for name, records in groups.items():
        base, is_base = groups[base_of(name)], name == base_of(name)
        added = difference_row(paired_differences(records, base, protocols[0]))
        rows.append(
            {
                "trained": name,
                "paper": percent(paper[name] / 100) if name in paper else None,
                **{protocol: cited_mean(records, protocol) for protocol in protocols},
                "gained by pseudo-anomalies": None if is_base else added["mean, points"],
                BEYOND: None if is_base else added[BEYOND],
            }
        )
    return pd.DataFrame(rows)


def pilot_rows(groups: Mapping[str, Sequence[Record]], protocols: Sequence[str]) -> pd.DataFrame:
    """Both autoencoders trained together: the AUC of each group by protocol."""
    return pd.DataFrame(
        {"trained": name, **{protocol: cited_mean(records, protocol) for protocol in protocols}}
        for name, records in groups.items()
    )


def transferred(groups: Mapping[str, Sequence[Record]], to: str) -> dict[str, dict[str, Cited]]:
    """Rows of the table of transfer: variants that score another data set, ``to``, under lntra."""
    return {
        f"{name} (stand-in)": {to: cited_mean(records, "lntra")}
        for name, records in groups.items()
        if name.endswith(f" to {to}")
    }


def plain_rows(records: Sequence[Record], like: Settings, protocols: Sequence[str]) -> pd.DataFrame:
    """The recorded baselines as further rows of ``variant_table``.

    They are those whose test clips were scored on the data and at the frame size of ``like``.
    """
    rows = []
    for name, record in plain_records(records, like).items():
        aucs = {"lntra": unified([record]).auc}
        aucs |= {p: record.auc(p) for p in protocols if p in record.metrics}
        cells = {p: Cited(percent(aucs[p]), record) for p in protocols}
        rows.append({"trained": f"nothing: {name}", **cells})
    return pd.DataFrame(rows)


def plain_records(records: Sequence[Record], like: Settings) -> dict[str, Record]:
    """Recorded baselines on the data and at the frame size of ``like``, by name and score."""
    known, alike = {}, {"data": like.data, "size": like.size, "seed": 0, "held_out": 0}
    for record in records:
        name, settings = baseline_name(record), recorded(record.facts["settings"])
        if name and alike.items() <= settings.items():
            known[f"{name}, by {settings['score']}"] = record
    return known


def beside_nothing(
    groups: Mapping[str, Sequence[Record]], records: Sequence[Record], like: Settings
) -> str:
    """How many trained variants are above the best of what learns nothing, under ``lntra``.

    A sentence; no test says whether those above it are so by chance.
    """
    plain = {name: unified([r]).auc for name, r in plain_records(records, like).items()}
    trained = {
        name: float(np.mean([r.auc("lntra") for r in runs]))
        for name, runs in groups.items()
        if runs
    }
    if not plain or not trained:
        return "trained models beside what learns nothing: not run"
    best = max(plain, key=plain.__getitem__)
    above = [name for name, auc in trained.items() if auc > plain[best]]
    those = f": {'; '.join(above)}" if above else ""
    return (
        f"the best of what learns nothing is {best}, with an AUC of {percent(plain[best])} under "
        f"lntra. Of {len(trained)} trained variants {len(above) or 'none'} "
        f"{'is' if len(above) == 1 else 'are'} above it{those}"
    )


def pairs_by_seed(frames: Sequence[Record], flow: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Records of A_s and of A_t with the same seed."""
    flow_records = {record.facts["settings"]["seed"]: record for record in flow}
    return [
        (record, flow_records[record.facts["settings"]["seed"]])
        for record in frames
        if record.facts["settings"]["seed"] in flow_records
    ]


def combined(
    frames: Sequence[Record],
    flow: Sequence[Record],
    weights: Mapping[str, float] | None = None,
) -> Cited:
    """The unified score of two groups of records, mean and spread over seeds.

    Its weights are equal by default.
    """
    pairs = pairs_by_seed(frames, flow)
    aucs = [unified(pair, weights).auc for pair in pairs]
    return Cited(mean_and_spread(aucs), *(record for pair in pairs for record in pair))


def combined_table(
    groups: Mapping[str, Sequence[Record]], chosen: Mapping[str, float] | None = None
) -> pd.DataFrame:
    """The unified score of every variant of A_s with every one of A_t, and the oracle's.

    ``chosen`` are the weights of ``chosen_weights``, None where that run is missing.
    """
    rows = []
    for frames, flow in pairs_of_variants(groups):
        best = [oracle(pair)[1].auc for pair in pairs_by_seed(groups[frames], groups[flow])]
        rows.append(
            {
                "frames": frames,
                "flow": flow,
                "equal weights": combined(groups[frames], groups[flow]),
                "chosen weights": combined(groups[frames], groups[flow], chosen)
                if chosen
                else "not run",
                "oracle": mean_and_spread(best),
            }
        )
    return pd.DataFrame(rows)


def pairs_of_variants(groups: Iterable[str]) -> list[tuple[str, str]]:
    """Every variant of A_s with every one of A_t, by their names."""
    frames, flow = ([n for n in groups if n.startswith(kind)] for kind in WITHOUT)
    return list(itertools.product(frames, flow))


def reach(groups: Mapping[str, Sequence[Record]], promised: float) -> str:
    """How far any weights could bring the recorded models, beside ``promised``, an AUC in percent.

    A sentence: the highest of the oracle's means over seeds, and the term that weighs most in it.
    """
    bests = {}
    for frames, flow in pairs_of_variants(groups):
        results = [oracle(pair) for pair in pairs_by_seed(groups[frames], groups[flow])]
        if results:
            weights = pd.DataFrame([chosen for chosen, _ in results]).mean()
            bests[frames, flow] = float(np.mean([best.auc for _, best in results])), weights
    if not bests:
        return "how far any weights could bring the unified score is not known, as no pair was run"
    (frames, flow), (auc, weights) = max(bests.items(), key=lambda item: item[1][0])
    return (
        f"even with weights chosen on the test labels, the best pair ({frames}; {flow}) has an AUC "
        f"of {percent(auc)}, at a weight of {weights.max():.1f} for {weights.idxmax()}. The paper "
        f"reports {promised:.2f} for its unified score"
    )


def findings(groups: Mapping[str, Sequence[Record]], protocol: str = "lntra") -> list[str]:
    """What the recorded runs say of each of ``CLAIMS``, a sentence each."""
    words = {
        "yes": {True: "is better than", False: "is worse than"},
        "no": "does not clearly differ from",
    }
    sentences = []
    for first, second in CLAIMS:
        differences = paired_differences(groups[first], groups[second], protocol)
        beyond = difference_row(differences)[BEYOND]
        verdict = words.get(beyond, "was run with too few seeds to be compared with")
        if isinstance(verdict, dict):
            verdict = verdict[bool(np.mean(differences) > 0)]
        sentences.append(f"{first} {verdict} {second}")
    return sentences
