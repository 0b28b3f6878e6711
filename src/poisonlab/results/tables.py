"""The tidy tables of an experiment: conditions, victims, robustness."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.draws import of_draw
from poisonlab.poisons.flips import budgets, pairs

KEY = ["study", "experiment", "condition", "axis_value", "draw", "repeat"]
ROBUSTNESS_KEY = [*KEY, "attack", "attack_source", "attack_target", "epsilon"]
KEYS = {"conditions": KEY[:4], "victims": KEY, "robustness": ROBUSTNESS_KEY}
# Tables that an experiment has where its configuration asks for them.
FURTHER = {"points": [*KEY, "space", "slice"], "detection": [*KEY[:5], "check", "rule"], "checks": KEY}


def conditions_table(
    study: str,
    experiment: str,
    settings: Mapping[str, Any],
    victims: pd.DataFrame,
    buckets: pd.DataFrame | None,
    dataset: Dataset,
) -> pd.DataFrame:
    """One row per condition × axis value: its parameters, the number of draws and repeats, and its bucket.

    Args:
        settings: `scale`, and `conditions`: name → its poison (strategy, parameters, budget, per, flips; per_draw, as
            `of_draw` takes it), its victim (model, recipe, precision) and its sweep (`axis`, `values`; "" and [None]
            without one).
        victims: the experiment's victims table, for the numbers of draws and repeats.
        buckets: the table of `path_surveys.cut_buckets`, if the experiment has one.
        dataset: the budget of several pairs of classes is that of all of them.
    """
    rows = []
    for name, entry in settings["conditions"].items():
        own = victims[victims["condition"] == name]
        flips = entry["flips"]
        # "all", "next" and the like are no single class
        source, target = (flips[key] if isinstance(flips[key], int) else np.nan for key in ("source", "target"))
        for value in entry["values"]:
            asked = value if entry["axis"] == "budget" else entry["budget"]
            row = {
                "study": study,
                "experiment": experiment,
                "condition": name,
                "axis": entry["axis"],
                "axis_value": np.nan if value is None else float(value),
                "strategy": entry["strategy"],
                "parameters": json.dumps(entry["parameters"], sort_keys=True),
                "budget": 0 if entry["strategy"] == "none" else _budget(asked, entry, dataset),
                "source_class": source,
                "target_class": target,
                **{key: entry[key] for key in ("dataset", "model", "recipe", "precision")},
                "scale": settings["scale"],
                "n_draws": own["draw"].nunique(),
                "n_repeats": own["repeat"].nunique(),
                "n_points": np.nan,
                "steps_low": np.nan,
                "steps_high": np.nan,
                "poison": entry["poison"],
                "victim": entry["victim"],
            }
            if buckets is not None and entry["axis"] == "bucket":
                steps = buckets.loc[buckets["bucket"] == value, "steps"]
                row |= {
                    "n_points": float(len(steps)),
                    "steps_low": float(steps.min()),
                    "steps_high": float(steps.max()),
                }
            rows.append(row)
    return pd.DataFrame(rows)


def _budget(budget: float, entry: Mapping[str, Any], dataset: Dataset) -> int:
    """Number of poisons of all pairs of classes together; a share is one of the points that are left to train on."""
    flips = entry["flips"]
    one = "found" in flips.values()
    count = 1 + bool(flips.get("both")) if one else len(pairs(flips, dataset.class_names))
    points = len(of_draw(dataset, entry["per_draw"], 0).train_labels) if 0 < budget < 1 else 0
    return sum(budgets(budget, entry["per"], count, points))


def concatenate(parts: Sequence[pd.DataFrame], kind: str) -> pd.DataFrame:
    """Join the parts of the `victims` or `robustness` table, in the order of its key."""
    frame = pd.concat(parts, ignore_index=True)
    frame["axis_value"] = frame["axis_value"].astype(float)
    for column in ("attack_source", "attack_target"):
        if column in frame:
            frame[column] = frame[column].astype(float)
    return frame.sort_values(KEYS[kind], kind="stable", ignore_index=True)


def without_copies(victims: pd.DataFrame, robustness: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Leave out draws that are copies: of the same training set as an earlier draw of their condition and axis value.

    Such a victim is the earlier one, to the bit; counted as a draw of its own it would make every interval too narrow.
    Poisons at the very means of a toy are copies, and those of a strategy that is sure of its points.

    Args:
        victims: `training_set` is the hash of what each was trained on, empty or absent where it is not known.

    Returns:
        Both tables without copies, and the keys of these.
    """
    if "training_set" not in victims:
        return victims, robustness, victims[KEY].iloc[:0]
    ordered = victims.sort_values("draw", kind="stable")
    copies = ordered[ordered.duplicated([*KEY[:4], "repeat", "training_set"]) & ordered["training_set"].notna()][KEY]

    def kept(table: pd.DataFrame) -> pd.DataFrame:
        found = table.merge(copies, on=KEY, how="left", indicator="found")["found"]
        return table[found.to_numpy() == "left_only"].reset_index(drop=True)

    return kept(victims), kept(robustness), copies.sort_values(KEY, ignore_index=True)


def draws_in_words(copies: pd.DataFrame) -> str:
    """Conditions, values and draws of keys of victims: "medoids 1 draw 2, ..."; "" for none."""
    own = copies[["condition", "axis_value", "draw"]].drop_duplicates().itertuples(index=False)
    return ", ".join(f"{name}{'' if np.isnan(value) else f' {value:g}'} draw {draw}" for name, value, draw in own)


def metadata_of_copies(copies: pd.DataFrame) -> dict[str, Any]:
    """The keys of copies as metadata of the table of victims. An archive keeps them: nobody trains them again."""
    return {"copies": json.loads(copies.to_json(orient="values", double_precision=15))}


def copies_in(metadata: Mapping[str, Any]) -> pd.DataFrame:
    """The inverse of `metadata_of_copies`; none where the metadata say nothing."""
    found = pd.DataFrame(metadata.get("copies", []), columns=KEY)
    return found.astype({"axis_value": float, "draw": int, "repeat": int})


def with_probes(victims: pd.DataFrame, parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Add the columns of the victims' probes to the `victims` table."""
    return victims.merge(concatenate(parts, "victims"), on=KEY, how="left", validate="1:1")
