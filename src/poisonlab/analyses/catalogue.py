"""The package's analyses. What each computes with is imported when it runs."""

from poisonlab.analyses import Findings, Subject, analysis


@analysis("path_lengths", source="thesis, section 4.3.2", needs=("paths",), of="", table="lengths")
def path_lengths(subject: Subject) -> Findings:
    """Histogram of the path lengths of each class on each proxy."""
    from poisonlab.analyses.path_surveys import lengths

    return Findings(lengths(subject.names["paths"], dict(enumerate(subject.needs["paths"]))))


@analysis(
    "label_issues",
    source="Northcutt, Jiang & Chuang, 2021",
    of="proxy",
    table="label_issues",
    resources={"gpu": 1, "mem_mb": 6000, "runtime": 240},
)
def label_issues(subject: Subject) -> Findings:
    """Labels that are wrong already, by cleanlab on models that were not trained on the point."""
    from poisonlab.analyses.label_issues import find_label_issues

    return Findings(
        find_label_issues(
            subject.dataset, subject.model, subject.recipe, subject.precision, subject.device, subject.progress
        )
    )


@analysis(
    "issues_by_distance",
    source="thesis, Fig. 4.5",
    needs=("paths", "label_issues"),
    parameters={"among": 100, "extremes": 10},
    table="issues",
    arrays="extremes",
)
def issues_by_distance(subject: Subject) -> Findings:
    """Label issues among the `among` points of a class that are nearest to the boundary, and the `extremes` nearest and
    farthest images.
    """
    from poisonlab.analyses.path_surveys import extremes, issues_by_distance

    traced, issues = dict(enumerate(subject.needs["paths"])), subject.needs["label_issues"]
    images, metadata = extremes(subject.dataset, traced[0], issues, subject.parameters["extremes"])
    table = issues_by_distance(subject.names["paths"], traced, issues, subject.parameters["among"])
    return Findings(table, images, metadata)


@analysis(
    "clean_nets",
    source="thesis, Fig. 2.1",
    needs=("models",),
    parameters={"source": 0, "sure": 0.995, "epsilon": 0.04, "far": 0.3},
    of="proxy",
    table="nets",
    arrays="example",
    resources={"gpu": 1, "runtime": 120},
)
def clean_nets(subject: Subject) -> Findings:
    """Accuracies of clean proxies, `far` the l∞ radius of their attack, and the most confident adversarial example of
    class `source`.

    `sure` is the confidence that the network must have in the image (0.995 is 100 %, rounded), `epsilon` the l∞ radius
    within which the example is looked for.
    """
    from poisonlab.analyses.clean_nets import attack_clean_nets

    table, example = attack_clean_nets(
        subject.dataset, subject.needs["models"], subject.parameters, subject.device, subject.progress
    )
    return Findings(table, example)


@analysis(
    "balls",
    source="thesis, section 2.5 and chapter 3, Theorems 1 and 2",
    parameters={
        "balls": 20, "dimensions": 64, "radius": 1.0, "mass": 0.9, "noise": 0.1, "delta": 0.1, "margin": 0.5,
        "runs": 200, "shares": [0.1, 0.25, 0.5, 0.75, 1], "radii": [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2],
    },
    of="",
    table="runs",
)  # fmt: skip
def balls(subject: Subject) -> Findings:
    """Simulate Theorems 1 and 2 on `balls` balls of l∞ `radius` ρ and equal mass in `dimensions` dimensions.

    `mass` is the probability of all balls together, c₁ = c₂; `noise` the rate of wrong labels, η; `delta` the
    probability that the guarantee fails; `margin` that of the memorising classifiers, χ; `runs` at each number of
    samples; `shares` numbers of samples as shares of what the theorems ask for; `radii` attack radii as multiples of ρ.
    """
    from poisonlab.analyses.theorems import Balls, simulate
    from poisonlab.seeds import seed

    settings = dict(subject.parameters)
    runs, shares, radii = (settings.pop(name) for name in ("runs", "shares", "radii"))
    return Findings(simulate(Balls(**settings), runs, shares, radii, seed("bound")))


@analysis(
    "cover",
    source="thesis, chapters 2 and 3, Theorem 1",
    parameters={"radii": {"linf": [0.1]}, "candidates": 2000, "noise": 0.1, "delta": 0.05},
    table="cover",
    resources={"runtime": 120},
)
def cover(subject: Subject) -> Findings:
    """What Theorem 1 guarantees for a data set that is covered by balls around `candidates` random training points.

    `radii` are those of the balls by norm, in the unit of the images (the attack's is twice as large); `noise` is the
    rate of wrong labels, η; `delta` the probability that the guarantee fails.
    """
    import pandas as pd

    from poisonlab.analyses.theorems import cover
    from poisonlab.seeds import seed

    parameters, dataset = subject.parameters, subject.dataset
    keep = {key: parameters[key] for key in ("candidates", "noise", "delta")}
    tables = [
        cover(dataset.train_float(), dataset.train_labels, radii, norm, **keep, seed=seed("cover"))
        for norm, radii in parameters["radii"].items()
    ]
    return Findings(pd.concat(tables, ignore_index=True))


