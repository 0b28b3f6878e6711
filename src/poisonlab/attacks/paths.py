"""Adversarial paths of a whole training set: how many steps each point is away from another class."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from poisonlab.attacks import active_set
from poisonlab.attacks.active_set import ACTIVE_POINTS, Box
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import rebuild, resolve_device, to_float


def _step(step_size: float, box: Box, free: Tensor | None) -> active_set.Advance:
    def advance(points: Tensor, gradient: Tensor, where: Tensor) -> Tensor:
        moved = points + step_size * active_set.held(gradient, free).sign()
        return moved if box is None else moved.clamp(*box)

    return advance


def path_lengths(
    model: nn.Module,
    images: Callable[[Tensor], Tensor],
    labels: Tensor,
    step_size: float,
    max_steps: int,
    *,
    targets: Tensor | None = None,
    box: Box = None,
    free: Tensor | None = None,
    places: int = ACTIVE_POINTS,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Tensor, Tensor]:
    """Length of each adversarial path: sign-gradient steps until the model says the target (thesis, Algorithm 2).

    The listing is called gradient *ascent*; it *descends* the loss towards the target, without projection and without a
    clip to the pixel box. That is what `box=None` does; a box clips every iterate. Untargeted, the path ends at any
    other class than the label.

    Args:
        images: positions [k] → images [k, …]; a function, so that a large training set need not exist as float.
        labels: [n]; targets: [n], or None for untargeted paths.
        step_size: l∞ length of a step, in the unit of the images; max_steps: where to give up.
        free: bool […], features that may be moved; None for all of them.

    Returns:
        steps [n], `max_steps` where the boundary was not reached; reached [n] bool.
    """
    aims = labels if targets is None else targets
    advance = _step(step_size, box, free)
    steps, reached, _ = active_set.run(
        model, images, aims, labels, targets is not None, advance, max_steps, places, progress
    )
    return steps, reached


def path_points(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    step_size: float,
    max_steps: int,
    box: Box = None,
    free: Tensor | None = None,
) -> list[Tensor]:
    """Points of the targeted adversarial paths of a few images [n, …]: of each [steps + 1, …], the image first."""
    paths = [[image] for image in images]
    advance = _step(step_size, box, free)

    def recorded(points: Tensor, gradient: Tensor, where: Tensor) -> Tensor:
        moved = advance(points, gradient, where)
        for position, point in zip(where.tolist(), moved, strict=True):
            paths[position].append(point)
        return moved

    active_set.run(model, lambda positions: images[positions], targets, targets, True, recorded, max_steps, len(images))
    return [torch.stack(path) for path in paths]


def path_targets(labels: np.ndarray, goal: str, num_classes: int) -> np.ndarray | None:
    """Target class [n] of each point: the next class, cyclically (thesis, section 4.3.3); None for `untargeted`."""
    return None if goal == "untargeted" else (labels + 1) % num_classes


def trace(
    dataset: Dataset,
    model_name: str,
    parameters: Mapping[str, np.ndarray],
    goal: str,
    step_size: float,
    max_steps: int,
    clip: bool,
    device: str = "cpu",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Path length of every training point on a clean proxy (thesis, Algorithm 2; `clip: false` as printed).

    Returns:
        One row per training point: index, label, target (−1 for untargeted), steps, reached.
    """
    where = resolve_device(device)
    model = rebuild(model_name, dataset.input_shape, dataset.num_classes, dict(parameters), where)
    images = torch.from_numpy(dataset.train_images).to(where)
    targets = path_targets(dataset.train_labels, goal, dataset.num_classes)
    steps, reached = path_lengths(
        model,
        lambda positions: to_float(images[positions]),
        torch.from_numpy(dataset.train_labels).to(where),
        step_size,
        max_steps,
        targets=None if targets is None else torch.from_numpy(targets).to(where),
        box=dataset.box if clip else None,
        free=dataset.free_on(where),
        progress=progress,
    )
    return pd.DataFrame(
        {
            "index": np.arange(len(images)),
            "label": dataset.train_labels,
            "target": -1 if targets is None else targets,
            "steps": steps.cpu().numpy(),
            "reached": reached.cpu().numpy(),
        }
    )
