"""Convolutions of maps whose channels lie last, as processors and GPUs are quickest at them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

UNIT = 8  # channels that a GPU's matrix unit takes at a time


def conv2d(
    x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0
) -> Tensor:
    """``torch.nn.functional.conv2d``; on a GPU its channels are filled up to eights.

    With 3, 9, 12 or 36 of them cuDNN leaves the matrix units alone. Shapes are those of
    ``in_eights``, where the padding is that of the input, in pixels.
    """
    convolve = in_eights if x.is_cuda else F.conv2d
    return convolve(x, weight, bias, stride, padding)


def in_eights(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """The same convolution, of zeros too: B x I x H x W by O x I x k x k, to B x O x H' x W'."""
    outputs, more, missing = len(weight), -len(weight) % UNIT, -x.shape[1] % UNIT
    x = x.contiguous(memory_format=torch.channels_last)
    if missing:
        x = F.pad(x, (0, 0, 0, 0, 0, missing))
    if missing or more:
        weight = F.pad(weight, (0, 0, 0, 0, 0, missing, 0, more))
        bias = bias if bias is None else F.pad(bias, (0, more))
    return F.conv2d(x, weight, bias, stride, padding)[:, :outputs]


def joined(weights: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Several "same" convolutions of one input as one: their kernels at the largest one's side.

    Kernels are ... x k x k, k odd; they are put together along ``dim``, that of the outputs.
    """
    side = max(weight.shape[-1] for weight in weights)
    return torch.cat([F.pad(w, [(side - w.shape[-1]) // 2] * 4) for w in weights], dim)


def in_phases(weight: Tensor) -> Tensor:
    """A 1 x 1 convolution for pixels that are still channels: O x I x 1 x 1 -> 4O x 4I x 1 x 1.

    What PixelShuffle makes of its output is the convolution of what PixelShuffle makes of its
    input.
    """
    apart = torch.eye(4, dtype=weight.dtype, device=weight.device)
    return torch.kron(weight[..., 0, 0], apart)[..., None, None]


def shuffled(x: Tensor) -> Tensor:
    """PixelShuffle(2), B x 4C x H x W -> B x C x 2H x 2W; channels stay last where they are."""
    return by_strides(x) if x.is_cuda else F.pixel_shuffle(x, 2)


def by_strides(x: Tensor) -> Tensor:
    """The same for a GPU: PyTorch's own puts channels first there, the next convolution, last."""
    x = x.permute(0, 2, 3, 1).unflatten(-1, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3)
    return x.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def unshuffled(x: Tensor) -> Tensor:
    """PixelUnshuffle(2), B x C x 2H x 2W -> B x 4C x H x W, with channels last; for few channels.

    In the precision that autocast sets for the convolution after it, so that less is moved. In two
    copies, since one that does both goes number by number.
    """
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        x = x.to(torch.get_autocast_dtype(kind))
    x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).permute(0, 1, 3, 5, 2, 4)
    return x.flatten(1, 3).contiguous(memory_format=torch.channels_last)
