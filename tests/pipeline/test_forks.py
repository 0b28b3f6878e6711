"""Scripts run as forks of one server as they would in a new Python each, but for the first few."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from poisonlab.pipeline.forks import FEW

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are made on Linux only")

FIRST = [f"few{number}" for number in range(FEW)]
SNAKEFILE = f"""
rule few:
    output: "{{name,few.+}}.json"
    script: "ask.py"

rule ask:
    input: {[f"{name}.json" for name in FIRST]}
    output: "{{name}}.json"
    benchmark: "{{name}}.jsonl"
    script: "ask.py"
"""
SCRIPT = """
import json, multiprocessing, os, signal, sys, tempfile, time
import numpy
from poisonlab.pipeline.jobs import job
name = snakemake.wildcards.name
found = {"torch": "torch" in sys.modules, "left": hasattr(json, "left"), "server": os.getppid(), "tmp": tempfile.gettempdir()}
found |= {"workers": multiprocessing.get_start_method(), "shown": open("/proc/self/comm").read()}
found["drawn"] = numpy.random.random()
json.left = True
end = time.process_time() + (0.3 if name in ("first", "second") else 0)
while time.process_time() < end:
    pass
if name == "failed":
    raise SystemExit(3)
if name == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
with open(snakemake.output[0], "w") as file:
    json.dump(found, file)
"""
QUICK = [f"quick{number}" for number in range(20)]


def test_scripts_begin_with_torch_and_with_nothing_of_each_other(tmp_path: Path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "ask.py").write_text(SCRIPT)
    (tmp_path / "statistics.py").write_text("raise RuntimeError('a library was asked for')")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    targets = [f"{name}.json" for name in ("first", "second", "failed", "killed", *QUICK)]
    options = ["--cores", "4", "--keep-going", "--default-resources", f"tmpdir='{scratch}'"]
    # As `poisonlab run` starts it: with -m, the working directory would stand before Snakemake's own libraries, too.
    command = "import sys; from poisonlab.pipeline.run import main; sys.exit(main(sys.argv[1:]))"
    run = subprocess.run(
        [sys.executable, "-P", "-c", command, *targets, *options],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert run.stderr.count("returned non-zero exit status") == run.stderr.count("exit status 3") == 1
    assert run.stderr.count("died with <Signals.SIGKILL: 9>") == 1
    assert not (tmp_path / "failed.json").exists()
    assert not (tmp_path / "killed.json").exists()
    assert not any(json.loads((tmp_path / f"{name}.json").read_text())["torch"] for name in FIRST)
    first, *others = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("first", "second", *QUICK))
    assert len({first["drawn"], *(other.pop("drawn") for other in others)}) == 1 + len(others)
    del first["drawn"]
    assert all(other == first for other in others)
    assert first == {
        "torch": True, "left": False, "server": first["server"], "tmp": str(scratch), "workers": "fork", "shown": "ask\n",
    }  # fmt: skip
    for name in ("first", "second"):
        measured = json.loads((tmp_path / f"{name}.jsonl").read_text())
        assert measured["s"] >= 0.3
        assert measured["max_rss"] > 1  # MB
    assert all(json.loads((tmp_path / f"{name}.jsonl").read_text())["s"] >= 0 for name in QUICK)
