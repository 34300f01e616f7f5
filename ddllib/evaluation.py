"""Named evaluation protocols: from raw scores and labels to AUC (paper, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
from scipy.ndimage import median_filter
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ddllib.errors import DDLError

MEDIAN_LENGTH = 17


@dataclass(frozen=True)
class Protocol:
    """What is done to each clip's raw scores before the AUC; nothing crosses from clip to clip."""

    median: int | None = None  # length of the median filter, frames
    edges: str = "nearest"  # how the filter sees beyond a clip's ends: nearest or zero
    min_max: bool = False  # scale each clip to [0, 1]; cannot be done live, changes the AUC


PROTOCOLS = {
    "raw": Protocol(),
    "median": Protocol(MEDIAN_LENGTH),
    "median-zero-edges": Protocol(MEDIAN_LENGTH, edges="zero"),
    "median+min-max": Protocol(MEDIAN_LENGTH, min_max=True),
}


def apply_protocol(scores: np.ndarray, protocol: str) -> np.ndarray:
    """One clip's raw scores, N, to the scores the protocol judges, N."""
    if protocol not in PROTOCOLS:
        raise DDLError(f"protocol is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    rule = PROTOCOLS[protocol]
    scores = np.asarray(scores, dtype=np.float64)
    if rule.median:
        mode = {"nearest": "nearest", "zero": "constant"}[rule.edges]
        scores = median_filter(scores, size=rule.median, mode=mode)
    if rule.min_max:
        span = scores.max() - scores.min()
        scores = (scores - scores.min()) / (span if span > 0 else 1)
    return scores


@dataclass(frozen=True)
class Evaluation:
    """What one protocol says of one run.

    ``auc`` is the micro AUC over all frames, ``macro_auc`` the mean of the clips' own over the
    ``macro_clips`` clips that hold both kinds of frame (None if none does); all in [0, 1].
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
    if y.min() == y.max():
        raise DDLError("every frame has the same label; an AUC needs normal and abnormal frames")
    mixed = [name for name, t in truth.items() if t.min() != t.max()]
    own = [roc_auc_score(truth[name], judged[name]) for name in mixed]
    return Evaluation(
        protocol,
        float(roc_auc_score(y, s)),
        float(np.mean(own)) if own else None,
        len(mixed),
        len(truth),
        len(y),
        int(y.sum()),
        float(average_precision_score(y, s)),
        equal_error_rate(y, s),
        *bootstrap(judged, truth),
    )


def evaluate_all(scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray]) -> dict:
    """Every protocol's evaluation as plain values, by name; empty where no AUC exists.

    That is so without labels, and where all frames are labelled alike.
    """
    kinds = {int(label) for values in labels.values() for label in np.unique(values)}
    if len(kinds) < 2:
        return {}
    return {name: asdict(evaluate(scores, labels, name)) for name in PROTOCOLS}


def equal_error_rate(labels: np.ndarray, scores: np.ndarray) -> float:
    """Where the ROC curve crosses the line on which false alarms equal misses, in [0, 1].

    Labels N of 0 and 1, scores N; the curve is taken as straight between its points.
    """
    false_alarms, hits, _ = roc_curve(labels, scores)
    gap = false_alarms - (1 - hits)  # from -1 to 1, never falling
    last = int(np.argmax(gap >= 0))
    a, b = gap[last - 1], gap[last]
    return float(false_alarms[last - 1] + (0 - a) / (b - a) * np.diff(false_alarms)[last - 1])


def bootstrap(
    judged: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray], draws: int = 1000
) -> tuple[float | None, float | None]:
    """The central 95 % of the micro AUC over draws of whole clips with replacement.

    Frames of a clip resemble one another, so a draw of single frames would promise too much.
    ``judged`` and ``truth`` are what ``judge`` gives; seeded, so the same scores give the same
    bounds. Draws without both kinds of frame are left out; None where fewer than two clips are.
    """
    names, rng = sorted(judged), np.random.default_rng(0)
    if len(names) < 2:
        return None, None
    pairs = _pairwise(judged, truth, names)
    positives = np.array([truth[n].sum() for n in names], dtype=float)
    negatives = np.array([len(truth[n]) for n in names]) - positives
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    possible = (times @ positives) * (times @ negatives)
    won = np.einsum("di,ij,dj->d", times, pairs, times)
    aucs = won[possible > 0] / possible[possible > 0]
    return float(np.quantile(aucs, 0.025)), float(np.quantile(aucs, 0.975))


def _pairwise(judged, truth, names: list[str]) -> np.ndarray:
    """How many pairs of an abnormal frame of clip i and a normal frame of clip j are in order.

    The AUC of any draw of clips is a sum of these, so nothing is sorted again per draw.
    """
    won = np.zeros((len(names), len(names)))
    for j, name in enumerate(names):
        normal = np.sort(judged[name][truth[name] == 0])
        for i, other in enumerate(names):
            abnormal = judged[other][truth[other] == 1]
            below = np.searchsorted(normal, abnormal, "left")
            equal = np.searchsorted(normal, abnormal, "right") - below
            won[i, j] = below.sum() + equal.sum() / 2
    return won


def judge(scores, labels, protocol: str) -> tuple[dict, dict]:
    """The protocol's scores and the labels, clip by clip, checked against one another.

    Two dictionaries of arrays, N each: float scores and labels of 0 and 1. Raises ``DDLError`` as
    ``evaluate`` does.
    """
    if not scores:
        raise DDLError("there are no scores; expected at least one clip; score the test clips")
    if set(scores) != set(labels):
        odd = sorted(set(scores) ^ set(labels))
        raise DDLError(
            f"clip {odd[0]!r} has scores or labels but not both; give both for each clip"
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
    names = sorted(scores)
    judged = {name: apply_protocol(scores[name], protocol) for name in names}
    return judged, {name: np.asarray(labels[name]).astype(int) for name in names}


def roc(
    scores: Mapping[str, np.ndarray], labels: Mapping[str, np.ndarray], protocol: str = "median"
) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates over all frames, each K, both from 0 to 1."""
    judged, truth = judge(scores, labels, protocol)
    pair = np.concatenate(list(truth.values())), np.concatenate(list(judged.values()))
    false_positive, true_positive, _ = roc_curve(*pair)
    return false_positive, true_positive
