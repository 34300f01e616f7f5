"""Footage as cameras, recorders and other systems leave it is read as it is, or told in a line.

No advice takes away what may be footage, labels or masks.
"""

import os
import random
import re
import struct
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.footage import ABNORMAL, MASK, walk, write_frames, write_video

from data_prep import prepare
from data_prep.__main__ import main
from data_prep.footage import folders, ground_truth, layouts, naming, stacks, trees
from data_prep.footage.layouts import find_footage
from data_prep.footage.stacks import page_count
from ddllib.camera.event_file import COLUMNS
from ddllib.camera.score_table import HEADER
from ddllib.data import load_prepared
from ddllib.errors import DDLError

pytestmark = pytest.mark.usefixtures("own_runs")

SIZE = (24, 32)


def write_files(root: Path, *names: str) -> Path:
    """Files of one byte: where clips are is told by names alone."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0")
    return root


def clip_names(root, split="training"):
    return list(find_footage(root).clips[split])


def frame_names(root):
    (clip,) = find_footage(root).clips["training"].values()
    return [path.name for path in clip.frames]


def refusal(root) -> str:
    with pytest.raises(DDLError) as error:
        find_footage(root)
    message = str(error.value)
    assert "\n" not in message and not re.search(r"\b(remove|delete|move) ", message)
    return message


# Names of pictures


@pytest.mark.parametrize(
    "names",
    [
        ["235950.jpg", "235950-1.jpg", "235950-2.jpg", "235950-10.jpg", "235952.jpg"],
        ["20240101120000-00.jpg", "20240101120000-01.jpg", "20240101120003-00.jpg"],
        ["20240101120000.jpg", "20240101120000-1.JPG", "20240101120000-4.jpg"],
        ["01-20240101120000-00.jpg", "01-20240101120000-05.jpg", "02-20240101120009-00.jpg"],
        # The number of the event begins anew where the camera is started anew.
        ["07-20240101120000-00.jpg", "01-20240102080000-00.jpg", "02-20240102080001-00.jpg"],
        ["cam1_2024-01-01_12-00-00_00.jpg", "cam1_2024-01-01_12-00-00_03.jpg"]
        + ["cam1_2024-01-01_12-00-01_00.jpg"],
        ["snapshot-1704110400.123.jpg", "snapshot-1704110400.5.jpg", "snapshot-1704110402.jpg"],
        ["1704110400123.jpg", "1704110400124.jpg", "1704110400130.jpg"],
        ["2024-01-01T12:00:00.jpg", "2024-01-01T12:00:00.25.jpg", "2024-01-01T12:00:00.5.jpg"],
        ["20240131235959999.jpg", "20240201000000000.jpg", "20240201000000001.jpg"],
        ["cam_120058.jpg", "cam_120059.jpg", "cam_120100.jpg", "cam_120105.jpg"],
        ["0058.jpg", "0059.jpg", "0100.jpg", "0102.jpg"],  # minutes and seconds in an hour's folder
        ["frame2.jpg", "frame4.JPG", "frame6.jpeg", "frame10.jpg"],  # sampled
        ["31-01-2024_235959.jpg", "01-02-2024_000000.jpg", "01-02-2024_000010.jpg"],
        ["a_001.jpg", "a_003.jpg", "b_001.jpg"],
    ],
)
def test_pictures_are_read_in_the_order_of_time(tmp_path, names):
    shuffled = random.Random(0).sample(names, len(names))
    assert frame_names(write_files(tmp_path, *(f"clip/{name}" for name in shuffled))) == names


def test_a_lost_frame_is_reported_where_frames_are_counted(tmp_path):
    for k, names in enumerate(
        [
            ["000001.jpg", "000002.jpg", "000004.jpg"],
            ["rec_20240101_120000_0001.jpg", "rec_20240101_120000_0002.jpg"]
            + ["rec_20240101_120000_0004.jpg"],
            ["12-00-00_0001.jpg", "12-00-01_0002.jpg", "12-00-02_0003.jpg", "12-00-03_0005.jpg"],
            ["120001.jpg", "120002.jpg", "120005.jpg"],  # within a minute it may be a count
        ]
    ):
        root = write_files(tmp_path / str(k), *(f"clip/{name}" for name in names))
        assert f"frame missing after {names[-2]}" in refusal(root)


@pytest.mark.parametrize(
    "odd, pattern",
    [
        ("cover.jpg", "cover.jpg: no number at the end of its name, as others have; expected"),
        ("thumb.jpg", "keep it in a folder elsewhere, outside the footage"),
        ("005-1.jpg", "005-1.jpg: named as a second picture of 005.jpg"),
        ("5.png", "a second frame of the same number, as 5.png|as 005.jpg"),
    ],
)
def test_an_odd_picture_is_reported(tmp_path, odd, pattern):
    names = [f"clip/{t:03d}.jpg" for t in range(14)]
    assert re.search(pattern, refusal(write_files(tmp_path, *names, f"clip/{odd}")))


def test_a_link_to_the_last_picture_is_no_frame(tmp_path):
    write_files(tmp_path, "clip/01-20240101120000-00.jpg", "clip/01-20240101120000-01.jpg")
    (tmp_path / "clip" / "lastsnap.jpg").symlink_to("01-20240101120000-01.jpg")
    assert frame_names(tmp_path) == ["01-20240101120000-00.jpg", "01-20240101120000-01.jpg"]


def test_what_is_no_picture_beside_frames_is_left_alone(tmp_path):
    write_files(tmp_path, "clip/000.jpg", "clip/001.jpg", "clip/Thumbs.db", "clip/.DS_Store")
    assert frame_names(tmp_path) == ["000.jpg", "001.jpg"]


def test_dates_whose_order_cannot_be_told_are_refused(tmp_path):
    write_files(tmp_path, "clip/01-03-2024_1.jpg", "clip/02-01-2024_1.jpg")
    assert "expected the year first, such as 2024-01-31" in refusal(tmp_path)


def test_shots_of_a_second_have_masks_of_their_own_names(tmp_path):
    names = ["20240101120000-00.png", "20240101120000-01.png", "20240101120001-00.png"]
    write_files(tmp_path, *(f"training/frames/a/{name}" for name in names))
    write_files(tmp_path, *(f"testing/frames/b/{name}" for name in names))
    write_files(tmp_path, *(f"testing/masks/b/{name}" for name in names))
    assert [path.name for path in find_footage(tmp_path).masks["b"]] == names
    mask = tmp_path / "testing/masks/b" / names[2]
    mask.rename(mask.with_name("20240101120005-00.png"))
    assert "first without a partner: 20240101120001-00" in refusal(tmp_path)


# Trees of recorders


def test_a_tree_of_videos_is_read_in_order(tmp_path):
    places = ["2024-01-01/9/00.mp4", "2024-01-01/12/00.mp4", "2024-01-01/12/01.MP4"]
    places += ["2024-01-02/0/cam1/00.mp4", "extra.mp4"]
    write_files(tmp_path, *(f"training/{place}" for place in reversed(places)))
    (tmp_path / "training/2024-01-01/13").mkdir()  # an hour without a clip
    clips = find_footage(tmp_path).clips["training"]
    assert list(clips) == [
        "2024-01-01_9_00",
        "2024-01-01_12_00",
        "2024-01-01_12_01",
        "2024-01-02_0_cam1_00",
        "extra",
    ]
    assert [clip.path for clip in clips.values()] == [tmp_path / "training" / p for p in places]


def test_videos_follow_the_time_in_their_names(tmp_path):
    names = ["07-20240101120000", "01-20240102080000", "02-20240102090000"]
    write_files(tmp_path, *(f"day/{name}.mp4" for name in sorted(names)))
    assert clip_names(tmp_path) == [f"day_{name}" for name in names]


def test_an_hour_of_fewer_pictures_than_a_window_is_passed_over(tmp_path):
    write_files(tmp_path, *(f"a/12/{t}.jpg" for t in range(3)), "a/13/0.jpg", "a/13/1.jpg")
    footage = find_footage(tmp_path)
    assert list(footage.clips["training"]) == ["a_12"]
    assert footage.notes == (
        f"passed over {tmp_path / 'a' / '13'}: 2 images, fewer than 3, a window",
    )


def test_a_tree_without_splits_is_prepared(tmp_path):
    root = tmp_path / "nvr"
    for hour in ("12", "13"):
        write_video(root / "2024-01-01" / hour / "00.avi", walk(3))
    (root / "labels.csv").write_text("clip,first,last\n2024-01-01_13_00,2,5\n")
    prepare(root, tmp_path / "out", SIZE, progress=False)
    data = load_prepared(tmp_path / "out")
    assert list(data.training) == ["2024-01-01_12_00"]
    assert np.flatnonzero(data.labels["2024-01-01_13_00"]).tolist() == [2, 3, 4, 5]


def test_folders_of_frames_may_lie_as_deep_as_their_masks(tmp_path):
    write_frames(tmp_path / "training/frames/2024/a", walk(3))
    write_frames(tmp_path / "training/frames/b", walk(3))
    write_frames(tmp_path / "testing/frames/2024/c", walk(3))
    masks = [MASK * (t in ABNORMAL["01"]) for t in range(14)]
    write_frames(tmp_path / "testing/masks/2024/c", masks)
    prepare(tmp_path, tmp_path / "out", SIZE, progress=False)
    data = load_prepared(tmp_path / "out")
    assert list(data.training) == ["2024_a", "b"]
    assert np.flatnonzero(data.labels["2024_c"]).tolist() == list(ABNORMAL["01"])


def test_two_ways_to_one_name_are_reported(tmp_path):
    write_files(tmp_path, "training/a/b.mp4", "training/a_b.mp4")
    message = refusal(tmp_path)
    assert "a second clip named a_b" in message and "rename one of them" in message


def test_names_of_recorders_are_clips(tmp_path):
    names = ["NVR_ch1_main_20240101120000_20240101130000", "NVR_ch1_main_20240101130000_2024010114"]
    write_files(tmp_path, *(f"training/{name}.MP4" for name in names))
    assert clip_names(tmp_path) == names


def test_stills_beside_their_videos_are_passed_over(tmp_path):
    write_files(tmp_path, "day/cam_1200.mp4", "day/cam_1200.jpg", "day/cam_1200_thumb.jpg")
    assert clip_names(tmp_path) == ["day_cam_1200"]
    assert "2 images, stills of the videos" in find_footage(tmp_path).notes[0]
    write_files(tmp_path, "day/0001.jpg")
    assert "0001.jpg: an image among videos, named as none of them" in refusal(tmp_path)


def test_a_split_without_clips_is_reported(tmp_path):
    (tmp_path / "training" / "2024-01-01" / "12").mkdir(parents=True)
    with pytest.raises(DDLError, match="no training clips found"):
        prepare(tmp_path, tmp_path / "out", SIZE, progress=False)


def test_known_folders_and_names_stay_as_they_are(tmp_path):
    write_files(tmp_path, "training/frames/01/000.jpg", "training/frames/02/000.jpg")
    write_files(tmp_path, "training/frames/x.y/000.jpg", "testing/01.avi", "testing/videos/02.avi")
    assert clip_names(tmp_path) == ["01", "02", "x.y"]
    assert clip_names(tmp_path, "testing") == ["01", "02"] and not find_footage(tmp_path).notes


def test_what_lies_beside_the_footage_is_reported(tmp_path):
    write_files(tmp_path, "training/a.mp4", "more/b.mp4", "c.mp4", "papers/readme.txt")
    assert sorted(find_footage(tmp_path).notes) == [
        f"passed over {tmp_path / 'c.mp4'}: beside training, testing; give it by itself",
        f"passed over {tmp_path / 'more'}: beside training, testing; give it by itself",
    ]


def test_images_directly_in_a_folder_of_clips_are_reported(tmp_path):
    write_files(tmp_path, "training/cover.jpg", "training/frames/a/000.jpg")
    assert "1 images directly in it (cover.jpg), of no clip" in find_footage(tmp_path).notes[0]


def test_links_are_followed_once(tmp_path):
    root = write_files(tmp_path / "root", "2024-01-01/00.mp4")
    write_files(tmp_path / "disk", "cam2/00.mp4")
    (root / "2024-01-01" / "round").symlink_to(root)
    (root / "latest").symlink_to(root / "2024-01-01")
    (root / "other").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "up").symlink_to(tmp_path)
    assert clip_names(root) == ["2024-01-01_00", "other_cam2_00"]
    assert sum("which is read already" in note for note in find_footage(root).notes) == 3


def test_folders_too_deep_are_reported(tmp_path):
    deep = "/".join("abcdefghij")
    write_files(tmp_path, f"training/{deep}/00.mp4", "training/1/2/3/4/5/6/7/8/00.mp4")
    footage = find_footage(tmp_path)
    assert list(footage.clips["training"]) == ["1_2_3_4_5_6_7_8_00"]
    assert "more than 8 folders deep; give it by itself" in footage.notes[0]


def test_too_many_folders_are_reported(tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "MOST_FOLDERS", 3)
    write_files(tmp_path, *(f"training/{k}/00.mp4" for k in range(4)))
    assert "more than 3 folders; expected fewer; give a part of them" in refusal(tmp_path)


# Names of a Mac


def test_decomposed_names_are_those_of_labels_and_masks(tmp_path):
    names = [unicodedata.normalize(form, "café") for form in ("NFD", "NFC")]
    for split in ("training", "testing"):
        write_frames(tmp_path / split / "frames" / names[0], walk(3))
    write_frames(tmp_path / "testing" / "masks" / names[0], [MASK] * 14)
    (tmp_path / "testing" / "labels.csv").write_text(f"clip,first,last\n{names[1]},0,13\n", "utf-8")
    footage = find_footage(tmp_path)
    assert list(footage.clips["testing"]) == list(footage.masks) == [names[1]]
    assert footage.clips["testing"][names[1]].path.name == names[0]
    prepare(tmp_path, tmp_path / "out", SIZE, progress=False)
    assert load_prepared(tmp_path / "out").labels[names[1]].all()


@pytest.mark.parametrize("place", ["training", "testing/masks"])
def test_two_forms_of_one_name_are_reported(tmp_path, place):
    write_files(tmp_path, "training/x/000.png", "testing/café/000.png")
    for form in ("NFD", "NFC"):
        write_files(tmp_path, unicodedata.normalize(form, f"{place}/café/000.png"))
    assert "rename one of them" in refusal(tmp_path)


# What is no footage


@pytest.mark.parametrize(
    "files, why",
    [
        (["scores.csv", "events.csv", "events.json", "0001.avi", "0001.jpg"], "left by a watch"),
        (["running.json", "events.csv", "earlier-2024-01-01/0001.avi"], "left by a watch"),
        (["checkpoint.pt", "figures/a.png"], "a trained run"),
        (["run.json", "curve.png"], "a trained run"),
        (["manifest.json", "tracks.csv", "sheet.png"], "prepared data"),
    ],
)
@pytest.mark.parametrize("place", ["", "training"])
def test_what_we_made_is_passed_over(tmp_path, capsys, files, why, place):
    root = tmp_path / "root"
    write_video(root / place / "monday.avi", walk(3))
    write_files(root / place / "made", *files)
    assert main(["check", str(root)]) == 0
    out = capsys.readouterr().out
    assert f"note: passed over {root / place / 'made'}: {why}" in out
    assert "training: 1 clips" in out


def test_tables_of_a_watch_are_known_by_their_columns():
    assert folders.TABLES["scores.csv"].decode() == HEADER
    assert ",".join(COLUMNS).startswith(folders.TABLES["events.csv"].decode())


def test_a_table_of_events_of_another_is_no_watch(tmp_path):
    write_files(tmp_path, "day/a.mp4", "day/events.csv")
    assert clip_names(tmp_path) == ["day_a"]


def test_a_folder_of_a_watch_is_no_footage_itself(tmp_path):
    write_files(tmp_path, "0001.avi")
    (tmp_path / "scores.csv").write_text("segment,frame,time_s,score\n")
    assert "left by a watch (scores.csv), no footage" in refusal(tmp_path)


def test_a_data_set_within_the_footage_is_reported(tmp_path):
    write_files(tmp_path, "mon.avi", "backup/training/old.avi")
    footage = find_footage(tmp_path)
    assert list(footage.clips["training"]) == ["mon"]
    assert "backup: a data set of its own (layout common); give it by itself" in footage.notes[0]


def unreadable(monkeypatch, name):
    scandir = os.scandir

    def refused(path):
        if Path(path).name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)


@pytest.mark.parametrize("name", ["lost+found", "System Volume Information", "$RECYCLE.BIN"])
@pytest.mark.parametrize("place", ["", "training"])
def test_folders_of_the_system_are_passed_over(tmp_path, monkeypatch, capsys, name, place):
    write_video(tmp_path / place / "a.avi", walk(3))
    (tmp_path / place / name).mkdir()
    unreadable(monkeypatch, name)
    assert main(["check", str(tmp_path)]) == 0
    note = f"note: passed over {tmp_path / place / name}: a folder of the system"
    assert note in capsys.readouterr().out


def test_previews_of_a_disk_are_passed_over(tmp_path):
    write_files(tmp_path, "a/000.jpg", "a/001.jpg", "a/@eaDir/SYNOPHOTO_1.jpg", "#recycle/b.mp4")
    assert clip_names(tmp_path) == ["a"] and len(find_footage(tmp_path).notes) == 2


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_files(tmp_path, "training/a.mp4", "training/private/b.mp4")
    unreadable(monkeypatch, "private")
    message = refusal(tmp_path)
    assert f"{tmp_path / 'training' / 'private'}: cannot be read (Permission denied)" in message
    assert "allow to read it" in message


def test_no_advice_takes_away_what_is_right():
    """Messages in the modules that find footage; "move" is no remedy, nor is "remove"."""
    words = re.compile(r"\b(remove|delete|overwrite|move (it|them|the))\b")
    for module in (layouts, folders, ground_truth, naming, stacks, trees):
        assert not words.search(Path(module.__file__).read_text())


# Several pictures in one file


def write_stack(path: Path, pages: int, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [Image.fromarray(np.full((24, 32), t, np.uint8)) for t in range(pages)]
    frames[0].save(path, save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("place", ["training", "training/frames", "training/videos", "."])
def test_four_files_of_forty_pages_are_four_clips(tmp_path, place):
    for k in range(4):
        write_stack(tmp_path / place / f"{k}.tif", 40)
    clips = find_footage(tmp_path).clips["training"]
    assert list(clips) == ["0", "1", "2", "3"]
    for clip in clips.values():
        assert clip.paged and len(clip.frames) == 40 and clip.files == (clip.path,)


def test_a_stack_alone_and_deeper_is_a_clip(tmp_path):
    write_stack(tmp_path / "day" / "a.TIFF", 3)
    assert clip_names(tmp_path) == ["day_a"]
    (clip,) = find_footage(tmp_path / "day" / "a.TIFF").clips["training"].values()
    assert clip.paged and clip.name == "a"
    assert layouts.open_clip(clip.path, "testing").frames == (clip.path,) * 3


def test_stacks_among_frames_are_reported(tmp_path):
    for t in range(3):
        write_stack(tmp_path / "clip" / f"{t}.tif", 1)
    assert frame_names(tmp_path) == ["0.tif", "1.tif", "2.tif"]
    write_stack(tmp_path / "clip" / "2.tif", 5)
    message = refusal(tmp_path)
    assert "2.tif: 5 pictures in one file, but 0.tif beside it has one" in message


def test_masks_of_a_stack_are_counted(tmp_path):
    write_stack(tmp_path / "training" / "a.tif", 4)
    write_stack(tmp_path / "testing" / "b.tif", 4)
    write_frames(tmp_path / "testing" / "masks" / "b", [MASK] * 4)
    assert len(find_footage(tmp_path).masks["b"]) == 4
    (tmp_path / "testing" / "masks" / "b" / "003.png").unlink()
    assert "3 masks for 4 frames" in refusal(tmp_path)


@pytest.mark.parametrize("order, big", [("<", False), (">", False), ("<", True)])
def test_pages_are_counted_in_every_form(tmp_path, order, big):
    """Written by hand: two pages and a preview of the second, then a page that leads back."""
    mark = b"II" if order == "<" else b"MM"
    count, field, offset = ("Q", "HHQQ", "Q") if big else ("H", "HHII", "I")
    head = mark + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HH", 8, 0) if big else b""
    first = 16 if big else 8
    size = struct.calcsize(f"{order}{count}{field}{offset}")
    kinds, data = (0, 0, 1), head + struct.pack(f"{order}{offset}", first)
    for k, kind in enumerate(kinds):
        after = first + (k + 1) * size if k < 2 else first  # the last one leads back
        data += struct.pack(f"{order}{count}{field}{offset}", 1, 254, 4, 1, kind, after)
    (tmp_path / "a.tif").write_bytes(data)
    assert page_count(tmp_path / "a.tif") == 2
    for length in range(len(data)):
        (tmp_path / "a.tif").write_bytes(data[:length])
        assert page_count(tmp_path / "a.tif") in (1, 2)


def test_a_picture_of_another_form_has_one_page(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), MASK)
    (tmp_path / "a.png").rename(tmp_path / "a.tif")
    assert page_count(tmp_path / "a.tif") == 1
