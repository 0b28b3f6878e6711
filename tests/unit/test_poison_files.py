"""Poison files: what is written is read again, without the pipeline, and only for the data that it is meant for."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.errors import InputError
from poisonlab.poisons import files
from poisonlab.poisons.poison import EDITS, Poison
from poisonlab.results.storage import write_tensors


def dataset(shift: float = 0.0) -> Dataset:
    """Eighty points of three classes."""
    images = np.random.default_rng(1).random((80, 1, 1, 2), dtype=np.float32) * (1 - shift)
    labels = np.arange(80) % 3
    return make_dataset("toy", (images, labels), (images, labels), ("a", "b", "c"))


@pytest.fixture
def poisons() -> list[Poison]:
    """Poisons with every kind of edit, and without."""
    generator = np.random.default_rng(3)
    found = []
    for k in range(12):
        index = generator.permutation(60)[:k].astype(np.int64)
        found.append(
            Poison(
                num_classes=3 + k % 2,
                relabel_index=index,
                relabel_label=(index + 1) % 3,
                replace_index=np.arange(60, 60 + k),
                replace_images=generator.random((k, 1, 1, 2), dtype=np.float32) if k else None,
                replace_labels=generator.integers(0, 3, k),
                append_images=generator.random((2, 1, 1, 2), dtype=np.float32) if k % 2 else None,
                append_labels=generator.integers(0, 3, 2 * (k % 2)),
                facts={"objective": k / 3} if k % 3 else {},
            )
        )
    return found


VALUES = [k / 3 for k in range(12)]  # thirds have no finite decimal form


def test_a_file_keeps_every_poison_to_the_bit(poisons, tmp_path: Path):
    file, settings = tmp_path / "poison.safetensors", {"strategy": "random", "budget": 0.1}
    files.save(file, poisons, dataset(), draw=4, sweep="r", values=VALUES, settings=settings)
    found = files.load(file, dataset())
    assert (found.draw, found.sweep, found.values, found.settings) == (4, "r", VALUES, settings)
    for value, expected in zip(VALUES, poisons, strict=True):
        poison = found.poison(value)
        assert (poison.num_classes, poison.facts) == (expected.num_classes, expected.facts)
        for name in EDITS:
            array, kept = getattr(expected, name), getattr(poison, name)
            if array is None:
                assert kept is None
            else:
                assert (kept.dtype, kept.shape, kept.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_a_poison_without_a_sweep_needs_no_value(tmp_path: Path):
    files.save(tmp_path / "poison.safetensors", [Poison(3)], dataset())
    found = files.load(tmp_path / "poison.safetensors")
    assert (found.sweep, found.values) == ("", [None])
    assert found.poison().budget == 0
    with pytest.raises(InputError, match="has one poison and no sweep, 2 is asked for; leave the value out"):
        found.poison(2)


def test_the_same_poisons_give_the_same_bytes(poisons, tmp_path: Path):
    for name in ("one", "two"):
        files.save(tmp_path / name, poisons, dataset(), values=VALUES)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    other = [dataclasses.replace(poisons[0], num_classes=9), *poisons[1:]]
    files.save(tmp_path / "three", other, dataset(), values=VALUES)
    assert (tmp_path / "three").read_bytes() != (tmp_path / "one").read_bytes()


def test_a_file_is_refused_for_other_data_and_where_it_holds_no_poison(poisons, tmp_path: Path):
    file = tmp_path / "poison.safetensors"
    files.save(file, poisons, dataset(), values=VALUES)
    with pytest.raises(
        InputError, match=r"was crafted for other data .* than 'toy' .*; craft it again, or load the data"
    ):
        files.load(file, dataset(shift=0.5))
    write_tensors({}, file, {"poison": json.dumps({"format": 7})})
    with pytest.raises(InputError, match="has the format 7, this version reads up to 2; craft it again"):
        files.load(file)
    write_tensors({}, file, {"another": "thing"})
    with pytest.raises(InputError, match="holds no poison"):
        files.load(file)


def test_a_poison_that_does_not_fit_its_data_is_not_written(tmp_path: Path):
    poison = Poison(3, relabel_index=np.array([99]), relabel_label=np.array([1]))
    with pytest.raises(InputError, match="edits position 99 of 'toy'"):
        files.save(tmp_path / "poison.safetensors", [poison], dataset())
    assert list(tmp_path.iterdir()) == []
