"""What a person gets of each event, and that watching holds no more than a few seconds."""

import html
import re
from collections import deque
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.alarms import (
    LEVEL,
    LOUD,
    PATCH,
    QUIET,
    RATE,
    SIDE,
    FrameScore,
    a_loop,
    alarms_in,
    frames_of,
    heard_again,
    hears,
    lag_of,
    scored,
    watched,
)

from data_prep.footage.video_writing import WEBM, VideoWriter
from data_prep.live.sources import open_source
from ddllib.camera import event_clip, page_renewal
from ddllib.camera.alarms import AlarmOptions, Alarms
from ddllib.camera.drift import Drift, DriftMonitor
from ddllib.camera.event_file import read_events
from ddllib.camera.event_page import write_page
from ddllib.camera.events import Event, joined
from ddllib.camera.evidence import Evidence, Trace, read_evidence
from ddllib.camera.journal import KEEP_S
from ddllib.camera.page_renewal import PageRenewal
from ddllib.camera.peak_evidence import PeakEvidence
from ddllib.camera.running_median import RunningMedian
from ddllib.camera.scene_changes import OVER, ChangeFile, SceneChange, read_changes
from ddllib.camera.scene_watch import SETTLED_S
from ddllib.errors import DDLError


class Median:
    """A centred median of three, one value late; its last value is repeated."""

    delay = 1

    def __init__(self):
        self.values = deque(maxlen=3)

    def push(self, value):
        self.values.extend([value] * (1 if self.values else 2))
        return float(np.median(self.values)) if len(self.values) == 3 else None

    def finish(self):
        last = [self.push(self.values[-1])] if self.values else []
        self.values.clear()
        return last


def test_a_recording_watched_again_has_each_event_once(tmp_path):
    scores = [0.1] * 30 + [0.9] * 40
    watched(tmp_path, scores)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    for _ in range(2):
        assert heard_again(tmp_path, scores, 60) == []
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("peak", [0.7, 1.5])
def test_an_event_during_which_the_watch_was_stopped_is_one_event(tmp_path, peak):
    scores = [0.1] * 30 + [0.9] * 50 + [peak] * 10 + [0.1] * 30
    watched(tmp_path, scores[:70])
    picture = (tmp_path / "0001.jpg").read_bytes()
    lines = heard_again(tmp_path, scores, 60)
    ((event,), _) = read_events(tmp_path)
    assert (event.start, event.end, event.open) == (30, 89, False)
    assert event.score == max(peak, 0.9) and event.peak == (80 if peak > 0.9 else 30)
    assert len(lines) == 1 and lines[0].startswith("event 1: ")
    assert ((tmp_path / "0001.jpg").read_bytes() != picture) == (peak > 0.9)
    assert not list(tmp_path.glob("0002*")) and not list(tmp_path.glob(".running*"))


def test_an_event_during_which_the_watch_was_killed_twice_is_one_event(tmp_path):
    scores = [0.1] * 30 + [0.9] * 120 + [0.1] * 30
    watched(tmp_path, scores[:70], ends=False)
    lag = lag_of(tmp_path / "other")
    heard_again(tmp_path, scores[:110], 70 - lag, ends=False)
    ((event,), _) = read_events(tmp_path)
    assert event.open and event.start == 30 and event.end >= 109 - KEEP_S * RATE
    heard_again(tmp_path, scores, 110 - lag)
    ((event,), _) = read_events(tmp_path)
    assert (event.start, event.end, event.open) == (30, 149, False)
    assert event.box and (tmp_path / "0001.jpg").is_file()


def test_an_event_with_an_early_peak_has_its_clip_though_the_watch_was_killed(tmp_path):
    scores = [0.1] * 30 + [1.5] * 3 + [0.9] * 70 + [0.1] * 30
    watched(tmp_path, scores[:75], ends=False)
    lag = lag_of(tmp_path / "other")
    picture = (tmp_path / "0001.jpg").read_bytes()
    heard_again(tmp_path, scores, 75 - lag)
    ((event,), _) = read_events(tmp_path)
    assert event.peak == 30 and (tmp_path / "0001.jpg").read_bytes() == picture
    assert (tmp_path / "0001.webm").is_file()


