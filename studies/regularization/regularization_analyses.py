"""Analyses of this study: the example in the plane, errors of hypergradients, curves of the ascent, and parameters."""

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.analyses import Findings, Subject, analysis
from poisonlab.poisons.strategies import Request, strategy

if TYPE_CHECKING:
    from torch import Tensor

    from poisonlab.poisons.strategies.minimax import Scene

SOURCE = "Carnerero-Cano et al., 2021"
DIVISION: dict[str, Any] = {"points": 0, "share": 0.25}  # 0: all points
NONE = 1e-6  # λ that stands for none: with it, weights of separable points are finite


def _scene(subject: Subject, budget: int, **parameters: Any) -> "tuple[Request, Scene]":
    """The first division of the data set, as the strategy `minimax` sees it."""
    from poisonlab.datasets.draws import of_draw
    from poisonlab.poisons.flips import Flip
    from poisonlab.poisons.strategies.minimax import Scene
    from poisonlab.seeds import seed

    share, points = subject.parameters["share"], subject.parameters["points"]
    drawn = of_draw(subject.dataset, {"split": {"share": share, **({"points": points} if points else {})}}, 0)
    entry = strategy.find("minimax")
    settings = entry.settings({"labels": "both", **parameters}, "analysis")
    generator = np.random.default_rng(seed("poison", draw=0))
    request = Request(drawn.without_test_set(), Flip(0, 1, budget), {}, settings, generator)
    return request, Scene(request)


def _problems(train: "tuple[Tensor, Tensor]", held: "tuple[Tensor, Tensor]", penalties: "Tensor") -> Any:
    """One problem for each λ."""
    from poisonlab.models.hypergradients import Problems

    arrays = [array.expand(len(penalties), *array.shape) for array in (*train, *held)]
    return Problems(arrays[0], arrays[1], penalties, arrays[2], arrays[3])


