"""Defences: accuracy under several attacks, by radius, by seconds, on poisoned data, and whether it is real."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import (
    counted,
    definition,
    describe,
    measured,
    method,
    most_and_least,
    named,
    provenance_of,
    shared_n,
)
from poisonlab.figures.columns import title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from poisonlab.results.query import Selected
    from poisonlab.statistics import Estimate

COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE, style.SKY, style.GREY, style.BLACK)
# Column of the table of checks → what it is for people, and the limit beyond which it is warned of; see masking.py.
_CHECKS = {
    "zero_gradients": ("no gradient", 0.0),
    "random_gain": ("random start", 0.05),
    "transfer_gain": ("transfer", 0.02),
    "square_gain": ("Square alone", 0.002),
    "left": ("right at the box's width", 0.02),
}


@figure(
    "accuracies",
    needs=("conditions", "victims", "robustness"),
    title="Natural accuracy, and accuracy under each attack",
    caption="Natural accuracy, and accuracy under each attack: {shown}{squares}.",
    method="{attacks}. Accuracy under an attack: {definition}. {intervals}n, draws × repeats: {n}. {provenance}",
    options={
        "attacks": Option("name → {attack, epsilon}; default: the headline's", {}),
        "published": Option(
            "condition → its published values, natural accuracy first, then those of the attacks; null: none", {}
        ),
        **ATTACK,
    },
)
def accuracies(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw a panel for natural accuracy and one for each attack, with a row for each condition of the first experiment.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment.

    Raises:
        InputError: `published` names a condition that is not there.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import at, every_cell
    from poisonlab.statistics import mean_interval

    found, cells = every_cell(inputs, options, "natural_accuracy")
    names = [_name(one, options) for one in cells]
    if unknown := sorted({*options["published"]} - {*names, *(one.label for one in cells)}):
        raise InputError(f"option published names {unknown}, the experiment has {names}; correct it")
    columns: dict[str, list[Selected]] = {"natural": cells}
    attacks = []
    for name, how in (options["attacks"] or {method(str(found.attack()["attack"].iloc[0])): {}}).items():
        columns[name] = [at(found, one, "adversarial_accuracy", **how) for one in cells]
        attacks.append(found.attack(cells[0].row, **how).iloc[0])
    figure = Figure(figsize=(style.PAGE, 0.8 + 0.2 * len(cells)))
    figure.set_layout_engine("constrained")
    estimates: list[Estimate] = []
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for number, (panel, (name, own)) in enumerate(zip(panels, columns.items(), strict=True)):
        means = [mean_interval(one.grid, bounds=(0.0, 1.0)) for one in own]
        estimates += means
        for row, mean in enumerate(means):
            panel.hlines(row, mean.low, mean.high, color=style.BLUE, linewidth=1.0, gid="interval")
        panel.plot([one.value for one in means], range(len(means)), "o", color=style.BLUE, markersize=4, gid=name)
        for row, one in enumerate(cells):
            known = options["published"].get(names[row], options["published"].get(one.label, ()))
            if number < len(known) and known[number] is not None:
                look: dict[str, Any] = {"color": style.VERMILLION, "markerfacecolor": "none", "markersize": 4}
                panel.plot(known[number], row + 0.2, "s", gid="published", **look)
        panel.set(xlim=(-0.03, 1.03), xlabel=name)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set(ylim=(len(names) - 0.4, -0.6))
    described = [(name, describe(one)) for name, one in zip([*columns][1:], attacks, strict=True)]
    words = "; ".join(own if own.startswith(f"{name} (") else f"{name}: {own}" for name, own in described)
    known = any(math.isfinite(one.high - one.low) for one in estimates)
    ranked = most_and_least(names, means, f"accuracy under {name}")
    return figure, {
        "shown": "means with 95 % intervals" if known else "one victim each",
        "finding": ranked if known else f"Of one victim each: {ranked[0].lower()}{ranked[1:]}",
        "intervals": "Intervals are for new draws and repeats. " if known else "",
        "attacks": words,
        "squares": "; squares: published values" if options["published"] else "",
        "definition": definition(attacks),
        "n": shared_n(estimates),
        "provenance": provenance_of(found.tables["conditions"], options["labels"]),
    }


@figure(
    "matrix",
    needs=("conditions", "victims", "robustness"),
    title="Poisons and ways to train",
    caption="Natural accuracy and {column_name} of every poison (rows) and way to train (columns): mean, and below it "
    "half of its 95 % interval.",
    method="{attacked}Intervals are for new draws and repeats. n, draws × repeats: {n}. {provenance}",
    options={"column": Option("of the victims; default: the headline's"), **ATTACK},
)
def matrix(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw two tables of means, natural accuracy and the headline's column, of poisons by victims. A condition without
    "@" stands in the column of all victims.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import at, every_cell
    from poisonlab.statistics import mean_interval

    found, cells = every_cell(inputs, options, options["column"])
    labels = options["labels"]
    places = [_place(one) for one in cells]
    left = [float(np.nanmean(one.grid)) for one in cells]
    # What hurts most stands on top, what keeps least at the left.
    poisons, victims = (
        sorted({place[side] for place in places}, key=lambda name: _mean_of(name, side, places, left))
        for side in (0, 1)
    )
    figure = Figure(figsize=(style.PAGE, 0.9 + 0.3 * len(poisons)))
    figure.set_layout_engine("constrained")
    estimates = []
    column = cells[0].column
    for panel, name in zip(figure.subplots(1, 2, sharey=True), ("natural_accuracy", column), strict=True):
        means = np.full((len(poisons), len(victims)), math.nan)
        for place, one in zip(places, cells, strict=True):
            own = one if name == column else at(found, one, name)
            shown = mean_interval(own.grid, bounds=(0.0, 1.0))
            where = poisons.index(place[0]), victims.index(place[1])
            means[where] = shown.value
            dark = shown.value < 0.5
            half = (shown.high - shown.low) / 2
            words = f"{shown.value:.3f}" + (f"\n± {half:.3f}" if math.isfinite(half) else "")
            look: dict[str, Any] = {"ha": "center", "va": "center", "size": style.TINY}
            panel.text(where[1], where[0], words, color="white" if dark else style.BLACK, **look)
            if name == column:
                estimates.append((" with ".join(named(part, labels) for part in place if part), shown))
        panel.imshow(means, cmap="cividis", vmin=0, vmax=1, aspect="auto", gid=name)
        panel.set_title(title(name), size=style.SMALL, loc="center", weight="normal")
        panel.set_xticks(range(len(victims)), [named(one, labels) or "all" for one in victims], rotation=30)
        panel.set_yticks(range(len(poisons)), [named(one, labels) for one in poisons])
        for side in ("left", "bottom"):
            panel.spines[side].set_visible(False)
    attack = found.attack(next((one.row for one in cells if one.row["strategy"] != "none"), cells[0].row)).iloc[0]
    return figure, {
        "column_name": title(column),
        "finding": most_and_least([name for name, _ in estimates], [one for _, one in estimates], title(column)),
        "attacked": measured([attack] if column == "adversarial_accuracy" else []),
        "n": shared_n([one for _, one in estimates]),
        "provenance": provenance_of(found.tables["conditions"], options["labels"]),
    }


@figure(
    "against_seconds",
    needs=("conditions", "victims", "robustness", "checks"),
    title="Accuracy against seconds of training",
    caption="{column_name} (filled) and natural accuracy (open) against the seconds that training a victim takes; "
    "lines: 95 % intervals{published_words}.",
    method="{attacked}Seconds are processor time of one thread, on a GPU time of the clock; intervals are for new "
    "draws and repeats. n, draws × repeats: {n}. {provenance}",
    options={
        "published": Option("name → adversarial accuracy of the field, marked at the right", {}),
        **ATTACK,
    },
)
def against_seconds(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw natural and adversarial accuracy of every condition of the first experiment against its seconds.

    Args:
        inputs: the tables `conditions`, `victims`, `robustness` and `checks` of one experiment.

    Raises:
        InputError: no victim's seconds are known.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import at, every_cell
    from poisonlab.statistics import mean_interval

    found, cells = every_cell(inputs, options, None)
    checks = inputs["checks"]
    figure = Figure(figsize=(style.COLUMN, 2.8))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    estimates: list[Estimate] = []
    names: list[str] = []
    for n, one in enumerate(cells):
        seconds = _of(checks, one)["seconds"].mean()
        if math.isnan(seconds):
            continue
        colour, mark = COLOURS[n % len(COLOURS)], "os^Dv"[n // len(COLOURS) % 5]
        for own, filled in ((one, True), (at(found, one, "natural_accuracy"), False)):
            shown = mean_interval(own.grid, bounds=(0.0, 1.0))
            panel.vlines(seconds, shown.low, shown.high, color=colour, linewidth=1.0, gid="interval")
            look: dict[str, Any] = {"color": colour, "markersize": 4, "gid": "accuracy"}
            label = _name(one, options) if filled else None
            panel.plot(seconds, shown.value, mark, label=label, markerfacecolor=colour if filled else "white", **look)
            if filled:
                estimates.append(shown)
                names.append(f"{_name(one, options)} ({seconds:.2g} s)")
    if not estimates:
        raise InputError(f"no victim of '{found.name}' knows its seconds of training; train them again")
    for name, value in options["published"].items():
        panel.axhline(value, xmin=0.93, color=style.GREY, linewidth=1.0, gid="published")
        words: dict[str, Any] = {"size": style.TINY, "ha": "right", "va": "bottom", "color": style.GREY}
        panel.text(0.99, value, name, transform=panel.get_yaxis_transform(), **words)
    panel.set(xscale="log", xlabel="seconds of training", ylabel="accuracy", ylim=(-0.03, 1.03))
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    poisoned = next((one.row for one in cells if one.row["strategy"] != "none"), cells[0].row)
    attack = found.attack(poisoned).iloc[0]
    return figure, {
        "column_name": title(cells[0].column).capitalize(),
        "published_words": "; at the right: published values, of other machines and attacks"
        if options["published"]
        else "",
        "finding": most_and_least(names, estimates, title(cells[0].column)),
        "attacked": measured([attack]),
        "n": shared_n(estimates),
        "provenance": provenance_of(found.tables["conditions"], options["labels"]),
    }


@figure(
    "checked",
    needs=("conditions", "checks"),
    title="Is the robustness real?",
    caption="Each victim's checks: share of points without a gradient, by how much a random start and a clean net's "
    "images lower the accuracy under PGD, share that Square alone fools, accuracy at a radius as wide as the box. "
    "Dashed: limits, below which single points do not count.",
    method="Victims: {n}.{warned} {provenance}",
)
def checked(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the checks of every victim of the first experiment, a row for each condition.

    Args:
        inputs: the tables `conditions` and `checks` of one experiment.
    """
    from matplotlib.figure import Figure

    conditions, checks = inputs["conditions"], inputs["checks"]
    rows = conditions[conditions["experiment"] == conditions["experiment"].iloc[0]]
    names = list(rows["condition"].unique())
    labels = options["labels"]
    figure = Figure(figsize=(style.PAGE, 0.8 + 0.2 * len(names)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(_CHECKS), sharey=True)
    for panel, (column, (words, limit)) in zip(panels, _CHECKS.items(), strict=True):
        for row, name in enumerate(names):
            own = checks.loc[checks["condition"] == name, column]
            spread = row + np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else [row]
            panel.plot(own, spread, ".", color=style.BLUE, markersize=3, gid="victims")
        panel.axvline(limit, color=style.VERMILLION, linestyle="--", linewidth=0.8)
        panel.set(xlabel=words)
    panels[0].set_yticks(range(len(names)), [named(name, labels) for name in names])
    panels[0].set(ylim=(len(names) - 0.4, -0.6))
    return figure, {
        "finding": _verdict(checks),
        "warned": _warned(checks, names, labels),
        "n": len(checks),
        "provenance": provenance_of(rows, labels),
    }


def _verdict(checks: pd.DataFrame) -> str:
    """Of how many victims is warned."""
    warned = int((checks["warnings"].fillna("") != "").sum())
    if not warned:
        return f"Of {counted(len(checks), 'victim')} there is nothing to warn of."
    return f"Of {counted(len(checks), 'victim')} the accuracy under gradient attacks of {warned} cannot be trusted."


def _warned(checks: pd.DataFrame, names: Sequence[str], labels: Mapping[str, str]) -> str:
    """Say of which conditions' victims is warned, and why of the first."""
    said: list[str] = []
    for name in names:
        own = checks[checks["condition"] == name]
        warned = own[own["warnings"].fillna("") != ""]
        if len(warned):
            why = "" if said else f", the first because {warned['warnings'].iloc[0]}"
            said.append(f"{named(name, labels)}: {len(warned)} of {len(own)}{why}")
    return f" Warned of: {'; '.join(said)}." if said else ""


def _name(one: Selected, options: Mapping[str, Any]) -> str:
    """Name of a condition for readers, with the value of its axis."""
    return named(one.label, options["labels"])


def _mean_of(name: str, side: int, places: Sequence[tuple[str, str]], values: Sequence[float]) -> tuple[float, str]:
    """Mean of a row or column of the matrix, and its name, should two have the same."""
    return float(np.mean([value for place, value in zip(places, values, strict=True) if place[side] == name])), name


def _place(one: Selected) -> tuple[str, str]:
    """Poison and victim of a condition, "" where the experiment has one victim."""
    poison, _, victim = str(one.row["condition"]).partition("@")
    value = one.row["axis_value"]
    return (poison if math.isnan(value) else f"{poison} {value:g}"), victim


def _of(table: pd.DataFrame, one: Selected) -> pd.DataFrame:
    """Rows of a table of victims that belong to a condition at the value of its axis."""
    value = float(one.row["axis_value"])
    same = np.isclose(table["axis_value"].astype(float), value, equal_nan=True)
    return table[(table["condition"] == one.row["condition"]) & same]
