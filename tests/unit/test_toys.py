"""The toys against closed forms: what their best rule gets right, and what it withstands."""

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest, norm
from torch import nn

from poisonlab.attacks.paths import path_lengths
from poisonlab.attacks.pgd import Attack, attack
from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.prepare import prepare
from poisonlab.models.inference import predict
from poisonlab.poisons.strategies import Flip, Request
from poisonlab.poisons.strategies.at_distance import at_distance

DIMENSIONS, MEAN, VARIANCE, COUNT = 16, 0.3, 4.0, 20_000
ROOT = np.sqrt(DIMENSIONS / VARIANCE)  # x · 1 / (σ√d) has mean ± μ √d / σ and variance 1


class Rule(nn.Module):
    """The best linear rule, class 1 where x · 1 > threshold, as a network of two logits."""

    def __init__(self, threshold: float = 0.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, inputs):
        score = inputs.sum(1) - self.threshold
        return torch.stack([-score, score], 1)


@pytest.fixture(scope="module")
def toy() -> Dataset:
    return prepare(
        "toy", {"source": "gaussians", "dimensions": DIMENSIONS, "mean": MEAN, "variance": VARIANCE, "n_test": COUNT}
    )


def is_share(found: torch.Tensor, expected: float) -> bool:
    """Whether a share of independent points is what it should be; one such check in ten thousand fails by chance."""
    return binomtest(int(found.sum()), len(found), expected).pvalue > 1e-4


@pytest.mark.parametrize("threshold", [0.0, 2.0])
def test_natural_accuracy_of_a_linear_rule_is_the_closed_form(toy: Dataset, threshold: float):
    points, labels = torch.from_numpy(toy.test_images), torch.from_numpy(toy.test_labels)
    right = predict(Rule(threshold), points) == labels
    # The truth is the sign of x · 1: wrong is what lies between the truth and the threshold.
    shift = threshold / (np.sqrt(DIMENSIONS * VARIANCE))
    between = [norm.cdf(shift - sign * MEAN * ROOT) - norm.cdf(-sign * MEAN * ROOT) for sign in (1, -1)]
    assert is_share(right, 1 - np.mean(between))
    if threshold == 0:
        assert right.all()


@pytest.mark.parametrize("epsilon", [0.05, 0.2])
@pytest.mark.parametrize("kind", ["linf", "l2"])
def test_the_best_rule_withstands_what_the_closed_form_says(toy: Dataset, epsilon: float, kind: str):
    points, labels = torch.from_numpy(toy.test_images), torch.from_numpy(toy.test_labels)
    verdict = attack(Rule(), points, labels, [epsilon], Attack(norm=kind, steps=5), box=None)
    # ε moves x · 1 by εd in l∞ and by ε√d in l2.
    reach = epsilon * (DIMENSIONS if kind == "linf" else np.sqrt(DIMENSIONS)) / np.sqrt(DIMENSIONS * VARIANCE)
    expected = np.mean([norm.cdf(m - reach) + norm.cdf(-m - reach) for m in (MEAN * ROOT, -MEAN * ROOT)])
    assert is_share(~verdict.fooled.flatten(), expected)


def test_the_path_to_the_best_rule_s_boundary_has_the_closed_form_s_length(toy: Dataset):
    points, labels = torch.from_numpy(toy.test_images[:500]).double(), torch.from_numpy(toy.test_labels[:500])
    steps, reached = path_lengths(Rule(), lambda where: points[where], labels, 0.1, 200)[:2]
    expected = np.floor(points.sum(1).abs().numpy() / (0.1 * DIMENSIONS)) + 1
    assert (np.asarray(reached)).all()
    np.testing.assert_array_equal(np.asarray(steps), expected)


def test_noise_is_alike_in_both_classes_and_does_not_count_for_the_label():
    told = {"source": "gaussians", "dimensions": 2, "mean": 3, "variance": 4.0, "n_train": 500}
    plain, noisy = prepare("toy", told), prepare("toy", {**told, "noise": 5})
    assert noisy.train_images.shape == (500, 7)
    np.testing.assert_array_equal(noisy.train_labels, noisy.train_images[:, :2].astype(float).sum(1) > 0)
    np.testing.assert_array_equal(noisy.train_images[:, :2], plain.train_images)
    np.testing.assert_array_equal(noisy.centres, plain.centres)
    for label in (0, 1):
        extra = noisy.train_images[noisy.train_labels == label][:, 2:]
        assert kstest(extra.ravel(), norm(scale=2).cdf).pvalue > 1e-4  # fails by chance once in ten thousand seeds


def test_the_noise_of_placed_poisons_is_that_of_training_points_of_their_class():
    dataset = prepare("toy", {"source": "gaussians", "dimensions": 2, "noise": 3, "mean": 10})
    request = Request(dataset, Flip(1, 2, 4), {}, {"r": 2.0}, np.random.default_rng(0))
    placed = at_distance(request).append_images
    np.testing.assert_allclose(np.linalg.norm(placed[:, :2] - 10, axis=1), 2, rtol=1e-5)  # rounded to float32
    own = dataset.train_images[dataset.train_labels == 1][:, 2:]
    assert all((own == noise).all(1).any() for noise in placed[:, 2:])
