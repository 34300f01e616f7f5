"""Preparation from footage to the prepared form: what it writes and what it refuses."""

import errno
import json
import re
import runpy
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat
from support.footage import FRAMES, HEIGHT, MASK, WIDTH, walk, write_frames, write_video

from data_prep import prepare, verify
from data_prep.__main__ import main
from data_prep.footage import layouts
from data_prep.footage.frames import read_timed
from data_prep.footage.layouts import SPLITS
from data_prep.preparing import prepared
from ddllib.data import load_prepared
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there


def refuse(footage, out, match, **options):
    with pytest.raises(DDLError, match=match) as error:
        prepare(footage, out, (24, 32), progress=False, **options)
    assert "\n" not in str(error.value)
    assert not (out / "manifest.json").exists()


def test_prepared_form(ready):
    out, manifest = ready
    assert json.loads((out / "manifest.json").read_text()) == manifest == verify(out)
    assert manifest["channels"] == 1 and manifest["coverage"] > 0.9
    assert not (out / ".partial").exists()
    for split in SPLITS:
        for name in ("01", "walk 2 é"):
            clip = np.load(out / split / f"{name}.npy", mmap_mode="r")
            assert clip.shape == (FRAMES, 1, 24, 32) and clip.dtype == np.uint8
            assert manifest["clips"][split][name]["frames"] == FRAMES
    labels = np.load(out / "labels" / "labels.csv" / "01.npy")
    masks = np.load(out / "masks" / "01.npy")
    assert labels.tolist() == [int(4 <= t <= 7) for t in range(FRAMES)]
    assert masks.shape == (FRAMES, 24, 32) and set(np.unique(masks)) == {0, 1}
    assert masks.any(axis=(1, 2)).tolist() == labels.tolist()
    assert not np.load(out / "labels" / "labels.csv" / "walk 2 é.npy").any()


def test_clips_are_the_resized_frames(ready, footage):
    out, _ = ready
    clip = np.load(out / "training" / "01.npy")
    for t in (0, FRAMES - 1):
        path = footage / "training" / "frames" / "01" / f"{t:03d}.png"
        small = cv2.resize(cv2.imread(str(path), 0), (32, 24), interpolation=cv2.INTER_LINEAR)
        assert np.array_equal(clip[t, 0], small)


def test_tracks_follow_the_square(ready):
    tracks = pd.read_csv(ready[0] / "tracks.csv", dtype={"clip": str})
    assert set(tracks["split"]) == {"training"} and set(tracks["class"]) == {-1}
    one = tracks[tracks["clip"] == "01"]
    longest = one[one["track"] == one["track"].mode()[0]].set_index("frame")
    assert len(longest) >= FRAMES - 1
    for t in longest.index:
        box = longest.loc[t, ["x0", "y0", "x1", "y1"]].to_numpy(float)
        true = np.array([3 * t, 16, 3 * t + 10, 32]) / [WIDTH, HEIGHT, WIDTH, HEIGHT]
        assert np.abs(box - true).max() < 0.1


def test_ids_start_anew_in_each_clip(ready):
    tracks = pd.read_csv(ready[0] / "tracks.csv", dtype={"clip": str})
    assert (tracks.groupby("clip")["track"].min() == 0).all()


def test_video_equals_frames_up_to_the_codec(footage, ready, tmp_path):
    videos = tmp_path / "videos"
    write_video(videos / "training" / "01.avi", walk(3))
    write_video(videos / "training" / "walk 2 é.avi", walk(4))
    write_video(videos / "testing" / "videos" / "01.avi", walk(3))
    manifest = prepare(videos, tmp_path / "from videos", (24, 32), progress=False)
    assert manifest["channels"] == 1 and list(manifest["clips"]["testing"]) == ["01"]
    clip = np.load(tmp_path / "from videos" / "training" / "walk 2 é.npy")
    same = np.load(ready[0] / "training" / "walk 2 é.npy")
    assert clip.shape == same.shape
    assert np.abs(clip.astype(int) - same).mean() < 4
    assert not (tmp_path / "from videos" / "labels").exists()


