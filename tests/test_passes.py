"""Two passes side by side give what they give in turn: values, gradients, statistics."""

import copy
import threading

import pytest
import torch

from ddllib import passes, training
from ddllib.models import Conv3DSkipUNet, build_model
from ddllib.settings import Settings
from ddllib.training import batch_loss, new_run


@pytest.fixture(autouse=True)
def four_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(threads)


def gradients(way, model, inputs):
    model.zero_grad()
    found = way(model, *[lambda x=x: x for x in inputs])
    (found[0][1].square().mean() + found[1][1].mean()).backward()
    assert all(torch.equal(x, given) for (x, _), given in zip(found, inputs, strict=True))
    return [y.detach() for _, y in found], [
        p.grad for p in model.parameters() if p.grad is not None
    ]


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
@pytest.mark.parametrize("name", ["c3dsu", "unet"])
def test_values_gradients_and_statistics_are_those_of_inputs_in_turn(name, way):
    torch.manual_seed(0)
    one = build_model(name, "released", 16, 3, 3).train()
    two = copy.deepcopy(one)
    inputs = [torch.rand(2, 3, 3, 32, 32), 3 * torch.rand(2, 3, 3, 32, 32)]
    for mine, true in zip(
        gradients(way, one, inputs), gradients(passes.in_turn, two, inputs), strict=True
    ):
        for a, b in zip(mine, true, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
    for name, value in two.state_dict().items():
        torch.testing.assert_close(one.state_dict()[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
def test_again_and_again_the_same_to_the_last_digit(way):
    torch.manual_seed(0)
    models = [Conv3DSkipUNet(latent_dim=16).train()]
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
    barrier, seen = threading.Barrier(2), {}

    def make():
        barrier.wait(30)
        seen[threading.get_ident()] = torch.get_num_threads()
        return torch.ones(1, requires_grad=True)

    passes.side_by_side(torch.neg, make, make)
    assert list(seen.values()) == [2, 2] and threading.get_ident() not in seen
    other = threading.Thread(target=lambda: seen.update(later=torch.get_num_threads()))
    other.start(), other.join()
    assert torch.get_num_threads() == seen["later"] == 4


@pytest.mark.parametrize("way", [passes.side_by_side, passes.as_one])
def test_what_is_raised_is_raised_and_statistics_stay(way):
    def broken():
        raise ValueError("no such input")

    model = Conv3DSkipUNet(latent_dim=16).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match="no such input"):
        way(model, lambda: torch.rand(1, 3, 3, 32, 32), broken)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_what_needs_no_gradient_is_given_none():
    weight, other = torch.ones(1, requires_grad=True), torch.ones(1)
    pairs = passes.side_by_side(lambda x: weight * x, lambda: 3 * weight, lambda: other)
    (a, b), (c, d) = pairs
    (a * b * c * d).backward()  # 3 w x 3 w^2 x 1 x w
    assert weight.grad.item() == 36


WAYS = {"side by side": passes.side_by_side, "as one": passes.as_one}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["sdl", "ddl"])
def test_a_step_is_the_same_by_every_way(mode, way, monkeypatch):
    def loss_and_gradients(way):
        monkeypatch.setattr(training, "_way", lambda run: way)
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

    pairs = zip(loss_and_gradients(WAYS[way]), loss_and_gradients(passes.in_turn), strict=True)
    for mine, true in pairs:
        torch.testing.assert_close(mine, true, rtol=1e-3, atol=1e-6)


def test_a_small_model_takes_its_passes_side_by_side_a_large_one_as_one():
    def way(**changed):
        return training._way(
            new_run(Settings(size=32, device="cpu", **{"latent_dim": 64, **changed}))
        )

    assert way() is passes.side_by_side and way(latent_dim=256) is passes.as_one
    assert way(compile=True) is way(latent_dim=256, compile=True) is passes.in_turn
    torch.set_num_threads(1)
    assert way() is passes.as_one
