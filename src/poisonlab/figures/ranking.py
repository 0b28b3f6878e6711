"""Which poison does the most damage: every condition of an experiment by its victims, their ranks, and what it takes to
tell two of them apart.
"""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import common_facts, named, provenance, provenance_of, shared_n, value_text
from poisonlab.figures.columns import bounds, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poisonlab.results.query import Selected
    from poisonlab.statistics import Estimate

POWER, LEVEL = 0.8, 0.05  # of the comparison that a number of victims is named for
_TAILS = (0.05, 0.01)
_LOOKS = {"s": "published mean", "D": "published 5th", "^": "published 1st"}  # marker → what it is
_PUBLISHED = ((0, "s"), (0.12, "D"), (0.24, "^"))  # how far below its row, and the marker
_COLUMN = {"column": Option("of the victims; default: the headline's")}


@figure(
    "ranking",
    needs=("conditions", "victims", "robustness"),
    title="Every poison, ranked",
    caption="{column_name} of the victims of each condition, best first: mean, and 5th and 1st percentiles, with 95 % "
    "intervals{squares}. In brackets: the ranks that no paired comparison contradicts.",
    method="Percentiles with the intervals of their order statistics, which few victims leave open below (arrows). "
    "Comparisons: t, Holm over all pairs. n, draws × repeats: {n}. {provenance}",
    options={
        "published": Option("condition → [mean, 5th, 1st percentile] of the source", {}),
        **_COLUMN,
        **ATTACK,
    },
)
def ranking(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw mean, 5th and 1st percentile of every condition of the first experiment, with the ranks that are not ruled
    out.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment.

    Raises:
        InputError: an option names a condition that is not there.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import every_cell
    from poisonlab.statistics import mean_interval, percentile_interval

    found, cells = every_cell(inputs, options, options["column"])
    names = _names(cells, options)
    if unknown := sorted({*options["published"]} - {*names.values(), *(one.label for one in cells)}):
        raise InputError(f"option published names {unknown}, the experiment has {[one.label for one in cells]}")
    limits = bounds(cells[0].column)
    means = [mean_interval(one.grid, bounds=limits) for one in cells]
    order = sorted(range(len(cells)), key=lambda n: -means[n].value)
    places = ranks([one.grid for one in cells])
    figure = Figure(figsize=(style.PAGE, 0.6 + 0.2 * len(cells)))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    for row, n in enumerate(order):
        for tail, colour, shift in zip(_TAILS, (style.SKY, style.GREY), (0.12, 0.24), strict=True):
            one = percentile_interval(cells[n].grid, tail)
            _mark(panel, one, row + shift, colour, 2.5, f"{100 * tail:.0f}th percentile".replace("1th", "1st"))
        _mark(panel, means[n], row, style.BLUE, 4, "mean")
        for value, (shift, look) in zip(options["published"].get(cells[n].label, ()), _PUBLISHED, strict=False):
            known: dict[str, Any] = {"color": style.VERMILLION, "markerfacecolor": "none", "markersize": 4}
            panel.plot(value, row + shift, look, label=_LOOKS[look], gid="published", **known)
    panel.set_yticks(range(len(order)), [f"{names[n]} [{places[n][0]}–{places[n][1]}]" for n in order])
    panel.set(ylim=(len(order) - 0.3, -0.7), xlabel=title(cells[0].column))
    handles, labels = panel.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside upper center", ncols=4)
    return figure, {
        "finding": f"Most harmful is {_value(names[order[-1]], means[order[-1]], places[order[-1]])}; least "
        f"{_value(names[order[0]], means[order[0]], places[order[0]])}.",
        "squares": "; hollow: published" if options["published"] else "",
        "column_name": title(cells[0].column).capitalize(),
        "n": shared_n(means),
        "provenance": provenance_of(found.tables["conditions"], options["labels"]),
    }


def ranks(grids: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """First and last rank, 1 for the largest mean, that each grid [draws, repeats] may have.

    A grid's rank is at least one more than the number of grids that are shown to be larger, and at most their number
    less those shown to be smaller: paired t tests of all pairs, with Holm's correction, which together hold at 95 %
    (as the confidence sets for ranks of Mogstad, Romano, Shaikh & Wilhelm, 2024).
    """
    from poisonlab.statistics import holm, paired_difference

    pairs = [(a, b) for a in range(len(grids)) for b in range(a)]
    found = [paired_difference(grids[a], grids[b], permutations=1) for a, b in pairs]
    shown = holm([1.0 if math.isnan(one.t_p) else one.t_p for one in found]) < LEVEL
    larger, smaller = np.zeros(len(grids), dtype=int), np.zeros(len(grids), dtype=int)
    for (a, b), one, sure in zip(pairs, found, shown, strict=True):
        if sure:
            winner, loser = (a, b) if one.value > 0 else (b, a)
            larger[loser] += 1
            smaller[winner] += 1
    return [(int(1 + more), int(len(grids) - less)) for more, less in zip(larger, smaller, strict=True)]


@figure(
    "power",
    needs=("conditions", "victims", "robustness"),
    title="How many victims tell two poisons apart",
    caption="Victims of each of two poisons that show a difference with a power of 80 % at the 5 % level, against the "
    "difference: of means paired by seed, of means of other seeds, and of percentiles. Dots: the differences between "
    "two poisons that the bold line names, with their own spread.",
    method="Standard deviation of a victim: {sd:.4f}; of the difference between victims of two poisons with the same "
    "seed: {paired:.4f}, with other seeds: {unpaired:.4f}; medians over conditions and their pairs. Percentiles: from "
    "the asymptotic variance at a normal density. {provenance}",
    options={
        "pairs": Option("which to mark: a list of {between: [condition, condition], difference}", []),
        **_COLUMN,
        **ATTACK,
    },
)
def power(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the number of victims that it takes against the difference to be shown.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment.

    Raises:
        InputError: the victims have no spread, or a marked condition is not there.
    """
    from matplotlib.figure import Figure
    from scipy import stats

    from poisonlab.figures.experiments import every_cell

    found, cells = every_cell(inputs, options, options["column"])
    grids = {one.label: one.grid for one in cells}
    single = float(np.median([np.nanstd(grid, ddof=1) for grid in grids.values()]))
    if not single > 0:
        raise InputError(f"the victims of '{found.name}' have no spread; train more of them")
    spreads = [spread(a, b) for a, b in itertools.combinations(grids.values(), 2)] or [(single, math.sqrt(2) * single)]
    paired, unpaired = (float(np.median(own)) for own in zip(*spreads, strict=True))
    reach = float(stats.norm.isf(LEVEL / 2) + stats.norm.ppf(POWER))
    figure = Figure(figsize=(style.COLUMN, 2.8), layout="constrained")
    panel = figure.subplots()
    difference = np.geomspace(single / 30, 3 * single, 100)
    errors = {"means, same seeds": paired, "means, other seeds": unpaired}
    for tail in _TAILS:
        density = float(stats.norm.pdf(stats.norm.ppf(tail))) / single
        errors[f"{100 * tail:.0f}th percentiles".replace("1th", "1st")] = math.sqrt(2 * tail * (1 - tail)) / density
    for (label, error), colour in zip(errors.items(), (style.BLUE, style.SKY, style.ORANGE, style.GREY), strict=True):
        panel.plot(difference, _victims(reach * error / difference), color=colour, label=label, gid="power")
    asked = {}
    for letter, pair in zip(string.ascii_lowercase, options["pairs"], strict=False):
        if unknown := sorted({*pair["between"]} - {*grids}):
            raise InputError(f"option pairs names {unknown}, the experiment has {sorted(grids)}; choose of these")
        words = " and ".join(named(name, options["labels"]) for name in pair["between"])
        own, _ = spread(*(grids[name] for name in pair["between"]))
        asked[f"{letter}: {words}, {pair['difference']:g} apart"] = needed = float(
            _victims(reach * own / pair["difference"])
        )
        panel.plot(pair["difference"], needed, "o", color=style.VERMILLION, markersize=3.6, gid="marked")
        at: dict[str, Any] = {"xytext": (-5, -6), "textcoords": "offset points", "size": style.SMALL}
        panel.annotate(letter, (pair["difference"], needed), color=style.VERMILLION, **at)
    panel.set(xscale="log", yscale="log", xlabel=f"difference in {title(cells[0].column)}", ylabel="victims of each")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    shown = asked or {"a difference of 0.01": float(_victims(reach * paired / 0.01))}
    return figure, {
        "finding": "To tell means apart with the same seeds takes so many victims of each: "
        f"{'; '.join(f'{number:.0f} ({words})' for words, number in shown.items())}.",
        "sd": single,
        "paired": paired,
        "unpaired": unpaired,
        "provenance": provenance_of(found.tables["conditions"], options["labels"]),
    }


def spread(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Standard deviations of the difference between victims of two conditions: of the same seed, and of two seeds.

    Poisons of both are independent, so that victims of one repeat share what the repeat brings, and no more: the
    covariance over the repeats of the means of the draws.

    Args:
        first, second: [draws, repeats].
    """
    repeats = min(first.shape[1], second.shape[1])
    alone = float(np.nanvar(first, ddof=1) + np.nanvar(second, ddof=1))
    shared = float(np.cov(*(np.nanmean(grid[:, :repeats], axis=0) for grid in (first, second)))[0, 1])
    return math.sqrt(max(alone - 2 * shared, 0.0)), math.sqrt(alone)


def _victims(ratio: Any) -> Any:
    """How many it takes, by the ratio of the reach of a comparison to the difference; two at least."""
    return np.maximum(np.square(ratio), 2)


@figure(
    "transfer",
    needs=("conditions", "victims", "robustness"),
    title="Poisons on victims that they were not made for",
    caption="Damage of poisons (rows) to victims (columns): {column_name} without poison minus that with it, in "
    "points, of the same victims-to-be; below it half of its 95 % interval.",
    method="n, draws × repeats: {n}. {provenance}",
    options={**_COLUMN, **ATTACK},
)
def transfer(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the damage of every poison to every kind of victim.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment with several victims.

    Raises:
        InputError: a victim has no condition without poison.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import every_cell
    from poisonlab.statistics import mean_interval

    found, cells = every_cell(inputs, options, options["column"])
    split = [(*one.label.partition("@")[::2], one) for one in cells]
    poisons = list(dict.fromkeys(name for name, _, one in split if one.row["strategy"] != "none"))
    victims = list(dict.fromkeys(victim for _, victim, _ in split))
    clean = {victim: one for _, victim, one in split if one.row["strategy"] == "none"}
    if missing := [victim for victim in victims if victim not in clean]:
        raise InputError(f"'{found.name}' has no victims without poison of {missing}; add a poison of strategy none")
    damage = np.full((len(poisons), len(victims)), np.nan)
    half, sizes = damage.copy(), []
    for name, victim, one in split:
        if name in poisons:
            repeats = min(one.grid.shape[1], clean[victim].grid.shape[1])
            own = mean_interval(clean[victim].grid[:1, :repeats] - one.grid[:, :repeats])
            place = poisons.index(name), victims.index(victim)
            damage[place], half[place] = 100 * own.value, 50 * (own.high - own.low)
            sizes.append(own)
    figure = Figure(figsize=(style.PAGE, 0.8 + 0.38 * len(poisons)))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    most = max(1.0, float(np.nanmax(np.abs(damage))))
    shown = panel.imshow(damage, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", gid="damage")
    for (row, column), value in np.ndenumerate(damage):
        if not math.isnan(value):
            colour = "white" if abs(value) > 0.6 * most else style.BLACK
            words = f"{value:.1f}\n± {half[row, column]:.1f}"
            panel.text(column, row, words, ha="center", va="center", size=style.TINY, color=colour)
    rows, columns = ([named(name, options["labels"]) for name in names] for names in (poisons, victims))
    panel.set_xticks(range(len(victims)), columns)
    panel.set_yticks(range(len(poisons)), rows)
    for side in ("left", "bottom"):
        panel.spines[side].set_visible(False)
    figure.colorbar(shown, ax=panel, label="points lost")
    row, column = np.unravel_index(int(np.nanargmax(damage)), damage.shape)
    return figure, {
        "finding": f"Most damage, {damage[row, column]:.1f} ± {half[row, column]:.1f} points, is done by {rows[row]} "
        f"to {columns[column] or 'all victims'}.",
        "column_name": title(cells[0].column),
        "n": shared_n(sizes),
        "provenance": provenance(common_facts(found.tables["conditions"], ("dataset",)), options["labels"]),
    }


def _names(cells: Sequence[Selected], options: Mapping[str, Any]) -> dict[int, str]:
    """Names of conditions for readers, with the value of their axis."""
    return {n: named(one.label, options["labels"]) for n, one in enumerate(cells)}


def _mark(panel: Any, one: Estimate, row: float, colour: str, size: float, label: str) -> None:
    ends = [one.value if math.isinf(end) else end for end in (one.low, one.high)]
    panel.hlines(row, *ends, color=colour, linewidth=1.0, gid="interval")
    if math.isinf(one.low):  # few victims
        arrow = {"arrowstyle": "<-", "color": colour, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 5}
        panel.annotate("", (one.value, row), xytext=(-14, 0), textcoords="offset points", arrowprops=arrow, gid="open")
    panel.plot(one.value, row, "o", color=colour, markersize=size, label=label, gid=label)


def _value(name: str, one: Estimate, rank: tuple[int, int]) -> str:
    return f"{name}, {value_text(one, 4)}, rank {rank[0]}–{rank[1]}"
