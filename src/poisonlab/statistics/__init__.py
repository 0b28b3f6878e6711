"""Estimates, intervals and tests for crossed designs.

The values of one condition form a grid [draws, repeats]: a draw is a choice of poisoned points, a repeat is a
victim-to-be (initialisation and data order). Repeat r is the same victim-to-be in every draw and every condition, so
conditions are paired by column; draw d of two conditions has nothing in common but its number, unless both are the same
training set (`matched_difference`). Both axes are samples:
twenty victims from 5 draws × 4 repeats are not twenty independent observations.

Everything that has an interval for a mean is a contrast Σ_k c_k · mean_k of conditions (one mean: c = 1; a difference:
c = 1, −1; a slope: least-squares weights), and all of them share one variance estimate, `_contrast`.

Missing cells (NaN, e.g. victims that did not fit their poisons): repeats without a value in some condition and draws
without any value are left out; remaining holes are filled with the additive fit draw effect + repeat effect and the
residual degrees of freedom are reduced by their number (Yates 1933, The analysis of replicated experiments when the
field results are incomplete). So a condition is not judged by which of its repeats happened to survive. Where the cells
do not even link all draws and repeats, the value is the plain mean and bounds and p are NaN.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats
from scipy.integrate import quad

from poisonlab.errors import InputError

Alternative = Literal["two-sided", "less", "greater"]

EXACT_LIMIT = 20_000  # arrangements that are enumerated (well under a second); beyond it they are sampled
LARGEST_PLAN = 100_000  # repeats; a plan beyond it is no plan


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
        return _size([self.n_draws], self.n_repeats, self.n_missing)


@dataclass(frozen=True, kw_only=True)
class Tested(Estimate):
    """An estimate that compares conditions, with a permutation p. `n_draws` is the fewest draws of a condition."""

    p: float
    smallest_p: float  # the smallest p that this design can give: a p that equals it cannot say more
    draws: tuple[int, ...]  # draws of each condition

    @property
    def n(self) -> str:
        """Size as draws × repeats: "5+8 × 4" for conditions of 5 and 8 draws."""
        return _size(self.draws, self.n_repeats, self.n_missing)


@dataclass(frozen=True, kw_only=True)
class Difference(Tested):
    """Mean of a minus mean of b, paired by repeat."""

    t_p: float = (
        math.nan
    )  # two-sided p of the interval's own Student's t; NaN without an interval, and where draws are matched


@dataclass(frozen=True, kw_only=True)
class Trend(Tested):
    """Slope of the value per unit of axis position."""


@dataclass(frozen=True)
class VarianceComponents:
    """Variances (squared units of the value), not standard deviations."""

    draw: float
    repeat: float
    rest: float


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


def mean_interval(matrix: np.ndarray, confidence: float = 0.95, bounds: tuple[float, float] | None = None) -> Estimate:
    """Mean of a grid [draws, repeats] with an interval for new draws and new repeats.

    Estimator: two-way random effects, Var(mean) = (MS_draw + MS_repeat − MS_rest) / (D·R), never below what one axis
    alone shows, and Student's t with Satterthwaite's (1946) degrees of freedom, never fewer than the smaller axis has
    (Searle, Casella & McCulloch 1992, Variance Components, ch. 4). One draw: Student's t over the repeats. One value:
    NaN bounds.

    Why not the two-way ("pigeonhole") bootstrap percentile interval (Owen 2007, Ann. Appl. Stat. 1:386): with so few
    rows and columns it is too short. Measured coverage of the nominal 95 % interval (normal effects, standard
    deviations draw 0.08, repeat 0.19, rest 0.11; 20 000 and 2 000 grids):

        draws × repeats             this    pigeonhole
        5 × 4                       0.957   0.866
        8 × 4                       0.945   0.854
        20 × 20                     0.950   0.935
        5 × 4, no axis effect       0.992   0.986
        20 × 4, sd 0.1, 0.1, 0.05   0.941   0.862

    The worst case seen is 0.94, and where neither axis has an effect the interval is too long rather than too short
    (tests/unit/test_statistics.py, `test_mean_interval_covers_as_its_docstring_says`).

    `bounds` cuts the interval (not the value) to the possible range, e.g. (0, 1) for an accuracy; nothing is cut
    unasked. Raises InputError for infinite values or a confidence outside (0, 1).
    """
    _check_share("confidence", confidence)
    contrast = _contrast([matrix], [1.0])
    low, high = contrast.interval(confidence)
    return _cut(Estimate(contrast.value, low, high, sum(contrast.draws), contrast.repeats, contrast.missing), bounds)


def share_interval(matrix: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Share of a grid [draws, repeats] of zeros and ones, with an interval for new draws and new repeats.

    That of `mean_interval`, cut to [0, 1], but nowhere narrower than Clopper and Pearson's (1934) with each draw counting once (of one
    draw, each repeat): where nearly all values are equal there is no spread to estimate, and the victims of a draw may share its luck.
    """
    found = mean_interval(matrix, confidence, (0.0, 1.0))
    if math.isnan(found.low):
        return found
    n, tail = found.n_draws if found.n_draws > 1 else found.n_repeats, (1 - confidence) / 2
    ones = found.value * n
    low = float(stats.beta.ppf(tail, ones, n - ones + 1)) if ones > 0 else 0.0
    high = float(stats.beta.isf(tail, ones + 1, n - ones)) if ones < n else 1.0
    return replace(found, low=min(low, found.low), high=max(high, found.high))


