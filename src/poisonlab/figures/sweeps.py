"""Curves over a sweep axis with a scale: victims against the distance of their poisons, or any other number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import common_facts, definition, describe_all, shared_facts, shared_n
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
LIPSCHITZ = {"lipschitz_mean": "mean over test points", "lipschitz_max": "largest"}
_DASHED = (0, (4, 2))


@dataclass(frozen=True)
class _Line:
    """One condition: its victims, those without poisons (there may be none), and how it looks."""

    label: str
    victims: pd.DataFrame
    clean: pd.DataFrame
    look: Mapping[str, Any]


@figure(
    "sweep",
    needs=("conditions", "victims", "robustness"),
    title="Victims against the sweep axis of their poisons",
    caption="Victims of {budget} poisons against the {axis}: {panels}; means over all victims, bands: 95 % intervals "
    "for new draws and repeats; dotted, where drawn: victims without poisons. {attacked}n, draws × repeats, at each "
    "value: {n}. {provenance}",
    options={
        "lines": Option(
            "experiment → {label, condition: default all with a sweep axis, colour: number, dashed}, in their order", {}
        ),
        "panels": Option(
            "1 to 4 columns of the victims to show, adversarial accuracy or others that are numbers", list(PANELS)
        ),
        "axis_label": Option("name and unit of the sweep axis", "value of the sweep axis"),
        **ATTACK,
    },
)
def sweep(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the means of victims, with 95 % intervals, against the values of their sweep axis.

    One panel for each column; one line for each condition with a sweep axis, and for each experiment and its victims a
    dotted one at the mean of those without poisons, where there are some. Victims of other conditions are left out.

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
    attacks: list[pd.Series] = []
    for name, settings in _chosen(inputs, options).items():
        own, conditions = (inputs[table][inputs[table]["experiment"] == name] for table in ("victims", "conditions"))
        shown: list[str] = []  # models and recipes whose victims without poisons are drawn: once for each experiment
        swept = _swept(conditions, name, settings.get("condition"))
        for place, condition in enumerate(swept):
            experiment, victims = _condition(inputs, name, condition)
            unpoisoned = own[own["condition"].isin(_clean(conditions, condition, shown))]
            if ADVERSARIAL in panels:
                found, row = query(inputs, name, options), conditions[conditions["condition"] == condition].iloc[0]
                attacks.append(found.attack(row).iloc[0])
                victims, unpoisoned = (attacked(group, found, row) for group in (victims, unpoisoned))
            look = {
                "color": COLOURS[(settings.get("colour", len(lines) - place) + place) % len(COLOURS)],
                "linestyle": _DASHED if settings.get("dashed") else "-",
            }
            label = ": ".join(filter(None, [settings.get("label", name), condition if len(swept) > 1 else ""]))
            experiments.append(experiment)
            lines.append(_Line(label, victims, unpoisoned, look))

    rows = 1 if len(panels) < 3 else 2
    figure = Figure(figsize=(style.PAGE, 2.5 * rows))
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
    axes = figure.subplots(rows, -(-len(panels) // rows), squeeze=False).ravel()
    n: list[Estimate] = []
    n_clean: list[Estimate] = []
    for letter, panel, column in zip(LETTERS, axes, panels, strict=False):
        panel.set_title(f"({letter})", loc="left", size=style.SMALL)
        for line in lines:
            n += _draw(panel, line, column)
            n_clean += _draw_clean(panel, line, column)
        if column == "fitted_share":
            panel.set(ylim=(-0.04, 1.04))
        panel.set_ylabel(title(column))
        panel.set_xlabel(options["axis_label"])
    for panel in axes[len(panels) :]:
        panel.remove()
    handles, labels = axes[0].get_legend_handles_labels()
    if n_clean:
        handles.append(Line2D([], [], color=style.GREY, linestyle=":"))
        labels.append("no poisons")
    figure.legend(handles, labels, loc="outside upper center", ncols=3 if len(labels) == 3 else -(-len(labels) // 2))
    return figure, {
        **shared_facts(experiments, options),
        "axis": options["axis_label"],
        "panels": ", ".join(f"({letter}) {title(column)}" for letter, column in zip(LETTERS, panels, strict=False)),
        "attacked": f"Adversarial accuracy: {definition(attacks)}. Attack: {describe_all(attacks)}. "
        if attacks
        else "",
        "n": shared_n(n) + (f"; without poisons: {shared_n(n_clean)}" if n_clean else ""),
    }


@figure(
    "by_experiment",
    needs=("conditions", "victims", "robustness"),
    title="Natural and adversarial accuracy of several experiments",
    caption="Natural and adversarial accuracy: means with 95 % intervals; faint dots: single victims. Adversarial "
    "accuracy: {definition}. Attack: {attack}. {budget} poisons. n, draws × repeats: {n}.{beside} {provenance}",
    options={
        "lines": Option(
            "experiment → {label, condition: where several have poisons, published: [mean, standard deviation] of "
            "adversarial accuracy}, in their order",
            {},
        ),
        "lipschitz": Option(
            "whether the victims' local Lipschitz constants stand beside; they come from probes", False
        ),
        "axis_label": Option("what the experiments differ in", ""),
        **ATTACK,
    },
)
def by_experiment(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw natural and adversarial accuracy of several experiments side by side.

    Of each experiment, the victims of its one poisoned condition, at the first value of its sweep axis if it has one;
    faint dots are single victims, open squares published adversarial accuracies. Beside it, if asked for, the victims'
    local Lipschitz constants.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment has no poisoned condition, or more than one; an attack is missing or ambiguous.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import attacked, query
    from poisonlab.statistics import grid, mean_interval

    smoothness = options["lipschitz"]
    figure = Figure(figsize=(style.PAGE if smoothness else style.COLUMN, 2.7))
    figure.set_layout_engine("constrained")
    panel, *beside = figure.subplots(1, 1 + smoothness, squeeze=False).ravel()
    experiments, attacks, labels = [], [], []
    estimates: dict[str, list[Estimate]] = {"natural_accuracy": [], "adversarial_accuracy": []}
    constants: dict[str, list[Estimate]] = {name: [] for name in LIPSCHITZ} if smoothness else {}
    published: dict[int, Sequence[float]] = {}
    for position, (name, settings) in enumerate(_chosen(inputs, options).items()):
        condition = _poisoned(inputs, name, settings.get("condition"))
        experiment, victims = _condition(inputs, name, condition, first=True)
        tables = query(inputs, name, options)
        row = tables.conditions(condition).iloc[0]
        first = attacked(victims, tables, row)
        experiments.append(experiment)
        attacks.append(tables.attack(row).iloc[0])
        labels.append(str(settings.get("label", name)))
        if "published" in settings:
            published[position] = settings["published"]
        for column in constants:
            constants[column].append(mean_interval(grid(first, column)))
        for column, colour, shift in zip(estimates, (style.ORANGE, style.BLUE), (-0.1, 0.1), strict=True):
            estimates[column].append(mean_interval(grid(first, column), bounds=(0.0, 1.0)))
            spread = position + shift + 0.08 * np.sign(shift) + np.linspace(-0.03, 0.03, len(first))
            panel.plot(
                spread, first[column], ".", color=colour, markersize=2.5, markeredgewidth=0, alpha=0.35, gid="victims"
            )
    # A line says that there is something between: between numbers, not between names.
    mark = "o-" if all(label.replace(".", "", 1).isdecimal() for label in labels) else "o"
    for (column, found), colour, shift in zip(estimates.items(), (style.ORANGE, style.BLUE), (-0.1, 0.1), strict=True):
        x = np.arange(len(found)) + shift
        panel.vlines(
            x, [one.low for one in found], [one.high for one in found], color=colour, linewidth=1.2, gid="interval"
        )
        panel.plot(x, [one.value for one in found], mark, color=colour, markersize=3.5, label=title(column), gid=column)
    if published:
        means, spreads = zip(*published.values(), strict=True)
        look: dict[str, Any] = {
            "color": style.GREY,
            "markerfacecolor": "none",
            "markersize": 5,
            "capsize": 2,
            "linewidth": 1,
        }
        panel.errorbar([x - 0.03 for x in published], means, spreads, fmt="s", label="published, ± s.d.", **look)
    for axes in beside:
        for (column, words), colour in zip(LIPSCHITZ.items(), (style.GREEN, style.VERMILLION), strict=True):
            found = constants[column]
            axes.vlines(range(len(found)), [e.low for e in found], [e.high for e in found], color=colour, linewidth=1.2)
            axes.plot([e.value for e in found], mark, color=colour, markersize=3.5, label=words, gid=column)
        axes.set(ylabel="local Lipschitz constant, l∞ to l1", yscale="log")
        axes.legend()
    for axes in (panel, *beside):
        axes.set_xticks(range(len(labels)), labels)
        axes.set(xlabel=options["axis_label"], xlim=(-0.5, len(labels) - 0.5))
    panel.set_ylabel("accuracy")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3 if smoothness else 2)
    sizes = [shared_n([one]) for one in estimates["adversarial_accuracy"]]
    each = "; ".join(f"{label}: {size}" for label, size in zip(labels, sizes, strict=True))
    return figure, {
        **shared_facts(experiments, options),
        "definition": definition(attacks),
        "attack": describe_all(attacks),
        "beside": " Right: local Lipschitz constants of the class probabilities, of every victim's mean and largest "
        "over test points."
        if smoothness
        else "",
        "n": each if len(set(sizes)) > 1 else sizes[0],
    }


@figure(
    "memorisation",
    needs=("conditions", "victims"),
    title="What victims memorise, and how soon",
    source="label-noise thesis, Appendix A",
    caption="Share of the victims that fit every training point, {budget} poisons included, the epochs that they "
    "took, and their natural accuracy: means with 95 % intervals for new draws and repeats (those of shares nowhere "
    "narrower than the exact ones over draws); faint dots: single victims. Victims that never fit all count with the "
    "limit of {limit} epochs. n, draws × repeats: {n}. {provenance}",
    options={
        "lines": Option("experiment → {label}, in their order", {}),
        "limit": Option("for the caption: the epoch limit; default: the most that a victim took"),
    },
)
def memorisation(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the share of victims that memorise everything, their epochs and natural accuracy: the thesis's Appendix A.

    One row for each experiment.

    Args:
        inputs: the tables `conditions` and `victims` of all the experiments drawn.

    Raises:
        InputError: an experiment has no poisoned condition, or more than one.
    """
    from matplotlib.figure import Figure

    from poisonlab.statistics import grid, mean_interval, share_interval

    lines = _chosen(inputs, options)
    figure = Figure(figsize=(style.PAGE, 0.7 + 0.3 * len(lines)))
    figure.set_layout_engine("constrained")
    share, epochs, accuracy = figure.subplots(1, 3, sharey=True)
    experiments: list[Experiment] = []
    n: list[str] = []
    for row, name in enumerate(lines):
        experiment, own = _condition(inputs, name, _poisoned(inputs, name, None), first=True)
        experiments.append(experiment)
        own = own.assign(memorised=own["memorised"].astype(float))
        estimates = {
            "memorised": (share, share_interval(grid(own, "memorised"))),
            "epochs": (epochs, mean_interval(grid(own, "epochs"))),
            "natural_accuracy": (accuracy, mean_interval(grid(own, "natural_accuracy"), bounds=(0.0, 1.0))),
        }
        for column, (panel, found) in estimates.items():
            panel.hlines(row, found.low, found.high, color=style.BLUE, linewidth=1.2, gid="interval")
            panel.plot(found.value, row, "o", color=style.BLUE, markersize=4, gid=column)
        n.append(f"{lines[name].get('label', name)} {shared_n(found for _, found in estimates.values())}")
        spread = row + 0.2 + np.linspace(-0.06, 0.06, len(own))
        look: dict[str, Any] = {
            "color": style.BLUE,
            "markersize": 3,
            "markeredgewidth": 0,
            "alpha": 0.35,
            "rasterized": True,
        }
        for panel, column in ((epochs, "epochs"), (accuracy, "natural_accuracy")):
            panel.plot(own[column], spread, ".", gid="victims", **look)
    share.set_yticks(range(len(lines)), [settings.get("label", name) for name, settings in lines.items()])
    share.set(xlabel="share that fit everything", xlim=(-0.03, 1.03), ylim=(len(lines) - 0.5, -0.5))
    epochs.set(xlabel="epochs", xscale="log")
    accuracy.set(xlabel="natural accuracy", xlim=(None, 1.01))
    limit = int(inputs["victims"]["epochs"].max()) if options["limit"] is None else options["limit"]
    return figure, {**shared_facts(experiments, options), "n": "; ".join(n), "limit": limit}


