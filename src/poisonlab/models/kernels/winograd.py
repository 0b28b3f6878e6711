"""A 3 × 3 convolution that is pooled over 2 × 2 places and rectified, by Winograd's minimal filtering, compiled when it
is first used.

F(2 × 2, 3 × 3) (Lavin & Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4.1) computes just a
pooling window: 16 products for its four places instead of 36, and the convolution's maps are never written to memory.
The sums are the same up to float32's rounding.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numba
import numpy as np
import torch
from numba.core import cgutils, types
from numba.extending import intrinsic
from torch import Tensor

from poisonlab.models.kernels.pooling import FLOAT32, window
from poisonlab.models.kernels.vectors import HELPERS, Vectors, data_of

PRODUCTS = 16  # of a window and its filters
CACHE = 384 * 1024  # bytes of windows on their way, less than a core's second cache


def transformed(weight: Tensor) -> Tensor:
    """Filters [outputs, channels, 3, 3] as [16, channels, outputs], G g Gᵀ of each."""
    for _ in range(2):
        a, b, c = weight.unbind(2)
        weight = torch.stack([a, (a + c + b) / 2, (a + c - b) / 2, c], dim=-1)
    return weight.permute(2, 3, 1, 0).flatten(0, 1).contiguous()


def vectors(outputs: int) -> tuple[int, int, int]:
    """Windows at once, vectors of outputs for each of them, numbers in a vector: what three quarters of the processor's
    registers hold.
    """
    room, widest = (24, 16) if torch.cpu.get_capabilities().get("avx512_f") else (12, 8)
    lanes = widest if outputs % widest == 0 else 8
    wide = max(w for w in (1, 2, 3, 4) if outputs // lanes % w == 0)
    return room // wide, wide, lanes


@functools.cache
def convolve(channels: int, outputs: int, rounds: bool) -> Callable[..., None]:
    """Compile `pooling.pool` of the maps of a 3 × 3 convolution; channels are a multiple of 4, outputs of 8.

    Returns:
        A function of (padded images [n, height, width · channels], `transformed` filters, bias, pooled, places), all
        contiguous.
    """
    at_once, wide, lanes = vectors(outputs)
    of_channels = next(many for many in (16, 8, 4) if many <= lanes and channels % many == 0)
    group = max(CACHE // (4 * PRODUCTS * (channels + outputs)) // at_once, 1) * at_once
    step = wide * lanes
    helpers = HELPERS

    @numba.njit(cache=True, fastmath={"contract"})
    def write(images, filters, bias, pooled, places):
        _ = helpers
        n, high, across = pooled.shape[0], pooled.shape[1], pooled.shape[2]
        height, row = images.shape[1], images.shape[2]
        pixels, weights = images.reshape(-1), filters.reshape(-1)
        windows = np.zeros(PRODUCTS * group * channels, np.float32)
        products = np.empty(PRODUCTS * group * outputs, np.float32)
        values = np.empty(4 * outputs, np.float32)
        a, b = values[:outputs].view(np.int32), values[outputs : 2 * outputs].view(np.int32)
        c, d = values[2 * outputs : 3 * outputs].view(np.int32), values[3 * outputs :].view(np.int32)
        for first in range(0, n * high * across, group):
            count = min(group, n * high * across - first)
            for t in range(count):
                image, y, x = (first + t) // (high * across), (first + t) // across % high, (first + t) % across
                corner = (image * height + 2 * y) * row + 2 * x * channels
                _of_window(  # type: ignore[call-arg]
                    pixels, corner, row, channels, windows, t * channels, group * channels, of_channels,
                )  # fmt: skip
            for p in range(PRODUCTS):
                for t in range(0, count, at_once):
                    for k in range(0, outputs, step):
                        _multiply(  # type: ignore[call-arg]
                            products, (p * group + t) * outputs + k, outputs,
                            windows, (p * group + t) * channels, channels,
                            weights, p * channels * outputs + k, at_once, wide, lanes,
                        )  # fmt: skip
            for t in range(count):
                image, y, x = (first + t) // (high * across), (first + t) // across % high, (first + t) % across
                _of_products(  # type: ignore[call-arg]
                    products, t * outputs, group * outputs, bias, values, outputs, lanes
                )
                pool, place = pooled[image, y, x], places[image, y, x]
                for k in range(outputs):
                    pool[k], place[k] = window(a[k], b[k], c[k], d[k], FLOAT32, rounds)

    return write


@intrinsic(prefer_literal=True)
def _of_window(_, pixels, start, row, channels, windows, at, step, lanes):
    """Write Bᵀ d B of the 4 × 4 pixels d at `start`, number p of 16 at `at` + p · `step`."""
    number = types.uint64
    signature = types.void(pixels, number, number, number, windows, number, number, lanes)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, start, row, channels, _, at, step, _ = arguments
        write = Vectors(builder, lanes.literal_value)
        source, goal = (data_of(context, builder, signature, arguments, i) for i in (0, 4))
        with write.along(channels) as i:
            places = [[write.sum(start, (r, row), (q, channels), (1, i)) for q in range(4)] for r in range(4)]
            patch = [[write.load(source, place) for place in line] for line in places]
            columns = [_differences(write, column) for column in zip(*patch, strict=True)]
            for p, line in enumerate(zip(*columns, strict=True)):
                for q, value in enumerate(_differences(write, line)):
                    write.store(value, goal, write.sum(at, (4 * p + q, step), (1, i)))
        return context.get_dummy_value()

    return signature, code


@intrinsic(prefer_literal=True)
def _multiply(_, products, goal, outputs, windows, start, channels, filters, first, at_once, wide, lanes):
    """Write to `products` the rows of `windows` times the columns of `filters`, a block of both whose sums stay in
    registers.
    """
    number = types.uint64
    signature = types.void(products, number, number, windows, number, number, filters, number, at_once, wide, lanes)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, goal, outputs, _, start, channels, _, first, *_ = arguments
        write = Vectors(builder, lanes.literal_value)
        sums, rows, columns = (data_of(context, builder, signature, arguments, i) for i in (0, 3, 6))
        windows, parts = range(at_once.literal_value), range(wide.literal_value)
        totals = [[cgutils.alloca_once_value(builder, write.zero) for _ in parts] for _ in windows]
        with cgutils.for_range(builder, channels) as loop:
            line = builder.add(first, builder.mul(loop.index, outputs))
            factors = [write.load(columns, write.sum(line, (k * write.lanes, None))) for k in parts]
            for t in windows:
                every = write.everywhere(rows, write.sum(start, (t, channels), (1, loop.index)))
                for total, factor in zip(totals[t], factors, strict=True):
                    builder.store(write.add(builder.load(total), write.times(every, factor)), total)
        for t in windows:
            for k in parts:
                write.store(builder.load(totals[t][k]), sums, write.sum(goal, (t, outputs), (k * write.lanes, None)))
        return context.get_dummy_value()

    return signature, code


@intrinsic(prefer_literal=True)
def _of_products(_, products, at, step, bias, values, outputs, lanes):
    """Write Aᵀ m A + bias, the four places of a window one after the other, of the 4 × 4 products m."""
    number = types.uint64
    signature = types.void(products, number, number, bias, values, number, lanes)

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, at, step, _, _, outputs, _ = arguments
        write = Vectors(builder, lanes.literal_value)
        source, shift, goal = (data_of(context, builder, signature, arguments, i) for i in (0, 3, 4))
        with write.along(outputs) as i:
            places = [[write.sum(at, (4 * r + q, step), (1, i)) for q in range(4)] for r in range(4)]
            columns = [_sums(write, [write.load(source, line[q]) for line in places]) for q in range(4)]
            for r, line in enumerate(zip(*columns, strict=True)):
                for q, value in enumerate(_sums(write, line)):
                    biased = write.add(value, write.load(shift, i))
                    write.store(biased, goal, write.sum(i, (2 * r + q, outputs)))
        return context.get_dummy_value()

    return signature, code


def _differences(write: Vectors, line: Sequence[Any]) -> list[Any]:
    """Bᵀ times a column."""
    a, b, c, d = line
    return [write.subtract(a, c), write.add(b, c), write.subtract(c, b), write.subtract(b, d)]


def _sums(write: Vectors, line: Sequence[Any]) -> list[Any]:
    """Aᵀ times a column."""
    a, b, c, d = line
    return [write.add(write.add(a, b), c), write.subtract(write.subtract(b, c), d)]
