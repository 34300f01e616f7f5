"""Videos reach the disk whole, or somebody is told; what is printed leaves at once."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest

from data_prep.footage.pictures import Video, open_video, write_lossless
from ddllib.errors import DDLError
from ddllib.figures.chapter import table

SHAPE = (64, 96)
CODECS = [("MJPG", ".avi"), ("FFV1", ".avi"), ("VP80", ".webm")]


def noise(count):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*SHAPE, 3), dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize(("code", "suffix"), CODECS)
@pytest.mark.parametrize("count", [1, 60])
def test_a_video_that_fits_is_whole(tmp_path, code, suffix, count):
    video = Video(tmp_path / f"a{suffix}", code, 10, SHAPE)
    for frame in noise(count):
        video.write(frame)
    video.close()
    capture = cv2.VideoCapture(str(video.path))
    assert sum(iter(capture.grab, False)) == count


@pytest.mark.parametrize(("code", "suffix"), CODECS)
def test_a_video_that_the_disk_does_not_hold_is_reported(disk, code, suffix):
    with disk.full(40_000):
        video = Video(disk.folder / f"a{suffix}", code, 10, SHAPE)
        with pytest.raises(DDLError, match=f"a{suffix}: (not all of its|the disk is full)"):
            for frame in noise(300):
                video.write(frame)
            video.close()


def test_what_is_half_written_without_loss_is_removed(disk):
    with disk.full(40_000), pytest.raises(DDLError, match="make room"):
        write_lossless(disk.folder / "a.avi", noise(60), 10)
    assert not (disk.folder / "a.avi").exists()


def test_where_no_webm_can_be_written_it_is_motion_jpeg(tmp_path, monkeypatch):
    original = cv2.VideoWriter.fourcc
    monkeypatch.setattr(cv2.VideoWriter, "fourcc", lambda *code: original(*code) * (code[0] != "V"))
    assert open_video(tmp_path / "a", 10, SHAPE).path.suffix == ".avi"
    with pytest.raises(DDLError, match="OpenCV cannot write MJPG there; expected a writable"):
        open_video(tmp_path / "missing" / "a", 10, SHAPE)


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
