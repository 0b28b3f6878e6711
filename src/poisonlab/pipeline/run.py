"""Run Snakemake so that the same command works again after a kill: ``python -m poisonlab.pipeline.run [arguments]``.

The arguments are Snakemake's. A run holds a lock of its own on the working directory; a second run there is refused
and changes nothing. Snakemake's own lock stays behind when Snakemake is killed. It is removed when no Snakemake works
in the directory, however it was started: each shows that it is there by a second lock, see `work_here`. The kernel
releases both locks when their process ends.
"""

import contextlib
import difflib
import fcntl
import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from poisonlab.errors import InputError
from poisonlab.pipeline.forks import run_scripts_as_forks

SECONDS_TO_LET_GO = 2.0  # a run that was killed a moment ago may hold its locks until the system has cleared it away
PRESENCE = Path(".snakemake", "poisonlab.lock")  # held by every Snakemake that works in a directory
_held: list[int] = []  # descriptors that stay open until this process ends


def work_here() -> None:
    """Show that a Snakemake works in the current directory, until this process ends.

    The Snakefile calls it, in the main process alone, and thus before Snakemake takes its own lock. Does nothing where
    the directory cannot be written: no Snakemake has left a lock there.
    """
    with contextlib.suppress(OSError):
        PRESENCE.parent.mkdir(exist_ok=True)
        _held.append(os.open(PRESENCE, os.O_RDWR | os.O_CREAT, 0o644))
        # Waits for a run that just now removes a stale lock.
        fcntl.flock(_held[-1], fcntl.LOCK_SH)


def _lock(file: Path, directory: Path) -> int:
    """Lock a file in a working directory until its descriptor, which is returned, is closed or this process ends.

    Raises:
        InputError: another process holds the lock, or the file cannot be written.
    """
    end = time.monotonic() + SECONDS_TO_LET_GO
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise InputError(f"another run works in '{directory}'; wait for it or stop it") from None
                time.sleep(0.05)
            else:
                return descriptor
    except OSError as error:
        raise InputError(
            f"{file.parent.name} folder '{file.parent}' cannot be written ({error.strerror}); "
            "make it a folder that you may write to"
        ) from error


def parsed(arguments: list[str]) -> Any:
    """What Snakemake makes of arguments and its profile; None of wrong ones, or of a question such as --version."""
    from snakemake.cli import parse_args

    silent = io.StringIO()  # Snakemake parses the arguments again, and says then what there is to say
    try:
        with contextlib.redirect_stdout(silent), contextlib.redirect_stderr(silent):
            return parse_args(arguments)[1]
    except SystemExit:
        return None


def check_files(files: Sequence[Path]) -> None:
    """Refuse configuration files that are not there, and targets that Snakemake would take for some.

    Raises:
        InputError: for the first of them.
    """
    for file in files:
        if file.suffix not in (".yaml", ".yml", ".json"):
            raise InputError(
                f"'{file}' stands behind --configfile, which takes every word that follows for a configuration file "
                "(.yaml, .yml, .json); put targets first"
            )
        if not file.is_file():
            there = {str(one) for folder in {file.parent, Path("config")} for one in folder.glob(f"*{file.suffix}")}
            near = difflib.get_close_matches(str(file), sorted(there), 1)
            hint = f"did you mean '{near[0]}'? " if near else ""
            raise InputError(f"configuration file '{file}' does not exist; {hint}correct its path or leave it out")


def _with_progress(arguments: list[str], given: Any) -> list[str]:
    """Arguments with a bar in a terminal, where they ask for no other logger and for work; a log gets plain lines."""
    if given is None or given.logger or given.quiet or given.dryrun or not sys.stderr.isatty():
        return arguments
    return [*arguments, "--logger", "poisonlab"]


def _without_looks(arguments: list[str], given: Any) -> list[str]:
    """Arguments with a limit of jobs per hour that no run on this machine reaches, unless they have one.

    After every look for work Snakemake looks again when the time of that limit is over. Each look brings the next, and
    each job that ends one more, until it does nothing else: of a run of 275 jobs that took a quarter of a core.
    """
    there = any(argument.startswith("--max-jobs-per") for argument in arguments)
    if given is None or there or given.executor not in (None, "local"):
        return arguments
    return [*arguments, "--max-jobs-per-timespan", "1000000/1h"]


def _remove_stale_lock(directory: Path) -> None:
    """Remove the lock that a killed Snakemake has left behind.

    Raises:
        InputError: a Snakemake works there.
    """
    locks = directory / ".snakemake" / "locks"
    if locks.is_dir() and any(locks.iterdir()):
        presence = _lock(directory / PRESENCE, directory)
        shutil.rmtree(locks)
        os.close(presence)


def main(arguments: list[str]) -> int:
    """Take the lock, remove Snakemake's stale one, run; return Snakemake's exit status.

    Snakemake runs in this process, so that signals reach it and the lock is held as long as it works.
    """
    from snakemake import cli

    given = parsed(arguments)
    directory = Path((given and given.directory) or ".").absolute()
    try:
        check_files((given and given.configfile) or [])
        _held.append(_lock(directory / "results" / ".lock", directory))
        _remove_stale_lock(directory)
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    arguments = _without_looks(_with_progress(arguments, given), given)
    run_scripts_as_forks()
    sys.argv = [str(Path(cli.__file__).with_name("__main__.py")), *arguments]
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        for thread in threading.enumerate():
            if isinstance(thread, threading.Timer):
                thread.cancel()  # the next looks for work, which this process would wait for
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
