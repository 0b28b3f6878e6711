"""Poisoning a support vector machine: training points that are moved up the validation loss of the retrained machine.

Biggio, Nelson & Laskov, Poisoning Attacks against Support Vector Machines, ICML 2012, Algorithm 1: the attack begins
with a copy of a point of the attacked class that has the other label, and follows the gradient within the box of the
pixels. Several points are crafted one after the other.
"""

from dataclasses import dataclass

import numpy as np

from poisonlab.datasets.dataset import Dataset, as_float
from poisonlab.errors import InputError
from poisonlab.models.svm import GRADIENTS, Fitted, Surrogate

SEARCHES = ("fixed", "line")
HALVINGS = 12  # of a step that does not raise the loss, before the search ends
TRIES = 5  # of starts that lead nowhere, for a point
LEAST_GAIN = 1e-6  # of a step, relative to the loss: below it the search ends


@dataclass(frozen=True)
class Ascent:
    """How a point is moved.

    Attributes:
        steps: the most of them.
        step: l2 length of one; with a line search, of the first that is tried.
        search: "fixed": every step is taken, and the best point counts (a step after which the point is no support
            vector is taken back, and from there on steps are half as long); "line": the step is halved until the loss
            grows, and then doubled while it grows further. The loss has kinks, at which a line search ends; fixed steps
            cross them and come higher.
        gradient: see `Fitted.gradient`; "historical" may point downhill, so that a line search soon ends.
    """

    steps: int = 100
    step: float = 1.0
    search: str = "fixed"
    gradient: str = "exact"

    def __post_init__(self) -> None:
        for name, value, allowed in (("search", self.search, SEARCHES), ("gradient", self.gradient, GRADIENTS)):
            if value not in allowed:
                raise InputError(f"{name} is '{value}', allowed is one of {list(allowed)}; change it")
        if self.steps < 0 or not self.step > 0:
            raise InputError(
                f"steps is {self.steps} and step {self.step:g}, allowed are 0 or more, and more than 0; change them"
            )


def ascend(
    surrogate: Surrogate,
    point: np.ndarray,
    label: int,
    box: tuple[float, float],
    ascent: Ascent,
    generator: np.random.Generator,
) -> tuple[np.ndarray, list[float]]:
    """Move a point up the validation loss of the surrogate that is trained on it as well, within the box.

    Args:
        point: [d], in the box. label: its label. box: least and largest value of a feature.
        generator: of the historical gradient's random numbers.

    Returns:
        The best point, [d], and the losses at the start and after each step.
    """
    now = best = surrogate.fit(point, label)
    losses, top, length = [now.loss()], now.loss(), ascent.step
    for _ in range(ascent.steps):
        direction = _inward(now, box, now.gradient(ascent.gradient, generator))
        if direction is None:
            break
        if ascent.search == "fixed":
            tried = _stepped(now, label, box, length * direction)
            losses.append(tried.loss())
            if tried.depends():
                now = tried
            else:
                # Beyond the reach of the machines there is no way on: from where it was, with a shorter step.
                length /= 2
                if losses[-1] > top:
                    best, top = tried, losses[-1]
                if length < ascent.step / 2**HALVINGS:
                    break
                continue
        else:
            found = _searched(now, label, box, direction, length, losses[-1])
            if found is None:
                break
            now, loss, length = found
            losses.append(loss)
        if losses[-1] > top:
            best, top = now, losses[-1]
        if ascent.search == "line" and losses[-1] - losses[-2] < LEAST_GAIN * losses[-2]:
            break
    assert best.x is not None
    return best.x, losses


def start_and_ascend(
    surrogate: Surrogate,
    candidates: np.ndarray,
    label: int,
    box: tuple[float, float],
    ascent: Ascent,
    seeds: list[int],
) -> tuple[int, np.ndarray, list[float]]:
    """Ascend from the first of the candidates that leads above the loss of the surrogate without another point.

    A start may be no support vector, or become none while the loss grows: then the surrogate does not see the point.
    That happens when earlier points have spoilt the surrogate. At most `TRIES` starts are tried, of which else the best
    counts.

    Args:
        candidates: [k, d], in their order. seeds: of the generator; see `ascend` for the rest.

    Returns:
        The place of the start among the candidates, and what `ascend` returns.
    """
    without = surrogate.fit()
    level, short = without.loss(), without.shortfall(candidates, label)
    best: tuple[int, np.ndarray, list[float]] | None = None
    for place in [*np.flatnonzero(short > 0)[:TRIES]] or [int(short.argmax())]:
        generator = np.random.default_rng([*seeds, int(place)])
        point, losses = ascend(surrogate, candidates[place], label, box, ascent, generator)
        if best is None or max(losses) > max(best[2]):
            best = int(place), point, losses
        if max(losses) > (1 + LEAST_GAIN) * level:
            break
    assert best is not None
    return best


