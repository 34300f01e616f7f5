"""Batch norm and ReLU in one pass, limited only by memory bandwidth."""

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

ROW_LENGTH = 96  # numbers in a row, at most, unless one pixel has more channels
VECTOR_LENGTH = 16  # numbers in a CPU vector; heads of other widths are concatenated first
ENOUGH = 2**19  # numbers of a map per thread; with fewer a thread does not pay
_thread_state = threading.local()  # per thread: pieces of a batch, postponed updates


class BatchNorm2d(nn.BatchNorm2d):
    """PyTorch's batch norm, with a method for norm and ReLU in one pass (``rectified``).

    Parameters and buffers are those of ``torch.nn.BatchNorm2d``. ``with_kernels`` allows the use of
    our own kernels.
    """

    with_kernels = True

    def forward(self, x: Tensor, offset: Tensor | None = None) -> Tensor:
        """The norm of ``x``, B x C x H x W, plus an ``offset`` for each channel.

        In training the norm subtracts a constant offset again, such as the bias of the convolution
        before it. So the offset is not added to ``x``; only the running mean includes it.
        """
        if not self._takes_statistics(x) or torch.compiler.is_compiling():
            arguments = x if offset is None else x + offset.detach().to(x.dtype)[:, None, None]
            return super().forward(arguments)
        arguments = x, self.weight, self.bias, None, None, True, 0.0, self.eps
        y, mean, scale = torch.native_batch_norm(*arguments)
        self._update(mean.detach(), scale.detach().pow(-2) - self.eps, _count(x), offset)
        return y

    def rectified(self, parts: Sequence[Tensor], offset: Tensor | None = None) -> Tensor:
        """ReLU of the norm of ``parts``, B x C_k x H x W, concatenated in channels.

        In training on a CPU, channels-last maps of float32 or bfloat16 are computed by our own
        kernels (``ddllib.fast.kernels``): two passes over each part forward and two backward, half
        of what PyTorch takes, or less where channels do not fill its vectors. Otherwise PyTorch is
        used. There is no second derivative. Within ``statistics_apart`` each piece of the batch has
        its own mean and variance; ``ValueError`` if the batch cannot be divided evenly.
        """
        parts = parts if _in_vectors(parts) else [torch.cat(parts, dim=1)]
        pieces = getattr(_thread_state, "pieces", 1) if self.training else 1
        if len(parts[0]) % pieces:
            raise ValueError(f"a batch of {len(parts[0])} is not of {pieces} pieces of one size")
        if not all(self._uses_kernels(part, pieces) for part in parts):
            x = parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=1)
            if pieces == 1:
                return F.relu(self(x, offset), inplace=True)
            y = torch.cat([self(piece, offset) for piece in x.chunk(pieces)])
            return F.relu(y, inplace=True)
        y, *statistics = _Rectified.apply(self.weight, self.bias, self.eps, pieces, *parts)
        for mean, variance in zip(*statistics, strict=True):
            self._update(mean, variance, _count(parts[0]) // pieces, offset)
        return y

    def _uses_kernels(self, x: Tensor, pieces: int) -> bool:
        """Whether our kernels, whose constants are float32, are used for ``x``."""
        is_ours = self.with_kernels and self._takes_statistics(x) and _count(x) > pieces
        return is_ours and self.weight.dtype == torch.float32 and _kernels_apply(x)

    def _takes_statistics(self, x: Tensor) -> bool:
        """Whether the running statistics are updated here, not by PyTorch."""
        parts = (self.weight, self.running_mean, self.momentum)
        return self.training and _count(x) > 1 and all(part is not None for part in parts)

    def _update(self, mean: Tensor, variance: Tensor, count: int, offset: Tensor | None) -> None:
        """Update the running statistics by a batch's, now or when ``statistics_later`` ends."""

        @torch.no_grad()
        def update() -> None:
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean if offset is None else mean + offset, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)

        updates = getattr(_thread_state, "waiting", None)
        update() if updates is None else updates.append(update)


@contextlib.contextmanager
def statistics_later() -> Iterator[list[Callable[[], None]]]:
    """Within it, in this thread, updates of running statistics are collected in the yielded list.

    So two passes may run in parallel, and their updates be made one after the other.
    """
    previous, _thread_state.waiting = getattr(_thread_state, "waiting", None), []
    try:
        yield _thread_state.waiting
    finally:
        _thread_state.waiting = previous


@contextlib.contextmanager
def statistics_apart(pieces: int) -> Iterator[None]:
    """Within it, in this thread, a batch consists of this many consecutive pieces of equal size.

    In training ``BatchNorm2d.rectified`` normalises each piece by its own mean and variance, and
    updates the running statistics in their order, as if each piece were a batch.
    """
    previous, _thread_state.pieces = getattr(_thread_state, "pieces", 1), pieces
    try:
        yield
    finally:
        _thread_state.pieces = previous


def _count(x: Tensor) -> int:
    return x.numel() // x.shape[1]


def _in_vectors(parts: Sequence[Tensor]) -> bool:
    return len(parts) == 1 or all(part.shape[1] % VECTOR_LENGTH == 0 for part in parts)


