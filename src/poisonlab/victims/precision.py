"""The arithmetic of training: what `precision: float32` and `precision: bfloat16` mean on this processor."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from poisonlab.models.kernels.functions import GradientRounded, Rounded, pooled_convolution

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# In the words of `torch.cpu.get_capabilities`: x86 without and with matrix units, ARM.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")

# The products that autocast computes in bfloat16, as far as networks use them.
PRODUCTS = {
    F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose2d, torch.matmul, torch.mm, torch.bmm, torch.addmm,
    torch.baddbmm, Tensor.matmul, Tensor.__matmul__, Tensor.mm, Tensor.bmm,
}  # fmt: skip


def computing_in(dtype: torch.dtype, device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Return the context in which a network's forward pass is computed in `dtype`; its parameters and inputs are
    float32.

    bfloat16 is torch's autocast where the device can compute it. A processor that cannot would take three times as long
    as in float32, one without AVX-512 a hundred times; there `RoundedProducts` computes the same up to float32's
    rounding.
    """
    if dtype == torch.float32:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype) if computes_bfloat16(device) else RoundedProducts()


def computes_bfloat16(device: torch.device) -> bool:
    """Whether products in bfloat16 are at least as fast as in float32 here; of a processor, whether it has instructions
    for them.

    Torch's own word for it, that oneDNN can, is true of any AVX-512.
    """
    if device.type != "cpu":
        return True
    has = torch.cpu.get_capabilities()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported() and any(has.get(name) for name in BFLOAT16_INSTRUCTIONS)


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let this thread take numbers below 1.2e-38 for 0, where its processor can.

    What no gradient reaches any more, a dead unit's weights, leaves Adam's moments shrinking for good: they end among
    the numbers that a processor computes many times as slowly, where they are far below what Adam divides by (1e-8). On
    MNIST that took a seventh of a victim's training time.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute each operation with one thread, and afterwards with as many as before.

    Torch divides an operation among several threads by its size. A victim trained alone would then differ in its last
    bits from the same victim trained among others.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# What passes rounded numbers on as they are.
PASSING = {F.relu, torch.relu, torch.flatten, Tensor.relu, Tensor.flatten, Tensor.permute, Tensor.reshape, Tensor.view}


class RoundedProducts(TorchFunctionMode):
    """Rounds the operands and the results of products to bfloat16 and multiplies in float32.

    That is what hardware for bfloat16 does, up to float32's rounding: exact products of rounded numbers, summed in
    float32, then rounded. Numbers that are known to be rounded are not rounded again; their gradients are.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Compute `func`, rounded if it is a product."""
        kwargs = kwargs or {}
        if func is pooled_convolution:
            *products, padding, size, _ = args
            return _known(func(*(_round(value) for value in products), padding, size, rounds=True))
        if func in PRODUCTS:
            args = tuple(_round(value) for value in args)
            return _round(func(*args, **{name: _round(value) for name, value in kwargs.items()}))
        result = func(*args, **kwargs)
        return _known(result) if func in PASSING and args and _is_known(args[0]) else result


def _round(value: Any) -> Any:
    if not isinstance(value, Tensor) or value.dtype != torch.float32:
        return value
    return GradientRounded.apply(value) if _is_known(value) else _known(Rounded.apply(value))


def _known(rounded: Tensor) -> Tensor:
    """Note that the numbers are rounded, until somebody writes to them.

    (Torch does not count what is written by `.data` or `.numpy()`.)
    """
    if not rounded.is_inference():  # without a version
        rounded.rounded_at = rounded._version  # type: ignore[attr-defined]
    return rounded


def _is_known(value: Tensor) -> bool:
    return not value.is_inference() and getattr(value, "rounded_at", None) == value._version
