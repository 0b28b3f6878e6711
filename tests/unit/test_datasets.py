"""Data sets: what they contain, how they are fetched, and which errors a person meets."""

import functools
import gzip
import hashlib
import http.server
import io
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10, MNIST

from poisonlab import datasets
from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.fetch import UNPACKED_MD5, fetch
from poisonlab.datasets.npz import free_memory
from poisonlab.datasets.own import listing as images_of
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.sources import SOURCES, class_counts, class_names, options_of, validate_specification
from poisonlab.datasets.toys import redrawn
from poisonlab.errors import InputError


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def listing(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Mode, time of change and content of every file, to see that nothing has been touched."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.stat().st_mtime_ns, md5(path.read_bytes()))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make every connection fail; returns the list of attempts."""
    attempts: list[str] = []

    def refuse(*arguments: object, **_: object) -> None:
        attempts.append(str(arguments))
        raise OSError("network is unreachable")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


# ------------------------------------------------------------------------------------------------------------ catalogue


def test_reading_the_catalogue_imports_no_slow_library() -> None:
    code = "import sys, poisonlab.datasets; print([m for m in ('torch', 'sklearn', 'pandas') if m in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(Path(datasets.__file__).parents[1])}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout.strip() == "[]"


def test_counts_and_names_of_a_subset_follow_the_listed_order() -> None:
    specification = {"source": "mnist", "classes": [7, "1"]}
    assert class_counts(specification) == {0: 6265, 1: 6742}
    assert class_names(specification) == ("7", "1")
    assert class_counts({"source": "npz", "path": "any"}) is None
    assert class_names({"source": "folder", "path": "any"}) is None


def test_the_catalogue_agrees_with_the_digits() -> None:
    dataset = prepare("digits", {"source": "digits"})
    assert tuple(np.bincount(dataset.train_labels)) == SOURCES["digits"].train_counts
    assert dataset.class_names == SOURCES["digits"].class_names


@pytest.mark.parametrize(
    ("specification", "words"),
    [
        ({"source": "imagenet"}, ["'imagenet'", "digits, mnist"]),
        ({}, ["unknown source None"]),
        ({"source": "mnist", "path": "x"}, ["'path'", "takes classes"]),
        ({"source": "mnist", "classes": [0, 12]}, ["class 12 is not in 'mine'", "0 … 9"]),
        ({"source": "cifar10", "classes": ["cat", "cow"]}, ["class 'cow'", "'airplane'"]),
        ({"source": "mnist", "classes": [3, "3"]}, ["class '3' is listed twice"]),
        ({"source": "mnist", "classes": [3]}, ["classes is [3]", "two or more"]),
        ({"source": "npz"}, ["needs the path", "datasets.mine.path"]),
        ({"source": "npz", "path": "nowhere.npz"}, ["'nowhere.npz' is not a file"]),
        ({"source": "folder", "path": "nowhere"}, ["'nowhere' is not a folder"]),
        ({"source": "folder", "path": ".", "size": 32}, ["size is 32", "[height, width]"]),
        ({"source": "folder", "path": ".", "test_fraction": 1.0}, ["test_fraction is 1.0", "between 0 and 1"]),
        ({"source": "gaussians", "variance": 0}, ["variance is 0", "above 0"]),
        ({"source": "gaussians", "mean": float("nan")}, ["mean is nan", "above 0"]),
        ({"source": "gaussians", "mean": float("inf")}, ["mean is inf", "at most 1000000000"]),
        ({"source": "gaussians", "variance": 10**400}, ["variance is 1000", "at most 1000000000"]),
        ({"source": "gaussians", "seed": 10**400}, ["seed is 1000", "from -1000000000 to 1000000000"]),
        ({"source": "gaussians", "noise": False}, ["noise is False", "a whole number from 0"]),
        ({"source": "gaussians", "dimensions": -1}, ["dimensions is -1", "a whole number from 1"]),
        ({"source": "npz", "path": "~nobody-of-that-name/x.npz"}, ["path '~nobody-of-that-name/x.npz' cannot be used"]),
        ({"source": "folder", "path": "a\0b"}, ["path 'a\\x00b' cannot be used", "datasets.mine.path"]),
        ({"source": "folder", "path": "a" * 300}, ["cannot be used (", "correct datasets.mine.path"]),
    ],
)
def test_a_bad_specification_is_one_clear_line(specification: dict, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        validate_specification("mine", specification)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [*words, "mine"]), message


# ------------------------------------------------------------------------------------------------------------- embedded


def test_digits_split_every_digit_80_to_20_without_loss_or_overlap() -> None:
    from sklearn.datasets import load_digits

    dataset = prepare("digits", {"source": "digits"})
    assert dataset.input_shape == (1, 8, 8)
    assert (dataset.train_images.min(), dataset.train_images.max()) == (0, 1)
    share = np.bincount(dataset.test_labels) / np.bincount(load_digits().target)
    # A class has at least 174 points, so rounding to whole points moves its share by at most 0.5 / 174.
    assert np.abs(share - 0.2).max() <= 0.5 / 174

    def contents(images: np.ndarray, labels: np.ndarray) -> list[bytes]:
        return sorted(image.tobytes() + bytes([label]) for image, label in zip(images, labels, strict=True))

    everything = contents((load_digits().images / 16).astype(np.float32), load_digits().target)
    both = np.concatenate([dataset.train_images, dataset.test_images])
    assert contents(both, np.concatenate([dataset.train_labels, dataset.test_labels])) == everything


def test_the_digits_never_change() -> None:
    # Archived results name points by their position: another split or order would silently change what they mean.
    expected = "995a543dfa477c99ae7bd84460e7de4585d92928452bac95d1624d421c4bff9d"
    assert prepare("digits", {"source": "digits"}).digest == expected


def test_a_subset_renumbers_its_classes_and_keeps_positions_in_the_source() -> None:
    everything = prepare("digits", {"source": "digits"})
    subset = prepare("some", {"source": "digits", "classes": [8, "3"]})
    assert (subset.name, subset.class_names, subset.num_classes) == ("some", ("8", "3"), 2)
    for split in ("train", "test"):
        index = getattr(subset, f"{split}_index")
        assert np.all(np.diff(index) > 0)
        np.testing.assert_array_equal(getattr(everything, f"{split}_images")[index], getattr(subset, f"{split}_images"))
        original = getattr(everything, f"{split}_labels")
        np.testing.assert_array_equal(np.array([8, 3])[getattr(subset, f"{split}_labels")], original[index])
        assert len(index) == np.isin(original, [8, 3]).sum()


# -------------------------------------------------------------------------------------------------------------- on disk


def test_a_saved_data_set_comes_back_bit_for_bit_and_saves_to_the_same_bytes(tmp_path: Path) -> None:
    for specification in ({"source": "digits", "classes": [0, 1]}, {"source": "gaussians"}):
        dataset = prepare("mine", specification)
        dataset.save(tmp_path / "first.safetensors")
        loaded = Dataset.load(tmp_path / "first.safetensors")
        loaded.save(tmp_path / "second.safetensors")
        assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()
        assert (loaded.name, loaded.class_names, loaded.box) == (dataset.name, dataset.class_names, dataset.box)
        assert loaded.digest == dataset.digest


def test_the_digest_sees_content_and_not_the_name() -> None:
    digests = {
        prepare(name, {"source": "gaussians", **more}).digest
        for name, more in [("a", {}), ("b", {}), ("a", {"seed": 1}), ("a", {"mean": 11})]
    }
    assert len(digests) == 3


def test_a_damaged_data_set_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "digits.safetensors"
    prepare("digits", {"source": "digits"}).save(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="delete it and run again"):
        Dataset.load(path)


def test_uint8_images_become_floats_between_0_and_1_in_a_copy() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    labels = np.zeros(256, np.int64)
    dataset = Dataset("x", pixels, labels, pixels / np.float32(255), labels, ("a", "b"), (0.0, 1.0), labels, labels)
    # Exact: a division of two small whole numbers is rounded once, in float32, on both sides.
    np.testing.assert_array_equal(dataset.train_float().ravel(), np.arange(256, dtype=np.float32) / np.float32(255))
    dataset.test_float()[:] = 7
    assert dataset.test_images.max() == 1


# -------------------------------------------------------------------------------------------------------- toy Gaussians


def test_the_toy_is_the_mixture_of_the_thesis() -> None:
    dimensions, mean, variance, count = 16, 10.0, 4.0, 20_000
    toy = {"source": "gaussians", "dimensions": dimensions, "mean": mean, "variance": variance, "n_train": count}
    dataset = prepare("toy", toy)
    assert dataset.box is None
    assert dataset.train_images.dtype == np.float32
    np.testing.assert_array_equal(dataset.train_labels, dataset.train_images.astype(float).sum(axis=1) > 0)
    # Standard deviations: 0.5/√n of the share, σ/√(n/2) of a mean, σ²√(2/(n·d)) of the variance; five of each allowed.
    assert abs(dataset.train_labels.mean() - 0.5) < 5 * 0.5 / np.sqrt(count)
    for label, centre in ((0, -mean), (1, mean)):
        points = dataset.train_images[dataset.train_labels == label].astype(float)
        assert np.abs(points.mean(axis=0) - centre).max() < 5 * np.sqrt(variance / (count / 2))
    centred = dataset.train_images - mean * (2 * dataset.train_labels[:, None] - 1)
    assert abs(centred.astype(float).var() - variance) < 5 * variance * np.sqrt(2 / (count * dimensions))


def test_more_training_points_of_the_toy_leave_its_test_set_as_it_is() -> None:
    small, large = (prepare("toy", {"source": "gaussians", "n_train": n}) for n in (64, 128))
    np.testing.assert_array_equal(small.test_images, large.test_images)


def test_a_toy_with_one_class_is_refused() -> None:
    with pytest.raises(InputError, match=r"n_train = 1 fell into one class.*raise datasets\.toy\.n_train"):
        prepare("toy", {"source": "gaussians", "n_train": 1})


# ----------------------------------------------------------------------------------------------------------- your .npz


def good_arrays() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "train_images": generator.random((6, 4, 5)),
        "train_labels": np.array([0, 1, 2, 0, 1, 2]),
        "test_images": generator.random((3, 4, 5)),
        "test_labels": np.array([2, 1, 0], np.uint8),
    }


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [((4, 5), "float64", (1, 4, 5)), ((4, 5, 3), "uint8", (3, 4, 5)), ((7,), "float16", (7,))],
)
def test_an_npz_keeps_its_pixels_with_channels_first(tmp_path: Path, shape: tuple, dtype: str, expected: tuple) -> None:
    arrays = good_arrays()
    for split, count in (("train", 6), ("test", 3)):
        images = np.random.default_rng(1).random((count, *shape))
        arrays[f"{split}_images"] = (255 * images if dtype == "uint8" else images).astype(dtype)
    np.savez(tmp_path / "mine.npz", **arrays, class_names=np.array(["ant", "bee", "cat"]))  # type: ignore[arg-type]
    dataset = prepare("mine", {"source": "npz", "path": str(tmp_path / "mine.npz"), "classes": ["cat", "ant"]})
    assert dataset.class_names == ("cat", "ant")
    assert dataset.input_shape == expected
    assert dataset.train_images.dtype == ("uint8" if dtype == "uint8" else "float32")
    np.testing.assert_array_equal(dataset.train_labels, [1, 0, 1, 0])
    np.testing.assert_array_equal(dataset.train_index, [0, 2, 3, 5])
    kept = arrays["train_images"][dataset.train_index].astype(dataset.train_images.dtype)
    np.testing.assert_array_equal(
        dataset.train_images, kept.reshape(4, 4, 5, -1).transpose(0, 3, 1, 2) if len(shape) > 1 else kept
    )


