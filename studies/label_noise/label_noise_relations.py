"""Relations that only the label-noise thesis needs: strategies beside random points, probes, and curves of toys."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from poisonlab.claims.comparisons import PAIRED_BY, all_above, larger_grids, smallest, weakest
from poisonlab.claims.evidence import (
    CONFIDENCE,
    LEVEL,
    Data,
    Design,
    Evidence,
    Side,
    design,
    enough,
    filled_mean,
    interval_text,
    more_repeats,
    plan_size,
    speaks_against,
)
from poisonlab.claims.relations import MORE, Settings, relation
from poisonlab.claims.relations.axes import distinct_draws
from poisonlab.claims.selectors import alike
from poisonlab.errors import InputError
from poisonlab.results.query import NotRun, Query
from poisonlab.statistics import Tested, mean_interval, needed_repeats, paired_difference, trend

PLACED = "at_distance"  # the strategy of the toys' curves
_PAIRING: dict[str, Any] = {"paired_by": tuple(PAIRED_BY), "known": 0}


# -------------------------------------------------------------------------------------------- victims of random points


@relation("best_bucket_against_random", parameters={"margin": 0.0}, required=("margin",))
def best_bucket_against_random(data: Data, settings: Settings) -> Evidence:
    """The best bucket is at most the margin above random points (non-inferiority)."""
    grids, random, margin = data.grids("path_bucket"), data.grids("random")[0], settings["margin"]
    best = min(range(len(grids)), key=lambda bucket: filled_mean(grids[bucket][0::2]))
    judged = grids[best][1::2]
    shown, wide = paired_difference(judged, random, CONFIDENCE), paired_difference(judged, random, data.wide)
    target = max(abs(shown.value - margin), margin / 2)
    return Evidence.of(
        shown,
        f"bucket {best} (lowest on even draws) − random, {100 * data.wide:.3g} % interval against {margin:+g}",
        Side(wide.high < margin and enough(shown)),
        Side(wide.low > margin and enough(shown)),
        plan_size((judged, random), (len(grids[best]), len(random)), target, data, permuted=False),
    )


@relation("like_random", parameters={"conditions": [], "margin": 0.0}, required=("conditions", "margin"))
def like_random(data: Data, settings: Settings) -> Evidence:
    """Each condition differs from random points by less than a margin at the mean over its axis: two one-sided tests.

    The values of a condition's axis stand among its draws, as other points.
    """
    names, margin, random = settings["conditions"], settings["margin"], data.grids("random")[0]
    grids = [np.concatenate(data.grids(name)) for name in names]

    def differences(confidence: float) -> list[Tested]:
        return [paired_difference(own, random, confidence) for own in grids]

    shown, outside = differences(CONFIDENCE), differences(1 - 2 * LEVEL / data.parts / len(names))
    inside = differences(1 - 2 * LEVEL / data.parts)
    largest = max(range(len(shown)), key=lambda n: abs(shown[n].value))
    return Evidence.of(
        shown[largest],
        f"largest of {len(names)} differences from random, {names[largest]}; "
        f"{100 - 200 * LEVEL / data.parts:g} % intervals against ±{margin:g}",
        Side(all(-margin < one.low and one.high < margin and enough(one) for one in inside)),
        Side(any((one.low > margin or one.high < -margin) and enough(one) for one in outside)),
        MORE,
    )


@relation("better_and_worse", parameters={"condition": ""}, required=("condition",))
def better_and_worse(data: Data, settings: Settings) -> Evidence:
    """At some value of its axis a condition is below random points, at another above.

    By t intervals, with Bonferroni's correction over values and parts.

    Against it speaks that all values lie on the same side, each at the full level (intersection–union). Where each
    value has one set of points, it is these sets that are judged.
    """
    name, random = settings["condition"], data.grids("random")[0]
    cells = data.select(data.query, name)
    strict = 1 - (1 - CONFIDENCE) / len(cells) / data.parts
    found, wide = ([paired_difference(one.grid, random, level) for one in cells] for level in (CONFIDENCE, strict))
    sampled = all(one.draws[1] >= 2 and one.n_repeats >= 2 for one in found)
    places = ", ".join(
        f"{interval_text(one.value, one.low, one.high)} at {cell.row['axis_value']:g}"
        for one, cell in zip(wide, cells, strict=True)
    )
    shown = min(found, key=lambda one: math.inf if math.isnan(one.value) else one.value)
    return Evidence.of(
        shown,
        f"{name} − random, the lowest of {len(cells)} values; {100 * strict:.3g} % t intervals: {places}",
        Side(sampled and any(one.high < 0 for one in wide) and any(one.low > 0 for one in wide)),
        Side(sampled and (all(one.low > 0 for one in found) or all(one.high < 0 for one in found))),
        "more draws of random points and repeats",
    )


@relation("higher_than", parameters={"every_draw": False})
def higher_than(data: Data, settings: Settings) -> Evidence:
    """With random poisons, the first experiment's victims have a higher adversarial accuracy, paired by draw, repeat.

    With `every_draw` so in each draw by itself; the smallest difference of a draw is shown.
    """
    first, second = (data.select(one, "random")[0].grid for one in data.queries)
    draws, repeats = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    differences = first[:draws, :repeats] - second[:draws, :repeats]
    parts = [differences[[draw]] for draw in range(draws)] if settings["every_draw"] else [differences]
    found = [mean_interval(part, CONFIDENCE) for part in parts]
    corrected = [mean_interval(part, 1 - (1 - CONFIDENCE) / len(parts)) for part in parts]
    shown = min(found, key=lambda one: one.value)
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{draws} × {repeats}",
        "t interval of the paired "
        f"differences{', each draw by itself: the smallest' if settings['every_draw'] else ''}",
        Side(all(one.low > 0 for one in found)),
        Side(any(one.high < 0 for one in corrected)),
        more_repeats(differences, max(abs(shown.value), 0.02)),
    )


@relation("larger_where_harmful", parameters={"column": ""}, required=("column",))
def larger_where_harmful(data: Data, settings: Settings) -> Evidence:
    """At equal path length a probe rises as adversarial accuracy falls: the slope over the buckets of the probe against
    minus the accuracy, in a regression that has the bucket's number, too.

    That slope is the one between what a line over the bucket's number leaves of both (Frisch & Waugh 1933, Econometrica
    1:387); rows are permuted of what it leaves (Freedman & Lane 1983, J. Bus. Econ. Stat. 1:292). A bucket's accuracy
    is that of its even draws, its probe that of its odd ones: one draw's luck is not in both.
    """
    accuracy, probes = data.grids("path_bucket"), data.grids("path_bucket", settings["column"])
    positions = [-filled_mean(matrix[0::2]) for matrix in accuracy]
    known = [
        bucket
        for bucket, position in enumerate(positions)
        if math.isfinite(position) and np.isfinite(probes[bucket][1::2]).any()
    ]
    if len(known) < 4:
        raise NotRun(f"{data.query.name} has fewer than 4 buckets with fitted victims, those of odd draws probed")
    judged = [probes[bucket][1::2] for bucket in known]
    places = _beside(known, [positions[bucket] for bucket in known])
    means = [filled_mean(matrix) for matrix in judged]
    lines = np.subtract(means, _beside(known, means))
    judged = [matrix - line for matrix, line in zip(judged, lines, strict=True)]
    slope, against = (trend(judged, at, CONFIDENCE, "greater") for at in (places, [-place for place in places]))
    return Evidence(
        slope.value,
        slope.low,
        slope.high,
        distinct_draws(slope),
        f"slope over {len(known)} buckets beside their number (accuracy of even draws, probe of odd), rows permuted",
        Side(slope.low > 0 and enough(slope), slope.joint_p, slope.smallest_p),
        Side(against.low > 0 and enough(against), against.joint_p, against.smallest_p),
        MORE,
    )


def _beside(numbers: Sequence[int], values: Sequence[float]) -> np.ndarray:
    """What a least-squares line over the buckets' numbers leaves of a value for each."""
    return np.asarray(values) - np.polyval(np.polyfit(numbers, values, 1), numbers)


