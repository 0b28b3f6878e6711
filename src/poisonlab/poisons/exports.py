"""A poison as a table of indices and labels, or as the poisoned data set, for programs that know nothing of poisons."""

import csv
from pathlib import Path

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons import files
from poisonlab.poisons.poison import Poison, TrainingSet, apply
from poisonlab.results.storage import atomic

COLUMNS = ("index", "source_index", "label", "poisoned_label")
FOLDERS = (Path("results", "data"), Path("results", "features"))


def export_poison(file: Path, out: Path, data: Path | None = None, value: float | None = None) -> str:
    """Write a poison as `.csv` or as `.npz`, and say what was written.

    Args:
        file: of a poison; out: the name's ending chooses the format.
        data: file of the data set that it was crafted for; None looks for it by its digest in `FOLDERS`.
        value: of the poison's sweep, None without one.

    Raises:
        InputError: a file cannot be read, the data are not there, or the format cannot hold such a poison.
    """
    found = files.load(file)
    own = found.poison(value)
    dataset = Dataset.load(data) if data else _of_digest(found.data, file)
    if dataset.digest != found.data:
        raise InputError(
            f"poison file '{file}' was crafted for other data than '{data}'; leave out --data, or correct it"
        )
    own.validate(dataset)
    if out.suffix == ".csv":
        return _table(own, dataset, out)
    if out.suffix == ".npz":
        return _arrays(apply(own, dataset), dataset, out)
    raise InputError(f"'{out}' ends in '{out.suffix}', allowed are .csv and .npz; rename it")


def _of_digest(digest: str, file: Path) -> Dataset:
    for one in sorted(path for folder in FOLDERS for path in folder.glob("*.safetensors")):
        dataset = Dataset.load(one)
        if dataset.digest == digest:
            return dataset
    raise InputError(
        f"the data of '{file}' (digest {digest[:12]}) are in none of the files of {' and '.join(map(str, FOLDERS))}; "
        "give them by --data. A data set that each draw divides or draws anew is in no file"
    )


def _table(poison: Poison, dataset: Dataset, out: Path) -> str:
    """Write `COLUMNS` for each edited point: its place in the data set and in its source, its label, the new one."""
    if len(poison.replace_index) or len(poison.append_labels):
        raise InputError(
            f"the poison changes or adds images, which no table of labels holds; export it as {out.stem}.npz"
        )
    edits = [
        *zip(poison.relabel_index.tolist(), poison.relabel_label.tolist(), strict=True),
        *((index, "") for index in poison.drop_index.tolist()),
    ]
    with atomic(out) as temporary, open(temporary, "w", encoding="utf-8", newline="") as opened:
        rows = csv.writer(opened, lineterminator="\n")
        rows.writerow(COLUMNS)
        for index, label in edits:
            rows.writerow([index, int(dataset.train_index[index]), int(dataset.train_labels[index]), label])
    return f"{out}: {len(edits)} points of '{dataset.name}'"


def _arrays(trained: TrainingSet, dataset: Dataset, out: Path) -> str:
    """Write the poisoned data set as the source `npz` reads it, channels last; and which points are poisoned."""
    extra = [f"new {number}" for number in range(dataset.num_classes, trained.num_classes)]
    arrays = {
        "train_images": _channels_last(trained.images),
        "train_labels": trained.labels,
        "test_images": _channels_last(dataset.test_images),
        "test_labels": dataset.test_labels,
        "class_names": np.array([*dataset.class_names, *extra]),
        "poisoned": trained.poisoned,
    }
    if trained.validation is not None:
        images, labels = trained.validation
        arrays |= {"validation_images": _channels_last(images), "validation_labels": labels}
    with atomic(out) as temporary, open(temporary, "wb") as opened:
        np.savez_compressed(opened, **arrays)  # type: ignore[arg-type]
    return f"{out}: {len(trained.labels)} training points, {len(trained.poisoned)} of them poisoned"


def _channels_last(images: np.ndarray) -> np.ndarray:
    if images.ndim != 4:
        return images
    return images[:, 0] if images.shape[1] == 1 else np.moveaxis(images, 1, -1)
