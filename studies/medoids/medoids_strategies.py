"""Random points that say how well they cover their class and how sure a clean net is of them."""

from dataclasses import replace

import numpy as np

from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose, strategy
from poisonlab.poisons.strategies.medoids import coverage


@strategy("described_random", source="this project's own", needs=("logits",))
def described_random(request: Request) -> Poison:
    """Relabel random points of the source class.

    Facts: `coverage`, the mean distance (l2 in pixels) of the class to the nearest of them; `margin`, the mean of the
    source's logit minus the target's at them, on a clean proxy.
    """
    from poisonlab.analyses.class_graphs import distances, pixels

    pool, flip = request.pool(), request.flip
    chosen = choose(pool, flip.budget, request.generator, f"class {flip.source}")
    apart = distances(pixels(request.dataset)[pool], "l2")
    logits = request.needs["logits"][chosen]
    margin = float((logits[:, flip.source] - logits[:, flip.target]).mean())
    facts = {"coverage": coverage(apart, np.searchsorted(pool, chosen)), "margin": margin}
    return replace(request.relabel(chosen), facts=facts)
