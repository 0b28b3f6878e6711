"""The how-to pages as files: the first line of a python or yaml block is a comment with the name of its file.

Blocks of one name are one file. All files lie in one folder, the workshop, as they would with a person who follows the pages.
"""

import dataclasses
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import yaml

from poisonlab.pipeline.configuration import check

REPOSITORY = Path(__file__).resolve().parents[1]
HOW_TO = ("own_data", "own_model", "own_strategy", "poison_files", "extending")
OWN = [REPOSITORY / "docs" / f"{name}.md" for name in HOW_TO]
SHELL = ("bash", "sh", "shell", "console")


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


def studies_of(command: list[str]) -> list[str]:
    """Studies that a command names by `--study` or `--config studies=[…]`."""
    given = options(command)
    settings = dict(word.split("=", 1) for word in given.get("--config", []))
    return given.get("--study", []) or yaml.safe_load(settings.get("studies", "[]"))


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
