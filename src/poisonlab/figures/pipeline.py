"""The picture of the pipeline: what is made from what, and by which rule."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from poisonlab.figures import figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _HEIGHT = 1.16, 0.5  # inches, as every length here
_MIDDLE = 1.9  # between the two rows
_INK, _ARROW = "#222222", "#555555"
_PLAN, _POISON, _MEASURE = "#E3EFF8", "#FBE6DA", "#E0F2EC"  # light blue, vermillion and green

# name, what it is, its rules, centre x and y, colour
_BOXES = (
    ("dataset", "images, labels", "fetch_data\nprepare_data", 0.70, 2.45, _PLAN),
    ("proxy", "the attacker's model", "train_proxy", 2.10, 2.45, _PLAN),
    ("paths", "steps to the boundary", "trace_paths", 3.50, 2.45, _PLAN),
    ("buckets", "points by path length", "cut_buckets", 4.90, 2.45, _PLAN),
    ("poison", "edits to the dataset", "craft_poison", 6.30, 2.45, _POISON),
    ("victims", "draws × repeats", "train_victims", 0.70, 0.98, _POISON),
    ("robustness", "attack × radius", "evaluate_robustness\nprobe_victims", 2.10, 0.98, _MEASURE),
    ("tables", "one row per victim", "collect_tables", 3.50, 0.98, _MEASURE),
    ("figures", "with captions", "draw_figure", 4.90, 1.42, _MEASURE),
    ("scorecard", "published claims", "judge_claims", 4.90, 0.54, _MEASURE),
    ("report", "one file", "snakemake --report", 6.30, 0.98, _MEASURE),
)


@figure(
    "pipeline",
    title="The way of the data",
    caption="The way of the data, with the rule that makes each of the main results; the tables hold every victim.",
)
def pipeline(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the pipeline as boxes and arrows for the README; it reproduces no published figure and needs no inputs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(style.PAGE, 3.1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, style.PAGE), ylim=(0, 3.1), aspect="equal")
    axes.set_axis_off()
    at = {name: (x, y) for name, *_, x, y, _ in _BOXES}
    for name, what, rules, x, y, color in _BOXES:
        _box(axes, name, what, rules, x, y, color)
    for row in (("dataset", "proxy", "paths", "buckets", "poison"), ("victims", "robustness", "tables")):
        for start, end in itertools.pairwise(row):
            _arrow(axes, [(at[start][0] + _WIDTH / 2, at[start][1]), (at[end][0] - _WIDTH / 2, at[end][1])])
    # the poison comes back to the left, beside the dataset that it edits
    (x, y), (_, down) = at["victims"], at["dataset"]
    _arrow(
        axes,
        [
            (at["poison"][0], down - _HEIGHT / 2),
            (at["poison"][0], _MIDDLE),
            (x + 0.2, _MIDDLE),
            (x + 0.2, y + _HEIGHT / 2),
        ],
    )
    _arrow(axes, [(x - 0.2, down - _HEIGHT / 2), (x - 0.2, y + _HEIGHT / 2)])
    fork = (at["tables"][0] + at["figures"][0]) / 2
    join = (at["figures"][0] + at["report"][0]) / 2
    for name in ("figures", "scorecard"):
        height = at[name][1]
        _arrow(axes, [(at["tables"][0] + _WIDTH / 2, y), (fork, y), (fork, height), (at[name][0] - _WIDTH / 2, height)])
        _arrow(axes, [(at[name][0] + _WIDTH / 2, height), (join, height), (join, y), (at["report"][0] - _WIDTH / 2, y)])
    finding = "A poison is data, a victim is a pure function of data, a poison and a seed, on one kind of processor."
    return figure, {"finding": finding}


def _box(axes: Axes, name: str, what: str, rules: str, x: float, y: float, color: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch(
        (x - _WIDTH / 2, y - _HEIGHT / 2), _WIDTH, _HEIGHT, boxstyle="round,pad=0,rounding_size=0.07",
        facecolor=color, edgecolor=_INK, linewidth=0.7,
    )  # fmt: skip
    axes.add_patch(box)
    axes.text(x, y + 0.09, name, ha="center", va="center", size=9, weight="bold", color=_INK)
    axes.text(x, y - 0.11, what, ha="center", va="center", size=6.5, color=_INK)
    side = 1 if y > _MIDDLE else -1  # rules stand outside, where no arrow between the rows crosses them
    words: dict[str, Any] = {"size": 6.5, "color": style.BLUE, "family": "DejaVu Sans Mono", "linespacing": 1.15}
    edge = y + side * (_HEIGHT / 2 + 0.05)
    axes.text(x, edge, rules, ha="center", va="bottom" if side == 1 else "top", **words)


def _arrow(axes: Axes, corners: list[tuple[float, float]]) -> None:
    """Draw a line through the corners with a head at its end."""
    xs, ys = zip(*corners, strict=True)
    axes.plot(xs[:-1], ys[:-1], color=_ARROW, linewidth=1.0, solid_joinstyle="round", solid_capstyle="butt")
    head = "-|>,head_width=0.18,head_length=0.35"
    look = {"arrowstyle": head, "color": _ARROW, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", corners[-1], corners[-2], arrowprops=look)
