"""Sweeps of any one number: of the budget, the strategy, the recipe or the model."""

import numpy as np
import pandas as pd
import pytest
from own_study import OwnStudy, ran
from scipy.special import log_softmax

from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons import files
from poisonlab.results.storage import read_tensors

STUDY = """
title: Sweeps
recipes:
  short: {epochs: 3, batch_size: 64, learning_rate: 0.01, stop_when_fitted: false}
  decayed: {epochs: 3, batch_size: 64, learning_rate: 0.01, optimiser: adamw, stop_when_fitted: false}
proxies:
  plain: {dataset: digits01, model: mlp, recipe: short}
poisons:
  shares: &flip {dataset: digits01, strategy: random, flips: {source: 0, target: 1}, sweep: {budget: [0.01, 0.1, 0.3]}}
  hard:
    {<<: *flip, strategy: loss_threshold, needs: {logits: plain}, budget: 10, parameters: {side: above},
     sweep: {quantile: [0, 0.5, 0.9]}}
  some: {<<: *flip, budget: 10, sweep: null}
victims:
  plain: {model: mlp, recipe: short}
  rates: {model: mlp, recipe: short, sweep: {recipe.learning_rate: [0.0001, 0.01]}}
  widths: {model: mlp, recipe: short, sweep: {model.width: [4, 16]}}
  decays: {model: mlp, recipe: decayed, sweep: {recipe.optimiser.weight_decay: [0, 20]}}
experiments:
  budget: &one {poisons: [shares], victims: [plain], draws: 1, repeats: 2, attacks: [pgd]}
  parameter: {<<: *one, poisons: [hard]}
  rate: {<<: *one, poisons: [some], victims: [rates]}
  width: {<<: *one, poisons: [some], victims: [widths]}
  decay: {<<: *one, poisons: [some], victims: [decays]}
"""


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> OwnStudy:
    return ran(tmp_path_factory, "sweeps", {"study.yaml": STUDY})


def expect(study: OwnStudy, experiment: str, axis: str, values: list[float]) -> pd.DataFrame:
    """Check the axis in all three tables, with two victims at each value; return those."""
    conditions, victims, robustness = (
        study.table(experiment, name) for name in ("conditions", "victims", "robustness")
    )
    assert conditions[["axis", "axis_value"]].to_numpy().tolist() == [[axis, value] for value in values]
    assert sorted(victims["axis_value"]) == sorted(values * 2)
    assert robustness.groupby("axis_value").size().to_dict() == dict.fromkeys(values, 2 * 2)  # of two radii
    return victims


def weights(study: OwnStudy, experiment: str, variant: str) -> dict[str, np.ndarray]:
    """Parameters of a job's victims."""
    (file,) = study.file(f"victims/sweeps/{experiment}/{variant}").glob("*.safetensors")
    return read_tensors(file)[0]


def test_a_share_of_the_training_set_is_swept(study: OwnStudy):
    victims = expect(study, "budget", "budget", [0.01, 0.1, 0.3])
    dataset = Dataset.load(study.file("data/digits01.safetensors"))
    loaded = files.load(study.file("poisons/sweeps/shares/draw-0.safetensors"))
    assert [len(poison.relabel_index) for poison in loaded.poisons] == [
        round(share * len(dataset.train_labels)) for share in (0.01, 0.1, 0.3)
    ]
    assert victims.groupby("axis_value")["training_set"].nunique().tolist() == [1, 1, 1]
    assert victims["training_set"].nunique() == 3
    # Of three tenths, more than half of the class, fewer test points keep their class than of a hundredth.
    accuracy = victims.groupby("axis_value")["natural_accuracy"].mean()
    assert accuracy[0.3] < accuracy[0.01]


def test_a_strategy_s_parameter_is_swept(study: OwnStudy):
    victims = expect(study, "parameter", "quantile", [0, 0.5, 0.9])
    assert victims["training_set"].nunique() == 3
    labels = Dataset.load(study.file("data/digits01.safetensors")).train_labels
    logits = read_tensors(study.file("answers/plain.safetensors"))[0]["logits"].astype(float)
    loss = -log_softmax(logits, axis=1)[np.arange(len(labels)), labels]
    own = np.sort(loss[labels == 0])
    poisons = files.load(study.file("poisons/sweeps/hard/draw-0.safetensors")).poisons
    for quantile, poison in zip((0, 0.5, 0.9), poisons, strict=True):
        assert loss[poison.relabel_index].min() >= own[int(np.ceil(quantile * len(own)))]
    assert loss[poisons[0].relabel_index].min() < np.quantile(own, 0.5)


def test_a_recipe_s_number_is_swept_on_one_poison(study: OwnStudy):
    victims = expect(study, "rate", "recipe.learning_rate", [0.0001, 0.01])
    assert len(set(victims["training_set"])) == 1
    # The first weights are the same; three epochs at a hundredth of the rate fit less.
    accuracy = victims.groupby("axis_value")["train_accuracy"].mean()
    assert accuracy[0.0001] < accuracy[0.01]
    slow, fast = (weights(study, "rate", f"rates-{number}") for number in (0, 1))
    assert {key.replace("axis-0.01", "axis-0.0001") for key in fast} == set(slow)


def test_a_parameter_of_a_recipe_s_part_is_swept(study: OwnStudy):
    expect(study, "decay", "recipe.optimiser.weight_decay", [0, 20])
    sizes = [
        np.mean([np.square(array).sum() for array in weights(study, "decay", f"decays-{number}").values()])
        for number in (0, 1)
    ]
    # Weights shrink by a fifth in each of nine steps or more, which three epochs of learning make up for in part.
    assert sizes[1] < sizes[0] / 2


def test_a_model_s_parameter_is_swept_on_the_same_poison(study: OwnStudy):
    victims = expect(study, "width", "model.width", [4, 16])
    assert len(set(victims["training_set"])) == 1
    for number, width in enumerate((4, 16)):
        own = weights(study, "width", f"widths-{number}")
        assert {array.shape[0] for key, array in own.items() if array.ndim == 2} == {width, 2}
    # At the value that the other experiment does not sweep, the points are those of its poison.
    assert set(victims["training_set"]) == set(study.table("rate", "victims")["training_set"])


def test_a_poison_is_crafted_once_for_the_victims_of_every_value(study: OwnStudy):
    # One job for each poison: no training job needs two of them, and the victims of both experiments share `some`.
    crafting = {name: count for name, count in study.jobs.items() if name.startswith("craft")}
    made = sorted(
        str(file.relative_to(study.file("poisons/sweeps"))) for file in study.file("poisons").rglob("*.safetensors")
    )
    assert made == [f"{name}/draw-0.safetensors" for name in ("hard", "shares", "some")]
    assert len(crafting) == len(made)
    assert set(crafting.values()) == {1}
    # A job for each value of a victim's sweep, one for all values of a poison's.
    assert study.jobs["train_victims"] == 1 + 1 + 2 + 2 + 2
