"""Figures, video, page and marks of events, made of what a watch leaves."""

import asyncio
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from support.alarms import LOUD, PATCH, QUIET, RATE, a_loop, frames_of, hears, scored, watched

from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import find_footage
from data_prep.footage.video_writing import WEBM, VideoWriter
from ddllib.camera import widgets
from ddllib.camera.annotated import AnnotatedVideo
from ddllib.camera.drift import Drift
from ddllib.camera.event_file import read_events
from ddllib.camera.event_page import events_page, write_page
from ddllib.camera.events import Event, find_events
from ddllib.camera.marking import mark_normal
from ddllib.camera.running_median import RunningMedian
from ddllib.camera.scene_changes import ChangeFile, SceneChange
from ddllib.camera.thresholds import Threshold
from ddllib.errors import DDLError
from ddllib.figures.chapter import event_table
from ddllib.figures.event_plots import explain, timeline

SCORES = QUIET + LOUD + QUIET + LOUD + QUIET
LEVEL = Threshold(0.5, 0.3, 1.0, "alarms per hour", 0, 2, "counted", None, 0.1, 1.0, 1.0, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("watched")
    watched(folder, SCORES)
    return folder


def test_the_timeline_shades_and_numbers_every_event():
    events = find_events(SCORES, 0.5, 0.3, RATE)
    figure = timeline(np.arange(len(SCORES)) / RATE, SCORES, 0.5, 0.3, events)
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == ["1", "2"]
    assert len(axis.patches) == 2
    assert {line.get_label() for line in axis.lines} >= {"threshold", "release"}


def test_an_alarm_is_explained_by_its_frame_its_error_and_its_patch_over_time(folder):
    figure = explain(folder, 2, threshold=0.5)
    frame, rebuilt, error, trace = figure.axes[:4]
    (mark,) = error.patches
    assert mark.get_xy() == (15.5, 7.5) and mark.get_width() == PATCH
    assert frame.images and rebuilt.images
    region = {line.get_label(): line for line in trace.lines}["this patch"]
    assert region.get_ydata().max() == pytest.approx(0.9, abs=1e-3)
    lines = {line.get_label(): line.get_ydata() for line in trace.lines}
    assert len(lines["raw score"]) == len(lines["filtered score"])
    with pytest.raises(DDLError, match="0003.npz: not there"):
        explain(folder, 3, threshold=0.5)


def test_evidence_of_before_raw_scores_were_kept_is_still_explained(folder, tmp_path):
    with np.load(folder / "0002.npz") as evidence:
        np.savez(tmp_path / "0002.npz", **{n: v for n, v in evidence.items() if n != "raw"})
    trace = explain(tmp_path, 2, threshold=0.5).axes[3]
    assert "raw score" not in {line.get_label() for line in trace.lines}


def test_an_event_says_what_it_is_by_the_labels(folder):
    page = events_page(folder, verdicts=["hit", "false alarm"])
    assert "<b>hit</b>" in page and "<b>false alarm</b>" in page
    assert "<b>hit</b>" not in events_page(folder)


def test_the_clip_of_an_event_is_loaded_when_it_is_played(folder):
    soup = BeautifulSoup(events_page(folder, embed=False), "html.parser")
    videos = soup.select("video")
    assert [video["poster"] for video in videos] == ["0001.jpg", "0002.jpg"]
    assert {video["preload"] for video in videos} == {"none"}
    assert all("Event" in image["alt"] for image in soup.select("img"))


@pytest.mark.parametrize(
    "change",
    [
        {"place": np.zeros(2)},
        {"map": np.zeros(3)},
        {"scores": np.zeros(1)},
        {"frame": np.array(["x"])},
        {"patch": np.array(None)},
        {"region": None},
    ],
)
def test_what_no_event_has_left_is_reported_in_one_line(folder, tmp_path, change):
    with np.load(folder / "0002.npz") as evidence:
        numbers = {**evidence, **change}
    parts = {name: value for name, value in numbers.items() if value is not None}
    np.savez(tmp_path / "0001.npz", **parts)
    with pytest.raises(DDLError, match="0001.npz: not what an event leaves"):
        explain(tmp_path, 1, threshold=0.5)


def test_the_annotated_video_holds_every_frame_and_marks_what_is_strange(tmp_path):
    moments = [scored(k, value) for k, value in enumerate(QUIET[:20] + LOUD + QUIET[:20])]
    video = AnnotatedVideo(tmp_path / "all", 0.5, RATE, PATCH)
    assert video.path is None
    for moment in moments:
        video.on_frame(moment, moment.index / RATE, moment.score)
    video.close()
    frames = [frame.astype(int) for frame in frames_of(video.path)]
    assert len(frames) == len(moments)
    height, width = frames[0].shape[:2]
    assert width == 2 * 288 and height > 288
    redness = [np.mean(f[:288, :288, 2] - f[:288, :288, 0]) for f in frames]
    assert min(redness[20 : 20 + len(LOUD)]) > max(redness[:20]) + 1
    newest = [f[292:, -4:, 0].min() < 120 for f in frames]  # a red bar has little blue
    assert newest[20 : 20 + len(LOUD)] == [True] * len(LOUD)
    video.close()  # twice does no harm


def test_the_annotated_video_marks_by_the_filter_that_the_threshold_was_chosen_with(tmp_path):
    flash = QUIET[:20] + LOUD[:3] + QUIET[:20]  # too short for a median over 17
    marks = {}
    for name, smooth in (("raw", None), ("filtered", RunningMedian())):
        video = AnnotatedVideo(tmp_path / name, 0.5, RATE, PATCH)
        loop = a_loop([video], smooth=smooth)
        for k, value in enumerate(flash):
            hears(loop, scored(k, value), k / RATE)
            if k == 9:
                loop.tell_gap()  # what waits is written; the filter begins anew
        loop.end()
        video.close()
        frames = [frame.astype(int) for frame in frames_of(video.path)]
        assert len(frames) == len(flash)
        marks[name] = max(np.mean(f[:288, :288, 2] - f[:288, :288, 0]) for f in frames)
    assert marks["raw"] > marks["filtered"] + 1


def test_the_annotated_video_keeps_its_first_size_and_the_proportions_of_the_camera(tmp_path):
    video = AnnotatedVideo(tmp_path / "all", 0.5, RATE, PATCH)
    for k, width in enumerate([1280, 640, 400]):
        wide = replace(scored(k, 0.1), view=np.zeros((width * 9 // 16, width, 3), np.uint8))
        video.on_frame(wide, k, 0.1)
    video.close()
    assert [frame.shape for frame in frames_of(video.path)] == [(180 + 72, 640, 3)] * 3


def test_the_page_steps_through_the_events_and_needs_nothing_else(folder):
    page = events_page(folder)
    assert page.count('class="ddl-event"') == 2
    assert 'href="#event-2">next' in page and 'href="#event-1">back' in page
    assert page.count("data:image/jpeg;base64,") == 8  # frame, twice, reconstruction, error map
    assert page.count("data:video/webm;base64,") == page.count("data:image/svg+xml;base64,") == 2
    assert "http" not in page and "<script" not in page
    other = events_page(folder, mark="street")
    assert 'id="street-1"' in other and 'href="#street-2">2' in other and "event-1" not in other


def test_of_many_events_the_strongest_are_shown(tmp_path):
    watched(tmp_path, QUIET + [0.95 * v for v in LOUD] + QUIET + LOUD + QUIET)
    page = events_page(tmp_path, most=1)
    assert 'id="event-2"' in page and 'id="event-1"' not in page and "1 of 2 events" in page


def test_the_page_in_the_folder_names_files_that_are_there(folder):
    page = write_page(folder).read_text()
    for name in ("0001.webm", "0002.jpg", "0002-rebuilt.jpg", "0001-error.jpg", "0002.svg"):
        assert f'src="{name}"' in page and (folder / name).stat().st_size
    assert "base64" not in page


def footage(seed=0, count=60):
    return np.random.default_rng(seed).integers(0, 255, (count, 3, 32, 48), dtype=np.uint8)


EVENT = Event(1.0, 1.4, 1.2, 10, 14, 12, 0.9)


def as_rgb(frames):
    return np.stack([np.moveaxis(frame[..., ::-1], -1, 0) for frame in frames])


@pytest.mark.parametrize("layout", ["new", "common", "plain", "videos"])
def test_what_was_normal_is_read_as_training_footage(tmp_path, layout):
    frames, folder = footage(), tmp_path / "yard"
    if layout == "common":
        mark_normal(EVENT, footage(1), folder, name="earlier")
    if layout == "plain":
        (folder / "earlier").mkdir(parents=True)
        cv2.imwrite(str(folder / "earlier" / "0.png"), np.moveaxis(footage(1)[0], 0, -1))
    if layout == "videos":
        (folder / "training").mkdir(parents=True)
        video = VideoWriter(folder / "training" / "earlier.webm", WEBM, 10, (32, 48))
        video.write(np.ascontiguousarray(np.moveaxis(footage(1)[0], 0, -1)))
        video.close()
    mark_normal(EVENT, frames, folder)
    clips = find_footage(folder).clips["training"]
    assert "array-10-14" in clips and len(clips) == (1 if layout == "new" else 2)
    # Two seconds after it, and before it the one that there is.
    assert np.array_equal(as_rgb(read_frames(clips["array-10-14"])), frames[:35])


@pytest.mark.parametrize("earlier", ["inner/training/frames/01", "Train/Train001"])
def test_what_was_normal_lies_beside_the_clips_that_are_found(tmp_path, earlier):
    (tmp_path / earlier).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / earlier / "000.png"), np.moveaxis(footage(1)[0], 0, -1))
    path = mark_normal(EVENT, footage(), tmp_path)
    assert set(find_footage(tmp_path).clips["training"]) == {"01", "array-10-14"}
    assert path.parent == (tmp_path / earlier).parent


def test_images_alone_are_one_clip_and_take_no_other(tmp_path):
    cv2.imwrite(str(tmp_path / "000.png"), np.moveaxis(footage(1)[0], 0, -1))
    with pytest.raises(DDLError, match="one folder of images; expected a folder of such"):
        mark_normal(EVENT, footage(), tmp_path)


def test_of_a_video_watched_at_a_lower_rate_the_seconds_of_the_event_are_copied(tmp_path):
    video = VideoWriter(tmp_path / "today.webm", WEBM, 20, (32, 48))
    for level in range(0, 240, 8):  # 30 frames, 1.5 s
        video.write(np.full((32, 48, 3), level, np.uint8))
    video.close()
    event = Event(0.8, 1.0, 0.9, 4, 5, 4, 0.9)  # counted at five frames per second
    clip_folder = mark_normal(event, video.path, tmp_path / "yard", frame_rate=5)
    levels = [cv2.imread(str(file)).mean() for file in sorted(clip_folder.iterdir())]
    assert np.allclose(levels, 8 * np.array([0, 3, 7, 11, 15, 19, 23, 27]), atol=6)


def test_a_live_source_cannot_be_seen_again(tmp_path):
    with pytest.raises(DDLError, match="^rtsp://camera/1: no footage there to copy an event from"):
        mark_normal(EVENT, "rtsp://me:secret@camera/1?key=hidden", tmp_path / "yard")


def test_times_of_a_live_source_s_events_are_dates_in_the_table():
    recorded, live = event_table([EVENT]), event_table([replace(EVENT, start_s=1.8e9, clip="")])
    assert {"start, s", "end, s", "peak, s"} <= set(recorded)
    assert live["start"][0].startswith("2027-01-1") and "start, s" not in live


def test_times_of_a_live_source_are_reported_as_dates(tmp_path):
    seconds = 1.8e9 + np.arange(20.0)
    figure = timeline(seconds, np.zeros(20), 0.5, 0.4)
    (axis,) = figure.axes
    assert axis.get_xlabel().startswith("seconds since 2027-01-1") and axis.get_xlim()[1] < 30


@pytest.mark.parametrize("facts", ['{"threshold": 3}', '{"threshold": {"value": "a"}}', "{}"])
def test_a_page_needs_no_threshold(folder, tmp_path, facts):
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "events.json").write_text(facts)
    page = events_page(tmp_path / "copy")
    assert page.count('class="ddl-event"') == 2 and "threshold 0.5" not in page


def test_a_page_without_events_says_what_was_asked_for(tmp_path):
    watched(tmp_path, QUIET)
    assert "No events above a score of 0.5 (raw scores)." in write_page(tmp_path).read_text()
    watched(tmp_path / "smooth", SCORES, smooth=RunningMedian(), facts={"source": "<a>.mp4"})
    page = write_page(tmp_path / "smooth").read_text()
    phrase = "of &lt;a&gt;.mp4 above a score of 0.5 (scores filtered by a running median)"
    assert phrase in page


HOSTILE = """<img src=x onerror='alert(1)'>&"</p><script>"""


def test_names_and_texts_of_others_are_shown_as_text(tmp_path):
    folder, scores = tmp_path / "<b>&'s", QUIET + LOUD + QUIET
    drift = SimpleNamespace(drift=Drift(HOSTILE, "", 0), seconds=0, push=lambda *_: None)
    facts = {"source": HOSTILE, "ignore": HOSTILE}
    watched(folder, scores, drift=drift, facts=facts, where=lambda _: (HOSTILE, 1.0))
    ChangeFile(folder).add(SceneChange(1.0, 10, "moved", HOSTILE))
    for page in (events_page(folder), write_page(folder).read_text()):
        text = BeautifulSoup(page, "html.parser").get_text()
        assert text.count(HOSTILE) == 5  # source, ignored, clip, event and change
        assert "<script" not in page and page.count("<img ") == 4 and "onerror" not in tags(page)


def tags(page):
    return " ".join(re.findall("<[^>]*>", page))


def test_a_name_that_no_page_can_hold_is_shown_as_far_as_it_can_be(tmp_path):
    watched(tmp_path, QUIET, facts={"source": "yard-\udcff"})
    assert "yard-?" in write_page(tmp_path).read_text()


def test_the_page_in_a_folder_hides_no_event(tmp_path):
    watched(tmp_path, (QUIET + LOUD) * 14 + QUIET)
    assert write_page(tmp_path).read_text().count('class="ddl-event"') == 14


def test_footage_that_ends_before_the_event_leaves_nothing(tmp_path):
    with pytest.raises(DDLError, match="ends 3 frames before the event"):
        mark_normal(EVENT, footage(count=12), tmp_path / "yard")
    assert list((tmp_path / "yard").rglob("*.png")) == []


def test_one_video_as_training_footage_takes_nothing_more(tmp_path):
    (tmp_path / "long.avi").touch()
    with pytest.raises(DDLError, match="long.avi: one video; expected a folder"):
        mark_normal(EVENT, footage(), tmp_path / "long.avi")


def test_the_same_event_is_not_written_twice(tmp_path):
    mark_normal(EVENT, footage(), tmp_path)
    with pytest.raises(DDLError, match="there already"):
        mark_normal(EVENT, footage(), tmp_path)


def read():
    return np.arange(len(SCORES)) / RATE, np.array(SCORES), np.zeros(len(SCORES), int)


def test_in_print_the_view_is_a_figure(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert isinstance(widgets.threshold_view(read, LEVEL, RATE), Figure)


def test_in_the_lab_a_slider_moves_the_threshold(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("JPY_SESSION_NAME", "lab")
    controls, _ = widgets.threshold_view(read, LEVEL, RATE).children
    slider, button, _, label = controls.children
    assert label.value.startswith("2 events") and "0.5" in label.value
    slider.value = slider.max
    assert label.value.startswith("0 events")
    slider.value = 0.4
    button.click()
    assert label.value.startswith("2 events")


def test_in_the_lab_a_watch_that_goes_on_is_followed_until_it_is_silent(monkeypatch):
    pytest.importorskip("ipywidgets")
    monkeypatch.setenv("JPY_SESSION_NAME", "lab")
    monkeypatch.setattr(widgets, "FOLLOW_S", 0.001)
    looks = []

    def growing():
        looks.append(min(30 * (1 + len(looks)), len(SCORES)))
        if len(looks) == 3:
            raise DDLError("scores.csv: being written")
        return tuple(part[: looks[-1]] for part in read())

    async def followed(then):
        controls, picture = widgets.threshold_view(growing, LEVEL, RATE).children
        follow, told = controls.children[2:]
        before, follow.value = bytes(picture.value), True
        await asyncio.wait_for(then(follow), 60)
        assert bytes(picture.value) != before and told.value.startswith("2 events")
        return follow.value

    async def silent(follow):
        while follow.value:
            if looks[-1] == len(SCORES):
                widgets.SILENT_S = 0.0
            await asyncio.sleep(0.01)

    monkeypatch.setattr(widgets, "SILENT_S", 60.0)
    assert not asyncio.run(followed(silent)) and looks[-1] == len(SCORES)


def test_events_of_the_view_are_those_of_the_watch(folder):
    view_events = widgets.events_of(*read(), 0.5, 0.3, RATE, 0.5)
    watch_events, _ = read_events(folder)
    assert [(e.start, e.end) for e in view_events] == [(e.start, e.end) for e in watch_events]


def test_the_view_of_a_slow_camera_has_events_and_none_across_two_segments():
    seconds, scores, segments = 2.0 * np.arange(30), np.full(30, 0.9), np.arange(30) // 15
    events = widgets.events_of(seconds, scores, segments, 0.5, 0.3, 0.5, 0.5)
    assert [(e.start, e.end, e.open) for e in events] == [(0, 14, False), (15, 29, True)]


def test_in_the_lab_a_button_sends_an_event_to_the_training_footage(monkeypatch, tmp_path):
    pytest.importorskip("ipywidgets")
    late = replace(EVENT, start=60, end=70)

    def mark(number):
        return mark_normal([EVENT, late][number - 1], footage(), tmp_path / "yard")

    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert widgets.normal_marks([EVENT], mark) is None
    monkeypatch.setenv("JPY_SESSION_NAME", "lab")
    assert widgets.normal_marks([], mark) is None
    rows = widgets.normal_marks([EVENT, late], mark).children
    for row in rows:
        button, _ = row.children
        button.click()
    (button, message), (failed, why) = (row.children for row in rows)
    assert button.disabled and message.value.endswith("array-10-14")
    assert not failed.disabled and "before the event" in why.value
    assert list(find_footage(tmp_path / "yard").clips["training"]) == ["array-10-14"]
