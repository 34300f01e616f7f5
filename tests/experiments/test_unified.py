"""The unified score from records of single models."""

from pathlib import Path

import numpy as np
import pytest

from ddllib import DDLError
from ddllib.evaluation import evaluate_lntra
from ddllib.experiments.unified import oracle, term_curves, unified
from ddllib.records import Record

RNG = np.random.default_rng(0)
LABELS = {name: RNG.integers(0, 2, 40) for name in ("01", "02")}


def a_record(name, score, curves, terms=None):
    return Record(Path(name), {"settings": {"score": score}}, curves, LABELS, {}, terms or {})


def noisy(amount):
    return {name: labels + amount * RNG.random(len(labels)) for name, labels in LABELS.items()}


def test_two_models_trained_apart_count_as_one_run_with_both_terms():
    frames, flow = noisy(2), noisy(3)
    apart = [a_record("a/s", "psnr", frames), a_record("a/t", "0.5 flow error", flow)]
    curves = {f"psnr/{n}": c for n, c in frames.items()}
    curves |= {f"flow error/{n}": c for n, c in flow.items()}
    joint = a_record("a/both", "psnr + flow error", noisy(1), curves)
    expected = evaluate_lntra({"p": frames, "f": flow}, {"p": 1, "f": 1}, LABELS).auc
    assert unified(apart).auc == unified([joint]).auc == expected
    assert unified(apart, {"psnr": 1.0}).auc == evaluate_lntra({"p": frames}, {"p": 1}, LABELS).auc


def test_the_oracle_is_at_least_as_good_as_each_term_and_as_equal_weights():
    records = [a_record("a/s", "psnr", noisy(2)), a_record("a/t", "flow error", noisy(3))]
    weights, best = oracle(records)
    assert sum(weights.values()) == pytest.approx(1)
    assert best.auc == unified(records, weights).auc
    alone = [unified(records, {name: 1.0}).auc for name in term_curves(records)]
    assert best.auc >= max(*alone, unified(records).auc)


def test_records_that_do_not_fit_together_are_named():
    one = a_record("a/one", "psnr", noisy(1))
    with pytest.raises(DDLError, match="a/two: the term 'psnr' is in another record"):
        unified([one, a_record("a/two", "psnr", noisy(1))])
    other = a_record("a/other", "flow error", {"03": np.zeros(40)})
    with pytest.raises(DDLError, match="a/other: has other clips than a/one"):
        unified([one, other])
