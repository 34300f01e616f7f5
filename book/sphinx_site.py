"""What the site has beside Jupyter Book's own, and what it leaves out.

It adds descriptions and finds σ in the search; it leaves out links and scripts without use.
"""

from __future__ import annotations

import html
import re
import textwrap
from pathlib import Path

import sphinx.search
from docutils import nodes
from sphinx.search.en import SearchEnglish

LONGEST = 200  # characters of a description
SHORTEST = 60  # of the paragraph that it is taken from
# The theme's style sheet draws every icon of these pages by a font, so its script for icons, half
# of a page's weight, is not needed. The search has a page of its own, and only that one searches.
_ICONS = ("fontawesome",)
_SEARCH = ("searchtools", "language_data", "searchindex")


class Search(SearchEnglish):
    """English, where σ is found as sigma, in pages as in what a reader types."""

    js_splitter_code = r"""
var splitQuery = (query) =>
  query.replace(/σ/g, " sigma ").split(/[^\p{Letter}\p{Number}_\p{Emoji_Presentation}]+/gu)
    .filter((term) => term);
"""

    def split(self, text: str) -> list[str]:
        return super().split(text.replace("σ", " sigma "))


def description(doctree: nodes.document) -> str:
    """The first paragraph of some length, shortened; empty where a page has none."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text) >= SHORTEST:
            return textwrap.shorten(text, LONGEST, placeholder=" …")
    return ""


def _describe(app, page: str, template: str, context: dict, doctree) -> None:
    """Add the description to the head of a page."""
    text = description(doctree) if doctree is not None else ""
    if text:
        tag = f'<meta name="description" content="{html.escape(text)}" />'
        context["metatags"] = context.get("metatags", "") + tag


def _leave_out_back_links(app, page: str, template: str, context: dict, doctree) -> None:
    """Take from pages of source what leads nowhere.

    For a name that a module passes on, Sphinx links every function of the other module to a place
    that the API's pages do not have. It also lists the module ``builtins``, which has no page.
    """
    if page.startswith("_modules/"):
        body = re.sub(r'<a class="viewcode-back".*?</a>', "", context["body"])
        context["body"] = re.sub(r'<li><a href="builtins.html">.*?</li>', "", body)


def without_scripts(page: str, names: tuple[str, ...]) -> str:
    """The text of a page without the scripts of these ``names``, such as ``searchindex``."""
    loaded = rf'<script[^>]*\bsrc="[^"]*\b(?:{"|".join(names)})\.js[^"]*"[^>]*></script>\s*'
    return re.sub(loaded, "", page)


def _lighten(app, exception) -> None:
    """Leave out of every page the scripts that it does not use."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            names = _ICONS if path.name == "search.html" else _ICONS + _SEARCH
            path.write_text(without_scripts(path.read_text("utf-8"), names), "utf-8")


def setup(app) -> dict:
    """Called by Sphinx."""
    app.config.mathjax_path = "mathjax/startup.js"  # loads what _config.yml names
    sphinx.search.languages["en"] = Search
    app.connect("html-page-context", _describe)
    app.connect("html-page-context", _leave_out_back_links)
    app.connect("build-finished", _lighten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
