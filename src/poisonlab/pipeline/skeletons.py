"""Skeletons: a strategy and a study of one's own that work as they are, each with its test."""

import importlib.util
import keyword
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from poisonlab.errors import InputError
from poisonlab.pipeline.studies import LONGEST_NAME

STRATEGY = '''"""A strategy of my own: which points an attacker poisons, and how."""

import numpy as np

from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose, strategy


@strategy("NAME", source="", parameters={"share": 0.5})
def NAME(request: Request) -> Poison:
    """Relabel points drawn from the share of the source class that is farthest from the class's mean."""
    dataset, flip, share = request.dataset, request.flip, request.parameters["share"]
    pool = request.pool()  # positions of the source class
    images = dataset.train_float()[pool].reshape(len(pool), -1)  # [n, pixels]
    distance = np.linalg.norm(images - images.mean(axis=0), axis=1)
    far = pool[np.argsort(-distance, kind="stable")[: max(1, round(share * len(pool)))]]
    index = choose(far, flip.budget, request.generator, f"the farthest {share:g} of class {flip.source}")
    return request.relabel(index)
'''

STRATEGY_TEST = '''"""Run it with: python -m pytest test_NAME.py"""

import numpy as np

from poisonlab.datasets.prepare import prepare
from poisonlab.poisons.crafting import craft

SETTINGS = {"strategy": "NAME:NAME", "flips": {"source": 1, "target": 7}, "budget": 5}


def crafted(draw):
    (poison,) = craft(prepare("digits", {"source": "digits"}), SETTINGS, draw=draw)
    return poison


def test_the_budget_is_kept_and_points_are_of_the_source_class():
    labels = prepare("digits", {"source": "digits"}).train_labels
    poison = crafted(draw=0)
    assert poison.budget == 5
    assert set(labels[poison.relabel_index]) == {1}
    assert set(poison.relabel_label) == {7}


def test_a_draw_gives_the_same_points_again_and_another_draw_others():
    assert np.array_equal(crafted(draw=0).relabel_index, crafted(draw=0).relabel_index)
    assert not np.array_equal(crafted(draw=0).relabel_index, crafted(draw=1).relabel_index)
'''

STUDY = """# poisonlab run --study NAME
title: NAME

recipes:
  NAME: {epochs: 60, batch_size: 64, learning_rate: 0.01}  # at most: a victim that fits everything stops

poisons:
  clean: &ones {dataset: digits, strategy: none, flips: {source: 1, target: 7}, budget: 10}
  random: {<<: *ones, strategy: random}
  more: {<<: *ones, strategy: random, budget: 40}  # or a strategy of your own: "module:function"

victims:
  pooled: {model: pooled, recipe: NAME}

experiments:
  NAME:
    poisons: [clean, random, more]
    victims: [pooled]
    attacks: [pgd]
    headline: {attack: pgd, epsilon: 0.1}
    draws: 3    # choices of the poisoned points
    repeats: 4  # victims for each

figures:
  NAME: {kind: conditions, experiments: [NAME], options: {baseline: random}}
"""

STUDY_TEST = '''"""Run it with: python -m pytest test_NAME.py"""

import subprocess
import sys


def test_the_study_can_be_planned():
    command = [sys.executable, "-m", "poisonlab.cli", "run", "NAME_FIGURE", "--study", "NAME", "--dry-run"]
    run = subprocess.run([*command, "--forceall"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "train_victims" in run.stdout + run.stderr
'''


def strategy(name: str) -> dict[str, str]:
    """Name → text of the files of a strategy.

    Raises:
        InputError: no module can be called so.
    """
    files = _files(name, {f"{name}.py": STRATEGY, f"test_{name}.py": STRATEGY_TEST})
    if name in sys.stdlib_module_names or importlib.util.find_spec(name):
        raise InputError(
            f"name '{name}' is that of a module that is there already, whose place {name}.py would take; choose another"
        )
    return files


def study(name: str) -> dict[str, str]:
    """Name → text of the files of a study.

    Raises:
        InputError: no study can be called so.
    """
    test = STUDY_TEST.replace("NAME_FIGURE", f"results/figures/{name}/{name}.svg")
    return _files(name, {f"{name}/study.yaml": STUDY, f"test_{name}.py": test})


def _files(name: str, texts: Mapping[str, str]) -> dict[str, str]:
    if not re.fullmatch(r"[a-z][a-z_0-9]*", name) or len(name) > LONGEST_NAME or keyword.iskeyword(name):
        raise InputError(
            f"name '{name}' is not allowed: up to {LONGEST_NAME} of a … z, 0 … 9 and _, a letter first, no word of "
            "Python's; choose another"
        )
    return {file: text.replace("NAME", name) for file, text in texts.items()}


def write(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Write files into a folder and return their paths; nothing is written where one is there already.

    Raises:
        InputError: a file is there, or cannot be written.
    """
    paths = [folder / file for file in files]
    if there := [path for path in paths if path.exists()]:
        raise InputError(f"'{there[0]}' is there already; choose another name, or remove it")
    try:
        for path, text in zip(paths, files.values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"folder '{folder}' cannot be written ({error.strerror}); choose another by --folder"
        ) from error
    return paths
