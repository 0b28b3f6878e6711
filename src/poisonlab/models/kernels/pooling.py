"""The sweeps over memory behind `poisonlab.models.kernels.functions`, compiled when they are first used.

Pooling works on the bits of floating-point numbers: bfloat16 is no type of numpy, and integers are compared faster.
"""

import functools
from collections.abc import Callable

import numba
import numpy as np
from numba.extending import intrinsic

# The kernels are written such that a processor takes many channels at once: no branches, and integers no wider than the
# numbers.
_kernel = numba.njit(cache=True)
_part = numba.njit(inline="always")

FLOAT32 = np.int32(0), np.int32(-0x800000), np.int32(0x7FC00000)  # 0, minus infinity and NaN


@intrinsic
def bits_of(_, value):
    """The bits of a float32."""

    def code(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))

    return numba.int32(numba.float32), code


@_part
def round_bits(bits):
    """The float32 of these bits rounded to bfloat16: to the nearest, ties to even. NaN stays NaN."""
    half = np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))
    # Rounding up could turn a NaN into 0.
    number = (bits & np.int32(0x7FFFFFFF)) <= np.int32(0x7F800000)
    return np.int32(np.int32(bits + half) & np.int32(-0x10000)) if number else np.int32(bits | np.int32(0x400000))


@_kernel
def round_all(bits, results):
    """Write the bits of float32 numbers [n] rounded to bfloat16."""
    for i in range(len(bits)):
        results[i] = round_bits(bits[i])


@_part
def _least(rounded):
    """The smallest positive number that is rounded to this one."""
    return np.int32(rounded - np.int32(0x8000) + ((rounded >> np.int32(16)) & np.int32(1)))


@_part
def window(a, b, c, d, special, rounds):
    """The highest of a window's four values, at least 0, and which of the places 0 … 3 is the first to have it.

    Args:
        special: 0, minus infinity and NaN in the type of the values, as `FLOAT32`.

    Returns:
        The value, NaN if one of the four is NaN, and the place; 16 and more if no place has the value.
    """
    zero, lowest, nan = special
    highest = least = max(max(max(a, b), max(c, d)), zero)
    if rounds:
        highest = round_bits(highest)
        least = _least(highest)
    others = np.int32(a < least) + np.int32((a < least) & (b < least))
    others += np.int32((a < least) & (b < least) & (c < least))
    # The NaN that x86 computes has a sign: its bits are a negative integer. Among unsigned integers, only such NaNs
    # are above minus infinity.
    top = max(max(np.uint32(a), np.uint32(b)), max(np.uint32(c), np.uint32(d)))
    place = np.uint8(others + np.int32(16) * np.int32(highest == zero))
    return nan if top > np.uint32(lowest) else highest, place


@functools.cache
def pool(rounds: bool) -> Callable[..., None]:
    """Compile a function that pools maps and notes where each value comes from.

    Args:
        rounds: round the maps to bfloat16 before, which are float32.

    Returns:
        A function of (maps [n, height, width, channels], pooled, places).
    """

    @_kernel
    def write(maps, pooled, places):
        kind = maps.dtype.type
        special = kind(0), kind(-(1 << (8 * maps.itemsize - 9))), kind(0x7FC0 << (8 * maps.itemsize - 16))
        for n in range(pooled.shape[0]):
            for y in range(pooled.shape[1]):
                for x in range(pooled.shape[2]):
                    a, b = maps[n, 2 * y, 2 * x], maps[n, 2 * y, 2 * x + 1]
                    c, d = maps[n, 2 * y + 1, 2 * x], maps[n, 2 * y + 1, 2 * x + 1]
                    values, place = pooled[n, y, x], places[n, y, x]
                    for k in range(pooled.shape[3]):
                        e, f, g, h = a[k], b[k], c[k], d[k]
                        values[k], place[k] = window(e, f, g, h, special, rounds)

    return write


@functools.cache
def convolve(rounds: bool) -> Callable[..., None]:
    """Compile `pool` of the maps of a 3 × 3 convolution of images with one channel, which are never written to memory.

    Returns:
        A function of (padded images [n, height, width], weights [9, outputs] and bias [outputs] in float32, pooled,
        places).
    """

    @numba.njit(cache=True, fastmath={"contract"})
    def write(images, weights, bias, pooled, places):
        for n in range(pooled.shape[0]):
            for y in range(pooled.shape[1]):
                for x in range(pooled.shape[2]):
                    i = 2 * x
                    row = images[n, 2 * y]
                    a0, a1, a2, a3 = row[i], row[i + 1], row[i + 2], row[i + 3]
                    row = images[n, 2 * y + 1]
                    b0, b1, b2, b3 = row[i], row[i + 1], row[i + 2], row[i + 3]
                    row = images[n, 2 * y + 2]
                    c0, c1, c2, c3 = row[i], row[i + 1], row[i + 2], row[i + 3]
                    row = images[n, 2 * y + 3]
                    d0, d1, d2, d3 = row[i], row[i + 1], row[i + 2], row[i + 3]
                    values, place = pooled[n, y, x], places[n, y, x]
                    for k in range(pooled.shape[3]):
                        o = bias[k]
                        r, s, t = weights[0, k], weights[1, k], weights[2, k]
                        u, v, w = weights[3, k], weights[4, k], weights[5, k]
                        p, q, z = weights[6, k], weights[7, k], weights[8, k]
                        e = o + a0 * r + a1 * s + a2 * t + b0 * u + b1 * v + b2 * w + c0 * p + c1 * q + c2 * z
                        f = o + a1 * r + a2 * s + a3 * t + b1 * u + b2 * v + b3 * w + c1 * p + c2 * q + c3 * z
                        g = o + b0 * r + b1 * s + b2 * t + c0 * u + c1 * v + c2 * w + d0 * p + d1 * q + d2 * z
                        h = o + b1 * r + b2 * s + b3 * t + c1 * u + c2 * v + c3 * w + d1 * p + d2 * q + d3 * z
                        e, f, g, h = bits_of(e), bits_of(f), bits_of(g), bits_of(h)  # type: ignore[call-arg]
                        values[k], place[k] = window(e, f, g, h, FLOAT32, rounds)

    return write


@_kernel
def spread(gradient, places, maps):
    """Write the gradient [n, height, width, channels] to the places that it comes from, and 0 everywhere else."""
    zero = maps.dtype.type(0)
    height, width = gradient.shape[1:3]
    for n in range(gradient.shape[0]):
        for y in range(height):
            for row in range(2):
                for x in range(width):
                    own, place = gradient[n, y, x], places[n, y, x]
                    for column in range(2):
                        here, values = np.uint8(2 * row + column), maps[n, 2 * y + row, 2 * x + column]
                        for k in range(gradient.shape[3]):
                            value, there = own[k], place[k]
                            values[k] = value if there == here else zero
    # The last row and column of maps with an odd side are in no window.
    maps[:, 2 * height :] = zero
    maps[:, :, 2 * width :] = zero
