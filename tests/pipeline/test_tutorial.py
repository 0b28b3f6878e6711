"""The ten minutes of docs/tutorial.md, followed word for word in an empty folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from how_to_pages import REPOSITORY, blocks

from poisonlab.results.storage import read_table

PAGE = REPOSITORY / "docs" / "tutorial.md"
AUDIT = "poisonlab audit"  # minutes; tests/pipeline/test_audit_runs.py audits this table


@pytest.mark.timeout(600)
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed, ran = "", []
    for block in blocks(PAGE, "python", "yaml", "bash"):
        if block.file:
            file = tmp_path / block.file
            assert block.language == "python" or file.is_file(), f"{block.file} is changed, but nothing has written it"
            file.write_text(block.text)
            continue
        for line in block.text.splitlines():
            if not line.startswith(AUDIT):
                run = subprocess.run(
                    line,
                    shell=True,
                    cwd=tmp_path,
                    env={**os.environ, "PATH": path},
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert run.returncode == 0, f"{line}\n{run.stdout}{run.stderr}"
                printed, ran = run.stdout, [*ran, line.split()[0]]
    assert ran == ["python", *["poisonlab"] * 6, "python"]
    assert (tmp_path / "breast_cancer.csv").is_file()
    drawn = read_table(tmp_path / "results" / "tables" / "pairs" / "pairs" / "robustness.csv")
    assert set(drawn["condition"]) == {"clean", "random", "far"}
    assert (tmp_path / "results" / "figures" / "pairs" / "pairs.txt").is_file()
    assert (tmp_path / "results" / "pairs.md").is_file()
    # What the page says that the last command prints.
    assert printed == blocks(PAGE, "text")[-1].text == "10 of 10 wrong labels are memorised\n"
    skeleton = (tmp_path / "far_points.py").read_text()
    quoted = [line.strip() for line in blocks(PAGE, "text")[1].text.splitlines()]
    assert all(line in skeleton for line in quoted)
