"""Frames from files, folders and a local camera: the same pixels as preparation, no surprises."""

import struct
import subprocess
import sys
import threading
import time
import tracemalloc

import cv2
import numpy as np
import pytest
from support.footage import HEIGHT, WIDTH, walk, write_frames, write_video
from support.hls import hls_camera, segments
from support.rtsp import rtsp_camera
from support.server import as_jpeg, camera, pictures
from support.webm import cut, write_matroska

from data_prep import prepare
from data_prep.footage.frames import Pace, to_view, to_working_size
from data_prep.live import sources, streams
from data_prep.live.record import record
from data_prep.live.sources import open_source, shown
from data_prep.live.streams import BACKLOG, _Playout
from ddllib import DDLError
from ddllib.paths import ROOT

SIZE = (32, 48)


def decoded(frames, tmp_path):
    """Pictures as preparation reads them from a file of the same JPEGs, at the working size."""
    path = tmp_path / "pictures.mjpeg"
    path.write_bytes(b"".join(map(as_jpeg, frames)))
    video, images = cv2.VideoCapture(str(path)), []
    for _ in frames:
        images.append(to_working_size(video.read()[1], SIZE, 3))
    return images


def open_quietly(address, **wishes):
    """A source that writes its messages into a list, its attribute ``messages``."""
    messages = []
    source = open_source(address, SIZE, **{"patience": 0.5, "tell": messages.append, **wishes})
    source.messages = messages
    return source


# ---- recordings


@pytest.mark.parametrize("colour", [False, True])
def test_a_video_gives_the_pixels_that_preparation_gives(tmp_path, own_runs, colour):
    write_video(tmp_path / "in" / "training" / "a.avi", walk(3, colour))
    prepare(tmp_path / "in", tmp_path / "out", SIZE, progress=False)
    clip = np.load(tmp_path / "out" / "training" / "a.npy")
    source = open_source(tmp_path / "in" / "training" / "a.avi", SIZE, channels=clip.shape[1])
    frames = list(source)
    assert np.array_equal(np.stack([f.image for f in frames]), clip)
    assert [f.index for f in frames] == list(range(len(clip)))
    assert [f.gap for f in frames] == [True] + [False] * (len(clip) - 1)
    assert [f.time_s for f in frames] == pytest.approx(np.arange(len(clip)) / 10, abs=2e-3)


def test_a_folder_of_videos_is_watched_one_after_the_other(tmp_path):
    for name in ("2.avi", "10.avi"):
        write_video(tmp_path / name, walk()[:5])
    frames = list(open_source(tmp_path, SIZE))
    assert [f.gap for f in frames] == ([True] + [False] * 4) * 2
    assert [f.index for f in frames] == list(range(10))
    assert np.diff([f.time_s for f in frames]) == pytest.approx(0.1, abs=2e-3)


def test_folders_of_images_and_images_alone_are_clips(tmp_path):
    write_frames(tmp_path / "a", walk()[:4])
    write_frames(tmp_path / "b", walk()[:3])
    assert [f.gap for f in open_source(tmp_path, SIZE)] == [1, 0, 0, 0, 1, 0, 0]
    alone = list(open_source(tmp_path / "a", SIZE, rate=5))
    assert [f.time_s for f in alone] == [0, 0.2, 0.4, 0.6]  # images tell no time: all are kept
    expected = [to_working_size(frame, SIZE, 3) for frame in walk()[:4]]
    assert np.array_equal([f.image for f in alone], expected)


def test_a_recording_can_be_stopped(tmp_path):
    write_video(tmp_path / "a.avi", walk())
    source, frames = open_source(tmp_path / "a.avi", SIZE), []
    for frame in source:
        frames.append(frame)
        if len(frames) == 3:
            source.stop()
    assert len(frames) == 3


def boxes_of(data, path):
    """Start, length and content start of the MP4 box at ``path`` (as moov/trak)."""
    start, end = 0, len(data)
    for name in path.split("/"):
        while True:
            size, kind = struct.unpack(">I4s", data[start : start + 8])
            if kind == name.encode():
                break
            start += size
            assert start < end, name
        end, span = start + size, (start, size)
        start += 8
    return *span, start


