"""The default run and the published one, as Snakemake plans them. All dry-runs, in a checkout in which nothing has run."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from checkout import Checkout

PUBLISHED = ("--configfile", "config/published.yaml")
TARGETS = {"all", "tables", "figures", "scorecard", "pages", "thesis_figures"}  # rules without a job of their own
ON_GPU = {
    "train_proxy",
    "score_colouring",
    "train_victims",
    "trace_paths",
    "find_label_issues",
    "evaluate_robustness",
    "probe_victims",
    "attack_proxies",
    "extract_features",
    "map_decisions",
}


@dataclass
class PlannedJob:
    """What a dry-run says of a job."""

    rule: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def resources(self) -> dict[str, str]:
        """Name → value."""
        return dict(entry.split("=", 1) for entry in self.fields.get("resources", "").split(", ") if entry)


def planned(output: str) -> list[PlannedJob]:
    """Jobs of a dry-run's output: a line `rule name:`, then a line `    field: value` for each thing that is known."""
    jobs: list[PlannedJob] = []
    for line in output.splitlines():
        if heading := re.fullmatch(r"(?:local)?rule (\w+):", line):
            jobs.append(PlannedJob(heading[1]))
        elif jobs and (entry := re.fullmatch(r"    (\w+): (.*)", line)):
            jobs[-1].fields.setdefault(entry[1], entry[2])
    return jobs


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout.create(tmp_path_factory.mktemp("planned").resolve())


@pytest.fixture(scope="module")
def no_torch(tmp_path_factory: pytest.TempPathFactory, checkout: Checkout) -> str:
    """A PYTHONPATH on which `import torch` is an error."""
    folder = tmp_path_factory.mktemp("no-torch")
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text("raise RuntimeError('torch is imported while the DAG is built')\n")
    return os.pathsep.join([str(folder), str(checkout.folder / "src")])


def dry_run(checkout: Checkout, no_torch: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = checkout.snakemake(*arguments, "--dry-run", PYTHONPATH=no_torch)
    assert done.returncode == 0, done.stdout
    return done


@pytest.fixture(scope="module")
def default_run(checkout: Checkout, no_torch: str) -> list[PlannedJob]:
    return planned(dry_run(checkout, no_torch).stdout)


@pytest.fixture(scope="module")
def every_rule(checkout: Checkout, no_torch: str) -> list[PlannedJob]:
    """Jobs of the published run on a GPU and of its archiving: with a data set to fetch they are jobs of every rule."""
    done = dry_run(checkout, no_torch, "all", "archive", *PUBLISHED, "--config", "device=cuda")
    jobs = planned(done.stdout)
    text = "".join(file.read_text() for file in (checkout.folder / "workflow" / "rules").glob("*.smk"))
    assert {job.rule for job in jobs} | TARGETS == set(re.findall(r"^rule (\w+):", text, re.MULTILINE)) | {"all"}
    return [job for job in jobs if job.rule not in TARGETS]


def test_the_trap_for_torch_works(checkout: Checkout, no_torch: str):
    command, environment = [sys.executable, "-c", "import torch"], checkout.environment(PYTHONPATH=no_torch)
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "torch is imported while the DAG is built" in failed.stderr


def test_the_default_run_has_at_most_200_jobs(default_run: list[PlannedJob]):
    # A job costs 2 to 4 s before it does anything.
    assert 50 < len(default_run) <= 200


def test_planning_the_default_run_takes_less_than_five_times_what_importing_snakemake_takes(
    checkout: Checkout, no_torch: str
):
    # Processor time and not time on the clock, and the better of two, because other work may share the machine; next to what
    # Snakemake itself takes, because machines differ. It takes 2.5 to 3 times that, about 4 s where importing takes 1.5 s.
    def seconds(work: Callable[[], object]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        work()
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    def start() -> None:
        subprocess.run([sys.executable, "-c", "import snakemake.cli"], check=True)

    planning, importing = zip(
        *[(seconds(lambda: dry_run(checkout, no_torch)), seconds(start)) for _ in range(2)], strict=True
    )
    assert min(planning) < 5 * min(importing)


def test_every_rule_has_a_log_and_asks_for_memory_and_time(every_rule: list[PlannedJob]):
    for job in every_rule:
        assert job.fields["log"].startswith("results/logs/"), job
        assert int(job.resources["mem_mb"]) >= 1000, job
        assert int(job.resources["runtime"]) >= 10, job  # minutes


def test_the_rules_that_train_or_attack_ask_for_one_gpu_and_are_measured(every_rule: list[PlannedJob]):
    assert {job.rule for job in every_rule if job.resources.get("gpu") == "1"} == ON_GPU
    for job in every_rule:
        if job.rule in ON_GPU:
            assert job.fields["benchmark"].startswith("results/benchmarks/"), job


def test_no_rule_asks_for_a_gpu_where_none_is_configured(default_run: list[PlannedJob]):
    assert {job.resources.get("gpu", "0") for job in default_run} == {"0"}


def test_jobs_write_no_file_twice(default_run: list[PlannedJob], every_rule: list[PlannedJob]):
    for jobs in (default_run, every_rule):
        written = [name for job in jobs for name in job.fields.get("output", "").split(", ") if name]
        assert len(written) == len(set(written))
        logs = [job.fields["log"] for job in jobs if "log" in job.fields]
        assert len(logs) == len(set(logs))


def test_the_published_run_fetches_its_data_when_no_mirror_is_set(every_rule: list[PlannedJob]):
    fetched = [Path(job.fields["output"]).name for job in every_rule if job.rule == "fetch_data"]
    assert fetched == ["mnist"]
