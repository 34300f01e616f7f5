"""Runs beside what learns nothing: who is held against whom, and what is told of it."""

from dataclasses import replace

import numpy as np
import pytest
from support.records import a_record

from ddllib import DDLError
from ddllib.evaluation import Difference, evaluate, paired_difference
from ddllib.experiments import baselines
from ddllib.experiments.comparisons import mode_table
from ddllib.methods.base import method_of
from ddllib.settings import load_profile

RNG = np.random.default_rng(0)
LABELS = {f"{k:02d}": RNG.integers(0, 2, 60) for k in range(8)}
NEIGHBOURS = {"method": "neighbour-mean", "epochs": 0}


def curves(noise, seed=0):
    """Scores that tell abnormal frames the better the less noise is added."""
    rng = np.random.default_rng(seed)
    return {name: y + noise * rng.standard_normal(len(y)) for name, y in LABELS.items()}


def scored(noise, seed=0, **changes):
    scores = curves(noise, seed)
    record = a_record(evaluate(scores, LABELS, "raw").auc, seed, **changes)
    return replace(record, scores=scores, labels=LABELS)


def test_every_baseline_is_a_method_that_fits_the_runs_score():
    by_name = baselines.baseline_settings(load_profile("demo"))
    assert set(by_name) == set(baselines.CHANGES) - {baselines.FLOW_TVL1}
    assert all(s.epochs == 0 and method_of(s) for s in by_name.values())
    flow = load_profile("stpa-tiny", score="psnr + flow error")
    expected = {"flow magnitude", "untrained network"}
    assert set(baselines.baseline_settings(flow)) == expected
    flow = replace(flow, flow="tvl1")
    assert set(baselines.baseline_settings(flow)) == expected | {baselines.FLOW_TVL1}


def test_a_run_stands_beside_baselines_of_its_size_score_and_clips():
    run, same = scored(1), scored(1, **NEIGHBOURS)
    others = [
        scored(1, **NEIGHBOURS, size=64),
        scored(1, **NEIGHBOURS, score="psnr"),
        replace(same, labels={"another": np.ones(3)}),
        scored(1, seed=1),
    ]
    groups = baselines.beside(run, [*others, same])
    assert groups["neighbour mean"] == [same]
    assert not any(groups[name] for name in groups if name != "neighbour mean")


def test_flow_and_untrained_networks_are_known_by_their_settings():
    by_dis = {"method": "optical-flow", "score": "flow magnitude", "flow": "dis"}
    flow, untrained = scored(1, epochs=0, **by_dis), [scored(1, seed=k, epochs=0) for k in (0, 1)]
    slow = scored(1, epochs=0, **{**by_dis, "flow": "tvl1"})
    assert baselines.baseline_name(slow) == baselines.FLOW_TVL1
    groups = baselines.beside(scored(1), [flow, *untrained, slow])
    assert groups[baselines.FLOW_TVL1] == [slow]
    assert groups["flow magnitude"] == [flow] and groups["untrained network"] == untrained
    assert baselines.baseline_name(scored(1)) is None


def test_a_difference_is_that_of_the_means_and_is_beyond_when_no_draw_says_otherwise():
    good, bad = [curves(0.3, 1), curves(0.3, 2)], [curves(3, 3)]
    difference = paired_difference(good, bad, LABELS, "raw")
    aucs = [evaluate(scores, LABELS, "raw").auc for scores in (*good, *bad)]
    assert difference.mean == pytest.approx(np.mean(aucs[:2]) - aucs[2])
    assert difference.low < difference.mean < difference.high and difference.is_beyond
    back = paired_difference(bad, good, LABELS, "raw")
    assert np.allclose([back.mean, back.low, back.high],
                       [-difference.mean, -difference.high, -difference.low])  # fmt: skip
    assert not back.is_beyond


def test_a_run_does_not_differ_from_itself_in_any_draw():
    assert paired_difference([curves(1)], [curves(1)], LABELS, "raw") == (0, 0, 0)


def test_one_clip_is_too_few_to_draw_from():
    one = {"00": LABELS["00"]}
    with pytest.raises(DDLError, match="1 labelled clip; expected two or more"):
        paired_difference([{"00": curves(1)["00"]}] * 2, [{"00": curves(1)["00"]}], one)


def test_what_is_not_beyond_the_neighbour_mean_is_marked():
    good, bad, mean = scored(0.3), scored(5), scored(2, **NEIGHBOURS)
    cell = baselines.marked_mean([mean])
    assert baselines.MARK not in cell([good], "raw") and baselines.MARK in cell([bad], "raw")
    assert cell([bad], "raw").records == (bad,)
    assert baselines.MARK not in baselines.marked_mean([])([bad], "raw")
    assert cell([], "raw") == "not run"
    verdicts = [baselines.verdict(baselines.over_neighbours([r], [mean], "raw"))
                for r in (good, bad)]  # fmt: skip
    assert verdicts == ["yes", "no"] and baselines.verdict(None) == "not run"


