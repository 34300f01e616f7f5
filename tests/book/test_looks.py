"""The built site in a browser: on a screen and on a phone, light and dark."""

from pathlib import Path

import pytest
from chapters import pages
from support import browser as browsers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browsers.PROGRAM, reason="needs Chromium"),
]

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"phone": (390, 844), "screen": (1400, 900)}  # texts are looked at on the last
CONTRAST = (Path(__file__).parents[1] / "support" / "contrast.js").read_text()
WIDTHS = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
STILL = """(() => {
  const style = document.createElement("style");
  style.textContent = "* { transition: none !important; }";
  document.head.append(style);
})()"""  # no colour on its way from one theme to the other
PICTURES = "[...document.images].filter((i) => i.complete && !i.naturalWidth).map((i) => i.src)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = browsers.Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def looks(browser, site):
    """By page: what the console was told, how wide it is by size, and its pale texts by theme."""
    files = [site / f"{page}.html" for page in pages(ROOT)]
    files += [*(site / "book" / "api").glob("*.html"), site / "search.html", site / "genindex.html"]
    results = {}
    for path in files:
        browser.errors.clear()
        browser.resize(*SIZES["phone"])
        browser.open(path)
        browser.value(STILL)
        widths, pale = {}, {}
        for size, shape in SIZES.items():
            browser.resize(*shape)
            widths[size] = browser.value(WIDTHS)
        for theme in ("light", "dark"):
            browser.value(f"document.documentElement.dataset.theme = {theme!r}")
            pale[theme] = browser.value(CONTRAST)
        name = str(path.relative_to(site))
        results[name] = list(browser.errors), widths, pale, browser.value(PICTURES)
    return results


def test_no_page_reports_an_error(looks):
    assert {name: errors for name, (errors, *_) in looks.items() if errors} == {}


def test_no_page_is_wider_than_its_window(looks):
    for name, (_, widths, *_) in looks.items():
        for size, (width, window) in widths.items():
            assert width <= window, f"{name} on a {size}: {width} > {window}"


def test_every_text_can_be_read_in_both_themes(looks):
    for name, (_, _, pale, _) in looks.items():
        assert pale == {"light": [], "dark": []}, name


def test_every_picture_is_shown(looks):
    assert {name: faults for name, (*_, faults) in looks.items() if faults} == {}
