"""The sweeps over memory behind `poisonlab.models.pooling`, on the bits of floating-point numbers; compiled when they are first used."""

import numba
import numpy as np

# The kernels are written such that a processor takes many channels at once: no branches, and integers no wider than the numbers.
_kernel = numba.njit(cache=True)
_part = numba.njit(inline="always")


@_part
def _rounded(bits):
    """The float32 of these bits rounded to bfloat16: to the nearest, ties to even."""
    half = np.int32(0x7FFF) + ((bits >> np.int32(16)) & np.int32(1))
    return np.int32(np.int32(bits + half) & np.int32(-0x10000))


@_part
def _place(a, b, c, highest, zero):
    """Which of the four places 0 … 3 is the first with the highest value; 16 and more where none is above zero."""
    others = np.int32(a != highest) + np.int32((a != highest) & (b != highest))
    return np.uint8(
        others + np.int32((a != highest) & (b != highest) & (c != highest)) + np.int32(16) * np.int32(highest == zero)
    )


@_kernel
def pool(maps, pooled, places):
    """Write the highest of 2 × 2 maps [n, height, width, channels], at least 0, and which of the four it is."""
    zero = maps.dtype.type(0)
    for n in range(pooled.shape[0]):
        for y in range(pooled.shape[1]):
            for x in range(pooled.shape[2]):
                a, b = maps[n, 2 * y, 2 * x], maps[n, 2 * y, 2 * x + 1]
                c, d = maps[n, 2 * y + 1, 2 * x], maps[n, 2 * y + 1, 2 * x + 1]
                values, place = pooled[n, y, x], places[n, y, x]
                for k in range(pooled.shape[3]):
                    e, f, g, h = a[k], b[k], c[k], d[k]
                    values[k] = highest = max(max(max(e, f), max(g, h)), zero)
                    place[k] = _place(e, f, g, highest, zero)


@_kernel
def pool_rounded(maps, pooled, places):
    """`pool` of float32 maps rounded to bfloat16."""
    zero = np.int32(0)
    for n in range(pooled.shape[0]):
        for y in range(pooled.shape[1]):
            for x in range(pooled.shape[2]):
                a, b = maps[n, 2 * y, 2 * x], maps[n, 2 * y, 2 * x + 1]
                c, d = maps[n, 2 * y + 1, 2 * x], maps[n, 2 * y + 1, 2 * x + 1]
                values, place = pooled[n, y, x], places[n, y, x]
                for k in range(pooled.shape[3]):
                    e, f, g, h = _rounded(a[k]), _rounded(b[k]), _rounded(c[k]), _rounded(d[k])
                    values[k] = highest = max(max(max(e, f), max(g, h)), zero)
                    place[k] = _place(e, f, g, highest, zero)


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
