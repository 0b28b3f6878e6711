"""Relations of this study alone: how much a change differs between two defenders, and what goes with what."""

import math

import numpy as np
from scipy import stats

from poisonlab.claims.comparisons import larger_grids
from poisonlab.claims.evidence import CONFIDENCE, Chosen, Data, Evidence, Side
from poisonlab.claims.relations import MORE, Settings, relation
from poisonlab.errors import InputError

RESAMPLES = 2000


def _fall(values: list[Chosen]) -> np.ndarray:
    """First minus last value of a sweep axis, [draws, repeats]."""
    if len(values) < 2:
        raise InputError(f"'{values[0].name}' has one value, of a change there are 2 or more; select a sweep axis")
    return values[0].grid - values[-1].grid


@relation("falls_more", parameters={"margin": 0.0}, required=("margin",), selectors=("of", "than"))
def falls_more(data: Data, settings: Settings) -> Evidence:
    """From the first to the last value of the axis, `of` falls more than `than`, paired by training set."""
    words = f"fall of {data.of[0].name} − fall of {data.than[0].name}"
    grids = [(_fall(data.of), _fall(data.than))]
    return larger_grids(grids, [words], data, paired_by="training set", margin=settings["margin"])


@relation("goes_with", parameters={"column": "", "margin": 0.0}, required=("column", "margin"), selectors=("of",))
def goes_with(data: Data, settings: Settings) -> Evidence:
    """Over draws, the selected column and another `column` rank alike: Spearman's correlation, bootstrap over draws."""
    (one,) = data.of
    other = data.grids(one.name, settings["column"])[0]
    pairs = np.column_stack([np.nanmean(one.grid, axis=1), np.nanmean(other, axis=1)])
    generator = np.random.default_rng(0)
    samples = (pairs[generator.integers(len(pairs), size=len(pairs))] for _ in range(RESAMPLES))
    drawn = [stats.spearmanr(sample).statistic for sample in samples]
    found, outside = stats.spearmanr(pairs, alternative="greater"), (1 - data.wide) / 2
    low, high = (float(np.nanquantile(drawn, q)) for q in ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    widest = float(np.nanquantile(drawn, 1 - outside))
    p = float(found.pvalue) if math.isfinite(found.pvalue) else 1.0
    return Evidence(
        float(found.statistic), low, high, f"{len(pairs)} × {one.grid.shape[1]}",
        f"Spearman's correlation of {one.column} and {settings['column']} over draws, bootstrap",
        Side(low > 0, p), Side(widest < settings["margin"] and low <= 0), MORE,
    )  # fmt: skip
