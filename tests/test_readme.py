"""The first page tells the truth: its figure is the record's, its links lead somewhere."""

import re

from ddllib.comparisons import aucs, mean_and_spread, runs_of
from ddllib.records import find_records
from ddllib.settings import PROFILES, RESULTS, ROOT

TEXT = (ROOT / "README.md").read_text()


def test_the_headline_is_that_of_the_records():
    row = next(line for line in TEXT.splitlines() if line.startswith("| C3DSU with DDL, small"))
    records = runs_of(find_records(RESULTS), "ped2-cpu", "c3dsu", "ddl")
    assert row.split("|")[-2].strip() == mean_and_spread(aucs(records, "median"))


def test_links_to_files_resolve():
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", TEXT) if "://" not in t]
    assert targets and all((ROOT / target).exists() for target in targets)


def test_every_profile_it_names_is_there():
    rows = re.findall(r"^\| (`[\w-]+`(?:, `[\w-]+`)*) \|", TEXT, flags=re.M)
    named = {name for row in rows for name in re.findall(r"`([\w-]+)`", row)}
    assert {path.stem for path in PROFILES.glob("*.yaml")} == named
