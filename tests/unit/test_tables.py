"""What the table of conditions says of each of them."""

import pandas as pd
import pytest

from poisonlab.results.tables import conditions_table, without_copies


@pytest.mark.parametrize(("source", "poisons"), [("all", 21), (2, 3)])
def test_the_budget_is_that_of_all_classes_that_are_poisoned(source, poisons):
    conditions = {
        "clean": {"strategy": "none", "parameters": {}},
        "random": {"strategy": "random", "parameters": {}},
    }
    entry = {
        "flip": {"source": source, "target": "next", "budget": 3},
        "conditions": conditions,
        "dataset": "own",
        "model": "pooled",
        "recipe": "short",
        "scale": "reduced",
    }
    settings = {
        "experiment": entry,
        "precision": "float32",
        "axis_names": dict.fromkeys(conditions, ""),
        "axis_values": {name: [None] for name in conditions},
    }
    victims = pd.DataFrame({"condition": ["clean", "random", "random"], "draw": [0, 0, 1], "repeat": [0, 0, 0]})
    table = conditions_table("label_noise", "mine", settings, victims, None, num_classes=7)
    assert table["budget"].tolist() == [0, poisons]
    assert table["n_draws"].tolist() == [1, 2]
    assert table["source_class"].isna().all() == (source == "all")
    assert table["target_class"].isna().all()


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
