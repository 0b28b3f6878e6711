"""The gradient of a convolution that is pooled over 2 × 2 places and rectified, compiled when it is first used.

A window's gradient reaches one of its four places, or none: a quarter of the products, or fewer, that a convolution's
own gradient takes.

Each output goes over the windows that ReLU did not cut: the gradient of its kernel is the sum of the patches below
them, each times a number (`_add_rows` keeps it in the processor's registers), and to the gradient of each patch it adds
its kernel times that number (`_add_to_rows` keeps the kernel there). A compiler does neither by itself.
"""

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from numba.core import cgutils, types
from numba.extending import intrinsic

from poisonlab.models.kernels.vectors import HELPERS, Vectors, data_of

# Bytes, about a core's first cache: with more, pixels come from the second; with less, sums go there more often.
NEAR = 36 * 1024
NOWHERE = 4  # and above: the place of a window that ReLU cut
ONE, CUT = np.uint32(1), np.uint32(NOWHERE)  # no wider than the numbers beside them: so a processor takes many at once
Kernel = Callable[..., None]


def padded_channels(channels: int) -> int:
    """Channels that the kernels ask for: 1 or a multiple of 4."""
    return channels if channels == 1 else -(-channels // 4) * 4


def row(side: int, channels: int) -> int:
    """Numbers in a row of a kernel: vectors are full, the last numbers may belong to the next pixel and mean
    nothing.
    """
    return side if channels == 1 else -(-side * channels // 8) * 8


@functools.cache
def gradients(side: int, channels: int, by_inputs: bool, by_weights: bool) -> Kernel:
    """Compile the gradients of the inputs, of kernels of `side` × `side` × `channels`, see `padded_channels`, and of
    the bias.

    Args:
        by_inputs: whether that of the inputs is asked for.
        by_weights: whether those of weights and bias are.

    Returns:
        A function of (gradient [n, height, width, outputs], places as `pooling.pool` wrote them, inputs [n, padded
        height, padded width · channels], weights [outputs, side · row], and what it adds to: the gradients of inputs,
        weights and bias), all contiguous and, but for the places, float32. Behind the inputs it reads up to 7 numbers,
        and adds weights that mean nothing, which must be 0.
    """
    if channels == 1:
        return _one_channel(side, by_inputs, by_weights)
    line, near = row(side, channels), NEAR // 8
    helpers = HELPERS
    height, width = block(side, line)
    # The same for every processor: parts of rows that overlap are added in their order.
    part = max(w for w in range(8, line + 1, 8) if line % w == 0 and w <= 96)

    @numba.njit(cache=True, fastmath={"contract"})
    def add(gradient, places, inputs, weights, to_inputs, to_weights, to_bias):
        _ = helpers
        n, high, wide, outputs = gradient.shape
        step = inputs.shape[2]
        # Rows of windows whose pixels, and their gradients, stay in the cache while each output goes over them.
        band = max(1, min(high, (near - 2 * step) // (2 * step + wide * outputs)))
        down, right = np.uint32(step), np.uint32(channels)
        pixels, kernels = inputs.reshape(-1), weights.reshape(-1)
        pixel_sums, kernel_sums = to_inputs.reshape(-1), to_weights.reshape(-1)
        # Of each output, the windows of a band that ReLU did not cut: their gradients, and where the pixels begin that
        # they reach.
        size = outputs, band * wide
        values, offsets, counts = np.empty(size, np.float32), np.empty(size, np.uint32), np.empty(outputs, np.uint32)
        for image in range(n):
            start = image * inputs.shape[1] * step
            for top in range(0, high, band):
                counts[:] = 0
                for y in range(top, min(top + band, high)):
                    for x in range(wide):
                        own, place = gradient[image, y, x], places[image, y, x]
                        corner = np.uint32(2 * (y * step + x * channels))
                        for k in range(outputs):
                            here = np.uint32(place[k])
                            values[k, counts[k]] = own[k]
                            offsets[k, counts[k]] = corner + (here >> ONE & ONE) * down + (here & ONE) * right
                            counts[k] += np.uint32(here < CUT)
                for k in range(outputs):
                    if by_weights:
                        for window in range(counts[k]):
                            to_bias[k] += values[k, window]
                        for i in range(0, side, height):
                            for j in range(0, line, width):
                                _add_rows(  # type: ignore[call-arg]
                                    kernel_sums, (k * side + i) * line + j, line, pixels, start + i * step + j, step,
                                    values, offsets, k * band * wide, counts[k], height, width,
                                )  # fmt: skip
                    if by_inputs:
                        for i in range(side):
                            for j in range(0, line, part):
                                _add_to_rows(  # type: ignore[call-arg]
                                    pixel_sums, start + i * step + j, kernels, (k * side + i) * line + j,
                                    values, offsets, k * band * wide, counts[k], part,
                                )  # fmt: skip

    return add


def block(side: int, row: int) -> tuple[int, int]:
    """Height and width of the block of `side` rows, `row` numbers each, that three quarters of the processor's
    registers hold.
    """
    room = 384 if torch.cpu.get_capabilities().get("avx512_f") else 96
    width = max(w for w in range(8, row + 1, 8) if row % w == 0 and w <= room)
    return max(h for h in range(1, side + 1) if side % h == 0 and h * width <= max(room, width)), width


@intrinsic(prefer_literal=True)
def _add_rows(
    _, sums, goal, goal_step, rows, start, row_step, values, offsets, first, count, height, width
):  # fmt: skip
    """Add to the block of `height` × `width` numbers at `goal` of `sums` the blocks at `start` + offset of `rows`, each
    times its value.

    Args:
        goal_step, row_step: from one line of a block to the next.
        first, count: which of `values` and `offsets` are meant.
        height, width: constants; the width a multiple of 8.
    """
    number = types.uint64
    signature = types.void(sums, number, number, rows, number, number, values, offsets, number, number, height, width)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, goal, goal_step, _, start, row_step, _, _, first, count, _, _ = arguments
        write = Vectors(builder, 16 if width.literal_value % 16 == 0 else 8)
        sums, rows, values, offsets = (data_of(context, builder, signature, arguments, i) for i in (0, 3, 6, 7))

        def block(corner: Any, step: Any) -> list[Any]:
            lines = [write.sum(corner, (i, step)) for i in range(height.literal_value)]
            return [write.sum(line, (j, None)) for line in lines for j in range(0, width.literal_value, write.lanes)]

        goals = block(goal, goal_step)
        totals = [cgutils.alloca_once_value(builder, write.load(sums, place)) for place in goals]
        with cgutils.for_range(builder, count) as loop:
            every, offset = _term(write, values, offsets, builder.add(first, loop.index))
            for total, place in zip(totals, block(builder.add(start, offset), row_step), strict=True):
                builder.store(write.add(builder.load(total), write.times(every, write.load(rows, place))), total)
        for total, place in zip(totals, goals, strict=True):
            write.store(builder.load(total), sums, place)
        return context.get_dummy_value()

    return signature, code


@intrinsic(prefer_literal=True)
def _add_to_rows(_, rows, start, kernels, first_kernel, values, offsets, first, count, width):
    """Add to the rows of `width` numbers at `start` + offset of `rows` the row at `first_kernel` of `kernels` times
    each value.
    """
    number = types.uint64
    signature = types.void(rows, number, kernels, number, values, offsets, number, number, width)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, start, _, first_kernel, _, _, first, count, _ = arguments
        write = Vectors(builder, 16 if width.literal_value % 16 == 0 else 8)
        rows, kernels, values, offsets = (data_of(context, builder, signature, arguments, i) for i in (0, 2, 4, 5))
        pieces = range(0, width.literal_value, write.lanes)
        kernel = [write.load(kernels, write.sum(first_kernel, (j, None))) for j in pieces]
        with cgutils.for_range(builder, count) as loop:
            every, offset = _term(write, values, offsets, builder.add(first, loop.index))
            for j, factor in zip(pieces, kernel, strict=True):
                place = write.sum(start, (1, offset), (j, None))
                write.store(write.add(write.load(rows, place), write.times(every, factor)), rows, place)
        return context.get_dummy_value()

    return signature, code


def _term(write: Vectors, values: Any, offsets: Any, position: Any) -> tuple[Any, Any]:
    """The value at this position in every lane, and its offset."""
    offset = write.builder.load(write.builder.gep(offsets, [position]))
    return write.everywhere(values, position), write.builder.zext(offset, position.type)


def _one_channel(side: int, by_inputs: bool, by_weights: bool) -> Kernel:
    """Compile `gradients` for a single channel, whose rows fill no vector."""

    # The compiler knows the sizes, and unsigned indices need no look whether they count from the end.
    @numba.njit(cache=True, fastmath={"contract"})
    def add(gradient, places, inputs, weights, to_inputs, to_weights, to_bias):
        heights, widths = np.uint64(inputs.shape[1]), np.uint64(inputs.shape[2])
        pixels, kernels = inputs.reshape(-1), weights.reshape(-1)
        pixel_sums, kernel_sums = to_inputs.reshape(-1), to_weights.reshape(-1)
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
                            if by_weights:
                                to_bias[k] += value
                            for _ in range(side):
                                for j in range(side):
                                    i = np.uint64(j)
                                    if by_weights:
                                        kernel_sums[kernel + i] += value * pixels[pixel + i]
                                    if by_inputs:
                                        pixel_sums[pixel + i] += value * kernels[kernel + i]
                                pixel += widths
                                kernel += np.uint64(side)

    return add
