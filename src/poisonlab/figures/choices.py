"""Specification curves: what becomes of a claim under every combination of the choices that its source leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError
from poisonlab.figures import Option, figure, style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = {"all": "as trained", "fitted": "fitted victims alone"}
MARKS = {"reproduced": "o", "refuted": "v"}  # every other verdict is a cross
CURVE, LINE = 1.5, 0.105  # inches: height of a curve, and of a value of a choice below it
COLOURS = "viridis_r"  # dark where poisons are fitted


@figure(
    "specification_curve",
    needs=("specifications",),
    title="A claim under every combination of choices",
    caption="The estimate of claim {claim} under each of {combinations} combinations of {choices}, where it has one, "
    "in growing order, and below it the combination; {kinds}. Circles: reproduced; triangles: refuted; crosses: "
    "neither. Colour: share of the poisons that the victims fitted.",
    method="{statement}. 95 % intervals. Victims in all: {victims}.",
    source="Simonsohn, Simmons and Nelson, 2020, Fig. 2",
    options={
        "claim": Option("number of the claim; default: the first of the table"),
        "entry": Option("which of the statements that the claim has, from 1", 1),
        "axis_label": Option("name and unit of the estimate", "estimate"),
    },
)
def specification_curve(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw estimates in growing order, their combinations as a matrix of dots below; a column for each part of the
    claim, a row for victims as trained and, where a claim says so, for fitted ones.

    Raises:
        InputError: the table has no such claim or statement.
    """
    import matplotlib
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    from poisonlab.multiverse.verdicts import choices_of, measuring, summary

    table = inputs["specifications"]
    own, statement = _chosen(table, options)
    choices, parts = choices_of(table), list(dict.fromkeys(own["part"]))
    kinds = [kind for kind in KINDS if (own["victims"] == kind).any()]
    levels = [(choice, value) for choice in choices for value in dict.fromkeys(own[choice])]
    heights = [CURVE, LINE * (len(levels) + 1)] * len(kinds)
    drawn = Figure(figsize=(style.PAGE, sum(heights) + 0.35 * len(kinds)))
    drawn.set_layout_engine("constrained")
    panels = drawn.subplots(len(heights), len(parts), sharex=True, sharey="row", height_ratios=heights, squeeze=False)
    colours = matplotlib.colormaps[COLOURS]
    for row, kind in enumerate(kinds):
        for column, part in enumerate(parts):
            rows = own[(own["victims"] == kind) & (own["part"] == part)].sort_values(["measured", "combination"])
            rows = measuring(rows).reset_index(drop=True)
            curve, matrix = panels[2 * row, column], panels[2 * row + 1, column]
            _curve(curve, rows, colours)
            _matrix(matrix, rows, levels, colours)
            curve.set_title(part if len(parts) > 1 else KINDS[kind])
        panels[2 * row, 0].set_ylabel(options["axis_label"] + (f"\n{KINDS[kind]}" if len(parts) > 1 else ""))
    drawn.colorbar(ScalarMappable(cmap=colours), ax=panels, label="share of poisons fitted", shrink=0.4, aspect=30)
    return drawn, {
        "finding": _found(summary(own)),
        "claim": own["claim"].iloc[0],
        "statement": statement,
        "combinations": own["combination"].nunique(),
        "choices": ", ".join(choices),
        "kinds": ", ".join(KINDS[kind] for kind in kinds),
        "victims": int(own.groupby(["part", "combination"])["trained"].first().sum()),
    }


def _chosen(table: pd.DataFrame, options: Mapping[str, Any]) -> tuple[pd.DataFrame, str]:
    """Rows of one statement of a claim, and the statement without its parts."""
    claim = table["claim"].iloc[0] if options["claim"] is None else options["claim"]
    own = table[table["claim"] == claim]
    if own.empty:
        raise InputError(f"the multiverse has no claim {claim}, it has {sorted(set(table['claim']))}; choose one")
    whole = [statement.removesuffix(f": {part}") for statement, part in zip(own["statement"], own["part"], strict=True)]
    statements = list(dict.fromkeys(whole))
    if not 1 <= options["entry"] <= len(statements):
        raise InputError(
            f"entry is {options['entry']}, claim {claim} has {len(statements)} statements; choose 1 … {len(statements)}"
        )
    statement = statements[options["entry"] - 1]
    return own[[one == statement for one in whole]], statement


def _curve(panel: Axes, rows: pd.DataFrame, colours: Any) -> None:
    panel.axhline(0, color=style.GREY, linewidth=0.6, linestyle=":")
    panel.vlines(rows.index, rows["low"], rows["high"], color=style.GREY, linewidth=0.7)
    for verdict, some in rows.groupby("verdict", sort=True):
        look = {"marker": MARKS.get(str(verdict), "x"), "c": some["fitted"], "cmap": colours, "vmin": 0, "vmax": 1}
        panel.scatter(some.index, some["measured"], s=14, linewidths=0.8, zorder=3, **look)
    if rows.empty:
        panel.text(0.5, 0.5, "no combination has such victims", transform=panel.transAxes, ha="center", va="center")
    panel.tick_params(bottom=False, labelbottom=False)


def _matrix(panel: Axes, rows: pd.DataFrame, levels: list[tuple[str, str]], colours: Any) -> None:
    for height, (choice, value) in enumerate(levels):
        some = rows[rows[choice] == value]
        heights = [height] * len(some)
        panel.scatter(some.index, heights, s=5, c=some["fitted"], cmap=colours, vmin=0, vmax=1, linewidths=0)
        if height and levels[height - 1][0] != choice:
            panel.axhline(height - 0.5, color=style.GREY, linewidth=0.4)
    panel.set_yticks(range(len(levels)), [f"{choice}: {value}" for choice, value in levels], fontsize=style.TINY)
    panel.set_ylim(len(levels) - 0.5, -0.5)
    panel.tick_params(bottom=False, labelbottom=False, left=False)
    panel.spines["bottom"].set_visible(False)


def _found(rows: pd.DataFrame) -> str:
    """How many of the combinations that measure a claim reproduce it and refute it, of each kind of victims."""
    said: list[str] = []
    for kind, own in rows.groupby("victims", sort=False):
        reproduced, refuted, count = (
            " to ".join(map(str, sorted({own[name].min(), own[name].max()})))
            for name in ("reproduced", "refuted", "combinations")
        )
        if said:
            refuted += f" of the {count} that measure it"
        else:
            that = " that measure it" if (own["combinations"] < own["tried"]).any() else ""
            reproduced = f"{reproduced} of {count} combinations{that} reproduce the claim"
            refuted += f" refute it{', by part' if len(own) > 1 else ''}"
        said.append(f"{KINDS[str(kind)]}, {reproduced} and {refuted}")
    words = "; ".join(said)
    return f"{words[0].upper()}{words[1:]}."
