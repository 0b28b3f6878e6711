"""Theorems 1 and 2: the functions by hand, the classifier by its definition, the simulation by its exact probability."""

import math

import numpy as np
import pytest
from scipy.special import comb
from scipy.stats import binomtest

from poisonlab.analyses.theorems import (
    Balls,
    Memoriser,
    cover,
    distances,
    guaranteed_radius,
    required_samples,
    simulate,
)
from poisonlab.errors import InputError

# Small enough that every third run fails, so that a wrong count of samples would show.
BALLS = Balls(balls=4, dimensions=8, radius=0.5, mass=0.8, noise=0.2, delta=0.3, margin=0.4)


def test_the_number_of_samples_is_the_printed_formula():
    # 20 balls, c₂ = 0.9, η = 0.1, δ = 0.1: 20 / 0.09 · log 200 = 1177.4…
    assert required_samples(20, 0.9, 0.1, 0.1) == 1178
    assert required_samples(1, 1.0, 1.0, 1 / math.e) == 1


@pytest.mark.parametrize("arguments", [(0, 0.5, 0.1, 0.1), (5, 0.0, 0.1, 0.1), (5, 0.5, 1.1, 0.1), (5, 0.5, 0.1, -0.1)])
def test_a_number_outside_its_range_is_named(arguments):
    with pytest.raises(InputError, match="allowed is"):
        required_samples(*arguments)


