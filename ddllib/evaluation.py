"""Named evaluation protocols: from raw scores and labels to AUC (paper, section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.ndimage import median_filter
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ddllib.errors import DDLError

MEDIAN_LENGTH = 17
LNTRA_WINDOW, LNTRA_FRAME = 16, 8  # frames, and which of them is scored, counted from 0


@dataclass(frozen=True)
class Protocol:
    """How each clip's raw scores are processed before the AUC, independently of other clips."""

    median: int | None = None  # length of the median filter, frames
    edges: str = "nearest"  # padding of the filter beyond a clip's ends: nearest or zero
    min_max: bool = False  # scale each clip to [0, 1]; impossible live, and it changes the AUC
    trim: int = 0  # frames left out at either end of a clip, before all else
    label_of: int = 0  # whose label counts: 0 that of the scored frame, -1 of the one before it


PROTOCOLS = {  # every record has its evaluation by these
    "raw": Protocol(),
    "median": Protocol(MEDIAN_LENGTH),
    "median-zero-edges": Protocol(MEDIAN_LENGTH, edges="zero"),
    "median+min-max": Protocol(MEDIAN_LENGTH, min_max=True),
}
# Protocols of other codes that score windows of three frames, to be computed from recorded scores.
CIRCULATING = {
    "raw-trimmed": Protocol(trim=1),
    "raw-first-label": Protocol(trim=1, label_of=-1),
    "median-trimmed": Protocol(MEDIAN_LENGTH, trim=1),
    "median-zero-edges-trimmed": Protocol(MEDIAN_LENGTH, edges="zero", trim=1),
}


def rule_of(protocol: str) -> Protocol:
    """The protocol of that name; raises ``DDLError`` where there is none."""
    rules = PROTOCOLS | CIRCULATING
    if protocol not in rules:
        raise DDLError(f"protocol is {protocol!r}; expected one of {', '.join(rules)}")
    return rules[protocol]


