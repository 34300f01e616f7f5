"""What the site has beside Jupyter Book's own: descriptions, σ in the search, pages of source."""

from __future__ import annotations

import html
import re
import textwrap

import sphinx.search
from docutils import nodes
from sphinx.search.en import SearchEnglish

LONGEST = 200  # characters of a description
SHORTEST = 60  # of the paragraph that it is taken from


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


def setup(app) -> dict:
    """Called by Sphinx."""
    sphinx.search.languages["en"] = Search
    app.connect("html-page-context", _describe)
    app.connect("html-page-context", _leave_out_back_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
