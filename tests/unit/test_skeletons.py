"""What `poisonlab new` writes works as it is, and passes its own test."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from poisonlab.cli import app
from poisonlab.errors import InputError
from poisonlab.pipeline import skeletons


@pytest.mark.parametrize(
    ("kind", "written"),
    [("strategy", ["far_points.py", "test_far_points.py"]), ("study", ["far_points/study.yaml", "test_far_points.py"])],
)
def test_a_skeleton_passes_its_own_test(kind, written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["new", kind, "far_points"])
    assert done.exit_code == 0, done.output
    assert done.output.split() == written
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_far_points.py"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    assert "passed" in run.stdout


def test_nothing_is_overwritten(tmp_path):
    skeletons.write(skeletons.strategy("mine"), tmp_path)
    (tmp_path / "mine.py").unlink()
    before = (tmp_path / "test_mine.py").read_text()
    with pytest.raises(InputError, match=r"test_mine.py' is there already; choose another name"):
        skeletons.write(skeletons.strategy("mine"), tmp_path)
    assert not (tmp_path / "mine.py").exists()
    assert (tmp_path / "test_mine.py").read_text() == before


@pytest.mark.parametrize("name", ["Mine", "1st", "my-study", "class", "../up", "", "a" * 101])
def test_a_name_that_no_file_can_have_is_refused(name):
    for kind in (skeletons.strategy, skeletons.study):
        with pytest.raises(InputError, match="is not allowed"):
            kind(name)


@pytest.mark.parametrize("name", ["random", "numpy", "poisonlab"])
def test_a_strategy_does_not_take_the_place_of_a_module(name):
    with pytest.raises(InputError, match=f"name '{name}' is that of a module that is there already"):
        skeletons.strategy(name)
    skeletons.study(name)


def test_files_go_where_they_are_to_go(tmp_path):
    done = CliRunner().invoke(app, ["new", "study", "mine", "--folder", str(tmp_path / "deep")])
    assert done.exit_code == 0
    assert (tmp_path / "deep" / "mine" / "study.yaml").is_file()
    assert Path(done.output.split()[0]) == tmp_path / "deep" / "mine" / "study.yaml"
