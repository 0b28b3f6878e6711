"""Convolution, max pooling over 2 × 2 places and ReLU, on a processor.

Pooling and ReLU are one sweep over memory: torch's own two cost as much as the convolution before them, because pooling
writes 8 bytes of position for every value and its backward pass fills the maps with zeros first. The results are the
same to the bit.

The convolution takes half of the products, or fewer, where its kernels are 3 × 3 (`winograd`), and its gradient a
quarter: each window passes its own on to one of four places. The results are the same up to float32's rounding.

The kernels compute first derivatives. With `create_graph=True` the backward pass uses torch's own functions instead,
so that derivatives of any order are right.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

from poisonlab.models.kernels import enabled

# Floating-point numbers in the integers of their bits: positive ones have the same order, negative ones are negative.
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
# Values of an image's maps, or to be rounded. With fewer, importing the compiler and loading its kernels takes longer
# than it saves: a second or more in a job.
LEAST = 4096


def pooled_convolution(
    inputs: Tensor, weight: Tensor, bias: Tensor, padding: int, size: int, rounds: bool = False
) -> Tensor:
    """Convolution, max pooling over windows of `size`, ReLU. A mode may take it over, as it may torch's own functions.

    Args:
        inputs: [n, channels, height, width]. weight: [outputs, channels, side, side]. bias: [outputs].
        padding: zeros around the inputs, in pixels.
        rounds: round the convolution's maps to bfloat16, and the gradient on its way back; the type stays float32.

    Returns:
        [n, outputs, …]: maps `size` times smaller than the convolution's. A window with a NaN gives NaN.
    """
    if has_torch_function_unary(inputs):
        return handle_torch_function(pooled_convolution, (inputs,), inputs, weight, bias, padding, size, rounds)
    if _taken(inputs, weight, bias, padding, size):
        return _PooledConvolution.apply(inputs, weight, bias, padding, rounds)
    return pooled_relu(F.conv2d(inputs, weight, bias, padding=padding), size, rounds)


def _taken(inputs: Tensor, weight: Tensor, bias: Tensor, padding: int, size: int) -> bool:
    """Whether `_PooledConvolution` can take over, and is worth it."""
    return (
        _swept(size, len(weight) * math.prod(_sizes(inputs, weight, padding)), inputs, weight)
        and inputs.dtype == weight.dtype == bias.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


def _sizes(inputs: Tensor, weight: Tensor, padding: int) -> list[int]:
    """Height and width of a convolution's maps."""
    return [pixels + 2 * padding - weight.shape[2] + 1 for pixels in inputs.shape[2:]]


def _swept(size: int, values: int, *tensors: Tensor) -> bool:
    """Whether maps of so many values an image are worth a kernel's import, and the tensors can be shown to it."""
    return (
        size == 2
        and values >= LEAST
        and all(tensor.device.type == "cpu" for tensor in tensors)
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)
        and enabled()
    )


def pooled_relu(maps: Tensor, size: int, rounds: bool = False) -> Tensor:
    """Max pooling over windows of `size`, then ReLU, of maps [n, channels, height, width]; see `pooled_convolution`."""
    if (
        _swept(size, maps[0].numel(), maps)
        and maps.dtype in BITS
        and maps.is_contiguous(memory_format=torch.channels_last)
    ):
        return _PooledReLU.apply(maps, rounds)
    return F.relu(F.max_pool2d(Rounded.apply(maps) if rounds else maps, size))


class Rounded(torch.autograd.Function):
    """Rounds to bfloat16, the gradient on its way back, too; stays in float32."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return rounded(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _rounded_gradient(gradient)


class GradientRounded(torch.autograd.Function):
    """Rounds the gradient on its way back alone."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return _rounded_gradient(gradient)


def _rounded_gradient(gradient: Tensor) -> Tensor:
    """The gradient rounded; with `create_graph=True` its own gradient is rounded, too, as by torch's conversions."""
    return Rounded.apply(gradient) if torch.is_grad_enabled() else rounded(gradient)


