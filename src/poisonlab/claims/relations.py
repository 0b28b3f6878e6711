"""Relations: what a claim says of the victims that it selects. Each turns grids into evidence, for and against it.

A study's own relation is a function of the same arguments, decorated with @relation and named ``module:function`` in
the claim.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from poisonlab.claims.comparisons import (
    PAIRED_BY,
    all_above,
    larger_grids,
    larger_percentiles,
    larger_victims,
    pair,
    smallest_p,
    weakest,
)
from poisonlab.claims.evidence import (
    CONFIDENCE,
    LEVEL,
    Data,
    Evidence,
    Side,
    describe_design,
    enough,
    filled_mean,
    more_repeats,
    plan_size,
)
from poisonlab.errors import InputError
from poisonlab.registry import Catalogue, Entry
from poisonlab.results.query import NotRun
from poisonlab.statistics import Estimate, Tested, mean_interval, paired_difference, trend

MORE = "more draws and repeats"
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Relation(Entry):
    """How a claim is judged. The function takes the data and the claim's parameters, and returns evidence.

    Attributes:
        required: parameters that a claim must give.
        selectors: which of `of` and `than` a claim must have; none where the function selects by itself.
        quantifiers: what it can speak of; the first is the default.
        partial: whether one experiment of several can refute the claim before the others have run.
        survey: whether it is about the paths of clean proxies, not about victims.
        unit: of the value; "" for the unit of the selected column.
        smallest_p: the least p that two conditions of so many draws allow, by the parameters; None where no p decides,
            or any size will do.
    """

    required: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    quantifiers: tuple[str, ...] = ("mean",)
    partial: bool = False
    survey: bool = False
    unit: str = ""
    smallest_p: Callable[[int, int, Settings], float] | None = None


relation = Catalogue("relation", "poisonlab.claims.relations", Relation)

_ESTIMATED = ("mean", "percentile")
_PAIRING = {
    # known: draws whose results were known at the registration, which judge nothing
    "paired_by": tuple(PAIRED_BY),
    "known": 0,
}


# ------------------------------------------------------------------------------------------- one selection and a number


@relation(
    "near",
    parameters={"value": 0.0, "margin": 0.0},
    required=("value", "margin"),
    selectors=("of",),
    quantifiers=_ESTIMATED,
)
def near(data: Data, settings: Settings) -> Evidence:
    """Within a margin of a number."""
    value, margin = settings["value"], settings["margin"]
    return _within(data, value - margin, value + margin, f"{value:g} ± {margin:g}", open_ends=True)


@relation(
    "between", parameters={"low": 0.0, "high": 0.0}, required=("low", "high"), selectors=("of",), quantifiers=_ESTIMATED
)
def between(data: Data, settings: Settings) -> Evidence:
    """In a range, ends included."""
    low, high = settings["low"], settings["high"]
    return _within(data, low, high, f"{low:g} … {high:g}", open_ends=False)


def _within(data: Data, low: float, high: float, words: str, open_ends: bool) -> Evidence:
    if len(data.of) != 1:
        raise InputError(
            f"this relation is about 1 value, not about {len(data.of)}; choose by `value` or join by `over`"
        )
    (one,) = data.of
    shown, wide = (data.quantifier.estimate(one.grid, one.column, confidence) for confidence in (CONFIDENCE, data.wide))
    inside = low < wide.low and wide.high < high if open_ends else low <= wide.low and wide.high <= high
    return Evidence.of(
        shown,
        f"{data.quantifier.interval(one.grid)} against {words}",
        Side(inside),
        Side(wide.high < low or wide.low > high),
        MORE,
    )


@relation(
    "above",
    parameters={"value": 0.0},
    required=("value",),
    selectors=("of",),
    quantifiers=(*_ESTIMATED, "every victim"),
    partial=True,
)
def above(data: Data, settings: Settings) -> Evidence:
    """Above a number, at every selected value; one of them decides against it."""
    return _beyond(data, settings["value"], 1)


@relation(
    "below",
    parameters={"value": 0.0},
    required=("value",),
    selectors=("of",),
    quantifiers=(*_ESTIMATED, "every victim"),
    partial=True,
)
def below(data: Data, settings: Settings) -> Evidence:
    """Below a number, at every selected value; one of them decides against it."""
    return _beyond(data, settings["value"], -1)


def _beyond(data: Data, value: float, sign: int) -> Evidence:
    """`sign` 1: above the value, −1: below it."""
    quantifier = data.quantifier
    missing = f"the victims of {', '.join(data.missing)}" if data.missing else ""
    if quantifier.kind == "every victim":  # a statement about each victim, without a test
        values = np.concatenate([one.grid.ravel() for one in data.of])
        values = values[np.isfinite(values)]
        extreme = float(sign * np.min(sign * values)) if len(values) else math.nan
        return Evidence(
            extreme,
            math.nan,
            math.nan,
            f"{len(values)} victims",
            f"{'minimum' if sign > 0 else 'maximum'} over victims",
            Side(sign * extreme > sign * value and not missing),
            Side(sign * extreme <= sign * value),
            missing or "victims",
        )

    def ends(found: Estimate) -> tuple[float, float]:
        return (found.low, found.high) if sign > 0 else (-found.high, -found.low)

    found = [quantifier.estimate(one.grid, one.column, CONFIDENCE) for one in data.of]
    inside = [quantifier.estimate(one.grid, one.column, data.wide) for one in data.of]
    last = min(range(len(found)), key=lambda n: math.inf if math.isnan(found[n].value) else sign * found[n].value)
    one = data.of[last]
    against = quantifier.estimate(one.grid, one.column, data.corrected(len(data.of)))
    text = f"{quantifier.interval(one.grid)} against {value:g}"
    if len(data.of) > 1:
        alike = len({each.name for each in data.of}) == 1
        where = " at ".join(filter(None, [one.short if alike else one.name, one.place]))
        kind = "t intervals over draws and repeats" if quantifier.kind == "mean" else "intervals of order statistics"
        text = f"{'lowest' if sign > 0 else 'highest'} of {len(data.of)} {quantifier.noun}s, {where}; {kind}"
        text += f" against {value:g}"
    return Evidence.of(
        found[last],
        text,
        Side(all(ends(each)[0] > sign * value for each in inside) and not missing),
        Side(ends(against)[1] < sign * value),
        missing or MORE,
    )


# ------------------------------------------------------------------------------------------------------- two selections


@relation(
    "larger",
    parameters={**_PAIRING, "margin": None, "by": 0.0},
    selectors=("of", "than"),
    quantifiers=_ESTIMATED,
    smallest_p=smallest_p,
)
def larger(data: Data, settings: Settings) -> Evidence:
    """Each value of `of` is above that of `than`, `by` so much or more; with a margin, a difference that ends below it
    is too small to count.

    Victims without poisons, and percentiles, are compared by intervals alone.

    Raises:
        InputError: `paired_by`, `known` or `by` are given for these.
    """
    pairs, margin = pair(data.of, data.than), settings["margin"]
    percentile = data.quantifier.kind == "percentile"
    if percentile or any(one.clean for one in pairs):
        if (settings["paired_by"], settings["known"], settings["by"]) != ("repeat", 0, 0):
            raise InputError(
                f"{pairs[0].words}: victims without poisons, and percentiles, are compared by intervals alone; "
                "leave out paired_by, known and by"
            )
        return (larger_percentiles if percentile else larger_victims)(pairs, data, margin)
    grids = [one.grids(settings["paired_by"]) for one in pairs]
    return larger_grids(grids, [one.words for one in pairs], data, **settings)


@relation(
    "equivalent",
    parameters={"margin": 0.0, "paired_by": ("victim", "repeat")},
    required=("margin",),
    selectors=("of", "than"),
)
def equivalent(data: Data, settings: Settings) -> Evidence:
    """Each value of `of` differs from that of `than` by less than a margin: two one-sided tests each, all must agree.

    Paired by victim, draw d and repeat r are the same poison and the same victim-to-be in both.
    """
    pairs, margin, matched = pair(data.of, data.than), settings["margin"], settings["paired_by"] == "victim"

    def differences(confidence: float) -> list[Estimate]:
        if matched:
            return [mean_interval(one.differences, confidence) for one in pairs]
        return [paired_difference(one.a.grid, one.b.grid, confidence) for one in pairs]

    level = 1 - 2 * LEVEL / data.parts
    found, inside, outside = (differences(c) for c in (CONFIDENCE, level, 1 - (1 - level) / len(pairs)))
    counts = all(not isinstance(one, Tested) or enough(one) for one in found)
    shown = max(range(len(found)), key=lambda n: abs(found[n].value))
    one, tested = found[shown], inside[shown]
    if len(pairs) > 1:
        place = pairs[shown].a.place
        text = f"largest of {len(pairs)} differences, {f'at {place}' if place else pairs[shown].words}; "
        text += f"{100 * level:g} % intervals of all against ±{margin:g}"
        size = MORE
    else:
        text = f"{100 * level:g} % interval of the paired differences, [{tested.low:.4f}, {tested.high:.4f}], "
        text += f"against ±{margin:g}"
        size = more_repeats(pairs[0].differences, max(abs(margin - abs(one.value)), margin / 2)) if matched else MORE
    return Evidence.of(
        one,
        text,
        Side(counts and all(-margin < each.low and each.high < margin for each in inside)),
        Side(counts and any(each.low > margin or each.high < -margin for each in outside)),
        size,
    )


# ---------------------------------------------------------------------------------------------- along a list or an axis


@relation("rank", parameters=_PAIRING, selectors=("of",), smallest_p=smallest_p)
def rank(data: Data, settings: Settings) -> Evidence:
    """What is selected stands in growing order: each is above the one before."""
    if len(data.of) < 2:
        raise NotRun(f"{len(data.of)} selected value has no rank; select 2 or more")
    pairs = [one for before, after in itertools.pairwise(data.of) for one in pair([after], [before])]
    return larger_grids([(one.a.grid, one.b.grid) for one in pairs], [one.words for one in pairs], data, **settings)


@relation("falls", parameters={"margin": 0.0}, required=("margin",), selectors=("of",))
def falls(data: Data, settings: Settings) -> Evidence:
    """The fall over the whole sweep axis, along the least-squares line, is above 0; below the margin it does
    not count.
    """
    return _along(data, settings["margin"], -1)


@relation("rises", parameters={"margin": 0.0}, required=("margin",), selectors=("of",))
def rises(data: Data, settings: Settings) -> Evidence:
    """The rise over the whole sweep axis, as in `falls`."""
    return _along(data, settings["margin"], 1)


def _along(data: Data, margin: float, sign: int) -> Evidence:
    grids = [one.grid for one in data.of]
    values = np.array([one.row["axis_value"] for one in data.of], dtype=float)
    if len(np.unique(values)) < len(values) or np.isnan(values).any():
        raise InputError(f"'{data.of[0].name}' is not one condition with a sweep axis, which a trend needs; select one")
    if sum(np.isfinite(matrix).any() for matrix in grids) < 2:
        raise NotRun(f"{data.of[0].experiment} has fewer than 2 values of the axis with victims that count")
    # Slope per whole axis, positive where it goes the way that is claimed.
    positions = (sign * (values - values[0]) / (values[-1] - values[0])).tolist()
    slope = trend(grids, positions, CONFIDENCE, "greater")
    high = trend(grids, positions, data.wide).high
    lowest = min(range(len(grids)), key=lambda n: filled_mean(grids[n]))
    axis = data.of[0].row.get("axis", "value")
    count = f"{len(grids)} buckets" if axis == "bucket" else f"{len(grids)} values of {axis}"
    # growing draws and repeats by a factor shrinks the variance at least by it
    target = max(abs(slope.value), margin / 2)
    factor = ((slope.high - slope.low) / 2 / target) ** 2 if target else math.inf
    grown = factor if math.isfinite(factor) and factor > 1 else 1 + 1 / max(slope.n_repeats, 1)
    return Evidence(
        slope.value,
        slope.low,
        slope.high,
        distinct_draws(slope),
        f"trend over {count}, of which {data.of[lowest].place} is the lowest, rows permuted",
        Side(slope.low > 0 and enough(slope), slope.p, slope.smallest_p),
        Side(high < margin and not slope.low > 0 and enough(slope)),
        describe_design([max(math.ceil(max(slope.draws) * grown), 2)], max(math.ceil(slope.n_repeats * grown), 2)),
    )


def distinct_draws(test: Tested) -> str:
    """n of a test of many conditions, each number of draws once: "4+8 × 32"."""
    return test.n.replace("+".join(map(str, test.draws)), "+".join(map(str, dict.fromkeys(test.draws))))


def _smallest_p_of_chosen(a: int, b: int, settings: Settings) -> float:
    """Half of the draws choose, the others judge: against all of the other condition, or against theirs."""
    judged = a - settings["known"] if settings["known"] else a // 2
    if settings["paired_by"] == "repeat":
        return 1 / math.comb(judged + b, judged)
    return 0.5**judged


@relation(
    "lowest among",
    parameters={"among": ("interior", "last", "most points"), "margin": 0.0, **_PAIRING},
    required=("among", "margin"),
    selectors=("of",),
    smallest_p=_smallest_p_of_chosen,
)
def lowest_among(data: Data, settings: Settings) -> Evidence:
    """The lowest value is one of a set: interior ones, the last, or the largest that hold over half of the points.

    The lowest of the set is chosen among the set only, on its even draws, and judged on its odd ones against all draws
    of each value outside, which had no part in the choice, or, paired by training set, against their odd ones. Where
    the first draws were `known` before the registration, they choose, and the later ones are judged. The opposite is
    tested the same way. All draws share the repeats, so a choice that only these victims-to-be favour survives the
    split; the interval counts new repeats.
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
        beside = slice(None) if paired_by == "repeat" else judged
        order = sorted(others)
        tests, side = all_above([(grids[other][beside], grids[chosen][judged]) for other in order], compare=compare)
        last = weakest(tests)
        return chosen, order[last], tests[last], side

    supported, opposed = below(inside, outside), below(outside, inside)
    chosen, other, shown, _ = opposed if opposed[3].holds and not supported[3].holds else supported
    held = f", holds {sizes[chosen]:.0f} of {sizes.sum():.0f} points" if settings["among"] == "most points" else ""
    choosers = f"the first {known} draws" if known else "even draws"
    target = max(abs(shown.value), settings["margin"])
    return Evidence.of(
        shown,
        f"{names[other]} − {names[chosen]} (lowest {'of the set' if chosen in inside else 'outside'} on "
        f"{choosers}{held}), "
        f"{rows_text}, largest p of all such differences",
        supported[3],
        opposed[3],
        plan_size((grids[other], grids[chosen][1::2]), (len(grids[other]), len(grids[chosen])), target, data)
        if paired_by == "repeat"
        else "more training sets",
    )


@relation(
    "falls then rises",
    parameters={"margin": 0.0, **_PAIRING},
    required=("margin",),
    selectors=("of",),
    smallest_p=_smallest_p_of_chosen,
)
def falls_then_rises(data: Data, settings: Settings) -> Evidence:
    """Along the sweep axis: the lowest value is an interior one."""
    return lowest_among(data, {**settings, "among": "interior"})
