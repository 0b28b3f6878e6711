"""One query selects for figures, claims and comparisons, on tables whose every number is known."""

import numpy as np
import pandas as pd
import pytest

from poisonlab.errors import InputError
from poisonlab.figures.experiments import query
from poisonlab.results.query import Headline, NotRun, Query

DRAWS, REPEATS = 3, 2
RADII = (0.1, 0.2)


def value_of(condition: int, level: float, draw: int, repeat: int, epsilon: float) -> float:
    """A number that no two cells share."""
    return condition / 10 + level / 100 + draw / 1000 + repeat / 10_000 + epsilon / 100_000


def tables(pair=(1, 2), attacks=(("pgd", "targeted", True),), radii=RADII):
    """Clean victims, random points, and a sweep at 2 and 1 (in this order); an attack has a name, a goal and its classes."""
    conditions, victims, robustness = [], [], []
    planned = [("clean", "none", [np.nan]), ("points", "random", [np.nan]), ("sweep", "near", [2.0, 1.0])]
    for number, (name, strategy, values) in enumerate(planned):
        for value in values:
            key = {"condition": name, "axis_value": value}
            conditions.append({**key, "strategy": strategy, "source_class": pair[0], "target_class": pair[1]})
            for draw, repeat in np.ndindex(1 if strategy == "none" else DRAWS, REPEATS):
                victim = {**key, "draw": draw, "repeat": repeat}
                fitted = np.nan if strategy == "none" else 1 - draw / 4
                victims.append({**victim, "fitted_share": fitted, "epochs": 10 + draw})
                robustness += [
                    {
                        **victim, "attack": attack, "goal": goal, "epsilon": epsilon,
                        "attack_source": classes[0] if classes else np.nan,
                        "attack_target": classes[1] if classes else np.nan,
                        "adversarial_accuracy": value_of(number, np.nan_to_num(value), draw, repeat, epsilon),
                    }
                    for attack, goal, own in attacks
                    for classes in [pair if own is True else own]
                    for epsilon in radii
                ]  # fmt: skip
    return {
        "conditions": pd.DataFrame(conditions),
        "victims": pd.DataFrame(victims).sample(frac=1, random_state=0),
        "robustness": pd.DataFrame(robustness).sample(frac=1, random_state=1),
    }


def expected(condition: int, level: float = 0.0, epsilon: float = 0.1, draws: int = DRAWS) -> np.ndarray:
    return np.array(
        [[value_of(condition, level, draw, repeat, epsilon) for repeat in range(REPEATS)] for draw in range(draws)]
    )


def grids(query: Query, *what, **how) -> list[np.ndarray]:
    return [one.grid for one in query.select(*what, **how)]


def test_the_headline_is_taken_where_a_call_says_nothing_else():
    query = Query("s/e", tables(), Headline("pgd", 0.2))
    np.testing.assert_array_equal(grids(query, "points"), [expected(1, epsilon=0.2)])
    np.testing.assert_array_equal(grids(query, "points", epsilon=0.1), [expected(1, epsilon=0.1)])
    epochs = Query("s/e", tables(), Headline(column="epochs"))
    np.testing.assert_array_equal(grids(epochs, "points"), [[[10, 10], [11, 11], [12, 12]]])


def test_a_condition_is_found_by_its_name_or_its_strategy_and_its_values_come_in_growing_order():
    query = Query("s/e", tables(), Headline(epsilon=0.1))
    for name in ("sweep", "near"):
        cells = query.select(name)
        assert [one.label for one in cells] == ["sweep 1", "sweep 2"]
        np.testing.assert_array_equal([one.grid for one in cells], [expected(2, 1), expected(2, 2)])
    np.testing.assert_array_equal(grids(query, "sweep", value="last"), [expected(2, 2)])
    np.testing.assert_array_equal(grids(query, "sweep", value=1), [expected(2, 1)])
    np.testing.assert_array_equal(grids(query, "none"), [expected(0, draws=1)])
    with pytest.raises(NotRun, match=r"no 'sweep' at 3, it has \[1.0, 2.0\]"):
        query.select("sweep", value=3)
    with pytest.raises(InputError, match="axis value is 'middle', allowed are first, last or a number"):
        query.select("sweep", value="middle")
    with pytest.raises(NotRun, match="no condition of strategy 'far'"):
        query.select("far")


def test_a_strategy_that_two_conditions_have_is_not_chosen_between():
    data = tables()
    data["conditions"]["strategy"] = data["conditions"]["strategy"].replace({"near": "random"})
    with pytest.raises(InputError, match=r"conditions \['points', 'sweep'\] of strategy 'random', allowed is 1"):
        Query("s/e", data).conditions("random")


def test_victims_count_whatever_they_fitted_unless_a_share_is_asked_for():
    query = Query("s/e", tables(), Headline(epsilon=0.1))
    (one,) = query.select("points", fitted=0.75)  # draws fitted 1, 0.75 and 0.5 of their poisons
    assert (int(one.counts.sum()), len(one.victims), one.known) == (4, 6, (3, 2))
    np.testing.assert_array_equal(np.isnan(one.grid), [[False] * 2, [False] * 2, [True] * 2])
    assert np.isfinite(grids(query, "points")).all()
    assert np.isfinite(grids(query, "clean", fitted=0.75)).all()  # there is nothing to fit


def test_several_radii_are_refused_unless_one_is_named():
    query = Query("s/e", tables())
    with pytest.raises(InputError, match=r"differ in {'epsilon': \[0.1, 0.2\]}; choose by 'attack' and 'epsilon'"):
        query.select("points")
    with pytest.raises(NotRun, match=r"no attack with epsilon 0.3, it has \[0.1, 0.2\]"):
        query.select("points", epsilon=0.3)
    with pytest.raises(NotRun, match=r"no attack with attack apgd, it has \['pgd'\]"):
        query.select("points", attack="apgd")


