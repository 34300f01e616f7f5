"""Preparation that is stopped, starved or begun again: nothing finished is lost or half-written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.footage import FRAMES, walk, write_frames, write_video

from data_prep import prepare, verify
from data_prep.footage import datasets
from data_prep.footage.frames import Timed
from data_prep.preparing import clips
from data_prep.preparing.workplace import locked
from data_prep.tracks.detectors.motion import MotionDetector
from ddllib.data import load_prepared
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there

SIZE = (24, 32)
CLIPS = 5  # of the longer footage


def count_work(monkeypatch):
    """The clips whose arrays are written, and those whose objects are detected, from now on."""
    new_arrays, new_boxes = [], []
    write, detect = clips.write_clip, MotionDetector.detect
    monkeypatch.setattr(
        "data_prep.preparing.prepared.write_clip",
        lambda path, clip, *rest: (
            new_arrays.append((clip.split, clip.name)) or write(path, clip, *rest)
        ),
    )
    monkeypatch.setattr(
        MotionDetector,
        "detect",
        lambda self, clip: new_boxes.append((clip.split, clip.name)) or detect(self, clip),
    )
    return new_arrays, new_boxes


def again(footage, out, size=SIZE):
    manifest = prepare(footage, out, size, progress=False)
    assert verify(out) == manifest
    return manifest


def test_a_mended_clip_is_the_only_one_that_is_done_again(footage, ready, monkeypatch):
    new_arrays, new_boxes = count_work(monkeypatch)
    frame = footage / "training" / "frames" / "01" / "007.png"
    cv2.imwrite(str(frame), walk(3)[6])
    again(footage, ready[0])
    assert new_arrays == new_boxes == [("training", "01")]


def test_corrected_labels_ask_for_no_frame_and_no_box(footage, ready, monkeypatch):
    new_arrays, new_boxes = count_work(monkeypatch)
    (footage / "testing" / "labels.csv").write_text("clip,first,last\n01,4,8\n")
    again(footage, ready[0])
    assert new_arrays == new_boxes == []
    assert load_prepared(ready[0]).labels["01"].sum() == 5


def test_another_size_asks_for_no_box(footage, ready, monkeypatch):
    new_arrays, new_boxes = count_work(monkeypatch)
    before = load_prepared(ready[0]).tracks
    again(footage, ready[0], (12, 16))
    assert len(new_arrays) == 4 and new_boxes == []
    assert load_prepared(ready[0]).tracks.equals(before)


def test_an_array_changed_behind_our_back_is_not_taken_over(footage, ready, monkeypatch):
    array = ready[0] / "training" / "01.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"\0")
    (footage / "testing" / "labels.csv").write_text("clip,first,last\n01,4,8\n")
    new_arrays, _ = count_work(monkeypatch)
    again(footage, ready[0])
    assert new_arrays == [("training", "01")]


def test_damaged_boxes_are_made_anew(footage, ready, tmp_path, monkeypatch):
    paths = sorted((tmp_path / "runs" / "detections").rglob("*.npz"))
    paths[0].write_bytes(paths[0].read_bytes()[:100])
    _, new_boxes = count_work(monkeypatch)
    again(footage, ready[0], (12, 16))
    assert new_boxes == [("training", "01")]


def test_one_clip_after_the_other_gives_the_same(footage, ready, tmp_path, monkeypatch):
    monkeypatch.setenv("DDL_RUNS", str(tmp_path / "others"))
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert prepare(footage, tmp_path / "again", SIZE, progress=False) == ready[1]


# Stopped from outside


@pytest.fixture
def long_footage(tmp_path):
    """A short clip and some that take much longer to prepare."""
    root = tmp_path / "long"
    frames = [cv2.resize(frame, (640, 480)) for frame in walk(3)]
    for k in range(CLIPS):
        write_frames(root / "training" / "frames" / f"{k:02d}", frames * (6 if k else 1))
    return root


def heed_interrupts():
    # A shell starts what runs in its background deaf to SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(source, out):
    command = [
        sys.executable,
        "-m",
        "data_prep",
        "prepare",
        source,
        out,
        "--size",
        "512",
        "--quiet",
    ]
    return subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, preexec_fn=heed_interrupts
    )


def wait_for(condition, seconds=60):
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.slow
def test_a_stopped_run_goes_on_where_it_was(long_footage, tmp_path, how):
    out = tmp_path / "out"
    run = start(long_footage, out)
    records = out / ".partial" / "records" / "training"
    wait_for(lambda: records.is_dir() and any(records.glob("*.json")))
    run.send_signal(how)
    _, error = run.communicate(timeout=60)
    if how == signal.SIGINT:
        assert run.returncode == 130
        assert error == "data_prep: stopped; what was finished is kept, run again to go on\n"
    times = {
        p.stem: (out / ".partial" / "training" / f"{p.stem}.npy").stat().st_mtime_ns
        for p in records.glob("*.json")
    }
    assert 0 < len(times) < CLIPS, "stopped too late to try anything"
    assert not (out / "manifest.json").exists()
    assert start(long_footage, out).wait(timeout=120) == 0
    assert len(verify(out)["clips"]["training"]) == CLIPS
    for name, time_ns in times.items():
        assert (out / "training" / f"{name}.npy").stat().st_mtime_ns == time_ns


def test_two_at_once_do_not_mix(footage, ready):
    out, manifest = ready
    with (
        locked(out),
        pytest.raises(DDLError, match="another preparation works in it; wait for its end"),
    ):
        prepare(footage, out, (12, 16), progress=False)
    assert verify(out) == manifest
    assert again(footage, out, (12, 16))["height"] == 12


# Starved


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_what_is_done_is_kept(footage, tmp_path):
    out = tmp_path / "out"
    code = f"""
