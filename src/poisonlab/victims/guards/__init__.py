"""Guards: what looks at some training points after every epoch, says which weights to keep, and may stop.

A guard is registered with ``@guard``; its signature is ``(model, images, labels, context, **parameters) -> Judged``:

- model: in evaluation mode, the victim that training would end with now; images: [watched, …] float32; labels:
  [watched] int64, both of the training set, poisons included.
- context: where the training stands, see `objectives.Context`. Its memory is the guard's own, empty at the start of a
  phase; a guard with `begins` is also called then, before the first step.

Weights that a guard keeps are those that the phase ends with. What it remembers as single numbers under names without
"/" become columns of the victims table.
"""

from dataclasses import dataclass
from typing import NamedTuple

from poisonlab.registry import Catalogue
from poisonlab.victims.parts import Part


class Judged(NamedTuple):
    """What a guard says after an epoch: whether these weights are the ones to keep so far, and whether to stop."""

    keep: bool
    stop: bool


@dataclass(frozen=True, kw_only=True)
class Guard(Part):
    """What is registered beside a guard; its parameter `points` is the number of points that it looks at, below 1 a
    share of the training set; `WATCHED` where it has no such parameter.

    Attributes:
        held_out: whether these points are left out of the training.
        begins: it is called at the start of a phase, too; what it then says does not count.
    """

    held_out: bool = False
    begins: bool = False


WATCHED = 128
guard = Catalogue("guard", "poisonlab.victims.guards", Guard)


def count(points: float, training: int) -> int:
    """Number of points that a guard looks at, at least 1 and not all of a training set of this size."""
    wanted = round(points * training) if points < 1 else int(points)
    return max(1, min(wanted, training - 1))
