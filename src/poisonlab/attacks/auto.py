"""APGD and Square through `pyautoattack`, their authors' implementation.

`attacks.run` checks the inputs and freezes the model.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from poisonlab.attacks import Verdicts
from poisonlab.errors import InputError

AT_ONCE = 250  # images that are attacked at a time, as AutoAttack does
NORMS = {"linf": "Linf", "l2": "L2"}


class _MarginAPGD(APGDAttack):
    """APGD on the logit margin: the DLR loss without its denominator, for which two classes are too few."""

    def dlr_loss(self, x: Tensor, y: Tensor) -> Tensor:
        label = torch.nn.functional.one_hot(y, x.shape[1]).bool()
        return x.masked_fill(label, -torch.inf).amax(1) - x[label]


def apgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    *,
    loss: str,
    norm: str,
    steps: int,
    restarts: int,
    seed: int,
    progress: Callable[[str], None],
) -> Verdicts:
    """Auto-PGD, untargeted.

    Args:
        images: [n, channels, height, width] float32 in [0, 1]; labels: [n].
        epsilons: E radii ≥ 0 of the norm, "linf" or "l2", in the unit of the images.
        loss: cross-entropy ("ce"), difference of logits ratio ("dlr") or logit margin ("margin").
        steps: gradient steps of each restart; every restart begins at a random point of the ball.
        progress: gets a line after every few images.
    """
    kind, loss = (_MarginAPGD, "dlr") if loss == "margin" else (APGDAttack, loss)

    def make(epsilon: float) -> Any:
        return kind(
            model,
            n_iter=steps,
            norm=NORMS[norm],
            n_restarts=restarts,
            eps=epsilon,
            seed=seed,
            loss=loss,
            device=images.device,
        )

    return _verdicts(make, model, images, labels, epsilons, None, progress)


def square(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    *,
    norm: str,
    targets: Tensor | None,
    queries: int,
    restarts: int,
    seed: int,
    progress: Callable[[str], None],
) -> Verdicts:
    """The Square Attack, which sees logits alone, with the schedule that AutoAttack gives it.

    Args:
        images: [n, channels, height, width] float32 in [0, 1].
        labels: [n]; targets: [n], or None for an untargeted attack.
        epsilons: E radii ≥ 0 of the norm, "linf" or "l2", in the unit of the images.
        queries: passes of the model for each point and restart.
        progress: gets a line after every few images.

    Raises:
        InputError: the norm is l2 and the images have fewer than five pixels to a side, which its first squares need.
    """
    if norm == "l2" and min(images.shape[2:]) < 5:
        raise InputError(
            "attack 'square' under l2 needs images of at least 5 × 5 pixels, "
            f"these have {images.shape[2]} × {images.shape[3]}; take norm: linf or method: pgd"
        )

    def make(epsilon: float) -> Any:
        return SquareAttack(
            model, norm=NORMS[norm], n_queries=queries, eps=epsilon, n_restarts=restarts, seed=seed,
            targeted=targets is not None, resc_schedule=False, device=images.device,
        )  # fmt: skip

    return _verdicts(make, model, images, labels, epsilons, targets, progress)


def _verdicts(
    make: Callable[[float], Any],
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    targets: Tensor | None,
    progress: Callable[[str], None],
) -> Verdicts:
    """What the model says of the images that the attack `make(ε)` returns: fooling ones, and others as they were."""
    n, aims = len(labels), labels if targets is None else targets
    predicted = torch.empty(len(epsilons), n, dtype=torch.long, device=labels.device)
    # The library seeds the global generator.
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        for row, epsilon in enumerate(epsilons):
            for start in range(0, n, AT_ONCE):
                part = slice(start, start + AT_ONCE)
                attacked = images[part].contiguous()  # the library takes views of what it gets
                if epsilon > 0:
                    attacked = make(epsilon).perturb(attacked, aims[part])
                with torch.no_grad():
                    predicted[row, part] = model(attacked).argmax(1)
                progress(f"{row * n + min(start + AT_ONCE, n)} of {predicted.numel()} points done")
    correct = predicted == labels
    return Verdicts(~correct if targets is None else predicted == targets, correct)
