"""The papers' claims, what the recorded runs say of each, and whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from ddllib.experiments import baselines, own_score, sigma_findings, unified
from ddllib.experiments.by_kind import kind_differences
from ddllib.experiments.comparisons import (
    MODELS,
    aucs,
    cited_mean,
    described,
    finder,
    interval,
    made_by,
    paired_differences,
)
from ddllib.experiments.findings import HOLDS, NO, NOT_RUN, OPEN, PARTLY, Finding, points
from ddllib.experiments.foretelling import of_judge
from ddllib.experiments.grid import Trial, read_experiment
from ddllib.figures.chapter import Cited
from ddllib.pseudo_anomalies.held_out import SINGLE
from ddllib.records import Record

OWN_SIZES = ("headline", "headline-256")  # experiments with a narrower model than the paper's
TABLE2 = "table2"  # the experiment of the three ways of training
_CLOSE = 0.15  # of sigma: nearer to 0.5, or to 1, than this is close
_NOISE = "noise"  # kinds of pseudo-anomaly that are like those of training begin so

Find = Callable[[str, str], list[Record]]  # of model and mode


def verdict_of(differences: Sequence[float], promised: float = 0) -> str:
    """Whether a gain holds: ``holds``, ``no`` or ``open``.

    It holds where the interval lies above 0. It does not where the interval lies below
    the gain that the paper reports, ``promised`` in [-1, 1]. Else, and with fewer than two seeds,
    it is open.
    """
    bounds = interval(differences)
    if bounds is None:
        return OPEN
    _, low, high = bounds
    if low > 0:
        return HOLDS
    return NO if high < promised else OPEN


def combined(verdicts: Iterable[str]) -> str:
    """One verdict for several parts of a claim: partly where only some of them hold."""
    verdicts = list(verdicts)
    if HOLDS in verdicts:
        return HOLDS if set(verdicts) == {HOLDS} else PARTLY
    return NO if NO in verdicts else OPEN


def counted(true: int, total: int) -> str:
    """The verdict where ``true`` of ``total`` runs show what is claimed."""
    if not total:
        return OPEN
    return HOLDS if true == total else PARTLY if true else NO


def figure_reached(
    promised: float, groups: Mapping[str, Sequence[Record]], protocol: str
) -> Finding:
    """Whether the paper's AUC, in percent, is reached by the runs of some setting.

    ``groups`` are records by a setting's name. It holds where the mean of a setting reaches it,
    partly where only single runs do.
    """
    groups = {name: records for name, records in groups.items() if records}
    values = {name: [100 * v for v in aucs(r, protocol)] for name, r in groups.items()}
    verdict = OPEN if not groups else NO
    if any(max(group) >= promised for group in values.values()):
        verdict = PARTLY
    if any(np.mean(group) >= promised for group in values.values()):
        verdict = HOLDS
    cells = [f"{cited_mean(records, protocol)} at {name}" for name, records in groups.items()]
    cited = [record for records in groups.values() for record in records]
    claim = "AUC of C3DSU with DDL on Ped2, in %"
    return Finding(claim, f"{promised:.2f}", Cited("; ".join(cells) or NOT_RUN, *cited), verdict)


def gain(claim: str, find: Find, better: str, worse: str, paper: Mapping, protocol: str) -> Finding:
    """Whether one way of training beats another, in pairs of the same seed.

    ``better`` and ``worse`` are modes, ``paper`` is the paper's AUC in percent by model and mode.
    """
    parts, promises, records = {}, [], []
    for model, modes in paper.items():
        runs, others = find(model, better), find(model, worse)
        differences = paired_differences(runs, others, protocol)
        promised = (modes[better] - modes[worse]) / 100
        parts[MODELS[model]] = verdict_of(differences, promised), points(differences)
        promises.append(f"{MODELS[model]} {100 * promised:+.2f}")
        records += [*runs, *others]
    text = "; ".join(f"{model} {figure}" for model, (_, figure) in parts.items())
    outcome = Cited(text if records else NOT_RUN, *records)
    verdict = combined(verdict for verdict, _ in parts.values())
    return Finding(claim, "; ".join(promises), outcome, verdict, parts)


def sigma_course(records: Sequence[Record]) -> Finding:
    """Whether sigma rises early, declines and settles (figure 5), in runs that learnt it."""
    counts = sigma_findings.counts_as_described(records)
    cells = [f"{MODELS[m]}: {true} of {total} runs" for m, (true, total) in counts.items()]
    totals = [sum(column) for column in zip(*counts.values(), strict=True)] or [0, 0]
    outcome = Cited("; ".join(cells) or NOT_RUN, *records)
    claim = "sigma rises early, falls and settles"
    return Finding(claim, "in its figure 5", outcome, counted(*totals))


def distances(records: Sequence[Record]) -> Finding:
    """Whether Q exceeds P at the end of training (supplement 7.1.1)."""
    ratios = sigma_findings.distance_ratios(records)
    true, text = sum(ratio > 1 for ratio in ratios), NOT_RUN
    if ratios:
        text = f"{true} of {len(ratios)} runs, {min(ratios):.1f} to {max(ratios):.1f} times"
    claim = "after training Q exceeds P clearly"
    return Finding(claim, "in its supplement", Cited(text, *records), counted(true, len(ratios)))


def other_anomalies(trials: Sequence[Trial], protocol: str, without: str, variant: str) -> Finding:
    """Whether training against noise helps against held-out anomalies that are no noise (7.2)."""
    by_kind = kind_differences(trials, protocol, without, variant)
    parts = {
        kind: (verdict_of(differences), points(differences))
        for kind, differences in by_kind.items()
        if not kind.startswith(_NOISE)
    }
    cells = []
    for verdict, word in ((HOLDS, "better against"), (NO, "worse against"), (OPEN, "open:")):
        figures = [f"{kind} {figure}" for kind, (v, figure) in parts.items() if v == verdict]
        cells += [f"{word} {', '.join(figures)}"] if figures else []
    text = "; ".join(cells) if any(by_kind.values()) else NOT_RUN
    claim = "training against noise helps against other anomalies, points on held-out clips"
    verdict = combined(verdict for verdict, _ in parts.values())
    return Finding(claim, "in its supplement", text, verdict, parts)


def more_than_nothing_learnt(
    groups: Mapping[str, Sequence[Record]], unlearnt: Sequence[Record], protocol: str
) -> Finding:
    """Whether trained settings are beyond the neighbour mean, which learns nothing.

    Chance is that of drawing whole clips. A setting that is not beyond it is open, not refuted.
    """
    differences = [baselines.over_neighbours(runs, unlearnt, protocol) for runs in groups.values()]
    differences = [difference for difference in differences if difference is not None]
    beyond = sum(difference.is_beyond for difference in differences)
    above = sum(difference.mean > 0 for difference in differences)
    verdict = counted(beyond, len(differences)) if beyond else OPEN
    count = len(differences)
    text = f"{above} of {count} settings are above it, {beyond or 'none'} by more than chance"
    claim = "a trained model is better than the mean of two neighbour frames, which learns nothing"
    return Finding(claim, "not compared", text if differences else NOT_RUN, verdict)


def of_stpa(records: Sequence[Record], protocol: str = "lntra") -> list[Finding]:
    """STPA's claims: which of two ways of training is better, by the paper's protocol."""
    groups = unified.by_variant(records, read_experiment("stpa"))
    findings = []
    for first, second in unified.CLAIMS:
        differences = paired_differences(groups[first], groups[second], protocol)
        cited = [*groups[first], *groups[second]] if differences else []
        outcome = Cited(points(differences), *cited)
        claim = f"STPA: {first} better than {second}"
        findings.append(Finding(claim, "in its tables", outcome, verdict_of(differences)))
    return findings


class DDLRuns:
    """The recorded runs on Ped2 that the verdicts on DDL follow from, and those verdicts.

    ``paper`` are the tables of ``book/paper.yaml``.
    """

    def __init__(self, records: Sequence[Record], paper: Mapping, protocol: str = "median"):
        self.scored = [r for r in records if r.metrics]  # on any footage, by any score
        real = [r for r in self.scored if r.facts["settings"]["data"] == "ped2"]
        real = [r for r in real if baselines.has_plain_score(r)]
        self.trained = [r for r in real if r.is_trained and r.method == "ddl"]
        self.unlearnt = [r for r in real if not r.is_trained]
        self.paper, self.protocol = paper, protocol
        self.table2 = finder(self.trained, read_experiment(TABLE2))

    def own_sizes(self) -> dict[str, list[Record]]:
        """The runs that stand beside the paper's figure: at its size, and narrower ones."""
        full = read_experiment("paper-size")
        released = finder(self.trained, full, preset="released")("c3dsu", "ddl")
        groups = {described(full[0].settings): released}
        for name in OWN_SIZES:
            trials = read_experiment(name)
            groups[described(trials[0].settings)] = made_by(self.trained, trials)
        return groups

    def by_mode(self, *modes: str) -> list[Record]:
        """The trained runs of some modes."""
        return [r for r in self.trained if r.facts["settings"]["mode"] in modes]

    def figure(self) -> Finding:
        """Whether the AUC of the paper's first table is reached."""
        return figure_reached(
            self.paper["table1"]["C3DSU with DDL"]["Ped2"], self.own_sizes(), self.protocol
        )

    def pseudo_anomalies(self) -> Finding:
        """What training with pseudo-anomalies adds (table 2)."""
        claim = "pseudo-anomalies help: points above training without them"
        return gain(claim, self.table2, "ddl", "none", self.paper["table2"], self.protocol)

    def learnt_weight(self) -> Finding:
        """What learning the weight adds (table 2)."""
        claim = "learning sigma beats fixing it: points above sigma = 0.5"
        return gain(claim, self.table2, "ddl", "sdl", self.paper["table2"], self.protocol)

    @cached_property
    def nothing_learnt(self) -> Finding:
        """What trained models with pseudo-anomalies have beyond the neighbour mean."""
        groups = baselines.grouped(self.by_mode("sdl", "ddl"))
        return more_than_nothing_learnt(groups, self.unlearnt, self.protocol)

    def findings(self) -> list[Finding]:
        """Every claim of DDL."""
        trials = of_judge(read_experiment("what-matters"), SINGLE)
        return [
            self.figure(),
            self.pseudo_anomalies(),
            self.learnt_weight(),
            sigma_course(self.by_mode("ddl")),
            distances(self.by_mode("sdl", "ddl")),
            other_anomalies(trials, self.protocol, "no pseudo-anomalies", "as it is"),
            self.nothing_learnt,
        ]

    def sentences(self) -> list[str]:
        """What came out, in six points, the likely reason among them."""
        figure = self.figure()
        words = {HOLDS: "is reached", PARTLY: "is reached by single runs", NO: "is not reached"}
        words[OPEN] = "has not been tried"
        return [
            f"The paper's AUC of {figure.paper} on UCSD Ped2 {words[figure.verdict]} here: "
            f"{figure.outcome}.",
            _by_model("With pseudo-anomalies", self.pseudo_anomalies()),
            _by_model("With a learnt weight instead of a fixed one", self.learnt_weight()),
            likely_reason({model: self.table2(model, "ddl") for model in MODELS}),
            self._of_nothing_learnt(),
            own_score.sentence(self.scored, self.protocol),
        ]

    def _of_nothing_learnt(self) -> str:
        sizes = {record.facts["settings"]["size"] for record in self.unlearnt}
        rows = baselines.rows_of_neighbours(self.unlearnt, sorted(sizes)[-1:], [self.protocol])
        finding = self.nothing_learnt
        if not rows or finding.outcome == NOT_RUN:
            return f"What learns nothing: {NOT_RUN}."
        (auc,) = rows.values()
        return (
            f"The mean of the two neighbour frames, which learns nothing, has {auc} at "
            f"{max(sizes)} x {max(sizes)} pixels; with pseudo-anomalies {finding.outcome}. "
            f"{baselines.best_of_all(self.unlearnt, self.protocol)}"
        )


