"""What all tests share."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.prepare import prepare

REPOSITORY = Path(__file__).resolve().parents[1]

# Code of a study's own is found in its folder, as in the pipeline.
sys.path += [str(study) for study in sorted((REPOSITORY / "studies").iterdir())]

# One thread, as in every job of the pipeline: set before anything imports torch, and inherited by the processes that tests start.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Hold torch to one thread, too, should a plugin have imported it before the variables were set."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """scikit-learn's digits: 1438 training and 359 test images of 8×8 pixels, ten classes."""
    return prepare("digits", {"source": "digits"})


@pytest.fixture(scope="session")
def digits_parameters(digits: Dataset) -> dict[str, np.ndarray]:
    """Parameters of an `mlp` with about 98 % training accuracy on digits: its attacks succeed on some points and fail on others."""
    from poisonlab.victims.proxy import train_proxy

    recipe = {"epochs": 8, "batch_size": 64, "learning_rate": 5e-3, "stop_when_fitted": False}
    return train_proxy(digits, "mlp", recipe, proxy_seed=0, device="cpu").parameters


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder with the real data sets: POISONLAB_MIRROR, else `mirror:` of config.yaml."""
    config = REPOSITORY / "config.yaml"
    configured = (yaml.safe_load(config.read_text()) or {}).get("mirror") if config.is_file() else None
    chosen = os.environ.get("POISONLAB_MIRROR") or configured
    if not chosen:
        pytest.skip("needs real data sets: set POISONLAB_MIRROR to a folder that holds them")
    # A relative path in the configuration is meant from the repository, where the workflow runs.
    folder = REPOSITORY / Path(chosen).expanduser()
    if not folder.is_dir():
        pytest.skip(f"needs real data sets, and the mirror '{folder}' is not a folder; set POISONLAB_MIRROR")
    return folder.resolve()
