"""Pooling and ReLU in one sweep, against torch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from poisonlab.models import pooling
from poisonlab.models.pooling import Rounded, pooled_convolution, pooled_relu
from poisonlab.victims.precision import RoundedProducts

SHAPE = (3, 16, 18, 18)


def drawn(shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return maps.to(dtype).contiguous(memory_format=torch.channels_last).requires_grad_()


def swept(maps: torch.Tensor, rounds: bool = False) -> torch.Tensor:
    pooled = pooled_relu(maps, 2, rounds)
    assert "_PooledReLU" in type(pooled.grad_fn).__name__
    return pooled


@pytest.mark.parametrize("shape", [SHAPE, (2, 24, 17, 15), (1, 5, 40, 41)])
@pytest.mark.parametrize(("dtype", "rounds"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
def test_values_and_gradients_are_those_of_torch_to_the_bit(shape, dtype, rounds):
    maps = drawn(shape, dtype)
    found = swept(maps, rounds)
    expected = F.relu(F.max_pool2d(Rounded.apply(maps) if rounds else maps, 2))
    slope = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    gradients = [torch.autograd.grad(pooled, maps, slope)[0] for pooled in (found, expected)]
    assert torch.equal(*gradients)
    assert gradients[0].count_nonzero() > 0.2 * found.numel()


def test_ties_go_to_the_first_place_and_nothing_to_windows_without_a_positive_value():
    maps = torch.zeros(SHAPE).contiguous(memory_format=torch.channels_last)
    maps[0] = 1.0
    maps[1] = -1.0
    maps.requires_grad_()
    swept(maps).sum().backward()
    assert maps.grad is not None
    assert (maps.grad[0, :, ::2, ::2] == 1).all()
    assert maps.grad[0].sum() == maps.grad.sum() == 16 * 9 * 9


@pytest.mark.parametrize(
    "maps",
    [
        drawn(dtype=torch.float64),
        drawn().detach().contiguous().requires_grad_(),  # channels first
        drawn((3, 16, 8, 8)),  # too small to be worth the compiler's import
    ],
)
def test_other_maps_are_pooled_by_torch(maps):
    assert torch.equal(pooled_relu(maps, 2), F.relu(F.max_pool2d(maps, 2)))
    assert "_PooledReLU" not in type(pooled_relu(maps, 2).grad_fn).__name__


def test_windows_of_another_size_and_batches_of_vmap_are_pooled_by_torch():
    assert torch.equal(pooled_relu(drawn(), 3), F.relu(F.max_pool2d(drawn(), 3)))
    several = torch.stack([drawn(), 2 * drawn()]).detach()
    together = torch.func.vmap(lambda maps: pooled_relu(maps, 2))(several)
    assert torch.equal(together[1], 2 * together[0])


def test_rounded_products_round_a_pooled_convolution_once(monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    convolution, inputs = nn.Conv2d(4, 16, 3, padding=1).to(memory_format=torch.channels_last), drawn((2, 4, 18, 18))  # type: ignore[call-overload]
    rounded = []
    monkeypatch.setattr(pooling, "_PooledReLU", _Listening(rounded, pooling._PooledReLU))
    with RoundedProducts():
        found = pooled_convolution(convolution, inputs, 2)
        expected = F.relu(F.max_pool2d(F.conv2d(inputs, convolution.weight, convolution.bias, padding=1), 2))
    assert rounded == [True]
    assert torch.equal(found, expected)
    assert torch.equal(found, found.bfloat16().float())
    of = (inputs, convolution.weight, convolution.bias)
    gradients = [torch.autograd.grad(pooled.square().sum(), of) for pooled in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


class _Listening:
    """A function of autograd that notes whether it is asked to round."""

    def __init__(self, heard: list[bool], function: type[torch.autograd.Function]) -> None:
        self.heard, self.function = heard, function

    def apply(self, maps: torch.Tensor, rounds: bool) -> torch.Tensor:
        self.heard.append(rounds)
        return self.function.apply(maps, rounds)