def test_without_a_name_it_is_the_attack_that_all_conditions_met_between_the_poisons_classes():
    data = tables(attacks=(("pgd", "targeted", True), ("other", "targeted", (3, 4)), ("any", "untargeted", None)))
    robustness = data["robustness"]
    data["robustness"] = robustness[(robustness["attack"] != "any") | (robustness["condition"] == "clean")]
    query = Query("s/e", data, Headline(epsilon=0.1))
    assert set(query.attack()["attack"]) == {"pgd"}
    # One that only clean victims met is found by its name, and by its classes where it is targeted.
    assert query.select("clean", attack="any")[0].grid.shape == (1, REPEATS)
    assert set(query.attack(attack="other", classes=(3, 4))["attack_source"]) == {3}
    with pytest.raises(NotRun, match=r"any at ε = 0.1 was not run on the victims of 's/e/points'"):
        query.select("points", attack="any")
    with pytest.raises(NotRun, match=r"no targeted attack 5 → 6, it has \['other', 'pgd'\]"):
        query.select("points", classes=(5, 6))


def test_without_a_name_the_only_attack_need_not_be_targeted():
    alone = Query("s/e", tables(attacks=(("any", "untargeted", None),)), Headline(epsilon=0.1))
    assert set(alone.attack()["attack"]) == {"any"}
    two = Query("s/e", tables(attacks=(("any", "untargeted", None), ("more", "untargeted", None))))
    with pytest.raises(NotRun, match=r"no targeted attack .*, it has \['any', 'more'\]"):
        two.select("points", epsilon=0.1)


def test_poisons_of_all_classes_are_attacked_from_each_class_and_averaged():
    data = tables(
        pair=(np.nan, np.nan), attacks=(("next", "targeted", (0, 1)), ("next", "targeted", (1, 2))), radii=(0.1,)
    )
    second = data["robustness"]["attack_source"] == 1
    data["robustness"].loc[second, "adversarial_accuracy"] += 0.5
    # Exact to rounding: a mean of two numbers.
    np.testing.assert_allclose(grids(Query("s/e", data), "points"), [expected(1) + 0.25], rtol=0, atol=1e-15)
    both = tables(
        pair=(np.nan, np.nan), attacks=(("next", "targeted", (0, 1)), ("any", "untargeted", None)), radii=(0.1,)
    )
    with pytest.raises(InputError, match=r"2 such attacks that differ in {'attack'"):
        Query("s/e", both).select("points")
    np.testing.assert_array_equal(grids(Query("s/e", both, Headline("any")), "points"), [expected(1)])


def test_clean_victims_are_attacked_between_the_classes_of_the_poisons():
    data = tables()
    clean = data["conditions"]["strategy"] == "none"
    data["conditions"].loc[clean, ["source_class", "target_class"]] = np.nan
    np.testing.assert_array_equal(grids(Query("s/e", data), "clean", epsilon=0.1), [expected(0, draws=1)])


def test_each_condition_is_judged_by_the_classes_of_its_own_poisons():
    data = tables(attacks=(("next", "targeted", (1, 2)), ("next", "targeted", (3, 4))))
    swept = data["conditions"]["condition"] == "sweep"
    data["conditions"].loc[swept, ["source_class", "target_class"]] = [3.0, 4.0]
    data["robustness"].loc[data["robustness"]["attack_source"] == 3, "adversarial_accuracy"] += 0.5
    query = Query("s/e", data, Headline(epsilon=0.1))
    np.testing.assert_array_equal(grids(query, "points"), [expected(1)])
    np.testing.assert_array_equal(grids(query, "sweep", value=2), [expected(2, 2) + 0.5])


def test_a_victim_that_was_not_attacked_is_a_hole_and_one_attacked_twice_an_error():
    data = tables()
    lost = (data["robustness"]["condition"] == "points") & (data["robustness"]["draw"] == 1)
    lost &= data["robustness"]["repeat"] == 1
    one = Query("s/e", {**data, "robustness": data["robustness"][~lost]}, Headline(epsilon=0.1)).select("points")[0]
    assert (one.grid.shape, int(np.isnan(one.grid).sum()), bool(np.isnan(one.grid[1, 1]))) == ((3, 2), 1, True)
    assert one.victims["attacked"].sum() == 5
    twice = pd.concat([data["robustness"], data["robustness"][lost]])
    with pytest.raises(InputError, match="6 victims of 's/e/points' have more than one value"):
        Query("s/e", {**data, "robustness": twice}, Headline(epsilon=0.1)).select("points")


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(NotRun, match="s/e has victims without 'lambda'"):
        Query("s/e", tables()).select("points", "lambda")


def test_a_headline_comes_from_the_experiment_s_entry_or_is_empty():
    assert Headline.of({"attack": "pgd", "epsilon": 0.1}) == Headline("pgd", 0.1, "adversarial_accuracy")
    assert Headline.of(None) == Headline()


def test_a_figure_takes_the_headline_unless_its_options_say_otherwise():
    data = {key: frame.assign(experiment="e") for key, frame in tables().items()}
    headlines = {"e": {"attack": "pgd", "epsilon": 0.2}}
    for options, epsilon in (({"headlines": headlines}, 0.2), ({"headlines": headlines, "epsilon": 0.1}, 0.1)):
        found = query(data, "e", options)
        np.testing.assert_array_equal(grids(found, "points"), [expected(1, epsilon=epsilon)])
    with pytest.raises(InputError, match=r"differ in {'epsilon'"):
        query(data, "e", {"headlines": {"another": {"epsilon": 0.2}}}).attack()
