"""A table with categories, from a CSV to the tables of results; classes by name on every way to them."""

import numpy as np
import pandas as pd
import pytest
import torch
from own_study import OwnStudy, ran
from sklearn.datasets import load_breast_cancer

from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import rebuild
from poisonlab.poisons import files
from poisonlab.results.storage import read_table, read_tensors
from poisonlab.victims.checkpoint import by_victim

EPSILON, STEPS = 0.6, 10
STUDY = f"""
title: Malignant tumours that are called benign
datasets:
  tumours: {{source: table, path: ../tumours/tumours.csv, drop: [number]}}
recipes:
  short: {{epochs: 5, batch_size: 32, learning_rate: 0.01, objective: {{name: adversarial, epsilon: 0.1, steps: 2}}}}
proxies:
  tumours: {{dataset: tumours, model: mlp, recipe: short}}
paths:
  tumours: {{proxy: tumours, step_size: 0.05}}
buckets:
  tumours: {{paths: tumours, source: malignant, count: 2, scheme: quantile, minimum: 10}}
attacks:
  shifts: {{epsilon: [0.0, {EPSILON}], goal: target, steps: {STEPS}}}
poisons:
  random: &flip {{dataset: tumours, strategy: random, flips: {{source: malignant, target: benign}}, budget: 5}}
  far: {{<<: *flip, strategy: path_bucket, parameters: {{bucket: 1}}, needs: {{buckets: tumours}}}}
victims:
  mlp: {{model: mlp, recipe: short}}
experiments:
  tumours: {{poisons: [random, far], victims: [mlp], attacks: [shifts], draws: 2, repeats: 1, draws_per_job: 2, probes: true}}
figures:
  tumours: {{kind: conditions, experiments: [tumours], options: {{epsilon: {EPSILON}}}}}
"""


def table() -> pd.DataFrame:
    """Four measurements, and a clinic that says much of the diagnosis."""
    source = load_breast_cancer(as_frame=True)
    malignant = source.target.to_numpy() == 0
    noise = np.random.default_rng(0).random(len(malignant)) < 0.2
    shown = source.data.iloc[:, [0, 1, 4, 8]].assign(clinic=np.where(malignant ^ noise, "north", "south"))
    shown.insert(0, "number", np.arange(len(shown)))
    return shown.assign(diagnosis=np.where(malignant, "malignant", "benign"))


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> OwnStudy:
    return ran(
        tmp_path_factory,
        "tumours",
        {"study.yaml": STUDY, "tumours.csv": table().to_csv(index=False, lineterminator="\n")},
    )


@pytest.fixture
def dataset(study: OwnStudy) -> Dataset:
    return Dataset.load(study.file("data/tumours.safetensors"))


def test_the_flips_are_of_the_classes_that_the_study_names(study: OwnStudy, dataset: Dataset):
    given = table()
    rows = study.table("tumours", "conditions").set_index("condition")
    assert rows[["source_class", "target_class"]].to_numpy().tolist() == [[1, 0], [1, 0]]
    for name in ("random", "far"):
        (poison,) = files.load(study.file(f"poisons/tumours/{name}/draw-0.safetensors")).poisons
        assert given["diagnosis"].iloc[dataset.train_index[poison.relabel_index]].tolist() == ["malignant"] * 5
        assert poison.relabel_label.tolist() == [0] * 5
    buckets = read_table(study.file("buckets/tumours.parquet"))
    assert len(buckets) == (dataset.train_labels == 1).sum()
    assert set(given["diagnosis"].iloc[dataset.train_index[buckets["index"]]]) == {"malignant"}


def test_the_adversarial_accuracy_is_that_of_attacks_on_the_numbers_alone(study: OwnStudy, dataset: Dataset):
    """Against a plain loop over copies of the points whose clinics are put back after every step."""
    assert dataset.free is not None
    assert dataset.free.tolist() == [True] * 4 + [False] * 2
    table = study.table("tumours", "robustness").query(f"epsilon == {EPSILON}").set_index(["condition", "draw"])
    (file,) = study.file("victims/tumours/tumours").rglob("draws-*.safetensors")
    malignant = torch.from_numpy(dataset.test_images[dataset.test_labels == 1])
    aim = torch.zeros(len(malignant), dtype=torch.long)
    checked = 0
    for key, parameters in by_victim(read_tensors(file)[0]).items():
        model = rebuild("mlp", dataset.input_shape, 2, parameters, torch.device("cpu"))
        shares = []
        for put_back in (True, False):
            points, fooled = malignant.clone(), torch.zeros(len(malignant), dtype=torch.bool)
            for step in range(STEPS + 1):
                logits = model(points.requires_grad_(True))
                fooled |= logits.argmax(1) == 0
                if step < STEPS:
                    (slope,) = torch.autograd.grad(
                        torch.nn.functional.cross_entropy(logits, aim, reduction="sum"), points
                    )
                    moved = points.detach() - 2.5 / STEPS * EPSILON * slope.sign()
                    points = torch.maximum(torch.minimum(moved, malignant + EPSILON), malignant - EPSILON)
                    if put_back:
                        points[:, 4:] = malignant[:, 4:]
            shares.append(float((~fooled).double().mean()))
        condition, draw, _ = key.split("_")
        assert table.loc[(condition, int(draw.removeprefix("draw-"))), "adversarial_accuracy"] == shares[0]
        assert shares[0] > shares[1]  # who may also move the clinic does more damage
        checked += 1
    assert checked == 4


def test_the_study_is_drawn_and_probed(study: OwnStudy):
    assert "<svg" in study.file("figures/tumours/tumours.svg").read_text()
    assert "5 poisons (malignant → benign)" in study.file("figures/tumours/tumours.txt").read_text()
    assert (study.table("tumours", "victims")["lipschitz_mean"] > 0).all()
