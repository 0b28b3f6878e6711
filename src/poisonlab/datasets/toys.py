"""Toy data whose distribution is known."""

import dataclasses
import math
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.errors import InputError
from poisonlab.seeds import seed as seed_of

CLASS_NAMES = ("negative", "positive")


def gaussians(
    name: str, dimensions: int, noise: int, mean: float, variance: float, n_train: int, n_test: int, seed: int
) -> Dataset:
    """Two Gaussians, P = ½ N(−μ1, σ²I) + ½ N(μ1, σ²I), labels by the sign of x·1 (thesis, section 4.1).

    Args:
        noise: further features that are N(0, σ²) in both classes and do not count for the label (thesis, Appendix A).

    Raises:
        InputError: all points fell into one class.
    """
    train = _mixture("train", dimensions, noise, mean, variance, n_train, seed)
    test = _mixture("test", dimensions, noise, mean, variance, n_test, seed)
    for split, (_, labels) in (("train", train), ("test", test)):
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"dataset '{name}': all points of n_{split} = {len(labels)} fell into one class; two are needed; "
                f"raise datasets.{name}.n_{split}"
            )
    dataset = make_dataset(name, train, test, CLASS_NAMES, box=None)
    return dataclasses.replace(dataset, centres=np.outer([-mean, mean], np.ones(dimensions)))


def redrawn(dataset: Dataset, options: dict[str, Any] | None, draw: int) -> Dataset:
    """Return the toy with a training set drawn anew for this draw; draw 0 is the data set itself.

    The test set and the validation set stay: the new training set has the points whose positions the old one has.

    Args:
        options: of the toy, all of them; None redraws nothing.
    """
    if options is None or draw == 0:
        return dataset
    # Far from the seeds that a person gives to data sets.
    other = gaussians(dataset.name, **options | {"seed": seed_of("redraw", seed=options["seed"], draw=draw)})
    kept = dataset.train_index
    return dataclasses.replace(dataset, train_images=other.train_images[kept], train_labels=other.train_labels[kept])


def _mixture(
    split: str, dimensions: int, noise: int, mean: float, variance: float, count: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    # A generator for each split, so that asking for more training points leaves the test set as it is.
    generator = np.random.default_rng(seed_of(f"gaussians {split}", seed=number))
    signs = generator.choice([-1.0, 1.0], size=(count, 1))
    points = signs * mean + math.sqrt(variance) * generator.standard_normal((count, dimensions))
    points = points.astype(np.float32)
    labels = (points.sum(axis=1, dtype=np.float64) > 0).astype(np.int64)
    extra = math.sqrt(variance) * generator.standard_normal((count, noise))
    return np.concatenate([points, extra.astype(np.float32)], axis=1), labels
