"""How a victim is trained: everything but its data and its seed."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Adam on cross-entropy, until every training point is fitted or the epoch limit.

    Attributes:
        epochs: limit; the learning rate's schedule spans it.
        batch_size: images per step.
        learning_rate: peak of the schedule.
        beta2: Adam's second-moment decay.
        warmup: share of all steps over which the rate rises linearly to its peak.
        final: rate at the last step, as a share of the peak (schedule "linear"); 1 is a constant rate.
        shuffle: a new order of the points in every epoch, instead of the data set's own with the poisons last.
        stop_when_fitted: stop as soon as every training point, poisons included, is classified as its training label.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    beta2: float = 0.999
    warmup: float = 0.0
    final: float = 1.0
    shuffle: bool = True
    stop_when_fitted: bool = True

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0 … steps − 1."""
        progress = (step + 1) / steps
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        decayed = (progress - self.warmup) / (1 - self.warmup) if self.warmup < 1 else 1.0
        return self.learning_rate * (1 - (1 - self.final) * decayed)
