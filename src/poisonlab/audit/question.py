"""What an audit is asked: which data, and what the user has chosen. Reads no data."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisonlab.datasets.sources import SOURCES
from poisonlab.datasets.tables import SUFFIXES
from poisonlab.errors import InputError

LARGEST = 32  # pixels of a side
UNITS = {"s": 1, "m": 60, "h": 3600}
NAMED = sorted(name for name, source in SOURCES.items() if source.kind in ("embedded", "torchvision"))


@dataclass(frozen=True)
class Question:
    """What would wrong labels do to a model of these data?

    Attributes:
        name: of the audit: its folder, and its study.
        dataset: the entry of the data set in a configuration.
        model: name in the catalogue or ``module:Class``; None: chosen by the kind of data.
        flip: source and target class, names or numbers; None: the most exposed pair.
        budget: number of wrong labels, or a share of the training set below 1; None: chosen.
        epsilon: l∞ radius of the attack, in the data's unit; None: chosen.
        seconds: by the clock, for everything.
    """

    name: str
    dataset: Mapping[str, Any]
    model: str | None
    flip: tuple[str, str] | None
    budget: float | None
    epsilon: float | None
    seconds: float


def question(
    data: str,
    known: Mapping[str, Any],
    model: str | None = None,
    flip: str | None = None,
    budget: str | None = None,
    epsilon: float | None = None,
    time: str = "15m",
    label: str | None = None,
    drop: Sequence[str] = (),
) -> Question:
    """Read the words of a command.

    Args:
        data: a folder of images, an .npz, a CSV or parquet table, or a name.
        known: data sets that have names.
        flip: "source:target"; budget: a number, or a share "1%"; time: "90s", "15m" or "2h".
        label, drop: columns of a table: that of the labels, by default the last, and those that are left out.

    Raises:
        InputError: a word cannot be read, or there are no such data.
    """
    if epsilon is not None and not 0 < epsilon < float("inf"):
        raise InputError(f"--epsilon is {epsilon}, allowed is a finite radius above 0; change it")
    stem, entry = _dataset(data, known, model is not None)
    columns = ({"label": label} if label else {}) | ({"drop": list(drop)} if drop else {})
    if columns and entry.get("source") != "table":
        raise InputError(f"--{next(iter(columns))} names a column, and '{data}' is no table; leave it out")
    entry |= columns
    return Question(f"audit_{stem}", entry, model, _flip(flip), _budget(budget), epsilon, _seconds(time))


def _dataset(data: str, known: Mapping[str, Any], large: bool) -> tuple[str, dict[str, Any]]:
    """A word for a file name, and the entry of a data set."""
    path = Path(data).expanduser()
    stem = re.sub(r"[^a-z0-9]+", "_", path.stem.lower()).strip("_") or "data"
    if path.is_dir():
        return stem, {"source": "folder", "path": str(path), **_pictures(path, large)}
    if path.suffix == ".npz" and path.is_file():
        return stem, {"source": "npz", "path": str(path), **_arrays(path)}
    if path.suffix in SUFFIXES and path.is_file():
        return stem, {"source": "table", "path": str(path)}
    if data in known:
        return stem, dict(known[data])
    if data in NAMED:
        return stem, {"source": data}
    names = sorted({*known, *NAMED})
    raise InputError(
        f"'{data}' is not there as a folder of images, an .npz or a table ({', '.join(SUFFIXES)}), nor is it one of "
        f"{', '.join(names)}; give one of these"
    )


def _pictures(folder: Path, large: bool) -> dict[str, Any]:
    """Options of a folder of images: greyscale where all are; one size, at most `LARGEST` squared, where they differ or
    are larger, unless the model is meant for `large` ones.
    """
    from PIL import Image, UnidentifiedImageError

    sizes, modes = set(), set()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.name.startswith("."):
            try:
                with Image.open(file) as picture:
                    sizes.add(picture.size)
                    modes.add(picture.mode)
            except (UnidentifiedImageError, OSError):
                continue
    options: dict[str, Any] = {"greyscale": True} if modes and modes <= {"L", "1", "LA"} else {}
    if len(sizes) > 1 or (not large and max((side for size in sizes for side in size), default=0) > LARGEST):
        width, height = (min(LARGEST, *(size[side] for size in sizes)) for side in (0, 1))
        options["size"] = [height, width]
    return options


def _arrays(path: Path) -> dict[str, Any]:
    """Options of an .npz: vectors are standardised."""
    import numpy as np

    try:
        with np.load(path) as arrays:
            vectors = "train_images" in arrays and arrays["train_images"].ndim == 2
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' cannot be read ({error}); store arrays without objects by numpy.savez") from error
    return {"standardise": True} if vectors else {}


def _flip(words: str | None) -> tuple[str, str] | None:
    if words is None:
        return None
    source, found, target = words.partition(":")
    if not (found and source and target) or source == target:
        raise InputError(f"--flip is '{words}', allowed is source:target, two different classes; correct it")
    return source, target


def _budget(words: str | None) -> float | None:
    if words is None:
        return None
    share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", words)
    if share and 0 < float(share[1]) < 100:
        return float(share[1]) / 100
    if words.isdecimal() and int(words) >= 1:
        return float(int(words))
    raise InputError(f"--budget is '{words}', allowed are a number of labels from 1 or a share like 1%; change it")


def _seconds(words: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", words)
    if not found or float(found[1]) <= 0:
        raise InputError(f"--time is '{words}', allowed is a number with s, m or h, such as 15m; change it")
    return float(found[1]) * UNITS[found[2]]
