"""Maps of decisions in two dimensions: of victims, and of memorising classifiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import Option, figure, style
from poisonlab.figures.captions import joined, named
from poisonlab.figures.toys import CLASS_COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.datasets.dataset import Dataset
    from poisonlab.poisons.files import PoisonFile

PALE = 0.35  # how much of its colour an area has
GRID = 301  # points on a side of a map that is computed for its figure
OTHER = style.GREY
RING: dict[str, Any] = {
    "linestyle": "none", "markersize": 8, "markerfacecolor": "none", "markeredgecolor": style.BLACK,
    "markeredgewidth": 0.8,
}  # fmt: skip


@figure(
    "decision_maps",
    needs=("maps",),
    title="What victims of two-dimensional data decide",
    source="label-noise thesis, chapter 3, Fig. 3.2",
    caption="Classes that the first victim of each experiment gives the points of the plane, with its {n} clean "
    "training points and its poisons, in the colours of their labels.{near}",
    method="One victim each; what it gives a poison is read off the {finest} map, at the nearest of its {side} × "
    "{side} places.",
    options={
        "experiments": Option("which, left to right"),
        "lines": Option("experiment → {label}", {}),
        "value": Option("value of the sweep axis; default: the first"),
        "near": Option("whether a second row shows the window around the first poison", False),
        "inset": Option("half the width of an inset around each poison, which else its ring hides; default: none"),
    },
)
def decision_maps(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw what the first victim of each experiment decides in the plane, the thesis's Fig. 3.2.

    Args:
        inputs: `maps`, the arrays of `maps.map_victims` of each experiment.

    Raises:
        InputError: the maps are slices through images, or there is none at the value asked for.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = options["experiments"] or [""] * len(inputs["maps"])
    windows = ("", "near_") if options["near"] else ("",)
    figure = Figure(figsize=(style.PAGE, len(windows) * style.PAGE / max(len(names), 3) + 0.35))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(len(windows), len(names), squeeze=False, sharex="row", sharey="row")
    numbers: set[int] = set()
    given: list[tuple[str, str]] = []
    for column, name, maps in zip(panels.T, names, inputs["maps"], strict=True):
        if "clean" in maps:
            raise InputError(f"the maps of '{name}' are slices through images; draw them by the kind slices")
        row = map_row(maps, options["value"], name)
        for panel, window in zip(column, windows, strict=True):
            _decisions(panel, maps, row, window)
        if options["inset"] is not None:
            _insets(column[0], maps, row, float(options["inset"]))
        numbers |= set(maps["labels"][row].tolist())
        label = options["lines"].get(name, {}).get("label", named(name, options["labels"]))
        column[0].set_title(label, size=style.SMALL)
        given.append((label, "{} of {}".format(*_memorised(maps, row, windows[-1]))))
        column[-1].set_xlabel("$x_1$")
    for panel in panels[:, 0]:
        panel.set_ylabel("$x_2$")
    keys = [
        Line2D([], [], marker=".", color=CLASS_COLOURS[n % 4], linestyle="none", label=f"class {n}")
        for n in sorted(numbers)
    ]
    keys.append(Line2D([], [], marker="o", label="poison", **RING))
    figure.legend(handles=keys, loc="outside upper center", ncols=len(keys))
    near = " Below: around the first of them." if options["near"] else ""
    near += " Insets: around each of them." if options["inset"] is not None else ""
    found = [f"{words} ({label})" if len(given) > 1 else words for label, words in given]
    return figure, {
        "finding": f"Poisons at whose place the map shows their label: {joined(found)}.",
        "n": int((inputs["maps"][0]["kinds"][0] == 0).sum()),
        "near": near,
        "finest": "lower" if options["near"] else "whole",
        "side": inputs["maps"][0]["classes"].shape[-1],
    }


def _memorised(maps: Mapping[str, np.ndarray], row: int, window: str) -> tuple[int, int]:
    """Number of poisons in a window of a plane at whose place the map shows their label, and of all in it."""
    from poisonlab.evaluation.maps import KINDS

    classes, (left, right, bottom, top) = maps[f"{window}classes"][row], maps[f"{window}extent"][row]
    x, y = maps["marks"][row].T
    poisons = (maps["kinds"][row] == KINDS.index("poison")) & (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    places, labels = maps["marks"][row][poisons], maps["labels"][row][poisons]
    side = len(classes) - 1
    across = np.rint((places[:, 0] - left) / (right - left) * side).astype(int)
    up = np.rint((places[:, 1] - bottom) / (top - bottom) * side).astype(int)
    return int((classes[up, across] == labels).sum()), len(labels)


def _decisions(panel: Axes, maps: Mapping[str, np.ndarray], row: int, window: str) -> None:
    """One map of a plane, or of its window around a poison ("near_"), with the training points."""
    from poisonlab.evaluation.maps import KINDS

    classes, extent = maps[f"{window}classes"][row], maps[f"{window}extent"][row]
    area(panel, classes, extent, {label: CLASS_COLOURS[label % 4] for label in np.unique(classes)})
    marks, labels, kinds = maps["marks"][row], maps["labels"][row], maps["kinds"][row]
    for label in np.unique(labels):
        look: dict[str, Any] = {"color": CLASS_COLOURS[label % 4], "linestyle": "none"}
        clean, poisoned = (labels == label) & (kinds == 0), (labels == label) & (kinds == KINDS.index("poison"))
        dot: dict[str, Any] = {
            "marker": ".",
            "markersize": 4,
            "markeredgecolor": "white",
            "markeredgewidth": 0.3,
            **look,
        }
        panel.plot(*marks[clean].T, gid="points", **dot)
        panel.plot(*marks[poisoned].T, gid="poisons", **dot)
        if not window:  # near them a ring would hide what is decided right beside them
            panel.plot(*marks[poisoned].T, "o", gid="rings", **RING)
    panel.set(aspect="equal", xlim=extent[:2], ylim=extent[2:])


def _insets(panel: Axes, maps: Mapping[str, np.ndarray], row: int, half: float) -> None:
    """Windows around the poisons, each in the corner of the panel with the fewest training points that is left."""
    from poisonlab.evaluation.maps import KINDS

    marks, kinds = maps["marks"][row], maps["kinds"][row]
    left, right, bottom, top = maps["extent"][row]
    shares = (marks - (left, bottom)) / (right - left, top - bottom)
    size = 0.34
    corners = [(x, y) for y in (1 - size - 0.02, 0.02) for x in (0.02, 1 - size - 0.02)]
    corners.sort(key=lambda corner: int(((shares > corner) & (shares < np.add(corner, size))).all(axis=1).sum()))
    places = np.unique(marks[kinds == KINDS.index("poison")], axis=0)
    for (x, y), corner in zip(places, corners, strict=False):
        inset = panel.inset_axes((*corner, size, size), zorder=5)
        window = {"near_classes": maps["classes"], "near_extent": maps["extent"]}
        _decisions(inset, {**maps, **window}, row, "near_")
        inset.set(xlim=(x - half, x + half), ylim=(y - half, y + half), xticks=[], yticks=[])
        for spine in inset.spines.values():
            spine.set(visible=True, linewidth=0.6)
        panel.indicate_inset_zoom(inset, edgecolor=style.BLACK, linewidth=0.5, alpha=0.8)


@figure(
    "vulnerable_regions",
    needs=("data", "poisons"),
    title="Memorising as a dictionary, and smoothly",
    source="label-noise thesis, chapter 3, Fig. 3.1",
    caption="Two classifiers that fit the {n} training points, {poisons} of them mislabelled. Left: no smoothness, "
    "wrong at the mislabelled points alone. Right: the least Lipschitz constant that the points allow: no class "
    "changes within {reach} of a point. Dotted red: where an attacker finds a wrong answer.",
    method="Both give the truth wherever else they may. Made with {dataset}; attack radius {radius} (l2); margin "
    "{margin} at the points; Lipschitz constant {constant} (l2 to l1).",
    options={
        "radius": Option("l2 radius of the attack", 0.2),
        "margin": Option("difference of the class probabilities at the training points", 0.5),
    },
)
def vulnerable_regions(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw where two memorising classifiers err and where an attacker makes them err, the thesis's Fig. 3.1.

    The classifiers are `theorems.Memoriser` of the toy's training points, one for each true class; nothing is trained.
    The smooth one has the least Lipschitz constant that its points allow.

    Args:
        inputs: `data`, a toy of two dimensions; `poisons`, the pair (poisons, places) that `poison.load` returns.

    Raises:
        InputError: the data are not two-dimensional.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle

    from poisonlab.analyses.theorems import Memoriser, distances
    from poisonlab.poisons.poison import apply

    dataset: Dataset = inputs["data"]
    crafted: PoisonFile = inputs["poisons"]
    if dataset.input_shape != (2,):
        raise InputError(f"'{dataset.name}' has points {dataset.input_shape}; this figure needs a toy of 2 dimensions")
    radius, margin = float(options["radius"]), float(options["margin"])
    training_set = apply(crafted.poisons[0], dataset)
    points, labels = training_set.images.astype(float), training_set.labels
    low, high = points.min() - 0.3, points.max() + 0.3
    line = np.linspace(low, high, GRID)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    truths, true = _truth(grid), _truth(points)
    apart = [
        distances(points[own & (labels == c)], points[own & (labels != c)], "l2")
        for c in (0, 1)
        if (own := true == c).any()
    ]
    reach = min(pairs.min(initial=np.inf) for pairs in apart) / 2

    figure = Figure(figsize=(style.PAGE, 3.7))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    shares = []
    for panel, constant, words in zip(panels, (math.inf, margin / reach), ("dictionary", "smooth"), strict=True):
        wrong, hit = np.zeros(len(grid), dtype=bool), np.zeros(len(grid), dtype=bool)
        for truth in (0, 1):
            own = true == truth
            classifier = Memoriser(points[own], labels[own], truth, margin, constant, "l2")
            here = truths == truth
            wrong[here] = classifier.margins(grid[here]) <= 0
            hit[here] = classifier.margins(classifier.attack(grid[here], radius)) <= 0
        shares.append(float(hit.mean() * (high - low) ** 2))
        area(panel, truths.reshape(GRID, GRID), [low, high, low, high], {0: CLASS_COLOURS[0], 1: CLASS_COLOURS[1]})
        if wrong.any():
            panel.contourf(line, line, wrong.reshape(GRID, GRID).astype(float), [0.5, 1.5], colors=[style.VERMILLION])
        panel.contour(
            line, line, hit.reshape(GRID, GRID).astype(float), [0.5], colors=style.VERMILLION, linestyles="dotted"
        )
        for label in (0, 1):
            panel.plot(
                *points[labels == label].T,
                ".",
                color=CLASS_COLOURS[label],
                markersize=5,
                markeredgecolor="white",
                markeredgewidth=0.4,
                gid="points",
            )
        if not math.isinf(constant):
            for point in points:
                panel.add_patch(
                    Circle(tuple(point), reach, fill=False, color=style.BLACK, linewidth=0.5, linestyle=":")
                )
        panel.set_title(words, size=style.SMALL)
        panel.set(aspect="equal", xlabel="$x_1$", xlim=(low, high), ylim=(low, high))
    panels[0].set_ylabel("$x_2$")
    keys = [
        Line2D([], [], marker=".", linestyle="none", color=CLASS_COLOURS[label], label=f"labelled {label}")
        for label in (0, 1)
    ] + [
        Line2D([], [], marker="s", linestyle="none", color=style.VERMILLION, label="wrong"),
        Line2D([], [], color=style.VERMILLION, linestyle=":", label="wrong after an attack"),
        Line2D([], [], color=style.BLACK, linewidth=0.5, linestyle=":", label="no change of class within"),
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=3)
    return figure, {
        "n": len(labels),
        "poisons": len(training_set.poisoned),
        "dataset": named(dataset.name, options["labels"]),
        "radius": f"{radius:g}",
        "reach": f"{reach:.2f}",
        "constant": f"{margin / reach:.2f}",
        "margin": f"{margin:g}",
        "finding": f"An attacker finds a wrong answer on an area of {shares[0]:.2f} around a dictionary, and of "
        f"{shares[1]:.2f} around a smooth classifier of the same points.",
    }


def _truth(points: np.ndarray) -> np.ndarray:
    """True class of a toy's points: x · 1 > 0."""
    return (points.sum(1) > 0).astype(int)


def map_row(maps: Mapping[str, np.ndarray], value: float | None, name: str) -> int:
    values = maps["axis_values"]
    rows = [0] if value is None else np.flatnonzero(values == value).tolist()
    if not rows:
        raise InputError(f"'{name}' has no map at {value}, it has {values.tolist()}; choose one of these")
    return rows[0]


def pale(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - PALE + PALE * part for part in to_rgb(colour))
    return red, green, blue


def area(panel: Axes, classes: np.ndarray, extent: Sequence[float], colours: Mapping[int, str]) -> None:
    """Fill a map: each class in a pale tint of its colour."""
    image = np.empty((*classes.shape, 3))
    for label, colour in colours.items():
        image[classes == label] = pale(colour)
    left, right, bottom, top = (float(edge) for edge in extent)
    panel.imshow(image, extent=(left, right, bottom, top), origin="lower", interpolation="nearest", gid="map")
