"""Make the most of a machine that is lent for minutes: ``python -m poisonlab.pipeline.session --minutes 14 [what …]``.

Experiments run one after the other, in the order in which they are named or in which `config/session.yaml` names them,
each at its published size without what the archive holds already (`skip_archived`). After each, and when the time is
up, what is finished goes into the archive (`only_finished`), so that nothing is lost with the machine.
"""

import argparse
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from poisonlab.errors import InputError
from poisonlab.pipeline.studies import read_yaml

ORDER = Path("config", "session.yaml")
TO_ARCHIVE = 60.0  # seconds that are kept for the last batch's archive
TO_STOP = 15.0  # seconds in which a run that is told to stop lets go of its jobs


def run(what: Sequence[str], minutes: float, arguments: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Run and archive experiments until the time is up.

    Args:
        what: "study/experiment", the most valuable first.
        minutes: for everything together, above 1.
        arguments: Snakemake's, for every run, such as ``--cores 4`` and further settings behind ``--config``.

    Returns:
        The experiments that ran to their end and were archived, and those of which the run or the archive failed. Of
        these and of the one that was stopped, what was finished is archived where it can be.

    Raises:
        InputError: a name has no study and experiment, or the time leaves nothing to run in.
    """
    if wrong := [one for one in what if one.count("/") != 1]:
        raise InputError(f"session runs {wrong}, allowed are names like study/experiment; correct them")
    end = time.monotonic() + 60 * minutes - TO_ARCHIVE
    if end <= time.monotonic():
        raise InputError(f"minutes is {minutes:g}, of which {TO_ARCHIVE / 60:g} go to the archive; give more")
    done: list[str] = []
    failed: list[str] = []
    for one in what:
        if time.monotonic() >= end:
            break
        study, experiment = one.split("/")
        settings = [f"studies=[{study}]", "published=true", "skip_archived=true"]
        table = f"results/tables/{study}/{experiment}/robustness.parquet"
        status = _until(_command([table], arguments, settings), end)
        only = {"run": [experiment]}
        archived = subprocess.run(
            _command(["archive"], arguments, [*settings, "only_finished=true", f"{study}={only}"]), check=False
        )
        if status or archived.returncode:
            failed.append(one)
        elif status == 0:
            done.append(one)
        if status is None:
            break
    return done, failed


def _command(targets: Sequence[str], arguments: Sequence[str], settings: Sequence[str]) -> list[str]:
    """A run of the pipeline; settings of the user's own stand behind ``--config`` already, and count."""
    own = list(arguments)
    if "--config" in own:
        place = own.index("--config") + 1
        return [sys.executable, "-m", "poisonlab.pipeline.run", *targets, *own[:place], *settings, *own[place:]]
    return [sys.executable, "-m", "poisonlab.pipeline.run", *targets, *own, "--config", *settings]


def _until(command: Sequence[str], end: float) -> int | None:
    """Run a command until it ends and return its status, or stop it with its jobs at `end`, by the monotonic clock."""
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            process.wait(max(end - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            for number in (signal.SIGTERM, signal.SIGKILL):
                os.killpg(process.pid, number)
                try:
                    process.wait(TO_STOP)
                except subprocess.TimeoutExpired:
                    continue
                break
            return None
    return process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(
        usage="python -m poisonlab.pipeline.session [--minutes N] [study/experiment …] [options of Snakemake]",
        description=__doc__,
    )
    parser.add_argument("--minutes", type=float, default=14, help="for everything together")
    chosen, rest = parser.parse_known_args()
    # Snakemake's arguments begin with its first option, whose values would else be taken for names.
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), rest))
    try:
        done, failed = run(names or read_yaml(ORDER), chosen.minutes, rest[len(names) :] or ["--cores", "all"])
    except InputError as error:
        sys.exit(str(error))
    print(f"ran to the end: {', '.join(done) or 'nothing'}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; results/logs/ and the words above say why")


if __name__ == "__main__":
    main()