NPZ_ERRORS: dict[str, tuple[dict[str, np.ndarray | None], list[str]]] = {
    "a missing array": ({"train_labels": None}, ["lacks the array 'train_labels'", "'test_images'"]),
    "labels of wrong length": ({"train_labels": np.zeros(5, int)}, ["train_labels has shape (5,)", "6 images"]),
    "labels in a column": ({"test_labels": np.zeros((3, 1), int)}, ["test_labels has shape (3, 1)"]),
    "labels that are floats": ({"test_labels": np.zeros(3)}, ["test_labels is float64", "astype"]),
    "a negative label": ({"train_labels": np.array([0, 1, 2, 0, 1, -1])}, ["train_labels contains -1"]),
    "a gap in the labels": ({"train_labels": np.array([0, 1, 3, 0, 1, 3])}, ["train_labels has no point of class 2"]),
    "a huge label": ({"train_labels": np.array([0, 1, 2, 0, 1, 10**15])}, ["train_labels has no point of class 3"]),
    "one class": (
        {"train_labels": np.zeros(6, int), "test_labels": np.zeros(3, int)},
        ["no point of class 1", "every class 0 … 1"],
    ),
    "a class without test points": ({"test_labels": np.array([0, 1, 1])}, ["test_labels has no point of class 2"]),
    "NaN": ({"train_images": np.full((6, 4, 5), np.nan)}, ["train_images contains NaN", "image 0"]),
    "values up to 255": ({"test_images": np.full((3, 4, 5), 255.0)}, ["ranges from 255 to 255", "divide by 255"]),
    "whole numbers": ({"train_images": np.ones((6, 4, 5), int)}, ["train_images is int64", "uint8"]),
    "objects": ({"train_images": np.full((6, 4, 5), None)}, ["'train_images' cannot be read", "never loaded"]),
    "an empty split": (
        {"test_images": np.zeros((0, 4, 5)), "test_labels": np.zeros(0, int)},
        ["test_images has shape (0, 4, 5)", "n ≥ 1"],
    ),
    "two shapes": ({"test_images": np.zeros((3, 5, 5))}, ["(4, 5)", "(5, 5)", "one shape"]),
    "two scales": ({"test_images": np.zeros((3, 4, 5), np.uint8)}, ["float64", "uint8", "one scale"]),
    "channels first": ({"train_images": np.zeros((6, 3, 32, 32))}, ["32 channels", "np.moveaxis"]),
    "too few names": ({"class_names": np.array(["a", "b"])}, ["class_names are ['a', 'b']", "up to 2"]),
    "names in a column": (
        {"class_names": np.array([["a"], ["b"], ["c"]])},
        ["class_names are [['a'], ", "one string for each"],
    ),
    "a name twice": ({"class_names": np.array(["a", "b", "a"])}, ["class_names are", "all different"]),
}


