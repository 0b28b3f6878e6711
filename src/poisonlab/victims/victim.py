"""What goes into an engine and what comes out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from poisonlab.poisons.poison import TrainingSet

# The exact check for "every point is fitted" costs a third of an epoch, so it waits until the epoch's running count of wrong answers,
# which comes for free, is at most this share of the training set.
CHECK_BELOW = 0.002

Progress = Callable[[str], None]


@dataclass(frozen=True)
class VictimJob:
    """One victim to train: `key` is its name in the chunk, `seed` gives initialisation and data order."""

    key: str
    training_set: TrainingSet
    seed: int


@dataclass(frozen=True)
class Victim:
    """A trained victim.

    Attributes:
        parameters: the model's state, name → float32 array.
        epochs: epochs trained; train_accuracy: share of training points, poisons included, with their training label.
        fitted_share: share of the poisons with the poison's label, NaN without poisons.
    """

    parameters: dict[str, np.ndarray]
    epochs: int
    train_accuracy: float
    fitted_share: float

    @staticmethod
    def judged(
        parameters: dict[str, np.ndarray], epochs: int, answers: np.ndarray, training_set: TrainingSet
    ) -> "Victim":
        """Return the victim that gives these answers [n] on its own training set."""
        right = answers == training_set.labels
        poisoned = training_set.poisoned
        fitted = float(right[poisoned].mean()) if len(poisoned) else float("nan")
        return Victim(parameters, epochs, float(right.mean()), fitted)