# --------------------------------------------------------------------- toys: curves over the distance of placed poisons


def _over_curve(data: Data, query: Query) -> np.ndarray:
    """[draws, repeats] adversarial accuracy, the mean of the whole curve; a hole in any of its points is a hole.

    Where a distance has one draw, as poisons at the means have, it is the same in every draw of the curve.
    """
    return np.mean(alike([one.grid for one in data.select(query, PLACED)]), axis=0)


def _at_the_mean(data: Data, query: Query, column: str | None = None) -> np.ndarray:
    return data.select(query, PLACED, column, value="first")[0].grid


def _names(queries: Sequence[Query]) -> list[str]:
    return [one.name.rpartition("/")[2] for one in queries]


@relation("highest_at_the_mean", parameters={"column": "adversarial_accuracy"})
def highest_at_the_mean(data: Data, settings: Settings) -> Evidence:
    """The value of `column` is higher for poisons at the means than at any other distance.

    Against it speaks the highest other distance, chosen on the even draws and judged on the odd ones.
    """
    cells = data.select(data.query, PLACED, settings["column"])
    grids, distances = [one.grid for one in cells], [one.row["axis_value"] for one in cells]
    if distances[0] != 0 or len(grids) < 2:
        raise NotRun(f"{data.query.name} has no poisons at the means, or only there")
    tests, supports = all_above([(grids[0], other) for other in grids[1:]])
    highest = min(range(1, len(grids)), key=lambda n: filled_mean(-grids[n][0::2]))
    against = paired_difference(grids[highest][1::2], grids[0], CONFIDENCE, "greater")
    opposes = Side(against.low > 0 and enough(against), against.joint_p, against.smallest_p)
    other, one = weakest(tests) + 1, tests[weakest(tests)]
    words = f"of {len(tests)} differences that of the lowest bound), rows permuted, largest p of all"
    if opposed := speaks_against(supports, opposes):
        other, one = highest, paired_difference(grids[0], grids[highest][1::2], CONFIDENCE, "greater")
        words = "highest other on even draws, judged on odd ones), rows permuted"
    return Evidence.of(
        one,
        f"r = 0 − r = {distances[other]:g} ({words}",
        supports,
        opposes,
        plan_size((grids[0], grids[other]), (len(grids[0]), len(grids[other])), max(abs(one.value), 0.01), data),
        opposed,
    )


