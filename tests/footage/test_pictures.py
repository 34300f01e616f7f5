"""Videos reach the disk whole, or somebody is told; what is printed leaves at once."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from data_prep.footage.video_writing import (
    LOSSLESS,
    MOTION_JPEG,
    WEBM,
    VideoWriter,
    write_lossless,
)
from ddllib.errors import DDLError
from ddllib.figures.chapter import table

SHAPE = (64, 96)
CODECS = [MOTION_JPEG, LOSSLESS, WEBM]


def noise(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
@pytest.mark.parametrize("count", [1, 60])
def test_a_video_that_fits_is_whole(tmp_path, codec, count):
    video = VideoWriter(tmp_path / f"a{codec.ending}", codec, 12.5, SHAPE)
    for frame in noise(count):
        video.write(frame)
    video.close()
    capture = cv2.VideoCapture(str(video.path))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5
    assert sum(iter(capture.grab, False)) == count


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_video_looks_like_its_frames(tmp_path, codec):
    height, width = SHAPE
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0], frame[..., 2] = (
        np.linspace(20, 230, width),
        np.linspace(200, 40, height)[:, None],
    )
    video = VideoWriter(tmp_path / f"a{codec.ending}", codec, 10, SHAPE)
    for _ in range(5):
        video.write(frame)
    video.close()
    difference = read_back(video.path)[-1].astype(int) - frame
    assert np.abs(difference).mean() < (0.01 if codec is LOSSLESS else 4)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_lossless_video_changes_no_pixel(tmp_path, channels):
    frames = [frame[..., 0] if channels == 1 else frame for frame in noise(9)]
    assert write_lossless(tmp_path / "a.avi", frames, 10) == 9
    for frame, picture in zip(frames, read_back(tmp_path / "a.avi"), strict=True):
        assert np.array_equal(picture, np.dstack([frame] * 3) if channels == 1 else frame)


def read_back(path):
    capture = cv2.VideoCapture(str(path))
    return [image for _, image in iter(capture.read, (False, None))]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_video_that_the_disk_does_not_hold_is_reported_once_and_again(disk, codec, capfd):
    path = disk.folder / f"a{codec.ending}"
    with disk.full(40_000):
        video = VideoWriter(path, codec, 10, SHAPE)
        with pytest.raises(DDLError, match=f"a{codec.ending}: cannot be written"):
            for frame in noise(300):
                video.write(frame)
            video.close()
        with pytest.raises(DDLError, match="cannot be written"):
            video.close()
    video.discard()
    assert not path.exists() and capfd.readouterr().err == ""


def test_a_video_whose_last_bytes_find_no_room_is_reported(tmp_path, disk):
    video = VideoWriter(tmp_path / "a.webm", WEBM, 10, SHAPE)
    for frame in noise(1):
        video.write(frame)
    video.close()
    with disk.full(video.path.stat().st_size - 1):
        short = VideoWriter(disk.folder / "a.webm", WEBM, 10, SHAPE)
        with pytest.raises(DDLError, match="cannot be written"):
            for frame in noise(1):
                short.write(frame)
            short.close()


def test_a_video_in_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(DDLError, match=r"a\.webm: cannot be written"):
        VideoWriter(tmp_path / "missing" / "a.webm", WEBM, 10, SHAPE)


def test_what_is_half_written_without_loss_is_removed(disk):
    with disk.full(40_000), pytest.raises(DDLError, match="make room"):
        write_lossless(disk.folder / "a.avi", noise(60), 10)
    assert not (disk.folder / "a.avi").exists()


def test_a_line_is_reported_before_the_process_is_killed():
    work = "lambda: (print('an alarm'), os.kill(os.getpid(), 9))"
    code = f"import os; from ddllib.io.commands import run_command; run_command('a', {work})"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    process = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert (process.stdout, process.returncode) == ("an alarm\n", -9)


def test_a_name_in_a_table_is_no_markup():
    page = table(pd.DataFrame({"clip": ["<img src=x>.mp4"], "score": [0.5]})).to_html()
    assert "<img" not in page and "&lt;img src=x&gt;.mp4" in page


def test_a_table_has_commas_in_whole_numbers_alone():
    page = table(pd.DataFrame({"frames": [15324], "score": [0.5], "whole": [True]})).to_html()
    assert all(f">{cell}</td>" in page for cell in ("15,324", "0.50", "True"))
