"""The colours of figures."""

import re
from itertools import islice
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.colors import to_hex

from ddllib.figures import colours, plots

ROOT = Path(__file__).resolve().parents[2]
OKABE_ITO = "000000 e69f00 56b4e9 009e73 f0e442 0072b2 d55e00 cc79a7".split()


def hues(text):
    """The colours written as "#rrggbb" in a text that are not grey."""
    codes = {match.lower() for match in re.findall(r"#([0-9a-fA-F]{6})\b", text)}
    return {c for c in codes if len({c[:2], c[2:4], c[4:]}) > 1}


def test_figures_use_the_palette_and_greys_only():
    files = [path for room in ("figures", "camera") for path in (ROOT / "ddllib" / room).rglob("*")]
    texts = {path.name: path.read_text() for path in files if path.suffix in (".py", ".html")}
    assert hues(texts["colours.py"]) == {c for c in OKABE_ITO if c != "000000"}
    assert {name: strange for name, t in texts.items() if (strange := hues(t) - {*OKABE_ITO})} == {}


def test_no_two_neighbouring_lines_differ_in_colour_alone():
    styles = list(islice(colours.line_styles(), len(colours.LINES)))
    assert len({str(style["linestyle"]) for style in styles}) == len(styles)
    figure = plots.sigma_curve({name: {"sigma": [0.5, 0.6]} for name in ("ddl", "sdl", "none")})
    lines = figure.axes[0].lines[:3]
    assert len({line.get_color() for line in lines}) == 3
    assert len({str(line._dash_pattern) for line in lines}) == 3


def test_the_style_of_a_chapter_sets_the_palette():
    with plt.rc_context():
        plots.set_style()
        cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert [to_hex(c) for c in cycle] == list(colours.LINES)


@pytest.mark.parametrize(("share", "expected"), [(0, "#ffffff"), (1, colours.BLUE)])
def test_a_tint_lies_between_white_and_its_colour(share, expected):
    assert colours.tint(colours.BLUE, share) == expected
