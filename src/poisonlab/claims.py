"""The scorecard: published claims judged by code from the result tables.

`config/claims.yaml` says beforehand what is measured, where, and with which margins and least n; nothing here knows a
claim by its number. A *kind* is one function that turns tables into `Evidence`, and one entry of `KINDS`. `judge` alone
turns evidence into a verdict. The rules that all claims share stand at the top of `config/claims.yaml`.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from scipy import stats

from poisonlab import storage
from poisonlab.errors import InputError
from poisonlab.statistics import (
    Estimate,
    Tested,
    grid,
    holm,
    mean_interval,
    needed_repeats,
    paired_difference,
    trend,
)

COLUMNS = ["claim", "study", "statement", "published", "measured", "low", "high", "n", "test", "verdict"]
VERDICTS = {
    "reproduced": "the claim holds, on its own data set at the registered size",
    "refuted": "its opposite holds there, or an effect is too small to count",
    "inconclusive": "neither is shown; the column `test` says what would decide it",
    "not run": "the tables are not there",
    "analogue": "measured on a small stand-in data set, which never gives a verdict",
}
LEVEL = 0.05
CONFIDENCE = 0.95
FITTED = 0.9  # least share of the poisons that a victim must fit to be judged
FITTED_VICTIMS = 0.5  # least share of a condition's victims that must do so: the rest could be another kind of victim

Tables = Mapping[str, Mapping[str, pd.DataFrame]]


# ------------------------------------------------------------------------------------------------- the registered claims


@dataclass(frozen=True)
class Place:
    """Tables that a claim is judged by: one or more experiments, or one survey.

    Attributes:
        tables: keys "study/experiment" or "paths/name".
        dataset: the data set that the experiments must have used; None for a survey or an analogue.
        epsilon: l∞ radius of the attack; None for a survey.
    """

    tables: tuple[str, ...]
    dataset: str | None = None
    epsilon: float | None = None


@dataclass(frozen=True)
class Part:
    """One row of the scorecard: where it may be judged, and what stands in until then."""

    name: str
    judged_on: Place
    analogue: Place | None


@dataclass(frozen=True)
class Claim:
    """One entry of `config/claims.yaml`; its parts are one family for the correction of p-values.

    Attributes:
        minimum: strategy → (draws, repeats), or the least `proxies`, `points` and `among` of a survey.
    """

    id: int
    study: str
    source: str
    statement: str
    published: str
    estimand: str
    kind: str
    options: Mapping[str, Any]
    minimum: Mapping[str, Any]
    parts: tuple[Part, ...]


def load_claims(path: str | Path) -> list[Claim]:
    """Read the registered claims.

    Raises:
        InputError: an entry lacks a key, has an unknown one, or names a kind, option or place that does not exist.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(
            f"claims '{path}' cannot be read ({' '.join(str(error).split())}); correct the file"
        ) from error
    content = _checked(content, {"places": dict, "claims": list}, {}, f"'{path}'")
    places = {
        str(name): Part(
            str(name),
            _place(entry["judged_on"], f"places.{name}.judged_on"),
            _place(entry["analogue"], f"places.{name}.analogue") if "analogue" in entry else None,
        )
        for name, entry in content["places"].items()
        if _checked(entry, {"judged_on": dict}, {"analogue": dict}, f"places.{name}")
    }
    claims = [_claim(entry, places, f"claims[{position}]") for position, entry in enumerate(content["claims"])]
    titles = [(claim.id, claim.statement) for claim in claims]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise InputError(f"claim {twice[0][0]} has the statement '{twice[0][1]}' twice, allowed is once; drop one")
    return claims


