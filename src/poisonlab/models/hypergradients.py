"""Hypergradients of regularised logistic regression with respect to poisons and ln λ, three ways, many at once.

The outer loss is the mean cross-entropy on validation points, of weights that were trained on others. `reverse` and
`forward` differentiate the first steps of gradient descent, `implicit` the minimum itself, in closed form: with
H = XᵀSX/n + λI, S = diag(σ(1 − σ)), and v = H⁻¹∇L, L falls by λ v·w per unit of ln λ (Carnerero-Cano et al., 2021,
Appendix B; the implicit function theorem). Of more than two classes, `reverse` and `implicit` are in `softmax`.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from poisonlab.models import softmax
from poisonlab.models.logistic import (
    descend,
    probabilities,
    scores,
    spanned_hypergradient,
    validation_slope,
    weighted_sum,
)
from poisonlab.models.logistic import hypergradient as swept

METHODS = ("implicit", "reverse", "forward")
MOST_STEPS = 100  # of Newton's method, which takes ten to thirty from zero
HALVINGS = 40  # of one of its steps
CACHE = 2**20  # bytes of matrices worked on together, a core's own cache; beyond it 512 × 785 takes five times as long


@dataclass(frozen=True)
class Problems:
    """K training sets with their validation points.

    Attributes:
        features: [K, n, d], a bias is a feature of ones; labels: [K, n] in {0, 1}, or of C classes one-hot [K, n, C].
        penalty: [K] > 0, λ: factor of ‖w‖²/2 or, with l1, of ‖w‖₁; added to the mean cross-entropy.
        validation: [K, m, d]; validation_labels: as labels.
    """

    features: Tensor
    labels: Tensor
    penalty: Tensor
    validation: Tensor
    validation_labels: Tensor
    l1: bool = False

    def __post_init__(self) -> None:
        if self.l1 and self.softmax:
            raise ValueError("l1 is a penalty of two classes; for more take l1=False")

    @property
    def softmax(self) -> bool:
        """Whether labels are one-hot."""
        return self.labels.ndim == 3

    def part(self, where: slice) -> "Problems":
        """Some of them."""
        return Problems(**{name: _part(value, where) for name, value in vars(self).items()})


def _part(value: Any, where: slice) -> Any:
    """Of what each problem has one of; what they share is left."""
    return value[where] if isinstance(value, Tensor) and value.dim() else value


@dataclass(frozen=True)
class Hypergradients:
    """The outer loss [K], its derivatives [K, poisons, d] for points and [K] for ln λ, and the weights [K, d] or, with
    one-hot labels, [K, d, C].
    """

    loss: Tensor
    points: Tensor
    log_penalty: Tensor
    weights: Tensor


def hypergradients(
    problems: Problems,
    poisons: int,
    method: str = "implicit",
    steps: int = 100,
    rate: float | Tensor = 0.1,
    start: Tensor | None = None,
    gram: Tensor | None = None,
) -> Hypergradients:
    """Differentiate the validation loss with respect to the last `poisons` training points and ln λ.

    `reverse` takes time like two trainings, whatever it differentiates for. `forward` carries a derivative of the
    weights along for each of the poisons · d + 1 numbers. `implicit` solves systems of min(n, d) equations. With fewer
    points than features reverse and implicit work on XXᵀ (not with l1). Problems are taken together as far as they fit
    into a core's cache: small ones share the cost of a call, large ones would wait for memory.

    Args:
        method: reverse, forward, or implicit.
        steps: of gradient descent from zero (reverse, forward).
        rate: of these steps.
        start: weights from which implicit begins to look for the minimum.
        gram: XXᵀ [K, n, n] for reverse and implicit, where it is known; of no use to more than two classes.

    Raises:
        ValueError: there is no such method, or for two classes alone.
    """
    if method not in METHODS:
        raise ValueError(f"method is '{method}', allowed are {', '.join(METHODS)}; choose one of these")
    if problems.softmax:
        return _softmax(problems, poisons, method, steps, rate, start)
    count, n, width = problems.features.shape
    spanned = n < width and not problems.l1
    together = max(1, CACHE // (n * (n if spanned else width) * problems.features.element_size()))
    if count > together and problems.features.device.type == "cpu":
        parts = [
            hypergradients(
                problems.part(where),
                poisons,
                method,
                steps,
                _part(rate, where),
                _part(start, where),
                _part(gram, where),
            )
            for where in (slice(k, k + together) for k in range(0, count, together))
        ]
        return Hypergradients(
            *(torch.cat(values) for values in zip(*(vars(part).values() for part in parts), strict=True))
        )
    # Products of all points pay after fewer steps than a tenth of the points: 35 to 42 with 512 × 785.
    if spanned and gram is None and (method == "implicit" or (method == "reverse" and 10 * steps > n)):
        gram = torch.bmm(problems.features, problems.features.transpose(1, 2))
    if method == "implicit":
        return _implicit(problems, poisons, start, gram)
    if method == "reverse" and spanned and gram is not None:
        loss, points, penalty, weights = spanned_hypergradient(
            problems.features, gram, problems.labels, problems.penalty, steps, rate,
            lambda at: validation_slope(at, problems.validation, problems.validation_labels), poisons,
        )  # fmt: skip
        return Hypergradients(loss, points, problems.penalty * penalty, weights)
    descent = descend(problems.features, problems.labels, problems.penalty, steps, rate, problems.l1)
    weights = descent.weights
    loss, slope = validation_slope(weights, problems.validation, problems.validation_labels)
    if method == "reverse":
        points, penalty = swept(descent, slope, poisons)
        return Hypergradients(loss, points, problems.penalty * penalty, weights)
    moved = _forward(problems, poisons, descent.iterates, torch.as_tensor(rate, dtype=weights.dtype).reshape(-1, 1, 1))
    derivatives = torch.bmm(slope[:, None], moved)[:, 0]
    points = derivatives[:, :-1].view(len(weights), poisons, weights.shape[1])
    return Hypergradients(loss, points, derivatives[:, -1], weights)


def _softmax(
    problems: Problems, poisons: int, method: str, steps: int, rate: float | Tensor, start: Tensor | None
) -> Hypergradients:
    """Of more than two classes."""
    x, y, penalty = problems.features, problems.labels, problems.penalty[:, None, None]
    validation = problems.validation, problems.validation_labels
    if method == "forward":
        raise ValueError("method is 'forward', allowed for more than two classes are implicit, reverse")
    if method == "reverse":
        length = torch.as_tensor(rate, dtype=x.dtype).reshape(-1, 1, 1)
        points, by_penalty, weights = softmax.reverse(x, y, penalty, steps, length, validation, poisons)
    else:
        weights = minimum(problems, start)
        slope = softmax.loss_slope(*validation, weights)
        direction = softmax.solve(x, softmax.chances(x, weights), penalty, slope)
        points = -softmax.mixed_product(x, y, weights, direction, poisons)
        by_penalty = -(direction * weights).sum((1, 2))
    return Hypergradients(softmax.mean_loss(*validation, weights), points, problems.penalty * by_penalty, weights)


def _forward(problems: Problems, poisons: int, iterates: Tensor, rate: Tensor) -> Tensor:
    """Derivatives [K, d, poisons · d + 1] of the last iterate with respect to the points' features and ln λ."""
    x, y, penalty = problems.features, problems.labels, problems.penalty[:, None, None]
    count, n, width = x.shape
    own, own_labels = x[:, n - poisons :], y[:, n - poisons :]
    moved = x.new_zeros(count, width, poisons * width + 1)
    identity = torch.eye(width, dtype=x.dtype)
    for before, after in itertools.pairwise(iterates):
        probability = probabilities(x, before)
        bend = probability * (1 - probability)
        residual = probability[:, n - poisons :] - own_labels
        # Of the gradient at fixed weights, by feature j of point i: (r_i e_j + s_i x_i w_j) / n.
        direct = residual[:, None, :, None] * identity[None, :, None, :]
        direct = direct + torch.einsum("kp,kpa,kj->kapj", bend[:, n - poisons :], own, before)
        change = torch.bmm(x.transpose(1, 2), bend[..., None] * torch.bmm(x, moved)) / n
        change[..., :-1] += direct.reshape(count, width, -1) / n
        if not problems.l1:
            change += penalty * moved
            change[..., -1] += penalty[..., 0] * before
        moved = moved - rate * change
        if problems.l1:
            moved[..., -1] -= (rate * penalty)[..., 0] * after.sign()
            moved *= after.sign().abs()[..., None]
    return moved


