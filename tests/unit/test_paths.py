"""Adversarial paths, against a loop straight from Algorithm 2 and a closed form."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from poisonlab.analyses.path_surveys import PATH_COLUMNS
from poisonlab.attacks.paths import path_lengths, path_targets, trace
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import rebuild

BOX = (0.0, 1.0)


@pytest.fixture(scope="module")
def model(digits_parameters: dict[str, np.ndarray]) -> nn.Module:
    """In double precision: a pixel whose gradient is nearly 0 could get the other sign by a rounding of single precision."""
    return rebuild("mlp", (1, 8, 8), 10, digits_parameters, torch.device("cpu")).double()


@pytest.fixture(scope="module")
def points(digits: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    """Test images, labels and targets."""
    images, labels = torch.from_numpy(digits.test_images[:128]).double(), torch.from_numpy(digits.test_labels[:128])
    return images, labels, (labels + 1) % 10


def plain_path(
    model: nn.Module, image: Tensor, aim: int, targeted: bool, step_size: float, max_steps: int, box: tuple | None
) -> tuple[int, bool]:
    """Thesis, Algorithm 2, for one point: the number of steps (len(Path) − 1) and whether the output is what was asked for."""
    x, steps = image[None], 0
    while steps < max_steps and (int(model(x).argmax()) == aim) != targeted:
        x = x.detach().requires_grad_(True)
        loss = nn.functional.cross_entropy(model(x), torch.tensor([aim]))
        (gradient,) = torch.autograd.grad(loss, x)
        x = x - step_size * gradient.sign() if targeted else x + step_size * gradient.sign()
        x = x if box is None else x.clamp(*box)
        steps += 1
    return steps, (int(model(x).argmax()) == aim) == targeted


class Linear(nn.Module):
    """Two classes of two features, logits ±(w·x + b)/2."""

    def __init__(self, weight: tuple[float, float], bias: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(weight)), bias

    def forward(self, inputs: Tensor) -> Tensor:
        margin = (inputs @ self.weight + self.bias) / 2
        return torch.stack([-margin, margin], 1)


# ----------------------------------------------------------------------------------------------------- path lengths


@pytest.mark.parametrize("box", [None, BOX])
@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
@pytest.mark.parametrize("places", [1, 7, 512])
def test_path_lengths_are_those_of_algorithm_2_point_by_point(model, points, places, goal, box):
    images, labels, targets = (array[:40] for array in points)
    # 1/64 is exact in binary; seven steps are too few for many of the targeted points
    steps, reached = path_lengths(
        model,
        lambda where: images[where],
        labels,
        1 / 64,
        7,
        targets=targets if goal == "targeted" else None,
        box=box,
        places=places,
    )
    aims = targets if goal == "targeted" else labels
    expected = [
        plain_path(model, image, int(aim), goal == "targeted", 1 / 64, 7, box)
        for image, aim in zip(images, aims, strict=True)
    ]
    assert list(zip(steps.tolist(), reached.tolist(), strict=True)) == expected
    assert steps.max() == 7
    assert 0 < reached.sum() < len(reached)


def test_a_clip_to_the_pixel_box_makes_paths_longer(model, points):
    images, labels, targets = points
    free, _ = path_lengths(model, lambda where: images[where], labels, 1 / 64, 200, targets=targets)
    clipped, _ = path_lengths(model, lambda where: images[where], labels, 1 / 64, 200, targets=targets, box=BOX)
    # Half of a digit's pixels are black, and a step that darkens them is lost. A single path may still be shortened by the detour.
    assert clipped.double().mean() > free.double().mean()


def test_the_path_to_a_linear_boundary_has_the_length_of_the_margin_in_steps():
    # One step changes w·x + b by step·‖w‖₁ = 0.5, in the direction of the other class.
    model = Linear((3.0, -1.0), 0.25)
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0], [-1.0, 0.0], [0.0, 2.0]])
    margins = [0.25, 2.25, -2.75, -1.75]  # w·x + b
    labels = torch.tensor([int(margin > 0) for margin in margins])
    steps, reached = path_lengths(model, lambda where: points[where], labels, 0.125, 100)
    assert steps.tolist() == [math.ceil(abs(margin) / 0.5) for margin in margins]
    assert reached.all()
    targeted, _ = path_lengths(model, lambda where: points[where], labels, 0.125, 100, targets=1 - labels)
    assert torch.equal(targeted, steps)  # with two classes, away from one is towards the other


def test_a_point_that_is_at_its_target_already_has_length_zero(model, points):
    images, labels, _ = points
    predicted = model(images).argmax(1)
    steps, reached = path_lengths(model, lambda where: images[where], labels, 0.01, 5, targets=predicted)
    assert not steps.any()
    assert reached.all()
    wrong = (predicted + 1) % 10  # a label that the model does not give: untargeted, the boundary is behind them
    steps, reached = path_lengths(model, lambda where: images[where], wrong, 0.01, 5)
    assert not steps.any()
    assert reached.all()


def test_a_path_stops_at_the_limit_and_counts_a_boundary_reached_by_its_last_step(model, points):
    images, labels, targets = points

    def lengths(limit: int) -> tuple[Tensor, Tensor]:
        return path_lengths(model, lambda where: images[where], labels, 1 / 64, limit, targets=targets)

    full, all_reached = lengths(500)
    assert all_reached.all()
    for limit in (0, 1, 5, 9):
        steps, reached = lengths(limit)
        assert torch.equal(steps, full.clamp_max(limit))
        assert torch.equal(reached, full <= limit)


def test_images_are_asked_for_once_and_only_as_many_as_there_are_places(model, points):
    images, labels, _ = points
    asked: list[int] = []
    batches: list[int] = []
    lines: list[str] = []

    def load(where: Tensor) -> Tensor:
        asked.extend(where.tolist())
        return images[where]

    counted = model.register_forward_pre_hook(lambda _, inputs: batches.append(len(inputs[0])))
    path_lengths(model, load, labels, 1 / 32, 50, places=9, progress=lines.append)
    counted.remove()
    assert asked == list(range(len(images)))
    # Nine at a time while points wait, then fewer and fewer.
    assert batches[: 128 // 9] == [9] * (128 // 9)
    assert batches == sorted(batches, reverse=True)
    assert lines[-1] == "128 of 128 points done"


# ------------------------------------------------------------------------------------------------ tracing


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("goal", ["next", "untargeted"])
def test_trace_gives_every_training_point_the_length_of_algorithm_2(digits, digits_parameters, goal, clip):
    few = dataclasses.replace(
        digits,
        train_images=np.round(digits.train_images[:40] * 255).astype(np.uint8),  # uint8 means value / 255
        train_labels=digits.train_labels[:40],
    )
    model = rebuild("mlp", (1, 8, 8), 10, digits_parameters, torch.device("cpu"))
    rows = []
    for index, label in enumerate(few.train_labels):
        # Thesis, Algorithm 2: at most m = 6 steps of 0.03. Both sides compute in single precision but with other batch sizes; that a
        # rounding of 1e-7 turns one of these 40 lengths takes an output that is decided within 1e-6 of a step.
        x, steps = torch.from_numpy(few.train_images[index : index + 1]).float() / 255, 0
        target = (label + 1) % 10 if goal == "next" else -1
        aim = torch.tensor([target if goal == "next" else label])

        def there(x: torch.Tensor, label: int = label, target: int = target) -> bool:
            output = int(model(x).argmax())
            return output == target if goal == "next" else output != label

        while not there(x) and steps < 6:
            x = x.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(torch.nn.functional.cross_entropy(model(x), aim), x)
            x = x + (-0.03 if goal == "next" else 0.03) * gradient.sign()
            x = x.clamp(0, 1) if clip else x
            steps += 1
        rows.append((index, label, target, steps, there(x)))
    traced = trace(few, "mlp", digits_parameters, goal, 0.03, 6, clip)
    assert tuple(traced.columns) == PATH_COLUMNS
    pd.testing.assert_frame_equal(traced, pd.DataFrame(rows, columns=list(PATH_COLUMNS)))
    assert traced["steps"].nunique() > 3


def test_a_clip_has_nothing_to_clip_to_where_the_data_set_has_no_box(digits, digits_parameters):
    few = dataclasses.replace(
        digits, box=None, train_images=digits.train_images[:50], train_labels=digits.train_labels[:50]
    )
    clipped, free = (trace(few, "mlp", digits_parameters, "next", 0.03, 50, clip) for clip in (True, False))
    pd.testing.assert_frame_equal(clipped, free)


def test_the_next_class_after_the_last_is_the_first():
    assert path_targets(np.array([0, 2, 3]), "next", 4).tolist() == [1, 3, 0]
    assert path_targets(np.array([0, 2, 3]), "untargeted", 4) is None
