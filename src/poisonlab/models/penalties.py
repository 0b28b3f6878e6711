"""How the defender of a logistic regression chooses λ: on trusted validation points, or by cross-validation."""

import hashlib
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from poisonlab.models.hypergradients import Problems, minimum
from poisonlab.models.logistic import validation_slope
from poisonlab.seeds import seed

FOLDS = 5
BOUNDS = (-8.0, 6.0)  # of ln λ: outside of them, neither error nor norm of the weights changes any more
SPACING = 1.0  # of the grid over ln λ
ENOUGH = 1e-8  # of the training loss; the step that follows squares it
REFINEMENTS = 10  # of the golden section between the best point's neighbours: to 0.02
_KEPT = 64  # choices that are remembered: victims that differ in their seed alone share one
_known: dict[str, float] = {}

Points = tuple[Tensor, Tensor]  # features [n, d] with a column of ones, labels [n] or one-hot [n, C]; of one precision


def grid(bounds: tuple[float, float] = BOUNDS) -> list[float]:
    """Values of ln λ, both bounds among them."""
    low, high = bounds
    return np.linspace(low, high, max(2, round((high - low) / SPACING) + 1)).tolist()


def by_validation(train: Points, validation: Points, bounds: tuple[float, float] = BOUNDS) -> float:
    """ln λ of the least mean cross-entropy on validation points: the inner minimum of Carnerero-Cano et al. (2021),
    equation 1, of given poisons.

    The best point of a grid, refined between its neighbours.
    """
    return _remembered("validation", (*train, *validation), bounds, lambda: _by_validation(train, validation, bounds))


def _by_validation(train: Points, validation: Points, bounds: tuple[float, float]) -> float:
    path = _Path(train, validation)
    values = grid(bounds)
    losses = {value: path.loss(value) for value in reversed(values)}  # from the largest λ, whose minimum is near 0
    best = min(losses, key=losses.__getitem__)
    low, high = max(best - SPACING, bounds[0]), min(best + SPACING, bounds[1])
    share = (math.sqrt(5) - 1) / 2
    for _ in range(REFINEMENTS):
        left, right = high - share * (high - low), low + share * (high - low)
        for value in (left, right):
            if value not in losses:
                losses[value] = path.loss(value)
        low, high = (low, right) if losses[left] < losses[right] else (left, high)
    return min(losses, key=losses.__getitem__)


def by_cross_validation(train: Points, bounds: tuple[float, float] = BOUNDS) -> float:
    """ln λ, of a grid, of the least mean cross-entropy of held-out points, five folds.

    Which fold a point is in depends on its position and their number alone.
    """
    return _remembered("cross-validation", train, bounds, lambda: _by_cross_validation(train, bounds))


def _by_cross_validation(train: Points, bounds: tuple[float, float]) -> float:
    features, labels = train
    generator = np.random.default_rng(seed("folds"))
    fold = torch.from_numpy(generator.permutation(len(labels)) % FOLDS)
    values = grid(bounds)
    total = dict.fromkeys(values, 0.0)
    for number in range(FOLDS):
        held = fold == number
        path = _Path((features[~held], labels[~held]), (features[held], labels[held]))
        for value in reversed(values):
            total[value] += path.loss(value) * int(held.sum())
    return min(total, key=total.__getitem__)


class _Path:
    """Losses on other points of what is trained at one λ after the other, each from the one before."""

    def __init__(self, train: Points, held: Points) -> None:
        features, labels = train
        self.train, self.held = train, held
        wide = features.shape[0] < features.shape[1] and labels.ndim == 1
        self.gram = (features @ features.T)[None] if wide else None
        self.weights = features.new_zeros(1, features.shape[1], *labels.shape[1:])

    def loss(self, log_penalty: float) -> float:
        arrays = [array[None] for array in (*self.train, *self.held)]
        penalty = arrays[0].new_full((1,), math.exp(log_penalty))
        problem = Problems(arrays[0], arrays[1], penalty, arrays[2], arrays[3])
        self.weights = minimum(problem, self.weights, self.gram, ENOUGH)
        return float(validation_slope(self.weights, arrays[2], arrays[3])[0])


def _remembered(
    how: str, arrays: tuple[Tensor, ...], bounds: tuple[float, float], choose: Callable[[], float]
) -> float:
    state = hashlib.sha256(f"{how} {bounds}".encode())
    for array in arrays:
        state.update(f"{array.dtype} {tuple(array.shape)}".encode())
        state.update(array.contiguous().numpy().data)
    key = state.hexdigest()
    if key not in _known:
        if len(_known) >= _KEPT:
            del _known[next(iter(_known))]
        _known[key] = choose()
    return _known[key]