def rotated(data):
    """The same MP4 with a quarter turn in its header, as a telephone held upright writes it."""
    start, size, _ = boxes_of(data, "moov/trak/tkhd")
    matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    end = start + size
    return data[: end - 44] + matrix + data[end - 8 :]


def uneven(data, durations):
    """The same MP4 with these frame durations, in 1/30 seconds."""
    start, size, inside = boxes_of(data, "moov/trak/mdia/minf/stbl/stts")
    count, unit = struct.unpack(">II", data[inside + 8 : inside + 16])
    assert count == len(durations)
    entries = b"".join(struct.pack(">II", 1, unit * d) for d in durations)
    table = struct.pack(">I4sII", 16 + len(entries), b"stts", 0, len(durations)) + entries
    growth = len(table) - size
    out = bytearray(data[:start] + table + data[start + size :])
    path = "moov/trak/mdia/minf/stbl".split("/")
    for depth in range(1, len(path) + 1):
        at, old, _ = boxes_of(data, "/".join(path[:depth]))
        out[at : at + 4] = struct.pack(">I", old + growth)
    return bytes(out).replace(b"edts", b"free")


@pytest.fixture
def mp4(tmp_path):
    """An MP4 of 30 frames, 30 a second; its header follows the frames."""
    path = tmp_path / "a.mp4"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for t in range(30):
        video.write(np.full((HEIGHT, WIDTH, 3), 8 * t, np.uint8))
    video.release()
    return path


def test_a_rotation_flag_turns_the_picture_here_as_in_preparation(tmp_path, own_runs):
    path = tmp_path / "in" / "a.mp4"
    path.parent.mkdir()
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30, (WIDTH, HEIGHT))
    for frame in walk():
        video.write(frame)
    video.release()
    upright = [f.image for f in open_source(path, (48, 48))]
    path.write_bytes(rotated(path.read_bytes()))
    images = [f.image for f in open_source(path, (48, 48))]
    prepare(path.parent, tmp_path / "out", 48, detector="none", channels=3, progress=False)
    assert np.array_equal(images, np.load(tmp_path / "out" / "training" / "a.npy"))
    upright, images = np.stack(upright).astype(int), np.stack(images).astype(int)
    ways = [np.abs(np.rot90(upright, k, axes=(2, 3)) - images).mean() for k in range(4)]
    assert np.argmin(ways) in (1, 3) and min(ways) < 0.5 * ways[0]


def test_a_rate_is_kept_by_times_not_by_counts(mp4):
    every = [f.time_s for f in open_source(mp4, SIZE, rate=10)]
    assert every == pytest.approx(np.arange(10) / 10, abs=2e-3)
    # Half of it 30 frames per second, the other half 5 per second: a count would tilt the two.
    mp4.write_bytes(uneven(mp4.read_bytes(), [1] * 15 + [6] * 15))
    times = [f.time_s for f in open_source(mp4, SIZE)]
    assert np.diff(times) == pytest.approx([1 / 30] * 15 + [6 / 30] * 14, abs=2e-3)
    frame_times = [f.time_s for f in open_source(mp4, SIZE, rate=10)]
    expected = [0, 0.1, 0.2, 0.3, 0.4] + [0.5 + 0.2 * k for k in range(15)]
    assert frame_times == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("rate", [12, 15, 24, 25, 29.97, 30, 50, 59.94, 60])
@pytest.mark.parametrize("jitter", [0, 0.004])
def test_a_pace_leaves_the_wished_rate(rate, jitter):
    noise = np.random.default_rng(0).uniform(-jitter, jitter, 1000)
    times = np.arange(1000) / rate + noise
    pace = Pace(10)
    kept_times = np.array([t for t in times if pace.keeps(t)])
    assert len(kept_times) == pytest.approx(10 * times[-1], abs=2)
    assert np.abs(kept_times - kept_times[0] - np.arange(len(kept_times)) / 10).max() < 0.11


def test_a_camera_at_the_wished_rate_loses_nothing_to_jitter():
    times = np.arange(500) / 10 + np.random.default_rng(0).uniform(-0.012, 0.012, 500)
    pace = Pace(10)
    assert all(pace.keeps(t) for t in times)


# ---- live sources