def variance_components(matrix: np.ndarray) -> VarianceComponents:
    """Variance between draws, between repeats and of the rest (interaction and noise) of a grid [draws, repeats].

    Estimator: ANOVA of the two-way random model without replication, from the expected mean squares E MS_draw =
    σ_e² + R·σ_d², E MS_repeat = σ_e² + D·σ_r², E MS_rest = σ_e² (Searle, Casella & McCulloch 1992, ch. 4). Negative
    estimates are set to 0, which biases small components upwards. One draw or one repeat: the axis that varies holds
    its variance together with the rest's, the others are NaN. All NaN where no degree of freedom is left for the rest.
    """
    contrast = _contrast([matrix], [1.0])
    draws, repeats = sum(contrast.draws), contrast.repeats
    if draws == 1 and repeats > 1:
        return VarianceComponents(math.nan, contrast.repeat_term * repeats, math.nan)
    if repeats == 1 and draws > 1:
        return VarianceComponents(contrast.draw_term * draws, math.nan, math.nan)
    if not contrast.linked or not contrast.has_rest:
        return VarianceComponents(math.nan, math.nan, math.nan)
    return VarianceComponents(
        draw=contrast.draw_excess * draws,
        repeat=contrast.repeat_excess * repeats,
        rest=contrast.rest_term * draws * repeats,
    )


def percentile_interval(
    values: np.ndarray, q: float, confidence: float = 0.95, bounds: tuple[float, float] | None = None
) -> Estimate:
    """The q-quantile (0.05 for the 5th percentile) over victims of a grid [draws, repeats] or independent ones [n].

    Value: numpy's linear quantile. Interval: order statistics, with ranks from the binomial distribution of the number
    of victims below the quantile (David & Nagaraja 2003, Order Statistics, § 7.1), exact for independent values. Not a
    bootstrap: a resample never goes below the smallest victim seen, so its lower bound for a tail is always too high.
    Here the lower bound is −inf where the victims are too few to have one (at 95 %, fewer than 72 for q = 0.05 and 368
    for q = 0.01), and `bounds` may turn that into the lowest possible value.

    Victims of a grid share draws and repeats, so they count for fewer: n / design effect (Kish 1965), where two victims
    that share an axis are as likely to lie below the quantile together as normal variables with that axis's intraclass
    correlation. Measured coverage at 95 % with the standard deviations of `mean_interval`, 20 × 20 victims: 0.985 for
    q = 0.05 and 0.995 for 0.01, against 0.50 and 0.66 with the victims taken as independent.

    Raises InputError for q or confidence outside (0, 1) or infinite values.
    """
    _check_share("q", q)
    _check_share("confidence", confidence)
    array = np.asarray(values, dtype=np.float64)
    matrix = _compact(_checked(array[:, None] if array.ndim == 1 else array))
    present = ~np.isnan(matrix)
    ordered = np.sort(matrix[present])
    if len(ordered) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0, 0)
    low = high = math.nan
    effective = len(ordered) / _design_effect(matrix, q)
    if len(ordered) > 1 and not math.isnan(effective):
        count = max(int(effective), 1)
        tail = (1 - confidence) / 2
        scale = len(ordered) / count  # from ranks among the effective victims to ranks among all, rounded outwards
        low_rank = math.floor(stats.binom.ppf(tail, count, q) * scale)
        high_rank = math.ceil((stats.binom.ppf(1 - tail, count, q) + 1) * scale)
        low = float(ordered[low_rank - 1]) if low_rank >= 1 else -math.inf
        high = float(ordered[high_rank - 1]) if high_rank <= len(ordered) else math.inf
    missing = int((~present).sum())
    return _cut(Estimate(float(np.quantile(ordered, q)), low, high, len(matrix), matrix.shape[1], missing), bounds)


