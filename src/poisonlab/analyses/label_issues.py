"""Labels that are wrong already: cleanlab's out-of-fold label issues of a training set."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from poisonlab import models
from poisonlab.datasets.dataset import Dataset
from poisonlab.victims.proxy import out_of_fold_probabilities

FOLDS = 4  # three quarters of the data train each model; more folds cost more and change little on thousands of points
EPOCHS = 4  # stopped early on purpose: a model that has memorised its wrong labels cannot point at others


def early_probabilities(
    dataset: Dataset,
    model: models.Specification,
    recipe: Mapping[str, Any],
    precision: str = "float32",
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """Class probabilities [n, classes] of every training point, out of fold, by nets that trained for `EPOCHS` only."""
    short = {**recipe, "epochs": min(recipe["epochs"], EPOCHS)}
    return out_of_fold_probabilities(dataset, model, short, FOLDS, precision, device, progress)


def find_label_issues(
    dataset: Dataset,
    model: str,
    recipe: Mapping[str, Any],
    precision: str = "float32",
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Return one row per training point: index, issue (bool, cleanlab's confident learning; Northcutt, Jiang & Chuang,
    2021).
    """
    from cleanlab.filter import find_label_issues as confident_learning

    probabilities = early_probabilities(dataset, model, recipe, precision, device, progress)
    issue = confident_learning(dataset.train_labels, probabilities, n_jobs=1)
    return pd.DataFrame({"index": np.arange(len(issue)), "issue": issue})
