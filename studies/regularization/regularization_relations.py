"""Relations of this study alone: what goes with what."""

import math

import numpy as np
from scipy import stats

from poisonlab.claims.comparisons import larger_grids
from poisonlab.claims.evidence import CONFIDENCE, Data, Evidence, Side
from poisonlab.claims.relations import MORE, Settings, relation
from poisonlab.claims.selectors import alike

RESAMPLES = 2000


@relation("goes_with", parameters={"column": "", "margin": 0.0}, required=("column", "margin"), selectors=("of",))
def goes_with(data: Data, settings: Settings) -> Evidence:
    """Over the values of the sweep axis, within each draw, the selected column and another `column` rank alike.

    Spearman's correlation in each draw and repeat, 0 where a column stays as it is; its mean is compared with 0, draws
    and repeats being sampled.
    """
    own, other = (
        np.moveaxis(alike(grids), 0, -1)
        for grids in ([one.grid for one in data.of], data.grids(data.of[0].name, settings["column"]))
    )
    ranks = np.array([
        [_correlation(x, y) for x, y in zip(*rows, strict=True)] for rows in zip(own, other, strict=True)
    ])  # fmt: skip
    words = f"Spearman's correlation of {data.of[0].column} and {settings['column']} over {len(data.of)} values"
    return larger_grids(
        [(ranks, np.zeros_like(ranks))], [words], data, paired_by="training set", margin=settings["margin"]
    )


def _correlation(x: np.ndarray, y: np.ndarray) -> float:
    return 0.0 if min(np.ptp(x), np.ptp(y)) == 0 else float(stats.spearmanr(x, y).statistic)


@relation(
    "goes_with_over_sets", parameters={"column": "", "margin": 0.0}, required=("column", "margin"), selectors=("of",)
)
def goes_with_over_sets(data: Data, settings: Settings) -> Evidence:
    """The same over draws, of one value: Spearman's correlation, bootstrap over draws."""
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
