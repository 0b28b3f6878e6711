"""The documentation keeps its word: every snippet runs, every configuration is valid, every link and command exists.

The snippets of the how-to pages lie in one folder, the workshop: see `how_to_pages`.
"""

import functools
import importlib.util
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from how_to_pages import (
    OVERLAYS,
    OWN,
    PYTHON_FILES,
    REPOSITORY,
    STUDIES,
    YAML_FILES,
    blocks,
    commands,
    configuration,
    options,
    studies_of,
)
from typer.testing import CliRunner

from poisonlab import cli

PAGES = [
    *sorted((REPOSITORY / "docs").rglob("*.md")),
    *(REPOSITORY / folder / "README.md" for folder in (".", "config", "results", "archive")),
    *sorted((REPOSITORY / "studies").glob("*/README.md")),
]
CONFIGURATION = REPOSITORY / "config" / "README.md"
SNAKEMAKE = str(Path(sys.executable).with_name("snakemake"))
OTHER_PROGRAMS = ("cd", "git", "source")  # ordinary ones, of which nothing is checked


@functools.cache
def output_of(*command: str) -> str:
    # Without what `make test` itself was given.
    own = {
        key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKEOVERRIDES", "ARGS", "CONFIGS")
    }
    return subprocess.run(command, cwd=REPOSITORY, env=own, capture_output=True, text=True, check=True).stdout


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
    tutorial = {block.file for block in blocks(REPOSITORY / "docs" / "tutorial.md", "python")}  # followed by a test
    made = {*PYTHON_FILES, *YAML_FILES, *tutorial}
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
    elif program == "poisonlab":
        assert set(given) - {""} <= set(re.findall(r"--[a-z-]+", help_of(*given[""][:2]))), shown
    elif program == "python":
        assert "-m" in command or given[""][0] in made, shown
    else:
        assert program in OTHER_PROGRAMS, f"nobody checks '{shown}'"


def help_of(*words: str) -> str:
    """What `poisonlab` says of a command, or of a command of a command."""
    for depth in range(len(words), -1, -1):
        shown = CliRunner().invoke(cli.app, [*words[:depth], "--help"])
        if shown.exit_code == 0 and (depth or not words):
            return shown.output
    raise AssertionError(f"poisonlab has no command {words}")


# ------------------------------------------------------------------------------------------------------------- workshop


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
        for target in options(command)[""][1:]:  # behind "run"
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
