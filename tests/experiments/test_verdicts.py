"""Verdicts on the papers' claims, from made records: one that holds, one that fails, one open."""

import numpy as np
import pytest
from support.records import ATrial, a_record

from ddllib.experiments import verdicts
from ddllib.experiments.comparisons import interval, mode_dots
from ddllib.experiments.findings import HOLDS, NO, NOT_RUN, OPEN, PARTLY, Finding
from ddllib.figures import dot_plots
from ddllib.figures.chapter import paper_figures
from ddllib.paths import ROOT
from ddllib.pseudo_anomalies.held_out import KINDS
from ddllib.records import find_records
from ddllib.settings import load_profile

PAPER = paper_figures(ROOT / "book" / "paper.yaml")


def seeds(*values, **changes):
    return [a_record(value, seed, **changes) for seed, value in enumerate(values)]


def with_curves(record, **curves):
    record.facts["history"] = curves
    return record


@pytest.mark.parametrize(
    "differences, promised, verdict",
    [
        ([0.02, 0.021, 0.019], 0.05, HOLDS),  # above 0, though less than promised
        ([-0.02, -0.021, -0.019], 0, NO),
        ([0.001, -0.001, 0.0], 0.05, NO),  # what is promised is excluded
        ([0.001, -0.001, 0.0], 0.001, OPEN),
        ([0.1, -0.1, 0.05], 0.01, OPEN),
        ([0.3], 0, OPEN),  # one seed says nothing of chance
        ([], 0, OPEN),
    ],
)
def test_a_gain_is_judged_by_its_interval(differences, promised, verdict):
    assert verdicts.verdict_of(differences, promised) == verdict


def test_the_interval_is_that_of_students_t():
    mean, low, high = interval([0.01, 0.02, 0.03])
    assert mean == pytest.approx(0.02) and high - mean == pytest.approx(mean - low)
    assert high - mean == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)


def test_parts_make_one_verdict():
    assert verdicts.combined([HOLDS, HOLDS]) == HOLDS
    assert verdicts.combined([HOLDS, NO]) == verdicts.combined([HOLDS, OPEN]) == PARTLY
    assert verdicts.combined([NO, OPEN]) == NO
    assert verdicts.combined([OPEN, OPEN]) == verdicts.combined([]) == OPEN


def test_a_figure_is_reached_by_a_mean_and_partly_by_single_runs():
    def verdict(*values):
        return verdicts.figure_reached(90, {"small": seeds(*values)}, "median").verdict

    assert verdict(0.91, 0.92) == HOLDS and verdict(0.85, 0.91) == PARTLY
    assert verdict(0.80, 0.89) == NO and verdict() == OPEN


def test_a_gain_is_reported_by_model():
    runs = {
        ("c3dsu", "ddl"): seeds(0.90, 0.91, 0.92),
        ("c3dsu", "none"): seeds(0.80, 0.812, 0.818),
        ("unet", "ddl"): seeds(0.9),
    }
    paper = {m: {"none": 90.0, "ddl": 92.0} for m in ("c3dsu", "unet")}
    finding = verdicts.gain(
        "it helps", lambda *key: runs.get(key, []), "ddl", "none", paper, "median"
    )
    assert finding.verdict == PARTLY and finding.paper == "C3DSU +2.00; UNet +2.00"
    assert finding.parts["C3DSU"][0] == HOLDS and finding.parts["UNet"] == (OPEN, NOT_RUN)
    assert "C3DSU +10.00 (" in finding.outcome and len(finding.outcome.records) == 7


def test_sigma_and_the_distances_are_counted_run_by_run():
    up = list(np.linspace(0.5, 0.9, 40))
    settling = [*up[:20], *np.linspace(0.7, 0.6, 20), *[0.6] * 40]
    runs = [with_curves(a_record(0.9, model="c3dsu"), sigma=s) for s in (settling, up)]
    assert verdicts.sigma_course(runs[:1]).verdict == HOLDS
    assert verdicts.sigma_course(runs).verdict == PARTLY
    assert verdicts.sigma_course(runs[1:]).verdict == NO
    assert verdicts.sigma_course([]).verdict == OPEN
    far = with_curves(a_record(0.9), p=[1.0] * 9 + [0.1], q=[0.0] * 9 + [0.2])
    near = with_curves(a_record(0.9), p=[0.2], q=[0.1])
    assert verdicts.distances([far]).verdict == HOLDS
    assert verdicts.distances([far, near]).verdict == PARTLY
    assert verdicts.distances([near]).verdict == NO
    assert verdicts.distances([]).outcome == NOT_RUN