def test_a_camera_gives_its_pictures_exactly(tmp_path):
    frames = pictures(20)
    with camera([*frames, 60]) as playing:
        source, live_frames = open_quietly(playing.address), []
        for frame in source:
            live_frames.append(frame)
            if len(live_frames) == 20:
                source.stop()
    assert np.array_equal([f.image for f in live_frames], decoded(frames, tmp_path))
    assert [f.gap for f in live_frames] == [True] + [False] * 19
    assert abs(live_frames[-1].time_s - time.time()) < 30 and source.live
    assert (np.diff([f.time_s for f in live_frames]) >= 0).all()
    assert source.dropped == source.reconnections == 0 and not source.messages


def test_rtsp_is_read_and_connected_to_again(tmp_path):
    frames = pictures(30)
    with rtsp_camera(frames) as address:
        source = open_quietly(address, patience=3.0)
        live_frames = collect(source, 40)
    assert source.name == address.replace("me:secret@", "") and source.live
    again = [f.gap for f in live_frames].index(True, 1)
    assert source.reconnections == 1 and "secret" not in " ".join(source.messages)
    expected = decoded(frames, tmp_path)
    # Frames wait while the stream is opened, more than the backlog holds: the oldest are dropped.
    assert [f.index for f in live_frames[:again]] == sorted({f.index for f in live_frames[:again]})
    for frame in live_frames[:again]:
        assert np.array_equal(frame.image, expected[frame.index])


def test_a_playlist_is_played_at_the_pace_of_its_frames(tmp_path):
    frames = np.zeros((50, 48, 64, 3), np.uint8)
    for k, frame in enumerate(frames):
        frame[:, : k + 8] = 255  # a curtain that tells the frame's number
    parts = segments(frames, tmp_path, rate=10, length=10)
    with hls_camera(parts, seconds=1) as address:
        source = open_quietly(f"{address}?key=secret", patience=5.0, give_up=0.2)
        began = time.monotonic()
        result = list(source)
    order = [round(64 * f.image.mean() / 255) - 8 for f in result]
    assert len(result) == 50 and np.abs(np.subtract(order, range(50))).max() <= 1  # lossy video
    assert [f.gap for f in result] == [True] + [False] * 49 and source.dropped == 0
    # A second of frames comes at once; each is given when a second of them would have it.
    late = np.array([f.read_s - began for f in result])
    assert np.abs(np.diff(late) - 0.1).mean() < 0.05 and late[-1] > 4.5
    assert source.live and "secret" not in " ".join(source.messages)


class _Late:
    """A video whose frames, 0.1 s apart, can be had at given moments; and the clock of it."""

    def __init__(self, there, times):
        self.there, self.times, self.now = there, times, 0.0

    def released(self, playout):
        for at in self.there:
            self.now = max(self.now, at)
            self.now += playout.early(self.times.pop(0))
            yield self.now


@pytest.mark.parametrize("times", [np.arange(60) / 10, np.arange(60) % 20 / 10, np.zeros(60)])
def test_late_segments_of_a_playlist_are_made_up_for_without_haste(times, monkeypatch):
    late = np.repeat([0.0, 2.4, 4.0], 20)  # the second segment comes 0.4 s late
    video = _Late(late, [*times])
    monkeypatch.setattr("data_prep.live.streams.time.monotonic", lambda: video.now)
    release_times = np.array([*video.released(_Playout(10.0, 1.0))])
    assert release_times[19] == pytest.approx(1.9) and release_times[20] == pytest.approx(2.4)
    steps = np.diff(release_times[20:])
    assert steps.min() == pytest.approx(0.08) and steps.max() == pytest.approx(0.1)
    assert release_times[-1] == pytest.approx(5.9)  # made up for


def test_after_a_long_pause_a_playlist_goes_on_at_its_pace(monkeypatch):
    video = _Late(np.repeat([0.0, 7.0], 20), [*np.arange(40) / 10])
    monkeypatch.setattr("data_prep.live.streams.time.monotonic", lambda: video.now)
    times = np.array([*video.released(_Playout(10.0, 1.0))])
    assert np.diff(times[20:]) == pytest.approx(0.1) and times[20] == pytest.approx(7.0)


def collect(source, count):
    frames = []
    for frame in source:
        frames.append(frame)
        if len(frames) == count:
            source.stop()
    return frames