@analysis(
    "class_degrees",
    source="thesis, section 6.1",
    needs=("features",),
    parameters={"densities": [0.01], "components": 50},
    table="degrees",
    resources={"mem_mb": 6000, "runtime": 240},
)
def class_degrees(subject: Subject) -> Findings:
    """Degrees of the class graphs that connect the shares `densities` of the pairs: pixels, `components` principal
    components, features.
    """
    from poisonlab.analyses.class_graphs import degree_table, representations

    spaces = representations(subject.dataset, subject.needs["features"], subject.parameters["components"])
    return Findings(
        degree_table(spaces, subject.dataset.train_labels, subject.parameters["densities"], subject.progress)
    )


@analysis(
    "colouring",
    source="thesis, section 6.2",
    parameters={"class": 0, "density": 0.01, "epsilon": 0.1, "nets": 1},
    of="proxy",
    table="scores",
    arrays="idea",
    resources={"gpu": 1, "mem_mb": 6000, "runtime": 720},
)
def colouring(subject: Subject) -> Findings:
    """Colour the l∞ graph of a `class` that connects the share `density` of its pairs, and let `nets` nets memorise the
    colours.

    `epsilon` is the l∞ radius of the attack from a point to its neighbour's colour.
    """
    import json

    from poisonlab.analyses.colouring import score_points

    settings = {**subject.parameters, "model": subject.model}
    table, idea = score_points(
        subject.dataset, settings, subject.recipe, subject.precision, subject.device, subject.progress
    )
    return Findings(table, idea, {"settings": json.dumps(dict(subject.parameters), sort_keys=True)})


@analysis(
    "svm_gradients",
    source="Biggio, Nelson & Laskov, ICML 2012, gradient of the attack; historical: the code of the CIFAR-3 report",
    parameters={
        "kernels": ["linear", "rbf"], "draws": 30, "dimensions": 20, "points": 50, "validation": 100, "cost": 1.0,
        "gamma": 0.05, "distance": 2.0, "step": 1e-5,
    },
    of="",
    table="svm_gradients",
)  # fmt: skip
def svm_gradients(subject: Subject) -> Findings:
    """Compare the exact and the historical gradient with central differences of the retrained machine's loss.

    Each of `draws` problems has `points` training and `validation` points of two normal classes in `dimensions`
    dimensions, whose means are `distance` apart; `kernels`, the penalty C = `cost` and `gamma`, Biggio's γ, are the
    machine's; `step` is half the difference of a coordinate. (γ = 0.5 of the two-dimensional toy leaves hardly any two
    of these points within the kernel's reach.)
    """
    from poisonlab.analyses.svm import gradients

    return Findings(gradients(**subject.parameters))


@analysis(
    "svm_single_point",
    source="Biggio, Nelson & Laskov, ICML 2012, one point against MNIST 7-1, 9-8, 4-0",
    parameters={
        "pairs": [[7, 1], [9, 8], [4, 0]], "draws": 5, "points": 100, "validation": 500, "kernel": ("linear", "rbf"),
        "cost": 1.0, "gamma": 0.5, "steps": 100, "step": 1.0, "search": ("fixed", "line"),
    },
    table="svm_single_point",
)  # fmt: skip
def svm_single_point(subject: Subject) -> Findings:
    """What one more training point does to a machine that tells two classes apart: a flipped one, and a crafted one.

    `pairs` are (attacked class, label of the point); each of `draws` machines is trained on `points` points, and the
    point is crafted on `validation` others; `kernel`, `cost` and `gamma` are the machine's, `steps`, `step` and
    `search` the attack's, as of the strategy svm. Errors are on the whole test set of the two classes.
    """
    from poisonlab.analyses.svm import single_points

    return Findings(single_points(subject.dataset, dict(subject.parameters), subject.progress))


@analysis(
    "recipe_trials",
    parameters={"model": "mlp", "recipes": [], "budget": 10},
    table="trials",
    resources={"gpu": 1, "runtime": 120},
)
def recipe_trials(subject: Subject) -> Findings:
    """What each of several `recipes` comes to on a `model` where `budget` random points have a wrong label."""
    from poisonlab.analyses.screening import try_recipes

    own = subject.parameters
    table = try_recipes(subject.dataset, own["model"], own["recipes"], own["budget"], subject.device, subject.progress)
    return Findings(table)


@analysis(
    "class_pairs",
    needs=("models",),
    parameters={"radii": [0.05, 0.1], "points": 200},
    of="proxy",
    table="pairs",
    resources={"gpu": 1, "runtime": 120},
)
def class_pairs(subject: Subject) -> Findings:
    """How many test points of each class a targeted attack leads to each other class on clean nets, at l∞ `radii`; at
    most `points` of a class.
    """
    from poisonlab.analyses.screening import attack_pairs
    from poisonlab.models.inference import resolve_device

    where, radii, points = resolve_device(subject.device), subject.parameters["radii"], subject.parameters["points"]
    last = {proxy.seed: proxy for proxy in sorted(subject.needs["models"], key=lambda proxy: proxy.age)}
    networks = {number: proxy.build(where) for number, proxy in sorted(last.items())}
    return Findings(attack_pairs(subject.dataset, networks, radii, points, subject.progress))