@pytest.mark.parametrize("case", NPZ_ERRORS)
def test_a_bad_npz_is_one_clear_line(tmp_path: Path, case: str) -> None:
    changes, words = NPZ_ERRORS[case]
    arrays = {key: value for key, value in {**good_arrays(), **changes}.items() if value is not None}
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        prepare("mine", {"source": "npz", "path": str(path)})
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [*words, str(path), ";"]), message


@pytest.mark.parametrize("content", [b"", b"not an archive", pickle.dumps({"a": 1}), b"PK\x03\x04 cut short"])
def test_a_file_that_is_no_npz_is_refused_and_never_unpickled(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"mine\.npz' is not an \.npz archive"):
        prepare("mine", {"source": "npz", "path": str(tmp_path / "mine.npz")})


def test_a_single_array_and_a_cut_archive_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"one array, not an \.npz"):
        prepare("mine", {"source": "npz", "path": str(tmp_path / "one.npy")})
    np.savez_compressed(tmp_path / "cut.npz", **good_arrays())  # type: ignore[arg-type]
    content = bytearray((tmp_path / "cut.npz").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "cut.npz").write_bytes(content)
    with pytest.raises(InputError, match="'train_images' cannot be read"):
        prepare("mine", {"source": "npz", "path": str(tmp_path / "cut.npz")})


