"""The documentation keeps its word: every snippet runs, every configuration is valid, every link and command exists.

In the pages about data, models and strategies of your own, the first line of a python or yaml block is a comment with
the name of its file. All files of these pages lie in one folder, the workshop, as they would with a person who follows
the pages.
"""

import ast
import contextlib
import dataclasses
import functools
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.prepare import prepare
from poisonlab.errors import InputError
from poisonlab.models.inference import predict, rebuild, resolve_device
from poisonlab.pipeline.configuration import check
from poisonlab.poisons.poison import Poison, apply
from poisonlab.poisons.strategies import craft
from poisonlab.results import storage
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [path for path in [*sorted((REPOSITORY / "docs").glob("*.md")), REPOSITORY / "README.md"] if path.is_file()]
OWN = [REPOSITORY / "docs" / f"{name}.md" for name in ("own_data", "own_model", "own_strategy")]
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
SHELL = ("bash", "sh", "shell", "console")
OTHER_PROGRAMS = ("cd", "git", "source")  # ordinary ones, of which nothing is checked


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page; `file` is the name in its first line, "" without one."""

    page: Path
    language: str
    text: str

    @property
    def file(self) -> str:
        named = re.match(r"# (\w+\.(?:py|yaml))\n", self.text)
        return named[1] if named else ""

    def __str__(self) -> str:
        return f"{self.page.name}: {self.file or self.text.splitlines()[0]}"


def blocks(page: Path, *languages: str) -> list[Block]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [Block(page, language, text) for language, text in found if not languages or language in languages]


def commands(page: Path) -> list[list[str]]:
    """The words of every command in the page's shell blocks and of those that its sentences name in `backquotes`."""
    lines = [line for block in blocks(page, *SHELL) for line in block.text.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lines += re.findall(r"`((?:make|snakemake|python) [^`]+)`", prose)
    found = []
    for line in lines:
        words: list[str] = []
        for word in [*shlex.split(line.removeprefix("$ "), comments=True), "&&"]:
            if word in ("&&", ";"):
                found += [words] if words else []
                words = []
            elif words or not re.match(r"[A-Z_]+=", word):  # a variable that is set for the command
                words.append(word)
    return found


def options(command: list[str]) -> dict[str, list[str]]:
    """Words of a command after each option; those before the first one under ""."""
    found: dict[str, list[str]] = {"": []}
    for word in command[1:]:
        if word.startswith("-"):
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found


@functools.cache
def output_of(*command: str) -> str:
    # Without what `make test` itself was given.
    own = {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS", "CONFIGS")
    }
    return subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=True).stdout


PYTHON_FILES = [block for page in OWN for block in blocks(page, "python")]
YAML_FILES = [block for page in OWN for block in blocks(page, "yaml")]


# ---------------------------------------------------------------------------------------------- pages, links, commands


