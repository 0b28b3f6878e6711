"""Poisons that would make most of their neighbours vulnerable, by a net that memorised colours."""

import numpy as np

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy


@strategy("colouring", source="thesis, section 6.2", needs=("colours",))
def colouring(request: Request) -> Poison:
    """Relabel the points of the source class with the largest scores of the colouring trick, see
    `colouring.score_points`.

    Each draw has a net of colours of its own. Points of equal score are taken at random.

    Raises:
        InputError: the scores are those of another class, there is no net for the draw, or the budget exceeds the
            class.
    """
    table, pool = request.needs["colours"], request.pool()
    nets = table["net"].nunique()
    if request.draw >= nets:
        raise InputError(
            f"draw {request.draw} of strategy 'colouring' has no net of colours, there are {nets}; score with more nets"
        )
    table = table[table["net"] == request.draw]
    if set(table["index"]) != set(pool.tolist()):
        raise InputError(
            f"the colours are not those of class {request.flip.source} in '{request.dataset.name}'; "
            "change the experiment's colouring, or its flip.source"
        )
    luck = request.generator.random(len(table))
    best = np.lexsort((luck, -table["score"].to_numpy()))[: request.flip.budget]
    return request.relabel(np.sort(table["index"].to_numpy()[best]))
