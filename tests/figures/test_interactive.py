"""Pieces that a reader moves, in a browser: by mouse, finger and keyboard, and without a script."""

import json
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from support import browser as browsers

from ddllib.errors import DDLError
from ddllib.figures.interactive import (
    Clip,
    error_pictures,
    slider,
    threshold_sentence,
    timeline,
    write_timeline,
)

STYLE = Path(__file__).resolve().parents[2] / "book" / "style"
QUIET, LOUD = 0.1, 0.9
in_a_browser = pytest.mark.skipif(not browsers.PROGRAM, reason="needs Chromium")


def clip(name, loud, abnormal, count=40):
    """A clip whose score is high at some frames, and of which others are abnormal."""
    scores, labels = np.full(count, QUIET), np.zeros(count, int)
    scores[slice(*loud)], labels[slice(*abnormal)] = LOUD, 1
    greys = np.arange(count, dtype=np.uint8)[:, None, None, None]
    frames = np.broadcast_to(greys, (count, 16, 24, 3))
    return Clip(name, scores, labels, frames, frames)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A timeline of three clips: a hit, a false alarm, and nothing."""
    folder = tmp_path_factory.mktemp("timeline")
    clips = [clip("a", (10, 20), (12, 18)), clip("b", (5, 15), (0, 0)), clip("c", (0, 0), (0, 0))]
    write_timeline(folder, clips, threshold=0.5, quiet=QUIET, least=5)
    return folder


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    """A page with both pieces."""
    pictures = [np.full((3, 8, 8), k / 4) for k in range(5)]
    parts = slider(pictures, [f"{k / 4:.2f}" for k in range(5)], "σ", "five greys", start=2)
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(
        f'<!doctype html><meta charset="utf-8"><style>{(STYLE / "book.css").read_text()}</style>'
        f"{parts.data}{timeline(folder).data}<script>{(STYLE / 'touch.js').read_text()}</script>"
    )
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = browsers.Browser(tmp_path_factory.mktemp("browser"))
    yield browser
    browser.close()


def story_of(folder):
    return json.loads((folder / "timeline.json").read_text())


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.5, "1 of 1 abnormal stretches raise an alarm, 1 false alarm"), (0.95, "0 of 1")],
)
def test_a_threshold_tells_its_hits_and_false_alarms(folder, threshold, expected):
    assert expected in threshold_sentence(story_of(folder), threshold)


def test_a_timeline_that_lacks_a_file_is_reported_in_one_line(folder, tmp_path):
    (tmp_path / "timeline.json").write_text(json.dumps(story_of(folder)))
    with pytest.raises(DDLError, match="a-frames.webp: cannot be read"):
        timeline(tmp_path)


def test_error_maps_have_one_scale_for_all_frames():
    maps = np.stack([np.full((4, 4), 0.25), np.full((4, 4), 1.0)])
    weak, strong = error_pictures(maps, (8, 8)).astype(int).sum(axis=(1, 2, 3))
    assert 0 < weak < strong


def test_without_a_script_both_pieces_are_pictures(page):
    soup = BeautifulSoup(page.read_text(), "html.parser")
    assert [image["alt"] for image in soup.select("img")] == [
        *("five greys", "frame of the highest score", "error map of the highest score")
    ]
    assert len(soup.select("svg .ddl-score")) == 3 and len(soup.select("svg .ddl-abnormal")) == 1
    assert "1 false alarm" in soup.select_one(".ddl-told").get_text()


@in_a_browser
def test_the_slider_moves_by_keyboard_and_by_mouse(browser, page):
    browser.open(page)
    expression = "document.querySelector('.ddl-slider output').textContent"
    assert browser.value(expression) == "0.50"
    browser.value("document.querySelector('.ddl-slider input').focus()")
    browser.press("ArrowRight")
    assert browser.value(expression) == "0.75"
    browser.drag(browser.place(".ddl-slider input", x=0.01))
    assert browser.value(expression) == "0.00"
    assert browser.value("document.querySelector('.ddl-slider img').style.left") == "0%"
    assert browser.errors == []


FRAME = "Number(document.querySelector('.ddl-frame').value)"
TOLD = "document.querySelector('.ddl-told').textContent"


@in_a_browser
def test_frames_of_a_timeline_follow_mouse_finger_and_keyboard(browser, page):
    browser.open(page)
    browser.point_at(browser.place(".ddl-timeline svg", x=0.5, y=0.9))
    assert browser.value(FRAME) == 60  # of 120
    alt = "document.querySelector('.ddl-views img').alt"
    assert browser.value(alt) == "frame of clip b"
    browser.tap(browser.place(".ddl-timeline svg", x=0.9, y=0.9))
    assert browser.value(FRAME) == 108 and browser.value(alt) == "frame of clip c"
    browser.value("document.querySelector('.ddl-frame').focus()")
    browser.press("ArrowLeft")
    assert browser.value(FRAME) == 107
    assert browser.errors == []


@in_a_browser
def test_the_threshold_counts_as_the_watch_does(browser, page, folder):
    browser.open(page)
    story = story_of(folder)
    assert browser.value(TOLD) == threshold_sentence(story, 0.5)
    middle = browser.place(".ddl-level")
    top = browser.place(".ddl-timeline svg", y=0.11)
    browser.drag(middle, {**top, "x": middle["x"]})
    assert "0 of 1 abnormal" in browser.value(TOLD) and "0 false" in browser.value(TOLD)
    browser.value("document.querySelector('.ddl-threshold').focus()")
    for _ in range(25):
        browser.press("ArrowLeft")
    threshold = float(browser.value(TOLD).split(":")[0].split()[1])
    assert browser.value(TOLD).split(":")[1] == threshold_sentence(story, threshold).split(":")[1]
    assert "1 of 1 abnormal" in browser.value(TOLD)


@in_a_browser
def test_the_timeline_plays_and_stops(browser, page):
    browser.open(page)
    button = "document.querySelector('.ddl-controls button')"
    browser.drag(browser.place(".ddl-controls button"))
    assert browser.value(f"{button}.textContent") == "stop"
    browser.drag(browser.place(".ddl-controls button"))
    assert browser.value(f"{button}.textContent") == "play"
