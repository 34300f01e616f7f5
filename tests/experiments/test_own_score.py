"""Trained models by this edition's own score: what is told of them, and of what learns nothing."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ddllib.evaluation import PROTOCOLS, evaluate
from ddllib.experiments import own_score
from ddllib.experiments.grid import read_experiment
from ddllib.records import Record

RNG = np.random.default_rng(0)
LABELS = {f"{k:02d}": RNG.integers(0, 2, 60) for k in range(12)}


def scored(settings, noise):
    """A record of these settings; with less noise abnormal frames are told better."""
    random = np.random.default_rng(settings.seed)
    scores = {name: y + noise * random.standard_normal(len(y)) for name, y in LABELS.items()}
    metrics = {p: {"auc": evaluate(scores, LABELS, p).auc} for p in PROTOCOLS}
    facts = {"settings": settings.asdict(), "metrics": metrics, "data": {"digest": "a"}}
    return Record(Path(settings.profile) / settings.run_folder.name, facts, scores, LABELS, {})


def records(ddl, without, neighbours):
    noises = {"ddl": ddl, "none": without}
    by_mode = {mode: own_score.trials_by(mode) for mode in noises}
    runs = [scored(t.settings, noises[mode]) for mode, trials in by_mode.items() for t in trials]
    nothing = replace(by_mode["none"][0].settings, method="neighbour-mean", epochs=0, seed=0)
    return [*runs, scored(nothing, neighbours)]


def test_every_mode_has_three_seeds_by_this_score():
    for mode in ("ddl", "none"):
        trials = own_score.trials_by(mode)
        assert len({t.settings.seed for t in trials}) == 3
        assert {t.settings.score for t in trials} == {"averaged contrast"}


def test_a_model_far_above_what_learns_nothing_is_beyond_chance():
    sentence = own_score.sentence(records(0.3, 1.0, 2.0), "raw")
    assert "(3 seeds) at width 64, 128 x 128" in sentence and "is beyond chance" in sentence
    assert "DDL adds +" in sentence and "is +" in sentence
    assert "(3 seeds) on UCSD Ped2" in own_score.in_short(records(0.3, 1.0, 2.0), "raw")


def test_what_the_score_does_on_other_footage_is_told():
    runs = records(0.3, 1.0, 2.0)
    assert "Other footage has to confirm it: not run" in own_score.elsewhere(runs, "raw")
    noises = {own_score.PAPER: 1.0, own_score.VARIANT: 2.0, own_score.SUM: 0.5}
    scenes = read_experiment(own_score.ELSEWHERE)
    runs += [scored(t.settings, noises[t.variant]) for t in scenes if t.variant in noises]
    runs += [scored(t.settings, 0.4) for t in own_score.trials_by("ddl", own_score.SUM)]
    sentence = own_score.elsewhere(runs, "raw")
    assert re.match(r"On 3 generated scenes, .* by -\d+\.\d to -\d+\.\d points \(", sentence)
    assert re.search(r"there by \+\d+\.\d to \+\d+\.\d points \(\d of 3 may be", sentence)


def test_a_model_below_what_learns_nothing_is_not():
    assert "may be chance" in own_score.sentence(records(2.0, 1.0, 0.3), "raw")


def test_without_records_it_was_not_run():
    assert "not run" in own_score.sentence([], "raw")
    assert "not run" in own_score.in_short([], "raw")
    assert "not run" in own_score.sentence(records(0.3, 1.0, 2.0)[:-1], "raw")
