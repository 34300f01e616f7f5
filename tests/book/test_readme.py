"""The first page tells the truth: its figure is the record's, its links lead somewhere."""

import re

import pytest
from cover import with_verdict

from ddllib.experiments import baselines, comparisons, own_score
from ddllib.experiments.grid import read_experiment
from ddllib.experiments.terms import of_plain_score
from ddllib.paths import PROFILES, RESULTS, ROOT
from ddllib.records import find_records

TEXT = (ROOT / "README.md").read_text()


RECORDS = [r for r in find_records(RESULTS) if r.metrics]
UNLEARNT = of_plain_score(RECORDS)
PROTOCOLS = ("median", "raw")


def row_of(name):
    """The cells of the table of results after the first, which begins with ``name``."""
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| {name}"))
    return [cell.strip() for cell in row.split("|")[2:-1]]


@pytest.mark.parametrize("name", ["paper-size", "headline", "headline-256"])
def test_the_results_are_those_of_the_records(name):
    trials = read_experiment(name)
    runs = comparisons.finder(RECORDS, trials, preset="released")("c3dsu", "ddl")
    cells = row_of(f"C3DSU with DDL, {comparisons.described(trials[0].settings)} ")
    mean = baselines.marked_mean(UNLEARNT)
    assert cells[1:3] == [mean(runs, p) for p in PROTOCOLS]
    above = [baselines.over_neighbours(runs, UNLEARNT, p) for p in PROTOCOLS]
    assert cells[3:] == [baselines.points(difference) for difference in above]


@pytest.mark.parametrize("variant", [own_score.VARIANT, own_score.SUM])
def test_the_rows_by_this_edition_s_scores_are_those_of_the_records(variant):
    runs = own_score.runs_by(RECORDS, "ddl", variant)
    size = comparisons.described(own_score.trials_by("ddl")[0].settings)
    cells = row_of(f"{variant}: C3DSU with DDL, {size} ")
    mean = baselines.marked_mean(RECORDS)
    assert cells[1:3] == [mean(runs, p) for p in PROTOCOLS]
    above = [baselines.over_neighbours(runs, RECORDS, p) for p in PROTOCOLS]
    assert cells[3:] == [baselines.points(difference) for difference in above]
    neighbours = baselines.beside(runs[0], RECORDS)[baselines.NEIGHBOURS]
    cells = row_of(f"{variant}: neighbour mean, 128 x 128")
    assert cells[1:3] == [baselines.mean_of(neighbours, p) for p in PROTOCOLS]


@pytest.mark.parametrize("size", [192, 256])
@pytest.mark.parametrize("name", baselines.CHANGES)
def test_what_learns_nothing_stands_beside_them_at_the_same_sizes(name, size):
    runs = [r for r in UNLEARNT if baselines.baseline_name(r) == name]
    runs = [r for r in runs if r.facts["settings"]["size"] == size]
    cells = row_of(f"nothing learnt: {name}, {size} x {size} ")
    assert runs and cells[1:3] == [baselines.mean_of(runs, p) for p in PROTOCOLS]


def test_the_verdict_is_that_of_the_records():
    assert with_verdict(TEXT) == TEXT


def test_links_to_files_resolve():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in t]
    assert targets and all((ROOT / target).exists() for target in targets)


def test_every_profile_it_names_is_there():
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", TEXT, flags=re.M)
    names = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert {path.stem for path in PROFILES.glob("*.yaml")} == names