def test_a_weight_that_ends_near_the_fixed_one_is_said_to():
    def sentence(*ends):
        runs = [with_curves(a_record(0.9), sigma=[0.5, end]) for end in ends]
        return verdicts.likely_reason({"c3dsu": runs})

    assert "0.48 to 0.55, close to the fixed" in sentence(0.55, 0.48)
    assert "close to" not in sentence(0.5, 0.8) and "little of the object" in sentence(0.97, 0.9)


def test_noise_stands_for_others_where_other_kinds_gain():
    def trials(gains):
        runs = []
        for seed in range(3):
            settings = load_profile("tiny", seed=seed)
            for variant in ("without", "with"):
                record = a_record(0, seed, held_out=0.5)
                if variant == "with":
                    record.facts["held_out"]["median"] = {
                        kind: 0.5 + gains(kind) + seed / 1000 for kind in KINDS
                    }
                runs.append(ATrial(variant, settings, record))
        return runs

    def verdict(gains):
        return verdicts.other_anomalies(trials(gains), "median", "without", "with").verdict

    assert verdict(lambda kind: 0.1) == HOLDS
    assert verdict(lambda kind: 0.1 if kind == "skipped frames" else 0) == PARTLY
    # What it gains against noise itself is beside the question.
    assert verdict(lambda kind: 0.1 if kind.startswith("noise") else -0.1) == NO


def test_without_records_every_claim_is_open():
    findings = [*verdicts.DDLRuns([], PAPER).findings()[:5], *verdicts.of_stpa([])]
    assert {(f.outcome, f.verdict) for f in findings} == {(NOT_RUN, OPEN)}
    assert all(NOT_RUN in sentence for sentence in verdicts.DDLRuns([], PAPER).sentences())


def test_verdicts_are_counted_in_a_sentence():
    findings = [Finding("", "", "", word) for word in (HOLDS, NO, NO, OPEN)]
    sentence = verdicts.summary(findings)
    assert "4 claims 1 holds" in sentence and "0 in part, 2 not, and 1 is open" in sentence


def test_the_recorded_runs_have_six_points_and_links():
    runs = verdicts.DDLRuns(find_records(), PAPER)
    table = verdicts.verdict_table(runs.findings())
    assert set(table["holds?"]) <= {HOLDS, PARTLY, NO, OPEN} and len(table) == 7
    assert all(cell.records for cell in table["here"][:5])
    assert len(runs.sentences()) == 6 and NOT_RUN not in "".join(runs.sentences())


def test_seeds_and_effects_are_drawn_where_they_lie():
    runs = {("c3dsu", "ddl"): seeds(0.9, 0.92)}
    rows = mode_dots(PAPER["table2"], lambda *key: runs.get(key, []), "median")
    assert [(row.name, row.paper) for row in rows] == [("C3DSU DDL", 98.46)]
    axis = dot_plots.seed_dots(rows, {"neighbour mean": 91.0}).axes[0]
    assert sorted(axis.lines[1].get_xdata()) == pytest.approx([90, 92])
    assert [line.get_xdata() for line in axis.lines if list(line.get_xdata()) == [91.0, 91.0]]
    effects = [dot_plots.Effect("one", 1.0, None, None, 1), dot_plots.Effect("all", 2, 1, 3, 3)]
    axis = dot_plots.forest(effects, "points").axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["one (1)", "all (3)"]
    colours = [line.get_color() for line in axis.lines if list(line.get_xdata()) in ([1.0], [2])]
    assert colours[0] == dot_plots.PALE != colours[1]
