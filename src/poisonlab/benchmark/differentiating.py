"""Contestants that differentiate: hypergradients of regularised logistic regression, of one problem and of many."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab.benchmark.rates import Contestant, Ready, repeat
from poisonlab.benchmark.usual import images_of
from poisonlab.models.hypergradients import Problems, hypergradients
from poisonlab.models.logistic import descend, hypergradient, validation_slope
from poisonlab.pipeline.jobs import keep_freed_memory

# ------------------------------------------------------------------------------------------------- points alone, small

LR_POINTS, LR_FEATURES, LR_STEPS, LR_POISONS = 64, 16, 100, 8


def _logistic_problems(count: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, LR_POINTS, LR_FEATURES, generator=generator)
    return features, (features[..., 0] > 0).float(), torch.full((count,), 0.01)


def sequential_hypergradients() -> Contestant:
    """One problem after the other, automatic differentiation through the unrolled descent."""

    def run(ready: Ready) -> float:
        features, labels, penalty = _logistic_problems(1)

        def one() -> None:
            poison = features[0, -LR_POISONS:].clone().requires_grad_()
            points = torch.cat([features[0, :-LR_POISONS], poison])
            weights = torch.zeros(LR_FEATURES, requires_grad=True)
            for _ in range(LR_STEPS):
                loss = F.binary_cross_entropy_with_logits(points @ weights, labels[0])
                objective = loss + penalty[0] * (weights**2).sum() / 2
                weights = weights - 0.5 * torch.autograd.grad(objective, weights, create_graph=True)[0]
            torch.autograd.grad(F.binary_cross_entropy_with_logits(features[0] @ weights, labels[0]), poison)

        return repeat(ready, one, 1)

    return run


def swept_hypergradients(count: int) -> Contestant:
    """This package's closed-form sweep, all problems at once."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        features, labels, penalty = _logistic_problems(count)

        def all_of_them() -> None:
            descent = descend(features, labels, penalty, LR_STEPS, 0.5)
            hypergradient(descent, validation_slope(descent.weights, features, labels)[1], LR_POISONS)

        return repeat(ready, all_of_them, count)

    return run


# ------------------------------------------------------------------------------------------- points and ln λ, two sizes


class Size(NamedTuple):
    """Of a problem: training points, the last of which are poisons, validation points, features with the bias."""

    train: int
    poisons: int
    validation: int
    features: int


SIZES = {"small": Size(64, 8, 64, 16), "wide": Size(512, 17, 171, 785)}
STEPS, PENALTY = 100, 0.01
Derivatives = tuple[Tensor, Tensor]  # by the poisons' features [poisons, d] and by ln λ, a scalar


def problems(size: str, count: int) -> Problems:
    """Problems in double precision, as attacks have them: overlapping classes of Gaussian points (small), or digits of
    28 × 28 pixels, those below five against the others (wide), each problem with points of its own.
    """
    train, _, validation, width = SIZES[size]
    generator = torch.Generator().manual_seed(0)
    total = train + validation
    if size == "small":
        points = torch.randn(count, total, width, generator=generator).double()
        labels = points[..., 0] + torch.randn(count, total, generator=generator) > 0
    else:
        images, digits = images_of((1, 28, 28), 1792)
        chosen = torch.stack([torch.randperm(len(images), generator=generator)[:total] for _ in range(count)])
        points, labels = images.flatten(1)[chosen].double() / 255, digits[chosen] > 4
        points = F.pad(points, (0, 1))
    points[..., -1] = 1
    answers, penalty = labels.double(), torch.full((count,), PENALTY).double()
    return Problems(points[:, :train], answers[:, :train], penalty, points[:, train:], answers[:, train:])


def step_length(of: Problems) -> float:
    """The longest that is safe for the first problem: 1 / the largest curvature."""
    steepest = float(torch.linalg.matrix_norm(of.features[0], 2)) ** 2 / (4 * of.features.shape[1])
    return 1 / (steepest + PENALTY)


