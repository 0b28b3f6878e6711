"""Jobs that begin as copies of a process which has imported torch already.

Snakemake starts a new Python for each script. To import torch there takes two seconds of a core, more than most jobs of
a small run work. Here Python's own fork server imports it once, and each job is a fork of that server: it begins with
nothing of another job, and what it does to its memory stays its own.
"""

import multiprocessing
import os
import runpy
import subprocess
from typing import Any

# In this order: `jobs` sets the number of threads before torch is imported.
IMPORTED = ["poisonlab.pipeline.jobs", "torch", "poisonlab.results.storage", "poisonlab.victims.chunk"]


def run_scripts_as_forks() -> None:
    """Let this process's Snakemake run Python scripts as forks of one server, which starts with the first of them.

    Scripts with an environment or a container of their own are left to Snakemake.
    """
    from snakemake.script import PythonScript

    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(IMPORTED)
    in_new_python = PythonScript.execute_script

    def execute_script(script: Any, file: str, edit: bool = False) -> None:
        if script.conda_env or script.container_img or script.env_modules:
            in_new_python(script, file, edit)
            return
        process = server.Process(target=_run, args=(file, script.resources.get("tmpdir")))
        process.start()
        _wait(process, script.bench_record)
        if process.exitcode:
            raise subprocess.CalledProcessError(process.exitcode, file)

    PythonScript.execute_script = execute_script


def _run(file: str, temporary: str | None) -> None:
    """Be a Python that was started with this file, as Snakemake would start it."""
    import numpy as np

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
            process.join()
    except psutil.NoSuchProcess:  # it ended before its record could begin
        process.join()
