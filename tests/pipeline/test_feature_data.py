"""A study of a data set of features, from the images to the tables."""

from pathlib import Path

import numpy as np
import pytest
from checkout import REPOSITORY, write_config
from own_study import OwnStudy, planned, ran, snakemake

from poisonlab.datasets.dataset import Dataset
from poisonlab.victims.proxies import Proxy

STUDY = """
title: Features of a net of other classes
datasets:
  others: {source: digits, classes: [2, 3, 4, 5, 6, 7, 8, 9]}
  pair: {source: digits, classes: [0, 1]}
  wide: {source: features, of: pair, proxy: others}
recipes:
  net: {epochs: 5, learning_rate: 0.01}
  sgd: {epochs: 5, batch_size: 32, learning_rate: 0.05, optimiser: sgd, stop_when_fitted: false}
proxies:
  others: {dataset: others, model: mlp, recipe: net}
attacks:
  step: {epsilon: [0.1], goal: untargeted, steps: 1}
poisons:
  clean: {dataset: wide, split: 0.25, strategy: none, flips: {source: 0, target: 1}}
  moved: {dataset: wide, split: 0.25, strategy: minimax, flips: {source: 0, target: 1}, budget: 4, parameters: {hyperiterations: 2}}
victims:
  linear: {model: logistic, recipe: sgd}
experiments:
  wide: {poisons: [clean, moved], victims: [linear], attacks: [step], draws: 1, repeats: 2}
"""


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> OwnStudy:
    return ran(tmp_path_factory, "wide", {"study.yaml": STUDY})


def test_the_net_is_trained_on_the_other_classes_before_the_features_are_made(study: OwnStudy):
    assert {name: study.jobs.get(name) for name in ("prepare_data", "train_proxy", "extract_features")} == {
        "prepare_data": 2, "train_proxy": 1, "extract_features": 1,
    }  # fmt: skip
    wide, pair = (Dataset.load(study.file(name)) for name in ("features/wide.safetensors", "data/pair.safetensors"))
    (proxy,) = Proxy.load(study.file("proxies/others.safetensors"))
    hidden = pair.train_images.reshape(len(pair.train_labels), -1).astype(np.float64)
    for layer in (0, 1):  # the MLP has two hidden layers
        weight, bias = (proxy.parameters[f"layers.{layer}.{part}"] for part in ("weight", "bias"))
        hidden = np.maximum(hidden @ weight.T + bias, 0)
    spread = np.where(hidden.std(0) > 0, hidden.std(0), 1)
    expected = (hidden - hidden.mean(0)) / spread
    alive = hidden.std(0) > 1e-3  # the scale of a unit that hardly ever fires magnifies rounding
    np.testing.assert_allclose(wide.train_images[:, alive], expected[:, alive], rtol=0, atol=1e-3)
    assert proxy.num_classes == 8
    np.testing.assert_array_equal(wide.train_labels, pair.train_labels)


def test_victims_learn_from_features_and_a_second_run_has_nothing_to_do(study: OwnStudy, tmp_path: Path):
    victims = study.table("wide", "victims")
    assert victims.query("condition == 'clean'")["natural_accuracy"].min() > 0.9  # zeros and ones are easily told apart
    arguments = ("-n", "--snakefile", str(REPOSITORY / "Snakefile"), "--config", f"studies=['{study.study}']")
    assert "Nothing to be done" in snakemake(study.work, *arguments).stdout
    # Another net is other features, and so other poisons and victims.
    longer = write_config(tmp_path, {"recipes": {"net": {"epochs": 6}}})
    more = snakemake(study.work, "--configfile", longer, *arguments)
    again = planned(more.stdout)
    assert {"train_proxy", "extract_features", "train_victims"} <= set(again), more.stdout
    assert "prepare_data" not in again
