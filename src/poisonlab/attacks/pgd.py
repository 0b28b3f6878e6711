"""FGSM, R+FGSM and PGD on the active-set engine."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from poisonlab.attacks import Verdicts, active_set, check_radii
from poisonlab.attacks.active_set import ACTIVE_POINTS, Box
from poisonlab.attacks.steps import Attack


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


def _starts(settings: Attack, images: Tensor, seed: int, free: Tensor | None) -> Tensor | None:
    """Offsets [n, …] of the starting points from the images, as shares of ε; None for a start at the images."""
    generator = torch.Generator().manual_seed(seed)
    # In the ball of the free features alone: a point of a larger ball would lie too near its middle.
    shape = images.shape if free is None else torch.Size((len(images), int(free.sum())))
    if settings.random_start:
        offsets = _random_offsets(shape, settings.norm, generator).to(images)
    elif settings.random_sign:
        offsets = (settings.random_sign * torch.randn(shape, generator=generator).sign()).to(images)
    else:
        return None
    if free is None:
        return offsets
    spread = torch.zeros_like(images)
    spread[:, free] = offsets
    return spread


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilons: list[float],
    settings: Attack,
    *,
    targets: Tensor | None = None,
    box: Box = (0.0, 1.0),
    free: Tensor | None = None,
    seed: int = 0,
    places: int = ACTIVE_POINTS,
    progress: Callable[[str], None] = lambda line: None,
) -> Verdicts:
    """Attack every image at every radius in one pass (thesis, Algorithm 1).

    The best iterate counts, as in the `robustness` library.

    Args:
        images: [n, …] float; labels: [n] true labels; targets: [n] or None for an untargeted attack.
        epsilons: E radii ≥ 0, in the unit of the images.
        box: pixel range that adversarial images stay in, None for unbounded features.
        free: bool […], features that may be moved; None for all of them. The verdicts are those of the same attack in
            the space of these features, with the others as they are.
        seed: of the random starts.
        places: points that are worked on at a time.
        progress: gets a line per round.

    Raises:
        InputError: a radius is no finite number ≥ 0.
    """
    check_radii(epsilons)
    n = len(images)
    position = torch.arange(n, device=images.device).repeat(len(epsilons))
    radius = torch.tensor(epsilons, device=images.device, dtype=images.dtype).repeat_interleave(n)
    all_labels = labels[position]
    aims = all_labels if targets is None else targets[position]

    def advance(points: Tensor, gradient: Tensor, where: Tensor) -> Tensor:
        epsilon = radius[where]
        moved = _ascend(points, active_set.held(gradient, free), epsilon * settings.relative_step, settings.norm)
        return _project(moved, images[position[where]], epsilon, settings.norm, box)

    fooled = torch.zeros_like(aims, dtype=torch.bool)
    correct = torch.ones_like(fooled)
    for restart in range(settings.restarts):
        left = (~fooled).nonzero()[:, 0]
        offsets = _starts(settings, images, seed + restart, free)

        def starts(where: Tensor, left: Tensor = left, offsets: Tensor | None = offsets) -> Tensor:
            centres = images[position[left[where]]]
            if offsets is None:
                return centres.clone()
            epsilon = radius[left[where]]
            moved = centres + offsets[position[left[where]]] * _expand(epsilon, centres)
            return _project(moved, centres, epsilon, settings.norm, box)

        def advance_left(points: Tensor, gradient: Tensor, where: Tensor, left: Tensor = left) -> Tensor:
            return advance(points, gradient, left[where])

        _, hit, right = active_set.run(
            model,
            starts,
            aims[left],
            all_labels[left],
            targets is not None,
            advance_left,
            settings.steps,
            places,
            progress,
        )
        fooled[left] = hit
        correct[left] = right
    return Verdicts(fooled.view(len(epsilons), n), correct.view(len(epsilons), n))


def perturb(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float | Tensor,
    settings: Attack,
    *,
    targets: Tensor | None = None,
    box: Box = (0.0, 1.0),
    free: Tensor | None = None,
    seed: int = 0,
    loss: str = "ce",
) -> Tensor:
    """Return the last iterate of FGSM, R+FGSM or PGD for every image [n, …]; thesis, Algorithm 1 as printed.

    The model is frozen and in evaluation mode meanwhile, then as it was. The result carries no derivatives.

    Args:
        epsilon: one radius, or one for each image [n], ≥ 0.
        free: bool […], features that may be moved; None for all of them.
        loss: what the steps increase, see `active_set.loss_gradient`.

    Raises:
        InputError: the radius is no finite number ≥ 0.
    """
    if isinstance(epsilon, Tensor):
        radius = epsilon.to(images)
    else:
        check_radii([epsilon])
        radius = torch.full((len(images),), epsilon, dtype=images.dtype, device=images.device)
    aims = labels if targets is None else targets
    points = images.clone()
    if (offsets := _starts(settings, images, seed, free)) is not None:
        points = _project(points + offsets * _expand(radius, images), images, radius, settings.norm, box)
    with active_set.frozen(model):
        for _ in range(settings.steps):
            points.requires_grad_(True)
            gradient = active_set.loss_gradient(model(points), points, aims, targets is not None, loss)
            gradient = active_set.held(gradient, free)
            moved = _ascend(points.detach(), gradient, radius * settings.relative_step, settings.norm)
            points = _project(moved, images, radius, settings.norm, box)
    return points
