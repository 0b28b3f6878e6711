"""Poisons that would make most of their neighbours vulnerable, by a net that memorised colours."""

import numpy as np

from poisonlab.errors import InputError
from poisonlab.poison import Poison
from poisonlab.strategies import Request, strategy


@strategy("colouring", source="thesis, section 6.2", needs=("colours",))
def colouring(request: Request) -> Poison:
    """Relabel the points of the source class with the largest scores of the colouring trick, see `colouring.score_points`.

    Points of equal score are taken at random.

    Raises:
        InputError: the scores are those of another class, or the budget exceeds it.
    """
    table, pool = request.needs["colours"], request.pool()
    if set(table["index"]) != set(pool.tolist()):
        raise InputError(
            f"the colours are not those of class {request.flip.source} in '{request.dataset.name}'; "
            "change the experiment's colouring, or its flip.source"
        )
    luck = request.generator.random(len(table))
    best = np.lexsort((luck, -table["score"].to_numpy()))[: request.flip.budget]
    return request.relabel(np.sort(table["index"].to_numpy()[best]))