def _chosen(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
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


def _poisoned(inputs: Mapping[str, Any], name: str, wanted: str | None) -> str:
    """Name of an experiment's only condition with poisons, or of the one that is wanted."""
    conditions = inputs["conditions"]
    own = conditions[(conditions["experiment"] == name) & (conditions["strategy"] != "none")]
    own = own if wanted is None else own[own["condition"] == wanted]
    if len(found := list(own["condition"].unique())) != 1:
        raise InputError(
            f"experiment '{name}' has the conditions {found} with poisons, this figure needs exactly 1; "
            "choose another experiment, or one of these by 'condition' in the option 'lines'"
        )
    return found[0]


def _condition(
    inputs: Mapping[str, Any], name: str, condition: str, first: bool = False
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
    return Experiment(name, facts, direction(name, facts, None)), victims


def _draw(panel: Axes, line: _Line, column: str) -> list[Estimate]:
    """Draw one line of one panel and return its estimates."""
    values: Sequence[float] = sorted(line.victims["axis_value"].unique())
    estimates = [_mean(line.victims[line.victims["axis_value"] == value], column) for value in values]
    lows, highs = ([getattr(estimate, side) for estimate in estimates] for side in ("low", "high"))
    means = np.array([estimate.value for estimate in estimates])
    panel.fill_between(values, lows, highs, color=line.look["color"], alpha=0.15, linewidth=0, gid="interval")
    panel.plot(values, means, marker="o", markersize=3, label=line.label, gid=column, **line.look)
    return estimates


def _draw_clean(panel: Axes, line: _Line, column: str) -> list[Estimate]:
    """Draw the mean without poisons, where there are such victims with a value; return its estimate."""
    if line.clean[column].isna().all():
        return []
    found = _mean(line.clean, column)
    if np.isfinite([found.low, found.high]).all():
        panel.axhspan(found.low, found.high, color=line.look["color"], alpha=0.08, linewidth=0, gid="clean-interval")
    panel.axhline(found.value, color=line.look["color"], linestyle=":", linewidth=1, gid="clean")
    return [found]


def _mean(victims: pd.DataFrame, column: str) -> Estimate:
    from poisonlab.statistics import grid, mean_interval

    return mean_interval(grid(victims, column), bounds=bounds(column))
