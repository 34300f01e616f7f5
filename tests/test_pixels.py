"""Pixel AUROC against scikit-learn; region and track criteria against arithmetic done by hand.

Unless a test says otherwise frames are 16 x 16 and the box is one pixel. A threshold of 0 then
makes each whole frame one region of 256 pixels: no true region here reaches an IoU of 0.1 with it,
so it adds the point (1, 0), which the running maximum lifts to what was found before.
"""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from ddllib import DDLError, localisation
from ddllib.localisation import area_to_one, pixel_auroc, region_and_track, smooth

SIDE = 16


def world(frames=1, clips=("01",)):
    """Maps and masks of zeros, to be painted on."""
    return (
        {name: np.zeros((frames, SIDE, SIDE), np.float16) for name in clips},
        {name: np.zeros((frames, SIDE, SIDE), np.uint8) for name in clips},
    )


def noisy_world(seed=0, lengths=(23, 5, 17)):
    """Smooth noise with a square that walks through two of three clips, half hidden in it."""
    rng = np.random.default_rng(seed)
    maps, masks = {}, {}
    for k, n in enumerate(lengths):
        mask = np.zeros((n, 32, 32), np.uint8)
        for t in range(n if k != 1 else 0):
            mask[t, 8:14, t : t + 6] = 1
        noise = smooth(rng.random((n, 32, 32)), 3) + 0.2 * smooth(mask, 3)
        maps[f"{k:02d}"], masks[f"{k:02d}"] = noise.astype(np.float16), mask
    return maps, masks


def rbdc(maps, masks, **settings):
    return region_and_track(maps, masks, 1, **settings).rbdc


def tbdc(maps, masks, **settings):
    return region_and_track(maps, masks, 1, **settings).tbdc


# ------------------------------------------------------------------------------------- by pixel


@pytest.mark.parametrize("seed", range(5))
def test_pixel_auroc_is_scikit_learns_ties_and_all(seed):
    rng = np.random.default_rng(seed)
    maps = {n: (rng.integers(0, 30, (3, 9, 7)) / 16).astype(np.float16) for n in "ab"}
    masks = {n: (rng.random((3, 9, 7)) > 0.8).astype(np.uint8) for n in "ab"}
    every = [np.concatenate([x[n].ravel() for n in "ab"]) for x in (masks, maps)]
    assert pixel_auroc(maps, masks) == pytest.approx(roc_auc_score(*every), abs=1e-12)


def test_every_half_float_keeps_its_place():
    bits = np.arange(0x7C00, dtype=np.uint16)  # all that are finite and not negative
    values = np.random.default_rng(0).permutation(bits).view(np.float16).reshape(1, 128, 248)
    masks = (np.random.default_rng(1).random(values.shape) > 0.5).astype(np.uint8)
    expected = roc_auc_score(masks.ravel(), values.ravel().astype(float))
    assert pixel_auroc({"01": values}, {"01": masks}) == pytest.approx(expected, abs=1e-12)


def test_pixel_auroc_of_one_value_is_a_half_and_of_the_masks_is_one():
    maps, masks = world()
    masks["01"][0, 2:4, 2:4] = 1
    assert pixel_auroc(maps, masks) == 0.5
    assert pixel_auroc({"01": masks["01"].astype(np.float32)}, masks) == 1
    assert pixel_auroc({"01": 1 - masks["01"].astype(np.float32)}, masks) == 0


def test_minus_zero_is_zero():
    maps, masks = world()
    masks["01"][0, 0, 0] = 1
    maps["01"][0, :8] = -0.0
    assert pixel_auroc(maps, masks) == 0.5


# ------------------------------------------------------------------------------------ smoothing


def test_smooth_is_the_mean_of_a_box_with_the_edge_repeated():
    maps = np.zeros((2, 5, 6), np.float16)
    maps[0, 0, 0] = 9
    # Beyond the corner the 9 is repeated, so the box of (0, 0) holds it 2 x 2 times: 4 * 9 / 9.
    # That of (0, 1) holds it twice, that of (1, 1) once. The second frame sees nothing of it.
    expected = np.zeros((2, 5, 6))
    expected[0, :2, :2] = [[4, 2], [2, 1]]
    assert np.array_equal(smooth(maps, 3), expected)
    assert smooth(maps, 3).dtype == np.float32


def test_an_even_box_reaches_up_and_left():
    maps = np.zeros((1, 5, 5), np.float32)
    maps[0, 1, 2] = 4
    expected = np.zeros((1, 5, 5))
    expected[0, 1:3, 2:4] = 1
    assert np.array_equal(smooth(maps, 2), expected)


