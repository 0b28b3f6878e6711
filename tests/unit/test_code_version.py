"""Code versions of the real adapters, on a copy of the package that may be edited."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from poisonlab.analyses import analysis
from poisonlab.pipeline import code_version as module
from poisonlab.pipeline.code_version import code_version

REPOSITORY = Path(__file__).resolve().parents[2]
ADVERSARIAL = "train_victims adversarially"  # the same adapter, for a recipe with an objective of adversarial images
ADAPTERS = (
    "train_proxy",
    "train_victims",
    ADVERSARIAL,
    "trace_paths",
    "evaluate_robustness",
    "craft_poisons",
    "draw_figures",
)
# What an adapter looks up by name is passed to code_version by the rules.
BY_NAME = {
    "train_proxy": ["poisonlab.models.networks:Pooled"],
    "train_victims": ["poisonlab.models.networks:Pooled"],
    ADVERSARIAL: ["poisonlab.models.networks:Pooled", "poisonlab.victims.objectives.adversarial"],
    "trace_paths": ["poisonlab.models.networks:Pooled"],
    "evaluate_robustness": ["poisonlab.models.networks:Pooled"],
    "craft_poisons": ["poisonlab.poisons.strategies.path_bucket"],
    "draw_figures": ["poisonlab.figures.buckets"],
}
TRAINERS = {"train_proxy", "train_victims", ADVERSARIAL}
# Trained models are rebuilt by code that stands beside the trainer: it belongs to these stages as well.
USERS = {"trace_paths", "evaluate_robustness"}

Edit = Callable[[str, str, str], set[str]]


@pytest.fixture
def edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edit:
    """Return a function that edits a file of a copy of the repository and says which adapters get another version.

    It replaces the first `old` by `new`, or appends `new` where `old` is empty.
    """
    shutil.copytree(REPOSITORY / "src" / "poisonlab", tmp_path / "poisonlab")
    shutil.copytree(REPOSITORY / "workflow" / "scripts", tmp_path / "scripts")
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "poisonlab")

    def versions() -> dict[str, str]:
        module._read.cache_clear()
        return {name: code_version(tmp_path / "scripts" / f"{name.split()[0]}.py", *BY_NAME[name]) for name in ADAPTERS}

    def change(file: str, old: str, new: str) -> set[str]:
        before, path = versions(), tmp_path / file
        text = path.read_text()
        assert old in text, f"{file} has changed; adapt this test"
        path.write_text(text.replace(old, new, 1) if old else f"{text}\n{new}\n")
        after = versions()
        return {name for name in ADAPTERS if after[name] != before[name]}

    yield change
    module._read.cache_clear()


# ------------------------------------------------------------------------------------------------ what an edit makes stale


def test_another_model_or_source_of_data_makes_nothing_stale(edit: Edit):
    assert edit("poisonlab/models/catalogue.py", "", '_register("own", "a:B")') == set()
    assert edit("poisonlab/datasets/sources.py", "", "ANOTHER = 1") == set()
    assert edit("poisonlab/datasets/fetch.py", "", "ANOTHER = 1") == set()


def test_another_class_of_the_same_module_is_another_model():
    versions = {code_version(f"poisonlab.models.networks:{name}") for name in ("Pooled", "Strided")}
    assert len(versions | {code_version("poisonlab.models.networks")}) == 3


def test_an_edit_of_an_attack_evaluates_again_and_retrains_nothing(edit: Edit):
    assert edit("poisonlab/attacks/auto.py", "> 0:", ">= 0:") == {"evaluate_robustness"}


def test_an_edit_of_pgd_retrains_those_that_train_against_it_alone(edit: Edit):
    assert edit("poisonlab/attacks/steps.py", "2.5 / self", "2.0 / self") == {"evaluate_robustness", ADVERSARIAL}


def test_an_edit_of_the_engine_under_attacks_and_paths_makes_both_stale_and_what_trains_against_attacks(edit: Edit):
    assert edit("poisonlab/attacks/active_set.py", "stays = ~hit &", "stays = ~hit & ~hit &") == USERS | {ADVERSARIAL}


def test_an_edit_of_the_buckets_traces_no_path_again(edit: Edit):
    assert edit("poisonlab/analyses/path_surveys.py", "low + 1", "low + 2") == set()


def test_an_edit_of_the_data_order_retrains_although_no_adapter_imports_it(edit: Edit):
    # train_victims.py → victims.chunk → victims.engines → victims.engines.loop → victims.order
    stale = edit("poisonlab/victims/order.py", "0x9E3779B97F4A7C15", "0x9E3779B97F4A7C17")
    # The evaluation reads chunks of victims with the module that trains them; paths only need the proxy's file.
    assert stale == TRAINERS | {"evaluate_robustness"}


def test_an_edit_of_a_network_retrains(edit: Edit):
    assert (
        edit("poisonlab/models/networks.py", "_Convolution(16, 3, padding=1", "_Convolution(16, 5, padding=2")
        == TRAINERS | USERS
    )


def test_an_edit_of_a_figure_redraws_and_nothing_else(edit: Edit):
    assert edit("poisonlab/figures/style.py", "", "spare = 1") == {"draw_figures"}
    assert edit("poisonlab/figures/buckets.py", "", "spare = 1") == {"draw_figures"}


def test_an_edit_of_a_strategy_crafts_again_and_nothing_else(edit: Edit):
    # A poison that comes out the same retrains nothing: the victims depend on its file.
    stale = edit("poisonlab/poisons/strategies/path_bucket.py", "bucket not in set", "not bucket in set")
    assert stale == {"craft_poisons"}


def test_an_edit_of_the_statistics_makes_no_computed_artefact_stale(edit: Edit):
    stale = edit("poisonlab/statistics/__init__.py", "", "spare = 1")
    assert stale <= {"draw_figures"}


def test_an_edit_of_an_adapter_reruns_that_adapter_alone(edit: Edit):
    assert edit("scripts/trace_paths.py", "settings)", "settings or None)") == {"trace_paths"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("class Recipe:\n", "# A comment.\nclass Recipe:\n    # Another.\n\n"),
        ('"""Learning rate of step', '"""The learning rate of step'),
        ('"""How a victim is trained', '"""The way in which a victim is trained'),
        (
            'return self.parts["schedule"](self.learning_rate, (step + 1) / steps)',
            'return self.parts["schedule"](\n    self.learning_rate, ((step + 1) / steps)\n)',
        ),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(edit: Edit, old: str, new: str):
    assert edit("poisonlab/victims/recipe.py", old, new) == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("beta2: float = 0.999", "beta2: float = 0.99"),
        ("(step + 1) / steps", "(step + 2) / steps"),
        ("def rate(self, step: int", "def rate(self, number: int"),
    ],
)
def test_defaults_operators_and_names_count(edit: Edit, old: str, new: str):
    assert edit("poisonlab/victims/recipe.py", old, new) >= TRAINERS


# ------------------------------------------------------------------------------------------------ modules


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty package that stands in for this one."""
    folder = tmp_path / "poisonlab"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    monkeypatch.setattr(module, "_PACKAGE", folder)
    return folder