def _checked(entry: Any, required: Mapping[str, Any], optional: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entry, if it is a mapping with these keys and types of values."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {entry!r}, allowed is a mapping with the keys {sorted(required)}; correct it")
    if missing := sorted(set(required) - set(entry)):
        raise InputError(f"{where} lacks {missing}; add it")
    allowed = {**required, **optional}
    if unknown := sorted(set(entry) - set(allowed), key=str):
        raise InputError(f"unknown key {unknown} in {where}; allowed are {sorted(allowed)}; remove or correct it")
    for key, kind in allowed.items():
        if key in entry and (not isinstance(entry[key], kind) or isinstance(entry[key], bool)):
            names = [one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,))]
            raise InputError(f"{where}.{key} is {entry[key]!r}, allowed is {' or '.join(names)}; change it")
    return entry


def _place(entry: Any, where: str) -> Place:
    entry = _checked(entry, {"tables": list}, {"dataset": str, "epsilon": (int, float)}, where)
    tables = tuple(str(key) for key in entry["tables"])
    if not tables or any(key.count("/") != 1 for key in tables):
        raise InputError(f"{where}.tables is {list(tables)}, allowed are names like study/experiment; correct it")
    surveys = sum(key.startswith("paths/") for key in tables)
    if surveys and len(tables) > 1:
        raise InputError(f"{where}.tables is {list(tables)}, a survey stands alone; name one survey or experiments")
    if not surveys and not entry.get("epsilon", 0) > 0:
        raise InputError(f"{where}.epsilon is {entry.get('epsilon')}, allowed is a radius above 0; add it")
    return Place(tables, entry.get("dataset"), entry.get("epsilon"))


def _claim(entry: Any, places: Mapping[str, Part], where: str) -> Claim:
    texts = dict.fromkeys(("study", "source", "statement", "estimand", "kind"), str)
    required = {**texts, "id": int, "published": (str, int, float), "options": dict, "minimum": dict, "parts": list}
    entry = _checked(entry, required, {}, where)
    where = f"claim {entry['id']} ('{entry['statement']}')"
    if (name := entry["kind"]) not in KINDS:
        raise InputError(f"{where} has the kind '{name}', allowed are {sorted(KINDS)}; correct it")
    kind = KINDS[name]
    _checked(entry["options"], kind.options, {}, f"{where}.options")
    _checked(entry["minimum"], kind.minimum, {}, f"{where}.minimum")
    for key, least in entry["minimum"].items():
        numbers = least if isinstance(least, list) else [least]
        if len(numbers) != (2 if kind.minimum[key] is list else 1) or not all(
            isinstance(number, int) and number > 0 for number in numbers
        ):
            raise InputError(
                f"{where}.minimum.{key} is {least}, allowed is [draws, repeats] or a number from 1; change it"
            )
    if unknown := [part for part in entry["parts"] if part not in places]:
        raise InputError(f"{where} has the parts {unknown}, allowed are the places {sorted(places)}; correct it")
    parts = tuple(places[part] for part in entry["parts"])
    for part in parts:
        for place in (part.judged_on, part.analogue):
            if place and place.tables[0].startswith("paths/") != kind.survey:
                raise InputError(f"{where} cannot be judged by {list(place.tables)}; choose another place for its kind")
    if not parts:
        raise InputError(f"{where} has no parts, allowed is 1 or more; name its places")
    return Claim(**{**entry, "published": str(entry["published"]), "parts": parts})


# ------------------------------------------------------------------------------------------------------ reading the tables


class _NotRun(Exception):
    """What a claim needs is not in the tables."""


