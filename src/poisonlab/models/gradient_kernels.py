"""The gradient of a convolution that is pooled over 2 × 2 places and rectified, compiled when it is first used.

A window's gradient reaches one of its four places, or none: a quarter of the products, or fewer, that a convolution's own gradient takes.

Both gradients are sums of rows, each times a number: that of a kernel is the sum of the patches below its windows, that of a patch the sum
of the kernels. `_add_rows` keeps such a sum in the processor's registers, which a compiler does not by itself.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

NOWHERE = 4  # and above: the place of a window that ReLU cut
ONE, CUT = np.uint32(1), np.uint32(NOWHERE)  # no wider than the numbers beside them: so a processor takes many at once
Kernel = Callable[..., None]


@functools.cache
def weights_gradient(side: int, channels: int) -> Kernel:
    """Compile the gradient of kernels of `side` × `side` × `channels`, 1 or a multiple of 8, and of the bias.

    Returns:
        A function of (gradient [n, height, width, outputs], places as `pooling_kernels.pool` wrote them, inputs [n, padded height, padded
        width · channels], weights [outputs, side · side · channels], bias [outputs]), all contiguous and, but for the places, float32. It
        adds to `weights` and `bias`.
    """
    if channels == 1:
        return _one_channel(side, of_weights=True)
    row = side * channels
    height, width = block(side, row)

    @numba.njit(cache=True, fastmath={"contract"})
    def add(gradient, places, inputs, weights, bias):
        n, high, wide, outputs = gradient.shape
        windows, step = high * wide, inputs.shape[2]
        down, right = np.uint32(step), np.uint32(channels)
        pixels, kernels = inputs.reshape(-1), weights.reshape(-1)
        values, offsets = np.empty((windows, outputs), np.float32), np.empty((windows, outputs), np.uint32)
        for image in range(n):
            for y in range(high):
                for x in range(wide):
                    own, place = gradient[image, y, x], places[image, y, x]
                    value, offset = values[y * wide + x], offsets[y * wide + x]
                    corner = np.uint32(2 * y * step + 2 * x * channels)
                    for k in range(outputs):
                        here = np.uint32(place[k])
                        value[k] = own[k] if here < CUT else np.float32(0)
                        bias[k] += value[k]
                        offset[k] = corner + (here >> ONE & ONE) * down + (here & ONE) * right
            for k in range(outputs):
                for i in range(0, side, height):
                    for j in range(0, row, width):
                        _add_rows(  # type: ignore[call-arg]
                            kernels, (k * side + i) * row + j, row, pixels, (image * inputs.shape[1] + i) * step + j, step,
                            values, offsets, k, outputs, windows, height, width,
                        )  # fmt: skip

    return add


@functools.cache
def inputs_gradient(side: int, channels: int) -> Kernel:
    """Compile the gradient of the inputs, for kernels of `side` × `side` × `channels`, 1 or a multiple of 8.

    Returns:
        A function of (gradient, places, inputs, weights), see `weights_gradient`. It adds to `inputs`.
    """
    if channels == 1:
        return _one_channel(side, of_weights=False)
    row = side * channels
    height, width = block(side, row)

    @numba.njit(cache=True, fastmath={"contract"})
    def add(gradient, places, inputs, weights):
        n, high, wide, outputs = gradient.shape
        step = inputs.shape[2]
        pixels, kernels = inputs.reshape(-1), weights.reshape(-1)
        # The outputs of a window by the place that they reach, and those that reach none.
        values, offsets = np.empty((NOWHERE + 1, outputs), np.float32), np.empty((NOWHERE + 1, outputs), np.uint32)
        counts = np.empty(NOWHERE + 1, np.uint32)
        for image in range(n):
            for y in range(high):
                for x in range(wide):
                    own, place = gradient[image, y, x], places[image, y, x]
                    counts[:] = 0
                    for k in range(outputs):
                        here = min(place[k], np.uint8(NOWHERE))
                        values[here, counts[here]], offsets[here, counts[here]] = own[k], k * side * row
                        counts[here] += ONE
                    for here in range(NOWHERE):
                        top = image * inputs.shape[1] + 2 * y + (here >> 1)
                        left = (2 * x + (here & 1)) * channels
                        for i in range(0, side, height):
                            for j in range(0, row, width):
                                _add_rows(  # type: ignore[call-arg]
                                    pixels, (top + i) * step + left + j, step, kernels, i * row + j, row,
                                    values, offsets, here * outputs, 1, counts[here], height, width,
                                )  # fmt: skip

    return add


def block(side: int, row: int) -> tuple[int, int]:
    """Height and width of the block of `side` rows, `row` numbers each, that three quarters of the processor's registers hold."""
    room = 384 if torch.cpu.get_capabilities().get("avx512_f") else 96
    width = max(w for w in range(8, row + 1, 8) if row % w == 0 and w <= room)
    return max(h for h in range(1, side + 1) if side % h == 0 and h * width <= max(room, width)), width


