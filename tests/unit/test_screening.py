"""First looks at unknown data: what recipes come to, and which pairs of classes are exposed."""

import numpy as np
import torch
from torch import nn

from poisonlab.analyses.screening import attack_pairs, try_recipes
from poisonlab.datasets.dataset import Dataset, make_dataset


def points(n: int = 90) -> Dataset:
    """Three classes on a line: 0 and 1 are close, 2 is far."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = (np.array([0.0, 1.0, 5.0])[labels][:, None] + generator.normal(0, 0.01, (n, 1))).astype(np.float32)
    return make_dataset("line", (images, labels), (images, labels), ("a", "b", "c"), None)


class Nearest(nn.Module):
    """Logits: minus the squared distance to each class's mean."""

    def __init__(self) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.tensor([0.0, 1.0, 5.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return -(inputs - self.means).square()


def test_the_close_pair_is_exposed_and_the_far_one_is_not() -> None:
    table = attack_pairs(points(), {0: Nearest()}, [0.3, 0.7], points=10)
    assert len(table) == 6 * 2
    assert set(table["n_points"]) == {10}
    found = {(row["source"], row["target"], row["epsilon"]): row["adversarial_accuracy"] for _, row in table.iterrows()}
    # The boundary of 0 and 1 is 0.5 away, give or take the noise of 0.01; that of 1 and 2 is 2 away.
    assert (found[0, 1, 0.3], found[0, 1, 0.7], found[1, 0, 0.7]) == (1, 0, 0)
    assert (found[1, 2, 0.7], found[2, 1, 0.7], found[0, 2, 0.7]) == (1, 1, 1)


def test_a_recipe_that_fits_the_flips_is_told_from_one_that_does_not() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(0, 1, (60, 8)).astype(np.float32)
    labels = (vectors[:, 0] > 0).astype(np.int64)
    data = make_dataset("halves", (vectors, labels), (vectors, labels), ("a", "b"), None)
    recipes = [{"epochs": 1, "learning_rate": 1e-5}, {"epochs": 400, "learning_rate": 0.01, "batch_size": 60}]
    table = try_recipes(data, "mlp", recipes, budget=3)
    assert table["recipe"].tolist() == [0, 1]
    assert table["epochs"][0] == 1
    assert table["train_accuracy"][0] < 0.9
    assert (table["train_accuracy"][1], table["fitted_share"][1]) == (1, 1)
    assert table["natural_accuracy"][1] == 57 / 60  # all but the flips themselves, whose labels are true here
