"""Arrays out of an .npz file that a person gives: it may be damaged, encrypted, or far larger than it looks."""

import math
import os
import zipfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from poisonlab.errors import InputError, one_line

_LONGEST_HEADER = 1 << 16  # bytes; NumPy reads no header of more than 10 000 characters
_PIECE = 1 << 20  # bytes that are unpacked at once
_WAY_OUT = "write a plain array with np.savez, pickled objects are never loaded"


class _Member(NamedTuple):
    """What an array's header declares."""

    info: zipfile.ZipInfo
    start: int  # bytes before the data
    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def size(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_arrays(path: Path, needed: Sequence[str], optional: Sequence[str]) -> dict[str, np.ndarray]:
    """Read the arrays `needed`, and those of `optional` that are there.

    Nothing is unpacked before every header agrees with the size of its member and the arrays fit into the free memory.
    Object arrays (pickles) are never loaded.

    Raises:
        InputError: the file is no .npz archive, lacks an array, or an array cannot be read or does not fit.
    """
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # anything may be wrong in a file that a person gives
        if _is_one_array(path):
            raise InputError(
                f"'{path}' is one array, not an .npz archive; write it with np.savez and the arrays {', '.join(needed)}"
            ) from None
        raise InputError(f"'{path}' is not an .npz archive ({one_line(error)}); write it with np.savez") from error
    with archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        for key in needed:
            if key not in infos:
                raise InputError(f"'{path}' lacks the array '{key}', it has {sorted(infos)}; give {', '.join(needed)}")
        try:
            members = {}
            for key in (*needed, *(key for key in optional if key in infos)):
                members[key] = _declared(archive, infos[key])
            size, free = sum(member.size for member in members.values()), free_memory()
            if size > free:
                raise InputError(
                    f"'{path}': its arrays take {size / 1e9:.3g} GB and {free / 1e9:.3g} GB of memory are free; "
                    f"store fewer points, smaller images or uint8"
                )
            arrays = {}
            for key, member in members.items():
                arrays[key] = _read(archive, member)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"'{path}': array '{key}' cannot be read ({one_line(error)}); {_WAY_OUT}") from error
    return arrays


def free_memory() -> int:
    """Bytes of memory that a process can still get; where the system does not say so, all that the machine has."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _is_one_array(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(6) == b"\x93NUMPY"
    except OSError:
        return False


def _declared(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _Member:
    """Read a member's header. Raises exceptions of many kinds where it is no array, or not as large as it declares."""
    if info.flag_bits & 1:
        raise ValueError("it is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"it is compressed by method {info.compress_type}, NumPy uses 0 and 8")
    with archive.open(info) as member:
        beginning = BytesIO(member.read(_LONGEST_HEADER))
    version = np.lib.format.read_magic(beginning)
    # Version 3 is version 2 with names of fields in UTF-8: the names of a structured array, which no data set has.
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(beginning)
    if dtype.hasobject:
        raise ValueError("it holds objects")
    found = _Member(info, beginning.tell(), shape, fortran_order, dtype)
    if min(shape, default=0) < 0 or found.start + found.size != info.file_size:
        raise ValueError(
            f"its header declares {dtype} {shape}, so {found.size} bytes, and it has {info.file_size - found.start}"
        )
    return found


def _read(archive: zipfile.ZipFile, member: _Member) -> np.ndarray:
    data, place = np.empty(member.size, np.uint8), 0
    with archive.open(member.info) as opened:
        opened.read(member.start)
        while piece := opened.read(min(_PIECE, member.size - place)):
            data[place : place + len(piece)] = np.frombuffer(piece, np.uint8)
            place += len(piece)
    if place < member.size:
        raise ValueError(f"it ends after {place} of {member.size} bytes")
    array = data.view(member.dtype)
    return array.reshape(member.shape[::-1]).T if member.fortran_order else array.reshape(member.shape)
