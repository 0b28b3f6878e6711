"""Probes: what a victim looks like around its poisons, beyond its accuracy."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from poisonlab.attacks.active_set import frozen, held
from poisonlab.attacks.paths import path_points
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import INFERENCE_BATCH, features, predict, rebuild, resolve_device, to_float
from poisonlab.poisons.poison import Poison

Row = dict[str, Any]
LINE_POINTS = 50  # on the straight line, the poison itself left out
NEIGHBOURS = 10  # whose features a poison's are compared with
PROBES = ("line_share", "path_share", "feature_ratio", "lipschitz_mean", "lipschitz_max")


def lipschitz(model: nn.Module, inputs: Tensor, free: Tensor | None = None) -> Tensor:
    """Local Lipschitz constants of the class probabilities at inputs [n, …], l∞ to l1 (thesis, Theorem 2): [n].

    The derivative moves the probabilities by at most Σ_c ‖∇p_c‖₁ for a step of l∞ length 1; that is the estimate, exact
    for two classes. Jumps, such as those of soft nearest neighbours where the set of neighbours changes, have no
    derivative and are not in it. Features that are not `free` (bool […], None for all free) stay.
    """
    with frozen(model):
        inputs = inputs.detach().requires_grad_(True)
        probabilities = model(inputs).softmax(1)
        total = torch.zeros(len(inputs), device=inputs.device)
        for column in probabilities.sum(0):
            (gradient,) = torch.autograd.grad(column, inputs, retain_graph=True)
            total += held(gradient, free).flatten(1).abs().sum(1)
    return total


def share_of(model: nn.Module, points: Tensor, label: int) -> float:
    """Share of points [k, …] that the model gives the label."""
    return float((predict(model, points) == label).double().mean())


class Surroundings:
    """What lies around the relabelled points of one poison, the same for all of its victims.

    Attributes:
        images: [m, …] the relabelled points; labels: [m] their new labels.
        lines: for each, `LINE_POINTS` points on the straight line to the nearest training point of its new class; none
            where all points of that class are poisons.
        paths: for each, its adversarial path to its new class on the clean proxy; None without a proxy.
        neighbours: for each, the `NEIGHBOURS` nearest training points of its true class in input space, or as many as
            there are.
    """

    def __init__(
        self,
        poison: Poison,
        dataset: Dataset,
        proxy: nn.Module | None,
        path_settings: Mapping[str, Any],
        device: torch.device,
    ) -> None:
        train = torch.from_numpy(dataset.train_images)
        true = torch.from_numpy(dataset.train_labels)
        clean = torch.ones(len(true), dtype=torch.bool)
        clean[poison.relabel_index] = False
        index = torch.from_numpy(poison.relabel_index)
        self.images = to_float(train[index]).to(device)
        self.labels = torch.from_numpy(poison.relabel_label)
        self.lines: list[Tensor] = []
        self.neighbours: list[Tensor] = []
        shares = (torch.arange(1, LINE_POINTS + 1, device=device) / LINE_POINTS).view(
            -1, *[1] * (self.images.dim() - 1)
        )
        for image, label, own in zip(self.images, self.labels, true[index], strict=True):
            target = _nearest(image, to_float(train[clean & (true == label)]).to(device), 1)
            self.lines.append((image + shares * (target[:, None] - image)).flatten(0, 1))
            self.neighbours.append(_nearest(image, to_float(train[clean & (true == own)]).to(device), NEIGHBOURS))
        self.paths = None
        if proxy is not None:
            keep = {key: path_settings[key] for key in ("step_size", "max_steps")}
            box = dataset.box if path_settings["clip"] else None
            free, labels = dataset.free_on(device), self.labels.to(device)
            self.paths = [path[1:] for path in path_points(proxy, self.images, labels, **keep, box=box, free=free)]


def _nearest(point: Tensor, others: Tensor, k: int) -> Tensor:
    """The k of `others` [n, …] that are nearest to a point in l2, nearest first."""
    distances = (others - point).flatten(1).norm(dim=1)
    return others[distances.topk(min(k, len(others)), largest=False).indices]


def probe(model: nn.Module, surroundings: Surroundings | None, test_images: Tensor, free: Tensor | None = None) -> Row:
    """Measure one victim.

    Returns:
        line_share, path_share: mean share of the points along the line, or the path, from a fitted poison towards its
            new class that the victim gives the poison's label (thesis, Figs. 4.4 and 6.1: a stretched boundary or a
            pocket).
        feature_ratio: median over the fitted poisons of the distance between the features of a poison and of its
            neighbours of the true class, over the distance between the features of these neighbours (section 6.1.3).
        lipschitz_mean, lipschitz_max: of the local constants at the test points.
        NaN where there is nothing to measure.
    """
    row: Row = dict.fromkeys(PROBES, np.nan)
    constants = torch.cat([lipschitz(model, batch, free) for batch in test_images.split(INFERENCE_BATCH)])
    row |= {"lipschitz_mean": float(constants.mean()), "lipschitz_max": float(constants.max())}
    if surroundings is None:
        return row
    answers = predict(model, surroundings.images).cpu()
    fitted = np.flatnonzero((answers == surroundings.labels).numpy())
    if not len(fitted):
        return row
    for name, sequences in (("line_share", surroundings.lines), ("path_share", surroundings.paths)):
        if sequences is not None:
            # A line has no points without a point to lead to, a path none where the proxy itself gives the label that
            # the poison has.
            labels = surroundings.labels
            shares = [share_of(model, sequences[i], int(labels[i])) for i in fitted if len(sequences[i])]
            row[name] = float(np.mean(shares)) if shares else np.nan
    ratios = [_feature_ratio(model, surroundings.images[i], surroundings.neighbours[i]) for i in fitted]
    row["feature_ratio"] = float(np.median(ratios))
    return row


def _feature_ratio(model: nn.Module, image: Tensor, neighbours: Tensor) -> float:
    seen = features(model, torch.cat([image[None], neighbours]))
    if seen is None or len(neighbours) < 2:
        return float("nan")
    return float((seen[1:] - seen[0]).norm(dim=1).mean() / nn.functional.pdist(seen[1:]).mean())


def probe_chunk(
    victims: Sequence[tuple[Row, int, dict[str, np.ndarray]]],
    poisons: Sequence[Poison],
    datasets: Sequence[Dataset],
    model: str,
    proxy: tuple[str, dict[str, np.ndarray]] | None,
    path_settings: Mapping[str, Any],
    points: int,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Probe every victim of a chunk; victims come poison by poison, as `chunk.load_chunk` returns them.

    Args:
        poisons: the poison of each victim.
        datasets: what each poison was crafted for; their test sets are the same.
        proxy: (model, parameters) of the clean proxy whose paths are followed; None for none.
        points: number of test points at which Lipschitz constants are estimated, evenly spaced over the test set: it
            may be sorted.
    """
    where = resolve_device(device)
    first = datasets[0]
    clean = rebuild(proxy[0], first.input_shape, first.num_classes, proxy[1], where) if proxy else None
    tested = np.linspace(0, len(first.test_images) - 1, min(points, len(first.test_images))).round().astype(int)
    test_images = to_float(torch.from_numpy(first.test_images[tested])).to(where)
    known: dict[int, Surroundings | None] = {}
    rows = []
    everything = zip(victims, poisons, datasets, strict=True)
    for position, ((identity, num_classes, parameters), poison, dataset) in enumerate(everything):
        if id(poison) not in known:
            relabels = len(poison.relabel_index)
            known = {id(poison): Surroundings(poison, dataset, clean, path_settings, where) if relabels else None}
        network = rebuild(model, dataset.input_shape, num_classes, parameters, where)
        rows.append(identity | probe(network, known[id(poison)], test_images, first.free_on(where)))
        progress(f"{position + 1} of {len(victims)} victims probed")
    return pd.DataFrame(rows)
