"""What the page of the camera says of its records."""

import json

import pytest
from bs4 import BeautifulSoup

from ddllib.figures.watch_record import changed, expectations, loop
from ddllib.paths import RESULTS

RECORDED = RESULTS / "watched" / "ped2"


def report(path):
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def watch():
    return report(RECORDED / "watch.json")


def test_the_box_tells_what_the_records_hold(watch):
    studies = RESULTS / "thresholds"
    stream, retrain = report(studies / "stream.json"), report(studies / "retrain.json")
    lines = [
        line.get_text()
        for line in BeautifulSoup(expectations(watch, stream, retrain).data, "html.parser")("li")
    ]
    assert len(lines) == 6
    assert f"{watch['verdicts'].count('hit')} hits" in lines[0]
    assert f"{stream['met'][0]} of {stream['met'][1]} abnormal" in lines[3]
    assert f"{100 * retrain['rows'][0]['in_alarm']:.0f} %" in lines[5]


def test_without_records_the_box_says_that_nothing_was_run():
    assert "not run" in expectations(None, None, None).data


def test_events_during_a_change_are_counted():
    events = [{"drift": "score"}, {"drift": ""}, {"drift": "light"}]
    assert changed(events).startswith("2 of 3 events")


def test_the_looping_clip_waits_until_it_is_played(watch):
    (video,) = BeautifulSoup(loop(RECORDED, watch).data, "html.parser")("video")
    assert video["preload"] == "none" and "autoplay" not in video.attrs and "loop" in video.attrs
    assert video["poster"].startswith("data:image/jpeg") and video["aria-label"]
