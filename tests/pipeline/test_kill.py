"""A killed run leaves no process behind, and the same command brings the tables that it would have brought."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from checkout import SMOKE, TIMEOUT, Checkout, wait_for_a_job

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "pidfd_open"), reason="jobs see their workflow die on Linux only"
)

TABLES = ("tables", *SMOKE)
DATA = ("digits", "digits01", "toy2", "toy16", "toy64", "toy_nn", "toy64_far", "toy64_near")
PREPARED = (*(f"results/data/{name}.safetensors" for name in DATA), *SMOKE)  # short jobs, more than the first few
FORK = r"^(?!python).*multiprocessing\.forkserver"  # it has the name of its rule and the server's command line


def tables(checkout: Checkout) -> dict[str, bytes]:
    return checkout.content("tables", ".parquet", ".csv")


def kill(run: "subprocess.Popen[str]", what: str) -> None:
    """Kill Snakemake alone, or the whole process group of a run: Snakemake and its jobs."""
    if what == "snakemake":
        os.kill(run.pid, signal.SIGKILL)
    else:
        os.killpg(run.pid, signal.SIGKILL)
    run.wait(TIMEOUT)


def test_kills_at_any_moment_change_nothing_in_the_tables(finished: Checkout, checkout: Checkout):
    moments = random.Random(20)

    def kill_at_random(what: str, latest: float) -> None:
        run, seconds = checkout.start(*TABLES), moments.uniform(1, latest)
        print(f"{what} is killed after {seconds:.2f} s")
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert run.wait(seconds) == 0, (checkout.folder / "run.log").read_text()
            return  # a fast machine was ready before
        kill(run, what)
        checkout.expect_only_the_dead()

    kill_at_random("everything", latest=6)
    kill_at_random("snakemake", latest=6)

    # While victims are trained: as soon as one of a chunk is finished and others are not.
    run = checkout.start(*TABLES)
    while not (unfinished := list(checkout.folder.glob("results/victims/**/*.unfinished"))) and run.poll() is None:
        time.sleep(0.01)
    kill(run, "snakemake")
    checkout.expect_only_the_dead()
    assert unfinished, (checkout.folder / "run.log").read_text()
    # The killed chunk goes on from where it was.
    chunk = unfinished[0].relative_to(checkout.folder).with_suffix("")
    done = checkout.run(str(chunk), *SMOKE)
    assert done.returncode == 0, done.stdout
    name = chunk.relative_to("results/victims").with_suffix(".log")
    log = (checkout.folder / "results/logs/train_victims" / name).read_text()
    assert all(int(had) >= 1 for had in re.findall(r"(\d+) of \d+ victims trained", log))

    kill_at_random("everything", latest=9)
    kill_at_random("snakemake", latest=9)

    done = checkout.run(*TABLES)
    assert done.returncode == 0, done.stdout
    assert len(tables(finished)) >= 10
    assert tables(checkout) == tables(finished)
    assert not list(checkout.folder.glob("results/**/*.unfinished"))


def test_a_job_that_is_only_just_starting_dies_with_snakemake_as_well(checkout: Checkout):
    # Snakemake is gone before it can watch it.
    run = checkout.start(*TABLES)
    while not list(checkout.folder.glob(".snakemake/scripts/*.py")):
        assert run.poll() is None, "the run has ended"
        time.sleep(0.01)
    os.kill(run.pid, signal.SIGKILL)
    run.wait(TIMEOUT)
    checkout.expect_only_the_dead()
    assert checkout.results("data") == {}  # an orphan would have written the first job's output


def test_a_server_that_is_only_just_starting_dies_with_snakemake_as_well(checkout: Checkout):
    run = checkout.start(*PREPARED)
    wait_for_a_job(run, checkout, r"multiprocessing\.forkserver")
    os.kill(run.pid, signal.SIGKILL)
    run.wait(TIMEOUT)
    checkout.expect_only_the_dead()


def test_a_job_whose_server_is_killed_is_run_again_by_the_same_command(checkout: Checkout):
    run = checkout.start(*PREPARED)
    while not (forks := [pid for pid, process in checkout.processes().items() if re.search(FORK, process)]):
        os.killpg(run.pid, signal.SIGCONT)
        wait_for_a_job(run, checkout, FORK)
        checkout.pause(run)  # else they may end before their server is killed
    server = min(pid for pid, process in checkout.processes().items() if "multiprocessing.forkserver" in process)
    assert server not in forks
    os.kill(server, signal.SIGKILL)
    os.killpg(run.pid, signal.SIGCONT)
    assert run.wait(TIMEOUT) == 1
    checkout.expect_only_the_dead()
    assert "Error in rule prepare_data:" in (checkout.folder / "run.log").read_text()
    done = checkout.run(*PREPARED)
    assert done.returncode == 0, done.stdout
