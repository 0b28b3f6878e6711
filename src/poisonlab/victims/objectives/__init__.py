"""Objectives: what a training makes small.

An objective is registered with ``@objective`` and has the signature ``(model, images, labels, context, **parameters) ->
(loss, logits)``:

- model: in training mode, computing in the recipe's precision; images: [batch, …] float32; labels: [batch] int64.
- context: where the training stands, see `Context`.
- loss: a number with a gradient; logits: [batch, classes], of the images that the model is trained on.

An objective's module is part of the version of those victims only that are trained with it (`Recipe.modules`). The
engines therefore know objectives by name and import none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from poisonlab.registry import Catalogue
from poisonlab.seeds import seed
from poisonlab.victims.parts import Part

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Objective(Part):
    """What is registered beside an objective.

    Attributes:
        scalars: model → name → number, asked once a victim is trained; they become columns of the victims table.
        start: it asks for `Context.start`.
    """

    scalars: "Callable[[nn.Module], dict[str, float]] | None" = None
    start: bool = False


objective = Catalogue("objective", "poisonlab.victims.objectives", Objective)


@dataclass(frozen=True)
class Context:
    """Where a training stands.

    Attributes:
        victim_seed: of the victim; step: number of steps before this one, over all phases.
        progress: share of the phase's steps that are done after this one, in (0, 1].
        box: range of the images' values, None for unbounded features.
        epoch: number of epochs before this one, over all phases; epoch_of_phase: of the phase.
        positions: [batch] int64, places of the batch in the training set of `points` points.
        memory: name → tensor, what an objective keeps from step to step; empty at the start of a phase. A training that
            is resumed has it to the bit.
        free: bool, of the shape of one image: the features that may be moved, None for all of them. An objective that
            moves images puts the others back, see `held`.
        start: the model's state that the phase found, before it drew new weights where it does; empty where the
            objective does not ask for it.
    """

    victim_seed: int
    step: int
    progress: float
    box: tuple[float, float] | None
    epoch: int = 0
    epoch_of_phase: int = 0
    positions: "Tensor | None" = None
    points: int = 0
    memory: "dict[str, Tensor]" = field(default_factory=dict)
    start: "Mapping[str, Tensor]" = field(default_factory=dict)
    free: "Tensor | None" = None

    def held(self, points: "Tensor", images: "Tensor") -> "Tensor":
        """Moved images [batch, …] with the features that attacks leave out as they were in `images`."""
        return points if self.free is None else points.where(self.free, images)

    def seed(self) -> int:
        """A 63-bit seed for what is drawn in this step; the same whenever the victim is trained."""
        return seed("objective", victim=self.victim_seed, step=self.step)

    def remembered(self, name: str, images: "Tensor") -> "Tensor":
        """A tensor of the memory with a row for each training point, [points, …] like `images` [batch, …], zeros at
        first.
        """
        if name not in self.memory:
            self.memory[name] = images.new_zeros(self.points, *images.shape[1:])
        return self.memory[name]
