"""Kinds of claims about toys: curves over the distance of the placed poisons from the means of their classes."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from poisonlab.claims.evidence import (
    CONFIDENCE,
    LEVEL,
    Data,
    Evidence,
    Experiment,
    NotRun,
    Side,
    describe_design,
    enough,
    filled_mean,
    plan_size,
)
from poisonlab.errors import InputError
from poisonlab.statistics import (
    Tested,
    matched_difference,
    mean_interval,
    needed_repeats,
    paired_difference,
    share_interval,
    trend,
)

PLACED = "at_distance"  # the strategy of these curves
Grids = list[np.ndarray]

# What the draws of two conditions have in common: nothing, then rows are permuted; or the training set, then they are paired, too.
PAIRED_BY: dict[str, tuple[Callable[..., Tested], str]] = {
    "repeat": (paired_difference, "rows permuted"),
    "training set": (matched_difference, "paired by training set and repeat, signs of the training sets flipped"),
}


def _all(data: Data) -> list[Experiment]:
    if data.missing:
        raise NotRun(f"no tables of {', '.join(data.missing)}")
    return data.experiments


def _distances(experiment: Experiment) -> list[float]:
    return [float(value) for value in experiment.conditions(PLACED)["axis_value"]]


def _over_curve(experiment: Experiment) -> np.ndarray:
    """[draws, repeats] adversarial accuracy, the mean of the whole curve; a hole in any of its points is a hole.

    Where a distance has one draw, as poisons at the means have, it is the same in every draw of the curve.
    """
    return np.mean(np.broadcast_arrays(*experiment.grids(PLACED)), axis=0)


def paired(paired_by: str) -> tuple[Callable[..., Tested], str]:
    """The comparison of two grids under the option `paired_by`, and its name."""
    if paired_by not in PAIRED_BY:
        raise InputError(f"option paired_by is '{paired_by}', allowed are {sorted(PAIRED_BY)}; change it")
    return PAIRED_BY[paired_by]


def _weakest(tests: Sequence[Tested]) -> int:
    """Position of the difference that is furthest from being above 0."""
    return min(range(len(tests)), key=lambda n: -math.inf if math.isnan(tests[n].low) else tests[n].low)


def _above(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    counts: Callable[[Tested], bool],
    compare: Callable[..., Tested] = paired_difference,
) -> tuple[list[Tested], Side]:
    """Test that the first grid of each pair is above the second: all of them must be (intersection–union)."""
    tests = [compare(a, b, CONFIDENCE, "greater") for a, b in pairs]
    holds = all(test.low > 0 and counts(test) for test in tests)
    return tests, Side(holds, float(np.max([test.p for test in tests])))


def _smallest(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    words: Sequence[str],
    rows: str,
    counts: Callable[[Tested], bool] = enough,
    compare: Callable[..., Tested] = paired_difference,
) -> tuple[int, Tested, str, Side, Side]:
    """The difference that decides whether every first grid is above its second: its position, itself, its test, and both sides.

    Against it speaks one that is below, corrected for their number.
    """
    tests, supports = _above(pairs, counts, compare)
    reverse = [compare(b, a, 1 - (1 - CONFIDENCE) / len(pairs), "greater") for a, b in pairs]
    lowest = min(range(len(pairs)), key=lambda n: reverse[n].p)
    against = reverse[lowest]
    opposes = Side(against.low > 0 and counts(against), min(1.0, against.p * len(pairs)))
    refuted = opposes.holds and not supports.holds
    shown = lowest if refuted else _weakest(tests)
    text = f"{words[shown]}, {rows}"
    if len(pairs) > 1:
        text = f"smallest of {len(pairs)}: {text}, {f'p × {len(pairs)}' if refuted else 'largest p of all'}"
    return shown, tests[shown], text, supports, opposes


def larger(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    words: Sequence[str],
    data: Data,
    paired_by: str = "repeat",
    known: int = 0,
) -> Evidence:
    """Evidence that every first grid is above its second, without its first `known` draws."""
    compare, rows = paired(paired_by)
    pairs = [(a[known:], b[known:]) for a, b in pairs]
    shown, one, text, supports, opposes = _smallest(pairs, words, rows, compare=compare)
    size = "more training sets"
    if compare is not matched_difference:
        size = plan_size(pairs[shown], (len(pairs[shown][0]), len(pairs[shown][1])), max(abs(one.value), 0.01), data)
    return Evidence.of(one, text, supports, opposes, size)


def equivalent_curves(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Two curves differ by less than a margin at every distance: two one-sided tests at each, all of which must agree."""
    first, second = (one.grids(PLACED) for one in _all(data))
    distances, margin = _distances(data.experiments[0]), options["margin"]
    differences = [a - b for a, b in zip(first, second, strict=True)]
    shown = [mean_interval(difference, CONFIDENCE) for difference in differences]
    inside = [mean_interval(difference, 1 - 2 * LEVEL / data.parts) for difference in differences]
    outside = [mean_interval(difference, 1 - 2 * LEVEL / data.parts / len(differences)) for difference in differences]
    largest = max(range(len(shown)), key=lambda n: abs(shown[n].value))
    return Evidence.of(
        shown[largest],
        f"largest of {len(shown)} differences, at r = {distances[largest]:g}; "
        f"{100 - 200 * LEVEL / data.parts:g} % intervals of all against ±{margin:g}",
        Side(all(-margin < one.low and one.high < margin for one in inside)),
        Side(any(one.low > margin or one.high < -margin for one in outside)),
        "more draws and repeats",
    )


