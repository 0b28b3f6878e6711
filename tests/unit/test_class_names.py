"""Classes by name: wherever the configuration takes a number, for data that come along and for the user's files."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from poisonlab.datasets import own
from poisonlab.datasets.prepare import prepare
from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan

ROOT = Path(__file__).parents[2]
STUDY = """
datasets:
  pets: {source: folder, path: pets}
  two: {source: folder, path: pets, classes: [dog, cat]}
  seen: {source: features, of: two, proxy: ants}
  ants: {source: folder, path: pets, classes: [ant, emu]}
recipes:
  short: {epochs: 1}
proxies:
  ants: {dataset: ants, model: mlp, recipe: short}
  pets: {dataset: pets, model: mlp, recipe: short}
paths:
  pets: {proxy: pets}
buckets:
  pets: {paths: pets, source: dog, count: 2, minimum: 1}
analyses:
  nets: {analysis: clean_nets, proxy: pets, needs: {models: pets}, parameters: {source: dog}}
poisons:
  all: &flip {dataset: pets, strategy: random, flips: {source: dog, target: cat}}
  two: {<<: *flip, dataset: two}
  seen: {<<: *flip, dataset: seen}
  number: {<<: *flip, flips: {source: 2, target: 1}}
  next: {<<: *flip, flips: {source: dog, target: next}}
  bucket: {<<: *flip, strategy: path_bucket, needs: {buckets: pets}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("dog", "cat", "ant", "emu")):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (4, 4), (number, k, 0)).save(tmp_path / "pets" / name / f"{k}.png")
    return tmp_path


def planned(folder: Path, *changes: tuple[str, str]) -> Plan:
    """The study with replaced texts."""
    text = STUDY
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "animals").mkdir(exist_ok=True)
    (folder / "animals" / "study.yaml").write_text(text)
    config = yaml.safe_load((ROOT / "config.yaml").read_text()) | {"studies": ["animals"]}
    return Plan(copy.deepcopy(config), ROOT)


def test_names_become_the_numbers_of_each_data_set(folder):
    plan = planned(folder)
    config = plan.config
    found = {
        name: (own["flips"]["source"], own["flips"]["target"]) for name, own in config["animals"]["poisons"].items()
    }
    pets = {"ant": 0, "cat": 1, "dog": 2, "emu": 3}
    assert prepare("pets", config["datasets"]["pets"]).class_names == tuple(pets)
    assert found == {
        "all": (2, 1), "number": (2, 1), "bucket": (2, 1), "next": (2, "next"),
        "two": (0, 1), "seen": (0, 1),  # the same mapping, by an anchor, of other data
    }  # fmt: skip
    assert config["buckets"]["pets"]["source"] == 2
    assert plan.class_names("pets") == tuple(pets)
    assert plan.class_names("seen") == ("dog", "cat")
    assert config["analyses"]["nets"]["parameters"]["source"] == 2


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (
            "flips: {source: dog, target: next}",
            "flips: {source: dgo, target: next}",
            "animals.poisons.next.flips.source",
        ),
        ("target: cat}}\n  two", "target: dgo}}\n  two", "animals.poisons.all.flips.target"),
        ("paths: pets, source: dog", "paths: pets, source: dgo", "buckets.pets.source"),
        ("parameters: {source: dog}", "parameters: {source: dgo}", "analyses.nets.parameters.source"),
    ],
)
def test_a_misspelt_class_is_refused_with_the_classes_and_a_suggestion(folder, old, new, where):
    with pytest.raises(InputError) as error:
        planned(folder, (old, new))
    assert str(error.value) == (
        f"{where}: class dgo is not among 0 … 3 or 'ant', 'cat', 'dog', 'emu'; did you mean 'dog'? choose one of these"
    )


def test_a_name_that_a_subset_left_out_is_refused(folder):
    with pytest.raises(InputError, match=r"flips\.source: class emu is not among 0 … 1 or 'dog', 'cat'; choose one"):
        planned(
            folder,
            ("two: {<<: *flip, dataset: two}", "two: {<<: *flip, dataset: two, flips: {source: emu, target: cat}}"),
        )


def test_a_class_of_an_analysis_that_is_neither_number_nor_name_is_refused(folder):
    with pytest.raises(InputError, match=r"parameter source of 'clean_nets' is 1\.5, allowed is a whole number"):
        planned(folder, ("parameters: {source: dog}", "parameters: {source: 1.5}"))


@pytest.mark.parametrize("classes", [None, ["1", "10"]])
@pytest.mark.parametrize("source", ["npz", "named npz", "table", "two tables", "folder", "split folder"])
def test_the_names_from_the_files_alone_are_those_of_the_prepared_data(folder, source, classes):
    labels = np.array([0, 2, 1] * 4)
    names = np.array(["1", "5", "10"]) if "npz" in source else np.array(["1", "10", "5"])
    path = folder / "own"
    specification: dict[str, Any] = {"source": source.rpartition(" ")[2], "path": str(path)}
    if specification["source"] == "npz":
        arrays = {f"{split}_images": np.zeros((12, 3)) for split in ("train", "test")}
        arrays |= {f"{split}_labels": labels for split in ("train", "test")}
        path = path.with_suffix(".npz")
        np.savez(path, **arrays, **({"class_names": names} if source == "named npz" else {}))
    elif "table" in source:
        path = path.with_suffix(".csv")
        table = pd.DataFrame({"x": np.arange(12) ** 2 / 3, "label": names[labels]})
        table.to_csv(path, index=False)
        specification["source"] = "table"
        if source == "two tables":
            table.to_csv(folder / "test.csv", index=False)
            specification["test_path"] = str(folder / "test.csv")
    else:
        for split in ("train", "test") if source == "split folder" else (".",):
            for name in names:
                (path / split / name).mkdir(parents=True)
                for k in range(3):
                    Image.new("L", (4, 4), k).save(path / split / name / f"{k}.png")
    specification["path"] = str(path)
    if classes:
        specification["classes"] = [1, 0] if source == "npz" else classes
    assert own.class_names("it", specification) == prepare("it", specification).class_names


def test_a_changed_file_has_new_names(folder):
    import os

    for stamp, names in ((1, ("a", "b")), (2, ("c", "d"))):
        pd.DataFrame({"x": np.arange(8) ** 2 / 3, "label": [*names] * 4}).to_csv("it.csv", index=False)
        os.utime("it.csv", ns=(stamp, stamp))
        assert own.class_names("it", {"source": "table", "path": "it.csv"}) == names
