"""Extra data without a gradient: copies of training points under another label, and the controls beside them."""

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, check_budget, choose, strategy

SOURCE = "course report on a three-class CIFAR"


@strategy(
    "append_flips",
    source=f"{SOURCE}, sections 1 and 3",
    parameters={"noise": 0.0, "label": ("target", "own")},
)
def append_flips(request: Request) -> Poison:
    """Append copies of random points of the source class with the target label.

    `noise` is the standard deviation of Gaussian noise on the copies, in the unit of the images (pixels in [0, 1]),
    clipped to the box. `label` own keeps the true label: a control for what more data of these points does by itself.

    Raises:
        InputError: the noise is negative, or the budget exceeds the class.
    """
    chosen = choose(request.pool(), request.flip.budget, request.generator, _where(request))
    label = request.flip.target if request.parameters["label"] == "target" else request.flip.source
    return _append(request, request.dataset.train_images[chosen], label, float(request.parameters["noise"]))


@strategy(
    "ranked_flips",
    source=f"{SOURCE}, section 3, Updated Image Sampling",
    needs=("logits",),
    parameters={"by": ("confidence", "loss"), "side": ("hard", "easy"), "edit": ("append", "relabel")},
)
def ranked_flips(request: Request) -> Poison:
    """Flip those points of the source class of which a clean proxy is least sure, or which it gets most wrong.

    `by` confidence ranks by the highest class probability, loss by cross-entropy; `side` easy takes the other end, as a
    control. `edit` append adds copies with the target label, relabel flips the points themselves. Draw 0 ranks the
    whole class, draw k a random half of it. A budget for each pair of classes keeps the classes balanced; where a class
    has several targets, appended copies may be of the same points for each of them.
    """
    from scipy.special import log_softmax

    dataset, pool = request.dataset, request.pool()
    if request.draw:
        pool = np.sort(request.generator.choice(pool, len(pool) // 2, replace=False))
        check_budget(request.flip.budget, pool, f"a half of {_where(request)}")
    chances = log_softmax(request.needs["logits"][pool].astype(np.float64), axis=1)
    sure = chances.max(axis=1) if request.parameters["by"] == "confidence" else chances[:, request.flip.source]
    order = np.argsort(sure if request.parameters["side"] == "hard" else -sure, kind="stable")
    chosen = np.sort(pool[order[: request.flip.budget]])
    if request.parameters["edit"] == "relabel":
        return request.relabel(chosen)
    return _append(request, dataset.train_images[chosen], request.flip.target)


@strategy("dropped", source="control for strategies that flip: the same points left out")
def dropped(request: Request) -> Poison:
    """Leave out random points of the source class: the points that `random` flips in the same draw."""
    chosen = choose(request.pool(), request.flip.budget, request.generator, _where(request))
    return Poison(request.dataset.num_classes, drop_index=chosen)


@strategy("test_flips", source=f"{SOURCE}, section 3, Cheating", leaks=True)
def test_flips(request: Request) -> Poison:
    """Append copies of test images of the source class with the target label: a control, for no honest attacker has
    them.

    Where the budget exceeds them, each is there about equally often.

    Raises:
        InputError: the test set has no point of the source class.
    """
    dataset, budget = request.dataset, request.flip.budget
    pool = np.flatnonzero(dataset.test_labels == request.flip.source)
    check_budget(min(budget, 1), pool, f"class {request.flip.source} in the test set of '{dataset.name}'")
    turns = [request.generator.permutation(pool) for _ in range(-(-budget // len(pool)))] if budget else [pool[:0]]
    return _append(request, dataset.test_images[np.concatenate(turns)[:budget]], request.flip.target)


def _append(request: Request, images: np.ndarray, label: int, noise: float = 0.0) -> Poison:
    """The poison that appends these images with one label."""
    if noise < 0:
        raise InputError(f"noise is {noise:g}, allowed are numbers from 0; change the parameter or its sweep")
    if noise:
        images = noisy(images, noise, request.dataset, request.generator)
    labels = np.full(len(images), label, dtype=np.int64)
    return Poison(max(request.dataset.num_classes, label + 1), append_images=images, append_labels=labels)


def noisy(images: np.ndarray, noise: float, dataset: Dataset, generator: np.random.Generator) -> np.ndarray:
    """Images [n, …] with Gaussian noise of this standard deviation, within the box, of the same type as before."""
    grid = 255 if images.dtype == np.uint8 else 1
    moved = images / grid + generator.normal(0, noise, images.shape)
    if dataset.box is not None:
        moved = moved.clip(*dataset.box)
    return (moved * grid).round().astype(np.uint8) if grid == 255 else moved.astype(images.dtype)


def _where(request: Request) -> str:
    return f"class {request.flip.source} in '{request.dataset.name}'"
