"""A chunk of victims: some conditions, some draws, some repeats. One job, one file, resumable."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from poisonlab import models
from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.draws import of_draw
from poisonlab.errors import InputError
from poisonlab.models import kernels
from poisonlab.models.inference import predict, rebuild, resolve_device
from poisonlab.poisons import files
from poisonlab.poisons.poison import Poison, TrainingSet, apply
from poisonlab.results import storage
from poisonlab.seeds import seed
from poisonlab.victims import cleanings
from poisonlab.victims.checkpoint import Checkpoint, Row, by_victim, known_victims, link, write_victims
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.timing import Stopwatch
from poisonlab.victims.victim import VictimJob

COLUMNS = ("device", "epochs", "train_accuracy", "fitted_share", "natural_accuracy")
OWN_COLUMNS = {*COLUMNS, "condition", "draw", "axis_value", "repeat", "memorised", "training_set", "diverged"}
PoisonFiles = Mapping[str, Sequence[str | Path]]  # condition → files of its poison, one for each draw
Place = tuple[int, float | None]  # draw and value of the sweep, None without one


def victim_key(condition: str, place: Place, repeat: int) -> str:
    """Name of a victim in its chunk's file, by the condition and place of its poison."""
    draw, axis_value = place
    axis = "" if axis_value is None else f"_axis-{axis_value}"
    return f"{condition}_draw-{draw}{axis}_repeat-{repeat}"


def crafted(poison_files: PoisonFiles, value: float | None = None) -> list[tuple[str, Poison, Place]]:
    """Condition, poison and place of everything that was crafted for a chunk.

    Args:
        value: of the victims' own sweep, which takes the place of the poison's.
    """
    found = [(condition, files.load(file)) for condition, draws in poison_files.items() for file in draws]
    return [
        (condition, poison, (one.draw, own if value is None else value))
        for condition, one in found
        for poison, own in zip(one.poisons, one.values, strict=True)
    ]


def identity(training_set: TrainingSet, dataset_digest: str, settings: Mapping[str, Any]) -> str:
    """Hash of everything that a victim's weights depend on, but for its repeat."""
    facts = [dataset_digest, training_set.num_classes, settings]
    content = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for array in (training_set.labels, training_set.poisoned, training_set.images[training_set.poisoned]):
        content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def _identities(training_set: TrainingSet, digest: str, settings: Mapping[str, Any]) -> tuple[str, str]:
    """A victim's identity, and the hash of its training set alone."""
    return identity(training_set, digest, settings), identity(training_set, digest, {})[:16]


