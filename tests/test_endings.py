"""A video is whole or breaks off: by its count where that is stated, else by its seconds."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest_footage import write_video
from conftest_server import camera, pictures
from conftest_webm import cut, write_matroska

from data_prep import frames as fr
from data_prep import movie, prepare, sources
from data_prep.endings import Ending
from data_prep.frames import read_video
from data_prep.layouts import open_clip
from data_prep.sources import open_source
from data_prep.survey import report, survey
from ddllib import DDLError

SIZE, COUNT = (32, 48), 60
# Twenty frames a second at first, then a frame of 0.15 s and more: 60 frames in 6 s.
VARYING = np.concatenate([np.arange(30) / 20, 1.5 + 0.15 * np.arange(30)])


@pytest.mark.parametrize("name", ["a.webm", "a.mkv"])
def test_footage_of_varying_rate_is_whole(tmp_path, own_runs, name):
    path = tmp_path / "in" / name
    write_matroska(path, pictures(COUNT), VARYING)
    assert np.allclose([frame.time_s for frame in read_video(path)], VARYING, atol=1e-3)
    manifest = prepare(path, tmp_path / "out", SIZE, detector="none", progress=False)
    assert manifest["clips"]["training"]["a"]["frames"] == COUNT


@pytest.mark.parametrize("name", ["a.webm", "a.mkv"])
@pytest.mark.parametrize("times", [None, VARYING])
@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_file_that_breaks_off_is_told(tmp_path, name, times, share):
    write_matroska(tmp_path / name, pictures(COUNT), times)
    cut(tmp_path / name, share)
    with pytest.raises(DDLError, match=rf"{name}: breaks off after [\d.]+ of (3.0|5.9) s"):
        list(read_video(tmp_path / name))


def test_a_slow_camera_is_whole_and_its_loss_is_told(tmp_path):
    path = tmp_path / "slow.mkv"
    write_matroska(path, pictures(12), 4.0 * np.arange(12), ends=48.0)
    assert len(list(read_video(path))) == 12
    cut(path, 0.7)
    with pytest.raises(DDLError, match="slow.mkv: breaks off after"):
        list(read_video(path))


def test_a_piece_of_a_longer_recording_keeps_its_clock_and_is_whole(tmp_path):
    path = tmp_path / "piece.mkv"
    write_matroska(path, pictures(COUNT), begins=300.0)
    assert [frame.time_s for frame in read_video(path)][-1] == pytest.approx(2.95)
    cut(path, 0.5)
    with pytest.raises(DDLError, match="piece.mkv: breaks off after 1.4 of 3.0 s"):
        list(read_video(path))


def test_a_stated_count_is_held_to_the_frame(tmp_path):
    write_video(tmp_path / "a.avi", pictures(20))
    data = bytearray((tmp_path / "a.avi").read_bytes())
    at = data.index(b"strh") + 8 + 32  # the stream's length
    data[at] = 23  # 0.3 s more than there are
    (tmp_path / "a.avi").write_bytes(data)
    with pytest.raises(DDLError, match="a.avi: breaks off after 20 of 23 frames"):
        list(read_video(tmp_path / "a.avi"))


def test_only_a_stated_count_is_taken_for_one(tmp_path):
    write_matroska(tmp_path / "a.webm", pictures(COUNT), VARYING)
    write_matroska(tmp_path / "b.webm", pictures(COUNT))
    clip = open_clip(tmp_path / "a.webm", "training")
    assert fr.frame_count(clip) is None
    line = "training: 2 clips, 0 frames; of 2 the number of frames is not stated"
    assert line in report(survey(tmp_path))


def test_a_watched_folder_goes_on_behind_footage_of_varying_rate(tmp_path):
    write_matroska(tmp_path / "1.webm", pictures(COUNT), VARYING)
    write_matroska(tmp_path / "2.webm", pictures(20))
    frames = list(open_source(tmp_path, SIZE))
    assert [frame.index for frame in frames if frame.gap] == [0, COUNT]
    assert len(frames) == COUNT + 20


@pytest.mark.parametrize("address", ["/yard.webm", "/yard.webm?key=secret", "/yard"])
def test_footage_of_varying_rate_is_fetched_once(tmp_path, monkeypatch, address):
    monkeypatch.setattr(sources, "FIRST_WAIT", 0.05)
    write_matroska(tmp_path / "a.webm", pictures(COUNT), VARYING)
    with camera((tmp_path / "a.webm").read_bytes()) as playing:
        place = playing.address.removesuffix("/video") + address
        source = open_source(place, SIZE, patience=0.5, give_up=1.0, tell=print)
        assert len(list(source)) == COUNT
    assert source.reconnections == 0 and len(playing.asked) == 1


def test_a_served_webm_that_breaks_off_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "FIRST_WAIT", 0.05)
    write_matroska(tmp_path / "a.webm", pictures(COUNT), VARYING)
    data = (tmp_path / "a.webm").read_bytes()
    with camera(data[: len(data) // 2], data) as playing:
        place = playing.address.removesuffix("/video") + "/yard.webm"
        source = open_source(place, SIZE, patience=0.5, give_up=2.0, tell=print)
        assert len(list(source)) == COUNT
    assert source.reconnections == 1


class Stating:
    """A video that states so many frames at so many a second."""

    def __init__(self, count, rate):
        self.values = {cv2.CAP_PROP_FRAME_COUNT: float(count), cv2.CAP_PROP_FPS: float(rate)}

    def get(self, name):
        return self.values[name]


def ending_after(count, stating, path):
    ending = Ending(stating, path)
    for number in range(count):
        ending.push(number / 10)
    return ending


@pytest.mark.parametrize("name", ["a.mp4", "a.MOV"])
def test_frames_that_an_edit_list_hides_are_not_missing(tmp_path, name):
    path = tmp_path / name
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for frame in pictures(40):
        video.write(frame)
    video.release()
    assert movie.shown_seconds(path) == pytest.approx(4, abs=0.11)
    hidden = Stating(46, 10)  # as the file of a piece that was cut out states
    assert ending_after(40, hidden, path).is_reached()
    assert not ending_after(36, hidden, path).is_reached()
    path.write_bytes(path.read_bytes().replace(b"tkhd", b"free"))
    assert movie.shown_seconds(path) is None
    assert not ending_after(40, hidden, path).is_reached()


@pytest.mark.parametrize("content", [b"", b"no video at all", b"\0\0\0\x10moov\0\0\0\x04free"])
def test_a_file_that_tells_no_length_has_none(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    assert movie.shown_seconds(tmp_path / "a.mp4") is None
    assert movie.shown_seconds(tmp_path / "none.mp4") is None


def test_packets_without_a_picture_are_not_missing():
    twice = Stating(80, 20)  # H.264 in an AVI: a packet of nothing after each frame
    assert ending_after(40, twice, Path("a.avi")).is_reached()
    assert not ending_after(36, twice, Path("a.avi")).is_reached()