import os, resource, sys
os.environ["DDL_RUNS"] = {str(tmp_path / "runs")!r}
limit = {FRAMES} * 24 * 32 + 500  # bytes of a file: one clip fits, the video with more does not
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from data_prep.__main__ import main
sys.exit(main(["prepare", {str(footage)!r}, {str(out)!r}, "--size", "24", "32", "--quiet"]))
"""
    folder = footage / "training" / "frames"
    write_frames(folder / "zz", walk(3) + walk(4))
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.count("\n") == 1, run.stderr
    assert "File too large); raise the limit on the size of files" in run.stderr
    assert list((out / ".partial" / "records" / "training").glob("*.json"))
    assert not list(out.rglob("zz*")) and not list(out.rglob("*.tmp"))
    again(footage, out)


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="Linux only")
def test_a_target_that_cannot_be_written(footage):
    with pytest.raises(DDLError, match="/sys/kernel/out.*may write to, and run again") as error:
        prepare(footage, "/sys/kernel/out", SIZE, progress=False)
    assert "\n" not in str(error.value)


def test_a_target_below_a_file(footage, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DDLError, match="Not a directory; finished clips are kept"):
        prepare(footage, tmp_path / "file" / "out", SIZE, progress=False)


@pytest.mark.parametrize("split", ["training", "testing"])
def test_a_clip_of_two_frames(footage, tmp_path, split):
    if split == "testing":
        (footage / "testing" / "labels.csv").unlink()
        for folder in ("frames", "masks"):
            for path in sorted((footage / "testing" / folder / "01").iterdir())[2:]:
                path.unlink()
    else:
        write_frames(footage / "training" / "frames" / "03", walk(3)[:2])
    with pytest.raises(DDLError, match="a clip of 2 frames; expected at least 3, a window; keep"):
        prepare(footage, tmp_path / "out", SIZE, progress=False)
    assert not (tmp_path / "out").exists()


def test_labels_past_the_end_of_a_video_are_reported_before_it_is_decoded(tmp_path, monkeypatch):
    root = tmp_path / "videos"
    write_video(root / "training" / "01.avi", walk(3))
    write_video(root / "testing" / "01.avi", walk(3))
    (root / "labels.csv").write_text(f"clip,first,last\n01,0,{FRAMES}\n")
    new_arrays, _ = count_work(monkeypatch)
    with pytest.raises(DDLError, match="frames 0 to 14 .* do not lie in its 14 frames"):
        prepare(root, tmp_path / "out", SIZE, progress=False)
    assert not new_arrays


def peak_memory(root, frames):
    """MiB that preparing a video of so many frames, 640 x 360 pixels, takes at most."""
    path = root / "training" / "01.avi"
    path.parent.mkdir(parents=True)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 25, (640, 360))
    for t in range(frames):
        frame = np.full((360, 640, 3), 90, np.uint8)
        frame[150:210, 8 * t % 600 :][:, :30] = 220
        video.write(frame)
    video.release()
    code = f"""
