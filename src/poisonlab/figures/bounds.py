"""What label noise alone guarantees an attacker: Theorems 1 and 2 simulated, and applied to a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from poisonlab.figures import Option, figure, style
from poisonlab.figures.captions import joined, named, percent, span

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

LOOKS: dict[str, dict[str, Any]] = {
    # Wide below narrow: where two agree, both are seen.
    "dictionary": {"color": style.BLUE, "label": "memorises, dictionary", "linewidth": 3.5, "markersize": 6},
    "smooth": {"color": style.VERMILLION, "label": "memorises, smooth", "linewidth": 1.3, "markersize": 3},
    "truth": {"color": style.GREY, "label": "does not memorise", "linewidth": 1.3, "markersize": 3},
}
TITLES = {"linf": "l∞", "l2": "l2"}
COLOURS = (style.BLUE, style.GREEN, style.ORANGE, style.VERMILLION)
FLIPS = 10  # of the thesis's MNIST experiments


@figure(
    "simulated_bound",
    needs=("runs",),
    title="Theorems 1 and 2, simulated",
    source="label-noise thesis, section 2.5 and chapter 3, Theorems 1 and 2",
    caption="Left: how often the adversarial risk within the guaranteed radius reaches c₁ = {mass}, against the "
    "number of samples; dashed: the guarantee, {sure} at {samples} samples. Right: risk against the attack radius; "
    "dotted: the guaranteed radii, 2 and {smooth} ρ; dashed: c₁.",
    method="A share η of the samples has a wrong label; guaranteed radii 2ρ (dictionary) and 2ρ − χ/κ (smooth). A "
    "classifier that does not fit its noisy samples breaks a premise. Left: {runs} runs each, 95 % intervals. Right: "
    "{samples} samples, medians, middle 90 % of the runs.",
)
def simulated_bound(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw how often the guarantee holds against the number of samples, and the risk against the attack radius.

    Args:
        inputs: `runs`, the table of `theorems.simulate`.
    """
    from matplotlib.figure import Figure
    from scipy.stats import binomtest

    runs: pd.DataFrame = inputs["runs"]
    mass, delta = runs["mass"].iloc[0], runs["delta"].iloc[0]
    full = runs["share"].max()
    figure = Figure(figsize=(style.PAGE, 2.7))
    figure.set_layout_engine("constrained")
    often, risk = figure.subplots(1, 2)
    for name, look in LOOKS.items():
        own = runs[(runs["classifier"] == name) & runs["guaranteed"]]
        held = (own["risk"] >= mass - 1e-9).groupby(own["share"])
        bounds = [binomtest(int(one.sum()), len(one)).proportion_ci() for _, one in held]
        often.plot(held.mean(), "o-", gid="held", **look)
        often.vlines(list(held.groups), *zip(*bounds, strict=True), color=look["color"], linewidth=1.2, gid="interval")
        curve = runs[(runs["classifier"] == name) & ~runs["guaranteed"] & (runs["share"] == full)]
        low, middle, high = (curve.groupby("radius")["risk"].quantile(q) for q in (0.05, 0.5, 0.95))
        risk.plot(middle, "o-", gid="risk", **look)
        risk.fill_between(middle.index, low, high, color=look["color"], alpha=0.2, linewidth=0, gid="runs")
    often.axhline(1 - delta, color=style.BLACK, linewidth=0.8, linestyle=(0, (4, 2)))
    often.set(
        xlabel="samples, as a share of what the theorems ask for",
        ylabel="runs with a risk of at least c₁",
        ylim=(-0.04, 1.04),
    )
    often.set_xlim(0, full * 1.05)
    radii = runs[runs["guaranteed"] & (runs["share"] == full)].groupby("classifier")["radius"].median()
    for name in ("dictionary", "smooth"):
        risk.axvline(radii[name], color=LOOKS[name]["color"], linewidth=0.8, linestyle=":")
    risk.axhline(mass, color=style.BLACK, linewidth=0.8, linestyle=(0, (4, 2)))
    risk.set(xlabel="attack radius, in radii ρ of the balls", ylabel="adversarial risk", ylim=(-0.04, 1.04))
    figure.legend(*often.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    memorising = runs[runs["classifier"].ne("truth") & runs["guaranteed"]]
    premises = memorising[memorising["every_ball"]]
    counts = runs[runs["guaranteed"]].groupby(["classifier", "share"]).size()
    return figure, {
        "runs": span(counts.min(), counts.max()),
        "samples": int(runs["n"].max()),
        "mass": percent(mass),
        "sure": percent(1 - delta),
        "finding": f"The risk reaches c₁ in {int((premises['risk'] >= mass - 1e-9).sum())} of the {len(premises)} runs "
        "of a memorising classifier in which every ball holds a mislabelled sample.",
        "smooth": f"{radii['smooth']:.2f}",
    }


@figure(
    "vacuous_bound",
    needs=("cover",),
    title="What Theorem 1 guarantees for a data set",
    source="label-noise thesis, chapters 2 and 3, Theorem 1, which the thesis calls vacuous on real data",
    caption="Samples that Theorem 1 asks for against the adversarial risk c₁ that it then guarantees, for balls "
    "around training points of {dataset}. Dashed: the {n} samples that there are. The least is {least} samples "
    "({times} times as many), for a risk of {least_risk}; for {flips} flips (η = {flips}/{n}) it is about "
    "{least_flips} ({times_flips} times).",
    method="η = {noise}, δ = {delta}. Balls around a random choice of points, covered greedily, with the masses that "
    "these points give; balls with two classes break a premise and are left out; other balls may ask for fewer "
    "samples.",
    options={"dataset": Option("for the caption", "a data set")},
)
def vacuous_bound(inputs: Mapping[str, Any], options: Mapping[str, Any]) -> tuple[Figure, dict[str, Any]]:
    """Draw how many samples Theorem 1 asks for against the risk that it then guarantees.

    The balls lie around a data set's own points.

    Args:
        inputs: `cover`, the table of `theorems.cover`.
    """
    from matplotlib.figure import Figure

    table: pd.DataFrame = inputs["cover"]
    norms = list(table["norm"].unique())
    figure = Figure(figsize=(style.PAGE, 2.9))
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, len(norms), sharex=True, sharey=True, squeeze=False).ravel()
    n = int(table["n_points"].iloc[0])
    for panel, norm in zip(panels, norms, strict=True):
        own = table[table["norm"] == norm]
        for place, ((radius, rows), colour) in enumerate(zip(own.groupby("radius"), COLOURS * len(own), strict=False)):
            # Each thinner than the one before, which else would be hidden where they meet.
            panel.plot(
                rows["covered"],
                rows["required"],
                "o-",
                color=colour,
                markersize=max(5 - 0.9 * place, 2),
                linewidth=max(2.4 - 0.55 * place, 0.7),
                label=f"{2 * radius:g}",
                gid="bound",
            )
        panel.axhline(n, color=style.BLACK, linewidth=0.8, linestyle=(0, (4, 2)))
        panel.set(xscale="log", yscale="log", xlabel="guaranteed adversarial risk c₁")
        panel.set_title(TITLES[norm], size=style.SMALL)
        panel.legend(title="attack radius 2ρ", fontsize=style.TINY, title_fontsize=style.TINY)
    panels[0].set_ylabel("samples that Theorem 1 asks for")
    best = []
    for norm in norms:
        affordable = table[(table["norm"] == norm) & (table["required"] <= n)].sort_values("covered")
        most = affordable.iloc[-1] if len(affordable) else None
        found = "nothing" if most is None else f"{percent(most['covered'], 2)} within {2 * most['radius']:g}"
        best.append(f"{found} in {TITLES[norm]}")
    least = table.sort_values("required").iloc[0]
    with_few = least["required"] * least["noise"] * n / FLIPS
    return figure, {
        "n": n,
        "noise": f"{least['noise']:g}",
        "delta": f"{least['delta']:g}",
        "dataset": named(options["dataset"], options["labels"]),
        "finding": f"With the {n} samples that there are, Theorem 1 guarantees {joined(best)}.",
        "least": f"{int(least['required'])}",
        "least_risk": f"{percent(least['covered'], 2)} within {2 * least['radius']:g} in {TITLES[least['norm']]}",
        "times": f"{least['required'] / n:.2g}",
        "flips": FLIPS,
        "least_flips": f"{with_few:.0f}",
        "times_flips": f"{with_few / n:.2g}",
    }