def version_after(files: dict[Path, str], *entries: str | Path) -> str:
    for path, text in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    module._read.cache_clear()
    return code_version(*entries)


@pytest.mark.parametrize(
    "statement",
    [
        "import poisonlab.tools",
        "import poisonlab.tools as t",
        "from poisonlab import tools",
        "from poisonlab.tools import f",
        "def late():\n    from poisonlab import tools",
        "try:\n    import json\nfinally:\n    import poisonlab.tools",
    ],
)
def test_every_form_of_import_is_followed(package: Path, tmp_path: Path, statement: str):
    script = tmp_path / "script.py"
    before = version_after({script: statement, package / "tools.py": "def f(): return 1"}, script)
    assert version_after({package / "tools.py": "def f(): return 2"}, script) != before
    assert version_after({package / "tools.py": "def f():\n    'Says what.'\n    return 1"}, script) == before


def test_a_package_inside_the_package_is_its_init_file(package: Path, tmp_path: Path):
    script, init = tmp_path / "script.py", package / "inner" / "__init__.py"
    before = version_after({script: "from poisonlab import inner", init: "a = 1"}, script)
    assert version_after({init: "a = 2"}, script) != before


def test_the_init_files_above_an_imported_module_count_because_they_are_executed(package: Path, tmp_path: Path):
    script, init = tmp_path / "script.py", package / "inner" / "__init__.py"
    files = {script: "import poisonlab.inner.deep", init: "a = 1", package / "inner" / "deep.py": "b = 1"}
    before = version_after(files, script)
    assert version_after({init: "a = 2"}, script) != before


