"""How the book writes: what stands in its chapters and pages, and in sentences that code makes."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*(ROOT / "book").glob("*.ipynb"), *(ROOT / "book").glob("*.md"), ROOT / "README.md"]
SOURCES = [path for top in ("book", "ddllib", "data_prep") for path in (ROOT / top).rglob("*.py")]
FORMATTED = re.compile(r":[^{}\n]*%}")  # {share:.0%} writes "85%"
OPTION = re.compile(r"^:\w+:.*$", re.MULTILINE)  # of a directive, such as :width: 90%


def cells(path):
    """The cells of a page, each with its kind; a page in Markdown is one."""
    if path.suffix == ".md":
        return [("markdown", path.read_text("utf-8"))]
    notebook = json.loads(path.read_text("utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]


def without_space(kind, text):
    """Percent signs of a cell that follow their number without a space."""
    close = re.findall(r"\d%", OPTION.sub("", text)) if kind == "markdown" else []
    return close + FORMATTED.findall(text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_percent_sign_stands_apart_from_its_number(path):
    assert [fault for cell in cells(path) for fault in without_space(*cell)] == []


def test_sentences_that_code_makes_do_so_too():
    by_file = {path.name: FORMATTED.findall(path.read_text("utf-8")) for path in SOURCES}
    assert len(by_file) > 100 and {name for name, faults in by_file.items() if faults} == set()


def test_a_percent_sign_without_a_space_is_a_fault():
    assert without_space("markdown", "85% of\n:width: 90%") == ["5%"]
    assert without_space("code", 'f"{share:.0%} of"') and not without_space("code", "5 % 3, 5%3")
