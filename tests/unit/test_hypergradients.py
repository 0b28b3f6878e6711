"""Hypergradients three ways, against automatic differentiation, central differences and the explicit Hessian."""

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from poisonlab.models.hypergradients import (
    Hypergradients,
    Problems,
    curvature,
    flip_effects,
    hessian_product,
    hypergradients,
    minimum,
    mixed_product,
)
from poisonlab.models.logistic import validation_slope

STEPS, RATE, POISONS = 40, 0.4, 3
# More points than features, and fewer: systems are solved in the smaller space.
SHAPES = {"tall": (14, 5), "wide": (7, 12)}

both_shapes = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
both_penalties = pytest.mark.parametrize("l1", [False, True], ids=["l2", "l1"])


def problems(shape: tuple[int, int] = (14, 5), count: int = 3, l1: bool = False, largest: float = 0.3) -> Problems:
    generator = torch.Generator().manual_seed(0)
    n, width = shape

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    def labels(points: Tensor) -> Tensor:
        return (points[..., 0] + 0.7 * normal(*points.shape[:-1]) > 0).double()

    points, validation = normal(count, n, width), normal(count, 9, width)
    penalty = (0.2 if l1 else 1) * torch.linspace(0.05 if l1 else 0.02, largest, count, dtype=torch.float64)
    return Problems(points, labels(points), penalty, validation, labels(validation), l1)


def single(all_of_them: Problems, k: int) -> Problems:
    arrays = {
        name: value[k : k + 1] if isinstance(value, Tensor) else value for name, value in vars(all_of_them).items()
    }
    return Problems(**arrays)


def loss(scores: Tensor, labels: Tensor) -> Tensor:
    return (torch.log1p(torch.exp(scores)) - labels * scores).mean()


def unrolled(one: Problems, poison: Tensor, log_penalty: Tensor) -> Tensor:
    """Validation loss after gradient descent on one problem, differentiable from end to end."""
    points = torch.cat([one.features[0, :-POISONS], poison])
    weights = torch.zeros(points.shape[1], dtype=torch.float64, requires_grad=True)
    for _ in range(STEPS):
        smooth = loss(points @ weights, one.labels[0])
        if not one.l1:
            smooth = smooth + log_penalty.exp() * (weights**2).sum() / 2
        moved = weights - RATE * torch.autograd.grad(smooth, weights, create_graph=True)[0]
        weights = moved.sign() * (moved.abs() - RATE * log_penalty.exp()).relu() if one.l1 else moved
    return loss(one.validation[0] @ weights, one.validation_labels[0])


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).norm() / expected.double().norm())


def errors(found: Hypergradients, expected: Hypergradients) -> list[float]:
    """Relative errors of the derivatives for points and ln λ."""
    return [relative(getattr(found, name), getattr(expected, name)) for name in ("points", "log_penalty")]


@both_penalties
@both_shapes
@pytest.mark.parametrize("method", ["reverse", "forward"])
def test_reverse_and_forward_are_the_derivatives_of_the_unrolled_descent(method: str, shape, l1: bool) -> None:
    p = problems(shape, l1=l1)
    found = hypergradients(p, POISONS, method, STEPS, RATE)
    for k in range(3):
        one = single(p, k)
        poison = one.features[0, -POISONS:].clone().requires_grad_()
        log_penalty = one.penalty[0].log().requires_grad_()
        by_points, by_penalty = torch.autograd.grad(unrolled(one, poison, log_penalty), (poison, log_penalty))
        # Forty steps in double precision, with six digits to spare.
        assert relative(found.points[k], by_points) < 1e-10
        assert relative(found.log_penalty[k], by_penalty) < 1e-10


@both_penalties
@both_shapes
def test_a_problem_is_differentiated_as_if_it_were_alone(shape, l1: bool) -> None:
    p = problems(shape, l1=l1)
    for method in ("reverse", "forward", "implicit"):
        together = hypergradients(p, POISONS, method, STEPS, RATE)
        for k in range(3):
            alone = hypergradients(single(p, k), POISONS, method, STEPS, RATE)
            assert relative(together.points[k], alone.points[0]) < 1e-12
            assert relative(together.log_penalty[k : k + 1], alone.log_penalty) < 1e-12


