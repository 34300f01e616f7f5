"""Two passes side by side give what they give in turn: values, gradients, statistics."""

import copy
import threading

import pytest
import torch

from ddllib import passes, training
from ddllib.models import Conv3DSkipUNet
from ddllib.settings import Settings
from ddllib.training import batch_loss, new_run


@pytest.fixture(autouse=True)
def four_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(threads)


def gradients(together, model, inputs):
    model.zero_grad()
    found = together(*[lambda x=x: (model(x), 2 * x) for x in inputs])
    (found[0][0].square().mean() + found[1][0].mean() * found[0][1].mean()).backward()
    return [values[0].detach() for values in found], [
        p.grad for p in model.parameters() if p.grad is not None
    ]


def test_values_gradients_and_statistics_are_those_of_passes_in_turn():
    torch.manual_seed(0)
    one = Conv3DSkipUNet(latent_dim=16).train()
    two = copy.deepcopy(one)
    inputs = [torch.rand(2, 3, 3, 32, 32) for _ in range(2)]
    for mine, true in zip(
        gradients(passes.side_by_side, one, inputs),
        gradients(passes.in_turn, two, inputs),
        strict=True,
    ):
        for a, b in zip(mine, true, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
    for name, value in two.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_again_and_again_the_same_to_the_last_digit():
    torch.manual_seed(0)
    models = [Conv3DSkipUNet(latent_dim=16).train()]
    models += [copy.deepcopy(models[0]) for _ in range(3)]
    inputs = [torch.rand(2, 3, 3, 32, 32) for _ in range(2)]
    first, *others = [gradients(passes.side_by_side, model, inputs) for model in models]
    for other in others:
        for a, b in zip(first[1], other[1], strict=True):
            assert torch.equal(a, b)
    for model in models[1:]:
        for a, b in zip(models[0].state_dict().values(), model.state_dict().values(), strict=True):
            assert torch.equal(a, b)


def test_each_pass_has_a_thread_and_its_share_of_the_others():
    barrier, seen = threading.Barrier(2), {}

    def work():
        barrier.wait(30)
        seen[threading.get_ident()] = torch.get_num_threads()
        return (torch.ones(1, requires_grad=True),)

    passes.side_by_side(work, work)
    assert list(seen.values()) == [2, 2] and threading.get_ident() not in seen
    other = threading.Thread(target=lambda: seen.update(later=torch.get_num_threads()))
    other.start(), other.join()
    assert torch.get_num_threads() == seen["later"] == 4


def test_what_a_pass_raises_is_raised_and_statistics_stay():
    def broken():
        raise ValueError("no such pass")

    model = Conv3DSkipUNet(latent_dim=16).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="no such pass"):
        passes.side_by_side(lambda: (model(torch.rand(1, 3, 3, 32, 32)),), broken)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_needs_no_gradient_is_given_none():
    weight = torch.ones(1, requires_grad=True)
    (a,), (b, c) = passes.side_by_side(lambda: (3 * weight,), lambda: (2 * weight, torch.ones(1)))
    (a * b * c).backward()
    assert weight.grad.item() == 12


@pytest.mark.parametrize("mode", ["sdl", "ddl"])
def test_a_step_side_by_side_is_a_step(mode, monkeypatch):
    def loss_and_gradients(small):
        monkeypatch.setattr(training, "SMALL", small)
        run = new_run(
            Settings(mode=mode, size=32, latent_dim=16, precision="float32", device="cpu")
        )
        torch.manual_seed(0)
        x = torch.rand(2, 3, 3, 32, 32)
        mask = torch.zeros(2, 1, 3, 32, 32)
        mask[..., 8:20, 8:20] = 1
        terms = batch_loss(run.model.train() and run, x, mask, torch.Generator().manual_seed(0))
        terms.total.backward()
        found = [p.grad for p in (*run.model.parameters(), *run.creator.parameters())]
        return [terms.total.detach(), *found]

    for a, b in zip(loss_and_gradients(128), loss_and_gradients(8), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("changed", [{"latent_dim": 256}, {"compile": True}], ids=str)
def test_large_and_compiled_models_take_their_passes_in_turn(changed):
    assert training._parts_well(new_run(Settings(size=32, latent_dim=64, device="cpu")))
    assert not training._parts_well(
        new_run(Settings(size=32, device="cpu", **{"latent_dim": 64, **changed}))
    )
