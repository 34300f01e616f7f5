"""Batch norm and rectifier in one, at the speed of memory."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

COLUMNS = 96  # about so many numbers make a row, for a processor's vectors
LANES = 16  # numbers that a vector holds: heads of fewer channels are put together first
ENOUGH = 2**19  # numbers of a map that are worth a thread
_here = threading.local()  # what holds for norms that a thread computes now


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's batch norm, with the rectifier that follows it in one (``rectified``).

    Parameters and buffers are those of ``torch.nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The norm of ``x``, B x C x H x W, or of it with an ``offset`` of each channel added.

        In training the mean takes off whatever was added. So nothing is, and only the running mean
        has to know: a convolution needs no pass over its output for its bias.
        """
        if not self._own(x) or torch.compiler.is_compiling():
            given = x if offset is None else x + offset.detach().to(x.dtype)[:, None, None]
            return super().forward(given)
        given = x, self.weight, self.bias, None, None, True, 0.0, self.eps
        y, mean, scale = torch.native_batch_norm(*given)
        self._take(mean.detach(), scale.detach().pow(-2) - self.eps, _count(x), offset)
        return y

    def rectified(self, parts: Sequence[Tensor], offset: Tensor | None = None) -> Tensor:
        """ReLU of the norm of ``parts``, B x C_k x H x W, which are one after the other in y.

        In training on a processor, maps of float32 or bfloat16 with channels last go through
        kernels of our own (``ddllib.kernels``): every part twice forward, and twice backward,
        where PyTorch takes twice as many passes, and more where channels do not fill its vectors.
        Elsewhere PyTorch does it. There is no second derivative. Within ``statistics_apart`` the
        batch has a mean and a variance for each of its pieces; one that does not part into so many
        raises ``ValueError``.
        """
        parts = parts if _in_vectors(parts) else [torch.cat(parts, dim=1)]
        pieces = getattr(_here, "pieces", 1) if self.training else 1
        if len(parts[0]) % pieces:
            raise ValueError(f"a batch of {len(parts[0])} is not of {pieces} pieces of one size")
        if not all(self._sweeps(part, pieces) for part in parts):
            x = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
            if pieces == 1:
                return F.relu(self(x, offset), inplace=True)
            y = torch.cat([self(piece, offset) for piece in x.chunk(pieces)])
            return F.relu(y, inplace=True)
        y, *found = _Rectified.apply(self.weight, self.bias, self.eps, pieces, *parts)
        for mean, variance in zip(*found, strict=True):
            self._take(mean, variance, _count(parts[0]) // pieces, offset)
        return y

    def _sweeps(self, x: Tensor, pieces: int) -> bool:
        """Whether our kernels, whose constants are float32, go through ``x``."""
        enough = self._own(x) and _count(x) > pieces
        return enough and self.weight.dtype == torch.float32 and _swept(x)

    def _own(self, x: Tensor) -> bool:
        """Whether the batch's statistics are taken here, and not by PyTorch."""
        parts = (self.weight, self.running_mean, self.momentum)
        return self.training and _count(x) > 1 and all(part is not None for part in parts)

    def _take(self, mean: Tensor, variance: Tensor, count: int, offset: Tensor | None) -> None:
        """Let the running statistics follow a batch's, now or when ``statistics_later`` ends."""

        @torch.no_grad()
        def follow() -> None:
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean if offset is None else mean + offset, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)

        waiting = getattr(_here, "waiting", None)
        follow() if waiting is None else waiting.append(follow)


@contextlib.contextmanager
def statistics_later() -> Iterator[list[Callable[[], None]]]:
    """Within it, in this thread, running statistics stay; what is yielded lets them follow.

    So two passes may run side by side, and statistics take them one after the other.
    """
    before, _here.waiting = getattr(_here, "waiting", None), []
    try:
        yield _here.waiting
    finally:
        _here.waiting = before


@contextlib.contextmanager
def statistics_apart(pieces: int) -> Iterator[None]:
    """Within it, in this thread, a batch holds so many pieces of one size, one after the other.

    In training ``BatchNorm2d.rectified`` takes each piece by a mean and a variance of its own, and
    running statistics follow them in their order, as if the model had seen one after the other.
    """
    before, _here.pieces = getattr(_here, "pieces", 1), pieces
    try:
        yield
    finally:
        _here.pieces = before


def _count(x: Tensor) -> int:
    return x.numel() // x.shape[1]


def _in_vectors(parts: Sequence[Tensor]) -> bool:
    return len(parts) == 1 or all(part.shape[1] % LANES == 0 for part in parts)


