"""A multiverse: which combinations are tried, what a choice changes, and the one verdict over all combinations."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from poisonlab.errors import InputError
from poisonlab.multiverse.grid import FACTS, FOUND, changed, combinations
from poisonlab.multiverse.judging import specifications
from poisonlab.multiverse.verdicts import eta_squared, measuring, summary, with_choices, words
from poisonlab.pipeline.configuration import check
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.studies import merged, read_yaml

ROOT = Path(__file__).resolve().parents[2]
CHOICES = {"optimiser": ["sgd", "momentum", "adam"], "rate": ["1", "10"], "batch": ["16", "all"], "width": ["8", "64"]}
NOTHING: dict[str, Any] = {"recipe": {}, "model": {}, "times": {}}
TRAINING = {
    "recipe": {"epochs": 9, "learning_rate": 0.003},
    "precision": "bfloat16",
    "model": {"model": "mlp", "width": 64},
    "device": "cpu",
}


# ---------------------------------------------------------------------------------------------------- the combinations


def test_without_a_sample_every_combination_is_there_once() -> None:
    every = {tuple(one.values()) for one in combinations(CHOICES)}
    assert every == set(itertools.product(*CHOICES.values()))
    assert len(combinations(CHOICES, sample=1000)) == len(every)


def test_a_larger_sample_begins_with_the_smaller_one() -> None:
    assert combinations(CHOICES, 12)[:7] == combinations(CHOICES, 7)


@pytest.mark.parametrize("sample", [6, 12, 18])
def test_in_a_sample_the_values_of_every_choice_are_equally_frequent(sample: int) -> None:
    chosen = combinations(CHOICES, sample)
    for choice, values in CHOICES.items():
        counts = Counter(one[choice] for one in chosen)
        assert set(counts) == set(values)
        assert max(counts.values()) - min(counts.values()) <= 1


# ------------------------------------------------------------------------------------------------- what a choice changes


def test_factors_multiply_what_other_choices_have_set_and_the_rest_stays() -> None:
    sgd = {**NOTHING, "recipe": {"optimiser": "sgd", "learning_rate": 0.01}}
    wide = {**NOTHING, "model": {"width": 128, "scale": "mean"}}
    tenth = {**NOTHING, "times": {"learning_rate": 0.1}}
    found = changed(TRAINING, [tenth, sgd, wide], {"mean": 10}, "here")
    assert found == {
        "recipe": {"epochs": 9, "optimiser": "sgd", "learning_rate": 0.001},
        "precision": "bfloat16",
        "model": {"model": "mlp", "width": 128, "scale": 10.0},
        "device": "cpu",
    }
    assert TRAINING["recipe"] == {"epochs": 9, "learning_rate": 0.003}
    assert changed(TRAINING, [tenth], {}, "here")["recipe"]["learning_rate"] == 0.0003  # and not 0.00030000000000000003


def test_another_model_starts_from_its_own_parameters_and_precision_is_a_choice_of_the_recipe() -> None:
    deep = {**NOTHING, "model": {"depth": 3}}
    other = {**NOTHING, "model": {"model": "transformer"}}
    exact = {**NOTHING, "recipe": {"precision": "float32"}}
    found = changed(TRAINING, [deep, other, exact], {}, "here")
    assert found["model"] == {"model": "transformer", "depth": 3}
    assert found["recipe"] == TRAINING["recipe"]
    assert found["precision"] == "float32"


def test_words_and_factors_that_mean_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"here: model.scale is 'mu', allowed are numbers and \['mean'\]; correct it"):
        changed(TRAINING, [{**NOTHING, "model": {"scale": "mu"}}], {"mean": 10, "kind": "toy"}, "here")
    with pytest.raises(InputError, match=r"here: times.momentum multiplies no number of the recipe; correct or remove"):
        changed(TRAINING, [{**NOTHING, "times": {"momentum": 0.1}}], {}, "here")


# --------------------------------------------------------------------------------------------- the verdict over them all


def test_eta_squared_is_the_share_between_groups() -> None:
    generator = np.random.default_rng(0)
    groups = pd.Series(np.repeat(["a", "b", "c"], [5, 7, 9]))
    values = pd.Series(generator.normal(size=21) + np.repeat([0.0, 1.0, 3.0], [5, 7, 9]))
    f = stats.f_oneway(*(values[groups == name] for name in "abc")).statistic
    # Of the one-way analysis of variance: η² = F · (k − 1) / (F · (k − 1) + n − k).
    assert eta_squared(values, groups) == pytest.approx(2 * f / (2 * f + 18), rel=1e-12)
    assert eta_squared(pd.Series([1.0, 2, 1, 2]), pd.Series(list("abab"))) == pytest.approx(1)
    assert np.isnan(eta_squared(pd.Series([0.1, 0.1, 0.1]), pd.Series(list("aab"))))


def specified(verdicts: dict[str, list[str]], scale: str = "published") -> pd.DataFrame:
    """Rows of one claim: optimiser → verdicts; what is reproduced measures 1, refuted −1, open 0, not run nothing."""
    value = {"reproduced": 1.0, "refuted": -1.0, "inconclusive": 0.0}
    rows = [
        {
            "optimiser": optimiser,
            "batch": "16" if number % 2 else "all",
            "verdict": verdict,
            "measured": value.get(verdict),
        }
        for optimiser, found in verdicts.items()
        for number, verdict in enumerate(found)
    ]
    facts = {"study": "s", "multiverse": "m", "claim": 15, "statement": "so", "part": "p", "victims": "all"}
    frame = pd.DataFrame(rows).assign(**facts, scale=scale, combination=range(len(rows)))
    return frame.reindex(columns=[*FACTS, "optimiser", "batch", *FOUND])


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"sgd": 9 * ["reproduced"], "adam": ["refuted"]}, "reproduced"),  # 9 of 10 are 90 %
        ({"sgd": 8 * ["reproduced"], "adam": ["refuted"]}, "depends"),  # 8 of 9 are less
        ({"sgd": 18 * ["refuted"], "adam": ["inconclusive", "not run"]}, "refuted"),
        # What is not shown under some choices is not refuted over their range.
        ({"sgd": 4 * ["inconclusive"], "adam": 4 * ["refuted"]}, "depends"),
        ({"sgd": 9 * ["inconclusive"], "adam": 2 * ["refuted"]}, "depends"),
        # What measures nothing does not count.
        ({"sgd": 9 * ["reproduced"], "adam": ["refuted", *9 * ["not run"]]}, "reproduced"),
        ({"sgd": 9 * ["inconclusive"], "adam": ["refuted", *9 * ["not run"]]}, "inconclusive"),
        ({"sgd": 9 * ["not run"]}, "not run"),
    ],
)
def test_the_verdict_is_that_of_nine_in_ten_combinations(verdicts: Any, expected: str) -> None:
    (row,) = summary(specified(verdicts)).to_dict("records")
    assert row["verdict"] == expected
    (reduced,) = summary(specified(verdicts, "reduced")).to_dict("records")
    assert reduced["verdict"] == "analogue"


def test_epochs_that_are_the_same_for_all_measure_nothing() -> None:
    table = specified({"sgd": 9 * ["reproduced"], "adam": 9 * ["inconclusive"]})
    equal = table.assign(unit="epochs", low=table["measured"] - 1e-13, high=table["measured"] + 1e-13)
    assert measuring(equal).index.tolist() == list(range(9))
    row = summary(equal).iloc[0]
    assert (row["verdict"], row["tried"], row["combinations"]) == ("reproduced", 18, 9)
    assert words(row) == (
        "over 9 of 18 combinations of choices (the others measure nothing), as trained: reproduced in 9, refuted in 0"
    )
    for others in (equal.assign(unit=""), equal.assign(low=-1.0, high=2.0)):
        assert summary(others)["verdict"].tolist() == ["depends"]


def test_a_claim_depends_on_the_choice_that_explains_most() -> None:
    found = summary(specified({"sgd": 6 * ["reproduced"], "adam": [*5 * ["refuted"], "reproduced"]}))
    row = found.iloc[0]
    # Means 1 and −2/3, grand mean 1/6: between 12 · (5/6)² = 25/3, in all 12 · (1 − 1/36) = 35/3.
    assert (row["choice"], row["eta2"]) == ("optimiser", pytest.approx(5 / 7))
    assert row["where"] == "sgd 6 and 0 of 6, adam 1 and 5 of 6"
    assert words(row) == (
        "over 12 combinations of choices, as trained: reproduced in 7, refuted in 5; optimiser explains 71 % of the "
        "variance (reproduced and refuted: sgd 6 and 0 of 6, adam 1 and 5 of 6)"
    )
    alike = summary(specified({"sgd": 4 * ["reproduced"], "adam": 4 * ["reproduced"]})).iloc[0]
    assert (alike["choice"], alike["where"]) == ("", "")


def test_a_choice_that_chance_explains_as_well_is_not_named() -> None:
    # Of 2 and 2, one of two choices divides the four as well in 4 of the 6 ways to deal their estimates.
    few = summary(specified({"sgd": 2 * ["reproduced"], "adam": 2 * ["refuted"]})).iloc[0]
    assert (few["verdict"], few["choice"], np.isnan(few["eta2"])) == ("depends", "", True)
    assert words(few).endswith("refuted in 2; no choice explains more of the variance than chance")
    named = []
    for sample in range(100):
        table = specified({"sgd": 10 * ["reproduced"], "adam": 10 * ["refuted"]})
        table["measured"] = np.random.default_rng(sample).normal(size=20)  # which no choice moves
        named.append(summary(table)["choice"].iloc[0] != "")
    assert sum(named) <= 12  # 5 of 100 are expected; 4 standard errors, 2.2 each, above: 13


def test_a_row_of_the_scorecard_depends_where_its_multiverse_does_or_says_the_opposite() -> None:
    def scored(verdict: str, part: str = "p") -> pd.DataFrame:
        facts = {"study": "s", "claim": 15, "statement": "so", "test": "t", "verdict": verdict}
        frame = pd.DataFrame([facts])
        frame.attrs["details"] = [{"part": part, "notes": ["own"]}]
        return frame

    both = summary(specified({"sgd": 5 * ["reproduced"], "adam": 5 * ["refuted"]}))
    refuted = with_choices(scored("refuted"), both)
    assert refuted["verdict"].tolist() == ["depends"]
    assert refuted["test"].tolist() == [
        "t; refuted under the study's recipe; as trained 5 of 10 combinations of choices reproduce and 5 refute it; "
        "estimates differ most by optimiser"
    ]
    assert refuted.attrs["details"][0]["notes"] == ["own", words(both.iloc[0])]
    assert with_choices(scored("inconclusive"), both)["verdict"].tolist() == ["inconclusive"]
    elsewhere = with_choices(scored("refuted", "q"), both)
    assert (elsewhere["verdict"].tolist(), elsewhere.attrs["details"][0]["notes"]) == (["refuted"], ["own"])
    alike = summary(specified({"sgd": 4 * ["reproduced"], "adam": 4 * ["reproduced"]}))
    assert with_choices(scored("reproduced"), alike)["verdict"].tolist() == ["reproduced"]
    assert with_choices(scored("refuted"), alike)["verdict"].tolist() == ["depends"]
    fewer = specified({"sgd": 5 * ["reproduced"], "adam": 4 * ["refuted"] + ["not run"]}).assign(victims="fitted")
    assert with_choices(scored("refuted"), pd.concat([both, summary(fewer)]))["test"].tolist() == [
        "t; refuted under the study's recipe; as trained 5 of 10 combinations of choices reproduce and 5 refute it, "
        "of victims that fit their poisons 5 and 4 of 9; estimates differ most by optimiser"
    ]
    (more,) = with_choices(scored("refuted"), pd.concat([summary(fewer), both]))["test"]
    assert "5 of 9 combinations of choices reproduce and 4 refute it, as trained 5 and 5 of 10; estimates" in more
    reduced = summary(specified({"sgd": 4 * ["reproduced"], "adam": 4 * ["refuted"]}, "reduced"))
    assert with_choices(scored("refuted"), reduced)["verdict"].tolist() == ["refuted"]


# ------------------------------------------------------------------------------------------------- what a study asks for


def toys(**entry: Any) -> dict[str, Any]:
    choices = {"optimiser": {"adam": {}, "sgd": {"recipe": {"optimiser": "sgd", "learning_rate": 0.01}}}}
    whole = {"experiments": ["toy16_opposite"], "draws": 2, "repeats": 2, "choices": choices} | entry
    change = {"studies": ["label_noise"], "label_noise": {"multiverses": {"own": whole}}}
    return merged(read_yaml(ROOT / "config.yaml"), change)


@pytest.mark.parametrize(
    ("entry", "parts"),
    [
        ({"experiments": ["toy17"]}, ["own.experiments names 'toy17'", "which is not in label_noise.experiments"]),
        ({"draws": 9}, ["own.draws is 9, experiment 'toy16_opposite' has 8; lower it"]),
        ({"choices": {"size": {"only": {}}}}, ["choices.size is", "at least 2 entry"]),
        ({"choices": {"verdict": {"a": {}, "b": {}}}}, ["choices has ['verdict']", "rename"]),
        (
            {"choices": {"size": {"a": {}, "b": {"width": 3}}}},
            ["unknown key ['width']", "['model', 'recipe', 'times']"],
        ),
        ({"choices": {"size": {"a": {}, "b": {"model": {"wide": 3}}}}}, ["(size b; toy16_opposite)", "'mlp' has no"]),
        (
            {"choices": {"rate": {"a": {}, "b": {"recipe": {"learning_rate": -1}}}}},
            ["(rate b; ", "learning_rate of 'recipe' is -1"],
        ),
        ({"choices": {"rate": {"a": {}, "b": {"recipe": {"rate": 1}}}}}, ["(rate b; ", "rate"]),
        (
            {"choices": {"arithmetic": {"a": {}, "b": {"recipe": {"precision": "half"}}}}},
            ["(arithmetic b; ", "recipe.precision is 'half', allowed are float32, bfloat16; correct it"],
        ),
        (
            {"choices": {"net": {"a": {}, "b": {"model": {"model": "nett"}}}}},
            ["model 'nett' does not exist; choose one of", "transformer"],
        ),
    ],
)
def test_what_a_multiverse_cannot_be_is_refused_in_one_line(entry: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(InputError) as error:
        check(toys(**entry), ROOT)
    assert [part for part in parts if part not in str(error.value)] == [], error.value
    assert len(str(error.value).splitlines()) == 1


def test_a_multiverse_may_not_be_called_like_an_experiment() -> None:
    config = toys()
    config["label_noise"]["multiverses"]["toy16_third"] = config["label_noise"]["multiverses"]["own"]
    with pytest.raises(InputError, match="toy16_third is called like an experiment"):
        check(config, ROOT)


def test_it_runs_where_its_experiments_run_and_its_jobs_share_the_poisons_of_the_experiment() -> None:
    config = toys(combinations_per_job=1)
    plan = Plan(config, ROOT)
    assert ("label_noise", "own") in plan.multiverses
    assert set(plan.multiverse_parts("label_noise", "own")) == {"0-0", "1-1"}
    crafted = {file for batch in plan.batches for file in plan.batch_outputs(batch)}
    data, *poisons = plan.multiverse_inputs("label_noise", "own")
    assert data == "results/data/toy16.safetensors"
    assert set(poisons) <= crafted
    assert len(poisons) == 2 * 2  # draws of the clean and of the placed condition
    assert ("label_noise", "own") not in Plan(merged(config, {"label_noise": {"run": ["soft_1nn"]}}), ROOT).multiverses


def test_a_claim_that_the_experiments_do_not_decide_is_left_out() -> None:
    empty = {
        name: pd.DataFrame({"experiment": ["one"], "combination": [0], "seconds": [1.0]}) for name in ("conditions",)
    }
    found = specifications(
        [], empty, {0: {"optimiser": "adam"}}, {"study": "s", "multiverse": "m", "scale": "reduced"}, (2, 2)
    )
    assert list(found.columns) == [*FACTS, "optimiser", *FOUND]
    assert found.empty
