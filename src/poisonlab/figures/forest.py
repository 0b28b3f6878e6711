"""Where a strategy helps, and why there: one condition beside another in every experiment of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import joined, measured, named, shared_facts, span, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.results.query import Query
    from poisonlab.statistics import Difference, Estimate

MOST = 40  # experiments, more than a page holds
_ROW, _HEAD = 0.19, 0.75  # inches


class _Row(NamedTuple):
    """What is left by the condition and by the baseline, of the same trainings; and their difference.

    `place` is the data set and the source class.
    """

    name: str
    place: tuple[str, Any]
    own: Estimate
    other: Estimate
    difference: Difference

    def share(self) -> Estimate:
        """How much of what the baseline leaves the condition takes away, the baseline's mean taken as known."""
        from poisonlab.statistics import Estimate

        value, low, high = (
            -one / self.other.value for one in (self.difference.value, self.difference.high, self.difference.low)
        )
        return Estimate(value, low, high, 0, 0)


LEAST = 0.05  # adversarial accuracy, a choice: what is taken away from less is no share

SIDES = {
    "condition": Option("the condition that is looked at, poisons without a sweep", "medoids"),
    "baseline": Option("the condition beside it", "random"),
    "experiments": Option("experiments that have both; default: as they come in the tables"),
    "headlines": ATTACK["headlines"],
}


