"""Videos as recorders and browsers write them: all frames with their times, or one clear line."""

import socket
from pathlib import Path

import numpy as np
import pytest
from support.footage import write_video
from support.server import camera, pictures
from support.video import write_media
from support.webm import cut, write_matroska

from data_prep import prepare
from data_prep.footage import frames as fr
from data_prep.footage import video as vd
from data_prep.footage.frames import read_video
from data_prep.footage.layouts import open_clip
from data_prep.footage.survey import report, survey
from data_prep.live import streams
from data_prep.live.sources import open_source
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
def test_a_file_that_breaks_off_is_reported(tmp_path, name, times, share):
    write_matroska(tmp_path / name, pictures(COUNT), times)
    cut(tmp_path / name, share)
    message = rf"{name}: breaks off after \d+ frames, [\d.]+ of (3.0|5.9) s"
    with pytest.raises(DDLError, match=message):
        list(read_video(tmp_path / name))


def test_a_slow_camera_is_whole_and_its_loss_is_reported(tmp_path):
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
    with pytest.raises(DDLError, match="piece.mkv: breaks off after 29 frames, 1.4 of 3.0 s"):
        list(read_video(path))


def test_a_stated_count_is_held_to_the_frame(tmp_path):
    write_video(tmp_path / "a.avi", pictures(20))
    data = bytearray((tmp_path / "a.avi").read_bytes())
    at = data.index(b"strh") + 8 + 32  # the stream's length
    data[at] = 23  # 0.3 s more than there are
    (tmp_path / "a.avi").write_bytes(data)
    with pytest.raises(DDLError, match="a.avi: breaks off after 20 frames, 2.0 of 2.3 s"):
        list(read_video(tmp_path / "a.avi"))


def test_only_a_stated_count_is_taken_for_one(tmp_path):
    write_matroska(tmp_path / "a.webm", pictures(COUNT), VARYING)
    write_matroska(tmp_path / "b.webm", pictures(COUNT))
    clip = open_clip(tmp_path / "a.webm", "training")
    assert fr.frame_count(clip) is None
    assert fr.frame_count(clip, thorough=True) == COUNT
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
    monkeypatch.setattr(streams, "FIRST_WAIT", 0.05)
    write_matroska(tmp_path / "a.webm", pictures(COUNT), VARYING)
    with camera((tmp_path / "a.webm").read_bytes()) as playing:
        place = playing.address.removesuffix("/video") + address
        source = open_source(place, SIZE, patience=0.5, give_up=1.0, tell=print)
        assert len(list(source)) == COUNT
    assert source.reconnections == 0 and len(playing.asked) == 1


