"""Max pooling over 2 × 2 places and ReLU in one sweep over memory, on a processor.

There torch's own two cost as much as the convolution before them: pooling writes 8 bytes of position for every value, its backward pass
fills the maps with zeros first. The results are the same to the bit.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import handle_torch_function, has_torch_function_unary

# Floating-point numbers in the integers of their bits: positive ones have the same order, negative ones are negative.
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16}
# Values of an image's maps. With fewer, importing the compiler and loading its kernels takes longer than it saves: a second or more a job.
LEAST = 4096


def pooled_convolution(convolution: nn.Module, inputs: Tensor, size: int) -> Tensor:
    """Convolution, max pooling over windows of `size`, ReLU. A mode may take it over, as it may torch's own functions."""
    if has_torch_function_unary(inputs):
        return handle_torch_function(pooled_convolution, (inputs,), convolution, inputs, size)
    return pooled_relu(convolution(inputs), size)


def pooled_relu(maps: Tensor, size: int, rounds: bool = False) -> Tensor:
    """Max pooling over windows of `size`, then ReLU, of maps [n, channels, height, width].

    Args:
        rounds: round the maps to bfloat16 before, and the gradient on its way back; the type stays float32.

    Returns:
        [n, channels, height // size, width // size]. Not a number may come out as 0.
    """
    swept = (
        size == 2
        and maps.device.type == "cpu"
        and maps.dtype in BITS
        and maps[0].numel() >= LEAST
        and not torch._C._functorch.is_functorch_wrapped_tensor(maps)
        and maps.is_contiguous(memory_format=torch.channels_last)
    )
    if swept:
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
        from poisonlab.models import pooling_kernels

        n, channels, height, width = maps.shape
        shape = (n, channels, height // 2, width // 2)
        pooled = torch.empty(shape, dtype=maps.dtype, memory_format=torch.channels_last)
        context.places = np.empty((n, height // 2, width // 2, channels), np.uint8)
        context.shape, context.rounds = maps.shape, rounds
        (pooling_kernels.pool_rounded if rounds else pooling_kernels.pool)(_bits(maps), _bits(pooled), context.places)
        return pooled

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        from poisonlab.models import pooling_kernels

        gradient = Rounded.apply(gradient) if context.rounds else gradient
        spread = torch.empty(context.shape, dtype=gradient.dtype, memory_format=torch.channels_last)
        pooling_kernels.spread(
            _bits(gradient.contiguous(memory_format=torch.channels_last)), context.places, _bits(spread)
        )
        return spread, None


def _bits(maps: Tensor) -> np.ndarray:
    """The memory of maps [n, channels, height, width] as integers [n, height, width, channels]."""
    return maps.detach().permute(0, 2, 3, 1).view(BITS[maps.dtype]).numpy()