# ------------------------------------------------------------------------------------------------------------ implicit


def _implicit(problems: Problems, poisons: int, start: Tensor | None, gram: Tensor | None) -> Hypergradients:
    weights = minimum(problems, start, gram)
    loss, slope = validation_slope(weights, problems.validation, problems.validation_labels)
    direction = curvature(problems, weights, gram).solve(slope)
    points = -mixed_product(problems, weights, direction, poisons)
    log_penalty = -problems.penalty * (direction * (weights.sign() if problems.l1 else weights)).sum(1)
    return Hypergradients(loss, points, log_penalty, weights)


def flip_effects(problems: Problems, direction: Tensor) -> Tensor:
    """First-order change [K, n] of the validation loss by flipping the label of each training point: −y x·v/n.

    Args:
        direction: [K, d], v = H⁻¹∇L at the minimum.
    """
    return -(2 * problems.labels - 1) * scores(problems.features, direction) / problems.features.shape[1]


def hessian_product(problems: Problems, weights: Tensor, vector: Tensor) -> Tensor:
    """The Hessian of the training loss times a vector, [K, d]; with l1 that of its smooth part."""
    probability = probabilities(problems.features, weights)
    bend = probability * (1 - probability) * scores(problems.features, vector)
    product = weighted_sum(problems.features, bend) / problems.features.shape[1]
    return product if problems.l1 else product + problems.penalty[:, None] * vector


