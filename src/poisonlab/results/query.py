"""The one door to an experiment's tables: victims of a condition, at a value of its axis, under an attack.

Figures, claims, the comparison of strategies and pages all select by these rules.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.errors import InputError
from poisonlab.statistics import grid

FITTED = 0.9  # least share of its poisons that a victim gives their label, to count as one that fitted them
MEASURED = ("adversarial_accuracy", "still_correct")  # columns of `robustness`, which an attack has to be chosen for

_VICTIM = ["condition", "axis_value", "draw", "repeat"]
_HOW = ["attack", "norm", "goal", "epsilon", "steps", "step_size", "random_start", "restarts"]
_ATTACK = [*_HOW, "attack_source", "attack_target"]


class NotRun(InputError):
    """What is asked for is not in the tables."""


@dataclass(frozen=True)
class Headline:
    """What is shown of an experiment where nothing else is said.

    Attributes:
        attack: its name; None: the one that all conditions met, from the poisons' source to their target class where
            these are one pair.
        epsilon: radius; None: the only one that there is.
    """

    attack: str | None = None
    epsilon: float | None = None
    column: str = "adversarial_accuracy"

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> "Headline":
        """Headline of an experiment's entry in the configuration."""
        return cls(**(settings or {}))


@dataclass(frozen=True)
class Selected:
    """Victims of one condition at one value of its axis.

    Attributes:
        row: of the table `conditions`.
        victims: one row per victim, with the selected column; NaN where it is not known.
        counts: [victims], whether a victim fitted as much of its poisons as was asked for.
    """

    row: pd.Series
    column: str
    victims: pd.DataFrame
    counts: pd.Series

    @property
    def label(self) -> str:
        """Name of the condition, and of the value of its axis, if it has one."""
        name, value = self.row["condition"], self.row["axis_value"]
        return str(name) if pd.isna(value) else f"{name} {value:g}"

    @property
    def grid(self) -> np.ndarray:
        """[draws, repeats], NaN where there is no victim, no value, or too few poisons were fitted."""
        values = self.victims[self.column].astype(float).where(self.counts)
        return grid(self.victims.assign(**{self.column: values}), self.column)

    @property
    def known(self) -> tuple[int, int]:
        """Draws and repeats with a value, whatever was fitted."""
        rows = self.victims[self.victims[self.column].notna()]
        return rows["draw"].nunique(), rows["repeat"].nunique()


