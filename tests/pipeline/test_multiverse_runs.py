"""A multiverse by the pipeline: its victims are those of an ordinary experiment of the same recipe, to the bit."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from checkout import REPOSITORY
from own_study import OwnStudy, ran

from poisonlab.multiverse import running
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.studies import read_yaml
from poisonlab.results.storage import Workspace, read_table

STUDY = """
title: A toy under choices
datasets:
  plane: {source: gaussians, dimensions: 2, n_train: 20, n_test: 30}
recipes:
  adam: &recipe {epochs: 30, batch_size: 24, learning_rate: 0.01, precision: float32}
  sgd: {<<: *recipe, optimiser: {name: sgd, momentum: 0.9}, learning_rate: 0.003}
models:
  scaled: {model: mlp, scale: 10}
poisons:
  clean: &toy {dataset: plane, strategy: none, flips: {source: all, target: next}, budget: 2, redraw: true}
  placed: {<<: *toy, strategy: at_distance, sweep: {r: [0, 4]}}
victims:
  adam: {model: mlp, recipe: adam}
  sgd: {model: scaled, recipe: sgd}
experiments:
  adam: &experiment
    {poisons: [clean, placed], victims: [adam], scale: published, draws: 3, repeats: 2, draws_per_job: 3, attacks: [pgd_untargeted], probes: true}
  sgd: {<<: *experiment, victims: [sgd]}
multiverses:
  choices:
    experiments: [adam]
    scale: published
    draws: 2
    repeats: 2
    combinations_per_job: 3
    choices:
      optimiser:
        adam: {}
        sgd: {recipe: {optimiser: {name: sgd, momentum: 0.9}}, times: {learning_rate: 0.3}}
      inputs: {raw: {}, divided by μ: {model: {scale: mean}}}
figures:
  curve: {kind: specification_curve, multiverses: [choices], claims: [1, 2], options: {claim: 1}}
"""
CLAIMS = """
claims:
  - &first
    id: 1
    statement: Poisons at the means lower the natural accuracy
    source: "This study, section 1"
    published: lower
    estimand: difference of the means
    relation: larger
    of: {experiment: adam, condition: placed, value: last, column: natural_accuracy}
    than: {experiment: adam, condition: placed, value: first, column: natural_accuracy}
    margin: 0.02
    victims: fitted
    minimum: {draws: 3, repeats: 2}
  - <<: *first
    id: 2
    statement: That of another experiment
    of: {experiment: sgd, condition: placed, value: last, column: natural_accuracy}
    than: {experiment: adam, condition: placed, value: first, column: natural_accuracy}
"""
SORT = ["condition", "axis_value", "draw", "repeat"]
MEASURED = [
    "lipschitz_mean",
    "line_share",
    "epochs",
    "train_accuracy",
    "fitted_share",
    "natural_accuracy",
    "diverged",
    "training_set",
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> OwnStudy:
    return ran(tmp_path_factory, "many", {"study.yaml": STUDY, "claims.yaml": CLAIMS})


def rows(study: OwnStudy, kind: str) -> pd.DataFrame:
    files = study.work.glob(f"results/multiverses/many/choices/*/{kind}.parquet")
    return pd.concat(map(read_table, sorted(files)), ignore_index=True)


def test_every_claim_that_it_decides_has_a_row_for_each_combination_and_kind_of_victims(study: OwnStudy) -> None:
    table = read_table(study.file("tables/many/choices/specifications.parquet"))
    assert set(table["claim"]) == {1}  # claim 2 is about an experiment that is not varied
    key = ["optimiser", "inputs", "victims"]
    every = {(a, b, c) for a in ("adam", "sgd") for b in ("raw", "divided by μ") for c in ("all", "fitted")}
    assert sorted(map(tuple, table[key].to_numpy())) == sorted(every)
    assert set(table["trained"]) == {2 * 2 * 3}  # draws × repeats × conditions
    assert (table["seconds"] > 0).all()
    assert set(table["verdict"]) <= {"reproduced", "refuted", "inconclusive", "not run"}


def test_the_scorecard_and_a_specification_curve_say_what_became_of_a_claim_under_the_choices(study: OwnStudy) -> None:
    scorecard = study.file("scorecard.md").read_text()
    table = read_table(study.file("tables/many/choices/specifications.parquet"))
    measured = int(table.loc[table["victims"] == "fitted", "measured"].notna().sum())
    some, rest = ("4", "") if measured == 4 else (f"{measured} of 4", " (the others measure nothing)")
    assert "over 4 combinations of choices, as trained: reproduced in" in scorecard
    assert f"over {some} combinations of choices{rest}, of victims that fit their poisons: reproduced in" in scorecard
    caption = study.file("figures/many/curve.txt").read_text()
    assert "under each of 4 combinations of optimiser, inputs" in caption
    assert "curve.png" in study.file("many.md").read_text()


@pytest.mark.parametrize(("experiment", "choices"), [("adam", ("adam", "raw")), ("sgd", ("sgd", "divided by μ"))])
def test_its_victims_are_those_of_the_experiment_of_the_same_recipe(
    study: OwnStudy, experiment: str, choices: tuple[str, str]
) -> None:
    table = read_table(study.file("tables/many/choices/specifications.parquet"))
    of = table[(table["optimiser"] == choices[0]) & (table["inputs"] == choices[1])]["combination"].iloc[0]
    for kind, columns in (("victims", MEASURED), ("robustness", ["attack", "epsilon", "adversarial_accuracy"])):
        varied, ordinary = rows(study, kind), study.table(experiment, kind)
        varied = varied[varied["combination"] == of].sort_values(SORT)[[*SORT, *columns]].reset_index(drop=True)
        ordinary = ordinary[ordinary["draw"] < 2].sort_values(SORT)[[*SORT, *columns]].reset_index(drop=True)
        pd.testing.assert_frame_equal(varied, ordinary, check_exact=True)


@pytest.fixture
def job(study: OwnStudy) -> dict[str, Any]:
    """Settings of the first job, whose files are found wherever it runs."""
    plan = Plan({**read_yaml(REPOSITORY / "config.yaml"), "studies": [str(study.study)]}, REPOSITORY)
    settings = plan.multiverse_settings("many", "choices", "0-2")
    own = settings["experiments"]["adam"]
    own["data"] = str(study.work / own["data"])
    own["poisons"] = {name: [str(study.work / file) for file in files] for name, files in own["poisons"].items()}
    return settings


def test_a_killed_job_goes_on_after_the_last_finished_combination(
    study: OwnStudy, job: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, trained = Workspace(tmp_path / "unfinished", "1"), list[int]()

    def counted(*arguments: Any, **named: Any) -> pd.DataFrame:
        trained.append(1)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **named)

    original = running.train_chunk
    monkeypatch.setattr(running, "train_chunk", counted)
    with pytest.raises(KeyboardInterrupt):
        running.run(job, place)
    found = running.run(job, place)
    assert len(trained) == 4  # the first, the killed one, and the two that were left
    running.run(job, place)
    assert len(trained) == 4
    running.run(job, Workspace(place.folder, "2"))
    assert len(trained) == 7  # of another version everything
    whole = {kind: rows(study, kind) for kind in found}
    for kind, table in found.items():
        same = whole[kind][whole[kind]["combination"] < 3].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            table.drop(columns="seconds", errors="ignore"),
            same.drop(columns="seconds", errors="ignore"),
            check_exact=True,
        )
