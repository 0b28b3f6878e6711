"""Flips: what they look like, whom they reach, what a set of them comes to, and whether they would be found."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, CLASS_NAMES, Option, figure, style
from poisonlab.figures.captions import (
    counted,
    joined,
    measured,
    named,
    provenance,
    provenance_of,
    shared_n,
    span,
    value_text,
)
from poisonlab.figures.columns import ADVERSARIAL, require, title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.poisons.files import PoisonFile

COLOURS = (style.BLUE, style.VERMILLION, style.GREEN, style.ORANGE, style.SKY)
_CONDITIONS = {"conditions": Option("conditions to show, in their order; default: all that the tables hold", [])}
_SPACES = {"pixels": "pixels", "components": "50 principal components", "features": "features of a clean net"}
_DASHES = ("-", "--", "-.", ":")  # lines of one height are told apart
_CHECKS = {"cleanlab": "cleanlab, out of fold", "neighbours": "10 nearest neighbours"}


@figure(
    "flipped_images",
    needs=("data", "poisons"),
    title="The points whose labels are flipped",
    caption="The images, with their places in the training set of {dataset}. First draw.",
    options={
        "condition": Option("condition whose poison is shown; default: the experiment's first one with a sweep"),
        **CLASS_NAMES,
    },
)
def flipped_images(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the images that a poison relabels, at the first value of its sweep axis.

    Args:
        inputs: `data`, the data set; `poisons`, the first draw.

    Raises:
        InputError: the poison relabels nothing, or the data are no images.
    """
    from matplotlib.figure import Figure

    dataset: Dataset = inputs["data"]
    crafted: PoisonFile = inputs["poisons"]
    poison = crafted.poisons[0]
    if not len(poison.relabel_index) or len(dataset.input_shape) != 3:
        raise InputError(f"the poison relabels no image of '{dataset.name}'; choose another one by 'condition'")
    names = options["class_names"] or [str(label) for label in range(poison.num_classes)]
    columns = min(len(poison.relabel_index), 10)
    rows = -(-len(poison.relabel_index) // columns)
    figure = Figure(figsize=(style.PAGE, 0.95 * rows))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, index in zip(panels, poison.relabel_index, strict=False):
        image = dataset.train_images[index]
        panel.imshow(image[0] if len(image) == 1 else image.transpose(1, 2, 0), cmap="gray", gid="image")
        panel.set_title(str(index), size=style.SMALL, loc="center", weight="normal")
    own = zip(dataset.train_labels[poison.relabel_index], poison.relabel_label, strict=True)
    words = dict.fromkeys(f"{names[s]} labelled {names[t] if t < len(names) else 'a new class'}" for s, t in own)
    return figure, {
        "finding": f"The poison relabels {counted(len(poison.relabel_index), 'training point')}, "
        f"{joined(list(words))}.",
        "dataset": named(dataset.name, options["labels"]),
    }


@figure(
    "by_distance",
    needs=("conditions", "points"),
    title="Whom the flips reach",
    caption="Test points of the source class, in ten equal slices by their distance to the victim's nearest flip: "
    "share that the attack leads to the flips' label, against the slice's mean distance (l2).",
    method="Bands: 95 % intervals for new draws and repeats. n, draws × repeats: {n}. {provenance}",
    options=_CONDITIONS,
)
def by_distance(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw how likely a test point is fooled, against its distance to the nearest flip, in each space.

    Args:
        inputs: the tables `conditions` and `points` of one experiment.

    Raises:
        InputError: a condition is not there.
    """
    from matplotlib.figure import Figure

    from poisonlab.statistics import grid, mean_interval

    points = inputs["points"]
    chosen, labels = _chosen(points, options), options["labels"]
    spaces = [space for space in _SPACES if space in set(points["space"])]
    figure = Figure(figsize=(style.PAGE, 2.4))
    figure.set_layout_engine("constrained")
    sizes, ends = [], {}
    for panel, space in zip(figure.subplots(1, len(spaces), sharey=True, squeeze=False)[0], spaces, strict=True):
        for condition, colour in zip(chosen, COLOURS, strict=False):
            own = points[(points["condition"] == condition) & (points["space"] == space)]
            slices = [part for _, part in own.groupby("slice")]
            found = [mean_interval(grid(part, "fooled"), bounds=(0.0, 1.0)) for part in slices]
            apart = [part["distance"].mean() for part in slices]
            band = [one.low for one in found], [one.high for one in found]
            panel.fill_between(apart, *band, color=colour, alpha=0.2, linewidth=0)
            panel.plot(
                apart, [one.value for one in found], ".-", color=colour, label=named(condition, labels), gid="fooled"
            )
            sizes += found
            ends[space, condition] = found[0], found[-1]
        panel.set(xlabel=f"distance in {_SPACES[space]}", ylim=(-0.03, 1.03))
        if space == spaces[0]:
            panel.set_ylabel("share fooled")
            handles = panel.get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5)
    near, far = (value_text(one) for one in ends[spaces[0], chosen[0]])
    rows = inputs["conditions"]
    return figure, {
        "finding": f"Of the tenth of the test points nearest to a flip the attack leads {near} to the flips' label, "
        f"of the farthest {far} ({named(chosen[0], labels)}, {_SPACES[spaces[0]]}).",
        "n": shared_n(sizes),
        "provenance": provenance_of(rows[rows["condition"].isin(chosen)], labels),
    }


@figure(
    "detected",
    needs=("conditions", "detection"),
    title="Would the flips be found?",
    caption="Share of the flips among the labels that a check finds the most suspicious, against how many somebody "
    "looks at: means, and single draws (faint). Left: cleanlab on the confidence of nets that were not trained on the "
    "point; crosses: where it stops by itself. Right: share of the ten nearest neighbours, by their raw values, of "
    "another label.",
    method="n, draws: {n}. {provenance}",
    options={**_CONDITIONS, "value": Option("of a swept condition, the one that is drawn; default: all")},
)
def detected(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the share of flips found against the number of labels looked at, for each check.

    Args:
        inputs: the tables `conditions` and `detection` of one experiment.

    Raises:
        InputError: a condition is not there.
    """
    from matplotlib.figure import Figure

    from poisonlab.statistics import mean_interval

    table = inputs["detection"]
    if (value := options["value"]) is not None:
        table = table[table["axis_value"].isna() | (table["axis_value"].astype(float) == value)]
    chosen, labels = _chosen(table, options), options["labels"]
    flagged = table[table["rule"] == "flagged"].groupby("condition")[["hits", "looked_at", "found"]].mean()
    swept = set(table.loc[table["axis_value"].notna(), "condition"]) if value is not None else set()
    names = {one: named(f"{one} {value:g}" if one in swept else one, labels) for one in chosen}
    figure = Figure(figsize=(style.PAGE, 2.4))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(_CHECKS), sharey=True)
    for panel, (check, words) in zip(panels, _CHECKS.items(), strict=True):
        ranked = table[(table["check"] == check) & (table["rule"] != "flagged")].sort_values("looked_at")
        for condition, colour, dash in zip(chosen, COLOURS, itertools.cycle(_DASHES), strict=False):
            own = ranked[ranked["condition"] == condition]
            for _, one in own.groupby(["axis_value", "draw"], dropna=False):
                panel.plot(one["looked_at"], one["found"], "-", color=colour, alpha=0.15, linewidth=0.8, gid="draw")
            mean = own.groupby("looked_at")["found"].mean()
            panel.plot(mean.index, mean, f".{dash}", color=colour, label=names[condition], gid="found")
            if check == "cleanlab":
                stop = flagged.loc[condition]
                panel.plot(stop["looked_at"], stop["found"], "x", color=colour, markersize=5, gid="flagged")
        panel.set(title=words, xlabel="labels looked at", xscale="log", ylim=(-0.03, 1.03))
    panels[0].set_ylabel("share of the flips found")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    summary = []
    for name in chosen:
        own = table[(table["rule"] == "flagged") & (table["condition"] == name)].groupby("draw")["found"].mean()
        share = mean_interval(own.to_numpy(dtype=float)[:, None], bounds=(0.0, 1.0))
        # Draws that are all alike say nothing of how much others would differ.
        words = value_text(share) if share.low < share.high else f"{share.value:.2f}"
        summary.append(f"{words} of the flips among {flagged.loc[name, 'looked_at']:.0f} labels ({names[name]})")
    counts = table[table["condition"].isin(chosen)].groupby("condition")["draw"].nunique()
    rows = inputs["conditions"]
    return figure, {
        "finding": f"Confident learning flags {joined(summary)}.",
        "n": span(counts.min(), counts.max()),
        "provenance": provenance_of(rows[rows["condition"].isin(chosen)], labels),
    }


@figure(
    "facts",
    needs=("conditions", "victims", "robustness"),
    title="What a set of flips comes to",
    caption="Each dot is a set of {budget} flips, the mean of its {repeats} victims; r: correlation over {sets} sets.",
    method="{attacked}{provenance}",
    options={
        "x": Option("columns of the victims for the horizontal axes, at most 3", ["fitted_share"]),
        "y": Option("columns for the vertical axes, at most 3, adversarial_accuracy or of the victims", [ADVERSARIAL]),
        "labels": Option("column → its name on an axis", {}),
        **ATTACK,
    },
)
def facts(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw columns of victims against each other, a dot for each draw of the experiment's first poisoned condition.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of one experiment.

    Raises:
        InputError: a column does not exist, or an attack is missing or ambiguous.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import attacked, query

    conditions, victims = inputs["conditions"], inputs["victims"]
    name = conditions["experiment"].iloc[0]
    row = conditions[(conditions["experiment"] == name) & (conditions["strategy"] != "none")].iloc[0]
    found = query(inputs, name, options)
    own = attacked(victims[(victims["experiment"] == name) & (victims["condition"] == row["condition"])], found, row)
    across, up = list(options["x"]), list(options["y"])
    require(own, [*across, *up], "x or y")
    correlations: list[str] = []
    means = own.groupby("draw")[list(dict.fromkeys([*across, *up]))].mean()
    figure = Figure(figsize=(style.PAGE, 2.3 * len(up)))
    figure.set_layout_engine("constrained")
    for panels, y in zip(figure.subplots(len(up), len(across), squeeze=False), up, strict=True):
        for panel, x in zip(panels, across, strict=True):
            panel.plot(means[x], means[y], "o", color=style.BLUE, markersize=3, alpha=0.7, gid="sets")
            r = means[x].corr(means[y]) if means[[x, y]].std().min() > 0 else math.nan
            panel.set_title("" if math.isnan(r) else f"r = {r:.2f}", size=style.SMALL, weight="normal")
            names = [options["labels"].get(column, title(column)) for column in (x, y)]
            panel.set_xlabel(names[0])
            panel.set_ylabel(names[1])
            correlations.append(f"{joined(names)} " + ("do not vary" if math.isnan(r) else f"correlate at {r:.2f}"))
    attack = found.attack(row).iloc[0]
    return figure, {
        "finding": f"Over {len(means)} sets, {', '.join(correlations)}.",
        "budget": f"{row['budget']:g}",
        "repeats": own["repeat"].nunique(),
        "sets": len(means),
        "attacked": measured([attack]),
        "provenance": provenance({key: row[key] for key in ("dataset", "model", "recipe", "scale")}, options["labels"]),
    }


def _chosen(table: pd.DataFrame, options: Mapping[str, Any]) -> Sequence[str]:
    """Names of the conditions to show.

    Raises:
        InputError: one is not in the table, or there are more than there are colours.
    """
    known = list(table["condition"].unique())
    chosen = options["conditions"] or known[: len(COLOURS)]
    if (missing := [name for name in chosen if name not in known]) or len(chosen) > len(COLOURS):
        raise InputError(
            f"option conditions is {list(chosen)}, allowed are up to {len(COLOURS)} of {known}"
            f"{f', not {missing}' if missing else ''}; change it"
        )
    return chosen
