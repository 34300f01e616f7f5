"""Batch norm over several pixels' channels: that of PyTorch, with its gradients and statistics."""

import copy

import pytest
import torch
from torch import nn

from ddllib import norms


def maps(n, c, h, w, dtype=torch.float64):
    torch.manual_seed(n + c + h + w)
    x = torch.randn(n, c, h, w, dtype=torch.float64) * torch.rand(c, 1, 1)
    x = 3 * x + torch.randn(c, 1, 1)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def both(channels, dtype=torch.float64):
    ours = norms.BatchNorm2d(channels, dtype=dtype)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.normal_()
    theirs = nn.BatchNorm2d(channels, dtype=dtype)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def run(norm, x, dy):
    x = x.detach().clone(memory_format=torch.channels_last).requires_grad_()
    y = norm(x)
    (torch.relu_(y) * dy).sum().backward()  # in place, as in the model
    return y.detach(), x.grad, norm.weight.grad, norm.bias.grad


@pytest.mark.parametrize("shape", [(2, 8, 4, 4), (3, 24, 8, 4), (2, 36, 8, 8), (1, 1, 16, 4)])
def test_equals_the_norm_of_pytorch(shape):
    x, dy = maps(*shape), maps(*shape).flip(0)
    assert norms.pixels_together(x) > 1
    ours, theirs = both(shape[1])
    for _ in range(2):
        for mine, its in zip(run(ours, x, dy), run(theirs, x, dy), strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-9)
        x = 2 * x - 1
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 8, 4, 4), (2, 16, 3, 3)])  # packed, and not
def test_what_the_mean_takes_off_need_not_be_added(shape):
    x, offset = maps(*shape), torch.linspace(-2, 2, shape[1], dtype=torch.float64)
    ours, theirs = both(shape[1])
    torch.testing.assert_close(ours(x, offset), theirs(x + offset[:, None, None]))
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x, offset), theirs(x + offset[:, None, None]))


def test_gradients_are_those_of_the_function():
    norm, x = both(3)[0].train(), maps(2, 3, 4, 8).requires_grad_()
    assert norms.pixels_together(x) > 1
    torch.autograd.gradcheck(copy.deepcopy(norm), (x,))


def test_in_bfloat16_as_close_as_its_digits_allow():
    x, dy = maps(4, 24, 16, 16, torch.bfloat16), maps(4, 24, 16, 16, torch.bfloat16).flip(0)
    ours, theirs = both(24, torch.float32)
    exact = copy.deepcopy(theirs).double()
    truth = run(exact, x.double(), dy.double())
    mine, its = run(ours, x, dy), run(theirs, x, dy)
    for own, usual, true in zip(mine, its, truth, strict=True):
        scale = true.abs().max()
        error = ((own - true).abs().max() / scale).item()
        assert error < max(2 * ((usual - true).abs().max() / scale).item(), 2**-7)


@pytest.mark.parametrize("offset", [0, 1, 10, 100])
def test_gradients_of_a_channel_sum_to_nothing_also_in_bfloat16(offset):
    """However large the mean of what comes from above, which the norm takes away."""
    x = maps(4, 24, 32, 32, torch.bfloat16)
    dy = (torch.randn(4, 24, 32, 32) + offset * torch.randn(24, 1, 1)).bfloat16()
    dy = dy.contiguous(memory_format=torch.channels_last)

    def gradient(norm, x, dy):
        x = x.detach().clone(memory_format=torch.channels_last).requires_grad_()
        norm(x).backward(dy)
        return x.grad.double()

    ours, _ = both(24, torch.float32)
    truth = gradient(copy.deepcopy(ours).double(), x.double(), dy.double())
    error = gradient(ours, x, dy) - truth
    scale = truth.square().mean().sqrt()
    assert error.square().mean().sqrt() < 0.004 * scale
    assert error.mean((0, 2, 3)).abs().max() < 0.002 * scale


@pytest.mark.parametrize(
    "options", [{"momentum": None}, {"affine": False}, {"track_running_stats": False}], ids=str
)
def test_what_has_no_weights_or_statistics_is_left_to_pytorch(options):
    x = maps(2, 24, 8, 8, torch.float32)
    ours, theirs = norms.BatchNorm2d(24, **options), nn.BatchNorm2d(24, **options)
    assert torch.equal(ours(x), theirs(x))


@pytest.mark.parametrize(
    "x", [maps(2, 16, 8, 8), maps(1, 24, 1, 1), maps(2, 24, 8, 8).contiguous()]
)
def test_pytorch_does_what_cannot_be_packed(x, monkeypatch):
    monkeypatch.setattr(norms._Packed, "apply", lambda *_: pytest.fail("packed"))
    assert norms.pixels_together(x) == 1
    norms.BatchNorm2d(x.shape[1], dtype=x.dtype).eval()(x)
    if x.numel() > x.shape[1]:
        norms.BatchNorm2d(x.shape[1], dtype=x.dtype)(x)


def test_evaluation_uses_the_statistics(monkeypatch):
    monkeypatch.setattr(norms._Packed, "apply", lambda *_: pytest.fail("packed"))
    ours, theirs = both(24)
    x = maps(2, 24, 8, 8)
    assert torch.equal(ours.eval()(x), theirs.eval()(x))
