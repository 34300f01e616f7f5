"""The two sweeps over a map that a batch norm with a rectifier takes, forward and backward.

Each sweep does in one pass over memory what PyTorch does in two or three; of maps with few
channels, memory is what takes the time. Compiled by numba when they are first used (some seconds,
kept on disk). They hold no lock of Python's, so that threads may run them side by side.
What is made of the sums of each channel between two sweeps is compiled, too: of small maps many
short steps of Python and NumPy would take longer than the sweeps.

Maps are rows, R x L: the channels of one pixel, or of several neighbouring pixels, which fill a
processor's vectors better. They are float32, or bfloat16 as uint16, what numba knows of it; the
constants of the columns are float32, K x L, and their sums float64, 2 x L. Weights and biases of
the C channels are float32, C, and what is made of them, float64. ``first`` is the column at which
the rows of a wider map, of several heads, begin.
"""

from __future__ import annotations

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

CHUNK = 64  # rows summed up in float32


def _compiled(function):
    """Compiled, and kept on disk where there is a place for it."""
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither the package's folder nor the user's can be written to
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


def _wide(value):
    """A number of a map as float32."""


@overload(_wide, inline="always")
def _wide_of(value):
    if value == types.uint16:
        return lambda value: _as_float(np.uint32(value) << np.uint32(16))
    return lambda value: value


def _like(value, number):
    """float32 rounded as ``number`` of a map is."""


@overload(_like, inline="always")
def _like_of(value, number):
    if number != types.uint16:
        return lambda value, number: value

    def rounded(value, number):  # to the nearest, of two as near to the even one
        bits = _as_bits(value)
        odd = (bits >> np.uint32(16)) & np.uint32(1)
        return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return rounded


@_compiled
def pivots(x, channels):
    """A value near each channel's mean, that of the first rows, for each column; float32, L."""
    rows, columns = x.shape
    rows, total = min(rows, CHUNK), np.zeros(columns, np.float32)
    for i in range(rows):
        for j in range(columns):
            total[j] += _wide(x[i, j])
    found = np.empty(columns, np.float32)
    for c in range(channels):
        found[c::channels] = total[c::channels].sum() / np.float32(rows * (columns // channels))
    return found


@_compiled
def sums(x, pivot, out):
    """Add the sums over all rows of x - pivot, and of its square, to ``out``."""
    rows, columns = x.shape
    one, two = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for start in range(0, rows, CHUNK):
        one[:], two[:] = 0, 0
        for i in range(start, min(start + CHUNK, rows)):
            for j in range(columns):
                centred = _wide(x[i, j]) - pivot[j]
                one[j] += centred
                two[j] += centred * centred
        for j in range(columns):
            out[0, j] += one[j]
            out[1, j] += two[j]


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
            value = (_wide(x[i, j]) - mean[j]) * scale[j] + bias[j]
            row[j] = _like(np.float32(0) if value <= 0 else value, x[i, j])  # NaN stays


@_compiled
def gradient_sums(x, dy, first, constants, out):
    """Add the sums of dy and of dy (x - mean), where y is above 0, to ``out``."""
    rows, columns = x.shape
    mean, scale, bias = constants[0], constants[1], constants[2]
    one, two = np.empty(columns, np.float32), np.empty(columns, np.float32)
    for start in range(0, rows, CHUNK):
        one[:], two[:] = 0, 0
        for i in range(start, min(start + CHUNK, rows)):
            row = dy[i][first : first + columns]
            for j in range(columns):
                centred, given = _wide(x[i, j]) - mean[j], _wide(row[j])
                given = given if centred * scale[j] + bias[j] > 0 else np.float32(0)
                one[j] += given
                two[j] += given * centred
        for j in range(columns):
            out[0, j] += one[j]
            out[1, j] += two[j]


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
        share = -weight[c] / (deviation[c] * count)
        out[0, j], out[1, j] = share * d_weight[c] / deviation[c], share * d_bias[c]
    return d_weight, d_bias, out


@_compiled
def gradient(x, dy, dx, first, constants, slopes):
    """dx = scale dy + slope (x - mean) + level, with dy taken for 0 where y is."""
    rows, columns = x.shape
    mean, scale, bias = constants[0], constants[1], constants[2]
    slope, level = slopes[0], slopes[1]
    for i in range(rows):
        row = dy[i][first : first + columns]
        for j in range(columns):
            centred, given = _wide(x[i, j]) - mean[j], _wide(row[j])
            given = given if centred * scale[j] + bias[j] > 0 else np.float32(0)
            value = scale[j] * given + slope[j] * centred + level[j]
            dx[i, j] = _like(value, x[i, j])
