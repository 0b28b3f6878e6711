"""Hypergradients of softmax regression, against automatic differentiation, central differences and two classes."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from poisonlab.models.hypergradients import Hypergradients, Problems, hypergradients, minimum
from poisonlab.models.logistic import validation_slope

COUNT, CLASSES, STEPS, RATE, POISONS = 3, 4, 40, 0.3, 3


def problems(n: int = 18, width: int = 5) -> Problems:
    generator = torch.Generator().manual_seed(0)

    def points(many: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(COUNT, many, width, generator=generator, dtype=torch.float64)
        drawn = (x[..., :CLASSES] + torch.randn(COUNT, many, CLASSES, generator=generator).double()).argmax(-1)
        return x, F.one_hot(drawn, CLASSES).double()

    penalty = torch.linspace(0.02, 0.3, COUNT, dtype=torch.float64)
    return Problems(*points(n), penalty, *points(11))


def single(p: Problems, k: int) -> Problems:
    return Problems(
        *(array[k : k + 1] for array in (p.features, p.labels, p.penalty, p.validation, p.validation_labels))
    )


def loss(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels.argmax(-1))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_reverse_mode_is_the_derivative_of_the_unrolled_descent() -> None:
    p = problems()
    found = hypergradients(p, POISONS, "reverse", STEPS, RATE)
    for k in range(COUNT):
        poison, log_penalty = p.features[k, -POISONS:].clone().requires_grad_(), p.penalty[k].log().requires_grad_()
        points = torch.cat([p.features[k, :-POISONS], poison])
        weights = torch.zeros(points.shape[1], CLASSES, dtype=torch.float64, requires_grad=True)
        for _ in range(STEPS):
            trained = loss(points @ weights, p.labels[k]) + log_penalty.exp() * weights.square().sum() / 2
            weights = weights - RATE * torch.autograd.grad(trained, weights, create_graph=True)[0]
        outer = loss(p.validation[k] @ weights, p.validation_labels[k])
        by_points, by_penalty = torch.autograd.grad(outer, (poison, log_penalty))
        # Forty steps in double precision, with six digits to spare.
        assert relative(found.points[k], by_points) < 1e-10
        assert relative(found.log_penalty[k], by_penalty) < 1e-10
        assert relative(found.loss[k], outer.detach()) < 1e-12


@pytest.mark.parametrize("width", [5, 30], ids=["tall", "wide"])
def test_the_exact_one_is_what_central_differences_say(width: int) -> None:
    p = problems(width=width)
    found, step = hypergradients(p, POISONS), 3e-4
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(POISONS, width, generator=generator, dtype=torch.float64)

    def slope(change) -> Tensor:
        def value(h: float) -> Tensor:
            return validation_slope(minimum(change(h)), p.validation, p.validation_labels)[0]

        # Four points: the error is of the order of step⁴.
        return (8 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12 * step)

    def along_points(h: float) -> Problems:
        moved = p.features.clone()
        moved[:, -POISONS:] += h * direction
        return dataclasses.replace(p, features=moved)

    # Minima are known to about 1e-12 of the loss where the Hessian is worst.
    assert relative((found.points * direction).sum((1, 2)), slope(along_points)) < 1e-8
    by_penalty = slope(lambda h: dataclasses.replace(p, penalty=p.penalty * math.exp(h)))
    assert relative(found.log_penalty, by_penalty) < 1e-8


def test_reverse_mode_becomes_the_exact_one_with_more_steps() -> None:
    p = problems()
    exact = hypergradients(p, POISONS)
    errors = [relative(hypergradients(p, POISONS, "reverse", t, 1.0).points, exact.points) for t in (10, 100, 1000)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6  # (1 − 0.02)^1000 is 2e-9, times the number of steps


def test_two_classes_give_what_binary_regression_gives() -> None:
    """Softmax weights of two classes are opposite halves w/2 of the binary ones: ‖W‖² = ‖w‖²/2, so λ is twice as large."""
    p = problems()
    answers = (p.labels[..., 0], p.validation_labels[..., 0])
    binary = Problems(p.features, answers[0], p.penalty, p.validation, answers[1])
    pairs = [torch.stack([answer, 1 - answer], -1) for answer in answers]
    two = Problems(p.features, pairs[0], 2 * p.penalty, p.validation, pairs[1])
    expected, found = hypergradients(binary, POISONS), hypergradients(two, POISONS)
    # Both minima are exact to about 1e-12.
    assert relative(found.points, expected.points) < 1e-9
    assert relative(found.log_penalty, expected.log_penalty) < 1e-9
    assert relative(found.weights[..., 0] - found.weights[..., 1], expected.weights) < 1e-9


def test_a_problem_is_differentiated_as_if_it_were_alone() -> None:
    p = problems()
    for method in ("reverse", "implicit"):
        together: Hypergradients = hypergradients(p, POISONS, method, STEPS, RATE)
        for k in range(COUNT):
            alone = hypergradients(single(p, k), POISONS, method, STEPS, RATE)
            # Conjugate gradients go on until the slowest problem is solved: to their own accuracy, 1e-12.
            assert relative(together.points[k], alone.points[0]) < 1e-10


def test_forward_mode_and_l1_are_for_two_classes() -> None:
    with pytest.raises(
        ValueError, match="method is 'forward', allowed for more than two classes are implicit, reverse"
    ):
        hypergradients(problems(), POISONS, "forward")
    with pytest.raises(ValueError, match="l1"):
        hypergradients(dataclasses.replace(problems(), l1=True), POISONS)