def highest_at_the_mean(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The value of `column` is higher for poisons at the means than at any other distance.

    Against it speaks the highest other distance, chosen on the even draws and judged on the odd ones.
    """
    grids = data.experiment.grids(PLACED, options["column"])
    distances = _distances(data.experiment)
    if distances[0] != 0 or len(grids) < 2:
        raise NotRun(f"{data.experiment.name} has no poisons at the means, or only there")
    tests, supports = _above([(grids[0], other) for other in grids[1:]], enough)
    highest = min(range(1, len(grids)), key=lambda n: filled_mean(-grids[n][0::2]))
    against = paired_difference(grids[highest][1::2], grids[0], CONFIDENCE, "greater")
    opposes = Side(against.low > 0 and enough(against), against.p)
    other, one = _weakest(tests) + 1, tests[_weakest(tests)]
    words = f"smallest of {len(tests)} differences), rows permuted, largest p of all"
    if opposes.holds and not supports.holds:
        other, one = highest, paired_difference(grids[0], grids[highest][1::2], CONFIDENCE, "greater")
        words = "highest other on even draws, judged on odd ones), rows permuted"
    return Evidence.of(
        one,
        f"r = 0 − r = {distances[other]:g} ({words}",
        supports,
        opposes,
        plan_size((grids[0], grids[other]), (len(grids[0]), len(grids[other])), max(abs(one.value), 0.01), data),
    )


def rising_curves(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The mean of the whole curve rises from each experiment to the next."""
    curves = [_over_curve(one) for one in _all(data)]
    pairs = list(zip(curves[1:], curves[:-1], strict=True))
    names = [one.name.rpartition("/")[2] for one in data.experiments]
    return larger(pairs, [f"{b} − {a}" for a, b in itertools.pairwise(names)], data)


def rising_over_samples(data: Data, options: Mapping[str, Any]) -> Evidence:
    """`column` with poisons at the means rises from each experiment to the next, on the same training samples, paired by them.

    Each draw is another training sample, and nothing else is random: samples take the place of the repeats.
    """
    samples = [one.grids(PLACED, options["column"], first=True)[0][:, :1].T for one in _all(data)]
    pairs = list(zip(samples[1:], samples[:-1], strict=True))
    names = [one.name.rpartition("/")[2] for one in data.experiments]
    words = [f"{b} − {a}" for a, b in itertools.pairwise(names)]
    _, one, text, supports, opposes = _smallest(pairs, words, "paired by sample", counts=lambda test: True)
    n = f"{one.n_repeats} training samples"
    return Evidence(one.value, one.low, one.high, n, text, supports, opposes, "more training samples")


def growing_difference(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The difference between the curves of two experiments grows from each pair to the next."""
    curves = [_over_curve(one) for one in _all(data)]
    differences = [a - b for a, b in zip(curves[0::2], curves[1::2], strict=True)]
    pairs = list(zip(differences[1:], differences[:-1], strict=True))
    names = [one.name.rpartition("/")[2] for one in data.experiments]
    apart = [f"({a} − {b})" for a, b in zip(names[0::2], names[1::2], strict=True)]
    words = [f"{b} − {a}" for a, b in itertools.pairwise(apart)]
    return larger(pairs, words, data, **options)


def follows_on_a_smaller_scale(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Over the distances, natural accuracy rises with adversarial accuracy, by less than a given share of it.

    A distance's adversarial accuracy is that of its even draws, its natural accuracy that of its odd ones.
    """
    places = [filled_mean(matrix[0::2]) for matrix in data.experiment.grids(PLACED)]
    judged = [matrix[1::2] for matrix in data.experiment.grids(PLACED, "natural_accuracy")]
    if not np.isfinite(places).all():
        raise NotRun(f"{data.experiment.name} has distances without fitted victims")
    below = options["below"]
    rising, wide = trend(judged, places, CONFIDENCE, "greater"), trend(judged, places, data.wide)
    falling = trend(judged, [-place for place in places], CONFIDENCE, "greater")
    steep = wide.low > below
    return Evidence(
        rising.value,
        rising.low,
        rising.high,
        f"{max(rising.draws)} × {rising.n_repeats}",
        f"slope over {len(places)} distances (adversarial accuracy of even draws, natural accuracy of odd ones) against 0, rows permuted, "
        f"and against {below:g}",
        Side(rising.low > 0 and wide.high < below and enough(rising), rising.p),
        Side((steep or falling.low > 0) and enough(rising), None if steep else falling.p),
        "more draws and repeats",
    )


def higher_curve(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The mean of the first experiment's whole curve is above that of the second's."""
    first, second = _all(data)
    names = [one.name.rpartition("/")[2] for one in (first, second)]
    pairs = [(_over_curve(first), _over_curve(second))]
    return larger(pairs, [" − ".join(names)], data, **options)


def higher_at_the_mean(data: Data, options: Mapping[str, Any]) -> Evidence:
    """With poisons at the means, the first experiment's value is above the second's. Victims count whatever they fitted."""
    first, second = (one.grids(PLACED, first=True, fitted=False)[0] for one in _all(data))
    names = [one.name.rpartition("/")[2] for one in data.experiments]
    return larger([(first, second)], [f"{' − '.join(names)} at r = 0"], data)


def as_robust_as_clean(data: Data, options: Mapping[str, Any]) -> Evidence:
    """With poisons at the means, the first experiment's victims are at most a margin below the second's without poisons (non-inferiority).

    Victims count whatever they fitted. Paired by draw where each has a training set of its own; one clean training set is no sample.
    """
    poisoned, whole = _all(data)
    placed, clean = poisoned.grids(PLACED, first=True, fitted=False)[0], whole.grids("none")[0]
    repeats, margin = min(placed.shape[1], clean.shape[1]), options["margin"]
    beside = clean[: len(placed)] if len(clean) >= len(placed) else clean[:1]
    differences = placed[:, :repeats] - beside[:, :repeats]
    shown, wide = mean_interval(differences, CONFIDENCE), mean_interval(differences, data.wide)
    names = [one.name.rpartition("/")[2] for one in (poisoned, whole)]
    return Evidence.of(
        shown,
        f"{names[0]} at r = 0 − {names[1]} without poisons, {100 * data.wide:.3g} % t interval over draws and repeats against {-margin:g}",
        Side(wide.low > -margin),
        Side(wide.high < -margin),
        "more draws and repeats",
    )


def sooner_memorised(data: Data, options: Mapping[str, Any]) -> Evidence:
    """With poisons at the means, the first experiment's victims take fewer epochs than the second's, up to the limit.

    A draw is the same training set in both.
    """
    first, second = (one.grids(PLACED, "epochs", first=True, fitted=False)[0] for one in _all(data))
    draws, repeats = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    quick, slow = first[:draws, :repeats], second[:draws, :repeats]
    compare, words = PAIRED_BY["training set"]
    shown, reverse = compare(slow, quick, CONFIDENCE, "greater"), compare(quick, slow, CONFIDENCE, "greater")
    names = [one.name.rpartition("/")[2] for one in data.experiments]
    try:
        size = describe_design([draws], needed_repeats(slow - quick, max(abs(shown.value), 1), data.wide)[1])
    except InputError:
        size = "more draws and repeats"
    return Evidence.of(
        shown,
        f"{' − '.join(reversed(names))} at r = 0, {words}",
        Side(shown.low > 0 and enough(shown), shown.p),
        Side(shown.high < 0 and enough(shown), reverse.p),
        size,
    )


def memorised_between(data: Data, options: Mapping[str, Any]) -> Evidence:
    """With poisons at the means, the share of the victims that fit every training point is in a range."""
    low, high = options["low"], options["high"]
    matrix = data.experiment.grids(PLACED, "memorised", first=True, fitted=False)[0]
    shown, wide = (share_interval(matrix, confidence) for confidence in (CONFIDENCE, data.wide))
    return Evidence.of(
        shown,
        f"the wider of t interval over draws and repeats and exact interval over draws, against {low:g} … {high:g}",
        Side(low <= wide.low and wide.high <= high),
        Side(wide.high < low or wide.low > high),
        "more draws and repeats",
    )


def curve_above(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The mean of `column` over the victims is above a bound at every distance of every experiment."""
    grids = {
        f"{one.name.rpartition('/')[2]} at r = {distance:g}": matrix
        for one in data.experiments
        for distance, matrix in zip(_distances(one), one.grids(PLACED, options["column"]), strict=True)
    }
    lowest = min(grids, key=lambda name: filled_mean(grids[name]))
    shown = mean_interval(grids[lowest], CONFIDENCE, (0, 1))
    bounds = [mean_interval(matrix, data.wide, (0, 1)) for matrix in grids.values()]
    below = mean_interval(grids[lowest], 1 - 2 * LEVEL / data.parts / len(grids), (0, 1))
    return Evidence.of(
        shown,
        f"lowest of {len(grids)} means, {lowest}; t intervals over draws and repeats against {options['above']:g}",
        Side(all(one.low > options["above"] for one in bounds) and not data.missing),
        Side(below.high < options["above"]),
        f"the victims of {', '.join(data.missing)}" if data.missing else "more draws and repeats",
    )
