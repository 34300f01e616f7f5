"""Every layout that people have gives the same prepared data as the common one."""

import shutil

import cv2
import numpy as np
import pytest
from scipy.io import savemat
from support.footage import (
    ABNORMAL,
    MASK,
    walk,
    write_frames,
    write_ucsd,
    write_video,
)
from support.layouts import write_avenue, write_shanghaitech

from data_prep import prepare
from data_prep.footage import layouts
from data_prep.footage.layouts import SPLITS
from ddllib.data import load_prepared
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")  # boxes are kept there

SIZE = (24, 32)


def assert_same(one, other):
    """Clips, tracks, masks and the chosen labels are equal."""
    first, second = load_prepared(one), load_prepared(other)
    assert first.tracks.equals(second.tracks) and len(first.tracks) > 0
    for part in ("training", "testing", "labels", "masks"):
        a, b = getattr(first, part), getattr(second, part)
        assert list(a) == list(b) == ["01", "02"]
        assert all(np.array_equal(a[name], b[name]) for name in a)
    assert {n: np.flatnonzero(v).tolist() for n, v in first.labels.items()} == {
        n: list(frames) for n, frames in ABNORMAL.items()
    }


def prepared_alike(common, other, tmp_path):
    for name, source in (("a", common), ("b", other)):
        prepare(source, tmp_path / name, SIZE, progress=False)
    assert_same(tmp_path / "a", tmp_path / "b")


# UCSD


def test_ucsd_official(common, tmp_path):
    official = write_ucsd(common, tmp_path / "archive" / "UCSDped7")
    assert layouts.find_footage(official).layout == "UCSD"
    prepared_alike(common, tmp_path / "archive", tmp_path)  # the folder around it will do as well


def test_an_archive_within_a_folder_of_its_own(common, tmp_path):
    write_ucsd(common, tmp_path / "data" / "archive.v1" / "UCSDped7")
    prepared_alike(common, tmp_path / "data", tmp_path)
    write_ucsd(common, tmp_path / "data" / "archive.v1" / "UCSDped8")
    message = "more than one data set .archive.v1/UCSDped7, archive.v1/UCSDped8.; give one"
    with pytest.raises(DDLError, match=message):
        layouts.find_footage(tmp_path / "data")


def test_ucsd_with_masks_of_some_clips(common, tmp_path):
    official = write_ucsd(common, tmp_path / "ucsd")
    shutil.rmtree(official / "Test" / "Test002_gt")
    prepare(official, tmp_path / "out", SIZE, progress=False)
    data = load_prepared(tmp_path / "out")
    assert list(data.masks) == ["01"] and list(data.labels) == ["01", "02"]
    assert data.labelling == "UCSDped.m"


def test_ucsd_ground_truth_with_several_ranges_and_none(common, tmp_path):
    official = write_ucsd(common, tmp_path / "ucsd")
    shutil.rmtree(official / "Test" / "Test001_gt")
    shutil.rmtree(official / "Test" / "Test002_gt")
    (official / "Test" / "UCSDped.m").write_text(
        "TestVideoFile = {};\nTestVideoFile{end+1}.gt_frame = [1:2, 5:6];\n"
        "TestVideoFile{end+1}.gt_frame = [];\n"
    )
    prepare(official, tmp_path / "out", SIZE, progress=False)
    labels = load_prepared(tmp_path / "out").labels
    assert np.flatnonzero(labels["01"]).tolist() == [0, 1, 4, 5] and not labels["02"].any()


# Avenue and ShanghaiTech: their clips are videos, so the common form is what the videos decode to


def test_avenue_official(common, tmp_path):
    root = write_avenue(common, tmp_path / "archives")
    assert layouts.find_footage(root.parent).layout == "Avenue"
    prepared_alike(common, root.parent, tmp_path)
    prepare(root, tmp_path / "c", SIZE, progress=False)
    assert_same(tmp_path / "a", tmp_path / "c")


