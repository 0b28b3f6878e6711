"""A chunk of victims: one condition, one draw, every value of its sweep axis, a range of repeats. One job, one file, resumable."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from poisonlab import poison as poisons
from poisonlab import storage
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poison import TrainingSet
from poisonlab.seeds import seed
from poisonlab.victims import engine
from poisonlab.victims.recipe import Recipe

SCALARS = ("epochs", "train_accuracy", "fitted_share", "natural_accuracy")
Row = dict[str, Any]


def victim_key(axis_position: int, repeat: int) -> str:
    """Name of a victim in its chunk's file."""
    return f"axis-{axis_position}_repeat-{repeat}"


def identity(training_set: TrainingSet, dataset_digest: str, settings: Mapping[str, Any]) -> str:
    """Hash of everything that a victim's weights depend on, but for its repeat."""
    facts = [dataset_digest, training_set.num_classes, settings]
    content = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in (training_set.labels, training_set.poisoned, training_set.images[training_set.poisoned]):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _known_victims(folder: Path, stem: str, wanted: Mapping[str, str]) -> dict[str, tuple[dict[str, np.ndarray], Row]]:
    """Victims that other chunks of the same draw, or a killed run of this one, have already trained with the same identity."""
    known: dict[str, tuple[dict[str, np.ndarray], Row]] = {}
    for file in sorted(folder.glob(f"{stem}_*.safetensors*")):
        try:
            tensors, metadata = storage.read_tensors(file)
        except InputError:
            continue  # half-written by nobody: a damaged file is simply not reused
        for key, scalars in json.loads(metadata.get("victims", "{}")).items():
            if wanted.get(key) == scalars["identity"]:
                known[key] = (_parameters(tensors, key), scalars)
    return known


def _parameters(tensors: Mapping[str, np.ndarray], key: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{key}/"): array for name, array in tensors.items() if name.startswith(f"{key}/")}


def _save(victims: Mapping[str, tuple[dict[str, np.ndarray], Row]], path: Path) -> None:
    tensors = {f"{key}/{name}": array for key, (state, _) in victims.items() for name, array in state.items()}
    scalars = {key: row for key, (_, row) in victims.items()}
    storage.write_tensors(tensors, path, {"victims": json.dumps(scalars, sort_keys=True)})


def train_chunk(
    dataset: Dataset,
    poison_file: str | Path,
    output: str | Path,
    columns: Row,
    repeats: Sequence[int],
    model: str,
    recipe: Mapping[str, Any],
    precision: str,
    device: str,
    code_version: str,
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train the victims of a chunk, write them to `output` and return their rows of the `victims` table.

    After each victim the finished ones are saved beside `output`; a killed job goes on from there, and a job whose range of repeats
    overlaps an older chunk's takes the victims from it instead of training them again.

    Args:
        columns: study, experiment, condition and draw of every row.
        code_version: of the trainer; a victim of another version is not reused.
    """
    where = engine.resolve_device(device)
    output = Path(output)
    poisons_of_axis, axis_values = poisons.load(poison_file)
    training_sets = [poisons.apply(poison, dataset) for poison in poisons_of_axis]
    settings = {
        "model": model,
        "recipe": dict(recipe),
        "precision": precision,
        "device": where.type,
        "code": code_version,
    }
    identities = [identity(training_set, dataset.digest, settings) for training_set in training_sets]
    keys = [(position, repeat) for position in range(len(axis_values)) for repeat in repeats]
    stem = output.name.partition("_repeats-")[0]
    victims = _known_victims(output.parent, stem, {victim_key(*key): identities[key[0]] for key in keys})
    checkpoint = output.with_name(f"{output.name}.unfinished")
    jobs = [
        engine.VictimJob(victim_key(position, repeat), training_sets[position], seed("victim", repeat=repeat))
        for position, repeat in keys
        if victim_key(position, repeat) not in victims
    ]
    test_labels = torch.from_numpy(dataset.test_labels).to(where)
    test_images = torch.from_numpy(dataset.test_images).to(where)
    position_of = {victim_key(*key): key[0] for key in keys}

    def with_count(line: str) -> None:
        progress(f"{len(victims)} of {len(keys)} victims trained; {line}")

    for job, victim in engine.train(jobs, model, Recipe(**recipe), precision, where, with_count):
        network = engine.rebuild(model, dataset.input_shape, job.training_set.num_classes, victim.parameters, where)
        row = {
            "identity": identities[position_of[job.key]],
            "epochs": victim.epochs,
            "train_accuracy": victim.train_accuracy,
            "fitted_share": victim.fitted_share,
            "natural_accuracy": float((engine.predict(network, test_images) == test_labels).double().mean()),
        }
        victims[job.key] = (victim.parameters, row)
        _save(victims, checkpoint)
    _save({victim_key(*key): victims[victim_key(*key)] for key in keys}, output)
    checkpoint.unlink(missing_ok=True)
    rows = []
    for position, repeat in keys:
        scalars = victims[victim_key(position, repeat)][1]
        rows.append(
            {
                **columns,
                "axis_value": axis_values[position],
                "repeat": repeat,
                **{name: scalars[name] for name in SCALARS},
            }
            | {"memorised": scalars["train_accuracy"] == 1.0}
        )
    return pd.DataFrame(rows)


def load_chunk(
    path: str | Path, poison_file: str | Path, columns: Row, repeats: Sequence[int]
) -> list[tuple[Row, int, dict[str, np.ndarray]]]:
    """Read a chunk back: for every victim its identifying columns, its number of classes and its parameters."""
    tensors, _ = storage.read_tensors(path)
    poisons_of_axis, axis_values = poisons.load(poison_file)
    return [
        (
            {**columns, "axis_value": axis_values[position], "repeat": repeat},
            poison.num_classes,
            _parameters(tensors, victim_key(position, repeat)),
        )
        for position, poison in enumerate(poisons_of_axis)
        for repeat in repeats
    ]
