"""Files are written whole or not at all, with a digest that is checked when they are read. No pickle is ever loaded."""

import contextlib
import hashlib
import json
import mmap
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
import safetensors.numpy

from poisonlab.errors import InputError, one_line

if TYPE_CHECKING:
    import pandas as pd

SEALED = "poisonlab sealed"  # key in a file's header: the digest of the file, a space, the metadata as JSON
UNSEALED = "poisonlab"  # the same key in files of earlier versions, which have no digest: the metadata alone
# Stands in the digest's place while the digest is computed: nothing that a file holds by chance.
_BLANK = hashlib.blake2b(b"the digest of this file", digest_size=16).hexdigest().encode()
_PIECE = 1 << 20  # bytes that are read at once
# What the readers of damaged files raise. Arrow's own exceptions are subclasses of these.
_DAMAGE = (OSError, EOFError, ValueError, TypeError, LookupError, MemoryError, NotImplementedError, zlib.error)


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename it to `path` when the block succeeds, remove it when it does not.

    The name is hidden and carries no extension that a rule could match, so a kill leaves nothing that looks like a
    result.
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


# ------------------------------------------------------------------------------------------------ digests


def _blank_seal(metadata: Mapping[str, object] | None) -> str:
    """Header entry of a file whose digest is not computed yet."""
    return f"{_BLANK.decode()} {json.dumps(metadata or {}, sort_keys=True)}"


