"""Columns of the table of victims as what a figure shows: their names, their range, and whether they are there."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from poisonlab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

ADVERSARIAL = "adversarial_accuracy"  # the one column that comes from an attack
_NAMES = {"fitted_share": "poisons fitted", "epochs": "epochs trained", "log_penalty": "ln λ", "norm": "‖w‖"}


def title(column: str) -> str:
    """Name of a column for people: "natural accuracy"."""
    return _NAMES.get(column, column.replace("_", " "))


def bounds(column: str) -> tuple[float, float] | None:
    """Range of a column that is a share or a count; None for any other number."""
    if column == "epochs":
        return 0.0, math.inf
    return (0.0, 1.0) if column.endswith(("_accuracy", "_share")) else None


def require(victims: pd.DataFrame, columns: Iterable[str], option: str) -> None:
    """Check that victims have the columns that an option names.

    Raises:
        InputError: one is no column of numbers.
    """
    known = victims.select_dtypes("number").columns.difference(["axis_value", "draw", "repeat"]).union([ADVERSARIAL])
    if unknown := [column for column in columns if column not in known]:
        raise InputError(
            f"option {option} names {unknown}, allowed are {list(known)}; correct it, or probe the victims"
        )
