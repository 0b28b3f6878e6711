"""Files are written whole or not at all, and read back with a schema. No pickle is ever loaded."""

import contextlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import safetensors
import safetensors.numpy

from poisonlab.errors import InputError


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block succeeds, remove it when it does not.

    The name is hidden and carries no extension that a rule could match, so a kill leaves nothing that looks like a result.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    # mkstemp makes a private file; a result is as readable as its folder allows.
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(name, 0o666 & ~umask)
    try:
        yield Path(name)
        with open(name, "rb") as written:
            os.fsync(written.fileno())
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def write_table(
    frame: pd.DataFrame, path: str | Path, metadata: Mapping[str, object] | None = None, csv: bool = False
) -> None:
    """Write `frame` as parquet with `metadata` in its schema; with `csv`, a `.csv` of the same name beside it."""
    path = Path(path)
    table = pa.Table.from_pandas(frame.reset_index(drop=True), preserve_index=False)
    table = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), b"poisonlab": json.dumps(metadata or {}).encode()}
    )
    with atomic(path) as temporary:
        pyarrow.parquet.write_table(table, temporary)
    if csv:
        with atomic(path.with_suffix(".csv")) as temporary:
            frame.to_csv(temporary, index=False)


def read_table(path: str | Path, columns: Iterable[str] = ()) -> pd.DataFrame:
    """Read a table written by `write_table`, or an archived `.csv.gz`.

    Raises:
        InputError: the file is damaged or lacks one of `columns`.
    """
    try:
        if str(path).endswith((".csv", ".csv.gz")):
            # Only an empty field is missing: a condition may be called "None" or "NA".
            frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        else:
            frame = pd.read_parquet(path)
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise InputError(f"table '{path}' cannot be read ({error}); delete it and run again") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InputError(
            f"table '{path}' lacks the columns {missing}, it has {list(frame.columns)}; delete it and run again"
        )
    return frame


def read_table_metadata(path: str | Path) -> dict:
    """Return the metadata that `write_table` put into a parquet file."""
    return json.loads((pyarrow.parquet.read_schema(path).metadata or {}).get(b"poisonlab", b"{}"))


def write_tensors(
    tensors: dict[str, np.ndarray], path: str | Path, metadata: Mapping[str, object] | None = None
) -> None:
    """Write named arrays and string metadata as one safetensors file; the same content gives the same bytes."""
    with atomic(path) as temporary:
        # Not ascontiguousarray, which makes a scalar a vector of one.
        arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
        # One entry only: safetensors writes several in random order.
        facts = {"poisonlab": json.dumps(metadata or {}, sort_keys=True)}
        temporary.write_bytes(safetensors.numpy.save(arrays, facts))


def read_tensors(path: str | Path, names: Iterable[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file written by `write_tensors`: the arrays and the metadata.

    Raises:
        InputError: the file is damaged or lacks one of `names`.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as handle:
            metadata = json.loads((handle.metadata() or {}).get("poisonlab", "{}"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"file '{path}' cannot be read ({error}); delete it and run again") from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise InputError(f"file '{path}' lacks {missing}, it has {sorted(tensors)}; delete it and run again")
    return tensors, metadata
