"""Regularised logistic regression and its hypergradients, many problems at once.

Gradient descent on the regularised training loss is unrolled, and the derivative of an outer loss of its last iterate
with respect to the training points and the regularisation is swept back through it in closed form (reverse-mode
unrolling: Maclaurin, Duvenaud & Adams, 2015; the minimax bilevel formulation of Carnerero-Cano et al., 2020). Automatic
differentiation gives the same numbers and costs a graph of operations per step; here a step back is two matrix products
for all problems.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Descent:
    """Gradient descent of K problems: every iterate, for the way back.

    Attributes:
        iterates: [steps + 1, K, d] weights, from zero.
        features: [K, n, d]; labels: [K, n] in {0, 1}; penalty: [K] ≥ 0, factor of ‖w‖²/2.
        rate: step length.
    """

    iterates: Tensor
    features: Tensor
    labels: Tensor
    penalty: Tensor
    rate: float

    @property
    def weights(self) -> Tensor:
        """Last iterate [K, d]."""
        return self.iterates[-1]


def descend(features: Tensor, labels: Tensor, penalty: Tensor, steps: int, rate: float) -> Descent:
    """Minimise mean cross-entropy + penalty · ‖w‖²/2 by gradient descent from zero, for K problems at once.

    Args:
        features: [K, n, d]; a bias is a feature of ones. labels: [K, n] in {0, 1}. penalty: [K] ≥ 0.
    """
    problems, n, width = features.shape
    iterates = features.new_zeros(steps + 1, problems, width)
    for step in range(steps):
        weights = iterates[step]
        residual = _probabilities(features, weights).sub_(labels)
        gradient = _weighted_sum(features, residual).div_(n).add_(penalty[:, None] * weights)
        torch.sub(weights, gradient.mul_(rate), out=iterates[step + 1])
    return Descent(iterates, features, labels, penalty, rate)


def validation_slope(weights: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy [K] of weights [K, d] on validation points [K, m, d], labels [K, m], and its gradient
    [K, d].
    """
    scores = _scores(features, weights)
    loss = F.binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(1)
    return loss, _weighted_sum(features, _probabilities(features, weights).sub_(labels)).div_(features.shape[1])


def hypergradient(descent: Descent, slope: Tensor, poisons: int) -> tuple[Tensor, Tensor]:
    """Derivative of an outer loss of the last iterate, given its gradient there.

    With g(w) = Xᵀ(σ(Xw) − y)/n + λw, a step is w − ηg. Backwards, v ← v − η(Xᵀ(s ∘ Xv)/n + λv) with s = σ(1 − σ), and
    on the way point x collects −η(rv + s(x·v)w)/n, r = σ − y, and λ collects −η w·v.

    Args:
        slope: [K, d] gradient of the outer loss with respect to the last iterate.
        poisons: derivatives are taken for the last so many points.

    Returns:
        [K, poisons, d] for the points, [K] for the penalty.
    """
    features, rate = descent.features, descent.rate
    n = features.shape[1]
    own = features[:, n - poisons :]
    points, penalty = torch.zeros_like(own), torch.zeros_like(descent.penalty)
    for step in reversed(range(len(descent.iterates) - 1)):
        weights = descent.iterates[step]
        probability = _probabilities(features, weights)
        curvature = probability * (1 - probability) * _scores(features, slope)
        residual = probability[:, n - poisons :] - descent.labels[:, n - poisons :]
        factors = torch.stack([residual, curvature[:, n - poisons :]], 2)
        points.sub_(torch.bmm(factors, torch.stack([slope, weights], 1)).mul_(rate / n))
        penalty.sub_((weights * slope).sum(1).mul_(rate))
        backwards = _weighted_sum(features, curvature).div_(n).add_(descent.penalty[:, None] * slope)
        slope = slope - rate * backwards
    return points, penalty


def _scores(features: Tensor, weights: Tensor) -> Tensor:
    """Xw of every problem: [K, n]."""
    return torch.bmm(features, weights[:, :, None])[:, :, 0]


def _probabilities(features: Tensor, weights: Tensor) -> Tensor:
    """σ(Xw) of every problem: [K, n]."""
    # A gap after each row makes torch's loop begin anew with each problem: the vectorised exponential and the plain
    # one, which does what is left at the end of a loop, round differently, and a problem must not depend on its
    # neighbours.
    scores = F.pad(_scores(features, weights), (0, 1))
    return torch.sigmoid(scores[:, :-1])


def _weighted_sum(features: Tensor, factors: Tensor) -> Tensor:
    """Xᵀf of every problem: [K, d]."""
    return torch.bmm(factors[:, None], features)[:, 0]
