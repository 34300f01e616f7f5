"""The quick twin of a model: the same parameters and the same function, computed faster.

``accelerate`` replaces each layer whose class is in ``QUICK`` by its quick version; all others
stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Container

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddllib.fast.batch_norm import BatchNorm2d
from ddllib.fast.convolution import conv2d, joined, shuffled
from ddllib.models.autoencoder3d import Autoencoder3D
from ddllib.models.unet import ConvBlock, TemporalConv

CHANNELS_LAST = "channels-last maps"
ONE_PASS_NORMS = "norm and rectifier in one"
STRIDED = "one strided convolution"
SPEEDUPS = frozenset({CHANNELS_LAST, ONE_PASS_NORMS, STRIDED})


def accelerate(model: nn.Module, left_out: Container[str] = ()) -> nn.Module:
    """A quick twin of ``model`` that shares its parameters and buffers.

    Training one trains the other; their state dictionaries have the same keys. Outputs agree to
    1e-5 in float32, outputs and gradients to rounding in float64. ``left_out`` names ``SPEEDUPS``
    not to use, for measurements. The convolution weights of both models become channels-last.
    """
    twin = _twin(model, frozenset(SPEEDUPS) - frozenset(left_out))
    if CHANNELS_LAST not in left_out:
        for module in twin.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
            if isinstance(module, Autoencoder3D):
                module.to(memory_format=torch.channels_last_3d)
    return twin


def _twin(module: nn.Module, speedups: frozenset[str]) -> nn.Module:
    twin = copy.copy(module)
    twin._modules = {
        name: child and _twin(child, speedups) for name, child in module._modules.items()
    }
    kind = QUICK.get(type(module))
    if kind:
        twin.__class__, twin.speedups = kind, speedups
    if isinstance(twin, BatchNorm2d):
        twin.with_kernels = ONE_PASS_NORMS in speedups
    return twin


def for_scoring(
    model: nn.Module, precision: str = "float32", left_out: Container[str] = ()
) -> nn.Module:
    """A quick copy of ``model`` for scoring, in evaluation mode and without gradients.

    Convolutions are in ``precision``, float32 or bfloat16, norms in float32, and outputs are
    float32 as the model's. A model that this function returned for the same precision is
    returned unchanged. ``left_out`` is that of ``accelerate``.
    """
    if getattr(model, "scores_in", None) == precision:
        return model
    twin = accelerate(copy.deepcopy(model), left_out).eval().requires_grad_(False)
    for module in twin.modules():
        if isinstance(module, nn.modules.conv._ConvNd):
            module.to(getattr(torch, precision))
    twin.scores_in = precision
    return twin


class QuickConvBlock(ConvBlock):
    """A ConvBlock with fewer passes over its feature maps.

    In training, norm and ReLU are one pass (``BatchNorm2d.rectified``), and the convolutions before
    them skip their bias, since the norm subtracts it again. PixelUnshuffle and the convolution
    after it are one convolution of stride 2.
    """

    speedups: frozenset[str]

    def forward(self, x: Tensor) -> Tensor:
        x = self.resampled(self.normed(self.batch_norm_1, self.heads(x), self.head_bias))
        return x if self.is_output else self.normed(self.batch_norm_2, [x], self.conv_last.bias)

    @property
    def head_bias(self) -> Tensor:
        """The biases of all heads, one after the other."""
        return torch.cat([conv.bias for conv in self.convs])

    @property
    def last_bias(self) -> Tensor | None:
        """The last convolution's bias, or None where the norm after it would subtract it."""
        return None if self.training and not self.is_output else self.conv_last.bias

    def normed(self, norm: nn.Module, parts: list[Tensor], bias: Tensor) -> Tensor:
        """Batch norm and ReLU of maps that are concatenated in channels.

        In training the maps come without their ``bias``.
        """
        if self.training:
            return norm.rectified(parts, bias)
        return F.relu(norm(parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)), inplace=True)

    def heads(self, x: Tensor) -> list[Tensor]:
        """The outputs of all heads' convolutions, to be concatenated in channels."""
        weights = [conv.weight for conv in self.convs]
        biases = [None if self.training else conv.bias for conv in self.convs]
        join_heads = self.is_output and x.is_cuda  # a few channels take as long as many
        if join_heads or len({weight.shape for weight in weights}) == 1:
            weight, bias = joined(weights), None if self.training else self.head_bias
            return [conv2d(x, weight, bias, padding=weight.shape[-1] // 2)]
        pairs = zip(weights, biases, strict=True)
        return [conv2d(x, w, b, padding=w.shape[-1] // 2) for w, b in pairs]

    def resampled(self, x: Tensor) -> Tensor:
        """The change of resolution and the last convolution."""
        weight, half = self.conv_last.weight, self.conv_last.kernel_size[0] // 2
        if isinstance(self.resample, nn.PixelUnshuffle) and STRIDED in self.speedups:
            # 2 x 2 pixels in channels and k x k of those are 2k x 2k pixels.
            weight = weight.unflatten(1, (-1, 2, 2)).permute(0, 1, 4, 2, 5, 3)  # w, c, ky, y, kx, x
            weight = weight.flatten(4, 5).flatten(2, 3)
            return conv2d(x, weight, self.last_bias, stride=2, padding=2 * half)
        up = isinstance(self.resample, nn.PixelShuffle)
        x = shuffled(x) if up else self.resample(x)
        return conv2d(x, weight, self.last_bias, padding=half)


class QuickTemporalConv(TemporalConv):
    """A TemporalConv as one Conv2d over the T stacked feature maps of each window.

    It is the same sum. The bfloat16 backward pass of Conv3d itself is unsafe on some CPUs.
    """

    def forward(self, x: Tensor) -> Tensor:
        (temporal, *_), (step, *_) = self.kernel_size, self.dilation
        windows = x.shape[1] - (temporal - 1) * step
        x = x.movedim(2, -1)  # the memory layout, so that nothing is copied
        if windows == 1:  # as in training: the backward pass then needs no padding
            stacked = torch.cat(x.unbind(1)[::step], dim=-1)[:, None]
        else:
            starts = range(0, temporal * step, step)
            stacked = torch.cat([x[:, t : t + windows] for t in starts], dim=-1)
        weight = self.weight.transpose(1, 2).flatten(1, 2)
        y = F.conv2d(stacked.flatten(0, 1).movedim(-1, 1), weight, self.bias, padding=1)
        return y.unflatten(0, (x.shape[0], windows))


QUICK: dict[type[nn.Module], type[nn.Module]] = {
    ConvBlock: QuickConvBlock,
    TemporalConv: QuickTemporalConv,
    nn.BatchNorm2d: BatchNorm2d,
}