def test_shanghaitech_official(common, tmp_path):
    root = write_shanghaitech(common, tmp_path / "sht")
    assert layouts.find_footage(root).layout == "ShanghaiTech"
    for split in SPLITS:  # scenes are part of the names
        for name in ("01", "02"):
            folder = common / split / "frames" / name
            folder.rename(folder.with_name(f"01_{name}"))
    for name in ("01", "02"):
        folder = common / "testing" / "masks" / name
        folder.rename(folder.with_name(f"01_{name}"))
    for out, source in (("a", common), ("b", root)):
        prepare(source, tmp_path / out, SIZE, progress=False)
    one, other = load_prepared(tmp_path / "a"), load_prepared(tmp_path / "b")
    assert one.digest == other.digest and one.tracks.equals(other.tracks)
    for part in ("labels", "masks"):
        a, b = getattr(one, part), getattr(other, part)
        assert list(a) == ["01_01", "01_02"] and all(np.array_equal(a[n], b[n]) for n in b)


def test_one_scene_of_two(common, tmp_path):
    root = tmp_path / "sht"
    spare = shutil.copytree(common, tmp_path / "spare")
    write_shanghaitech(common, root, "01")
    write_shanghaitech(spare, root, "02")
    manifest = prepare(root, tmp_path / "out", SIZE, progress=False, scene="02")
    assert {s: list(clips) for s, clips in manifest["clips"].items()} == {
        split: ["02_01", "02_02"] for split in SPLITS
    }
    with pytest.raises(DDLError, match="no training clips of scene '03'; expected one of 01, 02"):
        prepare(root, tmp_path / "none", SIZE, progress=False, scene="03")


# Footage without splits


def test_a_folder_of_videos(tmp_path):
    root = tmp_path / "camera"
    for name in ("monday", "tuesday", "accident é"):
        write_video(root / f"{name}.avi", walk(3))
    prepare(root, tmp_path / "out", SIZE, progress=False)
    data = load_prepared(tmp_path / "out")
    assert list(data.training) == ["accident é", "monday", "tuesday"] and not data.testing
    (root / "labels.csv").write_text("clip,first,last\naccident é,2,5\ntuesday,,\n", "utf-8")
    prepare(root, tmp_path / "out", SIZE, progress=False)
    data = load_prepared(tmp_path / "out")
    assert list(data.training) == ["monday"] and list(data.testing) == ["accident é", "tuesday"]
    assert np.flatnonzero(data.labels["accident é"]).tolist() == [2, 3, 4, 5]
    assert not data.labels["tuesday"].any()


@pytest.mark.parametrize("nested", [True, False])
def test_a_folder_of_frames(tmp_path, nested):
    root = tmp_path / "one walk"
    write_frames(root / "clip" if nested else root, walk(3))
    assert layouts.find_footage(root).layout == "plain"
    manifest = prepare(root, tmp_path / "out", SIZE, progress=False)
    assert list(manifest["clips"]["training"]) == ["clip" if nested else "one walk"]


# What is no layout, or more than one


def test_two_layouts_in_one_folder(common, tmp_path):
    (common / "Train" / "Train001").mkdir(parents=True)
    with pytest.raises(DDLError, match="mixes the layouts common and UCSD; expected one"):
        layouts.find_footage(common)


def test_two_data_sets_in_one_folder(common, tmp_path):
    write_ucsd(common, tmp_path / "UCSDped7")
    with pytest.raises(DDLError, match=r"more than one data set \(UCSDped7, common\); give one"):
        layouts.find_footage(tmp_path)


def test_an_empty_folder(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DDLError, match="no training clips found; expected training/frames"):
        prepare(tmp_path / "nothing", tmp_path / "out", progress=False)


# What looks like something else


def folder_of(tmp_path, *names):
    root = tmp_path / "root"
    for name in names:
        write_video(root / name, walk(3))
    return root


def test_a_backup_beside_the_videos_is_not_stepped_into(tmp_path):
    root = folder_of(tmp_path, "mon.avi", "tue.avi", "backup/training/old.avi")
    assert list(layouts.find_footage(root).clips["training"]) == ["mon", "tue"]


def test_prepared_data_beside_the_footage_is_not_read_as_footage(tmp_path):
    root = folder_of(tmp_path, "mon.avi")
    first = prepare(root, root / "prepared", SIZE, progress=False)
    assert prepare(root, root / "prepared", SIZE, progress=False) == first


@pytest.mark.parametrize("out", [".", ".."])
def test_footage_is_never_within_its_prepared_data(tmp_path, out):
    root = folder_of(tmp_path, "inner/training/mon.avi") / "inner"
    with pytest.raises(DDLError, match="holds the footage itself; give another folder"):
        prepare(root, root / out, SIZE, progress=False)


