"""The quick twin: the same parameters, the same function, in training and in evaluation."""

import copy

import pytest
import torch
import torch.nn.functional as F

from ddllib import Conv3DSkipUNet, UNet
from ddllib.fast.accelerate import SPEEDUPS, QuickTemporalConv, accelerate
from ddllib.models.autoencoder3d import Autoencoder3D


def frames_apart(preset, latent_dim):
    return Conv3DSkipUNet(preset, latent_dim, temporal=2, frame_step=2)


def outcome(model, x):
    """What a model makes of x, its gradients by name and its state afterwards."""
    y = model(x)
    y.square().mean().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    return y.detach(), gradients, model.state_dict()


@pytest.mark.parametrize("left_out", [(), *((means,) for means in sorted(SPEEDUPS))])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("preset", ["released", "paper"])
@pytest.mark.parametrize("kind", [Conv3DSkipUNet, UNet, frames_apart])
def test_the_twin_computes_the_same(kind, preset, training, left_out):
    torch.manual_seed(0)
    plain = kind(preset, latent_dim=16)
    plain.train()(torch.rand(2, 3, 3, 32, 32))  # statistics other than those of the beginning
    plain.zero_grad()
    quick = accelerate(copy.deepcopy(plain), left_out)
    x = torch.rand(2, 3, 4, 32, 32)
    with torch.no_grad():
        y, own = (copy.deepcopy(one).train(training)(x) for one in (plain, quick))
    assert (y - own).abs().max() < 1e-5
    # In double precision a ReLU near 0 goes the same way in both, so gradients can be compared.
    y, gradients, state = outcome(plain.train(training).double(), x.double())
    own, own_gradients, own_state = outcome(quick.train(training).double(), x.double())
    assert list(state) == list(own_state)
    for name, value in state.items():
        assert torch.allclose(value.double(), own_state[name].double(), atol=1e-9), name
    for name, gradient in gradients.items():
        if own_gradients[name] is None:  # a bias before a norm: nothing but rounding to learn
            assert gradient.abs().max() < 1e-9
        else:
            assert torch.allclose(gradient, own_gradients[name], rtol=1e-5, atol=1e-9), name


def test_the_3d_autoencoder_has_channels_last_weights_and_computes_the_same():
    torch.manual_seed(0)
    plain = Autoencoder3D(3, (8, 12, 16, 16), 8)
    quick, x = accelerate(copy.deepcopy(plain)), torch.rand(2, 3, 8, 32, 32)
    assert quick.encoder[3].weight.is_contiguous(memory_format=torch.channels_last_3d)
    with torch.no_grad():
        assert (plain(x) - quick(x)).abs().max() < 1e-5
    plain, quick, x = plain.double(), quick.double(), x.double()
    pairs = zip(outcome(plain, x)[1].items(), outcome(quick, x)[1].items(), strict=True)
    for (name, gradient), (own_name, own) in pairs:
        assert name == own_name and torch.allclose(gradient, own, atol=1e-9), name


def test_the_twin_shares_parameters_and_statistics():
    model = Conv3DSkipUNet(latent_dim=16)
    twin = accelerate(model).train()
    assert all(a is b for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    before = model.encoder.conv_1.batch_norm_1.running_mean.clone()
    twin(torch.rand(1, 3, 3, 32, 32))
    assert not torch.equal(before, model.encoder.conv_1.batch_norm_1.running_mean)
    assert type(model.encoder.conv_1) is not type(twin.encoder.conv_1)


def test_layers_that_have_no_quick_form_stay_as_they_are():
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Conv3d(1, 1, 3))
    twin = accelerate(model)
    assert [type(layer) for layer in twin] == [torch.nn.Linear, torch.nn.Conv3d]


def test_the_stacked_convolution_has_the_gradients_of_a_conv3d():
    torch.manual_seed(0)
    conv = QuickTemporalConv(4, 3)
    x = torch.rand(2, 5, 4, 8, 8, requires_grad=True)
    inputs = (x, conv.weight, conv.bias)
    ours = torch.autograd.grad(conv(x).square().sum(), inputs)
    plain = F.conv3d(x.transpose(1, 2), conv.weight, conv.bias, padding=(0, 1, 1))
    theirs = torch.autograd.grad(plain.square().sum(), inputs)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)
