"""Get the files of the torchvision data sets: from a mirror folder, else from their canonical hosts."""

import contextlib
import gzip
import hashlib
import http.client
import lzma
import os
import shutil
import socket
import tarfile
import urllib.parse
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from poisonlab.datasets.sources import SOURCES, expanded
from poisonlab.errors import InputError, one_line

# torchvision knows the md5 of the compressed files only; these are the same files unpacked.
UNPACKED_MD5 = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
}
CONNECTION_TIMEOUT = 60.0  # seconds; torchvision sets none, and a host that never answers would hold the run for ever


def fetch(source: str, destination: Path, mirror: Path | None = None) -> None:
    """Fill `destination` with the unpacked files of a torchvision source: from the mirror, else from the network.

    The mirror may hold the files as downloaded (`MNIST/raw/*.gz`, `FashionMNIST/raw/*.gz`, `cifar-10-python.tar.gz`),
    repacked (`cifar-10-batches-py.tar.xz`) or unpacked (a root folder of torchvision). It is only read. Every file is
    checked by its md5; a damaged one is an error and never replaced by a download. `destination` appears whole or not
    at all.

    Raises:
        InputError: no such source or mirror, a damaged or missing file in the mirror, no connection, or `destination`
            is not empty.
    """
    if source not in SOURCES or SOURCES[source].kind != "torchvision":
        fetched = [name for name, entry in SOURCES.items() if entry.kind == "torchvision"]
        raise InputError(f"source '{source}' is not fetched; sources that are: {', '.join(fetched)}")
    if mirror is not None:
        mirror = expanded(mirror, "`mirror:`")
        if not mirror.is_dir():
            raise InputError(f"mirror '{mirror}' is not a folder; correct `mirror:`, or leave it empty to download")
    with _whole_folder(Path(destination)) as partial:
        copy = _copy_cifar10 if source == "cifar10" else _copy_idx_files
        if mirror is None or not copy(source, mirror, partial):
            _download(source, partial, mirror)


@contextlib.contextmanager
def _whole_folder(destination: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `destination` and rename it when the block succeeds.

    Its name is fixed, so that what a killed run left is cleared by the next; the run's lock keeps a second fetch away.
    """
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise InputError(f"'{destination}' exists already; delete it to fetch again")
    partial = destination.parent / f".{destination.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        os.replace(partial, destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_idx_files(source: str, mirror: Path, partial: Path) -> bool:
    """Unpack or copy the four MNIST-like files; False if the mirror has none of them."""
    from torchvision import datasets

    torchvision_class = getattr(datasets, SOURCES[source].torchvision_class)
    raw = Path(SOURCES[source].torchvision_class, "raw")
    packed = {Path(name).stem: (mirror / raw / name, md5) for name, md5 in torchvision_class.resources}
    if not any(path.exists() or path.with_suffix("").exists() for path, _ in packed.values()):
        return False
    (partial / raw).mkdir(parents=True)
    for name, (path, md5) in packed.items():
        target = partial / raw / name
        if path.with_suffix("").exists() and not path.exists():
            _check_md5(path.with_suffix(""), UNPACKED_MD5[source][name])
            shutil.copyfile(path.with_suffix(""), target)
        else:
            _check_md5(path, md5)
            with gzip.open(path, "rb") as opened, open(target, "wb") as written:
                shutil.copyfileobj(opened, written, 1 << 20)
    return True


def _copy_cifar10(source: str, mirror: Path, partial: Path) -> bool:
    """Copy or extract the seven files of CIFAR-10; False if the mirror has none of the three forms."""
    from torchvision.datasets import CIFAR10

    base = CIFAR10.base_folder
    sums = dict([*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])])
    original, repacked = mirror / CIFAR10.filename, mirror / f"{base}.tar.xz"
    (partial / base).mkdir()
    if (mirror / base).is_dir():
        for name, md5 in sums.items():
            _check_md5(mirror / base / name, md5)
            shutil.copyfile(mirror / base / name, partial / base / name)
    elif original.exists():
        _check_md5(original, CIFAR10.tgz_md5)
        _extract(original, {f"{base}/{name}" for name in sums}, partial)
    elif repacked.exists():
        _extract(repacked, {f"{base}/{name}" for name in sums}, partial)
        for name, md5 in sums.items():
            _check_md5(partial / base / name, md5, shown=f"{repacked}: {base}/{name}")
    else:
        return False
    return True


def _extract(archive: Path, wanted: set[str], partial: Path) -> None:
    """Extract only the wanted files, in the order of the archive, so that a compressed one is read once."""
    try:
        with tarfile.open(archive) as opened:
            for member in opened:
                if member.isfile() and str(PurePosixPath(member.name)) in wanted:
                    opened.extract(member, partial, filter="data")
    except (tarfile.TarError, OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise InputError(
            f"mirror file '{archive}' (md5 {_md5(archive)}) cannot be extracted ({one_line(error)}); {_MIRROR_WAY_OUT}"
        ) from error


_MIRROR_WAY_OUT = "replace it, or leave `mirror:` empty to download (a damaged file is not replaced silently)"


def _md5(path: Path) -> str:
    with open(path, "rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _check_md5(path: Path, expected: str, shown: str = "") -> None:
    if not path.is_file():
        raise InputError(
            f"mirror file '{shown or path}' is missing though others of its set are there; {_MIRROR_WAY_OUT}"
        )
    try:
        found = _md5(path)
    except OSError as error:
        raise InputError(f"mirror file '{path}' cannot be read ({one_line(error)}); make it readable") from error
    if found != expected:
        raise InputError(f"mirror file '{shown or path}' has md5 {found}, expected {expected}; {_MIRROR_WAY_OUT}")


def _download(source: str, partial: Path, mirror: Path | None) -> None:
    """Let torchvision download and check the files, and drop the archives that it leaves behind."""
    from torchvision import datasets

    torchvision_class = getattr(datasets, SOURCES[source].torchvision_class)
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(CONNECTION_TIMEOUT)
    try:
        torchvision_class(partial, download=True)
    except (RuntimeError, OSError, http.client.HTTPException) as error:
        urls = getattr(torchvision_class, "mirrors", None) or [torchvision_class.url]
        hosts = ", ".join(str(urllib.parse.urlsplit(url).hostname) for url in urls)
        absent = "" if mirror is None else f" and is not in the mirror '{mirror}'"
        raise InputError(
            f"'{source}' could not be downloaded from {hosts} ({one_line(error)}){absent}; connect to the network, "
            f"or set `mirror:` to a folder that holds {_MIRROR_FILES[source]}"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    for archive in partial.rglob("*.gz"):
        archive.unlink()


_MIRROR_FILES = {
    "mnist": "MNIST/raw/*.gz",
    "fashion_mnist": "FashionMNIST/raw/*.gz",
    "cifar10": "cifar-10-python.tar.gz",
}