@analysis(
    "penalty_map",
    source=f"{SOURCE}, Fig. 1",
    parameters={**DIVISION, "share": 0.667, "large": 10.0, "side": 41, "reach": 2.0, "values": 29},
    table="positions",
    resources={"runtime": 60},
)
def penalty_map(subject: Subject) -> Findings:
    """Error of a model of two Gaussians in a plane by where one more point lies: without λ, with a `large` one, and the
    best ln λ of so many `values`.

    The point is labelled as the second class and lies on a grid of `side` × `side` places in the range of the training
    points, `reach` times as wide. `points` and `share` give the division. Rows of kind map: x, y, and validation error
    without λ, with the large one, and the best ln λ, each of the least cross-entropy; of kind train and poison, which
    lies where the error without λ is highest (of equal ones, the cross-entropy): x, y, label; of the names of models,
    as "poisoned large": the boundary a x + b y + c = 0 as x, y, value, and the error as `without`; of kind validation:
    the number of its points as value.
    """
    import pandas as pd
    import torch

    from poisonlab.models.hypergradients import minimum
    from poisonlab.models.logistic import scores, validation_slope

    own = subject.parameters
    _, scene = _scene(subject, 1, reach=own["reach"])
    grid = np.linspace(math.log(NONE), 6.0, own["values"])
    chosen = torch.from_numpy(np.append(grid, math.log(own["large"]))).exp()  # the first is for none
    rows: list[dict[str, Any]] = []

    def trained(points: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
        """Weights, validation errors and losses of every λ, with these further points of the second class."""
        train = torch.cat([scene.train[0], points]), torch.cat([scene.train[1], points.new_ones(len(points))])
        problems = _problems(train, scene.validation, chosen)
        weights = minimum(problems)
        wrong = (scores(problems.validation, weights) > 0).double() != problems.validation_labels
        losses = validation_slope(weights, problems.validation, problems.validation_labels)[0]
        return weights, wrong.double().mean(1), losses

    places = [
        (x, y)
        for y in np.linspace(float(scene.low[1]), float(scene.high[1]), own["side"])
        for x in np.linspace(float(scene.low[0]), float(scene.high[0]), own["side"])
    ]
    harm = []
    for x, y in places:
        _, wrong, losses = trained(torch.tensor([[x, y, 1.0]]).double())
        best = grid[int(losses[:-1].argmin())]
        rows.append(
            {"kind": "map", "x": x, "y": y, "without": float(wrong[0]), "large": float(wrong[-1]), "best": best}
        )
        harm.append((float(wrong[0]), float(losses[0])))
    worst = places[harm.index(max(harm))]
    rows.append({"kind": "validation", "value": len(scene.validation[1])})
    rows.append({"kind": "poison", "x": worst[0], "y": worst[1], "label": 1})
    rows += [
        {"kind": "train", "x": float(point[0]), "y": float(point[1]), "label": int(label)}
        for point, label in zip(*scene.train, strict=True)
    ]
    for name, points in (("clean", scene.train[0][:0]), ("poisoned", torch.tensor([[*worst, 1.0]]).double())):
        weights, wrong, _ = trained(points)
        for place, which in ((0, "without"), (-1, "large")):
            a, b, c = weights[place].tolist()
            rows.append({"kind": f"{name} {which}", "x": a, "y": b, "value": c, "without": float(wrong[place])})
    return Findings(pd.DataFrame(rows))


@analysis(
    "hypergradient_errors",
    source=f"{SOURCE}, Appendix B",
    parameters={
        **DIVISION, "poisons": 17, "penalties": [0.000335, 0.01, 1.0],
        "steps": [10, 20, 50, 100, 200, 500, 1000, 2000, 5000], "counts": [1, 2, 4, 8, 16], "timed": 20,
    },
    table="hypergradients",
    resources={"runtime": 60},
)  # fmt: skip
def hypergradient_errors(subject: Subject) -> Findings:
    """Relative error of reverse-mode hypergradients after so many `steps` against the exact ones, for each of the
    `penalties` λ: of the derivatives for the features of `poisons` points, and for ln λ; and the processor's
    seconds of each. Then the seconds of all three kinds for so many points (`counts`), whose features and ln λ are the
    `hyperparameters`, after `timed` steps, at the middle one of the penalties.

    The points are copies of validation points with the other label, on the first division (`points`, `share`).
    """
    import pandas as pd
    import torch

    from poisonlab.models.hypergradients import METHODS, hypergradients

    own = subject.parameters
    _, scene = _scene(subject, max(own["poisons"], *own["counts"]))
    starts = scene.starts()

    def with_poisons(count: int) -> "tuple[Tensor, Tensor]":
        poisons, labels = starts(0, count, 0)
        return torch.cat([scene.train[0], poisons]), torch.cat([scene.train[1], labels])

    train = with_poisons(own["poisons"])
    steepest = float(torch.linalg.matrix_norm(train[0], 2)) ** 2 / (4 * len(train[0]))
    rows = []
    for penalty in own["penalties"]:
        problems = _problems(train, scene.validation, torch.tensor([penalty]).double())
        begun = time.process_time()
        exact = hypergradients(problems, own["poisons"])
        seconds = time.process_time() - begun
        rows.append({"method": "implicit", "penalty": penalty, "steps": 0, "seconds": seconds})
        for steps in own["steps"]:
            begun = time.process_time()
            found = hypergradients(problems, own["poisons"], "reverse", steps, 1 / (steepest + penalty))
            seconds = time.process_time() - begun
            errors = {
                name: float((getattr(found, name) - getattr(exact, name)).norm() / getattr(exact, name).norm())
                for name in ("points", "log_penalty")
            }
            rows.append({"method": "reverse", "penalty": penalty, "steps": steps, "seconds": seconds, **errors})
            subject.progress(f"λ = {penalty:g}, {steps} steps: {errors}")
    middle = sorted(own["penalties"])[len(own["penalties"]) // 2]
    for count in own["counts"]:
        problems = _problems(with_poisons(count), scene.validation, torch.tensor([middle]).double())
        size = {"penalty": middle, "hyperparameters": count * train[0].shape[1] + 1}
        for method in METHODS:
            begun = time.process_time()
            hypergradients(problems, count, method, own["timed"], 1 / (steepest + middle))
            rows.append({"method": method, "steps": own["timed"], "seconds": time.process_time() - begun, **size})
        took = ", ".join(f"{row['method']} {row['seconds']:.3f} s" for row in rows[-len(METHODS) :])
        subject.progress(f"{count} points: {took}")
    return Findings(pd.DataFrame(rows))


@analysis(
    "ascent_curves",
    source=f"{SOURCE}, Appendix C",
    parameters={
        **DIVISION, "poisons": 17, "steps": [0.03, 0.1, 0.3], "hyperiterations": 60, "penalties": [0.000335, 10.0],
    },
    table="ascents",
    resources={"runtime": 120},
)  # fmt: skip
def ascent_curves(subject: Subject) -> Findings:
    """Validation loss in every one of the `hyperiterations` of one batch of `poisons`, by the length of the `steps`,
    against each of the `penalties` and a learned λ (NaN), on the first division (`points`, `share`).

    And ln λ's own descent without poisons, step 1, 10 and 30 (`poisons` 0).
    """
    import pandas as pd

    from poisonlab.poisons.bilevel import ascend

    own = subject.parameters
    _, scene = _scene(subject, own["poisons"], defender="learned")
    poisons, labels = scene.starts()(0, own["poisons"], 0)
    learned = scene.first_penalty(scene.train)
    rows: list[dict[str, Any]] = []

    def add(step: float, penalty: float, count: int, losses: list[float]) -> None:
        rows.extend(
            {"step": step, "penalty": penalty, "poisons": count, "hyperiteration": number, "loss": loss}
            for number, loss in enumerate(losses)
        )

    search = dataclasses.replace(scene.search(), hyperiterations=own["hyperiterations"])
    for step in own["steps"]:
        for penalty in [*own["penalties"], math.nan]:
            learn = math.isnan(penalty)
            found = ascend(
                scene.train, scene.validation, poisons, labels, learned if learn else math.log(penalty),
                dataclasses.replace(search, step=step), scene.project, scene.scale, learn,
            )  # fmt: skip
            add(step, penalty, own["poisons"], found.losses)
            subject.progress(f"step {step:g}, λ {penalty:g}: {found.losses[0]:.4f} to {found.losses[-1]:.4f}")
    for step in (1.0, 10.0, 30.0):
        found = ascend(
            scene.train, scene.validation, poisons[:0], labels[:0], 0.0,
            dataclasses.replace(search, penalty_step=step), scene.project, scene.scale, True,
        )  # fmt: skip
        add(step, math.nan, 0, found.losses)
    return Findings(pd.DataFrame(rows))


@analysis(
    "parameter_histograms",
    source=f"{SOURCE}, Appendix D, Fig. 3",
    parameters={**DIVISION, "budget": 35, "bins": 81},
    table="histograms",
    resources={"runtime": 120},
)
def parameter_histograms(subject: Subject) -> Findings:
    """Histograms, of so many `bins`, of the weights of models of clean data and of data of which `budget` points were
    replaced by poisons, without λ (1e-6) and with a learned one; first division (`points`, `share`).
    """
    import pandas as pd

    from poisonlab.models.hypergradients import minimum

    own, rows = subject.parameters, []
    for name, parameters in (("none", {"defender": "fixed", "penalty": NONE}), ("learned", {"defender": "learned"})):
        weights = {}
        for budget in (0, own["budget"]):
            request, scene = _scene(subject, budget, edit="replace", **parameters)
            poison = strategy.find("minimax").function(request)
            weights[budget], penalty = _weights(request, scene, poison, minimum)
            subject.progress(f"{name}, {budget} poisons: λ = {penalty:.4g}")
        most = max(np.abs(found).max() for found in weights.values())
        edges = np.linspace(-most, most, own["bins"] + 1)
        for budget, found in weights.items():
            facts = {"defender": name, "poisons": budget, "features": len(found), "deviation": float(found.std())}
            rows += list(_counted(found, edges, facts))
    return Findings(pd.DataFrame(rows))


def _weights(request: Request, scene: "Scene", poison: Any, minimum: Any) -> tuple[np.ndarray, float]:
    """Weights without the bias, at the minimum of what the poison leaves, and its λ."""
    import torch

    from poisonlab.poisons.poison import apply

    trained = apply(poison, request.dataset)
    points = scene.points(trained.images, trained.labels)
    penalty = poison.facts["penalty"]
    weights = minimum(_problems(points, scene.validation, torch.tensor([penalty]).double()))
    return weights[0, :-1].numpy(), penalty


def _counted(values: np.ndarray, edges: np.ndarray, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    counts, _ = np.histogram(values, edges)
    for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True):
        yield {**facts, "low": low, "high": high, "count": int(count)}
