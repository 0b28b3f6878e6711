"""An audit: what it reads of a command, what it chooses, and what it says."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from poisonlab.audit import audit, best_recipe, budgets_around, facts_of
from poisonlab.audit.answer import NUMBERS, exposed, named, reference_radius, row_of
from poisonlab.audit.costs import hardening
from poisonlab.audit.question import Question, question
from poisonlab.audit.study import WAYS, Choices, Facts, buckets, candidates, clean_nets, first_looks, whole
from poisonlab.cli.audit import _reason as reason
from poisonlab.datasets.dataset import Column, make_dataset
from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.studies import read_yaml
from poisonlab.results.storage import write_table
from poisonlab.statistics import mean_interval
from poisonlab.victims.timing import Stopwatch

ROOT = Path(__file__).resolve().parents[2]
FACTS = Facts(455, (170, 285), ("malignant", "benign"), "vectors")
KNOWN = {"digits01": {"source": "digits", "classes": [0, 1]}}


def pictures(folder: Path, mode: str = "L", sizes: tuple[tuple[int, int], ...] = ((8, 8),)) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number, size in enumerate(sizes):
            Image.new(mode, size).save(folder / name / f"{number}.png")
    return folder


def test_the_kind_of_data_is_seen_by_the_file(tmp_path: Path) -> None:
    table = tmp_path / "Breast Cancer.csv"
    table.write_text("a,label\n1,x\n")
    assert (found := question(str(table), KNOWN)).name == "audit_breast_cancer"
    assert found.dataset == {"source": "table", "path": str(table)}
    assert question("digits01", KNOWN).dataset == KNOWN["digits01"]
    assert question("mnist", {}).dataset == {"source": "mnist"}
    grey = question(str(pictures(tmp_path / "grey")), KNOWN).dataset
    assert grey == {"source": "folder", "path": str(tmp_path / "grey"), "greyscale": True}
    colour = question(str(pictures(tmp_path / "colour", "RGB", ((40, 50), (20, 60)))), KNOWN).dataset
    assert colour == {"source": "folder", "path": str(tmp_path / "colour"), "size": [32, 20]}
    large = str(pictures(tmp_path / "large", "RGB", ((64, 48),)))
    assert question(large, KNOWN).dataset["size"] == [32, 32]
    assert "size" not in question(large, KNOWN, model="mine:Net").dataset
    np.savez(tmp_path / "vectors.npz", train_images=np.zeros((3, 2)))
    assert question(str(tmp_path / "vectors.npz"), KNOWN).dataset["standardise"] is True


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"data": "nothing.csv"},
            "'nothing.csv' is not there as a folder of images.* nor is it one of cifar10, digits, digits01",
        ),
        ({"flip": "a"}, "--flip is 'a', allowed is source:target"),
        ({"flip": "a:a"}, "two different classes"),
        ({"budget": "none"}, "--budget is 'none', allowed are a number of labels from 1 or a share like 1%"),
        ({"budget": "0"}, "--budget is '0'"),
        ({"budget": "100%"}, "--budget is '100%'"),
        ({"time": "15"}, "--time is '15', allowed is a number with s, m or h"),
        ({"epsilon": 0.0}, "--epsilon is 0.0, allowed is a finite radius above 0"),
    ],
)
def test_a_word_that_cannot_be_read_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        question(**{"data": "digits01", "known": KNOWN, **change})  # type: ignore[arg-type]


def test_words_become_numbers() -> None:
    found = question("digits01", KNOWN, flip="0:1", budget="2.5 %", time="1.5h")
    assert (found.flip, found.budget, found.seconds) == (("0", "1"), 0.025, 5400)


@pytest.mark.parametrize(
    ("budget", "around"), [(1, (1, 2)), (2, (1, 2, 4)), (4, (2, 4, 8)), (10, (5, 10)), (19, (9, 19))]
)
def test_budgets_stand_around_the_one_that_was_asked_for(budget: int, around: tuple[int, ...]) -> None:
    facts = Facts(130, (39, 91), ("a", "b"), "grey")
    assert budgets_around(budget, facts, 0) == around
    assert budget in around


def test_a_budget_above_half_of_the_class_is_refused() -> None:
    facts = Facts(109, (18, 91), ("a", "b"), "grey")
    with pytest.raises(InputError, match=r"class 'a' has 18 training points, at most half of them .* 10 are asked for"):
        budgets_around(10, facts, 0)


def small_class(folder: Path, asked: Question, choices: Choices) -> str:
    """A study of a class with too few points for path buckets."""
    study = whole(asked, Facts(130, (40, 90), ("a", "b"), "grey"), replace(choices, budgets=(5, 10), buckets=0))
    (folder / "few").mkdir(exist_ok=True)
    (folder / "few" / "study.yaml").write_text(json.dumps(study))
    return "./few"


@pytest.mark.parametrize("kind", ["vectors", "grey", "colour"])
def test_the_study_of_every_phase_can_be_planned(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    facts = Facts(300, (100, 200), ("a", "b"), kind)
    asked = question("digits01", KNOWN)
    choices = Choices(candidates(facts)[0], (0, 1), 10, (5, 10, 20), (0.05, 0.1, 0.2), 4, 4, buckets=4)
    for phase in (first_looks(asked, facts), clean_nets(asked, facts, choices), whole(asked, facts, choices)):
        folder = tmp_path / asked.name
        folder.mkdir(exist_ok=True)
        (folder / "study.yaml").write_text(json.dumps(phase))
        plan = Plan({**read_yaml(ROOT / "config.yaml"), "studies": [f"./{asked.name}"]}, ROOT)
    assert {experiment for _, experiment in plan.experiments} == {"harm", "buckets", "defences"}
    few = Plan({**read_yaml(ROOT / "config.yaml"), "studies": [small_class(tmp_path, asked, choices)]}, ROOT)
    assert {experiment for _, experiment in few.experiments} == {"harm", "defences"}
    assert {name for _, name in plan.figures} == {"budgets", "radii", "defences", "detected"}


def test_there_are_as_many_buckets_as_a_class_has_points_and_different_lengths_for() -> None:
    def traced(steps: list[int]) -> pd.DataFrame:
        return pd.DataFrame({"index": range(len(steps)), "label": 1, "steps": steps})

    assert buckets(traced(list(range(40))), 1, 10) == 4
    assert buckets(traced(list(range(39))), 1, 10) == 3
    # As wide ranges, one bucket would hold a single point; as equal numbers, all hold ten.
    assert buckets(traced([*range(39), 900]), 1, 10) == 4
    assert buckets(traced([2] * 15 + [3] * 25), 1, 10) == 2
    assert buckets(traced([2] * 40), 1, 10) == 0


def test_columns_of_a_table_are_named_on_the_command_line(tmp_path: Path) -> None:
    table = tmp_path / "own.csv"
    table.write_text("id,a,y\n1,0.5,yes\n")
    found = question(str(table), KNOWN, label="y", drop=["id"])
    assert found.dataset == {"source": "table", "path": str(table), "label": "y", "drop": ["id"]}
    with pytest.raises(InputError, match="--label names a column, and 'digits01' is no table; leave it out"):
        question("digits01", KNOWN, label="y")


def test_a_folder_that_holds_the_audit_of_other_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "own.csv").write_text("a,y\n0.5,yes\n")

    class Reached(Exception):
        pass

    def run(targets: object) -> None:
        raise Reached

    again = str(tmp_path / "here" / "own.csv")  # the same file by another path
    for path, expected in (("here/own.csv", Reached), (again, Reached), ("there/own.csv", InputError)):
        with pytest.raises(expected) as raised:
            audit(question(path, KNOWN), run, ROOT)
    assert str(raised.value).startswith(f"'audit_own' holds the audit of '{again}', not of 'there/own.csv'; give")


def test_the_reason_for_which_a_pipeline_stopped_is_said(tmp_path: Path) -> None:
    job = "host: here\nError in rule prepare_data:\n    log: a.log\nprepare_data: 'own.csv' has no rows; add some\nExiting.\n"
    assert reason(job, tmp_path, 0.0) == "'own.csv' has no rows; add some"
    configuration = (
        'host: here\nWorkflowError in file "Snakefile", line 41:\nmodels.x is unknown; correct it\n  File "x"\n'
    )
    assert reason(configuration, tmp_path, 0.0) == "models.x is unknown; correct it"
    assert reason("Building DAG of jobs...\nhost: here\n", tmp_path, 0.0) == ""
    for name, last in (("stopped", "'own.csv' has no rows; add some"), ("others", "12:00:01 3 of 5 epochs")):
        (tmp_path / f"{name}.log").write_text(f"12:00:00 begins\n{last}\n")
    assert reason("", tmp_path, 0.0) == "'own.csv' has no rows; add some"
    assert reason("", tmp_path, (tmp_path / "stopped.log").stat().st_mtime + 60) == ""


def test_a_study_without_a_defence_does_not_train_it() -> None:
    facts = Facts(300, (100, 200), ("a", "b"), "grey")
    choices = Choices(
        candidates(facts)[0], (0, 1), 10, (5, 10, 20), (0.05, 0.1, 0.2), ways=("early", "cleaned", "decayed")
    )
    study = whole(question("digits01", KNOWN), facts, choices)
    assert study["experiments"]["defences"]["victims"] == ["plain", "early", "cleaned", "decayed"]
    assert set(NUMBERS) == {len(choices.ways), len(WAYS)}


def test_what_adversarial_training_takes_is_told_from_the_clean_victims_of_the_smallest_size(tmp_path: Path) -> None:
    rows = [
        {"condition": condition, "draw": 0, "repeat": repeat, "epochs": epochs}
        for condition, epochs in (("clean", (10, 20, 7, 7)), ("random", (90, 90, 90, 90)))
        for repeat, epochs in enumerate(epochs)
    ]
    table = tmp_path / "tables" / "own" / "harm" / "victims.parquet"
    table.parent.mkdir(parents=True)
    write_table(pd.DataFrame(rows), table)
    choices = Choices({"epochs": 30})
    assert hardening(tmp_path, "own", choices, 1, 2) == 0.0  # nothing is known
    seconds = {"clean_draw-0_repeat-0": 5.0, "clean_draw-0_repeat-1": 6.0, "clean_draw-0_repeat-2": 99.0}
    stopwatch = Stopwatch(tmp_path / "seconds" / "own" / "harm" / "plain" / "one.json", dict.fromkeys(seconds, "id"))
    for key, took in seconds.items():
        stopwatch.note(key, took)
    stopwatch.save()
    # A pass takes 0.5 and 0.3 s; 30 epochs of 1 + 5 passes; 2 victims without wrong labels and 2 × 6 with them.
    assert hardening(tmp_path, "own", choices, 1, 2) == pytest.approx(0.4 * 30 * 6 * 14 / 2)
    # However many processors there are, a job trains the victims of its draws one after the other.
    assert [hardening(tmp_path, "own", choices, per_job, 64) for per_job in (1, 2)] == pytest.approx(
        [0.4 * 30 * 6 * victims for victims in (2, 4)]
    )


def test_the_quickest_recipe_that_fits_everything_is_taken_or_the_one_that_fits_most() -> None:
    trials = pd.DataFrame({"recipe": [0, 1, 2], "epochs": [90, 40, 20], "train_accuracy": [1.0, 1.0, 0.99]})
    assert best_recipe(trials)["recipe"] == 1
    assert best_recipe(trials[trials["recipe"] == 2])["recipe"] == 2


def test_the_radius_is_where_clean_nets_withstand_nine_of_ten_attacks_and_the_weakest_pair_comes_first() -> None:
    rows = [
        {"proxy_seed": 0, "source": s, "target": 1 - s, "epsilon": epsilon, "adversarial_accuracy": left}
        for epsilon, values in {0.1: (0.99, 1.0), 0.2: (0.88, 0.95), 0.5: (0.2, 0.3)}.items()
        for s, left in enumerate(values)
    ]
    table = pd.DataFrame(rows)
    assert reference_radius(table, [0.1, 0.2, 0.5]) == 0.2
    assert [(one["source"], one["left"]) for one in exposed(table, [0.1, 0.2, 0.5])] == [(0, 0.88), (1, 0.95)]


def test_facts_say_what_kind_of_data_there_is() -> None:
    labels, tested = np.array([0, 1, 1]), np.array([0, 0, 0, 1])
    for shape, kind in (((3,), "vectors"), ((1, 8, 8), "grey"), ((3, 8, 8), "colour")):
        own = {"train_labels": labels, "test_labels": tested, "num_classes": 2, "class_names": ("a", "b")}
        data = SimpleNamespace(input_shape=shape, **own)
        assert facts_of(data) == Facts(3, (1, 2), ("a", "b"), kind, (3, 1))  # type: ignore[arg-type]


def test_a_point_of_a_table_is_shown_in_its_own_columns_and_units() -> None:
    columns = (Column("size", None, mean=10.0, scale=2.0), Column("clinic", "north"), Column("clinic", "south"))
    vectors, labels = np.array([[1.5, 0, 1]], dtype=np.float32), np.array([0])
    data = replace(make_dataset("own", (vectors, labels), (vectors, labels), ("a",), None), columns=columns)
    assert row_of(data, vectors[0]) == {"size": "13", "clinic": "south"}
    assert row_of(replace(data, columns=None), vectors[0]) == {}


def test_victims_that_are_all_alike_have_no_interval_of_no_width() -> None:
    assert named(mean_interval(np.full((3, 4), 0.97), bounds=(0.0, 1.0))) == "0.97 [all 12 alike]"
    assert named(mean_interval(np.full((1, 1), 0.97), bounds=(0.0, 1.0))) == "0.97"
    assert named(mean_interval(np.array([[0.90, 0.91], [0.92, 0.95]]), bounds=(0.0, 1.0))) == "0.92 [0.81, 1.00]"
