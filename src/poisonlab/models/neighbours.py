"""Soft nearest neighbours: classifiers that store their training set (thesis, chapter 3)."""

import math
from typing import Any

import torch
from torch import Tensor, nn

NEAREST = 1e-3  # distances below it count as it: the inverse, a weight, has no limit at a training point


class SoftNearestNeighbours(nn.Module):
    """The k nearest training points, weighted by their inverse l2 distance; a class's logit is the sum of its weights.

    The thesis takes the class sums as softmax logits. At a training point they are infinite there; here a weight is at
    most 1 / NEAREST = 1000. What is fitted are the points themselves: there is nothing to train.

    Raises:
        ValueError: k is below 1.
    """

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, k: int) -> None:
        if k < 1:
            raise ValueError(f"k is {k}, it must be at least 1")
        super().__init__()
        self.num_classes, self.k = num_classes, k
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
        weights = nearest.clamp(min=NEAREST**2).rsqrt()
        logits = weights.new_zeros(len(inputs), self.num_classes)
        return logits.scatter_add(1, self.labels[which], weights)

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        # The stored points are as many as they are.
        for name in ("points", "labels"):
            setattr(self, name, torch.empty_like(state[prefix + name], device=getattr(self, name).device))
        super()._load_from_state_dict(state, prefix, *rest)
