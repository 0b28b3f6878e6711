"""Which strategies help: every one beside random points at the same budget, over all experiments of a study."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import measured, named, percent, shared_facts, value_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import Experiment

COLUMNS = 3  # of panels, at most
MOST = 24  # experiments, more than a page holds
_ROW = 0.135  # inches
_HEAD = 3.6  # rows that a panel's title, its ticks and a gap take
_TICKS = 0.2  # inches; so are the following
_LEGEND = 0.25
_FOOT = 0.2  # label of the lowest axis
_LETTER = 0.055  # of a label
_GAP = 0.1  # between a panel and what stands beside it
_INTERVAL: dict[str, Any] = {"linewidth": 1.0, "zorder": 2, "gid": "interval"}
_WORDS: dict[str, Any] = {
    "fontsize": style.TINY, "color": style.GREY, "ha": "right", "va": "center", "zorder": 3,
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.6},
}  # fmt: skip
_LOOKS: dict[str, tuple[str, str, str]] = {  # verdict → colour, filling, label
    "stronger": (style.VERMILLION, style.VERMILLION, "easier to attack"),
    "weaker": (style.BLUE, style.BLUE, "harder to attack"),
    "open": (style.GREY, "white", "not decided"),
}


@figure(
    "strategies",
    needs=("conditions", "victims", "robustness"),
    title="Which strategies help",
    caption="Difference in adversarial accuracy from random points at the same budget ({budget} poisons), the most "
    "harmful strategy first; left of 0 victims are easier to attack. In colour: interval and p agree.",
    method="Victims that fitted {fitted} of their poisons, paired by repeat; 95 % intervals; p with Holm's correction "
    "within an experiment. {attacked}{provenance}",
    options={
        "experiments": Option(
            "experiments with random points and others, in their order; default: as they come in the tables"
        ),
        "headlines": ATTACK["headlines"],
    },
)
def strategies(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw how much adversarial accuracy differs from random points, for every strategy and value of its sweep axis.

    Numbers and verdicts are those of `comparison.compare`.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment has no random points that were attacked as the others were, or nothing beside them.
    """
    import pandas as pd
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from poisonlab.documents.comparison import compare, labels, radius
    from poisonlab.figures.experiments import FACTS, Experiment, chosen_experiments, direction, query
    from poisonlab.results.query import FITTED

    experiments, attacks, tables, words = [], [], [], options["labels"]
    names: list[list[str]] = []
    for name, rows, _ in chosen_experiments(inputs, options, MOST):
        found = query(inputs, name, options)
        table = compare(found).sort_values("difference", kind="stable", ignore_index=True)
        if table.empty:
            raise InputError(
                f"experiment '{name}' has nothing to compare with random points at ε = {radius(found):g}; give it a "
                "condition of strategy "
                "'random' and another one, attacked alike, or leave it out by 'experiments'"
            )
        facts = {key: rows.loc[rows["strategy"] == "random", key].iloc[0] for key in FACTS}
        experiment = Experiment(name, facts, direction(name, facts, {"labels": words}))
        experiments.append(experiment)
        attacks.append(found.attack(epsilon=radius(found)).iloc[0])
        tables.append(table)
        names.append([named(label, words) for label in labels(table)])
    together = pd.concat(tables, ignore_index=True)
    sizes = [len(table) + _HEAD for table in tables]
    columns, titles = _packed(sizes), _titles(experiments, words)
    height = _ROW * max(sum(sizes[n] for n in column) for column in columns) + _LEGEND + _FOOT
    # Placed by hand: a layout engine moves the panels of several columns by the last bit from one drawing to the next.
    figure = Figure(figsize=(style.PAGE, height))
    texts = [_LETTER * max(len(one) for n in column for one in names[n]) + _GAP for column in columns]
    width = (style.PAGE - sum(texts)) / len(columns) - _GAP
    left = 0.0
    for text, column in zip(texts, columns, strict=True):
        left += text
        bottom = height - _LEGEND
        for n in column:
            bottom -= _ROW * sizes[n]
            low, high = bottom + _TICKS, _ROW * len(tables[n])
            panel = figure.add_axes((left / style.PAGE, low / height, width / style.PAGE, high / height))
            _draw(panel, tables[n], _ends(together), names[n])
            panel.set_title(titles[n], pad=3, size=8)
        panel.set_xlabel("difference")
        left += width + _GAP
    keys = [
        Line2D([], [], color=colour, marker="o", markersize=3.6, markerfacecolor=filling, linewidth=1.0, label=label)
        for colour, filling, label in _LOOKS.values()
    ]
    figure.legend(handles=keys, loc="upper center", ncols=len(keys), borderaxespad=0.2)
    return figure, {
        **shared_facts(experiments, options, recipes=False),
        "attacked": measured(attacks),
        "fitted": percent(FITTED),
        "finding": _finding(tables, titles, names),
    }


