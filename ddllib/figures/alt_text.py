"""Figures that say in words what they show, for readers who cannot see them."""

from __future__ import annotations

import re
import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

LONGEST = 400  # characters; a screen reader reads all of them
_MATHS = re.compile(r"\\mathrm\{(\w+)\}|[$\\{}]")  # signs that are only for setting formulas


class DescribedFigure(Figure):
    """A figure whose output in a notebook has a text beside its picture.

    ``description`` replaces the text that is made from its titles, labels and legends.
    """

    description: str | None = None

    def _repr_mimebundle_(self, include=None, exclude=None):
        """The picture, and in its metadata the text."""
        from IPython.core.pylabtools import print_figure

        picture = print_figure(self, fmt="png", base64=True)
        text = self.description or describe(self)
        return {"image/png": picture, "text/plain": repr(self)}, {"image/png": {"alt": text}}


def describe(figure: Figure) -> str:
    """Sentences on a figure: its title, its pictures, and of each chart what is over what."""
    title = plain(figure.get_suptitle())
    axes = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    pictures = [plain(_title(axis)) for axis in axes if axis.images]
    charts = [axis for axis in axes if not axis.images and axis.axison]
    drawings = [axis for axis in axes if not axis.images and not axis.axison]
    sentences = [f"{title}."] if title else []
    if pictures:
        named = "; ".join(name for name in pictures if name)
        sentences.append(f"{len(pictures)} pictures" + (f": {named}." if named else "."))
    sentences += [_chart(axis) for axis in charts]
    for axis in drawings:
        texts = "; ".join(plain(text.get_text()) for text in axis.texts)
        sentences += [f"Diagram: {texts}."] if texts else []
    return textwrap.shorten(" ".join(sentences), LONGEST, placeholder=" …")


def _title(axis: Axes) -> str:
    titles = (axis.get_title(loc) for loc in ("left", "center", "right"))
    return " ".join(title for title in titles if title)


def _chart(axis: Axes) -> str:
    """What is over what in one chart, and the names of its lines."""
    x, y, title = (plain(text) for text in (axis.get_xlabel(), axis.get_ylabel(), _title(axis)))
    over = f"{y or 'values'} over {x}" if x else y
    names = [plain(str(name)) for name in axis.get_legend_handles_labels()[1]]
    parts = [part for part in (title, over, ", ".join(dict.fromkeys(names))) if part]
    return f"Chart: {': '.join(parts)}." if parts else "Chart."


def plain(text: str) -> str:
    """A label without the signs that only set formulas: ``$f(X_A)$`` becomes ``f(X_A)``."""
    text = text.replace(r"\sigma", "σ")
    return " ".join(_MATHS.sub(lambda match: match[1] or "", text).split())
