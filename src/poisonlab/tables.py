"""The tidy tables of an experiment: conditions, victims, robustness."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

KEY = ["study", "experiment", "condition", "axis_value", "draw", "repeat"]
ROBUSTNESS_KEY = [*KEY, "attack", "attack_source", "attack_target", "epsilon"]
KEYS = {"conditions": KEY[:4], "victims": KEY, "robustness": ROBUSTNESS_KEY}


def conditions_table(
    study: str,
    experiment: str,
    settings: Mapping[str, Any],
    victims: pd.DataFrame,
    buckets: pd.DataFrame | None,
    num_classes: int,
) -> pd.DataFrame:
    """One row per condition × axis value: its parameters, the number of draws and repeats, and its bucket.

    Args:
        settings: `experiment` is its configuration, `axis_names` and `axis_values` are the sweep
            axis of each condition ("" and [None] without one), `precision` that of the training.
        victims: the experiment's victims table, for the numbers of draws and repeats.
        buckets: the table of `buckets.cut_buckets`, if the experiment has one.
        num_classes: of the data set; a flip of all classes has the budget for each of them.
    """
    entry, axis_names, axis_values = settings["experiment"], settings["axis_names"], settings["axis_values"]
    flip = entry["flip"]
    # "all", "next" and "new" are no single class
    source, target = (flip[key] if isinstance(flip[key], int) else np.nan for key in ("source", "target"))
    budget = flip["budget"] * (num_classes if flip["source"] == "all" else 1)
    rows = []
    for name, condition in entry["conditions"].items():
        own = victims[victims["condition"] == name]
        for value in axis_values[name]:
            row = {
                "study": study,
                "experiment": experiment,
                "condition": name,
                "axis": axis_names[name],
                "axis_value": np.nan if value is None else float(value),
                "strategy": condition["strategy"],
                "parameters": json.dumps(condition["parameters"], sort_keys=True),
                "budget": 0 if condition["strategy"] == "none" else budget,
                "source_class": source,
                "target_class": target,
                "dataset": entry["dataset"],
                "model": entry["model"],
                "recipe": entry["recipe"],
                "precision": settings["precision"],
                "scale": entry["scale"],
                "n_draws": own["draw"].nunique(),
                "n_repeats": own["repeat"].nunique(),
                "n_points": np.nan,
                "steps_low": np.nan,
                "steps_high": np.nan,
            }
            if buckets is not None and axis_names[name] == "bucket":
                steps = buckets.loc[buckets["bucket"] == value, "steps"]
                row |= {
                    "n_points": float(len(steps)),
                    "steps_low": float(steps.min()),
                    "steps_high": float(steps.max()),
                }
            rows.append(row)
    return pd.DataFrame(rows)


def concatenate(parts: Sequence[pd.DataFrame], kind: str) -> pd.DataFrame:
    """Join the parts of the `victims` or `robustness` table, in the order of its key."""
    frame = pd.concat(parts, ignore_index=True)
    frame["axis_value"] = frame["axis_value"].astype(float)
    for column in ("attack_source", "attack_target"):
        if column in frame:
            frame[column] = frame[column].astype(float)
    return frame.sort_values(KEYS[kind], kind="stable", ignore_index=True)


def with_probes(victims: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Add the columns of the victims' probes to the `victims` table."""
    return victims.merge(concatenate(parts, "victims"), on=KEY, how="left", validate="1:1")
