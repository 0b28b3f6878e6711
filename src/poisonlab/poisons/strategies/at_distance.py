"""Mislabelled points placed at a given distance from the mean of a class."""

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy

CANDIDATES = 1000  # points drawn for each one that is wanted


@strategy("at_distance", source="thesis, section 4.1, Figures 4.2 and 4.3", parameters={"r": 0.0})
def at_distance(request: Request) -> Poison:
    """Append points drawn uniformly at l2 distance r from the mean of the source class, with the target label.

    Only points that are nearer to the mean of their own class than to any other count: the others would not be
    mislabelled, for between Gaussians of one variance the nearest mean is the ground truth. Means are those of the
    distribution where they are known (toys) and of the training points elsewhere; features of pure noise come from
    training points of the source class. Images are clipped to their box.

    Raises:
        InputError: r is negative, or no such point can be found.
    """
    flip, dataset, generator, radius = request.flip, request.dataset, request.generator, float(request.parameters["r"])
    if radius < 0:
        raise InputError(f"r = {radius:g} is no distance, allowed is 0 or more; change the parameter or its sweep")
    means, pool = _means(dataset), np.flatnonzero(dataset.train_labels == flip.source)
    found: list[np.ndarray] = []
    for _ in range(CANDIDATES):
        direction = generator.standard_normal((flip.budget, means.shape[1]))
        points = means[flip.source] + radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        distances = np.linalg.norm(points[:, None] - means, axis=2)  # [points, classes]
        found.extend(points[distances.argmin(axis=1) == flip.source])
        if len(found) >= flip.budget:
            placed = np.array(found[: flip.budget])
            if np.prod(dataset.input_shape) > means.shape[1]:
                noise = dataset.train_float()[generator.choice(pool, size=flip.budget), means.shape[1] :]
                placed = np.concatenate([placed, noise], axis=1)
            images = _as_training_images(placed, dataset)
            return Poison(
                dataset.num_classes,
                append_images=images,
                append_labels=np.full(flip.budget, flip.target, dtype=np.int64),
            )
    raise InputError(
        f"r = {radius:g} is too far from the mean of class {flip.source} in '{dataset.name}': no point there is "
        "nearer to it than to "
        "another class's mean; choose a smaller r"
    )


def _means(dataset: Dataset) -> np.ndarray:
    """[classes, features] float64."""
    if dataset.centres is not None:
        return dataset.centres
    points = dataset.train_float().reshape(len(dataset.train_labels), -1).astype(np.float64)
    return np.array([points[dataset.train_labels == label].mean(axis=0) for label in range(dataset.num_classes)])


def _as_training_images(points: np.ndarray, dataset: Dataset) -> np.ndarray:
    images = (points if dataset.box is None else points.clip(*dataset.box)).reshape(-1, *dataset.input_shape)
    return (
        (images * 255).round().astype(np.uint8) if dataset.train_images.dtype == np.uint8 else images.astype(np.float32)
    )
