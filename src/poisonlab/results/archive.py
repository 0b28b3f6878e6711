"""The archive: small tables of long runs, merged batch by batch, so that a run can be continued elsewhere."""

import datetime
import gzip
import importlib.metadata
import io
import itertools
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from poisonlab.errors import InputError
from poisonlab.results import storage
from poisonlab.results.tables import FURTHER, KEYS, copies_in, without_copies

PACKAGES = (
    *("torch", "torchvision", "numpy", "pandas", "scikit-learn", "cleanlab", "snakemake"),
    *("numba", "llvmlite", "networkx", "pyarrow", "scipy"),
)
# What may differ between the batches of an experiment: further radii, another place of the same files; of a recipe's
# precision the table of conditions tells.
FREE = {"epsilon", "path", "precision"}
CODE = ("Snakefile", "config.yaml", "config", "studies", "src", "workflow")  # what a commit must have as it ran

# What all victims of an experiment, of a condition, and of a value of its sweep, have in common.
SAME_IN_EXPERIMENT = ("dataset", "scale")
SAME_IN_CONDITION = ("strategy", "parameters", "model", "recipe", "precision", "source_class", "target_class")
SAME_IN_VALUE = ("budget",)
# In a bucket: a clean proxy that is trained elsewhere gives other path lengths.
SAME_IN_BUCKET = ("n_points", "steps_low", "steps_high")


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
        **_arithmetic(),
        # Where a data set was copied from is nobody's business: its checksums are the same everywhere.
        "configuration": {key: value for key, value in settings.items() if key != "mirror"},
    }


def _arithmetic() -> dict[str, Any]:
    """What the last bits of a result depend on, beside the versions: the processor and the compiled kernels."""
    import llvmlite.binding

    try:
        found = llvmlite.binding.get_host_cpu_features()
    except RuntimeError:  # on a processor that LLVM does not know
        found = {}
    return {
        "processor_name": llvmlite.binding.get_host_cpu_name(),
        "instructions": sorted(name for name, there in found.items() if there),
        "kernels": os.environ.get("POISONLAB_KERNELS", "on"),
    }


def training_time(folder: Path) -> dict[str, float]:
    """Hours that the training jobs below `folder` took together, by Snakemake's benchmarks of an experiment.

    Of each job its last run: one that was killed and went on has lost what it took before. A job that was stopped for a
    while took longer by the clock (`hours`) than of a core (`core_hours`). Nothing where there are no benchmarks.
    Snakemake times no core within a second.
    """
    measured = [json.loads(file.read_text()) for file in sorted(folder.glob("*/*.jsonl"))]
    if not measured:
        return {}

    def hours(key: str) -> float:
        return round(sum(job[key] for job in measured if isinstance(job[key], int | float)) / 3600, 3)

    return {"jobs": len(measured), "hours": hours("s"), "core_hours": hours("cpu_time")}


def archived_hours(folder: Path) -> tuple[float, int, int]:
    """Hours of a core that training the victims below a study's folder took, by the provenance of its experiments; of
    how many experiments it is known, and how many there are.

    What two batches of the same results both count is counted twice.
    """
    every = [_batches(file.parent) for file in folder.glob("*/victims.csv.gz")]
    told = [[batch["training"]["core_hours"] for batch in batches if "training" in batch] for batches in every]
    return sum(map(sum, told)), sum(map(bool, told)), len(every)


def _batches(folder: Path) -> list[dict[str, Any]]:
    """Provenance of the batches that `folder` holds, oldest first."""
    path = folder / "provenance.json"
    return json.loads(path.read_text()) if path.is_file() else []


def _add_provenance(folder: Path, settings: Mapping[str, Any], training: Mapping[str, float] | None = None) -> None:
    """Append this batch's provenance. A batch that repeats the last one but for its date, or its time, adds nothing."""
    path, batches = folder / "provenance.json", _batches(folder)
    entry = _provenance(settings) | ({"training": training} if training else {})
    free = {"date": None, "training": None}
    if not batches or {**batches[-1], **free} != {**entry, **free}:
        batches.append(entry)
    with storage.atomic(path) as temporary:
        temporary.write_text(json.dumps(batches, indent=1, sort_keys=True) + "\n")


