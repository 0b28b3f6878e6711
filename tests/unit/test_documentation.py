"""The documentation keeps its word: every snippet runs, every configuration is valid, every link and command exists.

In the how-to pages, the first line of a python or yaml block is a comment with the name of its file; blocks of one name are
one file. All files of these pages lie in one folder, the workshop, as they would with a person who follows the pages.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

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
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.needs import need
from poisonlab.poisons.poison import Poison, apply
from poisonlab.results import storage
from poisonlab.results.storage import Workspace
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *(REPOSITORY / folder / "README.md" for folder in (".", "config", "results", "archive")),
    *sorted((REPOSITORY / "studies").glob("*/README.md")),
]
HOW_TO = ("own_data", "own_model", "own_strategy", "poison_files", "extending")
OWN = [REPOSITORY / "docs" / f"{name}.md" for name in HOW_TO]
CONFIGURATION = REPOSITORY / "config" / "README.md"
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
        named = re.match(r"# ([\w/]+\.(?:py|yaml))\n", self.text)
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


def files(language: str) -> dict[str, str]:
    """Name → text of every file in this language, its blocks in their order."""
    found: dict[str, str] = {}
    for page in OWN:
        for block in blocks(page, language):
            found[block.file] = f"{found[block.file]}\n\n{block.text}" if block.file in found else block.text
    return found


PYTHON_FILES, YAML_FILES = files("python"), files("yaml")
STUDIES = [name.removesuffix("/study.yaml") for name in YAML_FILES if name.endswith("/study.yaml")]
OVERLAYS = [name for name in YAML_FILES if "/" not in name]


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


def studies_of(command: list[str]) -> list[str]:
    """Studies that a command names by `--config studies=[…]`."""
    settings = dict(word.split("=", 1) for word in options(command).get("--config", []))
    return yaml.safe_load(settings.get("studies", "[]"))


def expect_command(command: list[str], shown: str) -> None:
    """Check a command that is not make: its program, options, targets and files are there."""
    program, given = Path(command[0]).name, options(command)
    made = {*PYTHON_FILES, *YAML_FILES}
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
        for study in studies_of(command):
            assert study in STUDIES or (REPOSITORY / "studies" / study).is_dir(), shown
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
    """Folder with every file of the pages, with images where a page lists some, and with what two of the scripts make."""
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


def changed(workshop: Path, study: str, old: str, new: str) -> str:
    """Write a copy of a study in which `new` stands for `old`, and return its name."""
    text = YAML_FILES[f"{study}/study.yaml"]
    assert old in text
    (workshop / "slip").mkdir(exist_ok=True)
    (workshop / "slip" / "study.yaml").write_text(text.replace(old, new))
    return "slip"


def configuration(*overlays: str, studies: Sequence[str] = ("label_noise",)) -> dict:
    """config.yaml with `overlays` laid over it, as Snakemake does, and its studies; checked, with defaults."""
    from snakemake.utils import update_config

    config = yaml.safe_load((REPOSITORY / "config.yaml").read_text()) | {"studies": list(studies)}
    for file in overlays:
        update_config(config, yaml.safe_load(Path(file).read_text()))
    return check(config, REPOSITORY)[0]


@pytest.mark.parametrize("name", PYTHON_FILES)
def test_every_python_file_runs(name, inside, capsys):
    runpy.run_path(name, run_name="__main__")
    printed = "print(" in PYTHON_FILES[name]
    assert bool(capsys.readouterr().out) == printed


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_configuration_is_valid(name, inside):
    shown, given = configuration(name), yaml.safe_load(YAML_FILES[name])
    assert given["datasets"].items() <= shown["datasets"].items()


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_is_valid_and_has_what_its_commands_ask_for(study, inside):
    config = configuration(studies=[study])
    asked = [command for page in OWN for command in commands(page) if studies_of(command) == [study]]
    assert asked, f"no command runs {study}"
    for command in asked:
        for target in options(command)[""]:
            folder, of, figure = Path(target).parts[-3:]
            assert (folder, of) == ("figures", study)
            assert figure.removesuffix(".svg") in config[study]["figures"]


# ------------------------------------------------------------------------------------------------------ config/README.md


def example(folder: Path) -> Path:
    """The study that the blocks of config/README.md are, one after the other, as a folder."""
    text = "\n".join(block.text for block in blocks(CONFIGURATION, "yaml") if not block.file)
    folder.mkdir()
    (folder / "study.yaml").write_text(text)
    return folder


def test_the_examples_of_the_configuration_together_are_a_study(tmp_path):
    config = configuration(studies=[str(example(tmp_path / "example"))])
    assert list(config["example"]["experiments"]) == ["threes", "transfer"]


def test_the_overlay_of_the_configuration_changes_what_it_says(tmp_path):
    (overlay,) = (block for block in blocks(CONFIGURATION, "yaml") if block.file)
    (tmp_path / overlay.file).write_text(overlay.text)
    config = configuration(str(tmp_path / overlay.file))
    assert config["label_noise"]["run"] == ["digits01_0to1"]
    assert config["label_noise"]["experiments"]["digits01_0to1"]["draws"] == 1
    assert config["recipes"]["digits"]["epochs"] == 6
    assert config["recipes"]["digits"]["batch_size"] == 64  # what study.yaml says, and the overlay does not


@pytest.mark.parametrize("schema", ["config", "study"])
def test_every_key_of_a_schema_is_described(schema):
    content = yaml.safe_load((REPOSITORY / "workflow" / "schemas" / f"{schema}.schema.yaml").read_text())
    keys = {key for part in [content, *content["$defs"].values()] for key in part.get("properties", {})}
    prose = re.sub(r"^```.*?^```$", "", CONFIGURATION.read_text(), flags=re.MULTILINE | re.DOTALL)
    described = {word for code in re.findall(r"`([^`]+)`", prose) for word in re.findall(r"\w+", code)}
    assert keys - described == set()


# ----------------------------------------------------------------------------------------------------------- own_data.md


def test_the_npz_becomes_the_data_set_that_the_page_describes(inside):
    dataset = prepare("my_data", configuration("my_data.yaml")["datasets"]["my_data"])
    assert (len(dataset.train_labels), len(dataset.test_labels)) == (1400, 397)
    assert dataset.input_shape == (1, 8, 8)
    assert dataset.class_names[:3] == ("zero", "one", "two")


def test_classes_are_renumbered_in_the_order_listed(inside):
    specifications = configuration("my_data.yaml", studies=["sevens"])["datasets"]
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


MODELS = ({"model": "my_model:Net"}, {"model": "my_model:Net", "channels": 64})


@pytest.mark.parametrize("name", MODELS, ids=str)
def test_the_model_learns_and_comes_back_from_its_file(name, inside, digits, tmp_path):
    clean = apply(Poison(digits.num_classes), digits)
    job = VictimJob("first", clean, seed=1)
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=0.005)
    ((_, victim),) = train([job], name, recipe)
    # Chance is 0.1; twenty seeds of each model gave 0.78 … 0.93.
    assert victim.train_accuracy > 0.5
    weights = victim.parameters["output.weight"].astype(np.float64)
    assert victim.scalars == {"output_norm": pytest.approx(np.sqrt((weights**2).sum()), rel=1e-5)}
    storage.write_tensors(victim.parameters, tmp_path / "victim.safetensors")
    parameters, _ = storage.read_tensors(tmp_path / "victim.safetensors")
    network = rebuild(name, digits.input_shape, digits.num_classes, parameters, resolve_device("cpu"))
    answers = predict(network, torch.from_numpy(digits.train_images)).numpy()
    assert (answers == digits.train_labels).mean() == victim.train_accuracy


def test_the_models_differ_in_their_parameters(inside, digits):
    from poisonlab.models import build

    net, wide = (build(model, digits.input_shape, 10, seed=0) for model in MODELS)
    assert (net.convolution.out_channels, wide.convolution.out_channels) == (16, 64)


def test_a_model_that_is_not_there_is_named_before_anything_runs(inside):
    with pytest.raises(InputError, match=r"there is no module 'my_modle'; put my_modle\.py into the study's folder"):
        configuration(studies=[changed(inside, "widths", "my_model:Net", "my_modle:Net")])


# ------------------------------------------------------------------------------------------------------- own_strategy.md


def crafted(dataset: Dataset, name: str, parameters: dict, sweep: str, values: list, **more: Any) -> list[Poison]:
    flips = {"source": 1, "target": 2}
    settings = {"strategy": name, "parameters": parameters, "flips": flips, "budget": 3, "per": "pair"}
    return craft(dataset, settings | {"sweep": sweep, "values": values}, **{"needs": {}, "draw": 0, **more})


def test_the_relabelling_strategy_keeps_to_its_share(inside, digits):
    images = digits.train_float().reshape(len(digits.train_labels), -1)
    distance = ((images - images[digits.train_labels == 2].mean(axis=0)) ** 2).sum(axis=1)
    pool = np.flatnonzero(digits.train_labels == 1)
    nearest = set(pool[np.argsort(distance[pool])][: round(0.1 * len(pool))])
    near, anywhere = crafted(digits, "my_strategy:nearest_to_mean", {"norm": 2}, "share", [0.1, 1.0])
    assert set(near.relabel_index) <= nearest
    assert set(anywhere.relabel_index) <= set(pool)
    for poison in (near, anywhere):
        assert poison.budget == len(set(poison.relabel_index)) == 3
        assert poison.relabel_label.tolist() == [2, 2, 2]


def test_the_appending_strategy_adds_labelled_copies_with_a_white_corner(inside, digits):
    (poison,) = crafted(digits, "my_strategy:white_corner", {"side": 3}, "", [None])
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
    ("name", "parameters"),
    [
        ("my_strategy:nearest_to_mean", {"share": 0.5}),
        ("my_strategy:white_corner", {"side": 2}),
        ("long_strategy:far_from_mean", {"steps": 3}),
    ],
)
def test_a_draw_of_any_strategy_is_repeatable_and_another_draw_differs(inside, digits, name, parameters):
    (first,), (again,), (other,) = (crafted(digits, name, parameters, "", [None], draw=draw) for draw in (0, 0, 1))
    edits = [
        np.concatenate([p.relabel_index, [] if p.append_images is None else p.append_images.ravel()])
        for p in (first, again, other)
    ]
    np.testing.assert_array_equal(edits[0], edits[1])
    assert not np.array_equal(edits[0], edits[2])


def test_a_long_strategy_that_is_killed_goes_on_and_finds_the_same_points(inside, digits, tmp_path):
    name, parameters = "long_strategy:far_from_mean", {"steps": 500}
    (whole,) = crafted(digits, name, parameters, "", [None])
    lines: list[str] = []

    def stop(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            raise KeyboardInterrupt

    place = Workspace(tmp_path / "work", "1")
    with pytest.raises(KeyboardInterrupt):
        crafted(digits, name, parameters, "", [None], workspace=place, progress=stop)
    assert place.read("swaps")[1] == {"step": 300}
    (resumed,) = crafted(digits, name, parameters, "", [None], workspace=place, progress=lines.append)
    assert [line.split(":")[0] for line in lines[3:]] == ["step 400 of 500", "step 500 of 500"]
    np.testing.assert_array_equal(resumed.relabel_index, whole.relabel_index)
    # The search only ever accepts what is farther, and 500 swaps find more than the random start has.
    (start,) = crafted(digits, name, {"steps": 1}, "", [None])
    assert whole.facts["distance"] > start.facts["distance"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sweep: {share: [0.1, 0.3]}", "sweep: {part: [0.1]}", r"names 'part', allowed are budget and the parameters"),
        ("parameters: {norm: 1}", "parameters: {share: 0.2}", "both give 'share'"),
        ("norm: 1", "nrom: 1", r"has no parameters \['nrom'\], it takes \['norm', 'share'\]"),
        ("my_strategy:white_corner", "my_strategy:white_cornre", "cannot be loaded"),
    ],
)
def test_a_slip_in_a_poison_is_named_before_anything_runs(inside, old, new, words):
    with pytest.raises(InputError, match=words):
        configuration(studies=[changed(inside, "nearest", old, new)])


def test_a_need_that_the_pipeline_does_not_make_is_named_before_anything_runs(inside):
    source = PYTHON_FILES["my_strategy.py"].replace(
        'parameters={"side": 2}', 'parameters={"side": 2}, needs=("gradients",)'
    )
    (inside / "needy_strategy.py").write_text(source)
    with pytest.raises(InputError, match=r"need 'gradients' does not exist; choose one of buckets"):
        configuration(studies=[changed(inside, "nearest", "my_strategy:white", "needy_strategy:white")])


def test_every_need_of_the_catalogue_is_described():
    described = set(re.findall(r"`(\w+)`", OWN[2].read_text()))
    assert set(need.entries()) - described == set()


# ------------------------------------------------------------------------------------------------------------- pipeline


@pytest.fixture
def snakemake(workshop):
    """Run the documented command for data, model and strategy of one's own; the training is cut to two epochs."""
    (command,) = [c for page in OWN for c in commands(page) if studies_of(c) == ["mine"]]
    (workshop / "short.yaml").write_text("recipes: {my_recipe: {epochs: 2}}\n")
    command += ["--configfile", "short.yaml"]
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
    rows = storage.read_table(results / "tables" / "mine" / "mine" / "robustness.parquet")
    assert set(rows["condition"]) == {"random", "near", "corner"}
    assert set(rows["model"]) == {"my_model:Net"}
    assert set(rows["epsilon"]) == {0.1, 0.2}
    # All test images of the source class, "seven", among the last 397 of scikit-learn's digits.
    pair = Dataset.load(results / "data" / "my_pair.safetensors")
    assert set(rows["n_points"]) == {int((pair.test_labels == 0).sum())}
    conditions = storage.read_table(results / "tables" / "mine" / "mine" / "conditions.parquet").set_index("condition")
    assert conditions.loc["near", "axis_value"] == 0.2
    assert conditions.loc["corner", "parameters"] == '{"side": 3}'
    caption = (results / "figures" / "mine" / "mine.txt").read_text()
    # Classes of your own have no names before the data are read, so the figure numbers them.
    assert "5 poisons (0 → 1)" in caption
    assert "near 0.2" in caption
    assert (results / "figures" / "mine" / "mine.svg").stat().st_size > 1000

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
