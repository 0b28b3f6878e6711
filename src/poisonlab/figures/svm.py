"""Poisoning a support vector machine: whether its gradients are right, and what one crafted training point does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.figures import Option, figure, style
from poisonlab.figures.captions import joined, named, percent, span

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_GRADIENTS = {"exact": style.BLUE, "historical": style.VERMILLION}
_KERNELS = {"linear": "linear kernel", "rbf": "RBF kernel"}
_POINTS = {
    "clean": (style.GREY, "no point more"),
    "flipped": (style.ORANGE, "a flipped one"),
    "crafted": (style.VERMILLION, "that one, crafted"),
}
PUBLISHED = (0.15, 0.20)  # test error after one point, from 2 to 5 % before it: Biggio et al., MNIST
WIDTH = 0.22  # of what stands side by side


@figure(
    "svm_gradients",
    needs=("svm_gradients",),
    title="Two gradients of the attack on an SVM",
    source="Biggio, Nelson & Laskov, ICML 2012, gradient of the attack; historical: the public code that the CIFAR-3 "
    "report adapted",
    caption="Cosine of the angle between a gradient and central differences of the retrained machine's validation "
    "loss; 1 is the right direction, 0 says nothing. Dots: simulated problems; lines: medians.",
    method="Exact: from the machine's optimality conditions. Historical: the formula of the public code that the "
    "CIFAR-3 report adapted, in which a sign is lost, a factor misplaced, and more than the margin vectors count. "
    "{draws} problems; open circles: a difference crosses a kink of the loss, {kinks}.",
)
def svm_gradients(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the cosines of both gradients with central differences, by kernel.

    Args:
        inputs: `svm_gradients`, the table of the analysis of this name.
    """
    from matplotlib.figure import Figure

    table: pd.DataFrame = inputs["svm_gradients"]
    kernels = [kernel for kernel in _KERNELS if kernel in set(table["kernel"])]
    figure = Figure(figsize=(style.COLUMN, 2.4))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    medians = []
    for place, kernel in enumerate(kernels):
        for side, (gradient, colour) in enumerate(_GRADIENTS.items()):
            own = table[(table["kernel"] == kernel) & (table["gradient"] == gradient)].sort_values("draw")
            if own.empty:
                continue
            middle = place + (side - 0.5) * 2 * WIDTH
            x = middle + _spread(len(own))
            for kink, marker in ((False, "full"), (True, "none")):
                some = (own["kink"] == kink).to_numpy()
                panel.plot(
                    x[some], own["cosine"][some], "o", color=colour, fillstyle=marker, markersize=2.5, alpha=0.6,
                    gid="kink" if kink else "draw",
                )  # fmt: skip
            median = float(own["cosine"].median())
            ends = [middle - 0.8 * WIDTH, middle + 0.8 * WIDTH]
            panel.plot(ends, [median] * 2, "-", color=colour, label="" if place else gradient, gid="median")
            medians.append(f"{median:.4g} ({gradient}, {_KERNELS[kernel]})")
    panel.axhline(0, color=style.GREY, linewidth=0.6, linestyle=":")
    panel.set(ylim=(-1.05, 1.05), ylabel="cosine with central differences")
    panel.set_xticks(range(len(kernels)), [_KERNELS[kernel] for kernel in kernels])
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    counts = table.groupby(["kernel", "gradient"])["draw"].nunique()
    problems = table.groupby(["kernel", "draw"])["kink"].any()
    return figure, {
        "draws": span(counts.min(), counts.max()),
        "finding": f"The median cosine is {joined(medians)}.",
        "kinks": f"{int(problems.sum())} of {len(problems)}",
    }


@figure(
    "svm_single_point",
    needs=("svm_single_point",),
    title="One training point against an SVM",
    source="Biggio, Nelson & Laskov, ICML 2012, one point against MNIST 7-1, 9-8, 4-0",
    caption="Error on all test points of two classes of a support vector machine with no training point more, a "
    "flipped one (of the first class, labelled as the second), and that one after the attack; dots: draws, lines: "
    "means. Band: what Biggio et al. report after one point, {low} to {high}.",
    method="Brackets: 95 % intervals. {draws} draws of the training points and the point. A crafted point took "
    "{seconds} s (median).",
    options={"dataset": Option("for the axis", "")},
)
def svm_single_point(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the test error without a point, with a flipped one, and with a crafted one, by pair of classes.

    Args:
        inputs: `svm_single_point`, the table of the analysis of this name.
    """
    from matplotlib.figure import Figure

    from poisonlab.statistics import grid, mean_interval

    table: pd.DataFrame = inputs["svm_single_point"]
    pairs = list(table["pair"].unique())
    figure = Figure(figsize=(style.COLUMN, 2.4))
    figure.set_layout_engine("constrained")
    panel = figure.subplots()
    panel.axhspan(*PUBLISHED, color=style.SKY, alpha=0.25, linewidth=0, label="published, one point", gid="published")
    for place, pair in enumerate(pairs):
        for side, (what, (colour, words)) in enumerate(_POINTS.items()):
            own = table[(table["pair"] == pair) & (table["what"] == what)].sort_values("draw")
            middle = place + (side - 1) * 1.3 * WIDTH
            x = middle + _spread(len(own))
            panel.plot(x, own["error"], "o", color=colour, markersize=2.5, alpha=0.6, gid="draw")
            ends = [middle - 0.55 * WIDTH, middle + 0.55 * WIDTH]
            panel.plot(ends, [own["error"].mean()] * 2, "-", color=colour, label="" if place else words, gid="mean")
    panel.set(
        ylabel="test error",
        xlabel="classes" + (f" of {named(options['dataset'], options['labels'])}" if options["dataset"] else ""),
    )
    panel.set_ylim(bottom=0)
    panel.set_xticks(range(len(pairs)), pairs)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    means = table.groupby(["pair", "what"])["error"].mean()
    counts = table.groupby(["pair", "what"])["draw"].nunique()
    errors = []
    for pair in pairs:
        crafted = table[(table["pair"] == pair) & (table["what"] == "crafted")].assign(repeat=0)
        found = mean_interval(grid(crafted, "error"), bounds=(0, 1))
        bounds = "" if math.isnan(found.low) else f" [{percent(found.low, 1)}, {percent(found.high, 1)}]"
        errors.append(f"from {percent(means[pair, 'clean'], 1)} to {percent(found.value, 1)}{bounds} ({pair})")
    inside = sum(PUBLISHED[0] <= means[pair, "crafted"] <= PUBLISHED[1] for pair in pairs)
    return figure, {
        "draws": span(counts.min(), counts.max()),
        "finding": f"One crafted training point takes the mean test error {joined(errors)}; published: into "
        f"{percent(PUBLISHED[0])} to {percent(PUBLISHED[1])}, where {inside} of {len(pairs)} end.",
        "low": percent(PUBLISHED[0]),
        "high": percent(PUBLISHED[1]),
        "seconds": f"{table.loc[table['what'] == 'crafted', 'seconds'].median():.2g}",
    }


def _spread(count: int) -> np.ndarray:
    """Offsets for dots side by side, [count]."""
    return np.linspace(-0.4, 0.4, count) * WIDTH if count > 1 else np.zeros(1)
