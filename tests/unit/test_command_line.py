"""The command line: what its commands print, hand over and refuse, without running anything."""

import csv
import json
import logging
import os
import re
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from poisonlab.cli import app, main
from poisonlab.cli.project import for_snakemake
from poisonlab.errors import InputError
from poisonlab.pipeline import rates, run
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.progress import State, finished_in, read, state_of_run
from poisonlab.pipeline.spending import spending
from poisonlab.pipeline.steps import Step, Work, parse, passes, pending, step_of, work
from poisonlab.pipeline.targets import _unmade as unmade
from poisonlab.pipeline.targets import check_parts, files

ROOT = Path(__file__).resolve().parents[2]
RECORDED = ROOT / "tests" / "recorded_steps.csv"
COMMANDS = ([], ["run"], ["status"], ["budget"], ["export"], ["export", "poison"], ["export", "victim"], ["new"])


@pytest.fixture(scope="module")
def plan() -> Plan:
    return Plan({**yaml.safe_load((ROOT / "config.yaml").read_text()), "studies": ["label_noise"]}, ROOT)


# ------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_help_fits_one_screen(command):
    shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    lines = shown.output.splitlines()
    assert shown.exit_code == 0
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert not [line for line in lines if re.match(r"  \w+ *$", line)], "a command says nothing of itself"


def test_the_help_starts_without_torch_and_snakemake():
    code = "import sys; from poisonlab.cli import main; sys.argv = ['poisonlab', '--help']\ntry: main()\nfinally: "
    code += "print('HEAVY', {'torch', 'numpy', 'pandas', 'snakemake'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "HEAVY set()" in shown
    assert "budget" in shown


