"""Which pseudo-anomaly teaches which anomaly: AUC by kind, gains over pairs, their correction."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from data_prep.demo import ANOMALIES
from ddllib import pipeline
from ddllib.experiments import taught
from ddllib.experiments.grid import read_experiment
from ddllib.experiments.taught import ALL, COLUMNS, Gain
from ddllib.settings import load_profile

SETTINGS = load_profile("demo", method="neighbour-mean", epochs=0)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDL_RUNS", str(root))
        data = pipeline.prepare(SETTINGS, progress=False)
        run = pipeline.train(SETTINGS, data, progress=False)
        yield pipeline.score(SETTINGS, data, run, progress=False)


def test_the_auc_of_a_kind_is_that_of_its_frames_beside_those_without_any(record):
    aucs, anomalies = taught.aucs_by_anomaly(record, "raw"), taught.anomalies_of("demo")
    assert aucs[ALL] == pytest.approx(record.auc("raw"))
    positives, negatives = [], []
    for clip, scores in record.scores.items():
        positives += list(scores[anomalies["cyclist"][clip]])
        negatives += list(scores[record.labels[clip] == 0])
    labels = [1] * len(positives) + [0] * len(negatives)
    assert aucs["cyclist"] == pytest.approx(roc_auc_score(labels, positives + negatives))
    assert set(aucs) == set(COLUMNS) and len(set(aucs.values())) == 5


def aucs_of(*values):
    """AUCs of three scenes, equal for each anomaly."""
    return {(f"demo-{k}", 0): dict.fromkeys(COLUMNS, value) for k, value in enumerate(values)}


def test_gains_are_paired_by_scene_and_seed():
    aucs = {"none": aucs_of(0.5, 0.6, 0.9), "noise": aucs_of(0.6, 0.71, 0.99), "other": {}}
    table = taught.gains(aucs, [("noise", "none"), ("other", "none")])
    gain = table["noise", "none"]["cart"]
    assert gain.mean == pytest.approx(10) and gain.pairs == 3 and gain.p < 0.01
    assert table["other", "none"] == {}
    aucs["noise"].pop(("demo-0", 0))
    assert taught.gains(aucs, [("noise", "none")])["noise", "none"]["cart"].pairs == 2


def test_one_pair_has_no_p_value_and_holds_nothing():
    aucs = {"none": aucs_of(0.5), "noise": aucs_of(0.9)}
    gain = taught.gains(aucs, [("noise", "none")])["noise", "none"][ALL]
    assert gain == Gain(pytest.approx(40), 1, 1.0, False)


def test_comparisons_are_corrected_one_after_the_other():
    assert taught.holm({"a": 0.01, "b": 0.02, "c": 0.2}) == {"a", "b"}
    assert taught.holm({"a": 0.02, "b": 0.02, "c": 0.02}) == set()
    assert taught.holm({"a": 0.001, "b": 0.03, "c": 0.04}) == {"a"}


def row(mean, holds):
    return dict.fromkeys(COLUMNS, Gain(mean, 6, 0.001, holds))


def test_what_holds_is_named_and_else_the_largest_gain():
    assert taught.gain_sentence({}) == f"{ALL}: not run"
    rows = {"noise": row(3, True), "skip": row(5, True), "steal": row(-2, True)}
    sentence = taught.gain_sentence(rows)
    assert sentence == f"{ALL}: these help: skip (+5.0), noise (+3.0); these harm: steal (-2.0)"
    (open_one,) = taught.answer({"noise": row(3, False), "skip": row(5, False)})
    assert open_one.startswith("no kind") and open_one.count("skip for") == len(COLUMNS)
    mixed_row = row(5, False) | {"cart": Gain(9, 6, 0.001, True)}
    clear, others = taught.answer({"noise": row(-3, False), "skip": mixed_row})
    assert clear == "cart: these help: skip (+9.0)" and others.count("(+5.0)") == 4
    assert "not run" in taught.answer({"noise": {}})[0]


def test_without_runs_nothing_is_told(monkeypatch, tmp_path):
    trials = [t for t in read_experiment("demo-kinds")]
    trials = [replace(t, settings=replace(t.settings, seed=99)) for t in trials]
    monkeypatch.setenv("DDL_RUNS", str(tmp_path))
    table, gains = taught.matrix(trials, "median", "none")
    assert not len(table) and not any(gains.values())
    learnt = taught.learning_the_strength(trials, "median", ["noise", "LNTRA, patch"])
    assert set(learnt["mean, points"]) == {"not run"} and len(learnt) == 4
    assert taught.seen(gains, learnt) == ["Not run."]


def test_every_variant_of_the_question_on_strength_is_in_the_experiment():
    variants = {trial.variant for trial in read_experiment("demo-kinds")}
    for kind in ("noise", "LNTRA, patch", "inpainted object"):
        assert {kind, f"{kind}, SDL", f"{kind}, DDL"} <= variants


def test_a_learnt_strength_helps_only_where_it_is_beyond_chance():
    rows = {"": "x, DDL against x, SDL", "runs": 6, "mean, points": "+3.0", "p": "0.00"}
    frame = taught.pd.DataFrame([{**rows, "beyond chance": "yes"}])
    assert taught.strength_sentence(frame).startswith("Yes, for x:")
    for values in ({"beyond chance": "no"}, {"mean, points": "-3.0"}):
        sentence = taught.strength_sentence(frame.assign(**values))
        assert sentence.startswith("No:") and f"x {values.get('mean, points', '+3.0')}" in sentence
    noise = frame.assign(**{"": "noise, DDL against noise, SDL"})
    assert "not run" in taught.strength_sentence(noise)


def test_anomalies_are_those_of_the_scene():
    anomalies = taught.anomalies_of("demo-1")
    assert set(anomalies) == set(ANOMALIES) and all(
        set(c) == {f"0{k}" for k in range(1, 7)} for c in anomalies.values()
    )
    assert np.sum([c["03"] for c in anomalies.values()]) == 0
