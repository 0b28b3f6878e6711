"""Percentiles over victims that share draws and repeats."""

import math

import numpy as np
from scipy import stats
from scipy.integrate import quad

from poisonlab.statistics.contrasts import variance_components
from poisonlab.statistics.estimates import Estimate, as_grid, check_share, compact, cut


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
    check_share("q", q)
    check_share("confidence", confidence)
    array = np.asarray(values, dtype=np.float64)
    matrix = compact(as_grid(array[:, None] if array.ndim == 1 else array))
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
    return cut(Estimate(float(np.quantile(ordered, q)), low, high, len(matrix), matrix.shape[1], missing), bounds)


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
