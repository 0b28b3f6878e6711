"""Accuracy against the radius of an attack."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, Option, figure, style
from poisonlab.figures.captions import (
    definition,
    describe,
    most_and_least,
    named,
    provenance_of,
    radius_text,
    shared_n,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@figure(
    "radii",
    needs=("conditions", "victims", "robustness"),
    title="Accuracy against the radius of the attack",
    caption="Accuracy against the radius ε of the attack; at 0 natural accuracy. Bands: 95 % intervals.",
    method="Under {attack}: {definition}. Intervals are for new draws and repeats. n, draws × repeats: {n}. "
    "{provenance}",
    options={
        "attack": Option("an attack with several radii, or a list of such that differ in nothing else"),
        "conditions": Option("which are drawn; default: all that met the attack"),
        "value": Option("of a sweep, the one that is drawn; default: all"),
        "headlines": ATTACK["headlines"],
    },
)
def radii(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw accuracy against the radius, a line for each condition of the first experiment that met the attack; at 0
    natural accuracy.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment.

    Raises:
        InputError: no condition met the attack, or there is none of a name.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.defence import COLOURS
    from poisonlab.figures.experiments import at, every_cell
    from poisonlab.statistics import mean_interval

    found, cells = every_cell(inputs, {**options, "epsilon": None}, "natural_accuracy")
    asked = options["attack"] or found.headline.attack or str(found.attack()["attack"].iloc[0])
    attacks = [asked] if isinstance(asked, str) else list(asked)
    rows = found.tables["robustness"]
    rows = rows[rows["attack"].isin(attacks)]
    if rows.empty:
        raise InputError(
            f"option attack is '{asked}', the experiment has {sorted(found.tables['robustness']['attack'].unique())}; "
            "choose one"
        )
    known = list(dict.fromkeys(rows["condition"]))
    chosen = list(options["conditions"] or known)
    if unknown := sorted(set(chosen) - set(known)):
        raise InputError(f"option conditions names {unknown}, that attack met {known}; choose of these")
    cells = [one for name in chosen for one in cells if one.row["condition"] == name]
    if (value := options["value"]) is not None:
        cells = [one for one in cells if math.isnan(one.row["axis_value"]) or one.row["axis_value"] == value]
    if not cells:
        raise InputError(f"option value is {value}, no condition of {chosen} has it; change it")
    figure = Figure(figsize=(style.COLUMN, 2.8), layout="constrained")
    panel = figure.subplots()
    names = [named(one.label, options["labels"]) for one in cells]
    lines = []
    for n, one in enumerate(cells):
        met = rows.loc[rows["condition"] == one.row["condition"], ["epsilon", "attack"]].astype({"epsilon": float})
        means = {0.0: mean_interval(one.grid, bounds=(0.0, 1.0))}
        for width, attack in met.drop_duplicates("epsilon").sort_values("epsilon").itertuples(index=False):
            own = at(found, one, "adversarial_accuracy", attack=attack, epsilon=width)
            means[width] = mean_interval(own.grid, bounds=(0.0, 1.0))
        x, colour = list(means), COLOURS[n % len(COLOURS)]
        band = [own.low for own in means.values()], [own.high for own in means.values()]
        panel.fill_between(x, *band, color=colour, alpha=0.15, linewidth=0)
        line = ".-" if n < len(COLOURS) else ".--"
        panel.plot(x, [own.value for own in means.values()], line, color=colour, label=names[n], gid="accuracy")
        lines.append(means)
    panel.set(xlabel="ε", ylabel="accuracy", ylim=(-0.03, 1.03))
    panel.locator_params("x", nbins=5)
    columns = max(1, int(style.COLUMN / (0.5 + 0.055 * max(map(len, names)))))  # inches of the longest name
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=columns)
    shared = set.intersection(*(set(means) for means in lines)) - {0.0}
    radius = found.headline.epsilon if found.headline.epsilon in shared else max(shared, default=math.nan)
    first = rows[(rows["condition"] == cells[0].row["condition"])].iloc[0]
    shown = found.attack(cells[0].row, attack=first["attack"], epsilon=float(first["epsilon"])).iloc[0]
    attacked = describe(shown.where(shown.index != "step_size", math.nan))
    left = most_and_least(names, [means[radius] for means in lines], "accuracy") if shared else "No radius is shared."
    return figure, {
        # Without the radius and the length of a step, which differ from mark to mark.
        "attack": attacked.replace(f", ε = {radius_text(shown['epsilon'])}", ""),
        "finding": f"At ε = {radius_text(radius)}: {left[0].lower()}{left[1:]}" if shared else left,
        "definition": definition([shown]),
        "n": shared_n(estimate for means in lines for estimate in means.values()),
        "provenance": provenance_of(found.tables["conditions"], options["labels"]),
    }
