"""The unified score from records of single models."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ddllib import DDLError
from ddllib.evaluation import evaluate_lntra
from ddllib.experiments.comparisons import mean_and_spread, paired_differences
from ddllib.experiments.unified import (
    beside_nothing,
    chosen_weights,
    combined,
    combined_table,
    findings,
    oracle,
    plain_rows,
    reach,
    term_curves,
    unified,
    variant_table,
    weights_tried,
)
from ddllib.pseudo_anomalies.held_out import EASIER, KINDS, PAIRED
from ddllib.records import Record
from ddllib.settings import load_profile

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


def a_held_out_record(seen_by):
    """The psnr rises where the kinds of ``seen_by["psnr"]`` are altered; so does the flow error."""
    labels = {f"{kind}/0/01": LABELS["01"] for kind in KINDS}
    curves = {}
    for term in ("psnr", "flow error"):
        for name, truth in labels.items():
            is_seen = name.split("/")[0] in seen_by[term]
            curves[f"{term}/{name}"] = truth * 2.0 * is_seen + RNG.random(len(truth))
    facts = {"settings": {"score": "psnr + flow error"}, "judge": PAIRED, "held_out": {}}
    return Record(Path("a/held-out"), facts, labels, labels, {}, curves)


def test_weights_are_chosen_by_what_sees_the_pseudo_anomalies():
    others = [kind for kind in KINDS if kind not in EASIER]
    weights = chosen_weights([a_held_out_record({"psnr": others, "flow error": []})])
    assert sum(weights.values()) == pytest.approx(1)
    assert weights["psnr"] > 0.5 > weights["flow error"]
    weights = chosen_weights([a_held_out_record({"psnr": EASIER, "flow error": others})])
    assert weights["flow error"] > 0.5


def test_of_weights_that_tell_all_the_most_even_are_chosen():
    everything = {"psnr": KINDS, "flow error": KINDS}
    assert chosen_weights([a_held_out_record(everything)] * 2) == {"psnr": 0.5, "flow error": 0.5}
    assert len(weights_tried(["a", "b"])) == 11


def test_weights_are_not_chosen_by_test_clips():
    with pytest.raises(DDLError, match="a/one: has no held-out clips"):
        chosen_weights([a_record("a/one", "psnr", noisy(1))])


def test_chosen_weights_have_a_column_beside_equal_ones(groups):
    assert set(combined_table(groups)["chosen weights"]) == {"not run"}
    weights = {"psnr": 0.9, "flow error": 0.1}
    row = combined_table(groups, weights).iloc[4]
    pair = groups[row["frames"]], groups[row["flow"]]
    assert row["chosen weights"] == combined(*pair, weights)
    alone = combined_table(groups, {"psnr": 1.0}).iloc[4]["chosen weights"]
    assert alone == mean_and_spread([unified([pair[0][seed]]).auc for seed in (1, 2)])


def test_records_that_do_not_fit_together_are_named():
    one = a_record("a/one", "psnr", noisy(1))
    with pytest.raises(DDLError, match="a/two: the term 'psnr' is in another record"):
        unified([one, a_record("a/two", "psnr", noisy(1))])
    other = a_record("a/other", "flow error", {"03": np.zeros(40)})
    with pytest.raises(DDLError, match="a/other: has other clips than a/one"):
        unified([one, other])


def seeded(name, score, seed, amount):
    record = a_record(f"a/{name}-{seed}", score, noisy(amount))
    record.facts["settings"]["seed"] = seed
    auc = evaluate_lntra({score: record.scores}, {score: 1.0}, LABELS).auc
    return replace(record, facts={**record.facts, "metrics": {"lntra": {"auc": auc}}})


@pytest.fixture
def groups():
    """Frames gain by silhouettes; flow was trained in one way only."""
    names = "without", "with random masks", "with silhouettes"
    amounts = dict(zip(names, (9, 8.5, 0.5), strict=True))
    runs = {f"A_s {n}": [seeded(n, "psnr", s, a) for s in range(4)] for n, a in amounts.items()}
    flow = [seeded("flow", "flow error", seed, 1.5) for seed in (1, 2)]
    return {**runs, "A_t without": [], "A_t with rectangles": flow, "A_t with silhouettes": []}


def test_each_variant_has_a_row_and_its_gain_over_normal_windows(groups):
    table = variant_table(groups, ("lntra",), {"A_s with silhouettes": 92.71}).set_index("trained")
    assert list(table.index) == list(groups)
    assert table.loc["A_s with silhouettes", "paper"] == "92.71"
    gained = np.mean(
        paired_differences(groups["A_s with silhouettes"], groups["A_s without"], "lntra")
    )
    assert table.loc["A_s with silhouettes", "gained by pseudo-anomalies"] == f"{100 * gained:+.2f}"
    assert table.loc["A_t with rectangles", "gained by pseudo-anomalies"] == "not run"
    assert table.loc["A_t without", "lntra"] == "not run"


def test_models_of_equal_seeds_are_combined(groups):
    frames, flow = groups["A_s with silhouettes"], groups["A_t with rectangles"]
    aucs = [unified([frames[seed], flow[seed - 1]]).auc for seed in (1, 2)]
    assert combined(frames, flow) == mean_and_spread(aucs)
    assert len(combined(frames, flow).records) == 4
    assert combined(frames, []) == "not run"
    assert len(combined_table(groups)) == 9


def test_the_reach_of_any_weights_is_that_of_the_best_pair_and_names_its_main_term(groups):
    frames, flow = groups["A_s with silhouettes"], groups["A_t with rectangles"]
    results = [oracle([frames[seed], flow[seed - 1]]) for seed in (1, 2)]
    main = max(("psnr", "flow error"), key=lambda term: sum(w[term] for w, _ in results))
    sentence = reach(groups, 93.52)
    assert f"{100 * np.mean([best.auc for _, best in results]):.2f}" in sentence
    assert "A_s with silhouettes" in sentence and main in sentence and "93.52" in sentence
    assert "not known" in reach({name: [] for name in groups}, 93.52)


def test_a_claim_is_judged_by_paired_seeds(groups):
    silhouettes, masks, rectangles, outlines = findings(groups)
    assert "is better than" in silhouettes and "is better than" in masks
    assert "too few seeds" in rectangles and "too few seeds" in outlines


def test_what_learns_nothing_has_rows_of_its_own():
    record = seeded("flow", "flow magnitude", 0, 1)
    settings = load_profile("ped2-baselines", method="optical-flow", score="flow magnitude")
    record = replace(record, facts={**record.facts, "settings": settings.asdict()})
    table = plain_rows([record], settings, ("lntra",))
    assert list(table["trained"]) == ["nothing: flow magnitude, by flow magnitude"]
    assert table["lntra"][0] == f"{100 * unified([record]).auc:.2f}"
    for other in ({"size": settings.size + 16}, {"data": "demo"}):
        assert plain_rows([record], replace(settings, **other), ("lntra",)).empty
    facts = {**record.facts, "settings": replace(settings, held_out=4).asdict()}
    assert plain_rows([replace(record, facts=facts)], settings, ("lntra",)).empty


def test_trained_variants_are_counted_that_are_above_the_best_of_what_learns_nothing(groups):
    like = load_profile("ped2-baselines", method="optical-flow", score="flow magnitude")
    plain = a_record("a/flow", "flow magnitude", noisy(4.0))
    plain = replace(plain, facts={**plain.facts, "settings": like.asdict()})
    sentence = beside_nothing(groups, [plain], like)
    assert sentence.startswith("the best of what learns nothing is flow magnitude, by flow")
    assert sentence.endswith(
        "Of 4 trained variants 2 are above it: A_s with silhouettes; A_t with rectangles"
    )
    assert beside_nothing(groups, [], like).endswith("not run")
