"""The catalogue of figures: what each needs, what it reproduces, and the function that draws it.

Reading the catalogue imports neither matplotlib nor torch, so that the Snakefile can wire its inputs from it. A new
figure is one function `f(inputs, options) -> (Figure, caption fields)` and one entry below.
"""

import importlib
from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

THESIS = "label-noise thesis, section 4.3"


@dataclass(frozen=True)
class FigureKind:
    """One figure of the catalogue.

    Attributes:
        needs: artefacts among conditions, victims, robustness, lengths, buckets, runs, cover, degrees, scores, extremes, example, idea,
            maps, data, poisons. Tables come as data frames, `extremes`, `example` and `idea` as the pair (arrays, metadata) that
            `storage.read_tensors` returns, `maps` as a list of arrays, one for each experiment, `data` as a data set, and `poisons`,
            those of the first job of the first experiment's condition with a sweep axis, as the pair that `poison.load` returns.
        source: what it draws again, document, section and figure; "" for a figure of this workflow alone.
        caption: one paragraph; its {fields} are filled by the function.
        function: "module:function", imported when the figure is drawn.
        options: the options that it takes, each with its meaning.
    """

    name: str
    needs: tuple[str, ...]
    title: str
    source: str
    caption: str
    function: str
    options: Mapping[str, str] = field(default_factory=dict)


_PROVENANCE_OPTIONS = {
    "dataset": "for the caption",
    "model": "for the caption: the proxy's model",
    "recipe": "for the caption: the proxy's recipe",
    "step_size": "for the caption: size of one path step, images in [0, 1]",
    "clip": "for the caption: whether paths stay in [0, 1]",
    "scale": "for the caption: published, reduced or analogue",
}
_EXPERIMENT_OPTIONS = {
    "experiments": "1 to 3 experiments, left to right; default: as they come in the tables",
    "class_names": "names of the classes 0, 1, … for the titles; default: the numbers",
    "step_size": _PROVENANCE_OPTIONS["step_size"],
    "clip": _PROVENANCE_OPTIONS["clip"],
}

# What figures read of each table; a table may have more.
COLUMNS: dict[str, tuple[str, ...]] = {
    "conditions": (
        "experiment", "condition", "axis_value", "strategy", "budget", "source_class", "target_class", "dataset",
        "model", "recipe", "n_points", "steps_low", "steps_high", "scale",
    ),
    "victims": ("experiment", "condition", "axis_value", "draw", "repeat", "fitted_share", "natural_accuracy"),
    "robustness": (
        "experiment", "condition", "axis_value", "draw", "repeat", "attack", "norm", "goal", "attack_source",
        "attack_target", "epsilon", "steps", "step_size", "random_start", "restarts", "adversarial_accuracy",
    ),
    "lengths": ("paths", "proxy_seed", "label", "target", "steps", "n_points", "reached"),
    "runs": ("run", "share", "n", "classifier", "guaranteed", "radius", "every_ball", "risk", "mass", "delta"),
    "degrees": ("space", "norm", "label", "density", "gamma", "quantile", "degree"),
    "scores": ("index", "degree", "colour", "fitted", "score"),
    "cover": ("norm", "radius", "balls", "covered", "required", "n_points", "noise", "delta"),
}  # fmt: skip

