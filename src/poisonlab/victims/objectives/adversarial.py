"""Objectives on images that FGSM or PGD has moved against the model as it is in this step."""

from typing import TYPE_CHECKING, Any

from poisonlab.victims.objectives import Context, objective

if TYPE_CHECKING:
    from torch import Tensor, nn

# `steps: 1` is FGSM. `step_size` is a share of epsilon; null is 2.5 / steps, and 1 for a single step.
ATTACK: dict[str, Any] = {
    "epsilon": 0.1,
    "norm": ("linf", "l2"),
    "steps": 7,
    "step_size": None,
    "random_start": False,
}
RANGES = {"epsilon": "[0, inf)", "steps": "[1, inf)", "step_size": "(0, inf)"}


@objective("adversarial", parameters=ATTACK, ranges=RANGES, source="Madry et al. (2018), equation 2.1")
def adversarial(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, epsilon: float, **attack: Any
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy on adversarial images; the attack sees the model in evaluation mode."""
    from torch.nn import functional as F

    from poisonlab.attacks.pgd import Attack, perturb

    moved = perturb(model, images, labels, epsilon, Attack(**attack), box=context.box, seed=context.seed())
    logits = model(moved).float()
    return F.cross_entropy(logits, labels), logits


@objective(
    "mixed",
    parameters=ATTACK | {"factor": 1.0},
    ranges=RANGES | {"factor": "[0, inf)"},
    source="Goodfellow et al. (2015), section 6, up to the scale",
)
def mixed(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, factor: float, **attack: Any
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy on the images + factor × that on adversarial ones; the logits are those of the images."""
    from torch.nn import functional as F

    logits = model(images).float()
    moved, _ = adversarial(model, images, labels, context, **attack)
    return F.cross_entropy(logits, labels) + factor * moved, logits
