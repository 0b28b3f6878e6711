"""The command line beside a real run: what is done and left, what is refused, and what can be taken out of it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import EXPERIMENT, SMOKE, VICTIMS, Checkout


def poisonlab(checkout: Checkout, *words: str) -> subprocess.CompletedProcess[str]:
    return checkout._run("poisonlab.cli", *words)


@pytest.fixture(scope="module")
def own(finished: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    copy = finished.copy(tmp_path_factory.mktemp("commands") / "run")
    shutil.rmtree(copy.folder / ".snakemake" / "log")  # of other tests' runs, some of which fail
    return copy


def test_status_of_a_finished_run_and_of_one_that_lacks_something(own: Checkout) -> None:
    done = poisonlab(own, "status", *SMOKE)
    assert done.returncode == 0, done.stdout
    counted = re.search(r"^done +(\d+) of (\d+) steps$", done.stdout, re.MULTILINE)
    assert counted, done.stdout
    assert counted[1] == counted[2]
    assert "running  nothing: no run works here\nleft     nothing\n" in done.stdout
    table = own.folder / "results" / "tables" / EXPERIMENT / "robustness.parquet"
    table.unlink()
    lacking = poisonlab(own, "status", *SMOKE, str(table.relative_to(own.folder)))
    assert re.search(
        r"^left +[1-9]\d* steps?, about \d+ (s|min) on \d+ cores \(from \d+ benchmark files", lacking.stdout, re.M
    )


def test_budget_says_what_a_run_would_take_before_it(own: Checkout) -> None:
    shutil.rmtree(own.folder / "results" / "tables" / EXPERIMENT)
    asked = poisonlab(own, "budget", f"results/tables/{EXPERIMENT}/robustness.parquet", *SMOKE, "--forceall")
    lines = dict(re.findall(r"^(\w[\w-]+) +(.*)$", asked.stdout, re.MULTILINE))
    assert list(lines)[:5] == ["steps", "victims", "core-hours", "disk", "basis"], asked.stdout
    assert "benchmark files of this folder" in lines["basis"]


def test_a_misspelt_target_is_answered_with_the_nearest_one(own: Checkout) -> None:
    for answer in (
        poisonlab(own, "run", "results/figures/label_noise/fig_4_88.svg", "-n"),
        own.snakemake("results/figures/label_noise/fig_4_88.svg", "-n"),
    ):
        assert answer.returncode == 1
        assert "'fig_4_88', which is not in label_noise.figures" in answer.stdout
        assert "did you mean 'fig_4_8'?" in answer.stdout
        assert "KeyError" not in answer.stdout
    unknown = own.snakemake("results/tabels/label_noise/digits01_0to1/robustness.parquet", "-n")
    assert "did you mean 'results/tables/label_noise/digits01_0to1/robustness.parquet'?" in unknown.stdout


def test_a_run_says_in_its_log_which_conditions_have_one_draw(own: Checkout) -> None:
    (own.folder / "results" / "data" / "toy2.safetensors").unlink(missing_ok=True)
    told = own.run("results/data/toy2.safetensors", "--config", "studies=[label_noise]", "draws=2")
    assert told.returncode == 0, told.stdout
    assert re.search(r"^label_noise\.experiments\.\w+: one draw instead of several of \w+", told.stdout, re.MULTILINE)
    logs = (own.folder / ".snakemake" / "log").glob("*.log")
    assert any("one draw instead of several of" in log.read_text() for log in logs)


def test_poisons_and_victims_of_a_run_are_taken_out_of_it(own: Checkout) -> None:
    poison = next((own.folder / "results" / "poisons" / "label_noise").glob("digits01_0to1_random/draw-0.*"))
    told = poisonlab(own, "export", "poison", str(poison.relative_to(own.folder)), "flips.csv")
    assert told.returncode == 0, told.stdout
    assert (own.folder / "flips.csv").read_text().startswith("index,source_index,label,poisoned_label\n")
    file = next((own.folder / "results" / "victims" / EXPERIMENT / VICTIMS).glob("*.safetensors"))
    words = ["export", "victim", str(file.relative_to(own.folder)), "victim.pt2"]
    asked = poisonlab(own, *words)
    assert asked.returncode == 1
    named = re.search(r"names no victim; choose one of (\w+_draw-0_repeat-0), ", asked.stdout)
    assert named, asked.stdout
    told = poisonlab(own, *words, "--victim", named[1])
    assert told.returncode == 0, told.stdout
    code = "import sys; sys.modules['poisonlab'] = None; import torch\n"
    code += "print(torch.export.load('victim.pt2').module()(torch.zeros(3, 1, 8, 8)).shape)"
    command = [sys.executable, "-I", "-c", code]
    shown = subprocess.run(command, cwd=own.folder, capture_output=True, text=True, check=True).stdout
    assert shown == "torch.Size([3, 2])\n"
    assert Path(own.folder, "victim.pt2").is_file()