def test_what_was_told_before_the_watch_was_killed_is_reported_to_its_end(tmp_path):
    scores = [0.1] * 30 + [0.9] * 70 + [0.1] * 30
    messages = watched(tmp_path, scores[:60], ends=False)
    assert messages and messages[0].startswith("event 1 runs since")
    lag = lag_of(tmp_path / "other")
    numbers: list[int] = []
    lines = heard_again(tmp_path, scores, 60 - lag, drift=nudged(90), on_event=numbers.append)
    assert lines[0].startswith("the scene has changed") and numbers == [1]
    assert lines[1].startswith("event 1: ") and len(lines) == 2


FALLING = np.linspace(0.9, 0.2, 71).round(3).tolist()  # through the band from 0.5 down to 0.3
COURSES = {
    "falls slowly": [0.1] * 30 + FALLING + [0.1] * 30,
    "falls and rises again": [0.1] * 30 + FALLING[:56] + FALLING[55:20:-1] + [0.1] * 30,
    "stays between": [0.1] * 30 + [0.9] * 10 + [0.4] * 60 + [0.1] * 20,
    "two events": [0.1] * 30 + [0.9] * 12 + [0.1] * 12 + [0.8] * 12 + [0.4] * 15 + [0.1] * 20,
}


@pytest.mark.parametrize("smooth", [lambda: None, RunningMedian])
@pytest.mark.parametrize("ends", [False, True], ids=["killed", "stopped"])
@pytest.mark.parametrize("course", COURSES)
def test_a_watch_in_two_parts_finds_what_a_whole_one_does(
    tmp_path, course, ends, smooth, monkeypatch
):
    monkeypatch.setattr(PeakEvidence, "leave", lambda *args: None)
    monkeypatch.setattr(event_clip.ClipRecorder, "film", lambda *args: None)
    scores = COURSES[course]
    watched(tmp_path / "whole", scores, smooth=smooth())
    expected, _ = read_events(tmp_path / "whole")
    assert len(expected) == 1 + (course == "two events") and not any(e.open for e in expected)
    lag = lag_of(tmp_path / "other", smooth())
    for cut in range(10, len(scores), 4):
        folder = tmp_path / str(cut)
        watched(folder, scores[:cut], ends=ends, smooth=smooth())
        heard_again(folder, scores, max(cut - lag, 0), smooth=smooth())
        assert (cut, read_events(folder)[0]) == (cut, expected)


def test_a_peak_that_has_lost_its_place_keeps_its_score():
    earlier = Event(3.0, 5.0, 4.0, 30, 50, 40, 0.9, open=True)
    later = Event(4.8, 6.0, 5.5, 48, 60, 55, 0.4, (0.1, 0.2, 0.3, 0.4))
    event = joined(earlier, later)
    assert (event.peak, event.score, event.box) == (40, 0.9, later.box)
    assert (event.start, event.end, event.open) == (30, 60, False)


def test_an_event_during_which_a_live_watch_was_killed_has_its_picture(tmp_path, monkeypatch):
    numbers, leave = [], Evidence.leave
    monkeypatch.setattr(
        Evidence, "leave", lambda self, *rest: (numbers.append(rest[1]), leave(self, *rest))
    )
    scores = [0.1] * 30 + [0.6] * 20 + [0.9] * 200
    watched(tmp_path, scores, ends=False)
    assert numbers == [1, 1]  # as it began, and with its new peak
    alarms_in(tmp_path)  # the next watch
    ((event,), _) = read_events(tmp_path)
    assert event.open and (event.peak, event.score) == (50, 0.9) and event.box
    evidence = read_evidence(tmp_path, 1)
    assert evidence.frame[0, 0, 0] == 50 and (tmp_path / "0001.jpg").is_file()
    heard_again(tmp_path, [*scores, *[1.2] * 10, *[0.1] * 30], 240)
    assert numbers == [1, 1, 1, 1] and read_evidence(tmp_path, 1).frame[0, 0, 0] == 250 % 200


