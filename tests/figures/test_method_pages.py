"""The method on the page: sources without docstrings, and every value in one table."""

import json
import re

import pytest

from ddllib.figures.chapter import paper_figures
from ddllib.figures.method_pages import SETTINGS, setting_table, source_of
from ddllib.paths import ROOT
from ddllib.settings import load_profile


class Example:
    """Left out."""

    def method(self, x):
        """Left out, too,

        over several lines.
        """
        text = """not a docstring"""  # a comment
        return x, text


def test_source_is_shown_without_docstrings_and_with_comments():
    assert source_of(Example.method) == (
        'def method(self, x):\n    text = """not a docstring"""  # a comment\n    return x, text'
    )
    assert "Left out" not in source_of(Example)


def test_every_value_stands_beside_what_was_reported():
    by_paper = paper_figures(ROOT / "book" / "paper.yaml")["settings"]
    table = setting_table(by_paper, ["ped2", "demo"]).set_index("")
    assert list(table.columns) == [*by_paper, "ped2", "demo"] and len(table) == len(SETTINGS)
    assert table.loc[SETTINGS["distinction_weight"], "released code"] == "0.01"
    assert table.loc[SETTINGS["learning_rate"], "paper"] == "not given"
    assert table.loc[SETTINGS["latent_dim"], "demo"] == str(load_profile("demo").latent_dim)
    # A name that is mistyped in paper.yaml would be in no row.
    assert all(values.keys() <= SETTINGS.keys() for values in by_paper.values())


SHOWN = ("02-pseudo-anomalies", "03-model", "04-losses-and-sigma", "05-training")


@pytest.mark.parametrize("stem", [*SHOWN, "06-scoring-and-evaluation"])
def test_sources_on_a_page_are_short(executed_chapters, stem):
    executed = json.loads(executed_chapters.executed(f"book/{stem}").read_text())
    outputs = [output for cell in executed["cells"] for output in cell.get("outputs", [])]
    texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in outputs]
    sources = [s for text in texts for s in re.findall(r"```python\n(.*?)\n```", text, re.DOTALL)]
    assert sources and all(len(source.splitlines()) < 20 for source in sources)