def apply_protocol(scores: np.ndarray, protocol: str) -> np.ndarray:
    """One clip's raw scores, N, to the scores the protocol judges, N.

    What a protocol leaves out at the ends of a clip is for the caller to leave out (``judge``).
    """
    rule = rule_of(protocol)
    scores = np.asarray(scores, dtype=np.float64)
    if rule.median:
        mode = {"nearest": "nearest", "zero": "constant"}[rule.edges]
        scores = median_filter(scores, size=rule.median, mode=mode)
    if rule.min_max:
        scores = min_max(scores)
    return scores


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one run under one protocol.

    ``auc`` is the micro AUC over all frames, ``macro_auc`` the mean over the AUCs of
    the ``macro_clips`` clips that hold both kinds of frame (None if none does); all in [0, 1].
    ``ap`` is the average precision with abnormal frames as positives, ``eer`` the rate at which
    false alarms and misses are equal. ``low`` and ``high`` bound the central 95 % of the AUC when
    whole clips are drawn again with replacement (``bootstrap``).
    """

    protocol: str
    auc: float
    macro_auc: float | None
    macro_clips: int
    clips: int
    frames: int
    abnormal: int
    ap: float
    eer: float
    low: float | None
    high: float | None


def evaluate(
    scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], protocol: str = "median"
) -> Evaluation:
    """Micro and macro AUC of raw ``scores`` against ``labels`` (1 = abnormal), clips by name.

    Raises ``DDLError`` when a clip is missing on one side, lengths differ, a score is not finite,
    or the labels hold only one kind of frame.
    """
    judged, truth = judge(scores, labels, protocol)
    y, s = np.concatenate(list(truth.values())), np.concatenate(list(judged.values()))
    auc = _auc(y, s)
    mixed_clips = [name for name, t in truth.items() if t.min() != t.max()]
    clip_aucs = [roc_auc_score(truth[name], judged[name]) for name in mixed_clips]
    return Evaluation(
        protocol,
        auc,
        float(np.mean(clip_aucs)) if clip_aucs else None,
        len(mixed_clips),
        len(truth),
        len(y),
        int(y.sum()),
        float(average_precision_score(y, s)),
        equal_error_rate(y, s),
        *bootstrap(judged, truth),
    )


def micro_auc(
    scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], protocol: str = "median"
) -> float:
    """The micro AUC of ``evaluate`` alone, in [0, 1], which is quicker."""
    judged, truth = judge(scores, labels, protocol)
    return _auc(np.concatenate(list(truth.values())), np.concatenate(list(judged.values())))


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    if labels.min() == labels.max():
        raise DDLError("every frame has the same label; an AUC needs normal and abnormal frames")
    return float(roc_auc_score(labels, scores))


def evaluate_all(scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict:
    """Every protocol's evaluation as plain values, by name; empty where no AUC exists.

    No AUC exists without labels, or where all frames have the same label.
    """
    kinds = {int(label) for values in labels.values() for label in np.unique(values)}
    if len(kinds) < 2:
        return {}
    return {name: asdict(evaluate(scores, labels, name)) for name in PROTOCOLS}


def evaluate_lntra(
    terms: Mapping[str, Mapping[str, np.ndarray]],
    weights: Mapping[str, float],
    labels: Mapping[str, np.ndarray],
) -> Evaluation:
    """The evaluation of LNTRA and STPA (STPA, equation 6), of the raw curves of some terms.

    ``terms`` holds scores per frame by term and clip, ``weights`` eta by term. Each curve is scaled
    to [0, 1] in each clip, which is impossible live. Frames that are not frame 8 of any window of
    16 are left out. Raises ``DDLError`` as ``evaluate`` does, and where no clip is long enough.
    """
    scored = slice(LNTRA_FRAME, LNTRA_FRAME + 1 - LNTRA_WINDOW)
    scores, truth = {}, {}
    for clip, values in labels.items():
        if len(values) >= LNTRA_WINDOW:
            curves = (weight * min_max(terms[n][clip][scored]) for n, weight in weights.items())
            scores[clip], truth[clip] = sum(curves), values[scored]
    return replace(evaluate(scores, truth, "raw"), protocol="lntra")


def min_max(values: np.ndarray) -> np.ndarray:
    """One clip's values scaled to [0, 1]; 0 where they are all the same."""
    span = values.max() - values.min()
    return (values - values.min()) / (span if span > 0 else 1)


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """Where the ROC curve crosses the line on which false alarms equal misses, in [0, 1].

    Labels N of 0 and 1, scores N; the curve is linear between its points.
    """
    false_alarms, hits, _ = roc_curve(labels, scores)
    gap = false_alarms - (1 - hits)  # from -1 to 1, never decreasing
    last = int(np.argmax(gap >= 0))
    a, b = gap[last - 1], gap[last]
    return float(false_alarms[last - 1] + (0 - a) / (b - a) * np.diff(false_alarms)[last - 1])


def bootstrap(
    judged: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], draws: int = 1000
) -> tuple[float | None, float | None]:
    """The central 95 % of the micro AUC over draws of whole clips with replacement.

    Frames of a clip are correlated, so drawing single frames would give too narrow an interval.
    ``judged`` and ``truth`` are what ``judge`` gives; seeded, so the same scores give the same
    bounds. Draws without both kinds of frame are left out; None where fewer than two clips are.
    """
    return _central(drawn_aucs(judged, truth, draws)) if len(judged) > 1 else (None, None)


def _central(values: np.ndarray) -> tuple[float, float]:
    """The bounds of the central 95 % of the values that are numbers."""
    values = values[~np.isnan(values)]
    return float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975))


class Difference(NamedTuple):
    """A difference of AUCs, in [-1, 1], and the central 95 % of it over draws of whole clips."""

    mean: float
    low: float
    high: float

    @property
    def is_beyond(self) -> bool:
        """Whether the first exceeds the second in nearly all draws."""
        return self.low > 0


def paired_difference(
    first: Sequence[Mapping[str, np.ndarray]],
    second: Sequence[Mapping[str, np.ndarray]],
    labels: Mapping[str, np.ndarray],
    protocol: str = "median",
) -> Difference:
    """The mean micro AUC of ``first`` minus that of ``second``, both raw scores of some runs.

    The same clips are drawn for all runs (``bootstrap``), so that what is hard in a clip counts for
    both sides. Raises ``DDLError`` as ``evaluate`` does, and where there is one clip only.
    """
    if len(labels) < 2:
        raise DDLError(f"{len(labels)} labelled clip; expected two or more to draw from")
    means, drawn_means = [], []
    for runs in (first, second):
        means.append(np.mean([micro_auc(scores, labels, protocol) for scores in runs]))
        drawn = [drawn_aucs(*judge(scores, labels, protocol)) for scores in runs]
        drawn_means.append(np.mean(drawn, axis=0))
    bounds = _central(drawn_means[0] - drawn_means[1])
    return Difference(float(means[0] - means[1]), *bounds)


