"""Figures of the victims of path buckets: adversarial and natural accuracy against the path length of the poisons."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, EXPERIMENTS, PATHS, THESIS, Option, figure, style
from poisonlab.figures.captions import each, joined, measured, percent, shared_facts, shared_n, step_unit

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from poisonlab.figures.experiments import BucketExperiment
    from poisonlab.statistics import Estimate

# Where the marks of one bucket stand, in buckets from its middle.
_SINGLE, _ALL, _FITTED = (-0.36, -0.12), 0.0, 0.24
_SPREAD = (-0.25, 0.25)
_DASHED = (0, (4, 2))
_DOTTED: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (1, 1.2)), "zorder": 1}


@figure(
    "bucket_curve",
    needs=("conditions", "victims", "robustness"),
    title="Adversarial accuracy by path length of the poisons",
    source=f"{THESIS}, Figs. 4.6b and 4.8",
    caption="Adversarial accuracy against the path length of the poisons ({directions}); lower: easier to attack. "
    "Circles: all victims; diamonds: fitted {fitted}. Below: their number, the share of the poisons fitted, "
    "training points by bucket.{squares}",
    method="{attacked}95 % intervals; n, draws × repeats, stands above. Against random points: victims that fitted "
    "{fitted} (of random points {fits_random}), paired by repeat, p with Holm's correction. {provenance}",
    options={
        **EXPERIMENTS,
        **PATHS,
        **ATTACK,
        "fitted_at_least": Option("least share of the poisons that victims of the second curve fitted", 0.9),
        "published": Option("experiment → published adversarial accuracy without poisons", {}),
    },
)
def bucket_curve(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw adversarial accuracy against the buckets of growing path length, the thesis's Figs. 4.6b and 4.8.

    One column per experiment. Above: the mean over all victims and, beside it, over those that fitted their poisons
    (where there are two or more), with random poisons and no poison as baselines; of random poisons, too, both means
    where they differ. Middle: the share of the poisons
    that were fitted, without which a curve cannot be read. Below: the number of training points in each bucket.

    Args:
        inputs: the tables `conditions`, `victims` and `robustness` of all the experiments drawn.

    Raises:
        InputError: a condition or a victim's attack is missing, or more than one attack or radius remains.
    """
    from poisonlab.documents.comparison import compare
    from poisonlab.figures.experiments import bucket_experiments, estimate, query, with_adversarial_accuracy

    least = float(options["fitted_at_least"])
    experiments, attacks, compared = [], [], []
    fits_random: list[str] = []
    published: Mapping[str, float] = options["published"]
    lowest: dict[str, str] = {}  # direction → where victims are easiest to attack
    for experiment in bucket_experiments(inputs, options):
        found = query(inputs, experiment.name, options)
        compared.append(_verdicts(compare(found), experiment))
        attacks.append(found.attack().iloc[0])
        experiments.append(with_adversarial_accuracy(experiment, found))

    figure, panels = _panels(experiments, heights=(4.2, 1.3, 0.9), height=4.3)
    for column, experiment in enumerate(experiments):
        accuracy, share, points = panels[:, column]
        fitted = [bucket[bucket["fitted_share"] >= least] for bucket in experiment.buckets]
        estimates = [estimate(bucket, "adversarial_accuracy") for bucket in experiment.buckets]
        random, clean = (estimate(group, "adversarial_accuracy") for group in (experiment.random, experiment.clean))
        lowest[experiment.direction] = _lowest(estimates)
        _band(accuracy, clean, style.GREY, "clean", _DASHED)
        _band(accuracy, random, style.ORANGE, "random", "-")
        fits = experiment.random["fitted_share"] >= least
        fitted_random = estimate(experiment.random[fits], "adversarial_accuracy")
        if fitted_random is not None and 1 < fits.sum() < len(fits):
            accuracy.axhline(fitted_random.value, color=style.GREEN, gid="random-fitted", **_DOTTED)
        for position, bucket in enumerate(experiment.buckets):
            _dots(accuracy, bucket, "adversarial_accuracy", position, _SINGLE, style.BLUE)
        _means(accuracy, estimates, _ALL, "all")
        seconds = [estimate(group, "adversarial_accuracy") if len(group) > 1 else None for group in fitted]
        _means(accuracy, seconds, _FITTED, "fitted")
        if experiment.name in published:
            look: dict[str, Any] = {"color": style.GREY, "markerfacecolor": "white", "clip_on": False, "zorder": 5}
            accuracy.plot(-0.6, published[experiment.name], "s", markersize=4, gid="published", **look)
        accuracy.set(ylim=(-0.03, 1.03), yticks=np.linspace(0, 1, 6))

        random_share = estimate(experiment.random, "fitted_share")
        if random_share is not None:
            share.axhline(random_share.value, color=style.ORANGE, linewidth=0.9, gid="random")
        _means(share, [estimate(bucket, "fitted_share") for bucket in experiment.buckets], _ALL, "share")
        share.set(ylim=(-0.08, 1.08), yticks=(0, 1))
        counts = [len(group) for group in fitted]
        _counts(share, counts, f"n ≥ {percent(least)}" if column == 0 else "")

        heights = np.nan_to_num(experiment.n_points)
        points.bar(range(len(heights)), heights, width=0.8, color="#BBBBBB", gid="points")
        _note_n(accuracy, estimates, random, clean)
        fits_random.append(f"{fits.sum()}/{len(fits)}")
    most = max(1.0, *(np.nan_to_num(experiment.n_points).max() for experiment in experiments))
    panels[2, 0].set(ylim=(0, 1.1 * most), yticks=(0, most), yticklabels=("0", f"{most:.0f}"))
    _finish(figure, panels, experiments, ("adversarial accuracy", "fitted", "points"), options["step_size"])
    drawn = {line.get_gid() for panel in panels[0] for line in panel.lines}
    handles = _legend(least, drawn)
    columns = (len(handles) if len(handles) < 7 else 4) if len(experiments) > 1 else 2
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, columnspacing=1.4)
    return figure, {
        **shared_facts(experiments, options),
        "finding": _finding(lowest, compared, str(experiments[0].facts["budget"])),
        "attacked": measured(attacks),
        "fitted": percent(least),
        "fits_random": joined(fits_random),
        "squares": " Square: published, without poisons." if "published" in drawn else "",
    }


