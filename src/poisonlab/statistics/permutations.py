"""Differences and slopes between conditions, with permutation tests; Holm's correction."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import numpy as np

from poisonlab.errors import InputError
from poisonlab.statistics.contrasts import Contrast, contrast_of, fill_holes, mean_interval
from poisonlab.statistics.estimates import Tested, check_share, compact

Alternative = Literal["two-sided", "less", "greater"]

EXACT_LIMIT = 100_000  # arrangements that are enumerated (well under a second); beyond it they are sampled


@dataclass(frozen=True, kw_only=True)
class Difference(Tested):
    """Mean of a minus mean of b, paired by repeat."""


@dataclass(frozen=True, kw_only=True)
class Trend(Tested):
    """Slope of the value per unit of axis position."""


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
    with their columns kept: exact over all splits up to 100 000, otherwise (1 + count)/(1 + permutations) over random
    ones. Flipping the signs of d_r instead could never give less than 2^(1 − R), 0.125 with 4 repeats; it is used only
    where both conditions have one draw. With one draw against D, p is at least 1/(D + 1); see `smallest_p`, and `t_p`,
    which needs no rearrangements but, as the interval, normal effects.

    What p does not say: the null is "no effect on any victim-to-be", so p speaks for the repeats that were run. Where a
    condition moves each victim-to-be differently but none on average, p rejects more often than its level (measured:
    0.13 at level 0.05 for 5 against 8 draws × 4 repeats and an interaction of standard deviation 0.1), while the
    interval, which counts new repeats, keeps its coverage (0.96; 0.97 without interaction). A claim needs both: see
    `Tested.joint_p`, which is what is corrected for several parts.

    `alternative` "greater" asks whether a is above b, "less" whether it is below. Raises InputError for infinite
    values, an unknown alternative or a confidence outside (0, 1).
    """
    check_share("confidence", confidence)
    contrast = contrast_of([a, b], [1.0, -1.0])
    p, smallest_p = permutation_test(contrast, alternative, permutations, seed)
    return Difference(
        *contrast.estimate(confidence), p=p, smallest_p=smallest_p, draws=contrast.draws, t_p=contrast.t_p
    )


def matched_difference(
    a: np.ndarray, b: np.ndarray, confidence: float = 0.95, alternative: Alternative = "two-sided"
) -> Difference:
    """Mean of grid a minus mean of grid b [draws, repeats], paired by draw, too: draw d is one training set in both.

    Only draws and repeats that both have are used. Interval: that of `mean_interval` for the differences. p: their
    signs are flipped over the draws, which differ more than repeats do, as `paired_difference` flips them over the
    repeats of one draw; at least 2^-draws.

    Raises InputError as `paired_difference` does.
    """
    draws, repeats = (min(sizes) for sizes in zip(a.shape, b.shape, strict=True))
    differences = a[:draws, :repeats] - b[:draws, :repeats]
    shown = mean_interval(differences, confidence)
    filled, _ = fill_holes(compact(differences))
    means = filled.mean(axis=1)[None] if filled.size else np.empty((1, 0))
    flipped = paired_difference(means, np.zeros_like(means), confidence, alternative)
    return Difference(
        shown.value, shown.low, shown.high, shown.n_draws, shown.n_repeats, shown.n_missing,
        p=flipped.p, smallest_p=flipped.smallest_p, draws=(shown.n_draws,),
        t_p=contrast_of([differences], [1.0]).t_p,
    )  # fmt: skip


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
    over the positions, exactly up to 100 000 arrangements, otherwise by `permutations` random ones (Pitman 1937, J. R.
    Stat. Soc. Suppl. 4:225); it asks whether position matters at all, in the direction of a slope. Two positions with
    one draw each: signs are flipped over the repeats. Positions without any value are left out.

    Raises InputError for fewer than two different positions with values, or lengths that do not match.
    """
    check_share("confidence", confidence)
    places = np.arange(len(matrices), dtype=np.float64) if positions is None else np.asarray(positions, np.float64)
    if len(places) != len(matrices):
        raise InputError(f"{len(places)} positions for {len(matrices)} grids, allowed is one each; match their lengths")
    kept = [k for k, matrix in enumerate(matrices) if np.size(matrix) and not np.isnan(matrix).all()]
    x = places[kept] - places[kept].mean() if kept else places[kept]
    if len(np.unique(x)) < 2:
        raise InputError(f"{len(np.unique(x))} axis positions have values, a trend needs 2 or more; add axis values")
    contrast = contrast_of([matrices[k] for k in kept], list(x / np.sum(x**2)))
    p, smallest_p = permutation_test(contrast, alternative, permutations, seed)
    return Trend(*contrast.estimate(confidence), p=p, smallest_p=smallest_p, draws=contrast.draws, t_p=contrast.t_p)


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


def permutation_test(contrast: Contrast, alternative: Alternative, permutations: int, seed: int) -> tuple[float, float]:
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
            null = rows[_all_arrangements(contrast.draws)] @ weights
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


@functools.cache
def _all_arrangements(sizes: tuple[int, ...]) -> np.ndarray:
    """Every one of `_arrangements`, [arrangements, rows]: the same for all grids of these sizes."""
    return np.array(list(_arrangements(tuple(range(sum(sizes))), sizes)), dtype=np.int16)


def _arrangements(free: tuple[int, ...], sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every way to deal the rows `free` to conditions of the given sizes, as an order of rows."""
    if len(sizes) == 1:
        yield free
        return
    for chosen in combinations(free, sizes[0]):
        left = tuple(row for row in free if row not in chosen)
        for tail in _arrangements(left, sizes[1:]):
            yield chosen + tail
