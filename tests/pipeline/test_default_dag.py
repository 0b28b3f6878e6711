"""The default run and the published one, as Snakemake plans them. All dry-runs, in a checkout in which nothing has run."""

import json
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
ONE_FIGURE = "results/figures/label_noise/fig_4_6b.svg"
TARGETS = {"all", "tables", "figures", "scorecard", "pages", "thesis_figures"}  # rules without a job of their own
ON_GPU = {
    "train_proxy",
    "extract_answers",
    "extract_features",
    "trace_paths",
    "analyse",
    "craft_poison",
    "train_victims",
    "run_multiverse",
    "evaluate_robustness",
    "probe_victims",
    "map_decisions",
    "measure_points",
    "detect_flips",
    "check_victims",
}
ANALYSES_ON_GPU = {"labels", "nets", "colours"}  # last words of their names; the others only count and measure
# A study of one's own, for the one rule that the label-noise study does not use.
SLOW_STUDY = {
    "poisons": {"found": {"dataset": "digits", "strategy": "slow_poisons:slow"}},
    "victims": {"plain": {"model": "small_cnn", "recipe": "once"}},
    "recipes": {"once": {"epochs": 1}},
    "experiments": {"one": {"poisons": ["found"], "victims": ["plain"], "attacks": ["pgd_any"], "draws": 2}},
}
SLOW_STRATEGY = """
from poisonlab.poisons.strategies import strategy


@strategy("slow", alone=True, resources={"gpu": 1})
def slow(request):
    return request.relabel(request.pool()[:1])
"""


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


def defined_rules(checkout: Checkout) -> set[str]:
    """Names of the rules as the .smk files have them; a rule that is made in a loop by the beginning of its names."""
    text = "".join(file.read_text() for file in (checkout.folder / "workflow" / "rules").glob("*.smk"))
    return set(re.findall(r"^rule (\w+):", text, re.MULTILINE)) | set(re.findall(r'^ +f"(\w+?)_\{', text, re.MULTILINE))


@pytest.fixture(scope="module")
def runs_on_gpu(checkout: Checkout, no_torch: str) -> list[list[PlannedJob]]:
    """The published run with its archiving, a figure by itself, and a study of one's own: together they have jobs of every rule."""
    study = checkout.folder / "slow"
    study.mkdir()
    (study / "study.yaml").write_text(json.dumps(SLOW_STUDY))  # JSON is YAML
    (study / "slow_poisons.py").write_text(SLOW_STRATEGY)
    runs = (("all", "archive", *PUBLISHED), (ONE_FIGURE,), ("tables",))
    configs = ("device=cuda",), ("device=cuda",), ("device=cuda", "studies=[slow]")
    return [
        planned(dry_run(checkout, no_torch, *run, "--config", *config).stdout)
        for run, config in zip(runs, configs, strict=True)
    ]


@pytest.fixture(scope="module")
def every_rule(checkout: Checkout, runs_on_gpu: list[list[PlannedJob]]) -> list[PlannedJob]:
    jobs = [job for run in runs_on_gpu for job in run]
    named = {re.sub(r"^(craft|draw_figures)_\w+_\d+$", r"\1", job.rule) for job in jobs}
    assert named | TARGETS == defined_rules(checkout) | {"all", "thesis_figures"}
    return [job for job in jobs if job.rule not in TARGETS]


def test_the_trap_for_torch_works(checkout: Checkout, no_torch: str):
    command, environment = [sys.executable, "-c", "import torch"], checkout.environment(PYTHONPATH=no_torch)
    failed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "torch is imported while the DAG is built" in failed.stderr


def test_the_default_run_has_at_most_55_jobs_for_each_study(default_run: list[PlannedJob]):
    # A job costs 2 to 4 s before it does anything.
    assert 50 < len(default_run) <= 55 * 5


def test_planning_the_default_run_takes_less_than_four_times_what_importing_snakemake_takes(
    checkout: Checkout, no_torch: str
):
    # Processor time and not time on the clock, and the better of two, because other work may share the machine; next to what
    # Snakemake itself takes, because machines differ. It takes about 3 times that.
    def seconds(work: Callable[[], object]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        work()
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before

    def start() -> None:
        subprocess.run([sys.executable, "-c", "import snakemake.cli"], check=True)

    planning, importing = zip(
        *[(seconds(lambda: dry_run(checkout, no_torch)), seconds(start)) for _ in range(2)], strict=True
    )
    assert min(planning) < 4 * min(importing)


def test_every_rule_has_a_log_and_asks_for_memory_and_time(every_rule: list[PlannedJob]):
    for job in every_rule:
        assert job.fields["log"].startswith("results/logs/"), job
        assert int(job.resources["mem_mb"]) >= 1000, job
        assert int(job.resources["runtime"]) >= 10, job  # minutes


def test_the_rules_that_train_or_attack_ask_for_one_gpu_and_are_measured(every_rule: list[PlannedJob]):
    assert {job.rule for job in every_rule if job.resources.get("gpu") == "1"} == ON_GPU
    analyses = {
        Path(job.fields["output"].split(", ")[0]).parent.name: job for job in every_rule if job.rule == "analyse"
    }
    on_gpu = {name for name, job in analyses.items() if job.resources["gpu"] == "1"}
    assert {name.rpartition("_")[2] for name in on_gpu} == ANALYSES_ON_GPU
    assert len(on_gpu) < len(analyses)
    for job in every_rule:
        if job.rule in ON_GPU:
            assert job.fields["benchmark"].startswith("results/benchmarks/"), job


def test_no_rule_asks_for_a_gpu_where_none_is_configured(default_run: list[PlannedJob]):
    assert {job.resources.get("gpu", "0") for job in default_run} == {"0"}


def test_jobs_write_no_file_twice(default_run: list[PlannedJob], runs_on_gpu: list[list[PlannedJob]]):
    for jobs in (default_run, *runs_on_gpu):
        written = [name for job in jobs for name in job.fields.get("output", "").split(", ") if name]
        assert len(written) == len(set(written))
        logs = [job.fields["log"] for job in jobs if "log" in job.fields]
        assert len(logs) == len(set(logs))


def test_the_published_run_fetches_its_data_when_no_mirror_is_set(every_rule: list[PlannedJob]):
    fetched = [Path(job.fields["output"]).name for job in every_rule if job.rule == "fetch_data"]
    assert sorted(fetched) == ["cifar10", "fashion_mnist", "mnist"]
