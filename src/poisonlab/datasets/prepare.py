"""Build a data set from its entry in the configuration."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.datasets.npz import free_memory
from poisonlab.datasets.own import read_folder, read_npz
from poisonlab.datasets.scaling import standardised
from poisonlab.datasets.sources import DIGITS, SOURCES, class_numbers, expanded, options_of, validate_specification
from poisonlab.datasets.splits import stratified_split
from poisonlab.datasets.tables import read_table
from poisonlab.datasets.toys import gaussians
from poisonlab.errors import InputError, one_line


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
    options = options_of(name, specification)
    source = specification["source"]
    if source == "digits":
        dataset = _digits(name)
    elif source == "npz":
        dataset = read_npz(name, expanded(options["path"], f"datasets.{name}.path"), bounded=not options["standardise"])
    elif source == "folder":
        path = expanded(options["path"], f"datasets.{name}.path")
        dataset = read_folder(name, path, options["size"], options["greyscale"], options["test_fraction"])
    elif source == "table":
        return read_table(name, options)
    elif source == "gaussians":
        _check_memory(name, options)
        dataset = gaussians(name, **options)
    elif source == "features":
        raise InputError(f"dataset '{name}' is made of a proxy, see `victims.proxies.featured`; prepare another source")
    else:
        dataset = _torchvision(name, source, raw)
    if options.get("classes"):
        dataset = _subset(dataset, class_numbers(name, options["classes"], dataset.class_names))
    return standardised(dataset) if options.get("standardise") else dataset


def _check_memory(name: str, options: dict[str, Any]) -> None:
    """Refuse a toy that does not fit into memory, before anything of it is made."""
    # Drawn in float64, kept in float32, both at once.
    needed = 12 * (options["n_train"] + options["n_test"]) * (options["dimensions"] + options["noise"])
    if needed > (free := free_memory()):
        raise InputError(
            f"dataset '{name}' takes {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB of memory are free; "
            f"lower datasets.{name}.n_train, n_test, dimensions or noise"
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


def _digits(name: str) -> Dataset:
    """1797 images [1, 8, 8], float32 in [0, 1] (sixteenths), 80 % of each class for training."""
    from sklearn.datasets import load_digits

    source = load_digits()
    images = (source.images[:, None] / 16).astype(np.float32)
    train, test = stratified_split(source.target, 0.2)
    return make_dataset(name, (images[train], source.target[train]), (images[test], source.target[test]), DIGITS)


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
                f"'{source}' in '{raw}' is incomplete or damaged ({one_line(error)}); delete it and fetch again"
            ) from error
        images = np.asarray(split.data)
        images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        splits.append((images, np.asarray(split.targets)))
    return make_dataset(name, splits[0], splits[1], SOURCES[source].class_names)
