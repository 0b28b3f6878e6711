"""Medoids against exhaustive search, and the controls against their definitions."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from poisonlab.poisons.strategies import medoids as module


@pytest.fixture(params=range(20))
def apart(request: pytest.FixtureRequest) -> np.ndarray:
    """Distances of thirteen points."""
    points = np.random.default_rng(request.param).normal(size=(13, 3)).astype(np.float32)
    return pairwise_distances(points)


def exhaustive(apart: np.ndarray, count: int) -> float:
    """The best coverage of all sets, in plain Python."""
    best = np.inf
    for chosen in itertools.combinations(range(len(apart)), count):
        total = sum(min(float(apart[point, one]) for one in chosen) for point in range(len(apart)))
        best = min(best, total / len(apart))
    return best


@pytest.mark.parametrize("count", [1, 2, 4])
def test_medoids_cover_as_well_as_the_best_of_all_sets(apart: np.ndarray, count: int):
    chosen = module.medoids(apart, count, np.random.default_rng(0), 0)
    assert len(set(chosen.tolist())) == count
    assert module.coverage(apart, chosen) == pytest.approx(exhaustive(apart, count), rel=1e-6)  # float32 distances


def test_controls_are_what_they_are_called(apart: np.ndarray):
    generator, mean = np.random.default_rng(0), apart.mean(axis=1)
    near, far = (set(one(apart, 4, generator, 0).tolist()) for one in (module.central, module.outliers))
    others = [index for index in range(13) if index not in near]
    assert mean[list(near)].max() <= mean[others].min()
    others = [index for index in range(13) if index not in far]
    assert mean[list(far)].min() >= mean[others].max()
    spread = module.k_centre(apart, 4, generator, 0)
    assert spread[0] == mean.argmin()
    for number in range(1, 4):
        nearest = apart[:, spread[:number]].min(axis=1)
        assert nearest[spread[number]] == nearest.max()


def test_the_best_covered_of_more_random_sets_covers_no_worse(apart: np.ndarray):
    found = [
        module.coverage(apart, module.best_covered(apart, 3, np.random.default_rng(1), sets)) for sets in (1, 5, 50)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[2]


def test_copies_of_a_point_are_chosen_once():
    apart = np.zeros((6, 6), dtype=np.float32)
    for select in module.SELECT.values():
        assert len(set(select(apart, 4, np.random.default_rng(0), 3).tolist())) == 4
