"""Pooling and ReLU in one sweep, against torch's own."""

import subprocess
import sys
from typing import Any

import pytest
import torch
import torchattacks
from torch.nn import functional as F

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.models.kernels import SWITCH, enabled, gradients, winograd
from poisonlab.models.kernels.functions import (
    LEAST,
    GradientRounded,
    Rounded,
    pooled_convolution,
    pooled_relu,
    rounded,
)
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


def test_rounding_is_that_of_torch_to_the_bit():
    bits = torch.randint(-(2**31), 2**31 - 1, (64, 16, 16, 16), generator=torch.Generator().manual_seed(0))
    bits[:, 0] = bits[:, 0] // 2**15 * 2**15  # halfway between two numbers of bfloat16, or one of them
    values = bits.to(torch.int32).view(torch.float32)
    edges = [0.0, -0.0, float("inf"), float("-inf"), 3.4e38, 1e-45, 1e-39]  # the last two: denormals
    values.view(-1)[: len(edges)] = torch.tensor(edges)
    last = values.contiguous(memory_format=torch.channels_last)
    for layout in (values, last, values.flatten(1).T, values[:, 3:9], values[3:5], values[:1, :1, :1]):
        found, expected = rounded(layout), layout.bfloat16().float()
        known = ~expected.isnan()
        assert torch.equal(found.isnan(), ~known)
        assert torch.equal(found[known].view(torch.int32), expected[known].view(torch.int32))
    assert expected.numel() < LEAST < values[3:5].numel()
    assert rounded(last).is_contiguous(memory_format=torch.channels_last)


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


def convolution(inputs: torch.Tensor, outputs: int = 16, side: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn((outputs, inputs.shape[1], side, side), generator=generator) / (side * inputs.shape[1] ** 0.5)
    bias = torch.randn(outputs, generator=generator)
    return weight.contiguous(memory_format=torch.channels_last).requires_grad_(), bias.requires_grad_()


def in_torch(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, padding: int) -> torch.Tensor:
    return F.relu(F.max_pool2d(F.conv2d(inputs, weight, bias, padding=padding), 2))


every_convolution = pytest.mark.parametrize(
    ("shape", "outputs", "side", "padding"),
    [
        ((5, 1, 28, 28), 16, 3, 1),
        ((4, 16, 14, 14), 32, 3, 1),
        ((3, 3, 32, 32), 32, 3, 1),  # three colours
        ((2, 12, 17, 18), 40, 3, 0),
        ((2, 6, 20, 20), 16, 5, 2),
        ((2, 8, 19, 22), 24, 5, 2),  # an odd side: the last row and column are in no window
        ((2, 32, 20, 19), 17, 4, 0),
    ],
)


@every_convolution
def test_gradients_of_a_pooled_convolution_are_those_of_float64(shape, outputs, side, padding):
    inputs = drawn(shape)
    weight, bias = convolution(inputs, outputs, side)
    found = pooled_convolution(inputs, weight, bias, padding, 2)
    assert "_PooledConvolution" in type(found.grad_fn).__name__
    torch.testing.assert_close(found, in_torch(inputs, weight, bias, padding))
    slope = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    exact = [tensor.detach().double().requires_grad_() for tensor in (inputs, weight, bias)]
    expected = torch.autograd.grad(in_torch(*exact, padding), exact, slope.double())
    for gradient, reference in zip(torch.autograd.grad(found, (inputs, weight, bias), slope), expected, strict=True):
        # Sums of up to a thousand terms in float32; a single place taken for another is off by a thousand times as much.
        torch.testing.assert_close(gradient.double(), reference, rtol=0, atol=1e-5 * float(reference.abs().max()))


def second_derivatives(
    pooled: torch.Tensor, slope: torch.Tensor, of: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, ...]:
    """Gradients of inputs, weight and slope of the squared norm of the gradients of inputs, weight and bias."""
    pulled = torch.autograd.grad(pooled, of, slope, create_graph=True)
    return torch.autograd.grad(torch.stack([one.square().sum() for one in pulled]).sum(), (*of[:2], slope))


@every_convolution
def test_second_derivatives_of_a_pooled_convolution_are_those_of_float64(shape, outputs, side, padding):
    of = (drawn(shape), *convolution(drawn(shape), outputs, side))
    pooled = pooled_convolution(*of, padding, 2)
    slope = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
    exact = tuple(tensor.detach().double().requires_grad_() for tensor in of)
    expected = second_derivatives(in_torch(*exact, padding), slope.double(), exact)
    for gradient, reference in zip(second_derivatives(pooled, slope, of), expected, strict=True):
        # As for the gradients; the norm counts every place.
        assert (gradient.double() - reference).norm() <= 1e-5 * reference.norm()


@pytest.mark.parametrize("shape", [SHAPE, (2, 24, 17, 15)])
@pytest.mark.parametrize(("dtype", "rounds"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
def test_second_derivatives_of_pooled_maps_are_those_of_torch_to_the_bit(shape, dtype, rounds):
    def of(pool: Any) -> tuple[torch.Tensor, ...]:
        maps = drawn(shape, dtype)
        gradient = torch.autograd.grad(pool(maps).pow(3).sum(), maps, create_graph=True)[0]
        return gradient, torch.autograd.grad(gradient.pow(2).sum(), maps)[0]

    found = of(lambda maps: swept(maps, rounds))
    expected = of(lambda maps: F.relu(F.max_pool2d(maps.bfloat16().float() if rounds else maps, 2)))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert found[1].any()


@pytest.mark.parametrize("shape", [(7,), (3, LEAST)])  # without the kernel and with it
def test_second_derivatives_of_rounded_numbers_are_those_of_torch_to_the_bit(shape):
    def of(rounds: Any) -> tuple[torch.Tensor, ...]:
        values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
        gradient = torch.autograd.grad(rounds(values).pow(3).sum(), values, create_graph=True)[0]
        return gradient, torch.autograd.grad(gradient.pow(2).sum(), values)[0]

    found, expected = of(Rounded.apply), of(lambda values: values.bfloat16().float())
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    # It rounds on the way back alone: the derivatives of v³ and of r², where r is 3v² rounded.
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    first = (3 * values.pow(2)).bfloat16().float()
    gradient, second = of(GradientRounded.apply)
    assert torch.equal(gradient, first)
    assert torch.equal(second, ((2 * first).bfloat16().float() * 6 * values).bfloat16().float())


@pytest.mark.parametrize("asked", [(0,), (1,), (2,), (1, 2)])
def test_a_gradient_may_be_asked_for_alone(asked):
    inputs = drawn()
    parameters = (inputs, *convolution(inputs))
    few = [tensor if i in asked else tensor.detach() for i, tensor in enumerate(parameters)]
    wanted = [parameters[i] for i in asked]
    found = torch.autograd.grad(pooled_convolution(*few, 1, 2).square().sum(), wanted)
    expected = torch.autograd.grad(pooled_convolution(*parameters, 1, 2).square().sum(), wanted)
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    again = torch.autograd.grad(pooled_convolution(*few, 1, 2).square().sum(), wanted, create_graph=True)
    for one, other in zip(again, expected, strict=True):
        assert one.requires_grad
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))  # sums in another order


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [3, 16])
def test_gradients_have_the_memory_layout_of_what_they_belong_to(layout, channels):
    inputs = drawn((2, channels, 18, 18)).detach().contiguous(memory_format=layout)
    weight = convolution(inputs)[0].detach().contiguous(memory_format=layout)
    of = inputs.requires_grad_(), weight.requires_grad_()
    found = torch.autograd.grad(pooled_convolution(*of, torch.zeros(16), 1, 2).sum(), of)
    assert [gradient.stride() for gradient in found] == [tensor.stride() for tensor in of]


