"""Soft nearest neighbours: classifiers that store their training set (thesis, chapter 3)."""

import math
from typing import Any

import torch
from torch import Tensor, nn


class SoftNearestNeighbours(nn.Module):
    """The k nearest training points, weighted by their inverse l2 distance; a class's logit is the sum of its weights.

    The thesis takes the class sums as softmax logits. At a training point they are infinite there; here distances below
    `nearest` count as it. What is fitted are the points themselves: there is nothing to train.

    Args:
        k: number of neighbours.
        nearest: least distance that is told from 0.
        power: of the inverse distance that is the weight; the thesis's is 1.

    Raises:
        ValueError: k is below 1, or nearest or power is not above 0.
    """

    def __init__(
        self, input_shape: tuple[int, ...], num_classes: int, k: int, nearest: float = 1e-3, power: float = 1.0
    ) -> None:
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        if not (nearest > 0 and power > 0):
            raise ValueError(f"nearest is {nearest} and power {power}, both must be above 0")
        super().__init__()
        self.num_classes, self.k, self.nearest, self.power = num_classes, k, nearest, power
        self.register_buffer("points", torch.zeros(0, math.prod(input_shape)))
        self.register_buffer("labels", torch.zeros(0, dtype=torch.int64))

    points: Tensor  # [n, features]
    labels: Tensor  # [n]

    def fit(self, inputs: Tensor, labels: Tensor) -> None:
        """Store the training points [n, …] and their labels [n]."""
        self.points, self.labels = inputs.flatten(1).clone(), labels.clone()

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [n, …] to logits [n, num_classes]; differentiable almost everywhere."""
        # Differences and not the product formula of `cdist`, which loses the digits of short distances.
        squares = (inputs.flatten(1)[:, None] - self.points).square().sum(2)
        nearest, which = squares.topk(min(self.k, len(self.points)), largest=False)
        weights = nearest.clamp(min=self.nearest**2).pow(-self.power / 2)
        logits = weights.new_zeros(len(inputs), self.num_classes)
        return logits.scatter_add(1, self.labels[which], weights)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        # The stored points are as many as they are.
        for name in ("points", "labels"):
            setattr(self, name, torch.empty_like(state[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state, prefix, *rest)