def test_modules_that_import_each_other_end(package: Path):
    files = {package / "one.py": "from poisonlab import two", package / "two.py": "from poisonlab import one"}
    assert version_after(files, "poisonlab.one") == version_after({}, "poisonlab.two")


def test_modules_outside_the_package_count_only_as_entries(package: Path, tmp_path: Path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    script, own = tmp_path / "script.py", tmp_path / "my_strategy_of_a_test.py"
    before = version_after({script: "import numpy, my_strategy_of_a_test", own: "a = 1"}, script)
    with_entry = version_after({}, script, "my_strategy_of_a_test")
    version_after({own: "a = 2"})
    assert code_version(script) == before
    assert code_version(script, "my_strategy_of_a_test") != with_entry
    assert "my_strategy_of_a_test" not in sys.modules  # the version is read from the file, nothing is executed


def test_the_same_files_give_the_same_version_wherever_they_are(package: Path, tmp_path: Path, monkeypatch):
    files = {package / "tools.py": "a = 1", tmp_path / "script.py": "from poisonlab import tools"}
    here = version_after(files, tmp_path / "script.py")
    elsewhere = tmp_path / "else"
    shutil.copytree(package, elsewhere / "poisonlab")
    shutil.copy(tmp_path / "script.py", elsewhere / "renamed.py")
    monkeypatch.setattr(module, "_PACKAGE", elsewhere / "poisonlab")
    assert version_after({}, elsewhere / "renamed.py") == here


def test_of_the_analyses_only_those_that_attack_depend_on_attacks(edit: Edit, tmp_path: Path):
    names = {name: f"{entry.module}:{entry.function.__name__}" for name, entry in analysis.entries().items()}

    def versions() -> dict[str, str]:
        return {name: code_version(tmp_path / "scripts" / "analyse.py", entry) for name, entry in names.items()}

    before = versions()
    edit("poisonlab/attacks/steps.py", "2.5 / self", "2.0 / self")
    after = versions()
    changed = {name for name in names if before[name] != after[name]}
    # Trials of recipes train, and a recipe may attack.
    assert changed == {"clean_nets", "colouring", "class_pairs", "recipe_trials"}


def test_a_registered_function_counts_with_its_helpers_and_without_its_neighbours(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module, "_PACKAGE", tmp_path / "poisonlab")
    (tmp_path / "poisonlab").mkdir()
    file = tmp_path / "poisonlab" / "own.py"

    def versions(first: int, helper: int, second: int) -> list[str]:
        module._read.cache_clear()
        file.write_text(
            f"@register('a')\ndef a():\n    return helper() + {first}\n\n"
            f"@functools.cache\ndef helper():\n    return {helper}\n\n"
            f"@register('b')\ndef b():\n    return {second}\n"
        )
        return [code_version(f"poisonlab.own:{name}") for name in ("a", "b", "neither")]

    def changed(*numbers: int) -> list[bool]:
        return [one != other for one, other in zip(versions(0, 0, 0), versions(*numbers), strict=True)]

    assert changed(0, 0, 0) == [False, False, False]
    assert changed(1, 0, 0) == [True, False, True]
    assert changed(0, 0, 1) == [False, True, True]
    assert changed(0, 1, 0) == [True, True, True]
    module._read.cache_clear()


def test_what_one_process_has_read_the_next_one_need_not_read(tmp_path: Path):
    ask = "import ast, sys; from poisonlab.pipeline.code_version import code_version as asked\n{}\nprint(asked('poisonlab.victims.chunk'))"

    def answer(first: str = "") -> str:
        command = [sys.executable, "-c", ask.format(first)]
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    version = answer()
    assert answer("ast.parse = None") == version  # which would fail
    (memory,) = tmp_path.rglob("code_version.*.json")
    memory.write_text(memory.read_text()[:-1])
    assert answer() == version
