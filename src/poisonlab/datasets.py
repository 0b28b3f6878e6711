"""Data sets: embedded, torchvision's, your own files and toy Gaussians; subsets of classes.

The Snakefile reads this catalogue each time it is parsed, in every job. What is slow to import (torch, scikit-learn,
pandas) is therefore imported by the functions that need it.
"""

import contextlib
import dataclasses
import functools
import gzip
import hashlib
import http.client
import json
import lzma
import math
import os
import shutil
import socket
import tarfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from poisonlab.errors import InputError
from poisonlab.seeds import seed


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images with their labels.

    Images are [n, channels, height, width], vectors [n, features]: uint8 0 … 255 that means value / 255, or float32.
    Labels are 0 … num_classes − 1, int64; of a subset they follow the order in which its classes are listed.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray  # [n] int64
    test_images: np.ndarray
    test_labels: np.ndarray  # [n] int64
    class_names: tuple[str, ...]
    box: (
        tuple[float, float] | None
    )  # the values that an attack may reach: (0, 1) for images, None for unbounded features
    train_index: np.ndarray  # [n] int64, position in the source's training set
    test_index: np.ndarray  # [n] int64, position in the source's test set

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one point: (channels, height, width) or (features,)."""
        return self.train_images.shape[1:]

    def train_float(self) -> np.ndarray:
        """Return a float32 copy of the training images, uint8 divided by 255."""
        return _as_float(self.train_images)

    def test_float(self) -> np.ndarray:
        """Return a float32 copy of the test images, uint8 divided by 255."""
        return _as_float(self.test_images)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the content: arrays, class names and box. Renaming a data set leaves it as it is."""
        state = hashlib.sha256(json.dumps([self.class_names, self.box]).encode())
        for name, array in self._arrays().items():
            state.update(f"{name} {array.dtype.str} {array.shape}".encode())
            state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()

    def save(self, path: str | Path) -> None:
        """Write a safetensors file; the same data set gives the same bytes."""
        from poisonlab import storage

        facts = json.dumps({"box": self.box, "class_names": self.class_names, "name": self.name}, sort_keys=True)
        storage.write_tensors(self._arrays(), path, {"dataset": facts})

    @staticmethod
    def load(path: str | Path) -> "Dataset":
        """Read a file written by `save`.

        Raises:
            InputError: the file is missing, damaged, or no data set.
        """
        from poisonlab import storage

        arrays, metadata = storage.read_tensors(path, _ARRAYS)
        if "dataset" not in metadata:
            raise InputError(f"file '{path}' does not describe a data set; delete it and run again")
        facts = json.loads(metadata["dataset"])
        box = None if facts["box"] is None else (float(facts["box"][0]), float(facts["box"][1]))
        return Dataset(
            name=facts["name"],
            class_names=tuple(facts["class_names"]),
            box=box,
            **{name: arrays[name] for name in _ARRAYS},
        )

    def _arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in _ARRAYS}


_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels", "train_index", "test_index")


def _as_float(images: np.ndarray) -> np.ndarray:
    if images.dtype == np.uint8:
        return images.astype(np.float32) / np.float32(255)
    return images.astype(np.float32)


# ------------------------------------------------------------------------------------------------------------ catalogue


@dataclass(frozen=True)
class Option:
    """One key of a data set's specification."""

    allowed: str
    accepts: Callable[[Any], bool]
    default: Any = None
    required: bool = False


@dataclass(frozen=True)
class Source:
    """What is known about a source before anything is read; empty tuples where only the data can tell."""

    kind: Literal["embedded", "torchvision", "user", "toy"]
    options: dict[str, Option] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    train_counts: tuple[int, ...] = ()  # training points per class
    torchvision_class: str = ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_class_list(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) >= 2
        and all(isinstance(item, int | str) and not isinstance(item, bool) for item in value)
    )


_CLASSES = Option("a list of two or more class numbers or quoted class names", _is_class_list)
_PATH = Option(
    "the path of a file or folder", lambda value: isinstance(value, str | Path) and str(value) != "", required=True
)
_DIGITS = tuple("0123456789")

