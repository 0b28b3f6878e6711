"""Cleaning labels before training: what is left out, what a victim then is, and what its row says."""

from pathlib import Path

import numpy as np
import pytest

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.errors import InputError
from poisonlab.poisons import files
from poisonlab.poisons.poison import Poison, TrainingSet, apply
from poisonlab.results.storage import read_tensors
from poisonlab.victims import cleanings
from poisonlab.victims.chunk import train_chunk
from poisonlab.victims.recipe import Recipe

N = 120
RECIPE = {"epochs": 3, "batch_size": 30, "learning_rate": 0.01}


def two_clouds() -> Dataset:
    """Two classes far apart: every wrong label is plain to see."""
    generator = np.random.default_rng(0)
    labels = np.arange(N) % 2
    images = (0.3 + 0.4 * labels[:, None] + 0.05 * generator.normal(size=(N, 6))).clip(0, 1).astype(np.float32)
    return make_dataset("clouds", (images, labels), (images[:20], labels[:20]), ("a", "b"))


def flipped(dataset: Dataset, count: int = 6) -> Poison:
    index = np.flatnonzero(dataset.train_labels == 0)[:count]
    return Poison(2, index, np.ones(count, dtype=np.int64))


# Confident learning says of about how many labels of a class that they are wrong, and does not say it of all six.
@pytest.mark.parametrize(("name", "least"), [("cleanlab", 3), ("neighbours", 6)])
def test_flips_that_are_plain_to_see_are_left_out_and_nothing_else(name: str, least: int) -> None:
    dataset = two_clouds()
    poison = flipped(dataset)
    dirty = apply(poison, dataset)
    clean, facts = cleanings.clean(dirty, Recipe.of({**RECIPE, "cleaning": name}, "recipe"))
    honest = np.setdiff1d(np.arange(N), poison.relabel_index)
    stayed = np.setdiff1d(np.arange(len(clean.labels)), clean.poisoned)
    np.testing.assert_array_equal(clean.images[stayed], dirty.images[honest])
    np.testing.assert_array_equal(clean.labels[stayed], dirty.labels[honest])
    assert facts["left_out"] == facts["left_out_poisons"] == 6 - len(clean.poisoned) >= least


@cleanings.cleaning("every", parameters={"count": 2})
def every(images: np.ndarray, labels: np.ndarray, num_classes: int, count: int) -> np.ndarray:
    """Keep one of so many points."""
    return np.arange(len(labels)) % count == 0


def test_poisons_that_stay_are_known_by_their_new_places() -> None:
    dataset = two_clouds()
    dirty = TrainingSet(dataset.train_images, dataset.train_labels, 2, np.array([2, 5, 9, 10]))
    third = {"name": "test_cleanings:every", "count": 3}
    clean, facts = cleanings.clean(dirty, Recipe.of({**RECIPE, "cleaning": third}, "recipe"))
    np.testing.assert_array_equal(clean.images[clean.poisoned], dirty.images[[9]])
    assert facts == {"left_out": 2 * N // 3, "left_out_poisons": 3}


def test_a_recipe_without_cleaning_changes_nothing() -> None:
    dirty = apply(flipped(two_clouds()), two_clouds())
    same, facts = cleanings.clean(dirty, Recipe.of(RECIPE, "recipe"))
    assert same is dirty
    assert facts == {}


def test_what_leaves_nothing_or_stands_in_a_phase_is_refused() -> None:
    other = Recipe.of({**RECIPE, "cleaning": "test_cleanings:every"}, "recipe")
    with pytest.raises(InputError, match="cleaning 'every' leaves no point of class 1"):
        cleanings.clean(apply(Poison(2), two_clouds()), other)  # whose classes alternate
    with pytest.raises(InputError, match=r"recipe\.phases\.1\.cleaning"):
        Recipe.of({"batch_size": 30, "phases": [{"epochs": 2, "cleaning": "cleanlab"}]}, "recipe")
    with pytest.raises(InputError, match="parameter neighbours of 'cleanlab' is 0"):
        Recipe.of({**RECIPE, "cleaning": {"name": "cleanlab", "neighbours": 0}}, "recipe")


def test_a_cleaned_victim_is_that_of_the_smaller_training_set_and_says_what_was_left_out(tmp_path: Path) -> None:
    dataset = two_clouds()
    poison = flipped(dataset)
    smaller = Poison(2, drop_index=poison.relabel_index)
    weights = {}
    for name, one, recipe in (("cleaned", poison, {**RECIPE, "cleaning": "neighbours"}), ("dropped", smaller, RECIPE)):
        files.save(tmp_path / f"{name}.safetensors", [one], dataset)
        output = tmp_path / name / "victim" / "chunk.safetensors"
        output.parent.mkdir(parents=True)
        rows = train_chunk(
            dataset, {"flips": [tmp_path / f"{name}.safetensors"]}, output, {"study": "s", "experiment": "e"}, [0],
            "mlp", recipe, "float32", "cpu", "1",
        )  # fmt: skip
        weights[name] = [array.tobytes() for array in read_tensors(output)[0].values()]
        if name == "cleaned":
            assert rows[["left_out", "left_out_poisons"]].to_numpy().tolist() == [[6, 6]]
            assert np.isnan(rows["fitted_share"]).all()
    assert weights["cleaned"] == weights["dropped"]
