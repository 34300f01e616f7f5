"""The autoencoder of STPA against MemAE's layers."""

import pytest
import torch
from torch import nn

from ddllib import DDLError
from ddllib.models.autoencoder3d import WIDTHS, Autoencoder3D, scaled_widths
from ddllib.models.spatio_temporal import SpatioTemporal


def test_parameters_are_those_of_the_paper():
    assert sum(p.numel() for p in Autoencoder3D().parameters()) == 5_991_171


def test_layers_are_those_of_memae():
    convs = [m for m in Autoencoder3D().modules() if isinstance(m, nn.Conv3d)]
    backs = [m for m in Autoencoder3D().modules() if isinstance(m, nn.ConvTranspose3d)]
    assert [(c.in_channels, c.out_channels, c.stride) for c in convs] == [
        (3, 96, (1, 2, 2)), (96, 128, (2, 2, 2)), (128, 256, (2, 2, 2)), (256, 256, (2, 2, 2)),
    ]  # fmt: skip
    assert [(c.in_channels, c.out_channels, c.stride, c.output_padding) for c in backs] == [
        (256, 256, (2, 2, 2), (1, 1, 1)), (256, 128, (2, 2, 2), (1, 1, 1)),
        (128, 96, (2, 2, 2), (1, 1, 1)), (96, 3, (1, 2, 2), (0, 1, 1)),
    ]  # fmt: skip
    assert {c.kernel_size for c in (*convs, *backs)} == {(3, 3, 3)}


@pytest.mark.parametrize("shape", [(16, 32, 32), (8, 16, 48)])
@pytest.mark.parametrize("linear", [False, True])
def test_a_window_comes_back_in_its_shape(shape, linear):
    model = Autoencoder3D(3, scaled_widths(16), shape[0], linear)
    x = 10 * torch.randn(2, 3, *shape)
    y = model(x)
    assert y.shape == x.shape and (linear or y.abs().max() <= 1)


def test_narrower_models_keep_the_proportions():
    assert scaled_widths(256) == WIDTHS and scaled_widths(128) == (48, 64, 128, 128)


def test_windows_that_do_not_halve_are_refused():
    with pytest.raises(DDLError, match="temporal is 12; expected a multiple of 8"):
        Autoencoder3D(temporal=12)
    with pytest.raises(DDLError, match="16 frames of 40x32"):
        Autoencoder3D(3, scaled_widths(8))(torch.zeros(1, 3, 16, 40, 32))


def test_the_model_gets_u_v_and_magnitude_scaled_by_the_range_of_normal_flow():
    model = SpatioTemporal(3, scaled_widths(8), 16)
    model.flow_scale.fill_(0.5)
    flow = torch.tensor([0.3, -0.4]).view(1, 2, 1, 1, 1).half()
    expected = torch.tensor([0.2, -0.8 / 3, 1 / 3])
    assert torch.allclose(model.flow_input(flow).flatten(), expected, atol=1e-3)
    assert model.flow_input(100 * flow).flatten().tolist() == [1, -1, 1]
