"""What all tests share."""

import os
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder with the real data sets: POISONLAB_MIRROR, else `mirror:` of config.yaml, else `../shared/datasets`."""
    config = REPOSITORY / "config.yaml"
    configured = (yaml.safe_load(config.read_text()) or {}).get("mirror") if config.is_file() else None
    chosen = os.environ.get("POISONLAB_MIRROR") or configured
    # A relative path in the configuration is meant from the repository, where the workflow runs.
    folder = REPOSITORY / Path(chosen or "../shared/datasets").expanduser()
    if not folder.is_dir():
        pytest.skip(f"needs real data sets, and the mirror '{folder}' is not a folder; set POISONLAB_MIRROR")
    return folder.resolve()
