"""Relations about clean proxies and the paths on them, which only the label-noise thesis needs."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd
from scipy import stats

from poisonlab.claims.evidence import CONFIDENCE, Data, Evidence, Side
from poisonlab.claims.relations import Settings, relation
from poisonlab.errors import InputError
from poisonlab.results.query import NotRun
from poisonlab.statistics import Estimate, mean_interval, needed_repeats


def _more_proxies(matrix: np.ndarray, target: float) -> str:
    """The number of proxies at which the interval of a grid [1, proxies] has this half-width."""
    try:
        proxies = needed_repeats(matrix, target, CONFIDENCE)[1]
    except InputError:
        proxies = 0
    return f"about {max(proxies, matrix.shape[1] + 1, 2)} proxies"


def _over_proxies(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    return mean_interval(np.array([values], dtype=float), CONFIDENCE, bounds)


def _by_proxy(table: pd.DataFrame, label: int) -> list[pd.DataFrame]:
    """Rows of a class in `lengths`, one table for each proxy."""
    rows = table[table["label"] == label]
    if rows.empty:
        raise NotRun(f"the survey has no points of class {label}")
    return [one for _, one in rows.groupby("proxy_seed")]


@relation("ordered_medians", parameters={"classes": []}, required=("classes",), survey=True, unit="steps")
def ordered_medians(data: Data, settings: Settings) -> Evidence:
    """The median path lengths of the classes grow in the order given; one that does not arrive counts as its
    last step.
    """
    medians = np.array(
        [
            [np.median(np.repeat(one["steps"], one["n_points"])) for one in _by_proxy(data.survey["lengths"], label)]
            for label in settings["classes"]
        ]
    )  # [classes, proxies]
    gaps = np.diff(medians, axis=0)
    estimates = [_over_proxies(gap) for gap in gaps]
    weakest = int(np.argmin([estimate.low for estimate in estimates]))
    shown = estimates[weakest]
    names = ", ".join(f"class {k} {m:.3g}" for k, m in zip(settings["classes"], medians.mean(axis=1), strict=True))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{medians.shape[1]} proxies",
        f"class {settings['classes'][weakest + 1]} − class {settings['classes'][weakest]}, the gap with the lowest "
        "bound; "
        f"t intervals over proxies of both; medians: {names}",
        Side(all(estimate.low > 0 for estimate in estimates)),
        Side(any(estimate.high <= 0 for estimate in estimates)),
        _more_proxies(gaps[[weakest]], max(abs(shown.value), 0.5)),
    )


@relation("paths_at_most", parameters={"class": 0, "steps": 0}, required=("class", "steps"), survey=True)
def paths_at_most(data: Data, settings: Settings) -> Evidence:
    """Every path of a class arrives within a number of steps: a statement about each point, on each proxy."""
    shares, longest = [], 0
    for one in _by_proxy(data.survey["lengths"], settings["class"]):
        arrived = one["reached"].astype(bool) & (one["steps"] <= settings["steps"])
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


def _column(data: Data, name: str) -> list[float]:
    """A column of the table of the proxies themselves."""
    if "nets" not in data.survey:
        raise NotRun("the proxies of the survey were not attacked themselves")
    return [float(value) for value in data.survey["nets"][name]]


@relation(
    "net_near",
    parameters={"column": "", "value": 0.0, "margin": 0.0},
    required=("column", "value", "margin"),
    survey=True,
)
def net_near(data: Data, settings: Settings) -> Evidence:
    """The mean of `column` over clean proxies is within a margin of the published value."""
    values, value, margin = _column(data, settings["column"]), settings["value"], settings["margin"]
    shown = _over_proxies(values, (0, 1))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{len(values)} proxies",
        f"t interval over proxies against {value:g} ± {margin:g}",
        Side(value - margin < shown.low and shown.high < value + margin),
        Side(shown.high < value - margin or shown.low > value + margin),
        _more_proxies(np.array([values]), max(margin - abs(shown.value - value), margin / 2)),
    )


@relation("net_above", parameters={"column": "", "above": 0.0}, required=("column", "above"), survey=True)
def net_above(data: Data, settings: Settings) -> Evidence:
    """`column` is above a bound on every clean proxy: a statement about each of them, without a test."""
    values = _column(data, settings["column"])
    shown = _over_proxies(values, (0, 1))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{len(values)} proxies",
        f"every proxy above {settings['above']:g}; lowest {min(values):.3f}",
        Side(min(values) > settings["above"]),
        Side(max(values) <= settings["above"]),
        "proxies that agree",
    )


@relation("issues_near_boundary", parameters={"margin": 0.0}, required=("margin",), survey=True)
def issues_near_boundary(data: Data, settings: Settings) -> Evidence:
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
        Side(shown.high < settings["margin"] and not shown.low > 0),
        _more_proxies(np.array([differences]), max(abs(shown.value), settings["margin"] / 2)),
    )