from data_prep import prepare
prepare({str(root)!r}, {str(root / "out")!r}, 64, progress=False)
print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return int(process.stdout.split()[-1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells a process's highest memory")
@pytest.mark.slow
def test_memory_is_bounded_however_long_the_video_is(tmp_path):
    few, many = (peak_memory(tmp_path / f"{frames}", frames) for frames in (30, 430))
    assert many - few < 60, "400 more frames are 264 MiB"


def test_a_record_without_its_array_is_no_finished_clip(footage, tmp_path, ready):
    out = tmp_path / "out"
    prepare(footage, out, SIZE, progress=False)
    work = out / ".partial"
    (work / "records" / "training").mkdir(parents=True)
    record = json.loads((out / "manifest.json").read_text())["clips"]["training"]["01"]
    (work / "records" / "training" / "01.json").write_text(json.dumps(record))
    (out / "manifest.json").unlink()
    assert again(footage, out) == ready[1]


# What has changed is never taken for what it was


def test_an_edit_in_the_middle_of_a_large_image_is_noticed(footage, tmp_path, monkeypatch):
    large = np.random.default_rng(0).integers(0, 255, (480, 640), np.uint8)
    write_frames(footage / "training" / "frames" / "bmp", [])
    folder = footage / "training" / "frames" / "bmp"
    for t in range(4):
        cv2.imwrite(str(folder / f"{t:03d}.bmp"), large)
    prepare(footage, tmp_path / "out", SIZE, progress=False)
    large[240, 300:340] ^= 255
    cv2.imwrite(str(folder / "002.bmp"), large)
    new_arrays, _ = count_work(monkeypatch)
    again(footage, tmp_path / "out")
    assert new_arrays == [("training", "bmp")]


def test_an_edit_of_masks_as_an_array_is_noticed(footage, tmp_path):
    masks = np.zeros((FRAMES, 480, 640), np.uint8)
    for folder in ("masks/01", "masks/walk 2 é"):
        shutil.rmtree(footage / "testing" / folder)
    (footage / "testing" / "test_pixel_mask").mkdir()
    for name in ("01", "walk 2 é"):
        np.save(footage / "testing" / "test_pixel_mask" / f"{name}.npy", masks)
    assert prepare(footage, tmp_path / "out", SIZE)["labellings"]["masks"]["abnormal"] == 0
    masks[7, 200:300, 200:300] = 1
    np.save(footage / "testing" / "test_pixel_mask" / "01.npy", masks)
    assert prepare(footage, tmp_path / "out", SIZE)["labellings"]["masks"]["abnormal"] == 1


def test_other_settings_of_the_detector_find_other_boxes(footage, ready, monkeypatch):
    before = load_prepared(ready[0]).tracks
    make = MotionDetector.__init__
    monkeypatch.setattr(MotionDetector, "__init__", lambda self: make(self, min_area=0.5))
    with pytest.raises(DDLError, match="no window of 3 training frames has a track"):
        prepare(footage, ready[0], SIZE, progress=False)
    assert load_prepared(ready[0]).tracks.equals(before), "the earlier preparation is whole"


def test_a_video_that_decodes_to_another_length_than_the_data_sets_is_reported(
    tmp_path, monkeypatch
):
    root = tmp_path / "videos"
    for name in ("01", "02"):
        write_video(root / "training" / f"{name}.avi", walk(3))
    facts = replace(
        datasets.load("ped2"),
        frames={"training": {"01": FRAMES, "02": FRAMES}, "testing": {}},
        abnormal={},
    )
    monkeypatch.setattr(datasets, "load", lambda name: facts)

    def shortened(path, rate):
        frames = walk(3)[: 13 if path.stem == "02" else 14]
        return (Timed(t, t / 10, frame) for t, frame in enumerate(frames))

    monkeypatch.setattr("data_prep.footage.frames.read_video", shortened)
    with pytest.raises(DDLError, match="training 02 has 13 frames, expected 14"):
        prepare(root, tmp_path / "out", SIZE, progress=False, dataset="ped2")


def test_when_one_clip_fails_the_others_are_left_off(footage, tmp_path, monkeypatch):
    numbers = []

    def frames(clip, colour=False):
        if clip.name == "01":
            raise DDLError("broken")
        for number, frame in enumerate(walk(3)):
            numbers.append(number)
            time.sleep(0.02)
            yield Timed(number, number / 10, frame)

    monkeypatch.setattr("data_prep.preparing.prepared.fr.read_timed", frames)
    with pytest.raises(DDLError, match="broken"):
        prepare(footage, tmp_path / "out", SIZE, channels=1, progress=False)
    assert len(numbers) < 2 * FRAMES
