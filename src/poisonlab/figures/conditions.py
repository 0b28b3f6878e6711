"""Figure of any experiment: its conditions side by side, each compared with one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, EXPERIMENTS, Option, figure, style
from poisonlab.figures.captions import (
    common_facts,
    counted,
    measured,
    named,
    percent,
    shared_facts,
    shared_n,
    value_text,
)
from poisonlab.figures.columns import ADVERSARIAL, bounds, require, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from poisonlab.figures.experiments import Experiment
    from poisonlab.results.query import Query
    from poisonlab.statistics import Difference, Estimate

# Where the marks of one condition stand, in conditions from its middle.
_SINGLE, _ALL, _FITTED = -0.25, 0.0, 0.25
FITS_A_COLUMN = 8  # conditions
_MEAN: dict[str, Any] = {"linestyle": "", "markeredgewidth": 0.9}
_CIRCLE: dict[str, Any] = {**_MEAN, "color": style.BLUE, "marker": "o", "markersize": 3.8}
_DIAMOND: dict[str, Any] = {**_MEAN, "color": style.GREEN, "marker": "D", "markersize": 3.2, "markerfacecolor": "white"}
_DOT: dict[str, Any] = {
    "linestyle": "",
    "color": style.BLUE,
    "marker": ".",
    "markersize": 3.5,
    "markeredgewidth": 0,
    "alpha": 0.45,
}


@dataclass(frozen=True)
class _Group:
    """The victims of one condition and value of its sweep axis: `label` for readers, `name` by its own."""

    label: str
    name: str
    condition: str
    strategy: str
    victims: pd.DataFrame


@figure(
    "conditions",
    needs=("conditions", "victims", "robustness"),
    title="Victims by condition",
    caption="{column} of victims of {budget} poisons ({directions}), lowest first. Circles: all victims; diamonds: "
    "those that fitted {fitted} of their poisons; dots: single ones; line: {baseline}. Below: share of the poisons "
    "fitted.{clean}",
    method="{attacked}Means with 95 % intervals; differences are of victims ({which}), paired by repeat, p with "
    "Holm's correction. n, draws × repeats: {n}; {baseline} {n_baseline}. {provenance}",
    options={
        **EXPERIMENTS,
        **ATTACK,
        "column": Option(
            "column of the victims to show: adversarial accuracy, or any other that is a number", ADVERSARIAL
        ),
        "fitted_at_least": Option("least share of the poisons that victims of the diamonds fitted", 0.9),
        "baseline": Option("condition that the others are compared with; default: that of strategy 'random'"),
    },
)
def conditions(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw one column of every condition and value of its sweep axis, and the share of the poisons fitted.

    Conditions may differ in model, recipe and flips; adversarial accuracy is that under the attack on the classes of
    a condition's own poisons.

    Conditions stand by growing mean. The caption says which are shown to differ from the baseline, by the rules of
    `comparison.judge`; the differences stand in the study's table of strategies.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: victims or a victim's attack are missing, more than one attack or radius remains, or there is no
            single baseline.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import FACTS, Experiment, chosen_experiments, direction, query

    least, column = float(options["fitted_at_least"]), options["column"]
    require(inputs["victims"], [column], "column")
    experiments, columns = [], []
    attacks: list[pd.Series] = []
    for name, rows, victims in chosen_experiments(inputs, options):
        poisoned = rows[rows["strategy"] != "none"]
        facts = common_facts(poisoned if len(poisoned) else rows, FACTS)
        experiments.append(Experiment(name, facts, direction(name, facts, options)))
        if column == ADVERSARIAL:
            victims, met = _attacked(query(inputs, name, options), rows, victims)
            attacks += met
        columns.append(sorted(_groups(name, rows, victims, options["labels"]), key=lambda group: _place(group, column)))
    baselines = [_baseline(e.name, groups, options) for e, groups in zip(experiments, columns, strict=True)]

    narrow = len(experiments) == 1 and len(columns[0]) <= FITS_A_COLUMN
    longest = max(len(group.label) for groups in columns for group in groups)
    # Labels that stand upright take of the height what the panels need.
    figure = Figure(figsize=(style.COLUMN if narrow else style.PAGE, 3.4 + 0.05 * max(0, longest - 10)))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.03, hspace=0.03, wspace=0.03)
    panels = figure.subplots(2, len(columns), sharex="col", sharey="row", squeeze=False, height_ratios=(3.2, 1))
    for (accuracy, share), groups, baseline, experiment in zip(panels.T, columns, baselines, experiments, strict=True):
        _draw(accuracy, share, groups, baseline, least, column)
        accuracy.set_title(experiment.direction, pad=4)
    panels[0, 0].set_ylabel(title(column))
    panels[1, 0].set_ylabel("fitted")
    figure.align_ylabels(panels[:, 0])
    compared = ", ".join(dict.fromkeys(baseline.label for baseline in baselines))
    figure.legend(handles=_legend(least, compared), loc="outside upper center", ncols=2 if narrow else 4)
    # Victims that fitted their poisons count, as in `comparison.compare`, unless that leaves nothing of a condition.
    some = all(len(_fitted(group, least)) for groups in columns for group in groups)
    counted_from = least if some else -math.inf
    compared_with = list(zip(experiments, columns, baselines, strict=True))
    found = [
        (f"{experiment.direction}: " * (len(columns) > 1), group, _difference(group, baseline, counted_from, column))
        for experiment, groups, baseline in compared_with
        for group in groups
        if group is not baseline
    ]
    sizes = [_estimate(group.victims, column) for groups in columns for group in groups if group.strategy != "none"]
    return figure, {
        **shared_facts(experiments, options),
        "finding": _finding(compared_with, counted_from, column, compared),
        "clean": "".join(
            f" Without poisons: {value_text(difference, sign='+')} from {compared}."
            for _, group, difference in found
            if group.strategy == "none" and len(columns) == 1
        ),
        "which": f"that fitted {percent(least)}" if some else "all, for some conditions have none that fitted so many",
        "column": title(column).capitalize(),
        "attacked": measured(attacks),
        "fitted": percent(least),
        "baseline": compared,
        "n": shared_n(sizes),
        "n_baseline": shared_n(_estimate(baseline.victims, column) for baseline in baselines),
    }


def _finding(
    compared: Sequence[tuple[Experiment, Sequence[_Group], _Group]], least: float, column: str, baseline: str
) -> str:
    """Say how many conditions with poisons are shown to lie below the baseline, which most, and how many above."""
    from poisonlab.documents.comparison import judge

    sides: dict[str, list[tuple[float, str]]] = {"stronger": [], "weaker": []}
    total = unfitted = 0
    for experiment, groups, base in compared:
        others = [group for group in groups if group is not base and group.strategy != "none"]
        found = [_difference(group, base, least, column) for group in others]
        shares = [min(len(_fitted(one, least)) / len(one.victims) for one in (group, base)) for group in others]
        total += len(others)
        for group, one, (_, _, verdict) in zip(others, found, judge(found, shares), strict=True):
            unfitted += "not fitted" in verdict or "few fitted" in verdict
            if verdict in sides:
                where = f" ({experiment.direction})" * (len(compared) > 1)
                sides[verdict].append((one.value, f"{group.label}{where}, {value_text(one, sign='+')}"))
    what, (lower, higher) = title(column), (sorted(side) for side in sides.values())
    if not total:
        return f"No other condition with poisons is there to compare with {baseline}."
    cannot = f" Of {unfitted} too few victims fit their poisons to be compared." if unfitted else ""
    most = f", most of all {lower[0][1]}" if lower else ""
    return (
        f"Of {counted(total, 'condition')}, {len(lower) or 'none'} {'are' if len(lower) > 1 else 'is'} shown to lower "
        f"{what} more than {baseline}{most}, and {len(higher) or 'none'} less.{cannot}"
    )


def _attacked(found: Query, rows: pd.DataFrame, victims: pd.DataFrame) -> tuple[pd.DataFrame, list[pd.Series]]:
    """Add adversarial accuracy to the victims of each condition, under the attack on its own classes; return the
    attacks.
    """
    import pandas as pd

    from poisonlab.figures.experiments import attacked

    parts, attacks = [], []
    for condition, own in rows.groupby("condition", sort=False):
        parts.append(attacked(victims[victims["condition"] == condition], found, own.iloc[0]))
        attacks.append(found.attack(own.iloc[0]).iloc[0])
    return pd.concat(parts, ignore_index=True), attacks


def _groups(name: str, rows: pd.DataFrame, victims: pd.DataFrame, labels: Mapping[str, str]) -> list[_Group]:
    """Return the groups in the order of the table, values of a sweep axis by size."""
    groups = []
    for condition in rows["condition"].unique():
        own, trained = rows[rows["condition"] == condition], victims[victims["condition"] == condition]
        for value in sorted(own["axis_value"]):
            same = trained["axis_value"].isna() if math.isnan(value) else trained["axis_value"] == value
            label = condition if math.isnan(value) else f"{condition} {value:g}"
            if not same.any():
                raise InputError(f"experiment '{name}' has no victims of condition '{label}'; train them first")
            groups.append(_Group(named(label, labels), label, condition, own["strategy"].iloc[0], trained[same]))
    return groups


def _place(group: _Group, column: str) -> float:
    """Where a group stands: at its mean, which may be unknown."""
    found = _estimate(group.victims, column)
    return math.inf if found is None else found.value


def _baseline(name: str, groups: Sequence[_Group], options: Mapping[str, Any]) -> _Group:
    wanted = options["baseline"]
    found = [g for g in groups if (g.strategy == "random" if wanted is None else wanted in (g.name, g.condition))]
    if len(found) != 1:
        what = "conditions of strategy 'random'" if wanted is None else f"conditions '{wanted}'"
        raise InputError(
            f"experiment '{name}' has {len(found)} {what}, a comparison needs exactly 1; "
            f"choose one of {[group.name for group in groups]} by the option 'baseline'"
        )
    return found[0]


def _draw(accuracy: Axes, share: Axes, groups: Sequence[_Group], baseline: _Group, least: float, column: str) -> None:
    middle = _estimate(baseline.victims, column)
    if middle is not None:
        accuracy.axhline(middle.value, color=style.ORANGE, linewidth=1.0, gid="baseline", zorder=1)
    for position, group in enumerate(groups):
        values = group.victims[column]
        accuracy.plot(np.full(len(values), position + _SINGLE), values, gid="victims", zorder=2, **_DOT)
        _mean(accuracy, group.victims, column, position + _ALL, "all", _CIRCLE)
        fitted = group.victims[group.victims["fitted_share"] >= least]
        if len(fitted) > 1:
            _mean(accuracy, fitted, column, position + _FITTED, "fitted", _DIAMOND)
        _mean(share, group.victims, "fitted_share", position + _ALL, "share", _CIRCLE)
    if column == ADVERSARIAL:
        accuracy.set(ylim=(-0.03, 1.03), yticks=np.linspace(0, 1, 6))
    accuracy.tick_params(bottom=False)
    share.set(ylim=(-0.08, 1.08), yticks=(0, 1), xlim=(-0.6, len(groups) - 0.4))
    upright = sum(len(group.label) for group in groups) > 24 or len(groups) > 5
    share.set_xticks(range(len(groups)), [group.label for group in groups], rotation=90 if upright else 0)


def _mean(panel: Axes, victims: pd.DataFrame, value: str, x: float, gid: str, look: Mapping[str, Any]) -> None:
    found = _estimate(victims, value)
    if found is None:
        return
    if np.isfinite([found.low, found.high]).all():
        panel.vlines(x, found.low, found.high, color=look["color"], linewidth=1.0, gid=f"{gid}-interval", zorder=3)
    panel.plot([x], [found.value], gid=gid, zorder=4, **look)


def _estimate(victims: pd.DataFrame, column: str) -> Estimate | None:
    """Mean of a column with its 95 % interval, or None where no victim has a value."""
    from poisonlab.statistics import grid, mean_interval

    known = victims[victims[column].notna()]
    return mean_interval(grid(known, column), bounds=bounds(column)) if len(known) else None


def _fitted(group: _Group, least: float) -> pd.DataFrame:
    """Victims that fitted their poisons; without poisons there is nothing to fit."""
    return group.victims if group.strategy == "none" else group.victims[group.victims["fitted_share"] >= least]


def _difference(group: _Group, baseline: _Group, least: float, column: str) -> Difference:
    """Mean difference of victims that fitted at least so much."""
    from poisonlab.statistics import grid, paired_difference

    own, base = (grid(_fitted(one, least), column) for one in (group, baseline))
    found, own_bounds = paired_difference(own, base), bounds(column)
    if own_bounds is None:
        return found
    most = own_bounds[1] - own_bounds[0]  # no difference of shares is larger, whatever few draws leave open
    return replace(found, low=max(found.low, -most), high=min(found.high, most))


def _legend(least: float, baseline: str) -> list[Line2D]:
    from matplotlib.lines import Line2D

    return [
        Line2D([], [], label="all victims, mean", **_CIRCLE),
        Line2D([], [], label=f"≥ {percent(least)} fitted, mean", **_DIAMOND),
        Line2D([], [], label="one victim", **_DOT),
        Line2D([], [], color=style.ORANGE, linewidth=1.0, label=f"mean of {baseline}"),
    ]