def _lowest(estimates: Sequence[Estimate | None]) -> str:
    """Where victims are easiest to attack: the bucket with the lowest mean, of those that have one."""
    known = [(estimate.value, place) for place, estimate in enumerate(estimates) if estimate is not None]
    place = min(known)[1] if known else 0
    last = len(estimates) - 1
    return "nearest the boundary" if place == 0 else "farthest away" if place == last else "at middling path lengths"


def _verdicts(table: pd.DataFrame, experiment: BucketExperiment) -> list[str]:
    """Verdicts of `comparison.compare` on an experiment's buckets."""
    return list(table.loc[table["condition"].isin(experiment.buckets[0]["condition"]), "verdict"])


def _finding(lowest: Mapping[str, str], compared: Sequence[Sequence[str]], budget: str) -> str:
    """Say where the poisons hurt most, and how many buckets are shown to beat random points."""
    places: dict[str, list[str]] = {}
    for direction, place in lowest.items():
        places.setdefault(place, []).append(direction)
    where = joined([place if len(places) == 1 else f"{place} in {joined(own)}" for place, own in places.items()])
    verdicts = [verdict for own in compared for verdict in own]
    beat = verdicts.count("stronger")
    shown = f"and {beat} of {len(verdicts)} buckets {'are' if beat > 1 else 'is'}" if beat else "but no bucket is"
    return f"In the mean {budget} poisons hurt most {where}, {shown} shown to beat random points."


