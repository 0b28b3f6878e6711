"""Two runs never work in one folder; a killed one does not keep the next away; a stopped one ends its jobs first."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import SMOKE, TIMEOUT, Checkout, wait_for_a_job

from poisonlab.errors import InputError
from poisonlab.pipeline import run as runs

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "pidfd_open"), reason="the tests look at processes as Linux shows them"
)

TABLES = ("tables", *SMOKE)
DATA = ("results/data/digits01.safetensors", *SMOKE)  # one short job


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def locks(folder: Path) -> list[Path]:
    return list((folder / ".snakemake" / "locks").glob("*"))


def expect_refusal(checkout: Checkout, *arguments: str) -> None:
    done = checkout.run(*arguments)
    assert done.returncode == 1
    assert done.stdout == f"another run works in '{checkout.folder}'; wait for it or stop it\n"


# ------------------------------------------------------------------------------------------------ at work


def test_a_second_run_in_the_same_folder_is_refused_and_changes_nothing(checkout: Checkout):
    run = checkout.start(*TABLES)
    wait_for_a_job(run, checkout)
    checkout.pause(run)  # so that whatever changes now is the second run's work
    before = everything(checkout.folder)
    expect_refusal(checkout, *TABLES)
    assert everything(checkout.folder) == before
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(TIMEOUT)
    checkout.expect_only_the_dead()


def test_a_plain_snakemake_at_work_keeps_its_lock_and_its_stale_lock_is_removed(checkout: Checkout):
    plain = checkout.start(*DATA, module="snakemake")
    wait_for_a_job(plain, checkout)
    checkout.pause(plain)
    before = everything(checkout.folder)
    expect_refusal(checkout, *DATA)
    after = everything(checkout.folder)
    assert after.pop(f"{checkout.folder}/results/.lock")  # of the run that was refused
    assert after == before
    assert locks(checkout.folder)

    os.killpg(plain.pid, signal.SIGCONT)
    os.kill(plain.pid, signal.SIGKILL)
    plain.wait(TIMEOUT)
    checkout.expect_only_the_dead()
    assert locks(checkout.folder)
    done = checkout.run(*DATA)
    assert done.returncode == 0, done.stdout
    assert not locks(checkout.folder)


PLACE = """
import os, sys, time
os.chdir(sys.argv[1])
from poisonlab.pipeline.run import work_here
work_here()
print("here", flush=True)
time.sleep(60)
"""


def test_a_stale_lock_stays_while_anyone_works_in_the_folder_and_goes_with_the_last(tmp_path: Path):
    stale = tmp_path / ".snakemake" / "locks" / "0.output.lock"
    stale.parent.mkdir(parents=True)
    stale.touch()
    others = [
        subprocess.Popen([sys.executable, "-c", PLACE, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for other in others:
        assert other.stdout is not None
        assert other.stdout.readline() == "here\n"
    for other in others:
        with pytest.raises(InputError, match=f"another run works in '{tmp_path}'"):
            runs._remove_stale_lock(tmp_path)
        assert stale.exists()
        other.kill()
        other.communicate()
    runs._remove_stale_lock(tmp_path)
    assert not stale.exists()


# ------------------------------------------------------------------------------------------------ killed and stopped


@pytest.mark.parametrize("arguments", [(), ("-d", "elsewhere")])
def test_the_same_command_works_again_after_a_kill_wherever_it_works(checkout: Checkout, arguments: tuple[str, ...]):
    there = Checkout(checkout.folder / "elsewhere" if arguments else checkout.folder)
    there.folder.mkdir(exist_ok=True)
    run = checkout.start(*DATA, *arguments)
    wait_for_a_job(run, there)
    there.pause(run)
    refused = checkout.run(*DATA, *arguments)
    assert refused.stdout == f"another run works in '{there.folder}'; wait for it or stop it\n"
    os.killpg(run.pid, signal.SIGKILL)
    run.wait(TIMEOUT)
    there.expect_only_the_dead()
    assert locks(there.folder)
    done = checkout.run(*DATA, *arguments)
    assert done.returncode == 0, done.stdout
    assert (there.folder / DATA[0]).is_file()
    assert not locks(there.folder)


def test_an_interrupted_run_ends_its_jobs_and_unlocks(checkout: Checkout):
    run = checkout.start(*TABLES)
    wait_for_a_job(run, checkout)
    os.killpg(run.pid, signal.SIGINT)  # as a terminal does at Ctrl-C
    assert run.wait(TIMEOUT) != 0
    assert "Terminating processes on user request" in (checkout.folder / "run.log").read_text()
    assert not locks(checkout.folder)
    checkout.expect_only_the_dead()


def test_a_terminated_run_starts_no_further_job_and_waits_for_those_at_work(checkout: Checkout):
    run = checkout.start(*TABLES)
    wait_for_a_job(run, checkout)
    os.kill(run.pid, signal.SIGTERM)  # to the run alone, as `kill` does
    assert run.wait(TIMEOUT) != 0
    assert "Will exit after finishing currently running jobs" in (checkout.folder / "run.log").read_text()
    assert not locks(checkout.folder)
    checkout.expect_only_the_dead()
    # Jobs at work were finished: none of them is marked as incomplete.
    assert checkout.results("data")
    assert not list((checkout.folder / ".snakemake" / "incomplete").glob("*"))