@dataclass
class Experiment:
    """One experiment's tables. Victims that fitted less than `fitted` of their poisons are holes in its grids.

    Attributes:
        used: poisoned condition → (victims that count, all victims), of every grid that was asked for.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    epsilon: float
    fitted: float
    used: dict[str, tuple[int, int]] = field(default_factory=dict)

    def conditions(self, strategy: str) -> pd.DataFrame:
        """Rows of the one condition with this strategy, in the order of its axis."""
        table = self.tables["conditions"]
        rows = table[table["strategy"] == strategy]
        if rows.empty:
            raise _NotRun(f"{self.name} has no condition of strategy '{strategy}'")
        if len(names := rows["condition"].unique()) > 1:
            raise InputError(
                f"{self.name} has the conditions {list(names)} of strategy '{strategy}', allowed is 1; split it"
            )
        return rows.sort_values("axis_value")

    def grids(
        self,
        strategy: str,
        column: str = "adversarial_accuracy",
        attack: str = "pgd",
        pair: tuple[int, int] | None = None,
        first: bool = False,
    ) -> list[np.ndarray]:
        """[draws, repeats] of `column`, one for each value of the condition's axis, or for its `first` value only.

        Adversarial accuracy is that of `attack`, targeted from and to the classes `pair` (default: those of the poison).
        """
        rows = self.conditions(strategy)
        matrices = []
        for _, row in (rows.head(1) if first else rows).iterrows():
            own = _of(self.tables["victims"], row)
            if column == "adversarial_accuracy":
                source, target = pair or (row["source_class"], row["target_class"])
                attacked = _of(self.tables["robustness"], row)
                attacked = attacked[
                    (attacked["goal"] == "targeted")
                    & (attacked["attack"] == attack)
                    & (attacked["attack_source"] == source)
                    & (attacked["attack_target"] == target)
                    & np.isclose(attacked["epsilon"].astype(float), self.epsilon)
                ]
                if attacked.empty:
                    raise _NotRun(
                        f"{self.name} has no {attack} {source:g}→{target:g} at ε = {self.epsilon} of '{row['condition']}'"
                    )
                own = own.merge(attacked[["draw", "repeat", column]], on=["draw", "repeat"], how="left")
            # without poisons there is nothing to fit
            fits = (own["fitted_share"] >= self.fitted) | (strategy == "none")
            values = own[column].astype(float).where(fits)
            label = row["condition"] if pd.isna(row["axis_value"]) else f"{row['condition']} {row['axis_value']:g}"
            if strategy != "none":
                self.used[f"{self.name}, {label}"] = (int(values.notna().sum()), len(own))
            matrices.append(grid(own.assign(**{column: values}), column))
        return matrices

    def shortfall(self, strategy: str, draws: int, repeats: int) -> str | None:
        """In which way the condition is smaller than draws × repeats, for any value of its axis."""
        for _, row in self.conditions(strategy).iterrows():
            own = _of(self.tables["victims"], row)
            have = own["draw"].nunique(), own["repeat"].nunique()
            if have[0] < draws or have[1] < repeats or len(own) < draws * repeats:
                return f"'{row['condition']}' is {have[0]} × {have[1]} ({len(own)} victims), registered are {draws} × {repeats}"
        return None


def _of(table: pd.DataFrame, row: pd.Series) -> pd.DataFrame:
    """Rows of a condition and a value of its axis. An empty axis value equals an empty one, which no join may assume."""
    value = math.nan if pd.isna(row["axis_value"]) else float(row["axis_value"])
    same = np.isclose(table["axis_value"].astype(float), value, equal_nan=True)
    return table[(table["condition"] == row["condition"]) & same]


@dataclass
class Data:
    """What a kind gets to see."""

    experiments: list[Experiment]
    survey: Mapping[str, pd.DataFrame]
    missing: list[str]  # tables of a place with several that are not there yet
    parts: int  # number of parts of the claim, run or not

    @property
    def experiment(self) -> Experiment:
        if len(self.experiments) + len(self.missing) != 1:
            raise InputError(
                f"this kind of claim is judged by 1 experiment, not by {len(self.experiments)}; split the place"
            )
        return self.experiments[0]

    @property
    def wide(self) -> float:
        """Confidence of an interval that is compared with a margin: two one-sided tests at LEVEL / parts (Bonferroni)."""
        return max(CONFIDENCE, 1 - 2 * LEVEL / self.parts)


# --------------------------------------------------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class Side:
    """What speaks for a claim, or against it.

    Attributes:
        holds: whether the values and intervals say so.
        p: of the test that must agree, one-sided; None where none is needed, NaN where it cannot be made.
    """

    holds: bool
    p: float | None = None


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on.

    Attributes:
        needed: what would decide an open case, as draws × repeats where that is the answer.
    """

    value: float
    low: float
    high: float
    n: str
    test: str
    supports: Side
    opposes: Side
    needed: str