SOURCES: dict[str, Source] = {
    # 8 × 8 grey images that scikit-learn carries; the counts are those of the training side of the split.
    "digits": Source(
        "embedded",
        {"classes": _CLASSES},
        _DIGITS,
        (142, 146, 142, 146, 145, 146, 145, 143, 139, 144),
    ),
    "mnist": Source(
        "torchvision",
        {"classes": _CLASSES},
        _DIGITS,
        (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        "MNIST",
    ),
    "fashion_mnist": Source(
        "torchvision",
        {"classes": _CLASSES},
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        (6000,) * 10,
        "FashionMNIST",
    ),
    "cifar10": Source(
        "torchvision",
        {"classes": _CLASSES},
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (5000,) * 10,
        "CIFAR10",
    ),
    "npz": Source("user", {"path": _PATH, "classes": _CLASSES}),
    "folder": Source(
        "user",
        {
            "path": _PATH,
            "classes": _CLASSES,
            "size": Option(
                "[height, width] in pixels",
                lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_count, value)),
            ),
            "greyscale": Option("true or false", lambda value: isinstance(value, bool), False),
            "test_fraction": Option("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1),
        },
    ),
    "gaussians": Source(
        "toy",
        {
            "dimensions": Option("a whole number from 1", _is_count, 16),
            "mean": Option("a number above 0", lambda value: _is_number(value) and value > 0, 10.0),
            "variance": Option("a number above 0", lambda value: _is_number(value) and value > 0, 1.0),
            "n_train": Option("a whole number from 1", _is_count, 64),
            "n_test": Option("a whole number from 1", _is_count, 1000),
            "seed": Option("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool), 0),
        },
        ("negative", "positive"),
    ),
}


def validate_specification(name: str, specification: dict[str, Any]) -> None:
    """Check one entry of `datasets:` as far as that is possible without reading data.

    Raises:
        InputError: unknown source, key, class or value; a class listed twice; a missing file of the user.
    """
    options = _options(name, specification)
    source = specification["source"]
    if SOURCES[source].class_names and options.get("classes"):
        _class_numbers(name, options["classes"], SOURCES[source].class_names)
    if "path" in options:
        path = _user_path(options)
        if source == "npz" and not path.is_file():
            raise InputError(f"dataset '{name}': '{path}' is not a file; correct datasets.{name}.path")
        if source == "folder" and not path.is_dir():
            raise InputError(f"dataset '{name}': '{path}' is not a folder; correct datasets.{name}.path")


def class_names(specification: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the renumbered classes, or None where only the data can tell (`npz`, `folder`)."""
    names = SOURCES[specification["source"]].class_names
    chosen = specification.get("classes")
    if not names:
        return None
    return tuple(names[number] for number in _class_numbers("", chosen, names)) if chosen else names


def class_counts(specification: dict[str, Any]) -> dict[int, int] | None:
    """Return the number of training points of each renumbered class, or None where only the data can tell."""
    source = SOURCES[specification["source"]]
    if not source.train_counts:
        return None
    chosen = specification.get("classes")
    numbers = _class_numbers("", chosen, source.class_names) if chosen else range(len(source.class_names))
    return {new: source.train_counts[old] for new, old in enumerate(numbers)}


def _options(name: str, specification: dict[str, Any]) -> dict[str, Any]:
    """Return every option of the source, defaults filled in; an empty value (`size:`) counts as not given."""
    source = specification.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        raise InputError(
            f"dataset '{name}': unknown source {source!r}; set datasets.{name}.source to one of {', '.join(SOURCES)}"
        )
    known = SOURCES[source].options
    given = {key: value for key, value in specification.items() if key != "source" and value is not None}
    for key, value in given.items():
        if key not in known:
            raise InputError(
                f"dataset '{name}': unknown key {key!r}; source '{source}' takes {', '.join(known)}; remove it"
            )
        if not known[key].accepts(value):
            raise InputError(
                f"dataset '{name}': {key} is {value!r}, allowed is {known[key].allowed}; change datasets.{name}.{key}"
            )
    for key, option in known.items():
        if option.required and key not in given:
            raise InputError(f"dataset '{name}': source '{source}' needs {option.allowed}; set datasets.{name}.{key}")
    return {key: option.default for key, option in known.items()} | given


def _user_path(options: dict[str, Any]) -> Path:
    return Path(options["path"]).expanduser()


def _class_numbers(name: str, classes: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Return the source's numbers of `classes`, given by number or by name."""
    numbers: list[int] = []
    for item in classes:
        if item in names:
            number = names.index(str(item))
        elif isinstance(item, int) and 0 <= item < len(names):
            number = item
        else:
            listed = ", ".join(repr(known) for known in names)
            raise InputError(
                f"class {item!r} is not in '{name}' (0 … {len(names) - 1}, or by name: {listed}); "
                f"change datasets.{name}.classes"
            )
        if number in numbers:
            raise InputError(
                f"class {item!r} is listed twice in '{name}'; list each class once in datasets.{name}.classes"
            )
        numbers.append(number)
    return numbers


# -------------------------------------------------------------------------------------------------------------- prepare


def prepare(name: str, specification: dict[str, Any], raw: Path | None = None) -> Dataset:
    """Build the data set that a specification describes, for example ``{source: mnist, classes: [0, 1]}``.

    Args:
        name: the name of the data set in the configuration.
        specification: `source` and the options of that source, see `SOURCES`.
        raw: the folder that `fetch` filled, for the torchvision sources.

    Raises:
        InputError: bad specification, or bad or missing data.
    """
    validate_specification(name, specification)
    options = _options(name, specification)
    source = specification["source"]
    if source == "digits":
        dataset = _digits(name)
    elif source == "npz":
        dataset = _npz(name, _user_path(options))
    elif source == "folder":
        dataset = _folder(name, _user_path(options), options["size"], options["greyscale"], options["test_fraction"])
    elif source == "gaussians":
        dataset = _gaussians(name, **options)
    else:
        dataset = _torchvision(name, source, raw)
    if not options.get("classes"):
        return dataset
    return _subset(dataset, _class_numbers(name, options["classes"], dataset.class_names))


def _dataset(
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


def _subset(dataset: Dataset, numbers: list[int]) -> Dataset:
    """Keep the classes `numbers` in the source's order of points and renumber them as they are listed."""
    renumbered = np.full(dataset.num_classes, -1, dtype=np.int64)
    renumbered[numbers] = np.arange(len(numbers))
    train = renumbered[dataset.train_labels] >= 0
    test = renumbered[dataset.test_labels] >= 0
    return dataclasses.replace(
        dataset,
        train_images=dataset.train_images[train],
        train_labels=renumbered[dataset.train_labels[train]],
        test_images=dataset.test_images[test],
        test_labels=renumbered[dataset.test_labels[test]],
        class_names=tuple(dataset.class_names[number] for number in numbers),
        train_index=dataset.train_index[train],
        test_index=dataset.test_index[test],
    )


def _stratified_split(labels: np.ndarray, test_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Return sorted positions for training and test: the same fraction, at least one point, of every class.

    Points are drawn in the order of a hash of their position, so that every version of NumPy gives the same split.
    """
    test: list[int] = []
    for label in np.unique(labels):
        drawn = sorted(
            np.flatnonzero(labels == label).tolist(), key=lambda position: seed("test split", point=position)
        )
        test += drawn[: min(max(1, round(test_fraction * len(drawn))), len(drawn) - 1)]
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[test] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _digits(name: str) -> Dataset:
    """1797 images [1, 8, 8], float32 in [0, 1] (sixteenths), 80 % of each class for training."""
    from sklearn.datasets import load_digits

    source = load_digits()
    images = (source.images[:, None] / 16).astype(np.float32)
    train, test = _stratified_split(source.target, test_fraction=0.2)
    return _dataset(name, (images[train], source.target[train]), (images[test], source.target[test]), _DIGITS)


def _torchvision(name: str, source: str, raw: Path | None) -> Dataset:
    """uint8 images [channels, height, width] from the folder `raw`.

    CIFAR-10's files are pickles; torchvision opens them only after it has checked their md5.
    """
    from torchvision import datasets

    if raw is None or not Path(raw).is_dir():
        raise InputError(
            f"dataset '{name}': the folder '{raw}' with the files of '{source}' does not exist; fetch them first"
        )
    splits = []
    for is_train in (True, False):
        try:
            split = getattr(datasets, SOURCES[source].torchvision_class)(raw, train=is_train, download=False)
        except (RuntimeError, AssertionError, ValueError, OSError) as error:
            raise InputError(
                f"'{source}' in '{raw}' is incomplete or damaged ({_line(error)}); delete it and fetch again"
            ) from error
        images = np.asarray(split.data)
        images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        splits.append((images, np.asarray(split.targets)))
    return _dataset(name, splits[0], splits[1], SOURCES[source].class_names)


def _gaussians(
    name: str, dimensions: int, mean: float, variance: float, n_train: int, n_test: int, seed: int
) -> Dataset:
    """Two Gaussians, P = ½ N(−μ1, σ²I) + ½ N(μ1, σ²I), labels by the sign of x·1 (thesis, section 4.1)."""
    train = _mixture("train", dimensions, mean, variance, n_train, seed)
    test = _mixture("test", dimensions, mean, variance, n_test, seed)
    for split, (_, labels) in (("train", train), ("test", test)):
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"dataset '{name}': all points of n_{split} = {len(labels)} fell into one class; two are needed; "
                f"raise datasets.{name}.n_{split}"
            )
    return _dataset(name, train, test, SOURCES["gaussians"].class_names, box=None)


def _mixture(
    split: str, dimensions: int, mean: float, variance: float, count: int, number: int
) -> tuple[np.ndarray, np.ndarray]:
    # A generator for each split, so that asking for more training points leaves the test set as it is.
    generator = np.random.default_rng(seed(f"gaussians {split}", seed=number))
    signs = generator.choice([-1.0, 1.0], size=(count, 1))
    points = signs * mean + math.sqrt(variance) * generator.standard_normal((count, dimensions))
    points = points.astype(np.float32)
    return points, (points.sum(axis=1, dtype=np.float64) > 0).astype(np.int64)


# ----------------------------------------------------------------------------------------------------------- your .npz


def _npz(name: str, path: Path) -> Dataset:
    """Read `train_images, train_labels, test_images, test_labels` and, if present, `class_names`.

    Images are [n, height, width], [n, height, width, channels], or [n, features] for vectors; uint8, or float in
    [0, 1]. Labels are integers from 0 without gaps. Object arrays (pickles) are never loaded.
    """
    arrays = _npz_arrays(path)
    for split in ("train", "test"):
        _check_images(path, f"{split}_images", arrays[f"{split}_images"])
        _check_labels(path, f"{split}_labels", arrays[f"{split}_labels"], len(arrays[f"{split}_images"]))
    train, test = arrays["train_images"], arrays["test_images"]
    if train.shape[1:] != test.shape[1:] or (train.dtype == np.uint8) != (test.dtype == np.uint8):
        raise InputError(
            f"'{path}': train images are {train.dtype} {train.shape[1:]}, test images {test.dtype} {test.shape[1:]}; "
            f"both must have one shape and one scale; store them alike"
        )
    count = 1 + int(max(arrays["train_labels"].max(), arrays["test_labels"].max()))
    names = np.atleast_1d(arrays["class_names"]).tolist() if "class_names" in arrays else None
    if names is not None:
        if len(set(names)) < max(count, len(names)) or not all(isinstance(item, str) for item in names):
            raise InputError(
                f"'{path}': class_names are {names} and labels go up to {count - 1}; give one string for each class, "
                f"all different"
            )
        count = len(names)
    for key in ("train_labels", "test_labels"):
        # n points have n classes at most, so that a stray huge label costs no memory.
        absent = sorted(set(range(min(max(count, 2), len(arrays[key]) + 1))) - set(arrays[key].tolist()))
        if absent:
            raise InputError(
                f"'{path}': {key} has no point of class {absent[0]}; both splits need every class "
                f"0 … {max(count, 2) - 1}; renumber without gaps, as np.unique(labels, return_inverse=True) does"
            )
    names = names or [str(number) for number in range(count)]
    return _dataset(
        name,
        (_channels_first(train), arrays["train_labels"]),
        (_channels_first(test), arrays["test_labels"]),
        names,
    )


def _npz_arrays(path: Path) -> dict[str, np.ndarray]:
    needed = ("train_images", "train_labels", "test_images", "test_labels")
    try:
        archive = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path}' is not an .npz archive ({_line(error)}); write it with np.savez") from error
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise InputError(
            f"'{path}' is one array, not an .npz archive; write it with np.savez and the arrays {', '.join(needed)}"
        )
    arrays = {}
    with archive:
        for key in needed:
            if key not in archive:
                raise InputError(
                    f"'{path}' lacks the array '{key}', it has {sorted(archive)}; give {', '.join(needed)}"
                )
        for key in (*needed, *({"class_names"} & set(archive))):
            try:
                arrays[key] = archive[key]
            except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise InputError(
                    f"'{path}': array '{key}' cannot be read ({_line(error)}); write a plain array with np.savez, "
                    f"pickled objects are never loaded"
                ) from error
    return arrays


def _check_images(path: Path, key: str, images: np.ndarray) -> None:
    if images.ndim not in (2, 3, 4) or 0 in images.shape:
        raise InputError(
            f"'{path}': {key} has shape {images.shape}; allowed are [n, height, width], [n, height, width, channels] "
            f"and [n, features] with n ≥ 1; reshape it"
        )
    if images.ndim == 4 and images.shape[3] > 4:
        raise InputError(
            f"'{path}': {key} has shape {images.shape}, so {images.shape[3]} channels, allowed are 1 … 4; "
            f"put the channels last with np.moveaxis(images, 1, -1)"
        )
    if images.dtype == np.uint8:
        return
    if images.dtype.kind != "f":
        raise InputError(
            f"'{path}': {key} is {images.dtype}; allowed are uint8 (0 … 255) and float in [0, 1]; convert it"
        )
    finite = np.isfinite(images)
    if not finite.all():
        first = int(np.argmin(finite.reshape(len(images), -1).all(axis=1)))
        raise InputError(
            f"'{path}': {key} contains NaN or infinity, first in image {first}; values must be in [0, 1]; remove it"
        )
    if images.min() < 0 or images.max() > 1:
        raise InputError(
            f"'{path}': {key} ranges from {images.min():g} to {images.max():g}; float images must be in [0, 1]; "
            f"divide by 255, or store uint8"
        )


def _check_labels(path: Path, key: str, labels: np.ndarray, count: int) -> None:
    if labels.shape != (count,):
        raise InputError(
            f"'{path}': {key} has shape {labels.shape} for {count} images; give one label for each, shape ({count},)"
        )
    if labels.dtype.kind not in "iu":
        raise InputError(
            f"'{path}': {key} is {labels.dtype}; labels must be whole numbers from 0; convert with .astype(np.int64)"
        )
    if labels.min() < 0:
        raise InputError(
            f"'{path}': {key} contains {labels.min()}; labels must be whole numbers from 0; renumber the classes"
        )


def _channels_first(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8:
        images = images.astype(np.float32)
    if images.ndim == 3:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if images.ndim == 4 else images


# --------------------------------------------------------------------------------------------------------- your folder

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


def _folder(
    name: str, path: Path, size: tuple[int, int] | None, greyscale: bool, test_fraction: float | None
) -> Dataset:
    """Read `train/<class>/*.png` and `test/<class>/*.png`, or `<class>/*.png` split by `test_fraction` (0.2).

    Classes and images are in alphabetical order; hidden files and files without an image suffix are left out. The
    images are only ever read.
    """
    given = [split for split in ("train", "test") if (path / split).is_dir()]
    if len(given) == 1:
        raise InputError(
            f"'{path}' has a folder '{given[0]}' alone; give both train/<class>/ and test/<class>/, or only <class>/"
        )
    if given and test_fraction is not None:
        raise InputError(
            f"'{path}' has folders train and test, so test_fraction means nothing; remove datasets.{name}.test_fraction"
        )

    splits = {split: _image_files(path / split) for split in given} or {"all": _image_files(path)}
    names = list(next(iter(splits.values())))
    if given and names != list(splits["test"]):
        raise InputError(
            f"'{path}': train has the classes {names} and test {list(splits['test'])}; give both the same folders"
        )
    if len(names) < 2:
        raise InputError(
            f"'{path}' has the class folders {names}; two or more are needed, with the images of one class in each"
        )

    arrays = []
    shape: tuple[int, int] | None = None
    for classes in splits.values():
        files = [file for group in classes.values() for file in group]
        images = []
        for file in files:
            images.append(_read_image(file, size, greyscale))
            found = images[-1].shape[1], images[-1].shape[2]
            shape = shape or found
            if found != shape:
                raise InputError(
                    f"'{file}' is {found[0]} × {found[1]} pixels (height × width), the images before it are "
                    f"{shape[0]} × {shape[1]}; resize all with datasets.{name}.size: [{shape[0]}, {shape[1]}]"
                )
        arrays.append((np.stack(images), np.repeat(np.arange(len(names)), [len(group) for group in classes.values()])))
    if given:
        return _dataset(name, arrays[0], arrays[1], names)

    for label, group in splits["all"].items():
        if len(group) < 2:
            raise InputError(f"'{path / label}' has 1 image; two or more are needed to split off a test set; add some")
    (images_all, labels) = arrays[0]
    train, test = _stratified_split(labels, 0.2 if test_fraction is None else test_fraction)
    return _dataset(name, (images_all[train], labels[train]), (images_all[test], labels[test]), names)


def _image_files(folder: Path) -> dict[str, list[Path]]:
    files = {}
    for group in sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith(".")):
        files[group.name] = sorted(
            item for item in group.iterdir() if item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith(".")
        )
        if not files[group.name]:
            raise InputError(
                f"'{group}' has no image; allowed are {' '.join(IMAGE_SUFFIXES)}; add images or remove the folder"
            )
    return files


def _read_image(file: Path, size: tuple[int, int] | None, greyscale: bool) -> np.ndarray:
    """Return uint8 [channels, height, width]; `size` is (height, width)."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            if opened.mode.startswith(("I", "F")):
                # Pillow would clip these to 255 without a word.
                raise InputError(
                    f"'{file}' has more than 8 bits for each channel (mode {opened.mode}); store it with 8 bits"
                )
            image: Image.Image = ImageOps.exif_transpose(opened).convert("L" if greyscale else "RGB")
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"image '{file}' cannot be read ({_line(error)}); replace or remove it") from error
    if size is not None:
        image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if greyscale else pixels.transpose(2, 0, 1)


# ---------------------------------------------------------------------------------------------------------------- fetch

# torchvision knows the md5 of the compressed files only; these are the same files unpacked.
UNPACKED_MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
CONNECTION_TIMEOUT = 60.0  # seconds; torchvision sets none, and a host that never answers would hold the run for ever


def fetch(source: str, destination: Path, mirror: Path | None = None) -> None:
    """Fill `destination` with the unpacked files of a torchvision source: from the mirror, else from the network.

    The mirror may hold the files as downloaded (`MNIST/raw/*.gz`, `FashionMNIST/raw/*.gz`, `cifar-10-python.tar.gz`),
    repacked (`cifar-10-batches-py.tar.xz`) or unpacked (a root folder of torchvision). It is only read. Every file is
    checked by its md5; a damaged one is an error and never replaced by a download. `destination` appears whole or not
    at all.

    Raises:
        InputError: no such source or mirror, a damaged or missing file in the mirror, no connection, or `destination`
            is not empty.
    """
    if source not in SOURCES or SOURCES[source].kind != "torchvision":
        fetched = [name for name, entry in SOURCES.items() if entry.kind == "torchvision"]
        raise InputError(f"source '{source}' is not fetched; sources that are: {', '.join(fetched)}")
    if mirror is not None:
        mirror = Path(mirror).expanduser()
        if not mirror.is_dir():
            raise InputError(f"mirror '{mirror}' is not a folder; correct `mirror:`, or leave it empty to download")
    with _whole_folder(Path(destination)) as partial:
        copy = _copy_cifar10 if source == "cifar10" else _copy_idx_files
        if mirror is None or not copy(source, mirror, partial):
            _download(source, partial, mirror)


@contextlib.contextmanager
def _whole_folder(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `destination` and rename it when the block succeeds.

    Its name is fixed, so that what a killed run left is cleared by the next; the run's lock keeps a second fetch away.
    """
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise InputError(f"'{destination}' exists already; delete it to fetch again")
    partial = destination.parent / f".{destination.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_idx_files(source: str, mirror: Path, partial: Path) -> bool:
    """Unpack or copy the four MNIST-like files; False if the mirror has none of them."""
    from torchvision import datasets

    torchvision_class = getattr(datasets, SOURCES[source].torchvision_class)
    raw = Path(SOURCES[source].torchvision_class, "raw")
    packed = {Path(name).stem: (mirror / raw / name, md5) for name, md5 in torchvision_class.resources}
    if not any(path.exists() or path.with_suffix("").exists() for path, _ in packed.values()):
        return False
    (partial / raw).mkdir(parents=True)
    for name, (path, md5) in packed.items():
        target = partial / raw / name
        if path.with_suffix("").exists() and not path.exists():
            _check_md5(path.with_suffix(""), UNPACKED_MD5[source][name])
            shutil.copyfile(path.with_suffix(""), target)
        else:
            _check_md5(path, md5)
            with gzip.open(path, "rb") as opened, open(target, "wb") as written:
                shutil.copyfileobj(opened, written, 1 << 20)
    return True


def _copy_cifar10(source: str, mirror: Path, partial: Path) -> bool:
    """Copy or extract the seven files of CIFAR-10; False if the mirror has none of the three forms."""
    from torchvision.datasets import CIFAR10

    base = CIFAR10.base_folder
    sums = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    original, repacked = mirror / CIFAR10.filename, mirror / f"{base}.tar.xz"
    (partial / base).mkdir()
    if (mirror / base).is_dir():
        for name, md5 in sums.items():
            _check_md5(mirror / base / name, md5)
            shutil.copyfile(mirror / base / name, partial / base / name)
    elif original.exists():
        _check_md5(original, CIFAR10.tgz_md5)
        _extract(original, {f"{base}/{name}" for name in sums}, partial)
    elif repacked.exists():
        _extract(repacked, {f"{base}/{name}" for name in sums}, partial)
        for name, md5 in sums.items():
            _check_md5(partial / base / name, md5, shown=f"{repacked}: {base}/{name}")
    else:
        return False
    return True


def _extract(archive: Path, wanted: set[str], partial: Path) -> None:
    """Extract only the wanted files, in the order of the archive, so that a compressed one is read once."""
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isfile() and str(PurePosixPath(member.name)) in wanted:
                    opened.extract(member, partial, filter="data")
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(
            f"mirror file '{archive}' (md5 {_md5(archive)}) cannot be extracted ({_line(error)}); {_MIRROR_WAY_OUT}"
        ) from error


_MIRROR_WAY_OUT = "replace it, or leave `mirror:` empty to download (a damaged file is not replaced silently)"


def _md5(path: Path) -> str:
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_md5(path: Path, expected: str, shown: str = "") -> None:
    if not path.is_file():
        raise InputError(
            f"mirror file '{shown or path}' is missing though others of its set are there; {_MIRROR_WAY_OUT}"
        )
    try:
        found = _md5(path)
    except OSError as error:
        raise InputError(f"mirror file '{path}' cannot be read ({_line(error)}); make it readable") from error
    if found != expected:
        raise InputError(f"mirror file '{shown or path}' has md5 {found}, expected {expected}; {_MIRROR_WAY_OUT}")


def _download(source: str, partial: Path, mirror: Path | None) -> None:
    """Let torchvision download and check the files, and drop the archives that it leaves behind."""
    from torchvision import datasets

    torchvision_class = getattr(datasets, SOURCES[source].torchvision_class)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECTION_TIMEOUT)
    try:
        torchvision_class(partial, download=True)
    except (RuntimeError, OSError, http.client.HTTPException) as error:
        urls = getattr(torchvision_class, "mirrors", None) or [torchvision_class.url]
        hosts = ", ".join(str(urllib.parse.urlsplit(url).hostname) for url in urls)
        absent = "" if mirror is None else f" and is not in the mirror '{mirror}'"
        raise InputError(
            f"'{source}' could not be downloaded from {hosts} ({_line(error)}){absent}; connect to the network, "
            f"or set `mirror:` to a folder that holds {_MIRROR_FILES[source]}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    for archive in partial.rglob("*.gz"):
        archive.unlink()


_MIRROR_FILES = {
    "mnist": "MNIST/raw/*.gz",
    "fashion_mnist": "FashionMNIST/raw/*.gz",
    "cifar10": "cifar-10-python.tar.gz",
}


def _line(error: BaseException) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
