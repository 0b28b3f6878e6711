"""What attacks share that ascend on the pixels of appended points: starts, surrogates, steps, and how to go on."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.datasets.dataset import Dataset, as_float
from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose
from poisonlab.seeds import seed

if TYPE_CHECKING:
    from torch import Tensor

    from poisonlab.poisons.unrolled import Descent, Network

# Networks that a surrogate may be: without buffers, and with a second derivative.
SURROGATES: dict[str, Any] = {
    "linear": {"model": "mlp", "depth": 0},  # softmax regression
    "mlp": "mlp",
    "smooth_cnn": "smooth_cnn",
    "small_cnn": "small_cnn",
    "pooled": "pooled",
    "strided": "strided",
}
# What surrogates and steps may be told, with their defaults.
PARAMETERS: dict[str, Any] = {
    "ascents": 20,
    "step": 0.02,
    "update": ("sign", "normalised"),
    "outer_loss": ("cross_entropy", "soft_error"),
    "batch_size": 64,
    "momentum": 0.9,
}
LEAST = {"ascents": 0, "batch_size": 1, "epochs": 1, "group": 1, "retrain": 1, "seeds": 1, "truncation": 1,
         "validation": 1, "outer": 1, "held_out": 1, "points": 0, "penalty": 0}  # fmt: skip


def check(request: Request, name: str) -> None:
    """Refuse parameters out of their range.

    Raises:
        InputError: one is; it says which.
    """
    for key, value in request.parameters.items():
        if key in LEAST and value < LEAST[key]:
            raise InputError(f"strategy '{name}': {key} is {value:g}, allowed is {LEAST[key]} or more; change it")
        if key in ("step", "rate") and not 0 < value < np.inf:
            raise InputError(f"strategy '{name}': {key} is {value:g}, allowed is above 0; change it")
        if key == "momentum" and not 0 <= value < 1:
            raise InputError(f"strategy '{name}': momentum is {value:g}, allowed is 0 up to below 1; change it")


@dataclass(frozen=True)
class Starts:
    """Where poisons begin: copies of points of the source class with the target label.

    Attributes:
        index: [budget] positions of the copied points.
        images: [budget, …] float32; labels: [budget] int64.
        classes: of the poisoned data set.
        seed: of everything else that is drawn.
    """

    index: np.ndarray
    images: np.ndarray
    labels: np.ndarray
    classes: int
    seed: int

    def generator(self, *place: int) -> np.random.Generator:
        """Chance that depends on the seed and the place alone: a craft that goes on makes the same choices."""
        return np.random.default_rng([self.seed, *place])

    def training_seed(self, **place: int) -> int:
        """Seed of a surrogate's training."""
        return seed("surrogate", craft=self.seed, **place)


def starts(request: Request) -> Starts:
    """Draw the points to copy, and the seed, from the request's generator.

    Raises:
        InputError: the budget exceeds the source class.
    """
    dataset, flip = request.dataset, request.flip
    index = choose(request.pool(), flip.budget, request.generator, f"class {flip.source} in '{dataset.name}'")
    labels = np.full(flip.budget, flip.target, dtype=np.int64)
    classes = max(dataset.num_classes, flip.target + 1)
    return Starts(index, as_float(dataset.train_images[index]), labels, classes, int(request.generator.integers(2**62)))


