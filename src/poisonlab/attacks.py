"""FGSM, PGD and adversarial paths on one active-set engine.

Parameters are frozen, the gradient is taken with respect to the input only, one forward pass gives both the verdict and the gradient, and
points leave as soon as their verdict is known: their places go to the points that still wait.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab.errors import InputError

Advance = Callable[[Tensor, Tensor, Tensor], Tensor]
Box = tuple[float, float] | None
ACTIVE_POINTS = 512  # places of the active set: a few MB of activations for the small nets, enough to fill a core


@dataclass(frozen=True)
class Attack:
    """An l_p-bounded attack: FGSM is PGD with one step of length ε.

    Attributes:
        norm: "linf" or "l2".
        steps: number of gradient steps; 1 for FGSM.
        step_size: length of a step as a fraction of ε; None gives the `robustness` library's 2.5 / steps, and 1 for a single step.
        random_start: start at a random point of the ball; restarts: number of starts, a point is fooled if one of them fools it.
    """

    norm: str = "linf"
    steps: int = 20
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise InputError(f"attack norm '{self.norm}' does not exist; choose linf or l2")
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"attack has {self.steps} steps and {self.restarts} restarts; both must be at least 1")
        if self.restarts > 1 and not self.random_start:
            raise InputError(
                f"attack has {self.restarts} restarts from the same point; set random_start: true or restarts: 1"
            )

    @property
    def relative_step(self) -> float:
        """Step length / ε."""
        if self.step_size is not None:
            return self.step_size
        return 1.0 if self.steps == 1 else 2.5 / self.steps


@dataclass(frozen=True)
class Verdicts:
    """What an attack did to n points at each of E radii.

    Attributes:
        fooled: [E, n] bool; untargeted, an iterate was classified wrongly; targeted, one was classified as the target.
        correct: [E, n] bool; the last iterate (the fooling one, for fooled points) is classified as the true label.
    """

    fooled: Tensor
    correct: Tensor


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
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


def _loss_gradient(logits: Tensor, inputs: Tensor, aims: Tensor, targeted: bool) -> Tensor:
    """Gradient of the quantity that the attack increases: the loss of the label, or minus the loss of the target."""
    loss = F.cross_entropy(logits, aims, reduction="sum")
    return torch.autograd.grad(-loss if targeted else loss, inputs)[0]


def _ascend(points: Tensor, gradient: Tensor, length: Tensor, norm: str) -> Tensor:
    """One step of the given length [n]: along the sign (linf) or the direction (l2) of the gradient."""
    if norm == "linf":
        direction = gradient.sign()
    else:
        norms = gradient.flatten(1).norm(dim=1).clamp_min(1e-12)
        direction = gradient / _expand(norms, gradient)
    return points + _expand(length, points) * direction


def _project(points: Tensor, centres: Tensor, epsilon: Tensor, norm: str, box: Box) -> Tensor:
    """Nearest point of the ε-ball (ε: [n]) around the centres, then of the pixel box."""
    radius = _expand(epsilon, points)
    if norm == "linf":
        points = torch.maximum(torch.minimum(points, centres + radius), centres - radius)
    else:
        offset = points - centres
        norms = offset.flatten(1).norm(dim=1).clamp_min(1e-12)
        points = centres + offset * _expand((epsilon / norms).clamp_max(1), points)
    return points if box is None else points.clamp(*box)


def _expand(per_point: Tensor, like: Tensor) -> Tensor:
    return per_point.view(-1, *[1] * (like.dim() - 1))


def _random_offsets(shape: torch.Size, norm: str, generator: torch.Generator) -> Tensor:
    """Uniform offsets in the unit ball of the norm, [n, …], drawn on the CPU so that every device gets the same."""
    if norm == "linf":
        return torch.rand(shape, generator=generator) * 2 - 1
    directions = torch.randn(shape, generator=generator)
    radii = torch.rand(shape[0], generator=generator) ** (1 / math.prod(shape[1:]))
    return directions * _expand(radii / directions.flatten(1).norm(dim=1), directions)


def _run_active_set(
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
    with _frozen(model):
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
                gradient = _loss_gradient(logits, images, aims[active], targeted)
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


def _check_radii(epsilons: list[float]) -> None:
    if any(epsilon < 0 for epsilon in epsilons):
        raise InputError(f"epsilon {min(epsilons)} is negative; give radii ≥ 0 in the unit of the images")


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: list[float],
    settings: Attack,
    *,
    targets: Tensor | None = None,
    box: Box = (0.0, 1.0),
    seed: int = 0,
    places: int = ACTIVE_POINTS,
) -> Verdicts:
    """Attack every image at every radius in one pass (thesis, Algorithm 1; the best iterate counts, as in the `robustness` library).

    Args:
        images: [n, …] float; labels: [n] true labels; targets: [n] or None for an untargeted attack.
        epsilons: E radii ≥ 0, in the unit of the images.
        box: pixel range that adversarial images stay in, None for unbounded features.
        seed: of the random starts.

    Raises:
        InputError: a radius is negative.
    """
    _check_radii(epsilons)
    n = len(images)
    position = torch.arange(n, device=images.device).repeat(len(epsilons))
    radius = torch.tensor(epsilons, device=images.device, dtype=images.dtype).repeat_interleave(n)
    all_labels = labels[position]
    aims = all_labels if targets is None else targets[position]

    def advance(points: Tensor, gradient: Tensor, where: Tensor) -> Tensor:
        epsilon = radius[where]
        moved = _ascend(points, gradient, epsilon * settings.relative_step, settings.norm)
        return _project(moved, images[position[where]], epsilon, settings.norm, box)

    fooled = torch.zeros_like(aims, dtype=torch.bool)
    correct = torch.ones_like(fooled)
    for restart in range(settings.restarts):
        left = (~fooled).nonzero()[:, 0]
        offsets = None
        if settings.random_start:
            generator = torch.Generator().manual_seed(seed + restart)
            offsets = _random_offsets(images.shape, settings.norm, generator).to(images)

        def starts(where: Tensor, left: Tensor = left, offsets: Tensor | None = offsets) -> Tensor:
            centres = images[position[left[where]]]
            if offsets is None:
                return centres.clone()
            epsilon = radius[left[where]]
            moved = centres + offsets[position[left[where]]] * _expand(epsilon, centres)
            return _project(moved, centres, epsilon, settings.norm, box)

        def advance_left(points: Tensor, gradient: Tensor, where: Tensor, left: Tensor = left) -> Tensor:
            return advance(points, gradient, left[where])

        _, hit, right = _run_active_set(
            model, starts, aims[left], all_labels[left], targets is not None, advance_left, settings.steps, places
        )
        fooled[left] = hit
        correct[left] = right
    return Verdicts(fooled.view(len(epsilons), n), correct.view(len(epsilons), n))


def perturb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    settings: Attack,
    *,
    targets: Tensor | None = None,
    box: Box = (0.0, 1.0),
    seed: int = 0,
) -> Tensor:
    """Return the last iterate of FGSM or PGD for every image [n, …]; thesis, Algorithm 1 as printed.

    Raises:
        InputError: the radius is negative.
    """
    _check_radii([epsilon])
    radius = torch.full((len(images),), epsilon, dtype=images.dtype, device=images.device)
    aims = labels if targets is None else targets
    points = images.clone()
    if settings.random_start:
        offsets = _random_offsets(images.shape, settings.norm, torch.Generator().manual_seed(seed)).to(images)
        points = _project(points + offsets * epsilon, images, radius, settings.norm, box)
    with _frozen(model):
        for _ in range(settings.steps):
            points.requires_grad_(True)
            gradient = _loss_gradient(model(points), points, aims, targets is not None)
            moved = _ascend(points.detach(), gradient, radius * settings.relative_step, settings.norm)
            points = _project(moved, images, radius, settings.norm, box)
    return points


def path_lengths(
    model: nn.Module,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    step_size: float,
    max_steps: int,
    *,
    targets: Tensor | None = None,
    box: Box = None,
    places: int = ACTIVE_POINTS,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Tensor, Tensor]:
    """Length of each point's adversarial path: sign-gradient steps until the model's output is the target (thesis, Algorithm 2).

    The listing is called gradient *ascent*; it *descends* the loss towards the target, without projection and without a clip to the pixel
    box. That is what `box=None` does; a box clips every iterate. Untargeted, the path ends at any other class than the label.

    Args:
        images: positions [k] → images [k, …]; a function, so that a large training set need not exist as float.
        labels: [n]; targets: [n], or None for untargeted paths.
        step_size: l∞ length of a step, in the unit of the images; max_steps: where to give up.

    Returns:
        steps [n], `max_steps` where the boundary was not reached; reached [n] bool.
    """
    length = torch.tensor([step_size], device=labels.device)

    def advance(points: Tensor, gradient: Tensor, where: Tensor) -> Tensor:
        moved = _ascend(points, gradient, length.to(points).expand(len(points)), "linf")
        return moved if box is None else moved.clamp(*box)

    aims = labels if targets is None else targets
    steps, reached, _ = _run_active_set(
        model, images, aims, labels, targets is not None, advance, max_steps, places, progress
    )
    return steps, reached