def write_archive_of(path: Path, **members: bytes) -> None:
    """An .npz of the good arrays, in which some members have another content."""
    np.savez_compressed(path, **good_arrays())  # type: ignore[arg-type]
    with zipfile.ZipFile(path) as archive:
        contents = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**contents, **{f"{key}.npy": value for key, value in members.items()}}.items():
            archive.writestr(name, content)


def header(shape: str, version: tuple[int, int] = (1, 0), length: int | None = None, dtype: str = "|u1") -> bytes:
    """The beginning of an .npy file."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}\n".encode()
    size = (len(text) if length is None else length).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + size + text


NPZ_MEMBERS: dict[str, tuple[bytes, list[str]]] = {
    "a text": (b"six images, to follow", ["magic string"]),
    "nothing": (b"", ["cannot be read"]),
    "a header that is no Python": (header("(" * 9000), ["cannot be read"]),
    "a header that is longer than the file": (header("(3,)", (2, 0), length=2**32 - 1), ["cannot be read"]),
    "an unknown version": (header("(3,)", (9, 0)), ["cannot be read"]),
    "a huge shape": (header("(60000000000, 28, 28)") + bytes(100), ["uint8 (60000000000, 28, 28)", "it has 100"]),
    "too little": (header("(6, 4, 5)") + bytes(119), ["so 120 bytes, and it has 119"]),
    "too much": (header("(6, 4, 5)") + bytes(10**6), ["so 120 bytes, and it has 1000000"]),
    "a negative side": (header("(-2, -60)") + bytes(120), ["cannot be read"]),
    "texts of no length": (header("(6,)", dtype="<U0"), ["cannot be read"]),
    "sides that no array has": (header(f"(0, {10**30})"), ["cannot be read"]),
    "objects": (header("(6,)", dtype="|O") + bytes(48), ["it holds objects", "never loaded"]),
}


@pytest.mark.parametrize("case", NPZ_MEMBERS)
def test_a_member_that_is_no_array_or_not_the_one_it_declares_is_one_clear_line(tmp_path: Path, case: str) -> None:
    content, words = NPZ_MEMBERS[case]
    path = tmp_path / "mine.npz"
    write_archive_of(path, train_images=content)
    with pytest.raises(InputError) as caught:
        prepare("mine", {"source": "npz", "path": str(path)})
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in [*words, f"'{path}': array 'train_images' cannot be read (", ";"]), message


@pytest.mark.parametrize(
    ("flags", "method", "words"),
    [(1, 8, "it is encrypted"), (0, 14, "it is compressed by method 14"), (0, 99, "it is compressed by method 99")],
)
def test_an_npz_that_is_encrypted_or_oddly_compressed_is_one_clear_line(
    tmp_path: Path, flags: int, method: int, words: str
) -> None:
    path = tmp_path / "mine.npz"
    write_archive_of(path)
    content = bytearray(path.read_bytes())
    # Flags and method of every entry: 6 bytes behind the mark of its own header, 8 behind that in the directory.
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        place = -1
        while (place := content.find(mark, place + 1)) >= 0:
            content[place + offset] |= flags
            content[place + offset + 2] = method
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"array 'train_images' cannot be read \({words}"):
        prepare("mine", {"source": "npz", "path": str(path)})


def test_an_npz_is_not_unpacked_beyond_what_its_header_declares(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    write_archive_of(path, train_images=header("(6, 4, 5)") + bytes(1 << 28))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="so 120 bytes, and it has 268435456"):
            prepare("mine", {"source": "npz", "path": str(path)})
        # Of the 256 MiB, the first 64 KiB are unpacked to read the header; the rest is what Python needs for itself.
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_data_that_do_not_fit_into_memory_are_refused_before_anything_is_made(tmp_path: Path, monkeypatch) -> None:
    for module in ("npz", "prepare"):
        monkeypatch.setattr(f"poisonlab.datasets.{module}.free_memory", lambda: 1000)
    np.savez(tmp_path / "mine.npz", **good_arrays())  # type: ignore[arg-type]
    # 9 images of 4 × 5 doubles, 6 labels of 8 bytes and 3 of one.
    size = 9 * 4 * 5 * 8 + 6 * 8 + 3
    with pytest.raises(InputError, match=rf"arrays take {size / 1e9:.3g} GB and 1e-06 GB of memory are free"):
        prepare("mine", {"source": "npz", "path": str(tmp_path / "mine.npz")})
    with pytest.raises(
        InputError, match=r"'toy' takes .* and 1e-06 GB of memory are free; lower datasets\.toy\.n_train"
    ):
        prepare("toy", {"source": "gaussians"})


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of its memory")
def test_the_free_memory_is_at_most_what_the_machine_has() -> None:
    # 64 MiB: more than enough for a test, and a thousandth of it if the unit were wrong.
    assert 64 << 20 < free_memory() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_an_array_that_is_stored_column_by_column_comes_back_as_it_was(tmp_path: Path) -> None:
    arrays = good_arrays() | {"train_images": np.asfortranarray(good_arrays()["train_images"].astype(">f4"))}
    np.savez(tmp_path / "mine.npz", **arrays)  # type: ignore[arg-type]
    dataset = prepare("mine", {"source": "npz", "path": str(tmp_path / "mine.npz")})
    np.testing.assert_array_equal(dataset.train_images[:, 0], good_arrays()["train_images"].astype(np.float32))


# --------------------------------------------------------------------------------------------------------- your folder


def test_the_listing_of_a_folder_follows_links_and_sees_a_changed_image(tmp_path: Path) -> None:
    store, folder = tmp_path / "store", tmp_path / "pets"
    for name in ("cat", "dog"):
        write_image(store / name / "0.png", 10)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(store / name, target_is_directory=True)
    (store / "cat" / "notes.txt").write_text("not an image")
    (store / "dog" / ".hidden.png").write_text("")
    (store / "dog" / "1.png").symlink_to(store / "cat" / "0.png")
    (store / "dog" / "2.png").symlink_to(tmp_path / "nowhere.png")
    before = images_of(folder)
    size = (store / "cat" / "0.png").stat().st_size
    assert [(name, length) for name, length, _ in before] == [
        ("cat/0.png", size),
        ("dog/0.png", size),
        ("dog/1.png", size),
    ]
    write_image(store / "cat" / "0.png", 10, size=(60, 40))
    changed = {name for (name, *_), new in zip(before, images_of(folder), strict=True) if (name, *_) != new}
    assert changed == {"cat/0.png", "dog/1.png"}


def test_the_listing_of_a_split_folder_is_of_both_splits_and_a_link_upwards_ends(tmp_path: Path) -> None:
    for split in ("train", "test"):
        write_image(tmp_path / split / "cat" / "0.png", 10)
        (tmp_path / split / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "train" / "again").symlink_to(tmp_path / "train", target_is_directory=True)
    (tmp_path / "train" / "self").symlink_to(tmp_path / "train" / "self")
    assert [name for name, *_ in images_of(tmp_path)] == ["test/cat/0.png", "train/cat/0.png"]
    write_image(tmp_path / "train" / "1.png", 10)
    assert "train/again/1.png" in [name for name, *_ in images_of(tmp_path)]


def test_a_folder_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"folder '.*nowhere' cannot be read \(.*; make it readable"):
        images_of(tmp_path / "nowhere")


def write_image(path: Path, value: int, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> None:
    """A plain image; `size` is (width, height), as Pillow has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value if mode != "RGB" else (value, 2 * value, 0)).save(path)


