"""The first page tells the truth: its figure is the record's, its links lead somewhere."""

import re

import pytest

from ddllib.experiments import comparisons
from ddllib.experiments.grid import read_experiment
from ddllib.paths import PROFILES, RESULTS, ROOT
from ddllib.records import find_records

TEXT = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", ["paper-size", "headline", "headline-256"])
def test_the_results_are_those_of_the_records(name):
    trials = read_experiment(name)
    size = f"| C3DSU with DDL, {comparisons.described(trials[0].settings)} "
    row = next(line for line in TEXT.splitlines() if line.startswith(size))
    found = comparisons.finder(find_records(RESULTS), trials, preset="released")("c3dsu", "ddl")
    shown = [comparisons.mean_and_spread(comparisons.aucs(found, p)) for p in ("median", "raw")]
    assert [cell.strip() for cell in row.split("|")[3:5]] == shown


def test_links_to_files_resolve():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in t]
    assert targets and all((ROOT / target).exists() for target in targets)


def test_every_profile_it_names_is_there():
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", TEXT, flags=re.M)
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert {path.stem for path in PROFILES.glob("*.yaml")} == named
