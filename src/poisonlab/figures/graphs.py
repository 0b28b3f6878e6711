"""Class graphs: how many neighbours points have, and what a net that memorised their colouring decides between them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import CLASS_NAMES, Option, figure, style
from poisonlab.figures.captions import named, percent, span

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (style.BLUE, style.GREEN, style.VERMILLION, style.ORANGE)
NORMS = {"linf": "l∞", "l2": "l2"}
PALE = 0.45


@figure(
    "class_degrees",
    needs=("degrees",),
    title="Degrees of the class graphs",
    source="label-noise thesis, section 6.1",
    caption="Share of the points of a class of {dataset} that have at least so many neighbours within γ, one line for "
    "each of {classes} classes. γ: the least distance within which lies a given share of a class's pairs, with ties "
    "more.",
    method="γ, over the classes, by growing share: {gammas}.",
    options={"dataset": Option("for the caption", "a data set")},
)
def class_degrees(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the share of points that have at least so many neighbours, for each space, density and class.

    Args:
        inputs: `degrees`, the table of `class_graphs.degree_table`.

    Raises:
        InputError: there are more densities than `COLOURS`.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    table: pd.DataFrame = inputs["degrees"]
    spaces, densities = list(table["space"].unique()), sorted(table["density"].unique())
    if len(densities) > len(COLOURS):
        raise InputError(
            f"{len(densities)} densities {densities} are too many for one figure, {len(COLOURS)} can be told "
            "apart; leave some out"
        )
    figure = Figure(figsize=(style.PAGE, 2.6))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(spaces), sharey=True, squeeze=False).ravel()
    gammas = []
    for panel, space in zip(panels, spaces, strict=True):
        own = table[table["space"] == space]
        norm = NORMS[own["norm"].iloc[0]]
        for density, colour in zip(densities, COLOURS, strict=False):
            for _, one in own[own["density"] == density].groupby("label"):
                share = 1 - one["quantile"]
                panel.plot(
                    [0, *one["degree"]],
                    [1, *share],
                    color=colour,
                    linewidth=0.7,
                    alpha=0.8,
                    drawstyle="steps-pre",
                    gid="class",
                )
        panel.set_xscale("symlog", linthresh=1)
        words = "pixels" if space == "input" else space
        panel.set(title=f"{words}, {norm}", xlabel="neighbours in the class", xlim=(-0.2, None))
        ranges = own.groupby("density")["gamma"].agg(["min", "max"])
        gammas.append(f"{words} " + ", ".join(f"{low:.3g}–{high:.3g}" for low, high in ranges.to_numpy()))
    panels[0].set_ylabel("share with at least as many")
    keys = [
        Line2D([], [], color=c, label=f"{percent(d)} of the pairs, with ties more")
        for d, c in zip(densities, COLOURS, strict=False)
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys))
    graphs = len(table[["space", "label", "density"]].drop_duplicates())
    isolated = table[(table["quantile"] == 0.5) & (table["degree"] == 0)]
    return figure, {
        "finding": f"In {len(isolated)} of the {graphs} graphs at least half of the points have no neighbour.",
        "dataset": named(options["dataset"], options["labels"]),
        "classes": table["label"].nunique(),
        "gammas": "; ".join(gammas),
    }


@figure(
    "colouring",
    needs=("scores", "idea"),
    title="A net that memorised colours",
    source="label-noise thesis, section 6.2, Fig. 6.1",
    caption="First {shown} panels: what a net that memorised colours of the points decides on planes through a point "
    "of the largest score (right), a neighbour (left) and the neighbour's image, attacked towards the point's colour. "
    "Last: scores, the number of neighbours from which an attack within {epsilon} (l∞) succeeds; {some} points have "
    "one.",
    method="{n} points of class {label} of {dataset}, {colours} colours of {per_colour} points each, such that "
    "neighbours ({density} of all pairs) and second neighbours differ. The net fits {fitted} of them, the first of "
    "{nets}, of which the poorest fits {least}.",
    options={"dataset": Option("for the caption", "a data set"), **CLASS_NAMES},
)
def colouring(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw what a net of colours decides on planes through real points, and its scores: the thesis's Fig. 6.1.

    Args:
        inputs: `scores`, the table, and `idea`, the pair (arrays, metadata) of `colouring.score_points`.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    everything: pd.DataFrame = inputs["scores"]
    scores = everything[everything["net"] == 0]
    maps: Mapping[str, np.ndarray] = inputs["idea"][0]
    told = json.loads(inputs["idea"][1]["settings"])
    shown = len(maps["classes"]) if maps else 0
    figure = Figure(figsize=(style.PAGE, 2.35))
    figure.set_layout_engine("constrained")
    *planes, histogram = figure.subplots(1, shown + 1, squeeze=False).ravel()
    for row, panel in enumerate(planes):
        _plane(panel, {name: array[row] for name, array in maps.items()}, told["epsilon"])
    if planes:
        planes[0].set_ylabel("l2 distance")
    largest = int(scores["score"].max())
    histogram.hist(scores["score"], bins=np.arange(largest + 2) - 0.5, color=style.BLUE, gid="scores")
    histogram.set(xlabel="score", ylabel="points", yscale="log")
    keys = [
        Line2D([], [], marker="o", linestyle="none", color=style.BLACK, label="training point"),
        Line2D([], [], marker="X", linestyle="none", color=style.VERMILLION, label="the left one, attacked"),
        Line2D([], [], color=style.VERMILLION, label=f"l∞ ball of {told['epsilon']:g}"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys))
    names = options["class_names"]
    sizes = scores["colour"].value_counts()
    edges, pairs = int(scores["degree"].sum()), len(scores) * (len(scores) - 1)
    return figure, {
        "finding": f"An attack reaches a neighbour's colour in {int(scores['score'].sum())} of {edges} cases; the "
        f"score correlates with the number of neighbours at {scores['score'].corr(scores['degree']):.3f}.",
        "dataset": named(options["dataset"], options["labels"]),
        "label": names[told["class"]] if names else told["class"],
        "n": len(scores),
        "density": percent(edges / pairs, 3),
        "colours": len(sizes),
        "per_colour": span(sizes.min(), sizes.max()),
        "fitted": percent(scores["fitted"].mean()),
        "least": percent(everything.groupby("net")["fitted"].mean().min(), 1),
        "nets": everything["net"].nunique(),
        "some": int((scores["score"] > 0).sum()),
        "epsilon": f"{told['epsilon']:g}",
        "shown": shown,
    }


def _plane(panel: Axes, one: Mapping[str, np.ndarray], epsilon: float) -> None:
    """A plane: regions of the colours in pale tints, two points, their l∞ balls, and an attacked image."""
    import matplotlib as mpl

    left, right, bottom, top = one["extent"]
    seen = np.unique(one["classes"])
    tints = mpl.colormaps["tab20"](np.arange(len(seen)) % 20)[:, :3]
    image = (1 - PALE + PALE * tints)[np.searchsorted(seen, one["classes"])]
    panel.imshow(image, extent=(left, right, bottom, top), origin="lower", interpolation="nearest", gid="map")
    side = image.shape[0]
    x, y = np.linspace(left, right, side), np.linspace(bottom, top, side)
    for distances in one["distances"][:2]:
        panel.contour(x, y, distances, [epsilon], colors=style.VERMILLION, linewidths=0.9)
    for label in seen:
        inside = (one["classes"] == label).astype(float)
        if 0 < inside.sum() < inside.size:
            panel.contour(x, y, inside, [0.5], colors=style.BLACK, linewidths=0.5)
    panel.plot(*one["marks"][:2].T, "o", color=style.BLACK, markersize=3, gid="points")
    panel.plot(*one["marks"][2], "X", color=style.VERMILLION, markersize=4, markeredgewidth=0, gid="attacked")
    panel.set(aspect="equal", xlabel="l2 distance")
