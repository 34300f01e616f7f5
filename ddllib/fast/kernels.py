"""Kernels of batch norm with ReLU: two passes over a map forward and two backward.

Each kernel does in one pass over memory what PyTorch does in two or three; for maps with few
channels, memory access takes most of the time. numba compiles them at first use (some seconds,
cached on disk). They release Python's global lock, so that threads may run them in parallel.
The computations per channel between two passes are compiled too: for small maps many short steps
of Python and NumPy would take longer than the passes.

Maps are rows, R x L: the channels of one pixel, or of several neighbouring pixels, which fill a
CPU's vectors better. They are float32, or bfloat16 stored as uint16, since numba has no bfloat16;
constants of the columns are float32, K x L, and their sums float64, 2 x L. Weights and biases of
the C channels are float32, C, and values computed from them float64. ``first`` is the first column
of these channels in the rows of a wider map with several heads.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

CHUNK = 64  # rows that are summed in float32 before adding to float64


def _compiled(function):
    """A function compiled by numba, cached on disk if possible."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no writable folder for the cache
        return numba.njit(**options)(function)


@intrinsic
def _as_float(context, bits):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def _as_bits(context, value):
    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.uint32(types.float32), generate


def _to_float(value):
    """A number of a map converted to float32."""


@overload(_to_float, inline="always")
def _to_float_overload(value):
    if value == types.uint16:
        return lambda value: _as_float(np.uint32(value) << np.uint32(16))
    return lambda value: value


def _to_type_of(value, number):
    """A float32 rounded to the type of ``number``, which is of a map."""


@overload(_to_type_of, inline="always")
def _to_type_of_overload(value, number):
    if number != types.uint16:
        return lambda value, number: value

    def rounded(value, number):  # to nearest, ties to even
        bits = _as_bits(value)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return rounded


@_compiled
def pivots(x, channels):
    """The mean of each channel over the first rows, for each column; float32, L.

    Subtracting it keeps the sums accurate."""
    rows, columns = x.shape
    rows, total = min(rows, CHUNK), np.zeros(columns, np.float32)
    for i in range(rows):
        for j in range(columns):
            total[j] += _to_float(x[i, j])
    means = np.empty(columns, np.float32)
    for c in range(channels):
        means[c::channels] = total[c::channels].sum() / np.float32(rows * (columns // channels))
    return means


@_compiled
def sums(x, pivot, out):
    """Add the sums over all rows of x - pivot, and of its square, to ``out``."""
    rows, columns = x.shape
    row_sums, row_squares = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for start in range(0, rows, CHUNK):
        row_sums[:], row_squares[:] = 0, 0
        for i in range(start, min(start + CHUNK, rows)):
            for j in range(columns):
                centred = _to_float(x[i, j]) - pivot[j]
                row_sums[j] += centred
                row_squares[j] += centred * centred
        for j in range(columns):
            out[0, j] += row_sums[j]
            out[1, j] += row_squares[j]


@_compiled
def moments(total, pivot, count, eps, channels):
    """Mean, variance and deviation of each channel, C, from the sums over ``count`` pixels."""
    mean, variance = np.empty(channels), np.empty(channels)
    for c in range(channels):
        shift = total[0, c::channels].sum() / count
        mean[c] = pivot[c] + shift
        variance[c] = max(total[1, c::channels].sum() / count - shift * shift, 0)
    return mean, variance, np.sqrt(variance + eps)


@_compiled
def constants(mean, deviation, weight, bias, columns):
    """Mean, weight / deviation and bias of each column; float32, 3 x L."""
    out, channels = np.empty((3, columns), np.float32), len(mean)
    for j in range(columns):
        c = j % channels
        out[0, j], out[1, j], out[2, j] = mean[c], weight[c] / deviation[c], bias[c]
    return out


@_compiled
def normalise(x, y, first, constants):
    """y = max(0, scale (x - mean) + bias), in columns ``first`` and following of ``y``."""
    rows, columns = x.shape
    mean, scale, bias = constants[0], constants[1], constants[2]
    for i in range(rows):
        row = y[i][first : first + columns]
        for j in range(columns):
            value = (_to_float(x[i, j]) - mean[j]) * scale[j] + bias[j]
            row[j] = _to_type_of(np.float32(0) if value <= 0 else value, x[i, j])  # NaN stays


@_compiled
def gradient_sums(x, dy, first, constants, out):
    """Add the sums of dy and of dy (x - mean), where y is above 0, to ``out``."""
    rows, columns = x.shape
    mean, scale, bias = constants[0], constants[1], constants[2]
    dy_sums, product_sums = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for start in range(0, rows, CHUNK):
        dy_sums[:], product_sums[:] = 0, 0
        for i in range(start, min(start + CHUNK, rows)):
            row = dy[i][first : first + columns]
            for j in range(columns):
                centred, dy_value = _to_float(x[i, j]) - mean[j], _to_float(row[j])
                dy_value = dy_value if centred * scale[j] + bias[j] > 0 else np.float32(0)
                dy_sums[j] += dy_value
                product_sums[j] += dy_value * centred
        for j in range(columns):
            out[0, j] += dy_sums[j]
            out[1, j] += product_sums[j]


@_compiled
def gradients(total, deviation, weight, count, columns):
    """The gradients of weight and bias, C, and slope and level of each column; float32, 2 x L."""
    out, channels = np.empty((2, columns), np.float32), len(deviation)
    d_weight, d_bias = np.empty(channels), np.empty(channels)
    for c in range(channels):
        d_bias[c] = total[0, c::channels].sum()
        d_weight[c] = total[1, c::channels].sum() / deviation[c]
    for j in range(columns):
        c = j % channels
        factor = -weight[c] / (deviation[c] * count)
        out[0, j], out[1, j] = factor * d_weight[c] / deviation[c], factor * d_bias[c]
    return d_weight, d_bias, out


@_compiled
def gradient(x, dy, dx, first, constants, slopes):
    """dx = scale dy + slope (x - mean) + level, where dy counts as 0 where y is 0."""
    rows, columns = x.shape
    mean, scale, bias = constants[0], constants[1], constants[2]
    slope, level = slopes[0], slopes[1]
    for i in range(rows):
        row = dy[i][first : first + columns]
        for j in range(columns):
            centred, dy_value = _to_float(x[i, j]) - mean[j], _to_float(row[j])
            dy_value = dy_value if centred * scale[j] + bias[j] > 0 else np.float32(0)
            value = scale[j] * dy_value + slope[j] * centred + level[j]
            dx[i, j] = _to_type_of(value, x[i, j])
