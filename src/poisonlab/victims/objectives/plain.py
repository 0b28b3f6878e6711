"""Objectives on the training images as they are."""

from typing import TYPE_CHECKING

from poisonlab.victims.objectives import Context, objective

if TYPE_CHECKING:
    from torch import Tensor, nn


@objective("cross_entropy")
def cross_entropy(model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy of the batch."""
    from torch.nn import functional as F

    logits = model(images).float()
    return F.cross_entropy(logits, labels), logits


def weight_norm(model: "nn.Module") -> dict[str, float]:
    """l2 norm of all trainable parameters."""
    squares = [float(p.detach().double().square().sum()) for p in model.parameters() if p.requires_grad]
    return {"weight_norm": sum(squares) ** 0.5}


@objective("l2", parameters={"strength": 1e-4}, ranges={"strength": "[0, inf)"}, scalars=weight_norm)
def l2(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, strength: float
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy + strength · ½‖w‖², w all trainable parameters."""
    loss, logits = cross_entropy(model, images, labels, context)
    squares = sum(p.square().sum() for p in model.parameters() if p.requires_grad)
    return loss + strength / 2 * squares, logits


@objective("hinge", parameters={"strength": 1e-4}, ranges={"strength": "[0, inf)"}, scalars=weight_norm)
def hinge(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, strength: float
) -> "tuple[Tensor, Tensor]":
    """Mean over the points of the sum of one-against-rest hinge losses, + strength · ½‖w‖²: of a linear model, linear
    support vector machines.
    """
    from torch.nn import functional as F

    logits = model(images).float()
    signs = 2 * F.one_hot(labels, logits.shape[1]) - 1
    squares = sum(p.square().sum() for p in model.parameters() if p.requires_grad)
    return F.relu(1 - signs * logits).sum(1).mean() + strength / 2 * squares, logits
