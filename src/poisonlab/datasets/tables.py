"""A table, CSV or parquet: numbers are standardised, categories are encoded and left out of attacks."""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.datasets.dataset import Column, Dataset, make_dataset
from poisonlab.datasets.scaling import standardised
from poisonlab.datasets.sources import class_numbers, expanded
from poisonlab.datasets.splits import stratified_split
from poisonlab.errors import InputError, did_you_mean, one_line

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".csv", ".tsv", ".parquet")
LABELS = ("label", "labels", "target", "class", "y")  # what a column of labels is called where it is not the last one
IDENTIFIERS = ("id", "index", "key", "uuid")  # ends of an identifier's name
MOST_CLASSES = 100


def read_table(name: str, options: Mapping[str, Any]) -> Dataset:
    """Read a data set from one table, split by `test_fraction` (0.2), or from two.

    Numbers are standardised by mean and standard deviation of the training part. Texts, truth values and the columns
    that `categorical` names become one feature for each category of the training part, 1 where a row has it and 0
    elsewhere; attacks leave these features out. A category that the training part does not have is 0 in all of them.
    Classes are the labels in sorted order. An index is the row of the file, the first below the names being 0.

    Args:
        options: of the source `table`, all of them.

    Returns:
        Vectors [n, features] float32 without a box, `columns` and, if there are categories, `free`.

    Raises:
        InputError: a file cannot be read, a column is not there or cannot be used, values are missing, or a class has
            too few rows.
    """
    where = f"datasets.{name}"
    paths = [expanded(options[key], f"{where}.{key}") for key in ("path", "test_path") if options[key] is not None]
    frames = [_frame(path) for path in paths]
    column = _label_column(paths[0], frames[0], options["label"], where)
    frames = [
        _chosen(path, own, frames[0], options["drop"] or (), column, where)
        for path, own in zip(paths, frames, strict=True)
    ]
    whole = frames[0]
    texts, names = _labels(paths, [own.pop(column) for own in frames], column, where)
    kept = class_numbers(name, options["classes"], names) if options["classes"] else list(range(len(names)))
    numbers = {names[number]: place for place, number in enumerate(kept)}
    rows = [np.flatnonzero([text in numbers for text in own]) for own in texts]
    labels = [np.array([numbers[texts[k][row]] for row in own], dtype=np.int64) for k, own in enumerate(rows)]
    frames = [own.iloc[rows[k]] for k, own in enumerate(frames)]
    if len(paths) == 1:
        train, test = stratified_split(labels[0], 0.2 if options["test_fraction"] is None else options["test_fraction"])
        frames = [frames[0].iloc[part] for part in (train, test)]
        rows, labels = [rows[0][train], rows[0][test]], [labels[0][train], labels[0][test]]
    classes = [names[number] for number in kept]
    for words, own in zip(("training", "test"), labels, strict=True):
        if absent := sorted(set(range(len(classes))) - set(own.tolist())):
            raise InputError(
                f"'{paths[-1]}': class '{classes[absent[0]]}' has no row in the {words} part; every class needs at "
                "least one in both; add rows, or leave the class out: "
                f"{where}.classes: {[one for k, one in enumerate(classes) if k not in absent]}"
            )
    categorical = _categorical(paths, frames, options["categorical"] or (), where)
    _refuse_empty_columns(paths[0], frames[0], whole, categorical, where)
    features, columns = _encoded(paths, frames, categorical)
    free = np.array([one.category is None for one in columns])
    dataset = make_dataset(name, (features[0], labels[0]), (features[1], labels[1]), classes, None)
    dataset = dataclasses.replace(
        dataset, free=None if free.all() else free, columns=columns, train_index=rows[0], test_index=rows[1]
    )
    return standardised(dataset)


def rows(dataset: Dataset, features: np.ndarray) -> "pd.DataFrame":
    """The rows that features [n, features] of a table stand for, in its own columns and units.

    A row without a category (one that the training part lacks) has a missing value there.

    Raises:
        InputError: the data set is no table.
    """
    import pandas as pd

    if dataset.columns is None:
        raise InputError(f"data set '{dataset.name}' is no table whose rows could be shown; take one of source table")
    found: dict[str, Any] = {}
    for own, column in zip(features.T, dataset.columns, strict=True):
        if column.category is None:
            found[column.name] = own.astype(np.float64) * column.scale + column.mean
        else:
            known = found.setdefault(column.name, np.full(len(own), None, dtype=object))
            known[own > 0] = column.category
    return pd.DataFrame(found)


