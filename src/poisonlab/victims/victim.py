"""What goes into an engine and what comes out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from poisonlab.poisons.poison import TrainingSet

# The exact check for "every point is fitted" costs a third of an epoch, so it waits until the epoch's running count of
# wrong answers, which comes for free, is at most this share of the training set.
CHECK_BELOW = 0.002

Progress = Callable[[str], None]
Weights = dict[str, np.ndarray]  # a model's state, name → array


@dataclass(frozen=True)
class VictimJob:
    """One victim to train.

    Attributes:
        key: its name in the chunk; seed: gives initialisation and data order.
        ages: shares of the recipe's epoch limit, 0 … 1, at which its weights are kept as well; 0 is the initialisation.
        box: range of the images' values, None for unbounded features; adversarial images stay in it.
        free: bool, of the shape of one image: the features that adversarial images may differ in; None for all of them.
    """

    key: str
    training_set: TrainingSet
    seed: int
    ages: tuple[float, ...] = ()
    box: tuple[float, float] | None = None
    free: np.ndarray | None = None

    def ages_at(self, epoch: int, limit: int) -> list[float]:
        """Ages that are reached at the end of epoch 1 … limit, 0 for the start: an age is rounded to whole epochs, at
        least one.
        """
        return [age for age in self.ages if (max(1, round(age * limit)) if age > 0 else 0) == epoch]


@dataclass(frozen=True)
class Victim:
    """A trained victim.

    Attributes:
        parameters: the model's state, name → float32 array.
        epochs: epochs trained; train_accuracy: share of training points, poisons included, with their training label.
        fitted_share: share of the poisons with the poison's label, NaN without poisons.
        diverged: the loss or a weight was not finite; training stopped there, and the other numbers mean nothing.
        scalars: what the model and the objective say of it, name → number.
        snapshots: age → its state then; the final one where training stopped before.
        seconds: processor time of the training, on a GPU time of the clock; NaN where victims are trained side by side.
    """

    parameters: Weights
    epochs: int
    train_accuracy: float
    fitted_share: float
    diverged: bool = False
    scalars: Mapping[str, float] = field(default_factory=dict)
    snapshots: Mapping[float, Weights] = field(default_factory=dict)
    seconds: float = float("nan")

    @staticmethod
    def judged(
        parameters: Weights,
        epochs: int,
        answers: np.ndarray,
        job: VictimJob,
        snapshots: Mapping[float, Weights] | None = None,
        **facts: Any,
    ) -> "Victim":
        """Return the victim that gives these answers [n] on its own training set; ages that it did not reach are its
        end.
        """
        training_set = job.training_set
        right = answers == training_set.labels
        poisoned = training_set.poisoned
        fitted = float(right[poisoned].mean()) if len(poisoned) else float("nan")
        kept = {age: (snapshots or {}).get(age, parameters) for age in job.ages}
        return Victim(parameters, epochs, float(right.mean()), fitted, snapshots=kept, **facts)


class UnderWay(Protocol):
    """Where an engine keeps the state of the victim that it is training, so that a killed job goes on in its middle."""

    def load(self, key: str) -> tuple[Weights, dict[str, Any]] | None:
        """State of the victim `key` as it was saved, arrays and facts; None where there is none."""
        ...

    def due(self) -> bool:
        """Whether it is time to save again."""
        ...

    def save(self, key: str, arrays: Weights, facts: dict[str, Any]) -> None:
        """Save the state of a victim."""
        ...
