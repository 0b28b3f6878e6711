"""What every job of the pipeline does around its one function: a log, one thread, no orphans, errors in one line."""

import contextlib
import ctypes
import gc
import hashlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from poisonlab.errors import InputError

# One thread a job: two OpenMP threads collapse as soon as anything else runs, and with one thread results do not depend
# on `--cores`.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

SECONDS_BETWEEN_LINES = 5.0
# Python's 700 looks through all that torch defines 100 times while it is imported: a tenth of a second.
OBJECTS_BETWEEN_COLLECTIONS = 10_000
_WORKFLOW = "POISONLAB_WORKFLOW"  # environment variable: the process that jobs must not outlive


def jobs_die_with_this_process() -> None:
    """Name this process as the one that its jobs must not outlive: Snakemake, on a cluster the job step's Snakemake."""
    os.environ[_WORKFLOW] = str(os.getpid())


def die_with_parent() -> None:
    """End this process when Snakemake is killed, so that a killed run leaves no job behind that still writes.

    Snakemake's process id comes through the environment: the parent may be a shell that survives, or, where Snakemake
    was killed while this job was starting, already the process that adopts orphans. A thread waits on Snakemake's
    process descriptor. Does nothing where the kernel has none (Linux before 5.3, other systems).
    """
    if _WORKFLOW not in os.environ or not hasattr(os, "pidfd_open"):
        return
    try:
        descriptor = os.pidfd_open(int(os.environ[_WORKFLOW]))
    except ProcessLookupError:
        os._exit(1)
    except OSError:
        return

    def wait() -> None:
        import select

        select.select([descriptor], [], [])
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def keep_freed_memory() -> bool:
    """Let glibc's allocator keep what is freed; returns whether it does.

    By default glibc returns each activation map to the kernel and requests it again, page by page, in the next step.
    That cost a third of a victim's training time. Does nothing where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    trim_threshold, mmap_threshold = -1, -3  # names in malloc.h: M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
    largest_mmap_threshold = 32 << 20  # that glibc takes on 64 bit; larger blocks still come from the kernel
    return bool(mallopt(mmap_threshold, largest_mmap_threshold) and mallopt(trim_threshold, 2**31 - 1))


def numbers(span: str) -> range:
    """Read a range out of a file name: "0-7" is 0 … 7."""
    first, last = map(int, span.split("-"))
    return range(first, last + 1)


def grouped(names: Sequence[str], files: Sequence[str]) -> dict[str, list[str]]:
    """Divide files among names, the same number to each, in their order."""
    each = len(files) // len(names)
    return {name: list(files[position * each : (position + 1) * each]) for position, name in enumerate(names)}


def version(snakemake: Any) -> str:
    """Hash of all that a job's result depends on, for the `workspace` of its checkpoints.

    Rule, wildcards and parameters, which hold the version of the code; input files by their size and time of change.
    """
    inputs = [(str(file), state.st_size, state.st_mtime_ns) for file in snakemake.input if (state := Path(file).stat())]
    facts = [snakemake.rule, dict(snakemake.wildcards.items()), dict(snakemake.params.items()), inputs]
    return hashlib.blake2b(json.dumps(facts, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


@contextlib.contextmanager
def job(snakemake: Any) -> Iterator[Callable[[str], None]]:
    """Run a job's body: yields a function that writes a progress line to the job's log, one every few seconds at most.

    An `InputError` ends the job with its one line on the terminal and in the log; any other error also puts its
    traceback into the log. A job that takes long keeps checkpoints in a `results.storage.workspace`.

    A job that is done ends its process, without the half second that Python takes to clear torch away.
    """
    die_with_parent()
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    keep_freed_memory()
    # Snakemake's command line gives false as a word.
    if str(snakemake.config.get("kernels", True)).lower() == "false":
        os.environ["POISONLAB_KERNELS"] = "off"
    last = 0.0
    with open(snakemake.log[0], "w", buffering=1) as log:
        # Warnings and messages of libraries belong to the job's log, not between Snakemake's lines.
        stderr, sys.stderr = sys.stderr, log
        stdout, sys.stdout = sys.stdout, log

        def progress(line: str) -> None:
            nonlocal last
            if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                print(f"{time.strftime('%H:%M:%S')} {line}", file=log)

        try:
            yield progress
        except InputError as error:
            print(error, file=log)
            print(f"{snakemake.rule}: {error}", file=stderr)
            raise SystemExit(1) from None
        except Exception as error:
            traceback.print_exc(file=log)
            print(f"{snakemake.rule}: {type(error).__name__}: {error} (traceback in {snakemake.log[0]})", file=stderr)
            raise SystemExit(1) from None
        finally:
            sys.stderr, sys.stdout = stderr, stdout
    stdout.flush()
    stderr.flush()
    os._exit(0)