def test_a_served_webm_that_breaks_off_is_fetched_again(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "FIRST_WAIT", 0.05)
    write_matroska(tmp_path / "a.webm", pictures(COUNT), VARYING)
    data = (tmp_path / "a.webm").read_bytes()
    with camera(data[: len(data) // 2], data) as playing:
        place = playing.address.removesuffix("/video") + "/yard.webm"
        source = open_source(place, SIZE, patience=0.5, give_up=2.0, tell=print)
        assert len(list(source)) == COUNT
    assert source.reconnections == 1


def noise(count, depth=np.uint8):
    """Pictures H x W x 3, or H x W of 16 bits, unlike one another."""
    draws = np.random.default_rng(0)
    shape = (48, 64, 3) if depth is np.uint8 else (48, 64)
    return [draws.integers(0, np.iinfo(depth).max, shape, depth) for _ in range(count)]


PAUSE_S = 120
WITH_PAUSE = np.arange(40) / 20 + PAUSE_S * (np.arange(40) >= 20)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_sound_that_goes_on_while_the_picture_pauses_ends_nothing(tmp_path, name):
    path = write_media(tmp_path / name, noise(40), WITH_PAUSE, sound_s=125, codec="libx264")
    times = [frame.time_s for frame in read_video(path)]
    assert np.allclose(times, WITH_PAUSE, atol=2e-3)
    assert fr.frame_count(open_clip(path, "training"), thorough=True) == 40
    assert len(list(open_source(path, SIZE))) == 40


@pytest.mark.parametrize(
    "name, codec", [("a.mkv", "mpeg4"), ("a.wmv", "wmv2"), ("a.flv", "flv"), ("a.avi", "mjpeg")]
)
def test_sound_much_longer_than_the_picture_is_no_missing_picture(tmp_path, name, codec):
    path = write_media(tmp_path / name, noise(50), sound_s=9, codec=codec)
    assert len(list(read_video(path))) == 50
    assert vd.frame_count(path, thorough=True) == 50


@pytest.mark.parametrize("flags", ["frag_keyframe", "frag_keyframe+empty_moov", "faststart"])
def test_sound_longer_than_the_picture_adds_no_frames(tmp_path, flags):
    options = {"movflags": flags}
    path = write_media(tmp_path / "a.mp4", noise(50), sound_s=3.2, options=options, gop_size=10)
    assert len(list(read_video(path))) == 50
    assert vd.frame_count(path) in (None, 50)
    assert vd.frame_count(path, thorough=True) == 50


def test_labels_of_a_fragmented_video_are_held_to_its_true_frames(tmp_path, own_runs):
    for split in ("training", "testing"):
        path = tmp_path / "yard" / split / f"{split}.mp4"
        options = {"movflags": "frag_keyframe+empty_moov"}
        write_media(path, noise(50), sound_s=3.2, options=options, gop_size=10)
    np.save(tmp_path / "yard" / "labels.npy", np.arange(50) >= 40)
    assert "testing: 1 clips, 50 frames" in report(survey(tmp_path / "yard", thorough=True))
    out = tmp_path / "prepared"
    manifest = prepare(tmp_path / "yard", out, SIZE, detector="none", progress=False)
    assert manifest["labellings"]["labels.npy"]["abnormal"] == 10


@pytest.mark.parametrize("flags", ["frag_keyframe", "faststart"])
def test_a_film_that_breaks_off_is_reported(tmp_path, flags):
    options = {"movflags": flags}
    path = write_media(tmp_path / "a.mp4", noise(50), sound_s=2.5, options=options, gop_size=10)
    data = path.read_bytes()  # a fragmented file that ends between two parts may be all there is
    path.write_bytes(data[: data.rindex(b"mdat") + 500])
    with pytest.raises(DDLError, match="a.mp4: breaks off after"):
        list(read_video(path))
    assert any("differs: " in line and "a.mp4" in line for line in check_lines(path))


def test_check_tells_an_avi_that_breaks_off(tmp_path):
    write_video(tmp_path / "a.avi", pictures(COUNT))
    cut(tmp_path / "a.avi", 0.6)
    assert any("a.avi: breaks off after" in line for line in check_lines(tmp_path / "a.avi"))


def check_lines(path):
    return report(survey(path, thorough=True))


@pytest.mark.parametrize("name", ["http:127.0.0.1:{port}/a.mp4", "2024-01-01T12:00:00.mp4"])
@pytest.mark.parametrize("form", ["relative", "absolute"])
def test_a_local_file_is_read_whatever_its_name(tmp_path, monkeypatch, name, form):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        name = name.format(port=server.getsockname()[1])
        path = write_media(tmp_path / name, noise(12))
        monkeypatch.chdir(tmp_path)
        path = Path(name) if form == "relative" else path
        assert len(list(read_video(path))) == 12
        assert len(list(open_source(path, SIZE))) == 12
        with pytest.raises(BlockingIOError):  # nobody has asked
            server.accept()


@pytest.mark.parametrize("name", ["a%03d.avi", "subfile,,start,0,end,9,,:a.avi", "pipe:0.avi"])
def test_names_that_ffmpeg_would_interpret_are_names(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    write_media(Path(name), noise(12))
    assert len(list(read_video(Path(name)))) == 12


def with_times(times):
    return [vd.Picture(time_s, None, (1, 1)) for time_s in times]


def steadied(times, rate=10):
    return [picture.time_s for picture in vd.steady(with_times(times), rate)]


def test_one_bad_time_moves_no_other():
    times = np.arange(20) / 10
    for bad in (95_458.0, -50.0, None):
        stamps = [*times[:7], bad, *times[8:]]
        assert np.allclose(steadied(stamps), times)


def test_a_bad_time_of_the_last_frame_counts_as_a_step():
    assert np.allclose(steadied([0, 0.1, 0.2, 95_458.0]), [0, 0.1, 0.2, 0.3])
    assert np.allclose(steadied([0, 60, 120, 180], rate=1 / 60), [0, 60, 120, 180])


def test_a_clock_set_back_goes_on():
    times = np.arange(20) / 10
    stamps = np.where(times < 1, times, times - 0.97)
    assert np.allclose(steadied(stamps), times)


def test_a_pause_stays_a_pause():
    assert np.allclose(steadied(WITH_PAUSE, rate=20), WITH_PAUSE)


def test_grey_video_of_many_bits_keeps_them(tmp_path):
    frames = noise(12, np.uint16)
    path = write_media(tmp_path / "deep.mkv", frames, codec="ffv1")
    with vd.open_file(path) as video:
        images = [picture.image() for picture in video]
    assert all(np.array_equal(a, b) for a, b in zip(frames, images, strict=True))


def test_a_picture_at_a_place_is_the_one_of_that_time(tmp_path):
    path = write_media(tmp_path / "a.avi", noise(40), codec="ffv1")
    every = [frame.image for frame in read_video(path)]
    for k, glance in enumerate(fr.glances(open_clip(path, "training"), 4)):
        assert np.array_equal(glance, every[10 * k])