def torchopt_unrolled(one: Problems, poisons: int, rate: float) -> Derivatives:
    """torchopt's differentiable descent (`MetaSGD`), of one problem."""
    import torchopt

    clean, poison, log_penalty = _leaves(one, poisons)
    net = nn.Linear(clean.shape[1], 1, bias=False, dtype=clean.dtype)
    nn.init.zeros_(net.weight)
    optimizer = torchopt.MetaSGD(net, lr=rate)
    # Whichever is faster: a gradient of all points' features is much to write where there are many.
    parts = (clean, poison) if clean.shape[1] > 64 else (torch.cat([clean, poison]),)
    for _ in range(STEPS):
        scores = torch.cat([net(part)[:, 0] for part in parts])
        optimizer.step(_objective(scores, one.labels[0], net.weight, log_penalty))
    return _of_validation(one, net.weight[0], poison, log_penalty)


def torchopt_implicit(one: Problems, poisons: int) -> Derivatives:
    """torchopt's implicit differentiation (`custom_root`, conjugate gradients), of one problem's minimum by L-BFGS.

    Both stop where they know five digits of the derivative.
    """
    import torchopt

    clean, poison, log_penalty = _leaves(one, poisons)

    def objective(weights: Tensor, poison: Tensor, log_penalty: Tensor) -> Tensor:
        return _objective(torch.cat([clean @ weights, poison @ weights]), one.labels[0], weights, log_penalty)

    def minimum(start: Tensor, poison: Tensor, log_penalty: Tensor) -> Tensor:
        weights = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [weights], max_iter=1000, tolerance_grad=1e-8, tolerance_change=0, line_search_fn="strong_wolfe"
        )

        def closure() -> Tensor:
            with torch.enable_grad():
                loss = objective(weights, poison.detach(), log_penalty.detach())
            (weights.grad,) = torch.autograd.grad(loss, weights)
            return loss

        optimizer.step(closure)
        return weights.detach()

    solve = torchopt.linear_solve.solve_cg(rtol=1e-7, atol=0.0, maxiter=1000)
    root = torchopt.diff.implicit.custom_root(torch.func.grad(objective), argnums=(1, 2), solve=solve)
    weights = root(minimum)(clean.new_zeros(clean.shape[1]), poison, log_penalty)
    assert isinstance(weights, Tensor)  # not a tuple, for `minimum` returns none
    return _of_validation(one, weights, poison, log_penalty)


def _leaves(one: Problems, poisons: int) -> tuple[Tensor, Tensor, Tensor]:
    """Clean points, and poisons and ln λ to differentiate for."""
    points = one.features[0]
    return points[:-poisons], points[-poisons:].clone().requires_grad_(), one.penalty[0].log().requires_grad_()


def _objective(scores: Tensor, labels: Tensor, weights: Tensor, log_penalty: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, labels) + log_penalty.exp() * weights.square().sum() / 2


def _of_validation(one: Problems, weights: Tensor, *leaves: Tensor) -> Derivatives:
    loss = F.binary_cross_entropy_with_logits(one.validation[0] @ weights, one.validation_labels[0])
    by_points, by_penalty = torch.autograd.grad(loss, leaves)
    return by_points, by_penalty


def torchopt_hypergradients(size: str, method: str) -> Contestant:
    """torchopt, one problem after the other."""

    def run(ready: Ready) -> float:
        one, poisons = problems(size, 1), SIZES[size].poisons
        rate = step_length(one)
        if method == "implicit":
            return repeat(ready, lambda: torchopt_implicit(one, poisons), 1)
        return repeat(ready, lambda: torchopt_unrolled(one, poisons, rate), 1)

    return run


def own_hypergradients(size: str, method: str, count: int) -> Contestant:
    """This package's, of so many problems at once."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        many, poisons = problems(size, count), SIZES[size].poisons
        rate = step_length(many)
        return repeat(ready, lambda: hypergradients(many, poisons, method, STEPS, rate), count)

    return run
