"""Attacks on logistic regression: projected ascent, its defender, and flips by their first-order effect."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.splits import split
from poisonlab.errors import InputError
from poisonlab.models.hypergradients import Problems, minimum
from poisonlab.models.logistic import validation_slope
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.poison import Poison, apply
from poisonlab.results.storage import Workspace

FEATURES = 6


def made(n: int = 80, eight_bit: bool = False, box: tuple[float, float] | None = (0.0, 1.0)) -> Dataset:
    """Two overlapping classes; a quarter validates."""
    generator = np.random.default_rng(3)
    labels = np.arange(n) % 2
    points = (0.45 + 0.1 * labels[:, None] + 0.2 * generator.normal(size=(n, FEATURES))).clip(0, 1)
    images = np.round(points * 255).astype(np.uint8) if eight_bit else points.astype(np.float32)
    index = np.arange(n)
    whole = Dataset("made", images, labels, images[:4], labels[:4], ("a", "b"), box, index, index[:4])
    return split(whole, 0, 0.25)


def attacked(dataset: Dataset, strategy: str = "minimax", budget: int = 8, place: Any = None, **parameters: Any):
    settings = {
        "strategy": strategy, "parameters": parameters, "flips": {"source": 0, "target": 1}, "budget": budget,
        "per": "pair", "sweep": "", "values": [None],
    }  # fmt: skip
    (poison,) = craft(dataset, settings, {}, draw=0, workspace=place)
    return poison


def features(images: np.ndarray) -> torch.Tensor:
    points = torch.from_numpy(images / 255 if images.dtype == np.uint8 else images).double()
    return torch.cat([points, points.new_ones(len(points), 1)], 1)


def validation_loss(dataset: Dataset, poison: Poison, penalty: float) -> float:
    """At the minimum of the poisoned training loss."""
    trained = apply(poison, dataset)
    arrays = [
        features(trained.images), torch.from_numpy(trained.labels).double(), features(dataset.validation_images),
        torch.from_numpy(dataset.validation_labels).double(),
    ]  # fmt: skip
    x, y, held, answers = (array[None] for array in arrays)
    weights = minimum(Problems(x, y, torch.tensor([penalty]).double(), held, answers))
    return float(validation_slope(weights, held, answers)[0])


@pytest.mark.parametrize("eight_bit", [False, True])
def test_moved_points_do_more_harm_than_their_copies_and_the_facts_are_what_training_says(eight_bit: bool) -> None:
    dataset = made(eight_bit=eight_bit)
    still, moved = (attacked(dataset, defender="fixed", penalty=0.005, hyperiterations=count) for count in (0, 30))
    assert validation_loss(dataset, moved, 0.005) > 1.1 * validation_loss(dataset, still, 0.005)
    for poison in (still, moved):
        # What is stored, rounded to single precision or to the grid, is what was measured.
        assert poison.facts["validation_loss"] == pytest.approx(validation_loss(dataset, poison, 0.005), rel=1e-5)
        assert poison.facts["penalty"] == pytest.approx(0.005)


def test_float_features_are_not_rounded_to_the_grid_of_images() -> None:
    images = attacked(made(), hyperiterations=5).append_images * 255
    assert (np.abs(images - np.round(images)) > 1e-3).any()


def test_features_without_a_box_stay_in_the_range_of_the_training_points() -> None:
    dataset = made(box=None)
    images = attacked(dataset, hyperiterations=60, step=0.3).append_images
    low, high = dataset.train_images.min(0), dataset.train_images.max(0)
    assert ((images >= low) & (images <= high)).all()
    assert ((images == low) | (images == high)).any()  # and reach its ends


def test_the_learned_penalty_rises_with_the_budget_and_is_where_the_loss_is_least() -> None:
    dataset = made()
    found = [attacked(dataset, budget=budget, hyperiterations=60) for budget in (0, 6, 18)]
    penalties = [poison.facts["penalty"] for poison in found]
    assert penalties == sorted(penalties)
    assert penalties[2] > 2 * penalties[0]
    assert found[0].budget == 0
    for poison in found:
        own = validation_loss(dataset, poison, poison.facts["penalty"])
        for factor in (0.7, 1.4):
            assert validation_loss(dataset, poison, factor * poison.facts["penalty"]) > own


def test_an_attack_on_a_large_penalty_moves_the_loss_less() -> None:
    dataset = made()
    rises = []
    for penalty in (1e-3, 1.0):
        clean, moved = (attacked(dataset, budget=b, defender="fixed", penalty=penalty) for b in (0, 8))
        rises.append(moved.facts["validation_loss"] - clean.facts["validation_loss"])
    assert rises[1] < rises[0] / 3


def test_poisons_of_both_labels_replace_points_of_their_old_classes() -> None:
    dataset = made()
    poison = attacked(dataset, budget=20, edit="replace", labels="both", hyperiterations=2)
    assert set(poison.replace_labels) == {0, 1}
    assert set(dataset.train_labels[poison.replace_index]) == {0, 1}
    assert len(apply(poison, dataset).labels) == len(dataset.train_labels)
    with pytest.raises(InputError, match=r"poison budget 61 exceeds the 60 points of classes \[0, 1\] in 'made'"):
        attacked(dataset, budget=61, edit="replace", labels="both")


def test_the_first_batches_of_a_larger_budget_are_those_of_a_smaller_one() -> None:
    dataset = made()
    small, large = (attacked(dataset, budget=budget, batch=4, hyperiterations=3).append_images for budget in (8, 12))
    np.testing.assert_array_equal(large[:8], small)


def test_a_killed_attack_goes_on_after_its_last_batch(tmp_path: Path) -> None:
    dataset, settings = made(), {"batch": 4, "hyperiterations": 3}
    whole = attacked(dataset, budget=12, **settings)
    place = Workspace(tmp_path, "1")
    attacked(dataset, budget=8, place=place, **settings)  # two batches, then killed
    kept = sorted(tmp_path.iterdir())
    assert len(kept) == 2
    resumed = attacked(dataset, budget=12, place=place, **settings)
    np.testing.assert_array_equal(resumed.append_images, whole.append_images)
    assert resumed.facts == whole.facts
    # It goes on from what is there, and not from the beginning.
    (last,) = set(tmp_path.iterdir()) - set(kept)
    last.unlink()
    for file in kept:
        arrays, facts = place.read(file.stem)
        place.write(file.stem, {**arrays, "poisons": arrays["poisons"] * 0 + 0.5}, facts)
    assert (attacked(dataset, budget=12, place=place, **settings).append_images[:8] == 0.5).all()


def test_more_starts_do_not_do_less_harm() -> None:
    dataset = made()
    one, three = (
        attacked(dataset, budget=4, defender="fixed", hyperiterations=3, restarts=restarts) for restarts in (0, 2)
    )
    assert three.facts["validation_loss"] >= one.facts["validation_loss"]


def test_the_three_hypergradients_lead_to_poisons_of_like_harm() -> None:
    dataset = made()
    found = [
        attacked(dataset, defender="fixed", penalty=1.0, hypergradient=method, descent_steps=60).facts
        for method in ("implicit", "reverse", "forward")
    ]
    losses = [facts["validation_loss"] for facts in found]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-3)  # of descents that have nearly reached the minimum


def test_all_classes_can_be_told_apart() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(120) % 3
    images = (0.4 + 0.15 * np.eye(3, FEATURES)[labels] + 0.1 * generator.normal(size=(120, FEATURES))).clip(0, 1)
    images, index = images.astype(np.float32), np.arange(120)
    whole = Dataset("three", images, labels, images[:4], labels[:4], ("a", "b", "c"), (0.0, 1.0), index, index[:4])
    dataset = split(whole, 0, 0.25)
    settings = {"classes": "all", "defender": "fixed", "penalty": 0.005, "labels": "both"}

    def harm(poison: Poison) -> float:
        """By a softmax regression of another library."""
        trained = apply(poison, dataset)
        model = LogisticRegression(C=1 / (len(trained.labels) * 0.005), fit_intercept=False, tol=1e-8, max_iter=5000)
        model.fit(features(trained.images).numpy(), trained.labels)
        chances = model.predict_proba(features(dataset.validation_images).numpy())
        return float(-np.log(chances[np.arange(len(chances)), dataset.validation_labels]).mean())

    still, moved = (attacked(dataset, hyperiterations=count, **settings) for count in (0, 30))
    assert harm(moved) > 1.1 * harm(still)
    for poison in (still, moved):
        assert set(poison.append_labels) <= {0, 1}
        assert poison.facts["validation_loss"] == pytest.approx(harm(poison), rel=1e-4)  # of lbfgs
    # The pair alone says less about a model of three classes.
    assert harm(moved) > harm(attacked(dataset, hyperiterations=30, **settings | {"classes": "pair"}))
    learned = [attacked(dataset, budget=budget, classes="all").facts["penalty"] for budget in (0, 12)]
    assert learned[1] > learned[0]
    with pytest.raises(InputError, match="hypergradient is 'forward', which is for two classes"):
        attacked(dataset, hypergradient="forward", **settings)


@pytest.mark.parametrize("penalty", [0.01, 0.3])
def test_flips_are_those_of_the_largest_effect_and_the_effect_is_that_of_retraining_to_first_order(penalty) -> None:
    dataset = made(400)
    settings = {"defender": "fixed", "penalty": penalty}
    clean = validation_loss(dataset, Poison(2), penalty)
    pool = np.flatnonzero(dataset.train_labels == 0)

    def rise(index: int) -> float:
        return validation_loss(dataset, Poison(2, np.array([index]), np.array([1])), penalty) - clean

    exact = np.array([rise(index) for index in pool])
    one = attacked(dataset, "first_order_flips", 1, **settings)
    # Flipping one of 300 labels moves weights by a per cent or so of what second order would need.
    assert one.facts["effect"] == pytest.approx(rise(one.relabel_index[0]), rel=0.2)
    ten = attacked(dataset, "first_order_flips", 10, **settings)
    best = set(pool[np.argsort(-exact)[:20]])
    assert set(ten.relabel_index) <= best
    assert exact[np.isin(pool, ten.relabel_index)].mean() > 0.9 * np.sort(exact)[-10:].mean()


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="penalty is 0, allowed is above 0"):
        attacked(made(), defender="fixed", penalty=0.0)
    with pytest.raises(InputError, match="lowest is 2 and highest 1, allowed is lowest < highest"):
        attacked(made(), lowest=2.0, highest=1.0)
    alone = made()
    kept = alone.validation_labels == 1
    alone = dataclasses.replace(
        alone, validation_images=alone.validation_images[kept], validation_labels=alone.validation_labels[kept]
    )
    with pytest.raises(InputError, match="validation set of 'made' has no point of class 0"):
        attacked(alone)