def paired_difference(
    a: np.ndarray,
    b: np.ndarray,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
    permutations: int = 9999,
    seed: int = 0,
) -> Difference:
    """Mean of grid a [draws_a, repeats] minus mean of grid b [draws_b, repeats], paired by repeat (column).

    Only repeats that both have are used. Interval: d_r = mean_d a[d, r] − mean_d b[d, r]; Var = s²(d_r)/R +
    Σ_{a,b} (MS_draw − MS_rest)/(D·R), because new repeats move d_r and new draws move each condition by itself; t with
    Satterthwaite's degrees of freedom as in `mean_interval`. What a repeat does to both conditions alike cancels. A
    condition with one draw (a clean control) contributes no draw variance: the claim is then about that very draw.

    p: permutation test (Fisher–Pitman; Ernst 2004, Stat. Sci. 19:676). If the condition has no effect at all, every row
    (a draw's values over the same repeats) could have come from either condition, so rows are moved between a and b
    with their columns kept: exact over all splits up to 20 000, otherwise (1 + count)/(1 + permutations) over random
    ones. Flipping the signs of d_r instead could never give less than 2^(1 − R), 0.125 with 4 repeats; it is used only
    where both conditions have one draw. With one draw against D, p is at least 1/(D + 1); see `smallest_p`, and `t_p`, which needs no
    rearrangements but, as the interval, normal effects.

    What p does not say: the null is "no effect on any victim-to-be", so p speaks for the repeats that were run. Where a
    condition moves each victim-to-be differently but none on average, p rejects more often than its level (measured:
    0.13 at level 0.05 for 5 against 8 draws × 4 repeats and an interaction of standard deviation 0.1), while the
    interval, which counts new repeats, keeps its coverage (0.96; 0.97 without interaction). A claim needs both.

    `alternative` "greater" asks whether a is above b, "less" whether it is below. Raises InputError for infinite
    values, an unknown alternative or a confidence outside (0, 1).
    """
    _check_share("confidence", confidence)
    contrast = _contrast([a, b], [1.0, -1.0])
    p, smallest_p = _permutation_test(contrast, alternative, permutations, seed)
    return Difference(
        *contrast.estimate(confidence), p=p, smallest_p=smallest_p, draws=contrast.draws, t_p=contrast.t_p
    )


