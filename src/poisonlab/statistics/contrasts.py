"""Means, shares and their spread over draws and repeats: everything that needs no test."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from poisonlab.errors import InputError
from poisonlab.statistics.estimates import Estimate, as_grid, check_share, cut, describe_size

LARGEST_PLAN = 100_000  # repeats; a plan beyond it is no plan


@dataclass(frozen=True)
class VarianceComponents:
    """Variances (squared units of the value), not standard deviations."""

    draw: float
    repeat: float
    rest: float


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

        10 × 2, the same            0.911
        20 × 2, the same            0.879

    So two repeats that matter give an interval that is too short, all the more so with many draws: one degree of
    freedom is all that is known of them. Where neither axis has an effect the interval is too long rather than too
    short (tests/unit/test_statistics.py, `test_mean_interval_covers_as_its_docstring_says`). Of shares near 0 or 1,
    whose effects are not normal, it covers less, too.

    `bounds` cuts the interval (not the value) to the possible range, e.g. (0, 1) for an accuracy; nothing is cut
    unasked. Raises InputError for infinite values or a confidence outside (0, 1).
    """
    check_share("confidence", confidence)
    contrast = contrast_of([matrix], [1.0])
    low, high = contrast.interval(confidence)
    return cut(Estimate(contrast.value, low, high, sum(contrast.draws), contrast.repeats, contrast.missing), bounds)


def share_interval(matrix: np.ndarray, confidence: float = 0.95) -> Estimate:
    """Share of a grid [draws, repeats] of zeros and ones, with an interval for new draws and new repeats.

    That of `mean_interval`, cut to [0, 1], but nowhere narrower than Clopper and Pearson's (1934) with each draw
    counting once (of one draw, each repeat): where nearly all values are equal there is no spread to estimate, and the
    victims of a draw may share its luck.
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
    contrast = contrast_of([matrix], [1.0])
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


def needed_repeats(
    matrix: np.ndarray, half_width: float, confidence: float = 0.95, other: np.ndarray | None = None
) -> tuple[int, int]:
    """Smallest (draws, repeats) at which the interval of the mean would reach ± half_width (units of the value).

    With `other`, the interval is that of the paired difference. Draws and repeats grow in the present proportion, from
    the present size: Var(mean) = σ_d²/D + σ_r²/R + σ_e²/(D·R) with the estimates of `variance_components`, and t at the
    larger design's Satterthwaite degrees of freedom. A single draw stays one draw.

    Raises InputError for a half-width that is not positive, one beyond 100 000 repeats, or a grid without a spread.
    """
    check_share("confidence", confidence)
    if not half_width > 0:
        raise InputError(f"half-width {half_width} is not positive; give the precision wanted, e.g. 0.05")
    matrices, weights = ([matrix], [1.0]) if other is None else ([matrix, other], [1.0, -1.0])
    contrast = contrast_of(matrices, weights)
    plan = contrast.plan(half_width, confidence)
    if plan is None:
        size = describe_size(contrast.draws, contrast.repeats, contrast.missing)
        raise InputError(
            f"half-width {half_width} cannot be planned from a grid of {size} within {LARGEST_PLAN} repeats; "
            "give 2 linked repeats or more, or a larger half-width"
        )
    return plan


@dataclass(frozen=True)
class Contrast:
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


def contrast_of(matrices: Sequence[np.ndarray], weights: Sequence[float]) -> Contrast:
    """The contrast Σ_k weights[k] · mean of matrices[k] (each [draws_k, repeats]) over the repeats that all have."""
    checked = [as_grid(matrix) for matrix in matrices]
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
        return Contrast(math.nan, (0,) * len(draws), 0, 0, False, False, zeros, 0.0, nothing, nothing, nothing)
    filled = [fill_holes(matrix) for matrix in observed]
    linked = all(own for _, own in filled)
    if linked:  # each by itself, for a condition may move some repeats more than others
        stacked = np.concatenate([matrix for matrix, _ in filled])
    else:
        stacked, linked = fill_holes(np.concatenate(observed))
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
    return Contrast(
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


def fill_holes(matrix: np.ndarray) -> tuple[np.ndarray, bool]:
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