def _swept(x: Tensor) -> bool:
    """Whether maps are such that our kernels go through them."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    known = x.dtype in (torch.float32, torch.bfloat16) and x.numel() > 0
    return known and x.is_contiguous(memory_format=torch.channels_last) and has_kernels()


def has_kernels() -> bool:
    """Whether this machine has kernels of our own for maps in its memory."""
    return bool(_kernels())


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from ddllib import kernels
    except (ImportError, OSError):  # no numba, or a broken one: PyTorch alone will do
        return None
    return kernels


class _Rectified(torch.autograd.Function):
    """Norm and rectifier of training, of parts side by side in channels; ``x``, ``y`` are rows.

    The batch is of ``pieces`` of one size, each with a mean and a variance of its own. Gives y and
    both of them, pieces x C float32.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, bias: Tensor, eps: float, pieces: int, *parts: Tensor):
        kernels, count, (b, _, h, w) = _kernels(), _count(parts[0]) // pieces, parts[0].shape
        widths = [part.shape[1] for part in parts]
        together = parts[0].new_empty((b, h, w, sum(widths))).permute(0, 3, 1, 2)
        weights, biases = weight.detach().numpy().copy(), bias.detach().numpy()
        pixels = _row_pixels(parts, pieces)
        ys, found = _rows(together, pixels, pieces), np.empty((2, pieces, sum(widths)), np.float32)
        ctx.pieces, ctx.weights, ctx.known = pieces, weights, []
        for part, own in zip(parts, _ranges(widths), strict=True):
            known, summed = [], _rows(part, _pixels(part, pieces), pieces)
            for k, (x, y) in enumerate(zip(_rows(part, pixels, pieces), ys, strict=True)):
                mean, variance, deviation = _moments(summed[k], part.shape[1], count, eps)
                given = mean, deviation, weights[own], biases[own], x.shape[1]
                constants = kernels.constants(*given)
                _sweep(kernels.normalise, (x, y), own.start, constants)
                known.append((deviation, constants))
                found[:, k, own] = mean, variance
            ctx.known.append((own, known))
        ctx.save_for_backward(*parts)
        means, variances = map(torch.from_numpy, found)
        ctx.mark_non_differentiable(means, variances)
        return together, means, variances

    @staticmethod
    @once_differentiable
    def backward(ctx, d_together: Tensor, *_):
        kernels, parts, pieces = _kernels(), ctx.saved_tensors, ctx.pieces
        count = _count(d_together) // pieces
        d_together = d_together.contiguous(memory_format=torch.channels_last)
        pixels = _row_pixels(parts, pieces)
        dys, d_parts = _rows(d_together, pixels, pieces), []
        d_weight, d_bias = np.zeros((2, len(ctx.weights)), np.float32)
        for part, (own, known) in zip(parts, ctx.known, strict=True):
            d_parts.append(torch.empty_like(part))
            xs, dxs = _rows(part, pixels, pieces), _rows(d_parts[-1], pixels, pieces)
            for (deviation, constants), x, dy, dx in zip(known, xs, dys, dxs, strict=True):
                given = own.start, constants
                total = _sums(kernels.gradient_sums, (x, dy), *given)
                weight = ctx.weights[own]
                *found, slopes = kernels.gradients(total, deviation, weight, count, x.shape[1])
                d_weight[own] += found[0]
                d_bias[own] += found[1]
                _sweep(kernels.gradient, (x, dy, dx), *given, slopes)
        return torch.from_numpy(d_weight), torch.from_numpy(d_bias), None, None, *d_parts


def _ranges(widths: Sequence[int]) -> list[slice]:
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _pixels(x: Tensor, pieces: int) -> int:
    """How many neighbouring pixels of a piece make a row of about ``COLUMNS`` numbers."""
    fitting = range(max(COLUMNS // x.shape[1], 1), 0, -1)
    return next(pixels for pixels in fitting if _count(x) // pieces % pixels == 0)


def _row_pixels(parts: Sequence[Tensor], pieces: int) -> int:
    """How many pixels make a row where parts lie in one map: of several parts, one."""
    return _pixels(parts[0], pieces) if len(parts) == 1 else 1


def _rows(x: Tensor, pixels: int, pieces: int) -> np.ndarray:
    """Channels-last maps as rows of ``pixels`` pixels each, by piece, in the same memory."""
    rows = x.detach().permute(0, 2, 3, 1).view(pieces, -1, pixels * x.shape[1])
    return (rows.view(torch.uint16) if x.dtype == torch.bfloat16 else rows).numpy()


def _moments(x: np.ndarray, channels: int, count: int, eps: float) -> tuple[np.ndarray, ...]:
    """Mean, variance and deviation of each channel, C, over the ``count`` pixels of rows."""
    kernels = _kernels()
    pivot = kernels.pivots(x, channels)
    total = _sums(kernels.sums, (x,), pivot)
    return kernels.moments(total, pivot, count, eps, channels)


def _sweep(kernel: Callable, rows: Sequence[np.ndarray], *constants) -> None:
    """Have a kernel go through all rows of one or several maps."""
    _spread(lambda k: kernel(*(array[k] for array in rows), *constants), rows[0])


def _sums(kernel: Callable, rows: Sequence[np.ndarray], *constants) -> np.ndarray:
    """Both sums that a kernel makes of each column, 2 x L float64."""

    def part(k: slice) -> np.ndarray:
        out = np.zeros((2, rows[0].shape[1]))
        kernel(*(array[k] for array in rows), *constants, out)
        return out

    return functools.reduce(np.add, _spread(part, rows[0]))


def _spread(work: Callable[[slice], object], rows: np.ndarray) -> list:
    """Have ``work`` done on all rows, side by side on as many threads as PyTorch has here."""
    threads = min(torch.get_num_threads(), rows.size // ENOUGH)
    if threads < 2:
        return [work(slice(None))]
    edges = np.linspace(0, len(rows), threads + 1).astype(int)
    parts = [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]
    others = [_threads().submit(work, part) for part in parts[1:]]
    return [work(parts[0]), *(other.result() for other in others)]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "norms")
