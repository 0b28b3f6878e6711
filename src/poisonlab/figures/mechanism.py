"""How harm and the shape of the memorised region go together: probes of victims against their adversarial accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.figures import ATTACK, EXPERIMENTS, PATHS, THESIS, figure, style
from poisonlab.figures.captions import joined, measured, shared_facts, shared_n

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import BucketExperiment
    from poisonlab.statistics import Estimate

SHARES = {"path_share": "along the adversarial path", "line_share": "along the straight line"}


@figure(
    "mechanism",
    needs=("conditions", "victims", "robustness"),
    title="How far the poison's label reaches, and the harm",
    source=f"{THESIS}, the mechanism of Fig. 4.4",
    caption="Share of the way from a poison to its new class that victims give the poison's label, against "
    "adversarial accuracy. Top: along the clean proxy's adversarial path; bottom: straight to the nearest point of "
    "the new class. Numbers: buckets, from near the boundary (0) to far.",
    method="{attacked}{budget} poisons ({directions}). A near poison's way lies more beyond any net's boundary: only "
    "within buckets are poisons alike. Bars: 95 % intervals. n, draws × repeats: {n}. {provenance}",
    options={**EXPERIMENTS, **PATHS, **ATTACK},
)
def mechanism(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the share of the way to the new class with the poison's label against the victims' adversarial accuracy.

    What the thesis sketches in Figs. 4.4 and 6.1: a harmful poison stretches the boundary towards itself, a harmless
    one sits in a pocket. One column per experiment, one row per way; a mark per bucket, numbered and joined by growing
    path length.

    Args:
        inputs: the tables `conditions`, `victims` (probed) and `robustness` of all the experiments drawn.

    Raises:
        InputError: the victims were not probed, or an attack is missing or ambiguous.
    """
    from matplotlib.figure import Figure

    from poisonlab.figures.experiments import bucket_experiments, estimate, query, with_adversarial_accuracy

    if missing := sorted(set(SHARES) - set(inputs["victims"].columns)):
        raise InputError(f"'victims' lacks the probes {missing}; set probes: true in the experiments and run them")
    experiments, attacks = [], []
    for experiment in bucket_experiments(inputs, options):
        found = query(inputs, experiment.name, options)
        attacks.append(found.attack().iloc[0])
        experiments.append(with_adversarial_accuracy(experiment, found))

    figure = Figure(figsize=(style.COLUMN if len(experiments) == 1 else style.PAGE, 4.0))
    figure.set_layout_engine("constrained", h_pad=0.04, w_pad=0.04)
    panels = figure.subplots(len(SHARES), len(experiments), sharex=True, sharey="row", squeeze=False)
    n: list[Estimate | None] = []
    lowest = 1.0
    for column, experiment in enumerate(experiments):
        last = max(len(experiment.buckets) - 1, 1)
        for row, share in enumerate(SHARES):
            panel, means = panels[row, column], []
            for position, bucket in enumerate(experiment.buckets):
                known = bucket[bucket[share].notna()]
                x, y = estimate(known, "adversarial_accuracy"), estimate(known, share)
                n += [y] if row == 0 else []
                if x is None or y is None:
                    continue
                colour = _colour(position / last)
                panel.plot(
                    known["adversarial_accuracy"], known[share], ".", color=colour, markersize=3, markeredgewidth=0,
                    alpha=0.5, gid="victims", zorder=2,
                )  # fmt: skip
                line: dict[str, Any] = {"color": colour, "linewidth": 0.8, "alpha": 0.6, "gid": "interval", "zorder": 3}
                panel.hlines(y.value, x.low, x.high, **line)
                panel.vlines(x.value, y.low, y.high, **line)
                means.append((x.value, y.value, colour, position))
                lowest = float(np.nanmin([lowest, y.low, known[share].min()]))
            if means:
                xs, ys, colours, numbers = zip(*means, strict=True)
                panel.plot(xs, ys, color=style.GREY, linewidth=0.7, zorder=1)
                panel.scatter(xs, ys, c=list(colours), s=50, edgecolors="white", linewidths=0.5, gid="means", zorder=4)
                for place, number in zip(zip(xs, ys, strict=True), numbers, strict=True):
                    panel.annotate(
                        f"{number}", place, ha="center", va="center_baseline", size=style.TINY, weight="bold",
                        gid="number", zorder=5,
                    )  # fmt: skip
            panel.set_xlim(-0.03, 1.03)
        panels[0, column].set_title(experiment.direction, pad=4)
        key = [f"{number}: {label}" for number, label in enumerate(experiment.labels)]
        side = 4 if panels.shape[1] < 3 else 3  # entries that stand beside a panel's title
        lines = "\n".join("   ".join(key[first : first + side]) for first in range(0, len(key), side))
        small: dict[str, Any] = {"loc": "right", "size": style.SMALL, "weight": "normal", "color": style.GREY, "pad": 3}
        panels[0, column].set_title(lines, linespacing=1.1, **small)
    for row, name in enumerate(SHARES.values()):
        panels[row, 0].set_ylim(lowest - 0.04, 1.04)
        panels[row, 0].set_ylabel(f"share of poison's label\n{name}")
    figure.supxlabel("adversarial accuracy", size=8)
    return figure, {
        **shared_facts(experiments, options),
        "finding": _finding(experiments),
        "attacked": measured(attacks),
        "n": shared_n(n),
    }


def _finding(experiments: Sequence[BucketExperiment]) -> str:
    """Say how the share along the path and adversarial accuracy go together: over all victims, and within buckets."""
    import pandas as pd

    whole: list[str] = []
    within: list[str] = []
    for experiment in experiments:
        victims = pd.concat(experiment.buckets)[["axis_value", "path_share", "adversarial_accuracy"]].dropna()
        apart = victims - victims.groupby("axis_value").transform("mean")
        for words, table in ((whole, victims), (within, apart)):
            r = table["path_share"].corr(table["adversarial_accuracy"])
            words.append(f"{r:.2f} ({experiment.direction})" if np.isfinite(r) else f"unknown ({experiment.direction})")
    return (
        f"Along the path, share and adversarial accuracy correlate at {joined(whole)}, and within buckets at "
        f"{joined(within)}."
    )


def _colour(share: float) -> tuple[float, ...]:
    """From sky blue (near the boundary) to vermillion (far)."""
    near, far = (
        np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255 for code in (style.SKY, style.VERMILLION)
    )
    return tuple(near + share * (far - near))
