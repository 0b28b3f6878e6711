"""Poisons that stand for their class: flips at its medoids, and the controls that take their reasons apart.

Chosen points cover a class well when the mean distance from each of its points to the nearest chosen one is small.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, check_budget, strategy

SOURCE = "k-medoids: Kaufman & Rousseeuw, 1987; as a choice of labels to flip, this project's own"
STARTS = 5  # searches from random points, of which the best counts
MOST_POINTS = 8000  # of a class; their distances take up to 512 MB
Select = Callable[[np.ndarray, int, np.random.Generator, int], np.ndarray]


def coverage(apart: np.ndarray, chosen: np.ndarray) -> float:
    """Mean distance from every point to the nearest chosen one.

    Args:
        apart: distances [m, m]; chosen: [k] positions in it.
    """
    return float(apart[:, chosen].min(axis=1).mean(dtype=np.float64))


def medoids(apart: np.ndarray, count: int, generator: np.random.Generator, sets: int) -> np.ndarray:
    """The `count` points [count] of best coverage that FasterPAM finds (Schubert & Rousseeuw, 2021)."""
    import kmedoids

    seeds = generator.integers(2**31, size=STARTS)
    found = [kmedoids.fasterpam(apart, count, random_state=int(number), n_cpu=1).medoids for number in seeds]
    return np.asarray(min(found, key=lambda chosen: coverage(apart, chosen)), dtype=np.int64)


def central(apart: np.ndarray, count: int, generator: np.random.Generator, sets: int) -> np.ndarray:
    """Typical and clustered: the points of the least mean distance to the class."""
    return np.argsort(apart.mean(axis=1, dtype=np.float64), kind="stable")[:count]


def outliers(apart: np.ndarray, count: int, generator: np.random.Generator, sets: int) -> np.ndarray:
    """The points of the greatest mean distance to the class."""
    return np.argsort(-apart.mean(axis=1, dtype=np.float64), kind="stable")[:count]


def k_centre(apart: np.ndarray, count: int, generator: np.random.Generator, sets: int) -> np.ndarray:
    """Spread and outlying: from the most central point on, each time the point farthest from all chosen ones (Gonzalez,
    1985).
    """
    chosen = [int(apart.mean(axis=1, dtype=np.float64).argmin())]
    nearest = apart[chosen[0]].copy()
    while len(chosen) < count:
        nearest[chosen] = -1  # copies of a point are at distance 0 from it
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, apart[chosen[-1]], out=nearest)
    return np.array(chosen)


def best_covered(apart: np.ndarray, count: int, generator: np.random.Generator, sets: int) -> np.ndarray:
    """The best covering of so many random sets."""
    drawn = [generator.choice(len(apart), count, replace=False) for _ in range(sets)]
    return min(drawn, key=lambda chosen: coverage(apart, chosen))


SELECT: dict[str, Select] = {one.__name__: one for one in (medoids, central, outliers, k_centre, best_covered)}
PARAMETERS: dict[str, Any] = {"distance": ("l2", "l1", "linf"), "select": tuple(SELECT), "sets": 100}
RESOURCES = {"mem_mb": 4000, "runtime": 60}


@strategy(
    "medoids",
    source=SOURCE,
    parameters={"space": ("pixels", "components"), "components": 50, **PARAMETERS},
    resources=RESOURCES,
)
def of_inputs(request: Request) -> Poison:
    """Relabel the medoids of the source class: the points whose mean distance from all of its points to the nearest of
    them is smallest.

    Draw 0 chooses from the whole class, draw k from a random half of it; of a class of more than 8000 points, from so
    many that are drawn at random. `space` is pixels, or the first principal `components` of all training points;
    `distance` is l2, l1 or linf. `select` takes other points, as controls: central (typical and clustered), outliers
    (farthest from the class), k_centre (spread and outlying), best_covered (of so many random `sets`). Facts:
    `coverage`, that mean distance over the points chosen from, and `chosen_from`, their number.
    """
    from poisonlab.analyses.class_graphs import low_rank, pixels

    points = pixels(request.dataset)
    if request.parameters["space"] == "components":
        points = low_rank(points, int(request.parameters["components"]))
    return _poison(request, points, request.pool())


@strategy("medoids_features", source=SOURCE, needs=("features",), parameters=PARAMETERS, resources=RESOURCES)
def of_features(request: Request) -> Poison:
    """Do as `medoids` does (`distance`, `select`, `sets`) on what the clean proxy's last layer gets to see of each
    point.
    """
    return _poison(request, request.needs["features"], request.pool())


@strategy("medoids_runner_up", source=SOURCE, needs=("logits",), parameters=PARAMETERS, resources=RESOURCES)
def of_runner_up(request: Request) -> Poison:
    """Do as `medoids` does in pixels (`distance`, `select`, `sets`), among those points of the source class that the
    clean proxy would next take for the target class.
    """
    logits, pool = request.needs["logits"][request.pool()].copy(), request.pool()
    logits[:, request.flip.source] = -np.inf
    return _among(request, pool[logits.argmax(axis=1) == request.flip.target], "whose runner-up is the target")


@strategy("medoids_far", source=SOURCE, needs=("paths",), parameters={"steps": 10, **PARAMETERS}, resources=RESOURCES)
def of_far(request: Request) -> Poison:
    """Do as `medoids` does in pixels (`distance`, `select`, `sets`), among those points of the source class whose
    adversarial path on the clean proxy has more than so many `steps`: those that no attack reaches without poisons.
    """
    steps, pool = request.needs["paths"][0]["steps"].to_numpy(), request.pool()
    limit = int(request.parameters["steps"])
    return _among(request, pool[steps[pool] > limit], f"whose path has more than {limit} steps")


def _among(request: Request, pool: np.ndarray, which: str) -> Poison:
    from poisonlab.analyses.class_graphs import pixels

    where = f"class {request.flip.source} in '{request.dataset.name}' {which}"
    check_budget(request.flip.budget, pool, where)
    return _poison(request, pixels(request.dataset), pool)


def _poison(request: Request, points: np.ndarray, pool: np.ndarray) -> Poison:
    from poisonlab.analyses.class_graphs import distances

    budget, generator = request.flip.budget, request.generator
    size = min(len(pool) if request.draw == 0 else len(pool) // 2, MOST_POINTS)
    if size < len(pool):
        pool = np.sort(generator.choice(pool, size, replace=False))
        check_budget(budget, pool, f"a half of those of class {request.flip.source} in '{request.dataset.name}'")
    if not budget:
        return request.relabel(pool[:0])
    apart = distances(points[pool], request.parameters["distance"])
    chosen = SELECT[request.parameters["select"]](apart, budget, generator, int(request.parameters["sets"]))
    facts = {"coverage": coverage(apart, chosen), "chosen_from": float(len(pool))}
    return replace(request.relabel(np.sort(pool[chosen])), facts=facts)