def matched_difference(
    a: np.ndarray, b: np.ndarray, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Difference:
    """Mean of grid a minus mean of grid b [draws, repeats], paired by draw, too: draw d is the same training set in both.

    Only draws and repeats that both have are used. Interval: that of `mean_interval` for the differences. p: their signs are flipped over
    the draws, which differ more than repeats do, as `paired_difference` flips them over the repeats of one draw; at least 2^-draws.

    Raises InputError as `paired_difference` does.
    """
    draws, repeats = (min(sizes) for sizes in zip(a.shape, b.shape, strict=True))
    differences = a[:draws, :repeats] - b[:draws, :repeats]
    shown = mean_interval(differences, confidence)
    filled, _ = _filled(_compact(differences))
    means = filled.mean(axis=1)[None] if filled.size else np.empty((1, 0))
    flipped = paired_difference(means, np.zeros_like(means), confidence, alternative)
    return Difference(
        shown.value, shown.low, shown.high, shown.n_draws, shown.n_repeats, shown.n_missing,
        p=flipped.p, smallest_p=flipped.smallest_p, draws=(shown.n_draws,),
    )  # fmt: skip


def holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """p-values [m] adjusted for the family-wise error by Holm's step-down method (Holm 1979, Scand. J. Stat. 6:65).

    A NaN (a test that could not be made) stays NaN and still counts in m. Raises InputError outside [0, 1].
    """
    p = np.asarray(p_values, dtype=np.float64)
    outside = p[(p < 0) | (p > 1)]
    if len(outside):
        raise InputError(f"p-value {outside[0]} is outside [0, 1]; pass probabilities")
    order = np.argsort(p)  # NaN last
    steps = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def trend(
    matrices: Sequence[np.ndarray],
    positions: Sequence[float] | None = None,
    confidence: float = 0.95,
    alternative: Alternative = "two-sided",
    permutations: int = 9999,
    seed: int = 0,
) -> Trend:
    """Least-squares slope of the mean of each grid [draws, repeats] against its axis position (default 0, 1, 2 …).

    The slope is the contrast Σ_k c_k · mean_k with c_k = (x_k − x̄)/Σ(x − x̄)². Its interval takes the draws of each
    position as independent and the repeats as shared by all (see `paired_difference`). p: rows (draws) are permuted
    over the positions, exactly up to 20 000 arrangements, otherwise by `permutations` random ones (Pitman 1937, J. R.
    Stat. Soc. Suppl. 4:225); it asks whether position matters at all, in the direction of a slope. Two positions with
    one draw each: signs are flipped over the repeats. Positions without any value are left out.

    Raises InputError for fewer than two different positions with values, or lengths that do not match.
    """
    _check_share("confidence", confidence)
    places = np.arange(len(matrices), dtype=np.float64) if positions is None else np.asarray(positions, np.float64)
    if len(places) != len(matrices):
        raise InputError(f"{len(places)} positions for {len(matrices)} grids, allowed is one each; match their lengths")
    kept = [k for k, matrix in enumerate(matrices) if np.size(matrix) and not np.isnan(matrix).all()]
    x = places[kept] - places[kept].mean() if kept else places[kept]
    if len(np.unique(x)) < 2:
        raise InputError(f"{len(np.unique(x))} axis positions have values, a trend needs 2 or more; add axis values")
    contrast = _contrast([matrices[k] for k in kept], list(x / np.sum(x**2)))
    p, smallest_p = _permutation_test(contrast, alternative, permutations, seed)
    return Trend(*contrast.estimate(confidence), p=p, smallest_p=smallest_p, draws=contrast.draws)


def needed_repeats(
    matrix: np.ndarray, half_width: float, confidence: float = 0.95, other: np.ndarray | None = None
) -> tuple[int, int]:
    """Smallest (draws, repeats) at which the interval of the mean would reach ± half_width (units of the value).

    With `other`, the interval is that of the paired difference. Draws and repeats grow in the present proportion, from
    the present size: Var(mean) = σ_d²/D + σ_r²/R + σ_e²/(D·R) with the estimates of `variance_components`, and t at the
    larger design's Satterthwaite degrees of freedom. A single draw stays one draw.

    Raises InputError for a half-width that is not positive, one beyond 100 000 repeats, or a grid without a spread.
    """
    _check_share("confidence", confidence)
    if not half_width > 0:
        raise InputError(f"half-width {half_width} is not positive; give the precision wanted, e.g. 0.05")
    matrices, weights = ([matrix], [1.0]) if other is None else ([matrix, other], [1.0, -1.0])
    contrast = _contrast(matrices, weights)
    plan = contrast.plan(half_width, confidence)
    if plan is None:
        size = _size(contrast.draws, contrast.repeats, contrast.missing)
        raise InputError(
            f"half-width {half_width} cannot be planned from a grid of {size} within {LARGEST_PLAN} repeats; "
            "give 2 linked repeats or more, or a larger half-width"
        )
    return plan


@dataclass(frozen=True)
class _Contrast:
    """Σ_k c_k · mean_k and the mean squares that its variance is made of, each already divided to a variance of it."""

    value: float
    draws: tuple[int, ...]
    repeats: int
    missing: int
    linked: bool  # False: the cells do not determine all draw and repeat effects
    has_rest: bool  # whether any degree of freedom is left for the rest
    draw_terms: tuple[float, ...]  # c_k² · MS_draw / (D_k · R); 0 for one draw
    rest_term: float  # Σ_k c_k² · MS_rest / (D_k · R) over the conditions with more than one draw
    row_means: np.ndarray  # [all draws of all conditions]
    row_weights: np.ndarray  # [all draws of all conditions], c_k / D_k
    column_values: np.ndarray  # [repeats], the contrast in each repeat

    @property
    def repeat_term(self) -> float:
        return float(np.var(self.column_values, ddof=1)) / self.repeats if self.repeats > 1 else 0.0

    @property
    def draw_term(self) -> float:
        return sum(self.draw_terms)

    @property
    def draw_excess(self) -> float:
        return max(self.draw_term - self.rest_term, 0.0)

    @property
    def repeat_excess(self) -> float:
        return max(self.repeat_term - self.rest_term, 0.0)

    @property
    def variance(self) -> float:
        """Rest is in both mean squares, so it is taken off once; the floor keeps chance from making it tiny."""
        if not self.linked or (self.repeats < 2 and max(self.draws, default=0) < 2):
            return math.nan
        repeat, draw = self.repeat_term, self.draw_term
        return max(repeat + draw - self.rest_term, repeat, draw)

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom, at least those of the smallest axis that has any."""
        parts = [(self.repeat_term, self.repeats - 1)]
        parts += [(term, draws - 1) for term, draws in zip(self.draw_terms, self.draws, strict=True)]
        parts = [(term, df) for term, df in parts if df > 0]
        spread = sum(term**2 / df for term, df in parts)
        fewest = min((df for _, df in parts), default=0)
        return max(self.variance**2 / spread, fewest) if spread > 0 else float(fewest)

    def interval(self, confidence: float) -> tuple[float, float]:
        if math.isnan(self.variance):
            return math.nan, math.nan
        half = float(stats.t.ppf((1 + confidence) / 2, self.df)) * math.sqrt(self.variance)
        return self.value - half, self.value + half

    @property
    def t_p(self) -> float:
        """Two-sided p: one minus the confidence of the interval that ends at 0."""
        if math.isnan(self.variance):
            return math.nan
        if self.variance == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / math.sqrt(self.variance), self.df))

    def estimate(self, confidence: float) -> tuple[float, float, float, int, int, int]:
        """The fields of an `Estimate` that compares conditions."""
        return self.value, *self.interval(confidence), min(self.draws), self.repeats, self.missing

    def plan(self, half_width: float, confidence: float) -> tuple[int, int] | None:
        """Smallest (draws, repeats), both grown in proportion, at which the interval reaches ± half_width."""
        if math.isnan(self.variance) or self.repeats < 2:
            return None
        draws = max(self.draws)
        draw_df = sum(self.draws) - len(self.draws)

        def size(repeats: int) -> tuple[int, int]:
            return (draws if draws == 1 else math.ceil(draws * repeats / self.repeats)), repeats

        def enough(repeats: int) -> bool:
            more_draws, more_repeats = size(repeats)[0] / draws, repeats / self.repeats
            rest = self.rest_term / (more_draws * more_repeats)
            draw = self.draw_excess / more_draws + (rest if draw_df else 0.0)
            repeat = self.repeat_excess / more_repeats + rest
            variance = draw + repeat - (rest if draw_df else 0.0)
            spread = repeat**2 / (repeats - 1) + (draw**2 / (draw_df * more_draws) if draw_df else 0.0)
            fewest = min(repeats - 1, size(repeats)[0] - 1) if draw_df else repeats - 1
            df = max(variance**2 / spread, fewest) if spread > 0 else float(fewest)
            return float(stats.t.ppf((1 + confidence) / 2, df)) * math.sqrt(variance) <= half_width

        repeats = bisect_left(range(LARGEST_PLAN + 1), True, lo=self.repeats, key=enough)
        return size(repeats) if repeats <= LARGEST_PLAN else None


def _contrast(matrices: Sequence[np.ndarray], weights: Sequence[float]) -> _Contrast:
    """The contrast Σ_k weights[k] · mean of matrices[k] (each [draws_k, repeats]) over the repeats that all have."""
    checked = [_checked(matrix) for matrix in matrices]
    width = min(matrix.shape[1] for matrix in checked)
    checked = [matrix[:, :width] for matrix in checked]
    shared = np.all([~np.isnan(matrix).all(axis=0) for matrix in checked], axis=0)
    observed = [matrix[:, shared] for matrix in checked]
    observed = [matrix[~np.isnan(matrix).all(axis=1)] for matrix in observed]
    draws = tuple(len(matrix) for matrix in observed)
    repeats = int(shared.sum())
    if repeats == 0:
        nothing = np.zeros(0)
        zeros = (0.0,) * len(draws)
        return _Contrast(math.nan, (0,) * len(draws), 0, 0, False, False, zeros, 0.0, nothing, nothing, nothing)
    stacked, linked = _filled(np.concatenate(observed))
    full = np.split(stacked, np.cumsum(draws)[:-1])

    draw_terms, rest_term, has_rest = [], 0.0, False
    for matrix, cells, weight in zip(full, observed, weights, strict=True):
        rows = matrix.mean(axis=1)
        draw_terms.append(float(weight**2 * np.var(rows, ddof=1) / len(rows)) if len(rows) > 1 else 0.0)
        rest_df = int((~np.isnan(cells)).sum()) - len(rows) - repeats + 1
        if len(rows) > 1 and repeats > 1 and rest_df > 0:
            residual = matrix - rows[:, None] - matrix.mean(axis=0) + matrix.mean()
            rest_term += float(weight**2 * np.sum(residual**2) / rest_df / matrix.size)
            has_rest = True

    used = full if linked else observed
    return _Contrast(
        value=float(sum(weight * np.nanmean(matrix) for weight, matrix in zip(weights, used, strict=True))),
        draws=draws,
        repeats=repeats,
        missing=int(sum(np.isnan(matrix).sum() for matrix in observed)),
        linked=linked,
        has_rest=has_rest,
        draw_terms=tuple(draw_terms),
        rest_term=rest_term,
        row_means=stacked.mean(axis=1),
        row_weights=np.repeat(np.asarray(weights) / np.asarray(draws), draws),
        column_values=sum((w * m.mean(axis=0) for w, m in zip(weights, full, strict=True)), np.zeros(repeats)),
    )


def _permutation_test(
    contrast: _Contrast, alternative: Alternative, permutations: int, seed: int
) -> tuple[float, float]:
    """(p, smallest p possible): rows rearranged over the conditions, or signs flipped where two single rows meet.

    The statistic needs nothing of a row but its mean, so row means are rearranged: repeats stay paired.
    """
    if alternative not in ("two-sided", "less", "greater"):
        raise InputError(f"alternative '{alternative}' is unknown; allowed: two-sided, less, greater")
    if permutations < 1:
        raise InputError(f"permutations {permutations} is below 1; give e.g. 9999")
    if not contrast.linked:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    if contrast.draws == (1, 1):
        scores, exact = contrast.column_values / contrast.repeats, 2**contrast.repeats <= EXACT_LIMIT
        if exact:
            signs = np.array(list(product((1.0, -1.0), repeat=contrast.repeats)))
        else:
            signs = generator.choice((1.0, -1.0), size=(permutations, contrast.repeats))
        null = signs @ scores
        observed = float(scores.sum())
    else:
        rows, weights = contrast.row_means, contrast.row_weights
        ways = math.factorial(len(rows)) // math.prod(math.factorial(draws) for draws in contrast.draws)
        exact = ways <= EXACT_LIMIT
        if exact:
            null = rows[np.array(list(_arrangements(tuple(range(len(rows))), contrast.draws)))] @ weights
        else:
            null = generator.permuted(np.tile(rows, (permutations, 1)), axis=1) @ weights
        observed = float(rows @ weights)
    extremeness = {"two-sided": np.abs, "less": np.negative, "greater": np.positive}[alternative]
    extreme, threshold = extremeness(null), float(extremeness(observed))
    # the same sum in another order differs in its last bits: ties must count as ties
    rounding = 1e-12 * (np.abs(contrast.row_means).max() + np.abs(null).max())
    if exact:
        return float(np.mean(extreme >= threshold - rounding)), float(np.mean(extreme >= extreme.max() - rounding))
    return float((1 + np.sum(extreme >= threshold - rounding)) / (1 + permutations)), 1 / (1 + permutations)


def _arrangements(free: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to deal the rows `free` to conditions of the given sizes, as an order of rows."""
    if len(sizes) == 1:
        yield free
        return
    for chosen in combinations(free, sizes[0]):
        left = tuple(row for row in free if row not in chosen)
        for tail in _arrangements(left, sizes[1:]):
            yield chosen + tail


def _filled(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
    """The grid with its holes filled by the additive least-squares fit, and whether its cells link rows and columns.

    Every row and column must have a value.
    """
    present = ~np.isnan(matrix)
    if present.all():
        return matrix, True
    rows, columns = matrix.shape
    row, column = np.nonzero(present)
    design = np.zeros((len(row), rows + columns))
    design[np.arange(len(row)), row] = 1
    design[np.arange(len(row)), rows + column] = 1
    effects, _, rank, _ = np.linalg.lstsq(design, matrix[present], rcond=None)
    additive = effects[:rows, None] + effects[None, rows:]
    return np.where(present, matrix, additive), int(rank) == rows + columns - 1


def _design_effect(matrix: np.ndarray, q: float) -> float:
    """By how much sharing draws and repeats inflates the variance of the share of victims below the q-quantile.

    1 + Σ over axes of (mean number of other victims on the same row or column) · (correlation of "below the quantile").
    NaN where the variance components cannot be estimated; 1 for a single row or column (independent victims).
    """
    if min(matrix.shape) == 1:
        return 1.0
    parts = variance_components(matrix)
    total = parts.draw + parts.repeat + parts.rest
    if not total > 0:
        return math.nan if math.isnan(total) else 1.0
    present = ~np.isnan(matrix)
    effect = 1.0
    for component, counts in ((parts.draw, present.sum(axis=1)), (parts.repeat, present.sum(axis=0))):
        others = float(np.sum(counts**2) / np.sum(counts)) - 1
        effect += others * _joint_tail_correlation(component / total, q)
    return effect


def _joint_tail_correlation(correlation: float, q: float) -> float:
    """Correlation of the events "below the q-quantile" of two normal variables with the given correlation in [0, 1].

    Φ₂(z, z; ρ) − q² = (1/2π) ∫₀^{arcsin ρ} exp(−z²/(1 + sin θ)) dθ (Drezner & Wesolowsky 1990).
    """
    z = float(stats.norm.ppf(q))
    area, _ = quad(lambda angle: math.exp(-(z**2) / (1 + math.sin(angle))), 0.0, math.asin(min(correlation, 1.0)))
    return area / (2 * math.pi) / (q * (1 - q))


def _checked(matrix: np.ndarray) -> np.ndarray:
    array = np.asarray(matrix, dtype=np.float64)
    if array.ndim != 2:
        raise InputError(f"grid has {array.ndim} axes, allowed is 2 (draws, repeats); build it with statistics.grid")
    if np.isinf(array).any():
        raise InputError(
            "grid holds an infinite value, allowed are finite ones and NaN for missing; drop or correct it"
        )
    return array


def _compact(matrix: np.ndarray) -> np.ndarray:
    present = ~np.isnan(matrix)
    return matrix[np.ix_(present.any(axis=1), present.any(axis=0))]


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise InputError(f"{name} {value} is outside (0, 1); give a fraction such as 0.95 or 0.05, not a percentage")


def _cut(estimate: Estimate, bounds: tuple[float, float] | None) -> Estimate:
    if bounds is None:
        return estimate
    low, high = (float(np.clip(bound, *bounds)) for bound in (estimate.low, estimate.high))
    return Estimate(estimate.value, low, high, estimate.n_draws, estimate.n_repeats, estimate.n_missing)


def _size(draws: Sequence[int], repeats: int, missing: int) -> str:
    cells = sum(draws) * repeats
    holes = f", {cells - missing} of {cells} victims" if missing else ""
    return f"{'+'.join(map(str, draws))} × {repeats}{holes}"
