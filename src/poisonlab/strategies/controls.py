"""Controls: they go through the same door as the clever strategies."""

import numpy as np

from poisonlab.poison import Poison
from poisonlab.strategies import Request, choose, strategy


@strategy("none", source="control: the clean victim", deterministic=True)
def none(request: Request) -> Poison:
    """Change nothing."""
    return Poison(num_classes=request.dataset.num_classes)


@strategy("random", source="thesis, section 4.3, the baseline of Figure 4.8")
def random(request: Request) -> Poison:
    """Relabel points of the source class that are drawn uniformly."""
    flip, dataset = request.flip, request.dataset
    index = choose(flip.pool(dataset), flip.budget, request.generator, f"class {flip.source} in '{dataset.name}'")
    return Poison(dataset.num_classes, relabel_index=index, relabel_label=np.full(len(index), flip.target))
