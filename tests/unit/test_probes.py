"""Probes of victims whose shape is known: half-planes, pockets, and logistic functions."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from poisonlab import models
from poisonlab.attacks.paths import path_lengths, path_points
from poisonlab.datasets.dataset import Dataset
from poisonlab.evaluation.probes import LINE_POINTS, Surroundings, lipschitz, probe, probe_chunk, share_of
from poisonlab.models.inference import features
from poisonlab.poisons.poison import Poison
from poisonlab.results.tables import KEY, with_probes

CPU = torch.device("cpu")
PATHS = {"step_size": 0.1, "max_steps": 100, "clip": False}


class Linear(nn.Module):
    """Two classes: the second where w · x + b is above 0."""

    def __init__(self, weight: list[float], bias: float = 0.0, scale: float = 5.0) -> None:
        super().__init__()
        self.layer = nn.Linear(len(weight), 2)
        with torch.no_grad():
            self.layer.weight.copy_(scale * torch.tensor([[0.0] * len(weight), weight]))
            self.layer.bias.copy_(scale * torch.tensor([0.0, bias]))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs)


class Pocket(nn.Module):
    """The second class where the first coordinate is above 0, and within a radius of one point."""

    def __init__(self, centre: list[float], radius: float) -> None:
        super().__init__()
        self.centre, self.radius = torch.tensor(centre), radius

    def forward(self, inputs: Tensor) -> Tensor:
        inside = self.radius - (inputs - self.centre).norm(dim=1)
        return torch.stack([torch.zeros(len(inputs)), torch.maximum(inputs[:, 0], inside)], dim=1)


def plane() -> Dataset:
    """First class: x₀ = −2, second: x₀ = 2, five points of each."""
    heights = np.arange(5.0)
    points = np.concatenate([np.stack([side * np.ones(5), heights], axis=1) for side in (-2.0, 2.0)]).astype(np.float32)
    labels, index = np.repeat([0, 1], 5), np.arange(10)
    return Dataset("plane", points, labels, points, labels, ("left", "right"), None, index, index)


def poison() -> Poison:
    return Poison(2, relabel_index=np.array([2]), relabel_label=np.array([1]))


def surroundings(proxy: nn.Module | None = None) -> Surroundings:
    return Surroundings(poison(), plane(), proxy, PATHS, CPU)


def test_the_line_leads_to_the_nearest_point_of_the_new_class_and_neighbours_are_those_of_the_true_class():
    around = surroundings()
    (line,) = around.lines
    expected = np.linspace(-2, 2, LINE_POINTS + 1)[1:]
    np.testing.assert_allclose(line[:, 0], expected, atol=1e-6)  # single precision
    np.testing.assert_allclose(line[:, 1], 2, atol=1e-6)
    # the poison itself is no neighbour of itself
    assert sorted(point[1].item() for point in around.neighbours[0]) == [0, 1, 3, 4]
    assert (around.neighbours[0][:, 0] == -2).all()
    assert around.paths is None


def test_paths_are_those_of_algorithm_2_on_the_proxy_without_the_poison_itself():
    proxy = Linear([1.0, 0.5])
    (path,) = surroundings(proxy).paths
    image = torch.tensor([[-2.0, 2.0]])
    steps, reached = path_lengths(
        proxy, lambda where: image[where], torch.tensor([0]), 0.1, 100, targets=torch.tensor([1])
    )
    assert reached.item()
    assert len(path) == steps.item() == 7  # x₀ + x₁ / 2 = −1 rises by 0.15 a step
    torch.testing.assert_close(path, image + 0.1 * torch.arange(1, 8)[:, None] * torch.ones(2))


def test_paths_of_several_images_do_not_mix():
    proxy = Linear([1.0, -1.0])
    images = torch.randn(20, 2, generator=torch.Generator().manual_seed(0)) - torch.tensor([2.0, 0.0])
    targets = torch.ones(20, dtype=torch.long)
    together = path_points(proxy, images, targets, 0.1, 15)
    assert len({len(path) for path in together}) > 3
    for image, path in zip(images, together, strict=True):
        (alone,) = path_points(proxy, image[None], targets[:1], 0.1, 15)
        torch.testing.assert_close(path, alone)
        assert torch.equal(path[0], image)


def test_a_stretched_boundary_has_a_larger_share_than_a_pocket():
    proxy = Linear([1.0, 0.0])
    around, test = surroundings(proxy), torch.randn(4, 2)
    stretched, pocket = Linear([1.0, 0.0], bias=3.0), Pocket([-2.0, 2.0], radius=0.5)
    wide, narrow = probe(stretched, around, test), probe(pocket, around, test)
    assert wide["line_share"] == wide["path_share"] == 1.0
    # 25 points of the line lie right of 0, and 6 within 0.5 of the poison: they are 0.08 apart.
    assert narrow["line_share"] == pytest.approx(31 / 50)
    # The path moves by 0.1 along both axes where the proxy's gradient has no second component, sign(0) = 0: 20 or 21 steps to the right,
    # 5 of them within the pocket (0.5 itself is not above 0 there in exact arithmetic) and those at x₀ > 0.
    assert narrow["path_share"] < 0.35


def test_a_poison_that_is_not_fitted_is_not_measured():
    row = probe(Linear([1.0, 0.0]), surroundings(), torch.randn(4, 2))
    assert np.isnan([row["line_share"], row["path_share"], row["feature_ratio"]]).all()
    assert np.isfinite([row["lipschitz_mean"], row["lipschitz_max"]]).all()


def test_where_all_points_of_a_class_are_poisons_what_can_be_measured_is():
    whole = Poison(2, relabel_index=np.arange(5, 10), relabel_label=np.zeros(5, dtype=np.int64))
    inverted = Poison(2, relabel_index=np.arange(10), relabel_label=1 - plane().train_labels)
    for poison, line in ((whole, LINE_POINTS), (inverted, 0)):
        there = Surroundings(poison, plane(), None, PATHS, CPU)
        assert {len(points) for points in there.lines} == {line}
        assert {len(points) for points in there.neighbours} == {0}
    row = probe(Linear([-1.0, 0.0]), there, torch.zeros(1, 2))  # gives every poison its label
    assert np.isnan(row["line_share"])
    assert np.isnan(row["feature_ratio"])


def test_classes_of_different_sizes_have_as_many_neighbours_as_they_can():
    points = np.concatenate([plane().train_images, 9 + np.arange(40, dtype=np.float32).reshape(20, 2)])
    labels, index = np.repeat([0, 1, 2], [5, 5, 20]), np.arange(30)
    uneven = Dataset("uneven", points, labels, points, labels, ("a", "b", "c"), None, index, index)
    poison = Poison(3, relabel_index=np.array([0, 12]), relabel_label=np.array([1, 0]))
    there = Surroundings(poison, uneven, None, PATHS, CPU)
    assert [len(points) for points in there.neighbours] == [4, 10]


def test_constants_are_estimated_all_over_a_sorted_test_set():
    # Steep at the second class alone, which comes last.
    steep = Linear([1.0, 0.0], bias=-2.0)
    victim = ({}, 2, {name: value.numpy() for name, value in steep.state_dict().items()})
    table = probe_chunk(
        [victim], [Poison(2)], [plane()], f"{__name__}:in_the_plane", None, PATHS, points=2, device="cpu"
    )
    exact = lipschitz(steep, torch.tensor(plane().test_images[[0, 9]]))
    assert exact[1] > 10 * exact[0]
    assert table["lipschitz_max"].item() == pytest.approx(float(exact[1]))


def in_the_plane(shape: tuple[int, ...], classes: int) -> Linear:
    return Linear([0.0] * shape[0])


def test_the_share_of_points_with_a_label():
    right = torch.tensor([[1.0, 0.0]])
    assert share_of(Linear([1.0, 0.0]), torch.cat([right, -right, -right, -right]), 1) == 0.25
    assert share_of(Linear([1.0, 0.0]), torch.cat([right, -right, -right, -right]), 0) == 0.75


def test_the_local_lipschitz_constant_of_a_logistic_function_is_the_closed_form():
    weight = torch.tensor([1.5, -0.5, 0.0])
    model = Linear(weight.tolist(), bias=0.2, scale=1.0)
    inputs = torch.randn(30, 3, generator=torch.Generator().manual_seed(1))
    p = torch.sigmoid(inputs @ weight + 0.2)
    torch.testing.assert_close(lipschitz(model, inputs), 2 * p * (1 - p) * weight.abs().sum())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("name", ["mlp", "strided", "pooled"])
def test_features_are_what_the_last_linear_layer_gets(name: str):
    model = models.build(name, (1, 8, 8), 10, seed=0).eval()
    inputs = torch.rand(7, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    last = model.layers[-1]
    torch.testing.assert_close(last(features(model, inputs)), model(inputs))
    assert not last._forward_pre_hooks


def test_a_model_without_a_linear_layer_has_no_features():
    assert features(Pocket([0.0, 0.0], 1.0), torch.randn(2, 2)) is None


def test_the_feature_ratio_compares_a_poison_with_its_neighbours():
    # Features of a linear net are its inputs: the neighbours are 1.5 from the poison in the mean, and 5/3 from each other.
    row = probe(Linear([1.0, 0.0], bias=3.0), surroundings(), torch.randn(4, 2))
    assert row["feature_ratio"] == pytest.approx(1.5 / ((1 + 3 + 4 + 2 + 3 + 1) / 6))


def test_a_chunk_is_probed_victim_by_victim_and_joins_the_victims_table():
    dataset = plane()
    nets = {seed: models.build("mlp", (2,), 2, seed=seed) for seed in range(3)}
    key = {"study": "s", "experiment": "e", "condition": "c", "axis_value": None, "draw": 0}
    victims = [
        (key | {"repeat": seed}, 2, {name: value.numpy() for name, value in net.state_dict().items()})
        for seed, net in nets.items()
    ]
    rows = probe_chunk(victims, [poison()] * 3, [dataset] * 3, "mlp", None, {}, points=6, device="cpu")
    spread = torch.from_numpy(dataset.test_images[[0, 2, 4, 5, 7, 9]])  # six of ten, evenly
    for seed, net in nets.items():
        alone = probe(net.eval(), surroundings(), spread)
        found = rows[rows["repeat"] == seed].iloc[0]
        assert found["lipschitz_max"] == alone["lipschitz_max"]
        np.testing.assert_equal(found["line_share"], alone["line_share"])
    table = pd.DataFrame([{**key, "repeat": seed, "epochs": 1} for seed in (2, 1, 0)])
    table["axis_value"] = table["axis_value"].astype(float)
    joined = with_probes(table, [rows[:1], rows[1:]])
    assert joined["lipschitz_mean"].tolist() == rows["lipschitz_mean"].tolist()[::-1]
    assert set(KEY) <= set(joined.columns)


def test_the_clean_control_has_lipschitz_constants_only():
    victims = [({"repeat": 0}, 2, {k: v.numpy() for k, v in models.build("mlp", (2,), 2, seed=0).state_dict().items()})]
    rows = probe_chunk(victims, [Poison(2)], [plane()], "mlp", None, {}, points=6, device="cpu")
    assert rows[["line_share", "path_share", "feature_ratio"]].isna().all(axis=None)
    assert rows["lipschitz_max"].notna().all()
