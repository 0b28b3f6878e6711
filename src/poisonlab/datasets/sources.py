"""Where data sets come from: the catalogue of sources and what can be checked before anything is read."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from poisonlab.errors import InputError, did_you_mean, one_line


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

    kind: Literal["embedded", "torchvision", "user", "toy", "derived"]
    options: dict[str, Option] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    train_counts: tuple[int, ...] = ()  # training points per class
    shape: tuple[int, ...] = ()  # of an image: channels, height, width
    torchvision_class: str = ""


LARGEST = 10**9  # that a number may be; the squares of such features are finite in float32


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -LARGEST <= value <= LARGEST


def _whole(least: int, default: int | None) -> Option:
    """A whole number from `least`."""
    return Option(
        f"a whole number from {least} to {LARGEST}",
        lambda value: isinstance(value, int) and _is_number(value) and value >= least,
        default,
    )


def _above_zero(default: float) -> Option:
    return Option(f"a number above 0, at most {LARGEST}", lambda value: _is_number(value) and value > 0, default)


def _is_class_list(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) >= 2
        and all(isinstance(item, int | str) and not isinstance(item, bool) for item in value)
    )


def _is_column(value: object) -> bool:
    return isinstance(value, int | str) and not isinstance(value, bool)


_COLUMNS = Option(
    "a list of names of columns", lambda value: isinstance(value, list | tuple) and all(map(_is_column, value))
)
_CLASSES = Option("a list of two or more class numbers or quoted class names", _is_class_list)
_PATH = Option(
    "the path of a file or folder", lambda value: isinstance(value, str | Path) and str(value) != "", required=True
)
_TEST_PATH = dataclasses.replace(_PATH, allowed="the path of a file", required=False)
_SHARE = Option("a number between 0 and 1", lambda value: _is_number(value) and 0 < value < 1)
_SIDE = _whole(1, None)
_SWITCH = Option("true or false", lambda value: isinstance(value, bool), False)
_NAME = Option("a name", lambda value: isinstance(value, str) and value != "", required=True)
DIGITS = tuple("0123456789")

SOURCES: dict[str, Source] = {
    # 8 × 8 grey images that scikit-learn carries; the counts are those of the training side of the split.
    "digits": Source(
        "embedded",
        {"classes": _CLASSES},
        DIGITS,
        (142, 146, 142, 146, 145, 146, 145, 143, 139, 144),
        (1, 8, 8),
    ),
    "mnist": Source(
        "torchvision",
        {"classes": _CLASSES},
        DIGITS,
        (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        (1, 28, 28),
        "MNIST",
    ),
    "fashion_mnist": Source(
        "torchvision",
        {"classes": _CLASSES},
        ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        (6000,) * 10,
        (1, 28, 28),
        "FashionMNIST",
    ),
    "cifar10": Source(
        "torchvision",
        {"classes": _CLASSES},
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        (5000,) * 10,
        (3, 32, 32),
        "CIFAR10",
    ),
    "npz": Source("user", {"path": _PATH, "classes": _CLASSES, "standardise": _SWITCH}),
    "folder": Source(
        "user",
        {
            "path": _PATH,
            "classes": _CLASSES,
            "size": Option(
                "[height, width] in pixels",
                lambda value: isinstance(value, list | tuple) and len(value) == 2 and all(map(_SIDE.accepts, value)),
            ),
            "greyscale": _SWITCH,
            "test_fraction": _SHARE,
        },
    ),
    "table": Source(
        "user",
        {
            "path": _PATH,
            "test_path": _TEST_PATH,
            "test_fraction": _SHARE,
            "label": Option("the name of a column", _is_column),
            "classes": _CLASSES,
            "drop": _COLUMNS,
            "categorical": _COLUMNS,
        },
    ),
    "gaussians": Source(
        "toy",
        {
            "dimensions": _whole(1, 16),
            "noise": _whole(0, 0),
            "mean": _above_zero(10.0),
            "variance": _above_zero(1.0),
            "n_train": _whole(1, 64),
            "n_test": _whole(1, 1000),
            "seed": _whole(-LARGEST, 0),
        },
        ("negative", "positive"),
    ),
    # What a net makes of another data set's points; the data set and the proxy are checked by `pipeline.names`.
    "features": Source("derived", {"of": _NAME, "proxy": _NAME}),
}


def validate_specification(name: str, specification: dict[str, Any]) -> None:
    """Check one entry of `datasets:` as far as that is possible without reading data.

    Raises:
        InputError: unknown source, key, class or value; a class listed twice; a missing file of the user.
    """
    options = options_of(name, specification)
    source = specification["source"]
    if SOURCES[source].class_names and options.get("classes"):
        class_numbers(name, options["classes"], SOURCES[source].class_names)
    if "path" in options:
        path = expanded(options["path"], f"datasets.{name}.path")
        if source != "folder" and not path.is_file():
            raise InputError(f"dataset '{name}': '{path}' is not a file; correct datasets.{name}.path")
        if source == "folder" and not path.is_dir():
            raise InputError(f"dataset '{name}': '{path}' is not a folder; correct datasets.{name}.path")
    if options.get("test_path"):
        path = expanded(options["test_path"], f"datasets.{name}.test_path")
        if not path.is_file():
            raise InputError(f"dataset '{name}': '{path}' is not a file; correct datasets.{name}.test_path")
        if options["test_fraction"] is not None:
            raise InputError(
                f"dataset '{name}' has test_path, so test_fraction means nothing; remove datasets.{name}.test_fraction"
            )


def class_names(specification: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the names of the renumbered classes, or None where only the data can tell (`npz`, `folder`,
    `table`, `features`); see `own.class_names`.
    """
    names = SOURCES[specification["source"]].class_names
    chosen = specification.get("classes")
    if not names:
        return None
    return tuple(names[number] for number in class_numbers("", chosen, names)) if chosen else names