def test_completion_comes_with_it():
    environment = {
        **os.environ,
        "_POISONLAB_COMPLETE": "complete_bash",
        "COMP_WORDS": "poisonlab bu",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-c", "from poisonlab.cli import main; main()"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
    assert "budget" in shown


# -------------------------------------------------------------------------------------------------------------- run


@pytest.fixture
def handed_over(monkeypatch) -> list[str]:
    """What `poisonlab run` hands to the pipeline."""
    words: list[str] = []
    monkeypatch.setattr(run, "main", lambda arguments: words.extend(arguments) or 0)
    monkeypatch.chdir(ROOT)
    return words


@pytest.mark.parametrize(
    ("typed", "expected"),
    {
        "nothing": ("", "--cores all"),
        "a target": ("scorecard --cores 2", "scorecard --cores 2"),
        "Snakemake's own": (
            "pages -n --forcerun train_victims --set-threads a=1",
            "pages --cores all --forcerun train_victims --set-threads a=1 --dry-run",
        ),
        "settings": (
            "--study medoids --published --mirror /data --config draws=1 repeats=2",
            "--cores all --config studies=[medoids] published=true mirror=/data draws=1 repeats=2",
        ),
        "two studies": ("--study a --study b/c", "--cores all --config studies=[a,b/c]"),
        "a target after a configuration file": (
            "--configfile tests/config/smoke.yaml results/scorecard.md",
            "results/scorecard.md --cores all --configfile tests/config/smoke.yaml",
        ),
        "two configuration files": (
            "--configfile config/published.yaml tests/config/smoke.yaml",
            "--cores all --configfile config/published.yaml tests/config/smoke.yaml",
        ),
    }.values(),
)
def test_run_hands_over_what_was_typed(handed_over, typed, expected):
    done = CliRunner().invoke(app, ["run", *typed.split()])
    assert done.exit_code == 0, done.output
    assert handed_over == expected.split()


def test_run_finds_the_pipeline_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = for_snakemake(["pages"], cores="1")
    assert words[words.index("--snakefile") + 1] == str(ROOT / "Snakefile")
    assert words[words.index("--workflow-profile") + 1] == str(ROOT / "profiles" / "default")


# ----------------------------------------------------------------------------------------------------- clear answers


def test_a_target_behind_configfile_is_no_configuration_file():
    with pytest.raises(InputError, match=r"'results/scorecard.md' stands behind --configfile.*put targets first"):
        run.check_files([ROOT / "config.yaml", Path("results/scorecard.md")])


def test_a_missing_configuration_file_has_a_suggestion(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(
        InputError, match=r"'config/publishd.yaml' does not exist; did you mean 'config/published.yaml'"
    ):
        run.check_files([Path("config/publishd.yaml")])
    run.check_files([Path("config/published.yaml")])


def test_the_pipeline_answers_before_it_starts_anything(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("snakemake.cli.main", lambda *_: pytest.fail("Snakemake was started"))
    assert run.main(["--configfile", "results/scorecard.md"]) == 1
    assert "put targets first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("parts", "answer"),
    [
        ({"study": "label_nose", "figure": "fig_4_8"}, "'label_nose', which is not in studies.*'label_noise'"),
        ({"study": "label_noise", "figure": "fig_4_88"}, "not in label_noise.figures.*did you mean 'fig_4_8'"),
        ({"study": "label_noise", "experiment": "digits01_0to"}, "label_noise.experiments.*mean 'digits01_0to1'"),
        ({"study": "label_noise", "poison": "digits_1to2_random1"}, "label_noise.poisons.*'digits_1to2_random'"),
        ({"proxy": "digit"}, "not in proxies.*did you mean 'digits'"),
        ({"analysis": "ball"}, "not in analyses.*did you mean 'balls'"),
        ({"dataset": "digit01"}, "not in datasets.*did you mean 'digits01'"),
        ({"buckets": "digits01_00"}, "not in buckets.*did you mean 'digits01_0'"),
    ],
)
def test_a_misspelt_part_of_a_target_has_a_suggestion(plan, parts, answer):
    with pytest.raises(InputError, match=answer):
        check_parts(plan, "results/x", parts)


def test_a_target_of_no_rule_has_a_suggestion(plan):
    near = unmade("resuts/figures/label_noise/fig_4_8.svg", files(plan))
    assert "did you mean 'results/figures/label_noise/fig_4_8.svg'?" in near
    assert "did you mean" not in unmade("qqq", files(plan))


def test_the_command_says_what_is_wrong_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["poisonlab", "new", "study", "No"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    assert re.fullmatch(r"name 'No' is not allowed: .*\n", capsys.readouterr().err)


# ----------------------------------------------------------------------------------------------- steps, rates, budget

SUMMARY = "output_file\tdate\trule\tlog-file(s)\tstatus\tplan\n" + "".join(
    f"{file}\t-\t{rule}\t-\tmissing\t{plan}\n"
    for file, rule, plan in [
        ("results/victims/a/b/c/draws-0-0_repeats-0-1.safetensors", "train_victims", "update pending"),
        ("results/victims/a/b/c/draws-0-0_repeats-0-1.parquet", "train_victims", "update pending"),
        ("results/tables/a/b/victims.csv", "collect_tables", "no update"),
        ("results/tables/a/b/conditions.csv", "collect_tables", "no update"),
        ("results/poisons/a/p/draw-0.safetensors", "craft_a_0", "no update"),
        ("results/poisons/a/q/draw-0.safetensors", "craft_a_0", "update pending"),
        ("results/poisons/a/r/draw-0.safetensors", "craft_poison", "no update"),
    ]
)


def test_a_step_with_several_files_counts_once_and_is_done_when_all_are():
    found = parse(SUMMARY)
    assert found == [
        Step("train_victims", "victims/a/b/c/draws-0-0_repeats-0-1", False),
        Step("collect_tables", "tables/a/b", True),
        Step("craft_poisons", "craft_a_0", False),
        Step("craft_poison", "poisons/a/r/draw-0", True),
    ]
    assert [step.rule for step in pending(found)] == ["train_victims", "craft_poisons"]


def test_work_counts_victims_epochs_and_the_steps_of_attacks(plan):
    (variant, chunk), conditions = next(iter(plan.jobs("label_noise", "digits01_0to1").items()))
    name = f"label_noise/digits01_0to1/{variant}/{chunk.name}"
    own = plan.conditions("label_noise", "digits01_0to1")
    values = [len(plan.sweep("label_noise", own[one]["poison"])[1]) for one in conditions]
    victims = sum(values) * len(chunk.draws) * len(chunk.repeats)
    found = work(plan, Step("train_victims", name, False))
    epochs = plan.config["recipes"][plan.config["label_noise"]["victims"]["digits01"]["recipe"]]["epochs"]
    assert (found.victims, found.units) == (victims, victims * (142 + 146) * epochs)
    attacked = work(plan, Step("evaluate_robustness", name, False))
    assert attacked.victims == 0
    assert attacked.units > victims


def test_every_step_of_an_attack_in_training_is_another_pass():
    assert passes({"epochs": 5}) == 5
    assert passes({"epochs": 5, "objective": {"name": "adversarial", "steps": 3}}) == 20
    assert passes({"phases": [{"epochs": 2}, {"epochs": 4, "objective": {"name": "adversarial", "steps": 1}}]}) == 10
    assert passes({"epochs": 5, "objective": "adversarial"}) == 40  # its seven steps
    assert passes({"epochs": 5, "objective": {"name": "trades", "epsilon": 0.1}}) == 55
    assert passes({"epochs": 5, "objective": "hinge"}) == 5


def test_the_budget_is_within_a_factor_of_two_of_a_recorded_run(plan):
    """Of another run than the one that the shipped rates are from: of label_noise alone, on another day."""
    with open(RECORDED, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    steps = [Step(*step_of(row["rule"], row["output"]), False) for row in rows]
    spent, took = spending(plan, steps, rates.shipped()), sum(float(row["seconds"]) for row in rows)
    assert took / 2 < spent.seconds < 2 * took
    trained = [one for one in steps if one.rule == "train_victims"]
    assert spent.victims == sum(work(plan, one).victims for one in trained) > 100


def test_seconds_of_a_victim_are_those_of_its_recipe_and_read_no_data(plan, monkeypatch):
    monkeypatch.setattr("safetensors.safe_open", None)
    found = rates.victim_seconds(plan)
    recipe = plan.config["recipes"]["toy"]
    train = plan.config["datasets"]["toy16"]["n_train"]
    per_unit = rates.shipped()["train_victims", "mlp"].per_unit
    assert found["label_noise/toy16_opposite"] == pytest.approx(per_unit * train * recipe["epochs"])
    assert "label_noise/soft_1nn" not in found  # nothing is trained


def test_rates_of_this_folder_take_the_place_of_the_shipped_ones(plan, tmp_path):
    (variant, chunk), _ = next(iter(plan.jobs("label_noise", "digits01_0to1").items()))
    name = f"label_noise/digits01_0to1/{variant}/{chunk.name}"
    file = tmp_path / "train_victims" / f"{name}.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"s": 500.0, "cpu_time": 1.0}) + "\n")
    (tmp_path / "train_victims" / "gone.jsonl").write_text("")  # cut off by a kill
    found = rates.measured(plan, tmp_path)
    own = work(plan, Step("train_victims", name, True))
    assert [(step.name, seconds) for step, _, seconds in found] == [(name, 500.0)]
    mixed = {**rates.shipped(), **rates.rates_of(found, rates.shipped())}
    assert rates.seconds(mixed, "train_victims", own) == pytest.approx(500)
    larger = replace(own, units=100 * own.units)  # of one job, the start is not told from the work
    assert rates.seconds(mixed, "train_victims", larger) > 40_000
    assert rates.seconds(rates.shipped(), "train_victims", own) < 100


def test_what_is_not_known_is_said(plan):
    steps = [Step("never_heard_of", "x", False)]
    spent = spending(plan, steps, rates.shipped())
    assert spent.seconds == rates.shipped()[rates.OTHER, ""].per_unit
    partly = {key: rate for key, rate in rates.shipped().items() if key != ("craft_poison", "metagradient")}
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    unknown = spending(Plan(config, ROOT), [Step("craft_poison", "poisons/cifar3/metagradient/draw-0", False)], partly)
    assert unknown.notes == ("speed of 'metagradient' in craft_poison, taken as the mean of the others",)


def test_a_model_that_was_not_timed_is_as_fast_as_the_others_on_such_images(plan):
    """Not as all others: most of those are trained on points of a few numbers, more than ten times as fast."""
    timed = {key: rate.per_unit for key, rate in rates.shipped().items() if key[0] == "train_victims"}
    alike = [seconds for (_, of), seconds in timed.items() if of.endswith("1x28x28")]
    own = Work("strided", 1e6, 1, "1x28x28")
    assert ("train_victims", "strided") not in timed  # of a model that is timed by now this shows nothing
    took = rates.seconds(rates.shipped(), "train_victims", own)
    assert took == pytest.approx(1 + 1e6 * statistics.median(alike))
    assert took > 10 * 1e6 * timed["train_victims", rates.UNKNOWN]
    (variant, chunk), _ = next(iter(plan.jobs("label_noise", "digits01_0to1").items()))
    step = Step("train_victims", f"label_noise/digits01_0to1/{variant}/{chunk.name}", False)
    model = work(plan, step).of
    without = {key: rate for key, rate in rates.shipped().items() if key[1].partition(" ")[0] != model}
    note = f"speed of '{model}' in train_victims, taken as that of most others on such images"
    assert spending(plan, [step], without).notes == (note,)


# ------------------------------------------------------------------------------------------------------------ status

LOG = """\
  Command: /x/snakemake/__main__.py --cores 3 tables --config draws=1

Provided cores: 3 (use --cores to define parallelism)

[Sun Nov 29 10:00:00 2026]
localrule prepare_data:
    output: results/data/toy2.safetensors
    log: results/logs/prepare_data/toy2.log
    jobid: 7
[Sun Nov 29 10:00:05 2026]
localrule train_victims:
    output: results/victims/a/b/c/d.safetensors, results/victims/a/b/c/d.parquet
    jobid: 3
[Sun Nov 29 10:00:06 2026]
localrule trace_paths:
    output: results/paths/digits.parquet
    log: results/logs/trace_paths/digits.log
    jobid: 4
[Sun Nov 29 10:00:09 2026]
Finished jobid: 7 (Rule: prepare_data)
1 of 3 steps (33%) done
[Sun Nov 29 10:00:10 2026]
Error in rule trace_paths:
    message: None
    jobid: 4
    output: results/paths/digits.parquet
    log: results/logs/trace_paths/digits.log (check log file(s) for error details)
"""


def test_the_log_says_what_runs_and_what_failed():
    state = read(LOG, active=True)
    assert state.running == ("train_victims victims/a/b/c/d",)
    assert state.failed == ("trace_paths paths/digits, see results/logs/trace_paths/digits.log",)
    assert (state.cores, state.arguments) == (3, ("--cores", "3", "tables", "--config", "draws=1"))
    assert read(LOG, active=False).running == ()  # it was killed
    assert [(one.rule, one.output, one.seconds) for one in finished_in(LOG)] == [
        ("prepare_data", "results/data/toy2.safetensors", 9.0)
    ]


def test_a_run_is_there_as_long_as_its_lock(tmp_path):
    assert state_of_run(tmp_path) == State(False, (), (), None)
    logs = tmp_path / ".snakemake" / "log"
    logs.mkdir(parents=True)
    (logs / "2026-11-29T100000.snakemake.log").write_text(LOG)
    (logs / "2026-11-29T110000.snakemake.log").write_text("  Command: snakemake --summary\n")  # of `status` itself
    assert state_of_run(tmp_path).cores == 3
    lock = run._lock(tmp_path / "results" / ".lock", tmp_path)
    held = "import sys, pathlib; from poisonlab.pipeline.progress import state_of_run\n"
    held += f"print(state_of_run(pathlib.Path({str(tmp_path)!r})).active)"
    seen = [sys.executable, "-c", held]
    assert subprocess.run(seen, capture_output=True, text=True, check=True).stdout == "True\n"
    os.close(lock)
    assert subprocess.run(seen, capture_output=True, text=True, check=True).stdout == "False\n"


# ---------------------------------------------------------------------------------------------------------- progress


def test_time_left_is_what_a_rules_jobs_took_so_far():
    from snakemake_logger_plugin_poisonlab import TimeLeft

    left = TimeLeft({"slow": 4, "fast": 10, "other": 1}, start=0.0)
    assert left.at(1.0) is None
    left.finished("slow", 30.0)
    left.finished("fast", 2.0)
    # 3 × 30 and 9 × 2, and 16 for the one of which nothing is known; 32 seconds of work in 16: two at a time
    assert left.at(16.0) == pytest.approx((90 + 18 + 16) / 2)


@pytest.mark.parametrize(
    ("terminal", "words", "expected"),
    [(True, [], True), (False, [], False), (True, ["-n"], False), (True, ["--quiet", "all"], False)],
)
def test_the_bar_is_for_a_terminal(monkeypatch, terminal, words, expected):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    arguments = ["--cores", "1", *words]
    given = run._with_progress(arguments, run.parsed(arguments))
    assert given == arguments + ["--logger", "poisonlab"] * expected


@pytest.mark.parametrize(
    ("words", "added"),
    [
        ([], True),
        (["--executor", "local"], True),
        (["--max-jobs-per-timespan", "5/1m"], False),  # the user's own
        (["--executor", "slurm", "--jobs", "2"], False),  # where jobs are counted by what the cluster takes
    ],
)
def test_on_this_machine_snakemake_looks_for_work_when_a_job_ends(words, added):
    arguments = ["--cores", "1", *words]
    given = run._without_looks(arguments, run.parsed(arguments))
    assert given == arguments + ["--max-jobs-per-timespan", "1000000/1h"] * added
    assert (run.parsed(given).max_jobs_per_timespan.timespan == 3600) == added


def test_a_run_does_not_wait_for_the_next_look(tmp_path, monkeypatch):
    import threading

    from snakemake import cli

    timer = threading.Timer(3600, lambda: None)
    monkeypatch.setattr(cli, "main", timer.start)
    monkeypatch.setattr(run, "_held", [])
    assert run.main(["--directory", str(tmp_path), "--cores", "1"]) == 0
    timer.join(5)
    assert not timer.is_alive()


def test_the_bar_shows_steps_and_the_time_left_and_lets_errors_through(monkeypatch, capsys):
    from snakemake.settings.types import OutputSettings
    from snakemake_interface_logger_plugins.common import LogEvent
    from snakemake_interface_logger_plugins.registry import LoggerPluginRegistry

    import snakemake_logger_plugin_poisonlab as plugin

    moments = iter(range(0, 100, 10))
    monkeypatch.setattr(plugin, "time", SimpleNamespace(monotonic=lambda: float(next(moments))))
    handler = LoggerPluginRegistry().get_plugin("poisonlab").log_handler(OutputSettings(), None)
    for level, message, facts in [
        (logging.INFO, "Job stats", {"event": LogEvent.RUN_INFO, "stats": {"train": 3, "total": 3}}),
        (logging.INFO, "", {"event": LogEvent.JOB_INFO, "jobid": 1, "rule_name": "train"}),
        (logging.INFO, "", {"event": LogEvent.JOB_FINISHED, "job_id": 1}),
        (logging.INFO, "Select jobs to execute", {}),
        (logging.ERROR, "it went wrong", {}),
    ]:
        record = logging.LogRecord("x", level, "", 0, message, None, None)
        vars(record).update(facts)
        handler.emit(record)
    handler.close()
    shown = capsys.readouterr()
    assert "1/3" in shown.err
    assert "00:20 left" in shown.err  # two more of ten seconds each
    assert "it went wrong" in shown.err
    assert "Select jobs" not in shown.err
    assert shown.out == ""


# -------------------------------------------------------------------------------------------------------------- docs


def printed(page: str, command: str) -> str:
    """What a page says that a command prints."""
    found = re.search(rf"```bash\n{re.escape(command)}\n```\n\n```text\n(.*?)```", page, re.DOTALL)
    assert found, command
    return found[1]


def test_the_page_of_the_command_line_says_what_is_printed(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "command_line.md").read_text()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for command in ("poisonlab new study pairs", "poisonlab budget --study pairs"):
        done = CliRunner().invoke(app, command.split()[1:])
        assert done.exit_code == 0, done.output
        assert done.output == printed(page, command)
    assert CliRunner().invoke(app, ["status", "--study", "pairs"]).output == (
        "done     0 of 15 steps\nrunning  nothing: no run works here\n"
        "left     15 steps, about 48 s on 2 cores (from rates of another machine, for there are no benchmark files here)\n"
    )
    lines = [line.split()[0] for line in printed(page, "poisonlab status").splitlines()]
    assert lines == ["done", "running", "left"]
