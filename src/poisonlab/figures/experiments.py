"""From tables to the experiments of a figure: which conditions, which victims, and under which attack."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.errors import InputError
from poisonlab.figures.captions import named, span
from poisonlab.results.query import Headline, Query, Selected
from poisonlab.statistics import Estimate, grid, mean_interval

# What the conditions of an experiment share.
FACTS = ("source_class", "target_class", "budget", "dataset", "model", "recipe", "precision", "scale")


@dataclass(frozen=True)
class Experiment:
    """One experiment of a figure.

    Attributes:
        facts: `FACTS` by name.
        direction: source → target class.
    """

    name: str
    facts: Mapping[str, Any]
    direction: str


@dataclass(frozen=True)
class BucketExperiment(Experiment):
    """One experiment over path buckets; its tables of victims have one row per victim.

    Attributes:
        labels: range of path lengths of each bucket, "7–9".
        n_points: [buckets], training points in each bucket, NaN where it is not known.
        buckets: the victims of each bucket, by growing path length.
        random, clean: the victims of random poisons and of none.
    """

    labels: list[str]
    n_points: np.ndarray
    buckets: list[pd.DataFrame]
    random: pd.DataFrame
    clean: pd.DataFrame


def bucket_experiments(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> list[BucketExperiment]:
    """Return the experiments named by the option `experiments`, in that order.

    Raises:
        InputError: an experiment, one of its three conditions or their victims are missing, or over three are named.
    """
    return [
        _experiment(name, conditions, victims, options)
        for name, conditions, victims in chosen_experiments(inputs, options)
    ]


def chosen_experiments(
    inputs: Mapping[str, Any], options: Mapping[str, Any], most: int = 3
) -> list[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """Return name, conditions and victims of each experiment that the option `experiments` names, in that order.

    Raises:
        InputError: an experiment is missing, or more than `most` are named.
    """
    conditions, victims = inputs["conditions"], inputs["victims"]
    present = list(conditions["experiment"].unique())
    names = list(options.get("experiments") or present)
    if not 1 <= len(names) <= most:
        raise InputError(
            f"{len(names)} experiments {names} do not fit into this figure, 1 to {most} do; choose by 'experiments'"
        )
    if missing := [name for name in names if name not in present]:
        raise InputError(f"conditions lack the experiments {missing}, they hold {present}; collect their tables first")
    return [
        (name, conditions[conditions["experiment"] == name], victims[victims["experiment"] == name]) for name in names
    ]


def _experiment(
    name: str, conditions: pd.DataFrame, victims: pd.DataFrame, options: Mapping[str, Any]
) -> BucketExperiment:
    rows, found = {}, {}
    for strategy in ("path_bucket", "random", "none"):
        own = conditions[conditions["strategy"] == strategy]
        if len(own["condition"].unique()) != 1:
            raise InputError(
                f"experiment '{name}' has the conditions {list(own['condition'].unique())} of strategy '{strategy}', "
                "this figure needs exactly 1; add it, or move the others to another experiment"
            )
        condition = own["condition"].iloc[0]
        rows[strategy] = own.sort_values("axis_value")
        found[strategy] = victims[victims["condition"] == condition]
        if found[strategy].empty:
            raise InputError(f"experiment '{name}' has no victims of condition '{condition}'; train them first")
    buckets, bucket_victims = rows["path_bucket"], found["path_bucket"]
    facts = {key: buckets[key].iloc[0] for key in FACTS}
    lows, highs = buckets["steps_low"].astype(float), buckets["steps_high"].astype(float)
    return BucketExperiment(
        name=name,
        facts=facts,
        direction=direction(name, facts, options),
        labels=[
            f"#{value:.0f}" if np.isnan([low, high]).any() else span(low, high)
            for value, low, high in zip(buckets["axis_value"], lows, highs, strict=True)
        ],
        n_points=buckets["n_points"].to_numpy(float),
        buckets=[bucket_victims[bucket_victims["axis_value"] == value] for value in buckets["axis_value"]],
        random=found["random"],
        clean=found["none"],
    )


def direction(name: str, facts: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Write "source → target" by name or number of class, or the experiment's label where there are none."""
    pair, class_names = [facts["source_class"], facts["target_class"]], options.get("class_names")
    if pd.isna(pair).any():
        return named(name, options["labels"])
    return " → ".join(str(class_names[int(index)]) if class_names else f"{index:.0f}" for index in pair)


def query(inputs: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> Query:
    """The tables of one experiment; the options `attack` and `epsilon` go before its entry in the option
    `headlines`.
    """
    tables = {key: inputs[key][inputs[key]["experiment"] == name] for key in ("conditions", "victims", "robustness")}
    headline = Headline.of((options.get("headlines") or {}).get(name))
    given = {key: options[key] for key in ("attack", "epsilon") if options.get(key) is not None}
    return Query(name, tables, dataclasses.replace(headline, **given))


def every_cell(
    inputs: Mapping[str, Any], options: Mapping[str, Any], column: str | None
) -> tuple[Query, list[Selected]]:
    """Every condition of the first experiment, at each value of its axis, with a column; None is the headline's."""
    conditions = inputs["conditions"]
    found = query(inputs, conditions["experiment"].iloc[0], options)
    names = conditions.loc[conditions["experiment"] == found.name, "condition"].unique()
    return found, [one for name in names for one in found.select(str(name), column or found.headline.column)]


def at(found: Query, one: Selected, column: str, **how: Any) -> Selected:
    """The same victims with another column."""
    value = None if math.isnan(one.row["axis_value"]) else float(one.row["axis_value"])
    return found.select(str(one.row["condition"]), column, value=value, **how)[0]


def with_adversarial_accuracy(experiment: BucketExperiment, found: Query) -> BucketExperiment:
    """Add the column adversarial_accuracy to every victim.

    Raises:
        InputError: as `attacked`.
    """
    return dataclasses.replace(
        experiment,
        buckets=[attacked(bucket, found) for bucket in experiment.buckets],
        random=attacked(experiment.random, found),
        clean=attacked(experiment.clean, found),
    )


def attacked(victims: pd.DataFrame, found: Query, row: pd.Series | None = None) -> pd.DataFrame:
    """Add the column adversarial_accuracy to victims of one condition.

    Args:
        row: of the table `conditions`, whose poisons say what the attack aims at; default: the first with poisons.

    Raises:
        InputError: a victim was not attacked, so that a mean would be over fewer victims than it says, or twice.
    """
    merged = found.attacked(victims, row)
    if lost := int((~merged["attacked"]).sum()):
        raise InputError(
            f"{lost} of {len(victims)} victims of '{found.name}/{victims['condition'].iloc[0]}' lack the attack "
            f"'{found.attack(row)['attack'].iloc[0]}'; evaluate their robustness first"
        )
    return merged


def estimate(victims: pd.DataFrame, value: str) -> Estimate | None:
    """Return the mean of a share over victims with its 95 % interval, or None where no victim has the value."""
    known = victims[victims[value].notna()]
    return mean_interval(grid(known, value), bounds=(0.0, 1.0)) if len(known) else None