def _enough(test: Tested) -> bool:
    """Whether draws and repeats were both sampled: one draw would make it a statement about that very draw."""
    return min(test.draws) >= 2 and test.n_repeats >= 2


def _design(draws: Sequence[int], repeats: int) -> str:
    return f"about {'+'.join(map(str, dict.fromkeys(draws)))} × {repeats} (draws × repeats)"


def _plan(
    judged: tuple[np.ndarray, np.ndarray], draws: tuple[int, int], target: float, data: Data, permuted: bool = True
) -> str:
    """The design that would show a difference of `target`, from the judged grids of conditions with so many draws.

    Draws and repeats grow in proportion until the interval has that half-width; then draws alone, until both conditions
    have two judged ones and, if rows are to be permuted, enough arrangements for the corrected level.
    """
    a, b = judged
    present = min(a.shape[1], b.shape[1])
    if min(len(a), len(b), present) == 0:
        return "victims of both conditions"
    bound, repeats = "", present
    try:
        repeats = needed_repeats(a, target, data.wide, other=b)[1]
    except InputError:  # too few values to know their spread
        bound = "more than "
    grown = [math.ceil(count * repeats / present) for count in draws]
    while True:
        left = [
            count // 2 if len(matrix) < whole else count
            for count, matrix, whole in zip(grown, judged, draws, strict=True)
        ]
        arrangements = math.comb(sum(left), left[0]) if sum(left) < 50 else math.inf
        if min(left) >= 2 and (not permuted or data.parts / arrangements <= LEVEL):
            break
        grown = [count + 1 for count in grown]
    if (grown, repeats) == (list(draws), present):  # the interval is narrow enough, its p not yet small enough
        grown, repeats = [count + 1 for count in grown], repeats + 1
    return bound + _design(grown, repeats)


def _mean(matrix: np.ndarray) -> float:
    """Mean of a grid for choosing the lowest one: no value is never chosen."""
    value = mean_interval(matrix).value
    return math.inf if math.isnan(value) else value


# ------------------------------------------------------------------------------------------------- kinds: path buckets


def lowest_natural_accuracy(data: Data, options: Mapping[str, Any]) -> Evidence:
    """Every victim of a bucket keeps its natural accuracy: a statement about each victim, without a test."""
    values = np.concatenate(
        [matrix.ravel() for one in data.experiments for matrix in one.grids("path_bucket", "natural_accuracy")]
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
        f"the victims of {', '.join(data.missing)}" if data.missing else "victims that fit their poisons",
    )