def class_names(options: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Names of a table's classes in the order of their numbers, before any are left out.

    Reads the column of the labels alone.

    Raises:
        InputError: as `read_table`.
    """
    paths = [expanded(options[key], f"{where}.{key}") for key in ("path", "test_path") if options[key] is not None]
    column = _label_column(paths[0], _frame(paths[0], rows=0), options["label"], where)
    return _labels(paths, [_frame(path, [column])[column].dropna() for path in paths], column, where)[1]


def _frame(path: Path, columns: Sequence[str] | None = None, rows: int | None = None) -> "pd.DataFrame":
    """A file's table, some of its columns, or its names alone (`rows` 0), with texts as names of columns."""
    import pandas as pd

    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"'{path}' ends with '{suffix}', allowed are {', '.join(SUFFIXES)}; store it as one of these")
    try:
        if suffix == ".parquet":
            from pyarrow import parquet

            names = [name for name in parquet.read_schema(path).names if not name.startswith("__index_level_")]
            wanted = names if columns is None else columns
            found = None if rows == 0 else parquet.read_table(path, columns=wanted).to_pandas(ignore_metadata=True)
        else:
            how: dict[str, Any] = {"sep": "\t" if suffix == ".tsv" else ",", "skipinitialspace": True}
            first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False, **how)
            names = [str(name) or f"Unnamed: {place}" for place, name in enumerate(first.iloc[0])]
            with warnings.catch_warnings():
                warnings.simplefilter("error", pd.errors.ParserWarning)  # of a row with more values than names
                how |= {"usecols": columns, "low_memory": False, "index_col": False}
                found = None if rows == 0 else pd.read_csv(path, **how)
    except Exception as error:  # anything may be wrong in a file that a person gives
        raise InputError(
            f"'{path}' cannot be read as {suffix[1:]} ({one_line(error)}); store a table with one row of names first"
        ) from error
    _check_names(path, names, suffix)
    return pd.DataFrame(columns=names) if found is None else found


def _check_names(path: Path, names: Sequence[str], suffix: str) -> None:
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"'{path}' has several columns called {repeated}; rename or remove all but one")
    if len(names) < 2:
        mark = {".csv": " separated by commas", ".tsv": " separated by tabs"}.get(suffix, "")
        raise InputError(
            f"'{path}' has the column {list(names)} alone; features and labels are needed{mark}; correct it"
        )
    if any(_is_fraction(name) for name in names):
        raise InputError(
            f"'{path}': its first row is {', '.join(names[:4])} …, which are no names; write the names of the columns "
            "into the first row"
        )


def _is_fraction(text: str) -> bool:
    try:
        return not float(text).is_integer()
    except (ValueError, OverflowError):
        return False


def _label_column(path: Path, frame: "pd.DataFrame", asked: str | int | None, where: str) -> str:
    """Name of the column of labels: the one that is named, or the last."""
    names = list(frame.columns)
    if asked is not None:
        return _known(path, [asked], names, f"{where}.label")[0]
    other = [name for name in names[:-1] if name.lower() in LABELS]
    if other and names[-1].lower() not in LABELS:
        raise InputError(
            f"'{path}': the labels could be '{other[0]}' or the last column, '{names[-1]}'; say which: {where}.label: "
            f"{other[0]}"
        )
    return names[-1]


def _known(path: Path, asked: Sequence[Any], names: Sequence[str], where: str) -> list[str]:
    for name in map(str, asked):
        if name not in names:
            hint = did_you_mean(name, names)
            shown = ", ".join([*names[:20], *(["…"] if len(names) > 20 else [])])
            raise InputError(f"{where} names '{name}', '{path}' has the columns {shown}; {hint}correct it")
    return [str(name) for name in asked]


def _chosen(
    path: Path, frame: "pd.DataFrame", first: "pd.DataFrame", drop: Sequence[Any], label: str, where: str
) -> "pd.DataFrame":
    """The columns of the first table that are not dropped, without missing values."""
    dropped = _known(path, drop, list(first.columns), f"{where}.drop")
    if label in dropped:
        raise InputError(f"{where}.drop names '{label}', the column of the labels; name another one: {where}.label")
    wanted = [name for name in first.columns if name not in dropped]
    if lacking := [name for name in wanted if name not in frame.columns]:
        raise InputError(f"'{path}' lacks the columns {lacking} of the training table; give both the same columns")
    if len(wanted) < 2:
        raise InputError(f"'{path}': all features are dropped; leave some in: {where}.drop")
    frame = frame[wanted]
    empty = frame.isna().sum()
    if empty.any():
        counts = ", ".join(f"'{name}' {count}" for name, count in empty[empty > 0].items())
        others = [name for name in empty.index[empty > 0] if name != label]
        leave = f", or leave out the columns: {where}.drop: {[*map(str, drop), *others]}" if others else ""
        raise InputError(
            f"'{path}' has missing values in {int(frame.isna().any(axis=1).sum())} of {len(frame)} rows ({counts}); "
            f"fill them in (fillna), remove these rows (dropna){leave}"
        )
    return frame


