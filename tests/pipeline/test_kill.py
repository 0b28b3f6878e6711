"""A killed run leaves no process behind, and the same command brings the tables that it would have brought."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import SMOKE, TIMEOUT, Checkout, NewCheckout

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "pidfd_open"), reason="jobs see their workflow die on Linux only"
)

TABLES = ("tables", *SMOKE)
# A job learns of Snakemake's death at once, but it may need a moment to be scheduled on a busy machine.
SECONDS_TO_DIE = 8.0


@pytest.fixture
def checkout(new_checkout: NewCheckout) -> Iterator[Checkout]:
    """A checkout in which nothing has run; whatever a failed test leaves running there is ended."""
    fresh = new_checkout()
    yield fresh
    for pid in fresh.processes():
        os.kill(pid, signal.SIGKILL)


def snakemake_of(run: "subprocess.Popen[str]") -> int | None:
    """Process id of the Snakemake that a run has started, None while there is none."""
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    return int(children[0]) if children else None


def wait_for_snakemake(run: "subprocess.Popen[str]") -> int:
    while (pid := snakemake_of(run)) is None:
        assert run.poll() is None, "the run has ended"
        time.sleep(0.02)
    return pid


def wait_for_a_job(run: "subprocess.Popen[str]", checkout: Checkout) -> None:
    while not any(".snakemake/scripts" in command for command in checkout.processes().values()):
        assert run.poll() is None, (checkout.folder / "run.log").read_text()
        time.sleep(0.01)


def tables(checkout: Checkout) -> dict[str, bytes]:
    return checkout.content("tables", ".parquet", ".csv")


def expect_only_the_dead(checkout: Checkout) -> None:
    left = checkout.wait_until_nobody_works_here(SECONDS_TO_DIE)
    assert not left, f"still there {SECONDS_TO_DIE:g} s after the kill: {left}"


def kill(run: "subprocess.Popen[str]", what: str) -> None:
    """Kill Snakemake alone, or the whole process group of a run: itself, Snakemake and the jobs."""
    if what == "snakemake":
        os.kill(wait_for_snakemake(run), signal.SIGKILL)
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
        expect_only_the_dead(checkout)

    kill_at_random("everything", latest=6)
    kill_at_random("snakemake", latest=6)

    # While victims are trained: as soon as one of a chunk is finished and others are not.
    run = checkout.start(*TABLES)
    while not (unfinished := list(checkout.folder.glob("results/victims/**/*.unfinished"))) and run.poll() is None:
        time.sleep(0.01)
    kill(run, "snakemake")
    expect_only_the_dead(checkout)
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


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(checkout: Checkout):
    def everything() -> dict[str, tuple[int, int]]:
        files = [file for file in checkout.folder.rglob("*") if file.is_file()]
        return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}

    def expect_refusal() -> None:
        done = checkout.run(*TABLES)
        assert done.returncode == 1
        assert done.stdout == f"another run works in '{checkout.folder}/results'; wait for it or stop it\n"

    run = checkout.start(*TABLES)
    wait_for_snakemake(run)
    wait_for_a_job(run, checkout)
    checkout.pause(run)  # so that whatever changes now is the second run's work
    before = everything()
    expect_refusal()
    assert everything() == before
    os.killpg(run.pid, signal.SIGCONT)

    # Without its parent, Snakemake goes on, and still holds the folder.
    snakemake = wait_for_snakemake(run)
    os.kill(run.pid, signal.SIGKILL)
    run.wait(TIMEOUT)
    assert snakemake in checkout.processes()
    expect_refusal()
    os.kill(snakemake, signal.SIGKILL)
    expect_only_the_dead(checkout)


def test_a_job_that_is_only_just_starting_dies_with_snakemake_as_well(checkout: Checkout):
    # It has imported nothing yet, and Snakemake is gone before it can watch it.
    run = checkout.start(*TABLES)
    snakemake = wait_for_snakemake(run)
    wait_for_a_job(run, checkout)
    os.kill(snakemake, signal.SIGKILL)
    run.wait(TIMEOUT)
    expect_only_the_dead(checkout)
    assert checkout.results("data") == {}  # an orphan would have written the first job's output


def test_an_interrupted_run_waits_for_snakemake_to_end_its_jobs_and_to_unlock(checkout: Checkout):
    run = checkout.start(*TABLES)
    snakemake = wait_for_snakemake(run)
    wait_for_a_job(run, checkout)
    os.kill(snakemake, signal.SIGSTOP)  # slow to end, as with the jobs of a cluster
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
    time.sleep(1)  # subprocess.run by itself waits a quarter of a second, then it kills
    assert run.poll() is None
    assert snakemake in checkout.processes()
    os.kill(snakemake, signal.SIGCONT)
    assert run.wait(TIMEOUT) != 0
    assert "Terminating processes on user request" in (checkout.folder / "run.log").read_text()
    assert not list((checkout.folder / ".snakemake" / "locks").glob("*"))
    expect_only_the_dead(checkout)