@both_penalties
@pytest.mark.parametrize("shape", [*SHAPES.values(), (60, 70)], ids=[*SHAPES, "wide, few steps"])
@pytest.mark.parametrize("method", ["reverse", "forward", "implicit"])
def test_neither_the_cache_nor_known_products_nor_a_rate_of_each_change_what_is_found(
    method: str, shape, l1: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    p, steps = problems(shape, l1=l1), 5  # fewer than a tenth of sixty points
    rates = torch.tensor([0.3, 0.4, 0.2], dtype=torch.float64)
    found = hypergradients(p, POISONS, method, steps, rates)
    known = hypergradients(p, POISONS, method, steps, rates, gram=p.features @ p.features.transpose(1, 2))
    monkeypatch.setattr("poisonlab.models.hypergradients.CACHE", 1)
    apart = hypergradients(p, POISONS, method, steps, rates)
    for other in (known, apart):
        for name, value in vars(found).items():
            assert relative(getattr(other, name), value) < 1e-10, name  # sums in another order, as above


@both_penalties
def test_the_minimum_is_where_the_subgradient_vanishes(l1: bool) -> None:
    p = problems(l1=l1, largest=0.5)
    weights = minimum(p)
    slope = torch.stack(
        [
            p.features[k].T @ (torch.sigmoid(p.features[k] @ weights[k]) - p.labels[k]) / p.features.shape[1]
            for k in range(3)
        ]
    )
    if not l1:
        assert (slope + p.penalty[:, None] * weights).abs().max() < 1e-12
        return
    zero = weights == 0
    assert zero.any()
    assert not zero.all()
    assert (slope + p.penalty[:, None] * weights.sign())[~zero].abs().max() < 1e-12
    assert (slope.abs() < p.penalty[:, None])[zero].all()


@both_penalties
@both_shapes
def test_implicit_is_what_central_differences_say(shape, l1: bool) -> None:
    p = problems(shape, l1=l1)
    found, step = hypergradients(p, POISONS), 3e-4

    def value(changed: Problems) -> Tensor:
        return validation_slope(minimum(changed), p.validation, p.validation_labels)[0]

    def slope(change: Callable[[float], Problems]) -> Tensor:
        # Four points: the error is of the order of step⁴.
        near, far = (value(change(h)) - value(change(-h)) for h in (step, 2 * step))
        return (8 * near - far) / (12 * step)

    def along_penalty(h: float) -> Problems:
        return dataclasses.replace(p, penalty=p.penalty * math.exp(h))

    # Minima are known to about 1e-12 of the loss where the Hessian is worst, at the least penalty.
    assert relative(found.log_penalty, slope(along_penalty)) < 1e-8
    generator = torch.Generator().manual_seed(2)
    for _ in range(2):  # along random directions, to which every feature of every point adds
        direction = torch.randn(POISONS, shape[1], generator=generator, dtype=torch.float64)

        def along(h: float, direction: Tensor = direction) -> Problems:
            features = p.features.clone()
            features[:, -POISONS:] += h * direction
            return dataclasses.replace(p, features=features)

        assert relative((found.points * direction).sum((1, 2)), slope(along)) < 1e-8


@both_shapes
def test_reverse_and_forward_approach_implicit_along_a_geometric_curve(shape) -> None:
    p = problems(shape)
    exact = hypergradients(p, POISONS)
    found = []
    for steps in (50, 200, 800, 3200):
        reverse, forward = (hypergradients(p, POISONS, method, steps, RATE) for method in ("reverse", "forward"))
        assert max(errors(reverse, forward)) < 1e-10
        found.append(max(errors(reverse, exact)))
    assert found == sorted(found, reverse=True)
    # The slowest direction shrinks by at least 1 − 0.4 · 0.02 per step: e⁻²⁵ after 3200, times the number of steps.
    assert found[-1] < 1e-6
    assert found[0] > 1e-3  # and fifty steps are not enough


@both_shapes
def test_products_are_those_with_the_explicit_hessian(shape) -> None:
    p = problems(shape)
    generator = torch.Generator().manual_seed(1)
    weights, vector = (torch.randn(3, shape[1], generator=generator, dtype=torch.float64) for _ in range(2))
    for k in range(3):
        own = p.features[k].clone().requires_grad_()

        def train(at: Tensor, points: Tensor, k: int = k) -> Tensor:
            return loss(points @ at, p.labels[k]) + p.penalty[k] * (at**2).sum() / 2

        hessian = torch.autograd.functional.hessian(lambda at, k=k: train(at, p.features[k]), weights[k])
        # Sums of a dozen terms in double precision.
        assert relative(hessian_product(p, weights, vector)[k], hessian @ vector[k]) < 1e-13
        assert relative(hessian @ curvature(p, weights).solve(vector)[k], vector[k]) < 1e-12
        at = weights[k].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(train(at, own), at, create_graph=True)
        (mixed,) = torch.autograd.grad(gradient @ vector[k], own)
        assert relative(mixed_product(p, weights, vector, POISONS)[k], mixed[-POISONS:]) < 1e-12


def test_the_effect_of_a_flip_is_the_derivative_along_its_label() -> None:
    p = problems()
    weights = minimum(p)
    slope = validation_slope(weights, p.validation, p.validation_labels)[1]
    found = flip_effects(p, curvature(p, weights).solve(slope))
    step = 1e-4
    for point in range(p.features.shape[1]):
        # From its label to the other: 0 → 1 or 1 → 0, and the loss is linear in the label.
        direction = torch.zeros_like(p.labels)
        direction[:, point] = 1 - 2 * p.labels[:, point]

        def value(h: float, direction: Tensor = direction) -> Tensor:
            moved = dataclasses.replace(p, labels=p.labels + h * direction)
            return validation_slope(minimum(moved), p.validation, p.validation_labels)[0]

        expected = (value(step) - value(-step)) / (2 * step)
        torch.testing.assert_close(found[:, point], expected, rtol=1e-5, atol=1e-9)  # the error is of step²


@both_shapes
def test_single_precision_keeps_five_digits(shape) -> None:
    p = problems(shape)
    rounded = Problems(**{name: v.float() if isinstance(v, Tensor) else v for name, v in vars(p).items()})
    for method in ("reverse", "forward", "implicit"):
        exact = hypergradients(p, POISONS, method, STEPS, RATE)
        # Rounding of 6e-8, grown by forty steps, or by the condition of the Hessian. 1e-7 to 5e-7 are seen.
        assert max(errors(hypergradients(rounded, POISONS, method, STEPS, RATE), exact)) < 1e-5


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="method is 'backward', allowed are implicit, reverse, forward"):
        hypergradients(problems(), 1, "backward")
