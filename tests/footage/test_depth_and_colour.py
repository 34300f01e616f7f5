"""What a few frames seem to say does not decide for all: colour found late, pictures of 16 bits."""

import cv2
import numpy as np
import pytest
from support.video import write_media

from data_prep import prepare
from data_prep.footage.frames import read_frames
from data_prep.footage.layouts import open_clip
from data_prep.footage.levels import levels_of, to_eight_bits
from data_prep.live.sources import open_source
from data_prep.preparing.advise import advise
from ddllib.data import load_prepared
from ddllib.errors import DDLError

SIZE = (24, 32)


def late_colour(first, count=60, side=(48, 64)):
    """Grey pictures; from number `first` on they are blue."""
    frames = [cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) for image in moving(count, side)]
    for frame in frames[first:]:
        frame[..., 0] = 200
    return frames


def moving(count, side):
    """Grey pictures, H x W uint8, in which a square moves."""
    frames = [np.full(side, 90, np.uint8) for _ in range(count)]
    for t, frame in enumerate(frames):
        frame[10:30, t % 40 : t % 40 + 12] = 160
    return frames


def prepared(root, out, **options):
    return prepare(
        root, out, SIZE, detector="none", progress=options.pop("progress", False), **options
    )


@pytest.fixture
def night(tmp_path, own_runs):
    """A night recorded grey, whose last frame alone has colour, between two grey clips."""
    for name, first in (("1", 60), ("2", 59), ("3", 60)):
        write_images(tmp_path / "night" / name, late_colour(first))
    return tmp_path / "night"


def test_footage_that_ends_in_colour_is_prepared_in_colour(night, tmp_path, capsys):
    manifest = prepared(night, tmp_path / "out", progress=True)
    assert "training clip 2 has it in frame 59" in capsys.readouterr().out
    data = load_prepared(tmp_path / "out")
    assert data.channels == 3 and [len(clip) for clip in data.training.values()] == [60] * 3
    blue = data.training["2"][59, 2].mean()
    assert blue > data.training["2"][59, 0].mean() + 50
    assert manifest["channels"] == 3


def test_what_was_found_in_colour_is_not_prepared_again(night, tmp_path, monkeypatch):
    first = prepared(night, tmp_path / "out")
    monkeypatch.setattr("data_prep.preparing.prepared.make", lambda *_: pytest.fail("made again"))
    assert prepared(night, tmp_path / "out") == first


def test_colour_is_refused_where_grey_was_asked_for(night, tmp_path):
    with pytest.raises(DDLError, match=r"2: frame 59 .* has colour; prepare with 3 channels"):
        prepared(night, tmp_path / "out", channels=1)


# ---- 16 bits

BASE, SPAN = 29_000, 300  # of a thermal camera: a scene of a few hundred counts


