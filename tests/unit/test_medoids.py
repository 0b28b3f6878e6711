"""Medoids against exhaustive search, and the controls against their definitions."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import pairwise_distances

from poisonlab.analyses import Subject, analysis
from poisonlab.datasets.dataset import make_dataset
from poisonlab.poisons.flips import Flip
from poisonlab.poisons.strategies import Request, strategy
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


def test_restricted_medoids_are_those_of_the_points_that_are_left():
    generator = np.random.default_rng(3)
    images = generator.integers(0, 256, (40, 1, 4, 4)).astype(np.uint8)
    data = make_dataset("own", (images, np.arange(40) % 2), (images[:2], np.arange(2)), ("a", "b"))
    steps, logits = generator.integers(0, 20, 40), generator.normal(size=(40, 3)).astype(np.float32)
    cases = {
        "medoids_far": ({"paths": [pd.DataFrame({"index": np.arange(40), "steps": steps})]}, steps > 10),
        "medoids_runner_up": ({"logits": logits}, logits[:, 1] > logits[:, 2]),
    }
    for name, (needs, kept) in cases.items():
        kind = strategy.find(name)
        request = Request(data, Flip(0, 1, 3), needs, kind.settings({}, "own"), np.random.default_rng(0))
        pool = np.flatnonzero(kept & (data.train_labels == 0))
        apart = pairwise_distances(images[pool].reshape(len(pool), -1) / 255)
        chosen = np.searchsorted(pool, kind.function(request).relabel_index)
        assert module.coverage(apart, chosen) == pytest.approx(exhaustive(apart, 3), rel=1e-6), name  # float32


def test_nearness_is_what_loops_over_all_pairs_find():
    generator = np.random.default_rng(5)
    images, labels = generator.integers(0, 256, (36, 1, 3, 3)).astype(np.uint8), np.arange(36) % 3
    data = make_dataset("own", (images, labels), (images[:3], np.arange(3)), ("a", "b", "c"))
    entry = analysis.find("medoids_analyses:nearness")
    parameters = entry.settings({"budget": 3, "sets": 2000, "classes": [2, 0]}, "own")
    subject = Subject(data, None, {}, "float32", {}, {}, parameters, "cpu", lambda line: None)
    table = entry.function(subject).table
    assert table[["dataset", "source_class"]].to_numpy().tolist() == [["own", 2], ["own", 0]]
    points = images.reshape(36, -1) / 255
    for row in table.itertuples():
        own, others = points[labels == row.source_class], points[labels != row.source_class]
        nearest = [min(float(np.sqrt(((one - other) ** 2).sum())) for other in others) for one in own]
        assert row.other == pytest.approx(np.mean(nearest), rel=1e-6)  # distances in single precision
        apart = pairwise_distances(own)
        assert row.medoids == pytest.approx(exhaustive(apart, 3), rel=1e-6)
        sets = [apart[:, list(chosen)].min(axis=1).mean() for chosen in itertools.combinations(range(12), 3)]
        reach = [
            float(np.mean([min(apart[point, one] for one in chosen) < nearest[point] for point in range(12)]))
            for chosen in itertools.combinations(range(12), 3)
        ]
        assert row.random_reach == pytest.approx(np.mean(reach), abs=4 * np.std(reach) / np.sqrt(2000))
        assert row.medoids_reach == pytest.approx(reach[int(np.argmin(sets))])
        assert (1 - 1 / np.e) * max(reach) <= row.best_reach <= max(reach) + 1e-9
        # 2000 random sets: four standard errors of their mean; the spread's own relative error is 1 / sqrt(2 · 2000).
        assert row.random == pytest.approx(np.mean(sets), abs=4 * np.std(sets) / np.sqrt(2000))
        assert row.random_sd == pytest.approx(np.std(sets), rel=4 / np.sqrt(4000))