@pytest.mark.parametrize("how, script", [("stall", [*pictures(6), 60]), ("end", pictures(6))])
def test_a_stall_and_an_end_lead_to_a_new_connection(how, script):
    with camera(script, [*pictures(6), 60]) as playing:
        source = open_quietly(playing.address)
        frames = collect(source, 12)
    assert [f.gap for f in frames] == ([True] + [False] * 5) * 2
    assert [f.index for f in frames] == list(range(12))
    assert source.reconnections == 1 and len(playing.asked) == 2
    word = "no frame for 0.5 s" if how == "stall" else "the stream broke off"
    assert source.messages == [f"{source.name}: {word}; connecting again in 0.5 s"]


def test_a_server_that_dies_and_comes_back(monkeypatch):
    monkeypatch.setattr(streams, "FIRST_WAIT", 0.05)
    first = camera([*pictures(5), 60])
    playing = first.__enter__()
    source = open_quietly(playing.address)
    frames = iter(source)
    assert [next(frames).gap for _ in range(5)] == [True] + [False] * 4
    first.__exit__(None, None, None)
    # The old connection stalls, then nobody answers for a while.
    later = []

    def come_back():
        later.append(type(playing)([*pictures(5), 60], port=playing.port))

    timer = threading.Timer(1.0, come_back)
    timer.start()
    again = [next(frames) for _ in range(5)]
    source.stop()
    assert [f.gap for f in again] == [True] + [False] * 4
    assert source.reconnections >= 2 and any("cannot be opened" in line for line in source.messages)
    later[0].close()


def test_a_source_ends_when_nothing_comes_any_more(monkeypatch):
    monkeypatch.setattr(streams, "FIRST_WAIT", 0.05)
    with camera(pictures(4), []) as playing:
        source = open_quietly(playing.address, give_up=0.8)
        assert not source.gave_up and len(list(source)) == 4
    assert source.gave_up and "this is taken as its end" in source.messages[-1]
    waits = [float(line.split()[-2]) for line in source.messages[:-1]]
    assert waits == [0.05 * 2**k for k in range(len(waits))] and len(waits) >= 2


def test_a_source_that_never_gave_a_frame_is_an_error(monkeypatch):
    monkeypatch.setattr(streams, "FIRST_WAIT", 0.05)
    source = open_quietly("http://me:secret@127.0.0.1:1/video?key=hidden", give_up=0.3)
    with pytest.raises(DDLError, match="http://127.0.0.1:1/video: cannot be opened") as error:
        list(source)
    text = " ".join([str(error.value), source.name, *source.messages])
    assert "secret" not in text and "hidden" not in text and len(source.messages) >= 2


def larger(frames):
    return [cv2.resize(frame, (160, 96), interpolation=cv2.INTER_CUBIC) for frame in frames]


def test_another_size_of_the_picture_goes_on_and_after_a_new_connection_is_exact(tmp_path):
    script = [*pictures(5), *larger(pictures(5, start=5))]
    with camera(script, [*larger(pictures(5)), 60]) as playing:
        frames = collect(open_quietly(playing.address), 15)
    assert [f.gap for f in frames] == [True] + [False] * 9 + [True] + [False] * 4
    assert {f.image.shape for f in frames} == {(3, *SIZE)}
    for frame, expected in zip(frames, [*pictures(10), *pictures(5)], strict=True):
        difference = frame.image.astype(int) - to_working_size(expected, SIZE, 3)
        assert np.abs(difference).mean() < 4
    assert np.array_equal(frames[-1].image, decoded(larger(pictures(5)), tmp_path)[-1])


def test_a_slow_reader_loses_the_oldest_frames_and_is_told(tmp_path):
    with camera([*pictures(60), 60], pause=0.01) as playing:
        source, frames = open_quietly(playing.address), []
        for frame in source:
            frames.append(frame)
            time.sleep(0.06)
            if frame.index == 59:
                source.stop()
    numbers = [f.index for f in frames]
    assert source.dropped == 60 - len(frames) > 20
    assert numbers == sorted(numbers) and numbers[-BACKLOG:] == list(range(60 - BACKLOG, 60))
    assert [f.gap for f in frames] == [True] + [False] * (len(frames) - 1)
    # What is given is what the number says, dropped ones or not.
    assert np.array_equal(frames[-1].image, decoded(pictures(60), tmp_path)[-1])


