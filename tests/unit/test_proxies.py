"""Files of clean proxies: every seed at every age, and a killed job that goes on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.errors import InputError
from poisonlab.results.storage import write_tensors
from poisonlab.seeds import seed
from poisonlab.victims import proxy
from poisonlab.victims.proxies import Proxy, answers
from poisonlab.victims.proxy import train_proxies

SETTINGS: dict[str, Any] = {
    "model": {"model": "mlp", "width": 8, "depth": 1},
    "recipe": {"epochs": 4, "batch_size": 8, "stop_when_fitted": False},
    "precision": "float32",
    "device": "cpu",
    "seeds": 2,
    "ages": [0.5, 1],
}


def points() -> Dataset:
    generator = np.random.default_rng(3)
    images, labels = generator.random((40, 6), dtype=np.float32), np.arange(40) % 3
    return make_dataset("points", (images, labels), (images, labels), ("a", "b", "c"))


def test_every_seed_is_kept_at_every_age_and_is_the_state_of_the_training_until_then(tmp_path: Path):
    train_proxies(points(), SETTINGS, tmp_path / "proxy", "1")
    found = Proxy.load(tmp_path / "proxy")
    assert [(one.seed, one.age) for one in found] == [(0, 0.5), (0, 1), (1, 0.5), (1, 1)]
    for one in found:
        whole = proxy.train_proxy(points(), SETTINGS["model"], SETTINGS["recipe"], one.seed, ages=(0.5, 1))
        for name, array in whole.snapshots[one.age].items():
            np.testing.assert_array_equal(one.parameters[name], array)
    # Constant rate: the first half of four epochs is a training of two.
    short = proxy.train_proxy(points(), SETTINGS["model"], SETTINGS["recipe"] | {"epochs": 2}, 0)
    for name, array in short.parameters.items():
        np.testing.assert_array_equal(found[0].parameters[name], array)
    assert [(one.seed, one.age) for one in Proxy.finished(tmp_path / "proxy")] == [(0, 1), (1, 1)]


def test_a_killed_job_goes_on_with_the_seed_that_it_had_not_finished(tmp_path: Path, monkeypatch):
    train_proxies(points(), SETTINGS, tmp_path / "whole", "1")
    asked: list[int] = []
    train = proxy.train_proxy

    def dies(dataset: Dataset, model: Any, recipe: Any, number: int, *rest: Any, **more: Any) -> Any:
        asked.append(number)
        if asked == [0, 1]:
            raise KeyboardInterrupt
        return train(dataset, model, recipe, number, *rest, **more)

    monkeypatch.setattr(proxy, "train_proxy", dies)
    with pytest.raises(KeyboardInterrupt):
        train_proxies(points(), SETTINGS, tmp_path / "proxy", "1")
    assert not (tmp_path / "proxy").exists()
    train_proxies(points(), SETTINGS, tmp_path / "proxy", "1")
    assert asked == [0, 1, 1]
    assert (tmp_path / "proxy").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["proxy", "whole"]


def test_answers_are_the_networks_own(tmp_path: Path):
    import torch

    train_proxies(points(), SETTINGS, tmp_path / "proxy", "1")
    first = Proxy.finished(tmp_path / "proxy")[0]
    found, network = answers(first, points(), "cpu"), first.build()
    inputs = torch.from_numpy(points().train_images)
    with torch.no_grad():
        np.testing.assert_array_equal(found["logits"], network(inputs).numpy())
        # One hidden layer: its output is what the last layer sees.
        np.testing.assert_array_equal(found["features"], network.layers[0](inputs).relu().numpy())


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    write_tensors({}, tmp_path / "other")
    with pytest.raises(InputError, match="holds no proxies; delete it and run again"):
        Proxy.load(tmp_path / "other")


def test_a_proxys_seed_is_none_of_the_victims():
    assert seed("proxy", proxy_seed=0) not in {seed("victim", repeat=repeat) for repeat in range(100)}
