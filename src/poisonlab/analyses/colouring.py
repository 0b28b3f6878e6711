"""The colouring trick: a net that memorises colours tells which points make their neighbours vulnerable (thesis,
section 6.2).
"""

from collections.abc import Callable, Mapping
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_array
from torch import nn

from poisonlab.analyses import class_graphs
from poisonlab.attacks.pgd import Attack, attack, perturb
from poisonlab.datasets.dataset import Dataset
from poisonlab.evaluation.maps import Map, map_triangle
from poisonlab.models.inference import predict, rebuild, resolve_device, to_float
from poisonlab.poisons.poison import TrainingSet
from poisonlab.seeds import seed
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

SHOWN = 3  # points whose surroundings are mapped


def colour(graph: csr_array) -> np.ndarray:
    """Return colours [m], 0 … Δ, that differ between neighbours and between second neighbours; Δ is the largest number
    of both.

    networkx's equitable colouring of the squared graph (Hajnal and Szemerédi; Kierstead and others 2010): every colour
    has the same number of points, give or take one. A greedy colouring takes fewer colours, and gives one of them to
    half of the class, points without a neighbour among them: an attack that ends in that colour could have ended in a
    region of any of these.

    Args:
        graph: adjacency matrix [m, m].
    """
    near = csr_array(graph)
    squared = csr_array(near + near @ near)
    squared.setdiag(0)
    squared.eliminate_zeros()
    most = int(np.diff(squared.indptr).max())
    found = nx.equitable_color(nx.from_scipy_sparse_array(squared), most + 1)
    return np.array([found[node] for node in range(near.shape[0])], dtype=np.int64)


def reached(
    model: nn.Module,
    images: torch.Tensor,
    colours: np.ndarray,
    graph: csr_array,
    epsilon: float,
    box: tuple[float, float] | None,
    progress: Callable[[str], None] = lambda line: None,
    free: torch.Tensor | None = None,
) -> np.ndarray:
    """Number of neighbours [m] of each point from which a targeted attack (PGD, l∞ within ε) reaches the point's
    colour.

    Args:
        model: a net of colours; images: [m, …] float; free: bool […], features that may be moved, None for all.
    """
    edges = csr_array(graph).tocoo()
    # An edge stands in both directions: the attack starts at its column and aims at the colour of its row.
    points, starts = (torch.from_numpy(side.astype(np.int64)).to(images.device) for side in edges.coords)
    taught = torch.from_numpy(colours).to(images.device)
    verdicts = attack(
        model,
        images[starts],
        taught[starts],
        [epsilon],
        Attack(norm="linf"),
        targets=taught[points],
        box=box,
        free=free,
        progress=lambda line: progress(f"from neighbours to colours: {line}"),
    )
    hits = points[verdicts.fooled[0]].cpu().numpy()
    return np.bincount(hits, minlength=len(images))


def score_points(
    dataset: Dataset,
    settings: Mapping[str, Any],
    recipe: Mapping[str, Any],
    precision: str,
    device: str,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[pd.DataFrame, Map]:
    """Colour the graph of a class, let nets memorise the colours, and score every point with each of them.

    Args:
        settings: `colouring` of an entry of `graphs` in the configuration: class, density, epsilon; and model and
            number of nets.

    Returns:
        A row for each net and point of the class: net, index (in the training set), degree, colour, fitted (the net
            gives the colour), score (neighbours from which the colour is reached). And, for the `SHOWN` best points of
            the first net, maps of the plane through a neighbour, the point, and the end of the neighbour's attack, as
            `maps.map_triangle` returns them, stacked; none of a point at whose colour no attack ends.
    """
    where = resolve_device(device)
    index = np.flatnonzero(dataset.train_labels == settings["class"])
    points = dataset.train_float()[index]
    flat = points.reshape(len(points), -1)
    apart = class_graphs.distances(flat, "linf")
    graph = class_graphs.class_graph(apart, class_graphs.threshold(apart, settings["density"]))
    colours = colour(graph)
    training_set = TrainingSet(
        dataset.train_images[index], colours, max(2, int(colours.max()) + 1), np.empty(0, np.int64)
    )
    jobs = [
        VictimJob(f"{training_set.num_classes} colours, net {net}", training_set, seed("colouring", repeat=net))
        for net in range(settings["nets"])
    ]
    images, degrees, epsilon = (
        to_float(torch.from_numpy(points)).to(where),
        class_graphs.degrees(graph),
        settings["epsilon"],
    )
    tables, maps, free = [], [], dataset.free_on(where)
    for net, (_, trained) in enumerate(
        train(jobs, settings["model"], Recipe.of(recipe, "recipe"), precision, where, progress)
    ):
        model = rebuild(settings["model"], dataset.input_shape, training_set.num_classes, trained.parameters, where)
        scores = reached(model, images, colours, graph, epsilon, dataset.box, progress, free)
        fitted = predict(model, images).cpu().numpy() == colours
        columns = {"index": index, "degree": degrees, "colour": colours, "fitted": fitted, "score": scores}
        tables.append(pd.DataFrame({"net": net, **columns}))
        if net == 0:
            best = np.lexsort((-degrees, -scores))[: int((scores > 0).sum())][:SHOWN]
            drawn = (map_of(model, images, colours, graph, point, epsilon, dataset.box, free) for point in best)
            maps = [one for one in drawn if one is not None]
    stacked = {name: np.stack([one[name] for one in maps]) for name in maps[0]} if maps else {}
    return pd.concat(tables, ignore_index=True), stacked


def map_of(
    model: nn.Module,
    images: torch.Tensor,
    colours: np.ndarray,
    graph: csr_array,
    point: int,
    epsilon: float,
    box: tuple[float, float] | None,
    free: torch.Tensor | None = None,
) -> Map | None:
    """Map the plane through the nearest neighbour from which an attack ends in the point's colour, the point, and that
    end.

    None where no attack has the colour at its last step; it may have had it at an earlier one alone.
    """
    near = torch.from_numpy(graph.indices[graph.indptr[point] : graph.indptr[point + 1]].astype(np.int64)).to(
        images.device
    )
    near = near[(images[near] - images[point]).flatten(1).norm(dim=1).argsort(stable=True)]
    taught = torch.from_numpy(colours).to(images.device)
    aims = taught[point].expand(len(near))
    linf = Attack(norm="linf")
    ends = perturb(model, images[near], taught[near], epsilon, linf, targets=aims, box=box, free=free)
    arrived = (predict(model, ends) == aims).nonzero()
    if not len(arrived):
        return None
    first = int(arrived[0])
    corners = torch.stack([images[near[first]], images[point], ends[first].detach()])
    return map_triangle(model, corners, colours[[int(near[first]), point, point]])
