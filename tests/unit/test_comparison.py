"""Strategies beside random points, on tables whose truth is known."""

import itertools

import numpy as np
import pandas as pd
import pytest

from poisonlab.documents import comparison
from poisonlab.documents.comparison import COLUMNS, SPREAD
from poisonlab.results.query import Headline, Query


def compare(name, data, headline=None):
    return comparison.compare(Query(name, data, headline))


def spread(name, data, headline=None):
    return comparison.spread(Query(name, data, headline))


def tables(
    seed: int = 0, buckets: tuple[float, ...] = (0.2, 0.5, 0.8), random_draws: int = 8
) -> dict[str, pd.DataFrame]:
    """Random points at 0.5; buckets; one set of points at 0.2; clean victims."""
    generator = np.random.default_rng(seed)
    repeat_effect = generator.normal(0, 0.1, 4)
    planned = [("clean", "none", np.nan, 0.9, 1), ("random", "random", np.nan, 0.5, random_draws)]
    planned += [("one", "alfa", np.nan, 0.2, 1)]
    planned += [("bucket", "path_bucket", float(k), mean, 5) for k, mean in enumerate(buckets)]
    conditions, victims, robustness = [], [], []
    for name, strategy, value, mean, draws in planned:
        key = {"study": "s", "experiment": "e", "condition": name, "axis_value": value}
        facts = {"strategy": strategy, "source_class": 4, "target_class": 5, "dataset": "mnist", "budget": 10}
        conditions.append(key | facts)
        for draw, repeat in np.ndindex(draws, 4):
            victim = {**key, "draw": draw, "repeat": repeat}
            victims.append({**victim, "fitted_share": 1.0})
            attack = {"attack": "pgd", "goal": "targeted", "attack_source": 4, "attack_target": 5, "epsilon": 0.1}
            level = mean + repeat_effect[repeat] + generator.normal(0, 0.02)
            robustness.append({**victim, **attack, "adversarial_accuracy": level})
    frames = (pd.DataFrame(rows) for rows in (conditions, victims, robustness))
    return dict(zip(("conditions", "victims", "robustness"), frames, strict=True))


def test_every_condition_and_value_is_compared_with_random_points():
    table = compare("label_noise/pair", tables())
    assert list(table.columns) == COLUMNS
    assert table["condition"].tolist() == ["one", "bucket", "bucket", "bucket"]
    assert table["value"].tolist()[1:] == [0, 1, 2]
    # Noise of 0.02 over 20 and 32 victims, the repeats' own effect of 0.1 cancels.
    assert table["difference"].tolist() == pytest.approx([-0.3, -0.3, 0, 0.3], abs=0.03)
    # One set of points among 9 rows: permuted, its p is 1/9 at best.
    assert table["test"].tolist() == ["t", *["permutation"] * 3]
    assert table["verdict"].tolist() == ["stronger", "stronger", "open", "weaker"]
    assert table["n"].tolist() == ["1+8 × 4", *["5+8 × 4"] * 3]
    assert set(table["experiment"]) == {"pair"}


def test_where_a_permutation_cannot_decide_the_intervals_own_t_does():
    # 5 + 5 draws have 252 arrangements, the clearest two of them equally clear: p ≥ 2 / 252, times 9 comparisons 0.07
    table = compare("label_noise/pair", tables(buckets=(0.5,) * 8, random_draws=5))
    assert set(table["test"]) == {"t"}
    assert table["verdict"].tolist() == ["stronger", *["open"] * 8]
    assert set(compare("label_noise/pair", tables(buckets=(0.5,) * 8))["test"]) == {"permutation", "t"}


def test_one_draw_of_random_points_or_one_repeat_decides_nothing():
    alone = compare("label_noise/pair", tables(random_draws=1))
    once = {name: frame.query("repeat == 0") if "repeat" in frame else frame for name, frame in tables().items()}
    for table in (alone, compare("label_noise/pair", once)):
        assert table["verdict"][0] == "too few draws"
        assert np.isnan(table["p"][0])
        assert "stronger" not in set(table.loc[table["test"] != "permutation", "verdict"])


