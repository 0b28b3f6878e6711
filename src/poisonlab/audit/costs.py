"""What the dearest part of an audit would take, told from victims that are trained already."""

import math
from pathlib import Path

import numpy as np

from poisonlab.audit.study import HARDENING_STEPS, SIZES, Choices
from poisonlab.results.storage import read_table
from poisonlab.victims.timing import seconds_below


def hardening(results: Path, study: str, choices: Choices, per_job: int, cores: int) -> float:
    """Seconds by the clock that adversarial training takes at the smallest size, about.

    Every epoch of its recipe counts, for it seldom fits everything, and each step of its attack is another pass. The
    clean victims of the smallest size say what a pass takes, so that it is the same after a kill and at every size.

    Args:
        results: folder of the pipeline's files, with the experiment `harm`.
        per_job: draws whose victims one job trains, one after the other.

    Returns:
        0 where nothing is known of victims' seconds: small nets are trained side by side, in moments.
    """
    draws, repeats = SIZES[0]
    known = seconds_below(results / "seconds" / study / "harm")
    rows = read_table(results / "tables" / study / "harm" / "victims.parquet")
    clean = rows[(rows["condition"] == "clean") & (rows["repeat"] < repeats)].drop_duplicates("repeat")
    passes = [
        known.get(f"clean_draw-0_repeat-{repeat}", math.nan) / epochs
        for repeat, epochs in zip(clean["repeat"], clean["epochs"], strict=True)
    ]
    victims = repeats * (1 + 2 * draws)  # without wrong labels, and of two selections
    in_turn = max(victims / cores, min(per_job, draws) * repeats)
    found = float(np.mean(passes)) * (1 + HARDENING_STEPS) * choices.recipe["epochs"] * in_turn
    return 0.0 if math.isnan(found) else found