def test_an_attack_of_torchattacks_takes_the_gradient_as_one_vector():
    model = models.build("pooled", (1, 28, 28), 10, seed=0).eval()
    images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    attack = torchattacks.PGDL2(model, eps=1.0, alpha=0.5, steps=2, random_start=False)
    offsets = (attack(images, torch.arange(3)) - images).flatten(1).norm(dim=1)
    assert (offsets > 0.5).all()
    assert (offsets <= 1 + 1e-5).all()  # single precision


# `float("nan")`, what x86 computes for ∞ − ∞, and two that rounding up to bfloat16 would turn into 0.
NANS = torch.tensor([0x7FC00000, -0x400000, 0x7FFFFFFF, -1], dtype=torch.int32).view(torch.float32)


@pytest.mark.parametrize("nan", NANS)
@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("rounds", [False, True])
@pytest.mark.parametrize(("channels", "side"), [(1, 3), (16, 3), (16, 5)])
def test_nan_gives_nan_where_it_reaches_and_changes_nothing_else(channels, side, rounds, where, nan):
    inputs = drawn((2, channels, 18, 18))
    tensors = [tensor.detach().clone() for tensor in (inputs, *convolution(inputs, side=side))]
    clean = pooled_convolution(*tensors, 1, 2, rounds)
    tensors[where][tuple(size // 2 for size in tensors[where].shape)] = nan
    found = pooled_convolution(*tensors, 1, 2, rounds)
    expected = in_torch(*(tensor.double() for tensor in tensors), 1)
    assert torch.equal(found.isnan(), expected.isnan())
    assert expected.isnan().any()
    assert torch.equal(found[~found.isnan()], clean[~found.isnan()])


@pytest.mark.parametrize("nan", NANS)
@pytest.mark.parametrize(("dtype", "rounds"), [(torch.float32, False), (torch.float32, True), (torch.bfloat16, False)])
def test_pooled_maps_keep_nan_of_either_sign(dtype, rounds, nan):
    maps = drawn(dtype=dtype).detach()
    maps[1, 2, 3, 4] = nan if dtype == torch.float32 else nan[None].view(dtype)[1]  # its upper half, with its sign
    pooled = swept(maps.requires_grad_(), rounds)
    assert pooled.isnan().nonzero().tolist() == [[1, 2, 1, 2]]


@pytest.mark.parametrize(
    "inputs",
    [
        drawn(dtype=torch.float64),
        drawn((2, 16, 8, 8)),  # too small to be worth the compiler's import
    ],
)
def test_other_convolutions_are_those_of_torch(inputs):
    weight, bias = (tensor.detach().to(inputs.dtype) for tensor in convolution(inputs))
    found = pooled_convolution(inputs, weight, bias, 1, 2)
    assert "_PooledConvolution" not in type(found.grad_fn).__name__
    assert torch.equal(found, in_torch(inputs, weight, bias, 1))


def test_one_switch_turns_every_kernel_off(monkeypatch):
    inputs = drawn()
    weight, bias = convolution(inputs)
    monkeypatch.delenv(SWITCH, raising=False)
    assert enabled()
    monkeypatch.setenv(SWITCH, "off")
    assert not enabled()
    found = pooled_convolution(inputs, weight, bias, 1, 2)
    assert torch.equal(found, in_torch(inputs, weight, bias, 1))
    for pooled in (found, pooled_relu(inputs, 2)):
        assert "_Pooled" not in type(pooled.grad_fn).__name__
    monkeypatch.setenv(SWITCH, "on")
    assert enabled()


def test_without_kernels_the_compiler_is_not_imported():
    script = f"""
import os, sys, torch
from poisonlab import models
from poisonlab.victims.precision import RoundedProducts

for value in ("off", "on"):
    os.environ["{SWITCH}"] = value
    with RoundedProducts():
        models.build("pooled", (1, 28, 28), 10, 0)(torch.rand(2, 1, 28, 28)).sum().backward()
    print("numba" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=True, capture_output=True).stdout == b"False\nTrue\n"


@pytest.mark.parametrize("value", ["", "0", "OFF"])
def test_another_value_of_the_switch_is_refused(value, monkeypatch):
    monkeypatch.setenv(SWITCH, value)
    with pytest.raises(InputError, match=f"{SWITCH} is '{value}'; set it to on or off"):
        pooled_relu(drawn(), 2)


def test_autocast_and_vmap_have_their_own_convolutions():
    inputs = drawn()
    weight, bias = convolution(inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert pooled_convolution(inputs, weight, bias, 1, 2).dtype == torch.bfloat16
    together = torch.func.vmap(lambda row: pooled_convolution(inputs, row, bias, 1, 2))(torch.stack([weight, weight]))
    torch.testing.assert_close(together[1], pooled_convolution(inputs, weight, bias, 1, 2))


def test_rounded_products_round_a_pooled_convolution_once():
    inputs = drawn((2, 16, 18, 18))
    weight, bias = convolution(inputs)
    with RoundedProducts():
        found = pooled_convolution(inputs, weight, bias, 1, 2)
        expected = in_torch(inputs, weight, bias, 1)
    of = (inputs, weight, bias)
    slope = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad(pooled, of, slope) for pooled in (found, expected)]
    for one, other in ((found.detach(), expected.detach()), *zip(*gradients, strict=True)):
        assert torch.equal(one, one.bfloat16().float())
        # The sums' order may round a number to its neighbour in bfloat16, 2⁻⁷ away.
        torch.testing.assert_close(one, other, rtol=2**-7, atol=1e-4 * float(other.abs().max()))
        assert (one != other).float().mean() < 0.05


@pytest.mark.parametrize(("shape", "side", "padding"), [((2, 16, 14, 14), 3, 1), ((2, 64, 12, 12), 4, 2)])
def test_gradients_do_not_depend_on_how_many_registers_a_processor_has(shape, side, padding, monkeypatch):
    inputs = drawn(shape)
    parameters = (inputs, *convolution(inputs, 48, side))

    def both(capabilities: dict[str, bool]) -> tuple[tuple[int, int], tuple[torch.Tensor, ...]]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
        for compiled in (gradients.gradients, winograd.convolve):
            compiled.cache_clear()
        loss = pooled_convolution(*parameters, padding, 2).square().sum()
        return gradients.block(side, side * shape[1]), torch.autograd.grad(loss, parameters)

    (few, found), (many, expected) = both({}), both({"avx512_f": True})
    assert few != many
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
