"""A copy of the repository's source in a folder of its own, in which the pipeline runs as it does for a person."""

import contextlib
import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = ("Snakefile", "config.yaml", "config", "profiles", "studies", "workflow", "src", "tests/config", "archive")
SMOKE = ("--configfile", "tests/config/smoke.yaml")
EXPERIMENT = "label_noise/digits01_0to1"  # the one that the smoke configuration runs
VICTIMS = "digits01"  # its victims
# A fork has the name of its rule, a new Python that of its script.
JOB = r"(fetch|prepare)_data: |\.snakemake/scripts/"
ONE_OF_MANY = re.compile(r"_label_noise_\d+")  # ending of a rule that is made in a loop
SECONDS_TO_STOP = 60.0
# A job learns of Snakemake's death at once, but it may need a moment to be scheduled on a busy machine.
SECONDS_TO_DIE = 8.0
TIMEOUT = 540.0  # seconds: a run takes about one minute, and other work may share the machine


def write_config(folder: Path, content: object) -> str:
    """Write a configuration to lay over the others (JSON is YAML) and return its name."""
    file = folder / "overlay.yaml"
    file.write_text(json.dumps(content))
    return str(file)


@dataclass(frozen=True)
class Checkout:
    """A folder with the repository's source, and with the results of what ran there."""

    folder: Path

    @staticmethod
    def create(folder: Path) -> "Checkout":
        """Copy the source of this repository, nothing that a run has made, into `folder`."""
        for name in SOURCE:
            source, target = REPOSITORY / name, folder / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
            elif source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        return Checkout(folder)

    def copy(self, folder: Path) -> "Checkout":
        """Copy everything, results and Snakemake's memory of them included; times of modification are kept."""
        shutil.copytree(self.folder, folder, symlinks=True)
        return Checkout(folder)

    # ------------------------------------------------------------------------------------------------ running

    def environment(self, **changes: str) -> dict[str, str]:
        """The environment of this process, but with the package of this copy and without settings of Snakemake."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SNAKEMAKE_", "POISONLAB_"))}
        return {**kept, "PYTHONPATH": str(self.folder / "src"), **changes}

    def start(self, *arguments: str, module: str = "poisonlab.pipeline.run") -> subprocess.Popen[str]:
        """Start `python -m <module>` on two cores in a process group of its own; its output goes to `run.log`."""
        with open(self.folder / "run.log", "a") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments, "--cores", "2"],
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                text=True,
            )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `python -m poisonlab.pipeline.run` on two cores and wait for it; stdout holds stderr, too."""
        return self._run("poisonlab.pipeline.run", *arguments, "--cores", "2", **environment)

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run plain Snakemake and wait for it; stdout holds stderr, too."""
        return self._run("snakemake", *arguments, **environment)

    def _run(self, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=self.environment(**environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def stale(self, *arguments: str) -> dict[str, set[str]]:
        """What a run of the smoke configuration would make now: rule → its files that are missing or would be made again.

        Rules that are made in a loop go by one name: `craft`, `draw_figures`. Runs nothing. This is
        Snakemake's own table, one line per file; its last column says what the plan is.
        """
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", *SMOKE, *arguments, "--summary"],
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        files: dict[str, set[str]] = {}
        for row in csv.DictReader(done.stdout.splitlines(), delimiter="\t"):
            if row["plan"] != "no update":
                files.setdefault(ONE_OF_MANY.sub("", row["rule"]), set()).add(row["output_file"])
        return files

    # ------------------------------------------------------------------------------------------------ looking and editing

    def results(self, *folders: str) -> dict[str, tuple[int, int]]:
        """Size and time of modification of every result by its name; logs do not count as results."""
        chosen = [self.folder / "results" / name for name in folders] or [self.folder / "results"]
        files = (file for folder in chosen for file in folder.rglob("*") if file.is_file())
        states = {str(file.relative_to(self.folder)): file.stat() for file in files}
        return {
            name: (state.st_size, state.st_mtime_ns)
            for name, state in states.items()
            if not name.startswith("results/logs/")
        }

    def content(self, folder: str, *suffixes: str) -> dict[str, bytes]:
        """Bytes of the files under results/`folder` that end so."""
        root = self.folder / "results" / folder
        return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.suffix in suffixes}

    @contextlib.contextmanager
    def edited(self, file: str, old: str, new: str) -> Iterator[None]:
        """Replace the first `old` of a file by `new` for a while."""
        path = self.folder / file
        text = path.read_text()
        assert old in text, f"{file} has changed; adapt this test"
        path.write_text(text.replace(old, new, 1))
        try:
            yield
        finally:
            path.write_text(text)

    # ------------------------------------------------------------------------------------------------ processes (Linux)

    def processes(self) -> dict[int, str]:
        """Name and command line, by process id, of everything that works in this folder; the dead are not listed."""
        found = {}
        for entry in Path("/proc").iterdir():
            # A process may end while it is looked at.
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "cwd") == str(self.folder):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = f"{(entry / 'comm').read_text().strip()}: {command}"
        return found

    def pause(self, run: "subprocess.Popen[str]") -> None:
        """Stop the process group of a run and return once everything that works in this folder stands still.

        SIGSTOP returns at once; a thread that is inside a system call finishes it first.
        """
        os.killpg(run.pid, signal.SIGSTOP)
        end = time.monotonic() + SECONDS_TO_STOP
        while moving := [pid for pid in self.processes() if not _stands_still(pid)]:
            assert time.monotonic() < end, f"not stopped after {SECONDS_TO_STOP:g} s: {moving}"
            time.sleep(0.05)

    def wait_until_nobody_works_here(self, seconds: float) -> dict[int, str]:
        """Return the processes that are still there after `seconds`, or nothing as soon as there is none."""
        end = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def expect_only_the_dead(self) -> None:
        """Fail where something still works in this folder a while after a kill."""
        left = self.wait_until_nobody_works_here(SECONDS_TO_DIE)
        assert not left, f"still there {SECONDS_TO_DIE:g} s after the kill: {left}"


def wait_for_a_job(run: "subprocess.Popen[str]", checkout: Checkout, named: str = JOB) -> None:
    """Return as soon as a process of a run has such a name or command: by default the first job of one that has nothing yet."""
    while not any(re.search(named, process) for process in checkout.processes().values()):
        assert run.poll() is None, "the run has ended"
        time.sleep(0.01)


def _stands_still(pid: int) -> bool:
    """Whether every thread of a process is stopped, or waits for a child that was stopped between vfork and exec (D)."""
    try:
        stats = [(task / "stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return False  # it ends just now
    return {stat.rpartition(")")[2].split()[0] for stat in stats} <= {"T", "D"}


NewCheckout = Callable[[], Checkout]
