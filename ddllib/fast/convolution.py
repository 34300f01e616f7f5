"""Convolutions of channels-last maps, in the form that is fastest on CPUs and GPUs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

CHANNEL_MULTIPLE = 8  # a GPU's matrix units need a multiple of so many channels


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """``torch.nn.functional.conv2d``; on a GPU with channels padded to a multiple of 8.

    With 3, 9, 12 or 36 channels cuDNN does not use the matrix units. Shapes are those of
    ``in_eights``; ``padding`` is that of the input, in pixels.
    """
    convolve = in_eights if x.is_cuda else F.conv2d
    return convolve(x, weight, bias, stride, padding)


def in_eights(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """The convolution with zero channels added: B x I x H x W, O x I x k x k to B x O x H' x W'."""
    outputs, inputs = len(weight), x.shape[1]
    missing_outputs, missing_inputs = -outputs % CHANNEL_MULTIPLE, -inputs % CHANNEL_MULTIPLE
    x = x.contiguous(memory_format=torch.channels_last)
    if missing_inputs:
        x = F.pad(x, (0, 0, 0, 0, 0, missing_inputs))
    if missing_inputs or missing_outputs:
        weight = F.pad(weight, (0, 0, 0, 0, 0, missing_inputs, 0, missing_outputs))
        bias = bias if bias is None else F.pad(bias, (0, missing_outputs))
    return F.conv2d(x, weight, bias, stride, padding)[:, :outputs]


def joined(weights: Sequence[Tensor], dim: int = 0) -> Tensor:
    """The weights of several "same" convolutions of one input, joined into one convolution.

    Kernels are ... x k x k, k odd, padded to the largest k and concatenated along ``dim``, outputs.
    """
    side = max(weight.shape[-1] for weight in weights)
    return torch.cat([F.pad(w, [(side - w.shape[-1]) // 2] * 4) for w in weights], dim)


def shuffled(x: Tensor) -> Tensor:
    """PixelShuffle(2), B x 4C x H x W -> B x C x 2H x 2W, that keeps channels-last layout."""
    return by_strides(x) if x.is_cuda else F.pixel_shuffle(x, 2)


def by_strides(x: Tensor) -> Tensor:
    """PixelShuffle(2) for a GPU, where PyTorch's own changes the layout to channels-first."""
    x = x.permute(0, 2, 3, 1).unflatten(-1, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3)
    return x.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)
