"""The benchmark of many cameras: real streams of H.264 through the whole watch."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
import pytest

from data_prep.live.sources import open_source
from ddllib import DDLError
from ddllib.experiments import benchmark_tables, camera_streams
from ddllib.experiments.benchmark import main
from ddllib.experiments.benchmark_cameras import Held, hold
from ddllib.experiments.camera_streams import encode, encode_walkway, served
from ddllib.experiments.walkway_run import named, walkway_run, walkway_settings
from ddllib.training import load_run

HELD = Held(4, 0, 0.3, 10.0, 1.2, 1 << 30, 1e9, 0.4)
needs_ffmpeg = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")


def test_a_number_of_cameras_is_held_with_all_frames_scored_in_time():
    assert HELD.passes(10.0)
    assert not replace(HELD, dropped=1).passes(10.0)
    assert not replace(HELD, slowest_rate=8.0).passes(10.0)
    assert not replace(HELD, delay_95_s=0.51).passes(10.0)


@needs_ffmpeg
def test_each_client_gets_real_h264_from_the_clip_s_beginning(tmp_path):
    clip = tmp_path / "clip.mp4"
    encode_walkway(clip, (90, 160), 10.0, 2.0)
    with served([clip]) as address:
        for name in ("0", "1"):
            source = open_source(f"{address}/{name}", None, tell=str)
            for frame in source:
                assert frame.image.shape == (90, 160, 3) and frame.image.std() > 1
                if frame.index == 24:  # behind the end of the clip, which begins again
                    source.stop()


@needs_ffmpeg
def test_streams_are_coded_as_cameras_do_and_come_without_a_burst(tmp_path):
    clip = tmp_path / "clip.mp4"
    encode_walkway(clip, (91, 160), 10.0, 2.0)
    with av.open(str(clip)) as video:
        codec = video.streams.video[0].codec_context
        assert codec.pix_fmt == "yuv420p" and not codec.has_b_frames
        assert (codec.height, codec.width) == (90, 160)
    read = []
    with served([clip]) as address:
        source = open_source(f"{address}/0", None, tell=str)
        for frame in source:
            read.append(frame.read_s)
            if len(read) == 16:
                source.stop()
    assert read[-1] - read[0] > 1.0  # 1.5 as they are sent; a reader that waits gets them at once


@needs_ffmpeg
def test_a_camera_that_plays_once_begins_anew_at_each_connection(tmp_path):
    clips = [tmp_path / "0.mp4", tmp_path / "1.mp4"]
    for k, clip in enumerate(clips):
        encode(clip, np.full((10, 16, 16, 3), 200 * k, np.uint8), 10.0)
    with served(clips, once=True) as address:
        source = open_source(f"{address}/1", None, tell=str)
        frames = []
        for frame in source:
            frames.append(frame)
            if len(frames) == 15:
                source.stop()
    assert [k for k, frame in enumerate(frames) if frame.gap] == [0, 10]
    assert source.reconnections == 1 and min(frame.image.min() for frame in frames) > 190


def test_a_stream_needs_a_frame(tmp_path):
    with pytest.raises(DDLError, match="no frame to write"):
        encode(tmp_path / "clip.mp4", [], 10.0)


def test_without_ffmpeg_one_line_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(camera_streams.shutil, "which", lambda name: None)
    with pytest.raises(DDLError, match="ffmpeg: not installed"):
        camera_streams.program()


def test_the_table_says_which_numbers_were_held():
    rows = [asdict(HELD), asdict(replace(HELD, cameras=8, delay_95_s=0.7))]
    report = {"size": "360p", "rate": 10.0, "run": "yard", "held": 4, "rows": rows}
    report["backend"] = "openvino"
    table = benchmark_tables.cameras_table(report)
    assert list(table["cameras"]) == [4, 8] and list(table["held"]) == ["yes", "no"]
    assert list(table["memory, MiB"]) == ["1024"] * 2 and "1.00" in table["disk a day, GB"][0]
    sentence = benchmark_tables.cameras_sentence(report)
    assert sentence.startswith("4 cameras of 640 x 360 at 10 frames")
    assert sentence.endswith("yard by openvino")
    small = benchmark_tables.cameras_sentence({**report, "run": "small"})
    assert "the run small (size 96, latent_dim 32) by" in small


@needs_ffmpeg
@pytest.mark.slow
def test_the_benchmark_measures_the_watch_of_its_cameras(watchable, tmp_path, capsys):
    record = tmp_path / "record.json"
    arguments = ["--run", str(watchable), "--cameras", "2", "--seconds", "6", "--rate", "2"]
    assert main(["cameras", *arguments, "--to", str(record)]) == 0
    (row,) = json.loads(record.read_text())["rows"]
    assert row["cameras"] == 2 and row["cores"] > 0 and row["memory"] > 1 << 26
    assert 0 < row["slowest_rate"] < 4 and row["delay_95_s"] > 0 and row["disk_a_day"] > 0
    assert 0 < row["decoding_cores"] < 8
    assert "held: " in capsys.readouterr().out


@needs_ffmpeg
@pytest.mark.slow
def test_without_a_run_one_is_trained_on_the_camera_itself_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "runs"))
    small = {"size": 32, "latent_dim": 8, "epochs": 1, "detector": "none"}
    settings = walkway_settings((90, 160), 5.0, 2, 6.0, **small)
    videos = sorted(Path(settings.data).iterdir())
    assert [video.name for video in videos] == ["01.mp4", "02.mp4"]
    folder = walkway_run(settings)
    assert load_run(folder).settings.profile == "own-camera"
    assert named(None) == "own-camera" and named(None, "small") == "small"
    assert named(folder) == folder.name
    mtime = videos[0].stat().st_mtime_ns
    assert walkway_settings((90, 160), 5.0, 2, 6.0, **small) == settings
    assert videos[0].stat().st_mtime_ns == mtime


def test_a_run_that_cannot_be_watched_ends_the_benchmark_in_one_line(tmp_path, capsys):
    assert main(["cameras", "--run", str(tmp_path), "--cameras", "1"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "no checkpoint in it" in line


def test_cameras_that_do_not_become_live_are_told_with_what_the_watch_said(tmp_path):
    run = {"run": str(tmp_path)}
    with pytest.raises(DDLError, match="1 cameras: not all became live.*no checkpoint in it"):
        hold(tmp_path / "1", {"yard": {"source": "http://127.0.0.1:9"}}, run, 1.0)
