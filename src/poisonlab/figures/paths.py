"""Figures of the adversarial paths: the images at both ends of their lengths, and the distribution of the lengths."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import CLASS_NAMES, PATHS, PROVENANCE, THESIS, Option, figure, style
from poisonlab.figures.captions import counted, provenance, span, step_unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_UNTARGETED = -1


@figure(
    "nearest_and_farthest",
    needs=("extremes",),
    title="Training points nearest to and farthest from the boundary",
    source=f"{THESIS}, Fig. 4.5",
    caption="Training points with the shortest (left) and the longest (right) adversarial paths to the class named at "
    "the left, one row per class; below each its path length in steps. Vermillion: a label issue.",
    method="{k} of each. Paths on a clean proxy; label issues by cleanlab, out of fold. {provenance}",
    options={**PROVENANCE, **PATHS},
)
def nearest_and_farthest(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the contact sheet of the thesis's Fig. 4.5: per class the nearest images left, the farthest right.

    Args:
        inputs: `extremes`, the pair (arrays, metadata). Arrays, for both `nearest` and `farthest`: `*_images`
            [classes, k, channels, height, width], uint8 in 0 … 255 or float in [0, 1]; `*_steps` [classes, k];
            `*_issue` [classes, k] bool. Metadata: `class_names` and `target_names`, JSON lists with one name per row.

    Raises:
        InputError: an array or a name is missing, or shapes do not fit together.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    arrays, metadata = inputs["extremes"]
    blocks = [_block(arrays, side) for side in ("nearest", "farthest")]
    classes = blocks[0][0].shape[0]
    sources, targets = (_names(metadata, key, classes) for key in ("class_names", "target_names"))

    height, width = blocks[0][0].shape[-2:]
    tile, gap, aspect = (
        1.12,
        0.5,
        height / width,
    )  # in image widths: an image with its margin, the gap between the blocks
    row, left, top = aspect + 0.42, 1.7, 0.8
    starts = [left, left + tile * blocks[0][0].shape[1] + gap]
    span_x, span_y = starts[1] + tile * blocks[1][0].shape[1] + 0.1, row * classes + top

    figure = Figure(figsize=(style.PAGE, style.PAGE * span_y / span_x))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    for (images, steps, issue), start, title in zip(blocks, starts, ("nearest", "farthest"), strict=True):
        axes.text(start, top / 2, title, weight="bold", size=9, va="center")
        for i, j in np.ndindex(steps.shape):
            x, y = start + j * tile, top + i * row
            pixels = np.squeeze(np.moveaxis(images[i, j], 0, -1))
            white = 255 if images.dtype == np.uint8 else 1.0
            # "nearest": an 8 × 8 digit shows its pixels instead of a blur that is not in the data
            axes.imshow(
                pixels, cmap="gray", vmin=0, vmax=white, extent=(x, x + 1, y + aspect, y), interpolation="nearest"
            )
            axes.text(
                x + 0.5, y + aspect + 0.16, f"{steps[i, j]:.0f}", size=5.0, color=style.GREY, ha="center", va="center"
            )
            if issue[i, j]:
                frame = Rectangle((x, y), 1, aspect, fill=False, edgecolor=style.VERMILLION, linewidth=1.0, gid="issue")
                axes.add_patch(frame)
    for i, (source, target) in enumerate(zip(sources, targets, strict=True)):
        axes.text(left - 0.25, top + i * row + aspect / 2, f"{source} → {target}", ha="right", va="center")
    axes.set(xlim=(0, span_x), ylim=(span_y, 0), aspect="equal")

    issues = [int(issue.sum()) for _, _, issue in blocks]
    return figure, {
        "k": span(*sorted(images.shape[1] for images, _, _ in blocks)),
        "finding": f"Of the images nearest to the boundary {issues[0]} of {blocks[0][1].size} are label issues, of the "
        f"farthest {issues[1]} of {blocks[1][1].size}.",
        "provenance": provenance(
            {**metadata, **{key: value for key, value in options.items() if value is not None}}, options["labels"]
        ),
    }


def _block(arrays: Mapping[str, np.ndarray], side: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images, steps and issue of one side, checked against each other."""
    names = [f"{side}_images", f"{side}_steps", f"{side}_issue"]
    if missing := [name for name in names if name not in arrays]:
        raise InputError(f"extremes lack {missing}, they have {sorted(arrays)}; trace the paths again")
    images, steps, issue = (np.asarray(arrays[name]) for name in names)
    if images.ndim != 5 or images.shape[2] not in (1, 3) or 0 in images.shape:
        raise InputError(
            f"{names[0]} has shape {images.shape}, not [classes, k, 1 or 3 channels, height, width]; "
            "draw this figure for image datasets only"
        )
    if steps.shape != images.shape[:2] or issue.shape != images.shape[:2]:
        raise InputError(
            f"{side} steps {steps.shape} and issue {issue.shape} do not fit the images' {images.shape[:2]}; "
            "trace the paths again"
        )
    return images, steps, issue.astype(bool)


