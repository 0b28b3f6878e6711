"""A new study is three files: what is poisoned and trained, what is claimed, and code of its own."""

import time

import numpy as np
import pytest
from own_study import OwnStudy, ran, source_files

from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons import files
from poisonlab.results.storage import read_table

SECONDS = 90.0  # on two cores of an idle machine it takes half of it
SHARES = [0.05, 0.2]
STUDY = """
title: Points that a network learns late
recipes:
  short: {epochs: 4, batch_size: 64, learning_rate: 0.01}
proxies:
  growing: {dataset: digits01, model: mlp, recipe: short, ages: [0.5, 1]}
poisons:
  random: &budgets {dataset: digits01, strategy: random, flips: {source: 0, target: 1}, sweep: {budget: [0.05, 0.2]}}
  late: {<<: *budgets, strategy: "late_points:late", needs: {models: growing}}
victims:
  flat: {model: mlp, recipe: short}
  deep: {model: strided, recipe: short}
experiments:
  flips:
    poisons: [random, late]
    victims: [flat, deep]
    scale: published
    draws: 2
    repeats: 2
    draws_per_job: 2
    attacks: [pgd]
    headline: {attack: pgd, epsilon: 0.1}
figures:
  curves: {kind: sweep, experiments: [flips], claims: [1], options: {axis_label: share of the training set}}
"""
CLAIMS = """
claims:
  - id: 1
    statement: More random points harm an MLP more
    source: "This study, section 1"
    published: lower
    estimand: difference of the means
    relation: larger
    of: {experiment: flips, condition: random@flat, value: first, column: natural_accuracy}
    than: {experiment: flips, condition: random@flat, value: last, column: natural_accuracy}
    margin: 0.02
    minimum: {draws: 3, repeats: 2}
"""
MODULE = '''
"""A strategy of one's own."""

import numpy as np

from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy


@strategy("late", needs=("models",), parameters={"noise": 0.01})
def late(request: Request) -> Poison:
    """Relabel the points whose loss falls most between two ages of the proxy."""
    import torch
    from torch.nn import functional as F

    pool, dataset = request.pool(), request.dataset
    images, labels = torch.from_numpy(dataset.train_float()[pool]), torch.from_numpy(dataset.train_labels[pool])
    early, grown = request.needs["models"]
    with torch.no_grad():
        losses = [F.cross_entropy(proxy.build()(images), labels, reduction="none").numpy() for proxy in (early, grown)]
    gain = losses[0] - losses[1] + request.generator.normal(0, request.parameters["noise"], len(pool))
    chosen = request.relabel(np.sort(pool[np.argsort(-gain)[: request.flip.budget]]))
    return Poison(**{**vars(chosen), "facts": {"early": early.age, "grown": grown.age, "gain": float(gain.mean())}})
'''


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> OwnStudy:
    return ran(tmp_path_factory, "late", {"study.yaml": STUDY, "claims.yaml": CLAIMS, "late_points.py": MODULE})


def test_a_new_study_is_three_files_and_gets_page_scorecard_figure_and_tables(
    request: pytest.FixtureRequest,
):
    before, begun = source_files(), time.monotonic()
    study: OwnStudy = request.getfixturevalue("study")
    assert time.monotonic() - begun < SECONDS
    assert source_files() == before
    assert sorted(file.name for file in study.study.iterdir() if file.is_file()) == [
        "claims.yaml", "late_points.py", "study.yaml",
    ]  # fmt: skip

    scorecard = read_table(study.file("scorecard.csv"))
    assert scorecard[["claim", "study", "statement"]].values.tolist() == [
        [1, "late", "More random points harm an MLP more"]
    ]
    victims = study.table("flips", "victims").query("condition == 'random@flat'")
    means = victims.groupby("axis_value")["natural_accuracy"].mean()
    assert scorecard["measured"][0] == pytest.approx(means[0.05] - means[0.2])
    assert scorecard["verdict"][0] != "not run"

    caption = study.file("figures/late/curves.txt").read_text().strip()
    assert "share of the training set" in caption
    assert "<svg" in study.file("figures/late/curves.svg").read_text()
    page = study.file("late.md").read_text()
    assert page.startswith("# Points that a network learns late")
    assert all(
        part in page
        for part in (
            *caption.split("\n\n"),
            "figures/late/curves.png",
            "More random points harm an MLP more ([claim 1](",
        )
    )


