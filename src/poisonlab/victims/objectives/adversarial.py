"""Objectives on images that FGSM, R+FGSM or PGD has moved against a model: the one that is trained, as it is in this
step, or the one that the phase began with.
"""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from poisonlab.seeds import seed
from poisonlab.victims.objectives import Context, objective

if TYPE_CHECKING:
    from torch import Tensor, nn

# `steps: 1` is FGSM, with `random_sign: 0.5` and `step_size: 0.5` R+FGSM. `step_size` is a share of epsilon; null is
# 2.5 / steps, and 1 for a single step. `target`: images are led to the class, other than the label, that the model
# finds least likely. `draw`: how often a new epsilon is drawn, from a normal around it with the standard deviation
# `spread`, cut off below 0. `against: start`: the images are moved against the model that the phase began with.
ATTACK: dict[str, Any] = {
    "epsilon": 0.1,
    "norm": ("linf", "l2"),
    "steps": 7,
    "step_size": None,
    "random_start": False,
    "random_sign": 0.0,
    "target": ("none", "least_likely"),
    "loss": ("ce", "margin"),
    "draw": ("none", "epoch", "batch", "image"),
    "spread": 0.0,
    "against": ("itself", "start"),
}
RANGES = {
    "epsilon": "[0, inf)",
    "steps": "[1, inf)",
    "step_size": "(0, inf)",
    "random_sign": "[0, 1]",
    "spread": "[0, inf)",
}


@contextlib.contextmanager
def as_started(model: "nn.Module", start: "Mapping[str, Tensor]") -> Iterator[None]:
    """Give the model the state `start` for a while, where there is one."""
    if not start:
        yield
        return
    own = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict(start)
    try:
        yield
    finally:
        model.load_state_dict(own)


def radii(context: Context, epsilon: float, draw: str, spread: float, count: int) -> "Tensor | float":
    """The radius of a step: `epsilon`, or drawn from N(epsilon, spread²) above 0, one for all or [count].

    The draw is the inverse of the normal distribution function at a uniform number, so that none is repeated.
    """
    import torch

    if draw == "none" or spread == 0:
        return epsilon
    number = {"epoch": context.epoch, "batch": context.step, "image": context.step}[draw]
    generator = torch.Generator().manual_seed(seed(f"epsilon {draw}", victim=context.victim_seed, number=number))
    uniform = torch.rand(count if draw == "image" else 1, generator=generator, dtype=torch.float64)
    below = torch.special.ndtr(torch.tensor(-epsilon / spread, dtype=torch.float64))
    drawn = epsilon + spread * torch.special.ndtri(below + (1 - below) * uniform)
    return drawn.clamp_min(0).expand(count).float()


def moved(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    epsilon: float,
    target: str,
    loss: str,
    draw: str,
    spread: float,
    against: str,
    **attack: Any,
) -> "Tensor":
    """The batch [n, …], moved by the attack; its model is in evaluation mode."""
    import torch

    from poisonlab.attacks.active_set import frozen
    from poisonlab.attacks.pgd import Attack, perturb

    with as_started(model, context.start if against == "start" else {}):
        targets = None
        if target == "least_likely":
            with frozen(model), torch.no_grad():
                targets = model(images).scatter(1, labels[:, None], torch.inf).argmin(1)
        radius = radii(context, epsilon, draw, spread, len(images))
        how, box, free, own = Attack(**attack), context.box, context.free, context.seed()
        return perturb(model, images, labels, radius, how, targets=targets, box=box, free=free, seed=own, loss=loss)


@objective("adversarial", parameters=ATTACK, ranges=RANGES, source="Madry et al. (2018), equation 2.1", start=True)
def adversarial(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, **attack: Any
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy on adversarial images."""
    from torch.nn import functional as F

    logits = model(moved(model, images, labels, context, **attack)).float()
    return F.cross_entropy(logits, labels), logits


@objective(
    "mixed",
    parameters=ATTACK | {"factor": 1.0},
    ranges=RANGES | {"factor": "[0, inf)"},
    source="Goodfellow et al. (2015), section 6, up to the scale; the report on defences, Which Loss Was Used?",
    start=True,
)
def mixed(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, factor: float, **attack: Any
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy on the images + factor × that on adversarial ones; the logits are those of the images."""
    from torch.nn import functional as F

    # Moved first: an attack on another state writes to the weights, which a graph must not see.
    points = moved(model, images, labels, context, **attack)
    logits, hardened = model(images).float(), model(points).float()
    return F.cross_entropy(logits, labels) + factor * F.cross_entropy(hardened, labels), logits
