"""What a run in a folder does at the moment, by its lock and by Snakemake's log of it. Imports no torch."""

import contextlib
import fcntl
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

FIELD = re.compile(r"^    (\w+): (.*)$", re.MULTILINE)
STARTED = re.compile(r"(?:local)?rule (\w+):")
CORES = re.compile(r"^Provided cores: (\d+)", re.MULTILINE)  # said by runs that do something
FINISHED = re.compile(r"Finished jobid: (\d+)")


@dataclass(frozen=True)
class State:
    """What works in a folder.

    Attributes:
        active: whether a run works there now.
        running: the jobs under way, "rule: what it makes".
        failed: jobs of the last run that failed, with their logs.
        cores: that the last run was given, None where that is not known.
        arguments: Snakemake's, of the last run.
    """

    active: bool
    running: tuple[str, ...]
    failed: tuple[str, ...]
    cores: int | None
    arguments: tuple[str, ...] = ()


def is_locked(file: Path) -> bool:
    """Whether a process holds the lock on a file."""
    if not file.is_file():
        return False
    descriptor = os.open(file, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@dataclass(frozen=True)
class Finished:
    """A step of a run that came to its end: its rule, its first output, and the seconds between start and end."""

    rule: str
    output: str
    seconds: float


def finished_in(log: str) -> list[Finished]:
    """Steps that finished, by the times in Snakemake's log, which are whole seconds."""
    started: dict[str, tuple[str, str, datetime]] = {}
    found, now = [], datetime.min
    for block in re.split(r"\n(?=\S)", log):
        if time := re.match(r"\[(.+?)\]", block):
            with contextlib.suppress(ValueError):
                now = datetime.strptime(time[1], "%a %b %d %H:%M:%S %Y")
            continue
        fields = dict(FIELD.findall(block))
        if begun := STARTED.match(block):
            started[fields.get("jobid", "")] = (begun[1], fields.get("output", "").partition(",")[0], now)
        elif (ended := FINISHED.match(block)) and ended[1] in started:
            rule, output, start = started[ended[1]]
            found.append(Finished(rule, output, (now - start).total_seconds()))
    return found


def state_of_run(directory: Path) -> State:
    """What works in a directory, and what the last run there failed to make."""
    active = is_locked(directory / "results" / ".lock")
    logs = sorted((directory / ".snakemake" / "log").glob("*.snakemake.log"), reverse=True)  # named by their time
    texts = (log.read_text(encoding="utf-8", errors="replace") for log in logs)
    # Snakemake keeps a log of questions, such as --summary, too.
    last = next((text for text in texts if CORES.search(text)), None)
    return State(active, (), (), None) if last is None else read(last, active)


def read(log: str, active: bool) -> State:
    """The same from the text of Snakemake's log."""
    jobs: dict[str, str] = {}
    failed: dict[str, str] = {}
    blocks = re.split(r"\n(?=\S)", log)
    for block in blocks:
        fields = dict(FIELD.findall(block))
        if started := STARTED.match(block):
            jobs[fields.get("jobid", "")] = f"{started[1]} {_made(fields)}"
        elif error := re.match(r"Error in rule (\w+),? ?.*:", block):
            jobs.pop(fields.get("jobid", ""), None)
            place = fields.get("log", "").partition(" (")[0]
            failed[f"{error[1]} {_made(fields)}"] = f", see {place}" if place else ""
        elif finished := FINISHED.match(block):
            jobs.pop(finished[1], None)
    cores = CORES.search(log)
    command = re.search(r"^  Command: \S+ (.*)$", log, re.MULTILINE)
    running = tuple(jobs.values()) if active else ()
    return State(
        active,
        running,
        tuple(map("".join, failed.items())),
        int(cores[1]) if cores else None,
        tuple(command[1].split()) if command else (),
    )


def _made(fields: dict[str, str]) -> str:
    first = fields.get("output", "").partition(",")[0]
    return str(Path(*Path(first).parts[1:]).with_suffix("")) if first.startswith("results/") else first
