"""A data set: training and test images with their labels."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from poisonlab.errors import InputError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Column:
    """What a feature of a table is.

    Attributes:
        name: of the table's column.
        category: the feature is 1 in rows of this category and 0 in others; None for a number.
        mean, scale: a number of the table is feature × scale + mean.
    """

    name: str
    category: str | None = None
    mean: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their labels; validation images where `splits.split` divided the training set.

    Images are [n, channels, height, width], vectors [n, features]: uint8 0 … 255 that means value / 255, or float32.
    Labels are 0 … num_classes − 1, int64; of a subset they follow the order in which its classes are listed.
    An index is the position in the source's training or test set, of a table the row of its file, int64.

    Attributes:
        box: the values that an attack may reach: (0, 1) for images, None for unbounded features.
        centres: [classes, features] float64, means of the classes' distributions where they are known (toys); further
            features, which are noise, have none.
        free: bool, of the shape of one point: the features that attacks may move; None for all of them.
        columns: of a table, what each feature is.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray  # [n] int64
    test_images: np.ndarray
    test_labels: np.ndarray  # [n] int64
    class_names: tuple[str, ...]
    box: tuple[float, float] | None
    train_index: np.ndarray  # [n]
    test_index: np.ndarray  # [n]
    centres: np.ndarray | None = None
    validation_images: np.ndarray | None = None  # as train_images
    validation_labels: np.ndarray | None = None  # [n] int64
    validation_index: np.ndarray | None = None  # [n], position in the source's training set
    free: np.ndarray | None = None
    columns: tuple[Column, ...] | None = None

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one point: (channels, height, width) or (features,)."""
        return self.train_images.shape[1:]

    def check_class(self, label: int, key: str) -> None:
        """Refuse a class that is not there; `key` is where the configuration names it.

        Raises:
            InputError: it is not there.
        """
        if not 0 <= label < self.num_classes:
            raise InputError(
                f"{key}: class {label} is not in '{self.name}' (0 … {self.num_classes - 1}); choose one of these"
            )

    def free_on(self, device: "torch.device") -> "torch.Tensor | None":
        """Return `free` as attacks take it."""
        import torch

        return None if self.free is None else torch.from_numpy(self.free).to(device)

    def without_test_set(self) -> "Dataset":
        """Return the data set with an empty test set; a validation set stays."""
        images, labels, index = self.test_images[:0], self.test_labels[:0], self.test_index[:0]
        return dataclasses.replace(self, test_images=images, test_labels=labels, test_index=index)

    def train_float(self) -> np.ndarray:
        """Return a float32 copy of the training images, uint8 divided by 255."""
        return as_float(self.train_images)

    def test_float(self) -> np.ndarray:
        """Return a float32 copy of the test images, uint8 divided by 255."""
        return as_float(self.test_images)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the content: arrays, class names and box. Other names leave it as it is."""
        state = hashlib.sha256(json.dumps([self.class_names, self.box]).encode())
        for name, array in self._arrays().items():
            state.update(f"{name} {array.dtype.str} {array.shape}".encode())
            state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; the same data set gives the same bytes."""
        from poisonlab.results import storage

        facts: dict[str, object] = {"box": self.box, "class_names": self.class_names, "name": self.name}
        if self.columns is not None:
            facts["columns"] = [dataclasses.astuple(column) for column in self.columns]
        storage.write_tensors(self._arrays(), path, {"dataset": json.dumps(facts, sort_keys=True)})

    @staticmethod
    def load(path: str | Path) -> "Dataset":
        """Read a file written by `save`.

        Raises:
            InputError: the file is missing, damaged, or no data set.
        """
        from poisonlab.results import storage

        arrays, metadata = storage.read_tensors(path, ARRAYS)
        if "dataset" not in metadata:
            raise InputError(f"file '{path}' does not describe a data set; delete it and run again")
        facts = json.loads(metadata["dataset"])
        box = None if facts["box"] is None else (float(facts["box"][0]), float(facts["box"][1]))
        return Dataset(
            name=facts["name"],
            class_names=tuple(facts["class_names"]),
            box=box,
            columns=tuple(Column(*column) for column in facts["columns"]) if "columns" in facts else None,
            **{name: arrays[name] for name in (*ARRAYS, *OPTIONAL) if name in arrays},
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {name: getattr(self, name) for name in (*ARRAYS, *OPTIONAL)}
        return {name: array for name, array in arrays.items() if array is not None}


ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "train_index", "test_index")
OPTIONAL = ("centres", "validation_images", "validation_labels", "validation_index", "free")


def as_float(images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return images.astype(np.float32)


def make_dataset(
    name: str,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    names: Sequence[str],
    box: tuple[float, float] | None = (0.0, 1.0),
) -> Dataset:
    return Dataset(
        name=name,
        train_images=np.ascontiguousarray(train[0]),
        train_labels=train[1].astype(np.int64),
        test_images=np.ascontiguousarray(test[0]),
        test_labels=test[1].astype(np.int64),
        class_names=tuple(names),
        box=box,
        train_index=np.arange(len(train[1])),
        test_index=np.arange(len(test[1])),
    )