def test_a_folder_with_train_and_test_keeps_its_pixels_and_stays_untouched(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        for label, first in (("cat", 10), ("dog", 50)):
            for number in range(count):
                write_image(tmp_path / split / label / f"{number}.png", first + number)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / ".hidden").mkdir()
    for path in tmp_path.rglob("*.png"):
        path.chmod(0o444)
    before = listing(tmp_path)
    dataset = prepare("pets", {"source": "folder", "path": str(tmp_path)})
    assert listing(tmp_path) == before
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train_images.shape == (6, 3, 4, 6)
    assert dataset.train_images.dtype == np.uint8
    np.testing.assert_array_equal(dataset.train_images[:, 0, 0, 0], [10, 11, 12, 50, 51, 52])
    np.testing.assert_array_equal(dataset.train_images[:, 1, 3, 5], [20, 22, 24, 100, 102, 104])
    np.testing.assert_array_equal(dataset.train_labels, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(dataset.test_labels, [0, 1])


def test_a_folder_of_classes_is_split_in_every_class_and_always_in_the_same_way(tmp_path: Path) -> None:
    for label, count in (("cat", 10), ("dog", 5), ("eel", 2)):
        for number in range(count):
            write_image(tmp_path / label / f"{number}.png", 10 * number, size=(9, 9), mode="L")
    specification = {"source": "folder", "path": str(tmp_path), "size": [4, 3], "greyscale": True}
    dataset = prepare("pets", specification)
    assert dataset.input_shape == (1, 4, 3)
    assert np.bincount(dataset.test_labels).tolist() == [2, 1, 1]
    assert np.bincount(dataset.train_labels).tolist() == [8, 4, 1]
    assert prepare("pets", specification).digest == dataset.digest
    larger = prepare("pets", {**specification, "test_fraction": 0.5})
    assert np.bincount(larger.test_labels).tolist() == [5, 2, 1]


def folder_error(tmp_path: Path, **more: object) -> str:
    with pytest.raises(InputError) as caught:
        prepare("pets", {"source": "folder", "path": str(tmp_path), **more})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_errors_name_the_file_and_the_way_out(tmp_path: Path) -> None:
    assert "two or more are needed" in folder_error(tmp_path)
    for label in ("cat", "dog"):
        for number in range(2):
            write_image(tmp_path / label / f"{number}.png", 5)
    odd = tmp_path / "dog" / "2.png"

    write_image(odd, 5, size=(7, 7))
    message = folder_error(tmp_path)
    assert all(words in message for words in (str(odd), "7 × 7", "4 × 6", "datasets.pets.size: [4, 6]"))

    odd.write_bytes((tmp_path / "dog" / "1.png").read_bytes()[:50])
    assert f"image '{odd}' cannot be read" in folder_error(tmp_path)

    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(odd)
    assert "more than 8 bits" in folder_error(tmp_path)
    odd.unlink()

    (tmp_path / "emu").mkdir()
    assert "has no image" in folder_error(tmp_path)
    write_image(tmp_path / "emu" / "0.png", 5)
    assert "has 1 image; two or more" in folder_error(tmp_path)

    shutil.copytree(tmp_path / "cat", tmp_path / "both" / "train" / "cat")
    assert "'train' alone" in folder_error(tmp_path / "both")
    shutil.copytree(tmp_path / "dog", tmp_path / "both" / "test" / "dog")
    assert "give both the same folders" in folder_error(tmp_path / "both")
    assert "remove datasets.pets.test_fraction" in folder_error(tmp_path / "both", test_fraction=0.3)


# ---------------------------------------------------------------------------------------------------------------- fetch


@pytest.fixture
def small_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A mirror with ten tiny images under MNIST's names, and torchvision's list of md5 sums made to fit."""
    raw = tmp_path / "mirror" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    resources, unpacked = [], {}
    for split, count in (("train", 10), ("t10k", 5)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        images = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in pixels.shape) + pixels.tobytes()
        labels = b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(range(count))
        for name, content in ((f"{split}-images-idx3-ubyte", images), (f"{split}-labels-idx1-ubyte", labels)):
            (raw / f"{name}.gz").write_bytes(gzip.compress(content, mtime=0))
            resources.append((f"{name}.gz", md5((raw / f"{name}.gz").read_bytes())))
            unpacked[name] = md5(content)
    monkeypatch.setattr(MNIST, "resources", resources)
    monkeypatch.setitem(UNPACKED_MD5, "mnist", unpacked)
    return tmp_path / "mirror"


@pytest.fixture
def small_cifar(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Seven tiny files under CIFAR-10's names, and torchvision's list of md5 sums made to fit."""

    def batch(count: int) -> bytes:
        return pickle.dumps({"data": np.full((count, 3072), count, np.uint8), "labels": list(range(count))}, protocol=2)

    files = {f"data_batch_{number}": batch(number) for number in range(1, 6)} | {"test_batch": batch(7)}
    files["batches.meta"] = pickle.dumps({"label_names": list(SOURCES["cifar10"].class_names)}, protocol=2)
    sums = [[name, md5(content)] for name, content in files.items()]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:6])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums[6][1]})
    return files


