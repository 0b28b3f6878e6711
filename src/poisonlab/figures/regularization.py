"""Regularised logistic regression under attack: the example in the plane, defenders, parameters, choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import Option, figure, style
from poisonlab.figures.captions import joined, named, shared_n, value_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from poisonlab.statistics import Estimate

SOURCE = "Carnerero-Cano et al., 2021"
COLOURS = (style.VERMILLION, style.GREY, style.ORANGE, style.BLUE, style.GREEN, style.SKY)
DATASET = {"dataset": Option("for the caption", "a data set")}


@figure(
    "penalty_map",
    needs=("positions",),
    title="Where one point does harm, with and without λ",
    source=f"{SOURCE}, Fig. 1",
    caption="Validation error by where one more point of the second class (white) lies, without λ (left) and with a "
    "large one (middle), and the best ln λ there (right). Crosses: where the point does most harm without λ; lines: "
    "boundaries of models trained without it (dashed) and with it (solid).",
    method="{validation} validation points. Best: of the least cross-entropy; darkest: the smallest λ tried. Over "
    "{places} places, the best ln λ and the error without λ rank alike with Spearman's correlation {correlation}. Made "
    "with {dataset}.",
    options=DATASET,
)
def penalty_map(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the three maps of the two-Gaussian example.

    Args:
        inputs: `positions`, the table of the analysis `penalty_map`.
    """
    from matplotlib.figure import Figure
    from scipy.stats import spearmanr

    table: pd.DataFrame = inputs["positions"]
    places, train, worst = (table[table["kind"] == kind] for kind in ("map", "train", "poison"))
    figure = Figure(figsize=(style.PAGE, 2.5))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 3, sharey=True)
    most = float(places[["without", "large"]].to_numpy().max())
    for panel, column, name in zip(
        panels,
        ("without", "large", "best"),
        ("(a) error without λ", "(b) error, large λ", "(c) best ln λ"),
        strict=True,
    ):
        grid = places.pivot_table(index="y", columns="x", values=column)
        own = {"vmin": 0, "vmax": most, "cmap": "viridis"} if column != "best" else {"cmap": "cividis"}
        shown = panel.pcolormesh(grid.columns, grid.index, grid.to_numpy(), shading="nearest", rasterized=True, **own)
        figure.colorbar(shown, ax=panel, shrink=0.9)
        for label, face in ((0, style.BLACK), (1, "white")):
            points = train[train["label"] == label]
            panel.scatter(points["x"], points["y"], s=8, color=face, edgecolor=style.BLACK, linewidth=0.4)
        if column != "best":
            for kind, line in (("clean", "--"), ("poisoned", "-")):
                boundary = table[table["kind"] == f"{kind} {column}"].iloc[0]
                _line(panel, boundary, grid.columns.to_numpy(), grid.index.to_numpy(), line)
        cross: dict[str, Any] = {"color": style.VERMILLION, "markersize": 6, "markeredgewidth": 1.5, "clip_on": False}
        panel.plot(worst["x"], worst["y"], "x", gid="poison", zorder=5, **cross)
        panel.set(title=name, xlabel="first feature")
        panel.set(xlim=(grid.columns.min(), grid.columns.max()), ylim=(grid.index.min(), grid.index.max()))
    panels[0].set_ylabel("second feature")

    def errors(which: str) -> str:
        ends = (table.loc[table["kind"] == f"{kind} {which}", "without"].iloc[0] for kind in ("clean", "poisoned"))
        return "from {:.3f} to {:.3f}".format(*ends)

    correlation = spearmanr(places["without"], places["best"]).statistic
    return figure, {
        "finding": f"One more point, where it does most harm, takes the validation error {errors('without')} without "
        f"λ, and {errors('large')} with a large one.",
        "validation": int(table.loc[table["kind"] == "validation", "value"].iloc[0]),
        "places": len(places),
        "correlation": f"{correlation:.2f}",
        "dataset": named(options["dataset"], options["labels"]),
    }


