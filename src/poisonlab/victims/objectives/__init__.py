"""Objectives: what a training makes small.

An objective is registered with ``@objective`` and has the signature ``(model, images, labels, context, **parameters) ->
(loss, logits)``:

- model: in training mode, computing in the recipe's precision; images: [batch, …] float32; labels: [batch] int64.
- context: where the training stands, see `Context`.
- loss: a number with a gradient; logits: [batch, classes], of the images that the model is trained on.

An objective's module is part of the version of those victims only that are trained with it (`Recipe.modules`). The
engines therefore know objectives by name and import none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from poisonlab.registry import Catalogue
from poisonlab.seeds import seed
from poisonlab.victims.parts import Part

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Objective(Part):
    """What is registered beside an objective.

    Attributes:
        scalars: model → name → number, asked once a victim is trained; they become columns of the victims table.
    """

    scalars: "Callable[[nn.Module], dict[str, float]] | None" = None


objective = Catalogue("objective", "poisonlab.victims.objectives", Objective)


@dataclass(frozen=True)
class Context:
    """Where a training stands.

    Attributes:
        victim_seed: of the victim; step: number of steps before this one, over all phases.
        progress: share of the phase's steps that are done after this one, in (0, 1].
        box: range of the images' values, None for unbounded features.
    """

    victim_seed: int
    step: int
    progress: float
    box: tuple[float, float] | None

    def seed(self) -> int:
        """A 63-bit seed for what is drawn in this step; the same whenever the victim is trained."""
        return seed("objective", victim=self.victim_seed, step=self.step)