class Query:
    """Selects from one experiment.

    Args:
        tables: its `conditions`, `victims` and `robustness`.
        headline: attack, radius and column that are taken where a call names none.
    """

    def __init__(self, name: str, tables: Mapping[str, pd.DataFrame], headline: Headline | None = None) -> None:
        self.name, self.headline = name, headline or Headline()
        # An empty axis value of any type equals another, also in a join.
        self.tables = {key: table.assign(axis_value=table["axis_value"].astype(float)) for key, table in tables.items()}

    def conditions(self, name: str) -> pd.DataFrame:
        """Rows of the condition of this name, or else of the one with this strategy, in the order of its axis.

        Raises:
            NotRun: there is none.
            InputError: several conditions have the strategy.
        """
        table = self.tables["conditions"]
        rows = table[table["condition"] == name]
        rows = table[table["strategy"] == name] if rows.empty else rows
        if rows.empty:
            raise NotRun(f"{self.name} has no condition of strategy '{name}'")
        if len(names := rows["condition"].unique()) > 1:
            raise InputError(
                f"{self.name} has the conditions {list(names)} of strategy '{name}', allowed is 1; name one of them"
            )
        return rows.sort_values("axis_value")

    def select(
        self,
        condition: str | pd.DataFrame,
        column: str | None = None,
        *,
        value: float | str | None = None,
        fitted: float | None = None,
        attack: str | None = None,
        epsilon: float | None = None,
        classes: Sequence[int] | None = None,
    ) -> list[Selected]:
        """Select victims, one entry for each value of the condition's axis, by growing value.

        Args:
            condition: name of a strategy or a condition, or rows of the table `conditions`.
            column: of the tables `victims` or `robustness`; default: the headline's.
            value: of the axis: "first", "last" or a number; default: all.
            fitted: least share of their poisons that victims must have fitted, in [0, 1]; default: all victims. Without
                poisons all count.
            attack: default: the headline's.
            epsilon: default: the headline's.
            classes: source and target of a targeted attack; default: those of the poisons.

        Raises:
            NotRun: there is no such condition, value, column or attack.
            InputError: more than one attack fits, or victims have several results.
        """
        column = column or self.headline.column
        rows = self.conditions(condition) if isinstance(condition, str) else condition.sort_values("axis_value")
        return [
            self._selected(row, column, fitted, {"attack": attack, "epsilon": epsilon, "classes": classes})
            for _, row in self._at(rows, value).iterrows()
        ]

    def _at(self, rows: pd.DataFrame, value: float | str | None) -> pd.DataFrame:
        if value is None:
            return rows
        if value in ("first", "last"):
            return rows.head(1) if value == "first" else rows.tail(1)
        try:
            found = rows[np.isclose(rows["axis_value"].astype(float), float(value))]
        except ValueError as error:
            raise InputError(f"axis value is '{value}', allowed are first, last or a number; change it") from error
        if found.empty:
            raise NotRun(
                f"{self.name} has no '{rows['condition'].iloc[0]}' at {value}, it has {rows['axis_value'].tolist()}"
            )
        return found

    def _selected(self, row: pd.Series, column: str, fitted: float | None, how: Mapping[str, Any]) -> Selected:
        victims = _of_condition(self.tables["victims"], row)
        if column in MEASURED:
            victims = self.attacked(victims, row, **how)
        elif column not in victims:
            raise NotRun(
                f"{self.name} has victims without '{column}'; run the probe that gives it, or correct the name"
            )
        counts = pd.Series(True, index=victims.index)
        if fitted is not None and row["strategy"] != "none":
            counts = ~(victims["fitted_share"] < fitted)  # where no point got another label, nothing can be fitted
        return Selected(row, column, victims, counts)

    def attacked(self, victims: pd.DataFrame, row: pd.Series | None = None, **how: Any) -> pd.DataFrame:
        """Add what an attack came to, columns `MEASURED`, to victims of one condition; `attacked` says which met it.

        Args:
            row: of the table `conditions`; default: the first with poisons.
            how: as `attack` takes it.

        Raises:
            NotRun: none of the victims met the attack.
            InputError: as `attack`, or a victim has several results.
        """
        rows = self.attack(row, **how)
        columns = [name for name in MEASURED if name in rows]
        merged = victims.merge(rows[[*_VICTIM, *columns]].assign(attacked=True), on=_VICTIM, how="left")
        merged["attacked"] = merged["attacked"].eq(True)
        condition = f"{self.name}/{victims['condition'].iloc[0]}" if len(victims) else self.name
        if len(merged) > len(victims):
            raise InputError(
                f"{len(victims)} victims of '{condition}' have more than one value of '{columns[0]}', {len(merged)} "
                "in all; collect again"
            )
        if len(victims) and not merged["attacked"].any():
            first = rows.iloc[0]
            raise NotRun(f"{first['attack']} at ε = {first['epsilon']:g} was not run on the victims of '{condition}'")
        return merged

    def attack(
        self,
        row: pd.Series | None = None,
        *,
        attack: str | None = None,
        epsilon: float | None = None,
        classes: Sequence[int] | None = None,
    ) -> pd.DataFrame:
        """Rows of `robustness`, of all victims, of the one attack and radius that a condition is judged by.

        Without a name it is the attack that all conditions met, targeted from the poisons' source to their target
        class, or the only one that there is. Where poisons are of many pairs of classes, targeted attacks from each
        class to its next are averaged, and source and target are NaN.

        Args:
            row: of the table `conditions`; default: the first with poisons.

        Raises:
            NotRun: no attack fits.
            InputError: more than one does.
        """
        rows = self.tables["robustness"]
        attack = self.headline.attack if attack is None else attack
        epsilon = self.headline.epsilon if epsilon is None else epsilon
        source, target = self._classes(row) if classes is None else classes
        if attack is None:
            # A condition may meet further attacks of its own; what compares conditions is an attack that all of them
            # met.
            met = rows.groupby("attack")["condition"].nunique()
            rows = rows[rows["attack"].isin(met.index[met == met.max()])]
        else:
            rows = self._kept(rows, rows["attack"] == attack, "attack", attack)
        one_pair = not (pd.isna(source) or pd.isna(target))
        if one_pair:
            targeted = rows["goal"] == "targeted"
            targeted &= (rows["attack_source"] == source) & (rows["attack_target"] == target)
            if targeted.any():
                rows = rows[targeted]
            elif classes is not None or (attack is None and len(set(rows["attack"])) > 1):
                raise NotRun(
                    f"experiment '{self.name}' has no targeted attack {source:g} → {target:g}, it has "
                    f"{sorted(rows['attack'].unique())}; "
                    "evaluate one, or choose one of these by 'attack'"
                )
        if epsilon is not None:
            rows = self._kept(rows, np.isclose(rows["epsilon"].astype(float), float(epsilon)), "epsilon", epsilon)
        if not one_pair:
            rows = _over_classes(rows)
        different = rows[[name for name in _ATTACK if name in rows]].drop_duplicates()
        if len(different) > 1:
            choices = {column: sorted(different[column].unique().tolist(), key=str) for column in different}
            varying = {column: values for column, values in choices.items() if len(values) > 1}
            raise InputError(
                f"experiment '{self.name}' has {len(different)} such attacks that differ in {varying}; "
                "choose by 'attack' and 'epsilon', or name one in the experiment's headline"
            )
        return rows

    def _classes(self, row: pd.Series | None) -> Sequence[float]:
        """Source and target class of a condition's poisons; without poisons, those that all poisons share."""
        if row is not None and row["strategy"] != "none":
            return row["source_class"], row["target_class"]
        table = self.tables["conditions"]
        poisoned = table[table["strategy"] != "none"]
        pairs = (table if poisoned.empty else poisoned)[["source_class", "target_class"]].drop_duplicates()
        return tuple(pairs.iloc[0]) if len(pairs) == 1 or row is None else (math.nan, math.nan)

    def _kept(self, rows: pd.DataFrame, mask: Any, column: str, value: Any) -> pd.DataFrame:
        if not np.any(mask):
            present = sorted(rows[column].unique().tolist())
            raise NotRun(
                f"experiment '{self.name}' has no attack with {column} {value}, it has {present}; choose one of these"
            )
        return rows[mask]


def _of_condition(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """Rows of a condition at a value of its axis."""
    value = math.nan if pd.isna(row["axis_value"]) else float(row["axis_value"])
    return table[(table["condition"] == row["condition"]) & np.isclose(table["axis_value"], value, equal_nan=True)]


def _over_classes(rows: pd.DataFrame) -> pd.DataFrame:
    """Average targeted attacks over their classes, each alike; source and target become NaN."""
    if not (rows["goal"] == "targeted").all():
        return rows
    key = [name for name in (*_VICTIM, "experiment", *_HOW) if name in rows]
    columns = [name for name in MEASURED if name in rows]
    joined = rows.groupby(key, dropna=False, as_index=False)[columns].mean()
    return joined.assign(attack_source=np.nan, attack_target=np.nan)