@pytest.mark.parametrize("page", OWN, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    for block in blocks(page):
        assert block.language in ("python", "yaml", "bash", "text"), block
        assert bool(block.file) == (block.language in ("python", "yaml")), block


def anchors(page: Path) -> set[str]:
    """Names of the page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_resolves(page):
    for link in re.findall(r"\]\(([^)\s]+)", page.read_text()):
        if not re.match(r"\w+:", link):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), f"{page.name} links to {link}"
            assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_exists(page):
    for command in commands(page):
        if Path(command[0]).name == "make":
            # Prints what it would do; an unknown target is an error. Snakemake is handed the user's words there.
            for line in output_of(command[0], "-n", *command[1:]).splitlines():
                if "poisonlab.pipeline.run" in line or "/snakemake " in line:
                    expect_command(shlex.split(line), shown=f"{shlex.join(command)}: {line}")
        else:
            expect_command(command, shown=f"{page.name}: {shlex.join(command)}")


@pytest.mark.parametrize(
    ("target", "options", "way_out"),
    [
        ("published", "--configfile own.yaml", "ARGS holds --configfile, .* use CONFIGS=<files>"),
        ("archive", "-n --configfiles own.yaml", "ARGS holds --configfiles, .* use CONFIGS=<files>"),
        ("documents", "--config draws=2", "ARGS holds --config, .* use snakemake as in docs/scaling.md"),
        ("documents", "-C draws=2", "ARGS holds -C, .* use snakemake as in docs/scaling.md"),
    ],
)
def test_make_refuses_options_that_would_take_the_place_of_its_own(target, options, way_out):
    command = ["make", "-n", target, f"ARGS={options}"]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert re.search(way_out, run.stderr)
    assert "snakemake" not in run.stdout


def test_make_lays_configuration_files_over_the_published_one():
    assert "--configfile config/published.yaml own.yaml" in output_of("make", "-n", "published", "CONFIGS=own.yaml")


def expect_command(command: list[str], shown: str) -> None:
    """Check a command that is not make: its program, options, targets and files are there."""
    program, given = Path(command[0]).name, options(command)
    made = {block.file for block in [*PYTHON_FILES, *YAML_FILES]}
    if program == "python" and "-m" in given:
        assert importlib.util.find_spec(given["-m"][0]), shown
        program = "snakemake" if given["-m"][0] == "poisonlab.pipeline.run" else program
        given[""] += given.pop("-m")[1:]
    if program == "snakemake":
        known = set(re.findall(r"--[a-z-]+", output_of(SNAKEMAKE, "--help")))
        assert set(given) - {"", "-n"} <= known, shown
        rules = output_of(SNAKEMAKE, "--list").split()
        targets = [*given[""], *given.get("--cores", [])[1:], *given.get("--forcerun", [])]
        assert all(target in rules or target.startswith("results/") for target in targets), shown
        assert all("=" in word for word in given.get("--config", [])), shown
        for file in given.get("--configfile", []):
            assert file in made or (REPOSITORY / file).is_file(), shown
        for profile in given.get("--workflow-profile", []):
            assert (REPOSITORY / profile / "config.yaml").is_file(), shown
    elif program == "python":
        assert "-m" in command or given[""][0] in made, shown
    else:
        assert program in OTHER_PROGRAMS, f"nobody checks '{shown}'"


# ------------------------------------------------------------------------------------------------------------- workshop


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """Folder with every file of the pages, with images where a page lists some, and with the data that its script makes."""
    folder = tmp_path_factory.mktemp("workshop")
    for block in [*PYTHON_FILES, *YAML_FILES]:
        assert not (folder / block.file).exists(), f"two blocks are called {block.file}"
        (folder / block.file).write_text(block.text)
    for number, line in enumerate("\n".join(block.text for page in OWN for block in blocks(page, "text")).splitlines()):
        if re.fullmatch(r"[\w/]+\.png", line):
            (folder / line).parent.mkdir(parents=True, exist_ok=True)
            # Of different sizes, as the page's `size:` allows.
            Image.fromarray(np.full((20 + number, 30, 3), 40 * number, dtype=np.uint8)).save(folder / line)
    with contextlib.chdir(folder):
        runpy.run_path("make_my_data.py")
    return folder


@pytest.fixture
def inside(workshop, monkeypatch) -> Iterator[Path]:
    """The workshop as working directory, from which its modules can be imported."""
    monkeypatch.chdir(workshop)
    monkeypatch.syspath_prepend(workshop)
    yield workshop
    for block in PYTHON_FILES:
        sys.modules.pop(block.file.removesuffix(".py"), None)


def configuration(*files: str) -> dict:
    """config.yaml with `files` laid over it, as Snakemake does; checked, with defaults."""
    from snakemake.utils import update_config

    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text())
    for file in files:
        update_config(config, yaml.safe_load(Path(file).read_text()))
    return check(config, REPOSITORY / "workflow" / "schemas" / "config.schema.yaml")


def uses(file: str) -> tuple[str, list[str]]:
    """Target and configuration files of the first command that uses `file`; no target and itself if none does."""
    for page in OWN:
        for command in commands(page):
            given = options(command)
            if file in given.get("--configfile", []):
                return given[""][0], given["--configfile"]
    return "", [file]


@pytest.mark.parametrize("block", PYTHON_FILES, ids=str)
def test_every_python_file_runs(block, inside, capsys):
    runpy.run_path(block.file, run_name="__main__")
    printed = "print(" in block.text
    assert bool(capsys.readouterr().out) == printed


@pytest.mark.parametrize("block", YAML_FILES, ids=str)
def test_every_configuration_is_valid_and_has_what_its_command_asks_for(block, inside):
    target, files = uses(block.file)
    config = configuration(*files)
    if target:
        folder, study, figure = Path(target).parts[-3:]
        assert folder == "figures"
        drawn = config[study]["figures"][figure.removesuffix(".svg")]["experiments"]
        assert drawn
        assert set(drawn) <= set(config[study]["experiments"])


# ----------------------------------------------------------------------------------------------------------- own_data.md


def test_the_npz_becomes_the_data_set_that_the_page_describes(inside):
    dataset = prepare("my_data", configuration("my_data.yaml")["datasets"]["my_data"])
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1400, 397)
    assert dataset.input_shape == (1, 8, 8)
    assert dataset.class_names[:3] == ("zero", "one", "two")


def test_classes_are_renumbered_in_the_order_listed(inside):
    specifications = configuration("my_data.yaml", "my_pair.yaml")["datasets"]
    whole, pair = (prepare(name, specifications[name]) for name in ("my_data", "my_pair"))
    assert pair.class_names == ("seven", "one")
    np.testing.assert_array_equal(
        pair.train_images[pair.train_labels == 0], whole.train_images[whole.train_labels == 7]
    )


def test_the_folder_becomes_the_data_set_that_the_page_describes(inside):
    dataset = prepare("my_images", configuration("my_images.yaml")["datasets"]["my_images"])
    assert dataset.class_names == ("cat", "dog")
    assert dataset.input_shape == (1, 32, 32)
    assert dataset.test_labels.tolist() == [0, 1]


def test_a_bad_array_gives_the_error_that_the_page_shows(inside, monkeypatch):
    arrays = dict(np.load("my_data.npz"))
    arrays["train_images"] = arrays["train_images"].astype(np.float32)
    (inside / "bad").mkdir()
    monkeypatch.chdir(inside / "bad")
    np.savez("my_data.npz", **arrays)
    with pytest.raises(InputError) as error:
        prepare("my_data", {"source": "npz", "path": "my_data.npz"})
    assert str(error.value) in [block.text.strip() for block in blocks(OWN[0], "text")]


# ---------------------------------------------------------------------------------------------------------- own_model.md


@pytest.mark.parametrize("name", ["my_model:Net", "my_model:wide"])
def test_the_model_learns_and_comes_back_from_its_file(name, inside, digits, tmp_path):
    clean = apply(Poison(digits.num_classes), digits)
    job = VictimJob("first", clean, seed=1)
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=0.005)
    ((_, victim),) = train([job], name, recipe)
    # Chance is 0.1; twenty seeds of each model gave 0.78 … 0.93.
    assert victim.train_accuracy > 0.5
    storage.write_tensors(victim.parameters, tmp_path / "victim.safetensors")
    parameters, _ = storage.read_tensors(tmp_path / "victim.safetensors")
    network = rebuild(name, digits.input_shape, digits.num_classes, parameters, resolve_device("cpu"))
    answers = predict(network, torch.from_numpy(digits.train_images)).numpy()
    assert (answers == digits.train_labels).mean() == victim.train_accuracy


def test_the_models_differ_in_what_their_names_say(inside, digits):
    from poisonlab.models import build

    net, wide = (build(f"my_model:{name}", digits.input_shape, 10, seed=0) for name in ("Net", "wide"))
    assert (net.convolution.out_channels, wide.convolution.out_channels) == (16, 64)


def test_a_model_that_is_not_there_is_named_before_anything_runs(inside):
    (inside / "typo.yaml").write_text((inside / "my_model.yaml").read_text().replace("my_model:Net", "my_modle:Net"))
    with pytest.raises(InputError, match=r"there is no module 'my_modle'; put my_modle\.py into the working directory"):
        configuration("typo.yaml")


# ------------------------------------------------------------------------------------------------------- own_strategy.md

FLIP = {"source": 1, "target": 2, "budget": 3}


def crafted(dataset: Dataset, name: str, parameters: dict, values: list, draw: int = 0) -> list[Poison]:
    settings = {"name": f"my_strategy:{name}", "parameters": parameters, "axis_values": values, "flip": FLIP}
    return craft(dataset, settings, needs={}, draw=draw)


def test_the_relabelling_strategy_keeps_to_its_share(inside, digits):
    images = digits.train_float().reshape(len(digits.train_labels), -1)
    distance = ((images - images[digits.train_labels == 2].mean(axis=0)) ** 2).sum(axis=1)
    pool = np.flatnonzero(digits.train_labels == 1)
    nearest = set(pool[np.argsort(distance[pool])][: round(0.1 * len(pool))])
    near, anywhere = crafted(digits, "nearest_to_mean", {"norm": 2}, [0.1, 1.0])
    assert set(near.relabel_index) <= nearest
    assert set(anywhere.relabel_index) <= set(pool)
    for poison in (near, anywhere):
        assert poison.budget == len(set(poison.relabel_index)) == 3
        assert poison.relabel_label.tolist() == [2, 2, 2]


def test_the_appending_strategy_adds_labelled_copies_with_a_white_corner(inside, digits):
    (poison,) = crafted(digits, "white_corner", {"side": 3}, [None])
    assert poison.budget == 3
    assert poison.append_labels.tolist() == [2, 2, 2]
    assert (poison.append_images[..., -3:, -3:] == 1).all()
    ones = digits.train_images[digits.train_labels == 1]
    for image in poison.append_images:
        outside = image.copy()
        outside[..., -3:, -3:] = 0
        blanked = ones.copy()
        blanked[..., -3:, -3:] = 0
        assert (blanked == outside).all(axis=(1, 2, 3)).any()


@pytest.mark.parametrize(
    ("name", "parameters", "value"), [("nearest_to_mean", {"norm": 2}, 0.5), ("white_corner", {"side": 2}, None)]
)
def test_a_draw_of_either_strategy_is_repeatable_and_another_draw_differs(inside, digits, name, parameters, value):
    (first,), (again,), (other,) = (crafted(digits, name, parameters, [value], draw) for draw in (0, 0, 1))
    edits = [
        np.concatenate([p.relabel_index, [] if p.append_images is None else p.append_images.ravel()])
        for p in (first, again, other)
    ]
    np.testing.assert_array_equal(edits[0], edits[1])
    assert not np.array_equal(edits[0], edits[2])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (", values: [0.1, 0.3]", "", "no values of the sweep axis 'share'"),
        ('"my_strategy:white_corner"', '"my_strategy:white_corner", values: [1]', "has no sweep axis"),
        ("norm: 1", "nrom: 1", r"has no parameters \['nrom'\], it takes \['norm'\]"),
        ("my_strategy:white_corner", "my_strategy:white_cornre", "cannot be loaded"),
    ],
)
def test_a_slip_in_a_condition_is_named_before_anything_runs(inside, old, new, words):
    text = (inside / "my_strategy.yaml").read_text()
    assert old in text
    (inside / "slip.yaml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=words):
        configuration("slip.yaml")


def test_a_need_that_the_pipeline_does_not_make_is_named_before_anything_runs(inside, tmp_path):
    source = (
        (inside / "my_strategy.py")
        .read_text()
        .replace('parameters={"side": 2}', 'parameters={"side": 2}, needs=("gradients",)')
    )
    (inside / "needy_strategy.py").write_text(source)
    text = (inside / "my_strategy.yaml").read_text().replace("my_strategy:white", "needy_strategy:white")
    (inside / "needy.yaml").write_text(text)
    with pytest.raises(InputError, match=r"needs \['gradients'\], which the pipeline does not make"):
        configuration("needy.yaml")


# ------------------------------------------------------------------------------------------------------------- pipeline


@pytest.fixture
def snakemake(workshop):
    """Run the documented command for data, model and strategy of one's own; the training is cut to two epochs."""
    (command,) = [c for page in OWN for c in commands(page) if "mine.yaml" in c and "repeats=1" in c]
    (workshop / "short.yaml").write_text("recipes: {my_recipe: {epochs: 2}}\n")
    command.insert(command.index("mine.yaml") + 1, "short.yaml")
    # The files lie in the working directory, the Snakefile elsewhere, and nothing is on PYTHONPATH.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

    def run(*more: str) -> str:
        words = [SNAKEMAKE, *command[1:], "--snakefile", str(REPOSITORY / "Snakefile"), "--cores", "1", *more]
        done = subprocess.run(words, cwd=workshop, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        return done.stdout + done.stderr

    return run


# One test, for the run takes long.
def test_data_model_and_strategy_of_ones_own_go_through_the_pipeline(workshop, snakemake):
    said = snakemake()
    assert int(re.search(r"^total +(\d+)", said, re.MULTILINE)[1]) <= 12
    results = workshop / "results"
    rows = storage.read_table(results / "tables" / "label_noise" / "mine" / "robustness.parquet")
    assert set(rows["condition"]) == {"random", "near", "corner"}
    assert set(rows["model"]) == {"my_model:Net"}
    assert set(rows["epsilon"]) == {0.1, 0.2}
    # All test images of the source class, "seven", among the last 397 of scikit-learn's digits.
    pair = Dataset.load(results / "data" / "my_pair.safetensors")
    assert set(rows["n_points"]) == {int((pair.test_labels == 0).sum())}
    conditions = storage.read_table(results / "tables" / "label_noise" / "mine" / "conditions.parquet").set_index(
        "condition"
    )
    assert conditions.loc["near", "axis_value"] == 0.2
    assert conditions.loc["corner", "parameters"] == '{"side": 3}'
    caption = (results / "figures" / "label_noise" / "mine.txt").read_text()
    # Classes of your own have no names before the data are read, so the figure numbers them.
    assert "5 poisons (0 → 1)" in caption
    assert "near 0.2" in caption
    assert (results / "figures" / "label_noise" / "mine.svg").stat().st_size > 1000

    file = workshop / "my_model.py"
    before = file.read_text()
    try:
        file.write_text(before + "\n# A note.\n")
        assert "Nothing to be done" in snakemake("--dry-run")
        file.write_text(before.replace("64, num_classes", "32, num_classes").replace(", 64)\n", ", 32)\n"))
        ast.parse(file.read_text())
        assert "train_victims" in snakemake("--dry-run")
    finally:
        file.write_text(before)