@relation("rising_over_samples", parameters={"column": "adversarial_accuracy"})
def rising_over_samples(data: Data, settings: Settings) -> Evidence:
    """`column` with poisons at the means rises from each experiment to the next, paired by training sample.

    Each draw is another training sample, and nothing else is random: samples take the place of the repeats.
    """
    samples = [_at_the_mean(data, one, settings["column"])[:, :1].T for one in data.queries]
    words = [f"{b} − {a}" for a, b in itertools.pairwise(_names(data.queries))]
    grids = list(zip(samples[1:], samples[:-1], strict=True))
    _, one, text, supports, opposes, against = smallest(grids, words, "paired by sample", counts=lambda test: True)
    n = f"{one.n_repeats} training samples"
    return Evidence(one.value, one.low, one.high, n, text, supports, opposes, "more training samples", against)


@relation("growing_difference", parameters=_PAIRING)
def growing_difference(data: Data, settings: Settings) -> Evidence:
    """The difference between the curves of two experiments grows from each pair to the next."""
    curves, names = [_over_curve(data, one) for one in data.queries], _names(data.queries)
    differences = [a - b for a, b in zip(curves[0::2], curves[1::2], strict=True)]
    apart = [f"({a} − {b})" for a, b in zip(names[0::2], names[1::2], strict=True)]
    words = [f"{b} − {a}" for a, b in itertools.pairwise(apart)]
    return larger_grids(list(zip(differences[1:], differences[:-1], strict=True)), words, data, **settings)


