"""Scores to events: hysteresis, least duration, gaps, the region, the file that survives."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddllib.camera.event_file import EventFile, read_events
from ddllib.camera.events import (
    Event,
    EventDetector,
    clock,
    count_events,
    find_events,
    least_frames,
    region,
)
from ddllib.errors import DDLError
from ddllib.patches import best_patch, corner, patch_scores

QUIET, MIDDLE, HIGH = 0.1, 0.4, 0.9


def spans(events):
    return [(event.start, event.end) for event in events]


def test_an_event_starts_above_the_threshold_and_ends_below_the_release():
    scores = [QUIET, MIDDLE, HIGH, MIDDLE, HIGH, MIDDLE, QUIET, MIDDLE, QUIET]
    (event,) = find_events(scores, 0.5, 0.3, frame_rate=10)
    assert (event.start, event.end, event.peak) == (2, 5, 2)
    assert (event.start_s, event.end_s, event.peak_s) == (0.2, 0.5, 0.2)
    assert event.score == HIGH and not event.open
    assert spans(find_events(scores, 0.5, 0.5, frame_rate=10)) == [(2, 2), (4, 4)]


def test_what_is_shorter_than_the_least_duration_is_no_event():
    scores = [QUIET, HIGH, HIGH, QUIET, HIGH, HIGH, HIGH, QUIET]
    assert spans(find_events(scores, 0.5, 0.3, 10, least_s=0.3)) == [(4, 6)]


def test_an_event_at_the_end_of_the_footage_is_closed_and_marked():
    (event,) = find_events([QUIET, HIGH, HIGH], 0.5, 0.3, 10)
    assert (event.start, event.end, event.open) == (1, 2, True)


@pytest.mark.parametrize(
    "after", [(7, 1.7, HIGH), (3, 0.1, HIGH), (1, 0.3, HIGH), (3, 0.3, float("nan"))]
)
def test_a_gap_ends_an_event(after):
    detector = EventDetector(0.5, 0.3)
    assert not any(detector.push(i, i / 10, HIGH) for i in range(3))
    event = detector.push(*after)
    assert (event.start, event.end, event.open) == (0, 2, False)
    rest = detector.close()
    assert rest is None if np.isnan(after[2]) else rest.start == after[0]


def test_a_dropped_frame_does_not_end_an_event():
    detector = EventDetector(0.5, 0.3)
    results = [detector.push(i, i / 10, HIGH) for i in (0, 1, 4, 5)]
    assert not any(results) and spans([detector.close()]) == [(0, 5)]


def test_a_running_event_is_reported_once_it_is_long_enough():
    detector = EventDetector(0.5, 0.3, least_s=0.3)
    states = []
    for i in range(4):
        detector.push(i, i / 10, HIGH)
        states.append(detector.running is not None)
    assert states == [False, False, True, True]


def test_counting_without_a_loop_agrees_with_the_stream():
    rng = np.random.default_rng(0)
    for _ in range(60):
        scores = np.convolve(rng.normal(size=220), np.ones(7), "valid")
        threshold, least_s = rng.uniform(0, 5), rng.integers(1, 12) / 10
        release = threshold - rng.uniform(0, 4)
        for rate in (10, 12.5, 29.97):
            events = find_events(scores, threshold, release, rate, least_s)
            least = least_frames(least_s, rate)
            assert count_events(scores, threshold, release, least) == len(events)


def test_a_release_above_the_threshold_is_refused():
    with pytest.raises(DDLError, match="release is 0.6"):
        EventDetector(0.5, 0.6)


def test_the_best_patch_is_the_one_that_gives_the_score():
    rng = np.random.default_rng(1)
    for _ in range(20):
        error = rng.random((33, 47)).astype(np.float32)
        y, x = corner(best_patch(error, 8), 8)
        score = patch_scores(torch.from_numpy(error)[None], 8)
        assert error[y : y + 8, x : x + 8].mean() == pytest.approx(float(score), abs=1e-6)


def test_the_box_holds_the_strange_object_and_not_another_one():
    error = np.full((64, 96), 0.02, np.float32)
    error[20:44, 30:42] = 0.8
    error[20:30, 70:80] = 0.6
    x0, y0, x1, y1 = np.array(region(error, 8)) * [96, 64, 96, 64]
    assert abs(x0 - 30) <= 2 and abs(x1 - 42) <= 2
    assert abs(y0 - 20) <= 2 and abs(y1 - 44) <= 2


def test_the_box_is_that_of_the_peak():
    maps = np.full((4, 32, 32), 0.01, np.float32)
    maps[1, :8, :8], maps[2, 16:24, 16:24] = 0.5, 0.9
    (event,) = find_events([0.1, 0.5, 0.9, 0.1], 0.3, 0.2, 10, maps=maps, patch=8)
    assert event.peak == 2 and event.box[0] >= 14 / 32


EVENT = Event(0.2, 0.5, 0.3, 2, 5, 3, 0.75, (0.1, 0.2, 0.3, 0.4), drift="dusk")


def test_events_are_read_as_they_were_written(tmp_path):
    file = EventFile(tmp_path, {"threshold": 0.5})
    other = Event(1.0, 2.0, 1.5, 10, 20, 15, 0.8, open=True)
    assert [file.append(EVENT), file.append(other)] == [1, 2]
    assert read_events(tmp_path) == ([EVENT, other], {"threshold": 0.5})


def test_a_line_that_was_cut_off_is_taken_away_and_the_file_goes_on(tmp_path):
    EventFile(tmp_path, {}).append(EVENT)
    with (tmp_path / "events.csv").open("a") as file:
        file.write("2,0.9,1.")
    assert EventFile(tmp_path, {}).append(EVENT) == 2
    assert read_events(tmp_path)[0] == [EVENT, EVENT]


def test_an_event_that_was_told_is_not_dropped_by_a_clock_that_jitters():
    detector = EventDetector(0.5, 0.3, least_s=0.5)
    times = [0.0, 0.1, 0.2, 0.3, 0.39, 0.50, 0.59, 0.68]
    for index, (at, score) in enumerate(
        zip(times, [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1], strict=False)
    ):
        was = detector.running
        event = detector.push(index, at, score)
    assert was is not None and event is not None and event.end == 5


def test_events_without_what_made_them_are_begun_anew(tmp_path):
    assert not EventFile(tmp_path, {"threshold": 0.5}).gone_on
    assert EventFile(tmp_path, {"threshold": 0.5}).gone_on
    (tmp_path / "events.json").unlink()
    assert not EventFile(tmp_path, {"threshold": 0.6}).gone_on


def test_an_event_during_which_the_process_was_killed_has_a_line_after_all(tmp_path):
    file = EventFile(tmp_path, {})
    file.append(EVENT)
    late = replace(EVENT, start=20, start_s=2.0, end=22, end_s=2.2, drift="")
    file.begin(late)
    assert EventFile(tmp_path, {}).count == 2 == EventFile(tmp_path, {}).count
    assert read_events(tmp_path)[0] == [EVENT, replace(late, open=True)]


def test_an_event_that_ended_is_written_once_and_left_until_it_is_reported(tmp_path):
    file = EventFile(tmp_path, {})
    file.begin(EVENT)
    file.append(EVENT)
    for _ in range(2):  # killed before it was told, twice
        again = EventFile(tmp_path, {})
        assert again.count == 1 and again.left == (1, EVENT, True)
    again.told()
    last = EventFile(tmp_path, {})
    assert last.count == 1 and not last.left and not (tmp_path / "running.json").exists()


def test_what_is_set_aside_is_not_left_to_be_told(tmp_path):
    file = EventFile(tmp_path, {})
    file.begin(EVENT)
    again = EventFile(tmp_path, {})
    assert again.left and again.set_aside() and not again.left
    assert EventFile(tmp_path, {}).count == 0


@pytest.mark.parametrize("text", ["{", "[]", '{"start_s": "x"}', "[" * 100_000])
def test_a_begun_event_of_another_hand_is_left_out(tmp_path, text):
    EventFile(tmp_path, {}).append(EVENT)
    (tmp_path / "running.json").write_text(text)
    assert EventFile(tmp_path, {}).count == 1 and not (tmp_path / "running.json").exists()


@pytest.mark.parametrize("frame_rate", [0.2, 0.5, 1.0, 25.0])
def test_a_slow_camera_has_events_too(frame_rate):
    (event,) = find_events([HIGH] * 60, 0.5, 0.3, frame_rate)
    assert (event.start, event.end, event.open) == (0, 59, True)


def test_times_are_read_as_clocks():
    assert clock(3723.46) == "1:02:03.5"
    assert clock(1.8e9).startswith("2027-01-1")


def test_events_of_another_threshold_are_not_mixed_in(tmp_path):
    EventFile(tmp_path, {"threshold": 0.5}).append(EVENT)
    with pytest.raises(DDLError, match="another source, threshold"):
        EventFile(tmp_path, {"threshold": 0.6})


@pytest.mark.parametrize("value", ["nan", "inf", "1e300"])
def test_a_time_that_is_none_is_reported(tmp_path, value):
    EventFile(tmp_path, {}).append(EVENT)
    text = (tmp_path / "events.csv").read_text().replace(",0.200,", f",{value},")
    (tmp_path / "events.csv").write_text(text)
    with pytest.raises(DDLError, match="no table of events .* is no time, place or score"):
        read_events(tmp_path)


def test_a_full_disk_names_the_table_and_takes_no_half_row(disk):
    file = EventFile(disk.folder, {})
    with disk.full(), pytest.raises(DDLError, match="events.csv: cannot be written"):
        for _ in range(1000):
            file.append(EVENT)
    before = file.count
    assert EventFile(disk.folder, {}).count == before


def test_a_table_of_something_else_is_refused(tmp_path):
    EventFile(tmp_path, {})
    (tmp_path / "events.csv").write_text("event,score\n1,0.5\n")
    with pytest.raises(DDLError, match="no table of events"):
        read_events(tmp_path)
