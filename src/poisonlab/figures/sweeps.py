"""Curves over a sweep axis with a scale: victims against the distance of their poisons, or any other number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from poisonlab.errors import InputError
from poisonlab.figures import style
from poisonlab.figures.captions import definition, describe, shared_facts, shared_n
from poisonlab.figures.experiments import FACTS, Experiment, attack_rows, attacked, direction
from poisonlab.statistics import Estimate, grid, mean_interval, share_interval

COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE)
PANELS = {
    "adversarial_accuracy": "adversarial accuracy",
    "natural_accuracy": "natural accuracy",
    "fitted_share": "poisons fitted",
    "epochs": "epochs trained",
}
LIPSCHITZ = {"lipschitz_mean": "mean over test points", "lipschitz_max": "largest"}
_DASHED = (0, (4, 2))


@dataclass(frozen=True)
class _Line:
    """One experiment: its victims with all panels' columns, those without poisons (there may be none), and how it looks."""

    label: str
    victims: pd.DataFrame
    clean: pd.DataFrame
    look: Mapping[str, Any]


def sweep(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the means of victims, with 95 % intervals, against the values of their sweep axis: the thesis's Figs. 4.2 and 4.3.

    One panel for adversarial accuracy, natural accuracy, the share of the poisons fitted and the epochs trained; one line for each
    experiment, and a dotted one at the mean of its victims without poisons, where it has some. Victims of other conditions are left out.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment has no condition with a sweep axis, or more than one; an attack is missing or ambiguous.
    """
    lines: list[_Line] = []
    experiments, attacks = [], []
    for name, settings in _chosen(inputs, options).items():
        experiment, victims, robustness = _victims(inputs, options, name, swept=True)
        experiments.append(experiment)
        attacks.append(robustness.iloc[0])
        look = {
            "color": COLOURS[settings.get("colour", len(lines)) % len(COLOURS)],
            "linestyle": _DASHED if settings.get("dashed") else "-",
        }
        own, conditions = (inputs[table][inputs[table]["experiment"] == name] for table in ("victims", "conditions"))
        unpoisoned = own[own["condition"].isin(conditions.loc[conditions["strategy"] == "none", "condition"])]
        poisoned, clean = (attacked(group, robustness, name) for group in (victims, unpoisoned))
        lines.append(_Line(settings.get("label", name), poisoned, clean, look))
    panels = options.get("panels") or list(PANELS)
    if unknown := sorted(set(panels) - PANELS.keys()):
        raise InputError(f"option panels names {unknown}, allowed are {list(PANELS)}; correct it")

    rows = 1 if len(panels) < 3 else 2
    figure = Figure(figsize=(style.PAGE, 2.5 * rows))
    figure.set_layout_engine("constrained", h_pad=0.05, w_pad=0.05)
    axes = figure.subplots(rows, -(-len(panels) // rows), squeeze=False).ravel()
    n: list[Estimate] = []
    n_clean: list[Estimate] = []
    for letter, panel, column in zip("abcd", axes, panels, strict=False):
        panel.set_title(f"({letter})", loc="left", size=style.SMALL)
        for line in lines:
            n += _draw(panel, line, column)
            n_clean += _draw_clean(panel, line, column)
        if column == "fitted_share":
            panel.set(ylim=(-0.04, 1.04))
        panel.set_ylabel(PANELS[column])
        panel.set_xlabel(options.get("axis_label", "sweep axis"))
    for panel in axes[len(panels) :]:
        panel.remove()
    handles, labels = axes[0].get_legend_handles_labels()
    if n_clean:
        handles.append(Line2D([], [], color=style.GREY, linestyle=":"))
        labels.append("no poisons")
    figure.legend(handles, labels, loc="outside upper center", ncols=3 if len(labels) == 3 else -(-len(labels) // 2))
    return figure, {
        **shared_facts(experiments, options),
        "axis": options.get("axis_label", "value of the sweep axis"),
        "panels": ", ".join(f"({letter}) {PANELS[column]}" for letter, column in zip("abcd", panels, strict=False)),
        "definition": definition(attacks),
        "attack": "; ".join(dict.fromkeys(describe(attack) for attack in attacks)),
        "n": shared_n(n) + (f"; without poisons: {shared_n(n_clean)}" if n_clean else ""),
    }


def by_experiment(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw natural and adversarial accuracy of several experiments side by side: the thesis's Fig. 3.3 and Table 4.1.

    Of each experiment, the victims of its one poisoned condition, at the first value of its sweep axis if it has one; faint dots are single
    victims, open squares published adversarial accuracies. Beside it, if asked for, the victims' local Lipschitz constants.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: as for `sweep`.
    """
    smoothness = bool(options.get("lipschitz"))
    figure = Figure(figsize=(style.PAGE if smoothness else style.COLUMN, 2.7))
    figure.set_layout_engine("constrained")
    panel, *beside = figure.subplots(1, 1 + smoothness, squeeze=False).ravel()
    experiments, attacks, labels = [], [], []
    estimates: dict[str, list[Estimate]] = {"natural_accuracy": [], "adversarial_accuracy": []}
    constants: dict[str, list[Estimate]] = {name: [] for name in LIPSCHITZ} if smoothness else {}
    published: dict[int, Sequence[float]] = {}
    for position, (name, settings) in enumerate(_chosen(inputs, options).items()):
        experiment, victims, robustness = _victims(
            inputs, options, name, swept=False, condition=settings.get("condition")
        )
        first = attacked(_at_first_value(victims), robustness, name)
        experiments.append(experiment)
        attacks.append(robustness.iloc[0])
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
        panel.plot(
            x, [one.value for one in found], mark, color=colour, markersize=3.5, label=PANELS[column], gid=column
        )
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
        axes.set(xlabel=options.get("axis_label", ""), xlim=(-0.5, len(labels) - 0.5))
    panel.set_ylabel("accuracy")
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3 if smoothness else 2)
    sizes = [shared_n([one]) for one in estimates["adversarial_accuracy"]]
    each = "; ".join(f"{label}: {size}" for label, size in zip(labels, sizes, strict=True))
    return figure, {
        **shared_facts(experiments, options),
        "definition": definition(attacks),
        "attack": "; ".join(dict.fromkeys(describe(attack) for attack in attacks)),
        "beside": " Right: local Lipschitz constants of the class probabilities, of every victim's mean and largest over test points."
        if smoothness
        else "",
        "n": each if len(set(sizes)) > 1 else sizes[0],
    }


