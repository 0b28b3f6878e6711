"""Controls: they go through the same door as the clever strategies."""

import numpy as np

from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy


@strategy("none", source="control: the clean victim", deterministic=True)
def none(request: Request) -> Poison:
    """Change nothing."""
    return Poison(num_classes=request.dataset.num_classes)


@strategy("random", source="thesis, section 4.3, the baseline of Figure 4.8")
def random(request: Request) -> Poison:
    """Relabel points of the source class that are drawn uniformly."""
    pool = request.pool()
    return request.relabel(np.sort(request.generator.choice(pool, size=request.flip.budget, replace=False)))
