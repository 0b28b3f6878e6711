"""Validation sets are random divisions of the training set, by their number alone."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.datasets.draws import of_draw
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.sources import options_of
from poisonlab.datasets.splits import split
from poisonlab.datasets.toys import redrawn
from poisonlab.errors import InputError
from poisonlab.results.tables import conditions_table


def rows(images: np.ndarray, labels: np.ndarray, index: np.ndarray) -> dict[int, tuple[bytes, int]]:
    """Position in the source → image and label."""
    return {place: (image.tobytes(), label) for place, image, label in zip(index.tolist(), images, labels, strict=True)}


def validation_rows(dataset: Dataset) -> dict[int, tuple[bytes, int]]:
    images, labels, index = dataset.validation_images, dataset.validation_labels, dataset.validation_index
    assert images is not None
    assert labels is not None
    assert index is not None
    return rows(images, labels, index)


def train_rows(dataset: Dataset) -> dict[int, tuple[bytes, int]]:
    return rows(dataset.train_images, dataset.train_labels, dataset.train_index)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 1 / 3, 0.999])
def test_a_split_divides_every_class_of_the_training_set_without_loss_or_overlap(
    digits: Dataset, fraction: float
) -> None:
    divided = split(digits, 3, fraction)
    train, validation = train_rows(divided), validation_rows(divided)
    assert not train.keys() & validation.keys()
    assert train | validation == train_rows(digits)
    counts, given = np.bincount(digits.train_labels), np.bincount(divided.validation_labels, minlength=10)
    # Rounding moves a class by half a point, and neither side of it is ever empty.
    assert (np.abs(given - np.clip(fraction * counts, 1, counts - 1)) <= 0.5).all()
    assert np.all(np.diff(divided.train_index) > 0)
    np.testing.assert_array_equal(divided.test_images, digits.test_images)


def test_the_number_and_nothing_else_decides_which_points_validate(digits: Dataset) -> None:
    first = split(digits, 0, 0.2)
    assert split(digits, 0, 0.2).digest == first.digest
    assert len({split(digits, number, 0.2).digest for number in range(5)}) == 5
    # A larger share adds points, a subset of classes has those of its classes, another name changes nothing.
    assert validation_rows(first).keys() < validation_rows(split(digits, 0, 0.4)).keys()
    subset = validation_rows(split(prepare("two", {"source": "digits", "classes": [7, 2]}), 0, 0.2))
    assert subset.keys() == {place for place, (_, label) in validation_rows(first).items() if label in (2, 7)}


def test_splits_are_random_divisions_of_their_own(digits: Dataset) -> None:
    chosen = [set(validation_rows(split(digits, number, 0.5))) for number in range(20)]
    shared = [len(one & other) / len(digits.train_labels) for one, other in itertools.combinations(chosen, 2)]
    # Two independent halves share a quarter of all points. The standard deviation of the share is that of a
    # hypergeometric draw in every class, √(n/16)/n in all = 0.25/√1438 = 0.0066; five of it are allowed.
    assert abs(np.array(shared) - 0.25).max() < 5 * 0.25 / np.sqrt(len(digits.train_labels))


def test_a_divided_data_set_is_saved_and_keeps_its_validation_set_without_its_test_set(
    digits: Dataset, tmp_path: Path
) -> None:
    divided = split(digits, 1, 0.1)
    divided.save(tmp_path / "divided.safetensors")
    loaded = Dataset.load(tmp_path / "divided.safetensors")
    assert loaded.digest == divided.digest != digits.digest
    sealed = loaded.without_test_set()
    assert len(sealed.test_labels) == 0
    assert validation_rows(sealed) == validation_rows(divided)
    assert digits.validation_images is digits.validation_labels is digits.validation_index is None


def test_a_division_that_cannot_be_is_refused(digits: Dataset) -> None:
    for fraction in (0.0, 1.0, float("nan")):
        with pytest.raises(InputError, match=f"'digits': fraction is {fraction}, allowed is above 0 and below 1"):
            split(digits, 0, fraction)
    with pytest.raises(InputError, match="split is -1, allowed are whole numbers from 0"):
        split(digits, -1, 0.1)
    with pytest.raises(InputError, match="has a validation set already"):
        split(split(digits, 0, 0.1), 0, 0.1)
    lonely = dataclasses.replace(digits, train_labels=np.where(np.arange(len(digits.train_labels)) == 5, 0, 1))
    with pytest.raises(InputError, match="class 2 of 'digits' has 0 training points; two or more"):
        split(lonely, 0, 0.1)


def test_a_redrawn_toy_keeps_its_validation_set_and_the_size_of_its_training_set() -> None:
    specification = {"source": "gaussians", "n_train": 40, "mean": 2.0}
    toy, options = split(prepare("toy", specification), 0, 0.25), options_of("toy", specification)
    whole, divided = (redrawn(one, options, draw=1) for one in (prepare("toy", specification), toy))
    assert validation_rows(divided) == validation_rows(toy)
    assert train_rows(divided) == {
        place: row for place, row in train_rows(whole).items() if place in toy.train_index.tolist()
    }


def test_a_division_of_a_sample_takes_so_many_points_alike_of_each_class_and_others_in_each_draw():
    labels = np.arange(90) % 2
    images = np.arange(90, dtype=np.float32)[:, None]
    whole = make_dataset("made", (images, labels), (images[:2], labels[:2]), ("a", "b"), None)
    drawn = [of_draw(whole, {"split": {"share": 0.25, "points": 41}}, draw) for draw in (0, 1)]
    for one in drawn:
        kept = np.concatenate([one.train_index, one.validation_index])
        assert len(set(kept)) == 41
        assert sorted(np.bincount(whole.train_labels[kept])) == [20, 21]
        np.testing.assert_array_equal(one.train_images[:, 0], one.train_index)
    # Two samples of 41 of 90 have 19 points in common on average, with a standard deviation of 2.4.
    common = np.intersect1d(*[np.concatenate([one.train_index, one.validation_index]) for one in drawn])
    assert 7 < len(common) < 31
    with pytest.raises(InputError, match="200 points ask for 100 of class 0, which has 45; lower"):
        of_draw(whole, {"split": {"share": 0.25, "points": 200}}, 0)


@pytest.mark.parametrize("per_draw", [None, {"split": 0.5}, {"split": {"share": 0.25, "points": 400}}])
def test_the_table_of_conditions_counts_a_share_of_the_points_that_train(digits: Dataset, per_draw: Any) -> None:
    kind = {"strategy": "random", "parameters": {}, "per": "all", "flips": {"source": 1, "target": 2}}
    victim = {"dataset": "digits", "model": "mlp", "recipe": "r", "precision": "float32", "poison": "p", "victim": "v"}
    entry = {**kind, **victim, "per_draw": per_draw, "budget": 0.1, "axis": "budget", "values": [0.1, 9]}
    victims = pd.DataFrame({"condition": ["a"], "draw": [0], "repeat": [0]})
    table = conditions_table("s", "e", {"scale": "own", "conditions": {"a": entry}}, victims, None, digits)
    assert table["budget"].tolist() == [round(0.1 * len(of_draw(digits, per_draw, 0).train_labels)), 9]
