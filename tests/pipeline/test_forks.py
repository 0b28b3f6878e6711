"""Scripts run as forks of one server as they would in a new Python each."""

import json
import subprocess
import sys
from pathlib import Path

SNAKEFILE = """
rule ask:
    output: "{name}.json"
    benchmark: "{name}.jsonl"
    script: "ask.py"
"""
SCRIPT = """
import json, os, signal, sys, tempfile, time
import numpy
found = {"torch": "torch" in sys.modules, "left": hasattr(json, "left"), "server": os.getppid(), "tmp": tempfile.gettempdir()}
found["drawn"] = numpy.random.random()
json.left = True
end = time.process_time() + 0.5
while time.process_time() < end:
    pass
if snakemake.wildcards.name == "failed":
    raise SystemExit(3)
if snakemake.wildcards.name == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
with open(snakemake.output[0], "w") as file:
    json.dump(found, file)
"""


def test_scripts_begin_with_torch_and_with_nothing_of_each_other(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "ask.py").write_text(SCRIPT)
    (tmp_path / "scratch").mkdir()
    targets = [f"{name}.json" for name in ("first", "second", "failed", "killed")]
    options = ["--cores", "1", "--keep-going", "--default-resources", f"tmpdir='{tmp_path / 'scratch'}'"]
    run = subprocess.run(
        [sys.executable, "-m", "poisonlab.pipeline.run", *targets, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "returned non-zero exit status 3" in run.stderr
    assert "died with <Signals.SIGKILL: 9>" in run.stderr
    assert not (tmp_path / "failed.json").exists()
    assert not (tmp_path / "killed.json").exists()
    first, second = (json.loads((tmp_path / name).read_text()) for name in targets[:2])
    assert first.pop("drawn") != second.pop("drawn")
    assert first == second == {
        "torch": True, "left": False, "server": first["server"], "tmp": str(tmp_path / "scratch")
    }  # fmt: skip
    for name in ("first", "second"):
        measured = json.loads((tmp_path / f"{name}.jsonl").read_text())
        assert measured["s"] >= 0.5
        assert measured["max_rss"] > 1  # MB
