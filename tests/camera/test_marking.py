"""What was normal after all is learnt from: at its own pace, with what surrounds it."""

import cv2
import numpy as np
import pytest
from support.footage import write_video
from support.server import pictures
from support.webm import cut, write_matroska

from data_prep import prepare
from data_prep.footage.frames import Pace
from data_prep.footage.video_writing import WEBM, VideoWriter
from data_prep.live.sources import open_source, shown
from ddllib import DDLError
from ddllib.camera.event_file import EventFile
from ddllib.camera.events import Event
from ddllib.camera.marked import marked_events
from ddllib.camera.marking import main, mark_event, mark_normal
from ddllib.data import load_prepared
from ddllib.pseudo_anomalies.held_out import threshold_parts
from ddllib.settings import load_profile

SIZE = (32, 48)


def numbered(count, first=0):
    """Frames that tell their numbers up to 143 by the greys of their halves."""
    frames = np.empty((count, 48, 64, 3), np.uint8)
    for frame, number in zip(frames, range(first, first + count), strict=True):
        frame[:, :32], frame[:, 32:] = (20 * digit + 10 for digit in divmod(number, 12))
    return list(frames)


def number(frame):
    """The number of a frame, H x W x 3 or 3 x H x W."""
    grey = frame.mean(axis=np.argmin(frame.shape))
    left, right = (int(half.mean() / 20) for half in np.split(grey, 2, axis=1))
    return 12 * left + right


def numbers(path):
    """The numbers of a video's frames, and its rate."""
    video, frame_numbers = cv2.VideoCapture(str(path)), []
    rate = video.get(cv2.CAP_PROP_FPS)
    while (frame := video.read()[1]) is not None:
        frame_numbers.append(number(frame))
    return frame_numbers, rate


def event_at(first, last, rate, **facts):
    return Event(first / rate, last / rate, first / rate, first, last, first, 0.9, **facts)


@pytest.fixture
def yard(tmp_path):
    """Training footage of videos."""
    write_video(tmp_path / "yard" / "training" / "a.avi", pictures(20))
    return tmp_path / "yard"


def test_a_marked_clip_survives_the_preparation_at_the_rate_of_the_watch(tmp_path, yard, own_runs):
    write_video(tmp_path / "today.avi", numbered(120), 25)
    pace = Pace(10)
    series = [k for k in range(120) if pace.keeps(k / 25)]
    event = event_at(30, 34, 10)  # counted at the watch's rate
    path = mark_normal(event, tmp_path / "today.avi", yard, frame_rate=10)
    frames, rate = numbers(path)
    assert rate == 10 and set(series[30:35]) <= set(frames)
    assert frames == series[series.index(frames[0]) : series.index(frames[-1]) + 1]
    assert 10 <= series.index(frames[0]) <= 11 and series.index(frames[-1]) == len(series) - 1
    prepare(yard, tmp_path / "out", SIZE, detector="none", frame_rate=10, progress=False)
    clips = load_prepared(tmp_path / "out").training
    assert len(clips[path.stem]) == len(frames)
    share = load_profile("own-camera").threshold_share
    beginning = threshold_parts(clips, share)[0][path.stem]
    part_frames = [number(frame) for frame in beginning]
    assert set(series[30:35]) <= set(part_frames)  # the event itself is trained on


@pytest.mark.parametrize("frame_rate", [None, 10])
def test_slower_footage_keeps_its_own_pace(tmp_path, yard, frame_rate):
    write_video(tmp_path / "today.avi", numbered(40), 5)
    path = mark_normal(event_at(20, 22, 5), tmp_path / "today.avi", yard, frame_rate=frame_rate)
    assert numbers(path) == (list(range(10, 33)), 5)


def test_what_surrounds_an_event_is_of_its_own_clip(tmp_path, yard):
    for name, first in (("1.avi", 0), ("2.avi", 40), ("3.avi", 80)):
        write_video(tmp_path / "week" / name, numbered(40, first))
    assert sum(frame.gap for frame in open_source(tmp_path / "week", SIZE)) == 3
    event = event_at(45, 76, 10, clip="2.avi", clip_s=0.5)
    path = mark_normal(event, tmp_path / "week", yard)
    assert numbers(path)[0] == list(range(40, 80))


def test_an_event_is_found_where_clips_came_or_went_before_it(tmp_path, yard):
    week, event = tmp_path / "week", event_at(45, 50, 10, clip="2.avi", clip_s=0.5)
    for name, first in (("1.avi", 0), ("2.avi", 40), ("3.avi", 80)):
        write_video(week / name, numbered(40, first))
    expected = range(40, 71)  # two seconds on either side, as far as the clip goes
    assert numbers(mark_normal(event, week, yard, "before"))[0] == list(expected)
    write_video(week / "0.avi", numbered(30, 0))
    assert numbers(mark_normal(event, week, yard, "one more"))[0] == list(expected)
    for name in ("0.avi", "1.avi", "3.avi"):
        (week / name).unlink()
    assert numbers(mark_normal(event, week, yard, "alone"))[0] == list(expected)
    write_video(week / "4.avi", numbered(40, 80))
    late = event_at(75, 90, 10, clip="2.avi", clip_s=3.5)  # the clip was longer then
    with pytest.raises(DDLError, match="ends 11 frames before the event"):
        mark_normal(late, week, yard, "shorter")
    (week / "2.avi").unlink()
    with pytest.raises(DDLError, match="2.avi, in which the event lies, is not there any more"):
        mark_normal(event, week, yard, "gone")