def write_archive(path: Path, files: dict[str, bytes], more: list[tarfile.TarInfo] | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, f"w:{path.suffix[1:]}") as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in more or []:
            archive.addfile(member, io.BytesIO(b"x" * member.size))


def test_a_mirror_is_enough_without_a_network_and_is_never_written_to(
    small_mirror: Path, tmp_path: Path, no_network: list[str]
) -> None:
    paths = [small_mirror, *small_mirror.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = listing(small_mirror), [path.stat().st_mtime_ns for path in paths]
    try:
        fetch("mnist", tmp_path / "raw", small_mirror)
    finally:
        after = listing(small_mirror), [path.stat().st_mtime_ns for path in paths]
        for path in paths:
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert after == before
    assert no_network == []
    dataset = prepare("mnist", {"source": "mnist"}, tmp_path / "raw")
    assert dataset.train_labels.tolist() == list(range(10))
    np.testing.assert_array_equal(
        dataset.train_images[:, 0], np.random.default_rng(10).integers(0, 256, (10, 28, 28), np.uint8)
    )
    # What has been fetched is an unpacked torchvision root, and such a root is a mirror as well.
    fetch("mnist", tmp_path / "again", tmp_path / "raw")
    assert {name: facts[2] for name, facts in listing(tmp_path / "again").items()} == {
        name: facts[2] for name, facts in listing(tmp_path / "raw").items()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "mirror", "raw"]


@pytest.mark.parametrize("form", ["packed", "unpacked"])
def test_a_truncated_mirror_file_is_named_and_never_replaced_by_a_download(
    small_mirror: Path, tmp_path: Path, no_network: list[str], form: str
) -> None:
    damaged = small_mirror / "MNIST" / "raw" / "t10k-images-idx3-ubyte.gz"
    expected = dict(MNIST.resources)[damaged.name]
    if form == "unpacked":
        content = gzip.decompress(damaged.read_bytes())
        damaged.unlink()
        damaged = damaged.with_suffix("")
        damaged.write_bytes(content)
        expected = md5(content)
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with pytest.raises(InputError) as caught:
        fetch("mnist", tmp_path / "raw", small_mirror)
    message = str(caught.value)
    assert all(words in message for words in (str(damaged), md5(damaged.read_bytes()), expected, "silently")), message
    assert no_network == []
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


def test_a_mirror_with_a_missing_file_is_an_error(small_mirror: Path, tmp_path: Path, no_network: list[str]) -> None:
    (small_mirror / "MNIST" / "raw" / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz' is missing"):
        fetch("mnist", tmp_path / "raw", small_mirror)
    assert no_network == []


@pytest.mark.parametrize("form", ["cifar-10-batches-py.tar.xz", "cifar-10-python.tar.gz", "folder"])
def test_cifar10_is_accepted_in_three_forms(
    small_cifar: dict[str, bytes],
    tmp_path: Path,
    no_network: list[str],
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    mirror = tmp_path / "mirror"
    if form == "folder":
        (mirror / "cifar-10-batches-py").mkdir(parents=True)
        for name, content in small_cifar.items():
            (mirror / "cifar-10-batches-py" / name).write_bytes(content)
    else:
        outside = tarfile.TarInfo("../outside")
        outside.size = 3
        write_archive(mirror / form, small_cifar, [outside])
        monkeypatch.setattr(CIFAR10, "tgz_md5", md5((mirror / form).read_bytes()))
    fetch("cifar10", tmp_path / "raw", mirror)
    assert no_network == []
    assert not (tmp_path / "outside").exists()
    dataset = prepare("cifar10", {"source": "cifar10"}, tmp_path / "raw")
    assert dataset.train_images.shape == (15, 3, 32, 32)
    assert dataset.train_labels.tolist() == [label for count in range(1, 6) for label in range(count)]
    assert dataset.train_images[:, 2, 31, 31].tolist() == [count for count in range(1, 6) for _ in range(count)]


def test_a_damaged_cifar10_archive_is_named(
    small_cifar: dict[str, bytes], tmp_path: Path, no_network: list[str]
) -> None:
    mirror = tmp_path / "mirror"
    repacked = mirror / "cifar-10-batches-py.tar.xz"
    write_archive(repacked, {**small_cifar, "data_batch_3": b"wrong"})
    with pytest.raises(InputError, match=rf"data_batch_3' has md5 {md5(b'wrong')}, expected"):
        fetch("cifar10", tmp_path / "raw", mirror)

    write_archive(repacked, {name: content for name, content in small_cifar.items() if name != "test_batch"})
    with pytest.raises(InputError, match="test_batch' is missing"):
        fetch("cifar10", tmp_path / "raw", mirror)

    write_archive(repacked, small_cifar)
    repacked.write_bytes(repacked.read_bytes()[:-60])
    with pytest.raises(InputError, match=rf"{re.escape(str(repacked))}' \(md5 .*cannot be extracted"):
        fetch("cifar10", tmp_path / "raw", mirror)

    repacked.rename(mirror / "cifar-10-python.tar.gz")
    with pytest.raises(InputError, match=rf"cifar-10-python\.tar\.gz' has md5 .*, expected {CIFAR10.tgz_md5}"):
        fetch("cifar10", tmp_path / "raw", mirror)
    assert no_network == []
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


@pytest.mark.parametrize("source", ["mnist", "fashion_mnist", "cifar10"])
def test_no_mirror_and_no_network_is_one_clear_line(source: str, tmp_path: Path, no_network: list[str]) -> None:
    (tmp_path / "empty").mkdir()
    timeout = socket.getdefaulttimeout()
    for mirror in (None, tmp_path / "empty"):
        with pytest.raises(InputError) as caught:
            fetch(source, tmp_path / "raw", mirror)
        message = str(caught.value)
        assert "\n" not in message
        assert all(words in message for words in (f"'{source}'", "unreachable", "`mirror:`"))
        assert (str(tmp_path / "empty") in message) == (mirror is not None)
    assert no_network
    assert socket.getdefaulttimeout() == timeout
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.fixture
def host(small_mirror: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The small mirror behind the smallest network, a server on this machine; returns the folder that it serves."""
    raw = small_mirror / "MNIST" / "raw"
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(raw))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        yield raw
        server.shutdown()


def test_a_download_keeps_the_unpacked_files_only(host: Path, tmp_path: Path) -> None:
    fetch("mnist", tmp_path / "raw")
    assert sorted(listing(tmp_path / "raw")) == [f"MNIST/raw/{path.stem}" for path in sorted(host.glob("*.gz"))]
    assert prepare("mnist", {"source": "mnist"}, tmp_path / "raw").test_labels.tolist() == list(range(5))


def test_a_damaged_download_is_refused_and_leaves_nothing(host: Path, tmp_path: Path) -> None:
    (host / "t10k-labels-idx1-ubyte.gz").write_bytes(b"wrong")
    with pytest.raises(InputError, match=r"'mnist' could not be downloaded from 127\.0\.0\.1 .*corrupted"):
        fetch("mnist", tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["mirror"]


def test_fetch_refuses_what_it_cannot_do(small_mirror: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mirror '.*nowhere' is not a folder"):
        fetch("mnist", tmp_path / "raw", tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"path '~nobody-of-that-name/x' cannot be used .*; correct `mirror:`"):
        fetch("mnist", tmp_path / "raw", Path("~nobody-of-that-name/x"))
    with pytest.raises(InputError, match=r"'digits' is not fetched.*mnist, fashion_mnist, cifar10"):
        fetch("digits", tmp_path / "raw")
    with pytest.raises(InputError, match="exists already; delete it"):
        fetch("mnist", small_mirror, small_mirror)
    with pytest.raises(InputError, match="does not exist; fetch them first"):
        prepare("mnist", {"source": "mnist"}, tmp_path / "raw")


def test_what_a_killed_fetch_left_is_cleared(small_mirror: Path, tmp_path: Path) -> None:
    (tmp_path / ".raw.partial").mkdir()
    (tmp_path / ".raw.partial" / "half").write_text("")
    fetch("mnist", tmp_path / "raw", small_mirror)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror", "raw"]
    assert "half" not in listing(tmp_path / "raw")


def test_damaged_fetched_files_are_refused(small_mirror: Path, tmp_path: Path) -> None:
    fetch("mnist", tmp_path / "raw", small_mirror)
    images = tmp_path / "raw" / "MNIST" / "raw" / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"incomplete or damaged.*delete it and fetch again"):
        prepare("mnist", {"source": "mnist"}, tmp_path / "raw")


@pytest.mark.parametrize("source", ["mnist", "fashion_mnist"])
def test_the_real_images_come_from_the_mirror_with_the_published_counts(
    source: str, mirror: Path, tmp_path: Path, no_network: list[str]
) -> None:
    fetch(source, tmp_path / "packed", mirror)
    fetch(source, tmp_path / "raw", tmp_path / "packed")  # checks the md5 of the unpacked files
    assert no_network == []
    dataset = prepare(source, {"source": source}, tmp_path / "raw")
    assert tuple(np.bincount(dataset.train_labels)) == SOURCES[source].train_counts
    assert dataset.train_images.shape == (60_000, 1, 28, 28)
    # The published mean of the training pixels, to the digits that are published.
    assert dataset.train_images.mean() / 255 == pytest.approx(
        {"mnist": 0.1307, "fashion_mnist": 0.2860}[source], abs=5e-5
    )
    subset = prepare("two", {"source": source, "classes": [0, 1]}, tmp_path / "raw")
    assert np.bincount(subset.train_labels).tolist() == list(SOURCES[source].train_counts[:2])
    np.testing.assert_array_equal(subset.train_images, dataset.train_images[subset.train_index])
    np.testing.assert_array_equal(subset.train_labels, dataset.train_labels[subset.train_index])


@pytest.mark.skipif(os.environ.get("POISONLAB_SLOW") != "1", reason="unpacks 186 MB in 20 s; set POISONLAB_SLOW=1")
def test_the_real_cifar10_comes_from_the_mirror(mirror: Path, tmp_path: Path, no_network: list[str]) -> None:
    fetch("cifar10", tmp_path / "raw", mirror)
    assert no_network == []
    dataset = prepare("cifar10", {"source": "cifar10"}, tmp_path / "raw")
    assert tuple(np.bincount(dataset.train_labels)) == SOURCES["cifar10"].train_counts
    # The published means of red, green and blue, to the digits that are published.
    means = dataset.train_images.mean(axis=(0, 2, 3)) / 255
    np.testing.assert_allclose(means, [0.4914, 0.4822, 0.4465], atol=5e-5)


def test_a_redrawn_toy_has_another_training_set_of_the_same_distribution_and_the_same_test_set() -> None:
    toy = prepare("toy", {"source": "gaussians", "n_train": 40, "mean": 2.0})
    options = options_of("toy", {"source": "gaussians", "n_train": 40, "mean": 2.0})
    assert redrawn(toy, None, draw=3) is toy
    assert redrawn(toy, options, draw=0) is toy
    first, again, second = (redrawn(toy, options, draw=draw) for draw in (1, 1, 2))
    assert first.digest == again.digest
    assert len({tuple(one.train_images.ravel()) for one in (toy, first, second)}) == 3
    for one in (first, second):
        np.testing.assert_array_equal(one.test_images, toy.test_images)
        np.testing.assert_array_equal(one.test_labels, toy.test_labels)
        assert len(one.train_labels) == 40
        np.testing.assert_array_equal(one.train_labels, one.train_images.sum(axis=1) > 0)
