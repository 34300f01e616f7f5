"""In-painters: they fill the mask, leave the rest, and give the same again."""

import numpy as np
import pytest
import torch

from data_prep import companions
from data_prep.companions.inpainting import INPAINTERS, base, latent_diffusion
from data_prep.companions.inpainting.surroundings import surroundings
from data_prep.diffusion import big, small, weights
from ddllib import DDLError
from ddllib.data import load_prepared

PICTURE = np.random.default_rng(0).integers(0, 256, (3, 48, 64)).astype(np.uint8)


def mask_of(*boxes):
    mask = np.zeros(PICTURE.shape[1:], np.uint8)
    for top, left, height, width in boxes:
        mask[top : top + height, left : left + width] = 1
    return mask


MASK = mask_of((10, 12, 12, 6), (0, 50, 9, 14), (40, 0, 8, 5))  # two at the frame's edge


@pytest.fixture(scope="module")
def big_model():
    """The paper's at a small width, with random weights."""
    torch.manual_seed(0)
    return big.BigLatentDiffusion((32, 32, 32, 32), (32, 32, 32), 20).eval()


@pytest.fixture(autouse=True)
def quick(big_model, monkeypatch):
    monkeypatch.setattr(latent_diffusion, "loaded_big", lambda: big_model)
    for name, value in {"BIG_SIDE": 64, "BIG_STEPS": 2, "SMALL_STEPS": 2}.items():
        monkeypatch.setattr(latent_diffusion, name, value)


@pytest.mark.parametrize("name", INPAINTERS)
def test_pixels_outside_the_mask_stay_and_grey_stays_grey(name):
    inpainter = INPAINTERS[name]()
    for frame in (PICTURE, PICTURE[:1], np.repeat(PICTURE[:1], 3, axis=0)):
        filled = inpainter.fill(frame, MASK, seed=1)
        assert filled.shape == frame.shape and filled.dtype == np.uint8
        assert np.array_equal(filled[:, MASK == 0], frame[:, MASK == 0])
        assert (filled != frame).any(axis=0)[MASK == 1].mean() > 0.9
        assert (frame != frame[:1]).any() or (filled == filled[:1]).all()


@pytest.mark.parametrize("name", INPAINTERS)
def test_an_empty_mask_changes_nothing(name):
    frame = INPAINTERS[name]().fill(PICTURE, np.zeros_like(MASK), seed=1)
    assert np.array_equal(frame, PICTURE)


@pytest.mark.parametrize("name", [small.NAME, big.NAME])
def test_a_seed_gives_the_same_again_and_another_something_else(name):
    first, again, other = (INPAINTERS[name]().fill(PICTURE, MASK, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_a_hole_is_filled_without_regard_to_what_it_hid():
    inpainter, one = INPAINTERS[small.NAME](), mask_of((10, 12, 12, 6))
    other = np.where(one, 255 - PICTURE, PICTURE)
    first, second = (inpainter.fill(frame, one, seed=1) for frame in (PICTURE, other))
    difference = np.abs(first.astype(int) - second)[:, one == 1]
    assert difference.max() <= 1


def test_the_weights_that_come_with_the_project_are_small_and_whole():
    assert weights.SMALL.stat().st_size <= 8_000_000
    model = weights.small_model()
    count = sum(p.numel() for p in model.parameters())
    assert 3_000_000 < count < 4_000_000
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_surroundings_are_squares_with_one_part_in_the_middle():
    parts = list(surroundings(MASK))
    assert len(parts) == 3 and sum(place.part for place in parts).tolist() == MASK.tolist()
    for place in parts:
        hole = place.hole(64)
        rows, columns = np.nonzero(place.part)
        sides = max(np.ptp(rows), np.ptp(columns)) + 1
        assert place.side == max(2 * sides, 16) and hole[30:34, 30:34].all()


def test_pieces_with_two_pixels_between_them_are_one_part():
    (part,) = surroundings(mask_of((10, 12, 5, 6), (17, 12, 5, 6)))
    assert part.part.sum() == 60
    assert len(list(surroundings(mask_of((10, 12, 5, 6), (18, 12, 5, 6))))) == 2


def test_what_is_pasted_unchanged_changes_nothing():
    picture = np.ascontiguousarray(PICTURE.transpose(1, 2, 0))
    for place in surroundings(MASK):
        copy = picture.copy()
        place.paste(place.crop(picture, place.side), copy)
        assert np.array_equal(copy, picture)
        place.paste(np.zeros((64, 64, 3), np.uint8), copy)
        assert not copy[place.part].any() and np.array_equal(
            copy[~place.part], picture[~place.part]
        )


def test_an_inpainter_is_added_by_a_class(prepared_folder, monkeypatch):
    monkeypatch.setitem(INPAINTERS, "black", None)  # taken out again afterwards
    del INPAINTERS["black"]

    @base.inpainter("black")
    class Black(base.Inpainter):
        def paint(self, picture, mask, seed):
            return np.zeros_like(picture)

    companions.make(prepared_folder, "inpainted-black-boxes", progress=False)
    data = load_prepared(prepared_folder)
    masks = data.companion("silhouettes-boxes")
    for clip, frames in data.companion("inpainted-black-boxes").items():
        assert not frames[:, 0][masks[clip] == 1].any() and frames.any()


def test_frames_are_made_anew_when_the_weights_change(prepared_folder, monkeypatch):
    name = "inpainted-telea-boxes"
    companions.make(prepared_folder, name, progress=False)
    data = load_prepared(prepared_folder)
    assert companions.is_made(data, name, "training", "01")
    monkeypatch.setattr(INPAINTERS["telea"], "identity", lambda self: "others")
    assert not companions.is_made(data, name, "training", "01")


def test_each_frame_of_a_clip_has_its_own_seed(prepared_folder, monkeypatch):
    seeds = []

    def fill(self, frame, mask, seed):
        seeds.append(seed)
        return frame

    monkeypatch.setattr(INPAINTERS["telea"], "fill", fill)
    data = load_prepared(prepared_folder)
    companions.make(prepared_folder, "silhouettes-boxes", progress=False)
    name, frames = "inpainted-telea-boxes", data.training["01"]
    for _ in range(2):
        entries, *_ = companions.entries_of(data, name, "training", "01", frames)
        list(entries)
    assert len(set(seeds)) == len(frames) and seeds[: len(frames)] == seeds[len(frames) :]


def test_names_of_in_painters_that_begin_alike_are_told_apart():
    name = f"inpainted-{small.NAME}-strokes-thin"
    assert companions.mask_of(name) == "strokes-thin"
    assert companions.inpainter_of(name) == small.NAME
    assert companions.inpainter_of(f"inpainted-{big.NAME}-boxes") == big.NAME
    with pytest.raises(DDLError, match="telea"):
        companions.mask_of("inpainted-lama-boxes")
