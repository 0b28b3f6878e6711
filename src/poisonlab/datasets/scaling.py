"""Features of one scale."""

import dataclasses

import numpy as np

from poisonlab.datasets.dataset import Dataset, as_float


def standardised(dataset: Dataset) -> Dataset:
    """Return a data set whose features have mean 0 and standard deviation 1 over its training points.

    Test points are shifted and scaled as training points are. A feature that is the same at all training points is
    shifted only. Features that attacks leave out stay as they are. The result is float32 and has no box: nothing bounds
    such features.

    Source: Carnerero-Cano et al., 2021, Appendix C.2.
    """
    train, test = (
        # A large number of a table would lose its last digits in float32.
        images if images.dtype == np.float64 else as_float(images)
        for images in (dataset.train_images, dataset.test_images)
    )
    mean, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = np.where(train.max(0) > train.min(0), spread, 1.0)
    if dataset.free is not None:
        mean, scale = np.where(dataset.free, mean, 0.0), np.where(dataset.free, scale, 1.0)
    columns = dataset.columns and tuple(
        dataclasses.replace(column, mean=float(mean[place]), scale=float(scale[place]))
        for place, column in enumerate(dataset.columns)
    )
    images = (((own - mean) / scale).astype(np.float32) for own in (train, test))
    return dataclasses.replace(dataset, train_images=next(images), test_images=next(images), box=None, columns=columns)
