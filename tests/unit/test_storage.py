"""Files are whole or absent, keep their content to the bit, and say in one line what is wrong with them."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from poisonlab.errors import InputError
from poisonlab.results.storage import atomic, read_table, read_table_metadata, read_tensors, write_table, write_tensors


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
    with pytest.raises(InputError, match=r"nowhere\.safetensors' cannot be read"):
        read_tensors(tmp_path / "nowhere.safetensors")
