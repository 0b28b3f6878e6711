"""The active-set engine under the attacks and the adversarial paths.

Parameters are frozen, and the gradient is taken with respect to the input only. One forward pass gives both the verdict
and the gradient. Points leave as soon as their verdict is known: their places go to the points that still wait.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Advance = Callable[[Tensor, Tensor, Tensor], Tensor]
Box = tuple[float, float] | None
ACTIVE_POINTS = 512  # places of the active set: a few MB of activations for the small nets, enough to fill a core


def held(gradient: Tensor, free: Tensor | None) -> Tensor:
    """The gradient [n, …] without the features that attacks leave out: `free` is […] bool, None for all free."""
    return gradient if free is None else gradient.masked_fill(~free, 0)


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode without parameter gradients for a while."""
    # Part by part: a model may hold parts that are frozen in evaluation mode while the rest trains.
    modes = [(part, part.training) for part in model.modules()]
    wanted = [p.requires_grad for p in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, requires_grad in zip(model.parameters(), wanted, strict=True):
            parameter.requires_grad_(requires_grad)


def margin(logits: Tensor, aims: Tensor) -> Tensor:
    """Largest other logit less that of the aim, [n]: above 0 where another class is answered."""
    others = logits.scatter(1, aims[:, None], -torch.inf)
    return others.amax(1) - logits.gather(1, aims[:, None])[:, 0]


def loss_gradient(logits: Tensor, inputs: Tensor, aims: Tensor, targeted: bool, loss: str = "ce") -> Tensor:
    """Gradient of the quantity that the attack increases: the loss of the label, or minus the loss of the target; the
    loss is the cross-entropy ("ce") or the "margin".
    """
    total = F.cross_entropy(logits, aims, reduction="sum") if loss == "ce" else margin(logits, aims).sum()
    return torch.autograd.grad(-total if targeted else total, inputs)[0]


def run(
    model: nn.Module,
    starts: Callable[[Tensor], Tensor],
    aims: Tensor,
    labels: Tensor,
    targeted: bool,
    advance: Advance,
    max_steps: int,
    places: int,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Move points until the model is fooled or the steps are used up.

    Args:
        starts: positions of points [k] → their starting images [k, …].
        aims: [n] the target (targeted) or the label (untargeted) of each point; labels: [n] true labels.
        advance: (images, gradient, positions) → the next images.
        places: points that are worked on at a time.
        progress: gets a line per round.

    Returns:
        steps [n] taken; fooled [n] bool; correct [n] bool, of the last iterate.
    """
    n, device = len(aims), aims.device
    steps = torch.zeros(n, dtype=torch.long, device=device)
    fooled = torch.zeros(n, dtype=torch.bool, device=device)
    correct = torch.zeros(n, dtype=torch.bool, device=device)
    active = torch.arange(min(places, n), device=device)
    waiting = len(active)
    images = starts(active)
    with frozen(model):
        while len(active):
            images.requires_grad_(True)
            logits = model(images)
            predicted = logits.detach().argmax(1)
            hit = (predicted == aims[active]) == targeted
            stays = ~hit & (steps[active] < max_steps)
            progress(f"{waiting - int(stays.sum())} of {n} points done")
            leaving = active[~stays]
            fooled[leaving] = hit[~stays]
            correct[leaving] = (predicted == labels[active])[~stays]
            if stays.any():
                gradient = loss_gradient(logits, images, aims[active], targeted)
            images = images.detach()
            if not stays.all():
                images, active = images[stays], active[stays]
                gradient = gradient[stays] if len(active) else images
            if len(active):
                images = advance(images, gradient, active)
                steps[active] += 1
            if waiting < n and len(active) < places:
                new = torch.arange(waiting, min(waiting + places - len(active), n), device=device)
                waiting += len(new)
                images, active = torch.cat([images, starts(new)]), torch.cat([active, new])
    return steps, fooled, correct
