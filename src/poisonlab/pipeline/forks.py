"""Jobs that begin as copies of a process which has imported torch already.

Snakemake starts a new Python for each script. To import torch there takes two seconds of a core, more than most jobs of
a small run work. Here Python's own fork server imports it once, and jobs are forks of that server: each begins with
nothing of another job, and what it does to its memory stays its own. The first few jobs of a run start a new Python:
most of them need no torch, and a run of no more jobs needs no server.
"""

import contextlib
import ctypes
import itertools
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

# In this order: `jobs` sets the number of threads before torch is imported.
IMPORTED = ["poisonlab.pipeline.jobs", "torch", "poisonlab.results.storage", "poisonlab.victims.chunk", "poisonlab.cli",
            "snakemake.logging", "snakemake.iocontainers"]  # fmt: skip
FEW = 3  # jobs that start a new Python before the server is worth its start
_one_at_a_time = threading.Lock()  # of Snakemake's threads: what starts and collects processes is made for one


def run_scripts_as_forks() -> None:
    """Let this process's Snakemake run the package's scripts as forks of one server, which starts with the first fork.

    Snakemake starts a new Python, as ever, for the first few jobs, for other people's scripts, for those with an
    environment or a container of their own, where the server does not answer, and on any system but Linux, where forks
    are not safe.
    """
    from snakemake.script import PythonScript

    if sys.platform != "linux":
        return
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(IMPORTED)
    os.environ["PYTHONSAFEPATH"] = "1"  # no file of the working directory takes the place of a library in the server
    in_new_python = PythonScript.execute_script
    number = itertools.count(1)

    def execute_script(script: Any, file: str, edit: bool = False) -> None:
        if not _is_ours(script) or next(number) <= FEW:
            in_new_python(script, file, edit)
            return
        process = server.Process(target=_run, args=(file, script.rulename, script.resources.get("tmpdir")))
        try:
            with _one_at_a_time:
                process.start()
        except (OSError, EOFError):
            in_new_python(script, file, edit)
            return
        _wait(process, script.bench_record)
        if process.exitcode:
            raise subprocess.CalledProcessError(process.exitcode, file)

    PythonScript.execute_script = execute_script


def _is_ours(script: Any) -> bool:
    elsewhere = script.conda_env or script.container_img or script.env_modules
    return "from poisonlab.pipeline.jobs import" in script.source and not elsewhere


def _run(file: str, rule: str, temporary: str | None) -> None:
    """Be a Python that was started with this file, as Snakemake would start it; `top` shows it by its rule."""
    import numpy as np

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: whoever kills the server kills its jobs
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(rule)
    multiprocessing.set_start_method(None, force=True)
    sys.argv = [file]
    here = os.getcwd()
    sys.path[:] = [*(path for path in sys.path if path not in ("", here)), here]
    if temporary:
        os.environ["TMPDIR"] = temporary
    np.random.seed()  # noqa: NPY002 - numpy's global numbers, should an own part draw some: else every job draws the same
    runpy.run_path(file, run_name="__main__")


def _wait(process: Any, record: Any) -> None:
    """Wait until a process has ended; Snakemake's record of it, unless it is None, is kept meanwhile."""
    import psutil
    from snakemake.benchmark import benchmarked

    try:
        with benchmarked(process.pid if record else False, record):
            wait([process.sentinel])
    except psutil.NoSuchProcess:  # it ended before its record could begin
        record.running_time, record.process_gone = 0.0, True
    with _one_at_a_time:
        process.join()
