"""Points crafted against a support vector machine, the attacker's surrogate for whatever the victim is."""

import hashlib
import json
import time
from typing import Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy


@strategy(
    "svm",
    source="Biggio, Nelson & Laskov, Poisoning Attacks against Support Vector Machines, ICML 2012, Algorithm 1; with "
    "gradient: historical, the public code that the CIFAR-3 report adapted in its section 2",
    parameters={
        "kernel": ("linear", "rbf"), "cost": 1.0, "gamma": 0.5, "points": 500, "validation": 500, "unique": 30,
        "steps": 100, "step": 1.0, "search": ("fixed", "line"), "gradient": ("exact", "historical"),
        "multiclass": False,
    },
    alone=True,
    resources={"mem_mb": 4000, "runtime": 120},
)  # fmt: skip
def svm(request: Request) -> Poison:
    """Append points with the target label that raise the validation loss of an SVM which is trained on them as well.

    The surrogate has `kernel` linear or rbf (exp(−γ/2 ‖a − b‖²), γ = `gamma`) and penalty C = `cost`. It is trained on
    `points` random training points and judged by its hinge loss on `validation` others (the data's validation set,
    where there is one). With `multiclass`, they are of all classes, the surrogate is one machine against the rest for
    each, and the loss the sum of theirs; without it, they are of the source and the target class.

    `unique` points, at most the budget, are crafted one after the other: each begins as a random training point of the
    source class with the target label, moves for at most `steps` of l2 length `step` along the loss's `gradient`
    (`exact` or `historical`), is rounded to the 8-bit grid where the data are 8-bit, and joins the surrogate's training
    set. Starts that do not raise the loss of the surrogate without them are passed over (see `poisons.svm`). With the
    `search` fixed every step is taken and the best point counts; line halves and doubles the step. Each point is
    appended about equally often, up to the budget. How many there may be is not limited by the source class.

    Facts, of the surrogate: objective and error on the validation points before, with the starts instead of the crafted
    points (flipped), and after; seconds of crafting.

    Raises:
        InputError: the data set has no target class (target: new), or too few points of a class; or a parameter is out
            of its range.
    """
    from poisonlab.models.svm import Kernel, Surrogate
    from poisonlab.poisons.svm import Ascent, box_of, draw_sets, on_grid, start_and_ascend

    flip, dataset, parameters = request.flip, request.dataset, request.parameters
    if flip.target >= dataset.num_classes:
        raise InputError(
            f"strategy 'svm' gives a label of '{dataset.name}' (0 … {dataset.num_classes - 1}), not {flip.target}; "
            "change the poison's flips"
        )
    if not flip.budget:
        return Poison(dataset.num_classes)
    if parameters["unique"] < 1:
        raise InputError(f"unique is {parameters['unique']}, allowed is 1 or more; change the parameter or its sweep")
    ascent = Ascent(*(parameters[name] for name in ("steps", "step", "search", "gradient")))
    classes = [*range(dataset.num_classes)] if parameters["multiclass"] else sorted((flip.source, flip.target))
    training, validation = draw_sets(
        dataset, classes, parameters["points"], parameters["validation"], request.generator
    )
    own = np.flatnonzero(training[1] == flip.source)
    unique = min(int(parameters["unique"]), flip.budget)
    if unique > len(own):
        raise InputError(
            f"unique is {unique}, and the surrogate has {len(own)} training points of class {flip.source} in "
            f"'{dataset.name}' to begin with; lower unique or raise points"
        )
    candidates = training[0][request.generator.permutation(own)]
    noise = int(
        request.generator.integers(2**63)
    )  # of the historical gradient; each point's own, so that a run goes on
    kernel = Kernel(parameters["kernel"], parameters["gamma"])
    positives = classes if parameters["multiclass"] else [flip.target]
    clean = Surrogate(kernel, parameters["cost"], training, validation, positives)
    crafted, begun_at, seconds = _read(request)
    surrogate, box = clean.extended(np.array(crafted), flip.target) if crafted else clean, box_of(dataset)
    for number in range(len(crafted), unique):
        begun = time.perf_counter()
        free = np.setdiff1d(np.arange(len(candidates)), begun_at)
        found = start_and_ascend(surrogate, candidates[free], flip.target, box, ascent, [noise, number])
        start, point, losses = free[found[0]], found[1], found[2]
        crafted.append(on_grid(point, dataset))
        begun_at.append(int(start))
        surrogate = surrogate.extended(crafted[-1][None], flip.target)
        seconds += time.perf_counter() - begun
        if request.workspace:
            kept = {"points": np.array(crafted), "starts": np.array(begun_at)}
            request.workspace.write(_name(request), kept, {"seconds": seconds})
        request.progress(
            f"point {number + 1} of {unique}: objective {losses[0]:.1f} → {max(losses):.1f} in {len(losses) - 1} "
            f"steps, {seconds / (number + 1):.1f} s a point"
        )
    facts = {"unique": float(unique), "seconds": seconds}
    flipped = clean.extended(candidates[begun_at], flip.target).fit()
    for name, fitted in (("before", clean.fit()), ("flipped", flipped), ("after", surrogate.fit())):
        facts |= {f"objective_{name}": fitted.loss(), f"error_{name}": fitted.error()}
    images = np.array(crafted).reshape(-1, *dataset.input_shape)
    eight = dataset.train_images.dtype == np.uint8
    images = np.round(images * 255).astype(np.uint8) if eight else images.astype(np.float32)
    return Poison(
        dataset.num_classes,
        append_images=images[np.arange(flip.budget) % unique],
        append_labels=np.full(flip.budget, flip.target, dtype=np.int64),
        facts=facts,
    )


def _name(request: Request) -> str:
    """Name of the checkpoint: several pairs of classes, or values of a sweep, may share a workspace."""
    settings: dict[str, Any] = {**request.parameters, "budget": request.flip.budget}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    return f"svm-{request.flip.source}-{request.flip.target}-{digest}"


def _read(request: Request) -> tuple[list[np.ndarray], list[int], float]:
    """The points that are finished, each [d], where they began, and the seconds that they took."""
    kept = request.workspace.read(_name(request)) if request.workspace else None
    return ([*kept[0]["points"]], kept[0]["starts"].tolist(), float(kept[1]["seconds"])) if kept else ([], [], 0.0)
