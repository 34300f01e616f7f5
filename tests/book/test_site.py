"""The built site: complete, free of errors, and whole without a network."""

from __future__ import annotations

import inspect
import json
import re
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from chapters import notebooks, pages
from publishing import missing_pages

import ddllib
from ddllib.evaluation import micro_auc

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def soups(site) -> dict[Path, BeautifulSoup]:
    files = sorted(path for path in site.rglob("*.html") if "_static" not in path.parts)
    return {path: BeautifulSoup(path.read_text(), "html.parser") for path in files}


def test_every_page_of_the_toc_exists(site):
    assert missing_pages(ROOT, site) == []


def test_every_source_page_is_in_the_toc():
    sources = {f"book/{path.stem}" for path in (ROOT / "book").glob("*.ipynb")}
    sources |= {f"book/{path.stem}" for path in (ROOT / "book").glob("*.md")}
    assert sources == set(pages(ROOT))


def test_no_chapter_holds_an_error(executed_chapters, soups):
    for page in notebooks(executed_chapters):
        notebook = nbformat.read(executed_chapters.executed(page), as_version=4)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        assert outputs, f"{page}: no output at all"
        assert not [o for o in outputs if o.output_type == "error"], page
    for path, soup in soups.items():
        assert "Traceback (most recent call last)" not in soup.get_text(), path.name


def test_figures_are_shown_as_pictures(executed_chapters):
    for page in notebooks(executed_chapters):
        for cell in nbformat.read(executed_chapters.executed(page), as_version=4).cells:
            for output in cell.get("outputs", []):
                if output.get("data", {}).get("text/plain", "").startswith("<Figure size"):
                    assert "image/png" in output.data, f"{page}: {cell.source}"


def test_sources_are_committed_without_outputs():
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert not any(cell.get("outputs") for cell in cells), f"{path.name}: clear its outputs"


def test_citations_resolve(soups):
    for path, soup in soups.items():
        assert "[?]" not in soup.get_text(), path.name
    entries = next(s for p, s in soups.items() if p.stem == "references").select("div.citation")
    assert len(entries) == (ROOT / "book" / "references.bib").read_text().count("\n@") + 1


def api_ids(soups) -> set[str]:
    """The anchors of the API's pages."""
    pages = [soup for path, soup in soups.items() if path.parent.name == "api"]
    return {element["id"] for page in pages for element in page.select("[id]")}


