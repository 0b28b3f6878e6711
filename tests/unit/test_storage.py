"""Files are whole or absent, keep their content to the bit, and say in one line what is wrong with them."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest
import safetensors.numpy

from poisonlab.errors import InputError
from poisonlab.results.storage import (
    atomic,
    read_table,
    read_table_metadata,
    read_tensors,
    workspace,
    write_table,
    write_tensors,
)


@pytest.fixture
def frame() -> pd.DataFrame:
    """Every type of column that the tables have, with what is hard about it."""
    generator = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "condition": ["clean", "random", "bucket"] * 100,
            "axis_value": [np.nan, 0.0, 1.0] * 100,
            "repeat": range(300),
            "accuracy": np.concatenate([generator.random(298), [1 / 3, 5e-324]]),
            "memorised": [True, False, True] * 100,
        }
    )


# ------------------------------------------------------------------------------------------------ whole or not at all


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "table.csv"
    target.write_text("old")

    def half() -> None:
        with atomic(target) as temporary:
            temporary.write_text("half of the new")
            assert target.read_text() == "old"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["table.csv"]


def test_a_block_that_succeeds_replaces_the_file_and_makes_its_folder(tmp_path: Path):
    target = tmp_path / "new" / "folder" / "table.csv"
    for content in ("first", "second"):
        with atomic(target) as temporary:
            temporary.write_text(content)
        assert target.read_text() == content
    assert os.listdir(target.parent) == ["table.csv"]


def test_a_killed_process_leaves_nothing_that_looks_like_a_result(tmp_path: Path):
    script = (
        "import sys, time\nfrom poisonlab.results.storage import atomic\n"
        f"with atomic({str(tmp_path / 'draw-0.safetensors')!r}) as temporary:\n"
        "    temporary.write_text('half')\n    print('written', flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    (left,) = os.listdir(tmp_path)
    assert left.startswith(".")
    assert left.endswith(".tmp")
    assert not list(tmp_path.glob("draw-*"))


def test_a_result_is_as_readable_as_the_umask_allows(tmp_path: Path):
    old = os.umask(0o027)
    try:
        with atomic(tmp_path / "shared") as temporary:
            temporary.write_text("")
        assert os.umask(0o027) == 0o027  # looking at the umask has not changed it
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "shared").stat().st_mode) == 0o640


# ------------------------------------------------------------------------------------------------ tables


def test_a_table_comes_back_as_it_was(frame, tmp_path: Path):
    write_table(frame, tmp_path / "victims.parquet", {"step_size": 0.01}, csv=True)
    pd.testing.assert_frame_equal(read_table(tmp_path / "victims.parquet", frame.columns), frame, check_exact=True)
    # The archive is text: the shortest decimal form must name the same double again, or keys would no longer meet.
    pd.testing.assert_frame_equal(read_table(tmp_path / "victims.csv"), frame, check_exact=True)
    assert read_table_metadata(tmp_path / "victims.parquet") == {"step_size": 0.01}


def test_a_name_that_looks_like_a_missing_value_stays_a_name(tmp_path: Path):
    names = ["None", "NA", "null", "nan", "clean"]
    pd.DataFrame({"condition": names, "axis_value": [np.nan] * 5}).to_csv(tmp_path / "conditions.csv", index=False)
    table = read_table(tmp_path / "conditions.csv")
    assert table["condition"].tolist() == names
    assert table["axis_value"].isna().all()


def test_the_index_of_a_frame_is_not_a_column_of_its_table(frame, tmp_path: Path):
    write_table(frame[frame["condition"] == "bucket"], tmp_path / "part.parquet")
    table = read_table(tmp_path / "part.parquet")
    assert list(table.columns) == list(frame.columns)
    assert list(table.index) == list(range(100))


def test_the_same_table_gives_the_same_bytes(frame, tmp_path: Path):
    for name in ("one", "two"):
        write_table(frame, tmp_path / f"{name}.parquet", {"a": 1}, csv=True)
    for suffix in ("parquet", "csv"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_a_table_without_an_expected_column_is_refused(frame, tmp_path: Path):
    write_table(frame, tmp_path / "victims.parquet")
    with pytest.raises(InputError, match=r"victims\.parquet' lacks the columns \['draw'\]"):
        read_table(tmp_path / "victims.parquet", ["draw", "repeat"])


def damaged(content: bytes) -> dict[str, bytes]:
    """Ways in which a file may be damaged."""
    middle = len(content) // 2
    return {
        "empty": b"",
        "truncated": content[: -len(content) // 3],
        "overwritten": content[:middle] + b"\xff" * 200 + content[middle + 200 :],
        "other": b"<html>\nnot found\n</html>\n" * 40,
    }


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [
        *((".parquet", damage) for damage in ("empty", "truncated", "other")),
        *((".csv.gz", damage) for damage in ("empty", "truncated", "overwritten", "other")),
    ],
)
def test_a_damaged_table_is_refused_in_one_line_that_says_what_to_do(frame, tmp_path: Path, suffix, damage):
    path = tmp_path / f"victims{suffix}"
    if suffix == ".parquet":
        write_table(frame, path)
    else:
        frame.to_csv(path, index=False)
    path.write_bytes(damaged(path.read_bytes())[damage])
    with pytest.raises(InputError, match=r"table '.*' cannot be read.*delete it and run again") as error:
        read_table(path)
    assert "\n" not in str(error.value)


def test_a_missing_table_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere\.parquet' cannot be read"):
        read_table(tmp_path / "nowhere.parquet")


# ------------------------------------------------------------------------------------------------ tensors


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    return {
        "images": generator.integers(0, 256, (3, 1, 4, 4), dtype=np.uint8),
        "weights": generator.standard_normal((5, 7)).astype(np.float32).T,  # not contiguous
        "labels": np.arange(5),
        "flags": np.array([True, False]),
        "scalar": np.array(7),  # such as a batch norm's num_batches_tracked
        "none": np.empty((0, 3), np.float32),
    }


def test_tensors_come_back_with_their_shapes_types_and_metadata(tensors, tmp_path: Path):
    write_tensors(tensors, tmp_path / "file.safetensors", {"epochs": 3, "names": ["a", "ε"]})
    found, metadata = read_tensors(tmp_path / "file.safetensors", ["weights"])
    assert metadata == {"epochs": 3, "names": ["a", "ε"]}
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(found[name], array)


def test_the_same_tensors_give_the_same_bytes_in_any_order(tensors, tmp_path: Path):
    facts = {f"fact-{k}": k for k in range(20)}
    write_tensors(tensors, tmp_path / "one", facts)
    write_tensors(dict(reversed(tensors.items())), tmp_path / "two", dict(reversed(facts.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("damage", ["empty", "truncated", "other"])
def test_a_damaged_tensor_file_is_refused_in_one_line(tensors, tmp_path: Path, damage):
    path = tmp_path / "file.safetensors"
    write_tensors(tensors, path)
    path.write_bytes(damaged(path.read_bytes())[damage])
    with pytest.raises(InputError, match=r"file '.*' cannot be read.*delete it and run again") as error:
        read_tensors(path)
    assert "\n" not in str(error.value)


def test_a_tensor_file_without_an_expected_array_is_refused(tensors, tmp_path: Path):
    write_tensors(tensors, tmp_path / "file.safetensors")
    with pytest.raises(InputError, match=r"lacks \['biases'\]"):
        read_tensors(tmp_path / "file.safetensors", ["weights", "biases"])
    with pytest.raises(InputError, match=r"nowhere\.safetensors' is not there; correct its path"):
        read_tensors(tmp_path / "nowhere.safetensors")


# ------------------------------------------------------------------------------------------------ digests


def unnoticed_flips(path: Path, read: Callable[[Path], Any], step: int) -> list[int]:
    """Positions of bits that can be flipped without `read` refusing the file in one line that says what to do."""
    content, unnoticed = path.read_bytes(), []
    for bit in range(0, 8 * len(content), step):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        words = ""
        try:
            read(path)
        except InputError as error:
            words = str(error)
        if "\n" in words or not words.endswith("; delete it and run again"):
            unnoticed.append(bit)
    return unnoticed


def test_no_bit_of_a_tensor_file_can_be_flipped_unnoticed(tmp_path: Path):
    path = tmp_path / "victims.safetensors"
    write_tensors({"labels": np.arange(3), "weights": np.ones((2, 2), np.float32)}, path, {"epochs": 3})
    assert unnoticed_flips(path, read_tensors, step=1) == []


@pytest.mark.parametrize("read", [read_table, read_table_metadata])
def test_no_bit_of_a_table_can_be_flipped_unnoticed(tmp_path: Path, read):
    path = tmp_path / "victims.parquet"
    write_table(pd.DataFrame({"condition": ["clean", "random"], "accuracy": [0.5, 1.0]}), path, {"step": 1})
    assert unnoticed_flips(path, read, step=5) == []  # five shares no factor with eight: every place within a byte


def test_files_of_earlier_versions_which_have_no_digest_stay_readable(frame, tensors, tmp_path: Path):
    facts = {"poisonlab": json.dumps({"epochs": 3})}
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    safetensors.numpy.save_file(arrays, tmp_path / "old.safetensors", facts)
    found, metadata = read_tensors(tmp_path / "old.safetensors")
    assert metadata == {"epochs": 3}
    for name, array in tensors.items():
        np.testing.assert_array_equal(found[name], array)

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, **facts})
    pyarrow.parquet.write_table(table, tmp_path / "old.parquet")
    pd.testing.assert_frame_equal(read_table(tmp_path / "old.parquet"), frame, check_exact=True)
    assert read_table_metadata(tmp_path / "old.parquet") == {"epochs": 3}


def test_a_file_whose_digest_was_taken_off_is_refused(frame, tensors, tmp_path: Path):
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    safetensors.numpy.save_file(arrays, tmp_path / "plain.safetensors")
    frame.to_parquet(tmp_path / "plain.parquet")
    for read, name in ((read_tensors, "plain.safetensors"), (read_table, "plain.parquet")):
        with pytest.raises(InputError, match=r"cannot be read \(it has no digest\)"):
            read(tmp_path / name)


# ------------------------------------------------------------------------------------------------ checkpoints

STEPS = 5
JOB = """
import os, signal, sys
import numpy as np
from poisonlab.results.storage import workspace, write_tensors

