"""DDL's learnt weight on other kinds: a blend of the window with what another kind makes of it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ddllib import fit
from ddllib.pseudo_anomalies import KINDS
from ddllib.pseudo_anomalies.base import TorchRandom
from ddllib.settings import Settings
from ddllib.windows import Sample, paint_boxes

SETTINGS = Settings()
NAMES = {"blended lntra patch": "lntra patch", "blended inpainted object": "inpainted object"}


def random(seed=0):
    return TorchRandom(torch.Generator().manual_seed(seed))


@pytest.fixture
def sample():
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((2, 3, 3, 32, 32), generator=generator)
    boxes = torch.tensor([0.25, 0.25, 0.75, 0.75]).expand(2, 3, 4)
    clips = [np.full((9, 1, 32, 32), 200, np.uint8)] * 2
    beside = {"inpainted": torch.randint(0, 256, x.shape, generator=generator, dtype=torch.uint8)}
    return Sample(x, paint_boxes(boxes, 32, 32), boxes, clips, [0, 4], clips, beside)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-1.0, 0.0, 2.0])
def test_it_is_equation_1_with_another_kind_in_place_of_noise(name, value, sample):
    blended, whole = KINDS[name].from_settings(SETTINGS), KINDS[NAMES[name]]()
    blended.l.data.fill_(value)
    x, mask = blended.alter(sample, random())
    other, other_mask = whole.alter(sample, random())
    sigma = 1 / (1 + np.exp(-value))
    assert torch.allclose(x, (1 - sigma) * sample.x + sigma * other, atol=1e-6)
    assert torch.equal(mask, other_mask) and blended.anomaly_weight.item() == pytest.approx(sigma)
    assert blended.needs_object == whole.needs_object


@pytest.mark.parametrize("name", NAMES)
def test_its_weight_starts_at_half_and_is_learnt_unless_it_is_fixed(name, sample):
    for mode, learns in (("ddl", True), ("sdl", False)):
        blended = KINDS[name].from_settings(replace(SETTINGS, mode=mode))
        x, _ = blended.alter(sample, random())
        assert blended.anomaly_weight.item() == 0.5 and x.requires_grad == learns
    blended = KINDS[name].from_settings(SETTINGS)
    (blended.alter(sample, random()).x - sample.x).abs().sum().backward()
    assert blended.l.grad > 0  # a larger weight is further from the window


def test_a_run_learns_the_weight(small_settings, small_data):
    run = fit(small_settings(pseudo_anomaly="blended lntra patch"), small_data, progress=False)
    sigma = run.history["sigma"]
    assert len(set(sigma)) > 1 and run.pseudo_anomaly.anomaly_weight != 0.5