def divided(request: Request, begin: Starts, held: int, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hold points out: the data set's validation set where it has one, else training points that no poison copies.

    Args:
        held: so many, or half of those that there are if they are fewer.

    Returns:
        images [held, …] float32 and labels [held] of the held-out points, and the positions of the training points that
        are left, in random order.

    Raises:
        InputError: there is none to hold out.
    """
    dataset, generator = request.dataset, begin.generator(0)
    order = generator.permutation(len(dataset.train_labels))
    if dataset.validation_images is not None:
        assert dataset.validation_labels is not None
        drawn = generator.permutation(len(dataset.validation_labels))[:held]
        return as_float(dataset.validation_images[drawn]), dataset.validation_labels[drawn], order
    free = order[~np.isin(order, begin.index)]
    chosen = free[: min(held, len(free) // 2)]
    if not len(chosen):
        raise InputError(
            f"strategy '{name}' holds out training points of '{dataset.name}' that no poison copies, and budget "
            f"{len(begin.index)} leaves {len(free)} of {len(order)}; lower the poison's budget"
        )
    rest = order[~np.isin(order, chosen)]
    return as_float(dataset.train_images[chosen]), dataset.train_labels[chosen], rest


def tensors(dataset: Dataset, index: np.ndarray, device: Any) -> tuple["Tensor", "Tensor"]:
    """Training images [n, …] float32 and labels [n] at these positions, on the device."""
    import torch

    return (
        torch.from_numpy(as_float(dataset.train_images[index])).to(device),
        torch.from_numpy(dataset.train_labels[index]).to(device),
    )


def surrogate(name: str, dataset: Dataset, classes: int, training_seed: int, device: Any) -> "Network":
    """Build the surrogate `name` of `SURROGATES` for the images of the data set.

    Raises:
        InputError: it cannot be built for their shape.
    """
    # What `models` looks up by name counts for the version of what is crafted.
    from poisonlab.models import networks, smooth  # noqa: F401
    from poisonlab.poisons import unrolled

    return unrolled.network(SURROGATES[name], dataset.input_shape, classes, training_seed, device=device)


def judged(descent: "Descent", poisons: "Tensor", images: "Tensor", labels: "Tensor", loss: str) -> tuple[float, float]:
    """Outer loss and share of errors on images [m, …] with labels [m], of the surrogate that is trained with these
    poisons.
    """
    import torch

    from poisonlab.poisons import unrolled

    weights = unrolled.train(descent, poisons, truncation=0).last.weights
    value, _ = unrolled.outer_slope(descent.network, weights, images, labels, loss)
    with torch.no_grad():
        wrong = sum(
            int((descent.network(weights, some).argmax(1) != answers).sum())
            for some, answers in zip(images.split(500), labels.split(500), strict=True)
        )
    return value, wrong / len(labels)


def stepped(points: "Tensor", slope: "Tensor", length: float, update: str, box: tuple[float, float] | None) -> "Tensor":
    """Points [p, …] after one step up the slope, clipped to the box.

    Args:
        length: of the change of a pixel. update: "sign" changes every pixel by it, up or down; "normalised" follows the
            slope, and pixels of a point change by it in the root mean square.
    """
    if update == "sign":
        moved = points + length * slope.sign()
    else:
        norm = slope.flatten(1).square().mean(1).sqrt().clamp(min=1e-30)
        moved = points + length * slope / norm.view(-1, *[1] * (slope.dim() - 1))
    return moved if box is None else moved.clamp(*box)


def rounded(points: "Tensor", dataset: Dataset) -> np.ndarray:
    """Points [p, …] as the data set's training images are: on the 8-bit grid where these are uint8."""
    values = points.cpu().numpy()
    return (values * 255).round().astype(np.uint8) if dataset.train_images.dtype == np.uint8 else values


def poison_of(begin: Starts, images: np.ndarray, facts: Mapping[str, float]) -> Poison:
    """The poison that appends these images, with its facts and the number of different images among them."""
    unique = len(np.unique(images.reshape(len(images), -1), axis=0)) if len(images) else 0
    facts = {**facts, "unique": float(unique)}
    return Poison(begin.classes, append_images=images, append_labels=begin.labels, facts=facts)


# ------------------------------------------------------------------------------------------------ going on


@dataclass
class Progress:
    """Where a craft stands, kept in the request's workspace under a name that holds what it depends on.

    Attributes:
        arrays, facts: what the rest of the craft depends on. Seconds are added up over interruptions.
    """

    request: Request
    name: str
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)
    _earlier: float = 0.0

    @staticmethod
    def of(request: Request, name: str, begin: Starts) -> "Progress":
        """Where an earlier run of the same craft was, or the beginning."""
        flip = request.flip
        facts = [dict(request.parameters), flip.source, flip.target, flip.budget, request.draw, begin.seed]
        digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=8).hexdigest()
        state = Progress(request, f"{name}-{digest}")
        kept = request.workspace.read(state.name) if request.workspace else None
        if kept is not None:
            state.arrays, state.facts = kept
            state._earlier = state.facts.pop("seconds")
        return state

    @property
    def seconds(self) -> float:
        """Spent so far, in all runs."""
        return self._earlier + time.monotonic() - self._begun

    def keep(self) -> None:
        """Write a checkpoint, where there is a workspace."""
        if self.request.workspace:
            self.request.workspace.write(self.name, self.arrays, {**self.facts, "seconds": self.seconds})

    def once(self, fact: str, compute: Callable[[], Any]) -> Any:
        """A fact that is computed once and kept."""
        if fact not in self.facts:
            self.facts[fact] = compute()
            self.keep()
        return self.facts[fact]
