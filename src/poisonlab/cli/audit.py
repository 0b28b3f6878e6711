"""``poisonlab audit``: what would a few wrong labels do to a model of your data?"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[str, typer.Argument(metavar="DATA", help="A folder of images, .npz, CSV, parquet, or a name.")]
Label = Annotated[str | None, typer.Option(metavar="COLUMN", help="Of a table: the labels; else the last.")]
Drop = Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Of a table: left out; again for another.")]
Model = Annotated[str | None, typer.Option(metavar="NAME", help="Of the catalogue, or module:Class.")]
Flip = Annotated[str | None, typer.Option(metavar="A:B", help="Points of A called B; else the most exposed pair.")]
Budget = Annotated[str | None, typer.Option(metavar="N", help="Wrong labels: a number, or a share such as 1%.")]
Epsilon = Annotated[float | None, typer.Option(metavar="E", help="l∞ radius of the attack, in the data's unit.")]
Time = Annotated[str, typer.Option(metavar="TIME", help="To spend: 90s, 15m, 2h.")]
Cores = Annotated[str, typer.Option(metavar="N", help="Processors to use.")]
Mirror = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder with data sets already downloaded.")]


def audit(
    data: Data,
    label: Label = None,
    drop: Drop = None,
    model: Model = None,
    flip: Flip = None,
    budget: Budget = None,
    epsilon: Epsilon = None,
    time: Time = "15m",
    cores: Cores = "all",
    mirror: Mirror = None,
) -> None:
    """Say on one page what a few wrong labels would do to a model of DATA.

    It writes a folder audit_<data> with the page, audit.html, and the study that made it. The same command goes on
    after a kill.
    """
    from poisonlab.audit import audit as answered
    from poisonlab.audit.question import question
    from poisonlab.cli.project import root
    from poisonlab.pipeline.studies import read_yaml

    here = root()
    known = read_yaml(here / "config.yaml")["datasets"]
    asked = question(data, known, model, flip, budget, epsilon, time, label, drop or ())
    count = int(cores) if cores.isdecimal() else os.cpu_count() or 1
    page = answered(asked, _pipeline(asked.name, cores, mirror), here / "workflow" / "report", max(1, count))
    print(f"\n{page.resolve()}")


def _pipeline(study: str, cores: str, mirror: Path | None) -> Callable[[Sequence[str]], None]:
    """What makes files of a study in the current folder; what Snakemake says goes into a log beside the study."""
    from poisonlab.cli.project import for_snakemake
    from poisonlab.errors import InputError

    log = Path(study) / "audit.log"

    def run(targets: Sequence[str]) -> None:
        arguments = for_snakemake(targets, cores=cores, study=[f"./{study}"], mirror=mirror)
        log.parent.mkdir(parents=True, exist_ok=True)
        start, before = time.time(), log.stat().st_size if log.is_file() else 0
        with log.open("a", encoding="utf-8") as stream:
            shown = None if sys.stderr.isatty() else stream  # a bar in a terminal, lines in the log elsewhere
            command = [sys.executable, "-m", "poisonlab.pipeline.run", *arguments]
            status = subprocess.run(command, stdout=stream, stderr=shown).returncode
        if status:
            said = _reason(log.read_bytes()[before:].decode(encoding="utf-8"), Path("results", "logs"), start)
            raise InputError(said.replace(f"datasets.{study}.", "--") or f"the pipeline stopped; '{log}' says why")

    return run


def _reason(output: str, logs: Path, start: float) -> str:
    """What the pipeline stopped for, in its own words: of a job, or of the configuration; "" where it is not known.

    In a terminal a job's line is shown and not in the `output`; then it is the last one of a log, of a later time than
    the start, whose last line is no line of progress.
    """
    found = re.findall(r"^(?:(?!host:)[a-z]\w*: (.+)|WorkflowError in file .*\n(.+))$", output, re.MULTILINE)
    if found:
        return "".join(found[-1]).strip()
    recent = [file for file in logs.rglob("*.log") if file.stat().st_mtime >= start]
    lines = [
        file.read_text(encoding="utf-8").splitlines() for file in sorted(recent, key=lambda one: one.stat().st_mtime)
    ]
    last = [own[-1] for own in lines if own and not re.match(r"\d\d:\d\d:\d\d ", own[-1])]
    return last[-1] if last else ""
