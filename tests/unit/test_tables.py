"""What the table of conditions says of each of them."""

import pandas as pd
import pytest

from poisonlab.tables import conditions_table


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
