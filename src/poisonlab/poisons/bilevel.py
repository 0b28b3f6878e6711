"""Poisons that maximise the validation loss of regularised logistic regression, and the λ that its defender chooses.

Projected ascent on features and projected descent on ln λ, by hypergradients, in turn (Carnerero-Cano et al., 2021,
equations 1 and 2).
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from poisonlab.models.hypergradients import Hypergradients, Problems, hypergradients


@dataclass(frozen=True)
class Search:
    """How poisons and ln λ are looked for.

    Attributes:
        hyperiterations: of each batch of poisons.
        step: of a poison's feature that has the largest derivative, as a share of the feature's range.
        penalty_step: of ln λ, per unit of its derivative.
        method: of `hypergradients`; descent_steps: of training, in reverse and forward mode.
        bounds: least and largest ln λ.
    """

    hyperiterations: int = 30
    step: float = 0.1
    penalty_step: float = 10.0
    method: str = "implicit"
    descent_steps: int = 200
    bounds: tuple[float, float] = (-8.0, 6.0)


@dataclass(frozen=True)
class Found:
    """Poisons [p, d], ln λ, the weights trained on them, [d] or [d, C], and the loss of every hyperiteration."""

    poisons: Tensor
    log_penalty: float
    weights: Tensor
    losses: list[float]


def ascend(
    clean: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor],
    poisons: Tensor,
    labels: Tensor,
    log_penalty: float,
    search: Search,
    project: Callable[[Tensor], Tensor],
    scale: Tensor,
    learn: bool,
) -> Found:
    """Move poisons to where they do most harm; with `learn`, ln λ to where they do least, one step each in turn.

    Args:
        clean: features [n, d] with a column of ones at the end, and labels, [n] in {0, 1} or one-hot [n, C];
            validation: the same.
        poisons: [p, d] where they begin, p may be 0; labels: theirs, which stay.
        project: poisons to the nearest allowed ones, [p, d] → [p, d].
        scale: [d], range of each feature.
    """
    state = _State(clean, validation, poisons, labels, search)
    losses = []
    for _ in range(search.hyperiterations):
        found = state.at(log_penalty)
        losses.append(float(found.loss))
        if len(poisons):
            slope = found.points[0] * scale  # per feature's range
            slope[:, -1] = 0  # the bias stays
            largest = slope.abs().amax(1, keepdim=True).clamp(min=torch.finfo(slope.dtype).tiny)
            state.move(project(state.poisons + search.step * scale * slope / largest))
        if learn:
            slope_of_penalty = float((state.at(log_penalty) if len(poisons) else found).log_penalty)
            moved = log_penalty - search.penalty_step * slope_of_penalty
            log_penalty = min(max(moved, search.bounds[0]), search.bounds[1])
    found = state.at(log_penalty)
    return Found(state.poisons, log_penalty, found.weights[0], [*losses, float(found.loss)])


class _State:
    """A problem whose last points move; products of the others with each other are kept."""

    def __init__(
        self,
        clean: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        poisons: Tensor,
        labels: Tensor,
        search: Search,
    ) -> None:
        features, answers = torch.cat([clean[0], poisons]), torch.cat([clean[1], labels])
        self.search, self.count, self.kept = search, len(poisons), len(clean[0])
        one = features.new_ones(1)
        self.problems = Problems(features[None], answers[None], one, validation[0][None], validation[1][None])
        wide = search.method != "forward" and features.shape[0] < features.shape[1] and not self.problems.softmax
        self.gram = (features @ features.T)[None] if wide else None
        # Of the clean points alone: poisons in the same range hardly change the largest curvature. The loss of a score
        # bends by at most a quarter, of several scores by at most a half (Böhning, 1992).
        most = 2 if self.problems.softmax else 4
        self.steepest = float(torch.linalg.matrix_norm(clean[0], 2)) ** 2 / (most * len(clean[0]))
        self.weights: Tensor | None = None

    @property
    def poisons(self) -> Tensor:
        return self.problems.features[0, self.kept :]

    def move(self, poisons: Tensor) -> None:
        features = self.problems.features.clone()
        features[0, self.kept :] = poisons
        self.problems = dataclasses.replace(self.problems, features=features)
        if self.gram is not None:
            own = poisons @ features[0].T
            self.gram = self.gram.clone()
            self.gram[0, self.kept :] = own
            self.gram[0, :, self.kept :] = own.T

    def at(self, log_penalty: float) -> Hypergradients:
        """Hypergradients at this ln λ."""
        penalty = torch.full_like(self.problems.penalty, log_penalty).exp()
        problems = dataclasses.replace(self.problems, penalty=penalty)
        rate = 1 / (self.steepest + float(penalty))
        found = hypergradients(
            problems, self.count, self.search.method, self.search.descent_steps, rate, self.weights, self.gram
        )
        self.weights = found.weights
        return found
