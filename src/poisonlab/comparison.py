"""Every strategy beside random points: which of them make victims easier to attack at all."""

import math
from collections.abc import Mapping

import pandas as pd

from poisonlab.claims.evidence import FITTED, LEVEL, Experiment, NotRun, label_of
from poisonlab.statistics import Difference, holm, paired_difference

EPSILON = 0.1  # l∞ radius at which strategies are compared: the thesis's for images
COLUMNS = [
    "experiment",
    "dataset",
    "budget",
    "condition",
    "value",
    "difference",
    "low",
    "high",
    "p",
    "n",
    "fitted",
    "verdict",
]


def compare(name: str, tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare every poisoned condition of an experiment, at each value of its sweep axis, with its random points.

    Args:
        tables: conditions, victims and robustness of an experiment that has a condition of strategy "random".

    Returns:
        Columns `COLUMNS`: difference in adversarial accuracy (negative: the victims are easier to attack than with random points), paired
        by repeat, with its 95 % interval, permutation p (Holm over the experiment) and n as draws × repeats; share of the victims that
        fitted 90 % of their poisons, which alone count. The verdict is "stronger" or "weaker" where interval and p agree, else "open"; it
        is "not fitted" where no pair of victims counts, and "too few draws" where even the clearest effect could not reach the level: a
        permutation of so few draws, corrected.
    """
    experiment = Experiment(name, tables, EPSILON, FITTED)
    conditions = tables["conditions"]
    (random,) = experiment.grids("random")
    rows: list[tuple[pd.Series, Difference, float]] = []
    for condition in conditions.loc[~conditions["strategy"].isin(["none", "random"]), "condition"].unique():
        try:
            grids = experiment.grids(condition)
        except NotRun:
            continue
        for (_, row), own in zip(experiment.conditions(condition).iterrows(), grids, strict=True):
            fits, victims = experiment.used[f"{name}, {label_of(row)}"]
            rows.append((row, paired_difference(own, random), fits / victims))
    corrected = holm([found.p for _, found, _ in rows])
    return pd.DataFrame(
        [
            {
                "experiment": name.rpartition("/")[2],
                "dataset": row["dataset"],
                "budget": int(row["budget"]),
                "condition": row["condition"],
                "value": row["axis_value"],
                "difference": found.value,
                "low": found.low,
                "high": found.high,
                "p": p,
                "n": found.n,
                "fitted": fitted,
                "verdict": _verdict(found, p, len(rows)),
            }
            for (row, found, fitted), p in zip(rows, corrected, strict=True)
        ],
        columns=COLUMNS,
    )


def _verdict(found: Difference, p: float, comparisons: int) -> str:
    if math.isnan(found.value):
        return "not fitted"
    if p <= LEVEL and (found.high < 0 or found.low > 0):
        return "stronger" if found.high < 0 else "weaker"
    return "open" if comparisons * found.smallest_p <= LEVEL else "too few draws"