def mixed_product(problems: Problems, weights: Tensor, vector: Tensor, poisons: int) -> Tensor:
    """Derivatives [K, poisons, d] by the last points' features of ∇L_train(w)·v: (r v + s (x·v) w)/n."""
    n = problems.features.shape[1]
    own = problems.features[:, n - poisons :]
    probability = probabilities(own, weights)
    bend = probability * (1 - probability) * scores(own, vector)
    factors = torch.stack([probability - problems.labels[:, n - poisons :], bend], 2)
    return torch.bmm(factors, torch.stack([vector, weights], 1)) / n


@dataclass(frozen=True)
class Curvature:
    """The Hessian at some weights, factorised. With fewer points than features it is inverted in the space of points:
    (AᵀA + λI)⁻¹ = (I − Aᵀ(AAᵀ + λI)⁻¹A)/λ, A = √(S/n) X.
    """

    factor: Tensor  # Cholesky
    penalty: Tensor
    rows: Tensor | None  # A [K, n, d], None where the factor is of the Hessian itself
    support: Tensor | None  # [K, d] in {0, 1}: the weights that may move, None for all

    def solve(self, vector: Tensor) -> Tensor:
        """H⁻¹ times a vector [K, d]; 0 outside of the support."""
        if self.rows is not None:
            inner = torch.cholesky_solve(scores(self.rows, vector)[..., None], self.factor)[..., 0]
            return (vector - weighted_sum(self.rows, inner)) / self.penalty[:, None]
        if self.support is None:
            return torch.cholesky_solve(vector[..., None], self.factor)[..., 0]
        return torch.cholesky_solve((vector * self.support)[..., None], self.factor)[..., 0] * self.support


def curvature(problems: Problems, weights: Tensor, gram: Tensor | None = None) -> Curvature:
    """The Hessian at weights [K, d]; with l1 of the weights that are not 0.

    Args:
        gram: XXᵀ [K, n, n], where it is known.
    """
    x, penalty = problems.features, problems.penalty
    n, width = x.shape[1:]
    probability = probabilities(x, weights)
    root = (probability * (1 - probability) / n).sqrt()
    rows = root[..., None] * x
    if problems.l1:
        support = weights.sign().abs()
        hessian = torch.bmm(rows.transpose(1, 2), rows) * support[:, :, None] * support[:, None]
        return Curvature(torch.linalg.cholesky(hessian + torch.diag_embed(1 - support)), penalty, None, support)
    if n < width:
        inner = torch.bmm(rows, rows.transpose(1, 2)) if gram is None else root[:, :, None] * gram * root[:, None]
    else:
        inner = torch.bmm(rows.transpose(1, 2), rows)
    inner.diagonal(dim1=1, dim2=2).add_(penalty[:, None])
    return Curvature(torch.linalg.cholesky(inner), penalty, rows if n < width else None, None)


