"""What a claim is judged by: tables, arranged as draws × repeats, and the evidence that a kind of claim draws from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from poisonlab.errors import InputError
from poisonlab.statistics import Estimate, Tested, grid, mean_interval, needed_repeats

LEVEL = 0.05
CONFIDENCE = 0.95
FITTED = 0.9  # least share of the poisons that a victim must fit to be judged
FITTED_VICTIMS = 0.5  # least share of a condition's victims that must do so: the rest could be another kind of victim

Tables = Mapping[str, Mapping[str, pd.DataFrame]]


class NotRun(Exception):
    """What a claim needs is not in the tables."""


@dataclass
class Experiment:
    """One experiment's tables. Victims that fitted less than `fitted` of their poisons are holes in its grids.

    Attributes:
        used: "experiment, label" of a poisoned condition → (victims that fit, all victims), of every grid that was asked for.
        measured: (condition, its label, column) → draws and repeats with a value, fitted or not, of every such grid.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    epsilon: float
    fitted: float
    used: dict[str, tuple[int, int]] = field(default_factory=dict)
    measured: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)

    def conditions(self, strategy: str) -> pd.DataFrame:
        """Rows of the one condition with this strategy, or else of this name, in the order of its axis."""
        table = self.tables["conditions"]
        rows = table[table["strategy"] == strategy]
        rows = table[table["condition"] == strategy] if rows.empty else rows
        if rows.empty:
            raise NotRun(f"{self.name} has no condition of strategy '{strategy}'")
        if len(names := rows["condition"].unique()) > 1:
            raise InputError(
                f"{self.name} has the conditions {list(names)} of strategy '{strategy}', allowed is 1; split it"
            )
        return rows.sort_values("axis_value")

    def grids(
        self,
        strategy: str,
        column: str = "adversarial_accuracy",
        attack: str = "pgd",
        pair: tuple[int, int] | None = None,
        first: bool = False,
        fitted: bool = True,
    ) -> list[np.ndarray]:
        """[draws, repeats] of `column`, one for each value of the condition's axis, or for its `first` value only.

        Adversarial accuracy is that of `attack`, targeted from and to the classes `pair` (default: those of the poison); where the poisons
        are of more than one pair of classes, that of the untargeted attack, or, where there is none, the mean over the targeted ones from
        each class to its next. `fitted` leaves out victims that do not fit their poisons.
        """
        rows = self.conditions(strategy)
        matrices = []
        for _, row in (rows.head(1) if first else rows).iterrows():
            own = _of(self.tables["victims"], row)
            if column == "adversarial_accuracy":
                source, target = pair or (row["source_class"], row["target_class"])
                attacked = _of(self.tables["robustness"], row)
                if np.isnan([source, target]).any():
                    goal = "untargeted" if (attacked["goal"] == "untargeted").any() else "targeted"
                    wanted, meant = attacked["goal"] == goal, f"{goal} attack"
                else:
                    wanted, meant = (
                        (attacked["goal"] == "targeted") & (attacked["attack"] == attack),
                        f"{attack} {source:g}→{target:g}",
                    )
                    wanted &= (attacked["attack_source"] == source) & (attacked["attack_target"] == target)
                attacked = attacked[wanted & np.isclose(attacked["epsilon"].astype(float), self.epsilon)]
                if attacked.empty:
                    raise NotRun(f"{self.name} has no {meant} at ε = {self.epsilon} of '{row['condition']}'")
                if np.isnan([source, target]).any():
                    # Over the pairs of classes; two attacks stay two rows, which no grid takes.
                    attacked = attacked.groupby(["attack", "draw", "repeat"])[[column]].mean().reset_index()
                own = own.merge(attacked[["draw", "repeat", column]], on=["draw", "repeat"], how="left")
            # without poisons there is nothing to fit
            fits = (own["fitted_share"] >= self.fitted) | (strategy == "none" or not fitted)
            values = own[column].astype(float).where(fits)
            label = label_of(row)
            known = own[own[column].notna()]
            self.measured[row["condition"], label, column] = known["draw"].nunique(), known["repeat"].nunique()
            if strategy != "none" and fitted:
                self.used[f"{self.name}, {label}"] = (int(fits.sum()), len(own))
            matrices.append(grid(own.assign(**{column: values}), column))
        return matrices

    def shortfall(self, strategy: str, draws: int, repeats: int) -> str | None:
        """In which way the condition, or what was measured of its victims, is smaller than draws × repeats, for any value of its axis."""
        rows = self.conditions(strategy)
        for _, row in rows.iterrows():
            own = _of(self.tables["victims"], row)
            have = own["draw"].nunique(), own["repeat"].nunique()
            if have[0] < draws or have[1] < repeats or len(own) < draws * repeats:
                return f"'{row['condition']}' is {have[0]} × {have[1]} ({len(own)} victims), registered are {draws} × {repeats}"
        for (condition, label, column), (known_draws, known_repeats) in self.measured.items():
            if condition == rows["condition"].iloc[0] and (known_draws < draws or known_repeats < repeats):
                return f"{column} of '{label}' is known for {known_draws} × {known_repeats}, registered are {draws} × {repeats}"
        return None


