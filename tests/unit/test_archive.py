"""The archive: batches of victims merged by their keys."""

import copy
import gzip
import importlib
import json
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from poisonlab.errors import InputError
from poisonlab.results.archive import (
    archive_analysis,
    archive_experiment,
    archive_multiverse,
    archived_hours,
    merge,
    training_time,
)
from poisonlab.results.storage import read_table, read_tensors, write_table, write_tensors
from poisonlab.results.tables import KEYS, draws_in_words, metadata_of_copies, without_copies

SETTINGS = {"device": "cpu", "draws": 2, "recipes": {"short": {"epochs": 5}}}
EPSILONS = (0.1, 0.3)
VALUES = {"clean": [np.nan], "bucket": [0.0, 1.0]}
IDENTITY = {"study": "label_noise", "experiment": "one"}
SAME_FOR_ALL = {
    "dataset": "digits",
    "model": "mlp",
    "recipe": "short",
    "precision": "float32",
    "scale": "analogue",
    "source_class": 4,
    "target_class": 5,
}


def run(
    folder: Path, draws: range, repeats: range, conditions: tuple[str, ...] = ("clean", "bucket"), **changes: Any
) -> Path:
    """Write the tables of a run, with an accuracy that tells the victim and the run (`shift`) apart, and return their folder."""
    shift = changes.pop("shift", 0.0)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in KEYS}
    for name in conditions:
        own_draws = range(1) if name == "clean" else draws
        for value in VALUES[name]:
            key = IDENTITY | {"condition": name, "axis_value": value}
            axis = {"axis": "", "strategy": "none", "parameters": "{}", "budget": 0}
            if name == "bucket":
                axis = {"axis": "bucket", "strategy": "path_bucket", "parameters": '{"r": 0.1}', "budget": 10}
            counts = {"n_draws": len(own_draws), "n_repeats": len(repeats)}
            edges = {"n_points": np.nan, "steps_low": np.nan, "steps_high": np.nan}
            rows["conditions"].append(key | axis | SAME_FOR_ALL | counts | edges | changes)
            for draw in own_draws:
                for repeat in repeats:
                    victim = key | {"draw": draw, "repeat": repeat}
                    accuracy = (1 + draw + repeat / 7) / 17 + shift
                    rows["victims"].append(victim | {"natural_accuracy": accuracy, "memorised": repeat % 2 == 0})
                    rows["robustness"] += [
                        victim
                        | {"attack": attack, "attack_source": source, "attack_target": source + 1, "epsilon": epsilon}
                        | {"adversarial_accuracy": accuracy / 3}
                        for attack, source in (("pgd", 4.0), ("untargeted", np.nan))
                        for epsilon in EPSILONS
                    ]
    for name, content in rows.items():
        write_table(pd.DataFrame(content), folder / f"{name}.parquet")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def victims(archive: Path) -> set[tuple[str, float, int, int]]:
    table = read_table(archive / "victims.csv.gz").fillna({"axis_value": -1.0})
    return set(table[["condition", "axis_value", "draw", "repeat"]].itertuples(index=False, name=None))


# ------------------------------------------------------------------------------------------------ merge


def test_merge_keeps_one_row_for_each_key_and_prefers_the_new_one():
    old = pd.DataFrame({"axis_value": [np.nan, 0.1, 0.3], "draw": [0, 0, 0], "accuracy": [1.0, 2.0, 3.0]})
    new = pd.DataFrame({"axis_value": [0.3, np.nan, 0.2], "draw": [0, 0, 1], "accuracy": [30.0, 10.0, 20.0]})
    expected = pd.DataFrame(
        {"axis_value": [0.1, 0.2, 0.3, np.nan], "draw": [0, 1, 0, 0], "accuracy": [2.0, 20.0, 30.0, 10.0]}
    )
    pd.testing.assert_frame_equal(merge(old, new, ["axis_value", "draw"]), expected)
    pd.testing.assert_frame_equal(
        merge(None, new, ["axis_value", "draw"]), new.sort_values("axis_value", ignore_index=True)
    )


