"""Checks of robustness: they fire on masked gradients and wrong scales, and not on networks that were plainly trained."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from poisonlab import models
from poisonlab.datasets.dataset import Dataset
from poisonlab.evaluation import masking
from poisonlab.evaluation.masking import check, check_victims
from poisonlab.models.inference import rebuild
from poisonlab.results.storage import write_tensors
from poisonlab.results.tables import FURTHER, KEY
from poisonlab.victims.proxy import train_proxy
from poisonlab.victims.timing import Stopwatch, seconds_of

BOX = (0.0, 1.0)
EPSILON = 0.1
RECIPE = {"epochs": 8, "batch_size": 64, "learning_rate": 5e-3, "stop_when_fitted": False}
HARDENED = RECIPE | {"objective": {"name": "adversarial", "epsilon": EPSILON, "steps": 5}}


@pytest.fixture(scope="module")
def points(digits: Dataset) -> tuple[Tensor, Tensor]:
    chosen = np.linspace(0, len(digits.test_labels) - 1, 100).round().astype(int)
    return torch.from_numpy(digits.test_images[chosen]), torch.from_numpy(digits.test_labels[chosen])


def net(digits: Dataset, model: str, recipe: dict, seed: int = 0) -> nn.Module:
    parameters = train_proxy(digits, model, recipe, proxy_seed=seed, device="cpu").parameters
    return rebuild(model, digits.input_shape, digits.num_classes, parameters, torch.device("cpu"))


@pytest.fixture(scope="module")
def plain(digits: Dataset) -> nn.Module:
    return net(digits, "strided_linear", RECIPE)


@pytest.fixture(scope="module")
def other(digits: Dataset) -> nn.Module:
    return net(digits, "strided_linear", RECIPE, seed=1)


class Changed(nn.Module):
    """A network whose answers are changed on the way out."""

    def __init__(self, inner: nn.Module, change) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.inner, images)


def stepped(inner: nn.Module, images: Tensor) -> Tensor:
    """Pixels on a coarse grid, by a step whose gradient is 0: the same accuracy, nothing for a gradient to follow."""
    return inner(torch.round(images * 4) / 4)


def saturated(inner: nn.Module, images: Tensor) -> Tensor:
    """Logits so far apart that float32 finds no cross-entropy, and no gradient of it, at a point that is right."""
    return 1e4 * inner(images)


def shattered(inner: nn.Module, images: Tensor) -> Tensor:
    """Pixels under fine ripples: the gradient is that of the ripple, and says nothing of the way."""
    return inner(images + 0.002 * torch.sin(3000 * images))


def noisy(inner: nn.Module, images: Tensor) -> Tensor:
    return inner(images + 0.05 * torch.randn_like(images))


def normalised(inner: nn.Module, images: Tensor) -> Tensor:
    return inner(images).softmax(1)


def purified(inner: nn.Module, images: Tensor) -> Tensor:
    with torch.enable_grad():
        moved = images.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(inner(moved).logsumexp(1).sum(), moved)
    return inner(images - 1e-3 * gradient)


def test_a_plainly_trained_network_has_nothing_to_warn_of(plain, other, points):
    found = check(plain, *points, EPSILON, BOX, other)
    assert found["warnings"] == ""
    assert (found["classes"], found["points"], found["zero_gradients"]) == (10, 100, 0)
    assert found["levels"] == pytest.approx(25.5)
    assert found["left"] == 0
    assert found["plain"] < 0.5  # the attack works


def test_an_adversarially_trained_network_has_nothing_to_warn_of(digits, other, points):
    hardened = net(digits, "strided_linear", HARDENED)
    found = check(hardened, *points, EPSILON, BOX, other)
    assert found["warnings"] == ""
    assert found["plain"] > 0.5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (stepped, "have no gradient"),
        (stepped, "Square fools"),
        (saturated, "images of another net lower it"),
        (shattered, "images of another net lower it"),
        (noisy, "its answers are drawn at random"),
        (normalised, "its outputs look like probabilities"),
        (purified, "its forward pass takes gradients"),
    ],
)
def test_masked_gradients_are_named(plain, other, points, change, said):
    assert said in check(Changed(plain, change).eval(), *points, EPSILON, BOX, other)["warnings"]


def test_a_wrongly_scaled_radius_is_named(plain, other, points):
    for epsilon, shown in ((8.0, "2.04e+03 grey levels"), (8 / 255 / 255, "0.0314 grey levels")):
        assert f"the radius is {shown}" in check(plain, *points, epsilon, BOX, other)["warnings"]
    for epsilon in (1 / 255, 8 / 255, 0.3):
        assert "the radius is" not in check(plain, *points, epsilon, BOX, other)["warnings"]


def test_pixels_of_another_scale_than_their_box_are_named(plain, other, points):
    images, labels = points
    found = check(plain, images / 255, labels, EPSILON, BOX, other)
    assert "the pixels span 0.4 % of their box" in found["warnings"]


def test_vectors_without_a_box_are_checked_by_what_they_allow(digits, points):
    images, labels = points
    model, clean = (models.build("mlp", (64,), 10, seed).eval() for seed in (0, 1))
    found = check(model, images.flatten(1), labels, EPSILON, None, clean)
    assert all(math.isnan(found[name]) for name in ("levels", "spread", "left", "square_gain"))
    assert found["plain"] >= 0


def test_every_victim_has_a_row_of_the_table(digits, plain, other):
    parameters = {name: value.numpy() for name, value in plain.state_dict().items()}
    clean = {name: value.numpy() for name, value in other.state_dict().items()}
    victims = [
        ({"study": "s", "experiment": "e", "condition": "c", "axis_value": None, "draw": 0, "repeat": repeat}, 10, parameters)
        for repeat in range(2)
    ]  # fmt: skip
    lines: list[str] = []
    seconds = {"c_draw-0_repeat-1": 2.5}
    model = "strided_linear"
    table = check_victims(victims, digits, model, EPSILON, (model, clean), seconds, "cpu", progress=lines.append)
    assert list(table) == [*KEY, *masking.COLUMNS]
    assert FURTHER["checks"] == KEY
    assert table["seconds"].isna().tolist() == [True, False]
    pd.testing.assert_frame_equal(
        table.drop(columns=["repeat", "seconds"])[:1],
        table.drop(columns=["repeat", "seconds"])[1:].reset_index(drop=True),
    )
    assert lines[-1] == "2 of 2 victims checked; c_draw-0_repeat-1: nothing to warn of"


def test_seconds_belong_to_the_victim_of_the_same_identity(tmp_path: Path):
    file = tmp_path / "seconds" / "variant" / "chunk.json"
    watch = Stopwatch(file, {"a": "one", "b": "two"})
    watch.note("a", 1.5)
    watch.note("b", 2.5)
    watch.save()
    again = Stopwatch(file, {"a": "one", "b": "another"})  # b is to be trained anew
    again.note("b", 4.0)
    again.save()
    rows = {"a": {"identity": "one"}, "b": {"identity": "another"}, "c": {"identity": "three"}}
    write_tensors({"a/w": np.zeros(1)}, tmp_path / "victims.safetensors", {"victims": json.dumps(rows)})
    assert seconds_of(tmp_path / "victims.safetensors", tmp_path / "seconds") == {"a": 1.5, "b": 4.0}
    (tmp_path / "seconds" / "damaged.json").write_text("{")
    assert seconds_of(tmp_path / "victims.safetensors", tmp_path / "nowhere") == {}
    assert Stopwatch(None, {"a": "one"}).save() is None