def inputs(name: str, specification: dict[str, Any]) -> tuple[tuple[int, ...], tuple[float, float] | None] | None:
    """Return shape and box of a data set's images or vectors, or None where only the data can tell (`npz`, `folder`,
    `features`); of a table, the number of whose features only the data can tell, the shape (0,).
    """
    source = SOURCES[specification["source"]]
    if source.kind == "toy":
        options = options_of(name, specification)
        return (options["dimensions"] + options["noise"],), None
    if specification["source"] == "table":
        return (0,), None
    return (source.shape, (0.0, 1.0)) if source.shape else None


def class_counts(specification: dict[str, Any]) -> dict[int, int] | None:
    """Return the number of training points of each renumbered class, or None where only the data can tell."""
    source = SOURCES[specification["source"]]
    if not source.train_counts:
        return None
    chosen = specification.get("classes")
    numbers = class_numbers("", chosen, source.class_names) if chosen else range(len(source.class_names))
    return {new: source.train_counts[old] for new, old in enumerate(numbers)}


def share_points(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two data sets have training points in common, as far as that is known before anything is read."""
    if any(one.get(key) != other.get(key) for key in ("source", "path")):
        return False
    if SOURCES[one["source"]].kind == "toy":
        return options_of("", one) == options_of("", other)
    kept, others = (set(class_names(own) or own.get("classes") or ()) for own in (one, other))
    return not kept or not others or bool(kept & others)


def options_of(name: str, specification: Mapping[str, Any]) -> dict[str, Any]:
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


def expanded(path: str | Path, key: str) -> Path:
    """Return a path of the user's with `~` filled in; `key` is where the configuration names it.

    Raises:
        InputError: it names the home of nobody, or the system cannot look whether it is there.
    """
    try:
        found = Path(path).expanduser()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found.stat()
    except (RuntimeError, ValueError, OSError) as error:  # no such user, a zero byte, a name too long, no permission
        raise InputError(f"path {str(path)!r} cannot be used ({one_line(error)}); correct {key}") from error
    return found


def class_numbers(name: str, classes: Sequence[int | str], names: Sequence[str]) -> list[int]:
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
                f"{did_you_mean(item, names)}change datasets.{name}.classes"
            )
        if number in numbers:
            raise InputError(
                f"class {item!r} is listed twice in '{name}'; list each class once in datasets.{name}.classes"
            )
        numbers.append(number)
    return numbers