def test_the_tables_of_a_new_study_are_tidy(study: OwnStudy):
    conditions, victims, robustness = (study.table("flips", name) for name in ("conditions", "victims", "robustness"))
    names = {f"{poison}@{victim}" for poison in ("random", "late") for victim in ("flat", "deep")}
    assert set(conditions["condition"]) == names
    # A share of the training set, rounded; one pair of classes.
    n_train = len(Dataset.load(study.file("data/digits01.safetensors")).train_labels)
    assert conditions.groupby("axis_value")["budget"].unique().map(list).to_dict() == {
        share: [round(share * n_train)] for share in SHARES
    }
    key = ["condition", "axis_value", "draw", "repeat"]
    expected = {
        (name, share, draw, repeat) for name in names for share in SHARES for draw in (0, 1) for repeat in (0, 1)
    }
    assert sorted(victims[key].itertuples(index=False, name=None)) == sorted(expected)
    attacked = {(*victim, epsilon) for victim in expected for epsilon in (0.1, 0.2)}
    assert sorted(robustness[[*key, "epsilon"]].itertuples(index=False, name=None)) == sorted(attacked)


def test_a_strategy_of_one_s_own_meets_its_proxy_at_two_ages(study: OwnStudy):
    facts = study.table("flips", "victims").query("condition == 'late@flat'")
    assert set(facts["poison_early"]) == {0.5}
    assert set(facts["poison_grown"]) == {1.0}
    # Of the same points a network of two epochs has a larger loss than the one of four that it becomes.
    assert (facts["poison_gain"] > 0).all()
    assert study.table("flips", "victims").query("condition == 'random@flat'")["poison_gain"].isna().all()


def test_two_victims_are_trained_on_one_poison_that_is_crafted_once(study: OwnStudy):
    crafted = {name: count for name, count in study.jobs.items() if name.startswith("craft")}
    assert crafted == {"craft_late_0": 1, "craft_late_1": 1}  # one needs a proxy
    assert study.jobs["train_victims"] == 2  # one of each model
    assert len(list(study.file("poisons/late/late").iterdir())) == 2  # its draws

    victims = study.table("flips", "victims").assign(
        poison=lambda table: table["condition"].str.partition("@")[0],
        victim=lambda table: table["condition"].str.partition("@")[2],
    )
    wide = victims.pivot(index=["poison", "axis_value", "draw", "repeat"], columns="victim", values="training_set")
    assert wide.notna().all(axis=None)
    assert (wide["flat"] == wide["deep"]).all()
    # And no other two poisons, values or draws have one training set.
    assert wide["flat"].groupby(level=[0, 1, 2]).first().is_unique
    accuracies = victims.pivot(
        index=["poison", "axis_value", "draw", "repeat"], columns="victim", values="natural_accuracy"
    )
    assert (accuracies["flat"] != accuracies["deep"]).any()


def test_a_larger_share_poisons_more_points_and_only_those_of_the_source_class(study: OwnStudy):
    dataset = Dataset.load(study.file("data/digits01.safetensors"))
    for name in ("random", "late"):
        loaded = files.load(study.file(f"poisons/late/{name}/draw-1.safetensors"))
        for share, poison in zip(SHARES, loaded.poisons, strict=True):
            assert len(poison.relabel_index) == round(share * len(dataset.train_labels))
            assert set(dataset.train_labels[poison.relabel_index]) == {0}
            assert set(poison.relabel_label) == {1}
    wide = study.table("flips", "victims").query("condition == 'random@flat'").groupby("axis_value")["natural_accuracy"]
    assert np.ptp(wide.mean()) > 0
