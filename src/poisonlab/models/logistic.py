"""Regularised logistic regression and its hypergradients, many problems at once.

Gradient descent on the regularised training loss is unrolled, and the derivative of an outer loss of its last iterate
with respect to the training points and the regularisation is swept back through it in closed form (reverse-mode
unrolling: Maclaurin, Duvenaud & Adams, 2015; the minimax bilevel formulation of Carnerero-Cano et al., 2020). Automatic
differentiation gives the same numbers and costs a graph of operations per step; here a step back is two matrix products
for all problems.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from poisonlab.models import softmax


@dataclass(frozen=True)
class Descent:
    """Gradient descent of K problems: every iterate, for the way back.

    Attributes:
        iterates: [steps + 1, K, d] weights, from zero.
        features: [K, n, d]; labels: [K, n] in {0, 1}; penalty: [K] ≥ 0, factor of ‖w‖²/2 or, with l1, of ‖w‖₁.
        rate: step length, of all problems or [K].
    """

    iterates: Tensor
    features: Tensor
    labels: Tensor
    penalty: Tensor
    rate: float | Tensor
    l1: bool = False

    @property
    def weights(self) -> Tensor:
        """Last iterate [K, d]."""
        return self.iterates[-1]


def descend(
    features: Tensor, labels: Tensor, penalty: Tensor, steps: int, rate: float | Tensor, l1: bool = False
) -> Descent:
    """Minimise mean cross-entropy + penalty · ‖w‖²/2 by gradient descent from zero, for K problems at once.

    With l1 the penalty is of ‖w‖₁, and each step ends with its proximal map: weights shrink by rate · penalty, those
    that are smaller become 0.

    Args:
        features: [K, n, d]; a bias is a feature of ones. labels: [K, n] in {0, 1}. penalty: [K] ≥ 0.
        rate: of all problems, or [K].
    """
    problems, n, width = features.shape
    iterates = features.new_zeros(steps + 1, problems, width)
    length = _column(rate, features)
    for step in range(steps):
        weights = iterates[step]
        residual = probabilities(features, weights).sub_(labels)
        gradient = weighted_sum(features, residual).div_(n)
        if not l1:
            gradient.add_(penalty[:, None] * weights)
        torch.sub(weights, gradient.mul_(length), out=iterates[step + 1])
        if l1:
            shrunk = (iterates[step + 1].abs() - length * penalty[:, None]).clamp_(min=0)
            iterates[step + 1].sign_().mul_(shrunk)
    return Descent(iterates, features, labels, penalty, rate, l1)


def validation_slope(weights: Tensor, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy [K] of weights [K, d] on validation points [K, m, d], labels [K, m], and its gradient
    [K, d]; with one-hot labels [K, m, C], of weights [K, d, C] of softmax regression.
    """
    if labels.ndim == 3:
        return softmax.mean_loss(features, labels, weights), softmax.loss_slope(features, labels, weights)
    found = scores(features, weights)
    loss = F.binary_cross_entropy_with_logits(found, labels, reduction="none").mean(1)
    return loss, weighted_sum(features, probabilities(features, weights).sub_(labels)).div_(features.shape[1])


def hypergradient(descent: Descent, slope: Tensor, poisons: int) -> tuple[Tensor, Tensor]:
    """Derivative of an outer loss of the last iterate, given its gradient there.

    With g(w) = Xᵀ(σ(Xw) − y)/n + λw, a step is w − ηg. Backwards, v ← v − η(Xᵀ(s ∘ Xv)/n + λv) with s = σ(1 − σ), and
    on the way point x collects −η(rv + s(x·v)w)/n, r = σ − y, and λ collects −η w·v. With l1 the proximal map is undone
    first: v becomes 0 where the step ended at 0, λ collects −η sign(w)·v of the rest, and there is no λv.

    Args:
        slope: [K, d] gradient of the outer loss with respect to the last iterate.
        poisons: derivatives are taken for the last so many points.

    Returns:
        [K, poisons, d] for the points, [K] for the penalty.
    """
    features, length, l1 = descent.features, _column(descent.rate, descent.features), descent.l1
    n = features.shape[1]
    own = features[:, n - poisons :]
    points, penalty = torch.zeros_like(own), torch.zeros_like(descent.penalty)
    for step in reversed(range(len(descent.iterates) - 1)):
        weights = descent.iterates[step]
        if l1:
            sign = descent.iterates[step + 1].sign()
            slope = slope * sign.abs()
        probability = probabilities(features, weights)
        curvature = probability * (1 - probability) * scores(features, slope)
        residual = probability[:, n - poisons :] - descent.labels[:, n - poisons :]
        factors = torch.stack([residual, curvature[:, n - poisons :]], 2)
        points.sub_(torch.bmm(factors, torch.stack([slope, weights], 1)).mul_(length[..., None] / n))
        penalty.sub_(((sign if l1 else weights) * slope * length).sum(1))
        backwards = weighted_sum(features, curvature).div_(n)
        if not l1:
            backwards.add_(descent.penalty[:, None] * slope)
        slope = slope - length * backwards
    return points, penalty


