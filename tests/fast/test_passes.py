"""Whichever way inputs take: values, gradients and statistics are those of one after the other."""

import copy
import threading

import pytest
import torch
from support.windows import a_sample

from ddllib.fast import batch_norm, passes
from ddllib.fast.accelerate import accelerate
from ddllib.methods.ddl import batch_loss
from ddllib.models.unet import Conv3DSkipUNet, build_model
from ddllib.settings import Settings
from ddllib.training import new_run


@pytest.fixture(autouse=True)
def four_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(threads)


def gradients(way, model, inputs):
    model.zero_grad()
    results = way(model, *[lambda x=x: x for x in inputs])
    (results[0][1].square().mean() + results[1][1].mean()).backward()
    assert all(torch.equal(x, original) for (x, _), original in zip(results, inputs, strict=True))
    return [y.detach() for _, y in results], [
        p.grad for p in model.parameters() if p.grad is not None
    ]


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
@pytest.mark.parametrize("kind", ["c3dsu", "unet"])
def test_values_gradients_and_statistics_are_those_of_inputs_in_turn(kind, way):
    torch.manual_seed(0)
    one = accelerate(build_model(kind, "released", 16, 3, 3)).train()
    two = copy.deepcopy(one)
    inputs = [torch.rand(2, 3, 3, 32, 32), 3 * torch.rand(2, 3, 3, 32, 32)]
    for mine, true in zip(
        gradients(way, one, inputs), gradients(passes.in_turn, two, inputs), strict=True
    ):
        for a, b in zip(mine, true, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for name, value in two.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
def test_again_and_again_the_same_to_the_last_digit(way):
    torch.manual_seed(0)
    models = [accelerate(Conv3DSkipUNet(latent_dim=16)).train()]
    models += [copy.deepcopy(models[0]) for _ in range(3)]
    inputs = [torch.rand(2, 3, 3, 32, 32) for _ in range(2)]
    first, *others = [gradients(way, model, inputs) for model in models]
    for other in others:
        for a, b in zip(first[1], other[1], strict=True):
            assert torch.equal(a, b)
    for model in models[1:]:
        for a, b in zip(models[0].state_dict().values(), model.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_each_input_has_a_thread_and_its_share_of_the_others():
    barrier, counts = threading.Barrier(2), {}

    def make():
        barrier.wait(30)
        counts[threading.get_ident()] = torch.get_num_threads()
        return torch.ones(1, requires_grad=True)

    passes.side_by_side(torch.neg, make, make)
    assert list(counts.values()) == [2, 2] and threading.get_ident() not in counts
    other = threading.Thread(target=lambda: counts.update(later=torch.get_num_threads()))
    other.start(), other.join()
    assert torch.get_num_threads() == counts["later"] == 4


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
def test_what_is_raised_is_raised_and_statistics_stay(way):
    def broken(x):
        model(x)
        raise ValueError("no such model")

    model = accelerate(Conv3DSkipUNet(latent_dim=16)).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="no such model"):
        way(broken, *2 * [lambda: torch.rand(1, 3, 3, 32, 32)])
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    whole = copy.deepcopy(model)
    x = torch.rand(2, 3, 3, 32, 32)
    assert torch.equal(model(x), whole(x))  # both of two windows together


def test_inputs_of_several_shapes_are_no_batch():
    model = accelerate(Conv3DSkipUNet(latent_dim=16)).train()
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 32, 32\).*expected one shape"):
        passes.as_one(model, *[lambda n=n: torch.rand(n, 3, 3, 32, 32) for n in (1, 2)])


def test_what_needs_no_gradient_is_given_none():
    weight, other = torch.ones(1, requires_grad=True), torch.ones(1)
    pairs = passes.side_by_side(lambda x: weight * x, lambda: 3 * weight, lambda: other)
    (a, b), (c, d) = pairs
    (a * b * c * d).backward()  # 3 w x 3 w^2 x 1 x w
    assert weight.grad.item() == 36
    _, (_, d) = passes.side_by_side(lambda x: weight * x, lambda: 3 * weight, lambda: other)
    d.backward()  # what comes of the first input is not looked at
    assert weight.grad.item() == 37


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
@pytest.mark.parametrize("precision, near", [("float32", 1e-3), ("bfloat16", 5e-2)])
@pytest.mark.parametrize("mode", ["sdl", "ddl"])
def test_a_step_is_the_same_by_every_way(mode, precision, near, way):
    def loss_and_gradients(taken):
        run = new_run(
            Settings(mode=mode, size=32, latent_dim=16, precision=precision, device="cpu")
        )
        torch.manual_seed(0)
        x = torch.rand(2, 3, 3, 32, 32)
        mask = torch.zeros(2, 1, 3, 32, 32)
        mask[..., 8:20, 8:20] = 1
        run.train()
        rng = torch.Generator().manual_seed(0)
        terms = batch_loss(run, a_sample(x, mask), rng, taken)
        terms.total.backward()
        grads = [p.grad for p in (*run.model.parameters(), *run.creator.parameters())]
        return [terms.total.detach(), *(gradient for gradient in grads if gradient is not None)]

    mine, true = loss_and_gradients(way), loss_and_gradients(passes.in_turn)
    for a, b in zip(mine, true, strict=True):
        assert (a - b).norm() <= near * b.norm() + 1e-6


def test_a_small_model_takes_its_passes_side_by_side_a_large_one_as_one(monkeypatch):
    def way(compiled=False, small=True):
        return passes.quickest_way(torch.device("cpu"), compiled, small)

    assert way() is passes.side_by_side and way(small=False) is passes.as_one
    assert way(compiled=True) is way(compiled=True, small=False) is passes.in_turn
    torch.set_num_threads(1)
    assert way() is passes.as_one
    monkeypatch.setattr(batch_norm, "_kernels", lambda: None)
    assert way() is way(small=False) is passes.in_turn