def _refuse_mixtures(conditions: pd.DataFrame, folder: Path) -> None:
    """Check the old and the new rows together: once they are merged, a new description hides the old one."""
    for columns, groups in (
        (SAME_IN_EXPERIMENT, [conditions]),
        (SAME_IN_CONDITION, [group for _, group in conditions.groupby("condition")]),
        (SAME_IN_VALUE, [group for _, group in conditions.groupby(["condition", "axis_value"], dropna=False)]),
    ):
        for column, group in itertools.product(columns, groups):
            found = sorted(group[column].drop_duplicates(), key=str)
            if len(found) > 1:
                raise InputError(
                    f"archive '{folder}' would mix {column} {found}; archive under another experiment name"
                )


def _without_other_buckets(
    old: dict[str, pd.DataFrame], new: Mapping[str, pd.DataFrame], folder: Path
) -> dict[str, pd.DataFrame]:
    """The archived tables without the victims of buckets that were cut otherwise; the new batch must replace all."""
    columns = [*KEYS["conditions"], *SAME_IN_BUCKET]
    pairs = old["conditions"][columns].merge(
        new["conditions"][columns], on=KEYS["conditions"], suffixes=(" old", " new")
    )
    for row in pairs.dropna().to_dict("records"):
        then, now = ([row[f"{name} {age}"] for name in SAME_IN_BUCKET] for age in ("old", "new"))
        if then == now:
            continue
        condition, value = row["condition"], row["axis_value"]
        own = {
            age: table[(table["condition"] == condition) & (table["axis_value"] == value)]
            for age, table in (("old", old["victims"]), ("new", new["victims"]))
        }
        held, trained = (set(zip(table["draw"], table["repeat"], strict=True)) for table in own.values())
        if held - trained:
            words = [f"{points:g} points of {low:g} to {high:g} steps" for points, low, high in (then, now)]
            raise InputError(
                f"archive '{folder}' holds {condition} {value:g} of {words[0]}, this batch has {words[1]} and would "
                f"replace {len(held & trained)} of its {len(held)} victims; run with skip_archived=true, or archive "
                f"under another name"
            )
        old = {
            name: table[(table["condition"] != condition) | (table["axis_value"] != value)]
            for name, table in old.items()
        }
    return old


def _meanings(settings: Mapping[str, Any], tables: Mapping[str, pd.DataFrame]) -> dict[str, dict[str, Any]]:
    """What the names in an experiment's tables mean, by their place in the configuration: what the tables do not say.

    Of a configuration from before studies had folders, too, in which paths had the place of proxies and an experiment
    its own buckets.
    """
    first = tables["conditions"].iloc[0]
    study = settings.get(first["study"], {})
    where = f"{first['study']}.experiments.{first['experiment']}"
    entry = study.get("experiments", {}).get(first["experiment"], {})
    if "poisons" in entry:
        named = [own["poison"] if isinstance(own, Mapping) else own for own in entry["poisons"].values()]
        poisons = [study["poisons"][name] for name in named]
        needs = [poison["needs"]["buckets"] for poison in poisons if "buckets" in poison.get("needs", {})]
        buckets = settings["buckets"][needs[0]] if needs else {}
        redraw = {"redraw": poisons[0].get("redraw", False)}
    else:
        buckets = entry.get("buckets") or {}
        redraw = {"redraw": entry["redraw"]} if "redraw" in entry else {}
    paths = settings.get("paths", {}).get(buckets.get("paths"), {})
    paths = {**settings.get("proxies", {}).get(paths.get("proxy"), {}), **paths}
    names = {
        "recipes": {*tables["conditions"]["recipe"], paths.get("recipe")},
        "models": set(tables["conditions"]["model"]),
        "datasets": {first["dataset"]},
        "attacks": set(tables["robustness"]["attack"]),
    }
    kept = ("dataset", "model", "recipe", "goal", "step_size", "max_steps", "clip")
    found = {
        # None: the default, not yet filled in
        f"{where}.buckets": {key: value for key, value in buckets.items() if value is not None},
        f"paths.{buckets.get('paths')}": {key: paths[key] for key in kept if key in paths},
        where: redraw,
    }
    for section, used in names.items():
        found |= {f"{section}.{name}": settings.get(section, {}).get(name, {}) for name in used}
    return found


def _refuse_other_meanings(settings: Mapping[str, Any], tables: Mapping[str, pd.DataFrame], folder: Path) -> None:
    """Check that names still mean what they meant in earlier batches.

    A setting that a batch does not know had its default then.
    """
    now = _meanings(settings, tables)
    for batch in _batches(folder):
        for place, old in _meanings(batch["configuration"], tables).items():
            for key in sorted(set(old) & set(now.get(place, {})) - FREE):
                if old[key] != now[place][key]:
                    raise InputError(
                        f"archive '{folder}' holds victims of {place}.{key} = {old[key]}, these are of "
                        f"{now[place][key]}; "
                        "archive under another name"
                    )


