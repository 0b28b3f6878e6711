"""A study of somebody's own: a folder outside of the repository, run in another folder that is empty."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from checkout import REPOSITORY, SOURCE, TIMEOUT
from filelock import FileLock

from poisonlab.results.storage import read_table


@dataclass(frozen=True)
class OwnStudy:
    """A study's folder, the folder in which it ran, and what the run said."""

    study: Path
    work: Path
    said: str

    def file(self, name: str) -> Path:
        """A result."""
        return self.work / "results" / name

    def table(self, experiment: str, name: str) -> pd.DataFrame:
        """A table of an experiment."""
        return read_table(self.file(f"tables/{self.study.name}/{experiment}/{name}.parquet"))

    @property
    def jobs(self) -> dict[str, int]:
        """Jobs that ran: rule → how many."""
        return planned(self.said)


def planned(said: str) -> dict[str, int]:
    """Jobs that Snakemake lists before it runs them: rule → how many."""
    table = said.partition("Job stats:")[2].partition("total")[0]
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", table, re.MULTILINE)}


def snakemake(folder: Path, *arguments: str, module: str = "snakemake") -> subprocess.CompletedProcess[str]:
    """Run Snakemake on two cores in a folder, without this process's settings; stdout holds stderr, too."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEMAKE_", "POISONLAB_"))}
    return subprocess.run(
        [sys.executable, "-m", module, "--cores", "2", *arguments],
        cwd=folder,
        env=kept,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def ran(factory: pytest.TempPathFactory, name: str, files: Mapping[str, str]) -> OwnStudy:
    """Write a study of these files, run it with `--config` alone, and return what it made; leave that as it is.

    Of several workers the first runs it.
    """
    own = factory.getbasetemp().resolve()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder = root / f"study-{name}"
    study, work, said = folder / name, folder / "work", folder / "said.txt"
    with FileLock(root / f"{name}.lock"):
        if not said.is_file():
            study.mkdir(parents=True)
            work.mkdir()
            for file, text in files.items():
                (study / file).write_text(text)
            arguments = ("--snakefile", str(REPOSITORY / "Snakefile"), "--config", f"studies=['{study}']")
            done = snakemake(work, *arguments, module="poisonlab.pipeline.run")
            assert done.returncode == 0, done.stdout
            said.write_text(done.stdout)
    return OwnStudy(study, work, said.read_text())


def source_files() -> dict[str, tuple[int, int]]:
    """Size and time of modification of every file of the repository that a run reads."""
    found = {}
    for place in (REPOSITORY / name for name in (*SOURCE, "studies")):
        for file in [place] if place.is_file() else place.rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts and ".egg-info" not in str(file):
                found[str(file)] = (file.stat().st_size, file.stat().st_mtime_ns)
    return found
