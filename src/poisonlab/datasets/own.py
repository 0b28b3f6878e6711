"""Your own data: an .npz file, or a folder of images per class."""

import contextlib
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.datasets.npz import read_arrays
from poisonlab.datasets.sources import LARGEST, class_numbers, expanded, options_of
from poisonlab.datasets.splits import stratified_split
from poisonlab.errors import InputError, one_line


def class_names(name: str, specification: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of the renumbered classes of an `npz`, a `folder` or a `table`, from as little of its files as tells them.

    Raises:
        InputError: the files cannot be read.
    """
    options = options_of(name, specification)
    given = [options[key] for key in ("path", "test_path") if options.get(key) is not None]
    times = tuple(expanded(path, f"datasets.{name}.path").stat().st_mtime_ns for path in given)
    names = _all_class_names(name, json.dumps(options, default=str), times, specification["source"])
    chosen = options["classes"]
    return tuple(names[number] for number in class_numbers(name, chosen, names)) if chosen else names


@functools.cache
def _all_class_names(name: str, options: str, times: tuple[int, ...], source: str) -> tuple[str, ...]:
    """Names of all classes; `times` of the files' changes, so that none is read twice and a new one is."""
    given = json.loads(options)
    path = expanded(given["path"], f"datasets.{name}.path")
    if source == "npz":
        arrays = read_arrays(path, ("train_labels", "test_labels"), ("class_names",))
        if "class_names" in arrays:
            return tuple(map(str, np.atleast_1d(arrays["class_names"])))
        return tuple(map(str, range(1 + int(max(arrays[f"{split}_labels"].max() for split in SPLITS)))))
    if source == "folder":
        return tuple(group.name for group in _class_folders(path / "train" if (path / "train").is_dir() else path))
    from poisonlab.datasets import tables

    return tables.class_names(given, f"datasets.{name}")


def read_npz(name: str, path: Path, bounded: bool = True) -> Dataset:
    """Read `train_images, train_labels, test_images, test_labels` and, if present, `class_names`.

    Images are [n, height, width], [n, height, width, channels], or [n, features] for vectors; uint8, or float in
    [0, 1], and in ±10⁹ where they are not `bounded`. Labels are integers from 0 without gaps. Object arrays (pickles)
    are never loaded.
    """
    arrays = read_arrays(path, ("train_images", "train_labels", "test_images", "test_labels"), ("class_names",))
    for split in ("train", "test"):
        _check_images(path, f"{split}_images", arrays[f"{split}_images"], bounded)
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
        if not all(isinstance(item, str) for item in names) or len(set(names)) < max(count, len(names)):
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
    return make_dataset(
        name,
        (_channels_first(train), arrays["train_labels"]),
        (_channels_first(test), arrays["test_labels"]),
        names,
    )


def _check_images(path: Path, key: str, images: np.ndarray, bounded: bool) -> None:
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
    low, high = (0, 1) if bounded else (-LARGEST, LARGEST)
    allowed = f"[{low:g}, {high:g}]"
    finite = np.isfinite(images)
    if not finite.all():
        first = int(np.argmin(finite.reshape(len(images), -1).all(axis=1)))
        raise InputError(
            f"'{path}': {key} contains NaN or infinity, first in image {first}; values must be in {allowed}; remove it"
        )
    if images.min() < low or images.max() > high:
        way_out = "divide by 255, or store uint8" if images.ndim > 2 else "scale them, or set standardise: true"
        raise InputError(
            f"'{path}': {key} ranges from {images.min():g} to {images.max():g}; float images must be in {allowed}; "
            f"{way_out if bounded else 'scale them'}"
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


SPLITS = ("train", "test")  # folders of an image folder that is split already
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")


def read_folder(
    name: str, path: Path, size: tuple[int, int] | None, greyscale: bool, test_fraction: float | None
) -> Dataset:
    """Read `train/<class>/*.png` and `test/<class>/*.png`, or `<class>/*.png` split by `test_fraction` (0.2).

    Classes and images are in alphabetical order; hidden files and files without an image suffix are left out. The
    images are only ever read.
    """
    given = [split for split in SPLITS if (path / split).is_dir()]
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
        return make_dataset(name, arrays[0], arrays[1], names)

    for label, group in splits["all"].items():
        if len(group) < 2:
            raise InputError(f"'{path / label}' has 1 image; two or more are needed to split off a test set; add some")
    (images_all, labels) = arrays[0]
    train, test = stratified_split(labels, 0.2 if test_fraction is None else test_fraction)
    return make_dataset(name, (images_all[train], labels[train]), (images_all[test], labels[test]), names)


def listing(folder: str | Path) -> list[tuple[str, int, int]]:
    """Return every image that `read_folder` would read: name below `folder`, size in bytes, time of change in ns.

    Links are followed, of images and of folders, as `read_folder` follows them; the depth is fixed, so that a link to a
    folder above ends nowhere else. The order is that of the names.

    Raises:
        InputError: the folder cannot be read.
    """
    folder = Path(folder)
    found = []
    try:
        for root in [folder / split for split in SPLITS if (folder / split).is_dir()] or [folder]:
            for group in _class_folders(root):
                for file in _images(group):
                    with contextlib.suppress(FileNotFoundError):  # a link to nowhere: `read_folder` refuses it
                        state = file.stat()
                        found.append((str(file.relative_to(folder)), state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise InputError(f"folder '{folder}' cannot be read ({one_line(error)}); make it readable") from error
    return sorted(found)


def _class_folders(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))


def _images(folder: Path) -> Iterator[Path]:
    return (
        item for item in folder.iterdir() if item.suffix.lower() in IMAGE_SUFFIXES and not item.name.startswith(".")
    )


def _image_files(folder: Path) -> dict[str, list[Path]]:
    files = {}
    for group in _class_folders(folder):
        files[group.name] = sorted(_images(group))
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
        if size is not None:
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise InputError(f"image '{file}' cannot be read ({one_line(error)}); replace or remove it") from error
    pixels = np.asarray(image)
    return pixels[None] if greyscale else pixels.transpose(2, 0, 1)