def _finding(tables: Sequence[pd.DataFrame], titles: Sequence[str], names: Sequence[Sequence[str]]) -> str:
    """Say how many rows are shown to be easier to attack, which most, and how many harder."""
    from poisonlab.statistics import Estimate

    easier = [
        (row["difference"], f"{label} in {title}, {value_text(Estimate(*_interval(row), 0, 0), sign='+')}")
        for table, title, own in zip(tables, titles, names, strict=True)
        for row, label in zip(table.to_dict("records"), own, strict=True)
        if row["verdict"] == "stronger"
    ]
    harder = sum(int((table["verdict"] == "weaker").sum()) for table in tables)
    most = f", most of all {min(easier)[1]}" if easier else ""
    return (
        f"Of {sum(map(len, tables))} comparisons with random points, {len(easier) or 'none'} "
        f"{'show' if len(easier) > 1 else 'shows'} victims to be easier to attack{most}, and {harder or 'none'} to be "
        "harder."
    )


def _interval(row: Mapping[Any, Any]) -> tuple[float, float, float]:
    return row["difference"], row["low"], row["high"]


def _packed(sizes: Sequence[float]) -> list[list[int]]:
    """Divide panels of these heights, in their order, among columns; the highest column is as low as possible."""
    count = min(COLUMNS, len(sizes))
    cuts = ([0, *inner, len(sizes)] for inner in itertools.combinations(range(1, len(sizes)), count - 1))
    best = min(cuts, key=lambda ends: max(sum(sizes[a:b]) for a, b in itertools.pairwise(ends)))
    return [list(range(a, b)) for a, b in itertools.pairwise(best)]


def _titles(experiments: Sequence[Experiment], words: Mapping[str, str]) -> list[str]:
    """Say what is relabelled, and in which data: one data set has its classes alone, another all of them. Experiments
    that do not differ in these, but in their victims, say their label.
    """
    names = [named(one.name, words) for one in experiments]
    titles = [
        one.direction if math.isnan(one.facts["source_class"]) else f"{one.direction} ({named(data, words)})"
        for one in experiments
        for data in [one.facts["dataset"]]
    ]
    return [
        title if titles.count(title) == 1 else name if one.direction in name else f"{one.direction} ({name})"
        for title, one, name in zip(titles, experiments, names, strict=True)
    ]


def _ends(table: pd.DataFrame) -> tuple[float, float]:
    """Limits of the axis: what the intervals reach, no difference in it, and a little more."""
    values = table[["low", "high"]].to_numpy()
    values = np.clip(values[np.isfinite(values)], -1, 1)
    return min(-0.1, *values) - 0.03, max(0.1, *values) + 0.03


def _draw(panel: Axes, table: pd.DataFrame, ends: tuple[float, float], names: Sequence[str]) -> None:
    panel.axvline(0, color=style.BLACK, linewidth=0.6, zorder=1)
    for place, row in enumerate(table.to_dict("records")):
        colour, filling, _ = _LOOKS.get(row["verdict"], _LOOKS["open"])
        if row["verdict"] not in _LOOKS:  # not fitted, too few fitted, too few draws
            panel.text(1, place, row["verdict"], transform=panel.get_yaxis_transform(), **_WORDS)
        if math.isnan(row["difference"]):
            continue
        panel.hlines(place, max(row["low"], -1), min(row["high"], 1), color=colour, **_INTERVAL)
        panel.plot(
            row["difference"], place, "o", color=colour, markersize=3.6, markerfacecolor=filling, gid="difference"
        )
    panel.set(xlim=ends, ylim=(len(table) - 0.4, -0.6))
    panel.set_yticks(range(len(table)), names)
    panel.tick_params(axis="y", length=0)