def thermal(count=30, hot=0):
    """Pictures of 16 bits, H x W; a warm square moves over a gradient, `hot` counts warmer."""
    gradient = np.linspace(BASE, BASE + SPAN // 2, 64).astype(np.uint16)
    frames = []
    for t in range(count):
        frame = np.repeat(gradient[None], 48, axis=0)
        frame[10:30, t : t + 12] = BASE + SPAN + hot
        frames.append(frame)
    return frames


@pytest.mark.parametrize("form", ["png", "tif", "pages", "mkv"])
def test_a_scene_of_a_few_hundred_counts_keeps_its_levels(tmp_path, own_runs, form):
    for split in ("training", "testing"):
        write_deep(tmp_path / "yard" / split, form, thermal())
    manifest = prepared(tmp_path / "yard", tmp_path / "out")
    low, high = manifest["levels"]
    assert BASE - 2 * SPAN < low < BASE and BASE + SPAN < high < BASE + 3 * SPAN
    data = load_prepared(tmp_path / "out")
    for clip in (*data.training.values(), *data.testing.values()):
        assert len(clip) == 30 and len(np.unique(clip)) > 30  # dropping a byte leaves two
        assert clip.min() < 60 and clip.max() > 190


def write_deep(folder, form, frames):
    folder.mkdir(parents=True)
    if form == "mkv":
        write_media(folder / "a.mkv", frames, codec="ffv1")
    elif form == "pages":
        cv2.imwritemulti(str(folder / "a.tif"), frames)
    else:
        write_images(folder / "frames" / "a", frames, form)


def write_images(folder, frames, form="png"):
    folder.mkdir(parents=True)
    for t, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{t:03d}.{form}"), frame)


def test_a_watch_sees_the_levels_of_training(tmp_path, own_runs):
    write_deep(tmp_path / "yard" / "training", "png", thermal())
    data = load_prepared(prepare_folder(tmp_path))
    write_deep(tmp_path / "today", "png", thermal(hot=20))
    source = open_source(tmp_path / "today", SIZE, channels=1, levels=data.levels)
    pictures = np.stack([frame.image for frame in source])
    clip = np.asarray(next(iter(data.training.values())))
    assert pictures[0, 0, 0, 0] == clip[0, 0, 0, 0]  # the same ground, the same level
    assert pictures.max() > clip.max()


def prepare_folder(tmp_path):
    prepared(tmp_path / "yard", tmp_path / "out")
    return tmp_path / "out"


def test_footage_of_another_depth_is_reported(tmp_path, own_runs):
    write_deep(tmp_path / "yard" / "training", "png", thermal())
    data = load_prepared(prepare_folder(tmp_path))
    write_images(tmp_path / "eight" / "a", moving(12, (48, 64)))
    with pytest.raises(DDLError, match="a frame of 8 bits, but the training footage has 16"):
        list(open_source(tmp_path / "eight", SIZE, levels=data.levels))
    with pytest.raises(DDLError, match="a frame of 16 bits, but the training footage has 8"):
        list(open_source(tmp_path / "yard" / "training", SIZE))


def test_levels_leave_out_dead_pixels():
    frame = thermal(1)[0]
    frame[0, 0], frame[0, 1] = 0, 65_535
    low, high = levels_of([frame])
    assert low > BASE - SPAN and high < BASE + 3 * SPAN
    eight = to_eight_bits(frame, (low, high), "a")
    assert eight[0, 0] == 0 and eight[0, 1] == 255
    assert levels_of([np.zeros((4, 4), np.uint8)]) is None


def test_footage_of_one_value_has_a_range():
    low, high = levels_of([np.full((4, 4), 65_535, np.uint16)])
    assert low < high
    assert to_eight_bits(np.full((1, 1), 65_535, np.uint16), (low, high), "a").dtype == np.uint8


def test_images_of_decimal_numbers_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    for k in range(4):
        cv2.imwrite(str(tmp_path / "a" / f"{k}.tif"), np.full((8, 8), 21.5, np.float32))
    with pytest.raises(DDLError, match="0.tif: numbers of type float32; expected whole ones"):
        list(read_frames(open_clip(tmp_path / "a", "training")))


# ---- another shape


def test_pictures_of_other_proportions_are_reported_once_a_clip(tmp_path, own_runs):
    write_media(tmp_path / "yard" / "a.avi", late_colour(0), codec="ffv1")
    data = load_prepared(prepare_folder(tmp_path))
    assert data.shapes == {(48, 64)}
    messages = []
    for name, side in (("half.avi", (24, 32)), ("wide.avi", (48, 96))):
        write_media(tmp_path / name, late_colour(0, side=side), codec="ffv1")
        source = open_source(tmp_path / name, SIZE, shapes=data.shapes, tell=messages.append)
        assert len(list(source)) == 60
    assert len(messages) == 1
    assert "wide.avi: pictures of 96x48, but the training footage has 64x48" in messages[0]


def test_advice_and_detection_work_on_footage_of_16_bits(tmp_path, own_runs):
    write_deep(tmp_path / "yard", "mkv", thermal(60))
    assert advise(tmp_path / "yard").settings["size"]
    manifest = prepare(tmp_path / "yard", tmp_path / "out", SIZE, "motion", progress=False)
    assert manifest["coverage"] > 0.5
