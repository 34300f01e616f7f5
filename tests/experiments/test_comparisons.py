"""Runs side by side: means and differences by hand, and "not run" where nothing was."""

from dataclasses import replace

import numpy as np
import pytest
from support.records import ATrial, a_record

from ddllib.experiments import comparisons, sigma_findings
from ddllib.experiments.comparisons import (
    certainty_table,
    comparison_table,
    difference_row,
    difference_table,
    mean_and_spread,
    mode_table,
    paired_differences,
    unlike_pairs,
    verdict,
)
from ddllib.figures.chapter import run_table, same_frames, table
from ddllib.paths import RESULTS
from ddllib.records import read_record
from ddllib.settings import load_profile


def test_the_mean_carries_its_spread_and_its_seeds():
    assert mean_and_spread([]) == "not run"
    assert mean_and_spread([0.9]) == "90.00 (1 seed)"
    assert mean_and_spread([0.9, 0.92]) == "91.00 ± 1.41 (2 seeds)"


def test_differences_are_by_seed():
    first = [a_record(0.9, 0), a_record(0.8, 1), a_record(0.7, 5)]
    second = [a_record(0.85, 1), a_record(0.6, 0), a_record(0.1, 2)]
    assert paired_differences(first, second, "median") == pytest.approx([0.3, -0.05])


def test_a_difference_is_an_effect_where_chance_hardly_makes_it():
    row = difference_row([0.01, 0.02, 0.03])  # mean 2 points, error 1 / sqrt(3)
    assert (row["mean, points"], row["standard error"]) == ("+2.00", "0.58")
    assert row["more than chance"] == "no"  # 3.5 standard errors; t(0.975, 2) is 4.3
    assert difference_row([0.015, 0.02, 0.025])["more than chance"] == "yes"
    assert difference_row([0.02, 0.03])["more than chance"] == "no"  # of two it is 12.7
    assert "too few" in difference_row([0.3])["more than chance"]


def test_chance_alone_makes_an_effect_once_in_twenty_times():
    rng = np.random.default_rng(0)
    for seeds in (2, 3, 5):
        samples = rng.normal(0, 0.01, (2000, seeds))
        share = np.mean([difference_row(row)["more than chance"] == "yes" for row in samples])
        assert share == pytest.approx(0.05, abs=0.015)
    assert difference_row([])["mean, points"] == "not run"


def test_the_modes_stand_below_the_papers():
    paper = {"c3dsu": {"none": 95.55, "ddl": 98.46}}
    by_mode = {"ddl": [a_record(0.9), a_record(0.92, 1)], "none": []}
    rows = mode_table(paper, {"ours": lambda model, mode: by_mode[mode]}, ("median", "raw"))
    assert list(rows["DDL"]) == ["98.46", *["91.00 ± 1.41 (2 seeds)"] * 2]
    assert list(rows["source"]) == ["paper", "ours; median", "ours; raw"]
    assert list(rows["without DDL"]) == ["95.55", "not run", "not run"]
    differences = difference_table(lambda model, mode: by_mode.get(mode, []), "median", ["c3dsu"])
    assert list(differences["mean, points"]) == ["not run"] * 3


def test_differences_are_read_in_a_sentence():
    by_mode = {
        "ddl": [a_record(0.9), a_record(0.92, 1), a_record(0.91, 2)],
        "none": [a_record(0.8), a_record(0.81, 1), a_record(0.82, 2)],
        "sdl": [a_record(0.9), a_record(0.93, 1), a_record(0.9, 2)],
    }
    sentence = verdict(lambda model, mode: by_mode[mode], "median", "c3dsu")
    assert "weight is better than training without" in sentence
    assert "and does not clearly differ from training with them at a fixed" in sentence
    by_mode["sdl"], by_mode["none"] = by_mode["none"], by_mode["ddl"][:1]
    sentence = verdict(lambda model, mode: by_mode[mode], "median", "unet")
    assert (
        sentence.startswith("UNet: ") and "has too few seeds against training without" in sentence
    )