@figure(
    "natural_accuracy",
    needs=("conditions", "victims"),
    title="Natural accuracy by path length of the poisons",
    source=f"{THESIS}, captions of Figs. 4.6 and 4.8: above 99 %",
    caption="Natural accuracy of every victim of {budget} poisons from one bucket of path lengths ({directions}), "
    "beside random points and no poisons. A dot is one victim; dashed: {threshold}, "
    "above which the published ones lie. Lowest with poisons: {minima}.",
    method="n, draws × repeats: {n}. {provenance}",
    options={**EXPERIMENTS, **PATHS, "threshold": Option("the accuracy of the claim", 0.99)},
)
def natural_accuracy(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw every victim's natural accuracy by bucket, with the 99 % of the captions of the thesis's Figs. 4.6 and 4.8.

    Args:
        inputs: the tables `conditions` and `victims` of all the experiments drawn.

    Raises:
        InputError: a condition or its victims are missing, or no natural accuracy is known.
    """
    from poisonlab.figures.experiments import bucket_experiments, estimate

    threshold = float(options["threshold"])
    experiments = bucket_experiments(inputs, options)
    figure, panels = _panels(experiments, heights=(1,), height=2.3)
    minima, notes, seen = [], [], [threshold]
    poisoned: list[float] = []
    for panel, experiment in zip(panels[0], experiments, strict=True):
        groups = [*experiment.buckets, experiment.random, experiment.clean]
        colors = [*[style.BLUE] * len(experiment.buckets), style.ORANGE, style.GREY]
        for position, (group, color) in enumerate(zip(groups, colors, strict=True)):
            _dots(panel, group, "natural_accuracy", position, _SPREAD, color)
        panel.axhline(threshold, color=style.BLACK, linewidth=0.8, linestyle=_DASHED, gid="threshold")
        lows = np.array([group["natural_accuracy"].min() for group in groups[:-1]])  # the clean ones are not poisoned
        if np.isnan(lows).all():
            raise InputError(
                f"experiment '{experiment.name}' has no natural accuracy of a poisoned victim; train them again"
            )
        worst = int(np.nanargmin(lows))
        _mark_minimum(panel, groups[worst], worst, len(groups))
        minima.append(f"{experiment.direction} {percent(lows[worst], digits=2)}")
        seen += [value for group in groups for value in group["natural_accuracy"].dropna()]
        *estimates, random, clean = (estimate(group, "natural_accuracy") for group in groups)
        poisoned += [value for group in groups[:-1] for value in group["natural_accuracy"].dropna()]
        notes.append((experiment.direction, _note_n(panel, estimates, random, clean)))
    below = sum(value < threshold for value in poisoned)
    room = 1 - min(seen)  # up to 1: two figures with the same lower end have the same axis
    panels[0, 0].set_ylim(1 - 1.18 * room, 1 + 0.08 * room)
    _finish(figure, panels, experiments, ("natural accuracy",), options["step_size"], ("random points", "no poisons"))
    return figure, {
        **shared_facts(experiments, options),
        "threshold": percent(threshold),
        "finding": f"Of {len(poisoned)} victims with poisons, {below or 'none'} "
        f"{'have' if below > 1 else 'has'} a natural accuracy below {percent(threshold)}.",
        "minima": ", ".join(minima),
        "n": each(notes),
    }


def _panels(
    experiments: Sequence[BucketExperiment], heights: Sequence[float], height: float
) -> tuple[Figure, np.ndarray]:
    from matplotlib.figure import Figure

    width = style.COLUMN if len(experiments) == 1 else style.PAGE
    figure = Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.03, hspace=0.03, wspace=0.03)
    ratios = {"height_ratios": heights}
    shape = (len(heights), len(experiments))
    return figure, figure.subplots(*shape, sharex="col", sharey="row", squeeze=False, gridspec_kw=ratios)


def _means(panel: Axes, estimates: Sequence[Estimate | None], shift: float, gid: str) -> None:
    """Draw means with their intervals; a bucket without an estimate leaves a gap. Fitted victims get open diamonds."""
    from poisonlab.statistics import Estimate

    unknown = Estimate(np.nan, np.nan, np.nan, 0, 0)
    known = [unknown if estimate is None else estimate for estimate in estimates]
    x = np.arange(len(known)) + shift
    look: dict[str, Any] = {"color": style.BLUE, "marker": "o", "markersize": 3.8}
    if gid == "fitted":
        look = {"color": style.GREEN, "marker": "D", "markersize": 3.2, "markerfacecolor": "white", "linestyle": ""}
    lows, highs = [estimate.low for estimate in known], [estimate.high for estimate in known]
    panel.vlines(x, lows, highs, color=look["color"], linewidth=1.0, gid=f"{gid}-interval", zorder=3)
    panel.plot(x, [estimate.value for estimate in known], markeredgewidth=0.9, gid=gid, zorder=4, **look)


def _dots(panel: Axes, victims: pd.DataFrame, value: str, position: int, room: tuple[float, float], color: str) -> None:
    """Draw one faint dot per victim."""
    x = _dot_x(victims, position, room)
    dots: dict[str, Any] = {"color": color, "alpha": 0.45, "markersize": 3.5, "markeredgewidth": 0}
    panel.plot(x, victims[value], ".", gid="victims", zorder=2, **dots)


def _dot_x(victims: pd.DataFrame, position: int, room: tuple[float, float]) -> np.ndarray:
    """Return where victims stand within `room` around their bucket: those of one draw above each other."""
    draws = victims["draw"].rank(method="dense").to_numpy(float) - 1
    last = draws.max(initial=0)
    share = draws / last if last else np.full(len(draws), 0.5)
    return position + room[0] + (room[1] - room[0]) * share


def _band(panel: Axes, estimate: Estimate | None, color: str, gid: str, linestyle: Any) -> None:
    if estimate is None:
        return
    if estimate.low > 0 or estimate.high < 1:  # not NaN, and not all that an accuracy may be
        panel.axhspan(
            estimate.low, estimate.high, color=color, alpha=0.16, linewidth=0, gid=f"{gid}-interval", zorder=0
        )
    panel.axhline(estimate.value, color=color, linewidth=1.1, linestyle=linestyle, gid=gid, zorder=1)


def _counts(panel: Axes, counts: Sequence[int], head: str) -> None:
    """Write one number per bucket above the panel, as survival curves show the number at risk."""
    for position, count in enumerate(counts):
        panel.text(
            position,
            1.12,
            f"{count}",
            transform=panel.get_xaxis_transform(),
            ha="center",
            va="bottom",
            size=style.TINY,
            color=style.GREEN,
            gid="count",
        )
    words: dict[str, Any] = {"ha": "right", "va": "bottom", "size": style.TINY, "color": style.GREEN}
    panel.annotate(head, (0, 1.12), (-7, 0), xycoords="axes fraction", textcoords="offset points", **words)


def _mark_minimum(panel: Axes, victims: pd.DataFrame, position: int, positions: int) -> None:
    """Ring the lowest victim and write its accuracy below it, turned inwards at the panel's edges."""
    row = int(np.nanargmin(victims["natural_accuracy"].to_numpy(float)))
    x, y = _dot_x(victims, position, _SPREAD)[row], victims["natural_accuracy"].iloc[row]
    ring: dict[str, Any] = {"markersize": 4.5, "markerfacecolor": "none", "markeredgewidth": 0.8}
    panel.plot(x, y, "o", markeredgecolor=style.VERMILLION, gid="minimum", **ring)
    side, nudge = ("left", -3) if position == 0 else ("right", 3) if position == positions - 1 else ("center", 0)
    words: dict[str, Any] = {"ha": side, "va": "top", "size": style.TINY, "color": style.VERMILLION}
    words["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85}  # over the line of the claim
    panel.annotate(f"{y:.4f}", (x, y), (nudge, -4), textcoords="offset points", **words)


def _note_n(
    panel: Axes,
    estimates: Sequence[Estimate | None],
    random: Estimate | None,
    clean: Estimate | None,
) -> str:
    """Write n into the corner above the panel, where no data can be, and return it for the caption."""
    n = {"buckets": shared_n(estimates), "random": shared_n([random]), "clean": shared_n([clean])}
    text = f"n: buckets {n['buckets']}\nrandom {n['random']}, no poisons {n['clean']}"
    panel.set_title(text, loc="right", size=5.5, weight="normal", color=style.GREY, pad=3, linespacing=1.1)
    return f"buckets {n['buckets']}, random points {n['random']}, no poisons {n['clean']}"


def _finish(
    figure: Figure,
    panels: np.ndarray,
    experiments: Sequence[BucketExperiment],
    names: Sequence[str],
    step_size: float | None,
    extra: Sequence[str] = (),
) -> None:
    """Name the axes; bucket labels stand upright where they would run into each other."""
    labels = [[*experiment.labels, *extra] for experiment in experiments]
    room = (figure.get_figwidth() - 0.6) / len(experiments) / max(map(len, labels))  # inches for one label
    crowded = 0.062 * max(len(label) for row in labels for label in row) > room
    for column, (experiment, row) in enumerate(zip(experiments, labels, strict=True)):
        panels[0, column].set_title(experiment.direction, pad=4)
        panels[-1, column].set_xticks(range(len(row)), row, rotation=90 if crowded else 0)
        panels[-1, column].set_xlim(-0.6, len(row) - 0.4)
        for panel in panels[:-1, column]:
            panel.tick_params(bottom=False)
    for panel, name in zip(panels[:, 0], names, strict=True):
        panel.set_ylabel(name)
    figure.align_ylabels(panels[:, 0])
    figure.supxlabel(f"path length of the bucket ({step_unit(step_size)})", size=8)


def _legend(least: float, drawn: Collection[str | None]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    diamond: dict[str, Any] = {"marker": "D", "markersize": 3.2, "markerfacecolor": "white", "linestyle": ""}
    dot: dict[str, Any] = {"marker": ".", "markersize": 3.5, "markeredgewidth": 0, "alpha": 0.45, "linestyle": ""}
    square: dict[str, Any] = {"marker": "s", "markersize": 4, "markerfacecolor": "white", "linestyle": ""}
    return [
        Line2D([], [], color=style.BLUE, marker="o", markersize=3.8, label="all victims, mean"),
        Line2D([], [], color=style.GREEN, markeredgewidth=0.9, label=f"≥ {percent(least)} fitted, mean", **diamond),
        Line2D([], [], color=style.BLUE, label="one victim", **dot),
        Line2D([], [], color=style.ORANGE, linewidth=1.1, label="random points"),
        *([Line2D([], [], color=style.GREEN, label="random, fitted", **_DOTTED)] if "random-fitted" in drawn else []),
        Line2D([], [], color=style.GREY, linewidth=1.1, linestyle=_DASHED, label="no poisons"),
        *([Line2D([], [], color=style.GREY, label="published, no poisons", **square)] if "published" in drawn else []),
    ]