def _digest(path: Path, mark: bytes) -> tuple[bytes, int]:
    """Digest of a file with a blank in place of `mark`, and where `mark` is.

    Raises:
        ValueError: `mark` is not there.
    """
    with open(path, "rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(mark)
        if place < 0:
            raise ValueError("its digest is not where it should be")
        state = hashlib.blake2b(file.read(place), digest_size=16)
        file.seek(len(mark), os.SEEK_CUR)
        state.update(_BLANK)
        while piece := file.read(_PIECE):
            state.update(piece)
    return state.hexdigest().encode(), place


def _seal(path: Path) -> None:
    """Put the digest of a file that was just written in place of its blank."""
    digest, place = _digest(path, _BLANK)
    with open(path, "r+b") as file:
        file.seek(place)
        file.write(digest)


def _unseal(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    """Check a file against the digest in its header, and return its metadata.

    Raises:
        ValueError: the file is not as it was written.
    """
    if SEALED not in header:
        if UNSEALED not in header:
            raise ValueError("it has no digest")
        return json.loads(header[UNSEALED])
    digest, _, metadata = header[SEALED].partition(" ")
    if _digest(path, digest.encode())[0] != digest.encode():
        raise ValueError("its content does not agree with its digest")
    return json.loads(metadata)


# ------------------------------------------------------------------------------------------------ tables


def write_table(
    frame: "pd.DataFrame", path: str | Path, metadata: Mapping[str, object] | None = None, csv: bool = False
) -> None:
    """Write `frame` as parquet with `metadata` and a digest; the same content gives the same bytes.

    Args:
        csv: write a `.csv` of the same name beside it as well.
    """
    import pyarrow as pa
    import pyarrow.parquet

    path = Path(path)
    table = pa.Table.from_pandas(frame.reset_index(drop=True), preserve_index=False)
    with atomic(path) as temporary:
        with pyarrow.parquet.ParquetWriter(temporary, table.schema) as writer:
            writer.write_table(table)
            # Not metadata of the schema, of which Arrow writes a second, encoded copy.
            writer.add_key_value_metadata({SEALED: _blank_seal(metadata)})
        _seal(temporary)
    if csv:
        with atomic(path.with_suffix(".csv")) as temporary:
            frame.to_csv(temporary, index=False)


def read_table(path: str | Path, columns: Iterable[str] = ()) -> "pd.DataFrame":
    """Read a table written by `write_table`, or an archived `.csv.gz`.

    Raises:
        InputError: the file is damaged or lacks one of `columns`.
    """
    import pandas as pd

    try:
        if str(path).endswith((".csv", ".csv.gz")):
            # Only an empty field is missing: a condition may be called "None" or "NA".
            frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
        else:
            _parquet_metadata(Path(path))
            frame = pd.read_parquet(path)
    except _DAMAGE as error:
        raise InputError(f"table '{path}' cannot be read ({one_line(error)}); delete it and run again") from error
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise InputError(
            f"table '{path}' lacks the columns {missing}, it has {list(frame.columns)}; delete it and run again"
        )
    return frame


def read_table_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata that `write_table` put into a parquet file.

    Raises:
        InputError: the file is damaged.
    """
    try:
        return _parquet_metadata(Path(path))
    except _DAMAGE as error:
        raise InputError(f"table '{path}' cannot be read ({one_line(error)}); delete it and run again") from error


def _parquet_metadata(path: Path) -> dict[str, Any]:
    import pyarrow.parquet

    header = pyarrow.parquet.read_metadata(path).metadata or {}
    return _unseal(path, {key.decode(): value.decode() for key, value in header.items()})


# ------------------------------------------------------------------------------------------------ tensors


def write_tensors(
    tensors: Mapping[str, np.ndarray], path: str | Path, metadata: Mapping[str, object] | None = None
) -> None:
    """Write named arrays, metadata and a digest as one safetensors file; the same content gives the same bytes."""
    # Not ascontiguousarray, which makes a scalar a vector of one.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    with atomic(path) as temporary:
        # One entry only: safetensors writes several in random order.
        safetensors.numpy.save_file(arrays, temporary, {SEALED: _blank_seal(metadata)})
        _seal(temporary)


def read_tensors(path: str | Path, names: Iterable[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a file written by `write_tensors`: the arrays and the metadata.

    Raises:
        InputError: the file is damaged or lacks one of `names`.
    """
    try:
        with safetensors.safe_open(str(path), framework="numpy") as handle:
            metadata = _unseal(Path(path), handle.metadata() or {})
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError:
        raise InputError(f"file '{path}' is not there; correct its path, or make it by a run") from None
    except (*_DAMAGE, safetensors.SafetensorError) as error:
        raise InputError(f"file '{path}' cannot be read ({one_line(error)}); delete it and run again") from error
    missing = [name for name in names if name not in tensors]
    if missing:
        raise InputError(f"file '{path}' lacks {missing}, it has {sorted(tensors)}; delete it and run again")
    return tensors, metadata


# ------------------------------------------------------------------------------------------------ checkpoints


@dataclass(frozen=True)
class Workspace:
    """Checkpoints of a job that has not finished, in a folder beside its output.

    Attributes:
        folder: `<output>.unfinished`. The workflow does not know it, so that it stays when the job is killed.
        version: of everything that the job's result depends on. Checkpoints of another version are not there.
    """

    folder: Path
    version: str

    def write(self, name: str, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, object] | None = None) -> None:
        """Keep a checkpoint, in place of the older one of the same name. A kill leaves the old one or the new one."""
        write_tensors(tensors, self._file(name), {"version": self.version, "metadata": dict(metadata or {})})

    def read(self, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Return a checkpoint as it was written; None where there is none of this version, or a damaged one."""
        try:
            tensors, found = read_tensors(self._file(name))
        except InputError:
            return None
        return (tensors, found["metadata"]) if found.get("version") == self.version else None

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


@contextlib.contextmanager
def workspace(output: str | Path, version: str) -> Iterator[Workspace]:
    """Yield a place for checkpoints that survives a kill and is removed when the block succeeds.

    Write the output inside the block: a job that is killed after the block then has nothing to do again. ::

        with workspace(snakemake.output[0], version) as place:
            state = place.read("state")
            …                                   # from the state on, or from the beginning
            place.write("state", tensors, {"step": step})
            …
            poison.save(snakemake.output[0])

    Args:
        output: file that the job makes.
        version: hash of everything that the job's result depends on: code, parameters, seeds and inputs.
    """
    output = Path(output)
    place = Workspace(output.with_name(f"{output.name}.unfinished"), version)
    yield place
    shutil.rmtree(place.folder, ignore_errors=True)
