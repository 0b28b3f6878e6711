"""Asking for more draws or more repeats trains the new victims only."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from checkout import EXPERIMENT, SMOKE, VICTIMS, Checkout

from poisonlab.results.storage import read_table, read_tensors

CONDITIONS = ("alfa", "bucket", "clean", "hard", "random")
# The others have the same poison in every draw: more of it would be the same victims.
DRAWN = ("bucket", "hard", "random")
Weights = dict[str, np.ndarray]


@pytest.fixture
def grown(finished: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished run, one draw × two repeats, that may grow."""
    return finished.copy(tmp_path.resolve() / "grown")


def weights(checkout: Checkout, condition: str, chunk: str) -> Weights:
    """Weights of a condition's victims in a chunk: "<condition>_draw-<d>_axis-<value>_repeat-<r>/<parameter>" → array."""
    tensors = read_tensors(checkout.folder / "results/victims" / EXPERIMENT / VICTIMS / f"{chunk}.safetensors")[0]
    return {key: array for key, array in tensors.items() if key.startswith(f"{condition}_draw")}


def victims(checkout: Checkout) -> set[tuple[str, int, int]]:
    """(condition, draw, repeat) of the rows of the victims table."""
    table = read_table(checkout.folder / "results/tables" / EXPERIMENT / "victims.parquet")
    return set(table[["condition", "draw", "repeat"]].itertuples(index=False, name=None))


def trained(stale: dict[str, set[str]]) -> set[str]:
    """Chunks that would be trained, as condition/chunk."""
    return {"/".join(Path(file).with_suffix("").parts[-2:]) for file in stale["train_victims"]}


def test_more_draws_train_the_victims_of_the_new_draws(grown: Checkout):
    new = {f"{VICTIMS}/draws-1-1_repeats-0-1"}
    assert trained(grown.stale("--config", "draws=2")) == new
    before = grown.results("victims", "robustness", "poisons", "proxies", "paths")
    done = grown.run("tables", *SMOKE, "--config", "draws=2")
    assert done.returncode == 0, done.stdout
    after = grown.results("victims", "robustness", "poisons", "proxies", "paths")
    assert {name: state for name, state in after.items() if name in before} == before
    made = {name for name in after if name not in before and name.startswith("results/victims/")}
    made -= {name for name in made if name.endswith(".known")}  # a second name of the same file
    assert {"/".join(Path(name).with_suffix("").parts[-2:]) for name in made} == new
    old = {(condition, 0, repeat) for condition in CONDITIONS for repeat in (0, 1)}
    assert victims(grown) == old | {(condition, 1, repeat) for condition in DRAWN for repeat in (0, 1)}


def test_more_repeats_train_the_new_repeat_and_take_the_others_as_they_are(grown: Checkout):
    assert trained(grown.stale("--config", "repeats=3")) == {f"{VICTIMS}/draws-0-0_repeats-0-2"}
    old = {name: weights(grown, name, "draws-0-0_repeats-0-1") for name in CONDITIONS}
    done = grown.run("tables", *SMOKE, "--config", "repeats=3")
    assert done.returncode == 0, done.stdout
    for name in CONDITIONS:
        new = weights(grown, name, "draws-0-0_repeats-0-2")
        assert len(new) * 2 == len(old[name]) * 3
        for key, array in old[name].items():
            assert np.array_equal(new[key], array), f"{name}: {key} has changed"
    # The job's own words: how many it had before it began, and which it trained.
    log = grown.folder / "results/logs/train_victims" / EXPERIMENT / VICTIMS / "draws-0-0_repeats-0-2.log"
    had, total = map(int, re.findall(r"(\d+) of (\d+) victims trained", log.read_text())[0])
    assert 3 * had == 2 * total
    assert set(re.findall(r"draw-0\S*_repeat-(\d+)", log.read_text())) == {"2"}
    assert victims(grown) == {(condition, 0, repeat) for condition in CONDITIONS for repeat in (0, 1, 2)}


def test_what_is_archived_is_not_trained_again_elsewhere_and_the_rest_is_merged_in(grown: Checkout):
    shutil.rmtree(grown.folder / "archive")  # the repository's own, of other sizes under the same names
    done = grown.run("archive", *SMOKE)
    assert done.returncode == 0, done.stdout
    for folder in ("victims", "robustness", "tables"):
        shutil.rmtree(grown.folder / "results" / folder)
    # Elsewhere paths come out otherwise: two points have changed places in the archived buckets, to tell them from
    # those that are cut here.
    archived = grown.folder / "archive" / EXPERIMENT / "buckets.csv.gz"
    cut = read_table(grown.folder / "results" / "buckets" / "digits01_0.parquet")
    pd.testing.assert_frame_equal(read_table(archived), cut)
    first, last = (cut.index[cut["bucket"] == number][0] for number in (cut["bucket"].min(), cut["bucket"].max()))
    cut.loc[[first, last], "index"] = cut.loc[[last, first], "index"].to_numpy()
    cut.to_csv(archived, index=False)
    rest = ["--config", "draws=2", "skip_archived=true"]
    assert trained(grown.stale(*rest)) == {f"{VICTIMS}/draws-1-1_repeats-0-1"}
    for target in ("tables", "archive"):
        done = grown.run(target, *SMOKE, *rest)
        assert done.returncode == 0, done.stdout
    one_draw = {(condition, 0, repeat) for condition in CONDITIONS for repeat in (0, 1)}
    archived = read_table(grown.folder / "archive" / EXPERIMENT / "victims.csv.gz")
    assert set(archived[["condition", "draw", "repeat"]].itertuples(index=False, name=None)) == one_draw | {
        (condition, 1, repeat) for condition in DRAWN for repeat in (0, 1)
    }
    assert "train_victims" not in grown.stale(*rest)
    pd.testing.assert_frame_equal(read_table(grown.folder / "results" / "buckets" / "digits01_0.parquet"), cut)


def test_what_a_stopped_run_has_finished_is_archived_without_training(grown: Checkout):
    shutil.rmtree(grown.folder / "archive")
    chunk = f"{EXPERIMENT}/{VICTIMS}/draws-1-1_repeats-0-1.parquet"
    target = (f"results/{folder}/{chunk}" for folder in ("robustness", "probes"))
    done = grown.run(*target, *SMOKE, "--config", "draws=3")
    assert done.returncode == 0, done.stdout
    so_far = ["--config", "draws=3", "only_finished=true"]
    assert "train_victims" not in grown.stale(*so_far)
    done = grown.run("archive", *SMOKE, *so_far)
    assert done.returncode == 0, done.stdout
    archived = read_table(grown.folder / "archive" / EXPERIMENT / "victims.csv.gz")
    draws = {(condition, 0) for condition in CONDITIONS} | {(condition, 1) for condition in DRAWN}
    assert set(archived[["condition", "draw"]].itertuples(index=False, name=None)) == draws
    assert trained(grown.stale("--config", "draws=3", "skip_archived=true")) == {f"{VICTIMS}/draws-2-2_repeats-0-1"}
