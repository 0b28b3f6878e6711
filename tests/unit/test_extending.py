"""What docs/extending.md and docs/poison_files.md show does what they say, piece by piece and as a whole."""

import dataclasses
import importlib
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch
from how_to_pages import OWN, PYTHON_FILES, commands, studies_of
from scipy.special import log_softmax, softmax

from poisonlab import attacks, figures, models
from poisonlab.analyses import Subject
from poisonlab.claims.evidence import Chosen, Data
from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons import files
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.poison import Poison, apply
from poisonlab.results import storage
from poisonlab.seeds import seed
from poisonlab.victims.objectives import Context
from poisonlab.victims.proxies import Proxy
from poisonlab.victims.proxy import train_proxies

# ------------------------------------------------------------------------------------------------------- poison_files.md


def test_the_dozen_lines_of_plain_pytorch_make_the_training_set_that_poisonlab_makes(inside):
    text = PYTHON_FILES["plain_pytorch.py"]
    training_set = text.partition("\n\n")[2].partition("\n\n")[0]  # between the imports and the training
    assert len(training_set.splitlines()) == 12
    assert "poisonlab" not in text
    made = runpy.run_path("plain_pytorch.py")
    dataset = Dataset.load("my_digits.safetensors")
    expected = apply(files.load("my_poison.safetensors", dataset).poison(), dataset)
    np.testing.assert_array_equal(made["images"].numpy(), expected.images)
    np.testing.assert_array_equal(made["labels"].numpy(), expected.labels)
    assert len(expected.labels) == len(dataset.train_labels) + 2
    assert (expected.labels != np.append(dataset.train_labels, [0, 0])).sum() == 10


def test_images_that_a_poison_replaces_reach_plain_pytorch_too(inside, tmp_path, monkeypatch):
    dataset = Dataset.load("my_digits.safetensors")
    black = np.zeros((1, *dataset.input_shape), np.float32)
    poison = Poison(10, replace_index=np.array([5]), replace_images=black, replace_labels=np.array([7]))
    monkeypatch.chdir(tmp_path)
    dataset.save("my_digits.safetensors")
    files.save("my_poison.safetensors", [poison], dataset)
    (tmp_path / "plain_pytorch.py").write_text(PYTHON_FILES["plain_pytorch.py"])
    made = runpy.run_path("plain_pytorch.py")
    assert (made["images"][5] == 0).all()
    assert made["labels"][5] == 7


def test_the_digest_is_computed_without_poisonlab_and_tells_other_data(inside, tmp_path, monkeypatch, capsys):
    assert "poisonlab." not in PYTHON_FILES["check_digest.py"]
    runpy.run_path("check_digest.py")
    assert capsys.readouterr().out == "the same data\n"
    dataset = Dataset.load("my_digits.safetensors")
    changed = dataset.train_images.copy()
    changed[0, 0, 0, 0] += 0.25
    poison = Path("my_poison.safetensors").read_bytes()
    monkeypatch.chdir(tmp_path)
    dataclasses.replace(dataset, train_images=changed).save("my_digits.safetensors")
    Path("my_poison.safetensors").write_bytes(poison)
    (tmp_path / "check_digest.py").write_text(PYTHON_FILES["check_digest.py"])
    runpy.run_path("check_digest.py")
    assert capsys.readouterr().out == "other data\n"


def test_every_entry_of_the_header_is_described(inside):
    header = json.loads(storage.read_tensors("my_poison.safetensors")[1]["poison"])
    described = set(re.findall(r"`(\w+)`", OWN[3].read_text()))
    assert set(header) - described == set()


# ---------------------------------------------------------------------------------------------------------- extending.md


@pytest.fixture
def my_module(inside) -> ModuleType:
    """The module of the page's study."""
    return importlib.import_module("my_module")


@pytest.fixture(scope="module")
def proxies(digits, tmp_path_factory) -> list[Proxy]:
    """A proxy of digits at two ages."""
    file = tmp_path_factory.mktemp("proxies") / "proxy.safetensors"
    recipe = {"epochs": 4, "batch_size": 64, "learning_rate": 0.01}
    settings = {"model": "mlp", "recipe": recipe, "precision": "float32", "device": "cpu", "seeds": 1}
    train_proxies(digits, settings | {"ages": [0.25, 1]}, file, "1")
    return Proxy.load(file)


def test_the_strategy_takes_the_points_whose_loss_falls_most(my_module, digits, proxies):
    settings = {"strategy": "my_module:late", "parameters": {"share": 0.5}, "flips": {"source": 3, "target": 8}}
    settings |= {"budget": 6, "per": "pair", "sweep": "", "values": [None]}
    (poison,) = craft(digits, settings, {"models": proxies}, draw=0)
    pool = np.flatnonzero(digits.train_labels == 3)
    half = np.random.default_rng(seed("poison", draw=0)).permutation(pool)[: round(len(pool) / 2)]
    losses = []
    for proxy in proxies:
        with torch.no_grad():
            logits = proxy.build()(torch.from_numpy(digits.train_float()[half])).double().numpy()
        losses.append(-log_softmax(logits, axis=1)[:, 3])
    fall = losses[0] - losses[1]
    most = half[np.argsort(-fall)[:6]]
    assert set(poison.relabel_index) == set(most)
    assert poison.relabel_label.tolist() == [8] * 6
    # Float32 losses of up to about ten against double ones.
    assert poison.facts["fall"] == pytest.approx(np.sort(fall)[-6:].mean(), rel=1e-5)


