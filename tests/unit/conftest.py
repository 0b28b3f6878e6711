"""The workshop of the how-to pages, for all tests that work in it."""

import contextlib
import re
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from how_to_pages import OWN, PYTHON_FILES, YAML_FILES, blocks
from PIL import Image


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """Folder with every file of the pages, with images where a page lists some, and with what three of the scripts make."""
    folder = tmp_path_factory.mktemp("workshop")
    for name, text in (PYTHON_FILES | YAML_FILES).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    for number, line in enumerate("\n".join(block.text for page in OWN for block in blocks(page, "text")).splitlines()):
        if re.fullmatch(r"[\w/]+\.png", line):
            (folder / line).parent.mkdir(parents=True, exist_ok=True)
            # Of different sizes, as the page's `size:` allows.
            Image.fromarray(np.full((20 + number, 30, 3), 40 * number, dtype=np.uint8)).save(folder / line)
    with contextlib.chdir(folder):
        runpy.run_path("make_my_data.py")
        runpy.run_path("make_tumours.py")
        runpy.run_path("write_poison.py")
    return folder


@pytest.fixture
def inside(workshop, monkeypatch) -> Iterator[Path]:
    """The workshop as working directory, from which its modules, and those of my_study, can be imported."""
    monkeypatch.chdir(workshop)
    monkeypatch.syspath_prepend(workshop)
    monkeypatch.syspath_prepend(workshop / "my_study")
    yield workshop
    for name in PYTHON_FILES:
        sys.modules.pop(Path(name).stem, None)
