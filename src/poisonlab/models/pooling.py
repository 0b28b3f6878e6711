"""Convolution, max pooling over 2 × 2 places and ReLU, on a processor.

Pooling and ReLU are one sweep over memory: torch's own two cost as much as the convolution before them, because pooling writes 8 bytes of
position for every value and its backward pass fills the maps with zeros first. The results are the same to the bit.

The gradient of the convolution takes a quarter of the products: each window passes its own on to one of four places. The results are the
same up to the order of summation.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

# Floating-point numbers in the integers of their bits: positive ones have the same order, negative ones are negative.
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
# Values of an image's maps. With fewer, importing the compiler and loading its kernels takes longer than it saves: a second or more a job.
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
        [n, outputs, …]: maps `size` times smaller than the convolution's. Not a number may come out as 0.
    """
    if has_torch_function_unary(inputs):
        return handle_torch_function(pooled_convolution, (inputs,), inputs, weight, bias, padding, size, rounds)
    if _sparse(inputs, weight, padding, size):
        return _PooledConvolution.apply(inputs, weight, bias, padding, rounds)
    return pooled_relu(F.conv2d(inputs, weight, bias, padding=padding), size, rounds)


def _sparse(inputs: Tensor, weight: Tensor, padding: int, size: int) -> bool:
    """Whether `_PooledConvolution` can take over, and is faster."""
    outputs, channels, side, _ = weight.shape
    height, width = (pixels + 2 * padding - side + 1 for pixels in inputs.shape[2:])
    return (
        _swept(size, outputs * height * width, inputs, weight)
        and inputs.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        # Rows of three colours do not fill a processor's vectors: there the dense gradient is as fast.
        and (channels == 1 or channels % 8 == 0)
    )


def _swept(size: int, values: int, *tensors: Tensor) -> bool:
    """Whether maps of so many values an image are worth a kernel's import, and the tensors can be shown to it."""
    return (
        size == 2
        and values >= LEAST
        and all(tensor.device.type == "cpu" for tensor in tensors)
        and not any(torch._C._functorch.is_functorch_wrapped_tensor(tensor) for tensor in tensors)
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
        return values.bfloat16().float()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return gradient.bfloat16().float()


class _PooledReLU(torch.autograd.Function):
    """Max pooling over 2 × 2 places, then ReLU; see `pooled_relu`."""

    @staticmethod
    def forward(context: Any, maps: Tensor, rounds: bool) -> Tensor:
        pooled, context.places = _pool(maps, rounds)
        context.shape, context.rounds = maps.shape, rounds
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        from poisonlab.models import pooling_kernels

        gradient = Rounded.apply(gradient) if context.rounds else gradient
        spread = torch.empty(context.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        pooling_kernels.spread(_bits(_channels_last(gradient)), context.places, _bits(spread))
        return spread, None


class _PooledConvolution(torch.autograd.Function):
    """Convolution, max pooling over 2 × 2 places, ReLU; see `pooled_convolution`."""

    @staticmethod
    def forward(context: Any, inputs: Tensor, weight: Tensor, bias: Tensor, padding: int, rounds: bool) -> Tensor:
        outputs, channels, side, _ = weight.shape
        if (channels, side) == (1, 3):
            from poisonlab.models import pooling_kernels

            images = F.pad(inputs, (padding,) * 4)[:, 0]
            pooled, places = _empty((len(images), outputs, images.shape[1] - 2, images.shape[2] - 2), torch.float32)
            transposed = weight.detach().reshape(outputs, -1).T.contiguous()
            pooling_kernels.convolve(rounds)(
                images.numpy(), transposed.numpy(), bias.detach().numpy(), _bits(pooled), places
            )
        else:
            pooled, places = _pool(_channels_last(F.conv2d(inputs, weight, bias, padding=padding)), rounds)
        context.save_for_backward(inputs, weight)
        context.places, context.padding, context.rounds = places, padding, rounds
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        from poisonlab.models.gradient_kernels import inputs_gradient, weights_gradient

        inputs, weight = context.saved_tensors
        outputs, channels, side, _ = weight.shape
        height, width = inputs.shape[2:]
        padding = context.padding
        arrived = _last(Rounded.apply(gradient) if context.rounds else gradient).numpy()
        # [n, padded height, padded width · channels], in which a row of the convolution's window is one piece.
        around = _last(F.pad(inputs, (padding,) * 4)).flatten(2)
        by_inputs = by_weight = by_bias = None
        if context.needs_input_grad[0]:
            spread = torch.zeros_like(around)
            flat = _last(weight).flatten(1).numpy()
            inputs_gradient(side, channels)(arrived, context.places, spread.numpy(), flat)
            spread = spread.unflatten(2, (-1, channels)).permute(0, 3, 1, 2)
            by_inputs = spread[..., padding : padding + height, padding : padding + width]
        if any(context.needs_input_grad[1:3]):
            by_weight, by_bias = torch.zeros(outputs, side, side, channels), torch.zeros(outputs)
            flat = by_weight.flatten(1).numpy()
            weights_gradient(side, channels)(arrived, context.places, around.numpy(), flat, by_bias.numpy())
            by_weight = by_weight.permute(0, 3, 1, 2)
        return by_inputs, by_weight, by_bias, None, None


def _pool(maps: Tensor, rounds: bool) -> tuple[Tensor, np.ndarray]:
    """The pooled maps and, as [n, height, width, channels], the place that each value comes from."""
    from poisonlab.models import pooling_kernels

    pooled, places = _empty(maps.shape, maps.dtype)
    pooling_kernels.pool(rounds)(_bits(maps), _bits(pooled), places)
    return pooled, places


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, np.ndarray]:
    """Memory for `_pool` of maps of this shape."""
    n, channels, height, width = shape[0], shape[1], shape[2] // 2, shape[3] // 2
    pooled = torch.empty((n, channels, height, width), dtype=dtype, memory_format=torch.channels_last)
    return pooled, np.empty((n, height, width, channels), np.uint8)


def _channels_last(maps: Tensor) -> Tensor:
    return maps.contiguous(memory_format=torch.channels_last)


def _last(maps: Tensor) -> Tensor:
    """Maps [n, channels, height, width] as contiguous [n, height, width, channels]."""
    return maps.detach().permute(0, 2, 3, 1).contiguous()


def _bits(maps: Tensor) -> np.ndarray:
    """The memory of maps [n, channels, height, width] as integers [n, height, width, channels]."""
    return maps.detach().permute(0, 2, 3, 1).view(BITS[maps.dtype]).numpy()