def test_footage_that_breaks_off_behind_the_event_will_do(tmp_path, yard):
    path = tmp_path / "today.mkv"
    write_matroska(path, numbered(60), rate=10)
    cut(path, 0.6)
    with pytest.raises(DDLError, match="today.mkv: breaks off"):
        mark_normal(event_at(38, 50, 10), path, yard)
    frames, rate = numbers(mark_normal(event_at(20, 24, 10), path, yard))
    assert rate == 10 and frames[0] == 0 and 30 < frames[-1] < 40


def test_what_waits_for_an_event_takes_little_memory(tmp_path, yard, monkeypatch):
    monkeypatch.setattr("ddllib.camera.marking.ROOM", 5 * 48 * 64 * 3)
    write_video(tmp_path / "today.avi", numbered(60))
    frames, _ = numbers(mark_normal(event_at(30, 34, 10), tmp_path / "today.avi", yard))
    assert frames == list(range(26, 55))


def test_too_few_frames_to_learn_from_are_refused(tmp_path, yard):
    write_video(tmp_path / "short.avi", numbered(3))
    fault = "3 frames, 2 without the end that is kept for the threshold; expected at least 3, a win"
    before = sorted(yard.rglob("*"))
    with pytest.raises(DDLError, match=f"short: the event at frames 1 to 1 and 2 s.*{fault}"):
        mark_normal(event_at(1, 1, 10), tmp_path / "short.avi", yard, frame_rate=10)
    assert sorted(yard.rglob("*")) == before
    write_video(tmp_path / "long.avi", numbered(4))
    mark_normal(event_at(1, 1, 10), tmp_path / "long.avi", yard, frame_rate=10)


def watched_folder(folder, events, **facts):
    file = EventFile(folder, {"frame_rate": 10, **facts})
    for event in events:
        file.append(event)
    return folder


def test_an_event_of_a_recording_is_marked_by_its_number(tmp_path, yard, capsys):
    write_video(tmp_path / "today.avi", numbered(120))
    source = str(tmp_path / "today.avi")
    folder = watched_folder(tmp_path / "w", [event_at(50, 60, 10)], source=source)
    assert main([str(folder), "1", "--to", str(yard)]) == 0
    output = capsys.readouterr().out.strip()
    assert output == f"kept as {yard / 'training' / 'today-50-60.avi'}"
    frames, rate = numbers(yard / "training" / "today-50-60.avi")
    assert frames == list(range(30, 81)) and rate == 10
    assert marked_events(folder) == {1}  # its evidence is kept
    for number, why in (("2", "no event 2; expected 1 to 1"), ("1", "there already")):
        assert main([str(folder), number, "--to", str(yard)]) == 1
        assert why in capsys.readouterr().err
    assert main([str(folder), "1", "--to", str(yard), "--footage", str(tmp_path / "no.avi")]) == 1
    assert "no footage there" in capsys.readouterr().err
    VideoWriter(
        folder / "0001.webm", WEBM, 10, (48, 64)
    ).close()  # its clip is never taken in silence
    for source, why in (("gone.avi", "gone.avi: not found"), (None, "names no source; give")):
        folder = watched_folder(tmp_path / str(source), [event_at(50, 60, 10)], source=source)
        with pytest.raises(DDLError, match=why):
            mark_event(folder, 1, yard)


@pytest.mark.parametrize("source", ["rtsp://camera/1", shown("0")])
def test_of_a_live_source_the_clip_that_the_event_left_is_taken(tmp_path, yard, source):
    event = Event(1.8e9, 1.8e9 + 1, 1.8e9, 500, 510, 505, 0.9)
    folder = watched_folder(tmp_path / "w", [event], source=source)
    with pytest.raises(DDLError, match="event 1 is of .* and has left no clip; give a recording"):
        mark_event(folder, 1, yard)
    video = VideoWriter(folder / "0001.webm", WEBM, 10, (48, 64))
    for frame in numbered(51):
        video.write(frame)
    video.close()
    path = mark_event(folder, 1, yard)
    assert marked_events(folder) == {1}
    frames, rate = numbers(path)
    assert len(frames) == 51 and rate == 10 and path.name.startswith("w-2027-01-1")
    manifest = prepare(yard, tmp_path / "prepared", SIZE, "none", progress=False)
    assert manifest["clips"]["training"][path.stem]["frames"] == 51
