"""Convolutions in eights of channels and of joined kernels, and pixels spread: the plain ones."""

import copy
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F

from ddllib import Conv3DSkipUNet
from ddllib.fast import accelerate as quick
from ddllib.fast.accelerate import accelerate
from ddllib.fast.convolution import by_strides, in_eights, joined, shuffled


@pytest.mark.parametrize(
    "inputs, outputs, kernel, stride", [(3, 12, 3, 1), (12, 24, 5, 1), (9, 3, 1, 1), (16, 8, 2, 2)]
)
@pytest.mark.parametrize("biased", [True, False])
def test_channels_filled_up_change_neither_output_nor_gradients(
    inputs, outputs, kernel, stride, biased
):
    torch.manual_seed(0)
    x = torch.randn(2, inputs, 8, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(outputs, inputs, kernel, kernel, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(outputs, dtype=torch.float64, requires_grad=True) if biased else None
    arguments = x, weight, bias, stride, (kernel - 1) // 2
    ours, plain = in_eights(*arguments), F.conv2d(*arguments)
    torch.testing.assert_close(ours, plain)
    leaves = [leaf for leaf in (x, weight, bias) if leaf is not None]
    dy = torch.randn_like(plain)
    for one, other in zip(
        torch.autograd.grad(ours, leaves, dy), torch.autograd.grad(plain, leaves, dy), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_what_is_convolved_has_eights_of_channels():
    with patch.object(F, "conv2d", side_effect=F.conv2d) as spy:
        in_eights(torch.rand(1, 3, 4, 4), torch.rand(12, 3, 3, 3), torch.rand(12), 1, 1)
    x, weight, bias = spy.call_args.args[:3]
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert (x.shape[1], weight.shape[:2], len(bias)) == (8, (16, 8), 16)


def test_joined_kernels_give_the_outputs_of_each():
    torch.manual_seed(0)
    x, weights = torch.rand(2, 4, 9, 9), [torch.rand(6, 4, k, k) for k in (3, 7, 5)]
    apart = torch.cat([F.conv2d(x, w, padding=w.shape[-1] // 2) for w in weights], dim=1)
    torch.testing.assert_close(F.conv2d(x, joined(weights), padding=3), apart)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("spread", [shuffled, by_strides])
def test_pixels_are_spread_and_channels_stay_last(count, spread):
    x = torch.rand(count, 24, 6, 10).contiguous(memory_format=torch.channels_last)
    assert torch.equal(spread(x), F.pixel_shuffle(x, 2))
    assert spread(x).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("preset", ["released", "paper"])
@pytest.mark.parametrize("training", [True, False])
def test_a_model_in_eights_is_the_same_model(preset, training):
    torch.manual_seed(0)
    model = accelerate(Conv3DSkipUNet(preset, 16)).train(training).double()
    x = torch.rand(2, 3, 3, 32, 32, dtype=torch.float64)
    with patch.object(quick, "conv2d", _as_on_a_gpu):
        ours = _gradients(copy.deepcopy(model), x)
    for one, other in zip(ours, _gradients(model, x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def _gradients(model, x):
    """What a model makes of x, its gradients and its running statistics."""
    y = model(x)
    y.square().sum().backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return [y, *grads, *(b for b in model.buffers() if b.is_floating_point())]


def _as_on_a_gpu(x, weight, bias=None, stride=1, padding=0):
    return in_eights(x, weight, bias, stride, padding)
