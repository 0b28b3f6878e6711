"""Adversarial training for the price of one more gradient in each step, l∞: N-FGSM, and FGSM with a prior."""

from typing import TYPE_CHECKING

from poisonlab.victims.objectives import Context, objective

if TYPE_CHECKING:
    from torch import Tensor, nn


def _uniform(images: "Tensor", radius: float, context: Context) -> "Tensor":
    """Uniform noise in ± radius, drawn on the CPU so that every device gets the same."""
    import torch

    generator = torch.Generator().manual_seed(context.seed())
    return (radius * (2 * torch.rand(images.shape, generator=generator) - 1)).to(images)


def _signs(model: "nn.Module", points: "Tensor", labels: "Tensor") -> "Tensor":
    """Signs of the cross-entropy's gradient at these points; the model is in evaluation mode."""
    from poisonlab.attacks.active_set import frozen, loss_gradient

    points = points.detach().requires_grad_(True)
    with frozen(model):
        return loss_gradient(model(points), points, labels, targeted=False).sign()


def _boxed(points: "Tensor", images: "Tensor", context: Context) -> "Tensor":
    return context.held(points if context.box is None else points.clamp(*context.box), images)


@objective(
    "n_fgsm",
    parameters={"epsilon": 0.1, "noise": 2.0, "step_size": 1.0},
    ranges={"epsilon": "[0, inf)", "noise": "[0, inf)", "step_size": "(0, inf)"},
    source="de Jorge et al. (2022), Algorithm 1",
)
def n_fgsm(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    epsilon: float,
    noise: float,
    step_size: float,
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy on images that are moved by noise in ± noise · ε and one step of step_size · ε from there; the
    sum of both is not cut to ε, the pixels are cut to their box.
    """
    from torch.nn import functional as F

    noisy = context.held(images + _uniform(images, noise * epsilon, context), images)
    points = noisy + step_size * epsilon * _signs(model, noisy, labels)
    logits = model(_boxed(points, images, context)).float()
    return F.cross_entropy(logits, labels), logits


@objective(
    "fgsm_pgi",
    parameters={"epsilon": 0.1, "step_size": 1.0, "strength": 10.0, "momentum": 0.0},
    ranges={"epsilon": "[0, inf)", "step_size": "(0, inf)", "strength": "[0, inf)", "momentum": "[0, 1)"},
    source="Jia et al. (2022), Prior-Guided FGSM: prior of the epoch before (EP), with momentum (MEP)",
)
def fgsm_pgi(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    epsilon: float,
    step_size: float,
    strength: float,
    momentum: float,
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy on images that one step has moved from where they began, + strength × the mean square by which
    their logits differ from those at the beginning.

    An image begins where it was moved in the epoch before, in the first one at random in ± ε. With momentum the next
    beginning is a step along the signs of the gradient signs that are summed up over the epochs.
    """
    from torch.nn import functional as F

    assert context.positions is not None
    prior, rows = context.remembered("prior", images), context.positions
    begin = _uniform(images, epsilon, context) if context.epoch_of_phase == 0 else prior[rows].to(images)
    started = _boxed(images + begin, images, context)
    signs = _signs(model, started, labels)
    change = (begin + step_size * epsilon * signs).clamp(-epsilon, epsilon)
    direction = signs
    if momentum:
        summed = context.remembered("summed signs", images)
        direction = signs + momentum * summed[rows]
        summed[rows] = direction
    prior[rows] = (begin + step_size * epsilon * direction.sign()).clamp(-epsilon, epsilon)
    logits, before = model(_boxed(images + change, images, context)).float(), model(started).float()
    return F.cross_entropy(logits, labels) + strength * F.mse_loss(logits, before), logits
