"""Victims of experiments as compact columns, for a page that a reader explores without the tables."""

import base64
import gzip
import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.results.query import NotRun, Query

MOST = 120_000  # victims of one page; above, each experiment gives every k-th
SCALE = 10_000  # shares are whole numbers of 1 / SCALE
_MEASURED = {"fitted": "fitted_share", "natural": "natural_accuracy"}


def victim_columns(queries: Sequence[Query], most: int = MOST) -> tuple[list[dict[str, Any]], int]:
    """Victims of each experiment: which, how they were made, and what was measured of them.

    Returns:
        For each experiment: study, name, dataset, `groups` (a condition at a value of its axis: name, axis, value,
        model, recipe), `attacks` as [name, ε], that of the headline first, and columns with one entry per victim:
        `group` (index), `draw`, `repeat`, `epochs`, `fitted`, `natural` and, for each attack, a column of
        `adversarial`; accuracies and shares in whole numbers of 1 / `SCALE`, None where they are not known. And k: only
        every k-th victim of an experiment is there, so that there are at most `most`, rounded up in each.
    """
    total = sum(len(query.tables["victims"]) for query in queries)
    step = max(1, math.ceil(total / most))
    return [_experiment(query, step) for query in queries], step


def _experiment(query: Query, step: int) -> dict[str, Any]:
    conditions, robustness = query.tables["conditions"], query.tables["robustness"]
    counts = robustness.groupby(["attack", "epsilon"]).size()
    attacks = sorted(
        ((str(name), float(radius)) for name, radius in counts.index), key=lambda one: _rank(query, counts, *one)
    )
    groups, parts = [], []
    for index, (_, row) in enumerate(conditions.iterrows()):
        (chosen,) = query.select(conditions.loc[[row.name]], "draw")
        victims = chosen.victims.sort_values(["draw", "repeat"])
        named = "" if pd.isna(row["axis_value"]) else str(row.get("axis") or "")
        groups.append([row["condition"], named, _plain(row["axis_value"]), row["model"], row["recipe"]])
        part = victims.assign(group=index)
        for position, (attack, epsilon) in enumerate(attacks):
            part[f"attack {position}"] = _accuracy(query, victims, row, attack, epsilon)
        parts.append(part)
    victims = pd.concat(parts, ignore_index=True).iloc[::step]
    study, _, name = query.name.rpartition("/")
    return {
        "study": study,
        "name": name,
        "dataset": str(conditions["dataset"].iloc[0]),
        "groups": groups,
        "attacks": [list(attack) for attack in attacks],
        **{key: _whole(victims[key]) for key in ("group", "draw", "repeat")},
        "epochs": _whole(victims["epochs"]) if "epochs" in victims else [],
        **{key: _whole(victims[column], SCALE) for key, column in _MEASURED.items()},
        "adversarial": [_whole(victims[f"attack {position}"], SCALE) for position in range(len(attacks))],
    }


def _rank(query: Query, counts: pd.Series, attack: str, epsilon: float) -> tuple[bool, bool, int, str, float]:
    """The headline's attack and radius first, then what most victims met."""
    first = query.headline
    return attack != first.attack, epsilon != first.epsilon, -int(counts[attack, epsilon]), attack, epsilon


def _accuracy(query: Query, victims: pd.DataFrame, row: pd.Series, attack: str, epsilon: float) -> np.ndarray:
    """Adversarial accuracy of one condition's victims, NaN where they did not meet the attack."""
    try:
        found = query.attacked(victims, row, attack=attack, epsilon=epsilon)
    except NotRun:
        return np.full(len(victims), np.nan)
    return found["adversarial_accuracy"].to_numpy(float)


def _whole(values: pd.Series, scale: int = 1) -> list[int | None]:
    return [None if math.isnan(value) else round(value * scale) for value in values.astype(float)]


def _plain(value: float) -> float | None:
    return None if pd.isna(value) else float(value)


def packed(content: str) -> str:
    """Text as gzip in base64, which a browser unpacks by itself; the same text gives the same letters."""
    return base64.b64encode(gzip.compress(content.encode(), mtime=0)).decode("ascii")


def packed_json(content: Any) -> str:
    return packed(json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False))
