"""Several experiments side by side: the accuracies of their victims, and what these memorise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import each, joined, measured, named, percent, shared_facts, shared_n, value_text
from poisonlab.figures.columns import title
from poisonlab.figures.sweeps import chosen_lines, victims_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import Experiment
    from poisonlab.statistics import Estimate

LIPSCHITZ = {"lipschitz_mean": "mean over test points", "lipschitz_max": "largest"}


@figure(
    "by_experiment",
    needs=("conditions", "victims", "robustness"),
    title="Natural and adversarial accuracy of several experiments",
    caption="Natural and adversarial accuracy of victims of {budget} poisons: means with 95 % intervals; faint dots: "
    "single victims.{squares}{beside}",
    method="{attacked}n, draws × repeats: {n}. {provenance}",
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
    faint dots are single victims, open squares published adversarial accuracies. Beside it their differences from the
    first one, or, if asked for, the victims' local Lipschitz constants.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: an experiment has no poisoned condition, or more than one; an attack is missing or ambiguous.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import attacked, query
    from poisonlab.statistics import grid, mean_interval

    smoothness = options["lipschitz"]
    lines = chosen_lines(inputs, options)
    wide = smoothness or len(lines) > 1
    figure = Figure(figsize=(style.PAGE if wide else style.COLUMN, 2.7))
    figure.set_layout_engine("constrained")
    panel, *right = figure.subplots(1, 1 + wide, squeeze=False).ravel()
    beside = right if smoothness else []
    experiments, attacks, labels = [], [], []
    grids: dict[str, list[np.ndarray]] = {"natural_accuracy": [], "adversarial_accuracy": []}
    estimates: dict[str, list[Estimate]] = {"natural_accuracy": [], "adversarial_accuracy": []}
    constants: dict[str, list[Estimate]] = {name: [] for name in LIPSCHITZ} if smoothness else {}
    published: dict[int, Sequence[float]] = {}
    for position, (name, settings) in enumerate(lines.items()):
        condition = poisoned(inputs, name, settings.get("condition"))
        experiment, victims = victims_of(inputs, options, name, condition, first=True)
        tables = query(inputs, name, options)
        row = tables.conditions(condition).iloc[0]
        first = attacked(victims, tables, row)
        experiments.append(experiment)
        attacks.append(tables.attack(row).iloc[0])
        labels.append(str(settings.get("label", named(name, options["labels"]))))
        if "published" in settings:
            published[position] = settings["published"]
        for column in constants:
            constants[column].append(mean_interval(grid(first, column)))
        for column, colour, shift in zip(estimates, (style.ORANGE, style.BLUE), (-0.1, 0.1), strict=True):
            grids[column].append(grid(first, column))
            estimates[column].append(mean_interval(grids[column][-1], bounds=(0.0, 1.0)))
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
    panel.set(ylabel="accuracy", ylim=(-0.03, 1.03))
    if wide and not smoothness:
        _differences(right[0], labels, grids, published)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3 if wide else 2)
    sizes = [shared_n([one]) for one in estimates["adversarial_accuracy"]]
    return figure, {
        **shared_facts(experiments, options),
        "finding": _extremes(
            labels, grids["adversarial_accuracy"], estimates["adversarial_accuracy"], options["axis_label"]
        ),
        "attacked": measured(attacks),
        "squares": " Squares: published." if published else "",
        "beside": " Right: local Lipschitz constants of the class probabilities, of every victim's mean and largest "
        "over test points."
        if smoothness
        else f" Right: differences from {labels[0]}, paired by repeat; dots: repeats." * wide,
        "n": each(list(zip(labels, sizes, strict=True))),
    }


def _differences(
    panel: Axes,
    labels: Sequence[str],
    grids: Mapping[str, Sequence[np.ndarray]],
    published: Mapping[int, Sequence[float]],
) -> None:
    """Draw how much every experiment differs from the first one, in both accuracies."""
    from poisonlab.statistics import paired_difference

    rows: list[str] = []
    ends = [0.0]
    for number, label in enumerate(labels[1:], 1):
        for column, colour in zip(reversed(list(grids)), (style.BLUE, style.ORANGE), strict=True):
            own, first = grids[column][number], grids[column][0]
            found, height = paired_difference(own, first), len(rows)
            repeats = min(own.shape[1], first.shape[1])
            single = np.nanmean(own[:, :repeats], axis=0) - np.nanmean(first[:, :repeats], axis=0)
            dot: dict[str, Any] = {"color": colour, "markersize": 3.5, "markeredgewidth": 0, "alpha": 0.6}
            panel.plot(single, np.full(repeats, height + 0.18), ".", gid="repeats", **dot)
            panel.hlines(height, found.low, found.high, color=colour, linewidth=1.2, gid="interval")
            panel.plot(found.value, height, "o", color=colour, markersize=3.5, gid="difference")
            if column == "adversarial_accuracy" and {0, number} <= set(published):
                look: dict[str, Any] = {"color": style.GREY, "markerfacecolor": "none", "markersize": 5}
                panel.plot(published[number][0] - published[0][0], height - 0.18, "s", gid="published", **look)
            ends += [abs(value) for value in (found.low, found.high, *single) if np.isfinite(value)]
            rows.append(title(column) if len(labels) == 2 else f"{label}: {title(column)}")
    limit = next(end for end in (0.25, 0.5, 1.0) if max(ends) <= end) * 1.06  # few, so that figures are alike
    panel.axvline(0, color=style.BLACK, linewidth=0.6, zorder=1)
    panel.set(xlim=(-limit, limit), ylim=(len(rows) - 0.5, -0.5))
    panel.set_xlabel(f"{labels[1]} − {labels[0]}" if len(labels) == 2 else f"difference from {labels[0]}")
    panel.set_yticks(range(len(rows)), rows)
    panel.tick_params(axis="y", length=0)


def _extremes(labels: Sequence[str], grids: Sequence[np.ndarray], means: Sequence[Estimate], axis: str) -> str:
    """Say which of several has the lowest and the highest adversarial accuracy, and whether the two differ."""
    from poisonlab.statistics import paired_difference

    order = sorted(range(len(means)), key=lambda n: means[n].value)
    low, high = order[0], order[-1]
    names = [f"{axis} {label}" if label.replace(".", "", 1).isdecimal() else label for label in labels]
    ends = [f"{value_text(means[n])} ({names[n].strip()})" for n in (low, high)]
    if low == high:
        return f"Adversarial accuracy is {ends[0]}."
    difference = paired_difference(grids[high], grids[low])
    shown = "differ" if difference.low > 0 else "are not shown to differ"
    return f"Adversarial accuracies of {joined(ends)} {shown}, by {value_text(difference)}."


@figure(
    "memorisation",
    needs=("conditions", "victims"),
    title="What victims memorise, and how soon",
    source="label-noise thesis, Appendix A",
    caption="Share of the victims that fit every training point, {budget} poisons included, the epochs that they "
    "took, and their natural accuracy; faint dots: single victims.",
    method="Means with 95 % intervals (of shares at least the exact ones over draws). Victims that never fit all count "
    "with the limit of {limit} epochs. n, draws × repeats: {n}. {provenance}",
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

    lines = chosen_lines(inputs, options)
    figure = Figure(figsize=(style.PAGE, 0.7 + 0.3 * len(lines)))
    figure.set_layout_engine("constrained")
    share, epochs, accuracy = figure.subplots(1, 3, sharey=True)
    experiments: list[Experiment] = []
    sizes: dict[str, list[str]] = {}
    labels: list[str] = []
    shares: list[tuple[float, str]] = []
    for row, name in enumerate(lines):
        experiment, own = victims_of(inputs, options, name, poisoned(inputs, name, None), first=True)
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
        label = lines[name].get("label", named(name, options["labels"]))
        labels.append(label)
        shares.append((estimates["memorised"][1].value, label))
        sizes.setdefault(shared_n(found for _, found in estimates.values()), []).append(label)
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
    share.set_yticks(range(len(lines)), labels)
    share.set(xlabel="share that fit everything", xlim=(-0.03, 1.03), ylim=(len(lines) - 0.5, -0.5))
    epochs.set(xlabel="epochs", xscale="log")
    accuracy.set(xlabel="natural accuracy", xlim=(-0.03, 1.03))
    limit = int(inputs["victims"]["epochs"].max()) if options["limit"] is None else options["limit"]
    (few, least), (many, most) = min(shares), max(shares)
    between = f"from {percent(few, 0)} ({least}) to {percent(many, 0)} ({most})" if least != most else percent(few, 0)
    return figure, {
        **shared_facts(experiments, options),
        "finding": f"The share of victims that fit every training point is {between}.",
        "n": "; ".join(f"{size} ({joined(own)})" if len(sizes) > 1 else size for size, own in sizes.items()),
        "limit": limit,
    }


def poisoned(inputs: Mapping[str, Any], name: str, wanted: str | None) -> str:
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