def test_the_radius_shrinks_by_margin_over_constant():
    assert guaranteed_radius(0.15) == 0.3
    assert guaranteed_radius(0.15, margin=0.5, lipschitz=5) == pytest.approx(0.2, abs=1e-12)
    with pytest.raises(InputError, match="margin 2"):
        guaranteed_radius(0.15, margin=2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_smooth_classifier_fits_its_samples_with_its_margin_and_keeps_to_its_constant(norm):
    generator = np.random.default_rng(1)
    samples, labels = generator.random((12, 3)), np.where(np.arange(12) < 9, 1, -1)
    constant = 2 * 0.4 / distances(samples[:9], samples[9:], norm).min()
    classifier = Memoriser(samples, labels, 1, 0.4, constant, norm)
    np.testing.assert_allclose(classifier.margins(samples), 0.4 * labels, atol=1e-12)  # float64
    u, v = generator.random((2, 500, 3)) * 2 - 0.5
    apart = np.array([distances(a[None], b[None], norm)[0, 0] for a, b in zip(u, v, strict=True)])
    # l1 distance of ((1 + m)/2, (1 − m)/2) is |m(u) − m(v)|.
    assert (np.abs(classifier.margins(u) - classifier.margins(v)) <= constant * apart + 1e-12).all()
    # A constant below the least possible one cannot fit them.
    assert (Memoriser(samples, labels, 1, 0.4, constant * 0.9, norm).margins(samples[:9]) < 0.4).any()


def test_the_smooth_classifier_errs_within_margin_over_constant_of_a_mislabelled_sample_only():
    samples = np.array([[0.0, 0.0], [3.0, 0.0]])
    classifier = Memoriser(samples, np.array([-1, 1]), 1, 0.5, 1.0, "l2")
    along = np.linspace(-1, 3, 401)[:, None] * [[1.0, 0.0]]
    np.testing.assert_array_equal(classifier.margins(along) < -1e-9, np.abs(along[:, 0]) < 0.5 - 1e-9)


def test_the_dictionary_errs_at_mislabelled_samples_and_nowhere_else():
    samples = np.random.default_rng(2).random((10, 4))
    classifier = Memoriser(samples, np.where(np.arange(10) < 3, -1, 1), 1, 0.5, math.inf)
    np.testing.assert_array_equal(classifier.margins(samples) < 0, np.arange(10) < 3)
    assert (classifier.margins(samples + 1e-9) > 0).all()


def test_the_attack_stays_within_its_radius_and_reaches_what_lies_within():
    samples = np.array([[0.0, 0.0]])
    classifier = Memoriser(samples, np.array([-1]), 1, 0.5, math.inf)
    points = np.array([[0.1, 0.3], [0.5, -0.2]])
    moved = classifier.attack(points, 0.3)
    assert (np.abs(moved - points).max(axis=1) <= 0.3 + 1e-12).all()
    np.testing.assert_array_equal(moved[0], samples[0])
    np.testing.assert_allclose(moved[1], points[1] * 0.4, atol=1e-12)


def test_the_bound_holds_in_every_run_that_keeps_its_premises():
    runs = simulate(BALLS, 100, [0.2, 1.0], [], seed=0)
    kept = runs[runs["every_ball"] & (runs["fitted"] == 1)]
    assert set(kept["classifier"]) == {"dictionary", "smooth"}
    assert len(kept) > 50
    assert (kept["risk"] >= BALLS.mass - 1e-12).all()
    # Theorem 2's adversary is weaker.
    radii = kept.groupby("classifier")["radius"].mean()
    assert radii["smooth"] < radii["dictionary"] == 2


def test_the_bound_holds_as_often_as_it_says_and_with_fewer_samples_it_does_not():
    runs = simulate(BALLS, 300, [0.25, 1.0], [], seed=1)
    for share, own in runs[runs["classifier"] == "dictionary"].groupby("share"):
        n, rate = int(own["n"].iloc[0]), BALLS.noise * BALLS.mass / BALLS.balls
        # Inclusion and exclusion over the balls without a mislabelled sample.
        exact = sum((-1) ** k * comb(BALLS.balls, k) * (1 - k * rate) ** n for k in range(BALLS.balls + 1))
        held = int((own["risk"] >= BALLS.mass - 1e-12).sum())
        assert binomtest(held, len(own), exact).pvalue > 1e-3
        assert (exact >= 1 - BALLS.delta) == (share == 1.0)


def test_each_premise_is_needed():
    runs = simulate(BALLS, 50, [1.0], [0.5], seed=2)
    # Not memorised: no risk at all, with the same samples.
    truth = runs[runs["classifier"] == "truth"]
    assert (truth["fitted"] < 1).all()
    assert (truth["risk"] == 0).all()
    # A smaller radius: less than c₁ although every ball holds a mislabelled sample.
    near = runs[(runs["classifier"] == "dictionary") & ~runs["guaranteed"] & runs["every_ball"]]
    assert (near["risk"] < BALLS.mass).all()


def brute_force_cover(images, labels, radius, norm):
    """Greedy cover as it is written down: at each step the pure ball that adds most."""
    inside = [np.flatnonzero(row <= radius) for row in distances(images, images, norm)]
    pure = [members for members, own in zip(inside, labels, strict=True) if (labels[members] == own).all()]
    covered, found = set(), []
    while pure:
        best = max(pure, key=lambda members: len(set(members) - covered))
        if not set(best) - covered:
            break
        covered |= set(best)
        found.append((len(covered) / len(images), len(best)))
    return found


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_cover_is_greedy_over_pure_balls(norm):
    generator = np.random.default_rng(3)
    images = generator.random((60, 2)).astype(np.float32)
    labels = (images[:, 0] > 0.5).astype(int)
    table = cover(images, labels, [0.1, 0.2], norm, candidates=60, noise=0.1, delta=0.05, seed=0)
    for radius, rows in table.groupby("radius"):
        expected = brute_force_cover(images, labels, radius, norm)
        assert rows["balls"].max() == pytest.approx(len(expected), abs=2)  # ties are broken otherwise
        last = rows.iloc[-1]
        assert last["covered"] == pytest.approx(expected[-1][0], abs=1e-12)
        first = rows.iloc[0]
        assert first["covered"] == first["mass"] == expected[0][0]
        assert first["required"] == required_samples(1, first["mass"], 0.1, 0.05)


def test_balls_of_two_classes_are_left_out():
    images = np.array([[0.0], [0.05], [1.0]], dtype=np.float32)
    table = cover(images, np.array([0, 1, 1]), [0.1], "linf", candidates=3, noise=0.1, delta=0.05, seed=0)
    assert table["covered"].tolist() == [pytest.approx(1 / 3)]