@relation("follows_on_a_smaller_scale", parameters={"below": 0.0}, required=("below",))
def follows_on_a_smaller_scale(data: Data, settings: Settings) -> Evidence:
    """Over the distances, natural accuracy rises with adversarial accuracy, by less than a given share of it.

    A distance's adversarial accuracy is that of its even draws, its natural accuracy that of its odd ones.
    """
    places = [filled_mean(matrix[0::2]) for matrix in data.grids(PLACED)]
    judged = [matrix[1::2] for matrix in data.grids(PLACED, "natural_accuracy")]
    if not np.isfinite(places).all():
        raise NotRun(f"{data.query.name} has distances without fitted victims")
    if len(set(places)) < 2:
        raise NotRun(f"{data.query.name} has the same adversarial accuracy at every distance, which nothing can follow")
    below = settings["below"]
    rising, wide = trend(judged, places, CONFIDENCE, "greater"), trend(judged, places, data.wide)
    falling = trend(judged, [-place for place in places], CONFIDENCE, "greater")
    steep = wide.low > below
    return Evidence(
        rising.value,
        rising.low,
        rising.high,
        f"{max(rising.draws)} × {rising.n_repeats}",
        f"slope over {len(places)} distances (adversarial accuracy of even draws, natural accuracy of odd ones) "
        "against 0, rows permuted, "
        f"and against {below:g}",
        Side(rising.low > 0 and wide.high < below and enough(rising), rising.joint_p, rising.smallest_p),
        Side(
            (steep or falling.low > 0) and enough(rising),
            *((None, None) if steep else (falling.joint_p, falling.smallest_p)),
        ),
        MORE,
    )


@relation("as_robust_as_clean", parameters={"margin": 0.0}, required=("margin",))
def as_robust_as_clean(data: Data, settings: Settings) -> Evidence:
    """With poisons at the means, the first experiment's victims are at most a margin below the second's clean ones.

    Paired by draw where each has a training set of its own; one clean training set is no sample.
    """
    poisoned, whole = data.queries
    placed, clean = _at_the_mean(data, poisoned), data.select(whole, "none")[0].grid
    repeats, margin = min(placed.shape[1], clean.shape[1]), settings["margin"]
    beside = clean[: len(placed)] if len(clean) >= len(placed) else clean[:1]
    differences = placed[:, :repeats] - beside[:, :repeats]
    shown, wide = mean_interval(differences, CONFIDENCE), mean_interval(differences, data.wide)
    names = _names(data.queries)
    return Evidence.of(
        shown,
        f"{names[0]} at r = 0 − {names[1]} without poisons, {100 * data.wide:.3g} % t interval over draws and "
        f"repeats against {-margin:g}",
        Side(wide.low > -margin),
        Side(wide.high < -margin),
        MORE,
    )


@relation("sooner_memorised", unit="epochs")
def sooner_memorised(data: Data, settings: Settings) -> Evidence:
    """With poisons at the means, the first experiment's victims take fewer epochs than the second's, up to the limit.

    A draw is the same training set in both.
    """
    first, second = (_at_the_mean(data, one, "epochs") for one in data.queries)
    draws, repeats = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    quick, slow = first[:draws, :repeats], second[:draws, :repeats]
    compare, words = PAIRED_BY["training set"]
    shown, reverse = compare(slow, quick, CONFIDENCE, "greater"), compare(quick, slow, CONFIDENCE, "greater")
    try:
        size: str | Design = design([draws] * 2, needed_repeats(slow - quick, max(abs(shown.value), 1), data.wide)[1])
    except InputError:
        size = MORE
    return Evidence.of(
        shown,
        f"{' − '.join(reversed(_names(data.queries)))} at r = 0, {words}",
        Side(shown.low > 0 and enough(shown), shown.joint_p, shown.smallest_p),
        Side(shown.high < 0 and enough(shown), reverse.joint_p, reverse.smallest_p),
        size,
    )
