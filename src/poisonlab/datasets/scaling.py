"""Features of one scale."""

import dataclasses

import numpy as np

from poisonlab.datasets.dataset import Dataset


def standardised(dataset: Dataset) -> Dataset:
    """Return a data set whose features have mean 0 and standard deviation 1 over its training points.

    Test points are shifted and scaled as training points are. A feature that is the same at all training points is
    shifted only. The result is float32 and has no box: nothing bounds such features.

    Source: Carnerero-Cano et al., 2021, Appendix C.2.
    """
    train = dataset.train_float()
    mean, spread = train.mean(0, dtype=np.float64), train.std(0, dtype=np.float64)
    scale = np.where(train.max(0) > train.min(0), spread, 1.0)
    images = (((own - mean) / scale).astype(np.float32) for own in (train, dataset.test_float()))
    return dataclasses.replace(dataset, train_images=next(images), test_images=next(images), box=None)
