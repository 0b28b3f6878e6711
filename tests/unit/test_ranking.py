"""Ranks that comparisons leave open, and damage that is passed on, against grids whose answer is known."""

import numpy as np
import pandas as pd
import pytest
from figure_inputs import tables

from poisonlab.errors import InputError
from poisonlab.figures import draw
from poisonlab.figures.ranking import ranks, spread
from poisonlab.statistics import grid


def grids(means, spread, draws=3, repeats=8):
    generator = np.random.default_rng(4)
    shared = generator.normal(0, 0.1, repeats)  # of the victims-to-be, which every condition meets
    return [mean + shared + generator.normal(0, spread, (draws, repeats)) for mean in means]


def test_clear_differences_leave_one_rank_each():
    assert ranks(grids([0.9, 0.5, 0.7], 0.001)) == [(1, 1), (3, 3), (2, 2)]


def test_equal_means_leave_all_ranks_and_a_pair_that_is_alike_shares_two():
    assert ranks(grids([0.5, 0.5, 0.5], 0.05)) == [(1, 3)] * 3
    assert ranks(grids([0.5001, 0.9, 0.5], 0.01)) == [(2, 3), (1, 1), (2, 3)]


def test_a_control_of_one_draw_is_ranked_too():
    first, *others = grids([0.9, 0.5, 0.5], 0.01)
    assert ranks([first[:1], *others]) == [(1, 1), (2, 3), (2, 3)]


def with_victims(names):
    """Tables of clean victims and two poisons, on each kind of victim, with known natural accuracies."""
    whole = tables()
    levels = {"clean": 0.9, "weak": 0.85, "strong": 0.6}
    base, victim = whole["conditions"].iloc[0], whole["victims"].iloc[0]
    conditions, victims = [], []
    for place, kind in enumerate(names):
        for name, level in levels.items():
            strategy = "none" if name == "clean" else name
            conditions.append({**base, "condition": f"{name}@{kind}", "strategy": strategy, "axis_value": np.nan})
            for draw_, repeat in np.ndindex(1 if name == "clean" else 2, 3):
                accuracy = level - 0.1 * place * (name == "strong") + 0.01 * repeat
                key = {"condition": f"{name}@{kind}", "axis_value": np.nan, "draw": draw_, "repeat": repeat}
                victims.append({**victim, **key, "natural_accuracy": accuracy})
    return {**whole, "conditions": pd.DataFrame(conditions), "victims": pd.DataFrame(victims)}


def test_the_matrix_shows_what_each_victim_loses():
    options = {"column": "natural_accuracy"}
    figure, caption = draw("transfer", with_victims(["own", "other"]), options)
    (image,) = [image for panel in figure.axes for image in panel.images if image.get_gid() == "damage"]
    np.testing.assert_allclose(image.get_array(), [[5, 5], [30, 40]], atol=1e-9)
    assert "n, draws × repeats: 2 × 3" in caption
    inputs = with_victims(["own"])
    inputs["conditions"] = inputs["conditions"][inputs["conditions"]["strategy"] != "none"]
    with pytest.raises(InputError, match=r"no victims without poison of \['own'\]"):
        draw("transfer", inputs, options)


def test_power_needs_fewer_victims_of_the_same_seeds():
    figure, _ = draw("power", with_victims(["own"]), {"column": "natural_accuracy"})
    lines = {line.get_label(): line for line in figure.axes[0].lines if line.get_gid() == "power"}
    same, other = (lines[f"means, {words} seeds"].get_ydata() for words in ("same", "other"))
    assert (same <= other).all()
    # (1.96 + 0.84)² · (σ₁² + σ₂²) / Δ²; of two of three pairs one side is clean, with one draw: their spread is the median
    difference = lines["means, other seeds"].get_xdata()
    variance = sum(np.var(0.01 * np.tile(np.arange(3), draws), ddof=1) for draws in (1, 2))
    expected = np.maximum((1.959964 + 0.841621) ** 2 * variance / difference**2, 2)
    np.testing.assert_allclose(other, expected, rtol=1e-5)


def test_a_difference_of_one_seed_lacks_what_the_seed_brings():
    generator = np.random.default_rng(0)
    seeds = generator.normal(0, 0.3, 4000)  # of each repeat, for both conditions
    first, second = (seeds + generator.normal(0, sd, (3, 4000)) for sd in (0.1, 0.2))
    paired, unpaired = spread(first, second)
    assert paired == pytest.approx(np.hypot(0.1, 0.2), rel=0.03)  # 4000 repeats: 1 % and a little more
    assert unpaired == pytest.approx(np.sqrt(2 * 0.3**2 + 0.1**2 + 0.2**2), rel=0.03)


def test_a_marked_pair_has_its_own_spread():
    inputs = with_victims(["own"])
    noise = np.random.default_rng(1).normal(0, 0.01, len(inputs["victims"]))
    inputs["victims"]["natural_accuracy"] += noise * (inputs["victims"]["condition"] == "strong@own")
    pair = {"between": ["weak@own", "strong@own"], "difference": 0.02}
    options = {"column": "natural_accuracy", "pairs": [pair], "labels": {"weak": "a weak one"}}
    figure, caption = draw("power", inputs, options)
    by = {name: grid(rows, "natural_accuracy") for name, rows in inputs["victims"].groupby("condition")}
    needed = ((1.959964 + 0.841621) * spread(by["weak@own"], by["strong@own"])[0] / 0.02) ** 2
    (mark,) = [line for line in figure.axes[0].lines if line.get_gid() == "marked"]
    np.testing.assert_allclose(mark.get_xydata(), [[0.02, max(needed, 2)]], rtol=1e-5)
    assert "a weak one, own and strong, own, 0.02 apart" in caption
    with pytest.raises(InputError, match=r"option pairs names \['gone'\]"):
        draw("power", inputs, {**options, "pairs": [{**pair, "between": ["gone", "weak@own"]}]})