def test_frames_too_far_apart_are_a_gap():
    with camera([*pictures(3), 0.5, *pictures(40), 60]) as playing:
        source = open_quietly(playing.address, longest_step=0.3, patience=5.0)
        assert [f.gap for f in collect(source, 6)] == [True, False, False] * 2
        source = open_quietly(playing.address, longest_step=0.3, patience=5.0, rate=2)
        assert source.wish.longest_step == 1.25


def test_a_live_source_keeps_a_rate():
    with camera([*pictures(40), 60], pause=0.02) as playing:
        source = open_quietly(playing.address, rate=10)
        frames = collect(source, 6)
    steps = np.diff([f.time_s for f in frames])
    assert len(frames) == 6 and steps.mean() == pytest.approx(0.1, abs=0.03)
    assert [f.index for f in frames] == list(range(6))


def a_served_file(tmp_path, count=40):
    write_video(tmp_path / "a.avi", pictures(count))
    return (tmp_path / "a.avi").read_bytes(), list(open_source(tmp_path / "a.avi", SIZE))


def test_a_served_file_is_read_whole_however_slow_the_reader(tmp_path):
    data, expected = a_served_file(tmp_path)
    with camera(data) as playing:
        source, frames = open_quietly(playing.address + ".avi"), []
        for frame in source:
            frames.append(frame)
            time.sleep(0.01)
    assert source.dropped == source.reconnections == 0 and source.live is False
    assert np.array_equal([f.image for f in frames], [f.image for f in expected])
    assert [f.time_s for f in frames] == pytest.approx([f.time_s for f in expected])


