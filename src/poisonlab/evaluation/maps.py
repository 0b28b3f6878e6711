"""Maps of what victims decide in two dimensions: of the plane itself, or of a slice through images around a poison."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from poisonlab.attacks.paths import path_points
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models.inference import predict, rebuild, resolve_device, to_float
from poisonlab.poisons.poison import Poison, apply

PLANE, SLICE = 201, 81  # grid points on a side: choices
MARGIN = 0.15  # that a map leaves around its marks, as a share of their extent
NEAR = 10  # training points in the window around a poison
KINDS = ("training", "poison", "neighbour", "boundary")
Map = dict[str, np.ndarray]


def _grid(marks: np.ndarray, side: int, margin: float = MARGIN) -> tuple[np.ndarray, np.ndarray]:
    """A square window [4] (left, right, bottom, top) around the marks [m, 2], and its grid points [side², 2], row by
    row from below.
    """
    low, high = marks.min(0), marks.max(0)
    middle, half = (low + high) / 2, (high - low).max() / 2 * (1 + 2 * margin)
    x, y = (np.linspace(centre - half, centre + half, side) for centre in middle)
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return np.array([middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half]), grid


def _map(networks: Sequence[nn.Module], points: Tensor, side: int) -> list[np.ndarray]:
    """Classes [side, side] uint8 that each network gives the grid's points."""
    return [predict(network, points).cpu().numpy().astype(np.uint8).reshape(side, side) for network in networks]


def map_plane(network: nn.Module, poison: Poison, dataset: Dataset, device: torch.device) -> Map:
    """Map a victim of two-dimensional data; its marks are its training points.

    Returns:
        `classes` [G, G] uint8, bottom row first; `extent` [4] left, right, bottom, top; `near_classes` and
        `near_extent`, the same of a window around the first poison and its `NEAR` nearest training points; `marks` [m,
        2]; `labels` [m], the training labels; `kinds` [m], positions in `KINDS`.
    """
    training_set = apply(poison, dataset)
    points = training_set.images
    first = points[training_set.poisoned[0]] if len(training_set.poisoned) else points[0]
    around = points[np.argsort(((points - first) ** 2).sum(1), kind="stable")[: NEAR + 1]]
    (extent, grid), (near_extent, near) = _grid(points, PLANE), _grid(around, PLANE)
    classes, near_classes = (
        _map([network], torch.from_numpy(window).float().to(device), PLANE)[0] for window in (grid, near)
    )
    kinds = np.zeros(len(training_set.labels), dtype=np.int64)
    kinds[training_set.poisoned] = KINDS.index("poison")
    return {
        "classes": classes,
        "extent": extent,
        "near_classes": near_classes,
        "near_extent": near_extent,
        "marks": points,
        "labels": training_set.labels,
        "kinds": kinds,
    }


def _plane(origin: Tensor, right: Tensor, up: Tensor) -> tuple[np.ndarray, Tensor, np.ndarray]:
    """The plane through three images: window [4], the images of its grid [side², …], and where the three lie [3, 2], as
    l2 distances.

    The first is the origin, the horizontal axis leads to the second, the vertical one, orthogonal to it, towards the
    third.
    """
    corners = torch.stack([torch.zeros_like(origin), right - origin, up - origin]).flatten(1)
    across = corners[1] / corners[1].norm().clamp_min(1e-12)
    upwards = corners[2] - (corners[2] @ across) * across
    axes = torch.stack([across, upwards / upwards.norm().clamp_min(1e-12)])
    marks = (corners @ axes.T).cpu().numpy()
    extent, grid = _grid(marks, SLICE, margin=0.4)
    offsets = (torch.from_numpy(grid).float().to(origin.device) @ axes).view(-1, *origin.shape)
    return extent, origin + offsets, marks


