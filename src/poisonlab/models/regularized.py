"""Regularised logistic regression as a victim: it chooses its λ, then learns by mini-batch descent."""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab.errors import InputError
from poisonlab.models.inference import to_float
from poisonlab.models.penalties import by_cross_validation, by_validation
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.order import epoch_order
from poisonlab.victims.recipe import Recipe

CHOICES = ("given", "clean", "poisoned", "validation")


class RegularizedLogistic(nn.Module):
    """Logistic regression, softmax regression for more than two classes, with an l2 or l1 penalty.

    Mean cross-entropy + λ · ‖w‖²/2 (or λ · ‖w‖₁) is made small by stochastic gradient descent on mini-batches; after
    each step the penalty's proximal map shrinks the weights, which is stable however large λ is. The bias is the weight
    of a feature of ones, and is penalised like the others. `choose` says how λ comes about: `given` (`penalty`), or of
    least cross-entropy: `clean` (five-fold cross-validation without the poisons), `poisoned` (with them), `validation`
    (on trusted validation points). Scalars: `penalty` λ and `log_penalty` ln λ, `norm` ‖w‖, `weight_range`, the largest
    weight minus the smallest.

    Raises:
        ValueError: a parameter is out of its range.
    """

    takes = ("training_set", "seed", "recipe")

    def __init__(
        self,
        input_shape: tuple[int, ...],
        num_classes: int,
        penalty: float = 0.01,
        choose: str = "given",
        norm: str = "l2",
    ) -> None:
        if choose not in CHOICES or norm not in ("l2", "l1") or not penalty > 0:
            raise ValueError(
                f"choose is {choose!r} of {CHOICES}, norm {norm!r} of ('l2', 'l1'), penalty {penalty}, above 0"
            )
        super().__init__()
        self.choose, self.l1 = choose, norm == "l1"
        rows = 1 if num_classes == 2 else num_classes
        self.weight = nn.Parameter(torch.zeros(rows, math.prod(input_shape) + 1))
        self.register_buffer("penalty", torch.tensor(float(penalty)))

    penalty: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs [n, …] to logits [n, classes]; of two classes they are opposite."""
        scores = inputs.flatten(1) @ self.weight[:, :-1].T + self.weight[:, -1]
        return torch.cat([-scores, scores], 1) / 2 if len(self.weight) == 1 else scores

    def scalars(self) -> dict[str, float]:
        weight = self.weight.detach().double()
        spread = weight[:, :-1].max() - weight[:, :-1].min()
        penalty = float(self.penalty)
        return {
            "penalty": penalty,
            "log_penalty": math.log(penalty),
            "norm": float(weight.norm()),
            "weight_range": float(spread),
        }

    @torch.no_grad()
    def fit(self, inputs: Tensor, labels: Tensor, training_set: TrainingSet, seed: int, recipe: Recipe) -> None:
        """Choose λ and train from zero for all epochs of the recipe.

        Raises:
            InputError: the recipe's optimiser or objective is another, λ is to be chosen for l1, or there are no
                validation points to choose it by.
        """
        (recipe,) = recipe.stages if len(recipe.stages) == 1 else (None,)  # type: ignore[assignment]
        if recipe is None or {
            kind: one.entry.name for kind, one in recipe.parts.items() if kind not in ("schedule", "cleaning")
        } != {
            "optimiser": "sgd",
            "objective": "cross_entropy",
        }:
            raise InputError(
                "model 'logistic' is trained by stochastic gradient descent on its penalised cross-entropy; give its "
                "recipe optimiser: sgd, and neither another objective nor phases"
            )
        self.penalty.fill_(self._chosen(training_set))
        points = torch.cat([inputs.flatten(1), inputs.new_ones(len(inputs), 1)], 1)
        if len(self.weight) == 1:
            answers = labels.to(points.dtype)[:, None]
        else:
            answers = F.one_hot(labels, len(self.weight)).to(points.dtype)
        weight, n, size = self.weight.detach(), len(labels), recipe.batch_size
        total, step = recipe.epochs * -(-n // size), 0
        for epoch in range(recipe.epochs):
            order = torch.from_numpy(epoch_order(seed, epoch, n, size, recipe.shuffle)).to(inputs.device)
            for batch in order.split(size):
                own, rate = points[batch], recipe.rate(step, total)
                scores = own @ weight.T
                chances = scores.sigmoid_() if len(weight) == 1 else scores.softmax(1)
                weight.sub_((chances - answers[batch]).T @ own, alpha=rate / len(batch))
                shrink = rate * self.penalty
                if self.l1:
                    weight.copy_(weight.sign() * (weight.abs() - shrink).clamp(min=0))
                else:
                    weight.div_(1 + shrink)
                step += 1

    def _chosen(self, training_set: TrainingSet) -> float:
        """λ, as `choose` says."""
        if self.choose == "given":
            return float(self.penalty)
        if self.l1:
            raise InputError(
                f"model 'logistic' chooses λ ({self.choose}) for the l2 penalty alone; set choose: given and a penalty"
            )
        rows = len(self.weight)
        points = _points(training_set.images, training_set.labels, rows)
        if self.choose == "validation":
            if training_set.validation is None:
                raise InputError(
                    "model 'logistic' chooses λ on validation points, which its training set does not have; set the "
                    "poison's split"
                )
            return math.exp(by_validation(points, _points(*training_set.validation, rows)))
        if self.choose == "clean":
            kept = np.setdiff1d(np.arange(len(training_set.labels)), training_set.poisoned)
            points = points[0][kept], points[1][kept]
        return math.exp(by_cross_validation(points))


def _points(images: np.ndarray, labels: np.ndarray, rows: int) -> tuple[Tensor, Tensor]:
    features = to_float(torch.from_numpy(images)).flatten(1).double()
    answers = torch.from_numpy(labels)
    answers = F.one_hot(answers, rows) if rows > 1 else answers
    return torch.cat([features, features.new_ones(len(features), 1)], 1), answers.double()
