"""The colours of all figures: those of Okabe and Ito, which colour-blind readers can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

BLACK, ORANGE, SKY, GREEN = "#000000", "#e69f00", "#56b4e9", "#009e73"
YELLOW, BLUE, VERMILLION, PURPLE = "#f0e442", "#0072b2", "#d55e00", "#cc79a7"
PALETTE = (BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE)
# Yellow is too pale for a line on white, and black is the ink of axes and raw scores.
LINES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)))


def tint(colour: str, share: float = 0.2) -> str:
    """A pale form of ``colour`` ("#rrggbb"): ``share`` of it, in [0, 1], the rest white."""
    parts = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return "#" + "".join(f"{round(255 - share * (255 - part)):02x}" for part in parts)


def line_styles() -> Iterator[dict]:
    """Colour and dashes of one line after the other, so that no two differ in colour alone."""
    for colour, dashes in cycle(zip(LINES, DASHES, strict=True)):
        yield {"color": colour, "linestyle": dashes}


INK, ACCENT, SECOND, SHADE = "#222222", VERMILLION, BLUE, tint(VERMILLION, 0.25)