@intrinsic(prefer_literal=True)
def _add_rows(
    _, sums, goal, goal_step, rows, start, row_step, values, offsets, first, step, count, height, width
):  # fmt: skip
    """Add to the block of `height` × `width` numbers at `goal` of `sums` the blocks at `start` + offset of `rows`, each times its value.

    Args:
        goal_step, row_step: from one line of a block to the next.
        first, step, count: which of `values` and `offsets` are meant.
        height, width: constants; the width a multiple of 8.
    """
    number = types.uint64
    signature = types.void(
        sums, number, number, rows, number, number, values, offsets, number, number, number, height, width
    )

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = 16 if width.literal_value % 16 == 0 else 8
        index, vector = ir.IntType(64), ir.VectorType(ir.FloatType(), lanes)
        _, goal, goal_step, _, start, row_step, _, _, first, step, count, _, _ = arguments
        sums, rows, values, offsets = (
            context.make_array(signature.args[i])(context, builder, arguments[i]).data for i in (0, 3, 6, 7)
        )

        def after(pointer: Any, distance: Any) -> Any:
            return builder.gep(pointer, [index(distance) if isinstance(distance, int) else distance])

        def block(corner: Any, line_step: Any) -> list[Any]:
            lines = [after(corner, builder.mul(line_step, index(i))) for i in range(height.literal_value)]
            return [
                builder.bitcast(after(line, j), vector.as_pointer())
                for line in lines
                for j in range(0, width.literal_value, lanes)
            ]

        goals = block(after(sums, goal), goal_step)
        totals = [cgutils.alloca_once_value(builder, builder.load(piece, align=4)) for piece in goals]
        with cgutils.for_range(builder, count) as loop:
            i = builder.add(first, builder.mul(loop.index, step))
            value = builder.load(after(values, i))
            offset = builder.zext(builder.load(after(offsets, i)), index)
            one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.IntType(32)(0))
            every = builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))
            for total, piece in zip(totals, block(after(rows, builder.add(start, offset)), row_step), strict=True):
                product = builder.fmul(every, builder.load(piece, align=4), flags=("contract",))
                builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        for total, piece in zip(totals, goals, strict=True):
            builder.store(builder.load(total), piece, align=4)
        return context.get_dummy_value()

    return signature, code


def _one_channel(side: int, of_weights: bool) -> Kernel:
    """Compile `weights_gradient` or `inputs_gradient` for a single channel, whose rows fill no vector."""

    # The compiler knows the sizes, and unsigned indices need no look whether they count from the end.
    @numba.njit(cache=True, fastmath={"contract"})
    def add(gradient, places, inputs, weights, bias=None):
        heights, widths = np.uint64(inputs.shape[1]), np.uint64(inputs.shape[2])
        pixels, kernels = inputs.reshape(-1), weights.reshape(-1)
        for n in range(gradient.shape[0]):
            for y in range(gradient.shape[1]):
                for x in range(gradient.shape[2]):
                    for k in range(gradient.shape[3]):
                        place = places[n, y, x, k]
                        if place < NOWHERE:
                            value = gradient[n, y, x, k]
                            top, left = np.uint64(2 * y + (place >> 1)), np.uint64(2 * x + (place & 1))
                            pixel = (np.uint64(n) * heights + top) * widths + left
                            kernel = np.uint64(k * side * side)
                            if of_weights:
                                bias[k] += value
                            for _ in range(side):
                                for j in range(side):
                                    i = np.uint64(j)
                                    if of_weights:
                                        kernels[kernel + i] += value * pixels[pixel + i]
                                    else:
                                        pixels[pixel + i] += value * kernels[kernel + i]
                                pixel += widths
                                kernel += np.uint64(side)

    return add