def drawn_aucs(
    judged: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], draws: int = 1000
) -> np.ndarray:
    """The micro AUC of each draw of whole clips with replacement; NaN where it has one kind only.

    The draws are the same for all scores of as many clips.
    """
    names, rng = sorted(judged), np.random.default_rng(0)
    pairs = _pairwise(judged, truth, names)
    positives = np.array([truth[n].sum() for n in names], dtype=float)
    negatives = np.array([len(truth[n]) for n in names]) - positives
    clip_counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    pair_counts = (clip_counts @ positives) * (clip_counts @ negatives)
    ordered_pairs = np.einsum("di,ij,dj->d", clip_counts, pairs, clip_counts)
    return np.divide(ordered_pairs, pair_counts, out=np.full(draws, np.nan), where=pair_counts > 0)


def _pairwise(judged, truth, names: list[str]) -> np.ndarray:
    """Pairs of an abnormal frame of clip i that scores above a normal one of clip j; ties half.

    The AUC of any draw of clips is a sum of these, so scores are sorted only once.
    """
    ordered_pairs = np.zeros((len(names), len(names)))
    for j, normal_name in enumerate(names):
        normal = np.sort(judged[normal_name][truth[normal_name] == 0])
        for i, abnormal_name in enumerate(names):
            abnormal = judged[abnormal_name][truth[abnormal_name] == 1]
            below = np.searchsorted(normal, abnormal, "left")
            equal = np.searchsorted(normal, abnormal, "right") - below
            ordered_pairs[i, j] = below.sum() + equal.sum() / 2
    return ordered_pairs


def judge(scores, labels, protocol: str) -> tuple[dict, dict]:
    """The protocol's scores and the labels, clip by clip, checked against one another.

    Two dictionaries of arrays, N each: float scores and labels of 0 and 1. A clip of which the
    protocol leaves nothing is left out. Raises ``DDLError`` as ``evaluate`` does.
    """
    if not scores:
        raise DDLError("there are no scores; expected at least one clip; score the test clips")
    if set(scores) != set(labels):
        unmatched = sorted(set(scores) ^ set(labels))
        raise DDLError(
            f"clip {unmatched[0]!r} has scores or labels but not both; give both for each clip"
        )
    for name, values in scores.items():
        if len(values) != len(labels[name]):
            raise DDLError(
                f"clip {name!r} has {len(values)} scores and {len(labels[name])} labels; "
                "expected one of each per frame"
            )
        if not np.isfinite(values).all():
            raise DDLError(
                f"clip {name!r} has a score that is not finite; train again with a "
                "lower learning_rate"
            )
    rule = rule_of(protocol)
    names = [name for name in sorted(scores) if len(scores[name]) > 2 * rule.trim]
    if not names:
        raise DDLError(
            f"protocol {protocol} leaves out {rule.trim} frame at either end and no clip has more; "
            "expected a longer clip; choose another protocol"
        )
    judged = {name: apply_protocol(_part(scores[name], rule.trim), protocol) for name in names}
    truth = {name: _part(labels[name], rule.trim, rule.label_of).astype(int) for name in names}
    return judged, truth


def _part(values: np.ndarray, trim: int, shift: int = 0) -> np.ndarray:
    """A clip's values without ``trim`` of them at either end, or as many from ``shift`` away."""
    values = np.asarray(values)
    return values[trim + shift : len(values) - trim + shift]


def roc(
    scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], protocol: str = "median"
) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates over all frames, each K, both from 0 to 1."""
    judged, truth = judge(scores, labels, protocol)
    pair = np.concatenate(list(truth.values())), np.concatenate(list(judged.values()))
    false_positive, true_positive, _ = roc_curve(*pair)
    return false_positive, true_positive
