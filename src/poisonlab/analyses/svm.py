"""Poisoning a support vector machine, looked at closely: whether its gradients are right, and what one point does."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models.svm import GRADIENTS, Fitted, Kernel, Surrogate
from poisonlab.poisons.flips import class_number
from poisonlab.poisons.svm import Ascent, ascend, box_of, draw_sets, on_grid
from poisonlab.seeds import seed

VARIANCE = 0.6  # of each feature of the simulated classes, as of Biggio's toy
TRIES = 100  # of points to attack, until one is a support vector


def gradients(
    kernels: Sequence[str],
    draws: int,
    dimensions: int,
    points: int,
    validation: int,
    cost: float,
    gamma: float,
    distance: float,
    step: float,
) -> pd.DataFrame:
    """Both gradients against central differences, on simulated problems.

    Returns:
        kernel, gradient, draw, cosine of the angle to the differences, error (l2, relative to the differences), kink
        (whether a set of points changes within a difference, so that the loss is not smooth there), and case (the
        attacked point is a margin or an error vector).

    Raises:
        InputError: a number is out of its range.
    """
    for name, value, least in (("draws", draws, 1), ("dimensions", dimensions, 1), ("step", step, 1e-12)):
        if value < least:
            raise InputError(f"{name} of svm_gradients is {value:g}, allowed is {least:g} or more; change it")
    rows = []
    for kernel in kernels:
        for draw in range(draws):
            generator = np.random.default_rng(seed("svm gradients", draw=draw))
            fitted = attacked(Kernel(kernel, gamma), cost, generator, 2, dimensions, points, validation, distance)
            expected, kink = differences(fitted, 1, step)
            case = "margin" if fitted.machines[0].margin[-1] else "error"
            for variant in GRADIENTS:
                found = fitted.gradient(variant, generator)
                size = np.linalg.norm(expected)
                rows.append(
                    {
                        "kernel": kernel,
                        "gradient": variant,
                        "draw": draw,
                        "cosine": float(found @ expected / (np.linalg.norm(found) * size)),
                        "error": float(np.linalg.norm(found - expected) / size),
                        "kink": kink,
                        "case": case,
                    }
                )
    return pd.DataFrame(rows)


def attacked(
    kernel: Kernel,
    cost: float,
    generator: np.random.Generator,
    classes: int,
    dimensions: int,
    points: int,
    validation: int,
    distance: float,
) -> Fitted:
    """A machine of normal classes whose means are `distance` apart, with a point of class 0 that is labelled 1.

    The point is one of which the machine depends: points are drawn until one is a support vector.

    Raises:
        InputError: none is found, or there are fewer dimensions than classes.
    """
    if dimensions < classes:
        raise InputError(f"dimensions is {dimensions}, allowed is {classes} or more; raise it")
    means = np.eye(classes, dimensions) * distance / np.sqrt(2)

    def drawn(labels: np.ndarray) -> np.ndarray:
        return means[labels] + np.sqrt(VARIANCE) * generator.standard_normal((len(labels), dimensions))

    training, held = (np.arange(count) % classes for count in (points, validation))
    positives = (1,) if classes == 2 else range(classes)
    surrogate = Surrogate(kernel, cost, (drawn(training), training), (drawn(held), held), positives)
    for _ in range(TRIES):
        fitted = surrogate.fit(drawn(np.zeros(1, dtype=np.int64))[0], 1)
        if fitted.depends():
            return fitted
    raise InputError("no attacked point is a support vector: the classes are too far apart; lower distance")


def differences(fitted: Fitted, label: int, step: float) -> tuple[np.ndarray, bool]:
    """Central differences of the retrained machine's loss by the attacked point, [d]; whether one crosses a kink."""
    assert fitted.x is not None
    found, kink = np.zeros(len(fitted.x)), False
    for place in range(len(fitted.x)):
        moved = []
        for side in (step, -step):
            x = fitted.x.copy()
            x[place] += side
            moved.append(fitted.surrogate.fit(x, label, start=fitted))
        found[place] = (moved[0].loss() - moved[1].loss()) / (2 * step)
        kink |= any(one.sets() != fitted.sets() for one in moved)
    return found, kink


def single_points(
    dataset: Dataset, parameters: Mapping[str, Any], progress: Callable[[str], None] = lambda line: None
) -> pd.DataFrame:
    """Errors of machines without one more training point (clean), with a flipped one, and with that one crafted.

    Args:
        parameters: of the analysis.

    Returns:
        pair ("7-1": a point of class 7 gets the label 1), draw, what (clean, flipped, crafted), error on all test
        points of the two classes, validation_error, loss on the validation points, and seconds of crafting (0 where
        nothing is).

    Raises:
        InputError: a class does not exist or is paired with itself, or a number is out of its range.
    """
    ascent = Ascent(parameters["steps"], parameters["step"], parameters["search"])
    kernel, names, rows = Kernel(parameters["kernel"], parameters["gamma"]), dataset.class_names, []
    for pair in parameters["pairs"]:
        source, target = (class_number(label, names, "svm_single_point.pairs") for label in pair)
        if source == target:
            raise InputError(f"svm_single_point.pairs holds {list(pair)}, a class with itself; name two classes")
        own = np.isin(dataset.test_labels, (source, target))
        test = dataset.test_float()[own].reshape(own.sum(), -1), dataset.test_labels[own]
        for draw in range(parameters["draws"]):
            generator = np.random.default_rng(seed("svm single point", draw=draw, source=source, target=target))
            sets = draw_sets(
                dataset, sorted((source, target)), parameters["points"], parameters["validation"], generator
            )
            surrogate = Surrogate(kernel, parameters["cost"], *sets, positives=(target,))
            training, labels = sets[0]
            start = training[generator.choice(np.flatnonzero(labels == source))]
            begun = time.perf_counter()
            point, _ = ascend(surrogate, start, target, box_of(dataset), ascent, generator)
            seconds = time.perf_counter() - begun
            fitted = {
                "clean": surrogate.fit(),
                "flipped": surrogate.fit(start, target),
                "crafted": surrogate.fit(on_grid(point, dataset), target),
            }
            errors = {what: one.error(*test) for what, one in fitted.items()}
            rows += [
                {
                    "pair": f"{names[source]}-{names[target]}",
                    "draw": draw,
                    "what": what,
                    "error": errors[what],
                    "validation_error": one.error(),
                    "loss": one.loss(),
                    "seconds": seconds if what == "crafted" else 0.0,
                }
                for what, one in fitted.items()
            ]
            told = ", ".join(f"{what} {error:.1%}" for what, error in errors.items())
            progress(f"{source}-{target}, draw {draw}: test error {told}; {seconds:.2f} s")
    return pd.DataFrame(rows)
