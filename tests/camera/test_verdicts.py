"""Events beside labels and masks."""

import numpy as np
import pytest

from ddllib.camera.events import Event
from ddllib.camera.verdicts import BESIDE, FALSE, HIT, counts, verdicts

LABELS = np.r_[np.zeros(10, int), np.ones(10, int), np.zeros(10, int)]
MASKS = np.zeros((30, 20, 40), np.uint8)
MASKS[10:20, 5:10, 20:30] = 1  # rows a quarter to a half, columns a half to three quarters


def event(start, end, peak=None, box=(0.5, 0.25, 0.75, 0.5)):
    peak = end if peak is None else peak
    return Event(start / 10, end / 10, peak / 10, start, end, peak, 1.0, box=box)


def test_an_event_whose_box_holds_the_anomaly_is_a_hit():
    assert verdicts([event(8, 15)], LABELS, MASKS) == [HIT]


@pytest.mark.parametrize("box", [(0.0, 0.0, 0.2, 0.2), (0.75, 0.25, 1.0, 0.5)])
def test_an_event_about_another_place_is_beside(box):
    assert verdicts([event(8, 15, box=box)], LABELS, MASKS) == [BESIDE]


def test_an_event_whose_peak_is_normal_is_beside():
    assert verdicts([event(5, 15, peak=6)], LABELS, MASKS) == [BESIDE]


def test_an_event_on_normal_frames_alone_is_a_false_alarm():
    assert verdicts([event(0, 9), event(20, 29)], LABELS, MASKS) == [FALSE, FALSE]


def test_without_masks_or_box_an_abnormal_frame_is_enough():
    assert verdicts([event(5, 15, peak=6)], LABELS) == [HIT]
    assert verdicts([event(5, 15, box=None)], LABELS, MASKS) == [HIT]


def test_counts_are_reported_in_words():
    assert counts([HIT, FALSE, HIT]) == "3 events: 2 hits, 0 beside, 1 false alarm"
    assert counts([]) == "0 events: 0 hits, 0 beside, 0 false alarms"