# ------------------------------------------------------------------------------------------------ experiments


def test_a_first_batch_is_archived_as_it_is(tmp_path: Path):
    tables = run(tmp_path / "tables", range(2), range(3))
    archive_experiment(tables, tmp_path / "archive", SETTINGS)
    for name, key in KEYS.items():
        expected = read_table(tables / f"{name}.parquet").sort_values(key, kind="stable", ignore_index=True)
        if name == "conditions":
            expected["axis"] = expected["axis"].replace("", np.nan)  # in text, an empty name is a missing one
        found = read_table(tmp_path / "archive" / f"{name}.csv.gz")
        pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_new_victims_are_added_and_counted(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, SETTINGS)
    archive_experiment(run(tmp_path / "second", range(2, 5), range(1, 4)), archive, SETTINGS)
    expected = {("clean", -1.0, 0, repeat) for repeat in range(4)}
    for value in (0.0, 1.0):
        expected |= {("bucket", value, draw, repeat) for draw in range(2) for repeat in range(3)}
        expected |= {("bucket", value, draw, repeat) for draw in range(2, 5) for repeat in range(1, 4)}
    assert victims(archive) == expected
    assert len(read_table(archive / "victims.csv.gz")) == len(expected)
    robustness = read_table(archive / "robustness.csv.gz")
    assert len(robustness) == 2 * len(EPSILONS) * len(expected)
    assert not robustness.duplicated(KEYS["robustness"]).any()
    conditions = read_table(archive / "conditions.csv.gz").set_index("condition")
    assert conditions.loc["clean", ["n_draws", "n_repeats"]].tolist() == [1, 4]
    assert conditions.loc["bucket", ["n_draws", "n_repeats"]].to_numpy().tolist() == [[5, 4], [5, 4]]


def test_a_condition_without_victims_yet_is_none_of_the_archive(tmp_path: Path):
    tables = run(tmp_path / "tables", range(2), range(3))
    for name in ("victims", "robustness"):
        table = read_table(tables / f"{name}.parquet")
        write_table(table[table["condition"] != "clean"], tables / f"{name}.parquet")
    archive_experiment(tables, tmp_path / "archive", SETTINGS)
    assert set(read_table(tmp_path / "archive" / "conditions.csv.gz")["condition"]) == {"bucket"}
    archive_experiment(run(tmp_path / "tables", range(2), range(3)), tmp_path / "archive", SETTINGS)
    assert set(read_table(tmp_path / "archive" / "conditions.csv.gz")["condition"]) == {"bucket", "clean"}


def test_repeated_victims_are_replaced(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, SETTINGS)
    archive_experiment(run(tmp_path / "second", range(2), range(2, 4), shift=0.5), archive, SETTINGS)
    table = read_table(archive / "victims.csv.gz")
    assert len(table) == 4 * (1 + 2 * 2)
    expected = (1 + table["draw"] + table["repeat"] / 7) / 17 + 0.5 * (table["repeat"] >= 2)
    np.testing.assert_array_equal(table["natural_accuracy"], expected)
    robustness = read_table(archive / "robustness.csv.gz")
    shifted = (1 + robustness["draw"] + robustness["repeat"] / 7) / 17 + 0.5 * (robustness["repeat"] >= 2)
    np.testing.assert_array_equal(robustness["adversarial_accuracy"], shifted / 3)


def test_a_condition_that_was_not_run_again_stays(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3), ("clean",)), archive, SETTINGS)
    archive_experiment(run(tmp_path / "second", range(2), range(3), ("bucket",)), archive, SETTINGS)
    archive_experiment(run(tmp_path / "both", range(2), range(3)), tmp_path / "at once", SETTINGS)
    for name in KEYS:
        assert contents(archive)[f"{name}.csv.gz"] == contents(tmp_path / "at once")[f"{name}.csv.gz"]