@figure(
    "forest",
    needs=("conditions", "victims", "robustness"),
    title="Where a strategy helps",
    caption="Left: adversarial accuracy under {condition} (filled) and under {baseline} (hollow). Right: how much less "
    "{condition} leave; left of 0 they do more harm. One row for each experiment, the largest difference first; in "
    "colour: interval and p agree.",
    method="All victims of the repeats that both have, paired by repeat; 95 % intervals for new draws and repeats; "
    "two-sided p, Holm over the rows (the claims' are one-sided). n, draws × repeats: {n}. "
    "{attacked}{provenance}",
    options=SIDES,
)
def forest(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw what two conditions leave, and their difference, for each experiment.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment lacks a condition, has several values of it, or was not attacked as its headline says.
    """
    from poisonlab.documents.comparison import judge

    rows, caption = _compared(inputs, options)
    rows.sort(key=lambda row: row.difference.value)
    verdicts = [verdict for *_, verdict in judge([row.difference for row in rows], [1.0] * len(rows))]
    drawn, left, right = _panels(rows, (3, 2))
    for place, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        _interval(left, place - 0.14, row.own, style.VERMILLION, style.VERMILLION, "own")
        _interval(left, place + 0.14, row.other, style.GREY, "white", "baseline")
        sure = {"stronger": style.VERMILLION, "weaker": style.BLUE}.get(verdict)
        _interval(right, place, row.difference, sure or style.GREY, sure or "white", "difference")
    left.set(xlim=(-0.02, 1.02), xlabel="adversarial accuracy")
    right.set_xlabel("difference")
    return drawn, {**caption, "finding": _finding(rows, verdicts, (caption["condition"], caption["baseline"]))}


@figure(
    "nearness",
    needs=("conditions", "victims", "robustness", "nearness"),
    title="How near flips lie beside another class, and what a strategy takes away",
    caption="Left: mean distance of the class to its nearest flip, random (hollow) or medoid (filled), in units of "
    "that to the nearest point of another class. Middle: share of the class that lies nearer to a flip; bars: flips "
    "chosen for that. Right: share that {condition} take away of what {baseline} leave.",
    method="Distances: l2 in pixels. Chosen for that: one by one, each adding most. Right: the difference and its 95 % "
    "interval over the mean of {baseline}. {left_out}n, draws × repeats: {n}. {provenance}",
    options=SIDES,
)
def nearness(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw how near flips are beside another class, and how much less one condition leaves than another.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn; `nearness` of the data
            sets and source classes of all of them.

    Raises:
        InputError: as `forest`; or the distances of a data set's class are missing, or the baseline leaves less than
            `LEAST` everywhere.
    """
    every, caption = _compared(inputs, options)
    rows = [row for row in every if row.other.value >= LEAST]
    if not rows:
        raise InputError(
            f"{caption['baseline']} leave less than {LEAST:g} in every experiment; choose a smaller radius"
        )
    table = inputs["nearness"].set_index(["dataset", "source_class"])
    if missing := [row.place for row in rows if row.place not in table.index]:
        raise InputError(
            f"the table nearness has no row of class {missing[0][1]:g} of '{missing[0][0]}'; name an "
            "analysis 'nearness' of that data set among the figure's 'analyses', or leave its experiments out"
        )
    near = {row.place: table.loc[row.place] for row in rows}
    rows.sort(key=lambda row: near[row.place]["random"] / near[row.place]["other"])
    drawn, left, middle, right = _panels(rows, (2, 2, 2))
    for place, row in enumerate(rows):
        own = near[row.place]
        for column, filling in (("random", "white"), ("medoids", style.VERMILLION)):
            colour = style.GREY if column == "random" else style.VERMILLION
            look: dict[str, Any] = {"color": colour, "markersize": 3.6, "markerfacecolor": filling}
            left.plot(own[column] / own["other"], place, "o", gid=column, **look)
            middle.plot(own[f"{column}_reach"], place, "o", gid=f"{column}-reach", **look)
        middle.plot(own["best_reach"], place, "|", color=style.BLACK, markersize=6, gid="best-reach")
        _interval(right, place, row.share(), style.BLUE, style.BLUE, "share")
    left.axvline(1, color=style.BLACK, linewidth=0.6, zorder=1)
    left.set_xlabel("distance to a flip ÷ to another class")
    middle.set(xlim=(-0.02, 1.02), xlabel="share nearer to a flip")
    right.set_xlabel("share taken away")
    beyond = [own["random"] > own["other"] for own in (near[row.place] for row in rows)]
    few = joined([row.name for row in every if row.other.value < LEAST])
    caption["left_out"] = (
        f"Left out, for {caption['baseline']} leave less than {100 * LEAST:g} %: {few}. " if few else ""
    )
    return drawn, {**caption, "finding": _nearer(rows, beyond, (caption["condition"], caption["baseline"]))}


def _panels(rows: Sequence[_Row], widths: Sequence[int]) -> tuple[Any, ...]:
    """A figure, and its panels with a line for each row, the names at the left; 0 is marked in the last one."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(style.PAGE, _ROW * len(rows) + _HEAD), layout="constrained")
    panels: Sequence[Axes] = drawn.subplots(1, len(widths), sharey=True, width_ratios=widths)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[0].set_yticks(range(len(rows)), [row.name for row in rows])
    panels[-1].axvline(0, color=style.BLACK, linewidth=0.6, zorder=1)
    for panel in panels:
        panel.tick_params(axis="y", length=0)
    return drawn, *panels


def _compared(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[list[_Row], dict[str, Any]]:
    """What the two conditions leave in every experiment, and what captions say of all of them."""
    from poisonlab.figures.experiments import FACTS, Experiment, chosen_experiments, direction, query
    from poisonlab.statistics import mean_interval, paired_difference

    labels, sides = options["labels"], (options["condition"], options["baseline"])
    rows, experiments, attacks = [], [], []
    for name, conditions, _ in chosen_experiments(inputs, options, MOST):
        found = query(inputs, name, options)
        own, other = (_grid(found, side) for side in sides)
        shared = min(own.shape[1], other.shape[1])
        level, beside = (mean_interval(grid[:, :shared], bounds=(0.0, 1.0)) for grid in (own, other))
        facts = {key: conditions[key].iloc[0] for key in FACTS}
        place = (facts["dataset"], facts["source_class"])
        rows.append(_Row(named(name, labels), place, level, beside, paired_difference(own, other)))
        experiments.append(Experiment(name, facts, direction(name, facts, {"labels": labels})))
        attacks.append(found.attack(epsilon=found.headline.epsilon).iloc[0])
    sizes = [(level.n_draws, level.n_repeats) for row in rows for level in (row.own, row.other)]
    return rows, {
        **shared_facts(experiments, options, recipes=False),
        "condition": named(sides[0], labels),
        "baseline": named(sides[1], labels),
        "n": " × ".join(span(min(own), max(own)) for own in zip(*sizes, strict=True)),
        "attacked": measured(attacks),
    }


def _grid(found: Query, condition: str) -> np.ndarray:
    from poisonlab.results.query import NotRun

    try:
        cells = found.select(condition)
    except NotRun as error:
        raise InputError(f"{error}; leave experiment '{found.name}' out by 'experiments'") from error
    if len(cells) > 1:
        raise InputError(
            f"condition '{condition}' of '{found.name}' has {len(cells)} values, allowed is 1; name another 'condition'"
        )
    return cells[0].grid


def _interval(panel: Axes, place: float, estimate: Estimate | Difference, colour: str, filling: str, gid: str) -> None:
    panel.hlines(place, estimate.low, estimate.high, color=colour, linewidth=1.0, zorder=2, gid=f"{gid}-interval")
    panel.plot(estimate.value, place, "o", color=colour, markersize=3.6, markerfacecolor=filling, zorder=3, gid=gid)


def _finding(rows: Sequence[_Row], verdicts: Sequence[str], words: Sequence[str]) -> str:
    """Say in how many experiments the condition is shown to leave less, and in how many more, and where the least."""
    from poisonlab.statistics import Estimate

    harm, less = verdicts.count("stronger"), verdicts.count("weaker")
    most = Estimate(rows[0].difference.value, rows[0].difference.low, rows[0].difference.high, 0, 0)
    where = f", most in {rows[0].name} ({value_text(most, sign='+')})" if harm else ""
    return (
        f"In {harm} of {len(rows)} experiments {words[0]} are shown to leave less than {words[1]}{where}, and in "
        f"{less or 'none'} more."
    )


def _nearer(rows: Sequence[_Row], beyond: Sequence[bool], words: Sequence[str]) -> str:
    """Say how much the condition takes away where flips are nearer than another class, and where they are not."""
    told = []
    for where, which in ((False, "random flips lie nearer than another class"), (True, "another class lies nearer")):
        shares = [row.share().value for row, far in zip(rows, beyond, strict=True) if far == where]
        if shares:
            ends = " to ".join(dict.fromkeys(f"{one:.2f}" for one in (min(shares), max(shares))))
            told.append(f"{ends} where {which} ({len(shares)} of {len(rows)})")
    return f"Of what {words[1]} leave, {words[0]} take away {joined(told)}."
