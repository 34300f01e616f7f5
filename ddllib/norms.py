"""Batch norm for maps of few channels, at the speed of maps of many."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

LANES = 16  # numbers that a processor's vector holds


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's batch norm, several times faster in training where channels do not fill a vector.

    On a processor, PyTorch goes through channels-last maps pixel by pixel, a vector of channels at
    a time; 8, 24 or 36 channels leave a rest that it computes number by number. Here neighbouring
    pixels are taken together until their channels fill whole vectors. Means and variances of such
    a group are those of its parts, put together; what comes out is the same but for rounding.

    Input and output B x C x H x W; parameters and buffers are those of ``torch.nn.BatchNorm2d``,
    whose own code works in evaluation, when compiled, of single pixels, and where there are no
    weights or running statistics. There is no second derivative.
    """

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The norm of ``x``, or of ``x`` with an ``offset``, one value a channel, added to it.

        In training the mean takes off whatever was added. So nothing is, and only the running mean
        has to know: a convolution needs no pass over its output for its bias.
        """
        parts = (self.weight, self.running_mean, self.momentum)
        count = x.numel() // x.shape[1]
        own = self.training and count > 1 and all(part is not None for part in parts)
        if not own or torch.compiler.is_compiling():  # a compiler fuses what stands here with it
            given = x if offset is None else x + offset.detach().to(x.dtype)[:, None, None]
            return super().forward(given)
        y, mean, variance = self._of_batch(x)
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean if offset is None else mean + offset, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        return y

    def _of_batch(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The norm by the batch's own mean and variance, which follow, C each."""
        pixels = pixels_together(x)
        if pixels > 1:
            return _Packed.apply(x, self.weight, self.bias, pixels, self.eps)
        given = x, self.weight, self.bias, None, None, True, 0.0, self.eps
        y, mean, scale = torch.native_batch_norm(*given)
        return y, mean.detach(), scale.detach().pow(-2) - self.eps


def pixels_together(x: Tensor) -> int:
    """How many pixels of B x C x H x W fill vectors with their channels; 1 where nothing is won."""
    channels = x.shape[1]
    pixels = 2 * LANES // math.gcd(channels, 2 * LANES)
    packs = x.device.type == "cpu" and x.is_contiguous(memory_format=torch.channels_last)
    whole = x.numel() > 0 and x.numel() % (channels * pixels) == 0
    return pixels if packs and whole and channels % LANES else 1


class _Packed(torch.autograd.Function):
    """Batch norm of training, over rows of several pixels' channels."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, pixels: int, eps: float):
        rows = _rows(x, pixels)
        _, means, scales = torch.native_batch_norm(
            rows, weight.repeat(pixels), bias.repeat(pixels), None, None, True, 0.0, eps
        )
        means, variances = means.view(pixels, -1), scales.view(pixels, -1).pow(-2) - eps
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        y = torch.empty_like(x)
        _apply(rows, weight, bias, mean, variance, eps, _rows(y, pixels))
        ctx.save_for_backward(x, weight, mean, (variance + eps).rsqrt())
        ctx.pixels = pixels
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx, dy: Tensor, *_):
        x, weight, mean, scale = ctx.saved_tensors
        pixels, count = ctx.pixels, x.numel() // x.shape[1]
        dy = dy.contiguous(memory_format=torch.channels_last)
        rows, d_rows = _rows(x, pixels), _rows(dy, pixels)
        many = [c.repeat(pixels) for c in (weight, mean, scale)]
        _, d_weight, d_bias = torch.ops.aten.native_batch_norm_backward(
            d_rows, rows, many[0], None, None, *many[1:], True, 0.0, [False, True, True]
        )
        d_weight, d_bias = d_weight.view(pixels, -1).sum(0), d_bias.view(pixels, -1).sum(0)
        of_dy = weight * scale  # dx = of_dy (dy - mean of dy) + of_x (x - mean)
        of_x = -of_dy * scale * d_weight / count
        dx, along_x = torch.empty_like(x), torch.empty_like(rows)
        zeros, ones = torch.zeros_like(mean), torch.ones_like(mean)
        _apply(d_rows, of_dy, zeros, d_bias / count, ones, 0.0, _rows(dx, pixels))
        _apply(rows, of_x, zeros, mean, ones, 0.0, along_x)
        _rows(dx, pixels).add_(along_x)
        return dx, d_weight, d_bias, None, None


def _rows(x: Tensor, pixels: int) -> Tensor:
    """Channels-last maps as rows of ``pixels`` pixels each, in the same memory."""
    return x.permute(0, 2, 3, 1).view(-1, pixels * x.shape[1])


def _apply(rows, weight, bias, mean, variance, eps: float, out: Tensor) -> None:
    """weight (rows - mean) / sqrt(variance + eps) + bias, rounded to the rows' type once."""
    pixels = rows.shape[1] // len(mean)
    constants = [c.repeat(pixels) for c in (weight, bias, mean, variance)]
    unused = [weight.new_empty(0), weight.new_empty(0)]
    torch.native_batch_norm(rows, *constants, False, 0.0, eps, out=(out, *unused))