def test_a_strangers_files_are_left_alone(footage, tmp_path):
    out = tmp_path / "mine"
    (out / "training").mkdir(parents=True)
    (out / "manifest.json").write_text('{"name": "a web page"}')
    with pytest.raises(DDLError, match="did not write; give an empty folder"):
        prepare(footage, out, SIZE, progress=False)


def test_avenues_ground_truth_next_door_is_nobody_elses(common, tmp_path):
    masks = tmp_path / "ground_truth_demo" / "testing_label_mask"
    masks.mkdir(parents=True)
    savemat(masks / "1_label.mat", {"volLabel": np.empty((1, 0), object)})
    shutil.rmtree(common / "testing" / "masks")
    assert not layouts.find_footage(common).masks


@pytest.mark.parametrize(
    "names, match",
    [
        (["train/a.avi", "test/b.avi"], "not the name of a split here; rename it to te?"),
        (["Training/a.avi"], "Training: not the name of a split here; rename it to training"),
    ],
)
def test_what_would_be_overlooked_is_reported(tmp_path, names, match):
    with pytest.raises(DDLError, match=match):
        layouts.find_footage(folder_of(tmp_path, *names))


@pytest.mark.parametrize(
    "name, match",
    [
        ("005.jpg", "a second frame of the same number, as 005.jpg; .* rename it, or keep it in"),
        ("005-1.png", "005-1.png: named as a second picture of 005.png; expected one file"),
        ("005 (1).png", "no number at the end of its name, as others have; .* keep it in a folder"),
        ("background.jpg", "background.jpg: no number at the end"),
    ],
)
def test_a_stray_image_is_no_frame(common, name, match):
    folder = common / "training" / "frames" / "01"
    shutil.copy(folder / "005.png", folder / name)
    with pytest.raises(DDLError, match=match):
        layouts.find_footage(common)


def test_loose_masks_and_names_that_are_no_text(common, tmp_path):
    cv2.imwrite(str(common / "testing" / "masks" / "000.png"), MASK)
    with pytest.raises(DDLError, match="loose masks; expected masks/<clip>/<frame>.png"):
        layouts.find_footage(common)
    odd = folder_of(tmp_path, "a.avi")
    (odd / "a.avi").rename(odd / "caf\udce9.avi")
    with pytest.raises(DDLError, match=r"the name 'caf\\udce9.avi' is not UTF-8; rename it"):
        layouts.find_footage(odd)


def test_clips_without_leading_zeros_keep_the_order_of_their_labels(tmp_path):
    root = tmp_path / "counted"
    write_frames(root / "training" / "frames" / "1", walk(3))
    cells = np.empty((1, 12), object)
    for k in range(12):
        write_frames(root / "testing" / "frames" / f"{k + 1}", walk(3))
        cells[0, k] = np.array([[k + 1], [k + 1]])
    savemat(root / "any.mat", {"gt": cells})
    prepare(root, tmp_path / "out", SIZE, progress=False)
    labels = load_prepared(tmp_path / "out").labels
    assert {n: np.flatnonzero(v).tolist() for n, v in labels.items()} == {
        f"{k + 1}": [k] for k in range(12)
    }


@pytest.mark.parametrize("suffix", [".ts", ".flv", ".mkv", ".3gp"])
def test_a_videos_suffix_may_be_any_that_cameras_write(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(b"\0")
    assert list(layouts.find_footage(tmp_path).clips["training"]) == ["a"]


@pytest.mark.parametrize("place", [".", "testing"])
def test_a_folder_under_the_name_of_the_labels_is_reported(tmp_path, place):
    for split in ("training", "testing"):
        write_frames(tmp_path / split / "frames" / "01", walk())
    (tmp_path / place / "labels.csv").mkdir()
    with pytest.raises(DDLError, match="labels.csv: a folder; expected a table"):
        layouts.find_footage(tmp_path)


def test_a_clip_that_a_table_names_is_there(tmp_path):
    for day in ("monday", "tuesday"):
        write_video(tmp_path / f"{day}.avi", walk(3))
    (tmp_path / "labels.csv").write_text("clip,first,last\ntuesday.avi,1,2\n")
    message = (
        "no clip 'tuesday.avi' there; expected one of monday, tuesday, without its ending: tues"
    )
    with pytest.raises(DDLError, match=message):
        layouts.find_footage(tmp_path)
