"""Label flips from the literature against what they are defined by."""

import itertools

import numpy as np
import pytest
from sklearn.svm import SVC

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.errors import InputError
from poisonlab.poisons.strategies import Flip, Request
from poisonlab.poisons.strategies.baselines import alfa, loss_threshold


def blobs(n: int, apart: float, seed: int = 0) -> Dataset:
    """Two classes of n points each in the plane, and a third that is far away."""
    generator = np.random.default_rng(seed)
    centres = np.array([[-apart, 0], [apart, 0], [0, 50]])
    points = (generator.normal(size=(3 * n, 2)) + centres.repeat(n, axis=0)).astype(np.float32)
    split = (points, np.arange(3).repeat(n))
    return make_dataset("blobs", split, split, ("a", "b", "c"), box=None)


def ask(dataset: Dataset, budget: int, **others) -> Request:
    told = {
        "needs": {},
        "parameters": {"C": 1.0, "rounds": 10},
        "generator": np.random.default_rng(0),
    }
    return Request(dataset, Flip(0, 1, budget), **{**told, **others})


def margins_of(points: np.ndarray, labels: np.ndarray, source: int) -> np.ndarray:
    """As the strategy needs them, by another solver: libsvm instead of liblinear."""
    return SVC(C=1.0, kernel="linear", tol=1e-6).fit(points, labels).decision_function(points[:source])


def test_alfa_chooses_what_its_programme_asks_for():
    # Brute force over every choice, with the SVM of the choice that the strategy ends at: nothing gains more.
    dataset = blobs(8, apart=1.0)
    points, labels = dataset.train_images[:16].astype(float), np.repeat([-1.0, 1.0], 8)
    chosen = alfa(ask(dataset, 3)).relabel_index
    flipped = labels.copy()
    flipped[chosen] = 1

    def loss(trained_on: np.ndarray, label: float) -> np.ndarray:
        return np.maximum(0, 1 - label * margins_of(points, trained_on, 8))

    # The programme's objective, Σ q (ε − ξ) over both labels of every point, ξ on the clean SVM and ε on that of the choice, is least: its
    # change where a point takes the label +1 instead of −1.
    benefit = (loss(labels, 1) - loss(flipped, 1)) - (loss(labels, -1) - loss(flipped, -1))
    best = max(itertools.combinations(range(8), 3), key=lambda some: benefit[list(some)].sum())
    assert benefit[chosen].sum() == pytest.approx(
        benefit[list(best)].sum(), abs=1e-2
    )  # two solvers of one SVM, tolerance 1e-4 and 1e-6


def test_alfa_hurts_the_clean_labels_more_than_chance_does():
    dataset = blobs(100, apart=1.5)
    points, labels = dataset.train_images[:200].astype(float), np.repeat([-1.0, 1.0], 100)

    def hinge(chosen: np.ndarray) -> float:
        flipped = labels.copy()
        flipped[chosen] = 1
        machine = SVC(C=1.0, kernel="linear").fit(points, flipped)
        return float(np.maximum(0, 1 - labels * machine.decision_function(points)).mean())

    crafted = alfa(ask(dataset, 20)).relabel_index
    generator = np.random.default_rng(1)
    chance = [hinge(generator.choice(100, 20, replace=False)) for _ in range(20)]
    assert hinge(crafted) > max(chance)


def test_alfa_needs_a_point_of_the_source_class_that_keeps_its_label():
    dataset = blobs(5, 1.0)
    everything = int((dataset.train_labels == 0).sum())
    with pytest.raises(
        InputError, match=rf"budget {everything} relabels all of class 0 .* to at most {everything - 1}"
    ):
        alfa(Request(dataset, Flip(0, 1, everything), {}, {"C": 1.0, "rounds": 3}, np.random.default_rng(0)))


def test_alfa_needs_a_target_class_that_is_there():
    with pytest.raises(
        InputError, match=r"relabels to a class of 'blobs' \(0 … 2\), not to 3; change the poison's flips"
    ):
        alfa(Request(blobs(5, 1.0), Flip(0, 3, 2), {}, {"C": 1.0, "rounds": 3}, np.random.default_rng(0)))


@pytest.mark.parametrize(("side", "allowed"), [("above", range(6, 8)), ("below", range(0, 6))])
def test_loss_threshold_draws_from_its_side_of_the_quantile(side, allowed):
    dataset = blobs(8, apart=3.0)
    logits = np.zeros((24, 3), dtype=np.float32)
    logits[:8, 0] = 9 - np.arange(8)  # the later a point of class a, the larger its loss
    settings = {"needs": {"logits": logits}, "parameters": {"side": side, "quantile": 0.75}}
    luck = [np.random.default_rng(seed) for seed in range(50)]
    poisons = [loss_threshold(ask(dataset, 2, generator=one, **settings)).relabel_index for one in luck]
    assert set(np.concatenate(poisons).tolist()) == set(allowed)


def test_confident_logits_are_told_apart_although_their_loss_is_nought_in_single_precision():
    dataset = blobs(4, apart=3.0)
    logits = np.zeros((12, 3), dtype=np.float32)
    logits[:4, 0] = [20, 23, 21, 22]
    settings = {"needs": {"logits": logits}, "parameters": {"side": "above", "quantile": 0.75}}
    assert loss_threshold(ask(dataset, 1, **settings)).relabel_index.tolist() == [0]


def test_bad_thresholds_are_refused():
    dataset = blobs(8, apart=3.0)
    needs = {"logits": np.zeros((24, 3), dtype=np.float32)}
    for parameters, value, words in [
        ({"side": "above"}, 1.5, r"quantile 1.5 is not in \[0, 1\]"),
        (
            {"side": "above"},
            0.9,
            r"poison budget 3 exceeds the 0 points of class 0 in 'blobs' above the 0.9 quantile of the loss",
        ),
    ]:
        with pytest.raises(InputError, match=words):
            loss_threshold(ask(dataset, 3, needs=needs, parameters={**parameters, "quantile": value}))
