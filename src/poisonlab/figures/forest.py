"""Where a strategy helps: one condition beside another in every experiment of a study, a forest plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import measured, named, shared_facts, span, value_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.results.query import Query
    from poisonlab.statistics import Difference, Estimate

MOST = 40  # experiments, more than a page holds
_ROW, _HEAD = 0.19, 0.75  # inches


class _Row(NamedTuple):
    """What is left by the condition and by the baseline, of the same trainings; and their difference."""

    name: str
    own: Estimate
    other: Estimate
    difference: Difference


@figure(
    "forest",
    needs=("conditions", "victims", "robustness"),
    title="Where a strategy helps",
    caption="Left: adversarial accuracy under {condition} (filled) and under {baseline} (hollow). Right: how much less "
    "{condition} leave; left of 0 they do more harm. One row for each experiment, the largest difference first; in "
    "colour: interval and p agree.",
    method="All victims of the repeats that both have, paired by repeat; 95 % intervals for new draws and repeats; p "
    "with Holm's correction over the rows. n, draws × repeats: {n}. {attacked}{provenance}",
    options={
        "condition": Option("the condition that is looked at, poisons without a sweep", "medoids"),
        "baseline": Option("the condition beside it", "random"),
        "experiments": Option("experiments that have both; default: as they come in the tables"),
        "headlines": ATTACK["headlines"],
    },
)
def forest(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw what two conditions leave, and their difference, for each experiment.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment lacks a condition, has several values of it, or was not attacked as its headline says.
    """
    from matplotlib.figure import Figure

    from poisonlab.documents.comparison import judge
    from poisonlab.figures.experiments import FACTS, Experiment, chosen_experiments, direction, query
    from poisonlab.statistics import mean_interval, paired_difference

    labels, sides = options["labels"], (options["condition"], options["baseline"])
    words = [named(side, labels) for side in sides]
    rows, experiments, attacks = [], [], []
    for name, conditions, _ in chosen_experiments(inputs, options, MOST):
        found = query(inputs, name, options)
        own, other = (_grid(found, side) for side in sides)
        shared = min(own.shape[1], other.shape[1])
        level, beside = (mean_interval(grid[:, :shared], bounds=(0.0, 1.0)) for grid in (own, other))
        rows.append(_Row(named(name, labels), level, beside, paired_difference(own, other)))
        facts = {key: conditions[key].iloc[0] for key in FACTS}
        experiments.append(Experiment(name, facts, direction(name, facts, {"labels": labels})))
        attacks.append(found.attack(epsilon=found.headline.epsilon).iloc[0])
    rows.sort(key=lambda row: row.difference.value)
    verdicts = [verdict for *_, verdict in judge([row.difference for row in rows], [1.0] * len(rows))]
    drawn = Figure(figsize=(style.PAGE, _ROW * len(rows) + _HEAD), layout="constrained")
    left, right = drawn.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    for place, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
        _interval(left, place - 0.14, row.own, style.VERMILLION, style.VERMILLION, "own")
        _interval(left, place + 0.14, row.other, style.GREY, "white", "baseline")
        sure = {"stronger": style.VERMILLION, "weaker": style.BLUE}.get(verdict)
        _interval(right, place, row.difference, sure or style.GREY, sure or "white", "difference")
    left.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.4, -0.6), xlabel="adversarial accuracy")
    left.set_yticks(range(len(rows)), [row.name for row in rows])
    right.axvline(0, color=style.BLACK, linewidth=0.6, zorder=1)
    right.set_xlabel("difference")
    for panel in (left, right):
        panel.tick_params(axis="y", length=0)
    sizes = [(level.n_draws, level.n_repeats) for row in rows for level in (row.own, row.other)]
    n = " × ".join(span(min(own), max(own)) for own in zip(*sizes, strict=True))
    return drawn, {
        **shared_facts(experiments, options, recipes=False),
        "condition": words[0],
        "baseline": words[1],
        "n": n,
        "attacked": measured(attacks),
        "finding": _finding(rows, verdicts, words),
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
