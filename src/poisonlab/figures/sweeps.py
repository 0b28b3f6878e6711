"""Curves over a sweep axis with a scale: victims against the distance of their poisons, or any other number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import common_facts, joined, measured, named, shared_facts, shared_n
from poisonlab.figures.columns import ADVERSARIAL, bounds, require, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import Experiment
    from poisonlab.statistics import Estimate

COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE)
PANELS = (ADVERSARIAL, "natural_accuracy", "fitted_share", "epochs")
LETTERS = "abcd"
FEW = 3  # lines of which the finding gives the means at both ends
_DASHED = (0, (4, 2))


@dataclass(frozen=True)
class _Line:
    """One condition: its victims, those without poisons (there may be none), and how it looks."""

    label: str
    victims: pd.DataFrame
    clean: pd.DataFrame
    look: Mapping[str, Any]
    beside: str  # label of a condition that has no axis
    others: pd.DataFrame  # its victims; there may be none


@figure(
    "sweep",
    needs=("conditions", "victims", "robustness"),
    title="Victims against the sweep axis of their poisons",
    caption="Victims of {budget} poisons against the {axis}. Lines: means; bands: 95 % intervals{dotted}.",
    method="{attacked}Intervals are for new draws and repeats. n, draws × repeats, at each value: {n}. {provenance}",
    options={
        "lines": Option(
            "experiment → {label, condition: default all with a sweep axis, colour: number, dashed, part_of: "
            "experiment whose line it belongs to, beside: condition without the axis, a level line}, in their order",
            {},
        ),
        "panels": Option(
            "1 to 4 columns of the victims to show, adversarial accuracy or others that are numbers", list(PANELS)
        ),
        "axis_label": Option("name and unit of the sweep axis", "value of the sweep axis"),
        "lowest": Option(
            "column → where its axis begins at the latest, so that figures beside each other are alike", {}
        ),
        "published": Option("column → [value, words] of the source, a line", {}),
        **ATTACK,
    },
)
def sweep(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the means of victims, with 95 % intervals, against the values of their sweep axis.

    One panel for each column; one line for each condition with a sweep axis, and for each experiment and its victims a
    dotted one at the mean of those without poisons, where there are some. Victims of other conditions are left out; an
    experiment that is part of another one's line adds values of its axis.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment has no condition with a sweep axis, an attack is missing or ambiguous, or a column
            does not exist.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from poisonlab.figures.experiments import attacked, query

    panels: Sequence[str] = options["panels"]
    if not 1 <= len(panels) <= len(LETTERS):
        raise InputError(f"option panels names {len(panels)} columns, allowed are 1 to {len(LETTERS)}; leave some out")
    require(inputs["victims"], panels, "panels")
    lines: list[_Line] = []
    experiments: list[Experiment] = []
    unpoisoned_ones: list[Experiment] = []  # whose facts the caption gives where there are no others
    attacks: list[pd.Series] = []
    chosen = chosen_lines(inputs, options)
    for name, settings in chosen.items():
        if settings.get("part_of") in chosen:
            continue
        parts = [other for other, its in chosen.items() if its.get("part_of") == name]
        own, conditions = (inputs[table][inputs[table]["experiment"] == name] for table in ("victims", "conditions"))
        shown: list[str] = []  # models and recipes whose victims without poisons are drawn: once for each experiment
        swept = _swept(conditions, name, settings.get("condition"))
        for place, condition in enumerate(swept):
            experiment, victims = victims_of(inputs, options, name, condition)
            unpoisoned = own[own["condition"].isin(_clean(conditions, condition, shown))]
            beside = settings.get("beside", "")
            others = own[own["condition"] == beside]
            if ADVERSARIAL in panels:
                found, row = query(inputs, name, options), conditions[conditions["condition"] == condition].iloc[0]
                attacks.append(found.attack(row).iloc[0])
                victims, unpoisoned, others = (attacked(group, found, row) for group in (victims, unpoisoned, others))
            victims = _joined([victims, *(_part(inputs, options, part, condition, panels) for part in parts)])
            look = {
                "color": COLOURS[(settings.get("colour", len(lines) - place) + place) % len(COLOURS)],
                "linestyle": _DASHED if settings.get("dashed") else "-",
            }
            own_label = named(condition, options["labels"]) if len(swept) > 1 else ""
            label = ": ".join(filter(None, [settings.get("label", named(name, options["labels"])), own_label]))
            own_row = conditions[conditions["condition"] == condition].iloc[0]
            (experiments if own_row["strategy"] != "none" else unpoisoned_ones).append(experiment)
            lines.append(_Line(label, victims, unpoisoned, look, named(beside, options["labels"]), others))

    rows = 1 if len(panels) < 4 else 2
    figure = Figure(figsize=(style.PAGE, 2.5 * rows))
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
    axes = figure.subplots(rows, -(-len(panels) // rows), squeeze=False, sharex=True).ravel()
    n: list[Estimate] = []
    n_clean: list[Estimate] = []
    n_beside: list[Estimate] = []
    for letter, panel, column in zip(LETTERS, axes, panels, strict=False):
        panel.set_title(f"({letter})", loc="left", size=style.SMALL)
        for line in lines:
            n += _draw(panel, line, column)
            n_clean += _draw_level(panel, line.clean, column, {**line.look, "linestyle": ":"}, "clean")
            look = {"color": style.GREY, "linestyle": _DASHED, "label": line.beside}
            n_beside += _draw_level(panel, line.others, column, look, "beside")
        if column in options["published"]:
            _mark_published(panel, *options["published"][column])
        low, high = bounds(column) or (-np.inf, np.inf)
        bottom = min(options["lowest"][column], panel.get_ylim()[0]) if column in options["lowest"] else low
        if column == "natural_accuracy" and column not in options["lowest"]:
            bottom, high = panel.get_ylim()[0], min(panel.get_ylim()[1], high)
        if np.isfinite(high):
            panel.set_ylim(bottom - 0.04 * (high - bottom), high + 0.04 * (high - bottom))
        elif np.isfinite(bottom):
            panel.set_ylim(bottom=bottom)
        panel.set_ylabel(title(column))
    figure.supxlabel(options["axis_label"], size=8)
    handles, labels = axes[0].get_legend_handles_labels()
    if n_clean:
        handles.append(Line2D([], [], color=style.GREY, linestyle=":"))
        labels.append("no poisons")
    figure.legend(handles, labels, loc="outside upper center", ncols=max(3, -(-len(labels) // 2)))
    return figure, {
        **shared_facts(experiments or unpoisoned_ones, options),
        "axis": options["axis_label"],
        "finding": _finding(lines, panels[0], options["axis_label"]),
        "dotted": "; dotted: victims without poisons" if n_clean else "",
        "attacked": measured(attacks),
        "n": shared_n(one for one in n if one.n_draws)
        + (f"; without poisons: {shared_n(n_clean)}" if n_clean else "")
        + (f"; of what has no axis: {shared_n(n_beside)}" if n_beside else ""),
    }


def _part(
    inputs: Mapping[str, Any], options: Mapping[str, Any], name: str, condition: str, panels: Sequence[str]
) -> pd.DataFrame:
    """Victims of the same condition of an experiment that is part of another one's line."""
    from poisonlab.figures.experiments import attacked, query

    _, victims = victims_of(inputs, options, name, condition)
    if ADVERSARIAL not in panels:
        return victims
    rows = inputs["conditions"]
    row = rows[(rows["experiment"] == name) & (rows["condition"] == condition)].iloc[0]
    return attacked(victims, query(inputs, name, options), row)


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]


