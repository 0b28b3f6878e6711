"""Softmax regression with an l2 penalty, and its hypergradients: more than two classes of `hypergradients`.

Weights are [K, d, C], labels one-hot [K, n, C]. The training loss has the gradient Xᵀ(P − Y)/n + λW and the Hessian
product Xᵀ(P∘U − P(P·U))/n + λV with U = XV; both derivatives are as for two classes, with a residual and a bend of each
class (Carnerero-Cano et al., 2021, Appendix A, extended).
"""

import torch
from torch import Tensor

MOST_STEPS = 100  # of Newton's method
ENOUGH = 1e-13  # residual, as a share of the right-hand side, at which a system counts as solved


def chances(features: Tensor, weights: Tensor) -> Tensor:
    """Softmax of XW: [K, n, C]."""
    return torch.bmm(features, weights).softmax(2)


def mean_loss(features: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Mean cross-entropy [K]."""
    return -(torch.bmm(features, weights).log_softmax(2) * labels).sum(2).mean(1)


def loss_slope(features: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Gradient [K, d, C] of the mean cross-entropy."""
    return torch.bmm(features.transpose(1, 2), chances(features, weights) - labels) / features.shape[1]


def bend(probability: Tensor, scores: Tensor) -> Tensor:
    """diag(p) − ppᵀ of each point times its scores: [K, n, C]."""
    product = probability * scores
    return product - probability * product.sum(2, keepdim=True)


def hessian_product(features: Tensor, probability: Tensor, penalty: Tensor, vector: Tensor) -> Tensor:
    """The Hessian of the penalised training loss times [K, d, C]; penalty [K, 1, 1]."""
    bent = bend(probability, torch.bmm(features, vector))
    return torch.bmm(features.transpose(1, 2), bent) / features.shape[1] + penalty * vector


def mixed_product(features: Tensor, labels: Tensor, weights: Tensor, vector: Tensor, poisons: int) -> Tensor:
    """Derivatives [K, poisons, d] by the last points' features of ∇L_train(W)·V: (V r + W b)/n."""
    n = features.shape[1]
    own = features[:, n - poisons :]
    probability = chances(own, weights)
    bent = bend(probability, torch.bmm(own, vector))
    residual = probability - labels[:, n - poisons :]
    return (torch.bmm(residual, vector.transpose(1, 2)) + torch.bmm(bent, weights.transpose(1, 2))) / n


def solve(features: Tensor, probability: Tensor, penalty: Tensor, vector: Tensor) -> Tensor:
    """The inverse of the Hessian times [K, d, C], by conjugate gradients (Hestenes & Stiefel, 1952)."""
    found, rest = torch.zeros_like(vector), vector.clone()
    direction, size = rest, _square(rest)
    goal = ENOUGH**2 * size
    for _ in range(10 * vector[0].numel()):  # rounding asks for more steps than there are unknowns
        if not (size > goal).any():
            break
        product = hessian_product(features, probability, penalty, direction)
        length = torch.where(size > goal, size / _square_of(direction, product), 0)
        found, rest = found + length * direction, rest - length * product
        before, size = size, torch.where(size > goal, _square(rest), size)
        direction = rest + torch.where(size > goal, size / before, 0) * direction
    return found


def reverse(
    features: Tensor, labels: Tensor, penalty: Tensor, steps: int, rate: Tensor, validation: tuple[Tensor, Tensor],
    poisons: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Derivatives of the validation loss after so many steps of gradient descent from zero: [K, poisons, d] for the
    points, [K] for λ; and the weights.

    Args:
        penalty: λ, [K, 1, 1].
        rate: of the steps, [K, 1, 1].
    """
    weights = features.new_zeros(len(features), features.shape[2], labels.shape[2])
    iterates = [weights]
    for _ in range(steps):
        weights = weights - rate * (loss_slope(features, labels, weights) + penalty * weights)
        iterates.append(weights)
    slope = loss_slope(*validation, weights)
    points, by_penalty = features.new_zeros(len(features), poisons, features.shape[2]), torch.zeros_like(penalty)
    for before in reversed(iterates[:-1]):
        points -= rate * mixed_product(features, labels, before, slope, poisons)
        by_penalty -= rate * _square_of(before, slope)
        slope = slope - rate * hessian_product(features, chances(features, before), penalty, slope)
    return points, by_penalty[:, 0, 0], weights


def _square(vector: Tensor) -> Tensor:
    return _square_of(vector, vector)


def _square_of(one: Tensor, other: Tensor) -> Tensor:
    """Inner products [K, 1, 1]."""
    return (one * other).sum((1, 2), keepdim=True)
