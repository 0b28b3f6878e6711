"""Soft nearest neighbours against scikit-learn's neighbours and a dense double-precision reference."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.models.inference import rebuild
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import choose, stored, train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

CPU = torch.device("cpu")
NEAREST = 1e-3  # the default
every_k = pytest.mark.parametrize("k", [1, 3, 5])


def training_set(n: int = 40, classes: int = 3) -> TrainingSet:
    generator = np.random.default_rng(0)
    points = generator.normal(0, 1, (n, 2)).astype(np.float32)
    return TrainingSet(points, generator.integers(0, classes, n), classes, np.array([0, 1]))


def fitted(k: int, data: TrainingSet, **changes: float) -> torch.nn.Module:
    model = {"model": "soft_nn", "k": k, **changes}
    ((_, victim),) = train([VictimJob("one", data, 0)], model, Recipe(epochs=1))
    return rebuild(model, (2,), data.num_classes, victim.parameters, CPU)


def reference(k: int, data: TrainingSet, inputs: np.ndarray, nearest: float = NEAREST, power: float = 1) -> np.ndarray:
    """Class sums of the inverse distances of the k nearest training points, in double precision."""
    distances, which = NearestNeighbors(n_neighbors=k).fit(data.images.astype(float)).kneighbors(inputs)
    logits = np.zeros((len(inputs), data.num_classes))
    for row, (lengths, points) in enumerate(zip(distances, which, strict=True)):
        for length, point in zip(lengths, points, strict=True):
            logits[row, data.labels[point]] += 1 / max(length, nearest) ** power
    return logits


@every_k
@pytest.mark.parametrize("changes", [{}, {"nearest": 0.1, "power": 2.0}], ids=["thesis", "squares"])
def test_logits_are_the_class_sums_of_the_inverse_distances_of_the_k_nearest(k: int, changes: dict[str, float]):
    data, inputs = training_set(), np.random.default_rng(1).normal(0, 1, (200, 2)).astype(np.float32)
    logits = fitted(k, data, **changes)(torch.from_numpy(inputs)).numpy()
    # The relative error of an inverse distance is that of the difference of two coordinates of order 1: 1e-7 over the shortest distance
    # here, 0.01.
    np.testing.assert_allclose(logits, reference(k, data, inputs.astype(float), **changes), rtol=1e-4)


@every_k
def test_every_training_point_is_fitted_and_its_weight_is_capped(k: int):
    data = training_set()
    ((_, victim),) = train([VictimJob("one", data, 0)], {"model": "soft_nn", "k": k}, Recipe(epochs=1))
    assert (victim.train_accuracy, victim.fitted_share, victim.epochs) == (1.0, 1.0, 0)
    logits = fitted(k, data)(torch.from_numpy(data.images))
    assert torch.isfinite(logits).all()
    own = logits[torch.arange(40), torch.from_numpy(data.labels)]
    assert (own >= 1 / NEAREST * (1 - 1e-6)).all()  # the point itself, in single precision


@every_k
def test_the_input_gradient_is_that_of_the_formula(k: int):
    data = training_set()
    inputs = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    network = fitted(k, data).double()
    inputs.requires_grad_(True)
    loss = F.cross_entropy(network(inputs), torch.arange(50) % 3, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, inputs)
    step = 1e-6
    for axis in range(2):
        moved = torch.zeros(2, dtype=torch.float64)
        moved[axis] = step
        up, down = (
            F.cross_entropy(network(inputs.detach() + sign * moved), torch.arange(50) % 3, reduction="none")
            for sign in (1, -1)
        )
        # Central differences: error of order step², but for points that change a neighbour within the step (none here).
        torch.testing.assert_close(gradient[:, axis], (up - down) / (2 * step), rtol=1e-4, atol=1e-5)


def test_more_neighbours_than_points_are_all_of_them():
    data = training_set(n=2)
    logits = fitted(5, data)(torch.from_numpy(data.images))
    assert torch.isfinite(logits).all()


def test_a_model_with_a_method_fit_is_stored_and_not_trained():
    assert choose("soft_nn", Recipe(epochs=1), CPU) is stored
    for seed in (0, 5):
        other = models.build("soft_nn", (2,), 3, seed=seed)
        assert not list(other.parameters())


def test_fewer_than_one_neighbour_are_refused():
    with pytest.raises(InputError, match=r"model 'soft_nn' cannot be built .*k is 0, it must be at least 1"):
        models.build({"model": "soft_nn", "k": 0}, (2,), 3, seed=0)
    with pytest.raises(InputError, match=r"nearest is 0.0 and power 1.0, both must be above 0"):
        models.build({"model": "soft_nn", "nearest": 0.0}, (2,), 3, seed=0)