def _inward(now: Fitted, box: tuple[float, float], gradient: np.ndarray) -> np.ndarray | None:
    """The gradient without what leads out of the box, of length 1; None where nothing is left."""
    assert now.x is not None
    outward = ((now.x <= box[0]) & (gradient < 0)) | ((now.x >= box[1]) & (gradient > 0))
    gradient = np.where(outward, 0.0, gradient)
    length = np.linalg.norm(gradient)
    return gradient / length if length > 0 else None


def _stepped(now: Fitted, label: int, box: tuple[float, float], move: np.ndarray) -> Fitted:
    assert now.x is not None
    return now.surrogate.fit(np.clip(now.x + move, *box), label, start=now)


def _searched(
    now: Fitted, label: int, box: tuple[float, float], direction: np.ndarray, length: float, loss: float
) -> tuple[Fitted, float, float] | None:
    """The learner after a step that raises the loss, its loss, and the length; None where no step does."""
    found: tuple[Fitted, float, float] | None = None
    for _ in range(HALVINGS + 1):
        tried = _stepped(now, label, box, length * direction)
        if (reached := tried.loss()) > (found[1] if found else loss):
            found, length = (tried, reached, length), 2 * length
        elif found:
            break
        else:
            length /= 2
    return found


def on_grid(point: np.ndarray, dataset: Dataset) -> np.ndarray:
    """A point [d] as the data hold it, float64: a multiple of 1/255 where they are 8-bit, else of single precision."""
    if dataset.train_images.dtype == np.uint8:
        return np.round(point * 255) / 255
    return point.astype(np.float32).astype(np.float64)


def box_of(dataset: Dataset) -> tuple[float, float]:
    """The data set's box, or the least and largest value of its training points where it has none."""
    if dataset.box is not None:
        return dataset.box
    points = dataset.train_float()
    return float(points.min()), float(points.max())


def draw_sets(
    dataset: Dataset, classes: list[int], points: int, validation: int, generator: np.random.Generator
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Draw a surrogate's training and validation points, about as many of each class.

    Validation points are the data set's own where it has any, and else training points that the surrogate is not
    trained on. Where a class has too few points for both, it gives the same share of what was asked for to each.

    Returns:
        (points [n, d] float64 in the unit of `train_float`, labels [n]), for training and for validation.

    Raises:
        InputError: fewer points than classes are asked for, or a class has no point left.
    """
    if min(points, validation) < len(classes):
        raise InputError(
            f"points is {points} and validation {validation}, allowed is at least {len(classes)}, one of each class; "
            "raise them"
        )
    train, held = (dataset.train_images, dataset.train_labels), _validation(dataset)
    chosen: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for place, label in enumerate(classes):
        wanted, more = (count // len(classes) + (place < count % len(classes)) for count in (points, validation))
        pool = generator.permutation(np.flatnonzero(train[1] == label))
        if held is not None:
            others = generator.permutation(np.flatnonzero(held[1] == label))
        else:
            wanted = min(wanted, max(1, len(pool) * wanted // (wanted + more)))
            others = pool[wanted:]
        if not (len(pool) and len(others)):
            raise InputError(
                f"class {label} of '{dataset.name}' has {len(pool)} training points, and {len(others)} are left to "
                "validate with; one of each is needed: add some"
            )
        chosen[0].append(pool[:wanted])
        chosen[1].append(others[:more])
    return _taken(*train, np.concatenate(chosen[0])), _taken(*(held or train), np.concatenate(chosen[1]))


def _validation(dataset: Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Images and labels of the data set's validation set, if it has one."""
    if dataset.validation_images is None or dataset.validation_labels is None:
        return None
    return dataset.validation_images, dataset.validation_labels


def _taken(images: np.ndarray, labels: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [k, d] float64 in the unit of `train_float`, and labels [k], at these positions."""
    return as_float(images[index]).reshape(len(index), -1).astype(np.float64), labels[index]