NEAR, FAR = ({"n_points": float(n), "steps_low": float(low), "steps_high": 9.0} for n, low in ((40, 3), (41, 4)))
BUCKETS = pd.DataFrame({"index": [3, 5], "steps": [4, 9], "bucket": [0, 1]})


def test_victims_of_buckets_that_were_cut_otherwise_are_refused(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3), **NEAR), archive, SETTINGS)
    before = contents(archive)
    more = run(tmp_path / "second", range(1, 4), range(3), ("bucket",), **FAR)
    words = "bucket 0 of 40 points of 3 to 9 steps, this batch has 41 points of 4 to 9 steps and would replace 3 of its 6 victims"
    with pytest.raises(InputError, match=words):
        archive_experiment(more, archive, SETTINGS)
    assert contents(archive) == before
    same = run(tmp_path / "same", range(1, 4), range(3), ("bucket",), **NEAR)
    archive_experiment(same, archive, SETTINGS)
    assert ("bucket", 0.0, 3, 2) in victims(archive)


def test_a_batch_that_replaces_all_victims_of_other_buckets_takes_their_place(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3), **NEAR), archive, SETTINGS)
    again = run(tmp_path / "second", range(3), range(3), ("bucket",), shift=0.5, **FAR)
    table = read_table(again / "robustness.parquet")
    write_table(table[table["epsilon"] == EPSILONS[0]], again / "robustness.parquet")
    archive_experiment(again, archive, SETTINGS, BUCKETS)
    conditions = read_table(archive / "conditions.csv.gz").set_index("condition")
    assert set(conditions.loc["bucket", "n_points"]) == {41.0}
    table = read_table(archive / "victims.csv.gz")
    assert (table.loc[table["condition"] == "bucket", "natural_accuracy"] > 0.5).all()
    assert victims(archive) >= {("clean", -1.0, 0, 2), ("bucket", 1.0, 2, 2)}
    table = read_table(archive / "robustness.csv.gz")
    # What the victims that are gone had withstood at the other radius is gone, too.
    assert set(table.loc[table["condition"] == "bucket", "epsilon"]) == {EPSILONS[0]}
    assert set(table.loc[table["condition"] == "clean", "epsilon"]) == set(EPSILONS)
    pd.testing.assert_frame_equal(read_table(archive / "buckets.csv.gz"), BUCKETS)


def test_archiving_again_changes_no_byte(tmp_path: Path):
    tables, archive = run(tmp_path / "tables", range(3), range(3)), tmp_path / "archive"
    archive_experiment(tables, archive, SETTINGS)
    first = contents(archive)
    archive_experiment(tables, archive, SETTINGS)
    assert contents(archive) == first
    assert set(first) == {"conditions.csv.gz", "victims.csv.gz", "robustness.csv.gz", "provenance.json"}


def test_the_order_of_the_batches_does_not_matter(tmp_path: Path):
    early, late = run(tmp_path / "early", range(2), range(3)), run(tmp_path / "late", range(2, 4), range(3))
    for folder, batches in (("forward", (early, late)), ("backward", (late, early))):
        for tables in batches:
            archive_experiment(tables, tmp_path / folder, SETTINGS)
    for name in KEYS:
        file = f"{name}.csv.gz"
        assert (tmp_path / "forward" / file).read_bytes() == (tmp_path / "backward" / file).read_bytes()


@pytest.mark.parametrize(
    ("column", "other"),
    [
        ("dataset", "mnist"),
        ("model", "pooled"),
        ("recipe", "long"),
        ("precision", "bfloat16"),
        ("scale", "published"),
        ("budget", 20),
        ("source_class", 1),
        ("target_class", 2),
        ("strategy", "cleverer"),
        ("parameters", '{"r": 0.2}'),
    ],
)
@pytest.mark.parametrize("conditions", [("clean", "bucket"), ("bucket",)])
def test_victims_of_something_else_under_the_same_names_are_refused(tmp_path: Path, column, other, conditions):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, SETTINGS)
    before = contents(archive)
    # The second run has other draws of the same conditions: it would leave the first one's victims under the new description.
    changed = run(tmp_path / "second", range(2, 4), range(3), conditions, **{column: other})
    with pytest.raises(InputError, match=rf"would mix {column} .*archive under another experiment name") as error:
        archive_experiment(changed, archive, SETTINGS)
    assert str(other) in str(error.value)
    assert "\n" not in str(error.value)
    assert contents(archive) == before


