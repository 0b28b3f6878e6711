"""Logistic regression as a victim: how it chooses λ, and where its training ends."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.models import penalties
from poisonlab.models.penalties import by_cross_validation, by_validation
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import Victim, VictimJob

RECIPE = Recipe.of(
    {"epochs": 400, "batch_size": 20, "learning_rate": 0.5, "final": 0.001, "optimiser": "sgd"}, "recipe"
)
WIDTH = 5


def points(n: int, seed: int, noise: float = 0.0, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, WIDTH)).astype(np.float32)
    labels = np.digitize(features[:, 0] + 0.7 * generator.normal(size=n), np.linspace(-0.5, 0.5, classes - 1))
    wrong = generator.random(n) < noise
    return features, np.where(wrong, (labels + 1) % classes, labels).astype(np.int64)


def trained(
    data: tuple[np.ndarray, np.ndarray],
    recipe: Recipe = RECIPE,
    poisoned: int = 0,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    classes: int = 2,
    **parameters: object,
) -> Victim:
    poison = np.arange(len(data[1]) - poisoned, len(data[1]))
    training_set = TrainingSet(*data, classes, poison, validation)
    ((_, victim),) = train([VictimJob("one", training_set, 3)], {"model": "logistic", **parameters}, recipe)
    return victim


def with_ones(features: np.ndarray) -> np.ndarray:
    return np.concatenate([features, np.ones((len(features), 1), np.float32)], 1)


def tensors(data: tuple[np.ndarray, np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(with_ones(data[0])).double(), torch.from_numpy(data[1]).double()


def scikit(data: tuple[np.ndarray, np.ndarray], penalty: float, l1: bool = False) -> np.ndarray:
    """Weights of the same minimum: its objective is the sum over points times C, plus the penalty."""
    solver = LogisticRegression(
        C=1 / (len(data[1]) * penalty), fit_intercept=False, l1_ratio=float(l1), solver="saga", tol=1e-6, max_iter=20000
    )
    return solver.fit(with_ones(data[0]), data[1]).coef_


@pytest.mark.parametrize(("norm", "penalty"), [("l2", 0.01), ("l2", 1.0), ("l1", 0.03)])
def test_training_ends_at_the_minimum_of_scikit_learn(norm: str, penalty: float) -> None:
    data = points(200, 0)
    found = trained(data, penalty=penalty, norm=norm).parameters["weight"]
    # Mini-batches at a last rate of 5e-4 stay within a few hundredths of the minimum, of weights of order 1.
    np.testing.assert_allclose(found, scikit(data, penalty, norm == "l1"), atol=0.03)
    assert (found == 0).any() == (norm == "l1")


def test_more_classes_are_softmax_regression() -> None:
    data = points(300, 0, classes=3)
    found = trained(data, classes=3, penalty=0.05).parameters["weight"]
    np.testing.assert_allclose(found, scikit(data, 0.05), atol=0.03)


def test_a_huge_penalty_is_stable_and_leaves_next_to_nothing() -> None:
    victim = trained(points(100, 0), penalty=1e4)
    assert not victim.diverged
    assert 0 < victim.scalars["norm"] < 1e-3


def test_scalars_are_those_of_the_weights() -> None:
    victim = trained(points(100, 0), penalty=0.05)
    weight = victim.parameters["weight"][0]
    assert victim.scalars["norm"] == pytest.approx(np.linalg.norm(weight), rel=1e-6)
    assert victim.scalars["weight_range"] == pytest.approx(np.ptp(weight[:-1]), rel=1e-6)
    assert victim.scalars["penalty"] == pytest.approx(0.05)


def test_logits_of_two_classes_are_the_score_apart() -> None:
    victim = trained(points(50, 0))
    model = models.build("logistic", (WIDTH,), 2, 0)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in victim.parameters.items()})
    inputs = torch.from_numpy(points(4, 1)[0])
    expected = torch.from_numpy(with_ones(inputs.numpy())) @ torch.from_numpy(victim.parameters["weight"][0])
    logits = model(inputs)
    torch.testing.assert_close(logits[:, 1] - logits[:, 0], expected)


def test_the_same_seed_gives_the_same_victim_and_another_order_another_one() -> None:
    data = points(100, 0)
    first, again = (trained(data).parameters["weight"].tobytes() for _ in range(2))
    assert first == again
    training_set = TrainingSet(*data, 2, np.empty(0, dtype=np.int64))
    ((_, other),) = train([VictimJob("one", training_set, 4)], "logistic", RECIPE)
    assert other.parameters["weight"].tobytes() != first


# ------------------------------------------------------------------------------------------------------- the choice of λ


def test_cross_validation_chooses_what_scikit_learn_does() -> None:
    data, folds = points(150, 0, noise=0.2), []
    fold = np.random.default_rng(penalties.seed("folds")).permutation(150) % 5
    folds = [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(5)]
    grid = penalties.grid((-6.0, 2.0))
    scores = [
        cross_val_score(
            LogisticRegression(C=1 / (120 * np.exp(t)), fit_intercept=False, tol=1e-8, max_iter=1000),
            with_ones(data[0]), data[1], cv=folds, scoring="neg_log_loss",
        ).mean()
        for t in grid
    ]  # fmt: skip
    assert by_cross_validation(tensors(data), (-6.0, 2.0)) == grid[int(np.argmax(scores))]
    assert 0 < int(np.argmax(scores)) < len(grid) - 1


@pytest.mark.parametrize("classes", [2, 3])
def test_the_choice_on_validation_points_is_the_least_loss_of_a_fine_grid(classes: int) -> None:
    train_set, held = points(20, 0, classes=classes), points(200, 1, classes=classes)
    victim = trained(train_set, validation=held, classes=classes, choose="validation")
    found = victim.scalars["log_penalty"]

    def loss(t: float) -> float:
        scores = with_ones(held[0]) @ scikit(train_set, np.exp(t)).T
        scores = np.concatenate([0 * scores, scores], 1) if classes == 2 else scores
        return float(np.mean(np.log(np.exp(scores).sum(1)) - scores[np.arange(200), held[1]]))

    fine = np.linspace(-8, 2, 101)
    best = int(np.argmin([loss(t) for t in fine]))
    assert 0 < best < 100
    assert found == pytest.approx(fine[best], abs=0.15)  # of a grid of 0.1


def test_a_choice_at_the_bound_stays_within_it() -> None:
    train_set, held = points(60, 0, noise=0.3), points(200, 1)
    assert -8 <= by_validation(tensors(train_set), tensors(held), (-8.0, -6.0)) <= -6


def test_victims_choose_on_the_points_that_their_parameter_names() -> None:
    clean, held = points(120, 0), points(100, 1)
    poison = points(30, 2)
    both = np.concatenate([clean[0], poison[0]]), np.concatenate([clean[1], 1 - poison[1]])
    found = {
        choose: trained(both, poisoned=30, validation=held, choose=choose).scalars["penalty"]
        for choose in ("clean", "poisoned", "validation")
    }
    assert found["clean"] == pytest.approx(np.exp(by_cross_validation(tensors(clean))))
    assert found["poisoned"] == pytest.approx(np.exp(by_cross_validation(tensors(both))))
    assert found["validation"] == pytest.approx(np.exp(by_validation(tensors(both), tensors(held))))
    assert len(set(found.values())) == 3


def test_what_a_victim_cannot_do_is_refused() -> None:
    data = points(50, 0)
    with pytest.raises(InputError, match="chooses λ on validation points, which its training set does not have"):
        trained(data, choose="validation")
    with pytest.raises(InputError, match=r"chooses λ \(clean\) for the l2 penalty alone"):
        trained(data, choose="clean", norm="l1")
    with pytest.raises(InputError, match="model 'logistic' is trained by stochastic gradient descent"):
        trained(data, Recipe(3))
    with pytest.raises(InputError, match="model 'logistic' cannot be built"):
        trained(data, penalty=-1.0)