def test_colour_is_kept_as_rgb(footage, tmp_path):
    shutil.rmtree(footage / "training" / "frames" / "01")
    write_frames(footage / "training" / "frames" / "01", walk(3, colour=True))
    manifest = prepare(footage, tmp_path / "out", (HEIGHT, WIDTH), progress=False)
    clip = np.load(tmp_path / "out" / "training" / "01.npy")
    assert manifest["channels"] == 3 and clip.shape == (FRAMES, 3, HEIGHT, WIDTH)
    assert clip[0, :, 20, 5].tolist() == [230, 220, 40]


def test_masks_alone_give_the_labels(footage, tmp_path):
    (footage / "testing" / "labels.csv").unlink()
    prepare(footage, tmp_path / "out", (24, 32), progress=False)
    labels = np.load(tmp_path / "out" / "labels" / "masks" / "01.npy")
    assert np.flatnonzero(labels).tolist() == [4, 5, 6, 7]


def test_mat_labels_are_one_based_and_inclusive(footage, ready, tmp_path):
    (footage / "testing" / "labels.csv").unlink()
    gt = np.empty((1, 2), object)
    gt[0, 0], gt[0, 1] = np.array([[5], [8]], np.uint8), np.zeros((2, 0), np.uint8)
    savemat(footage / "any.mat", {"gt": gt})
    prepare(footage, tmp_path / "out", (24, 32), progress=False)
    for name in ("01", "walk 2 é"):
        assert np.array_equal(
            np.load(tmp_path / "out" / "labels" / "any.mat" / f"{name}.npy"),
            np.load(ready[0] / "labels" / "labels.csv" / f"{name}.npy"),
        )


def test_frames_sort_by_number(tmp_path):
    write_frames(tmp_path / "training" / "frames" / "01", walk()[:2])
    folder = tmp_path / "training" / "frames" / "01"
    for t in range(2):
        (folder / f"{t:03d}.png").rename(folder / f"frame{9 + t}.png")
    (folder / "._frame9.png").write_bytes(b"not a frame")
    names = [p.name for p in layouts.find_footage(tmp_path).clips["training"]["01"].frames]
    assert names == ["frame9.png", "frame10.png"]


# Idempotence, interruption


def untouched(out):
    return {p: p.stat().st_mtime_ns for p in out.rglob("*")}


def test_same_request_returns_at_once(footage, ready, monkeypatch):
    out, manifest = ready
    before = untouched(out)
    monkeypatch.setattr(prepared, "make", None)
    assert prepare(footage, out, (24, 32), progress=False) == manifest
    assert untouched(out) == before


def test_runs_are_deterministic(footage, ready, tmp_path):
    again = prepare(footage, tmp_path / "again", (24, 32), progress=False)
    assert again == ready[1]


@pytest.mark.parametrize("change", ["size", "frame", "lost array"])
def test_changed_request_or_footage_prepares_again(footage, ready, change):
    out, manifest = ready
    size = (12, 16) if change == "size" else (24, 32)
    if change == "frame":
        cv2.imwrite(str(footage / "training" / "frames" / "01" / "000.png"), walk(3)[1])
    if change == "lost array":
        (out / "training" / "01.npy").unlink()
    again = prepare(footage, out, size, progress=False)
    assert np.load(out / "training" / "01.npy").shape == (FRAMES, 1, *size)
    assert (again == manifest) == (change == "lost array")
    assert verify(out) == again


def test_dropped_labels_do_not_linger(footage, ready):
    out, _ = ready
    shutil.rmtree(footage / "testing" / "masks")
    (footage / "testing" / "labels.csv").unlink()
    prepare(footage, out, (24, 32), progress=False)
    assert not (out / "labels").exists() and not (out / "masks").exists()


class Interrupted(BaseException):
    pass


def stop_in_clip(monkeypatch, clip_name, failure):
    """Preparation fails in the middle of the training clip of that name."""

    def fail(clip, colour=False):
        frames = read_timed(clip, colour)
        yield next(frames)
        if (clip.split, clip.name) == ("training", clip_name):
            next(frames)
            raise failure
        yield from frames

    monkeypatch.setattr(prepared.fr, "read_timed", fail)