def test_a_new_condition_on_another_data_set_is_refused(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3), ("clean",)), archive, SETTINGS)
    with pytest.raises(InputError, match=r"would mix dataset \['digits', 'mnist'\]"):
        archive_experiment(
            run(tmp_path / "second", range(2), range(3), ("bucket",), dataset="mnist"), archive, SETTINGS
        )


# ------------------------------------------------------------------------------------------------ provenance and surveys


def test_provenance_has_an_entry_for_every_batch_that_differs_by_more_than_its_date(tmp_path: Path):
    tables, archive = run(tmp_path / "tables", range(2), range(2)), tmp_path / "archive"
    archive_experiment(tables, archive, SETTINGS)
    file = archive / "provenance.json"
    entries = json.loads(file.read_text())
    assert entries[0]["configuration"] == SETTINGS
    assert entries[0]["device"] == "cpu"
    assert entries[0]["versions"]["torch"].startswith("2.")
    entries[0]["date"] = "2001-01-01"
    file.write_text(json.dumps(entries))
    archive_experiment(tables, archive, SETTINGS)
    assert [entry["date"] for entry in json.loads(file.read_text())] == ["2001-01-01"]
    archive_experiment(tables, archive, SETTINGS | {"device": "cuda"})
    assert [entry["device"] for entry in json.loads(file.read_text())] == ["cpu", "cuda"]


