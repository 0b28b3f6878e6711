"""Slices through victims around a poison: whether they stretch the boundary to it, or leave it in a pocket."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import THESIS, Option, figure, style
from poisonlab.figures.captions import common_facts, counted, joined, named, provenance, span, trained_by
from poisonlab.figures.maps import OTHER, area, map_row, pale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DASHED = (0, (3, 2))
LOOKS: dict[str, tuple[str, float, str]] = {  # kind of a mark → marker, size, label
    "poison": ("X", 3.5, "poison"),
    "neighbour": ("o", 2.5, "nearest point of its true class"),
    "boundary": ("^", 3.0, "end of its adversarial path"),
}


@figure(
    "slices",
    needs=("maps", "conditions"),
    title="A stretched boundary or a pocket",
    source=f"{THESIS}, Figs. 4.4 and 6.1",
    caption="What one victim of each bucket decides on the plane through a poison, the nearest training point of its "
    "true class and the end of its adversarial path on a clean proxy; above, the bucket's path lengths in steps. "
    "Framed: apart.",
    method="The poison is the first that the victim fitted. Regions that are apart may be joined outside the window, "
    "{wide} wide (l2), or its plane. {provenance}",
    options={
        "experiments": Option("which, top to bottom"),
        "values": Option("buckets, left to right; default: all that were mapped"),
    },
)
def slices(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw slices through a poison of every bucket, one victim each.

    What the thesis's Figs. 4.4 and 6.1 sketch, on real victims: the region around a poison with its label joins that of
    its new class, or is a pocket apart from it.

    Args:
        inputs: `maps`, the arrays of `maps.map_victims` of each experiment, and the table `conditions`.

    Raises:
        InputError: the maps are not slices, or there is none at a value asked for.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    conditions = inputs["conditions"]
    names = options["experiments"] or list(conditions["experiment"].unique())
    for name, maps in zip(names, inputs["maps"], strict=True):
        if "clean" not in maps:
            raise InputError(f"the maps of '{name}' are not slices; draw them by the kind decision_maps")
    chosen = [options["values"] or sorted(maps["axis_values"]) for maps in inputs["maps"]]
    columns = max(3, *map(len, chosen))
    figure = Figure(figsize=(style.PAGE, 0.45 + len(names) * (style.PAGE / columns + 0.12)))
    figure.set_layout_engine("constrained", h_pad=0.015, w_pad=0.015, hspace=0, wspace=0)
    axes = figure.subplots(len(names), columns, squeeze=False)
    found: list[bool | None] = []
    widths: list[float] = []
    for panels, name, values, maps in zip(axes, names, chosen, inputs["maps"], strict=True):
        buckets = conditions[(conditions["experiment"] == name) & conditions["steps_low"].notna()]
        for panel, value in zip(panels, values, strict=False):
            row = map_row(maps, value, name)
            own = buckets[buckets["axis_value"] == value].iloc[0]
            source, target = int(own["source_class"]), int(own["target_class"])
            found.append(joins(maps, row, target))
            widths.append(float(maps["extent"][row][1] - maps["extent"][row][0]))
            _draw(panel, maps, row, source, target, found[-1])
            panel.set_title(span(own["steps_low"], own["steps_high"]), size=style.TINY, loc="center", pad=2)
        for panel in panels[len(values) :]:
            panel.remove()
        panels[0].set_ylabel(f"{source} → {target}", weight="bold")
    keys: list[Any] = [
        Line2D([], [], marker="s", linestyle="none", color=pale(colour), label=words)
        for colour, words in (
            (style.BLUE, "victim says source class"),
            (style.ORANGE, "target class"),
            (OTHER, "another"),
        )
    ]
    keys.append(Line2D([], [], color=style.BLACK, linewidth=0.8, linestyle=DASHED, label="clean proxy's boundary"))
    keys += [
        Line2D([], [], marker=marker, linestyle="none", color=style.BLACK, markersize=5, label=words)
        for marker, _, words in LOOKS.values()
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=4, columnspacing=0.8)
    shown = conditions[conditions["experiment"].isin(names) & conditions["steps_low"].notna()]
    facts: dict[str, Any] = common_facts(shown, ("dataset", "model", "scale"))
    recipes = [
        (row["recipe"], row["precision"], f"{row['source_class']:g} → {row['target_class']:g}")
        for row in shown.to_dict("records")
    ]
    data = ", ".join(named(one, options["labels"]) for one in facts["dataset"].split(", "))
    return figure, {
        "finding": _finding(found),
        "wide": " to ".join(dict.fromkeys(f"{end:.2g}" for end in (min(widths), max(widths)))),
        "provenance": provenance(
            {**facts, "dataset": data, "trained": trained_by(recipes, options["labels"])}, options["labels"]
        ),
    }


def joins(maps: Mapping[str, np.ndarray], row: int, target: int) -> bool | None:
    """Whether the region around a poison, in which a victim gives the target class, reaches the clean proxy's own.

    None where the victim does not give the target class at the poison's place.
    """
    from scipy.ndimage import label

    from poisonlab.evaluation.maps import KINDS

    classes, (left, right, bottom, top) = maps["classes"][row], maps["extent"][row]
    across, up = maps["marks"][row][maps["kinds"][row] == KINDS.index("poison")][0]
    side = len(classes) - 1
    place = (round((up - bottom) / (top - bottom) * side), round((across - left) / (right - left) * side))
    regions, _ = label(classes == target)
    own = regions[place]
    return None if own == 0 else bool((maps["clean"][row][regions == own] == target).any())


def _finding(found: list[bool | None]) -> str:
    joined_to, apart, unfitted = (found.count(one) for one in (True, False, None))
    rest = [f"in {apart or 'none'} it is apart from it"]
    rest += [f"in {unfitted} the poison is not fitted"] if unfitted else []
    return (
        f"In {joined_to} of {counted(len(found), 'slice')} the region around the poison joins that of its new class; "
        f"{joined(rest)}."
    )


def _draw(panel: Axes, maps: Mapping[str, np.ndarray], row: int, source: int, target: int, joint: bool | None) -> None:
    from poisonlab.evaluation.maps import KINDS

    classes, extent = maps["classes"][row], maps["extent"][row]
    area(
        panel,
        classes,
        extent,
        dict.fromkeys(np.unique(classes).tolist(), OTHER) | {source: style.BLUE, target: style.ORANGE},
    )
    x, y = (np.linspace(low, high, len(classes)) for low, high in (extent[:2], extent[2:]))
    at_home = (maps["clean"][row] == source).astype(float)
    if 0 < at_home.sum() < at_home.size:
        panel.contour(x, y, at_home, [0.5], colors=style.BLACK, linewidths=0.8, linestyles=[DASHED])
    for (across, up), kind in zip(maps["marks"][row], maps["kinds"][row], strict=True):
        marker, size, _ = LOOKS[KINDS[kind]]
        panel.plot(across, up, marker, color=style.BLACK, markersize=size, markeredgewidth=0, gid=KINDS[kind])
    panel.set(aspect="equal", xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=joint is False, color=style.VERMILLION, linewidth=1.4)