def spanned_hypergradient(
    features: Tensor,
    gram: Tensor,
    labels: Tensor,
    penalty: Tensor,
    steps: int,
    rate: float | Tensor,
    outer: Callable[[Tensor], tuple[Tensor, Tensor]],
    poisons: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `descend` and `hypergradient` find without l1, by products with XXᵀ: for fewer points than features.

    Weights stay in the span of the points, w = Xᵀa, and slopes in that span and the outer one, v = Xᵀb + c∇L: a step
    forth or back is one product with n × n numbers in place of two or three with n × d.

    Args:
        features: [K, n, d]; gram: XXᵀ [K, n, n]; labels: [K, n] in {0, 1}; penalty: [K] ≥ 0.
        rate: of all problems, or [K].
        outer: the outer loss [K] of weights [K, d], and its gradient [K, d].
        poisons: derivatives are taken for the last so many points.

    Returns:
        The outer loss [K], its derivatives [K, poisons, d] for the points and [K] for the penalty, the weights [K, d].
    """
    problems, n, _ = features.shape
    length = _column(rate, features)
    kept = 1 - length * penalty[:, None]
    coefficients = features.new_zeros(steps + 1, problems, n)
    found = features.new_empty(steps, problems, n)
    for step in range(steps):
        found[step] = probabilities(gram, coefficients[step])
        coefficients[step + 1] = kept * coefficients[step] - length / n * (found[step] - labels)
    weights = weighted_sum(features, coefficients[-1])
    loss, slope = outer(weights)
    seen_slope, share = scores(features, slope), torch.ones_like(length * penalty[:, None])
    behind, inside = features.new_zeros(problems, n), features.new_zeros(problems, poisons, n)
    outside, by_penalty = features.new_zeros(problems, poisons), torch.zeros_like(penalty)
    for step in reversed(range(steps)):
        probability = found[step]
        seen = share * seen_slope + scores(gram, behind)  # Xv
        curvature = probability * (1 - probability) * seen
        residual = probability[:, n - poisons :] - labels[:, n - poisons :]
        factors = torch.stack([residual, curvature[:, n - poisons :]], 2)
        inside.baddbmm_(factors, torch.stack([behind, coefficients[step]], 1))
        outside.add_(residual * share)
        by_penalty.sub_((length * coefficients[step] * seen).sum(1))  # a·Xv = w·v
        behind = kept * behind - length / n * curvature
        share = kept * share
    points = torch.bmm(inside, features) + outside[..., None] * slope[:, None]
    return loss, points.mul_(-length[..., None] / n), by_penalty, weights


def _column(rate: float | Tensor, like: Tensor) -> Tensor:
    """A step length of all problems, or one of each [K], as [K or 1, 1]."""
    return torch.as_tensor(rate, dtype=like.dtype, device=like.device).reshape(-1, 1)


def scores(features: Tensor, weights: Tensor) -> Tensor:
    """Xw of every problem: [K, n]."""
    # As a row times Xᵀ: of two problems and more, matrices times columns take 2 to 12 times as long on a processor.
    return torch.bmm(weights[:, None], features.transpose(1, 2))[:, 0]


def probabilities(features: Tensor, weights: Tensor) -> Tensor:
    """σ(Xw) of every problem: [K, n]."""
    # A gap after each row makes torch's loop begin anew with each problem: the vectorised exponential and the plain
    # one, which does what is left at the end of a loop, round differently, and a problem must not depend on its
    # neighbours.
    return torch.sigmoid(F.pad(scores(features, weights), (0, 1))[:, :-1])


def weighted_sum(features: Tensor, factors: Tensor) -> Tensor:
    """Xᵀf of every problem: [K, d]."""
    return torch.bmm(factors[:, None], features)[:, 0]