def test_a_lone_pixel_is_smoothed_away():
    # Frame 0: a true region of 3 x 3 at 0.5. Frame 1: one pixel at 1.
    # Box of 1: at 1 the pixel is false (rate 1/2, none found), at 0.5 the region is found too:
    # (0, 0), (0.5, 0), (0.5, 1), (1, 1), area 0.5.
    # Box of 3: the pixel becomes 1/9; the region's middle stays 0.5, IoU 1/9, found at rate 0.
    maps, masks = world(frames=2)
    masks["01"][0, 3:6, 3:6] = 1
    maps["01"][0, 3:6, 3:6] = 0.5
    maps["01"][1, 8, 8] = 1
    assert region_and_track(maps, masks, 1).rbdc == 0.5
    assert region_and_track(maps, masks, 3).rbdc == 1


# ------------------------------------------------------------------------------------ the curve


@pytest.mark.parametrize(
    "false, detected, area",
    [
        ([0.0], [0.5], 0.5),  # flat from 0 on
        ([0.25], [0.5], 0.4375),  # 0.25 * 0.5 / 2 + 0.75 * 0.5
        ([2.0], [1.0], 0.25),  # cut half-way up: 1 * 0.5 / 2
        # At 1 the line from (0.5, 0.2) to (2, 0.8) has reached 0.4: 0.5 * 0.2 / 2 + 0.5 * 0.3
        ([0.5, 2.0], [0.2, 0.8], 0.2),
        ([0.5, 1.0], [0.6, 0.2], 0.45),  # the 0.6 is kept: 0.5 * 0.6 / 2 + 0.5 * 0.6
        ([1.0, 0.0], [1.0, 0.5], 0.75),  # in any order
        ([0.5, 0.5], [0.8, 0.4], 0.5),  # to 0.4, then straight up: 0.5 * 0.4 / 2 + 0.5 * 0.8
    ],
)
def test_area_to_one(false, detected, area):
    assert area_to_one(np.array(false), np.array(detected)) == pytest.approx(area)


def test_sixty_thresholds_are_as_good_as_six_hundred():
    maps, masks = noisy_world()
    few, many = (region_and_track(maps, masks, 3, levels=n) for n in (60, 600))
    assert 0.1 < many.rbdc < 0.9
    assert few.rbdc == pytest.approx(many.rbdc, abs=0.02)
    assert few.tbdc == pytest.approx(many.tbdc, abs=0.02)


# -------------------------------------------------------------------------------------- regions


def test_the_masks_as_maps_find_everything():
    maps, masks = world(frames=3)
    masks["01"][1:, 2:4, 2:4] = 1
    maps["01"][:] = masks["01"]
    assert region_and_track(maps, masks, 1)[:4] == (1, 1, 2, 1)


def test_a_constant_map_finds_nothing():
    maps, masks = world(frames=3)
    masks["01"][1, 2:4, 2:4] = 1
    assert region_and_track(maps, masks, 1)[:2] == (0, 0)


def test_a_threshold_takes_in_what_equals_it():
    # The only threshold is the constant: all 256 pixels are one region, IoU 64 / 256, none false.
    maps, masks = world()
    masks["01"][0, :8, :8] = 1
    maps["01"][:] = 0.5
    assert rbdc(maps, masks, levels=2) == 1


def test_a_region_below_every_maximum_is_found_too():
    # As a float16, 0.3 becomes 0.30005; the threshold that comes of it must not miss the region.
    maps, masks = world()
    masks["01"][0, 2:4, 2:4] = masks["01"][0, 8:10, 8:12] = 1
    maps["01"] = maps["01"].astype(np.float32)
    maps["01"][0, 2:4, 2:4] = 1
    maps["01"][0, 8:10, 8:12] = 0.3
    assert rbdc(maps, masks) == 1


def test_one_region_of_two_is_half():
    maps, masks = world()
    masks["01"][0, 2:4, 2:4] = masks["01"][0, 8:10, 8:10] = 1
    maps["01"][0, 2:4, 2:4] = 1
    assert region_and_track(maps, masks, 1)[:4] == (0.5, 0.5, 2, 2)


@pytest.mark.parametrize("clips, frames", [(("01",), 4), (("01", "02"), 2)])
def test_a_false_region_in_one_frame_of_four_is_a_rate_of_a_quarter(clips, frames):
    # At 1: the false region alone, (0.25, 0). At 0.5: one of two true regions too, (0.25, 0.5).
    # Area: 0 up to 0.25, then 0.75 * 0.5.
    maps, masks = world(frames, clips)
    masks["01"][0, 2:4, 2:4] = masks["01"][0, 8:10, 8:10] = 1
    maps["01"][0, 2:4, 2:4] = 0.5
    maps[clips[-1]][1, 5:9, 5:9] = 1
    assert rbdc(maps, masks) == pytest.approx(0.375)