def _line(panel: Axes, boundary: pd.Series, x: np.ndarray, y: np.ndarray, style_of: str) -> None:
    """Draw a x + b y + c = 0 through a rectangle."""
    a, b, c = float(boundary["x"]), float(boundary["y"]), float(boundary["value"])
    ends = np.array([x.min(), x.max()]) if abs(b) > abs(a) else -(c + b * np.array([y.min(), y.max()])) / a
    others = -(c + a * ends) / b if abs(b) > abs(a) else np.array([y.min(), y.max()])
    panel.plot(ends, others, style_of, color=style.VERMILLION, linewidth=1.2, gid="boundary")


@figure(
    "defenders",
    needs=("conditions", "victims"),
    title="Test error by the fraction of poisons, and what the learned λ does",
    source=f"{SOURCE}, Fig. 2",
    caption="Top: test error against {axis}, for defenders that choose λ differently{against}. Bottom: λ and the norm "
    "of the parameters where it is learned{of_learned}.",
    method="Means over divisions and orders of the mini-batches, with 95 % intervals.{bound} n, draws × repeats, at "
    "each value: {n}. Made with {dataset}. {scale}",
    options={
        "experiments": Option("1 to 3 experiments, left to right; default: as they come in the tables"),
        "defenders": Option("condition → label, in their order; default: every condition with a sweep axis", {}),
        "learned": Option("condition whose λ and norm are drawn; default: the last of the defenders"),
        "of_learned": Option("for the caption: under which poisons", ""),
        "highest": Option("ln of the largest λ that is sought; default: nothing is said of it"),
        "points": Option("number of training points, for fractions; default: the axis shows the number of poisons"),
        "against": Option(
            "what the poisons are made against", "each under poisons made against it unless it says otherwise"
        ),
    },
)
def defenders(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw test error, learned λ and ‖w‖ against the fraction of poisons: the source's Fig. 2(a) to (f).

    Args:
        inputs: the tables `conditions` and `victims` of the experiments.

    Raises:
        InputError: a condition is not there, or its victims have no λ.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.captions import SCALES

    conditions, victims = inputs["conditions"], inputs["victims"]
    names = options["experiments"] or list(conditions["experiment"].unique())
    swept = list(conditions.loc[conditions["axis_value"].notna(), "condition"].unique())
    lines: Mapping[str, str] = options["defenders"] or {name: named(name, options["labels"]) for name in swept}
    learned = options["learned"] or list(lines)[-1]
    if unknown := sorted({*lines, learned} - set(swept)):
        raise InputError(f"options name the conditions {unknown}, with a sweep axis there are {swept}; correct them")
    if absent := [column for column in ("penalty", "norm") if column not in victims]:
        raise InputError(f"victims have no {absent}; draw victims of the model 'logistic'")
    figure = Figure(figsize=(style.PAGE, 4.2))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(2, len(names), sharex="col", squeeze=False)
    letters = "abcdefghijkl"
    place = list(lines).index(learned) if learned in lines else COLOURS.index(style.BLUE)
    blue = COLOURS[place % len(COLOURS)]  # as its line above
    n: list[Estimate] = []
    ends: list[str] = []
    for column, name in enumerate(names):
        own = victims[victims["experiment"] == name]
        last: list[tuple[Estimate, str]] = []
        upper, lower = panels[:, column]
        for number, (condition, label) in enumerate(lines.items()):
            look = {"color": COLOURS[number % len(COLOURS)], "linestyle": "--" if number >= len(COLOURS) else "-"}
            found = _curve(
                upper, own[own["condition"] == condition], "natural_accuracy", options["points"], look, label
            )
            n += found
            last.append((found[-1], label))
        _curve(lower, own[own["condition"] == learned], "penalty", options["points"], {"color": blue}, "λ")
        lower.set_yscale("log")
        lower.tick_params(axis="y", colors=blue)
        beside = lower.twinx()
        beside.spines["right"].set_visible(True)
        look = {"color": style.BLACK, "linestyle": "--"}
        _curve(beside, own[own["condition"] == learned], "norm", options["points"], look, "‖w‖")
        beside.set_ylim(bottom=0)
        data = conditions.loc[conditions["experiment"] == name, "dataset"].iloc[0]
        upper.set_title(f"({letters[column]}) {named(data, options['labels'])}")
        upper.set_ylim(bottom=0)
        low, high = (pick(last, key=lambda pair: pair[0].value) for pick in (min, max))
        ends.append(
            f"{value_text(low[0])} ({low[1]}) to {value_text(high[0])} ({high[1]})"
            + f" with {named(data, options['labels'])}" * (len(names) > 1)
        )
        lower.set(title=f"({letters[len(names) + column]})", xlabel=_axis(options["points"]))
        if column == 0:
            upper.set_ylabel("test error")
            lower.set_ylabel("learned λ", color=blue)
        if column == len(names) - 1:
            beside.set_ylabel("‖w‖ (dashed)")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    scales = sorted(set(conditions["scale"]))
    return figure, {
        "finding": f"Where poisons are most, the test error is {joined(ends)}, by defender.",
        "axis": _axis(options["points"]),
        "of_learned": options["of_learned"] and f", {options['of_learned']}",
        "bound": _bound(victims[victims["condition"] == learned], conditions, options),
        "against": f", {options['against']}" if options["against"] else "",
        "n": shared_n(n),
        "dataset": ", ".join(named(one, options["labels"]) for one in dict.fromkeys(conditions["dataset"])),
        "scale": " ".join(SCALES[one] for one in scales),
    }


def _bound(victims: pd.DataFrame, conditions: pd.DataFrame, options: Mapping[str, Any]) -> str:
    """How often the learned λ of most poisons is the largest that is sought, in each experiment where it is."""
    if options["highest"] is None:
        return ""
    words = f" λ is sought up to e^{options['highest']:g}"
    last = victims[victims["axis_value"] == victims["axis_value"].max()]
    found = []
    for name, own in last.groupby("experiment", sort=False):
        by_draw = own.groupby("draw")["log_penalty"].mean()
        if there := int((by_draw >= options["highest"] - 1e-6).sum()):
            data = conditions.loc[conditions["experiment"] == name, "dataset"].iloc[0]
            found.append(f"{there} of {len(by_draw)} divisions of {named(data, options['labels'])}")
    return words + (f", where that learned on most poisons ends in {joined(found)}." if found else ".")


def _axis(points: int | None) -> str:
    return "number of poisons" if points is None else "poisons per training point"


def _curve(
    panel: Axes, victims: pd.DataFrame, column: str, points: int | None, look: Mapping[str, Any], label: str
) -> list[Estimate]:
    """Draw means and intervals against the sweep axis; natural accuracy as error, λ as its geometric mean."""
    from poisonlab.statistics import grid, mean_interval

    values = sorted(victims["axis_value"].dropna().unique())
    found = []
    for value in values:
        own = victims[victims["axis_value"] == value]
        if column == "natural_accuracy":
            own = own.assign(shown=1 - own[column])
        else:
            own = own.assign(shown=np.log(own[column]) if column == "penalty" else own[column])
        found.append(mean_interval(grid(own, "shown"), bounds=(0, 1) if column == "natural_accuracy" else None))
    middle, low, high = (np.array([getattr(one, key) for one in found]) for key in ("value", "low", "high"))
    if column == "penalty":
        middle, low, high = np.exp(middle), np.exp(low), np.exp(high)
    x = np.array(values) / (points or 1)
    panel.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0, gid="interval")
    panel.plot(x, middle, marker="o", markersize=3, label=label, gid=column, **look)
    return found


