"""A matrix of gains: numbers with their signs, bold and framed where they are beyond chance."""

import pytest

from ddllib.figures.matrices import Cell, gain_matrix

GAINS = {
    "noise": {"cart": Cell(3.04, False, False), "running": Cell(-8.0, True, False)},
    "skip": {"running": Cell(20.0, True, True)},
}


def test_each_gain_is_written_and_what_holds_is_framed():
    figure = gain_matrix(GAINS, ("cart", "running"), "tested on")
    axis = figure.axes[0]
    texts = {text.get_position(): text for text in axis.texts}
    assert {p: t.get_text() for p, t in texts.items()} == {
        (0, 0): "+3.0",
        (1, 0): "-8.0",
        (1, 1): "+20.0",
    }
    assert [texts[p].get_weight() for p in ((0, 0), (1, 0), (1, 1))] == ["normal", "bold", "bold"]
    (frame,) = axis.patches
    assert frame.get_xy() == pytest.approx((0.53, 0.54))
    assert axis.images[0].get_clim() == (-20, 20)
    assert "noise: cart +3.0; skip: running +20.0" in figure.description


def test_numbers_can_be_read_on_their_colours():
    axis = gain_matrix(GAINS, ("cart", "running"), "tested on").axes[0]
    image = axis.images[0]
    for text in axis.texts:
        column, row = map(int, text.get_position())
        red, green, blue, _ = image.to_rgba(image.get_array())[row, column]
        light = [
            ((v + 0.055) / 1.055) ** 2.4 if v > 0.04 else v / 12.92 for v in (red, green, blue)
        ]
        luminance = 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]
        ink = 1.0 if text.get_color() == "white" else 0.0
        high, low = max(ink, luminance), min(ink, luminance)
        assert (high + 0.05) / (low + 0.05) > 4.5
