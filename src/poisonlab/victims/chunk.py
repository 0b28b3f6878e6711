"""A chunk of victims: one condition, every value of its sweep axis, a range of draws, a range of repeats. One job, one file, resumable."""

import hashlib
import itertools
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.toys import redrawn
from poisonlab.errors import InputError
from poisonlab.models.inference import predict, rebuild, resolve_device
from poisonlab.poisons import poison as poisons
from poisonlab.poisons.poison import Place, Poison, TrainingSet
from poisonlab.results import storage
from poisonlab.seeds import seed
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

SECONDS_BETWEEN_SAVES = 5.0  # of the finished victims of a chunk; what a kill may cost beyond the victims under way
SCALARS = ("device", "epochs", "train_accuracy", "fitted_share", "natural_accuracy")
KNOWN = ".known"  # ends the second name of a chunk's file
Row = dict[str, Any]


def victim_key(condition: str, place: Place, repeat: int) -> str:
    """Name of a victim in its chunk's file, by the condition and place of its poison."""
    draw, axis_value = place
    axis = "" if axis_value is None else f"_axis-{axis_value}"
    return f"{condition}_draw-{draw}{axis}_repeat-{repeat}"


def crafted(poison_files: Mapping[str, str | Path]) -> list[tuple[str, Poison, Place]]:
    """Condition, poison and place of everything that was crafted for a chunk: condition → file of its poisons."""
    return [
        (condition, poison, place)
        for condition, file in poison_files.items()
        for poison, place in zip(*poisons.load(file), strict=True)
    ]


def identity(training_set: TrainingSet, dataset_digest: str, settings: Mapping[str, Any]) -> str:
    """Hash of everything that a victim's weights depend on, but for its repeat."""
    facts = [dataset_digest, training_set.num_classes, settings]
    content = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in (training_set.labels, training_set.poisoned, training_set.images[training_set.poisoned]):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _known_victims(experiment: Path, wanted: Mapping[str, str]) -> dict[str, tuple[dict[str, np.ndarray], Row]]:
    """Victims that other chunks of the experiment, or a killed run of this one, have already trained with the same identity."""
    known: dict[str, tuple[dict[str, np.ndarray], Row]] = {}
    files = set(experiment.glob("*/*.safetensors*"))
    for file in sorted(files):
        if file.suffix == KNOWN and file.with_suffix("") in files:
            continue  # its second name
        try:
            tensors, metadata = storage.read_tensors(file)
        except InputError:
            continue  # half-written by nobody: a damaged file is simply not reused
        rows, parameters = json.loads(metadata.get("victims", "{}")), _by_victim(tensors)
        same = [key for key, row in rows.items() if wanted.get(key) == row["identity"]]
        known |= {key: (parameters[key], rows[key]) for key in same}
    return known


def _by_victim(tensors: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Parameters of every victim in a chunk's file."""
    victims: dict[str, dict[str, np.ndarray]] = {}
    for name, array in tensors.items():
        key, _, parameter = name.partition("/")
        victims.setdefault(key, {})[parameter] = array
    return victims


def _save(victims: Mapping[str, tuple[dict[str, np.ndarray], Row]], path: Path) -> None:
    tensors = {f"{key}/{name}": array for key, (state, _) in victims.items() for name, array in state.items()}
    scalars = {key: row for key, (_, row) in victims.items()}
    storage.write_tensors(tensors, path, {"victims": json.dumps(scalars, sort_keys=True)})


def _link(file: Path, name: Path) -> None:
    """Give a file a second name, in place of what had it: the same bytes, which take no more room where the file system has links."""
    name.unlink(missing_ok=True)
    try:
        name.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, name)