def label_of(row: pd.Series) -> str:
    """Name of a condition and of a value of its axis, if it has one."""
    return str(row["condition"]) if pd.isna(row["axis_value"]) else f"{row['condition']} {row['axis_value']:g}"


def _of(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """Rows of a condition and a value of its axis. An empty axis value equals an empty one, which no join may assume."""
    value = math.nan if pd.isna(row["axis_value"]) else float(row["axis_value"])
    same = np.isclose(table["axis_value"].astype(float), value, equal_nan=True)
    return table[(table["condition"] == row["condition"]) & same]


@dataclass
class Data:
    """What a kind gets to see."""

    experiments: list[Experiment]
    survey: Mapping[str, pd.DataFrame]
    missing: list[str]  # tables of a place with several that are not there yet
    parts: int  # number of parts of the claim, run or not

    @property
    def experiment(self) -> Experiment:
        if len(self.experiments) + len(self.missing) != 1:
            raise InputError(
                f"this kind of claim is judged by 1 experiment, not by {len(self.experiments)}; split the place"
            )
        return self.experiments[0]

    @property
    def wide(self) -> float:
        """Confidence of an interval that is compared with a margin: two one-sided tests at LEVEL / parts (Bonferroni)."""
        return max(CONFIDENCE, 1 - 2 * LEVEL / self.parts)


# --------------------------------------------------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class Side:
    """What speaks for a claim, or against it.

    Attributes:
        holds: whether the values and intervals say so.
        p: of the test that must agree, one-sided; None where none is needed, NaN where it cannot be made.
    """

    holds: bool
    p: float | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on.

    Attributes:
        needed: what would decide an open case, as draws × repeats where that is the answer.
    """

    value: float
    low: float
    high: float
    n: str
    test: str
    supports: Side
    opposes: Side
    needed: str

    @staticmethod
    def of(shown: Estimate, test: str, supports: Side, opposes: Side, needed: str) -> "Evidence":
        """Evidence that shows an estimate as it is."""
        return Evidence(shown.value, shown.low, shown.high, shown.n, test, supports, opposes, needed)


def enough(test: Tested) -> bool:
    """Whether draws and repeats were both sampled: one draw would make it a statement about that very draw."""
    return min(test.draws) >= 2 and test.n_repeats >= 2


def describe_design(draws: Sequence[int], repeats: int) -> str:
    return f"about {'+'.join(map(str, dict.fromkeys(draws)))} × {repeats} (draws × repeats)"


def plan_size(
    judged: tuple[np.ndarray, np.ndarray], draws: tuple[int, int], target: float, data: Data, permuted: bool = True
) -> str:
    """The design that would show a difference of `target`, from the judged grids of conditions with so many draws.

    Draws and repeats grow in proportion until the interval has that half-width; then draws alone, until both conditions
    have two judged ones and, if rows are to be permuted, enough arrangements for the corrected level.
    """
    a, b = judged
    present = min(a.shape[1], b.shape[1])
    if min(len(a), len(b), present) == 0:
        return "victims of both conditions"
    bound, repeats = "", present
    try:
        repeats = needed_repeats(a, target, data.wide, other=b)[1]
    except InputError:  # too few values to know their spread
        bound = "more than "
    grown = [math.ceil(count * repeats / present) for count in draws]
    while True:
        left = [
            count // 2 if len(matrix) < whole else count
            for count, matrix, whole in zip(grown, judged, draws, strict=True)
        ]
        arrangements = math.comb(sum(left), left[0]) if sum(left) < 50 else math.inf
        if min(left) >= 2 and (not permuted or data.parts / arrangements <= LEVEL):
            break
        grown = [count + 1 for count in grown]
    if (grown, repeats) == (list(draws), present):  # the interval is narrow enough, its p not yet small enough
        grown, repeats = [count + 1 for count in grown], repeats + 1
    return bound + describe_design(grown, repeats)


def filled_mean(matrix: np.ndarray) -> float:
    """Mean of a grid for choosing the lowest one: no value is never chosen."""
    value = mean_interval(matrix).value
    return math.inf if math.isnan(value) else value


def interval_text(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "—"
    return f"{value:.3f}" if math.isnan(low) or math.isnan(high) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
