"""`poisonlab audit` from another folder: one page, whose numbers are those of a study written by hand."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import yaml
from checkout import REPOSITORY
from own_study import snakemake

from poisonlab.pipeline.studies import read_yaml
from poisonlab.results.storage import read_table


def audit(work: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "poisonlab.cli", "audit", "digits01", "--budget", "4", "--cores", "2", *options]
    return subprocess.run(command, cwd=work, capture_output=True, text=True)


def test_one_page_whose_numbers_are_those_of_a_study_written_by_hand(tmp_path: Path) -> None:
    asked = ("--flip", "0:1", "--epsilon", "0.1", "--time", "1s")
    done = audit(tmp_path, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    check_page(tmp_path)
    check_numbers(tmp_path)
    # Started again, it makes nothing anew and writes the same page.
    page = tmp_path / "audit_digits01" / "audit.html"
    before, victims = page.read_bytes(), sorted((tmp_path / "results" / "victims").rglob("*.parquet"))
    times = [file.stat().st_mtime_ns for file in victims]
    page.unlink()
    assert audit(tmp_path, *asked).returncode == 0
    assert page.read_bytes() == before
    assert [file.stat().st_mtime_ns for file in victims] == times


def check_page(work: Path) -> None:
    """It needs no other file, and begins with three sentences."""
    page = (work / "audit_digits01" / "audit.html").read_text(encoding="utf-8")
    first = page.index('<ol class="verdict">')
    assert page.count("<li>", first, page.index("</ol>")) == 3
    assert "4 wrong labels (1.4 % of the training data, class 0 called class 1" in page
    assert page.count("<figure>") == 4
    assert 'src="data:' in page
    for reference in ("http://", "https://", "<link", "<script", 'src="/'):
        assert reference not in page
    # In a second there is no time for adversarial training, and the page says what would allow it.
    assert "Of three defences" in page
    assert re.search(
        r"Adversarial training was left out: it would take about \d+ minutes? more; --time \d+m allows", page
    )
    # Ten points or fewer, with their pictures.
    assert page.count('alt="point ') == 4


def check_numbers(work: Path) -> None:
    """They are those of a study written by hand."""
    written = read_yaml(work / "audit_digits01" / "study.yaml")
    (work / "by_hand").mkdir(exist_ok=True)
    flips = {"dataset": "digits01", "flips": {"source": 0, "target": 1}, "budget": 4}
    study = {
        "recipes": {"hand": written["recipes"]["audit_digits01"]},
        "attacks": {"hand": {"epsilon": [0.1]}},
        "poisons": {"none": {**flips, "strategy": "none"}, "medoids": {**flips, "strategy": "medoids"}},
        "victims": {"net": {"model": "pooled", "recipe": "hand"}},
        "experiments": {
            "hand": {"poisons": ["none", "medoids"], "victims": ["net"], "attacks": ["hand"], "draws": 3, "repeats": 2}
        },
    }
    (work / "by_hand" / "study.yaml").write_text(yaml.safe_dump(study))
    table = "results/tables/by_hand/hand/robustness.parquet"
    arguments = (table, "--snakefile", str(REPOSITORY / "Snakefile"), "--config", "studies=[./by_hand]")
    assert snakemake(work, *arguments, module="poisonlab.pipeline.run").returncode == 0
    hand, own = read_table(work / table), read_table(work / "results/tables/audit_digits01/harm/robustness.parquet")
    own = own[(own["epsilon"] == 0.1) & (own["axis_value"].isna() | (own["axis_value"] == 4))]
    columns = ["draw", "repeat", "adversarial_accuracy"]
    for mine, theirs in (("none", "clean"), ("medoids", "medoids")):
        found = [t[t["condition"] == name][columns].sort_values(columns[:2]).reset_index(drop=True)
                 for t, name in ((hand, mine), (own, theirs))]  # fmt: skip
        pd.testing.assert_frame_equal(*found, check_exact=True)
    mean = own[own["condition"] == "medoids"]["adversarial_accuracy"].mean()
    assert f"<td>{mean:.2f} [" in (work / "audit_digits01" / "audit.html").read_text(encoding="utf-8")


def test_a_class_that_is_not_there_is_named_in_one_line(tmp_path: Path) -> None:
    done = audit(tmp_path, "--flip", "0:cat")
    assert done.returncode == 1
    assert done.stderr.strip().endswith("--flip: class cat is not among 0 … 1 or '0', '1'; choose one of these")