def test_a_record_without_masks_or_bounds_has_dashes():
    rows = certainty_table([a_record(0.9)], "median")
    assert (rows["AUC"] == "90.00").all() and (rows[["RBDC", "AP", "95 % over clips"]] == "–").all(
        axis=None
    )
    full = a_record(0.9)
    full.facts["metrics"]["median"] |= {"low": 0.85, "high": 0.95, "ap": 0.99, "eer": 0.1}
    full.facts["pixels"] = {"pixel_auroc": 0.9, "rbdc": 0.4, "tbdc": 0.5}
    row = certainty_table([full], "median").iloc[0]
    assert row["95 % over clips"] == "85.00 to 95.00" and row["RBDC"] == "40.00"


def test_the_table_of_runs_links_to_the_arrays_of_each():
    record = read_record(next((RESULTS / "ped2-cpu").glob("*/run.json")).parent)
    text = table(run_table([record], "median")).to_html()
    for file in ("run.json", "scores.npz", "labels.npz"):
        assert f"{record.folder.name}/{file}" in text


def test_spread_is_that_of_a_sample():
    values = np.random.default_rng(0).random(5)
    assert f"{100 * values.std(ddof=1):.2f}" in mean_and_spread(list(values))
    assert comparisons.mean_auc([], "median") is None


def test_the_course_of_sigma_and_the_distances_are_read_from_the_curves():
    record = a_record(0.9)
    record.facts["history"] = {
        "sigma": [0.5, 0.6, 0.7, 0.65, 0.6],
        "p": [1.0] * 18 + [0.1, 0.3],
        "q": [0.0] * 18 + [0.4, 0.4],
    }
    row = sigma_findings.sigma_table([record]).iloc[0]
    assert (row["start"], row["peak"], row["end"]) == ("0.500", "0.700", "0.600")
    assert (row["peak after, % of steps"], row["from peak to end"]) == ("50", "-0.100")
    row = sigma_findings.distance_table([record]).iloc[0]
    assert (row["P"], row["Q"], row["Q / P"]) == ("0.2000", "0.4000", "2.00")


def test_the_same_frame_is_shown_of_two_runs_of_one_seed():
    def shown(seed, mode, value):
        record = a_record(0.9, seed, mode=mode)
        record.scores["01"] = np.zeros(3)
        record.shown["01-abnormal-index"] = np.array(1)
        record.shown["01-abnormal-frame"] = np.full((1, 4, 4), 255, np.uint8)
        record.shown["01-abnormal-reconstruction"] = np.full((3, 4, 4), value, np.uint8)
        return record

    none, ddl = shown(0, "none", 255), shown(0, "ddl", 0)
    panels = same_frames([none], [ddl])["01"]
    assert panels["titles"] == ["none: clip 01, frame 1", "ddl: clip 01, frame 1"]
    assert np.allclose(panels["maps"][0], 0) and np.allclose(panels["maps"][1], 1)
    assert same_frames([none], [shown(1, "ddl", 0)]) == {} == same_frames([], [ddl])


def published(seed=0):
    record = a_record(0.9, seed)
    return replace(record, folder=RESULTS / "tiny" / f"run & {seed}")


def test_our_cells_lead_to_their_records_and_the_papers_are_grey():
    one, two = published(), published(1)
    ours = {"C3DSU": {"Ped2": comparisons.cited_mean([one, two], "median")}}
    html = table(comparison_table({"MNAD <1>": {"Ped2": 97.0}}, ours)).to_html()
    assert "90.00 ± 0.00 (2 seeds) <span" in html and "MNAD &lt;1&gt;" in html
    for seed in (0, 1):
        assert f'<a href="results/tiny/run%20%26%20{seed}/run.json">seed {seed}</a>' in html
    several = comparisons.cited_mean([replace(one, facts=two.facts), *[two] * 4], "median").html()
    assert several.count(">tiny/run &amp; 1</a>") == 4 and "<summary>5 runs</summary>" in several
    greys = [line for line in html.splitlines() if "row0" in line]
    assert "#767676);" in html and greys and "row1_col0 {" not in html
    html = table(run_table([], "median")).to_html()
    assert "not run" in html
    elsewhere = {"C3DSU": {"Ped2": comparisons.cited_mean([a_record(0.9)], "median")}}
    html = table(comparison_table({"MNAD": {"Ped2": 97.0}}, elsewhere)).to_html()
    assert "90.00 (1 seed)" in html and "<a " not in html  # it lies among the runs, unpublished


