"""Claims of a study of one's own: a few lines that say which victims, what of them, and how many."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats

from poisonlab.claims import judge, load_claims
from poisonlab.claims.comparisons import Pair, larger_percentiles
from poisonlab.claims.evidence import Chosen, Data
from poisonlab.claims.quantifiers import Quantifier
from poisonlab.claims.selectors import alike
from poisonlab.errors import InputError
from poisonlab.statistics import mean_interval, paired_difference, percentile_interval

REGISTERED = Path(__file__).resolve().parents[2] / "studies" / "label_noise" / "claims.yaml"
SMALL = 0.02  # standard deviation of the rest where the verdict is meant to be clear
STUDY = """
claims:
  - {id: 1, statement: Clever points are stronger, source: "A", published: stronger, estimand: difference, relation: larger,
     of: {experiment: own, condition: random}, than: {experiment: own, condition: clever}, margin: 0.02,
     minimum: {draws: 3, repeats: 2}}
"""


def own_tables(levels, draws=6, repeats=20, sd=SMALL, seed=4):
    """Tables of conditions of these mean accuracies, attacked by pgd at 0.1 and, to be told apart, at 0.3 by nothing."""
    generator = np.random.default_rng(seed)
    conditions, victims, robustness = [], [], []
    for name, (level, value) in levels.items():
        key = {"condition": name.partition("@")[0], "axis_value": value}
        strategy = "none" if name == "clean" else key["condition"]
        facts = {"strategy": strategy, "source_class": 0, "target_class": 1, "dataset": "own", "scale": "published"}
        conditions.append({**key, **facts, "axis": "budget", "n_points": np.nan})
        for draw, repeat in np.ndindex(1 if strategy == "none" else draws, repeats):
            accuracy = level + generator.normal(0, sd)
            victim = {**key, "draw": draw, "repeat": repeat}
            fitted = np.nan if strategy == "none" else 0.0  # victims count whatever they fitted
            victims.append({**victim, "fitted_share": fitted, "natural_accuracy": accuracy, "lambda": 2 * accuracy})
            attack = {"attack": "pgd", "goal": "targeted", "attack_source": 0, "attack_target": 1}
            robustness += [
                {**victim, **attack, "epsilon": epsilon, "adversarial_accuracy": accuracy * (epsilon == 0.1)}
                for epsilon in (0.1, 0.3)
            ]
    frames = (pd.DataFrame(rows) for rows in (conditions, victims, robustness))
    return dict(zip(("conditions", "victims", "robustness"), frames, strict=True))


def entry(relation_, of, minimum=None, **settings):
    facts = {"id": 1, "statement": "so", "source": "A", "published": "yes", "estimand": "share", "relation": relation_}
    return {**facts, "of": of, "minimum": minimum or {"draws": 3, "repeats": 2}, **settings}


def own(condition, **how):
    return {"experiment": "own", "condition": condition, **how}


def judged(tmp_path, tables, *entries, headline=(("attack", "pgd"), ("epsilon", 0.1))):
    """First row of the scorecard of a study `mine` with these claims and one experiment."""
    (tmp_path / "mine").mkdir(exist_ok=True)
    path = tmp_path / "mine" / "claims.yaml"
    path.write_text(yaml.safe_dump({"claims": list(entries)}, allow_unicode=True))
    return judge(load_claims(path), {"mine/own": tables}, {"mine/own": dict(headline)}).iloc[0]


def test_a_claim_of_a_new_study_is_a_few_lines_and_its_attack_is_the_headline_s(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "claims.yaml").write_text(STUDY)
    claims = load_claims([tmp_path / "mine" / "claims.yaml", REGISTERED])
    assert (claims[0].study, len(claims)) == ("mine", 1 + len(load_claims(REGISTERED)))
    headlines = {"mine/own": {"attack": "pgd", "epsilon": 0.1}}
    for clever, verdict in ((0.4, "reproduced"), (0.495, "refuted"), (0.7, "refuted")):
        tables = own_tables({"random": (0.5, np.nan), "clever": (clever, np.nan)})
        row = judge(claims[:1], {"mine/own": tables}, headlines).iloc[0]
        assert (row["study"], row["verdict"], row["n"]) == ("mine", verdict, "6+6 × 20")
        assert row["measured"] == pytest.approx(0.5 - clever, abs=4 * SMALL * np.sqrt(2 / 120))  # 4 standard errors
        assert row["test"].startswith("random − clever, rows permuted")
    assert judge(claims[:1], {"mine/own": tables}, {"mine/own": {"epsilon": 0.3}}).iloc[0]["measured"] == 0
    few = own_tables({"random": (0.5, np.nan), "clever": (0.4, np.nan)}, draws=1)
    assert "registered are 3 × 2" in judge(claims[:1], {"mine/own": few}, headlines).iloc[0]["test"]
    few["conditions"]["scale"] = "analogue"
    assert judge(claims[:1], {"mine/own": few}, headlines).iloc[0]["verdict"] == "analogue"


def test_the_registered_size_is_asked_of_the_values_that_a_claim_speaks_of(tmp_path):
    """Of a budget of 1, medoids of several halves of a class may be the same point."""
    levels = {"random@1": (0.9, 1), "random@5": (0.5, 5), "clever@1": (0.9, 1), "clever@5": (0.3, 5)}
    tables = own_tables(levels)
    for name in ("victims", "robustness"):
        few = (tables[name]["condition"] == "clever") & (tables[name]["axis_value"] == 1) & (tables[name]["draw"] > 1)
        tables[name] = tables[name][~few]
    row = judged(tmp_path, tables, entry("larger", own("random", value=5), than=own("clever", value=5)))
    assert (row["verdict"], row["n"]) == ("reproduced", "6+6 × 20")
    row = judged(tmp_path, tables, entry("larger", own("random", value=1), than=own("clever", value=1)))
    assert "'clever' is 2 × 20 (40 victims), registered are 3 × 2" in row["test"]


def test_a_difference_can_be_claimed_to_exceed_a_number(tmp_path):
    tables = own_tables({"random": (0.5, np.nan), "clever": (0.3, np.nan)})
    for by, verdict in ((0.0, "reproduced"), (0.15, "reproduced"), (0.2, "inconclusive"), (0.25, "refuted")):
        row = judged(tmp_path, tables, entry("larger", own("random"), than=own("clever"), by=by))
        assert row["verdict"] == verdict, by
        assert row["low"] < row["measured"] < row["high"]
        assert row["measured"] == pytest.approx(
            0.2, abs=4 * SMALL * np.sqrt(2 / 120)
        )  # the difference itself, not what exceeds


def test_victims_without_poisons_are_compared_one_by_one_with_those_of_every_draw(tmp_path):
    tables = own_tables({"clean": (0.9, np.nan), "random": (0.5, np.nan)})
    row = judged(tmp_path, tables, entry("larger", own("clean"), than=own("random")))
    assert (row["verdict"], row["n"], round(row["measured"], 1)) == ("reproduced", "1+6 × 20", 0.4)
    assert judged(tmp_path, tables, entry("larger", own("random"), than=own("clean")))["verdict"] == "refuted"


@pytest.mark.parametrize("percent", [5, 50])
def test_a_percentile_is_near_a_number_with_the_interval_of_its_order_statistics(tmp_path, percent):
    tables = own_tables({"random": (0.5, np.nan)}, draws=20)
    accuracy = tables["victims"]["natural_accuracy"].to_numpy().reshape(20, 20)
    reference = percentile_interval(accuracy, percent / 100)
    how = {"quantifier": {"percentile": percent}, "margin": 0.02}
    middle = 0.5 + stats.norm.ppf(percent / 100) * SMALL
    row = judged(tmp_path, tables, entry("near", own("random"), value=float(round(middle, 3)), **how))
    assert (row["measured"], row["low"], row["high"]) == (reference.value, reference.low, reference.high)
    assert (row["verdict"], f"{percent}th percentile" in row["test"]) == ("reproduced", True)
    assert judged(tmp_path, tables, entry("near", own("random"), value=0.6, **how))["verdict"] == "refuted"


def test_a_tail_can_be_higher_where_the_means_are_the_same(tmp_path):
    # The lower quarter of the wide condition lies 0.67 · 0.1 below its mean, that of the narrow one 0.67 · 0.005.
    wide, narrow = (own_tables({name: (0.5, np.nan)}, sd=sd) for name, sd in (("wide", 0.1), ("narrow", 0.005)))
    tables = {key: pd.concat([wide[key], narrow[key]], ignore_index=True) for key in wide}
    quarter = entry("larger", own("narrow"), than=own("wide"), quantifier={"percentile": 25})
    row = judged(tmp_path, tables, quarter)
    values = tables["victims"].groupby("condition")["natural_accuracy"].quantile(0.25)
    assert row["verdict"] == "reproduced"
    assert row["measured"] == pytest.approx(values["narrow"] - values["wide"], abs=1e-12)  # rounding of doubles
    assert row["low"] < row["measured"] < row["high"]
    assert judged(tmp_path, tables, {**quarter, "of": own("wide"), "than": own("narrow")})["verdict"] == "refuted"
    with pytest.raises(InputError, match="compared by intervals alone; leave out paired_by, known and by"):
        judged(tmp_path, tables, {**quarter, "paired_by": "training set"})
    mean = {**quarter, "quantifier": "mean"}
    assert judged(tmp_path, tables, mean)["verdict"] == "inconclusive"


def test_noise_alone_is_seldom_taken_for_a_higher_percentile():
    generator, row = np.random.default_rng(8), pd.Series({"strategy": "random"})
    found = 0
    for _ in range(100):
        sides = [Chosen("s/e", name, "", "x", generator.normal(0, 1, (6, 8)), row) for name in ("a", "b")]
        data = Data([], {}, [], 1, quantifier=Quantifier("percentile", 25.0))
        evidence = larger_percentiles([Pair(*sides)], data)
        found += evidence.supports.holds or evidence.opposes.holds
    # Each side has a level of 2.5 % at most: 5 of 100 are expected at worst, 12 are seen once in 200 runs (binomial).
    assert found <= 12


def test_every_victim_is_above_or_below_a_number_or_one_of_them_is_not(tmp_path):
    tables = own_tables({"random": (0.5, np.nan)})
    lowest, highest = tables["victims"]["lambda"].min(), tables["victims"]["lambda"].max()
    of = own("random", column="lambda")
    for relation_, extreme, step in (("above", lowest, -1), ("below", highest, 1)):
        for value, verdict in ((extreme + step / 1000, "reproduced"), (extreme, "refuted")):
            row = judged(tmp_path, tables, entry(relation_, of, value=float(value), quantifier="every victim"))
            assert (row["verdict"], row["measured"], row["n"]) == (verdict, extreme, "120 victims")


def test_victims_that_are_all_right_are_more_certain_than_some_and_what_is_one_or_nothing_is_a_share(tmp_path):
    tables = own_tables({"random": (0.5, np.nan)})
    tables["robustness"]["adversarial_accuracy"] = 1.0
    row = judged(tmp_path, tables, entry("above", own("random"), value=0.99))
    assert [row[key] for key in ("verdict", "measured", "low", "high")] == ["reproduced", 1, 1, 1]
    tables["victims"]["memorised"] = 1
    row = judged(tmp_path, tables, entry("above", own("random", column="memorised"), value=0.99))
    assert (row["verdict"], row["low"]) == ("inconclusive", pytest.approx(0.025 ** (1 / 6)))  # Clopper and Pearson's


def test_a_value_that_was_chosen_on_even_draws_is_subtracted_from_the_odd_ones():
    row = pd.Series({"strategy": "random", "axis_value": np.nan})
    grid = np.arange(8.0)[:, None] * np.ones((1, 3))
    whole = Chosen("mine/own", "a", "", "accuracy", grid, row)
    half = Chosen("mine/own", "a", "", "accuracy", grid[1::2], row, True, True)
    for pair in (Pair(whole, half), Pair(half, whole)):
        np.testing.assert_array_equal(pair.differences, np.zeros((4, 3)))


def test_what_is_shown_is_not_refuted_by_the_wider_interval_of_several(tmp_path):
    tables = own_tables(
        {"clean": (0.5, np.nan), **{name: (0.2, np.nan) for name in "bcd"}, "a": (0.484, np.nan)}, sd=0.03
    )
    more = [own(name) for name in "abcd"]
    row = judged(tmp_path, tables, entry("larger", own("clean"), than=more, margin=0.05))
    assert (row["verdict"], row["low"] > 0, row["high"] < 0.05) == ("reproduced", True, True)


def test_a_curve_rises_or_falls_with_its_axis_by_what_lies_between_its_ends(tmp_path):
    # Unevenly spaced, on a line: the slope times the whole axis is the difference of the ends.
    tables = own_tables({f"more@{value}": (0.3 + value / 100, value) for value in (1.0, 5.0, 20.0, 40.0)})
    row = judged(tmp_path, tables, entry("rises", own("more"), margin=0.02))
    assert (row["verdict"], row["n"]) == ("reproduced", "6 × 20")
    assert row["measured"] == pytest.approx(0.39, abs=0.02)  # over 4 standard errors of the slope
    assert "trend over 4 values of budget, of which budget = 1 is the lowest" in row["test"]
    assert judged(tmp_path, tables, entry("falls", own("more"), margin=0.02))["verdict"] == "refuted"
    flat = own_tables({name: (0.5, np.nan) for name in ("a", "b")})
    with pytest.raises(InputError, match="'a' is not one condition with a sweep axis"):
        judged(tmp_path, flat, entry("rises", [own("a"), own("b")], margin=0.02))


def test_each_training_set_has_a_line_of_its_own_where_a_curve_is_paired_by_them(tmp_path):
    tables = own_tables({f"more@{value}": (0.3 + value / 100, value) for value in (1.0, 5.0, 20.0, 40.0)})
    victims = tables["victims"]
    victims["natural_accuracy"] += 0.2 * victims["draw"]  # the same at all values: of no weight for the lines
    claim = entry("rises", own("more", column="natural_accuracy"), margin=0.02)
    row = judged(tmp_path, tables, {**claim, "minimum": {"draws": 6, "repeats": 2}, "paired_by": "training set"})
    values = np.array([1.0, 5.0, 20.0, 40.0])
    cells = victims.pivot_table(index=["draw", "repeat"], columns="axis_value", values="natural_accuracy")
    slopes = np.polyfit(values, cells.to_numpy().T, 1)[0].reshape(6, 20) * 39
    found = mean_interval(slopes)
    assert [row[key] for key in ("measured", "low", "high")] == pytest.approx([found.value, found.low, found.high])
    assert (row["verdict"], row["n"]) == ("reproduced", "6 × 20")
    assert judged(tmp_path, tables, claim)["high"] - found.value > 10 * (found.high - found.value)


@pytest.mark.parametrize(("other", "expected"), [(0.8, "reproduced"), (0.3, "refuted")])
def test_one_difference_is_larger_than_another(tmp_path, other, expected):
    tables = own_tables({"a@0": (0.9, 0.0), "a@1": (0.6, 1.0), "b@0": (0.9, 0.0), "b@1": (other, 1.0)})
    of, than = ([own(name, value="first", label=f"fall of {name}"), own(name, value="last")] for name in "ab")
    row = judged(tmp_path, tables, entry("larger difference", of, than=than, margin=0.05))
    assert (row["verdict"], row["test"].partition(",")[0]) == (expected, "fall of a − fall of b")
    assert row["measured"] == pytest.approx(0.3 - (0.9 - other), abs=4 * SMALL * np.sqrt(4 / 120))
    with pytest.raises(InputError, match="of selects 1 values, a difference is of 2; give two selectors"):
        judged(tmp_path, tables, entry("larger difference", of[:1], than=than, margin=0.05))


def test_conditions_stand_in_the_order_that_a_rank_names(tmp_path):
    tables = own_tables({name: (level, np.nan) for name, level in (("low", 0.3), ("middle", 0.4), ("high", 0.5))})
    ordered = [own("low"), own("middle"), own("high")]
    row = judged(tmp_path, tables, entry("rank", ordered))
    assert (row["verdict"], round(row["measured"], 1)) == ("reproduced", 0.1)
    row = judged(tmp_path, tables, entry("rank", [ordered[0], ordered[2], ordered[1]]))
    assert (row["verdict"], "middle − high" in row["test"]) == ("refuted", True)


def test_conditions_of_unrelated_draws_are_equivalent_within_a_margin(tmp_path):
    tables = own_tables({"a": (0.5, np.nan), "b": (0.51, np.nan)})
    for margin, verdict in ((0.05, "reproduced"), (0.001, "refuted")):
        row = judged(tmp_path, tables, entry("equivalent", own("a"), than=own("b"), margin=margin, paired_by="repeat"))
        assert (row["verdict"], row["n"]) == (verdict, "6+6 × 20")
        reference = paired_difference(*(
            tables["victims"].loc[tables["victims"]["condition"] == name, "natural_accuracy"].to_numpy().reshape(6, 20)
            for name in ("a", "b")
        ))  # fmt: skip
        assert (row["measured"], row["low"]) == (reference.value, reference.low)


def test_an_experiment_that_has_not_run_leaves_the_claim_open_or_is_refuted_without_it(tmp_path):
    both = [own("random"), {**own("random"), "experiment": "other"}]
    tables = own_tables({"random": (0.5, np.nan)})
    row = judged(tmp_path, tables, entry("above", both, value=0.4))
    assert (row["verdict"], "a verdict needs the victims of mine/other" in row["test"]) == ("inconclusive", True)
    assert judged(tmp_path, tables, entry("above", both, value=0.6))["verdict"] == "refuted"
    row = judged(tmp_path, tables, entry("rank", both))
    assert (row["verdict"], row["test"]) == ("not run", "no tables of mine/other")


def test_of_several_conditions_the_one_that_decides_is_named(tmp_path):
    tables = own_tables({"high": (0.6, np.nan), "low": (0.45, np.nan)})
    row = judged(tmp_path, tables, entry("above", [own("high"), own("low")], value=0.5))
    assert (row["verdict"], round(row["measured"], 2)) == ("refuted", 0.45)
    assert row["test"].startswith("lowest of 2 means, low; t intervals")


def test_unfitted_victims_are_left_out_only_where_a_claim_says_so(tmp_path):
    tables = own_tables({"random": (0.5, np.nan)})  # none of them fitted any of its poisons
    near = entry("near", own("random"), value=0.5, margin=0.05)
    assert judged(tmp_path, tables, near)["verdict"] == "reproduced"
    row = judged(tmp_path, tables, {**near, "victims": "fitted"})
    assert (row["verdict"], "random: 0 of 120" in row["test"]) == ("inconclusive", True)


def test_a_study_brings_a_relation_of_its_own(tmp_path, monkeypatch):
    (tmp_path / "relations_of_mine.py").write_text(
        "from poisonlab.claims.evidence import Evidence, Side\n"
        "from poisonlab.claims.relations import relation\n\n\n"
        '@relation("odd", parameters={"odd": 1}, selectors=("of",))\n'
        "def odd(data, settings):\n"
        '    return Evidence(settings["odd"], 0.0, 9.0, "1", "counted", Side(True), Side(False), "more")\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    tables = own_tables({"random": (0.5, np.nan)})
    row = judged(tmp_path, tables, entry("relations_of_mine:odd", own("random"), odd=7))
    assert (row["measured"], row["test"], row["verdict"]) == (7, "counted", "reproduced")
    with pytest.raises(InputError, match="parameter odd of 'odd' is 'x', allowed is a whole number"):
        judged(tmp_path, tables, entry("relations_of_mine:odd", own("random"), odd="x"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"of": own("random", colum="epochs")}, r"has the keys \['colum'\], allowed are \['condition'"),
        ({"of": own("random", epsilon="0.1")}, "epsilon is '0.1', which it cannot be"),
        ({"of": own("random", times=float("inf"))}, "times is inf, which it cannot be"),
        ({"of": []}, "of is empty, allowed is 1 selector or more"),
        ({"of": own("random", by="epochs")}, "has by and no value that it chooses"),
        ({"of": own("random", over="all")}, "over is 'all', allowed are mean, draws"),
        ({"of": own("random", classes=[1])}, r"classes is \[1\], allowed is \[source, target\]"),
        ({"parts": ["one"]}, r"has the parts \['one'\], allowed are the places"),
        ({"of": {"condition": "random"}}, "does not say where it is judged; name the experiment of every selector"),
        ({"margin": "wide"}, "margin is wide, allowed is a finite number"),
        ({"quantifier": "every victim"}, "speaks of every victim, the relation 'larger' of"),
        ({"minimum": {}}, "minimum is empty, allowed is the least n"),
        ({"minimum": {"draws": 2, "repeats": 0}}, "repeats is 0, allowed is a number from 1"),
        ({"minimum": {"clever": [2, 2], "other": [2, 2]}}, r"unknown key \['other'\]"),
        ({"minimum": {"draws": 2, "repeats": 9}}, "2 and 2 draws, whose test cannot give a p below 0.167 over 1 parts"),
        ({"minimum": {"clever": [2, 2], "random": [5, 2]}, "known": 1}, "5 and 2 draws, .* below 0.200 over 1 parts"),
    ],
)
def test_a_claim_of_a_new_study_that_says_something_impossible_is_refused(tmp_path, change, message):
    larger = entry("larger", own("random"), than=own("clever"))
    with pytest.raises(InputError, match=message):
        judged(tmp_path, own_tables({"random": (0.5, np.nan)}), {**larger, **change})


PAIRED = {"relation_": "larger", "minimum": {"draws": 10, "repeats": 2}, "paired_by": "training set", "margin": 0.05}


def decays(*levels):
    return own_tables({f"random@{value}": (level, value) for value, level in enumerate(levels)}, draws=10, repeats=2)


@pytest.mark.parametrize(("levels", "expected"), [((0.4, 0.5, 0.7), "reproduced"), ((0.7, 0.5, 0.4), "refuted")])
def test_a_chosen_value_is_judged_on_other_draws(tmp_path, levels, expected):
    row = judged(
        tmp_path, decays(*levels), entry(**PAIRED, of=own("random", value="highest"), than=own("random", value="first"))
    )
    assert row["verdict"] == expected
    # The first value itself differs from itself by nothing.
    assert row["measured"] == pytest.approx(max(levels) - levels[0], abs=4 * SMALL * np.sqrt(2 / 10))
    assert "= 0 − " in row["test"] or "(highest on even draws) − random" in row["test"]
    assert row["n"].startswith("5 × 2")


def test_what_is_chosen_by_may_be_another_column(tmp_path):
    tables = decays(0.4, 0.5, 0.7)
    tables["victims"]["natural_accuracy"] *= -1  # the other way round
    of = own("random", value="highest", by="natural_accuracy")
    row = judged(tmp_path, tables, entry(**PAIRED, of=of, than=own("random", value="first")))
    assert (row["measured"], row["verdict"]) == (0, "refuted")


@pytest.mark.parametrize("paired_by", ["repeat", "training set"])
@pytest.mark.parametrize(("lowest", "expected"), [(0.6, "reproduced"), (0.9, "refuted")])
def test_the_best_of_an_axis_is_judged_on_other_draws(tmp_path, lowest, expected, paired_by):
    levels = {"other": (0.8, np.nan), "tuned@0": (0.95, 0.0), "tuned@1": (lowest, 1.0)}
    claim = entry(**{**PAIRED, "paired_by": paired_by}, of=own("other"), than=own("tuned", value="lowest"))
    row = judged(tmp_path, own_tables(levels, draws=10, repeats=2), claim)
    assert row["verdict"] == expected
    assert row["measured"] == pytest.approx(0.8 - lowest, abs=4 * SMALL * np.sqrt(2 / 10))
    # By repeat, all draws of what nobody chose are judged.
    assert row["n"].startswith("5 × 2" if paired_by == "training set" else "10+5 × 2")


def test_the_choosing_draws_have_no_part_in_the_judgement(tmp_path):
    tables = decays(0.5, 0.5)
    for name, column in (("victims", "natural_accuracy"), ("robustness", "adversarial_accuracy")):
        even = (tables[name]["draw"] % 2 == 0) & (tables[name]["axis_value"] == 1)
        tables[name].loc[even, column] = 1.0
    row = judged(
        tmp_path, tables, entry(**PAIRED, of=own("random", value="highest"), than=own("random", value="first"))
    )
    assert row["measured"] == pytest.approx(0, abs=4 * SMALL * np.sqrt(2 / 10))


def test_one_of_several_that_is_clearly_beyond_refutes_whatever_a_wider_one_says(tmp_path):
    tables = own_tables({"wide": (0.3, np.nan), "sure": (0.45, np.nan)}, draws=6)
    for name, column in (("victims", "natural_accuracy"), ("robustness", "adversarial_accuracy")):
        rows = tables[name]["condition"] == "wide"
        tables[name].loc[rows, column] += 0.5 * (tables[name]["draw"] % 2 - 0.5)[rows]
    row = judged(tmp_path, tables, entry("above", [own("wide"), own("sure")], value=0.5))
    assert row["verdict"] == "refuted"
    assert row["measured"] == pytest.approx(0.45, abs=0.01)
    assert judged(tmp_path, tables, entry("above", own("wide"), value=0.5))["verdict"] == "inconclusive"


def test_without_poisons_a_chosen_value_is_compared_with_the_one_training_set(tmp_path):
    tables = own_tables({"clean": (0.9, np.nan), "clever@1": (0.6, 1), "clever@5": (0.4, 5)}, draws=8, repeats=5)
    minimum = {"clean": [1, 2], "clever": [3, 2]}
    row = judged(
        tmp_path, tables, entry("larger", own("clean"), minimum, than=own("clever", value="lowest"), margin=0.02)
    )
    assert (row["verdict"], row["n"]) == ("reproduced", "1+4 × 5")
    assert row["measured"] == pytest.approx(0.5, abs=0.02)


def test_every_radius_that_is_selected_has_the_registered_size(tmp_path):
    tables = own_tables({"random": (0.5, np.nan)})
    rows = tables["robustness"]
    tables["robustness"] = rows[(rows["epsilon"] == 0.1) | (rows["draw"] < 2)]
    both = entry("larger", own("random", epsilon=0.3), {"random": [3, 2]}, than=own("random", epsilon=0.1), margin=0.02)
    row = judged(tmp_path, tables, both)
    assert row["verdict"] == "inconclusive"
    assert "known for 2 × 20, registered are 3 × 2" in row["test"]


def test_each_experiment_is_asked_for_its_own_conditions(tmp_path):
    """Of two experiments each has one of the two conditions; another one there that nobody selected may be small."""
    (tmp_path / "mine").mkdir()
    path = tmp_path / "mine" / "claims.yaml"
    one, other = (
        {"experiment": name, "condition": condition} for name, condition in (("a", "random"), ("b", "clever"))
    )
    claim = entry("larger", one, {"random": [3, 2], "clever": [3, 2]}, than=other, margin=0.02)
    path.write_text(yaml.safe_dump({"claims": [claim]}))
    few = own_tables({"random": (0.5, np.nan)}, draws=1)
    b = {name: pd.concat([few[name], table]) for name, table in own_tables({"clever": (0.3, np.nan)}).items()}
    for second in (own_tables({"clever": (0.3, np.nan)}), b):
        tables = {"mine/a": own_tables({"random": (0.5, np.nan)}), "mine/b": second}
        headline = {"attack": "pgd", "epsilon": 0.1}
        assert judge(load_claims(path), tables, dict.fromkeys(tables, headline)).iloc[0]["verdict"] == "reproduced"


def test_values_of_an_axis_with_fewer_victims_than_others_are_joined_with_holes():
    whole, few, alone = np.full((3, 4), 0.5), np.full((2, 1), 0.3), np.full((1, 4), 0.1)
    joined = alike([whole, few, alone])
    assert joined.shape == (3, 3, 4)
    assert np.isnan(joined[1]).sum() == 10
    np.testing.assert_array_equal(joined[2], np.full((3, 4), 0.1))


def test_training_sets_stay_paired_where_one_side_was_chosen_on_even_draws(tmp_path):
    """Accuracy depends on the training set alone: paired rightly, every difference is what the condition does."""
    levels = {"random": (0.5, np.nan), "clever@1": (0.45, 1), "clever@5": (0.4, 5), "other": (0.3, np.nan)}
    tables = own_tables(levels, draws=12, repeats=4, sd=0.0)
    for name, column in (("victims", "natural_accuracy"), ("robustness", "adversarial_accuracy")):
        attacked = tables[name].get("epsilon", 0.1) == 0.1
        tables[name][column] += 0.02 * tables[name]["draw"] * attacked
        tables[name][column] += 0.03 * tables[name]["draw"] * attacked * (tables[name]["condition"] == "random")
    chosen = own("clever", value="lowest")
    size = {"draws": 12, "repeats": 2}
    ranked = judged(
        tmp_path, tables, entry("rank", [own("other"), chosen, own("random")], size, paired_by="training set")
    )
    assert (ranked["verdict"], ranked["measured"]) == ("reproduced", pytest.approx(0.1))
    assert ranked["low"] == pytest.approx(0.1)
    of, than = [own("random"), own("other")], [own("random"), chosen]
    gained = judged(
        tmp_path, tables, entry("larger difference", of, size, than=than, margin=0.02, paired_by="training set")
    )
    assert [gained["low"], gained["high"]] == pytest.approx([0.1, 0.1])


@pytest.mark.parametrize("known", [-2, 3, 8])
def test_known_draws_leave_some_to_judge(tmp_path, known):
    claim = entry("larger", own("random"), {"random": [3, 2], "clever": [6, 2]}, than=own("clever"), known=known)
    with pytest.raises(InputError, match=rf"known is {known}, allowed is 0 to 2, for 3 and 6 draws are registered"):
        judged(tmp_path, own_tables({"random": (0.5, np.nan), "clever": (0.3, np.nan)}), claim)


def test_a_share_is_not_multiplied(tmp_path):
    claim = entry("above", own("random", times=100), value=40)
    with pytest.raises(InputError, match="times is 100 of adversarial_accuracy, a share; leave it out"):
        judged(tmp_path, own_tables({"random": (0.5, np.nan)}), claim)