@pytest.mark.parametrize(
    "inside, outside, true, expected",
    [
        (1, 0, 10, 1),  # 1 / 10, just beta
        (1, 0, 11, 0),  # 1 / 11
        (1, 1, 9, 1),  # 1 / (2 + 9 - 1) = 1 / 10: the union counts, not the true region alone
        (1, 2, 9, 0),  # 1 / (3 + 9 - 1) = 1 / 11
        (1, 9, 1, 1),  # 1 / (10 + 1 - 1) = 1 / 10: too large a region is no better
        (1, 10, 1, 0),  # 1 / (11 + 1 - 1) = 1 / 11
    ],
)
def test_a_region_is_found_from_beta_on(inside, outside, true, expected):
    maps, masks = world()
    masks["01"][0, 3, :true] = 1
    maps["01"][0, 3, true - inside : true + outside] = 1
    assert rbdc(maps, masks) == expected


def test_a_region_that_overlaps_too_little_is_false():
    # At 1: a pixel of the true region of 11, IoU 1/11: false, (1, 0). At 0.5: the other true region
    # as well, (1, 0.5). Nothing below a rate of 1: area 0.
    maps, masks = world()
    masks["01"][0, 3, :11] = masks["01"][0, 8:10, 8:10] = 1
    maps["01"][0, 3, 0] = 1
    maps["01"][0, 8:10, 8:10] = 0.5
    assert rbdc(maps, masks) == 0
    assert rbdc(maps, masks, beta=1 / 11) == 1


def test_regions_merged_or_split_by_the_map():
    # Two true regions of 2 x 2 under one detected region of 2 x 6: each IoU is 4 / 12.
    maps, masks = world()
    masks["01"][0, 2:4, 2:4] = masks["01"][0, 2:4, 6:8] = 1
    maps["01"][0, 2:4, 2:8] = 1
    assert rbdc(maps, masks) == 1
    assert rbdc(maps, masks, beta=0.5) == 0
    # The other way round: both parts of one true region are right, neither is false.
    swapped = {n: m.astype(np.uint8) for n, m in maps.items()}
    assert region_and_track(masks, swapped, 1).rbdc == 1
    assert region_and_track(masks, swapped, 1, beta=0.5).rbdc == 0


def test_pixels_that_touch_at_a_corner_are_one_region():
    maps, masks = world()
    masks["01"][0, 2, 2] = masks["01"][0, 3, 3] = 1
    maps["01"][:] = masks["01"]
    result = region_and_track(maps, masks, 1, beta=1)
    assert (result.regions, result.rbdc) == (1, 1)


def test_regions_do_not_connect_across_frames():
    # The same false region in frames 0 and 1 counts twice: rate 2/4, (0.5, 0) at 1. At 0.5 the
    # true regions of frames 2 and 3 are found, (0.5, 1). Area 0.5; joined it would be 0.75.
    maps, masks = world(frames=4)
    masks["01"][2:, 2:4, 2:4] = 1
    maps["01"][2:, 2:4, 2:4] = 0.5
    maps["01"][:2, 2:4, 2:4] = 1
    assert region_and_track(maps, masks, 1)[:4] == (0.5, 0.5, 2, 1)


# --------------------------------------------------------------------------------------- tracks


def test_one_region_of_ten_finds_a_track_at_alpha_a_tenth():
    maps, masks = world(frames=10)
    masks["01"][:, 2:4, 2:4] = 1
    maps["01"][3, 2:4, 2:4] = 1
    assert region_and_track(maps, masks, 1, alpha=0.1)[:4] == (0.1, 1, 10, 1)
    assert region_and_track(maps, masks, 1, alpha=0.2)[:4] == (0.1, 0, 10, 1)


@pytest.mark.parametrize("whole, parts", [(0, 1), (1, 0)], ids=["splits", "merges"])
def test_the_largest_overlap_continues_a_track(whole, parts):
    # A region of 2 x 6 against parts of 2 x 1 and 2 x 4: the larger part is in its track, the
    # smaller a track of its own. Only the smaller is found: all of one track, nothing of the other.
    maps, masks = world(frames=2)
    masks["01"][whole, 2:4, 2:8] = 1
    masks["01"][parts, 2:4, 2:3] = masks["01"][parts, 2:4, 4:8] = 1
    maps["01"][parts, 2:4, 2:3] = 1
    result = region_and_track(maps, masks, 1, alpha=1)
    assert result[:4] == (pytest.approx(1 / 3), 0.5, 3, 2)