def _mark_published(panel: Axes, value: float, words: str) -> None:
    """A line at a value of the source, named at the right."""
    panel.axhline(value, color=style.BLACK, linewidth=0.7, linestyle=_DASHED, gid="published", zorder=1)
    place: dict[str, Any] = {"ha": "right", "va": "top", "size": style.TINY, "zorder": 3}
    place["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85}
    panel.annotate(
        f"published: {words}",
        (1, value),
        (0, -2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        **place,
    )


def _finding(lines: Sequence[_Line], column: str, axis: str) -> str:
    """Say how the first column changes along the axis: as most lines do, and which others do otherwise; of few lines
    the means at both ends, too.
    """
    shapes: dict[str, list[str]] = {}
    last = [line.victims["axis_value"].max() for line in lines]
    for line, end in zip(lines, last, strict=True):
        ends = _ends(line.victims, column) + (f" at {end:g}" if end < max(last) else "") if len(lines) <= FEW else ""
        shapes.setdefault(_shape(line.victims, column), []).append(": ".join(filter(None, [line.label, ends])))
    (most, usual), *others = sorted(shapes.items(), key=lambda item: -len(item[1]))
    named_too = len(lines) <= FEW or (others and len(others[0][1]) == len(usual))
    where = [most + f" ({joined(usual)})" * bool(named_too), *(f"{words} ({joined(names)})" for words, names in others)]
    return f"With the {axis}, {title(column)} {'; it '.join(where)}."


def _ends(victims: pd.DataFrame, column: str) -> str:
    """Means at the first and at the last value of the axis: "0.64 to 0.97"."""
    means = victims.groupby("axis_value")[column].mean()
    return f"{means.iloc[0]:.2f} to {means.iloc[-1]:.2f}"


def _shape(victims: pd.DataFrame, column: str) -> str:
    """How a column changes from the first to the last value of the axis, as far as 95 % intervals of differences show.

    An extreme between them counts where both ends differ from it; as it is chosen from all values between, the
    intervals are Bonferroni's over their number.
    """
    from poisonlab.statistics import grid, mean_interval

    grids = [grid(own, column) for _, own in victims.groupby("axis_value")]
    if len({one.shape for one in grids}) > 1 or len(grids) < 2:
        return "is not compared, for victims are missing"
    means = [float(np.nanmean(one)) for one in grids]
    for words, place, sign in (
        ("falls, then rises", int(np.argmin(means)), 1),
        ("rises, then falls", int(np.argmax(means)), -1),
    ):
        ends = [sign * (grids[end] - grids[place]) for end in (0, -1)]
        confidence = 1 - 0.05 / max(len(grids) - 2, 1)
        if 0 < place < len(grids) - 1 and all(mean_interval(one, confidence).low > 0 for one in ends):
            return words
    change = mean_interval(grids[-1] - grids[0])
    return "rises" if change.low > 0 else "falls" if change.high < 0 else "is not shown to rise or fall"


def chosen_lines(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return how each experiment's line looks; every experiment is drawn where the options choose none."""
    present = list(inputs["conditions"]["experiment"].unique())
    lines = options["lines"] or {name: {} for name in present}
    if missing := [name for name in lines if name not in present]:
        raise InputError(
            f"option lines names the experiments {missing}, the tables hold {present}; choose one of these"
        )
    return lines


def _swept(conditions: pd.DataFrame, name: str, wanted: str | None) -> list[str]:
    """Names of an experiment's conditions with a sweep axis, or of the one that is wanted."""
    found = list(conditions.loc[conditions["axis_value"].notna(), "condition"].unique())
    chosen = [condition for condition in found if wanted in (None, condition)]
    if not chosen:
        raise InputError(
            f"experiment '{name}' has the conditions {found} with a sweep axis, this figure needs "
            f"{'1 or more' if wanted is None else repr(wanted)}; choose another experiment or condition"
        )
    return chosen


def _clean(conditions: pd.DataFrame, condition: str, shown: list[str]) -> list[str]:
    """Conditions without poisons and sweep, of the condition's model and recipe, that are not shown; now they are."""
    row = conditions[conditions["condition"] == condition].iloc[0]
    clean = conditions[(conditions["strategy"] == "none") & conditions["axis_value"].isna()]
    alike = clean[(clean["model"] == row["model"]) & (clean["recipe"] == row["recipe"])]
    found = [name for name in alike["condition"] if name not in shown]
    shown += found
    return found


def victims_of(
    inputs: Mapping[str, Any], options: Mapping[str, Any], name: str, condition: str, first: bool = False
) -> tuple[Experiment, pd.DataFrame]:
    """Return an experiment with the facts of one condition, and its victims: all, or at the first value of its axis."""
    from poisonlab.figures.experiments import FACTS, Experiment, direction

    conditions, victims = (
        table[(table["experiment"] == name) & (table["condition"] == condition)]
        for table in (inputs["conditions"], inputs["victims"])
    )
    if first:
        lowest = conditions["axis_value"].min()
        conditions, victims = (
            table[table["axis_value"].isna() | (table["axis_value"] == lowest)] for table in (conditions, victims)
        )
    facts = common_facts(conditions, FACTS)
    return Experiment(name, facts, direction(name, facts, options)), victims


def _draw(panel: Axes, line: _Line, column: str) -> list[Estimate]:
    """Draw one line of one panel and return its estimates."""
    values: Sequence[float] = sorted(line.victims["axis_value"].unique())
    estimates = [_mean(line.victims[line.victims["axis_value"] == value], column) for value in values]
    lows, highs = ([getattr(estimate, side) for estimate in estimates] for side in ("low", "high"))
    means = np.array([estimate.value for estimate in estimates])
    panel.fill_between(values, lows, highs, color=line.look["color"], alpha=0.15, linewidth=0, gid="interval")
    panel.plot(values, means, marker="o", markersize=3, label=line.label, gid=column, **line.look)
    return estimates


def _draw_level(panel: Axes, victims: pd.DataFrame, column: str, look: Mapping[str, Any], name: str) -> list[Estimate]:
    """Draw the mean of victims that have no axis, where one has a value; return its estimate."""
    if victims[column].isna().all():
        return []
    found = _mean(victims, column)
    if np.isfinite([found.low, found.high]).all():
        panel.axhspan(found.low, found.high, color=look["color"], alpha=0.08, linewidth=0, gid=f"{name}-interval")
    panel.axhline(found.value, linewidth=1, gid=name, **look)
    return [found]


def _mean(victims: pd.DataFrame, column: str) -> Estimate:
    from poisonlab.statistics import grid, mean_interval

    return mean_interval(grid(victims, column), bounds=bounds(column))
