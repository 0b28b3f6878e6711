"""Point by point: which test points an attack leads to the flips' label, and how near a flip they lie."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances_argmin_min
from torch import nn

from poisonlab import attacks
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models.inference import features, rebuild, resolve_device, to_float
from poisonlab.poisons.poison import Poison
from poisonlab.results.tables import KEY

Row = dict[str, Any]
Spaces = Mapping[str, tuple[np.ndarray, np.ndarray]]  # name → training points [n, features], test points [m, features]
COMPONENTS = 50  # as the class graphs and the medoids have them
SLICES = 10


def spaces(dataset: Dataset, proxy: nn.Module, device: torch.device) -> Spaces:
    """Training and test points as pixels, as the training points' principal components, and as a clean proxy's last
    linear layer gets to see them, if it has one.
    """
    train, test = dataset.train_images, dataset.test_images
    flat = [to_float(torch.from_numpy(part)).flatten(1).numpy() for part in (train, test)]
    fitted = PCA(min(COMPONENTS, *flat[0].shape), svd_solver="covariance_eigh").fit(flat[0])
    found = {"pixels": (flat[0], flat[1]), "components": (fitted.transform(flat[0]), fitted.transform(flat[1]))}
    seen = [features(proxy, to_float(torch.from_numpy(part)).to(device)) for part in (train, test)]
    if seen[0] is not None and seen[1] is not None:
        found["features"] = seen[0].cpu().numpy(), seen[1].cpu().numpy()
    return found


def measure_chunk(
    victims: Sequence[tuple[Row, int, dict[str, np.ndarray]]],
    poisons: Sequence[Poison],
    dataset: Dataset,
    model: Any,
    attack: tuple[str, Mapping[str, Any]],
    proxy: tuple[str, dict[str, np.ndarray]],
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Attack every test point of the flips' source class, on every victim of a chunk.

    Args:
        victims: as `chunk.load_chunk` returns them; poisons: the flips of each, from one class to another.
        model: specification of the victims. attack: name and settings, with one radius. proxy: (model, parameters) of a
            clean net.

    Returns:
        One row per victim and point: the victim's columns, `point` (its place in the test set), `fooled` (the attacked
        image is given the flips' label), `distance_<space>` to the nearest flip, l2 in each of `spaces`.

    Raises:
        InputError: none of the poisons relabels a point.
    """
    where = resolve_device(device)
    clean = rebuild(proxy[0], dataset.input_shape, dataset.num_classes, proxy[1], where)
    known = spaces(dataset, clean, where)
    tables = []
    for number, ((identity, classes, parameters), poison) in enumerate(zip(victims, poisons, strict=True), 1):
        if not len(poison.relabel_index):
            continue
        chosen = np.flatnonzero(dataset.test_labels == dataset.train_labels[poison.relabel_index[0]])
        verdicts = attacks.run(
            attack[1],
            f"attacks.{attack[0]}",
            rebuild(model, dataset.input_shape, classes, parameters, where),
            to_float(torch.from_numpy(dataset.test_images[chosen]).to(where)),
            torch.from_numpy(dataset.test_labels[chosen]).to(where),
            targets=torch.full((len(chosen),), int(poison.relabel_label[0]), device=where),
            box=dataset.box,
            free=dataset.free_on(where),
        )
        apart = {
            f"distance_{name}": pairwise_distances_argmin_min(test[chosen], train[poison.relabel_index])[1]
            for name, (train, test) in known.items()
        }
        tables.append(pd.DataFrame({**identity, "point": chosen, "fooled": verdicts.fooled[0].cpu().numpy(), **apart}))
        progress(f"{number} of {len(victims)} victims attacked")
    if not tables:
        raise InputError("no poison of this job relabels a point whose distance could be measured; set points: null")
    return pd.concat(tables, ignore_index=True)


def by_distance(points: pd.DataFrame) -> pd.DataFrame:
    """Sort each victim's points by their distance to the nearest flip and cut them into `SLICES` equal slices.

    Args:
        points: as `measure_chunk` returns it.

    Returns:
        One row per victim, space and slice: `distance`, the mean of the slice, `fooled`, the share of its points, and
        `n_points`.
    """
    tables = []
    for column in [str(name) for name in points if str(name).startswith("distance_")]:
        own = points.groupby(KEY, dropna=False)[[column]]
        rank, size = own.rank(method="first")[column], own.transform("size")
        cut = points.assign(slice=((rank - 1) * SLICES // size).astype(int).to_numpy(), distance=points[column])
        found = cut.groupby([*KEY, "slice"], dropna=False, as_index=False).agg(
            distance=("distance", "mean"), fooled=("fooled", "mean"), n_points=("fooled", "size")
        )
        tables.append(found.assign(space=column.removeprefix("distance_")))
    return pd.concat(tables, ignore_index=True)