def _names(metadata: Mapping[str, str], key: str, classes: int) -> list[str]:
    names = json.loads(metadata.get(key, "[]"))
    if len(names) != classes:
        raise InputError(f"extremes' metadata '{key}' has {len(names)} names for {classes} rows; trace the paths again")
    return [str(name) for name in names]


@figure(
    "path_lengths",
    needs=("lengths",),
    title="Distribution of the path lengths",
    source=f"{THESIS}, Figs. 4.6a and 4.7",
    caption="Number of sign-gradient steps from each training point to the decision boundary, per class. Filled: the "
    "first proxy, with its median; thin lines: {others}.",
    method="{points} training points{unreached}. {provenance}",
    options={
        "paths": Option("which path artefact, where the table holds several"),
        "published": Option("class → most steps of its paths that the source gives", {}),
        **CLASS_NAMES,
        **PROVENANCE,
        **PATHS,
    },
)
def path_lengths(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the distribution of the path lengths per class, the thesis's Figs. 4.6a (0-1 MNIST) and 4.7 (MNIST).

    The first proxy seed is filled and carries the median; every other seed is a thin line. Points that never reached
    the boundary stand apart, and count as longer than any path in the median.

    Args:
        inputs: `lengths` with the columns paths, proxy_seed, label, target, steps, n_points and reached.

    Raises:
        InputError: no points, several path artefacts without the option `paths`, or several targets of one class.
    """
    from matplotlib.figure import Figure

    lengths = _select_paths(inputs["lengths"], options["paths"])
    reached = lengths[lengths["reached"].astype(bool)]
    unreached = lengths[~lengths["reached"].astype(bool)]
    pairs = sorted(
        {(int(label), int(target)) for label, target in zip(lengths["label"], lengths["target"], strict=True)}
    )
    if len({label for label, _ in pairs}) < len(pairs):
        raise InputError(
            f"paths '{lengths['paths'].iloc[0]}' have several targets of one class {pairs}; choose one goal by 'paths'"
        )
    seeds = sorted(int(value) for value in lengths["proxy_seed"].unique())
    longest = int(reached["steps"].max()) if len(reached) else 0
    bins = np.arange(longest + 1)
    never = longest + max(2, round(0.08 * longest))

    columns = min(2, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(style.PAGE if columns == 2 else style.COLUMN, 0.75 + 1.05 * rows + 0.6 * (rows == 1)))
    figure.set_layout_engine("constrained", h_pad=0.05, hspace=0.02)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    typical: list[tuple[float, str]] = []
    directions = [_direction(pair, options["class_names"]) for pair in pairs]
    for panel in panels.flat[len(pairs) :]:
        panel.set_axis_off()
    for panel, (label, _), direction in zip(panels.flat, pairs, directions, strict=False):
        panel.set_title(direction, pad=3)
        medians: list[float] = []
        for position, proxy_seed in enumerate(seeds):
            own = (reached["label"] == label) & (reached["proxy_seed"] == proxy_seed)
            counts = np.bincount(reached[own]["steps"].astype(int), reached[own]["n_points"], minlength=len(bins))
            lost = int(
                unreached[(unreached["label"] == label) & (unreached["proxy_seed"] == proxy_seed)]["n_points"].sum()
            )
            medians.append(_median(counts, lost))
            _histogram(panel, counts, first=position == 0)
            if position == 0 and lost:
                panel.bar(
                    never,
                    lost,
                    width=1.0,
                    color="white",
                    edgecolor=style.GREY,
                    hatch="//////",
                    linewidth=0.6,
                    gid="never",
                )
                panel.annotate(
                    f"{lost}", (never, lost), (0, 2), textcoords="offset points", ha="center", size=style.TINY
                )
        _mark_median(panel, medians, longest)
        if (most := options["published"].get(str(label))) is not None:
            panel.axvline(most, color=style.BLACK, linewidth=0.8, linestyle=(0, (3, 2)), gid="published")
            place: dict[str, Any] = {"xytext": (3, -1), "textcoords": "offset points", "size": style.TINY, "va": "top"}
            panel.annotate(
                f"published: at most {most:g}", (longest * 0.55, 1), xycoords=("data", "axes fraction"), **place
            )
        typical.append((medians[0], direction))
    _label_axes(figure, panels, len(pairs), longest, never if len(unreached) else None, options["step_size"])

    first = lengths[lengths["proxy_seed"] == seeds[0]]
    lost = int(first[~first["reached"].astype(bool)]["n_points"].sum())
    return figure, {
        "finding": f"{_spread(typical, longest)}.",
        "others": counted(len(seeds) - 1, "other proxy").replace("proxys", "proxies")
        if len(seeds) > 1
        else "no other was trained",
        "points": int(first["n_points"].sum()),
        "unreached": f", of which {lost} never reached the boundary (hatched)"
        if lost
        else ", all of which reached the boundary",
        "provenance": provenance(options, options["labels"]),
    }


def _spread(medians: Sequence[tuple[float, str]], longest: int) -> str:
    """Name the classes with the shortest and the longest median path."""
    known = sorted((steps, direction) for steps, direction in medians if not np.isnan(steps))
    words = [f"{f'{steps:g}' if np.isfinite(steps) else f'more than {longest}'} ({way})" for steps, way in known]
    return (
        f"The median path has {words[0]} to {words[-1]} steps"
        if len(words) > 1
        else f"The median path has {words[0]} steps"
    )


def _select_paths(lengths: pd.DataFrame, name: str | None) -> pd.DataFrame:
    present = sorted(lengths["paths"].unique())
    if name is None and len(present) > 1:
        raise InputError(f"lengths hold several paths {present}; choose one by the option 'paths'")
    chosen = lengths if name is None else lengths[lengths["paths"] == name]
    chosen = chosen[chosen["n_points"] > 0]
    if chosen.empty:
        raise InputError(
            f"lengths hold no points of paths '{name or present[0]}', they hold {present}; trace the paths first"
        )
    return chosen


def _direction(pair: tuple[int, int], names: Sequence[str] | None) -> str:
    source, target = (str(names[index]) if names and index >= 0 else str(index) for index in pair)
    return f"{source} → any other" if pair[1] == _UNTARGETED else f"{source} → {target}"


def _median(counts: np.ndarray, lost: int) -> float:
    """Return the median [steps] of a histogram by steps with `lost` points beyond its end; NaN for no points."""
    steps = np.append(np.repeat(np.arange(len(counts)), counts.astype(int)), np.full(lost, np.inf))
    return float(np.median(steps)) if len(steps) else float("nan")


def _histogram(panel: Axes, counts: np.ndarray, first: bool) -> None:
    edges = np.arange(len(counts) + 1) - 0.5
    if first:
        panel.stairs(counts, edges, fill=True, color=style.SKY, alpha=0.55, linewidth=0, gid="first")
        panel.stairs(counts, edges, color=style.BLUE, linewidth=0.8)
    else:
        panel.stairs(counts, edges, color=style.GREY, linewidth=0.6, alpha=0.8, gid="other")


def _mark_median(panel: Axes, medians: list[float], longest: int) -> None:
    """Mark the first seed's median; name the range over the seeds where there are several."""
    first, known = medians[0], [value for value in medians if np.isfinite(value)]
    if np.isfinite(first):
        panel.axvline(first, color=style.VERMILLION, linewidth=1.0, gid="median")
    text = f"median {first:g}" if np.isfinite(first) else f"median > {longest}" if np.isinf(first) else "no points"
    if len(known) > 1:
        low, high = min(known), max(known)
        text += f" ({low:g} for each seed)" if low == high else f" ({low:g}–{high:g} over seeds)"
    panel.set_title(text, loc="right", size=style.SMALL, weight="normal", color=style.VERMILLION, pad=3)


def _label_axes(
    figure: Figure, panels: np.ndarray, used: int, longest: int, never: int | None, step_size: float | None
) -> None:
    columns = panels.shape[1]
    interval = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if longest / step <= 12)
    ticks = list(range(0, longest + 1, interval))
    for position, panel in enumerate(panels.flat[:used]):
        panel.set_xticks([*ticks, never] if never else ticks, [*map(str, ticks), "never"] if never else None)
        panel.tick_params(labelbottom=position + columns >= used)
    panels[0, 0].set_xlim(-0.75, (never or longest) + 1.25)
    panels[0, 0].set_ylim(bottom=0)
    panels[0, 0].locator_params(axis="y", nbins=3)
    figure.supxlabel(f"path length ({step_unit(step_size)})", size=8)
    figure.supylabel("training points", size=8)