def train_chunk(
    dataset: Dataset,
    poison_files: PoisonFiles,
    output: str | Path,
    columns: Row,
    repeats: Sequence[int],
    model: models.Specification,
    recipe: Mapping[str, Any],
    precision: str,
    device: str,
    code_version: str,
    per_draw: Mapping[str, Any] | None = None,
    value: float | None = None,
    keep: bool = True,
    progress: Callable[[str], None] = lambda line: None,
    seconds: str | Path | None = None,
) -> pd.DataFrame:
    """Train the victims of a chunk, write them to `output` and return their rows of the `victims` table.

    Every few seconds the finished victims are saved beside `output`, and every few minutes the state of the one under
    way; a killed job goes on from there, and a job whose range of repeats overlaps an older chunk's takes the victims
    from it instead of training them again. A training set is made when a victim needs it.

    Args:
        poison_files: condition → files of its poison; all of them have the same draws.
        output: `<folder of the experiment>/<victim>/<chunk>`.
        columns: study and experiment of every row.
        code_version: of the trainer; a victim of another version is not reused.
        per_draw: what each draw changes of the data set, see `datasets.draws.of_draw`.
        value: of the victims' own sweep, None without one.
        keep: leave the victims where the same job finds them when it runs again, because of another condition's poison
            or because its end was not noted. Its output is gone then: Snakemake deletes it before.
        seconds: file for how long each victim was trained; None: that is not kept.

    Returns:
        Identifying columns, `COLUMNS`, memorised, training_set (a hash), diverged, the scalars of model and objective,
        and the poison's facts as `poison_<name>`.

    Raises:
        InputError: a poison, the model or the recipe is not allowed, or a scalar is called like another column.
    """
    where = resolve_device(device)
    output = Path(output)
    pieces = crafted(poison_files, value)
    drawn = {draw: of_draw(dataset, per_draw, draw) for draw in sorted({place[0] for _, _, place in pieces})}
    settings = {
        "model": models.parse(model),
        "recipe": dict(recipe),
        "precision": precision,
        "device": where.type,
        "code": code_version,
        "kernels": kernels.enabled(),
    }
    digests = {draw: own.digest for draw, own in drawn.items()}
    wanted: dict[str, str] = {}
    identifying: dict[str, Row] = {}
    hashes: dict[str, str] = {}
    facts: dict[str, Row] = {}
    for condition, poison, place in pieces:
        # Made for its identity alone, and again when it is needed: a chunk's training sets together may exceed the
        # memory.
        whole, content = _identities(apply(poison, drawn[place[0]]), digests[place[0]], settings)
        for repeat in repeats:
            key = victim_key(condition, place, repeat)
            wanted[key], hashes[key] = whole, content
            identifying[key] = _identifying(columns, condition, place, repeat)
            facts[key] = {f"poison_{name}": number for name, number in sorted(poison.facts.items())}
    victims = known_victims(output.parent.parent, wanted)
    checkpoint, stopwatch = Checkpoint(output, wanted), Stopwatch(seconds, wanted)
    how, cleaned = Recipe.of(recipe, "recipe"), dict[str, Row]()

    def jobs() -> Iterator[VictimJob]:
        for condition, poison, place in pieces:
            keys = {repeat: victim_key(condition, place, repeat) for repeat in repeats}
            missing = {repeat: key for repeat, key in keys.items() if key not in victims}
            if not missing:
                continue
            training_set, left_out = cleanings.clean(apply(poison, drawn[place[0]]), how)
            for repeat, key in missing.items():
                cleaned[key] = left_out
                yield VictimJob(key, training_set, seed("victim", repeat=repeat), box=dataset.box, free=dataset.free)
            del training_set  # before the next one is made

    test_labels = torch.from_numpy(dataset.test_labels).to(where)
    test_images = torch.from_numpy(dataset.test_images).to(where)

    def with_count(line: str) -> None:
        progress(f"{len(victims)} of {len(wanted)} victims trained; {line}")

    for job, victim in train(jobs(), model, how, precision, where, with_count, checkpoint):
        network = rebuild(model, dataset.input_shape, job.training_set.num_classes, victim.parameters, where)
        row = {
            "identity": wanted[job.key],
            "device": where.type,
            "epochs": victim.epochs,
            "train_accuracy": victim.train_accuracy,
            "fitted_share": victim.fitted_share,
            "natural_accuracy": float((predict(network, test_images) == test_labels).double().mean()),
            "diverged": victim.diverged,
            "scalars": {**victim.scalars, **cleaned[job.key]},
        }
        if taken := sorted(victim.scalars.keys() & {*columns, *OWN_COLUMNS}):
            raise InputError(f"scalars {taken} are called like columns of the victims table; give them other names")
        victims[job.key] = (victim.parameters, row)
        stopwatch.note(job.key, victim.seconds)
        checkpoint.add(job.key, *victims[job.key])
        del job  # with its training set
    stopwatch.save()
    write_victims({key: victims[key] for key in wanted}, output)
    if keep:
        link(output)
    checkpoint.remove()
    return pd.DataFrame([_row(identifying[key], hashes[key], victims[key][1]) | facts[key] for key in wanted])


def _row(identifying: Row, training_set: str, found: Row) -> Row:
    """A victim's row; what older tables lack comes at the end."""
    known = {name: found[name] for name in COLUMNS}
    memorised = {"memorised": found["train_accuracy"] == 1.0, "training_set": training_set}
    return identifying | known | memorised | {"diverged": found["diverged"]} | dict(sorted(found["scalars"].items()))


def _identifying(columns: Row, condition: str, place: Place, repeat: int) -> Row:
    return {**columns, "condition": condition, "draw": place[0], "axis_value": place[1], "repeat": repeat}


def load_chunk(
    path: str | Path, poison_files: PoisonFiles, columns: Row, repeats: Sequence[int], value: float | None = None
) -> list[tuple[Row, int, dict[str, np.ndarray]]]:
    """Read a chunk, or some of its conditions: for every victim its identifying columns, its number of classes and its
    parameters.
    """
    parameters = by_victim(storage.read_tensors(path)[0])
    return [
        (
            _identifying(columns, condition, place, repeat),
            poison.num_classes,
            parameters[victim_key(condition, place, repeat)],
        )
        for condition, poison, place in crafted(poison_files, value)
        for repeat in repeats
    ]