def _by_model(condition: str, finding: Finding) -> str:
    """What each model gains under a condition, a sentence."""
    if finding.outcome == NOT_RUN:
        return f"{condition}: {NOT_RUN}."
    words = {  # what is certain comes first
        HOLDS: "{} gains {} points",
        NO: "{} does not gain what the paper reports: {} points",
        OPEN: "for {} it is open: {} points",
    }
    cells = [
        form.format(model, figure)
        for verdict, form in words.items()
        for model, (own, figure) in finding.parts.items()
        if own == verdict
    ]
    return f"{condition}, {'; '.join(cells)}."


def likely_reason(groups: Mapping[str, Sequence[Record]]) -> str:
    """Where the learnt weight ends beside the fixed 0.5, a sentence; ``groups`` are by model."""
    cells = []
    for model, records in groups.items():
        ends = [record.facts["history"]["sigma"][-1] for record in records]
        if not ends:
            continue
        place = f"for {MODELS[model]} at {min(ends):.2f} to {max(ends):.2f}"
        if max(abs(end - 0.5) for end in ends) < _CLOSE:
            place += ", close to the fixed 0.5"
        elif min(ends) > 1 - _CLOSE:
            place += ", where little of the object is left"
        cells.append(place)
    if not cells:
        return f"Where the learnt weight ends: {NOT_RUN}."
    return f"A likely reason is where the learnt weight ends: {'; '.join(cells)}."


def summary(findings: Sequence[Finding]) -> str:
    """How many claims have each verdict, a sentence."""
    counts = {w: sum(f.verdict == w for f in findings) for w in (HOLDS, PARTLY, NO, OPEN)}
    if counts[OPEN] == len(findings):
        return f"All {len(findings)} claims are open."
    holding = f"{counts[HOLDS]} {'holds' if counts[HOLDS] == 1 else 'hold'}"
    return (
        f"Of {len(findings)} claims {holding} here, {counts[PARTLY]} in part, {counts[NO]} not, "
        f"and {counts[OPEN]} {'is' if counts[OPEN] == 1 else 'are'} open."
    )


def verdict_table(findings: Sequence[Finding]) -> pd.DataFrame:
    """A row for each claim: the verdict, what the paper says, and what came out here."""
    return pd.DataFrame(
        {"claim": f.claim, "holds?": f.verdict, "the paper": f.paper, "here": f.outcome}
        for f in findings
    )
