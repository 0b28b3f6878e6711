"""Accuracies of clean proxies under attack, on nets whose robustness is known."""

import numpy as np
import pytest
import torch

from poisonlab import models
from poisonlab.analyses.clean_nets import attack_clean_nets
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.victims.proxies import Proxy

SETTINGS = {"source": 1, "sure": 0.0, "epsilon": 0.1, "far": 0.3}


def line() -> Dataset:
    """Twenty points of three classes on a line: class 0 at 0.0 … 0.2, class 1 at 0.45 … 0.55, class 2 at 0.8 … 1.0."""
    points = np.concatenate([np.linspace(0, 0.2, 6), np.linspace(0.45, 0.55, 6), np.linspace(0.8, 1, 8)]).astype(
        np.float32
    )
    images = np.stack([points, np.full_like(points, 0.5)], axis=1)
    labels, index = np.repeat([0, 1, 2], [6, 6, 8]), np.arange(20)
    return Dataset("line", images, labels, images, labels, ("low", "middle", "high"), (0.0, 1.0), index, index)


def proxy(parameters: dict[str, np.ndarray], number: int = 0, age: float = 1.0) -> Proxy:
    return Proxy("mlp", (2,), 3, number, age, parameters)


def test_accuracies_are_those_of_the_network():
    parameters = trained()
    rows, _ = attack_clean_nets(line(), [proxy(parameters), proxy(parameters, 1)], SETTINGS | {"far": 0.1}, "cpu")
    assert rows["proxy_seed"].tolist() == [0, 1]
    assert rows["natural_accuracy"].tolist() == [1.0, 1.0]
    assert rows["n_points"].tolist() == [20, 20]
    # A point holds if no point of a fine grid around it, in the box, has another class.
    network = models.build("mlp", (2,), 3, seed=0)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    steps = torch.linspace(-0.1, 0.1, 41)
    around = (torch.from_numpy(line().test_images)[:, None] + torch.cartesian_prod(steps, steps)).clamp(0, 1)
    answers = network(around.view(-1, 2)).argmax(1).view(20, -1)
    holds = (answers == torch.from_numpy(line().test_labels)[:, None]).all(1).double().mean().item()
    assert 0 < holds < 1
    # PGD and the grid may each miss what lies at the very edge: one point of twenty.
    assert rows["adversarial_accuracy"].tolist() == pytest.approx([holds] * 2, abs=0.051)


def test_the_example_is_within_the_radius_and_in_the_box_and_has_the_stated_confidence():
    rows, example = attack_clean_nets(line(), [proxy(trained())], SETTINGS | {"epsilon": 0.25}, "cpu")
    clean, moved = example["images"]
    assert np.abs(moved - clean).max() <= 0.25 + 1e-6
    assert moved.min() >= 0
    assert moved.max() <= 1
    source, wrong = example["labels"]
    assert (source, wrong != 1) == (1, True)
    assert example["probabilities"][0].argmax() == 1
    assert example["probabilities"][1].argmax() == wrong
    assert example["probabilities"][1][wrong] == pytest.approx(rows["confidence"].iloc[0], abs=1e-6)
    # nothing within the radius is more certain than what a fine grid finds, but for the grid's own spacing
    network = models.build("mlp", (2,), 3, seed=0)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in trained().items()})
    steps = torch.linspace(-0.25, 0.25, 41)
    offsets = torch.cartesian_prod(steps, steps)
    own = torch.from_numpy(line().test_images[line().test_labels == 1])
    grid = (own[:, None] + offsets).clamp(0, 1).view(-1, 2)
    best = network(grid).softmax(1)[:, [0, 2]].max().item()
    assert rows["confidence"].iloc[0] == pytest.approx(best, abs=0.02)


def trained() -> dict[str, np.ndarray]:
    from poisonlab.poisons.poison import Poison, apply
    from poisonlab.victims.engines import train
    from poisonlab.victims.recipe import Recipe
    from poisonlab.victims.victim import VictimJob

    job = VictimJob("one", apply(Poison(3), line()), seed=1)
    ((_, victim),) = train([job], "mlp", Recipe(epochs=2000, batch_size=20, learning_rate=0.005))
    assert victim.train_accuracy == 1
    return victim.parameters


def test_the_image_of_an_example_is_one_that_the_network_was_sure_of():
    parameters = trained()
    network = models.build("mlp", (2,), 3, seed=0)
    network.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    own = torch.from_numpy(line().test_images[line().test_labels == 1])
    confidences = network(own).detach().softmax(1)[:, 1]
    sure = float(confidences.median()) - 1e-6  # the last bits depend on how many images the network is shown at once
    among = SETTINGS | {"epsilon": 0.25}
    free, bound = (
        attack_clean_nets(line(), [proxy(parameters)], among | {"sure": bound}, "cpu") for bound in (0.0, sure)
    )
    assert free[1]["probabilities"][0][1] < sure <= bound[1]["probabilities"][0][1]
    assert bound[0]["confidence"].iloc[0] < free[0]["confidence"].iloc[0]
    # Nobody is that sure: there is no example, and the surest image stands for itself.
    rows, example = attack_clean_nets(line(), [proxy(parameters)], among | {"sure": 1.0}, "cpu")
    assert rows["confidence"].tolist() == [0.0]
    assert example["probabilities"][0][1] == pytest.approx(float(confidences.max()))


def test_an_example_of_a_class_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"parameter source of .clean_nets.: class 3 is not in 'line' \(0 … 2\)"):
        attack_clean_nets(line(), [proxy(trained())], SETTINGS | {"source": 3}, "cpu")


def test_without_an_example_the_confidence_is_0():
    rows, example = attack_clean_nets(line(), [proxy(trained())], SETTINGS | {"epsilon": 1e-4}, "cpu")
    assert rows["confidence"].tolist() == [0.0]
    assert example["labels"].tolist() == [1, 1]
    np.testing.assert_array_equal(example["images"][0], example["images"][1])


def test_of_several_ages_of_a_proxy_the_last_counts():
    parameters = trained()
    young = {name: np.zeros_like(value) for name, value in parameters.items()}
    proxies = [proxy(parameters), proxy(young, age=0.5)]
    rows, _ = attack_clean_nets(line(), proxies, SETTINGS, "cpu")
    assert rows["natural_accuracy"].tolist() == [1.0]