def test_runs_are_found_by_their_experiment():
    records = [a_record(0.9), a_record(0.8, 1), a_record(0.7, preset="paper")]
    trials = [ATrial("", load_profile("tiny", seed=s, preset=p), None)
              for p in ("released", "paper") for s in (0, 1)]  # fmt: skip
    assert comparisons.finder(records, trials)("c3dsu", "ddl") == records
    assert comparisons.finder(records, trials, preset="paper")("c3dsu", "ddl") == records[2:]
    assert comparisons.finder(records, trials)("c3dsu", "sdl") == []
    wider = [*records, a_record(0.6, latent_dim=16)]
    assert comparisons.finder(wider, trials)("c3dsu", "ddl") == records  # another experiment's
    del records[0].facts["settings"]["held_out"]  # introduced after it was recorded
    assert comparisons.finder(records, trials)("c3dsu", "ddl") == records
    several = {"a": records[:2], "b": [a_record(0.91), a_record(0.84, 1)]}
    sentence = comparisons.against(several, "median")
    assert sentence.startswith("b against a: +2.50 points over 2 seeds")
    assert "of 1.50." in sentence and sentence.endswith("not more than chance")
    assert "1 of the seeds in common, too few" in comparisons.against(
        {"a": records, "b": records[:1]}, "raw"
    )


def test_pairs_that_differ_in_more_than_their_mode_are_named():
    by_mode = {mode: [a_record(0.9), a_record(0.9, 1)] for mode in ("ddl", "none", "sdl")}
    sentence = unlike_pairs(lambda model, mode: by_mode[mode], ["unet"])
    assert "the same boxes in all 6 pairs" in sentence and sentence.endswith("in 0 pairs")
    by_mode["sdl"][1].facts.update(data={"digest": "b"}, environment={"commit": "1234"})
    sentence = unlike_pairs(lambda model, mode: by_mode[mode], ["unet"])
    assert "boxes in 2 of 6 pairs: UNet DDL and SDL, seed 1; UNet" in sentence
    assert sentence.endswith("in 2 pairs")


def test_steps_after_scoring_are_paired_within_a_record():
    records = [a_record(0.9), a_record(0.8, 1)]
    for record, raw in zip(records, (0.85, 0.74), strict=True):
        extra = {"median-zero-edges": {"auc": 0.9}, "median+min-max": {"auc": 0.7}}
        record.facts["metrics"] = record.metrics | extra | {"raw": {"auc": raw}}
    rows = comparisons.protocol_effects({"ours": records, "none": []})
    assert list(rows["mean, points"][:3]) == ["+5.50", "+5.00", "-15.00"]
    assert list(rows["more than chance"][:2]) == ["no", "no"]  # of two records
    assert set(rows["mean, points"][3:]) == {"not run"}


def test_whether_sigma_does_as_the_paper_describes_is_said():
    def run(model, sigma):
        record = a_record(0.9, model=model)
        record.facts["history"] = {"sigma": sigma}
        return record

    settled = [0.5, 0.55, 0.7, 0.65, *[0.6] * 16]
    late = [*np.linspace(0.5, 0.9, 20)]
    falling = [0.5, 0.6, 0.7, *np.linspace(0.69, 0.5, 17)]  # never comes to rest
    runs = [run("c3dsu", settled), run("c3dsu", falling), run("unet", late)]
    convolutional, plain = sigma_findings.sigma_verdict(runs).split(". ")
    assert "C3DSU: in 1 of 2 runs" in convolutional and "none it ends at its peak" in convolutional
    assert "UNet: in none of 1 runs" in plain and "1 it ends at its peak" in plain
    assert sigma_findings.sigma_verdict([]) == "not run"


def test_whether_q_exceeds_p_is_said():
    records = [a_record(0.9), a_record(0.9, 1)]
    for record, q in zip(records, (0.3, 0.1), strict=True):
        record.facts["history"] = {"p": [0.2] * 10, "q": [q] * 10}
    sentence = sigma_findings.distance_verdict(records)
    assert "1 of 2 runs" in sentence and "0.5 to 1.5 times" in sentence
    assert sigma_findings.distance_verdict([]) == "not run"
