"""Hypergradients of regularised logistic regression: their errors and costs, and the ascents that they lead to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.figures import figure, style
from poisonlab.figures.captions import joined, named
from poisonlab.figures.regularization import COLOURS, DATASET, SOURCE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LEAST = 1e-17  # of the errors drawn


@figure(
    "hypergradient_errors",
    needs=("hypergradients",),
    title="How far reverse-mode hypergradients are from the exact ones",
    source=f"{SOURCE}, Appendix B",
    caption="Relative error of reverse-mode hypergradients after T steps of gradient descent against the exact, "
    "implicit ones, for features of poisons and for ln λ; the seconds that one takes (dotted: an exact one); and the "
    "seconds of each kind by the number of hyperparameters.",
    method="Errors below 10⁻¹⁷ are drawn there. Processor's seconds; {timed} steps in the last panel. One division, "
    "one line for each λ. Made with {dataset}.",
    options=DATASET,
)
def hypergradient_errors(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw how the error of reverse mode falls with the number of steps: the source's Appendix B.

    Args:
        inputs: `hypergradients`, the table of the analysis `hypergradient_errors`.
    """
    from matplotlib.figure import Figure

    table: pd.DataFrame = inputs["hypergradients"]
    counted = table["hyperparameters"].notna()
    costs = {str(method): own.sort_values("hyperparameters") for method, own in table[counted].groupby("method")}
    table = table[~counted]
    reverse = table[table["method"] == "reverse"]
    figure = Figure(figsize=(style.PAGE, 2.5))
    figure.set_layout_engine("constrained")
    *panels, last = figure.subplots(1, 4)
    panels[0].sharey(panels[1])
    for colour, (penalty, own) in zip(COLOURS, reverse.groupby("penalty"), strict=False):
        for panel, column in zip(panels, ("points", "log_penalty", "seconds"), strict=True):
            panel.plot(
                own["steps"], own[column].clip(lower=LEAST), "o-", markersize=3, color=colour, label=f"λ = {penalty:g}"
            )
        exact = table[(table["method"] == "implicit") & (table["penalty"] == penalty)]
        panels[2].axhline(exact["seconds"].iloc[0], color=colour, linestyle=":", linewidth=1)
    for panel, words in zip(panels, ("error, features", "error, ln λ", "seconds"), strict=True):
        panel.set(xscale="log", yscale="log", xlabel="steps T", title=words)
    panels[0].set_ylim(bottom=LEAST / 3)
    handles, labels = panels[0].get_legend_handles_labels()
    for colour, (method, own) in zip(COLOURS[3:], costs.items(), strict=False):
        last.plot(
            own["hyperparameters"],
            own["seconds"],
            "s-",
            markersize=3,
            color=colour,
            label=method if method == "implicit" else f"{method} mode",
        )
    last.set(xscale="log", yscale="log", xlabel="hyperparameters", title="seconds")
    figure.legend(
        *(one + more for one, more in zip((handles, labels), last.get_legend_handles_labels(), strict=True)),
        loc="outside upper center", ncols=6, columnspacing=1.0,
    )  # fmt: skip
    shown = costs["reverse"]
    growth = {name: own["seconds"].iloc[-1] / own["seconds"].iloc[0] for name, own in costs.items()}
    last_steps = reverse[reverse["steps"] == reverse["steps"].max()]
    errors = [
        f"{error:.1g} (λ = {penalty:.1g})"
        for error, penalty in zip(last_steps["points"], last_steps["penalty"], strict=True)
    ]
    fewest, most = (shown["hyperparameters"].iloc[end] for end in (0, -1))
    return figure, {
        "dataset": named(options["dataset"], options["labels"]),
        "finding": f"After {last_steps['steps'].max():,.0f} steps the error for features is {joined(errors)}; from "
        f"{fewest:,.0f} to {most:,.0f} hyperparameters the seconds of forward mode grow {growth['forward']:.0f} times, "
        f"those of reverse mode {growth['reverse']:.1f} times.",
        "timed": int(shown["steps"].iloc[0]),
    }


@figure(
    "ascents",
    needs=("ascents",),
    title="Ascents of the validation loss, by the length of their steps",
    caption="Validation loss while one batch of {poisons} poisons ascends, by the length of a step as a share of a "
    "feature's range (colours), against fixed λ and a learned one; last panel: ln λ's own descent without poisons, by "
    "its step.",
    method="One division. Made with {dataset}.",
    options=DATASET,
)
def ascents(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw the validation loss against hyperiterations, for every step and defender.

    Args:
        inputs: `ascents`, the table of the analysis `ascent_curves`.
    """
    from matplotlib.figure import Figure

    table: pd.DataFrame = inputs["ascents"].assign(
        defender=lambda frame: ["learned λ" if np.isnan(one) else f"λ = {one:g}" for one in frame["penalty"]]
    )
    moved, clean = table[table["poisons"] > 0], table[table["poisons"] == 0]
    groups = [*moved.groupby("defender", sort=False), *([("no poisons", clean)] if len(clean) else [])]
    figure = Figure(figsize=(style.PAGE, 2.3))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True).ravel()
    for panel, (name, own) in zip(panels, groups, strict=True):
        looks = COLOURS if name != "no poisons" else COLOURS[3:]
        for colour, (step, one) in zip(looks, own.groupby("step"), strict=False):
            panel.plot(one["hyperiteration"], one["loss"], color=colour, label=f"step {step:g}")
        panel.set(title=name, xlabel="hyperiterations", yscale="log")
    panels[0].set_ylabel("validation loss")
    shown = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=6, columnspacing=1.0)
    ends = (
        moved[moved["hyperiteration"] == moved["hyperiteration"].max()].sort_values("loss").groupby("defender").last()
    )
    found = [f"{row['loss']:.2f} with steps of {row['step']:g} ({name})" for name, row in ends.iterrows()]
    finding = f"Poisons raise the validation loss most, to {joined(found)}."
    return figure, {
        "finding": finding,
        "poisons": int(table["poisons"].max()),
        "dataset": named(options["dataset"], options["labels"]),
    }