FIGURES: dict[str, FigureKind] = {
    kind.name: kind
    for kind in (
        FigureKind(
            name="adversarial_example",
            needs=("example",),
            title="An adversarial example",
            source="label-noise thesis, section 2.3, Fig. 2.1",
            caption="A test image (left) that a clean network calls {source} with {before} confidence, the same image moved by at most "
            "{largest} per pixel (right), which it calls {wrong} with {after}, and their difference (middle): of all images of the class "
            "that it is sure of, and all targets, the one with which targeted PGD of 40 steps gets furthest. {provenance}",
            function="poisonlab.figures.example:adversarial_example",
            options={
                **{key: _PROVENANCE_OPTIONS[key] for key in ("dataset", "model", "recipe", "scale")},
                "class_names": _EXPERIMENT_OPTIONS["class_names"],
            },
        ),
        FigureKind(
            name="nearest_and_farthest",
            needs=("extremes",),
            title="Training points nearest to and farthest from the boundary",
            source=f"{THESIS}, Fig. 4.5",
            caption="Training points with the shortest (left) and the longest (right) adversarial paths on a clean proxy "
            "to the class named at the left, {k} of each, one row per class. The number under an image is its path length in steps. A "
            "vermillion frame marks a label issue found by cleanlab, out of fold: {nearest_issues} of "
            "{n_nearest} near images and {farthest_issues} of {n_farthest} far ones. {provenance}",
            function="poisonlab.figures.paths:nearest_and_farthest",
            options=_PROVENANCE_OPTIONS,
        ),
        FigureKind(
            name="path_lengths",
            needs=("lengths",),
            title="Distribution of the path lengths",
            source=f"{THESIS}, Figs. 4.6a and 4.7",
            caption="Number of sign-gradient steps from each training point to the decision boundary, per class "
            "({directions}). Filled: proxy seed {first_seed}, with its median; thin lines: {others}. {points} "
            "training points{unreached}. {provenance}",
            function="poisonlab.figures.paths:path_lengths",
            options={
                "paths": "which path artefact, where the table holds several",
                "class_names": _EXPERIMENT_OPTIONS["class_names"],
                **_PROVENANCE_OPTIONS,
            },
        ),
        FigureKind(
            name="bucket_curve",
            needs=("conditions", "victims", "robustness"),
            title="Adversarial accuracy by path length of the poisons",
            source=f"{THESIS}, Figs. 4.6b and 4.8",
            caption="Adversarial accuracy of victims trained on {budget} poisons from one bucket of path lengths "
            "({directions}); {definition}. Attack: {attack}. Filled circles: mean of all victims; open "
            "diamonds: mean of those that fitted at least {fitted} of their poisons, drawn where there are two or more, with their "
            "number below the panel, both balanced over draws and repeats; faint dots: single victims; vertical lines and bands (none "
            "where it would cover all from 0 to 1): 95 % intervals for new draws and repeats (of one draw: for new "
            "repeats with its points). Middle: share of the poisons fitted. Bottom: "
            "training points in each bucket. n, draws × repeats: {n}. {provenance}",
            function="poisonlab.figures.buckets:bucket_curve",
            options={
                **_EXPERIMENT_OPTIONS,
                "epsilon": "which radius, where the table holds several",
                "attack": "which attack, where none or several are targeted from the source to the target class",
                "fitted_at_least": "least share of the poisons that victims of the second curve fitted; default 0.9",
            },
        ),
        FigureKind(
            name="natural_accuracy",
            needs=("conditions", "victims"),
            title="Natural accuracy by path length of the poisons",
            source=f"{THESIS}, captions of Figs. 4.6 and 4.8: above 99 %",
            caption="Natural test accuracy of every victim trained on {budget} poisons from one bucket of path lengths "
            "({directions}), beside random poisons and none. A dot is one victim; dashed: {threshold}. Lowest "
            "poisoned victim: {minima}. n, draws × repeats: {n}. {provenance}",
            function="poisonlab.figures.buckets:natural_accuracy",
            options={**_EXPERIMENT_OPTIONS, "threshold": "the accuracy of the claim; default 0.99"},
        ),
        FigureKind(
            name="mechanism",
            needs=("conditions", "victims", "robustness"),
            title="A stretched boundary or a pocket",
            source=f"{THESIS}, Fig. 4.4",
            caption="Share of the points on the way from a fitted poison to its new class that a victim gives the poison's label, "
            "against its adversarial accuracy ({budget} poisons, {directions}); {definition}. Top: on the clean proxy's adversarial "
            "path; bottom: on the straight line to the nearest training point of the new class, more of which lies beyond any network's "
            "boundary the nearer the poison is to it; the same holds for the path, which has few steps there. Numbered marks: means of "
            "the buckets with 95 % intervals, from near the boundary (0, blue) to far (vermillion), their path lengths in steps above; "
            "dots: single victims. Attack: {attack}. n, draws × repeats: {n}. {provenance}",
            function="poisonlab.figures.mechanism:mechanism",
            options={
                **_EXPERIMENT_OPTIONS,
                "epsilon": "which radius, where the table holds several",
                "attack": "which attack, where none or several are targeted from the source to the target class",
            },
        ),
        FigureKind(
            name="conditions",
            needs=("conditions", "victims", "robustness"),
            title="Adversarial accuracy by condition",
            source="",
            caption="Adversarial accuracy of victims by condition, {budget} poisons ({directions}); {definition}. Attack: "
            "{attack}. Filled circles: mean of all victims; open diamonds: mean of those that fitted at least {fitted} "
            "of their poisons, where there are two or more; faint dots: single victims; vertical lines: 95 % intervals. "
            "Below: share of the poisons fitted. Difference from {baseline}, of victims ({counted}) paired by repeat, "
            "with 95 % interval and n as draws × repeats: {differences}. {provenance}",
            function="poisonlab.figures.conditions:conditions",
            options={
                **{key: meaning for key, meaning in _EXPERIMENT_OPTIONS.items() if key not in ("step_size", "clip")},
                "epsilon": "which radius, where the table holds several",
                "attack": "which attack, where none or several are targeted from the source to the target class",
                "fitted_at_least": "least share of the poisons that victims of the diamonds fitted; default 0.9",
                "baseline": "condition that the others are compared with; default: that of strategy 'random'",
            },
        ),
        FigureKind(
            name="strategies",
            needs=("conditions", "victims", "robustness"),
            title="Which strategies help",
            source="",
            caption="Difference in adversarial accuracy from random points at the same budget ({budget} poisons), of "
            "victims that fitted at least {fitted} of their poisons, paired by repeat, with 95 % intervals for new victims and, where a "
            "strategy draws its points at random, new points; left of 0 the victims are easier to attack. Shown to be easier to attack "
            "than victims of random points are {stronger} of {rows}, harder {weaker}: interval and p, with Holm's correction within an "
            "experiment, agree; p and n stand in the table of strategies on the study's page. Adversarial accuracy: {definition}. Attack: "
            "{attack}. {provenance}",
            function="poisonlab.figures.strategies:strategies",
            options={
                "experiments": "experiments with random points and others, in their order; default: as they come in the tables"
            },
        ),
        FigureKind(
            name="sweep",
            needs=("conditions", "victims", "robustness"),
            title="Victims against the sweep axis of their poisons",
            source="label-noise thesis, section 4.1, Figs. 4.2 and 4.3",
            caption="Victims of {budget} poisons against the {axis}: {panels}; means over all victims, bands: 95 % intervals for new draws "
            "and repeats; dotted, where drawn: victims without poisons. Adversarial accuracy: {definition}. Attack: {attack}. n, draws × "
            "repeats, at each value: {n}. {provenance}",
            function="poisonlab.figures.sweeps:sweep",
            options={
                "lines": "experiment → {label, colour: number, dashed}, one line each",
                "panels": "columns to show; default: adversarial and natural accuracy, fitted share, epochs",
                "axis_label": "name and unit of the sweep axis",
                "epsilon": "which radius, where the table holds several",
                "attack": "which attack, where none or several are targeted from the source to the target class",
            },
        ),
        FigureKind(
            name="by_experiment",
            needs=("conditions", "victims", "robustness"),
            title="Natural and adversarial accuracy of several experiments",
            source="label-noise thesis, chapter 3 and section 4.2, Fig. 3.3 and Table 4.1",
            caption="Natural and adversarial accuracy: means with 95 % intervals; faint dots: single victims. Adversarial accuracy: "
            "{definition}. Attack: {attack}. {budget} poisons. n, draws × repeats: {n}.{beside} {provenance}",
            function="poisonlab.figures.sweeps:by_experiment",
            options={
                "lines": "experiment → {label, condition: where several have poisons, published: [mean, standard deviation] of "
                "adversarial accuracy}, in their order",
                "lipschitz": "whether the victims' local Lipschitz constants stand beside; they come from probes",
                "axis_label": "what the experiments differ in",
                "epsilon": "which radius, where the table holds several",
                "attack": "which attack, where none or several are targeted from the source to the target class",
            },
        ),
        FigureKind(
            name="toy_data",
            needs=("data", "poisons"),
            title="A toy of two dimensions and its poisons",
            source="label-noise thesis, section 4.1, Fig. 4.1",
            caption="The {n} training points of {dataset}, and {budget} mislabelled points (crosses, in the colour of their label) placed "
            "at distance r = {value} (circles) from the means of their classes. Dashed: the ground truth.",
            function="poisonlab.figures.toys:toy_data",
            options={"value": "distance of the poisons to show; default: the largest"},
        ),
        FigureKind(
            name="vulnerable_regions",
            needs=("data", "poisons"),
            title="Memorising as a dictionary, and smoothly",
            source="label-noise thesis, chapter 3, Fig. 3.1",
            caption="Two classifiers that fit the {n} training points of {dataset}, {poisons} of them mislabelled, and give the truth "
            "wherever else they may. Left: no smoothness, wrong at the mislabelled points. Right: margin {margin} at the points and a "
            "Lipschitz constant of {constant} (l2 to l1), the least that these points allow, so that the class cannot change within "
            "{reach} of a point. Within the dotted red line an attacker with l2 radius {radius} finds a wrong answer: an area of "
            "{dictionary} on the left, {smooth} on the right.",
            function="poisonlab.figures.maps:vulnerable_regions",
            options={
                "radius": "l2 radius of the attack; default 0.2",
                "margin": "difference of the class probabilities at the training points; default 0.5",
            },
        ),
        FigureKind(
            name="decision_maps",
            needs=("maps",),
            title="What victims of two-dimensional data decide",
            source="label-noise thesis, chapter 3, Fig. 3.2",
            caption="Classes that the first victim of each experiment gives the points of the plane, with its {n} clean training points "
            "and its poisons, in the colours of their labels.{near}",
            function="poisonlab.figures.maps:decision_maps",
            options={
                "experiments": "which, left to right",
                "lines": "experiment → {label}",
                "value": "value of the sweep axis; default: the first",
                "near": "whether a second row shows the window around the first poison",
            },
        ),
        FigureKind(
            name="slices",
            needs=("maps", "conditions"),
            title="Slices through victims around a poison",
            source=f"{THESIS}, Figs. 4.4 and 6.1",
            caption="What the first victim of a bucket decides on the plane through a poison (the first that it fitted), the nearest "
            "training point of the poison's true class and the end of the poison's adversarial path on the clean proxy; nearest, middle "
            "and farthest bucket. Distances are l2. {provenance}",
            function="poisonlab.figures.maps:slices",
            options={
                "experiments": "which, top to bottom",
                "values": "three buckets; default: the first, the middle and the last",
            },
        ),
        FigureKind(
            name="memorisation",
            needs=("conditions", "victims"),
            title="What victims memorise, and how soon",
            source="label-noise thesis, Appendix A",
            caption="Share of the victims that fit every training point, {budget} poisons included, the epochs that they took, and "
            "their natural accuracy: means with 95 % intervals for new draws and repeats (those of shares nowhere narrower than the exact "
            "ones over draws); faint dots: single victims. Victims that never fit all count with the limit of {limit} epochs. "
            "n, draws × repeats: {n}. {provenance}",
            function="poisonlab.figures.sweeps:memorisation",
            options={"lines": "experiment → {label}, in their order", "limit": "for the caption: the epoch limit"},
        ),
        FigureKind(
            name="class_degrees",
            needs=("degrees",),
            title="Degrees of the class graphs",
            source="label-noise thesis, section 6.1",
            caption="Share of the points of a class of {dataset} that have at least so many neighbours within γ, one line for each of "
            "{classes} classes; γ is the least distance within which lies a given share of the pairs of the class (the "
            "mean degree is that share of the class's other points), and with ties more (under l∞, distances of images are few). γ, over "
            "the classes, by growing share: {gammas}. In {isolated} of the {graphs} graphs at least half of the points have no neighbour.",
            function="poisonlab.figures.graphs:class_degrees",
            options={"dataset": _PROVENANCE_OPTIONS["dataset"]},
        ),
        FigureKind(
            name="colouring",
            needs=("scores", "idea"),
            title="A net that memorised colours",
            source="label-noise thesis, section 6.2, Fig. 6.1",
            caption="The {n} training points of class {label} of {dataset}, {colours} colours of {per_colour} points each, such that "
            "neighbours ({density} of all pairs, the nearest in l∞) and second neighbours differ, and a net that memorised them ({fitted} "
            "of the points), the first of {nets}, of which the poorest memorised {least}. First {shown} panels: what it decides on planes "
            "through a point of the largest score (right), one of its neighbours (left) and the image to which an attack that aims at the "
            "point's colour moves the neighbour; a tint for each colour, and the l∞ balls of radius {epsilon} around the two points. Last: "
            "scores of all points, the number of neighbours from which an attack within {epsilon} reaches the point's colour: {reached} "
            "attacks do, at {some} points. Correlation of the score with the number of neighbours: {correlation}.",
            function="poisonlab.figures.graphs:colouring",
            options={
                "dataset": _PROVENANCE_OPTIONS["dataset"],
                "class_names": _EXPERIMENT_OPTIONS["class_names"],
            },
        ),
        FigureKind(
            name="simulated_bound",
            needs=("runs",),
            title="Theorems 1 and 2, simulated",
            source="label-noise thesis, section 2.5 and chapter 3, Theorems 1 and 2",
            caption="Left: share of the runs in which the adversarial risk within the guaranteed radius (2ρ for the dictionary, 2ρ − χ/κ "
            "for the smooth classifier) reaches c₁ = {mass}, against the number of samples, with 95 % intervals; {runs} runs each; "
            "dashed: the guarantee, {sure} at {samples} samples, of which a share η has a wrong label. The "
            "risk reaches c₁ in {kept} of the {premises} runs of a "
            "memorising classifier in which every ball holds a mislabelled sample. A classifier that does not fit its noisy samples"
            " breaks a premise and has no such risk. Right: risk against the attack radius at {samples} samples, medians with the "
            "middle 90 % of the runs; dotted: the guaranteed radii, 2 and {smooth} ρ; dashed: c₁.",
            function="poisonlab.figures.bounds:simulated_bound",
        ),
        FigureKind(
            name="vacuous_bound",
            needs=("cover",),
            title="What Theorem 1 guarantees for a data set",
            source="label-noise thesis, chapters 2 and 3, Theorem 1, which the thesis calls vacuous on real data",
            caption="Samples that Theorem 1 asks for (noise rate η = {noise}, δ = {delta}) against the adversarial risk c₁ that it then "
            "guarantees, for balls around training points of {dataset}, a random choice of them, covered greedily, with the masses that "
            "these training points give; balls that hold two classes break a premise and are left out. Dashed: the {n} samples that there "
            "are. Guaranteed with these: {best}. The least that is asked for is {least} samples ({times} times the number that there is), "
            "for a risk of {least_risk}; other balls may ask for fewer. The number grows with 1/η: for {flips} flips (η = {flips}/{n}) the "
            "least is about {least_flips} ({times_flips} times).",
            function="poisonlab.figures.bounds:vacuous_bound",
            options={"dataset": _PROVENANCE_OPTIONS["dataset"]},
        ),
        FigureKind(
            name="pipeline",
            needs=(),
            title="The way of the data",
            source="",
            caption="The way of the data, with the rule that makes each of the main results. A victim is a pure function of the "
            "dataset, a poison and a seed, on one kind of processor; the tables hold every victim.",
            function="poisonlab.figures.pipeline:pipeline",
        ),
    )
}


