"""LNTRA's pseudo-anomalies: a patch that wanders, frames left out."""

import numpy as np
import pytest
import torch

from ddllib.pseudo_anomalies import KINDS
from ddllib.pseudo_anomalies.base import TorchRandom
from ddllib.pseudo_anomalies.lntra import FULL_SIDE, LARGEST, RAMP, SMALLEST, STEP, STRIDES
from ddllib.windows import Sample, as_frames

FRAMES, SIDE, LENGTH = 16, 64, 60


def random(seed=0):
    return TorchRandom(torch.Generator().manual_seed(seed))


@pytest.fixture
def sample():
    """Three windows of a clip whose frames say their number, and a donor that is white."""
    clip = np.tile(np.arange(LENGTH, dtype=np.uint8)[:, None, None, None], (1, 1, SIDE, SIDE))
    white = np.full((5, 1, SIDE, SIDE), 255, np.uint8)
    starts = [0, 20, LENGTH - FRAMES]
    x = torch.zeros(3, 3, FRAMES, SIDE, SIDE)
    for k, start in enumerate(starts):
        x[k] = as_frames(clip[start : start + FRAMES], x).transpose(0, 1)
    mask, boxes = torch.zeros(3, 1, FRAMES, SIDE, SIDE), torch.zeros(3, FRAMES, 4)
    return Sample(x, mask, boxes, [clip] * 3, starts, [white])


def altered(name, sample, seed=0):
    return KINDS[name]().alter(sample, random(seed))


@pytest.mark.parametrize("seed", range(5))
def test_the_patch_shows_the_intruder_and_changes_nothing_else(sample, seed):
    x, mask = altered("lntra patch", sample, seed)
    assert x.shape == sample.x.shape and x.min() >= 0 and x.max() <= 1
    outside = (mask == 0).expand_as(x)
    assert torch.equal(x[outside], sample.x[outside])
    assert torch.isclose(x, torch.ones(())).any(dim=1).flatten(2).any(dim=2).all()  # in each frame
    assert 0 < mask.mean() < 0.6


@pytest.mark.parametrize("seed", range(5))
def test_the_patch_keeps_its_size_and_moves_a_short_way_a_frame(sample, seed):
    weights = KINDS["lntra patch"]()._edge_weights(FRAMES, FULL_SIDE, random(seed))
    places = torch.arange(FULL_SIDE)
    inside = weights == 1
    left = torch.where(inside, places, FULL_SIDE).amin(dim=1)
    right = torch.where(inside, places, -1).amax(dim=1)
    whole = (left > 0) & (right < FULL_SIDE - 1)
    sides = (right - left + 1)[whole]
    assert len(sides) == 0 or sides.max() - sides.min() <= 1
    assert ((right - left + 1) <= LARGEST * FULL_SIDE + 1).all()
    both = whole[1:] & whole[:-1]
    assert (torch.diff(left).abs()[both] <= STEP + 1).all()
    if len(sides):
        ramp = ((weights > 0) & (weights < 1)).sum(dim=1)[whole]
        assert sides.min() >= SMALLEST - 1
        assert (ramp <= 2 * (RAMP * sides / 2 + 1)).all()


def test_the_patch_differs_between_windows_and_is_the_same_for_a_seed(sample):
    first, again = (altered("lntra patch", sample).mask for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first[0], first[1])


def test_skipping_takes_every_nth_frame_from_the_start_of_the_window(sample):
    steps = set()
    for seed in range(30):
        x, mask = altered("lntra skip", sample, seed)
        numbers = (x[:, 0, :, 0, 0] * 255).round().int()
        strides = numbers[:, 1] - numbers[:, 0]
        assert numbers[:, 0].tolist() == sample.starts
        assert (torch.diff(numbers, dim=1) == strides[:, None]).all()
        assert strides[2] == 1 and not mask[2].any()  # no frame is left beyond this window
        assert mask[:2].all()
        steps.update(strides[:2].tolist())
        assert numbers.max() < LENGTH
    assert {2, 3} <= steps <= set(STRIDES)
