"""Batch norm and rectifier in one: those of PyTorch, with their gradients and statistics."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddllib.fast import batch_norm

ALONE, HEADS = [(24,), (8,), (36,), (1,), (192,)], [(16, 16, 16), (32, 48), (12, 12, 12)]


def maps(n, c, h, w, dtype=torch.float32):
    torch.manual_seed(n + c + h + w)
    x = torch.randn(n, c, h, w, dtype=torch.float64) * (0.2 + torch.rand(c, 1, 1))
    x = 3 * x + torch.randn(c, 1, 1)
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


def both(channels, dtype=torch.float32):
    """Ours, and PyTorch's in double precision."""
    ours = batch_norm.BatchNorm2d(channels, dtype=dtype)
    with torch.no_grad():
        ours.weight.uniform_(0.5, 2)
        ours.bias.normal_()
    theirs = nn.BatchNorm2d(channels, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def run(rectified, norm, parts, dy):
    """Output and gradients of a norm with its rectifier."""
    parts = [part.detach().requires_grad_() for part in parts]
    norm.zero_grad()
    y = rectified(norm, parts)
    y.backward(dy.to(y.dtype))
    gradient = torch.cat([part.grad for part in parts], dim=1)
    return [v.detach().double() for v in (y, gradient, norm.weight.grad, norm.bias.grad)]


def ours_of(norm, parts):
    return norm.rectified(parts)


def plain(norm, parts):
    return F.relu(norm(torch.cat(parts, dim=1)))


def error(mine, true):
    return ((mine - true).abs().max() / true.abs().max()).item()


@pytest.fixture
def swept(monkeypatch):
    """Counts the maps that went through our kernels."""
    counts, apply = [], batch_norm._Rectified.apply
    monkeypatch.setattr(
        batch_norm._Rectified,
        "apply",
        lambda *args: (counts.append(len(args) - 4), apply(*args))[1],
    )
    return counts


@pytest.mark.parametrize("widths", [*ALONE, *HEADS], ids=str)
def test_equals_norm_and_rectifier_of_pytorch(widths, swept):
    parts = [maps(3, width, 8, 4) for width in widths]
    dy = maps(3, sum(widths), 8, 4).flip(0)
    ours, theirs = both(sum(widths))
    for _ in range(2):
        mine = run(ours_of, ours, parts, dy)
        true = run(plain, theirs, [part.double() for part in parts], dy)
        assert max(map(error, mine, true)) < 1e-5
        parts = [2 * part - 1 for part in parts]
    assert swept == 2 * [1 if widths[0] == 12 else len(widths)]
    for name, value in theirs.state_dict().items():
        mine = ours.state_dict()[name].double()
        torch.testing.assert_close(mine, value.double(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("widths", [(24,), (16, 16, 16)], ids=str)
def test_in_bfloat16_as_close_as_its_digits_allow(widths, swept):
    parts = [maps(4, width, 16, 16, torch.bfloat16) for width in widths]
    dy = maps(4, sum(widths), 16, 16, torch.bfloat16).flip(0)
    ours, theirs = both(sum(widths))
    mine = run(ours_of, ours, parts, dy)
    true = run(plain, theirs, [part.double() for part in parts], dy)
    y, gradient, weight, bias = map(error, mine, true)
    assert max(y, gradient) < 2**-8 and max(weight, bias) < 1e-5 and swept


@pytest.mark.parametrize("widths", [(24,), (16, 16, 16)], ids=str)
def test_maps_are_parted_among_threads(monkeypatch, widths, swept):
    parts = [maps(3, width, 16, 16) for width in widths]
    dy = maps(3, sum(widths), 16, 16).flip(0)
    norm, _ = both(sum(widths))
    whole = run(ours_of, copy.deepcopy(norm), parts, dy)
    jobs, submit = [], batch_norm._threads().submit
    monkeypatch.setattr(batch_norm, "ENOUGH", 2**10)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(
        batch_norm._threads(), "submit", lambda *args: (jobs.append(args), submit(*args))[1]
    )
    for mine, one in zip(run(ours_of, norm, parts, dy), whole, strict=True):
        torch.testing.assert_close(mine, one, rtol=1e-5, atol=1e-5)
    assert len(jobs) == 4 * 2 * len(widths)


@pytest.mark.parametrize("dtype, near", [(torch.float32, 1e-5), (torch.bfloat16, 2**-8)], ids=str)
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("widths", [(24,), (16, 16, 16)], ids=str)
def test_pieces_kept_apart_are_those_that_come_in_turn(
    widths, fast, dtype, near, swept, monkeypatch
):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(batch_norm, "ENOUGH", 2**8)
    if not fast:
        monkeypatch.setattr(batch_norm, "_kernels", lambda: None)
    alone = [[(k * maps(2 + k, w, 8, 6)[:2] + k).to(dtype) for w in widths] for k in (1, 2, 3)]
    batches = [torch.cat(same) for same in zip(*alone, strict=True)]
    dy, offset = maps(6, sum(widths), 8, 6).to(dtype), torch.linspace(-2, 2, sum(widths))
    ours, theirs = both(sum(widths))
    with batch_norm.statistics_apart(3):
        mine = run(lambda norm, parts: norm.rectified(parts, offset), ours, batches, dy)
    assert swept == ([len(widths)] if fast else [])
    expected = [
        run(plain, theirs, [part.double() for part in parts], chunk)
        for parts, chunk in zip(alone, dy.chunk(3), strict=True)
    ]
    y, gradient, weight, bias = zip(*expected, strict=True)
    expected = torch.cat(y), torch.cat(gradient), sum(weight), sum(bias)
    assert max(map(error, mine, expected)) < near
    state = theirs.state_dict()
    state["running_mean"] += (1 - 0.9**3) * offset.double()
    for name, value in state.items():
        own_value = ours.state_dict()[name].double()
        torch.testing.assert_close(own_value, value.double(), rtol=1e-5, atol=1e-5)


def test_a_piece_of_one_number_has_no_deviation_and_pieces_are_of_one_size():
    norm, _ = both(8)
    with batch_norm.statistics_apart(2), pytest.raises(ValueError, match="more than 1 value"):
        norm.rectified([maps(2, 8, 1, 1)])
    with (
        batch_norm.statistics_apart(2),
        pytest.raises(ValueError, match="a batch of 3 is not of 2"),
    ):
        norm.rectified([maps(3, 8, 4, 4)])


def test_pieces_are_kept_apart_within_the_block_alone():
    norm, _ = both(8)
    x = torch.cat([maps(1, 8, 4, 4), 9 + maps(1, 8, 4, 4)])
    whole = norm.rectified([x])
    with batch_norm.statistics_apart(2):
        apart = norm.rectified([x])
        with pytest.raises(RuntimeError), batch_norm.statistics_apart(1):
            assert torch.equal(norm.rectified([x]), whole)
            raise RuntimeError
        assert torch.equal(norm.rectified([x]), apart)
    assert torch.equal(norm.rectified([x]), whole) and not torch.allclose(whole, apart)


@pytest.mark.parametrize("shape", [(2, 8, 4, 4), (2, 16, 3, 3)], ids=str)
def test_what_the_mean_takes_off_need_not_be_added(shape):
    x, offset = maps(*shape), torch.linspace(-2, 2, shape[1])
    ours, theirs = both(shape[1])
    inputs = (x + offset[:, None, None]).double()
    torch.testing.assert_close(ours(x, offset).double(), theirs(inputs), rtol=1e-5, atol=1e-5)
    again, theirs = both(shape[1])[0], copy.deepcopy(theirs)
    again.load_state_dict(ours.state_dict())
    mine, true = again.rectified([x], offset), F.relu(theirs(inputs))
    torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-5)
    for name, value in theirs.state_dict().items():
        mine = again.state_dict()[name].double()
        torch.testing.assert_close(mine, value.double(), rtol=1e-5, atol=1e-6)
    again.eval(), theirs.eval()
    mine, true = again.rectified([x], offset), F.relu(theirs(inputs))
    torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("offset", [0, 1, 10, 100])
def test_gradients_of_a_channel_sum_to_nothing_also_in_bfloat16(offset):
    """However large the mean of what comes from above, which the norm takes away."""
    x = maps(4, 24, 32, 32, torch.bfloat16)
    dy = (torch.randn(4, 24, 32, 32) + offset * torch.randn(24, 1, 1)).bfloat16()
    dy = dy.contiguous(memory_format=torch.channels_last)
    ours, theirs = both(24)
    for norm in (ours, theirs):
        norm.bias.data.fill_(50)  # above 0 everywhere
    mine = run(ours_of, ours, [x], dy)[1]
    true = run(plain, theirs, [x.double()], dy)[1]
    scale = true.square().mean().sqrt()
    assert (mine - true).square().mean().sqrt() < 0.004 * scale
    assert (mine - true).mean((0, 2, 3)).abs().max() < 0.002 * scale


def test_a_beginning_unlike_the_rest_costs_no_digits():
    x, dy = maps(3, 24, 16, 16), maps(3, 24, 16, 16).flip(0)
    x[0, :, :8] = 20  # the first rows, near which the sums are taken
    ours, theirs = both(24)
    mine, true = run(ours_of, ours, [x], dy), run(plain, theirs, [x.double()], dy)
    assert max(map(error, mine, true)) < 1e-5


def test_a_large_mean_costs_no_digits():
    x, dy = maps(3, 24, 16, 16) + 1000, maps(3, 24, 16, 16).flip(0)
    ours, theirs = both(24)
    mine, true = run(ours_of, ours, [x], dy)[0], run(plain, theirs, [x.double()], dy)[0]
    assert error(mine, true) < 1e-3  # that of x itself is 6e-5 of its spread
    torch.testing.assert_close(ours.running_var.double(), theirs.running_var, rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_not_a_number_is_reported_by_what_comes_out(dtype, swept):
    x = maps(2, 24, 8, 8, dtype)
    x[0, 3, 2, 2] = torch.nan
    y = both(24)[0].rectified([x])
    assert y[:, 3].isnan().all() and y.isnan().sum() == y[:, 3].numel() and swept


def test_statistics_may_follow_later(swept):
    one, two = maps(2, 24, 8, 8), maps(3, 24, 8, 8)
    (now, _), (later, _) = both(24), both(24)
    later.load_state_dict(now.state_dict())
    now.rectified([one]), now.rectified([two])
    with batch_norm.statistics_later() as waiting:
        later.rectified([two])
    assert later.num_batches_tracked == 0
    later.rectified([one])
    for follow in waiting:
        follow()
    for name, value in now.state_dict().items():
        assert torch.equal(later.state_dict()[name], value)


@pytest.mark.parametrize(
    "options", [{"momentum": None}, {"affine": False}, {"track_running_stats": False}], ids=str
)
def test_what_has_no_weights_or_statistics_is_left_to_pytorch(options, swept):
    x = maps(2, 24, 8, 8)
    ours, theirs = batch_norm.BatchNorm2d(24, **options), nn.BatchNorm2d(24, **options)
    assert torch.equal(ours(x), theirs(x)) and torch.equal(ours.rectified([x]), F.relu(theirs(x)))
    assert not swept


def test_weights_in_bfloat16_are_left_to_pytorch(swept):
    norm = batch_norm.BatchNorm2d(24).bfloat16()
    assert norm.rectified([maps(2, 24, 8, 8, torch.bfloat16)]).min() == 0 and not swept


@pytest.mark.parametrize(
    "x", [maps(2, 16, 8, 8).double(), maps(2, 24, 8, 8).contiguous(), maps(1, 24, 8, 8).half()]
)
def test_pytorch_does_what_our_kernels_do_not(x, swept):
    ours, theirs = batch_norm.BatchNorm2d(x.shape[1]), nn.BatchNorm2d(x.shape[1])
    ours, theirs = ours.to(x.dtype), theirs.to(x.dtype)
    for norm in (ours, theirs):
        norm.train()
    torch.testing.assert_close(ours.rectified([x]), F.relu(theirs(x)))
    assert not swept


def test_without_numba_pytorch_does_it(monkeypatch, swept):
    monkeypatch.setattr(batch_norm, "_kernels", lambda: None)
    x = maps(2, 24, 8, 8)
    ours, theirs = both(24)
    mine, true = ours.rectified([x]), F.relu(theirs(x.double()))
    torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-5)
    assert not swept


def test_evaluation_uses_the_statistics(swept):
    ours, theirs = both(24)
    x = maps(2, 24, 8, 8)
    mine, true = ours.eval().rectified([x]), F.relu(theirs.eval()(x.double()))
    torch.testing.assert_close(mine.double(), true, rtol=1e-5, atol=1e-5)
    assert not swept
