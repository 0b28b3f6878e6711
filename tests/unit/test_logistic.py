"""Hypergradients of logistic regression against automatic differentiation of the unrolled descent."""

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from poisonlab.models.logistic import descend, hypergradient, validation_slope

STEPS, RATE = 25, 0.7


def problems(count: int = 3, n: int = 12, d: int = 4) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    def labels(*shape: int) -> Tensor:
        return torch.randint(0, 2, shape, generator=generator).double()

    return {
        "features": normal(count, n, d),
        "labels": labels(count, n),
        "penalty": torch.rand(count, generator=generator, dtype=torch.float64),
        "validation": normal(count, 9, d),
        "validation_labels": labels(count, 9),
    }


def loss(scores: Tensor, labels: Tensor) -> Tensor:
    return (torch.log1p(torch.exp(scores)) - labels * scores).mean()


def unrolled(features: Tensor, labels: Tensor, penalty: Tensor) -> Tensor:
    """Gradient descent on one problem, differentiable from end to end."""
    weights = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)
    for _ in range(STEPS):
        objective = loss(features @ weights, labels) + penalty * (weights**2).sum() / 2
        (gradient,) = torch.autograd.grad(objective, weights, create_graph=True)
        weights = weights - RATE * gradient
    return weights


@pytest.mark.parametrize("poisons", [1, 5, 12])
def test_hypergradients_are_those_of_automatic_differentiation(poisons: int) -> None:
    p = problems()
    descent = descend(p["features"], p["labels"], p["penalty"], STEPS, RATE)
    values, slope = validation_slope(descent.weights, p["validation"], p["validation_labels"])
    points, penalties = hypergradient(descent, slope, poisons)
    for k in range(3):
        poison = p["features"][k, -poisons:].clone().requires_grad_()
        penalty = p["penalty"][k].clone().requires_grad_()
        weights = unrolled(torch.cat([p["features"][k, : 12 - poisons], poison]), p["labels"][k], penalty)
        outer = loss(p["validation"][k] @ weights, p["validation_labels"][k])
        expected_points, expected_penalty = torch.autograd.grad(outer, (poison, penalty))
        torch.testing.assert_close(descent.weights[k], weights.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(values[k], outer.detach(), rtol=1e-12, atol=1e-12)
        # Twenty-five steps in double precision.
        torch.testing.assert_close(points[k], expected_points, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(penalties[k], expected_penalty, rtol=1e-9, atol=1e-12)


def test_a_long_descent_ends_where_scikit_learn_does() -> None:
    p = problems()
    descent = descend(p["features"], p["labels"], p["penalty"], 3000, RATE)
    for k in range(3):
        # Its objective is the sum over points plus ‖w‖²/(2C).
        solver = LogisticRegression(C=1 / (12 * float(p["penalty"][k])), fit_intercept=False, tol=1e-10, max_iter=1000)
        solver.fit(p["features"][k].numpy(), p["labels"][k].numpy())
        torch.testing.assert_close(descent.weights[k], torch.from_numpy(solver.coef_[0]), rtol=1e-4, atol=1e-6)


def test_a_problem_does_not_depend_on_its_neighbours() -> None:
    p = {name: value.float() for name, value in problems(count=9).items()}

    def points(chosen: slice) -> Tensor:
        descent = descend(p["features"][chosen], p["labels"][chosen], p["penalty"][chosen], STEPS, RATE)
        slope = validation_slope(descent.weights, p["validation"][chosen], p["validation_labels"][chosen])[1]
        return hypergradient(descent, slope, 3)[0]

    together = points(slice(None))
    assert torch.equal(torch.cat([points(slice(k, k + 3)) for k in (0, 3, 6)]), together)
    assert torch.equal(torch.cat([points(slice(k, k + 1)) for k in range(9)]), together)
