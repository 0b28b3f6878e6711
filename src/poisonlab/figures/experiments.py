"""From tables to the experiments of a figure: which conditions, which victims, and under which attack."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.errors import InputError
from poisonlab.figures.captions import span
from poisonlab.statistics import Estimate, grid, mean_interval

_VICTIM = ["condition", "axis_value", "draw", "repeat"]
_HOW = ["attack", "norm", "goal", "epsilon", "steps", "step_size", "random_start", "restarts"]
_ATTACK = [*_HOW, "attack_source", "attack_target"]


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
        _experiment(name, conditions, victims, options.get("class_names"))
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
    name: str, conditions: pd.DataFrame, victims: pd.DataFrame, class_names: Sequence[str] | None
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
        direction=direction(name, facts, class_names),
        labels=[
            f"#{value:.0f}" if np.isnan([low, high]).any() else span(low, high)
            for value, low, high in zip(buckets["axis_value"], lows, highs, strict=True)
        ],
        n_points=buckets["n_points"].to_numpy(float),
        buckets=[bucket_victims[bucket_victims["axis_value"] == value] for value in buckets["axis_value"]],
        random=found["random"],
        clean=found["none"],
    )


def direction(name: str, facts: Mapping[str, Any], class_names: Sequence[str] | None) -> str:
    """Write "source → target" by name or number of class, or the experiment's name where there are none."""
    pair = [facts["source_class"], facts["target_class"]]
    if pd.isna(pair).any():
        return name
    return " → ".join(str(class_names[int(index)]) if class_names else f"{index:.0f}" for index in pair)


def attack_rows(robustness: pd.DataFrame, experiment: Experiment, options: Mapping[str, Any]) -> pd.DataFrame:
    """Return the rows of `robustness` for the one attack and radius that a figure shows.

    Attacks that only some of the conditions met do not count, and an attack from the poisons' source to their target class goes before
    any other; the options `attack` and `epsilon` settle the rest.

    Raises:
        InputError: no attack, or more than one, fits.
    """
    rows = robustness[robustness["experiment"] == experiment.name]
    # A condition may meet further attacks of its own; what compares conditions is an attack that all of them met.
    met = rows.groupby("attack")["condition"].nunique()
    rows = rows[rows["attack"].isin(met.index[met == met.max()])]
    if (attack := options.get("attack")) is not None:
        rows = _kept(rows, rows["attack"] == attack, "attack", attack, experiment.name)
    targeted = (
        (rows["goal"] == "targeted")
        & (rows["attack_source"] == experiment.facts["source_class"])
        & (rows["attack_target"] == experiment.facts["target_class"])
    )
    if targeted.any():
        rows = rows[targeted]
    elif attack is None and not pd.isna(experiment.facts["source_class"]):
        raise InputError(
            f"experiment '{experiment.name}' has no targeted attack {experiment.direction}, it has "
            f"{sorted(rows['attack'].unique())}; evaluate one, or choose one of these by the option 'attack'"
        )
    if (epsilon := options.get("epsilon")) is not None:
        same = np.isclose(rows["epsilon"].astype(float), float(epsilon))
        rows = _kept(rows, same, "epsilon", epsilon, experiment.name)
    if pd.isna(experiment.facts["source_class"]):
        rows = _over_classes(rows)
    different = rows[_ATTACK].drop_duplicates()
    if len(different) > 1:
        choices = {column: sorted(different[column].unique().tolist(), key=str) for column in _ATTACK}
        varying = {column: values for column, values in choices.items() if len(values) > 1}
        raise InputError(
            f"experiment '{experiment.name}' has {len(different)} such attacks that differ in {varying}; "
            "choose by the options 'attack' and 'epsilon'"
        )
    return rows


def _over_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Join the targeted attacks from each class of poisons of all classes: each class counts alike, source and target become NaN."""
    if not (rows["goal"] == "targeted").all():
        return rows
    joined = rows.groupby([*_VICTIM, "experiment", *_HOW], dropna=False, as_index=False)["adversarial_accuracy"].mean()
    return joined.assign(attack_source=np.nan, attack_target=np.nan)


def _kept(rows: pd.DataFrame, mask: Any, column: str, value: Any, name: str) -> pd.DataFrame:
    if not np.any(mask):
        present = sorted(rows[column].unique().tolist())
        raise InputError(
            f"experiment '{name}' has no attack with {column} {value}, it has {present}; choose one of these"
        )
    return rows[mask]


def with_adversarial_accuracy(experiment: BucketExperiment, rows: pd.DataFrame) -> BucketExperiment:
    """Add the column adversarial_accuracy of the attack in `rows` to every victim.

    Raises:
        InputError: a victim was not attacked, so that a mean would be over fewer victims than it says, or twice.
    """
    return dataclasses.replace(
        experiment,
        buckets=[attacked(bucket, rows, experiment.name) for bucket in experiment.buckets],
        random=attacked(experiment.random, rows, experiment.name),
        clean=attacked(experiment.clean, rows, experiment.name),
    )


def attacked(victims: pd.DataFrame, rows: pd.DataFrame, experiment: str) -> pd.DataFrame:
    """Add the column adversarial_accuracy of the attack in `rows` to the victims of one condition.

    Raises:
        InputError: a victim was not attacked, so that a mean would be over fewer victims than it says, or twice.
    """
    merged = victims.merge(rows[[*_VICTIM, "adversarial_accuracy"]], on=_VICTIM, how="left", indicator="found")
    where = f"'{experiment}/{victims['condition'].iloc[0]}'" if len(victims) else ""
    if lost := int((merged["found"] != "both").sum()):
        raise InputError(
            f"{lost} of {len(victims)} victims of {where} lack the attack '{rows['attack'].iloc[0]}'; "
            "evaluate their robustness first"
        )
    if len(merged) > len(victims):
        raise InputError(f"victims of {where} have {len(merged)} results for {len(victims)} victims; collect again")
    return merged.drop(columns="found")


def estimate(victims: pd.DataFrame, value: str) -> Estimate | None:
    """Return the mean of a share over victims with its 95 % interval, or None where no victim has the value."""
    known = victims[victims[value].notna()]
    return mean_interval(grid(known, value), bounds=(0.0, 1.0)) if len(known) else None
