"""Kinds of claims: each is one function that turns tables into evidence, and one entry of `KINDS`."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from poisonlab.claims import curves
from poisonlab.claims.curves import larger
from poisonlab.claims.evidence import (
    CONFIDENCE,
    LEVEL,
    Data,
    Evidence,
    NotRun,
    Side,
    describe_design,
    enough,
    filled_mean,
    interval_text,
    plan_size,
)
from poisonlab.errors import InputError
from poisonlab.statistics import Estimate, Tested, mean_interval, needed_repeats, paired_difference, trend


def lowest_natural_accuracy(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Every victim of a bucket keeps its natural accuracy: a statement about each victim, fitted or not, without a test."""
    values = np.concatenate(
        [
            matrix.ravel()
            for one in data.experiments
            for matrix in one.grids("path_bucket", "natural_accuracy", fitted=False)
        ]
    )
    lowest = float(np.nanmin(values)) if np.isfinite(values).any() else math.nan
    return Evidence(
        lowest,
        math.nan,
        math.nan,
        f"{np.isfinite(values).sum()} victims",
        "minimum over victims",
        Side(lowest > options["above"] and not data.missing),
        Side(lowest <= options["above"]),
        f"the victims of {', '.join(data.missing)}" if data.missing else "victims",
    )


def fall_along_buckets(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The fall over the whole axis, along the least-squares line, is above 0."""
    grids = data.experiment.grids("path_bucket")
    lowest = min(range(len(grids)), key=lambda bucket: filled_mean(grids[bucket]))
    if sum(np.isfinite(matrix).any() for matrix in grids) < 2:
        raise NotRun(f"{data.experiment.name} has fewer than 2 buckets with fitted victims")
    positions = [
        -bucket / (len(grids) - 1) for bucket in range(len(grids))
    ]  # slope per whole axis, positive where accuracy falls
    fall = trend(grids, positions, CONFIDENCE, "greater")
    high = trend(grids, positions, data.wide).high
    # growing draws and repeats by a factor shrinks the variance at least by it
    target = max(abs(fall.value), options["margin"] / 2)
    factor = ((fall.high - fall.low) / 2 / target) ** 2
    grown = factor if math.isfinite(factor) and factor > 1 else 1 + 1 / max(fall.n_repeats, 1)
    return Evidence(
        fall.value,
        fall.low,
        fall.high,
        fall.n.replace("+".join(map(str, fall.draws)), "+".join(map(str, dict.fromkeys(fall.draws)))),
        f"trend over {len(grids)} buckets, of which bucket {lowest} is the lowest, rows permuted",
        Side(fall.low > 0 and enough(fall), fall.p),
        Side(high < options["margin"] and not fall.low > 0 and enough(fall)),
        describe_design([max(math.ceil(max(fall.draws) * grown), 2)], max(math.ceil(fall.n_repeats * grown), 2)),
    )


def lowest_bucket(data: Data, options: Mapping[str, Any], strategy: str = "path_bucket") -> Evidence:
    """The lowest bucket is one of a registered set: interior ones, the last, or the largest that hold over half of the points.

    The lowest bucket of the set is chosen among the set only, on its even draws, and judged on its odd ones against all
    draws of each bucket outside, which had no part in the choice, or, paired by training set, against their odd ones. Where
    the first draws were `known` before the registration, they choose, and the later ones are judged. The opposite is tested
    the same way. All draws share the repeats, so a choice that only these victims-to-be favour survives the split; the
    interval counts new repeats.
    """
    compare, rows_text = curves.paired(paired_by := options.get("paired_by", "repeat"))
    known = options.get("known", 0)
    chooses, judged = (slice(known), slice(known, None)) if known else (slice(0, None, 2), slice(1, None, 2))
    experiment = data.experiment
    grids, rows = experiment.grids(strategy), experiment.conditions(strategy)
    sizes = rows["n_points"].to_numpy(float)
    word = "r =" if strategy == curves.PLACED else "bucket"
    names = [f"{word} {value:g}" for value in rows["axis_value"]]
    everyone = range(len(grids))
    if options["among"] == "interior":
        inside = set(everyone[1:-1])
    elif options["among"] == "last":
        inside = set(everyone[-1:])
    elif options["among"] == "most_points":
        largest = np.argsort(-sizes, kind="stable")
        before = np.concatenate([[0], np.cumsum(sizes[largest])[:-1]])
        inside = {int(bucket) for bucket in largest[before <= sizes.sum() / 2]}
    else:
        raise InputError(f"option among is '{options['among']}', allowed are interior, last and most_points; change it")
    outside = set(everyone) - inside
    if not inside or not outside:
        raise NotRun(f"{experiment.name} has {len(grids)} buckets, too few to be {options['among']} or not")

    def below(own: Iterable[int], others: Iterable[int]) -> tuple[int, int, Tested, Side]:
        chosen = min(sorted(own), key=lambda bucket: filled_mean(grids[bucket][chooses]))
        beside = slice(None) if paired_by == "repeat" else judged
        tests = {
            other: compare(grids[other][beside], grids[chosen][judged], CONFIDENCE, "greater")
            for other in sorted(others)
        }
        weakest = min(tests, key=lambda other: -math.inf if math.isnan(tests[other].low) else tests[other].low)
        holds = all(test.low > 0 and enough(test) for test in tests.values())
        return chosen, weakest, tests[weakest], Side(holds, float(np.max([test.p for test in tests.values()])))

    supported, opposed = below(inside, outside), below(outside, inside)
    chosen, other, shown, _ = opposed if opposed[3].holds and not supported[3].holds else supported
    held = f", holds {sizes[chosen]:.0f} of {sizes.sum():.0f} points" if options["among"] == "most_points" else ""
    choosers = f"the first {known} draws" if known else "even draws"
    target = max(abs(shown.value), options["margin"])
    return Evidence.of(
        shown,
        f"{names[other]} − {names[chosen]} (lowest {'of the set' if chosen in inside else 'outside'} on {choosers}{held}), "
        f"{rows_text}, largest p of all such differences",
        supported[3],
        opposed[3],
        plan_size((grids[other], grids[chosen][1::2]), (len(grids[other]), len(grids[chosen])), target, data)
        if paired_by == "repeat"
        else "more training sets",
    )


def falls_then_rises(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Along the distance of the placed poisons: the lowest value is an interior one, tested as in `lowest_bucket`."""
    return lowest_bucket(data, {**options, "among": "interior"}, curves.PLACED)


def nearest_bucket_against_random(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The first bucket has a higher adversarial accuracy than random points."""
    near, random = data.experiment.grids("path_bucket", first=True)[0], data.experiment.grids("random")[0]
    shown = paired_difference(near, random, CONFIDENCE, "greater")
    high = paired_difference(near, random, data.wide).high
    return Evidence.of(
        shown,
        "first bucket − random, rows permuted",
        Side(shown.low > 0 and enough(shown), shown.p),
        Side(high < options["margin"] and not shown.low > 0 and enough(shown)),
        plan_size((near, random), (len(near), len(random)), max(abs(shown.value), options["margin"] / 2), data),
    )


def lower_than_clean(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Victims of random points have a lower adversarial accuracy than those without poisons, whose one training set is no sample."""
    clean, random = (data.experiment.grids(strategy)[0] for strategy in ("none", "random"))
    repeats = min(clean.shape[1], random.shape[1])
    differences = clean[:1, :repeats] - random[:, :repeats]
    shown, wide = mean_interval(differences, CONFIDENCE), mean_interval(differences, data.wide)
    return Evidence.of(
        shown,
        f"no poisons − random, {100 * data.wide:.3g} % t interval over draws and repeats against 0",
        Side(wide.low > 0),
        Side(wide.high < 0),
        _more(differences, max(abs(shown.value), 0.01), "× repeats"),
    )


def _against_random(data: Data, names: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grids of conditions, each beside that of random points. The values of a condition's axis stand among its draws, as other points."""
    random = data.experiment.grids("random")[0]
    return [(np.concatenate(data.experiment.grids(name)), random) for name in names]


def weaker_than_random(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Adversarial accuracy is higher than with random points in each of the conditions, at the mean over their axis."""
    names = options["conditions"]
    return larger(_against_random(data, names), [f"{name} − random" for name in names], data)


def like_random(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Each of the conditions differs from random points by less than a margin, at the mean over its axis: two one-sided tests each."""
    names, margin = options["conditions"], options["margin"]
    pairs = _against_random(data, names)

    def differences(confidence: float) -> list[Tested]:
        return [paired_difference(own, random, confidence) for own, random in pairs]

    shown, outside = differences(CONFIDENCE), differences(1 - 2 * LEVEL / data.parts / len(names))
    inside = differences(1 - 2 * LEVEL / data.parts)
    largest = max(range(len(shown)), key=lambda n: abs(shown[n].value))
    return Evidence.of(
        shown[largest],
        f"largest of {len(names)} differences from random, {names[largest]}; "
        f"{100 - 200 * LEVEL / data.parts:g} % intervals against ±{margin:g}",
        Side(all(-margin < one.low and one.high < margin and enough(one) for one in inside)),
        Side(any((one.low > margin or one.high < -margin) and enough(one) for one in outside)),
        "more draws and repeats",
    )


def better_and_worse(data: Data, options: Mapping[str, Any]) -> Evidence:
    """At some value of its axis a condition is below random points, at another above: t intervals, Bonferroni's over values and parts.

    Against it speaks that all values lie on the same side, each at the full level (intersection–union). Where each value has one set of
    points, it is these sets that are judged.

    Raises:
        InputError: other than one condition is named.
    """
    if len(names := options["conditions"]) != 1:
        raise InputError(f"this kind of claim is about 1 condition, not about {names}; split the claim")
    random, values = data.experiment.grids("random")[0], data.experiment.conditions(names[0])["axis_value"]
    grids = data.experiment.grids(names[0])
    strict = 1 - (1 - CONFIDENCE) / len(grids) / data.parts
    found, wide = ([paired_difference(own, random, level) for own in grids] for level in (CONFIDENCE, strict))
    sampled = all(one.draws[1] >= 2 and one.n_repeats >= 2 for one in found)
    places = ", ".join(
        f"{interval_text(one.value, one.low, one.high)} at {value:g}" for one, value in zip(wide, values, strict=True)
    )
    shown = min(found, key=lambda one: math.inf if math.isnan(one.value) else one.value)
    return Evidence.of(
        shown,
        f"{names[0]} − random, the lowest of {len(grids)} values; {100 * strict:.3g} % t intervals: {places}",
        Side(sampled and any(one.high < 0 for one in wide) and any(one.low > 0 for one in wide)),
        Side(sampled and (all(one.low > 0 for one in found) or all(one.high < 0 for one in found))),
        "more draws of random points and repeats",
    )


def best_bucket_against_random(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The best bucket is at most the margin above random points (non-inferiority)."""
    grids, random = data.experiment.grids("path_bucket"), data.experiment.grids("random")[0]
    margin = options["margin"]
    best = min(range(len(grids)), key=lambda bucket: filled_mean(grids[bucket][0::2]))
    judged = grids[best][1::2]
    shown, wide = paired_difference(judged, random, CONFIDENCE), paired_difference(judged, random, data.wide)
    return Evidence.of(
        shown,
        f"bucket {best} (lowest on even draws) − random, {100 * data.wide:.3g} % interval against {margin:+g}",
        Side(wide.high < margin and enough(shown)),
        Side(wide.low > margin and enough(shown)),
        plan_size(
            (judged, random),
            (len(grids[best]), len(random)),
            max(abs(shown.value - margin), margin / 2),
            data,
            permuted=False,
        ),
    )


def near_published(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The mean adversarial accuracy of the victims of random poisons is within a margin of the published value."""
    matrix, value, margin = data.experiment.grids("random")[0], options["value"], options["margin"]
    shown, wide = mean_interval(matrix, CONFIDENCE, (0, 1)), mean_interval(matrix, data.wide, (0, 1))
    return Evidence.of(
        shown,
        f"t interval over draws and repeats against {value:g} ± {margin:g}",
        Side(value - margin < wide.low and wide.high < value + margin),
        Side(wide.high < value - margin or wide.low > value + margin),
        "more draws and repeats",
    )


def higher_than(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The first experiment's victims of random poisons have a higher adversarial accuracy than the second's, paired by draw and repeat.

    With `every_draw` so in each draw by itself; the smallest difference of a draw is shown.
    """
    if data.missing:
        raise NotRun(f"no tables of {', '.join(data.missing)}")
    first, second = (one.grids("random")[0] for one in data.experiments)
    draws, repeats = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    differences = first[:draws, :repeats] - second[:draws, :repeats]
    parts = [differences[[draw]] for draw in range(draws)] if options["every_draw"] else [differences]
    found = [mean_interval(part, CONFIDENCE) for part in parts]
    corrected = [mean_interval(part, 1 - (1 - CONFIDENCE) / len(parts)) for part in parts]
    shown = min(found, key=lambda one: one.value)
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{draws} × {repeats}",
        f"t interval of the paired differences{', each draw by itself: the smallest' if options['every_draw'] else ''}",
        Side(all(one.low > 0 for one in found)),
        Side(any(one.high < 0 for one in corrected)),
        _more(differences, max(abs(shown.value), 0.02), "× repeats"),
    )


def probe_above(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The mean of a probe over the victims of random poisons is above a bound."""
    column, above = options["column"], options["above"]
    matrix = _probed(data, "random", column)[0]
    shown, wide = mean_interval(matrix, CONFIDENCE), mean_interval(matrix, data.wide)
    return Evidence.of(
        shown,
        f"t interval over draws and repeats against {above:g}",
        Side(wide.low > above),
        Side(wide.high < above),
        "more draws and repeats",
    )


def larger_where_harmful(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Over the buckets, a probe rises as adversarial accuracy falls: the slope of the probe against minus the accuracy.

    A bucket's accuracy is that of its even draws, its probe that of its odd ones: one draw's luck is not in both.
    """
    accuracy, probes = data.experiment.grids("path_bucket"), _probed(data, "path_bucket", options["column"])
    positions = [-filled_mean(matrix[0::2]) for matrix in accuracy]
    known = [
        bucket
        for bucket, position in enumerate(positions)
        if math.isfinite(position) and np.isfinite(probes[bucket][1::2]).any()
    ]
    if len(known) < 3:
        raise NotRun(f"{data.experiment.name} has fewer than 3 buckets with fitted victims, those of odd draws probed")
    judged, places = [probes[bucket][1::2] for bucket in known], [positions[bucket] for bucket in known]
    slope, against = (trend(judged, at, CONFIDENCE, "greater") for at in (places, [-place for place in places]))
    return Evidence(
        slope.value,
        slope.low,
        slope.high,
        slope.n.replace("+".join(map(str, slope.draws)), "+".join(map(str, dict.fromkeys(slope.draws)))),
        f"slope over {len(known)} buckets (accuracy of even draws, probe of odd ones), rows permuted",
        Side(slope.low > 0 and enough(slope), slope.p),
        Side(against.low > 0 and enough(against), against.p),
        "more draws and repeats",
    )


def _probed(data: Data, strategy: str, column: str) -> list[np.ndarray]:
    if column not in data.experiment.tables["victims"]:
        raise NotRun(f"the victims of {data.experiment.name} were not probed")
    return data.experiment.grids(strategy, column)


def clean_accuracy(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The adversarial accuracy without poisons is below a bound."""
    pair = (options["source"], options["target"])
    matrix = data.experiment.grids("none", attack=options["attack"], pair=pair)[0]
    shown, wide = mean_interval(matrix, CONFIDENCE, (0, 1)), mean_interval(matrix, data.wide, (0, 1))
    below = options["below"]
    return Evidence.of(
        shown,
        f"t interval over repeats against {below:g}",
        Side(wide.high < below),
        Side(wide.low > below),
        _more(matrix, max(abs(shown.value - below), below / 2), "× repeats"),
    )


def equivalent_recipes(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Two experiments on the same random poisons and the same victims-to-be, victim by victim: first minus second.

    Two one-sided tests: equivalent iff the interval at 1 − 2·level lies inside ± margin.
    """
    if data.missing:
        raise NotRun(f"no tables of {', '.join(data.missing)}")
    first, second = (one.grids("random", options["column"])[0] for one in data.experiments)
    draws, repeats = (min(sizes) for sizes in zip(first.shape, second.shape, strict=True))
    differences = first[:draws, :repeats] - second[:draws, :repeats]
    margin = options["margin"]
    shown, tested = mean_interval(differences, CONFIDENCE), mean_interval(differences, 1 - 2 * LEVEL / data.parts)
    return Evidence.of(
        shown,
        f"{100 - 200 * LEVEL / data.parts:g} % interval of the paired differences, [{tested.low:.4f}, {tested.high:.4f}], "
        f"against ±{margin:g}",
        Side(-margin < tested.low and tested.high < margin),
        Side(tested.low > margin or tested.high < -margin),
        _more(differences, max(abs(margin - abs(shown.value)), margin / 2), "× repeats"),
    )


def times_fewer_epochs(data: Data, options: Mapping[str, Any]) -> Evidence:
    """With random poisons, the second experiment's victims take more than `times` the epochs of the first's, up to their limit."""
    if data.missing:
        raise NotRun(f"no tables of {', '.join(data.missing)}")
    first, second = (one.grids("random", "epochs", fitted=False)[0] for one in data.experiments)
    repeats, times = min(first.shape[1], second.shape[1]), options["times"]
    quick, slow = (one.name.rpartition("/")[2] for one in data.experiments)
    pair = (second[:, :repeats], times * first[:, :repeats])
    return curves.larger([pair], [f"epochs of {slow} − {times:g} × those of {quick}"], data)


# --------------------------------------------------------------------------------------------------------- kinds: surveys


def _more(matrix: np.ndarray, target: float, unit: str) -> str:
    """The size at which the interval of a grid has this half-width: repeats, with draws in proportion, or proxies."""
    try:
        rows, columns = needed_repeats(matrix, target, CONFIDENCE)
    except InputError:
        rows, columns = len(matrix), 0
    columns = max(columns, matrix.shape[1] + 1, 2)
    return f"about {rows} × {columns} (draws × repeats)" if unit == "× repeats" else f"about {columns} {unit}"


def _over_proxies(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    return mean_interval(np.array([values], dtype=float), CONFIDENCE, bounds)


def _by_proxy(table: pd.DataFrame, label: int) -> list[pd.DataFrame]:
    """Rows of a class in `lengths`, one table for each proxy."""
    rows = table[table["label"] == label]
    if rows.empty:
        raise NotRun(f"the survey has no points of class {label}")
    return [one for _, one in rows.groupby("proxy_seed")]


def ordered_medians(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The median path lengths of the classes grow in the order given. A path that does not arrive counts as its last step."""
    medians = np.array(
        [
            [np.median(np.repeat(one["steps"], one["n_points"])) for one in _by_proxy(data.survey["lengths"], label)]
            for label in options["classes"]
        ]
    )  # [classes, proxies]
    gaps = np.diff(medians, axis=0)
    estimates = [_over_proxies(gap) for gap in gaps]
    weakest = int(np.argmin([estimate.low for estimate in estimates]))
    shown = estimates[weakest]
    names = ", ".join(f"class {k} {m:.3g}" for k, m in zip(options["classes"], medians.mean(axis=1), strict=True))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{medians.shape[1]} proxies",
        f"class {options['classes'][weakest + 1]} − class {options['classes'][weakest]}, the gap with the lowest bound; "
        f"t intervals over proxies of both; medians: {names}",
        Side(all(estimate.low > 0 for estimate in estimates)),
        Side(any(estimate.high <= 0 for estimate in estimates)),
        _more(gaps[[weakest]], max(abs(shown.value), 0.5), "proxies"),
    )


def paths_at_most(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Every path of a class arrives within a number of steps: a statement about each point, on each proxy."""
    shares, longest = [], 0
    for one in _by_proxy(data.survey["lengths"], options["class"]):
        arrived = one["reached"].astype(bool) & (one["steps"] <= options["steps"])
        shares.append(float(one.loc[arrived, "n_points"].sum() / one["n_points"].sum()))
        longest = max(longest, int(one["steps"].max()))
    shown = _over_proxies(shares, (0, 1))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{len(shares)} proxies",
        f"all points on every proxy; longest path {longest} steps",
        Side(min(shares) == 1),
        Side(max(shares) < 1),
        "proxies that agree",
    )


def _nets(data: Data) -> pd.DataFrame:
    if "nets" not in data.survey:
        raise NotRun("the proxies of the survey were not attacked themselves")
    return data.survey["nets"]


def net_near(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The mean of `column` over clean proxies is within a margin of the published value."""
    values, value, margin = _nets(data)[options["column"]].tolist(), options["value"], options["margin"]
    shown = _over_proxies(values, (0, 1))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{len(values)} proxies",
        f"t interval over proxies against {value:g} ± {margin:g}",
        Side(value - margin < shown.low and shown.high < value + margin),
        Side(shown.high < value - margin or shown.low > value + margin),
        _more(np.array([values]), max(margin - abs(shown.value - value), margin / 2), "proxies"),
    )


def net_above(data: Data, options: Mapping[str, Any]) -> Evidence:
    """`column` is above a bound on every clean proxy: a statement about each of them, without a test."""
    values = _nets(data)[options["column"]].tolist()
    shown = _over_proxies(values, (0, 1))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{len(values)} proxies",
        f"every proxy above {options['above']:g}; lowest {min(values):.3f}",
        Side(min(values) > options["above"]),
        Side(max(values) <= options["above"]),
        "proxies that agree",
    )


def issues_near_boundary(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The points nearest to the boundary hold more label issues than as many random points of the same classes.

    Whether the points could be random ones is tested exactly: the count is then a sum of independent hypergeometric
    counts, one for each class (the exact form of the Mantel–Haenszel test). It must be so on every proxy.
    """
    differences, p_values, rates = [], [], []
    for _, one in data.survey["issues"].groupby("proxy_seed"):
        among = one["n_among"].sum()
        expected = (one["n_among"] * one["all"] / one["n_points"]).sum()
        rates.append((one["nearest"].sum() / among, expected / among))
        differences.append((one["nearest"].sum() - expected) / among)
        counts = zip(one["n_points"].astype(int), one["all"].astype(int), one["n_among"].astype(int), strict=True)
        chances = [stats.hypergeom.pmf(np.arange(size + 1), total, issues, size) for total, issues, size in counts]
        p_values.append(float(min(reduce(np.convolve, chances)[int(one["nearest"].sum()) :].sum(), 1.0)))
    shown, (near, expected_rate) = _over_proxies(differences), np.mean(rates, axis=0)
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{len(differences)} proxies × {among} points",
        f"rate {near:.4f} against {expected_rate:.4f}, exact stratified test, largest p of the proxies",
        Side(shown.low > 0, max(p_values)),
        Side(shown.high < options["margin"] and not shown.low > 0),
        _more(np.array([differences]), max(abs(shown.value), options["margin"] / 2), "proxies"),
    )


@dataclass(frozen=True)
class Kind:
    """How a claim is judged: the function, its options and the sizes that must be registered, with their types.

    Attributes:
        unit: of the value; "" for a share, a difference of shares or a slope between them, and where the option `column` says it.
    """

    function: Callable[[Data, Mapping[str, Any]], Evidence]
    options: Mapping[str, Any]
    minimum: Mapping[str, Any]
    survey: bool = False
    unit: str = ""

    def unit_of(self, options: Mapping[str, Any]) -> str:
        """Unit of the value under these options."""
        return self.unit or _UNITS.get(options.get("column", ""), "")


_UNITS = {
    "epochs": "epochs",
    "feature_ratio": "times",
    "lipschitz_mean": "l1 / l∞",
    "lipschitz_max": "l1 / l∞",
}  # of columns
_NUMBER = (int, float)
_PLACED = {curves.PLACED: list}
_PAIRED = {
    "paired_by": str,
    "known": int,
}  # known: draws whose results were known at the registration, which judge nothing
KINDS = {
    kind.function.__name__: kind
    for kind in (
        Kind(lowest_natural_accuracy, {"above": _NUMBER}, {"path_bucket": list}),
        Kind(fall_along_buckets, {"margin": _NUMBER}, {"path_bucket": list}),
        Kind(lowest_bucket, {"among": str, "margin": _NUMBER}, {"path_bucket": list}),
        Kind(nearest_bucket_against_random, {"margin": _NUMBER}, {"path_bucket": list, "random": list}),
        Kind(best_bucket_against_random, {"margin": _NUMBER}, {"path_bucket": list, "random": list}),
        Kind(lower_than_clean, {}, {"random": list, "none": list}),
        Kind(weaker_than_random, {"conditions": list}, {"random": list}),
        Kind(like_random, {"conditions": list, "margin": _NUMBER}, {"random": list}),
        Kind(better_and_worse, {"conditions": list}, {"random": list}),
        Kind(clean_accuracy, {"attack": str, "source": int, "target": int, "below": _NUMBER}, {"none": list}),
        Kind(near_published, {"value": _NUMBER, "margin": _NUMBER}, {"random": list}),
        Kind(higher_than, {"every_draw": int}, {"random": list}),
        Kind(probe_above, {"column": str, "above": _NUMBER}, {"random": list}),
        Kind(larger_where_harmful, {"column": str}, {"path_bucket": list}),
        Kind(falls_then_rises, {"margin": _NUMBER, **_PAIRED}, _PLACED),
        Kind(curves.equivalent_curves, {"margin": _NUMBER}, _PLACED),
        Kind(curves.highest_at_the_mean, {"column": str}, _PLACED),
        Kind(curves.rising_curves, {}, _PLACED),
        Kind(curves.rising_over_samples, {"column": str}, _PLACED),
        Kind(curves.growing_difference, _PAIRED, _PLACED),
        Kind(curves.follows_on_a_smaller_scale, {"below": _NUMBER}, _PLACED),
        Kind(curves.higher_curve, _PAIRED, _PLACED),
        Kind(curves.higher_at_the_mean, {}, _PLACED),
        Kind(curves.as_robust_as_clean, {"margin": _NUMBER}, _PLACED),
        Kind(curves.sooner_memorised, {}, _PLACED, unit="epochs"),
        Kind(curves.memorised_between, {"low": _NUMBER, "high": _NUMBER}, _PLACED),
        Kind(curves.curve_above, {"column": str, "above": _NUMBER}, _PLACED),
        Kind(equivalent_recipes, {"column": str, "margin": _NUMBER}, {"random": list}),
        Kind(times_fewer_epochs, {"times": _NUMBER}, {"random": list}, unit="epochs"),
        Kind(ordered_medians, {"classes": list}, {"proxies": int, "points": int}, survey=True, unit="steps"),
        Kind(paths_at_most, {"class": int, "steps": int}, {"proxies": int, "points": int}, survey=True),
        Kind(
            net_near, {"column": str, "value": _NUMBER, "margin": _NUMBER}, {"proxies": int, "points": int}, survey=True
        ),
        Kind(net_above, {"column": str, "above": _NUMBER}, {"proxies": int, "points": int}, survey=True),
        Kind(issues_near_boundary, {"margin": _NUMBER}, {"proxies": int, "points": int, "among": int}, survey=True),
    )
}
