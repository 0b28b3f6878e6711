"""Would the flips be found? Two checks of labels that need no clean data, on the poisoned training set."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab import models
from poisonlab.analyses.label_issues import early_probabilities
from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.cleanings import shares_of_neighbours

NEIGHBOURS = 10
LOOKED_AT = (10, 20, 50, 100, 200, 500, 1000)  # labels that somebody checks by hand


def disagreement(training_set: TrainingSet) -> np.ndarray:
    """Share of the `NEIGHBOURS` nearest other points, in l2 of the pixels, that have another label, [n] in [0, 1]."""
    labels = training_set.labels
    shares = shares_of_neighbours(training_set.images, labels, training_set.num_classes, NEIGHBOURS)
    return 1 - shares[np.arange(len(labels)), labels]


def detect(
    training_set: TrainingSet,
    dataset: Dataset,
    model: models.Specification,
    recipe: Mapping[str, Any],
    precision: str = "float32",
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """How many flips are among the labels that a check finds the most suspicious.

    Args:
        training_set: with the flips; dataset: what it was made from.

    Returns:
        One row per check (`cleanlab`, by the confidence of models that were not trained on the point, Northcutt, Jiang
        & Chuang, 2021; `neighbours`, by `disagreement`) and number of labels looked at, one of them the number of flips
        (`rule` budget): `looked_at`, `found`, the share of the flips among them, and `hits`, their number. For cleanlab
        also the row `flagged`, what its confident learning calls an issue.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_self_confidence_for_each_label

    names = (*dataset.class_names, "new")[: training_set.num_classes]
    poisoned = dataclasses.replace(
        dataset, train_images=training_set.images, train_labels=training_set.labels, class_names=names
    )
    probabilities = early_probabilities(poisoned, model, recipe, precision, device, progress)
    ranked = {
        "cleanlab": get_self_confidence_for_each_label(training_set.labels, probabilities),
        "neighbours": 1 - disagreement(training_set),
    }
    flipped = np.isin(np.arange(len(training_set.labels)), training_set.poisoned)
    rows = []
    for name, trust in ranked.items():
        order = np.argsort(trust, kind="stable")
        rows += [_row(name, f"first {count}", flipped, order[:count]) for count in LOOKED_AT]
        rows.append(_row(name, "budget", flipped, order[: flipped.sum()]))
    issues = np.flatnonzero(find_label_issues(training_set.labels, probabilities, n_jobs=1))
    return pd.DataFrame([*rows, _row("cleanlab", "flagged", flipped, issues)])


def _row(check: str, rule: str, flipped: np.ndarray, chosen: Sequence[int] | np.ndarray) -> dict[str, Any]:
    hits = int(flipped[chosen].sum())
    return {"check": check, "rule": rule, "looked_at": len(chosen), "found": hits / flipped.sum(), "hits": hits}