def archive_experiment(
    tables: Path,
    folder: Path,
    settings: Mapping[str, Any],
    buckets: pd.DataFrame | None = None,
    benchmarks: Path | None = None,
) -> None:
    """Merge an experiment's tables into `folder` (`*.csv.gz`) by their keys and note where the batch comes from.

    The numbers of draws and repeats in `conditions` are counted anew from all archived victims.

    Args:
        tables: folder of conditions.parquet, victims.parquet and robustness.parquet.
        settings: what the batch was run with.
        buckets: the table of `buckets.cut_buckets`, if the experiment has one; archived too, for whoever continues the
            run.
        benchmarks: folder of the benchmarks of its training jobs; how long they took is noted.

    Raises:
        InputError: the archive holds victims of something else under the same names: of another data set, model,
            recipe, precision, scale or pair of classes, of another strategy, parameters or budget in a condition, of
            buckets of other path lengths, or of a data set, recipe, attack, paths or buckets that meant something else.
    """
    added = {name: storage.read_table(tables / f"{name}.parquet", key) for name, key in KEYS.items()}
    _refuse_other_meanings(settings, added, folder)
    there = {name: folder / f"{name}.csv.gz" for name in KEYS}
    old = {name: storage.read_table(file, KEYS[name]) for name, file in there.items() if file.is_file()}
    described = [tables["conditions"] for tables in (old, added) if "conditions" in tables]
    _refuse_mixtures(pd.concat(described), folder)
    if old:
        old = _without_other_buckets(old, added, folder)
    merged = {name: merge(old.get(name), added[name], key) for name, key in KEYS.items()}
    merged["victims"], merged["robustness"], copies = without_copies(merged["victims"], merged["robustness"])
    copies = merge(copies_in(storage.read_table_metadata(tables / "victims.parquet")), copies, KEYS["victims"])
    if (known := folder / "copies.csv.gz").is_file():
        copies = merge(storage.read_table(known, KEYS["victims"]), copies, KEYS["victims"])
    if len(copies):
        merged["copies"] = copies
    conditions, victims = merged["conditions"], merged["victims"]
    counts = victims.groupby(["condition", "axis_value"], dropna=False)[["draw", "repeat"]].nunique().reset_index()
    # Of a run that is not finished a condition may have no victim yet: it is none of the archive's.
    conditions = conditions.drop(columns=["n_draws", "n_repeats"]).merge(
        counts.rename(columns={"draw": "n_draws", "repeat": "n_repeats"}), on=["condition", "axis_value"]
    )
    merged["conditions"] = conditions[storage.read_table(tables / "conditions.parquet").columns]
    if buckets is not None:
        merged["buckets"] = buckets
    for name, key in FURTHER.items():
        if (file := tables / f"{name}.parquet").is_file():
            older = folder / f"{name}.csv.gz"
            merged[name] = merge(
                storage.read_table(older, key) if older.is_file() else None, storage.read_table(file, key), key
            )
    for name, frame in merged.items():
        _write_gzip(frame, folder / f"{name}.csv.gz")
    _copy(tables, folder, "maps")
    _add_provenance(folder, settings, training_time(benchmarks) if benchmarks else None)


def archive_analysis(tables: Path, folder: Path, settings: Mapping[str, Any]) -> None:
    """Put the table and the arrays of an analysis into `folder`, in place of older ones."""
    arrays = storage.read_tensors(tables / "arrays.safetensors")[0]
    _write_gzip(storage.read_table(tables / "table.parquet"), folder / "table.csv.gz")
    if arrays:
        _copy(tables, folder, "arrays")
    _add_provenance(folder, settings)


def archive_multiverse(table: Path, folder: Path, settings: Mapping[str, Any]) -> None:
    """Put the table of a multiverse into `folder`, in place of an older one."""
    _write_gzip(storage.read_table(table), folder / table.with_suffix(".csv.gz").name)
    _add_provenance(folder, settings)


def _copy(tables: Path, folder: Path, *names: str) -> None:
    """Copy the arrays that are there, and undamaged, into the archive, in place of older ones."""
    for name in names:
        if (arrays := tables / f"{name}.safetensors").is_file():
            storage.read_tensors(arrays)
            with storage.atomic(folder / arrays.name) as temporary:
                shutil.copyfile(arrays, temporary)
