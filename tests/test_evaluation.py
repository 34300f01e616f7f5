"""Protocols and AUC against scikit-learn, a hand-written pair count and written-out filters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ddllib import PROTOCOLS, DDLError, evaluate
from ddllib.evaluation import CIRCULATING, apply_protocol, evaluate_lntra, roc


def pair_count(scores, labels):
    """The share of (abnormal, normal) pairs in the right order, a tie counting half."""
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[labels == 1] for b in scores[labels == 0]]
    return sum(pairs) / len(pairs)


def some_clips(seed=0, lengths=(30, 21, 40)):
    rng = np.random.default_rng(seed)
    scores = {f"{i:02d}": rng.normal(size=n) for i, n in enumerate(lengths)}
    labels = {name: (rng.random(len(s)) > 0.6).astype(np.uint8) for name, s in scores.items()}
    return scores, labels


@given(seed=st.integers(0, 10_000))
@hypothesis_settings(max_examples=25, deadline=None)
def test_auc_is_the_pair_count_and_scikit_learns(seed):
    scores, labels = some_clips(seed)
    s, y = np.concatenate(list(scores.values())).round(1), np.concatenate(list(labels.values()))
    rounded = {name: values.round(1) for name, values in scores.items()}
    auc = evaluate(rounded, labels, "raw").auc
    assert auc == pytest.approx(pair_count(s, y))
    assert auc == pytest.approx(roc_auc_score(y, s))


def literal_median(values, length, edges):
    half = length // 2
    pad = {"nearest": "edge", "zero": "constant"}[edges]
    padded = np.pad(values, half, mode=pad)
    return np.array([np.median(padded[i : i + length]) for i in range(len(values))])


@pytest.mark.parametrize("protocol, edges", [("median", "nearest"), ("median-zero-edges", "zero")])
def test_the_median_filter_is_written_out(protocol, edges):
    scores = np.random.default_rng(0).random(50)
    assert np.allclose(apply_protocol(scores, protocol), literal_median(scores, 17, edges))


def test_min_max_scales_each_clip_after_the_filter():
    scores = np.random.default_rng(0).random(50)
    scaled_scores = apply_protocol(scores, "median+min-max")
    assert scaled_scores.min() == 0 and scaled_scores.max() == 1
    filtered_scores = apply_protocol(scores, "median")
    assert np.allclose(
        np.argsort(scaled_scores, kind="stable"), np.argsort(filtered_scores, kind="stable")
    )
    assert not apply_protocol(np.ones(5), "median+min-max").any()


@pytest.mark.parametrize("protocol", [*PROTOCOLS, *CIRCULATING])
def test_every_protocol_keeps_the_length_and_ignores_the_order_of_clips(protocol):
    scores, labels = some_clips()
    assert all(len(apply_protocol(s, protocol)) == len(s) for s in scores.values())
    backwards = dict(reversed(scores.items())), dict(reversed(labels.items()))
    assert evaluate(scores, labels, protocol) == evaluate(*backwards, protocol)


@pytest.mark.parametrize(
    "protocol, smooth",
    [
        ("raw-trimmed", lambda s: s),
        ("median-trimmed", lambda s: literal_median(s, 17, "nearest")),
        ("median-zero-edges-trimmed", lambda s: literal_median(s, 17, "zero")),
    ],
)
def test_a_trimmed_protocol_leaves_out_the_ends_before_it_filters(protocol, smooth):
    scores, labels = some_clips()
    predictions = np.concatenate([smooth(values[1:-1]) for values in scores.values()])
    truth = np.concatenate([values[1:-1] for values in labels.values()])
    result = evaluate(scores, labels, protocol)
    assert result.auc == pytest.approx(roc_auc_score(truth, predictions))
    assert result.frames == len(truth) and result.low <= result.auc <= result.high


def test_a_clip_of_which_a_protocol_leaves_nothing_is_left_out():
    scores, labels = some_clips()
    short = {**scores, "short": np.arange(2.0)}, {**labels, "short": np.array([0, 1])}
    whole = evaluate(scores, labels, "median-trimmed")
    assert evaluate(*short, "median-trimmed") == whole
    with pytest.raises(DDLError, match="raw-trimmed leaves out 1 frame at either end and no"):
        evaluate({"short": short[0]["short"]}, {"short": short[1]["short"]}, "raw-trimmed")


def test_a_window_held_to_its_first_label_is_held_to_the_frame_before():
    scores, labels = some_clips()
    predictions = np.concatenate([values[1:-1] for values in scores.values()])
    truth = np.concatenate([values[:-2] for values in labels.values()])
    assert evaluate(scores, labels, "raw-first-label").auc == roc_auc_score(truth, predictions)


def test_a_label_shifted_by_one_frame_changes_the_auc():
    labels = {"01": np.array([0] * 10 + [1] * 10)}
    scores = {"01": labels["01"].astype(float)}
    assert evaluate(scores, labels, "raw").auc == 1
    other_labels = {"01": np.roll(labels["01"], 1)}
    assert evaluate(scores, other_labels, "raw").auc < 1


def test_clips_of_one_kind_are_left_out_of_the_mean_and_counted():
    scores, labels = some_clips()
    labels["00"][:] = 1
    result = evaluate(scores, labels, "raw")
    own = [roc_auc_score(labels[n], scores[n]) for n in ("01", "02")]
    assert result.macro_auc == pytest.approx(np.mean(own))
    assert (result.macro_clips, result.clips) == (2, 3)
    assert result.frames == 91 and result.abnormal == sum(int(v.sum()) for v in labels.values())


def test_roc_runs_from_corner_to_corner_with_the_auc_below_it():
    scores, labels = some_clips()
    x, y = roc(scores, labels, "median")
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(evaluate(scores, labels, "median").auc)


def test_average_precision_and_equal_error_rate_by_hand():
    # Sorted by score, highest first: abnormal, normal, abnormal, normal.
    scores = {"01": np.array([4.0, 3.0, 2.0, 1.0])}
    labels = {"01": np.array([1, 0, 1, 0])}
    result = evaluate(scores, labels, "raw")
    assert result.ap == pytest.approx((1 / 1 + 2 / 3) / 2)
    assert result.eer == pytest.approx(0.5)
    assert evaluate(scores, {"01": np.array([1, 1, 0, 0])}, "raw").eer == 0
    assert evaluate(scores, {"01": np.array([0, 0, 1, 1])}, "raw").eer == 1


def test_the_equal_error_rate_lies_on_the_curve():
    scores, labels = some_clips(lengths=(3000, 2000))
    x, y = roc(scores, labels, "raw")
    eer = evaluate(scores, labels, "raw").eer
    assert np.interp(eer, x, y) == pytest.approx(1 - eer, abs=0.02)


def test_the_bounds_are_those_of_drawn_clips():
    """The sums of pairs against an AUC computed anew for every draw."""
    scores, labels = some_clips(lengths=(30, 21, 40, 25))
    names, rng = sorted(scores), np.random.default_rng(0)
    aucs = []
    for times in rng.multinomial(len(names), np.full(len(names), 1 / len(names)), 1000):
        sample = np.repeat(np.array(names), times)
        y, s = (np.concatenate([source[n] for n in sample]) for source in (labels, scores))
        aucs.append(roc_auc_score(y, s))
    result = evaluate(scores, labels, "raw")
    assert result.low == pytest.approx(np.quantile(aucs, 0.025))
    assert result.high == pytest.approx(np.quantile(aucs, 0.975))
    assert result.low < result.auc < result.high


def test_one_clip_has_no_bounds():
    result = evaluate({"01": np.arange(4.0)}, {"01": np.array([0, 0, 1, 1])}, "raw")
    assert (result.low, result.high) == (None, None)


def test_what_cannot_be_evaluated_is_reported():
    scores, labels = some_clips()
    with pytest.raises(DDLError, match="protocol is 'best'"):
        evaluate(scores, labels, "best")
    with pytest.raises(DDLError, match="clip '01' has scores or labels but not both"):
        evaluate(scores, {n: v for n, v in labels.items() if n != "01"})
    with pytest.raises(DDLError, match="30 scores and 29 labels"):
        evaluate(scores, {**labels, "00": labels["00"][1:]})
    with pytest.raises(DDLError, match="not finite"):
        evaluate({**scores, "00": np.full(30, np.nan)}, labels)
    with pytest.raises(DDLError, match="same label"):
        evaluate(scores, {n: np.ones_like(v) for n, v in labels.items()})


def test_lntra_scales_each_clip_trims_its_ends_and_adds_weighted_terms():
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(0, 2, n) for name, n in (("a", 40), ("b", 23), ("short", 9))}
    terms = {t: {name: rng.random(len(v)) for name, v in labels.items()} for t in ("x", "y")}
    result = evaluate_lntra(terms, {"x": 0.7, "y": 0.3}, labels)
    scores, truth = [], []
    for name in ("a", "b"):
        curves = [terms[t][name][8:-7] for t in ("x", "y")]
        x, y = ((c - c.min()) / (c.max() - c.min()) for c in curves)
        scores.append(0.7 * x + 0.3 * y)
        truth.append(labels[name][8:-7])
    assert result.protocol == "lntra" and result.clips == 2
    assert result.frames == (40 - 15) + (23 - 15)
    assert result.auc == pytest.approx(roc_auc_score(np.concatenate(truth), np.concatenate(scores)))


def test_lntra_adds_a_probability_as_it_is():
    rng = np.random.default_rng(0)
    labels = {name: rng.integers(0, 2, 40) for name in ("a", "b")}
    likely = {"a": rng.random(40) / 10, "b": 0.9 + rng.random(40) / 10}
    error = {name: rng.random(40) for name in labels}
    terms = {"semantic": likely, "psnr": error}
    result = evaluate_lntra(terms, {"semantic": 2, "psnr": 1}, labels)
    parts = {name: error[name][8:-7] for name in labels}
    scaled_parts = {name: (c - c.min()) / (c.max() - c.min()) for name, c in parts.items()}
    scores = np.concatenate([2 * likely[name][8:-7] + scaled_parts[name] for name in labels])
    truth = np.concatenate([labels[name][8:-7] for name in labels])
    assert result.auc == pytest.approx(roc_auc_score(truth, scores))
