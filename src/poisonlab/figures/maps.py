"""Maps of decisions in two dimensions: of victims, on slices through images, and of memorising classifiers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import THESIS, Option, figure, style
from poisonlab.figures.captions import counted, joined, named, percent, provenance, span
from poisonlab.figures.toys import CLASS_COLOURS

if TYPE_CHECKING:
    import pandas as pd
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
    method="One victim each; what it gives a poison is read off the map, at the nearest of its {side} × {side} places.",
    options={
        "experiments": Option("which, left to right"),
        "lines": Option("experiment → {label}", {}),
        "value": Option("value of the sweep axis; default: the first"),
        "near": Option("whether a second row shows the window around the first poison", False),
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
        row = _row(maps, options["value"], name)
        for panel, window in zip(column, windows, strict=True):
            _decisions(panel, maps, row, window)
        numbers |= set(maps["labels"][row].tolist())
        label = options["lines"].get(name, {}).get("label", named(name, options["labels"]))
        column[0].set_title(label, size=style.SMALL)
        given.append((label, "{} of {}".format(*_memorised(maps, row))))
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
    found = [f"{words} ({label})" if len(given) > 1 else words for label, words in given]
    return figure, {
        "finding": f"Poisons at whose place the map shows their label: {joined(found)}.",
        "n": int((inputs["maps"][0]["kinds"][0] == 0).sum()),
        "near": near,
        "side": inputs["maps"][0]["classes"].shape[-1],
    }


def _memorised(maps: Mapping[str, np.ndarray], row: int) -> tuple[int, int]:
    """Number of poisons at whose place a map of a plane shows their label, and of all."""
    from poisonlab.evaluation.maps import KINDS

    classes, (left, right, bottom, top) = maps["classes"][row], maps["extent"][row]
    poisons = maps["kinds"][row] == KINDS.index("poison")
    places, labels = maps["marks"][row][poisons], maps["labels"][row][poisons]
    side = len(classes) - 1
    across = np.rint((places[:, 0] - left) / (right - left) * side).astype(int).clip(0, side)
    up = np.rint((places[:, 1] - bottom) / (top - bottom) * side).astype(int).clip(0, side)
    return int((classes[up, across] == labels).sum()), len(labels)


def _decisions(panel: Axes, maps: Mapping[str, np.ndarray], row: int, window: str) -> None:
    """One map of a plane, or of its window around a poison ("near_"), with the training points."""
    from poisonlab.evaluation.maps import KINDS

    classes, extent = maps[f"{window}classes"][row], maps[f"{window}extent"][row]
    _area(panel, classes, extent, {label: CLASS_COLOURS[label % 4] for label in np.unique(classes)})
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
        # In a ring, which leaves to see what is decided right beside it: pockets are small.
        panel.plot(*marks[poisoned].T, gid="poisons", **dot)
        panel.plot(*marks[poisoned].T, "o", gid="rings", **RING)
    panel.set(aspect="equal", xlim=extent[:2], ylim=extent[2:])


@figure(
    "slices",
    needs=("maps", "conditions"),
    title="Slices through victims around a poison",
    source=f"{THESIS}, Figs. 4.4 and 6.1",
    caption="What the first victim of a bucket decides on the plane through a poison, the nearest training point of "
    "its true class and the end of its adversarial path on the clean proxy: nearest, middle and farthest bucket.",
    method="The poison is the first that the victim fitted; one victim a panel. Distances are l2. {provenance}",
    options={
        "experiments": Option("which, top to bottom"),
        "values": Option("three buckets; default: the first, the middle and the last"),
    },
)
def slices(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw slices through a poison of the nearest, middle and farthest bucket.

    The idea of the thesis's Figs. 4.4 and 6.1 on real victims.

    Args:
        inputs: `maps`, the arrays of `maps.map_victims` of each experiment, and the table `conditions`.

    Raises:
        InputError: the maps are not slices, or there is none at a value asked for.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    conditions = inputs["conditions"]
    names = options["experiments"] or list(conditions["experiment"].unique())
    figure = Figure(figsize=(style.PAGE, 0.4 + 2.2 * len(names)))
    figure.set_layout_engine("constrained", h_pad=0.03)
    axes = figure.subplots(len(names), 3, squeeze=False)
    taken: list[list[float]] = [[], [], []]  # of the nearest, the middle and the farthest bucket
    for panels, name, maps in zip(axes, names, inputs["maps"], strict=True):
        if "clean" not in maps:
            raise InputError(f"the maps of '{name}' are not slices; draw them by the kind decision_maps")
        values = np.sort(maps["axis_values"])
        chosen = options["values"] or [values[0], values[len(values) // 2], values[-1]]
        buckets = conditions[(conditions["experiment"] == name) & conditions["steps_low"].notna()]
        for panel, value, shares in zip(panels, chosen, taken, strict=True):
            row = _row(maps, value, name)
            own = buckets[buckets["axis_value"] == value]
            source, target = (int(own[key].iloc[0]) for key in ("source_class", "target_class"))
            _slice(panel, maps, row, source, target)
            home = maps["clean"][row] == source
            shares += [float((maps["classes"][row][home] == target).mean())] if home.any() else []
            panel.set_title(
                f"{source} → {target}: {span(own['steps_low'].iloc[0], own['steps_high'].iloc[0])} steps",
                size=style.SMALL,
            )
    for panel in axes[-1]:
        panel.set_xlabel("towards the proxy's boundary (l2)")
    for panel in axes[:, 0]:
        panel.set_ylabel("towards the neighbour (l2)")
    keys: list[Any] = [
        Line2D([], [], marker="s", linestyle="none", color=_pale(colour), label=words)
        for colour, words in (
            (style.BLUE, "victim says source class"),
            (style.ORANGE, "target class"),
            (OTHER, "another"),
        )
    ]
    keys.append(Line2D([], [], color=style.BLACK, linewidth=0.9, linestyle=(0, (3, 2)), label="clean proxy's boundary"))
    looks = zip("Xo^", ("poison", "nearest neighbour of its true class", "end of its adversarial path"), strict=True)
    keys += [
        Line2D([], [], marker=marker, linestyle="none", color=style.BLACK, markersize=5, label=words)
        for marker, words in looks
    ]
    figure.legend(handles=keys, loc="outside upper center", ncols=4, columnspacing=0.8)
    parts = [
        f"{percent(float(np.mean(own)), 0)} ({words})"
        for words, own in zip(("nearest bucket", "middle", "farthest"), taken, strict=True)
        if own
    ]
    return figure, {
        "finding": f"Of the plane that the clean proxy gives the source class, victims give the target class "
        f"{joined(parts)}, mean of {counted(len(names), 'slice')}.",
        "provenance": provenance(
            {
                **{key: ", ".join(conditions[key].unique()) for key in ("dataset", "model")},
                "recipe": _recipes(conditions),
                "scale": conditions["scale"].iloc[0],
            },
            options["labels"],
        ),
    }


def _recipes(conditions: pd.DataFrame) -> str:
    """The recipes, each with its pairs of classes where there are several."""
    pairs: dict[str, dict[str, None]] = {}
    for row in conditions[conditions["steps_low"].notna()].to_dict("records"):
        pairs.setdefault(row["recipe"], {})[f"{row['source_class']:g} → {row['target_class']:g}"] = None
    return ", ".join(f"{recipe} ({', '.join(own)})" if len(pairs) > 1 else recipe for recipe, own in pairs.items())


def _slice(panel: Axes, maps: Mapping[str, np.ndarray], row: int, source: int, target: int) -> None:
    from poisonlab.evaluation.maps import KINDS

    classes, extent = maps["classes"][row], maps["extent"][row]
    colours = dict.fromkeys(np.unique(classes).tolist(), OTHER) | {source: style.BLUE, target: style.ORANGE}
    _area(panel, classes, extent, colours)
    side = len(classes)
    x, y = (np.linspace(low, high, side) for low, high in (extent[:2], extent[2:]))
    at_home = (maps["clean"][row] == source).astype(float)
    if 0 < at_home.sum() < at_home.size:
        panel.contour(x, y, at_home, [0.5], colors=style.BLACK, linewidths=0.9, linestyles=[(0, (3, 2))])
    for (across, up), kind in zip(maps["marks"][row], maps["kinds"][row], strict=True):
        look = {"poison": "X", "neighbour": "o", "boundary": "^"}[KINDS[kind]]
        panel.plot(across, up, look, color=style.BLACK, markersize=4.5, gid=KINDS[kind])
    panel.set(aspect="equal")


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
        _area(panel, truths.reshape(GRID, GRID), [low, high, low, high], {0: CLASS_COLOURS[0], 1: CLASS_COLOURS[1]})
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


def _row(maps: Mapping[str, np.ndarray], value: float | None, name: str) -> int:
    values = maps["axis_values"]
    rows = [0] if value is None else np.flatnonzero(values == value).tolist()
    if not rows:
        raise InputError(f"'{name}' has no map at {value}, it has {values.tolist()}; choose one of these")
    return rows[0]


def _pale(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = (1 - PALE + PALE * part for part in to_rgb(colour))
    return red, green, blue


def _area(panel: Axes, classes: np.ndarray, extent: Sequence[float], colours: Mapping[int, str]) -> None:
    """Fill a map: each class in a pale tint of its colour."""
    image = np.empty((*classes.shape, 3))
    for label, colour in colours.items():
        image[classes == label] = _pale(colour)
    left, right, bottom, top = (float(edge) for edge in extent)
    panel.imshow(image, extent=(left, right, bottom, top), origin="lower", interpolation="nearest", gid="map")
