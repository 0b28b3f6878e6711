"""Bad input ends a run with one line that says what is wrong and what to do, and costs nothing that is there."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from checkout import SMOKE, Checkout, NewCheckout, write_config

Arrays = dict[str, np.ndarray]
# Nobody listens there: a machine without a network, as far as downloads go.
NO_NETWORK = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")}


def expect_line(output: str, *parts: str) -> None:
    """Expect lines that hold all `parts`, in one wording, and no traceback."""
    lines = [line for line in output.splitlines() if all(part in line for part in parts)]
    assert lines, f"no line with {parts} in:\n{output}"
    # A job says its line with the name of its rule before it, and Snakemake shows the job's log.
    assert (
        len(
            {line.split(": ", 1)[-1] if line.startswith(("fetch_data: ", "prepare_data: ")) else line for line in lines}
        )
        == 1
    )
    assert "Traceback" not in output


def poison(name: str, **entries: object) -> dict[str, object]:
    """Configuration that changes a poison of the smoke configuration's experiment."""
    return {"label_noise": {"poisons": {f"digits01_0to1_{name}": entries}}}


# ------------------------------------------------------------------------------------------------ before any job

# The unit tests of the configuration hold many more.
IN_THE_CONFIGURATION = {
    "unknown key": (
        {"drawz": 3},
        ["unknown key ['drawz']", "allowed are", "'draws'", "remove or correct it"],
    ),
    "budget above the class": (
        poison("random", budget=500),
        ["poison budget 500 exceeds the 142 images of class 0 in 'digits01'", "lower", "digits01_0to1_random.budget"],
    ),
    "study that is not there": (
        {"studies": ["nowhere"]},
        ["nowhere", "study.yaml"],
    ),
    "mirror that is no folder": (
        {"mirror": "/nowhere/at/all"},
        ["mirror '/nowhere/at/all' is not a folder", "mirror: null"],
    ),
    "file that is not there": (
        {"datasets": {"own": {"source": "npz", "path": "/nowhere/own.npz"}}},
        ["dataset 'own': '/nowhere/own.npz' is not a file", "correct datasets.own.path"],
    ),
}


@pytest.mark.parametrize(("content", "parts"), IN_THE_CONFIGURATION.values(), ids=IN_THE_CONFIGURATION)
def test_a_bad_configuration_is_refused_before_any_job(
    finished: Checkout, tmp_path: Path, content: object, parts: list[str]
):
    before = finished.results()
    done = finished.run(*SMOKE, write_config(tmp_path, content))
    assert done.returncode == 1
    expect_line(done.stdout, *parts)
    assert "rule " not in done.stdout
    assert finished.results() == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_missed_before_a_job_deletes_its_old_results(finished: Checkout):
    # Another device means other victims: every training job would run again, and Snakemake first deletes what it made.
    assert "train_victims" in finished.stale("--config", "device=cuda")
    before = finished.results()
    done = finished.run(*SMOKE, "--config", "device=cuda")
    assert done.returncode == 1
    expect_line(
        done.stdout, "device 'cuda' is not there", "this machine offers 'cpu'", "set device: auto or device: cpu"
    )
    assert finished.results() == before
    assert finished.stale() == {}


def test_a_results_folder_that_cannot_be_written_is_refused(new_checkout: NewCheckout):
    checkout = new_checkout()
    results = checkout.folder / "results"
    results.write_text("mine")
    done = checkout.run(*SMOKE)
    assert done.returncode == 1
    (line,) = done.stdout.splitlines()
    assert line.startswith(f"results folder '{results}' cannot be written (")
    assert line.endswith("make it a folder that you may write to")
    assert results.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_results_folder_without_permission_is_refused(new_checkout: NewCheckout):
    checkout = new_checkout()
    results = checkout.folder / "results"
    results.mkdir(mode=0o500)
    done = checkout.run(*SMOKE)
    assert done.returncode == 1
    assert done.stdout.startswith(f"results folder '{results}' cannot be written (Permission denied)")
    assert not list(results.iterdir())


# ------------------------------------------------------------------------------------------------ what only reading the data shows


def own_data() -> Arrays:
    """A small data set of two classes, as a person would store it."""
    labels = np.arange(12) % 2
    images = np.linspace(0, 1, 12 * 4 * 4, dtype=np.float32).reshape(12, 4, 4)
    return {"train_images": images, "train_labels": labels, "test_images": images.copy(), "test_labels": labels.copy()}


def with_a_label_too_few(arrays: Arrays) -> list[str]:
    arrays["train_labels"] = arrays["train_labels"][:-1]
    return ["own.npz': train_labels has shape (11,) for 12 images", "give one label for each, shape (12,)"]


def with_nan(arrays: Arrays) -> list[str]:
    arrays["test_images"][3, 0, 0] = np.nan
    return ["own.npz': test_images contains NaN", "first in image 3", "values must be in [0, 1]", "remove it"]


@pytest.mark.parametrize("damage", [with_a_label_too_few, with_nan])
def test_an_npz_that_is_no_data_set_is_refused_and_left_alone(
    finished: Checkout, tmp_path: Path, damage: Callable[[Arrays], list[str]]
):
    arrays, file = own_data(), tmp_path / "own.npz"
    parts = damage(arrays)
    np.savez(file, **arrays)
    content, before = file.read_bytes(), finished.results()
    config = write_config(tmp_path, {"datasets": {"own": {"source": "npz", "path": str(file)}}})
    done = finished.run("results/data/own.safetensors", *SMOKE, config)
    assert done.returncode == 1
    expect_line(done.stdout, *parts)
    assert finished.results() == before
    assert file.read_bytes() == content


def test_without_network_and_mirror_the_way_out_is_a_mirror(finished: Checkout):
    before = finished.results()
    done = finished.run("results/raw/mnist", *SMOKE, **NO_NETWORK)
    assert done.returncode == 1
    expect_line(done.stdout, "'mnist' could not be downloaded from", "connect to the network", "MNIST/raw/*.gz")
    assert finished.results() == before


def test_a_damaged_file_of_the_mirror_is_named_and_neither_used_nor_replaced(finished: Checkout, tmp_path: Path):
    raw = tmp_path / "mirror" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{name}-ubyte.gz").write_bytes(b"half a download")
    before = finished.results()
    done = finished.run(
        "results/raw/mnist", *SMOKE, write_config(tmp_path, {"mirror": str(tmp_path / "mirror")}), **NO_NETWORK
    )
    assert done.returncode == 1
    expect_line(done.stdout, str(raw), "ubyte.gz", "md5")
    assert finished.results() == before
    assert {file.read_bytes() for file in raw.iterdir()} == {b"half a download"}
