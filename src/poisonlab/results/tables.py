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


def without_copies(victims: pd.DataFrame, robustness: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Leave out draws that are copies: of the same training set as an earlier draw of their condition and axis value.

    Such a victim is the earlier one, to the bit; counted as a draw of its own it would make every interval too narrow. Poisons at the
    very means of a toy are copies, and those of a strategy that is sure of its points.

    Args:
        victims: `training_set` is the hash of what each was trained on, empty or absent where it is not known.

    Returns:
        Both tables without copies, and which draws they were, in words; "" for none.
    """
    if "training_set" not in victims:
        return victims, robustness, ""
    ordered = victims.sort_values("draw", kind="stable")
    copies = ordered[ordered.duplicated([*KEY[:4], "repeat", "training_set"]) & ordered["training_set"].notna()]
    own = copies[["condition", "axis_value", "draw"]].drop_duplicates().itertuples(index=False)
    words = ", ".join(f"{name}{'' if np.isnan(value) else f' {value:g}'} draw {draw}" for name, value, draw in own)

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        found = table.merge(copies[KEY], on=KEY, how="left", indicator="found")["found"]
        return table[found.to_numpy() == "left_only"].reset_index(drop=True)

    return kept(victims), kept(robustness), words


def with_probes(victims: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Add the columns of the victims' probes to the `victims` table."""
    return victims.merge(concatenate(parts, "victims"), on=KEY, how="left", validate="1:1")
