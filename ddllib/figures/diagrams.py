"""Figures 1 and 6 of the paper, drawn from the layers of a model."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import nn

from ddllib.figures.colours import BLUE, GREEN, INK, VERMILLION, tint
from ddllib.figures.plots import blank
from ddllib.models.unet import ConvBlock, UNet

ENCODER_COLOUR, DECODER_COLOUR = tint(BLUE), tint(GREEN)
TIME_COLOUR, STEP_COLOUR = tint(VERMILLION), "#eeeeee"


@torch.inference_mode()
def trace(model: UNet, size: int) -> dict[str, tuple[int, ...]]:
    """Channels, height and width of each block's output for frames of ``size`` pixels.

    Names are those of the state dictionary: ``encoder.conv_1``, ``conv1``, ``decoder.conv_1``.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, inputs, out, name=name: shapes.update({name: tuple(out.shape[-3:])})
        )
        for name, module in model.named_modules()
        if isinstance(module, ConvBlock | nn.Conv3d)
    ]
    device, training = next(model.parameters()).device, model.training
    model.eval()(torch.zeros(1, model.channels, model.temporal, size, size, device=device))
    model.train(training)
    for hook in hooks:
        hook.remove()
    return shapes


def architecture(model: UNet, size: int) -> Figure:
    """Figure 1: the encoder at the left, the decoder at the right, Conv3d skips between them.

    ``size`` is the side of a frame in pixels. Each box names a block's channels, height and width.
    """
    shapes, levels = trace(model, size), len(model.widths)
    figure, axis = blank((8.5, 0.95 * levels + 1.2), (-0.2, 8.7), (-levels - 0.1, 1.1))
    frames = f"{model.temporal} frame{'s' if model.temporal > 1 else ''}"
    _box(axis, 1, 0.4, f"{frames}, each\n{model.channels} × {size} × {size}", STEP_COLOUR)
    _box(axis, 7.4, 0.4, f"1 frame\n{model.channels} × {size} × {size}", STEP_COLOUR)
    for level in range(1, levels + 1):
        y = 0.4 - level
        _box(axis, 1, y, f"encoder {level}\n{_by(shapes[f'encoder.conv_{level}'])}", ENCODER_COLOUR)
        if f"conv{level}" in shapes:
            kernel = _by(model.get_submodule(f"conv{level}").kernel_size)
            _box(axis, 4.2, y, f"Conv3d {kernel}\n{_by(shapes[f'conv{level}'])}", TIME_COLOUR)
            _arrow(axis, (1.95, y), (3.25, y))
            _arrow(axis, (5.15, y), (6.45, y))
        else:
            _arrow(axis, (1.95, y), (6.45, y))
        block = levels + 1 - level  # the decoder's first block is the deepest
        _box(
            axis, 7.4, y, f"decoder {block}\n{_by(shapes[f'decoder.conv_{block}'])}", DECODER_COLOUR
        )
        _arrow(axis, (1, y + 0.68), (1, y + 0.32))
        _arrow(axis, (7.4, y + 0.32), (7.4, y + 0.68))
    return figure


def block_steps(block: ConvBlock) -> Figure:
    """Figure 6: one block from top to bottom, its parallel convolutions side by side."""
    heads, down = len(block.convs), isinstance(block.resample, nn.PixelUnshuffle)
    joined_channels = sum(conv.out_channels for conv in block.convs)
    resampled_channels = joined_channels * 4 if down else joined_channels // 4
    steps = [
        f"concatenate: {joined_channels} channels",
        "batch norm, ReLU",
        f"{'space to depth' if down else 'depth to space'}: {resampled_channels} channels",
        f"convolution {_by(block.conv_last.kernel_size)}: {block.conv_last.out_channels} channels",
        *([] if block.is_output else ["batch norm, ReLU"]),
    ]
    figure, axis = blank((8, 0.62 * (len(steps) + 2)), (-0.2, 8.2), (-len(steps) - 0.5, 1.6))
    _box(axis, 4, 1.2, f"input: {block.convs[0].in_channels} channels", ENCODER_COLOUR, 3.4, 0.55)
    for k, conv in enumerate(block.convs):
        x = 8 * (k + 0.5) / heads
        text = f"convolution {_by(conv.kernel_size)}: {conv.out_channels}"
        _box(axis, x, 0.2, text, TIME_COLOUR, 7.4 / heads, 0.55)
        _arrow(axis, (4, 0.92), (x, 0.48))
        _arrow(axis, (x, -0.08), (4, -0.52))
    for k, step in enumerate(steps):
        _box(axis, 4, -0.8 - k * 0.85, step, STEP_COLOUR, 3.4, 0.55)
        if k:
            _arrow(axis, (4, -0.22 - k * 0.85), (4, -0.52 - k * 0.85))
    return figure


def _by(sizes) -> str:
    return " × ".join(map(str, sizes))


def _box(axis, x: float, y: float, text: str, colour: str, width=1.9, height=0.64) -> None:
    corner = x - width / 2, y - height / 2
    style = "round,pad=0,rounding_size=0.08"
    axis.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle=style, facecolor=colour, edgecolor=INK)
    )
    axis.text(x, y, text, ha="center", va="center", fontsize=8)


def _arrow(axis, start: tuple[float, float], stop: tuple[float, float]) -> None:
    style = {"arrowstyle": "->", "color": INK, "linewidth": 0.9}
    axis.annotate("", stop, start, arrowprops=style)
