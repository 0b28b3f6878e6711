"""A relation of this study alone: what random sets owe to their coverage."""

import math

import numpy as np
from scipy import stats

from poisonlab.claims.evidence import CONFIDENCE, Data, Evidence, Side
from poisonlab.claims.relations import MORE, Settings, relation


@relation("follows_coverage", parameters={"margin": 0.0}, required=("margin",))
def follows_coverage(data: Data, settings: Settings) -> Evidence:
    """Over sets of points, adversarial accuracy rises with their coverage, a distance: least-squares line."""
    accuracy, coverage = (data.grids("random", column)[0] for column in (None, "poison_coverage"))
    apart, kept = np.nanmean(coverage, axis=1), np.nanmean(accuracy, axis=1)
    line = stats.linregress((apart - apart.mean()) / apart.std(), kept, alternative="greater")

    def half(confidence: float) -> float:
        return float(stats.t.isf((1 - confidence) / 2, len(kept) - 2) * line.stderr)

    low, high = line.slope - half(CONFIDENCE), line.slope + half(CONFIDENCE)
    p = float(line.pvalue) if math.isfinite(line.pvalue) else 1.0
    small = line.slope + half(data.wide) < settings["margin"] and low <= 0
    return Evidence(
        float(line.slope), low, high, f"{len(kept)} × {accuracy.shape[1]}",
        "slope over sets, per standard deviation of their coverage, t", Side(low > 0, p), Side(small), MORE,
    )  # fmt: skip
