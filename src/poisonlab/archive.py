"""The archive: small tables of long runs, merged batch by batch, so that a run can be continued elsewhere."""

import datetime
import gzip
import importlib.metadata
import io
import itertools
import json
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from poisonlab import storage
from poisonlab.errors import InputError
from poisonlab.tables import KEYS

PACKAGES = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "cleanlab", "snakemake")
CODE = ("Snakefile", "config.yaml", "config", "src", "workflow")  # what a commit must have as it ran

# What all victims of an experiment, and of a condition, have in common.
SAME_IN_EXPERIMENT = ("dataset", "model", "recipe", "precision", "scale", "source_class", "target_class")
SAME_IN_CONDITION = ("strategy", "parameters", "budget")


def merge(old: pd.DataFrame | None, new: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Rows of both tables, one for each key: the new row where both have one. Sorted by key."""
    both = new if old is None else pd.concat([old, new], ignore_index=True)
    return both.drop_duplicates(key, keep="last").sort_values(key, kind="stable", ignore_index=True)


def _write_gzip(frame: pd.DataFrame, path: Path) -> None:
    buffer = io.StringIO()
    frame.to_csv(buffer, index=False)
    # No time stamp and no name in the header: the same table gives the same bytes.
    content = gzip.compress(buffer.getvalue().encode(), mtime=0)
    with storage.atomic(path) as temporary:
        temporary.write_bytes(content)


def _git(*arguments: str) -> str | None:
    """What git says of this package's repository, None outside of one or without git."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _provenance(settings: Mapping[str, Any]) -> dict[str, Any]:
    changes = _git("status", "--porcelain", "--", *(f":/{name}" for name in CODE))
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _git("rev-parse", "HEAD"),
        "changed": None if changes is None else bool(changes),
        "device": settings["device"],
        "processor": platform.machine(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        # Where a data set was copied from is nobody's business: its checksums are the same everywhere.
        "configuration": {key: value for key, value in settings.items() if key != "mirror"},
    }


def _batches(folder: Path) -> list[dict[str, Any]]:
    """Provenance of the batches that `folder` holds, oldest first."""
    path = folder / "provenance.json"
    return json.loads(path.read_text()) if path.is_file() else []


def _add_provenance(folder: Path, settings: Mapping[str, Any]) -> None:
    """Append this batch's provenance; a batch that repeats the last one but for its date adds nothing."""
    path, batches = folder / "provenance.json", _batches(folder)
    entry = _provenance(settings)
    if not batches or {**batches[-1], "date": None} != {**entry, "date": None}:
        batches.append(entry)
    with storage.atomic(path) as temporary:
        temporary.write_text(json.dumps(batches, indent=1, sort_keys=True) + "\n")


def _refuse_mixtures(conditions: pd.DataFrame, folder: Path) -> None:
    """Check the old and the new rows together: once they are merged by their key, a new description hides the old one."""
    for columns, groups in (
        (SAME_IN_EXPERIMENT, [conditions]),
        (SAME_IN_CONDITION, [group for _, group in conditions.groupby("condition")]),
    ):
        for column, group in itertools.product(columns, groups):
            found = sorted(group[column].drop_duplicates(), key=str)
            if len(found) > 1:
                raise InputError(
                    f"archive '{folder}' would mix {column} {found}; archive under another experiment name"
                )


def _refuse_another_recipe(conditions: pd.DataFrame, folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that a recipe of the same name still says what it said in earlier batches."""
    for batch, name in itertools.product(_batches(folder), set(conditions["recipe"])):
        old, new = batch["configuration"]["recipes"].get(name), settings["recipes"].get(name, {})
        # A setting that a batch does not know had its default then.
        if old is not None and old != {key: new[key] for key in old if key in new}:
            raise InputError(
                f"archive '{folder}' has victims of recipe '{name}' = {old}, these are of {new}; archive under another recipe name"
            )


def archive_experiment(tables: Path, folder: Path, settings: Mapping[str, Any]) -> None:
    """Merge an experiment's tables into `folder` (`*.csv.gz`) by their keys and note where the batch comes from.

    The numbers of draws and repeats in `conditions` are counted anew from all archived victims.

    Args:
        tables: folder of conditions.parquet, victims.parquet and robustness.parquet.
        settings: what the batch was run with.

    Raises:
        InputError: the archive holds victims of something else under the same names: of another data set, model, recipe, precision,
            scale or pair of classes, or of another strategy, parameters or budget in a condition.
    """
    merged: dict[str, pd.DataFrame] = {}
    for name, key in KEYS.items():
        archived = folder / f"{name}.csv.gz"
        old = storage.read_table(archived, key) if archived.is_file() else None
        new = storage.read_table(tables / f"{name}.parquet", key)
        if name == "conditions":
            _refuse_mixtures(new if old is None else pd.concat([old, new]), folder)
            _refuse_another_recipe(new, folder, settings)
        merged[name] = merge(old, new, key)
    conditions, victims = merged["conditions"], merged["victims"]
    counts = victims.groupby(["condition", "axis_value"], dropna=False)[["draw", "repeat"]].nunique().reset_index()
    conditions = conditions.drop(columns=["n_draws", "n_repeats"]).merge(
        counts.rename(columns={"draw": "n_draws", "repeat": "n_repeats"}), on=["condition", "axis_value"], how="left"
    )
    merged["conditions"] = conditions[storage.read_table(tables / "conditions.parquet").columns]
    for name, frame in merged.items():
        _write_gzip(frame, folder / f"{name}.csv.gz")
    _copy(tables, folder, "maps")
    _add_provenance(folder, settings)


def archive_survey(tables: Path, folder: Path, settings: Mapping[str, Any]) -> None:
    """Put tables and images of a survey, a bound or graphs into `folder`, in place of older ones; those not asked for stay out."""
    for name in ("lengths", "issues", "nets", "runs", "cover", "degrees", "scores"):
        if (table := tables / f"{name}.parquet").is_file():
            _write_gzip(storage.read_table(table), folder / f"{name}.csv.gz")
    _copy(tables, folder, "extremes", "example", "idea")
    _add_provenance(folder, settings)


def _copy(tables: Path, folder: Path, *names: str) -> None:
    """Copy the arrays that are there into the archive, in place of older ones."""
    for name in names:
        if (arrays := tables / f"{name}.safetensors").is_file():
            with storage.atomic(folder / arrays.name) as temporary:
                shutil.copyfile(arrays, temporary)
