"""Figures 1 and 6 name what the model is made of."""

import pytest
import torch

from ddllib import Conv3DSkipUNet, UNet
from ddllib.figures.diagrams import architecture, block_steps, trace


def words(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_shapes_are_those_that_the_model_gives():
    model = Conv3DSkipUNet("released", 64)
    model.train()
    shapes = trace(model, 32)
    assert shapes["encoder.conv_1"] == (8, 16, 16) and shapes["encoder.conv_4"] == (64, 2, 2)
    assert shapes["conv3"] == (32, 4, 4) and shapes["decoder.conv_4"] == (3, 32, 32)
    assert len(shapes) == 12 and model.training
    assert not any(m._forward_hooks for m in model.modules())
    assert len(trace(UNet("released", 64), 32)) == 8


def test_figure_1_shows_every_block():
    labels = words(architecture(Conv3DSkipUNet("released", 64), 32))
    for part in (
        "encoder 4\n64 × 2 × 2",
        "Conv3d 3 × 3 × 3\n8 × 16 × 16",
        "decoder 4\n3 × 32 × 32",
    ):
        assert part in labels
    assert "3 frames, each\n3 × 32 × 32" in labels
    flat = words(architecture(UNet("released", 64), 32))
    assert not any("Conv3d" in text for text in flat) and "1 frame, each\n3 × 32 × 32" in flat


@pytest.mark.parametrize("preset, heads", [("released", (3, 5, 7)), ("paper", (3, 3, 3, 3))])
def test_figure_6_shows_the_heads_side_by_side(preset, heads):
    model = Conv3DSkipUNet(preset, 64)
    labels = words(block_steps(model.encoder.conv_1))
    assert [t for t in labels if t.startswith("convolution")][: len(heads)] == [
        f"convolution {k} × {k}: 8" for k in heads
    ]
    assert f"concatenate: {8 * len(heads)} channels" in labels
    assert f"space to depth: {32 * len(heads)} channels" in labels
    assert labels.count("batch norm, ReLU") == 2
    last = words(block_steps(model.decoder.conv_4))
    assert (
        last.count("batch norm, ReLU") == 1 and f"depth to space: {3 * len(heads)} channels" in last
    )
    assert torch.is_grad_enabled()
