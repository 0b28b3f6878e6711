"""What surrounds every job."""

import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from poisonlab.pipeline.jobs import numbers, version
from poisonlab.pipeline.training import span

FAULTS = """
import ctypes
import resource
import sys
import torch
from poisonlab.pipeline.jobs import keep_freed_memory

def rounds(count):  # of ten blocks of 4 MiB, which come and go as activation maps do
    for _ in range(count):
        maps = [torch.ones(1 << 20) for _ in range(10)]
        del maps

# Handed back: glibc's first threshold, which it raises by itself or not, as the heap happens to lie.
assert ctypes.CDLL(None).mallopt(-3, 128 << 10) if sys.argv[1] == "handed_back" else keep_freed_memory()
rounds(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
rounds(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_freed_memory_is_not_handed_back_to_the_kernel() -> None:
    """Page faults of repeated allocations: every page of every block without the setting, next to none with it.

    Not none: the heap may still grow by a block or two after the first rounds.
    """
    kept, handed_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, case], capture_output=True, text=True, check=True).stdout)
        for case in ("kept", "handed_back")
    )
    assert kept < handed_back / 10


def test_a_range_in_a_file_name_is_read_as_it_was_written() -> None:
    for one in (range(1), range(8), range(4, 7), range(100, 101)):
        assert numbers(span(one)) == one


def test_the_version_of_a_job_is_that_of_its_rule_its_settings_and_its_inputs(tmp_path: Path) -> None:
    data = tmp_path / "data.safetensors"
    data.write_text("data")

    def found(**changes: Any) -> str:
        facts = {
            "rule": "craft_poison",
            "wildcards": {"draws": "0-1"},
            "params": {"version": "abc", "budget": 10, "parameters": {"a": 1, "b": [0.5, None]}},
            "input": [str(data)],
        }
        return version(SimpleNamespace(**{**facts, **changes}))

    first = found()
    assert found() == first
    assert found(params={"parameters": {"b": [0.5, None], "a": 1}, "budget": 10, "version": "abc"}) == first
    assert found(output=["elsewhere"], config={"keep_victims": False}) == first
    others = [
        found(rule="train_victims"),
        found(wildcards={"draws": "0-2"}),
        found(params={"version": "abd", "budget": 10, "parameters": {"a": 1, "b": [0.5, None]}}),
        found(input=[]),
    ]
    os.utime(data, ns=(0, 0))
    others.append(found())
    data.write_text("other data")
    os.utime(data, ns=(0, 0))
    others.append(found())
    assert len({first, *others}) == 1 + len(others)