def map_triangle(network: nn.Module, images: Tensor, labels: np.ndarray) -> Map:
    """Map a net on the plane through three images [3, …] with their labels [3].

    Returns:
        As `map_plane`, classes in uint16, with the three as marks, and `distances` [3, G, G], l∞ from each of them.
    """
    extent, points, marks = _plane(*images)
    distances = torch.stack([(points - image).flatten(1).abs().amax(1) for image in images]).view(3, SLICE, SLICE)
    return {
        "classes": predict(network, points).cpu().numpy().astype(np.uint16).reshape(SLICE, SLICE),
        "extent": extent,
        "marks": marks,
        "labels": labels,
        "distances": distances.cpu().numpy().astype(np.float32),
    }


def map_slice(
    network: nn.Module,
    clean: nn.Module,
    poison: Poison,
    dataset: Dataset,
    path_settings: Mapping[str, Any],
    device: torch.device,
) -> Map:
    """Map a victim on the plane through a poison, its nearest neighbour of the true class and the clean proxy's
    boundary.

    The poison is the first that the victim fitted, or the first. It is the origin; the horizontal axis leads to the end
    of its adversarial path on the clean proxy, the vertical one, orthogonal to it, towards the neighbour. Both are l2
    distances.

    Returns:
        As `map_plane`, with three marks (poison, neighbour, boundary; `labels` are what the victim was taught, the
        boundary's is the poison's) and `clean` [G, G] uint8, what the proxy decides.

    Raises:
        InputError: the poison relabels no training point.
    """
    if not len(poison.relabel_index):
        raise InputError("the condition relabels no training point around which a map could be drawn; set maps: false")
    train = torch.from_numpy(dataset.train_images)
    index = torch.from_numpy(poison.relabel_index)
    images = to_float(train[index]).to(device)
    fitted = (predict(network, images).cpu() == torch.from_numpy(poison.relabel_label)).int()
    first = int(fitted.argmax())
    origin, label = images[first], int(poison.relabel_label[first])
    true = int(dataset.train_labels[index[first]])
    untouched = torch.from_numpy(dataset.train_labels == true)
    untouched[index] = False
    others = to_float(train[untouched]).to(device)
    neighbour = others[(others - origin).flatten(1).norm(dim=1).argmin()]
    box = dataset.box if path_settings["clip"] else None
    steps = {key: path_settings[key] for key in ("step_size", "max_steps")}
    free = dataset.free_on(device)
    (path,) = path_points(clean, origin[None], torch.tensor([label], device=device), **steps, box=box, free=free)
    extent, points, marks = _plane(origin, path[-1].detach(), neighbour)
    classes, before = _map([network, clean], points, SLICE)
    return {
        "classes": classes,
        "clean": before,
        "extent": extent,
        "marks": marks[[0, 2, 1]],
        "labels": np.array([label, true, label]),
        "kinds": np.array([KINDS.index(kind) for kind in ("poison", "neighbour", "boundary")]),
    }


def map_victims(
    victims: Sequence[tuple[float | None, int, Mapping[str, np.ndarray]]],
    poisons: Sequence[Poison],
    dataset: Dataset,
    model: str,
    proxy: tuple[str, dict[str, np.ndarray]] | None,
    path_settings: Mapping[str, Any],
    device: str = "auto",
) -> Map:
    """Map some victims of one condition, with its poison each; stacked arrays, and `axis_values` [victims], NaN without
    an axis.

    Args:
        victims: (value of the sweep axis, number of classes, parameters) of each.
        proxy: (model, parameters) of the clean proxy, for slices of images; None maps the plane of two-dimensional
            data.
    """
    where = resolve_device(device)
    clean = rebuild(proxy[0], dataset.input_shape, dataset.num_classes, proxy[1], where) if proxy else None
    maps = []
    for (_, num_classes, parameters), poison in zip(victims, poisons, strict=True):
        network = rebuild(model, dataset.input_shape, num_classes, dict(parameters), where)
        if clean is None:
            maps.append(map_plane(network, poison, dataset, where))
        else:
            maps.append(map_slice(network, clean, poison, dataset, path_settings, where))
    values = [np.nan if value is None else value for value, _, _ in victims]
    return {name: np.stack([one[name] for one in maps]) for name in maps[0]} | {"axis_values": np.array(values)}