def test_interrupted_run_leaves_no_clip_that_looks_whole(footage, tmp_path, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # one clip after the other
    with monkeypatch.context() as patch:
        stop_in_clip(patch, "walk 2 é", Interrupted())
        with pytest.raises(Interrupted):
            prepare(footage, out, (24, 32), channels=1, progress=False)
    assert sorted(p.name for p in out.iterdir()) == [".lock", ".partial"]
    assert [p.name for p in (out / ".partial" / "training").iterdir()] == ["01.npy"]
    with pytest.raises(DDLError, match="not there; expected a manifest of prepared data; run"):
        verify(out)

    first = (out / ".partial" / "training" / "01.npy").stat().st_mtime_ns
    prepare(footage, out, (24, 32), channels=1, progress=False)
    assert (out / "training" / "01.npy").stat().st_mtime_ns == first
    assert len(verify(out)["clips"]["training"]) == 2


def test_failure_keeps_the_earlier_preparation(footage, ready, monkeypatch):
    out, manifest = ready
    stop_in_clip(monkeypatch, "walk 2 é", OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(
        DDLError, match="No space left on device.; make room.*finished before is kept"
    ):
        prepare(footage, out, (12, 16), channels=1, progress=False)
    assert verify(out) == manifest


# Verification


def test_verify_notices_a_changed_clip(ready):
    path = ready[0] / "testing" / "01.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DDLError, match="01.npy: changed since"):
        verify(ready[0])


@pytest.mark.parametrize(
    "column, value, match",
    [
        ("clip", "77", "names a clip"),
        ("frame", FRAMES, "lies outside its clip"),
        ("x1", 1.5, "leaves the frame"),
        ("y0", 1.0, "leaves the frame or is empty"),
    ],
)
def test_verify_reads_the_tracks(ready, column, value, match):
    out, manifest = ready
    tracks = pd.read_csv(out / "tracks.csv", dtype={"clip": str})
    tracks.loc[2, column] = value
    tracks.to_csv(out / "tracks.csv", index=False)
    manifest["sha256"]["tracks.csv"] = prepared.file_checksum(out / "tracks.csv")
    (out / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DDLError, match=f"tracks.csv: line 4 {match}"):
        verify(out)


# What bad input gets


def test_no_such_folder(tmp_path):
    refuse(tmp_path / "none", tmp_path / "out", "none: no such folder")


def test_no_training_clips(tmp_path):
    (tmp_path / "training").mkdir()
    refuse(tmp_path, tmp_path / "out", "no training clips found")


def test_empty_clip(footage, tmp_path):
    (footage / "training" / "frames" / "03").mkdir()
    refuse(footage, tmp_path / "out", "03: no images in it")


def test_missing_frame(footage, tmp_path):
    (footage / "testing" / "frames" / "01" / "005.png").unlink()
    refuse(footage, tmp_path / "out", "01: frame missing after 004.png")


def test_mixed_sizes(footage, tmp_path):
    cv2.imwrite(str(footage / "training" / "frames" / "01" / "006.png"), walk()[0][:40])
    refuse(footage, tmp_path / "out", "006.png: 64x40 pixels, but .* 64x48")


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_truncated_image(footage, tmp_path, ending, share):
    folder = footage / "training" / "frames" / "01"
    for path in list(folder.iterdir()):
        cv2.imwrite(str(path.with_suffix(f".{ending}")), cv2.imread(str(path)))
        if ending != "png":
            path.unlink()
    image = folder / f"006.{ending}"
    data = image.read_bytes()
    image.write_bytes(data[: int(share * len(data))])
    refuse(footage, tmp_path / "out", f"006.{ending}: truncated or not an image")


def test_truncated_video(tmp_path):
    path = tmp_path / "training" / "01.avi"
    write_video(path, walk())
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refuse(tmp_path, tmp_path / "out", "01.avi: breaks off after|01.avi: cannot be read as")


def test_no_video_at_all(tmp_path):
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "01.avi").write_bytes(b"text")
    refuse(tmp_path, tmp_path / "out", "01.avi: cannot be read as")


def test_frames_and_videos_in_one_split(footage, tmp_path):
    write_video(footage / "training" / "09.avi", walk())
    refuse(footage, tmp_path / "out", "both folders of frames and videos")


def test_two_videos_of_one_name(tmp_path):
    write_video(tmp_path / "training" / "01.avi", walk())
    (tmp_path / "training" / "01.mp4").write_bytes(b"")
    refuse(tmp_path, tmp_path / "out", "a second clip named 01")


def test_masks_without_frames(footage, tmp_path):
    write_frames(footage / "testing" / "masks" / "07", [MASK])
    refuse(footage, tmp_path / "out", "masks/07: masks without a test clip")


def test_clip_without_masks(footage, tmp_path):
    shutil.rmtree(footage / "testing" / "masks" / "01")
    refuse(footage, tmp_path / "out", "masks, but not test clip 01")


def test_mask_count(footage, tmp_path):
    (footage / "testing" / "masks" / "01" / "013.png").unlink()
    refuse(footage, tmp_path / "out", "01: 13 masks for 14 frames; first without a partner: 13")


def test_mask_count_of_a_video(footage, tmp_path):
    shutil.rmtree(footage / "testing" / "frames")
    shutil.rmtree(footage / "testing" / "masks" / "walk 2 é")
    write_video(footage / "testing" / "01.avi", walk()[:10])
    (footage / "testing" / "labels.csv").unlink()
    refuse(footage, tmp_path / "out", "14 masks for 10 frames of 01.avi")


@pytest.mark.parametrize(
    "text, match",
    [
        ("clip,start,last\n01,4,7\n", "no column first"),
        ("", "no column clip, first, last"),
        ("clip,first,last\n1,4,7\n", "line 2: no test clip '1'"),
        ("clip,first,last\n01,4\n", "line 2: first and last must be whole numbers"),
        ("clip,first,last\n01,4.5,7\n", "line 2: first and last must be whole numbers"),
        ("clip,first,last\n01,4,14\n", "frames 4 to 14 .* do not lie in its 14 frames"),
        ("clip,first,last\n01,-1,7\n", "frames -1 to 7"),
        ("clip,first,last\n01,7,4\n", "frames 7 to 4"),
    ],
)
def test_bad_csv_labels(footage, tmp_path, text, match):
    (footage / "testing" / "labels.csv").write_text(text)
    refuse(footage, tmp_path / "out", f"labels.csv: .*{match}")


@pytest.mark.parametrize(
    "gt, match",
    [
        ([[[5], [8]]], "labels for 1 clips, but there are 2 test clips"),
        ([[[5], [15]], [[1], [2]]], "clip 01: frames 4 to 14"),
        ([[[0], [3]], [[1], [2]]], "clip 01: frames -1 to 2"),
        ([[[5], [8], [9]], [[1], [2]]], "clip 01: expected 2 x n whole numbers"),
    ],
)
def test_bad_mat_labels(footage, tmp_path, gt, match):
    (footage / "testing" / "labels.csv").unlink()
    write_mat(footage / "any.mat", gt)
    refuse(footage, tmp_path / "out", f"any.mat: .*{match}")


def test_mat_without_gt_or_unreadable(footage, tmp_path):
    (footage / "testing" / "labels.csv").unlink()
    savemat(footage / "any.mat", {"volLabel": np.zeros(3)})
    refuse(footage, tmp_path / "out", "any.mat: holds no variable `gt`")
    (footage / "any.mat").write_bytes(b"x" * 300)
    refuse(footage, tmp_path / "out", "any.mat: not a readable MATLAB file")


def write_mat(path, gt):
    """A label file in the form of ped2.mat: one-based inclusive ranges, 2 x n per clip."""
    cells = np.empty((1, len(gt)), object)
    for k, cell in enumerate(gt):
        cells[0, k] = np.array(cell)
    savemat(path, {"gt": cells})


@pytest.mark.parametrize("last, labelling", [(8, "any.mat"), (9, None)])
def test_two_label_files_are_both_kept(footage, tmp_path, last, labelling):
    write_mat(footage / "any.mat", [[[5], [last]], np.zeros((2, 0))])
    manifest = prepare(footage, tmp_path / "out", (24, 32), progress=False)
    assert manifest["labelling"] == labelling
    assert sorted(p.name for p in (tmp_path / "out" / "labels").iterdir()) == [
        "any.mat",
        "labels.csv",
        "masks",
    ]
    if labelling is None:
        with pytest.raises(DDLError, match="labellings that differ; choose by `labelling` one of"):
            load_prepared(tmp_path / "out")
    data = load_prepared(tmp_path / "out", "any.mat")
    assert np.flatnonzero(data.labels["01"]).tolist() == list(range(4, last))


def test_colour_in_grey_footage(footage, tmp_path):
    cv2.imwrite(str(footage / "testing" / "frames" / "01" / "006.png"), walk(3, colour=True)[6])
    # Between those that are looked at first.
    assert prepare(footage, tmp_path / "out", (24, 32), progress=False)["channels"] == 3


def test_no_tracks_at_all(footage, tmp_path):
    for name in ("01", "walk 2 é"):
        shutil.rmtree(footage / "training" / "frames" / name)
        write_frames(footage / "training" / "frames" / name, [walk()[0]] * FRAMES)
    refuse(footage, tmp_path / "out", "no window of 3 training frames .* .0 boxes in 28 frames")


@pytest.mark.parametrize(
    "options, match",
    [
        ({"detector": "eyes"}, "unknown name 'eyes'; expected one of motion, yolo"),
        ({"detector": "yolo", "weights": "no.pt"}, "no.pt: .*motion"),
        ({"splits": ("testing",)}, "splits: "),
        ({"channels": 2}, "channels: 2"),
    ],
)
def test_bad_requests(footage, tmp_path, options, match):
    refuse(footage, tmp_path / "out", match, **options)


def test_target_is_guarded(footage, tmp_path):
    with pytest.raises(DDLError, match="holds the footage itself"):
        prepare(footage, footage, progress=False)
    (tmp_path / "mine" / "training").mkdir(parents=True)
    refuse(footage, tmp_path / "mine", "holds files that preparation would replace")


# The command


def test_command(footage, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["prepare", str(footage), out, "--size", "24", "32"]) == 0
    output = capsys.readouterr().out
    assert re.search(r"^detector motion: \d+ % of windows have a track$", output, re.MULTILINE)
    assert main(["verify", out]) == 0
    assert main(["verify", str(footage)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "manifest.json: not there" in error


def test_module_exits_with_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["data_prep", "verify", str(tmp_path)])
    monkeypatch.delitem(sys.modules, "data_prep.__main__", raising=False)
    with pytest.raises(SystemExit) as error:
        runpy.run_module("data_prep", run_name="__main__")
    assert error.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_import_is_light():
    code = "import data_prep, sys; assert not {'boxmot', 'ultralytics', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("kind", ["frames", "video"])
def test_footage_that_begins_grey_is_prepared_in_colour(tmp_path, own_runs, kind):
    grey, later = walk(3), walk(3, colour=True)
    if kind == "video":
        write_video(tmp_path / "in" / "night.avi", [*grey, *later])
    else:
        write_frames(tmp_path / "in" / "night", [*grey, *later])
    manifest = prepare(tmp_path / "in", tmp_path / "out", 32, detector="none", progress=False)
    assert manifest["channels"] == 3


@pytest.mark.parametrize("fault", ["torn", "size", "depth"])
def test_check_tells_a_picture_that_preparation_would_refuse(footage, tmp_path, capsys, fault):
    path = footage / "training" / "frames" / "01" / "005.png"
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if fault == "torn":
        path.write_bytes(path.read_bytes()[:-20])
    else:
        wrong = image[:-2] if fault == "size" else image.astype(np.uint16) * 256
        cv2.imwrite(str(path), wrong)
    with pytest.raises(DDLError, match="005.png") as error:
        prepare(footage, tmp_path / "out", (24, 32), progress=False)
    assert main(["check", str(footage)]) == 1
    assert f"differs: {error.value}" in capsys.readouterr().out
