"""Terms of a score on what learns nothing: who is held to whom, and what is told of it."""

from dataclasses import replace

import numpy as np
from support.records import ATrial, a_record

from ddllib.evaluation import evaluate
from ddllib.experiments import baselines, terms
from ddllib.settings import Settings

RNG = np.random.default_rng(0)
LABELS = {f"{k:02d}": RNG.integers(0, 2, 60) for k in range(8)}
NEIGHBOURS = {"method": "neighbour-mean", "epochs": 0}


def scored(noise, seed=0, **changes):
    """A record whose scores tell abnormal frames the better the less noise is added."""
    rng = np.random.default_rng(1)
    scores = {name: y + noise * rng.standard_normal(len(y)) for name, y in LABELS.items()}
    record = a_record(evaluate(scores, LABELS, "raw").auc, seed, **changes)
    return replace(record, scores=scores, labels=LABELS)


def records():
    return [
        scored(2.0, **NEIGHBOURS),
        scored(0.5, **NEIGHBOURS, score="contrast"),
        scored(4.0, **NEIGHBOURS, score="motion"),
        scored(2.0, **NEIGHBOURS, data="another"),
        scored(8.0, **NEIGHBOURS, data="another", score="contrast"),
        scored(0.1, **NEIGHBOURS, size=64, score="contrast"),
        scored(0.1),
    ]


def test_a_term_is_held_to_the_papers_score_on_the_same_footage_and_size():
    groups = terms.by_terms(records())
    assert list(groups) == [
        "another at 32 px, neighbour mean",
        "demo-short at 32 px, neighbour mean",
    ]
    assert set(groups["demo-short at 32 px, neighbour mean"]) == {"distance", "contrast", "motion"}
    difference = terms.change(groups["demo-short at 32 px, neighbour mean"], "contrast", "raw")
    aucs = [records()[k].auc("raw") for k in (1, 0)]
    assert np.isclose(difference.mean, aucs[0] - aucs[1]) and difference.low > 0


def test_where_a_term_does_not_help_is_reported():
    sentence = terms.where_it_helps(terms.by_terms(records()), "contrast", "raw")
    helps, harms = sentence.split(". It harms ")
    assert "demo-short at 32 px, neighbour mean (+" in helps and "another" not in helps
    assert harms.startswith("another at 32 px, neighbour mean (-")
    assert "it helps nowhere" in terms.where_it_helps(terms.by_terms(records()), "motion", "raw")
    assert (
        terms.where_it_helps(terms.by_terms(records()[3:4]), "contrast", "raw")
        == "contrast: not run"
    )


def test_the_table_has_a_row_for_each_term_that_was_run():
    rows = terms.terms_table(terms.by_terms(records()), "raw").to_dict("records")
    assert [(row["scored"], row["score"]) for row in rows] == [
        ("another at 32 px, neighbour mean", "distance"),
        ("", "contrast"),
        ("demo-short at 32 px, neighbour mean", "distance"),
        ("", "contrast"),
        ("", "motion"),
    ]
    above = [row["points above the paper's"][:1] for row in rows]
    assert above == ["", "-", "", "+", "-"] and rows[0]["AUC"].records
    assert terms.tried(terms.by_terms(records())) == ["contrast", "motion"]
    assert terms.terms_table({}, "raw").empty and terms.tried({}) == []


def test_the_plain_score_alone_stands_beside_runs():
    flow = scored(1.0, method="optical-flow", epochs=0, score="flow magnitude", flow="dis")
    runs = terms.of_plain_score([*records(), flow])
    assert [r.facts["settings"]["score"] for r in runs] == [
        "distance",
        "distance",
        "flow magnitude",
    ]


def trial_of(record):
    settings = Settings(**record.facts["settings"])
    return ATrial(settings.score, settings, record)


def test_trained_models_stand_beside_the_neighbour_mean_by_the_same_score():
    runs = [
        scored(2.0, **NEIGHBOURS),
        scored(0.5, **NEIGHBOURS, score="contrast"),
        scored(0.1, mode="none"),
        scored(2.0, mode="none", score="contrast"),
    ]
    trials = [trial_of(record) for record in runs[2:]] + [trial_of(scored(0.1, mode="ddl"))]
    rows = terms.trained_table(trials, runs, "raw").to_dict("records")
    assert [(row["score"], row["trained"]) for row in rows] == [
        ("distance", "without DDL"),
        ("contrast", "without DDL"),
        ("distance", "DDL"),
    ]
    assert rows[0]["points above it"].startswith("+") and rows[1]["points above it"].startswith("-")
    assert rows[2]["AUC"] == rows[2]["neighbour mean"] == "not run"
    sentence = terms.trained_sentence(trials, runs, "raw")
    assert sentence.startswith("1 of 2 ways") and ": without DDL, distance." in sentence
    assert "not run" in terms.trained_sentence(trials, [], "raw")


def test_trained_models_are_held_to_the_papers_score_of_their_own_footage():
    runs = [
        scored(2.0, mode="ddl"),
        scored(0.5, mode="ddl", score="contrast"),
        scored(0.1, mode="none", score="contrast"),
    ]
    trials = [trial_of(record) for record in runs]
    groups = terms.trained_by_terms(trials, runs)
    assert list(groups) == ["demo-short at 32 px, DDL"]
    assert terms.change(groups["demo-short at 32 px, DDL"], "contrast", "raw").mean > 0
    assert "DDL (+" in terms.where_it_helps(groups, "contrast", "raw")


def test_other_scores_of_a_run_do_not_count_as_other_seeds():
    runs = [scored(0.1), scored(0.2, score="contrast"), scored(0.3, scaled_terms=True)]
    (group,) = baselines.grouped(runs).values()
    assert group == runs[:1]
