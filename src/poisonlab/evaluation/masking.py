"""Is a victim's robustness real? AutoAttack's own checks, the scale of the radius, and attacks that should not win.

Each check is a number per victim and, where it fires, a sentence in words. What fires says that the accuracy under
gradient attacks cannot be trusted, not that the victim is robust or that it is not.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from poisonlab import attacks
from poisonlab.attacks.active_set import Box, frozen, held, margin
from poisonlab.attacks.pgd import Attack, perturb
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import logits, predict, rebuild, resolve_device, to_float
from poisonlab.results.tables import KEY
from poisonlab.victims.chunk import victim_key
from poisonlab.victims.victim import Progress

Row = dict[str, Any]
CHECKED = 250  # test points: as many as AutoAttack attacks at a time
STEPS, APGD_STEPS, QUERIES = 20, 50, 500
PASSES, MOVED = 5, 1e-4  # of AutoAttack's check for randomised models
RANGE = 1e-5  # of its check for probabilities
SQUARE_GAIN = 0.002  # of its check for masked gradients
# Choices: what a random start and another model's images may win, and what may be left at the widest radius.
START_GAIN, TRANSFER_GAIN, LEFT = 0.05, 0.02, 0.02
LEVELS = (0.5, 127.5)  # grey levels of 8 bits that a radius lies between: half a level, half of the box
SPREAD = 0.1  # of the box that the pixels' values span at least

COLUMNS = (
    "randomised", "moved", "probabilities", "dynamic", "zero_gradients", "classes", "levels", "spread", "plain",
    "random_gain", "square_gain", "transfer_gain", "left", "seconds", "warnings",
)  # fmt: skip


def check(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    box: Box,
    other: nn.Module,
    free: Tensor | None = None,
) -> Row:
    """Check a model on images [n, …] float32 at an l∞ radius, in the unit of the images.

    Args:
        other: a model of the same classes that was trained without an attack; its adversarial images are transferred.
        free: bool […], features that may be moved; None for all of them.

    Returns:
        `randomised`: passes differ, by `moved` (l2 of the normalised logits); `probabilities`: outputs look like them;
        `dynamic`: a forward pass takes gradients; `zero_gradients`: share of the correctly classified points without a
        gradient at the start of an attack; `classes`; `levels`: the radius in grey levels of 8 bits; `spread`: of the
        pixels, as a share of the box; `plain`: accuracy under PGD; `random_gain`, `transfer_gain`: by how much it is
        lower with a random start, or for images of `other`; `square_gain`: share of the points that Square fools and no
        other attack does; `left`: accuracy under PGD on the margin at the widest radius, that of the box; `warnings`.
        NaN where a check cannot be made.
    """
    with frozen(model), frozen(other):
        found: Row = {
            **_outputs(model, images, labels),
            "dynamic": _takes_gradients(model, images),
            "zero_gradients": _without_gradient(model, images, labels, epsilon, free),
            **_scales(images, epsilon, box),
            **_attacked(model, images, labels, epsilon, box, other, free),
        }
    return {**found, "warnings": "; ".join(words(found))}


def words(found: Mapping[str, Any]) -> list[str]:
    """What fires of the checks, in words."""
    low, high = LEVELS
    n = found["points"]

    def above(name: str, limit: float) -> bool:
        return not math.isnan(found[name]) and found[name] > limit

    said = {
        "its answers are drawn at random": found["randomised"],
        "its outputs look like probabilities, of which attacks take the logarithm twice": found["probabilities"],
        "its forward pass takes gradients": found["dynamic"],
        f"{100 * found['zero_gradients']:.0f} % of the points have no gradient": above("zero_gradients", 0),
        # A single point more is chance: at so few points it is more than AutoAttack's limit.
        f"Square fools {100 * found['square_gain']:.1f} % of the points that no gradient does": above(
            "square_gain", max(SQUARE_GAIN, 1.5 / n)
        ),
        f"a random start lowers the accuracy under PGD by {100 * found['random_gain']:.0f} points": above(
            "random_gain", START_GAIN
        ),
        f"images of another net lower it by {100 * found['transfer_gain']:.0f} points more than its own": above(
            "transfer_gain", max(TRANSFER_GAIN, 1.5 / n)
        ),
        f"{100 * found['left']:.0f} % stay right at a radius as wide as the box": above("left", max(LEFT, 1.5 / n)),
        f"the radius is {found['levels']:.3g} grey levels: is it in the scale of the pixels?": not math.isnan(
            found["levels"]
        )
        and not low <= found["levels"] <= high,
        f"the pixels span {100 * found['spread']:.1f} % of their box: are they in its scale?": not math.isnan(
            found["spread"]
        )
        and not SPREAD <= found["spread"] <= 1 + RANGE,
    }
    return [sentence for sentence, fires in said.items() if fires]


def _outputs(model: nn.Module, images: Tensor, labels: Tensor) -> Row:
    """Whether answers are random and outputs probabilities, as AutoAttack asks."""
    passes = [logits(model, images) for _ in range(PASSES)]
    counts = {int((one.argmax(1) == labels).sum()) for one in passes}
    unit = [one / (one.norm(dim=1, keepdim=True) + 1e-10) for one in passes]
    moved = max(float((a - b).norm(dim=1).max()) for n, a in enumerate(unit) for b in unit[:n])
    first = passes[0]
    inside = bool(first.max() < 1 + RANGE and first.min() > -RANGE)
    sums = bool(((first.sum(1) - 1).abs() < RANGE).all())
    return {
        "points": len(labels),
        "classes": first.shape[1],
        "randomised": len(counts) > 1 or moved > MOVED,
        "moved": moved,
        "probabilities": inside and sums,
    }


@contextmanager
def _noting_gradients(noted: list[str]) -> Iterator[None]:
    """Note calls for gradients."""
    engine = torch.autograd
    before = {name: getattr(engine, name) for name in ("grad", "backward")}

    def noting(name: str) -> Any:
        def called(*arguments: Any, **options: Any) -> Any:
            noted.append(name)
            return before[name](*arguments, **options)

        return called

    for name in before:
        setattr(engine, name, noting(name))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(engine, name, function)


def _takes_gradients(model: nn.Module, images: Tensor) -> bool:
    noted: list[str] = []
    with _noting_gradients(noted), torch.no_grad():
        model(images[:2])
    return bool(noted)


def _without_gradient(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, free: Tensor | None) -> float:
    """Share of the correctly classified points whose gradient of the margin is 0 at a random start. The margin is the
    DLR loss without its denominator, which two classes do not have.
    """
    right = predict(model, images) == labels
    if not right.any():
        return math.nan
    own, answers = images[right], labels[right]
    noise = 2 * torch.rand(own.shape, generator=torch.Generator().manual_seed(0)) - 1
    own = (own + epsilon * held(noise.to(own), free)).requires_grad_(True)
    total = margin(model(own), answers).sum()
    if not total.requires_grad:
        return 1.0
    (gradient,) = torch.autograd.grad(total, own, allow_unused=True)
    return 1.0 if gradient is None else float((held(gradient, free).flatten(1).abs().sum(1) == 0).double().mean())


def _scales(images: Tensor, epsilon: float, box: Box) -> Row:
    if box is None:
        return {"levels": math.nan, "spread": math.nan}
    width = box[1] - box[0]
    return {"levels": 255 * epsilon / width, "spread": float(images.max() - images.min()) / width}


def _fooled(
    method: Mapping[str, Any], model: nn.Module, images: Tensor, labels: Tensor, box: Box, free: Tensor | None
) -> Tensor:
    """Points [n] that an attack of the catalogue fools."""
    chosen = attacks.settings({"goal": "untargeted", **method}, "checks")
    return attacks.run(chosen, "checks", model, images, labels, box=box, free=free).fooled[0]


def _attacked(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    box: Box,
    other: nn.Module,
    free: Tensor | None,
) -> Row:
    if not any(p.requires_grad for p in model.parameters()) and not _differentiable(model, images):
        return dict.fromkeys(("plain", "random_gain", "square_gain", "transfer_gain", "left"), math.nan)
    n = len(labels)
    radius: Row = {"epsilon": [epsilon]}
    plain = _fooled({**radius, "steps": STEPS}, model, images, labels, box, free)
    drawn = _fooled({**radius, "steps": STEPS, "random_start": True}, model, images, labels, box, free)
    moved = perturb(other, images, labels, epsilon, Attack(steps=STEPS), box=box, free=free)
    lent = predict(model, moved) != labels
    found = {
        "plain": float((~plain).double().mean()),
        "random_gain": float((drawn.sum() - plain.sum()) / n),
        "transfer_gain": float((lent.sum() - plain.sum()) / n),
        "square_gain": math.nan,
        "left": math.nan,
    }
    if box is not None:
        wide = box[1] - box[0]
        far = perturb(model, images, labels, wide, Attack(steps=STEPS), box=box, free=free, loss="margin")
        found["left"] = float((predict(model, far) == labels).double().mean())
    if images.dim() == 4 and box is not None and tuple(box) == (0, 1) and free is None:
        others = plain | drawn
        for method in ("apgd_ce", "apgd_margin"):
            left = (~others).nonzero()[:, 0]
            if len(left):
                others[left] = _fooled(
                    {**radius, "method": method, "steps": APGD_STEPS}, model, images[left], labels[left], box, None
                )
        left = (~others).nonzero()[:, 0]
        more = (
            _fooled({**radius, "method": "square", "queries": QUERIES}, model, images[left], labels[left], box, None)
            if len(left)
            else left[:0]
        )
        found["square_gain"] = float(more.sum()) / n
    return found


def _differentiable(model: nn.Module, images: Tensor) -> bool:
    """Whether the logits depend on the images in a way that torch can follow."""
    return bool(model(images[:2].clone().requires_grad_(True)).requires_grad)


def check_victims(
    victims: Sequence[tuple[Row, int, dict[str, np.ndarray]]],
    dataset: Dataset,
    model: Any,
    epsilon: float,
    proxy: tuple[Any, dict[str, np.ndarray]],
    seconds: Mapping[str, float],
    device: str = "auto",
    progress: Progress = lambda line: None,
) -> pd.DataFrame:
    """Check every victim of a chunk on `CHECKED` test points at most, evenly from all.

    Args:
        victims: as `chunk.load_chunk` returns them; model: their specification. epsilon: l∞ radius.
        proxy: (model, parameters) of a clean net.
        seconds: victim's key → its seconds of training, as far as they are known.

    Returns:
        One row per victim: its columns and `COLUMNS`.
    """
    where = resolve_device(device)
    clean = rebuild(proxy[0], dataset.input_shape, dataset.num_classes, proxy[1], where)
    n = len(dataset.test_labels)
    chosen = np.unique(np.linspace(0, n - 1, min(n, CHECKED)).round().astype(int))
    images = to_float(torch.from_numpy(dataset.test_images[chosen]).to(where))
    labels = torch.from_numpy(dataset.test_labels[chosen]).to(where)
    rows = []
    for number, (identity, classes, parameters) in enumerate(victims, 1):
        network = rebuild(model, dataset.input_shape, classes, parameters, where)
        found = check(network, images, labels, epsilon, dataset.box, clean, dataset.free_on(where))
        key = victim_key(identity["condition"], (identity["draw"], identity["axis_value"]), identity["repeat"])
        rows.append({**identity, **found, "seconds": seconds.get(key, math.nan)})
        warned = found["warnings"] or "nothing to warn of"
        progress(f"{number} of {len(victims)} victims checked; {key}: {warned}")
    return pd.DataFrame(rows).astype({"axis_value": float})[[*KEY, *COLUMNS]]
