"""Values with intervals, and the grids [draws, repeats] that they come from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from poisonlab.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A value with its interval; NaN bounds where the design has nothing to estimate a spread from."""

    value: float
    low: float
    high: float
    n_draws: int
    n_repeats: int
    n_missing: int = 0  # holes in the grid of n_draws × n_repeats

    @property
    def n(self) -> str:
        """Size as draws × repeats: "5 × 4", with holes "5 × 4, 17 of 20 victims"."""
        return describe_size([self.n_draws], self.n_repeats, self.n_missing)


@dataclass(frozen=True, kw_only=True)
class Tested(Estimate):
    """An estimate that compares conditions, with a permutation p. `n_draws` is the fewest draws of a condition."""

    p: float
    t_p: float  # two-sided p of the interval's own Student's t; NaN without an interval
    smallest_p: float  # the smallest p that these values can give in any order: a p that equals it cannot say more
    draws: tuple[int, ...]  # draws of each condition

    @property
    def n(self) -> str:
        """Size as draws × repeats: "5+8 × 4" for conditions of 5 and 8 draws."""
        return describe_size(self.draws, self.n_repeats, self.n_missing)

    @property
    def joint_p(self) -> float:
        """Of a test whose alternative is "greater", the larger p of the permutation and of the one-sided t.

        The permutation needs no normal effects but speaks of the repeats that were run; t counts new ones.
        """
        one_sided = self.t_p / 2 if self.value > 0 else 1 - self.t_p / 2
        return max(self.p, one_sided)


def grid(frame: pd.DataFrame, value: str) -> np.ndarray:
    """Values of one condition as [draws, repeats], NaN where a victim is missing.

    Row d is draw d and column r is repeat r (0 … largest present), so grids of two conditions line up by repeat even
    where one lacks a repeat. `frame` has one row per victim with columns draw, repeat and `value`.

    Raises InputError for a missing column, a negative draw or repeat, or two rows for one victim.
    """
    for column in ("draw", "repeat", value):
        if column not in frame.columns:
            raise InputError(f"column '{column}' is not in the table; allowed: {', '.join(map(str, frame.columns))}")
    draws = frame["draw"].to_numpy(dtype=np.int64)
    repeats = frame["repeat"].to_numpy(dtype=np.int64)
    if len(frame) == 0:
        return np.full((0, 0), np.nan)
    for axis, index in (("draw", draws), ("repeat", repeats)):
        if index.min() < 0:
            raise InputError(f"{axis} {index.min()} is negative; number {axis}s from 0")
    twice = frame.duplicated(["draw", "repeat"]).to_numpy()
    if twice.any():
        d, r = draws[twice][0], repeats[twice][0]
        raise InputError(
            f"victim (draw {d}, repeat {r}) has more than one value of '{value}', allowed is 1; "
            "select one condition, axis value, attack and epsilon"
        )
    matrix = np.full((draws.max() + 1, repeats.max() + 1), np.nan)
    matrix[draws, repeats] = frame[value].to_numpy(dtype=np.float64)
    return matrix


def as_grid(matrix: np.ndarray) -> np.ndarray:
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2:
        raise InputError(f"grid has {array.ndim} axes, allowed is 2 (draws, repeats); build it with statistics.grid")
    if np.isinf(array).any():
        raise InputError(
            "grid holds an infinite value, allowed are finite ones and NaN for missing; drop or correct it"
        )
    return array


def compact(matrix: np.ndarray) -> np.ndarray:
    present = ~np.isnan(matrix)
    return matrix[np.ix_(present.any(axis=1), present.any(axis=0))]


def check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"{name} {value} is outside (0, 1); give a fraction such as 0.95 or 0.05, not a percentage")


def cut(estimate: Estimate, bounds: tuple[float, float] | None) -> Estimate:
    if bounds is None:
        return estimate
    low, high = (float(np.clip(bound, *bounds)) for bound in (estimate.low, estimate.high))
    return Estimate(estimate.value, low, high, estimate.n_draws, estimate.n_repeats, estimate.n_missing)


def describe_size(draws: Sequence[int], repeats: int, missing: int) -> str:
    cells = sum(draws) * repeats
    holes = f", {cells - missing} of {cells} victims" if missing else ""
    return f"{'+'.join(map(str, draws))} × {repeats}{holes}"