def _kernels_apply(x: Tensor) -> bool:
    """Whether our kernels support these maps."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    has_type = x.dtype in (torch.float32, torch.bfloat16) and x.numel() > 0
    return has_type and x.is_contiguous(memory_format=torch.channels_last) and has_kernels()


def has_kernels() -> bool:
    """Whether our own CPU kernels are available on this machine."""
    return bool(_kernels())


@functools.cache
def _kernels() -> ModuleType | None:
    try:
        from ddllib.fast import kernels
    except (ImportError, OSError):  # numba is missing or broken: PyTorch is used instead
        return None
    return kernels


class _Rectified(torch.autograd.Function):
    """Norm and ReLU in training, of parts that are concatenated in channels; ``x``, ``y`` are rows.

    The batch has ``pieces`` of equal size, each with its own mean and variance. Returns y, and
    means and variances, both pieces x C float32.
    """

    @staticmethod
    def forward(ctx, weight: Tensor, bias: Tensor, eps: float, pieces: int, *parts: Tensor):
        kernels, count, (b, _, h, w) = _kernels(), _count(parts[0]) // pieces, parts[0].shape
        widths = [part.shape[1] for part in parts]
        y_map = parts[0].new_empty((b, h, w, sum(widths))).permute(0, 3, 1, 2)
        weights, biases = weight.detach().numpy().copy(), bias.detach().numpy()
        pixels = _row_pixels(parts, pieces)
        ys = _rows(y_map, pixels, pieces)
        statistics = np.empty((2, pieces, sum(widths)), np.float32)
        ctx.pieces, ctx.weights, ctx.part_constants = pieces, weights, []
        for part, channels in zip(parts, _ranges(widths), strict=True):
            piece_constants, piece_rows = [], _rows(part, _pixels(part, pieces), pieces)
            for k, (x, y) in enumerate(zip(_rows(part, pixels, pieces), ys, strict=True)):
                mean, variance, deviation = _moments(piece_rows[k], part.shape[1], count, eps)
                arguments = mean, deviation, weights[channels], biases[channels], x.shape[1]
                constants = kernels.constants(*arguments)
                _sweep(kernels.normalise, (x, y), channels.start, constants)
                piece_constants.append((deviation, constants))
                statistics[:, k, channels] = mean, variance
            ctx.part_constants.append((channels, piece_constants))
        ctx.save_for_backward(*parts)
        means, variances = map(torch.from_numpy, statistics)
        ctx.mark_non_differentiable(means, variances)
        return y_map, means, variances

    @staticmethod
    @once_differentiable
    def backward(ctx, d_map: Tensor, *_):
        kernels, parts, pieces = _kernels(), ctx.saved_tensors, ctx.pieces
        count = _count(d_map) // pieces
        d_map = d_map.contiguous(memory_format=torch.channels_last)
        pixels = _row_pixels(parts, pieces)
        dys, d_parts = _rows(d_map, pixels, pieces), []
        d_weight, d_bias = np.zeros((2, len(ctx.weights)), np.float32)
        for part, (channels, piece_constants) in zip(parts, ctx.part_constants, strict=True):
            d_parts.append(torch.empty_like(part))
            xs, dxs = _rows(part, pixels, pieces), _rows(d_parts[-1], pixels, pieces)
            for (deviation, constants), x, dy, dx in zip(
                piece_constants, xs, dys, dxs, strict=True
            ):
                totals = _sums(kernels.gradient_sums, (x, dy), channels.start, constants)
                weight = ctx.weights[channels]
                arguments = totals, deviation, weight, count, x.shape[1]
                part_d_weight, part_d_bias, slopes = kernels.gradients(*arguments)
                d_weight[channels] += part_d_weight
                d_bias[channels] += part_d_bias
                _sweep(kernels.gradient, (x, dy, dx), channels.start, constants, slopes)
        return torch.from_numpy(d_weight), torch.from_numpy(d_bias), None, None, *d_parts


def _ranges(widths: Sequence[int]) -> list[slice]:
    ends = np.cumsum(widths).tolist()
    return [slice(end - width, end) for end, width in zip(ends, widths, strict=True)]


def _pixels(x: Tensor, pieces: int) -> int:
    """How many neighbouring pixels of a piece make a row of at most ``ROW_LENGTH`` numbers."""
    candidates = range(max(ROW_LENGTH // x.shape[1], 1), 0, -1)
    return next(pixels for pixels in candidates if _count(x) // pieces % pixels == 0)


def _row_pixels(parts: Sequence[Tensor], pieces: int) -> int:
    """How many pixels make a row of the joint map: 1 where it has several parts."""
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
    """Run a kernel over all rows of one or several maps."""
    _spread(lambda k: kernel(*(array[k] for array in rows), *constants), rows[0])


def _sums(kernel: Callable, rows: Sequence[np.ndarray], *constants) -> np.ndarray:
    """The two sums that a kernel computes for each column, 2 x L float64."""

    def part(k: slice) -> np.ndarray:
        out = np.zeros((2, rows[0].shape[1]))
        kernel(*(array[k] for array in rows), *constants, out)
        return out

    return functools.reduce(np.add, _spread(part, rows[0]))


def _spread(work: Callable[[slice], object], rows: np.ndarray) -> list:
    """Run ``work`` on all rows, in parallel on as many threads as PyTorch uses here."""
    threads = min(torch.get_num_threads(), rows.size // ENOUGH)
    if threads < 2:
        return [work(slice(None))]
    edges = np.linspace(0, len(rows), threads + 1).astype(int)
    parts = [slice(*pair) for pair in zip(edges[:-1], edges[1:], strict=True)]
    jobs = [_threads().submit(work, part) for part in parts[1:]]
    return [work(parts[0]), *(job.result() for job in jobs)]


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "norms")