def rounded(values: Tensor) -> Tensor:
    """Float32 numbers rounded to bfloat16, in one sweep where there are many on a processor: torch's way there and back
    takes two.
    """
    result = torch.empty_like(values)
    # Memory without gaps, in whatever order: a copy has the same strides.
    dense = values.stride() == result.stride()
    worth = values.device.type == "cpu" and values.dtype == torch.float32 and values.numel() >= LEAST and dense
    if not (worth and enabled()):
        return values.bfloat16().float()
    from poisonlab.models.kernels import pooling

    flat = (tensor.detach().as_strided((tensor.numel(),), (1,)).numpy() for tensor in (values, result))
    pooling.round_all(*(array.view(np.int32) for array in flat))
    return result


class _PooledReLU(torch.autograd.Function):
    """Max pooling over 2 × 2 places, then ReLU; see `pooled_relu`."""

    @staticmethod
    def forward(context: Any, maps: Tensor, rounds: bool) -> Tensor:
        pooled, context.places = _pool(maps, rounds)
        context.shape, context.rounds = maps.shape, rounds
        return pooled

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        from poisonlab.models.kernels import pooling

        gradient = _rounded_gradient(gradient) if context.rounds else gradient
        if torch.is_grad_enabled():
            return _spread(gradient, context.places, context.shape[2:]), None
        spread = torch.empty(context.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        pooling.spread(_bits(_channels_last(gradient)), context.places, _bits(spread))
        return spread, None


class _PooledConvolution(torch.autograd.Function):
    """Convolution, max pooling over 2 × 2 places, ReLU; see `pooled_convolution`."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor, padding: int, rounds: bool) -> Tensor:
        from poisonlab.models.kernels import pooling, winograd

        outputs, channels, side, _ = weight.shape
        around = _around(inputs, padding, channels)
        if side == 3 and (channels == 1 or outputs % 8 == 0):
            height, width = _sizes(inputs, weight, padding)
            pooled, places = _empty((len(inputs), outputs, height // 2, width // 2), torch.float32)
            if channels == 1:
                kernels, convolve = (
                    weight.detach().reshape(outputs, -1).T.contiguous(),
                    pooling.convolve(rounds),
                )
            else:
                kernels = winograd.transformed(_with_channels(weight, around.shape[3]))
                convolve = winograd.convolve(around.shape[3], outputs, rounds)
            convolve(
                around.flatten(2).numpy(), kernels.numpy(), bias.detach().contiguous().numpy(), _bits(pooled), places
            )
        else:
            pooled, places = _pool(_channels_last(F.conv2d(inputs, weight, bias, padding=padding)), rounds)
        context.save_for_backward(inputs, weight, around)
        context.places, context.padding, context.rounds = places, padding, rounds
        return pooled

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from poisonlab.models.kernels.gradients import gradients, row

        inputs, weight, around = context.saved_tensors
        gradient = _rounded_gradient(gradient) if context.rounds else gradient
        if torch.is_grad_enabled():
            spread = _spread(gradient, context.places, _sizes(inputs, weight, context.padding))
            return *torch.ops.aten.convolution_backward(
                spread, inputs, weight, [len(weight)], [1, 1], 2 * [context.padding], [1, 1], False, [0, 0], 1,
                context.needs_input_grad[:3],
            ), None, None  # fmt: skip
        outputs, channels, side, _ = weight.shape
        padded, of_inputs, of_weights = around.shape[3], context.needs_input_grad[0], any(context.needs_input_grad[1:3])
        used, line = side * padded, row(side, padded)
        kernels = F.pad(_last(_with_channels(weight, padded)).flatten(2), (0, line - used))
        to_inputs = _blank(around.shape if of_inputs else (0, 0, 0, padded))
        to_weights, by_bias = torch.zeros(kernels.shape), torch.zeros(outputs)
        gradients(side, padded, of_inputs, of_weights)(
            _last(gradient).numpy(), context.places, around.flatten(2).numpy(), kernels.numpy(),
            to_inputs.numpy(), to_weights.numpy(), by_bias.numpy(),
        )  # fmt: skip
        height, width = (slice(context.padding, context.padding + pixels) for pixels in inputs.shape[2:])
        by_inputs = to_inputs.permute(0, 3, 1, 2)[:, :channels, height, width]
        by_weight = to_weights[..., :used].unflatten(2, (side, padded))[..., :channels].permute(0, 3, 1, 2)
        of_parameters = (_laid_out_as(weight, by_weight), by_bias) if of_weights else (None, None)
        return _laid_out_as(inputs, by_inputs) if of_inputs else None, *of_parameters, None, None


def _spread(gradient: Tensor, places: np.ndarray, size: Sequence[int]) -> Tensor:
    """What `pooling.spread` writes, for maps of this height and width, by torch's own functions."""
    taken = torch.from_numpy(places).permute(0, 3, 1, 2)[:, :, None] == torch.arange(4)[:, None, None]
    spread = F.pixel_shuffle(torch.where(taken, gradient[:, :, None], 0).flatten(1, 2), 2)
    return F.pad(spread, (0, size[1] - spread.shape[3], 0, size[0] - spread.shape[2]))


def _laid_out_as(tensor: Tensor, gradient: Tensor) -> Tensor:
    """The gradient in the memory layout of its tensor: a `view` that works for the tensor works for the gradient."""
    return gradient if gradient.stride() == tensor.stride() else torch.empty_like(tensor).copy_(gradient)


def _with_channels(weight: Tensor, channels: int) -> Tensor:
    """Kernels [outputs, channels, side, side] with further channels of zeros."""
    missing = channels - weight.shape[1]
    return F.pad(weight.detach(), (0, 0, 0, 0, 0, missing)) if missing else weight.detach()


def _around(inputs: Tensor, padding: int, channels: int) -> Tensor:
    """Inputs [n, channels, height, width] as [n, padded height, padded width, padded channels]; see `_blank`."""
    from poisonlab.models.kernels.gradients import padded_channels

    inputs, padded = inputs.detach().permute(0, 2, 3, 1), padded_channels(channels)
    n, height, width, _ = inputs.shape
    if not padding and channels % 8 == 0:
        return inputs.contiguous()
    around = _blank((n, height + 2 * padding, width + 2 * padding, padded))
    around[:, padding : padding + height, padding : padding + width, :channels] = inputs
    return around


def _blank(shape: tuple[int, ...]) -> Tensor:
    """Zeros, with room behind the last row for a vector that begins in it."""
    size = math.prod(shape)
    return torch.zeros(size + 16)[:size].view(shape)


def _pool(maps: Tensor, rounds: bool) -> tuple[Tensor, np.ndarray]:
    """The pooled maps and, as [n, height, width, channels], the place that each value comes from."""
    from poisonlab.models.kernels import pooling

    n, channels, height, width = maps.shape
    pooled, places = _empty((n, channels, height // 2, width // 2), maps.dtype)
    pooling.pool(rounds)(_bits(maps), _bits(pooled), places)
    return pooled, places


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, np.ndarray]:
    """Memory for maps [n, channels, height, width] and, as [n, height, width, channels], their places."""
    n, channels, height, width = shape
    maps = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
    return maps, np.empty((n, height, width, channels), np.uint8)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _last(maps: Tensor) -> Tensor:
    """Maps [n, channels, height, width] as contiguous [n, height, width, channels]."""
    return maps.detach().permute(0, 2, 3, 1).contiguous()


def _bits(maps: Tensor) -> np.ndarray:
    """The memory of maps [n, channels, height, width] as integers [n, height, width, channels]."""
    return maps.detach().permute(0, 2, 3, 1).view(BITS[maps.dtype]).numpy()