def test_provenance_names_what_the_bits_of_a_result_depend_on(tmp_path: Path, monkeypatch):
    tables, archive = run(tmp_path / "tables", range(1), range(1)), tmp_path / "archive"
    file = archive / "provenance.json"
    for kernels in (None, "off"):
        if kernels:
            monkeypatch.setenv("POISONLAB_KERNELS", kernels)
        archive_experiment(tables, archive, SETTINGS)
    plain, without = json.loads(file.read_text())
    assert (plain["kernels"], without["kernels"]) == ("on", "off")
    for name in ("numba", "networkx", "pyarrow", "numpy"):
        assert plain["versions"][name] == importlib.import_module(name).__version__
    if Path("/proc/cpuinfo").is_file() and platform.machine() == "x86_64":
        flags = re.findall(r"^flags\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)[0].split()
        for name in ("sse4_2", "avx2", "fma", "avx512f", "avx512_bf16"):
            assert (name.replace("sse4_", "sse4.").replace("_", "") in plain["instructions"]) == (name in flags), name


def test_a_batch_follows_those_of_earlier_versions_which_say_less(tmp_path: Path):
    tables, archive = run(tmp_path / "tables", range(1), range(1)), tmp_path / "archive"
    archive_experiment(tables, archive, SETTINGS)
    file = archive / "provenance.json"
    (new,) = json.loads(file.read_text())
    later = ("processor_name", "instructions", "kernels")
    old = {key: value for key, value in new.items() if key not in later}
    old["versions"] = {key: value for key, value in new["versions"].items() if key != "numba"}
    file.write_text(json.dumps([old]))
    archive_experiment(run(tmp_path / "more", range(1), range(1, 2)), archive, SETTINGS)
    assert json.loads(file.read_text()) == [old, new]
    assert {repeat for *_, repeat in victims(archive)} == {0, 1}


def test_provenance_says_whether_the_code_is_that_of_its_commit(tmp_path: Path, monkeypatch):
    def batch(status: str) -> tuple[str | None, bool | None]:
        answers = {"rev-parse": "abc", "status": status}
        monkeypatch.setattr(
            "poisonlab.results.archive._git", lambda command, *_: answers[command] if status != "no git" else None
        )
        folder = tmp_path / f"archive {status}"
        archive_experiment(tables, folder, SETTINGS)
        (entry,) = json.loads((folder / "provenance.json").read_text())
        return entry["commit"], entry["changed"]

    tables = run(tmp_path / "tables", range(1), range(1))
    assert [batch(""), batch(" M src/poisonlab/a.py"), batch("no git")] == [("abc", False), ("abc", True), (None, None)]


def test_archived_files_carry_neither_a_time_nor_a_name(tmp_path: Path):
    archive_experiment(run(tmp_path / "tables", range(1), range(1)), tmp_path / "archive", SETTINGS)
    content = (tmp_path / "archive" / "victims.csv.gz").read_bytes()
    assert content[3] == 0  # RFC 1952: no flags, so no file name
    assert content[4:8] == bytes(4)  # no time of change
    assert gzip.decompress(content).startswith(b"study,experiment,condition,axis_value,draw,repeat,")


def test_an_analysis_replaces_the_older_one(tmp_path: Path):
    for repetition in range(2):
        tables = tmp_path / f"tables-{repetition}"
        write_table(pd.DataFrame({"paths": ["p"], "n_points": [repetition]}), tables / "table.parquet")
        write_tensors({"nearest_steps": np.array([repetition])}, tables / "arrays.safetensors", {"class_names": "[]"})
        archive_analysis(tables, tmp_path / "archive", SETTINGS)
    assert read_table(tmp_path / "archive" / "table.csv.gz")["n_points"].tolist() == [1]
    arrays, metadata = read_tensors(tmp_path / "archive" / "arrays.safetensors")
    assert arrays["nearest_steps"].tolist() == [1]
    assert metadata == {"class_names": "[]"}


def test_a_multiverse_replaces_the_older_one(tmp_path: Path):
    for repetition in range(2):
        table = tmp_path / f"tables-{repetition}" / "specifications.parquet"
        write_table(pd.DataFrame({"optimiser": ["sgd"], "measured": [repetition / 3]}), table)
        archive_multiverse(table, tmp_path / "archive", SETTINGS)
    assert read_table(tmp_path / "archive" / "specifications.csv.gz")["measured"].tolist() == [1 / 3]
    assert sorted(contents(tmp_path / "archive")) == ["provenance.json", "specifications.csv.gz"]


def test_an_analysis_without_arrays_leaves_none_in_the_archive(tmp_path: Path):
    write_table(pd.DataFrame({"n": [1]}), tmp_path / "tables" / "table.parquet")
    write_tensors({}, tmp_path / "tables" / "arrays.safetensors")
    archive_analysis(tmp_path / "tables", tmp_path / "archive", SETTINGS)
    assert sorted(contents(tmp_path / "archive")) == ["provenance.json", "table.csv.gz"]


def test_conditions_of_an_experiment_may_differ_in_model_and_flips_but_none_may_change(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "clean", range(1), range(2), ("clean",), model="cnn"), archive, SETTINGS)
    archive_experiment(run(tmp_path / "bucket", range(1), range(2), ("bucket",), model="mlp"), archive, SETTINGS)
    with pytest.raises(InputError, match=r"would mix model \['cnn', 'mlp'\]"):
        archive_experiment(run(tmp_path / "other", range(1), range(2), ("clean",), model="mlp"), archive, SETTINGS)


