"""Adversarial training that asks for the same answer around an image, l∞: TRADES, and NuAT by the nuclear norm."""

from typing import TYPE_CHECKING

from poisonlab.victims.objectives import Context, objective

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

TRADES_NOISE = 1e-3  # standard deviation of the start, in the published code


def _climbed(
    model: "nn.Module",
    images: "Tensor",
    start: "Tensor",
    context: Context,
    loss: "Callable[[Tensor], Tensor]",
    epsilon: float,
    length: float,
    steps: int,
) -> "Tensor":
    """Images [n, …] after `steps` of this length along the signs of the gradient of a loss of the logits, in the ball
    around `images` and the box; the model is in evaluation mode.
    """
    import torch

    from poisonlab.attacks.active_set import frozen

    points = context.held(start, images)
    with frozen(model):
        for _ in range(steps):
            points = points.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(loss(model(points).float()), points)
            points = points.detach() + length * gradient.sign()
            points = torch.minimum(torch.maximum(points, images - epsilon), images + epsilon)
            points = context.held(points if context.box is None else points.clamp(*context.box), images)
    return points.detach()


def _answers(model: "nn.Module", images: "Tensor") -> "Tensor":
    """Logits in evaluation mode, without derivatives."""
    import torch

    from poisonlab.attacks.active_set import frozen

    with frozen(model), torch.no_grad():
        return model(images).float()


@objective(
    "trades",
    parameters={"epsilon": 0.1, "beta": 6.0, "steps": 10, "step_size": 0.25},
    ranges={"epsilon": "[0, inf)", "beta": "[0, inf)", "steps": "[1, inf)", "step_size": "(0, inf)"},
    source="Zhang et al. (2019), equation 5 and Algorithm 1; beta is 1 / λ",
)
def trades(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    epsilon: float,
    beta: float,
    steps: int,
    step_size: float,
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy of the images + beta × mean Kullback-Leibler divergence of the answers at moved images from
    theirs; PGD from a point very near makes this divergence large. The logits are those of the images.
    """
    import torch
    from torch.nn import functional as F

    def apart(logits: "Tensor", of: "Tensor") -> "Tensor":
        return F.kl_div(F.log_softmax(logits, 1), F.softmax(of, 1), reduction="sum")

    answers = _answers(model, images)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(context.seed())).to(images)
    start = images + TRADES_NOISE * noise
    length = step_size * epsilon
    points = _climbed(model, images, start, context, lambda logits: apart(logits, answers), epsilon, length, steps)
    logits = model(images).float()
    divergence = apart(model(points).float(), logits) / len(labels)
    return F.cross_entropy(logits, labels) + beta * divergence, logits


@objective(
    "nuat",
    parameters={"epsilon": 0.1, "strength": 4.0, "noise": 0.5, "steps": 2},
    ranges={"epsilon": "[0, inf)", "strength": "[0, inf)", "noise": "[0, inf)", "steps": "[1, inf)"},
    source="Sriramanan et al. (2021), Nuclear-norm Adversarial Training; two steps are its NuAT2",
)
def nuat(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    epsilon: float,
    strength: float,
    noise: float,
    steps: int,
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy of the images + strength × nuclear norm of the matrix [batch, classes] of differences between
    the logits of moved images and theirs, over the size of the batch.

    The images are moved by noise · ε along random signs and then by steps of length ε that make their cross-entropy
    plus the same penalty large. To divide by the size of the batch, as the cross-entropy is, is a choice. The logits
    are those of the images.
    """
    import torch
    from torch.nn import functional as F

    def penalty(logits: "Tensor", of: "Tensor") -> "Tensor":
        return strength * torch.linalg.matrix_norm(logits - of, "nuc") / len(labels)

    answers = _answers(model, images)
    signs = torch.rand(images.shape, generator=torch.Generator().manual_seed(context.seed())).round() * 2 - 1
    start = images + noise * epsilon * signs.to(images)
    points = _climbed(
        model, images, start, context,
        lambda logits: F.cross_entropy(logits, labels) + penalty(logits, answers), epsilon, epsilon, steps,
    )  # fmt: skip
    logits = model(images).float()
    return F.cross_entropy(logits, labels) + penalty(model(points).float(), logits), logits