def test_experiments_whose_random_points_were_attacked_otherwise_are_left_out():
    data = tables()
    data["robustness"]["epsilon"] = 0.2
    for found, columns in ((compare("label_noise/pair", data), COLUMNS), (spread("label_noise/pair", data), SPREAD)):
        assert len(found) == 0
        assert list(found.columns) == columns


def test_strategies_are_compared_at_the_radius_of_the_headline():
    data = tables()
    expected = compare("label_noise/pair", data)
    data["robustness"]["epsilon"] = 0.2
    at_headline = compare("label_noise/pair", data, Headline("pgd", 0.2))
    assert set(at_headline["epsilon"]) == {0.2}
    pd.testing.assert_frame_equal(at_headline.drop(columns="epsilon"), expected.drop(columns="epsilon"))


def test_a_condition_whose_poisons_nobody_fitted_is_not_compared():
    data = tables()
    data["victims"].loc[data["victims"]["condition"] == "one", "fitted_share"] = 0.5
    table = compare("label_noise/pair", data)
    assert table["verdict"].tolist() == ["not fitted", "stronger", "open", "weaker"]
    assert np.isnan(table["difference"][0])


def test_victims_that_did_not_fit_their_poisons_do_not_count():
    data = tables()
    poor = (
        (data["victims"]["condition"] == "bucket")
        & (data["victims"]["axis_value"] == 0)
        & (data["victims"]["repeat"] == 3)
    )
    data["victims"].loc[poor, "fitted_share"] = 0.5
    row = compare("label_noise/pair", data).iloc[1]
    assert row["fitted"] == 0.75
    assert row["n"].endswith("× 3")
    # All of them are compared beside, whatever they fitted.
    assert row["all_victims"] == compare("label_noise/pair", tables()).iloc[1]["difference"] != row["difference"]


@pytest.mark.parametrize(("condition", "rows"), [("one", [0]), ("random", [0, 1, 2, 3])])
def test_where_fewer_than_half_of_a_side_fitted_there_is_no_verdict(condition, rows):
    data = tables()
    own = data["victims"]["condition"] == condition
    data["victims"].loc[own & (data["victims"]["repeat"] >= 2), "fitted_share"] = 0.5
    assert "too few fitted" not in set(compare("label_noise/pair", data)["verdict"])  # exactly half
    data["victims"].loc[own & (data["victims"]["repeat"] >= 1), "fitted_share"] = 0.5
    few = compare("label_noise/pair", data)["verdict"]
    assert set(few[rows]) == {"too few fitted"}
    assert "too few fitted" not in set(few.drop(rows))


def test_a_condition_may_have_the_name_of_another_one_s_strategy():
    data = tables()
    for frame in data.values():
        frame["condition"] = frame["condition"].replace({"bucket": "alfa"})
    table = compare("label_noise/pair", data)
    assert table["condition"].tolist() == ["one", "alfa", "alfa", "alfa"]
    assert table["difference"].tolist() == compare("label_noise/pair", tables())["difference"].tolist()


def test_a_victim_that_is_not_there_is_not_one_that_did_not_fit():
    data = tables()
    there = data["victims"]["condition"].ne("bucket") | data["victims"]["draw"].ne(4) | data["victims"]["repeat"].ne(3)
    data["victims"] = data["victims"][there]
    bucket = compare("label_noise/pair", data).iloc[1]
    assert bucket["fitted"] == 1
    assert bucket["n"] == "5+8 × 4, 51 of 52 victims"


def test_a_p_is_corrected_over_the_experiment():
    data = tables()
    alone = {name: frame[frame["axis_value"].isna() | (frame["axis_value"] == 0)] for name, frame in data.items()}
    (_, together), (_, apart) = (compare("e", one)["p"].iloc[:2] for one in (data, alone))
    assert together > apart