def test_the_model_has_the_width_that_is_asked_for(my_module):
    built = models.build({"model": "my_module:narrow", "width": 24}, (1, 8, 8), 3, seed=0)
    assert sum(parameter.numel() for parameter in built.parameters()) == (64 + 1) * 24 + (24 + 1) * 3


def test_the_attack_fools_the_points_that_a_corner_of_the_ball_reaches(my_module):
    class Threshold(torch.nn.Module):
        def forward(self, points):  # class 1 above 0.5
            return torch.cat([0.5 - points, points - 0.5], 1)

    chosen = attacks.settings({"method": "my_module:noise", "epsilon": [0, 0.1], "tries": 30}, "attacks.noise")
    points, labels = torch.tensor([[0.45], [0.3], [0.58], [0.9]]), torch.tensor([0, 0, 1, 0])
    found = attacks.run(chosen, "attacks.noise", Threshold(), points, labels)
    # One of 30 random signs points towards the boundary, but for a chance of 2⁻³⁰. The last point is wrong anyway.
    assert found.fooled.tolist() == [[False, False, False, True], [True, False, True, True]]
    assert torch.equal(found.correct, ~found.fooled)


def test_the_objective_is_the_smoothed_cross_entropy(my_module):
    logits, labels = np.random.default_rng(0).normal(size=(7, 4)), np.arange(7) % 4
    model, images = torch.nn.Identity(), torch.from_numpy(logits).float()
    loss, shown = my_module.smoothed(model, images, torch.from_numpy(labels), Context(0, 0, 1.0, None), 0.2)
    targets = 0.8 * np.eye(4)[labels] + 0.2 / 4
    assert float(loss) == pytest.approx(-(targets * np.log(softmax(logits, axis=1))).sum(1).mean(), rel=1e-5)
    assert torch.equal(shown, images)


def test_the_need_the_analysis_and_the_figure_show_the_mean_margins(my_module, digits, tmp_path):
    logits = np.random.default_rng(1).normal(size=(len(digits.train_labels), 10)).astype(np.float32)
    storage.write_tensors({"logits": logits}, tmp_path / "answers.safetensors")
    margins = my_module.margins([tmp_path / "answers.safetensors"])
    best = logits.argmax(1)
    rest = np.where(np.arange(10) == best[:, None], -np.inf, logits)
    np.testing.assert_array_equal(margins, logits.max(1) - rest.max(1))
    needs = {"my_module:margins": margins}
    found = my_module.class_margins(Subject(digits, None, {}, "float32", needs, {}, {}, "cpu", print)).table
    expected = [margins[digits.train_labels == label].mean() for label in range(10)]
    np.testing.assert_allclose(found["margin"], expected, rtol=1e-6)
    drawn, caption = figures.draw("my_module:draw_class_margins", {"class_margins": found})
    assert [bar.get_height() for bar in drawn.axes[0].patches] == pytest.approx(expected, rel=1e-6)
    lowest = found["label"][found["margin"].idxmin()]
    assert caption == f"**Class {lowest} has the lowest margin.** Mean margin by class.\n\n10 classes."


@pytest.mark.parametrize(("level", "holds", "against"), [(0.8, True, False), (0.2, False, True), (0.5, False, False)])
def test_the_relation_holds_where_every_interval_is_above_the_limit(my_module, level, holds, against):
    grid = level + 0.01 * np.random.default_rng(2).normal(size=(4, 5))
    row = pd.Series({"axis_value": np.nan})
    data = Data([], {}, [], 1, of=[Chosen("s/e", "late", "", "adversarial_accuracy", grid, row)])
    evidence = my_module.at_least_half(data, {"of_what": 1.0})
    assert (evidence.supports.holds, evidence.opposes.holds) == (holds, against)
    assert evidence.value == pytest.approx(grid.mean())


def test_the_study_runs_with_its_three_files_alone(workshop, tmp_path):
    (command,) = [c for page in OWN for c in commands(page) if studies_of(c) == ["my_study"] and len(c) == 4]
    for name in ("my_module.py", "study.yaml", "claims.yaml"):
        (tmp_path / "my_study").mkdir(exist_ok=True)
        (tmp_path / "my_study" / name).write_text((workshop / "my_study" / name).read_text())
    words = [sys.executable, "-m", "poisonlab.cli", *command[1:], "--cores", "1"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    results = tmp_path / "results"
    tables = results / "tables" / "my_study" / "late"
    victims = storage.read_table(tables / "victims.parquet")
    # clean once, random and late in 3 draws at 2 budgets; 2 repeats, 2 victims.
    assert len(victims) == (1 + 2 * 2 * 3) * 2 * 2
    assert set(victims["condition"]) == {f"{p}@{v}" for p in ("clean", "random", "late") for v in ("mlp", "narrow")}
    late = victims["condition"].str.startswith("late")
    assert (victims["poison_fall"].notna() == late).all()
    assert set(storage.read_table(tables / "robustness.parquet")["method"]) == {"pgd", "my_module:noise"}
    margins = storage.read_table(results / "tables" / "analyses" / "pair_margins" / "table.parquet")
    assert margins["label"].tolist() == [0, 1]
    scorecard = pd.read_csv(results / "scorecard.csv")
    assert scorecard["claim"].tolist() == [1, 2]
    assert set(scorecard["verdict"]) <= {"reproduced", "refuted", "inconclusive"}
    page = (results / "my_study.md").read_text()
    for words in ("# Points that are learnt late", "figures/my_study/late.png", "** Mean margin by class."):
        assert words in page
    assert (results / "figures" / "my_study" / "margins.svg").stat().st_size > 1000
