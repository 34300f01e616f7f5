"""Texts for readers who cannot see a figure."""

import numpy as np

from ddllib.figures import plots
from ddllib.figures.alt_text import LONGEST, describe, plain


def test_pictures_are_named_by_their_titles():
    frames = [np.zeros((3, 8, 8), np.uint8)] * 2
    text = describe(plots.frame_strip(frames, ["frame 3", "$f(X)$"]))
    assert text == "2 pictures: frame 3; f(X)."


def test_a_chart_says_what_is_over_what_and_names_its_lines():
    figure = plots.sigma_curve({"ddl": {"sigma": [0.5, 0.6]}, "sdl": {"sigma": [0.5, 0.5]}})
    assert describe(figure) == "Chart: anomaly weight σ(l) over step: ddl, sdl."


def test_a_colour_bar_is_no_chart():
    error = np.ones((8, 8))
    figure = plots.reconstructions({"X": np.zeros((3, 8, 8))}, {"error": error})
    assert "Chart" not in describe(figure)


def test_long_texts_are_cut():
    frames = [np.zeros((3, 8, 8), np.uint8)] * 30
    figure = plots.frame_strip(frames, [f"clip {k}, frame 0" for k in range(30)])
    assert len(describe(figure)) <= LONGEST


def test_the_output_of_a_figure_has_its_text_beside_it():
    figure = plots.roc_curves({"raw": ([0, 1], [0, 1])})
    data, metadata = figure._repr_mimebundle_()
    assert set(data) == {"image/png", "text/plain"}
    assert metadata["image/png"]["alt"] == describe(figure)
    figure.description = "A straight line."
    assert figure._repr_mimebundle_()[1]["image/png"]["alt"] == "A straight line."


def test_signs_of_formulas_are_left_out():
    assert plain(r"$L_\mathrm{dist}$") == "L_dist"
    assert plain(r"$\sigma=0.50$") == "σ=0.50"