def _labels(
    paths: Sequence[Path], columns: Sequence["pd.Series"], name: str, where: str
) -> tuple[list[list[str]], tuple[str, ...]]:
    """Every row's label as text, for each file, and the labels that there are in sorted order."""
    import pandas as pd

    numeric = all(pd.api.types.is_numeric_dtype(own) and not pd.api.types.is_bool_dtype(own) for own in columns)
    known: list[Any] = sorted({value for own in columns for value in (own if numeric else map(_text, own))})
    if numeric and any(value != round(value) for value in known if np.isfinite(value)):
        raise InputError(
            f"'{paths[0]}': column '{name}' holds fractions, labels are classes; name the column of the labels: "
            f"{where}.label"
        )
    if not 2 <= len(known) <= MOST_CLASSES:
        raise InputError(
            f"'{paths[0]}': column '{name}' has {len(known)} different labels, allowed are 2 … {MOST_CLASSES}; name "
            f"the column of the labels: {where}.label"
        )
    return [[_text(value) for value in own] for own in columns], tuple(_text(value) for value in known)


def _text(value: Any) -> str:
    """A category as text: a whole number without a point, whatever type a file gives it."""
    if isinstance(value, float | np.floating) and np.isfinite(value) and value == round(value):
        return str(int(value))
    return str(value)


def _categorical(
    paths: Sequence[Path], frames: Sequence["pd.DataFrame"], asked: Sequence[Any], where: str
) -> list[str]:
    """Names of the columns that hold categories."""
    import pandas as pd

    found = _known(paths[0], asked, list(frames[0].columns), f"{where}.categorical")
    for name in frames[0].columns:
        for path, own in zip([paths[0], paths[-1]], frames, strict=True):
            values, drop = own[name], f"leave it out: {where}.drop: [{name}]"
            if name in found:
                continue
            if pd.api.types.is_bool_dtype(values) or isinstance(values.dtype, pd.CategoricalDtype):
                found.append(name)
            elif pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values):
                if infinite := int((~np.isfinite(values.to_numpy(np.float64))).sum()):
                    raise InputError(f"'{path}': column '{name}' has {infinite} infinite values; correct it, or {drop}")
            elif (pd.api.types.is_object_dtype(values) or pd.api.types.is_string_dtype(values)) and all(
                isinstance(value, str | bool) for value in values
            ):
                if own is not frames[0]:
                    raise InputError(
                        f"'{path}': column '{name}' holds text and in the training part numbers; give both the same, "
                        f"or name it in {where}.categorical"
                    )
                found.append(name)
            else:
                raise InputError(
                    f"'{path}': column '{name}' is of type {values.dtype}, allowed are numbers, texts and truth "
                    f"values; convert it, or {drop}"
                )
    return found


def _refuse_empty_columns(
    path: Path, frame: "pd.DataFrame", whole: "pd.DataFrame", categorical: Sequence[str], where: str
) -> None:
    """Refuse columns from which nothing can be learned: constants and copies in the training part `frame`, and
    identifiers in the `whole` first file.
    """
    import pandas as pd

    found: dict[str, str] = {}
    seen: dict[bytes, str] = {}
    for name in frame.columns:
        own = frame[name].map(_text) if name in categorical else frame[name].astype(np.float64)
        content = pd.util.hash_pandas_object(own, index=False).to_numpy().tobytes()
        different, n = own.nunique(), len(own)
        if different < 2:
            found[name] = "the same in every row"
        elif content in seen:
            found[name] = f"a copy of '{seen[content]}'"
        elif name in categorical and different > max(10, n // 2):
            found[name] = f"{different} different texts in {n} rows, as an identifier or free text has"
        elif name not in categorical and _counts_rows(whole[name], name):
            found[name] = "another whole number in every row, as an identifier has"
        seen.setdefault(content, name)
    if found:
        words = ", ".join(f"'{name}' ({reason})" for name, reason in found.items())
        raise InputError(
            f"'{path}': columns from which nothing can be learned: {words}; leave them out: add "
            f"{list(found)} to {where}.drop"
        )


def _counts_rows(values: "pd.Series", name: str) -> bool:
    """Whether numbers are whole ones, all different, without gaps or by the name of an identifier."""
    if values.nunique() < max(3, len(values)) or (values != values.round()).any():
        return False
    return bool(values.max() - values.min() == len(values) - 1 or name.lower().endswith(IDENTIFIERS))


def _encoded(
    paths: Sequence[Path], frames: Sequence["pd.DataFrame"], categorical: Sequence[str]
) -> tuple[list[np.ndarray], tuple[Column, ...]]:
    """Features [n, features] float64 of the training and the test part, and what each is."""
    columns: list[Column] = []
    parts: list[list[np.ndarray]] = [[], []]
    for name in frames[0].columns:
        if name not in categorical:
            columns.append(Column(name))
            for part, own in zip(parts, frames, strict=True):
                part.append(own[name].to_numpy(np.float64))
            continue
        texts = [own[name].map(_text).to_numpy(str) for own in frames]
        if not np.isin(texts[1], texts[0]).any():
            raise InputError(
                f"'{paths[-1]}': column '{name}' has no category of the training part in its test part, which has "
                f"{sorted(set(texts[1].tolist()))[:5]}; write them alike"
            )
        for category in sorted(set(texts[0].tolist())):
            columns.append(Column(name, category))
            for part, values in zip(parts, texts, strict=True):
                part.append((values == category).astype(np.float64))
    return [np.stack(part, axis=1) for part in parts], tuple(columns)
