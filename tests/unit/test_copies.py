"""Appended copies, ranked flips and their controls against their definitions."""

import numpy as np
import pytest
from scipy.special import softmax

from poisonlab.datasets.dataset import make_dataset
from poisonlab.errors import InputError
from poisonlab.poisons.flips import Flip
from poisonlab.poisons.strategies import Request, strategy
from poisonlab.poisons.strategies.copies import noisy


@pytest.fixture
def dataset():
    """Sixty different grey images of three classes."""
    images = np.random.default_rng(0).integers(0, 256, (60, 1, 4, 4)).astype(np.uint8)
    labels = np.arange(60) % 3
    return make_dataset("own", (images, labels), (images[:9], labels[:9]), ("a", "b", "c"))


def poison_of(name, dataset, budget=6, needs=None, **parameters):
    kind = strategy.find(name)
    settings = kind.settings(parameters, "own")
    return kind.function(Request(dataset, Flip(1, 2, budget), needs or {}, settings, np.random.default_rng(5)))


def places(images, among):
    """Position of each image among others, all different."""
    return [int(np.flatnonzero((among == image).all(axis=(1, 2, 3)))[0]) for image in images]


def test_appended_flips_are_copies_of_different_points_of_the_source(dataset):
    for label, expected in (("target", 2), ("own", 1)):
        poison = poison_of("append_flips", dataset, label=label)
        index = places(poison.append_images, dataset.train_images)
        assert len(set(index)) == 6
        assert (dataset.train_labels[index] == 1).all()
        assert poison.append_labels.tolist() == [expected] * 6


def test_dropped_points_are_those_that_random_flips(dataset):
    flipped, dropped = poison_of("random", dataset), poison_of("dropped", dataset)
    np.testing.assert_array_equal(np.sort(flipped.relabel_index), np.sort(dropped.drop_index))
    assert dropped.budget == 6


@pytest.mark.parametrize("by", ["confidence", "loss"])
@pytest.mark.parametrize("side", ["hard", "easy"])
def test_ranked_flips_are_the_end_of_the_ranking(dataset, by, side):
    logits = np.random.default_rng(1).normal(size=(60, 3)).astype(np.float32) * 3
    chances = softmax(logits.astype(float), axis=1)
    score = chances.max(axis=1) if by == "confidence" else chances[:, 1]
    own = np.flatnonzero(dataset.train_labels == 1)
    ranked = sorted(own, key=lambda index: score[index], reverse=side == "easy")
    relabelled = poison_of("ranked_flips", dataset, needs={"logits": logits}, by=by, side=side, edit="relabel")
    assert relabelled.relabel_index.tolist() == sorted(ranked[:6])
    appended = poison_of("ranked_flips", dataset, needs={"logits": logits}, by=by, side=side)
    assert places(appended.append_images, dataset.train_images) == sorted(ranked[:6])
    assert appended.append_labels.tolist() == [2] * 6


def test_noise_has_its_standard_deviation_and_stays_in_the_box(dataset):
    generator = np.random.default_rng(2)
    middle = np.full((500, 1, 4, 4), 128, dtype=np.uint8)
    moved = noisy(middle, 0.1, dataset, generator) / 255.0
    # The spread of 8000 values is known to 0.8 %; rounding to 1 / 255 adds 1e-4 to it.
    assert moved.std() == pytest.approx(0.1, rel=0.03)
    ends = noisy(np.array([0, 255], dtype=np.uint8).repeat(8).reshape(1, 1, 4, 4), 5.0, dataset, generator)
    assert ends.dtype == np.uint8
    with pytest.raises(InputError, match="noise is -1, allowed are numbers from 0"):
        poison_of("append_flips", dataset, noise=-1.0)


def test_flips_of_the_test_set_use_each_of_its_images_equally_often(dataset):
    poison = poison_of("test_flips", dataset, budget=7)
    counts = np.bincount(places(poison.append_images, dataset.test_images), minlength=9)
    own = dataset.test_labels == 1
    assert sorted(counts[own]) == [2, 2, 3]
    assert not counts[~own].any()
    assert strategy.find("test_flips").leaks