def fall_along_buckets(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The fall over the whole axis, along the least-squares line, is above 0."""
    grids = data.experiment.grids("path_bucket")
    if sum(np.isfinite(matrix).any() for matrix in grids) < 2:
        raise _NotRun(f"{data.experiment.name} has fewer than 2 buckets with fitted victims")
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
        f"trend over {len(grids)} buckets, rows permuted",
        Side(fall.low > 0 and _enough(fall), fall.p),
        Side(high < options["margin"] and not fall.low > 0 and _enough(fall)),
        _design([max(math.ceil(max(fall.draws) * grown), 2)], max(math.ceil(fall.n_repeats * grown), 2)),
    )


def lowest_bucket(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The lowest bucket is one of a registered set: interior ones, or the largest that hold over half of the points.

    The lowest bucket of the set is chosen among the set only, on its even draws, and judged on its odd ones against all
    draws of each bucket outside, which had no part in the choice. The opposite is tested the same way. All draws share
    the repeats, so a choice that only these victims-to-be favour survives the split; the interval counts new repeats.
    """
    experiment = data.experiment
    grids = experiment.grids("path_bucket")
    sizes = experiment.conditions("path_bucket")["n_points"].to_numpy(float)
    everyone = range(len(grids))
    if options["among"] == "interior":
        inside = set(everyone[1:-1])
    elif options["among"] == "most_points":
        largest = np.argsort(-sizes, kind="stable")
        before = np.concatenate([[0], np.cumsum(sizes[largest])[:-1]])
        inside = {int(bucket) for bucket in largest[before <= sizes.sum() / 2]}
    else:
        raise InputError(f"option among is '{options['among']}', allowed are interior and most_points; change it")
    outside = set(everyone) - inside
    if not inside or not outside:
        raise _NotRun(f"{experiment.name} has {len(grids)} buckets, too few to be {options['among']} or not")

    def below(own: Iterable[int], others: Iterable[int]) -> tuple[int, int, Tested, Side]:
        chosen = min(sorted(own), key=lambda bucket: _mean(grids[bucket][0::2]))
        tests = {
            other: paired_difference(grids[other], grids[chosen][1::2], CONFIDENCE, "greater")
            for other in sorted(others)
        }
        weakest = min(tests, key=lambda other: -math.inf if math.isnan(tests[other].low) else tests[other].low)
        holds = all(test.low > 0 and _enough(test) for test in tests.values())
        return chosen, weakest, tests[weakest], Side(holds, float(np.max([test.p for test in tests.values()])))

    supported, opposed = below(inside, outside), below(outside, inside)
    chosen, other, shown, _ = opposed if opposed[3].holds and not supported[3].holds else supported
    held = f", holds {sizes[chosen]:.0f} of {sizes.sum():.0f} points" if options["among"] == "most_points" else ""
    target = max(abs(shown.value), options["margin"])
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        shown.n,
        f"bucket {other} − bucket {chosen} (lowest {'of the set' if chosen in inside else 'outside'} on even draws{held}), "
        "rows permuted, largest p of all such differences",
        supported[3],
        opposed[3],
        _plan((grids[other], grids[chosen][1::2]), (len(grids[other]), len(grids[chosen])), target, data),
    )


def nearest_bucket_against_random(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The first bucket has a higher adversarial accuracy than random points."""
    near, random = data.experiment.grids("path_bucket", first=True)[0], data.experiment.grids("random")[0]
    shown = paired_difference(near, random, CONFIDENCE, "greater")
    high = paired_difference(near, random, data.wide).high
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        shown.n,
        "first bucket − random, rows permuted",
        Side(shown.low > 0 and _enough(shown), shown.p),
        Side(high < options["margin"] and not shown.low > 0 and _enough(shown)),
        _plan((near, random), (len(near), len(random)), max(abs(shown.value), options["margin"] / 2), data),
    )


def best_bucket_against_random(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The best bucket is at most the margin above random points (non-inferiority)."""
    grids, random = data.experiment.grids("path_bucket"), data.experiment.grids("random")[0]
    margin = options["margin"]
    best = min(range(len(grids)), key=lambda bucket: _mean(grids[bucket][0::2]))
    judged = grids[best][1::2]
    shown, wide = paired_difference(judged, random, CONFIDENCE), paired_difference(judged, random, data.wide)
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        shown.n,
        f"bucket {best} (lowest on even draws) − random, {100 * data.wide:.3g} % interval against {margin:+g}",
        Side(wide.high < margin and _enough(shown)),
        Side(wide.low > margin and _enough(shown)),
        _plan(
            (judged, random),
            (len(grids[best]), len(random)),
            max(abs(shown.value - margin), margin / 2),
            data,
            permuted=False,
        ),
    )


def clean_accuracy(data: Data, options: Mapping[str, Any]) -> Evidence:
    """The adversarial accuracy without poisons is below a bound."""
    pair = (options["source"], options["target"])
    matrix = data.experiment.grids("none", attack=options["attack"], pair=pair)[0]
    shown, wide = mean_interval(matrix, CONFIDENCE, (0, 1)), mean_interval(matrix, data.wide, (0, 1))
    below = options["below"]
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        shown.n,
        f"t interval over repeats against {below:g}",
        Side(wide.high < below),
        Side(wide.low > below),
        _more(matrix, max(abs(shown.value - below), below / 2), "× repeats"),
    )


