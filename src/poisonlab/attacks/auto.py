"""APGD and Square through `pyautoattack`, the implementation of their authors (Croce & Hein 2020; Andriushchenko et al. 2020)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyautoattack.autopgd_base import APGDAttack
from pyautoattack.square import SquareAttack
from torch import Tensor, nn

from poisonlab.attacks import Verdicts, check_radii
from poisonlab.attacks.active_set import frozen
from poisonlab.errors import InputError

AT_ONCE = 250  # images that are attacked at a time: AutoAttack's own number
NORMS = {"linf": "Linf", "l2": "L2"}
Perturb = Callable[[nn.Module, float, Tensor, Tensor], Tensor]  # (model, ε, images, aims) → attacked images


def _verdicts(
    perturb: Perturb,
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    targets: Tensor | None,
    progress: Callable[[str], None],
) -> Verdicts:
    """What the model says of the attacked images; at ε = 0 of the images themselves."""
    check_radii(epsilons)
    predicted = torch.empty(len(epsilons), len(labels), dtype=torch.long, device=labels.device)
    aims = labels if targets is None else targets
    # The library seeds the global generator.
    with frozen(model), torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        for row, epsilon in enumerate(epsilons):
            for start in range(0, len(labels), AT_ONCE):
                part = slice(start, start + AT_ONCE)
                # It takes views of what it gets, which needs contiguous images.
                attacked = images[part].contiguous()
                if epsilon > 0:
                    attacked = perturb(model, epsilon, attacked, aims[part])
                with torch.no_grad():
                    predicted[row, part] = model(attacked).argmax(1)
                progress(f"{row * len(labels) + min(start + AT_ONCE, len(labels))} of {predicted.numel()} points done")
    correct = predicted == labels
    return Verdicts(~correct if targets is None else predicted == targets, correct)


class _MarginAPGD(APGDAttack):
    """APGD on the logit margin, the DLR loss without its denominator, which two classes have not."""

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
    """Auto-PGD, untargeted, on the cross-entropy ("ce"), the difference of logits ratio ("dlr") or the logit margin ("margin").

    Args:
        images: [n, …] float32 in [0, 1]; labels: [n].
        steps: gradient steps of each of the restarts, all of which start at random points.
    """
    kind = _MarginAPGD if loss == "margin" else APGDAttack
    options: dict[str, Any] = {"n_iter": steps, "n_restarts": restarts, "norm": NORMS[norm], "seed": seed}

    def perturb(model: nn.Module, epsilon: float, images: Tensor, aims: Tensor) -> Tensor:
        attack = kind(model, eps=epsilon, loss="ce" if loss == "ce" else "dlr", device=images.device, **options)
        return attack.perturb(images, aims)

    return _verdicts(perturb, model, images, labels, epsilons, None, progress)


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
    """The Square Attack, which asks for logits alone; its settings are AutoAttack's.

    Args:
        images: [n, channels, height, width] float32 in [0, 1]; labels: [n]; targets: [n] or None.
        queries: passes of the model for each point.

    Raises:
        InputError: the norm is l2 and the images have fewer than five pixels to a side, of which its squares are made.
    """
    if norm == "l2" and min(images.shape[2:]) < 5:
        raise InputError(
            f"square under l2 needs images of at least 5 × 5 pixels, these have {images.shape[2]} × {images.shape[3]}; take norm: linf"
        )
    options: dict[str, Any] = {"n_queries": queries, "n_restarts": restarts, "norm": NORMS[norm], "seed": seed}

    def perturb(model: nn.Module, epsilon: float, images: Tensor, aims: Tensor) -> Tensor:
        attack = SquareAttack(
            model, eps=epsilon, targeted=targets is not None, resc_schedule=False, device=images.device, **options
        )
        with torch.no_grad():
            return attack.perturb(images, aims)

    return _verdicts(perturb, model, images, labels, epsilons, targets, progress)
