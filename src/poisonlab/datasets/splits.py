"""Divisions of a set of points: a test set from data that come without one, a validation set from the training set."""

import dataclasses
from collections.abc import Callable

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.seeds import seed


def split(dataset: Dataset, number: int, fraction: float) -> Dataset:
    """Divide the training set into training and validation, for the `number`-th time.

    Every class gives the same fraction of its points, at least one, and keeps at least one. Which points it gives
    depends on `number` and on their position in the source alone: a larger fraction only adds points, and a subset of
    classes, or another data set of the run, changes nothing.

    Args:
        number: of the division, from 0; each gives another validation set.
        fraction: of the training set that validates, above 0 and below 1.

    Raises:
        InputError: the fraction or the number is not allowed, a class has a single point, or the data set is divided.
    """
    if not 0 < fraction < 1:
        raise InputError(f"validation set of '{dataset.name}': fraction is {fraction}, allowed is above 0 and below 1")
    if number < 0:
        raise InputError(f"validation set of '{dataset.name}': split is {number}, allowed are whole numbers from 0")
    if dataset.validation_images is not None:
        raise InputError(f"data set '{dataset.name}' has a validation set already; divide the one it comes from")
    counts = np.bincount(dataset.train_labels, minlength=dataset.num_classes)
    if counts.min() < 2:
        raise InputError(
            f"class {counts.argmin()} of '{dataset.name}' has {counts.min()} training points; two or more are needed "
            "to split off a validation set; add some"
        )
    index = dataset.train_index
    train, validation = _stratified(
        dataset.train_labels, fraction, lambda place: seed("split", split=number, point=index[place])
    )
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[train],
        train_labels=dataset.train_labels[train],
        train_index=index[train],
        validation_images=dataset.train_images[validation],
        validation_labels=dataset.train_labels[validation],
        validation_index=index[validation],
    )


def sample(dataset: Dataset, number: int, points: int) -> Dataset:
    """Draw so many training points, equally many of each class (the first classes one more), for the `number`-th time.

    The rest of the training set is left out. Which points are drawn depends on `number` and on their position in the
    source alone.

    Raises:
        InputError: a class has fewer points.
    """
    kept = []
    for label in range(dataset.num_classes):
        own = np.flatnonzero(dataset.train_labels == label)
        wanted = points // dataset.num_classes + (label < points % dataset.num_classes)
        if wanted > len(own):
            raise InputError(
                f"split of '{dataset.name}': {points} points ask for {wanted} of class {label}, which has {len(own)}; "
                "lower the poison's split.points"
            )
        drawn = sorted(
            own.tolist(), key=lambda place: seed("sample", draw=number, point=int(dataset.train_index[place]))
        )
        kept += drawn[:wanted]
    index = np.sort(np.array(kept, dtype=np.int64))
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[index],
        train_labels=dataset.train_labels[index],
        train_index=dataset.train_index[index],
    )


def stratified_split(labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted positions for training and for a test set that has the same fraction of every class.

    Args:
        labels: [n]
    """
    return _stratified(labels, fraction, lambda place: seed("test split", point=place))


def _stratified(labels: np.ndarray, fraction: float, order: Callable[[int], int]) -> tuple[np.ndarray, np.ndarray]:
    """Sorted positions that stay and that are given away; a class of one point keeps it.

    Points are drawn in the order of a hash, so that every version of NumPy draws the same.
    """
    given = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        drawn = sorted(np.flatnonzero(labels == label).tolist(), key=order)
        given[drawn[: min(max(1, round(fraction * len(drawn))), len(drawn) - 1)]] = True
    return np.flatnonzero(~given), np.flatnonzero(given)
