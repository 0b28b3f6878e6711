"""Estimates, intervals and tests for crossed designs.

The values of one condition form a grid [draws, repeats]: a draw is a choice of poisoned points, a repeat is a
victim-to-be (initialisation and data order). Repeat r is the same victim-to-be in every draw and every condition, so
conditions are paired by column; draw d of two conditions has nothing in common but its number, unless both are the same
training set (`matched_difference`). Both axes are samples:
twenty victims from 5 draws × 4 repeats are not twenty independent observations.

Everything that has an interval for a mean is a contrast Σ_k c_k · mean_k of conditions (one mean: c = 1; a difference:
c = 1, −1; a slope: least-squares weights), and all of them share one variance estimate, `contrasts.contrast_of`.

Missing cells (NaN, e.g. victims that did not fit their poisons): repeats without a value in some condition and draws
without any value are left out; remaining holes are filled with the additive fit draw effect + repeat effect and the
residual degrees of freedom are reduced by their number (Yates 1933, The analysis of replicated experiments when the
field results are incomplete). So a condition is not judged by which of its repeats happened to survive. Where the cells
do not even link all draws and repeats, the value is the plain mean and bounds and p are NaN.
"""

from poisonlab.statistics.contrasts import (
    VarianceComponents,
    mean_interval,
    needed_repeats,
    share_interval,
    variance_components,
)
from poisonlab.statistics.estimates import Estimate, Tested, grid
from poisonlab.statistics.permutations import (
    Difference,
    holm,
    matched_difference,
    paired_difference,
    trend,
)
from poisonlab.statistics.quantiles import percentile_interval

__all__ = [
    "Difference",
    "Estimate",
    "Tested",
    "VarianceComponents",
    "grid",
    "holm",
    "matched_difference",
    "mean_interval",
    "needed_repeats",
    "paired_difference",
    "percentile_interval",
    "share_interval",
    "trend",
    "variance_components",
]