def test_the_part_left_over_takes_what_is_left():
    # Before: rows 2-3 of columns 2-6 (a) and 8-9 (b). After: columns 2-3 (c) and 5-9 (d).
    # Overlaps in columns: a-c 2, a-d 2, b-d 2. Equal ones go by number, a-c and then b-d.
    maps, masks = world(frames=2)
    masks["01"][0, 2:4, 2:7] = masks["01"][0, 2:4, 8:10] = 1
    masks["01"][1, 2:4, 2:4] = masks["01"][1, 2:4, 5:10] = 1
    maps["01"][1, 2:4, 2:4] = maps["01"][0, 2:4, 2:7] = 1
    result = region_and_track(maps, masks, 1, alpha=1)
    assert (result.tbdc, result.tracks) == (0.5, 2)


def test_a_gap_and_a_new_clip_begin_a_new_track():
    maps, masks = world(frames=3, clips=("01", "02"))
    masks["01"][[0, 2], 2:4, 2:4] = 1
    masks["02"][0, 2:4, 2:4] = 1
    maps["01"][2, 2:4, 2:4] = 1
    assert tbdc(maps, masks) == pytest.approx(1 / 3)
    assert region_and_track(maps, masks, 1).tracks == 3


def test_masks_in_another_order_than_maps_keep_their_tracks():
    # Clip 01 has a track of one region, found; 02 one of three, none found.
    maps, masks = world(frames=3, clips=("01", "02"))
    masks["01"][0, 2:4, 2:4] = masks["02"][:, 2:4, 2:4] = 1
    maps["01"][0, 2:4, 2:4] = 1
    backwards = dict(reversed(masks.items()))
    for order in (masks, backwards):
        assert region_and_track(maps, order, 1, alpha=0.5)[:4] == (0.25, 0.5, 4, 2)


# --------------------------------------------------------------------------- reading and errors


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunks_change_nothing(chunk, monkeypatch):
    maps, masks = noisy_world()
    whole = region_and_track(maps, masks, 3), pixel_auroc(maps, masks)
    assert whole[0].tracks == 2 and whole[0].regions == 23 + 17
    monkeypatch.setattr(localisation, "CHUNK", chunk)
    assert (region_and_track(maps, masks, 3), pixel_auroc(maps, masks)) == whole


def test_the_order_of_clips_and_where_they_lie_change_nothing(tmp_path):
    maps, masks = noisy_world()
    on_disk = {}
    for name in reversed(maps):
        np.save(tmp_path / f"{name}.npy", maps[name])
        on_disk[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    assert region_and_track(on_disk, masks, 3) == region_and_track(maps, masks, 3)
    assert pixel_auroc(on_disk, masks) == pixel_auroc(maps, masks)


def both(maps, masks):
    """The two criteria, each to be called with arguments that are wrong."""
    return [lambda: pixel_auroc(maps, masks), lambda: region_and_track(maps, masks, 3)]


def test_what_cannot_be_judged_is_reported():
    maps, masks = noisy_world()
    faults = [
        ({}, {}, "there are no maps"),
        (maps, {"00": masks["00"]}, "clip '01' has maps or masks but not both"),
        (maps, {**masks, "02": masks["02"][1:]}, r"clip '02' .*\(17, 32, 32\).*\(16, 32, 32\)"),
        ({"00": maps["00"][0]}, {"00": masks["00"][0]}, "expected N x H x W"),
        ({**maps, "01": -maps["01"]}, masks, "clip '01' has a map value that is not in 0 to 65504"),
        ({**maps, "01": maps["01"] * np.nan}, masks, "clip '01' has a map value"),
        ({**maps, "01": np.full((5, 32, 32), 1e5)}, masks, "clip '01' has a map value"),
        (maps, {**masks, "02": masks["02"] * 255}, "clip '02' has a mask value other than 0"),
    ]
    for wrong_maps, wrong_masks, message in faults:
        for call in both(wrong_maps, wrong_masks):
            with pytest.raises(DDLError, match=message):
                call()


def test_masks_of_one_kind_are_reported():
    maps, masks = noisy_world()
    none = {name: np.zeros_like(mask) for name, mask in masks.items()}
    with pytest.raises(DDLError, match="every pixel is normal"):
        pixel_auroc(maps, none)
    with pytest.raises(DDLError, match="every pixel is abnormal"):
        pixel_auroc(maps, {name: mask + 1 for name, mask in none.items()})
    with pytest.raises(DDLError, match="no mask pixel is set"):
        region_and_track(maps, none, 3)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"patch": 0}, "patch is 0; expected 1 to 32"),
        ({"patch": 33}, "patch is 33; expected 1 to 32"),
        ({"alpha": 0}, "alpha is 0; expected a share above 0"),
        ({"beta": 1.5}, "beta is 1.5; expected a share above 0"),
        ({"levels": 1}, "levels is 1; expected at least 2"),
    ],
)
def test_settings_out_of_range_are_reported(settings, message):
    with pytest.raises(DDLError, match=message):
        region_and_track(*noisy_world(), **{"patch": 3, **settings})
