"""Named evaluation protocols: from raw scores and labels to AUC (paper, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter
from sklearn.metrics import roc_auc_score, roc_curve

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
    """

    protocol: str
    auc: float
    macro_auc: float | None
    macro_clips: int
    clips: int
    frames: int
    abnormal: int


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
    )


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