def train_chunk(
    dataset: Dataset,
    poison_files: Mapping[str, str | Path],
    output: str | Path,
    columns: Row,
    repeats: Sequence[int],
    model: str,
    recipe: Mapping[str, Any],
    precision: str,
    device: str,
    code_version: str,
    redraw: dict[str, Any] | None = None,
    keep: bool = True,
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train the victims of a chunk, write them to `output` and return their rows of the `victims` table.

    Every few seconds the finished victims are saved beside `output`; a killed job goes on from there, and a job whose range of repeats
    overlaps an older chunk's takes the victims from it instead of training them again.

    Args:
        poison_files: condition → file of its poisons; all of them have the same draws.
        output: `<folder of the experiment>/<conditions>/<chunk>`.
        columns: study and experiment of every row.
        code_version: of the trainer; a victim of another version is not reused.
        redraw: options of the toy whose training set each draw draws anew, see `datasets.toys.redrawn`.
        keep: leave the victims where the same job finds them when it runs again, because of another condition's poison or because its
            end was not noted. Its output is gone then: Snakemake deletes it before.
    """
    where = resolve_device(device)
    output = Path(output)
    pieces = crafted(poison_files)
    drawn = {draw: redrawn(dataset, redraw, draw) for draw in sorted({place[0] for _, _, place in pieces})}
    training_sets = [poisons.apply(poison, drawn[place[0]]) for _, poison, place in pieces]
    settings = {
        "model": model,
        "recipe": dict(recipe),
        "precision": precision,
        "device": where.type,
        "code": code_version,
    }
    identities = [
        identity(training_set, drawn[place[0]].digest, settings)
        for training_set, (_, _, place) in zip(training_sets, pieces, strict=True)
    ]
    position_of = {
        victim_key(condition, place, repeat): n for n, (condition, _, place) in enumerate(pieces) for repeat in repeats
    }
    wanted = {key: identities[position] for key, position in position_of.items()}
    victims = _known_victims(output.parent.parent, wanted)
    checkpoint = output.with_name(f"{output.name}.unfinished")
    jobs = [
        VictimJob(key, training_set, seed("victim", repeat=repeat))
        for (condition, _, place), training_set in zip(pieces, training_sets, strict=True)
        for repeat in repeats
        if (key := victim_key(condition, place, repeat)) not in victims
    ]
    test_labels = torch.from_numpy(dataset.test_labels).to(where)
    test_images = torch.from_numpy(dataset.test_images).to(where)

    def with_count(line: str) -> None:
        progress(f"{len(victims)} of {len(position_of)} victims trained; {line}")

    saved = 0.0
    for job, victim in train(jobs, model, Recipe(**recipe), precision, where, with_count):
        network = rebuild(model, dataset.input_shape, job.training_set.num_classes, victim.parameters, where)
        row = {
            "identity": wanted[job.key],
            "device": where.type,
            "epochs": victim.epochs,
            "train_accuracy": victim.train_accuracy,
            "fitted_share": victim.fitted_share,
            "natural_accuracy": float((predict(network, test_images) == test_labels).double().mean()),
        }
        victims[job.key] = (victim.parameters, row)
        if time.monotonic() - saved >= SECONDS_BETWEEN_SAVES:
            _save(victims, checkpoint)
            saved = time.monotonic()
    _save({key: victims[key] for key in position_of}, output)
    if keep:
        _link(output, output.with_name(f"{output.name}{KNOWN}"))
    checkpoint.unlink(missing_ok=True)
    rows = []
    for ((condition, _, place), training_set), repeat in itertools.product(
        zip(pieces, training_sets, strict=True), repeats
    ):
        scalars = victims[victim_key(condition, place, repeat)][1]
        rows.append(
            {**_identifying(columns, condition, place, repeat), **{name: scalars[name] for name in SCALARS}}
            | {"memorised": scalars["train_accuracy"] == 1.0}
            | {"training_set": identity(training_set, drawn[place[0]].digest, {})[:16]}
        )
    return pd.DataFrame(rows)


def _identifying(columns: Row, condition: str, place: Place, repeat: int) -> Row:
    return {**columns, "condition": condition, "draw": place[0], "axis_value": place[1], "repeat": repeat}


def load_chunk(
    path: str | Path, poison_files: Mapping[str, str | Path], columns: Row, repeats: Sequence[int]
) -> list[tuple[Row, int, dict[str, np.ndarray]]]:
    """Read a chunk, or some of its conditions: for every victim its identifying columns, its number of classes and its parameters."""
    parameters = _by_victim(storage.read_tensors(path)[0])
    return [
        (
            _identifying(columns, condition, place, repeat),
            poison.num_classes,
            parameters[victim_key(condition, place, repeat)],
        )
        for condition, poison, place in crafted(poison_files)
        for repeat in repeats
    ]
