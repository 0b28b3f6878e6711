"""Run Snakemake so that the same command works again after a kill: ``python -m poisonlab.pipeline.run [Snakemake's arguments]``.

The run holds a lock of its own on the folder, which the kernel releases when the run dies. Only under it a stale lock that a killed
Snakemake left behind is removed; a second run in the same folder is refused and changes nothing.
"""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from poisonlab.errors import InputError

SECONDS_TO_LET_GO = 2.0  # a run that was killed a moment ago may hold the lock until the system has cleared it away


def _take_lock(folder: Path) -> int:
    """Lock `folder` until this process ends and return the descriptor.

    Raises:
        InputError: another run holds the lock, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise InputError(
            f"results folder '{folder.absolute()}' cannot be written ({error.strerror}); make it a folder that you may write to"
        ) from error
    end = time.monotonic() + SECONDS_TO_LET_GO
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end:
                raise InputError(f"another run works in '{folder.absolute()}'; wait for it or stop it") from None
            time.sleep(0.05)
        else:
            return descriptor


def main(arguments: list[str]) -> int:
    """Take the lock, release Snakemake's stale one, run; return Snakemake's exit status."""
    try:
        lock = _take_lock(Path("results"))
    except InputError as error:
        print(error, file=sys.stderr)
        return 1
    snakemake = [sys.executable, "-m", "snakemake"]
    if any(Path(".snakemake/locks").glob("*")):
        unlocked = subprocess.run([*snakemake, *arguments, "--unlock"], check=False)
        if unlocked.returncode:
            return unlocked.returncode
    # Ctrl-C reaches Snakemake as well, which ends its jobs, on a cluster too; this process waits until it has. A handler is not inherited.
    signal.signal(signal.SIGINT, lambda *_: None)
    # The lock's descriptor goes on to Snakemake: if only this parent is killed, the run below still holds it.
    return subprocess.run([*snakemake, *arguments], pass_fds=(lock,), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