def test_the_spread_of_random_points_has_the_parts_that_were_put_in():
    data = tables(random_draws=200)
    row = spread("label_noise/pair", data).iloc[0]
    assert list(row.index) == SPREAD
    assert row["n"] == "200 × 4"
    grid = data["robustness"].query("condition == 'random'")["adversarial_accuracy"].to_numpy().reshape(200, 4)
    assert row["mean"] == pytest.approx(grid.mean())
    assert row["tail"] == pytest.approx(np.quantile(grid, 0.05))
    # Put in: nothing between draws, 0.02 in the rest (800 victims: ± 5 %); the repeats' effect as its four numbers came out.
    assert row["draw"] < 0.005
    assert row["rest"] == pytest.approx(0.02, rel=0.1)
    assert row["repeat"] == pytest.approx(grid.mean(axis=0).std(ddof=1), rel=0.01)
    # What a new victim, of a new repeat, differs by: more than those of the four repeats differ among themselves.
    assert row["sd"] == pytest.approx(np.hypot(row["repeat"], row["rest"]), rel=0.02)
    assert row["sd"] > grid.std(ddof=1)


def test_the_spread_says_what_it_does_not_know():
    one = spread("label_noise/pair", tables(random_draws=1)).iloc[0]
    assert one["n"] == "1 × 4"
    assert np.isnan([one["sd"], one["draw"], one["rest"]]).all()
    assert one["tail_low"] == -np.inf
    data = tables()
    data["victims"]["fitted_share"] = 0.5
    assert len(spread("label_noise/pair", data)) == 0


def with_victims(victims: dict[str, float], shares: dict[float, int]) -> dict[str, pd.DataFrame]:
    """Random points and clever ones, which are `lower` by as much as the victim says, at each budget of a sweep."""
    parts: list[dict[str, pd.DataFrame]] = []
    for number, ((victim, lower), (share, budget)) in enumerate(itertools.product(victims.items(), shares.items())):
        own = tables(seed=number, buckets=(0.5 + lower,))
        names = {"random": f"random@{victim}", "bucket": f"clever@{victim}"}
        for name, frame in own.items():
            kept = frame[frame["condition"].isin(names)]
            own[name] = kept.assign(condition=kept["condition"].map(names), axis_value=share)
        own["conditions"] = own["conditions"].assign(victim=victim, axis="budget", budget=budget)
        parts.append(own)
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in parts[0]}


def test_with_several_victims_and_budgets_each_is_compared_with_its_own_random_points():
    data = with_victims({"weak": -0.3, "strong": 0.2}, {0.05: 14, 0.2: 58})
    table = compare("mine/flips", data, Headline("pgd", 0.1)).sort_values(["condition", "value"])
    assert table["condition"].tolist() == ["clever@strong"] * 2 + ["clever@weak"] * 2
    assert table["budget"].tolist() == [14, 58, 14, 58]
    # Noise of 0.02 over 20 and 32 victims.
    assert table["difference"].tolist() == pytest.approx([0.2, 0.2, -0.3, -0.3], abs=0.03)


def test_a_condition_without_random_points_of_its_budget_is_not_compared():
    data = with_victims({"weak": -0.3}, {0.05: 14, 0.2: 58})
    random = data["conditions"]["strategy"] == "random"
    data["conditions"] = data["conditions"][~(random & (data["conditions"]["budget"] == 58))]
    assert compare("mine/flips", data, Headline("pgd", 0.1))["budget"].tolist() == [14]


def test_the_spread_tells_random_points_of_several_victims_and_budgets_apart():
    found = spread("mine/flips", with_victims({"weak": -0.3, "strong": 0.2}, {0.05: 14}), Headline("pgd", 0.1))
    assert found["experiment"].tolist() == ["flips: random@strong 0.05", "flips: random@weak 0.05"]
    assert found["mean"].tolist() == pytest.approx([0.5, 0.5], abs=0.2)  # the repeats' effect: 0.1 over 4 of them
    assert found["mean"].nunique() == 2
