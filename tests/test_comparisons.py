"""Runs side by side: means and differences by hand, and "not run" where nothing was."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ddllib import comparisons
from ddllib.chapter import same_frames
from ddllib.comparisons import (
    below_chance,
    certainty_table,
    difference_row,
    difference_table,
    effect_by_size,
    effect_table,
    ends_alike,
    foretelling,
    foretold,
    kinds_table,
    mean_and_spread,
    mode_table,
    most_seeds,
    other_boxes,
    paired_differences,
    runs_of,
    seed_spread,
    verdict,
)
from ddllib.heldout import KINDS
from ddllib.records import Record
from ddllib.settings import load_profile


def a_record(auc, seed=0, held_out=None, **changes):
    settings = load_profile("tiny", seed=seed, **changes)
    metrics = {p: {"auc": auc} for p in ("raw", "median")}
    facts = {"settings": settings.asdict(), "metrics": metrics, "data": {"digest": "a"}}
    if held_out is not None:
        facts["held_out"] = {"median": dict.fromkeys(KINDS, held_out)}
        facts["tests"] = metrics
    return Record(Path("tiny") / settings.run_folder.name, facts, {}, {}, {})


@dataclass
class ATrial:
    variant: str
    settings: object
    found: Record | None

    def record(self):
        return self.found


def test_the_mean_carries_its_spread_and_its_seeds():
    assert mean_and_spread([]) == "not run"
    assert mean_and_spread([0.9]) == "90.00 (1 seed)"
    assert mean_and_spread([0.9, 0.92]) == "91.00 ± 1.41 (2 seeds)"


def test_differences_are_by_seed():
    first = [a_record(0.9, 0), a_record(0.8, 1), a_record(0.7, 5)]
    second = [a_record(0.85, 1), a_record(0.6, 0), a_record(0.1, 2)]
    assert paired_differences(first, second, "median") == pytest.approx([0.3, -0.05])


def test_a_difference_is_an_effect_beyond_two_standard_errors():
    row = difference_row([0.01, 0.02, 0.03])  # mean 2 points, error 1 / sqrt(3)
    assert (row["mean, points"], row["standard error"]) == ("+2.00", "0.58")
    assert row["more than two standard errors"] == "yes"
    assert difference_row([0.01, -0.02, 0.03])["more than two standard errors"] == "no"
    assert "too few" in difference_row([0.3])["more than two standard errors"]
    assert difference_row([])["mean, points"] == "not run"


def test_runs_with_other_values_are_another_experiment():
    records = [a_record(0.9), a_record(0.8, 1), a_record(0.7, latent_dim=16)]
    assert runs_of(records, "tiny", "c3dsu", "ddl") == records[:2]
    del records[0].facts["settings"]["held_out"]  # introduced after it was recorded
    assert runs_of(records, "tiny", "c3dsu", "ddl") == records[:2]
    assert runs_of(records, "tiny", "unet", "ddl") == []


def test_the_modes_stand_below_the_papers():
    paper = {"c3dsu": {"none": 95.55, "ddl": 98.46}}
    found = {"ddl": [a_record(0.9), a_record(0.92, 1)], "none": []}
    rows = mode_table(paper, {"ours": lambda model, mode: found[mode]}, "median")
    assert list(rows["DDL"]) == ["98.46", "91.00 ± 1.41 (2 seeds)"]
    assert list(rows["without DDL"]) == ["95.55", "not run"]
    differences = difference_table(lambda model, mode: found.get(mode, []), "median", ["c3dsu"])
    assert list(differences["mean, points"]) == ["not run"] * 3


def test_differences_are_read_in_a_sentence():
    found = {
        "ddl": [a_record(0.9), a_record(0.92, 1), a_record(0.91, 2)],
        "none": [a_record(0.8), a_record(0.81, 1), a_record(0.82, 2)],
        "sdl": [a_record(0.9), a_record(0.93, 1), a_record(0.9, 2)],
    }
    told = verdict(lambda model, mode: found[mode], "median", "c3dsu")
    assert "weight is better than training without" in told
    assert "and does not clearly differ from training with them at a fixed" in told
    found["sdl"], found["none"] = found["none"], found["ddl"][:1]
    told = verdict(lambda model, mode: found[mode], "median", "unet")
    assert told.startswith("UNet: ") and "has too few seeds against training without" in told


def trials():
    found = [
        ATrial("as it is", load_profile("tiny", seed=s), a_record(0, s, held_out=0.8 + s / 100))
        for s in (0, 1, 2)
    ]
    norms = [
        ATrial("norms", load_profile("tiny", seed=s), a_record(0, s, held_out=v))
        for s, v in ((0, 0.7), (1, 0.72))
    ]
    return [*found, *norms, ATrial("wide", load_profile("tiny"), None)]


def test_effects_are_paired_with_the_unchanged_variant():
    rows = effect_table(trials(), "median", "as it is").set_index("variant")
    assert rows.loc["as it is", "held-out AUC"] == "81.00 ± 1.00 (3 seeds)"
    assert rows.loc["as it is", "mean, points"] == "–"
    assert rows.loc["norms", "mean, points"] == "-9.50"  # -10 and -9
    assert rows.loc["norms", "seeds"] == "2"
    assert rows.loc["wide", "held-out AUC"] == "not run" and rows.loc["wide", "seeds"] == "–"
    turned = effect_table(trials()[::-1], "median", "as it is")
    assert list(turned["variant"]) == ["norms", "as it is", "wide"]


def test_one_seed_is_measured_by_the_spread_of_the_unchanged():
    told = seed_spread(trials(), "median", "as it is")
    assert told.startswith("as it is: standard deviation 1.00 over 3 seeds")
    assert "should exceed 2.83" in told
    assert "as it is: 2 of 3 seeds were run" in seed_spread(trials()[:2], "median", "as it is")


def test_a_variant_ends_where_the_unchanged_does_or_not():
    found = trials()
    assert "beyond the 1.83 that" in ends_alike(found, "median", "as it is", "norms")
    for trial in found[3:5]:
        trial.found.facts["held_out"]["median"] = dict.fromkeys(KINDS, 0.82)
    told = ends_alike(found, "median", "as it is", "norms")
    assert "82.00 norms" in told and "+1.00 points, within the 1.83 that" in told
    assert ends_alike(found, "median", "as it is", "wide").startswith("not run: 3 of 3")


def test_runs_on_other_boxes_are_named():
    found = trials()
    assert other_boxes(found, "as it is").startswith("boxes: 2 runs had those of")
    assert other_boxes(found[3:], "as it is").startswith("boxes: 0 runs")
    found[3].found.facts["data"] = {"digest": "b"}
    assert other_boxes(found, "as it is").endswith("a part of the difference: norms")
    found[3].settings = load_profile("tiny", size=64)  # meant to have others
    assert other_boxes(found, "as it is").startswith("boxes: 2 runs had those of")


def test_what_can_be_claimed_is_said():
    assert most_seeds(trials(), "as it is").endswith("one seed: norms")
    assert most_seeds(trials()[:3], "as it is") == (
        "no change was tried with more than one seed: no effect can be claimed"
    )
    assert below_chance(trials(), "median") == "below chance in most runs: no kind"
    poor = [ATrial("", load_profile("tiny"), a_record(0, held_out=v)) for v in (0.4, 0.3, 0.9)]
    assert below_chance(poor, "median").endswith(", ".join(KINDS))


def test_the_effect_is_paired_at_each_size():
    def trial(mode, size, held_out, seed=0):
        settings = load_profile("tiny", mode=mode, size=size, seed=seed)
        return ATrial("", settings, a_record(held_out - 0.1, seed, held_out=held_out))

    alone = [trial("ddl", 32, 0.9), trial("none", 32, 0.4, seed=1)]
    found = [trial("ddl", 64, 0.8), trial("none", 64, 0.7), trial("none", 48, 0.5)]
    rows = effect_by_size([*alone, *found, ATrial("", load_profile("tiny"), None)], "median")
    assert list(rows["size"]) == [64]
    assert list(rows["held out, points"]) == list(rows["test clips, points"]) == ["+10.00"]
    assert list(rows["test clips, DDL"]) == ["70.00 (1 seed)"]
    assert effect_by_size(alone, "median").empty


def test_the_held_out_auc_foretells_that_of_test_clips_by_rank():
    runs = [ATrial("a", load_profile("tiny"), a_record(t, held_out=h)) for h, t in PAIRS]
    pairs = foretold([*runs, ATrial("none", load_profile("tiny"), None)], "median")
    assert pairs[["held_out", "tests"]].to_numpy() == pytest.approx(np.array(PAIRS))
    assert "4 runs: rank correlation 0.80 (p = 0.20); of these" in foretelling(pairs)
    assert "has 88.00 on test clips, of which the best has 90.00" in foretelling(pairs)
    assert "not run: 2 of these" in foretelling(pairs[:2])


PAIRS = [(0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.88)]  # held-out, test


def test_kinds_are_averaged_over_seeds():
    rows = kinds_table(trials(), "median").set_index("variant")
    assert set(rows.loc["norms"]) == {"71.00"} and set(rows.loc["wide"]) == {"not run"}


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
    row = comparisons.sigma_table([record]).iloc[0]
    assert (row["start"], row["peak"], row["end"]) == ("0.500", "0.700", "0.600")
    assert (row["peak after, % of steps"], row["from peak to end"]) == ("50", "-0.100")
    row = comparisons.distance_table([record]).iloc[0]
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
    drawn = same_frames([none], [ddl])["01"]
    assert drawn["titles"] == ["none: clip 01, frame 1", "ddl: clip 01, frame 1"]
    assert np.allclose(drawn["maps"][0], 0) and np.allclose(drawn["maps"][1], 1)
    assert same_frames([none], [shown(1, "ddl", 0)]) == {} == same_frames([], [ddl])