def test_the_api_lists_every_public_name(soups):
    ids = api_ids(soups)
    for name in ddllib.__all__:
        value = getattr(ddllib, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert f"{value.__module__}.{name}" in ids, f"{name} is not in the API"


def test_every_name_of_the_api_leads_to_its_source(soups):
    page = next(soup for path, soup in soups.items() if path.name == "ddllib-models.html")
    names = page.select("dl.py.function > dt, dl.py.class > dt")
    assert names and all(element.select("a .viewcode-link") for element in names)


def test_the_api_lists_every_module(soups):
    ids = api_ids(soups)
    for package in ("ddllib", "data_prep"):
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            if path.stem == "__init__" or not path.stem.startswith("_"):
                assert f"module-{name}" in ids, f"the API lacks {name}"


def test_the_front_page_shows_the_results_of_the_first_page(soups, site):
    text = soups[site / "book" / "index.html"].get_text(" ", strip=True)
    rows = [r for r in (ROOT / "README.md").read_text().splitlines() if r.startswith("| C3DSU")]
    cells = [cell.strip() for row in rows for cell in row.split("|")[1:-1]]
    assert len(rows) == 3 and all(cell in text for cell in cells)


def test_every_page_has_the_books_style(soups, site):
    for path, soup in soups.items():
        if path == site / "index.html":  # leads to the first page and shows nothing
            continue
        sheets = [link["href"].split("?")[0] for link in soup.find_all("link", rel="stylesheet")]
        (own,) = [sheet for sheet in sheets if sheet.endswith("book.css")]
        assert (path.parent / own).read_text() == (ROOT / "book/style/book.css").read_text()


def test_a_records_auc_can_be_computed_from_the_site(site):
    record = next((site / "book" / "results" / "ped2-cpu").glob("*/run.json"))
    with np.load(record.with_name("scores.npz")) as scores:
        with np.load(record.with_name("labels.npz")) as labels:
            auc = micro_auc(dict(scores), dict(labels), "raw")
    assert auc == json.loads(record.read_text())["metrics"]["raw"]["auc"]


def test_internal_links_and_images_resolve(site, soups):
    ids = {path: {e["id"] for e in soup.select("[id]")} for path, soup in soups.items()}
    faults = []
    for path, soup in soups.items():
        for element in soup.select("a[href], link[href], img[src], script[src]"):
            target = urlsplit(element.get("href") or element.get("src"))
            if target.scheme or target.netloc or not (target.path or target.fragment):
                continue
            file = (path.parent / unquote(target.path)).resolve() if target.path else path
            anchor = unquote(target.fragment)
            lacks_anchor = anchor and file in ids and anchor not in ids[file]
            if not file.is_file() or lacks_anchor:
                faults.append(f"{path.relative_to(site)}: {target.geturl()}")
    assert faults == []


def test_no_page_holds_a_video_or_is_heavy(site, soups):
    for path, soup in soups.items():
        text = path.read_text()
        assert "data:video" not in text, path.relative_to(site)
        # Lazy pictures are loaded as a reader comes to them.
        pictures = soup.select("img[src]:not([loading=lazy])")
        elements = [*pictures, *soup.select("script[src], link[rel=stylesheet][href]")]
        sources = [e.get("src") or e["href"] for e in elements]
        sources = [source for source in sources if not source.startswith("data:")]
        files = {(path.parent / unquote(urlsplit(source).path)).resolve() for source in sources}
        size = len(text) + sum(file.stat().st_size for file in files)
        # What MathJax and the theme load by themselves, parts of it and a font for icons.
        size += 1_100_000 if "mathjax" in text else 160_000
        assert size < 3e6, f"{path.relative_to(site)}: {size / 1e6:.1f} MB"


def test_every_page_has_a_description_and_every_figure_a_text(site, soups):
    for page in pages(ROOT):
        soup = soups[site / f"{page}.html"]
        assert soup.select_one("meta[name=description]")["content"], page
        texts = [e.get("alt", "") for e in soup.select("div.cell_output img")]
        assert all(text.strip() and "_images/" not in text for text in texts), page


def test_formulas_of_written_sentences_are_set(soups):
    for path, soup in soups.items():
        for element in soup.select("div.cell_output p"):
            assert "$" not in element.get_text(), (path.name, element)


def test_only_the_search_page_loads_the_index(soups, site):
    for path, soup in soups.items():
        loads_index = any("searchindex.js" in e["src"] for e in soup.select("script[src]"))
        assert loads_index == (path == site / "search.html"), path.name


def test_no_script_is_loaded_twice_and_no_constant_is_declared_twice(soups):
    for path, soup in soups.items():
        scripts = [e.get("src") or e.get_text() for e in soup.select("script")]
        scripts = [s for s in scripts if s.split("?")[0].endswith(".js") or "const " in s]
        assert len(scripts) == len(set(scripts)), path.name


def test_pages_load_nothing_from_elsewhere(soups):
    for path, soup in soups.items():
        elements = soup.select("script[src], img[src], link[rel=stylesheet][href], iframe[src]")
        for element in elements:
            assert not urlsplit(element.get("src") or element.get("href")).netloc, (path, element)


def test_no_page_names_a_folder_of_this_machine(site, executed_chapters, soups):
    folders = {str(ROOT), sys.prefix, sys.base_prefix, str(executed_chapters.out.parent)}
    folders |= {str(Path.home())} if len(Path.home().parts) > 2 else {f"{Path.home()}/"}
    # Not within a picture in base64, where a short name such as /usr may stand by chance.
    any_of_them = "|".join(map(re.escape, folders))
    pattern = re.compile(rf"(?<![\w/+=])(?:{any_of_them})(?![\w+=])")
    for path in [*soups, *(site / "_sources").rglob("*.ipynb")]:
        assert not pattern.findall(path.read_text()), path.relative_to(site)
