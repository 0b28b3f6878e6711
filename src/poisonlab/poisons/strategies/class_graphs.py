"""Poisons in dense regions: points of a class with many others nearby (thesis, section 6.1)."""

from typing import Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy

# What a strategy of this module may be told, with its default.
PARAMETERS: dict[str, Any] = {"density": 0.01, "select": ("dominating", "greedy"), "variant": ("fixed", "printed")}
RESOURCES = {"mem_mb": 6000, "runtime": 240}


@strategy(
    "class_graph_input",
    source="thesis, section 6.1.1; Algorithms 3 and 4",
    parameters={**PARAMETERS, "norm": ("linf", "l2")},
    deterministic=True,
    resources=RESOURCES,
)
def class_graph_input(request: Request) -> Poison:
    """Relabel points that have, or dominate, many neighbours in input space.

    `density` is the share of pairs of the class that its graph connects, see `class_graphs.threshold`. `select` takes
    the points of highest degree (greedy, Algorithm 3) or a dominating set (dominating, Algorithm 4, as `variant` fixed
    or printed reads it, see `class_graphs.dominating`; where fewer points than the budget dominate all, those of
    highest degree follow); `norm` is the graph's, linf or l2.
    """
    from poisonlab.analyses.class_graphs import pixels

    return _first(request, pixels(request.dataset))


@strategy(
    "class_graph_pca",
    source="thesis, section 6.1.2",
    parameters={**PARAMETERS, "norm": ("l2", "linf"), "components": 50},
    deterministic=True,
    resources=RESOURCES,
)
def class_graph_pca(request: Request) -> Poison:
    """Do as `class_graph_input` does (`density`, `select`, `variant`, `norm`) on the first principal components of all
    training points.

    Their number, `components`, is a choice: the thesis gives none.
    """
    from poisonlab.analyses.class_graphs import low_rank, pixels

    return _first(request, low_rank(pixels(request.dataset), int(request.parameters["components"])))


@strategy(
    "class_graph_features",
    source="thesis, section 6.1.3",
    needs=("features",),
    parameters={**PARAMETERS, "norm": ("l2", "linf")},
    deterministic=True,
    resources=RESOURCES,
)
def class_graph_features(request: Request) -> Poison:
    """Do as `class_graph_input` does on what the clean proxy's last layer gets to see of each point.

    `density`, `select`, `variant` and `norm` are as there.
    """
    return _first(request, request.needs["features"])


@strategy(
    "class_graph_both",
    source="thesis, section 6.1.4",
    needs=("features",),
    parameters={**PARAMETERS, "select": ("greedy", "dominating"), "norm": ("l2", "linf")},
    deterministic=True,
    resources=RESOURCES,
)
def class_graph_both(request: Request) -> Poison:
    """Relabel points that are chosen both on the proxy's features and in input space: 2b of each, b of both.

    `density`, `select` and `variant` as for `class_graph_input`, but that points of high degree (greedy) are the
    default, as in the thesis; `norm` is that of the features, in input space it is l∞. Of the points in both lists,
    those with the smallest sum of places come first. When fewer than b are in both, the lists are doubled, to 4b, 8b, …
    points: the thesis does not say what it does then.
    """
    from poisonlab.analyses.class_graphs import pixels

    lists = [
        _chosen(request, request.needs["features"], request.parameters["norm"]),
        _chosen(request, pixels(request.dataset), "linf"),
    ]
    return request.relabel(intersection(lists[0], lists[1], request.flip.budget))


def intersection(first: np.ndarray, second: np.ndarray, budget: int) -> np.ndarray:
    """The b points with the smallest sum of places among those that both lists, cut to 2b, 4b, … points, hold."""
    length = 2 * budget
    while len(both := np.intersect1d(first[:length], second[:length])) < budget and length < max(
        len(first), len(second)
    ):
        length *= 2
    places = [{int(point): place for place, point in enumerate(points)} for points in (first, second)]
    return np.array(
        sorted(both, key=lambda point: (places[0][point] + places[1][point], point))[:budget], dtype=np.int64
    )


def _first(request: Request, points: np.ndarray) -> Poison:
    return request.relabel(_chosen(request, points, request.parameters["norm"])[: request.flip.budget])


def _chosen(request: Request, points: np.ndarray, norm: str) -> np.ndarray:
    """All positions of the source class, the first to be chosen first; what a dominating set leaves over follows by
    degree.

    Raises:
        InputError: the density is not in (0, 1], or the budget exceeds the class.
    """
    from poisonlab.analyses import class_graphs

    parameters, pool = request.parameters, request.pool()
    density = float(parameters["density"])
    if not 0 < density <= 1:
        raise InputError(f"density {density:g} of a class graph is not in (0, 1]; change the parameter or its sweep")
    apart = class_graphs.distances(points[pool], norm)
    graph = class_graphs.class_graph(apart, class_graphs.threshold(apart, density))
    order = class_graphs.by_degree(graph, len(pool))
    if parameters["select"] == "dominating":
        first = class_graphs.dominating(graph, len(pool), parameters["variant"])
        order = np.concatenate([first, order[~np.isin(order, first)]])
    return pool[order]