def test_a_new_event_after_going_on_has_its_own_number(tmp_path):
    scores = [0.1] * 10 + [0.9] * 20 + [0.1] * 40 + [0.9] * 20 + [0.1] * 20
    watched(tmp_path, scores[:60])
    heard_again(tmp_path, scores, 50)
    assert [(e.start, e.end) for e in read_events(tmp_path)[0]] == [(10, 29), (70, 89)]


def test_of_several_clips_an_event_names_its_own(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("monday", "tuesday"):
        video = VideoWriter(tmp_path / "in" / f"{name}.webm", WEBM, RATE, (SIDE, SIDE))
        for _ in range(60):
            video.write(np.zeros((SIDE, SIDE, 3), np.uint8))
        video.close()
    source = open_source(tmp_path / "in", SIDE)
    seconds = [frame.time_s for frame in source]
    lines, scores = [], QUIET + [0.1] * 10 + LOUD + QUIET[:43]
    listener = alarms_in(tmp_path, where=source.where, tell=lines.append)
    for k, (at, score) in enumerate(zip(seconds, scores, strict=True)):
        listener.on_frame(scored(k, score), at, score)
    listener.close()
    (event,), _ = read_events(tmp_path)
    assert event.clip == "tuesday.webm" and event.clip_s == pytest.approx(1.0, abs=0.01)
    assert event.start_s == pytest.approx(7.0, abs=0.01)
    assert lines[1].startswith("event 1: tuesday.webm 0:00:01.0 to 0:00:01.6, score")
    assert "tuesday.webm 0:00:01.0" in write_page(tmp_path).read_text()
    assert open_source(video.path, SIDE).where(0.5) is None


def test_a_table_of_events_with_other_columns_is_left_alone(tmp_path):
    (tmp_path / "events.csv").write_text("event,start_s\n1,2.0\n")
    with pytest.raises(DDLError, match="events.csv: a table with other columns"):
        watched(tmp_path, [])
    assert (tmp_path / "events.csv").read_text() == "event,start_s\n1,2.0\n"


def test_an_event_leaves_a_row_a_picture_a_clip_and_its_numbers(tmp_path):
    lines = watched(tmp_path, QUIET + LOUD + QUIET)
    (event,), facts = read_events(tmp_path)
    assert (event.start, event.end, event.peak) == (60, 66, 62)
    assert facts["threshold"]["value"] == 0.5 and facts["filter"] == "none"
    begins, ends = lines
    assert begins.startswith("event 1 runs") and "0:00:06.0" in begins
    assert ends.startswith("event 1: 0:00:06.0 to 0:00:06.6") and "score 0.9" in ends
    clip = frames_of(tmp_path / "0001.webm")
    assert len(clip) == 20 + 6 + 20  # the ring holds the first frame of the event
    picture = cv2.imread(str(tmp_path / "0001.jpg"))
    assert picture.shape == (288, 288, 3)
    x, y = 16 * 9, 12 * 9
    assert np.ptp(picture[y, x - 27 : x + 9].astype(int), axis=0).max() > 60  # the box's left side
    with np.load(tmp_path / "0001.npz") as numbers:
        assert numbers["frame"][0, 0, 0] == 62
        assert numbers["region"].max() == pytest.approx(0.9, abs=1e-3)
        at = np.searchsorted(numbers["seconds"], 6.2)
        assert numbers["scores"][at] == pytest.approx(0.9)
    assert not list(tmp_path.glob(".running*")) and not list(tmp_path.glob("*.part*"))


def test_an_event_without_end_is_reported_when_it_begins(tmp_path):
    lines = []
    listener = alarms_in(tmp_path, tell=lines.append)
    for k in range(100):
        listener.on_frame(scored(k, 0.8), 1.8e9 + k / RATE, 0.8)
    assert len(lines) == 1 and re.fullmatch(r"event 1 runs since 2027-01-1\d \S{8}", lines[0])


def test_events_are_those_of_the_filtered_scores(tmp_path):
    lone = [0.1] * 20 + [0.9] + [0.1] * 20
    watched(tmp_path / "raw", lone, least_s=0.0)
    watched(tmp_path / "smooth", lone, least_s=0.0, smooth=Median())
    assert len(read_events(tmp_path / "raw")[0]) == 1
    assert read_events(tmp_path / "smooth")[0] == []
    watched(tmp_path / "late", QUIET + LOUD + QUIET, smooth=Median())
    (event,), facts = read_events(tmp_path / "late")
    assert (event.start, event.end) == (60, 66) and facts["filter"] == "Median"


def test_what_is_too_short_leaves_nothing(tmp_path):
    watched(tmp_path, QUIET + [0.9, 0.9] + QUIET)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["events.csv", "events.json"]


def test_a_long_event_has_a_clip_of_bounded_length(tmp_path, monkeypatch):
    monkeypatch.setattr(event_clip, "LONGEST_S", 5.0)
    watched(tmp_path, QUIET + [0.9] * 300 + QUIET)
    assert len(frames_of(tmp_path / "0001.webm")) == 50


def test_a_gap_ends_an_event_and_its_clip(tmp_path):
    listener = alarms_in(tmp_path)
    loop = a_loop([listener], smooth=Median())
    for k in [*range(30), *range(90, 120)]:
        hears(loop, scored(k, 0.8), k / RATE)
    loop.end()
    listener.close()
    events, _ = read_events(tmp_path)
    assert [(e.start, e.end, e.open) for e in events] == [(0, 29, False), (90, 119, True)]
    clips = [frames_of(tmp_path / name) for name in ("0001.webm", "0002.webm")]
    assert [len(clip) for clip in clips] == [30, 30]  # none shows what lies beyond the gap


def test_memory_holds_a_few_seconds_whatever_the_stream(tmp_path):
    listener = alarms_in(tmp_path)
    loop = a_loop([listener], smooth=Median())
    for k in range(1500):
        hears(loop, scored(k, 0.1), k / RATE)
    assert len(listener.clips._before) == 20 and len(listener.evidence._trace.seen) == 300
    assert len(loop.waiting_frames) == 1


def nudged(at):
    """A drift monitor that finds the camera nudged from that frame on."""

    class Nudged:
        drift, seconds = None, 0

        def push(self, frame, score):
            is_start = self.drift is None and frame[0, 0, 0] == at
            self.drift = Drift("moved", "the camera was nudged", at) if is_start else self.drift
            return self.drift if is_start else None

    return Nudged()


def test_events_of_a_changed_scene_are_kept_and_reported_together(tmp_path):
    lines = watched(tmp_path, QUIET + (LOUD + QUIET) * 3, drift=nudged(63))
    assert [event.drift for event in read_events(tmp_path)[0]] == ["moved"] * 3
    change, together = lines
    assert "0:00:06.3" in change and "the camera was nudged" in change
    assert ": 3, " in together and "events.csv" in together


def test_what_was_told_of_the_scene_is_remembered(tmp_path):
    lines, at = [], len(QUIET + LOUD) + 5
    options = {"drift": nudged(at), "tell": lines.append}
    listener = alarms_in(tmp_path, **options)
    for k, score in enumerate(QUIET + LOUD + QUIET + LOUD + QUIET):
        listener.on_frame(scored(k, score), k / RATE, score)
    listener.close()
    assert [line.split()[0] for line in lines] == ["event", "event", "the", "events"]
    assert list(listener.changes) == lines[2:]


def test_the_page_has_an_event_at_its_end_and_its_clip_soon_after(tmp_path, monkeypatch):
    monkeypatch.setattr(page_renewal, "REST", 0)  # frames come faster here than from any camera
    listener = alarms_in(tmp_path)
    page, flags = PageRenewal(listener), []
    for k, score in enumerate(QUIET + LOUD + QUIET):
        for one in (listener, page):
            one.on_frame(scored(k, score), k / RATE, score)
        text = (tmp_path / "index.html").read_text() if (tmp_path / "index.html").exists() else ""
        flags.append(("0001.jpg" in text, "0001.webm" in text))
    assert flags.index((True, False)) < flags.index((True, True)) and flags[-1] == (True, True)
    assert flags.index((True, True)) - flags.index((True, False)) <= event_clip.AROUND_S * RATE + 1


def test_a_page_that_takes_long_is_made_seldom(tmp_path, monkeypatch):
    listener, clock = alarms_in(tmp_path), [100.0]
    page, times = PageRenewal(listener), []

    def slow(folder):
        times.append(clock[0])
        clock[0] += 0.3

    monkeypatch.setattr(page_renewal, "write_page", slow)
    monkeypatch.setattr(page_renewal.time, "monotonic", lambda: clock[0])
    for k in range(1000):
        listener.journal.events.count = k  # an event with each frame
        page.on_frame(scored(k, 0.1), k / RATE, 0.1)
        clock[0] += 0.1
    assert 3 <= len(times) <= 5 and np.diff(times).min() > 30


def test_the_trace_of_a_long_event_begins_before_it(tmp_path):
    scores = [0.1] * 400 + [0.8] * 1500 + [0.9] + [0.8] * 2500 + [0.1] * 60
    watched(tmp_path, scores)
    evidence = read_evidence(tmp_path, 1)
    assert evidence.seconds[0] < 400 / RATE - 20 and evidence.seconds[-1] > 4400 / RATE - 1.6
    steps = np.diff(evidence.seconds)
    assert len(evidence.seconds) <= 600 and steps.min() > 0 and steps.max() <= 16.5 / RATE
    both = zip(evidence.seconds, evidence.scores, strict=True)
    assert all(score == scores[round(at * RATE)] for at, score in both)


def test_a_trace_forgets_what_lies_before_an_event_once_it_is_over():
    trace = Trace(4)
    for k in range(10):
        trace.push(k, running=False)
    assert list(trace.seen) == [6, 7, 8, 9]
    for k in range(10, 30):
        trace.push(k, running=True)
    steps = np.diff(trace.seen)
    assert trace.seen[0] == 6 and len(trace.seen) < 8 and len(set(steps)) == 1 and steps[0] > 1
    for k in range(30, 40):
        trace.push(k, running=False)
    assert list(trace.seen) == [36, 37, 38, 39]


def test_an_event_told_of_before_the_scene_changed_is_reported_to_its_end(tmp_path):
    lines = watched(tmp_path, QUIET + LOUD + QUIET, drift=nudged(len(QUIET + LOUD) - 1))
    assert read_events(tmp_path)[0][0].drift == "moved"
    assert lines[0].startswith("event 1 runs since") and lines[1].startswith("the scene has")
    assert lines[2].endswith("(the scene has changed: moved)") and len(lines) == 3


def drifts(tmp_path, gains, where=None):
    """What is told of a frame a second, each so bright, after every tenth of them a long gap."""
    still = np.random.default_rng(0).integers(60, 180, (SIDE, SIDE))
    drift, lines = DriftMonitor(1.0, still.astype(np.float32)[None]), []
    options = AlarmOptions(1.0, PATCH, drift=drift, where=where, tell=lines.append)
    listener = Alarms(LEVEL, tmp_path, options)
    marks = []
    for k, gain in enumerate(gains):
        frame = (gain * still).astype(np.uint8)[None]
        now = FrameScore(k, 0.1, np.zeros((SIDE, SIDE), np.float32), frame, frame)
        if k % 10 == 0:
            listener.on_gap()
        listener.on_frame(now, k + 100.0 * (k // 10), now.score)
        marks.append(drift.drift is not None)
    return lines, marks


def test_a_changed_scene_is_reported_though_the_stream_breaks_off_again_and_again(tmp_path):
    lines, marks = drifts(tmp_path, [1.0] * 20 + [0.5] * 20)
    assert len(lines) == 1 and "times darker" in lines[0]
    assert marks.index(True) < 35 and all(marks[35:])


def test_a_changed_scene_is_reported_once_however_short_the_clips_are(tmp_path):
    def where(seconds):
        return f"{seconds // 110:.0f}", seconds % 110  # ten frames to a clip

    lines, marks = drifts(tmp_path, [0.5] * 40 + [1.0] * 40, where)
    assert len(lines) == 1 and "times darker" in lines[0]
    assert marks.index(True) < 20 and all(marks[20:40]) and not any(marks[55:])
    start, over = read_changes(tmp_path)
    assert (start.kind, over.kind) == ("light", OVER) and 40 < over.frame < 55


def test_a_folder_is_gone_on_with(tmp_path):
    for _ in range(2):
        watched(tmp_path, QUIET + LOUD + QUIET)
    assert len(read_events(tmp_path)[0]) == 2 and (tmp_path / "0002.webm").is_file()


def test_pictures_and_clips_are_as_the_camera_saw_them_not_as_the_model_does(tmp_path):
    listener = alarms_in(tmp_path)
    wide = np.full((180, 320, 3), 90, np.uint8)
    for k, score in enumerate([0.1] * 10 + [0.9] * 10 + [0.1] * 10):
        moment = replace(scored(k, score), view=wide[:, : 320 - 2 * (k > 15)])
        listener.on_frame(moment, k / RATE, score)
    listener.close()
    pictures = [cv2.imread(str(tmp_path / f"0001{end}.jpg")) for end in ("", "-rebuilt", "-error")]
    assert {image.shape for image in pictures} == {wide.shape}
    frames = frames_of(tmp_path / "0001.webm")
    assert {frame.shape for frame in frames} == {wide.shape} and len(frames) == 30
    assert tuple(read_evidence(tmp_path, 1).shape) == (180, 320)


class Moved:
    """A scene that is changed from the fifth frame to the fourteenth."""

    drift = None

    @property
    def seconds(self):
        return self.count / RATE

    def push(self, frame, score):
        self.count = getattr(self, "count", -1) + 1
        before, self.drift = self.drift, MOVE if 5 <= self.count < 15 else None
        return self.drift if self.drift and not before else None


MOVE = Drift("moved", 'the camera was "nudged", right; set it back', 5)


def test_changes_of_the_scene_are_on_the_disk_with_their_times(tmp_path):
    lines = watched(tmp_path, [0.1] * 30, drift=Moved())
    assert len(lines) == 1 and lines[0].startswith("the scene has changed at 0:00:00.5: the camera")
    start, over = read_changes(tmp_path)
    assert start == SceneChange(0.5, 5, "moved", MOVE.sentence)
    assert (over.time_s, over.frame, over.kind) == (1.5, 15, OVER)
    page = html.unescape(write_page(tmp_path).read_text())
    assert '0:00:00.5: the camera was "nudged"' in page and "0:00:01.5" in page
    with (tmp_path / "changes.csv").open("ab") as file:
        file.write(b"2.0,20,mov")  # the process was killed
    watched(tmp_path, [0.1] * 12, drift=Moved())
    watched(tmp_path, [0.1] * 12, drift=Moved())  # it was set back in between, and moved again
    assert [change.frame for change in read_changes(tmp_path)] == [5, 15, 5]
    calm = Moved()
    calm.count = 100  # it was set back while nobody watched
    watched(tmp_path, [0.1] * 800, drift=calm)
    (*_, over) = read_changes(tmp_path)
    assert over.kind == OVER and over.time_s >= SETTLED_S - 100 / RATE
    place = alarms_in(tmp_path).on_begin_anew()
    assert not read_changes(tmp_path) and len(read_changes(place)) == 4


def test_another_table_is_no_table_of_changes(tmp_path):
    (tmp_path / "changes.csv").write_text("a,b\n1,2\n")
    for reader in (read_changes, ChangeFile):
        with pytest.raises(DDLError, match="changes.csv: no table of changes; expected time_s"):
            reader(tmp_path)
    (tmp_path / "changes.csv").write_text("time_s,frame,kind,told\nx,1,moved,so\n")
    with pytest.raises(DDLError, match="no table of changes"):
        read_changes(tmp_path)
