"""A session runs what the archive lacks, archives it, and stops in time."""

import sys
import time
from types import SimpleNamespace

import pandas as pd
import pytest
from checkout import EXPERIMENT, REPOSITORY, SMOKE, Checkout

from poisonlab.errors import InputError
from poisonlab.pipeline import session
from poisonlab.pipeline.studies import read_yaml


def test_what_is_run_is_archived_and_is_not_run_again(checkout: Checkout):
    module = "poisonlab.pipeline.session"
    done = checkout._run(module, EXPERIMENT, "--minutes", "6", "--cores", "2", *SMOKE)
    assert f"ran to the end: {EXPERIMENT}" in done.stdout, done.stdout
    victims = pd.read_csv(checkout.folder / "archive" / EXPERIMENT / "victims.csv.gz")
    assert len(victims) == len(pd.read_parquet(checkout.folder / "results" / "tables" / EXPERIMENT / "victims.parquet"))
    (checkout.folder / "results").rename(checkout.folder / "elsewhere")
    again = checkout._run(module, EXPERIMENT, "--minutes", "6", "--cores", "2", *SMOKE)
    assert not list((checkout.folder / "results").glob("victims/*/*/*")), again.stdout
    assert len(pd.read_csv(checkout.folder / "archive" / EXPERIMENT / "victims.csv.gz")) == len(victims)


def test_a_run_is_stopped_with_what_it_started(tmp_path):
    file = tmp_path / "alive"
    child = f"import time, pathlib\nwhile True:\n    pathlib.Path({str(file)!r}).write_text(str(time.time()))\n    time.sleep(0.05)"
    command = [sys.executable, "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"]
    begun = time.monotonic()
    assert session._until(command, begun + 2) is None
    assert time.monotonic() - begun < 2 + session.TO_STOP
    written = file.read_text()
    time.sleep(0.5)
    assert file.read_text() == written, "the child of the run goes on"
    assert session._until([sys.executable, "-c", "raise SystemExit(3)"], time.monotonic() + 60) == 3


@pytest.mark.parametrize(
    ("words", "what", "arguments"),
    [
        (
            ["--minutes", "14", "--cores", "4", "--config", "device=cuda"],
            None,
            ["--cores", "4", "--config", "device=cuda"],
        ),
        (["a/b", "c/d", "--minutes", "14", "--cores", "4"], ["a/b", "c/d"], ["--cores", "4"]),
        (["--minutes", "14"], None, ["--cores", "all"]),
    ],
)
def test_without_names_the_order_of_the_configuration_is_run(monkeypatch, words, what, arguments):
    seen = []
    monkeypatch.setattr(sys, "argv", ["session", *words])
    monkeypatch.setattr(session, "ORDER", REPOSITORY / session.ORDER)
    monkeypatch.setattr(session, "run", lambda *given: seen.append(given) or (["a/b"], []))
    session.main()
    assert seen == [(what or read_yaml(session.ORDER), 14.0, arguments)]


def test_what_fails_is_said(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["session", "a/good", "a/bad", "a/mixed"])
    statuses = {"good": (0, 0), "bad": (1, 0), "mixed": (0, 1)}
    monkeypatch.setattr(session, "_until", lambda command, end: statuses[command[3].split("/")[3]][0])

    def archive(command, check):
        return SimpleNamespace(returncode=statuses[command[-1].split("'")[3]][1])

    monkeypatch.setattr(session.subprocess, "run", archive)
    with pytest.raises(SystemExit, match="failed: a/bad, a/mixed"):
        session.main()
    assert capsys.readouterr().out == "ran to the end: a/good\n"


def test_names_and_times_that_cannot_be_are_refused():
    with pytest.raises(InputError, match=r"session runs \['short'\], allowed are names like study/experiment"):
        session.run(["short"], 14)
    with pytest.raises(InputError, match=r"minutes is 0\.5, of which 1 go to the archive; give more"):
        session.run(["cifar3/short"], 0.5)


def test_what_a_session_runs_by_default_is_there():
    for name in read_yaml(REPOSITORY / session.ORDER):
        study, _, experiment = name.partition("/")
        published = read_yaml(REPOSITORY / "studies" / study / "published.yaml")
        assert experiment in published["experiments"], name