def draw(kind: str, inputs: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> "tuple[Figure, str]":
    """Draw one figure of the catalogue and write its caption.

    Args:
        kind: a name in `FIGURES`.
        inputs: artefact name → table or (arrays, metadata), at least those that the figure needs.
        options: see `FigureKind.options`.

    Raises:
        InputError: unknown figure or option, or an input that is missing, empty or ambiguous.
    """
    if kind not in FIGURES:
        raise InputError(f"figure '{kind}' is not in the catalogue {sorted(FIGURES)}; choose one of these")
    entry, options = FIGURES[kind], dict(options or {})
    if unknown := sorted(set(options) - set(entry.options)):
        raise InputError(f"figure '{kind}' has no options {unknown}, it takes {sorted(entry.options)}; remove them")
    for artefact in entry.needs:
        found = inputs.get(artefact)
        if found is None or (isinstance(found, Sized) and len(found) == 0):
            raise InputError(
                f"figure '{kind}' needs '{artefact}', which is missing or empty; run the rule that makes it first"
            )
        present = list(getattr(inputs[artefact], "columns", ()))
        if absent := [column for column in COLUMNS.get(artefact, ()) if column not in present]:
            raise InputError(f"'{artefact}' lacks the columns {absent}, it has {present}; make it again")
    module, function = entry.function.split(":")
    drawer: Callable[..., tuple[Figure, dict[str, Any]]] = getattr(importlib.import_module(module), function)
    from poisonlab.figures.style import paper

    with paper():
        figure, fields = drawer(inputs, options)
    return figure, entry.caption.format(**fields).strip()


def save(figure: "Figure", svg_path: str | Path, png_path: str | Path) -> None:
    """Write `figure` as SVG and as PNG with 300 dpi; the same figure gives the same bytes.

    Dates and program versions are left out of the files, and text is written as outlines.
    """
    from poisonlab.figures.style import DPI, paper
    from poisonlab.results.storage import atomic

    with paper():
        # An SVG's own unit is 1/72 inch; without the dpi its images would be resampled to that.
        with atomic(svg_path) as temporary:
            figure.savefig(temporary, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
        with atomic(png_path) as temporary:
            figure.savefig(temporary, format="png", dpi=DPI, metadata={"Software": None})