def minimum(
    problems: Problems, start: Tensor | None = None, gram: Tensor | None = None, enough: float | None = None
) -> Tensor:
    """The weights [K, d], or [K, d, C], that minimise the training loss, to the rounding of their precision.

    Newton's method, each step as long as it pays. With l1 the signs come from accelerated proximal descent, and
    Newton's method then moves the weights that are not 0.

    Args:
        start: weights. gram: XXᵀ [K, n, n], where it is known.
        enough: the last step is the first that promises less than this share of the loss, which it leaves squared;
            default: eps^0.75, far below the rounding once squared.
    """
    enough = torch.finfo(problems.features.dtype).eps ** 0.75 if enough is None else enough
    if problems.softmax:
        return _softmax_minimum(problems, start, enough)
    x, y, penalty = problems.features, problems.labels, problems.penalty[:, None]
    n = x.shape[1]
    weights = x.new_zeros(len(x), x.shape[2]) if start is None else start
    if problems.l1:
        weights = _proximal(problems, weights)
    signs = weights.sign()

    def objective(at: Tensor) -> Tensor:
        found = scores(x, at)
        fit = (torch.nn.functional.softplus(found) - y * found).mean(1)
        return fit + (penalty * (at.abs() if problems.l1 else at.square() / 2)).sum(1)

    def step(at: Tensor) -> tuple[Tensor, Tensor]:
        gradient = weighted_sum(x, probabilities(x, at) - y) / n
        gradient = gradient + penalty * (signs if problems.l1 else at)
        return gradient, curvature(problems, at, gram).solve(gradient)

    def settled(at: Tensor) -> Tensor:
        return torch.where(at.sign() == signs, at, 0) if problems.l1 else at

    return _newton(objective, step, weights, enough, settled)


def _softmax_minimum(problems: Problems, start: Tensor | None, enough: float) -> Tensor:
    x, y, penalty = problems.features, problems.labels, problems.penalty[:, None, None]

    def objective(at: Tensor) -> Tensor:
        return softmax.mean_loss(x, y, at) + (penalty * at.square() / 2).sum((1, 2))

    def step(at: Tensor) -> tuple[Tensor, Tensor]:
        gradient = softmax.loss_slope(x, y, at) + penalty * at
        return gradient, softmax.solve(x, softmax.chances(x, at), penalty, gradient)

    weights = x.new_zeros(len(x), x.shape[2], y.shape[2]) if start is None else start
    return _newton(objective, step, weights, enough, lambda at: at)


def _newton(
    objective: Callable[[Tensor], Tensor],
    step: Callable[[Tensor], tuple[Tensor, Tensor]],
    weights: Tensor,
    enough: float,
    settled: Callable[[Tensor], Tensor],
) -> Tensor:
    """Steps of Newton's method until they gain nothing.

    Args:
        step: weights → gradient there, and the inverse Hessian times it. settled: what is done to weights after a step.
    """
    value = objective(weights)
    for _ in range(MOST_STEPS):
        gradient, moved_by = step(weights)
        gain = (gradient * moved_by).flatten(1).sum(1)  # twice what the step would gain were the loss quadratic
        weights, value, moved = _shortened(objective, weights, value, moved_by, gain)
        weights = settled(weights)
        # The error is squared by each step: after one that gained so little nothing is left to be gained.
        if not (moved & (gain > enough * value.abs().clamp(min=1e-3))).any():
            break
    return weights


def _shortened(
    objective: Callable[[Tensor], Tensor], weights: Tensor, value: Tensor, step: Tensor, gain: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Take each problem's step, halved until it gains a tenth of what it promises; say which moved."""
    length = torch.ones_like(value)
    slack = 4 * torch.finfo(value.dtype).eps * value.abs()  # of the rounding of sums

    def along(length: Tensor) -> Tensor:
        return weights - length.view(-1, *[1] * (step.ndim - 1)) * step

    for _ in range(HALVINGS):
        reached = objective(along(length))
        good = reached <= value - 0.1 * length * gain + slack
        if good.all():
            break
        length = torch.where(good, length, length / 2)
    return along(length * good), torch.where(good, reached, value), good


def _proximal(problems: Problems, weights: Tensor, steps: int = 5000) -> Tensor:
    """Accelerated proximal gradient descent (Beck & Teboulle, 2009), as long as the largest curvature asks for."""
    x, y, penalty = problems.features, problems.labels, problems.penalty[:, None]
    n = x.shape[1]
    largest = torch.linalg.matrix_norm(x, 2).square()[:, None] / (4 * n)
    ahead, momentum = weights, 1.0
    settled = 10 * torch.finfo(x.dtype).eps
    for _ in range(steps):
        moved = ahead - weighted_sum(x, probabilities(x, ahead) - y) / n / largest
        after = moved.sign() * (moved.abs() - penalty / largest).clamp(min=0)
        following = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead, momentum = after + (momentum - 1) / following * (after - weights), following
        if (after - weights).abs().max() <= settled * after.abs().max():
            return after
        weights = after
    return weights
