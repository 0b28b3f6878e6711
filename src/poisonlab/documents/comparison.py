"""Every strategy beside random points: which make victims easier to attack, and how much those of random points
differ.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.claims.evidence import FITTED_VICTIMS, LEVEL
from poisonlab.results.query import FITTED, NotRun, Query
from poisonlab.statistics import (
    Difference,
    holm,
    mean_interval,
    paired_difference,
    percentile_interval,
    variance_components,
)

EPSILON = 0.1  # l∞ radius at which strategies are compared where the headline names none
COLUMNS = [
    "experiment",
    "dataset",
    "budget",
    "epsilon",
    "condition",
    "value",
    "difference",
    "low",
    "high",
    "p",
    "test",
    "n",
    "fitted",
    "all_victims",
    "verdict",
]

SPREAD = [
    "experiment",
    "dataset",
    "budget",
    "n",
    "mean",
    "low",
    "high",
    "sd",
    "draw",
    "repeat",
    "rest",
    "tail",
    "tail_low",
    "tail_high",
]


def radius(query: Query) -> float:
    """l∞ radius at which an experiment's strategies are compared: its headline's, else `EPSILON`."""
    return EPSILON if query.headline.epsilon is None else query.headline.epsilon


def compare(query: Query) -> pd.DataFrame:
    """Compare every poisoned condition of an experiment, at each value of its sweep axis, with random points.

    These are of the same victim, flips and budget, and at the same value where they are swept, too. A condition that
    has none, or more than one such, is left out, and so are values without a poison.

    Args:
        query: of an experiment that has a condition of strategy "random".

    Returns:
        Columns `COLUMNS`: difference in adversarial accuracy (negative: the victims are easier to attack than with
        random points), paired by repeat, with its 95 % interval, p (Holm over the experiment), its test and n as draws
        × repeats; share of the victims that fitted 90 % of their poisons, which alone count, and the difference over
        all of them. p permutes the draws; where so few of them could not reach the level over the number of
        comparisons, whatever the effect, as with the single set of points of a deterministic strategy, it is that of
        the interval's Student's t. The verdict is "stronger" or "weaker" where interval and p agree, else "open"; it is
        "not fitted" where no pair of victims counts, "too few fitted" where fewer than half of a side's victims do, and
        "too few draws" where there is no p: with one draw of random points, or one repeat, nothing says how much others
        would differ. Conditions that no attack within the radius met are left out; empty where random points are among
        them.
    """
    conditions = query.tables["conditions"]
    rows: list[tuple[pd.Series, Difference, float, float, float]] = []
    poisoned = ~conditions["strategy"].isin(["none", "random"]) & (conditions["budget"] > 0)
    conditions = conditions[poisoned]
    for condition in conditions["condition"].unique():
        places = conditions[conditions["condition"] == condition].sort_values("axis_value")
        for position, (_, row) in enumerate(places.iterrows()):
            baseline = _beside(query, row)
            if len(baseline) != 1:
                continue
            try:
                ((random, whole, random_share),) = _grids(query, baseline)
                ((own, everyone, share),) = _grids(query, places.iloc[[position]])
            except NotRun:
                continue
            fitted = paired_difference(own, random)
            alike = share == random_share == 1
            over_all = fitted.value if alike else paired_difference(everyone, whole).value
            rows.append((row, fitted, share, over_all, min(share, random_share)))
    judged = judge([found for _, found, *_ in rows], [least for *_, least in rows])
    return pd.DataFrame(
        [
            {
                "experiment": query.name.rpartition("/")[2],
                "dataset": row["dataset"],
                "budget": int(row["budget"]),
                "epsilon": radius(query),
                "condition": row["condition"],
                # The budget has a column of its own.
                "value": math.nan if row.get("axis") == "budget" else row["axis_value"],
                "difference": found.value,
                "low": max(found.low, -1.0),  # no difference of shares is larger, whatever few draws leave open
                "high": min(found.high, 1.0),
                "p": p,
                "test": test,
                "n": found.n,
                "fitted": fitted,
                "all_victims": everyone,
                "verdict": verdict,
            }
            for (row, found, fitted, everyone, _), (p, test, verdict) in zip(rows, judged, strict=True)
        ],
        columns=COLUMNS,
    )


def judge(differences: Sequence[Difference], fitted: Sequence[float]) -> list[tuple[float, str, str]]:
    """p, its test and the verdict on each of an experiment's differences, as `compare` gives them.

    Args:
        fitted: the smaller share of both sides' victims that fitted their poisons.
    """
    tests, p_values = [], []
    for found in differences:
        permuted = len(differences) * found.smallest_p <= LEVEL
        sampled = found.draws[1] > 1 and found.n_repeats > 1
        tests.append("permutation" if permuted else "t" if sampled else "")
        p_values.append(found.p if permuted else found.t_p if sampled else math.nan)
    return [
        (p, test, _verdict(found, p, share))
        for found, share, p, test in zip(differences, fitted, holm(p_values), tests, strict=True)
    ]


def _random(query: Query) -> pd.DataFrame:
    """Rows of the random points: by their strategy alone, whatever another condition is called."""
    rows = query.tables["conditions"]
    return rows[rows["strategy"] == "random"]


def _beside(query: Query, row: pd.Series) -> pd.DataFrame:
    """Rows of the random points that a row is compared with: of its victim, flips, budget and place of a sweep."""
    rows = _random(query)
    for name in ("victim", "budget", "source_class", "target_class"):
        if name in rows:
            rows = rows[(rows[name] == row[name]) | (rows[name].isna() & pd.isna(row[name]))]
    if "axis" in rows:
        there = (rows["axis"] == row["axis"]) & np.isclose(rows["axis_value"], row["axis_value"])
        rows = rows[rows["axis_value"].isna() | (rows["axis"] == "budget") | there]
    return rows


def _grids(query: Query, rows: pd.DataFrame) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """For each value of a condition's axis: victims that fitted their poisons, all of them, and the former's share."""
    column, epsilon = "adversarial_accuracy", radius(query)
    fitting, everyone = (query.select(rows, column, epsilon=epsilon, fitted=fitted) for fitted in (FITTED, None))
    return [(own.grid, all_.grid, own.counts.mean()) for own, all_ in zip(fitting, everyone, strict=True)]


def labels(table: pd.DataFrame) -> list[str]:
    """Condition, and value of its sweep axis where it has one, of each row of `compare`."""
    return [
        condition if pd.isna(value) else f"{condition} {value:g}"
        for condition, value in zip(table["condition"], table["value"], strict=True)
    ]


def spread(query: Query) -> pd.DataFrame:
    """How much the adversarial accuracy differs between victims of random points: of one victim, flips and budget.

    Args:
        query: as `compare` takes it.

    Returns:
        One row for each condition of random points and value of its axis, columns `SPREAD`: mean with its 95 %
        interval; standard deviation of a new victim, and of its components (draw: which points; repeat: initialisation
        and data order; rest: their interplay), NaN where there is one draw or one repeat; the 5th percentile with its
        95 % interval, whose lower bound is −inf where the victims are too few to have one. Rows of which no victim
        counts are left out.
    """
    random = _random(query).sort_values(["condition", "axis_value"])
    rows = [_spread(query, random.iloc[[position]], len(random) > 1) for position in range(len(random))]
    return pd.DataFrame([row for row in rows if row], columns=SPREAD)


def _spread(query: Query, place: pd.DataFrame, several: bool) -> dict[str, Any]:
    """A row of `spread`; empty where no victim counts. Of several rows, each says which condition it is."""
    try:
        ((victims, _, _),) = _grids(query, place)
    except NotRun:
        return {}
    if np.isnan(victims).all():
        return {}
    row, name = place.iloc[0], query.name.rpartition("/")[2]
    mean, tail = mean_interval(victims, bounds=(0, 1)), percentile_interval(victims, 0.05)
    parts = variance_components(victims)
    return {
        "experiment": f"{name}: {labels(place.rename(columns={'axis_value': 'value'}))[0]}" if several else name,
        "dataset": row["dataset"],
        "budget": int(row["budget"]),
        "n": mean.n,
        "mean": mean.value,
        "low": mean.low,
        "high": mean.high,
        "sd": math.sqrt(parts.draw + parts.repeat + parts.rest),
        "draw": math.sqrt(parts.draw),
        "repeat": math.sqrt(parts.repeat),
        "rest": math.sqrt(parts.rest),
        "tail": tail.value,
        "tail_low": tail.low,
        "tail_high": tail.high,
    }


def _verdict(found: Difference, p: float, fitted: float) -> str:
    if math.isnan(found.value):
        return "not fitted"
    if fitted < FITTED_VICTIMS:
        return "too few fitted"
    if math.isnan(p):
        return "too few draws"
    if p <= LEVEL and (found.high < 0 or found.low > 0):
        return "stronger" if found.high < 0 else "weaker"
    return "open"
