"""Selections along a list or a sweep axis."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from poisonlab.claims.comparisons import PAIRED_BY, all_above, larger_grids, pair, smallest_p, weakest
from poisonlab.claims.evidence import (
    CONFIDENCE,
    Data,
    Evidence,
    Side,
    design,
    enough,
    filled_mean,
    plan_size,
    speaks_against,
)
from poisonlab.claims.relations import PAIRING, Settings, relation
from poisonlab.errors import InputError
from poisonlab.results.query import NotRun
from poisonlab.statistics import Tested, trend


@relation("rank", parameters=PAIRING, selectors=("of",), smallest_p=smallest_p)
def rank(data: Data, settings: Settings) -> Evidence:
    """What is selected stands in growing order: each is above the one before."""
    if len(data.of) < 2:
        raise NotRun(f"{len(data.of)} selected value has no rank; select 2 or more")
    pairs = [one for before, after in itertools.pairwise(data.of) for one in pair([after], [before])]
    grids = [one.grids(settings["paired_by"]) for one in pairs]
    return larger_grids(grids, [one.words for one in pairs], data, **settings)


TREND = {"margin": 0.0, "paired_by": tuple(PAIRED_BY)}


@relation("falls", parameters=TREND, required=("margin",), selectors=("of",))
def falls(data: Data, settings: Settings) -> Evidence:
    """The fall over the whole sweep axis, along the least-squares line, is above 0; below the margin it does
    not count. Paired by training set, each has a line of its own.
    """
    return _along(data, settings, -1)


@relation("rises", parameters=TREND, required=("margin",), selectors=("of",))
def rises(data: Data, settings: Settings) -> Evidence:
    """The rise over the whole sweep axis, as in `falls`."""
    return _along(data, settings, 1)


def _along(data: Data, settings: Settings, sign: int) -> Evidence:
    margin = settings["margin"]
    grids = [one.grid for one in data.of]
    values = np.array([one.row["axis_value"] for one in data.of], dtype=float)
    if len(np.unique(values)) < len(values) or np.isnan(values).any():
        raise InputError(f"'{data.of[0].name}' is not one condition with a sweep axis, which a trend needs; select one")
    if sum(np.isfinite(matrix).any() for matrix in grids) < 2:
        raise NotRun(f"{data.of[0].experiment} has fewer than 2 values of the axis with victims that count")
    # Slope per whole axis, positive where it goes the way that is claimed.
    positions = (sign * (values - values[0]) / (values[-1] - values[0])).tolist()
    lowest = min(range(len(grids)), key=lambda n: filled_mean(grids[n]))
    axis = data.of[0].row.get("axis", "value")
    count = f"{len(grids)} buckets" if axis == "bucket" else f"{len(grids)} values of {axis}"
    words = f"trend over {count}, of which {data.of[lowest].place} is the lowest"
    if settings["paired_by"] == "training set":
        draws, repeats = (min(sizes) for sizes in zip(*(matrix.shape for matrix in grids), strict=True))
        away = np.array(positions) - np.mean(positions)
        slopes = np.stack([matrix[:draws, :repeats] for matrix in grids], axis=-1) @ (away / (away @ away))
        return larger_grids([(slopes, np.zeros_like(slopes))], [words], data, paired_by="training set", margin=margin)
    slope = trend(grids, positions, CONFIDENCE, "greater")
    high = trend(grids, positions, data.wide).high
    # growing draws and repeats by a factor shrinks the variance at least by it
    target = max(abs(slope.value), margin / 2)
    factor = ((slope.high - slope.low) / 2 / target) ** 2 if target else math.inf
    grown = factor if math.isfinite(factor) and factor > 1 else 1 + 1 / max(slope.n_repeats, 1)
    return Evidence(
        slope.value,
        slope.low,
        slope.high,
        distinct_draws(slope),
        f"{words}, rows permuted",
        Side(slope.low > 0 and enough(slope), slope.joint_p, slope.smallest_p),
        Side(high < margin and not slope.low > 0 and enough(slope)),
        design(
            [max(math.ceil(max(slope.draws) * grown), 2)] * len(slope.draws), max(math.ceil(slope.n_repeats * grown), 2)
        ),
    )


def distinct_draws(test: Tested) -> str:
    """n of a test of many conditions, each number of draws once: "4+8 × 32"."""
    return test.n.replace("+".join(map(str, test.draws)), "+".join(map(str, dict.fromkeys(test.draws))))


def _smallest_p_of_chosen(a: int, b: int, settings: Settings) -> float:
    """Half of the draws choose, the others judge: against all of the other condition, or against theirs."""
    judged = a - settings["known"] if settings["known"] else a // 2
    if settings["paired_by"] == "repeat":
        return 1 / math.comb(judged + b - settings["known"], judged)
    return 0.5**judged


@relation(
    "lowest among",
    parameters={"among": ("interior", "last", "most points"), "margin": 0.0, **PAIRING},
    required=("among", "margin"),
    selectors=("of",),
    smallest_p=_smallest_p_of_chosen,
)
def lowest_among(data: Data, settings: Settings) -> Evidence:
    """The lowest value is one of a set: interior ones, the last, or the largest that hold over half of the points.

    The lowest of the set is chosen among the set only, on its even draws, and judged on its odd ones against all draws
    of each value outside, which had no part in the choice, or, paired by training set, against their odd ones. Where
    the first draws were `known` before the registration, they choose, and the later ones of all are judged. The
    opposite is tested the same way. All draws share the repeats, so a choice that only these victims-to-be favour
    survives the split; simulated with an interplay of bucket and repeat as large as the archive's, up to 0.04, the
    upper end of a 95 % interval lies below the truth in 2 to 4 % of cases instead of 2.5 %.
    """
    compare, rows_text = PAIRED_BY[paired_by := settings["paired_by"]]
    known = settings["known"]
    chooses, judged = (slice(known), slice(known, None)) if known else (slice(0, None, 2), slice(1, None, 2))
    grids, names = [one.grid for one in data.of], [one.place for one in data.of]
    sizes = np.array([one.row["n_points"] for one in data.of], dtype=float)
    everyone = range(len(grids))
    if settings["among"] == "interior":
        inside = set(everyone[1:-1])
    elif settings["among"] == "last":
        inside = set(everyone[-1:])
    else:
        largest = np.argsort(-sizes, kind="stable")
        before = np.concatenate([[0], np.cumsum(sizes[largest])[:-1]])
        inside = {int(number) for number in largest[before <= sizes.sum() / 2]}
    outside = set(everyone) - inside
    if not inside or not outside:
        raise NotRun(f"{data.of[0].experiment} has {len(grids)} values, too few to be {settings['among']} or not")

    def below(own: Iterable[int], others: Iterable[int]) -> tuple[int, int, Tested, Side]:
        chosen = min(sorted(own), key=lambda number: filled_mean(grids[number][chooses]))
        beside = judged if known or paired_by != "repeat" else slice(None)
        order = sorted(others)
        tests, side = all_above([(grids[other][beside], grids[chosen][judged]) for other in order], compare=compare)
        last = weakest(tests)
        return chosen, order[last], tests[last], side

    supported, opposed = below(inside, outside), below(outside, inside)
    against = speaks_against(supported[3], opposed[3])
    chosen, other, shown, _ = opposed if against else supported
    held = f", holds {sizes[chosen]:.0f} of {sizes.sum():.0f} points" if settings["among"] == "most points" else ""
    choosers = f"the first {known} draws" if known else "even draws"
    target = max(abs(shown.value), settings["margin"])
    lowest = f"{names[chosen]} (lowest {'of the set' if chosen in inside else 'outside'} on {choosers}{held})"
    sides = [names[other], lowest]
    if against:  # one outside minus one of the set, whichever is chosen: negative where it speaks against the claim
        sides.reverse()
        shown = replace(shown, value=-shown.value, low=-shown.high, high=-shown.low)
    return Evidence.of(
        shown,
        f"{' − '.join(sides)}, {rows_text}, largest p of all such differences",
        supported[3],
        opposed[3],
        plan_size((grids[other], grids[chosen][judged]), (len(grids[other]), len(grids[chosen])), target, data)
        if paired_by == "repeat"
        else "more training sets",
        against,
    )


@relation(
    "falls then rises",
    parameters={"margin": 0.0, **PAIRING},
    required=("margin",),
    selectors=("of",),
    smallest_p=_smallest_p_of_chosen,
)
def falls_then_rises(data: Data, settings: Settings) -> Evidence:
    """Along the sweep axis: the lowest value is an interior one."""
    return lowest_among(data, {**settings, "among": "interior"})
