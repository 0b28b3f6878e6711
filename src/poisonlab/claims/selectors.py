"""Selectors: which victims a claim speaks about, as it stands in its entry, and the grids that they choose."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.claims.evidence import Chosen, Data, filled_mean
from poisonlab.claims.quantifiers import BOUNDED
from poisonlab.errors import InputError
from poisonlab.results.query import NotRun, Query

_NUMBER = (int, float)
_TYPES: dict[str, Any] = {
    "condition": str, "experiment": str, "column": str, "attack": str, "epsilon": _NUMBER, "classes": list,
    "value": (int, float, str), "by": str, "over": str, "times": _NUMBER, "label": str,
}  # fmt: skip
_OVER = ("mean", "draws")
CHOSEN = {"lowest": 1, "highest": -1}


@dataclass(frozen=True, kw_only=True)
class Selector:
    """A query of a claim.

    Attributes:
        condition: strategy or name of a condition.
        experiment: "study/experiment", or the experiment of the claim's study; None: those of the claim's place.
        column, attack, epsilon: default: the experiment's headline.
        classes: source and target class of a targeted attack; default: those of the poisons.
        value: of the condition's sweep axis: "first", "last", a number, or "lowest" or "highest": that of the even
            draws, whose odd draws are judged; default: all, one grid each.
        by: column whose lowest or highest mean it is; default: `column`.
        over: how the values of the axis become one grid: "mean" of each draw and repeat, or side by side as further
            "draws".
        times: factor of the column.
        label: name in the text of the test; default: the condition's or the experiment's.
    """

    condition: str
    experiment: str | None = None
    column: str | None = None
    attack: str | None = None
    epsilon: float | None = None
    classes: Sequence[int] | None = None
    value: float | str | None = None
    by: str | None = None
    over: str | None = None
    times: float = 1
    label: str = ""

    def choose(self, query: Query, data: Data) -> list[Chosen]:
        """Select from one experiment.

        Raises:
            NotRun: the tables hold no such victims.
            InputError: more than one attack fits.
        """
        how = {key: getattr(self, key) for key in ("attack", "epsilon", "classes")}
        chosen = self.value in CHOSEN
        cells = data.select(query, self.condition, self.column, **how, value=None if chosen else self.value)
        if self.times != 1 and (shares := sorted({one.column for one in cells} & BOUNDED)):
            raise InputError(f"times is {self.times:g} of {shares[0]}, a share; leave it out, or choose another column")
        grids = [one.grid if self.times == 1 else self.times * one.grid for one in cells]
        places = [place(one.row) for one in cells]
        if chosen:
            by = grids if self.by is None else [one.grid for one in data.select(query, self.condition, self.by, **how)]
            best = min(range(len(by)), key=lambda position: filled_mean(CHOSEN[str(self.value)] * by[position][0::2]))
            cells, grids = [cells[best]], [grids[best][1::2]]
            places = [f"{places[best]} ({self.value} on even draws)"]
        if self.over == "mean":  # a value of one draw is the same in every draw of the others
            grids, places = [np.mean(alike(grids), axis=0)], [""]
        elif self.over == "draws":
            repeats = max(grid.shape[1] for grid in grids)
            grids, places = [np.concatenate([_widened(grid, len(grid), repeats) for grid in grids])], [""]
        name = self.label or (places[0] if chosen else str(cells[0].row["condition"]))
        return [
            Chosen(query.name, name, where, one.column, grid, one.row, bool(self.label) or chosen, chosen)
            for where, grid, one in zip(places, grids, cells, strict=False)
        ]


def alike(grids: Sequence[np.ndarray]) -> np.ndarray:
    """Grids [draws, repeats] as one [grids, draws, repeats]: one draw alone is the same in every draw of the others,
    and what a grid lacks is a hole.
    """
    draws, repeats = (max(sizes) for sizes in zip(*(grid.shape for grid in grids), strict=True))
    return np.stack(
        [_widened(np.repeat(one, draws, axis=0) if len(one) == 1 else one, draws, repeats) for one in grids]
    )


def _widened(grid: np.ndarray, draws: int, repeats: int) -> np.ndarray:
    return np.pad(grid, ((0, draws - len(grid)), (0, repeats - grid.shape[1])), constant_values=np.nan)


def place(row: pd.Series) -> str:
    """Value of a condition's sweep axis in words; "" without one. A bucket is a number and no quantity."""
    value, axis = row["axis_value"], row.get("axis", "value")
    if math.isnan(value):
        return ""
    return f"{axis} {value:g}" if axis == "bucket" else f"{axis} = {value:g}"


def selectors(entry: Any, study: str, where: str) -> tuple[Selector, ...]:
    """Selectors of a claim's `of` or `than`, one or a list.

    Raises:
        InputError: a selector has an unknown key, a value of another type, or no condition.
    """
    found = []
    if entry == []:
        raise InputError(f"{where} is empty, allowed is 1 selector or more; add a condition")
    for one in entry if isinstance(entry, list) else [entry]:
        if not isinstance(one, dict) or "condition" not in one:
            raise InputError(f"{where} is {one!r}, allowed is a mapping with a condition; correct it")
        if unknown := sorted(set(one) - set(_TYPES), key=str):
            raise InputError(
                f"{where} has the keys {unknown}, allowed are {[f.name for f in fields(Selector)]}; correct it"
            )
        for key, value in one.items():
            infinite = isinstance(value, float) and not math.isfinite(value)
            if not isinstance(value, _TYPES[key]) or isinstance(value, bool) or infinite:
                raise InputError(f"{where}.{key} is {value!r}, which it cannot be; see Selector in claims/selectors.py")
        if one.get("over", "mean") not in _OVER:
            raise InputError(f"{where}.over is '{one['over']}', allowed are {', '.join(_OVER)}; change it")
        if "by" in one and one.get("value") not in CHOSEN:
            raise InputError(f"{where} has by and no value that it chooses; set value: lowest or highest, or drop by")
        if len(one.get("classes", (0, 1))) != 2:
            raise InputError(f"{where}.classes is {one['classes']}, allowed is [source, target]; change it")
        full = dict(one)
        if "/" not in one.get("experiment", "/"):
            full["experiment"] = f"{study}/{one['experiment']}"
        found.append(Selector(**full))
    return tuple(found)


def choose(of: Sequence[Selector], than: Sequence[Selector], data: Data) -> None:
    """Fill `data.of` and `data.than`.

    A selector that names no experiment looks into those of the place: of two, `of` is about the first and `than` about
    the second; of one, both are about it; without `than`, `of` is about all of them in their order.

    Raises:
        NotRun: nothing of it is in the tables.
        InputError: of more than two experiments it is not said which is meant.
    """
    if than and len(data.queries) > 2 and any(one.experiment is None for one in (*of, *than)):
        raise InputError(f"{[q.name for q in data.queries]} are more than 2 experiments; name one in every selector")
    sides: Mapping[str, tuple[Sequence[Selector], Sequence[Query]]] = {
        "of": (of, data.queries[:1] if than else data.queries),
        "than": (than, data.queries[-1:]),
    }
    for side, (chosen, default) in sides.items():
        for one in chosen:
            queries = default if one.experiment is None else [q for q in data.queries if q.name == one.experiment]
            getattr(data, side).extend(grid for query in queries for grid in one.choose(query, data))
        if chosen and not getattr(data, side):
            raise NotRun(f"no tables of {', '.join(str(one.experiment) for one in chosen)}")