def test_a_damaged_result_does_not_reach_the_archive(tmp_path: Path):
    tables = tmp_path / "tables"
    write_table(pd.DataFrame({"paths": ["p"]}), tables / "table.parquet")
    write_tensors({"nearest_steps": np.array([7])}, tables / "arrays.safetensors")
    content = bytearray((tables / "arrays.safetensors").read_bytes())
    content[-1] ^= 1
    (tables / "arrays.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"arrays\.safetensors' cannot be read .*digest"):
        archive_analysis(tables, tmp_path / "archive", SETTINGS)
    assert not (tmp_path / "archive").exists()


MEANINGS: dict[str, tuple[str, ...]] = {
    "recipes.short.epochs": ("recipes", "short", "epochs"),
    "recipes.proxy.epochs": ("recipes", "proxy", "epochs"),
    "attacks.pgd.steps": ("attacks", "pgd", "steps"),
    "datasets.digits.mean": ("datasets", "digits", "mean"),
    "paths.clean.step_size": ("paths", "clean", "step_size"),
    "label_noise.experiments.one.buckets.count": ("label_noise", "experiments", "one", "buckets", "count"),
    "label_noise.experiments.one.buckets.minimum": ("label_noise", "experiments", "one", "buckets", "minimum"),
    "label_noise.experiments.one.redraw": ("label_noise", "experiments", "one", "redraw"),
}
MEANT = SETTINGS | {
    "recipes": {"short": {"epochs": 5}, "proxy": {"epochs": 5}},
    "attacks": {"pgd": {"steps": 20, "epsilon": [0.1]}, "another": {"steps": 1}},
    "datasets": {"digits": {"mean": 2.0, "path": "here"}},
    "paths": {"clean": {"recipe": "proxy", "step_size": 0.01, "proxy_seeds": 1}},
    "label_noise": {
        "experiments": {"one": {"buckets": {"count": 6, "minimum": 20, "paths": "clean"}, "redraw": False}}
    },
}


def with_another(place: tuple[str, ...], value: Any) -> dict[str, Any]:
    settings = copy.deepcopy(MEANT)
    entry = settings
    for name in place[:-1]:
        entry = entry[name]
    entry[place[-1]] = value
    return settings


@pytest.mark.parametrize("place", MEANINGS)
def test_a_name_that_means_something_else_is_refused(tmp_path: Path, place):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, MEANT)
    before = contents(archive)
    tables = run(tmp_path / "more", range(2, 4), range(3))
    with pytest.raises(InputError, match=rf"{re.escape(place)} = .*these are of 99; archive under another name"):
        archive_experiment(tables, archive, with_another(MEANINGS[place], 99))
    assert contents(archive) == before


NOW = SETTINGS | {
    **{name: MEANT[name] for name in ("recipes", "attacks", "datasets")},
    "proxies": {"clean": {"dataset": "digits", "model": "mlp", "recipe": "proxy", "seeds": 1}},
    "paths": {"clean": {"proxy": "clean", "step_size": 0.01}},
    "buckets": {"four": {"paths": "clean", "source": 4, "count": 6, "minimum": 20}},
    "label_noise": {
        "poisons": {"near": {"needs": {"buckets": "four"}, "redraw": False}, "clean": {"needs": {}, "redraw": False}},
        "experiments": {"one": {"poisons": {"clean": {"poison": "clean"}, "bucket": {"poison": "near"}}}},
    },
}


def test_a_batch_of_before_studies_had_folders_merges_with_one_of_today(tmp_path: Path):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, MEANT)
    archive_experiment(run(tmp_path / "more", range(2, 4), range(3)), archive, NOW)
    assert {draw for _, _, draw, _ in victims(archive)} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("place", "said"),
    [
        (("buckets", "four", "count"), "label_noise.experiments.one.buckets.count"),
        (("paths", "clean", "step_size"), "paths.clean.step_size"),
        (("proxies", "clean", "recipe"), "paths.clean.recipe"),
        (("recipes", "proxy", "epochs"), "recipes.proxy.epochs"),
        (("label_noise", "poisons", "clean", "redraw"), "label_noise.experiments.one.redraw"),
    ],
)
def test_a_batch_of_before_studies_had_folders_is_not_mixed_with_one_that_means_something_else(
    tmp_path: Path, place, said
):
    archive, settings = tmp_path / "archive", copy.deepcopy(NOW)
    settings["recipes"]["99"] = {"epochs": 5}
    entry = settings
    for name in place[:-1]:
        entry = entry[name]
    entry[place[-1]] = "99" if place[-1] == "recipe" else 99
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, MEANT)
    with pytest.raises(InputError, match=rf"{re.escape(said)} = .*these are of 99; archive under another name"):
        archive_experiment(run(tmp_path / "more", range(2, 4), range(3)), archive, settings)


