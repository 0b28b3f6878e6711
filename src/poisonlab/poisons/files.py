"""Poison files: portable, one for each draw, with the edits for every value of the poison's sweep.

A file can be read without the pipeline, checked against the data that it was crafted for, and applied
(`docs/poison_files.md`). Its arrays are those of `poison.Poison`, named ``<position>.<edit>``; its metadata hold the
data's digest, the draw, the sweep and the facts.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.poison import EDITS, Poison
from poisonlab.results import storage

FORMAT = 2  # of the file; a reader refuses what it does not know
WITHOUT_DROPS = 1  # the format of files that leave no point out: older readers know all that is in them


@dataclass(frozen=True)
class PoisonFile:
    """What a poison file holds.

    Attributes:
        poisons: one for each value of the sweep.
        draw: its number.
        sweep: name of the swept number, "" without a sweep; values: its values, [None] without one.
        data: SHA-256 of the data set that was poisoned, see `Dataset.digest`.
        settings: strategy, parameters, flips and budget.
    """

    poisons: list[Poison]
    draw: int
    sweep: str
    values: list[float | None]
    data: str
    settings: Mapping[str, Any]

    def poison(self, value: float | None = None) -> Poison:
        """The poison at a value of the sweep; without one, the only poison.

        Raises:
            InputError: there is no such value.
        """
        if value not in self.values:
            if not self.sweep:
                raise InputError(
                    f"the poison file has one poison and no sweep, {value} is asked for; leave the value out"
                )
            raise InputError(f"the poison file has no {self.sweep} {value}, it has {self.values}; choose one of these")
        return self.poisons[self.values.index(value)]


def save(
    path: str | Path,
    poisons: Sequence[Poison],
    dataset: Dataset,
    *,
    draw: int = 0,
    sweep: str = "",
    values: Sequence[float | None] = (None,),
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write the poisons of one draw, one for each value of the sweep; the same content gives the same bytes.

    Raises:
        InputError: a poison does not fit the data set.
    """
    tensors = {}
    for position, poison in enumerate(poisons):
        poison.validate(dataset)
        for name in EDITS:
            if (array := getattr(poison, name)) is not None:
                tensors[f"{position}.{name}"] = array
    metadata = {
        "format": FORMAT if any(len(poison.drop_index) for poison in poisons) else WITHOUT_DROPS,
        "draw": draw,
        "sweep": sweep,
        "values": list(values),
        "data": dataset.digest,
        "num_classes": [poison.num_classes for poison in poisons],
        "facts": [dict(poison.facts) for poison in poisons],
        "settings": dict(settings or {}),
    }
    storage.write_tensors(tensors, path, {"poison": json.dumps(metadata, sort_keys=True)})


def load(path: str | Path, dataset: Dataset | None = None) -> PoisonFile:
    """Read what `save` wrote.

    Args:
        dataset: what the poisons are meant for; None does not check.

    Raises:
        InputError: the file is damaged, no poison file, of a later format, or of other data.
    """
    tensors, header = storage.read_tensors(path)
    if "poison" not in header:
        raise InputError(
            f"file '{path}' holds no poison; give a file that the pipeline or poisonlab.poisons.files.save wrote"
        )
    facts = json.loads(header["poison"])
    if facts["format"] not in (WITHOUT_DROPS, FORMAT):
        raise InputError(
            f"poison file '{path}' has the format {facts['format']}, this version reads up to {FORMAT}; craft it again"
        )
    if dataset is not None and facts["data"] != dataset.digest:
        raise InputError(
            f"poison file '{path}' was crafted for other data (digest {facts['data'][:12]}) than '{dataset.name}' "
            f"({dataset.digest[:12]}); craft it again, or load the data that it is meant for"
        )
    poisons = []
    for position, (num_classes, own) in enumerate(zip(facts["num_classes"], facts["facts"], strict=True)):
        arrays = {name: array for name in EDITS if (array := tensors.get(f"{position}.{name}")) is not None}
        poisons.append(Poison(num_classes=num_classes, **arrays, facts=own))
    return PoisonFile(poisons, facts["draw"], facts["sweep"], facts["values"], facts["data"], facts["settings"])
