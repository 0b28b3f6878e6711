"""What the table of conditions says of each of them."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.results.tables import conditions_table, without_copies


def settings(source: int | str, target: int | str, **changes: Any) -> dict[str, Any]:
    """What the pipeline says of two conditions, of clean victims and of random poisons."""
    shared = {"axis": "", "values": [None], "parameters": {}, "budget": 3, "per": "pair", "dataset": "own"}
    shared |= {"model": "pooled", "recipe": "short", "precision": "float32", "poison": "p", "victim": "v"}
    shared |= {"flips": {"source": source, "target": target, "both": False}, **changes}
    return {
        "scale": "reduced",
        "conditions": {"clean": {**shared, "strategy": "none"}, "random": {**shared, "strategy": "random"}},
    }


def seven_classes() -> Dataset:
    points, labels = np.zeros((70, 2), np.float32), np.arange(70) % 7
    return make_dataset("own", (points, labels), (points, labels), tuple("abcdefg"))


VICTIMS = pd.DataFrame({"condition": ["clean", "random", "random"], "draw": [0, 0, 1], "repeat": [0, 0, 0]})


@pytest.mark.parametrize(
    ("source", "target", "changes", "poisons"),
    [
        ("all", "next", {}, 21),
        (2, 3, {}, 3),
        ("all", "others", {}, 126),
        ("found", "found", {}, 3),
        (2, 3, {"budget": 0.1}, 7),
        ("all", "next", {"budget": 0.1, "per": "all"}, 7),
    ],
)
def test_the_budget_is_that_of_all_pairs_of_classes_that_are_poisoned(source, target, changes, poisons):
    told = settings(source, target, **changes)
    table = conditions_table("label_noise", "mine", told, VICTIMS, None, seven_classes())
    assert table["budget"].tolist() == [0, poisons]
    assert table["n_draws"].tolist() == [1, 2]
    assert table["source_class"].isna().all() == (source != 2)
    assert table["target_class"].isna().all() == (source != 2)


def test_a_sweep_of_the_budget_has_a_row_for_each_value():
    told = settings(2, 3, axis="budget", values=[1, 0.1])
    table = conditions_table("label_noise", "mine", told, VICTIMS, None, seven_classes())
    assert table.loc[table["condition"] == "random", ["axis_value", "budget"]].to_numpy().tolist() == [[1, 1], [0.1, 7]]


def test_draws_that_are_copies_of_earlier_ones_are_left_out():
    places = [(value, draw, repeat) for value in (0.0, 4.0) for draw in (0, 1, 2) for repeat in (0, 1)]
    victims = pd.DataFrame(places, columns=["axis_value", "draw", "repeat"]).assign(
        study="s", experiment="e", condition="placed"
    )
    # At 0 the last two draws are the same, at 4 all differ; draw 1 of 4 is trained on what draw 0 of 0 is.
    sets = {(0, 0): "a", (0, 1): "b", (0, 2): "b", (4, 0): "c", (4, 1): "a", (4, 2): "d"}
    victims["training_set"] = [sets[value, draw] for value, draw, _ in places]
    robustness = victims.drop(columns="training_set").merge(pd.DataFrame({"epsilon": [0.1, 0.2]}), how="cross")
    shuffled = victims.sample(frac=1, random_state=0)
    left, attacked, words = without_copies(shuffled, robustness)
    assert sorted(zip(left["axis_value"], left["draw"], left["repeat"], strict=True)) == [
        place for place in places if place[:2] != (0, 2)
    ]
    assert len(attacked) == 2 * len(left)
    assert not ((attacked["axis_value"] == 0) & (attacked["draw"] == 2)).any()
    assert words == "placed 0 draw 2"
    # Nothing is known of victims of older tables.
    for unknown in (victims.assign(training_set=None), victims.drop(columns="training_set")):
        left, attacked, words = without_copies(unknown, robustness)
        assert (len(left), len(attacked), words) == (len(victims), len(robustness), "")


def test_copies_of_a_condition_without_an_axis_are_found():
    key = {"study": "s", "experiment": "e", "condition": "alfa", "axis_value": float("nan")}
    victims = pd.DataFrame([{**key, "draw": draw, "repeat": 0, "training_set": "a"} for draw in (0, 1)])
    left, attacked, words = without_copies(victims, victims.assign(epsilon=0.1))
    assert left["draw"].tolist() == attacked["draw"].tolist() == [0]
    assert words == "alfa draw 1"
