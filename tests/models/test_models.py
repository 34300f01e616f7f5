"""The models: shapes, convolution in time, parameter counts, the authors' state dictionaries."""

import pytest
import torch
import torch.nn.functional as F

from ddllib import Conv3DSkipUNet, DDLError, UNet, load_released_checkpoint


def small(kind=Conv3DSkipUNet, preset="released", **options):
    torch.manual_seed(0)
    model = kind(preset, latent_dim=16, **options)
    # Fresh running statistics are 0 and 1; others show whether evaluation uses them.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def literal_block(block, x, up, last):
    """One ConvBlock written out with functions alone."""
    heads = [F.conv2d(x, c.weight, c.bias, padding=c.weight.shape[-1] // 2) for c in block.convs]
    x = F.relu(literal_norm(torch.cat(heads, 1), block.batch_norm_1))
    x = F.pixel_shuffle(x, 2) if up else F.pixel_unshuffle(x, 2)
    pad = block.conv_last.weight.shape[-1] // 2
    x = F.conv2d(x, block.conv_last.weight, block.conv_last.bias, padding=pad)
    return x if last else F.relu(literal_norm(x, block.batch_norm_2))


def literal_norm(x, norm):
    mean, var = norm.running_mean[:, None, None], norm.running_var[:, None, None]
    values = (x - mean) / torch.sqrt(var + norm.eps)
    return values * norm.weight[:, None, None] + norm.bias[:, None, None]


def literal_window(model, x):
    """C3DSU on one window as the released code does it: full padded Conv3d, middle output kept."""
    per_frame = [x[:, :, t] for t in range(x.shape[2])]
    skips = []
    for level in (1, 2, 3, 4):
        block = getattr(model.encoder, f"conv_{level}")
        per_frame = [literal_block(block, frame, up=False, last=False) for frame in per_frame]
        conv = getattr(model, f"conv{level}")
        padding = (model.temporal // 2, 1, 1)
        output = F.conv3d(torch.stack(per_frame, 2), conv.weight, conv.bias, padding=padding)
        skips.append(output[:, :, model.temporal // 2])
    y = literal_block(model.decoder.conv_1, skips[3], up=True, last=False)
    for level, skip in ((2, skips[2]), (3, skips[1]), (4, skips[0])):
        block = getattr(model.decoder, f"conv_{level}")
        y = literal_block(block, torch.cat([y, skip], 1), up=True, last=level == 4)
    return torch.sigmoid(y)


@pytest.mark.parametrize("preset", ["released", "paper"])
@pytest.mark.parametrize("temporal", [1, 3, 5])
@torch.inference_mode()
def test_c3dsu_equals_a_literal_version(preset, temporal):
    model = small(preset=preset, temporal=temporal)
    x = torch.rand(2, 3, temporal, 32, 48)
    assert torch.allclose(model(x)[:, :, 0], literal_window(model, x), atol=1e-5)


@pytest.mark.parametrize("kind", [Conv3DSkipUNet, UNet])
@torch.inference_mode()
def test_many_frames_equal_the_windows_one_by_one(kind):
    model = small(kind)
    x = torch.rand(2, 3, 7, 32, 32)
    together = model(x)
    assert together.shape == (2, 3, 7 - model.temporal + 1, 32, 32)
    for t in range(together.shape[2]):
        alone = model(x[:, :, t : t + model.temporal])
        assert torch.allclose(together[:, :, t : t + 1], alone, atol=1e-5)


def count(model):
    return sum(p.numel() for p in model.parameters())


def test_parameter_counts_of_the_released_preset():
    # The figures count the authors' module, which holds an unused batch norm of 2 x C values.
    unused = 2 * 3
    assert count(Conv3DSkipUNet("released", 512)) == 99_001_808 - unused
    assert count(Conv3DSkipUNet("released", 64)) == 1_566_008 - unused


def test_presets_differ_in_heads_and_last_kernel():
    for preset, kernels, last in (("paper", [3, 3, 3, 3], 1 + 2), ("released", [3, 5, 7], 1)):
        block = UNet(preset, 16).encoder.conv_1
        assert [conv.kernel_size[0] for conv in block.convs] == kernels
        assert block.conv_last.kernel_size[0] == last


def test_unet_is_c3dsu_without_its_temporal_convolutions():
    c3dsu, unet = Conv3DSkipUNet("paper", 32), UNet("paper", 32)
    temporal = sum(count(c3dsu.get_submodule(f"conv{k}")) for k in (1, 2, 3, 4))
    assert count(c3dsu) - temporal == count(unet)


@torch.inference_mode()
def test_frames_of_a_window_may_lie_apart():
    torch.manual_seed(0)
    model = Conv3DSkipUNet("released", 16, temporal=3, frame_step=2).eval()
    assert model.temporal == 5
    plain = Conv3DSkipUNet("released", 16).eval()
    plain.load_state_dict(model.state_dict())
    x = torch.rand(1, 3, 8, 32, 32)
    y = model(x)
    assert y.shape[2] == 4
    for first in range(4):
        window = x[:, :, [first, first + 2, first + 4]]
        assert torch.allclose(y[:, :, first], plain(window)[:, :, 0], atol=1e-6)


def test_an_even_number_of_frames_two_apart_withholds_the_middle_frame():
    model = Conv3DSkipUNet("released", 16, temporal=4, frame_step=2).eval()
    x = torch.rand(1, 3, 7, 32, 32, requires_grad=True)
    model(x)[:, :, 0].sum().backward()
    flags = x.grad.abs().amax((0, 1, 3, 4)) > 0
    assert flags.tolist() == [True, False, True, False, True, False, True]


def released_state(model, prefix="module."):
    """The model's tensors as the authors' code would save them."""
    state = {prefix + key: value.clone() for key, value in model.state_dict().items()}
    for name in ("weight", "bias", "running_mean", "running_var"):
        state[f"{prefix}decoder.conv_4.batch_norm_2.{name}"] = torch.ones(3)
    state[f"{prefix}decoder.conv_4.batch_norm_2.num_batches_tracked"] = torch.tensor(1)
    return state


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("kind", [Conv3DSkipUNet, UNet])
@torch.inference_mode()
def test_released_checkpoint_is_loaded(kind, prefix):
    source = small(kind)
    torch.manual_seed(1)
    target = kind("released", latent_dim=16).eval()
    load_released_checkpoint(released_state(source, prefix), target)
    x = torch.rand(1, 3, 3, 32, 32)
    assert torch.equal(source(x), target(x))


def test_released_checkpoint_names_what_does_not_fit_and_changes_nothing():
    target = small()
    before = {key: value.clone() for key, value in target.state_dict().items()}
    state = released_state(target)
    del state["module.conv4.bias"]
    state["module.extra"] = torch.zeros(1)
    state["module.conv1.weight"] = torch.zeros(1)
    with pytest.raises(DDLError) as error:
        load_released_checkpoint(state, target)
    for word in ("missing conv4.bias", "left over extra", "conv1.weight is (1,)"):
        assert word in str(error.value)
    assert all(torch.equal(before[key], value) for key, value in target.state_dict().items())


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: UNet("official"), "preset"),
        (lambda: UNet(latent_dim=20), "latent_dim"),
        (lambda: Conv3DSkipUNet(temporal=2), "no middle one"),
        (lambda: Conv3DSkipUNet(temporal=4, frame_step=3), "window of 10 frames"),
        (lambda: Conv3DSkipUNet(frame_step=0), "frame_step 0"),
        (lambda: small()(torch.rand(1, 1, 3, 32, 32)), "expected B x 3"),
        (lambda: small()(torch.rand(1, 3, 2, 32, 32)), "a window needs 3"),
        (lambda: small()(torch.rand(1, 3, 3, 30, 32)), "multiples of 16"),
    ],
)
def test_wrong_use_is_reported(make, word):
    with pytest.raises(DDLError, match=word):
        make()