@figure(
    "parameters",
    needs=("histograms",),
    title="Parameters without and with a learned λ",
    source=f"{SOURCE}, Fig. 3",
    caption="Histograms of the {features} weights of models trained on clean data and on data of which {poisons} "
    "points were replaced by poisons, without λ (left) and with a learned one (right); the count is logarithmic.",
    method="At the exact minimum; without λ is λ = 10⁻⁶. One division. Made with {dataset}.",
    options=DATASET,
)
def parameters(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw histograms of the weights, clean and poisoned, without and with a learned λ: the source's Fig. 3.

    Args:
        inputs: `histograms`, the table of the analysis `parameter_histograms`.
    """
    from matplotlib.figure import Figure

    table: pd.DataFrame = inputs["histograms"]
    figure = Figure(figsize=(style.PAGE, 2.4))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 2, sharey=True)
    spread: dict[str, list[str]] = {}
    for panel, defender, words in zip(
        panels, ("none", "learned"), ("(a) without λ", "(b) with a learned λ"), strict=True
    ):
        own = table[table["defender"] == defender]
        for colour, (poisons, one) in zip((style.BLUE, style.ORANGE), own.groupby("poisons"), strict=False):
            edges = [*one["low"], one["high"].iloc[-1]]
            label = "clean" if poisons == 0 else f"{poisons} replaced"
            panel.stairs(one["count"], edges, fill=True, color=colour, alpha=0.55, label=label)
            spread.setdefault(defender, []).append(f"{one['deviation'].iloc[0]:.3g}")
        panel.set(title=words, xlabel="weight", yscale="log")
        panel.set_xlim(-np.abs(panel.get_xlim()).max(), np.abs(panel.get_xlim()).max())
        panel.legend(loc="upper right")
    panels[0].set_ylabel("weights")
    return figure, {
        "features": int(table["features"].iloc[0]),
        "poisons": int(table["poisons"].max()),
        "finding": f"The standard deviation of the weights, clean and poisoned, is {joined(spread['none'])} without "
        f"λ, and {joined(spread['learned'])} with a learned one.",
        "dataset": named(options["dataset"], options["labels"]),
    }


@figure(
    "choices",
    needs=("conditions", "victims"),
    title="Whether the rise of the error, and of ln λ, depends on what the source leaves open",
    caption="Rise of the test error (left) and of ln λ (right) from the first to the last value of {axis}, for each "
    "choice, one changed at a time; blue: the interval lies above 0. A λ that is fixed cannot rise.",
    method="95 % intervals. n, draws × repeats: {n}. Made with {dataset}.",
)
def choices(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw a specification curve: what becomes of two conclusions under other choices, one at a time.

    Args:
        inputs: the tables `conditions` and `victims` of the experiments.

    Raises:
        InputError: no condition has a sweep axis, or victims have no λ.
    """
    from matplotlib.figure import Figure

    from poisonlab.statistics import grid, mean_interval

    conditions, victims = inputs["conditions"], inputs["victims"]
    swept = conditions[conditions["axis_value"].notna()][["experiment", "condition"]].drop_duplicates()
    if swept.empty or "log_penalty" not in victims:
        raise InputError("choices are conditions with a sweep axis whose victims have a log_penalty; draw others")
    rows: list[tuple[Any, ...]] = []  # label, rise of the error, rise of ln λ
    for _, (experiment, condition) in swept.iterrows():
        own = victims[(victims["experiment"] == experiment) & (victims["condition"] == condition)]
        ends = [own[own["axis_value"] == value] for value in (own["axis_value"].min(), own["axis_value"].max())]
        error, penalty = (
            mean_interval(sign * (grid(ends[1], column) - grid(ends[0], column)))
            for column, sign in (("natural_accuracy", -1), ("log_penalty", 1))
        )
        # By its experiment where that has a label: conditions of several may have one name.
        label = experiment if experiment in options["labels"] else condition
        rows.append((named(label, options["labels"]), error, penalty))
    rows.sort(key=lambda row: row[1].value)
    learned = [row for row in rows if row[2].low < row[2].high or row[2].value]  # a fixed λ stays as it is
    figure = Figure(figsize=(style.PAGE, 0.9 + 0.2 * len(rows)))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for place, panel in enumerate(panels, 1):
        for height, row in enumerate(rows):
            colour = style.BLUE if row[place].low > 0 else style.GREY
            panel.hlines(height, row[place].low, row[place].high, color=colour, linewidth=1.2)
            panel.plot(row[place].value, height, "o", color=colour, markersize=4)
        panel.axvline(0, color=style.GREY, linewidth=0.6, linestyle=":")
    panels[0].set_yticks(range(len(rows)), [row[0] for row in rows])
    panels[0].set_xlabel("rise of the test error")
    panels[1].set_xlabel("rise of ln λ")
    return figure, {
        "axis": "the number of poisons",
        "n": shared_n(row[1] for row in rows),
        "finding": f"Of {len(rows)} choices, the error is shown to rise in {sum(row[1].low > 0 for row in rows)}; of "
        f"{len(learned)} with a learned λ, it rises in {sum(row[2].low > 0 for row in learned)}.",
        "dataset": ", ".join(named(one, options["labels"]) for one in dict.fromkeys(conditions["dataset"])),
    }
