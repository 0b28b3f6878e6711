"""Poisons and victims for programs that know nothing of this package."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from poisonlab import models
from poisonlab.cli import app
from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.own import read_npz
from poisonlab.datasets.prepare import prepare
from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan
from poisonlab.poisons import files
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.exports import export_poison
from poisonlab.poisons.poison import Poison, apply
from poisonlab.victims.checkpoint import write_victims
from poisonlab.victims.exports import export_victim

ROOT = Path(__file__).resolve().parents[2]
DATA = Path("results", "data", "digits01.safetensors")
POISON = Path("results", "poisons", "label_noise", "digits01_0to1_random", "draw-0.safetensors")
VICTIMS = Path("results", "victims", "label_noise", "digits01_0to1", "digits01", "draws-0-0_repeats-0-0.safetensors")
KEY = "random_draw-0_repeat-0"


@pytest.fixture
def results(tmp_path, monkeypatch) -> Dataset:
    """A folder of results with a data set and its random poison, as the pipeline leaves them."""
    monkeypatch.chdir(tmp_path)
    dataset = prepare("digits01", {"source": "digits", "classes": [0, 1]})
    dataset.save(DATA)
    poisons = craft(dataset, {"strategy": "random", "flips": {"source": 0, "target": 1}, "budget": 5})
    files.save(POISON, poisons, dataset)
    return dataset


# ---------------------------------------------------------------------------------------------------------- poisons


def test_a_table_has_the_index_and_the_labels_of_every_point(results):
    done = CliRunner().invoke(app, ["export", "poison", str(POISON), "flips.csv"])
    assert done.exit_code == 0, done.output
    assert done.output == "flips.csv: 5 points of 'digits01'\n"
    with open("flips.csv", newline="") as file:
        rows = [{key: int(value) for key, value in row.items()} for row in csv.DictReader(file)]
    own = files.load(POISON).poison()
    assert [row["index"] for row in rows] == own.relabel_index.tolist()
    assert [row["source_index"] for row in rows] == results.train_index[own.relabel_index].tolist()
    assert {(row["label"], row["poisoned_label"]) for row in rows} == {(0, 1)}


def test_a_poisoned_npz_is_read_back_as_a_data_set(results):
    assert export_poison(POISON, Path("poisoned.npz")) == "poisoned.npz: 288 training points, 5 of them poisoned"
    back, trained = read_npz("back", Path("poisoned.npz")), apply(files.load(POISON).poison(), results)
    assert np.array_equal(back.train_images, trained.images)
    assert np.array_equal(back.train_labels, trained.labels)
    assert np.array_equal(back.test_images, results.test_images)
    assert back.class_names == results.class_names
    assert (back.train_labels != results.train_labels).sum() == 5


def test_a_poisoned_npz_needs_numpy_alone(results):
    export_poison(POISON, Path("poisoned.npz"))
    code = "import numpy as np; data = np.load('poisoned.npz', allow_pickle=False)\n"
    code += "print(data['train_images'].shape, data['train_labels'][data['poisoned']].tolist())"
    shown = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown == "(288, 8, 8) [1, 1, 1, 1, 1]\n"


def test_images_in_colour_have_their_channels_last(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (8, 5, 4, 3), dtype=np.uint8)
    labels = np.array([0, 1] * 4)
    np.savez("own.npz", train_images=images, train_labels=labels, test_images=images[:4], test_labels=labels[:4])
    dataset = read_npz("own", Path("own.npz"))
    dataset.save(DATA)
    extra = dataset.train_images[:2]
    poison = Poison(2, append_images=extra, append_labels=np.array([1, 0]), drop_index=np.array([3]))
    files.save("p.safetensors", [poison], dataset)
    export_poison(Path("p.safetensors"), Path("poisoned.npz"))
    back = np.load("poisoned.npz")
    assert np.array_equal(back["train_images"], np.concatenate([np.delete(images, 3, axis=0), images[:2]]))
    assert back["poisoned"].tolist() == [7, 8]
    with pytest.raises(InputError, match=r"adds images, which no table of labels holds; export it as p.npz"):
        export_poison(Path("p.safetensors"), Path("p.csv"))


def test_what_cannot_be_exported_is_said(results):
    with pytest.raises(InputError, match=r"ends in '.txt', allowed are .csv and .npz"):
        export_poison(POISON, Path("p.txt"))
    with pytest.raises(InputError, match="has one poison and no sweep, 3 is asked for"):
        export_poison(POISON, Path("p.csv"), value=3)
    other = prepare("other", {"source": "digits", "classes": [2, 3]})
    other.save("other.safetensors")
    with pytest.raises(InputError, match=r"was crafted for other data than 'other.safetensors'"):
        export_poison(POISON, Path("p.csv"), data=Path("other.safetensors"))
    DATA.unlink()
    with pytest.raises(InputError, match=r"are in none of the files of results/data.*give them by --data"):
        export_poison(POISON, Path("p.csv"))


# ---------------------------------------------------------------------------------------------------------- victims

# A program that cannot import this package, as anybody's.
ALONE = """
import sys
sys.modules["poisonlab"] = None
import torch
network = torch.export.load("victim.pt2").module()
for n in (1, 7):
    print(network(torch.linspace(0, 1, 64 * n).reshape(n, 1, 8, 8)).tolist())
weights = torch.load("victim.pt", weights_only=True)
print(sorted((name, list(tensor.shape)) for name, tensor in weights.items()))
"""


@pytest.fixture
def network(results) -> torch.nn.Module:
    """A network whose weights lie where the pipeline leaves those of victims."""
    built = models.build("pooled", (1, 8, 8), 2, seed=3).eval()
    weights = {name: tensor.numpy() for name, tensor in built.state_dict().items()}
    write_victims({KEY: (weights, {"identity": ""})}, VICTIMS)
    return built


def test_a_victim_runs_where_this_package_is_not(network):
    for out in ("victim.pt", "victim.pt2"):
        done = CliRunner().invoke(app, ["export", "victim", str(VICTIMS), out])
        assert done.exit_code == 0, done.output
        assert done.output.startswith(f"{out}: the ")
    run = subprocess.run([sys.executable, "-I", "-c", ALONE], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    one, seven, shapes = (yaml.safe_load(line.replace("(", "[").replace(")", "]")) for line in run.stdout.splitlines())
    with torch.no_grad():
        for n, logits in ((1, one), (7, seven)):
            expected = network(torch.linspace(0, 1, 64 * n).reshape(n, 1, 8, 8))
            # float32: another order of the same sums
            assert torch.allclose(torch.tensor(logits), expected, atol=1e-5)
    assert shapes == [[name, list(tensor.shape)] for name, tensor in sorted(network.state_dict().items())]


def test_a_victim_of_several_is_chosen_by_its_name(network):
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    other = KEY.replace("repeat-0", "repeat-1")
    write_victims({KEY: (weights, {}), other: (weights, {})}, VICTIMS)
    plan = Plan({**yaml.safe_load((ROOT / "config.yaml").read_text()), "studies": ["label_noise"]}, ROOT)
    with pytest.raises(InputError, match=f"names no victim; choose one of {KEY}, {other} by --victim"):
        export_victim(plan, VICTIMS, Path("victim.pt"))
    with pytest.raises(InputError, match="has no victim 'x'"):
        export_victim(plan, VICTIMS, Path("victim.pt"), "x")
    with pytest.raises(InputError, match=r"ends in '.onnx', allowed are .pt and .pt2"):
        export_victim(plan, VICTIMS, Path("victim.onnx"), other)
    assert other in export_victim(plan, VICTIMS, Path("victim.pt"), other)