def test_a_served_file_that_breaks_off_goes_on_where_it_was(tmp_path):
    data, expected = a_served_file(tmp_path)
    with camera(data[: len(data) // 2], data) as playing:
        source = open_quietly(playing.address + ".avi")
        frames = list(source)
    assert source.reconnections == 1 and 0 < [f.gap for f in frames].index(True, 1) < 30
    assert len(frames) == len(expected)
    assert np.array_equal(frames[-1].image, expected[-1].image)


def test_nothing_grows_while_nobody_reads():
    with camera([*pictures(3000)], pause=0) as playing:
        source = open_quietly(playing.address)
        frames = iter(source)
        next(frames)
        time.sleep(0.2)
        tracemalloc.start()
        before = source.dropped
        while source.dropped < before + 300:
            time.sleep(0.01)
        memory, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        source.stop()
        frames.close()
    image = 3 * SIZE[0] * SIZE[1]
    assert memory < 40 * image  # 300 frames were read meanwhile


def test_a_stopped_source_leaves_no_thread():
    with camera([*pictures(5), 60]) as playing:
        collect(open_quietly(playing.address), 5)
        deadline = time.monotonic() + 5
        while any(t.name == "frames" for t in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.slow
def test_no_process_ends_while_a_frame_is_waited_for():
    """OpenCV would abort it: what a thread waits for comes back to a Python that is not there."""
    code = (
        "import atexit, sys, threading, time\n"
        "atexit.register(lambda: print(*[t.name for t in threading.enumerate()]))\n"
        "from data_prep.live.sources import open_source\n"
        "for frame in open_source(sys.argv[1], 32, patience=4):\n"
        "    if frame.index == 20:\n"
        "        time.sleep(1)\n"  # nothing comes any more
        "        break\n"
    )
    with camera([*pictures(40), 60]) as playing:
        command = [sys.executable, "-c", code, playing.address]
        process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert (process.returncode, process.stderr) == (0, "")
    assert "MainThread" in process.stdout and "frames" not in process.stdout


def test_there_is_no_camera_here(monkeypatch):
    monkeypatch.setattr(streams, "FIRST_WAIT", 0.05)
    with pytest.raises(DDLError, match="camera 97: cannot be opened"):
        list(open_quietly("97", give_up=0.01))


@pytest.mark.parametrize(
    "address, expected",
    [
        ("rtsp://me:secret@cam:554/live", "rtsp://cam:554/live"),
        ("rtsp://me:se@cret@cam/live", "rtsp://cam/live"),
        ("rtsp://me:se/cret@cam/live", "rtsp://..."),
        ("rtsp://me:se?cret@cam/live", "rtsp://..."),
        ("http://cam/video.cgi?user=me&pwd=secret", "http://cam/video.cgi"),
        ("http://cam/video#secret", "http://cam/video"),
        ("0", "camera 0"),
        ("yard.avi", "yard.avi"),
    ],
)
def test_what_is_secret_is_not_shown(address, expected):
    assert shown(address) == expected


@pytest.mark.parametrize(
    "address, wishes, word",
    [
        ("nowhere.avi", {}, "nowhere.avi: nothing there; expected a video file"),
        ("ftp://me:secret@cam/x", {}, "ftp://cam/x: nothing there"),
        ("0", {"rate": 0}, "rate is 0; expected frames per second above 0"),
        ("0", {"channels": 2}, "channels: 2; expected 1 or 3"),
    ],
)
def test_what_cannot_be_watched_is_reported(address, wishes, word):
    with pytest.raises(DDLError, match=word):
        open_source(address, SIZE, **wishes)


def test_an_empty_folder_and_a_broken_file_are_reported(tmp_path):
    with pytest.raises(DDLError, match="neither videos nor images"):
        open_source(tmp_path, SIZE)
    (tmp_path / "a.avi").write_bytes(b"no video")
    with pytest.raises(DDLError, match="a.avi: cannot be read as a video"):
        list(open_source(tmp_path, SIZE))


def test_a_clip_that_breaks_off_ends_there_and_the_next_one_follows(tmp_path):
    for name in ("a", "b", "c"):
        write_matroska(tmp_path / f"{name}.mkv", pictures(40), np.arange(40) / 10, ends=4.0)
    cut(tmp_path / "b.mkv", 0.5)
    messages = []
    source = open_source(tmp_path, SIZE, tell=messages.append)
    frames = list(source)
    starts = [frame.index for frame in frames if frame.gap]
    assert starts[:2] == [0, 40] and len(starts) == 3 and 40 < starts[2] < 80
    assert [frame.index for frame in frames] == list(range(starts[2] + 40))
    assert messages == source.faults and len(messages) == 1 and "b.mkv: breaks off" in messages[0]
    assert source.where(frames[-1].time_s)[0] == "c.mkv"


def test_a_pause_in_a_recording_is_a_gap(tmp_path):
    times = np.concatenate([np.arange(20) / 10, 60 + np.arange(20) / 10])
    write_matroska(tmp_path / "a.mkv", pictures(40), times, ends=62.0)

    def gaps(**wishes):
        return [f.index for f in open_source(tmp_path / "a.mkv", SIZE, **wishes) if f.gap]

    assert gaps(rate=10) == [0, 20]
    assert gaps() == [0]  # who asks for all frames knows how they lie


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan"), "5", True])
def test_a_rate_that_is_none_is_reported(tmp_path, rate):
    with pytest.raises(DDLError, match="rate is .*; expected frames per second above 0"):
        open_source(tmp_path, 32, rate=rate)
    with pytest.raises(DDLError, match="frame_rate: .*; expected frames per second above 0"):
        prepare(tmp_path, tmp_path / "out", 32, frame_rate=rate, progress=False)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_no_end_of_a_recording_is_reported(tmp_path, minutes):
    with pytest.raises(DDLError, match="minutes: .*; expected a number above 0"):
        next(record("0", tmp_path, 60 * minutes, 10))


def test_what_a_person_sees_keeps_its_proportions_and_is_no_larger_than_asked(tmp_path):
    frames = {
        (48, 64): (48, 64),
        (720, 1280): (360, 640),
        (1000, 250): (640, 160),
        (33, 51): (32, 50),
    }
    for size, expected in frames.items():
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        view = to_view(image)
        assert view.shape == (*expected, 3)
        assert to_view(image[..., 0]).shape == view.shape  # grey
    write_video(tmp_path / "a.avi", pictures(3))
    for frame, plain in zip(
        open_source(tmp_path / "a.avi", 32), open_source(tmp_path / "a.avi", None), strict=True
    ):
        assert np.array_equal(frame.view, plain.image) and plain.view is None


@pytest.mark.parametrize("address", ["3", "/dev/video3"])
def test_a_webcam_goes_by_its_number_or_its_device(monkeypatch, address):
    calls = []
    monkeypatch.setattr(
        sources, "Stream", lambda *args, **options: calls.append((args[0], options))
    )
    open_source(address, 32)
    assert calls == [("3", {"live": True})]