def memorisation(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the share of victims that memorise everything, their epochs and natural accuracy, a row for each experiment (Appendix A).

    Args:
        inputs: the tables `conditions` and `victims` of all the experiments drawn.

    Raises:
        InputError: an experiment has no poisoned condition, or more than one.
    """
    lines = _chosen(inputs, options)
    figure = Figure(figsize=(style.PAGE, 0.7 + 0.3 * len(lines)))
    figure.set_layout_engine("constrained")
    share, epochs, accuracy = figure.subplots(1, 3, sharey=True)
    experiments: list[Experiment] = []
    n: list[str] = []
    for row, name in enumerate(lines):
        experiment, victims = _condition(inputs, options, name, swept=False)
        experiments.append(experiment)
        own = _at_first_value(victims)
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
    limit = options.get("limit", int(inputs["victims"]["epochs"].max()))
    return figure, {**shared_facts(experiments, options), "n": "; ".join(n), "limit": limit}


def _chosen(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """Return how each experiment's line looks; every experiment is drawn where the options choose none."""
    present = list(inputs["conditions"]["experiment"].unique())
    lines = options.get("lines") or {name: {} for name in present}
    if missing := [name for name in lines if name not in present]:
        raise InputError(
            f"option lines names the experiments {missing}, the tables hold {present}; choose one of these"
        )
    return lines


def _victims(
    inputs: Mapping[str, Any], options: Mapping[str, Any], name: str, swept: bool, condition: str | None = None
) -> tuple[Experiment, pd.DataFrame, pd.DataFrame]:
    """Return an experiment, the victims of one condition (see `_condition`), and their rows of the attack."""
    experiment, victims = _condition(inputs, options, name, swept, condition)
    return experiment, victims, attack_rows(inputs["robustness"], experiment, options)


def _condition(
    inputs: Mapping[str, Any], options: Mapping[str, Any], name: str, swept: bool, condition: str | None = None
) -> tuple[Experiment, pd.DataFrame]:
    """Return an experiment and the victims of one condition: the one that is named, or the only one with a sweep axis (or poisons)."""
    conditions, victims = (inputs[table][inputs[table]["experiment"] == name] for table in ("conditions", "victims"))
    own = conditions[conditions["axis_value"].notna() if swept else conditions["strategy"] != "none"]
    own = own if condition is None else own[own["condition"] == condition]
    if len(found := list(own["condition"].unique())) != 1:
        raise InputError(
            f"experiment '{name}' has the conditions {found} with {'a sweep axis' if swept else 'poisons'}, this figure needs exactly 1; "
            "choose another experiment, or split it"
        )
    facts = {key: own[key].iloc[0] for key in FACTS}
    experiment = Experiment(name, facts, direction(name, facts, options.get("class_names")))
    return experiment, victims[victims["condition"] == found[0]]


def _at_first_value(victims: pd.DataFrame) -> pd.DataFrame:
    """The victims at the lowest value of their sweep axis, all of them without one."""
    return victims[victims["axis_value"].isna() | (victims["axis_value"] == victims["axis_value"].min())]


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
    """Draw the mean without poisons, where there are such victims and the column is known of them; return its estimate."""
    if line.clean[column].isna().all():
        return []
    found = _mean(line.clean, column)
    if np.isfinite([found.low, found.high]).all():
        panel.axhspan(found.low, found.high, color=line.look["color"], alpha=0.08, linewidth=0, gid="clean-interval")
    panel.axhline(found.value, color=line.look["color"], linestyle=":", linewidth=1, gid="clean")
    return [found]


def _mean(victims: pd.DataFrame, column: str) -> Estimate:
    return mean_interval(grid(victims, column), bounds=None if column == "epochs" else (0.0, 1.0))