def test_tables_have_what_was_not_run():
    rows = baselines.difference_table({"ours": [scored(1)]}, [scored(1, **NEIGHBOURS)], ["raw"])
    assert rows["above frame difference"].tolist() == ["not run"]
    assert rows["above neighbour mean"].tolist() == ["+0.00 (+0.00 to +0.00)"]
    assert rows["beyond the neighbour mean"].tolist() == ["no"]
    assert baselines.baseline_table([scored(1)], ["raw"]).empty
    assert list(baselines.rows_of_neighbours([], [32], ["raw", "median"]).values()) == ["not run"]
    assert baselines.nearness({"ours": [scored(1)]}, [], "raw")[0].startswith("not run")


def test_the_neighbour_mean_stands_below_the_modes_with_no_spread():
    mean = scored(1, **NEIGHBOURS)
    rows = baselines.rows_of_neighbours([mean], [mean.facts["settings"]["size"]], ["raw"])
    by_mode = mode_table({"c3dsu": {"none": 95.55, "ddl": 98.46}}, {}, ["raw"])
    last = baselines.below_modes(by_mode, rows).iloc[-1]
    assert last["without DDL"] == f"{100 * mean.auc('raw'):.2f}" and last["DDL"] != last["DDL"]


def test_runs_are_grouped_by_all_but_their_seed():
    runs = [scored(1), scored(1, seed=1), scored(1, mode="none"), scored(1, preset="paper")]
    groups = baselines.grouped([*runs, scored(1, **NEIGHBOURS)])
    assert list(groups.values()) == [runs[:2], runs[2:3], runs[3:]]


def test_nearness_counts_what_is_above_and_beyond():
    flow = {"method": "optical-flow", "score": "flow magnitude", "flow": "dis", "epochs": 0}
    nothing = [scored(2, **NEIGHBOURS), scored(0.3, **flow)]
    lines = baselines.nearness({"good": [scored(0.2)], "bad": [scored(5)]}, nothing, "raw")
    assert lines[0] == "1 of 2 trained settings is beyond the neighbour mean (protocol raw)"
    assert "bad: -" in lines[1] and "good: +" in lines[1]
    assert lines[2] == "1 of 2 trained settings is beyond the flow magnitude"
    near = baselines._counted([Difference(0.01, -0.02, 0.03), Difference(-0.1, -0.2, 0.1)], "flow")
    assert near.startswith("none of 2 ") and "; 1 has a higher AUC, but not by more" in near
    assert lines[3] == "flow magnitude by TV-L1: not run"
    assert baselines.nearness({"good": [scored(0.2)]}, nothing[:1], "raw")[2].endswith("not run")


def test_scores_of_the_same_order_are_wholly_alike():
    run = scored(1)
    other = replace(run, scores={name: 3 * s + 1 for name, s in run.scores.items()})
    assert baselines.likeness(run, other, "raw") == pytest.approx(1)
    back = replace(run, scores={name: -s for name, s in run.scores.items()})
    assert baselines.likeness(run, back, "raw") == pytest.approx(-1)


def test_regions_are_counted_where_both_sides_have_masks():
    def found(rbdc, **changes):
        record = scored(1, **changes)
        record.facts["pixels"] = rbdc and {"rbdc": rbdc}
        return record

    sentence = baselines.regions_verdict(
        [found(0.3), found(0.5), found(None)], [found(0.4, **NEIGHBOURS)]
    )
    assert sentence.startswith(
        "1 of 2 runs have a higher RBDC than the neighbour mean; 0 of 0 runs"
    )


def test_each_protocol_is_computed_from_scores():
    run = scored(1)
    names = ["raw", "raw-trimmed", "median-zero-edges-trimmed"]
    rows = baselines.protocol_table({"ours": [run], "none": []}, names)
    expected = [f"{100 * evaluate(run.scores, LABELS, p).auc:.2f} (1 seed)" for p in names]
    assert rows["ours"].tolist() == expected and set(rows["none"]) == {"not run"}


def test_the_best_of_what_learns_nothing_is_named_with_its_size():
    made = [scored(2.0, **NEIGHBOURS), scored(0.1, **NEIGHBOURS, size=64), scored(0.01)]
    sentence = baselines.best_of_all(made, "raw")
    assert sentence.startswith("The best of what learns nothing is neighbour mean at 64 x 64")
    assert baselines.best_of_all(made[2:], "raw") == ""