@pytest.mark.parametrize(
    "place",
    [
        ("attacks", "pgd", "epsilon"),
        ("attacks", "another", "steps"),
        ("datasets", "digits", "path"),
        ("paths", "clean", "proxy_seeds"),
        ("attacks", "pgd", "a setting that is new"),
    ],
)
def test_what_no_archived_victim_depends_on_may_differ(tmp_path: Path, place):
    archive = tmp_path / "archive"
    archive_experiment(run(tmp_path / "first", range(2), range(3)), archive, MEANT)
    archive_experiment(run(tmp_path / "more", range(2, 4), range(3)), archive, with_another(place, 99))
    assert {draw for _, _, draw, _ in victims(archive)} == {0, 1, 2, 3}


def test_a_batch_says_how_long_its_victims_took_to_train(tmp_path):
    jobs, tables, archive = tmp_path / "benchmarks", tmp_path / "tables", tmp_path / "archive"
    assert training_time(jobs) == {}
    for name, seconds, core in (
        ("one/draws-0-0", 1800, 900),
        ("two/draws-0-1", 3600, 1800),
        ("two/draws-0-2", 0.4, "NA"),
    ):
        (jobs / name).parent.mkdir(parents=True, exist_ok=True)
        (jobs / f"{name}.jsonl").write_text(json.dumps({"s": seconds, "cpu_time": core}) + "\n")
    assert training_time(jobs) == {"jobs": 3, "hours": 1.5, "core_hours": 0.75}
    archive_experiment(run(tables, range(2), range(2)), archive, SETTINGS, benchmarks=jobs)
    # The same batch again, one of its jobs quicker this time, is no further batch.
    (jobs / "one/draws-0-0.jsonl").write_text(json.dumps({"s": 18, "cpu_time": 9}))
    archive_experiment(tables, archive, SETTINGS, benchmarks=jobs)
    (batch,) = json.loads((archive / "provenance.json").read_text())
    assert batch["training"] == {"jobs": 3, "hours": 1.5, "core_hours": 0.75}
    assert archived_hours(tmp_path) == (0.75, 1, 1)
    archive_experiment(tables, tmp_path / "silent", SETTINGS)
    assert archived_hours(tmp_path) == (0.75, 1, 2)
    assert archived_hours(tmp_path / "nowhere") == (0, 0, 0)


def test_copies_that_were_left_out_are_remembered(tmp_path: Path):
    """A strategy that is sure of its points makes the same poison in draw 1: its victims need not be trained again."""
    tables, archive = run(tmp_path / "tables", range(3), range(2), ("bucket",)), tmp_path / "archive"
    table = read_table(tables / "victims.parquet")
    table["training_set"] = [
        f"{value:g} {max(int(draw), 1)}" for value, draw in table[["axis_value", "draw"]].to_numpy()
    ]
    rest, robustness, copies = without_copies(table, read_table(tables / "robustness.parquet"))
    assert draws_in_words(copies) == "bucket 0 draw 1, bucket 1 draw 1"
    write_table(rest, tables / "victims.parquet", metadata_of_copies(copies))
    write_table(robustness, tables / "robustness.parquet")
    archive_experiment(tables, archive, SETTINGS)
    once = contents(archive)["copies.csv.gz"]
    pd.testing.assert_frame_equal(read_table(archive / "copies.csv.gz"), copies)
    assert {draw for _, _, draw, _ in victims(archive)} == {0, 2}
    again = run(
        tmp_path / "again", range(3), range(2), ("bucket",)
    )  # whose copies come to light beside the archived ones
    write_table(table, again / "victims.parquet")
    archive_experiment(again, archive, SETTINGS)
    assert contents(archive)["copies.csv.gz"] == once
    assert {draw for _, _, draw, _ in victims(archive)} == {0, 2}