# --------------------------------------------------------------------------------------------------------- kinds: surveys


def _more(matrix: np.ndarray, target: float, unit: str) -> str:
    """The smallest number of columns (repeats or proxies) at which the interval of a [1, n] grid has this half-width."""
    try:
        columns = needed_repeats(matrix, target, CONFIDENCE)[1]
    except InputError:
        columns = 0
    columns = max(columns, matrix.shape[1] + 1, 2)
    return f"about 1 × {columns} (draws × repeats)" if unit == "× repeats" else f"about {columns} {unit}"


def _over_proxies(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate:
    return mean_interval(np.array([values], dtype=float), CONFIDENCE, bounds)


def _by_proxy(table: pd.DataFrame, label: int) -> list[pd.DataFrame]:
    """Rows of a class in `lengths`, one table for each proxy."""
    rows = table[table["label"] == label]
    if rows.empty:
        raise _NotRun(f"the survey has no points of class {label}")
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
    smallest = int(np.argmin([estimate.value for estimate in estimates]))
    shown = estimates[smallest]
    names = ", ".join(f"class {k} {m:.3g}" for k, m in zip(options["classes"], medians.mean(axis=1), strict=True))
    return Evidence(
        shown.value,
        shown.low,
        shown.high,
        f"{medians.shape[1]} proxies",
        f"t intervals over proxies of both gaps; medians: {names}",
        Side(all(estimate.low > 0 for estimate in estimates)),
        Side(any(estimate.high <= 0 for estimate in estimates)),
        _more(gaps[[smallest]], max(abs(shown.value), 0.5), "proxies"),
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
    """How a claim is judged: the function, its options and the sizes that must be registered, with their types."""

    function: Callable[[Data, Mapping[str, Any]], Evidence]
    options: Mapping[str, Any]
    minimum: Mapping[str, Any]
    survey: bool = False


_NUMBER = (int, float)
KINDS = {
    kind.function.__name__: kind
    for kind in (
        Kind(lowest_natural_accuracy, {"above": _NUMBER}, {"path_bucket": list}),
        Kind(fall_along_buckets, {"margin": _NUMBER}, {"path_bucket": list}),
        Kind(lowest_bucket, {"among": str, "margin": _NUMBER}, {"path_bucket": list}),
        Kind(nearest_bucket_against_random, {"margin": _NUMBER}, {"path_bucket": list, "random": list}),
        Kind(best_bucket_against_random, {"margin": _NUMBER}, {"path_bucket": list, "random": list}),
        Kind(clean_accuracy, {"attack": str, "source": int, "target": int, "below": _NUMBER}, {"none": list}),
        Kind(ordered_medians, {"classes": list}, {"proxies": int, "points": int}, survey=True),
        Kind(paths_at_most, {"class": int, "steps": int}, {"proxies": int, "points": int}, survey=True),
        Kind(issues_near_boundary, {"margin": _NUMBER}, {"proxies": int, "points": int, "among": int}, survey=True),
    )
}


# --------------------------------------------------------------------------------------------------------------- verdicts


@dataclass(frozen=True)
class _Result:
    """A part of a claim before its p-values are corrected.

    Attributes:
        evidence: None where the claim could not be measured.
        blocked: what a verdict would need before the evidence may be asked; None where nothing is in its way.
    """

    analogue: bool
    evidence: Evidence | None
    blocked: str | None
    notes: tuple[str, ...] = ()


def judge(claims: Sequence[Claim], tables: Tables) -> pd.DataFrame:
    """Judge every part of every claim.

    Args:
        tables: "study/experiment" → conditions, victims, robustness; "paths/name" → lengths, issues.

    Returns:
        One row per part, with the columns `COLUMNS`; low and high are 95 % bounds, NaN where a statement has none.
        `frame.attrs["details"]` holds one mapping per row for `write_scorecard`: source, estimand, part, notes.

    Raises:
        InputError: tables contradict themselves, e.g. two values for one victim.
    """
    rows, details = [], []
    for claim in claims:
        results = [_measure(claim, part, tables) for part in claim.parts]
        for_it = _corrected([one.evidence.supports.p if one.evidence else None for one in results], results)
        against_it = _corrected([one.evidence.opposes.p if one.evidence else None for one in results], results)
        for part, result, p_for, p_against in zip(claim.parts, results, for_it, against_it, strict=True):
            verdict, test = _verdict(result, p_for, p_against, len(results))
            evidence = result.evidence
            rows.append(
                {
                    "claim": claim.id,
                    "study": claim.study,
                    "statement": f"{claim.statement}: {part.name}" if len(results) > 1 else claim.statement,
                    "published": claim.published,
                    "measured": evidence.value if evidence else math.nan,
                    "low": evidence.low if evidence else math.nan,
                    "high": evidence.high if evidence else math.nan,
                    "n": evidence.n if evidence else "",
                    "test": test,
                    "verdict": verdict,
                }
            )
            details.append(
                {"source": claim.source, "estimand": claim.estimand, "part": part.name, "notes": list(result.notes)}
            )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs["details"] = details
    return frame


def _measure(claim: Claim, part: Part, tables: Tables) -> _Result:
    """Measure a part where it may be judged, or on its analogue where none of those tables is there."""
    for place, analogue in ((part.judged_on, False), (part.analogue, True)):
        if place and any(key in tables for key in place.tables):
            try:
                return _measure_at(claim, place, analogue, tables)
            except _NotRun as reason:
                return _Result(analogue, None, str(reason))
    return _Result(False, None, f"no tables of {', '.join(part.judged_on.tables)}")


def _measure_at(claim: Claim, place: Place, analogue: bool, tables: Tables) -> _Result:
    def look(fitted: float) -> tuple[Data, Evidence]:
        there, missing = ([key for key in place.tables if (key in tables) == present] for present in (True, False))
        survey = tables[there[0]] if KINDS[claim.kind].survey else {}
        experiments = [] if survey else [Experiment(key, tables[key], place.epsilon or 0.0, fitted) for key in there]
        data = Data(experiments, survey, missing, len(claim.parts))
        return data, KINDS[claim.kind].function(data, claim.options)

    data, evidence = look(FITTED)
    used = {label: count for one in data.experiments for label, count in one.used.items()}
    few = [f"{label}: {n} of {total}" for label, (n, total) in used.items() if n < FITTED_VICTIMS * total]
    datasets, scales = (
        {value for one in data.experiments for value in one.tables["conditions"][column]}
        for column in ("dataset", "scale")
    )
    notes = [f"{'stand-in ' if analogue else ''}{', '.join(key for key in place.tables if key in tables)}"]
    if not analogue and place.dataset and (datasets != {place.dataset} or "analogue" in scales):
        analogue = True
        notes.append(
            f"no verdict on {', '.join(sorted(datasets))} ({', '.join(sorted(scales))}), only on {place.dataset}"
        )
    if used:
        counted, total = (sum(numbers) for numbers in zip(*used.values(), strict=True))
        notes.append(f"{counted} of {total} victims fitted at least {100 * FITTED:g} % of their poisons and count")
        if counted < total:
            anyway = look(-math.inf)[1]
            notes.append(f"all victims would give {_interval(anyway.value, anyway.low, anyway.high)}")
    blocked = None
    if scales - {"published"}:
        blocked = f"scale published, here {', '.join(sorted(scales))}"
    elif short := _shortfall(claim, data):
        blocked = f"the registered size: {short}"
    elif few:
        blocked = f"at least {100 * FITTED_VICTIMS:g} % of the victims of each condition to fit their poisons ({', '.join(few)})"
    return _Result(analogue, evidence, blocked, tuple(notes))


def _shortfall(claim: Claim, data: Data) -> str | None:
    """In which way the tables are smaller than registered."""
    for key, least in claim.minimum.items():
        for experiment in data.experiments:
            if short := experiment.shortfall(key, *least):
                return short
        if data.survey:
            table = data.survey["issues" if key == "among" else "lengths"]
            by_proxy = table.groupby("proxy_seed")["n_points"].sum()
            sizes = {"proxies": len(by_proxy), "points": by_proxy.min()}
            have = sizes[key] if key in sizes else table["n_among"].min()
            if have < least:
                return f"{have} {key}, registered are {least}"
    return None


def _corrected(p: Sequence[float | None], results: Sequence[_Result]) -> list[float | None]:
    """The p of each part, corrected over the family; None where none is needed.

    Analogues are corrected among themselves: they are no evidence. A part without a p still counts.
    """
    corrected: list[float | None] = [None] * len(p)
    for analogue in (False, True):
        own = [one.analogue == analogue and value is not None for one, value in zip(results, p, strict=True)]
        adjusted = holm([math.nan if value is None or not mine else value for value, mine in zip(p, own, strict=True)])
        corrected = [float(a) if mine else c for a, mine, c in zip(adjusted, own, corrected, strict=True)]
    return corrected


def _verdict(result: _Result, p_for: float | None, p_against: float | None, parts: int) -> tuple[str, str]:
    """The verdict, and the text of the test."""
    evidence = result.evidence
    if evidence is None:
        return "not run", result.blocked or ""

    supported, opposed = (
        side.holds and (p is None or p <= LEVEL)
        for side, p in ((evidence.supports, p_for), (evidence.opposes, p_against))
    )
    p, test = p_against if opposed and not supported else p_for, evidence.test
    if p is not None:
        value = "not possible" if math.isnan(p) else "< 0.001" if p < 0.001 else f"= {p:.3f}"
        test += f"; one-sided p {value}" + (f" (Holm over {parts})" if parts > 1 else "")
    if result.analogue:
        return "analogue", test
    if result.blocked or supported == opposed:
        return "inconclusive", f"{test}; a verdict needs {result.blocked or evidence.needed}"
    return "reproduced" if supported else "refuted", test


# -------------------------------------------------------------------------------------------------------------- scorecard


def _interval(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "—"
    return f"{value:.3f}" if math.isnan(low) or math.isnan(high) else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def write_scorecard(frame: pd.DataFrame, markdown_path: str | Path, csv_path: str | Path) -> None:
    """Write the table of `judge` as markdown (with estimands and notes, where the frame carries them) and as csv."""
    counts = frame["verdict"].value_counts()
    lines = [
        "# Scorecard",
        "",
        "Published claims against what was measured. Estimands, margins and least sizes were registered in "
        "`config/claims.yaml` before the runs; every number and verdict below is computed from the result tables by "
        "`poisonlab.claims`, none is typed in. Intervals are 95 %, for new draws and new repeats (for surveys: new "
        "proxies); n is draws × repeats.",
        "",
        "| verdict | rows | meaning |",
        "|---|---|---|",
        *(f"| {name} | {counts.get(name, 0)} | {meaning} |" for name, meaning in VERDICTS.items()),
        "",
        "| claim | statement | published | measured | n | test | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    records = frame.to_dict("records")
    for row in records:
        measured = _interval(row["measured"], row["low"], row["high"])
        cells = [row["claim"], row["statement"], row["published"], measured, row["n"] or "—", row["test"]]
        cells.append(f"**{row['verdict']}**")
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    if details := frame.attrs.get("details"):
        lines += ["", "## What exactly was measured"]
        last = None
        for row, detail in zip(records, details, strict=True):
            if (row["claim"], detail["estimand"]) != last:
                lines += [
                    "",
                    f"**Claim {row['claim']}** ({row['study']}, {detail['source']}). {detail['estimand']}",
                    "",
                ]
                last = (row["claim"], detail["estimand"])
            lines.append(f"- {detail['part']}: " + "; ".join([f"**{row['verdict']}**", *detail["notes"]]))
    with storage.atomic(markdown_path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with storage.atomic(csv_path) as temporary:
        frame[COLUMNS].to_csv(temporary, index=False)