output, version, killed_before = sys.argv[1], sys.argv[2], int(sys.argv[3])
with workspace(output, version) as place:
    found = place.read("state")
    done = found[1]["steps"] if found else 0
    total = found[0]["total"] if found else np.zeros(1)
    for step in range(done, 5):
        if step == killed_before:
            os.kill(os.getpid(), signal.SIGKILL)
        print(step)
        total = total + 2.0**step
        place.write("state", {"total": total}, {"steps": step + 1})
    write_tensors({"total": total}, output)
"""


def run_job(output: Path, version: str, killed_before: int) -> list[int]:
    """Steps that a job has done; it is killed before one of them, or goes to the end."""
    done = subprocess.run(
        [sys.executable, "-u", "-c", JOB, str(output), version, str(killed_before)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if killed_before < STEPS else 0)
    return [int(line) for line in done.stdout.split()]


def test_a_killed_job_goes_on_from_its_checkpoint_and_leaves_none_when_it_is_finished(tmp_path: Path):
    output = tmp_path / "poison.safetensors"
    assert run_job(output, "one", killed_before=2) == [0, 1]
    assert run_job(output, "one", killed_before=4) == [2, 3]
    assert os.listdir(tmp_path) == ["poison.safetensors.unfinished"]
    assert run_job(output, "one", killed_before=STEPS) == [4]
    assert read_tensors(output)[0]["total"] == 2.0**STEPS - 1  # the sum of the powers of two, exact in float64
    assert os.listdir(tmp_path) == ["poison.safetensors"]


def test_a_checkpoint_of_another_version_or_a_damaged_one_is_not_used(tmp_path: Path):
    output = tmp_path / "poison.safetensors"
    run_job(output, "one", killed_before=2)
    assert run_job(output, "another", killed_before=1) == [0]
    (checkpoint,) = output.with_name(f"{output.name}.unfinished").iterdir()
    checkpoint.write_bytes(damaged(checkpoint.read_bytes())["truncated"])
    assert run_job(output, "another", killed_before=STEPS) == [0, 1, 2, 3, 4]


def test_a_job_that_fails_keeps_its_checkpoints(tmp_path: Path):
    def fail() -> None:
        with workspace(tmp_path / "poison.safetensors", "one") as place:
            place.write("state", {"weights": np.arange(3.0)}, {"step": 7})
            raise InputError("no budget left")

    with pytest.raises(InputError, match="no budget left"):
        fail()
    with workspace(tmp_path / "poison.safetensors", "one") as place:
        found = place.read("state")
        assert found is not None
        np.testing.assert_array_equal(found[0]["weights"], np.arange(3.0))
        assert found[1] == {"step": 7}
        assert place.read("another") is None
