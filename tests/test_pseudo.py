"""Properties of the pseudo-anomaly creator (equations 1 and 2)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddllib import PseudoAnomalyCreator


def window(seed=0):
    rng = torch.Generator().manual_seed(seed)
    x, noise = (torch.rand(2, 3, 3, 8, 8, generator=rng) for _ in range(2))
    mask = (torch.rand(2, 1, 3, 8, 8, generator=rng) > 0.5).float()
    return x, mask, noise


def creator_at(value):
    creator = PseudoAnomalyCreator()
    torch.nn.init.constant_(creator.l, value)
    return creator


def test_starts_at_half_and_learns_one_number():
    creator = PseudoAnomalyCreator()
    assert float(creator.anomaly_weight.detach()) == 0.5
    assert [p.numel() for p in creator.parameters()] == [1]
    assert not PseudoAnomalyCreator(learnable=False).l.requires_grad


@given(value=st.floats(-20, 20), seed=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_only_the_masked_object_changes_and_the_range_holds(value, seed):
    x, mask, noise = window(seed)
    x_a = creator_at(value)(x, mask, noise).detach()
    outside = (mask == 0).expand_as(x)
    assert torch.equal(x_a[outside], x[outside])
    assert x_a.min() >= 0 and x_a.max() <= 1 + 1e-6


def test_equations_1_and_2():
    x, mask, noise = window()
    sigma = torch.sigmoid(torch.tensor(0.7))
    blend = (1 - sigma) * x + sigma * noise
    expected = (1 - mask) * x + mask * blend
    assert torch.allclose(creator_at(0.7)(x, mask, noise), expected, atol=1e-6)


@pytest.mark.parametrize("value, index", [(-40, 0), (40, 1)])
def test_the_limits_are_the_window_and_the_noise(value, index):
    x, _, noise = window()
    x_a = creator_at(float(value))(x, torch.ones(2, 1, 3, 8, 8), noise)
    assert torch.allclose(x_a, (x, noise)[index], atol=1e-6)


@given(value=st.floats(-20, 20), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_a_zero_mask_changes_nothing_and_moves_nothing(value, seed):
    x, mask, noise = window(seed)
    creator = creator_at(value)
    x_a = creator(x, torch.zeros_like(mask), noise)
    assert torch.equal(x_a, x)
    x_a.sum().backward()
    assert float(creator.l.grad) == 0


def test_noise_is_drawn_per_pixel_frame_and_channel():
    x = torch.zeros(1, 3, 3, 16, 16)
    x_a = creator_at(40.0)(x, torch.ones(1, 1, 3, 16, 16)).detach()
    assert x_a.unique().numel() > 0.99 * x_a.numel()


@given(value=st.floats(-8, 8), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_sigma_has_the_gradient_of_the_blend(value, seed):
    x, mask, noise = window(seed)
    creator = creator_at(value)
    creator(x, mask, noise).sum().backward()
    sigma = torch.sigmoid(torch.tensor(value, dtype=torch.float64))
    expected = (mask * (noise - x)).double().sum() * sigma * (1 - sigma)
    # The sum may all but cancel; its terms are of size 1.
    assert float(creator.l.grad) == pytest.approx(float(expected), rel=1e-3, abs=1e-4)
