"""A study's page shows each figure with its caption and the claims that name it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from poisonlab.claims import COLUMNS, Claim, Part, Place
from poisonlab.claims.relations import relation
from poisonlab.claims.selectors import Selector
from poisonlab.documents.claim_rows import claim_rows
from poisonlab.documents.comparison import COLUMNS as STRATEGIES
from poisonlab.documents.comparison import SPREAD
from poisonlab.documents.page import Picture, size_in_words, study_page, support_page
from poisonlab.documents.places import places, tables
from poisonlab.errors import InputError
from poisonlab.results.query import Headline, Query
from poisonlab.statistics import mean_interval

TITLE = "On label noise"


def claim(number: int, statement: str, source: str, **places: str | tuple[str, ...]) -> Claim:
    parts = tuple(
        Part(name, Place((tables,) if isinstance(tables, str) else tables), None) for name, tables in places.items()
    )
    return Claim(
        id=number, study="label_noise", source=source, statement=statement, published="yes", estimand="share",
        relation=relation.find("rank"), settings={}, minimum={}, parts=parts,
    )  # fmt: skip


def row(number: int, statement: str, verdict: str, value: float = 0.5) -> dict[str, object]:
    facts = [
        number,
        "label_noise",
        statement,
        "yes",
        value,
        value - 0.1,
        value + 0.1,
        "steps",
        "5 × 4",
        "t test",
        verdict,
    ]
    return dict(zip(COLUMNS, facts, strict=True))


CAPTION = "**All are short.** All lengths.\n\nOne net.\n"
PICTURES = [
    Picture("fig_4_6a", "Lengths", "Fig. 4.6a", "thesis, Fig. 4.6a", [1, 3], ["paths/two"], False, CAPTION),
    Picture("fig_4_7", "More lengths", "", "book, chapter 2", [1], ["paths/two", "paths/ten"], False, "All lengths.\n"),
    Picture("pipeline", "The way of the data", "", "", [2], [], True, "The way.\n\nDrawn.\n"),
]
CLAIMS = [
    claim(1, "Paths are short", "caption of Fig. 4.7", two="paths/two", ten="paths/ten"),
    claim(2, "Nets | are accurate", "section 4.6", only="label_noise/a"),
    claim(3, "Others agree", "conclusion", only="label_noise/a"),
]
SCORECARD = pd.DataFrame(
    [
        row(1, "Paths are short: two", "reproduced"),
        row(1, "Paths are short: ten", "refuted"),
        row(2, "Nets | are accurate", "not run", np.nan),
        row(3, "Others agree", "inconclusive"),
    ]
)
ROWS = claim_rows(CLAIMS, SCORECARD)
NO_STRATEGIES, NONE = pd.DataFrame(columns=STRATEGIES), pd.DataFrame(columns=SPREAD)


def test_a_figure_stands_with_its_caption_and_the_claims_that_it_shows_most_of() -> None:
    page = study_page(TITLE, "label_noise", PICTURES, ROWS)
    head, first, second, rest = page.split("\n## ")
    assert head.startswith("# On label noise\n")
    assert "[More](support/label_noise.md)" in head
    assert first.startswith("Lengths (Fig. 4.6a)\n\n![Fig. 4.6a](figures/label_noise/fig_4_6a.png)\n")
    assert "\n**All are short.** All lengths.\n\n<sub>One net.</sub>\n" in first
    assert "thesis" not in first  # its number says where it comes from
    assert "claim 1" not in first  # the next figure shows both parts of this claim
    # No figure that has the claim shows what it is judged by.
    words = "- **inconclusive**: Others agree ([claim 3](scorecard.md#label_noise-3)). Published: yes. Measured: "
    assert f"{words}0.500 steps (95\u00a0%: 0.400 to 0.600), n = 5 × 4." in first
    assert second.startswith("More lengths\n\n![More lengths](figures/label_noise/fig_4_7.png)\n\nAfter: book")
    assert "- **mixed (1 reproduced, 1 refuted)**: Paths are short ([claim 1](" in second
    assert "Measured: two: 0.500 steps (95\u00a0%: 0.400 to 0.600), n = 5 × 4." in second
    unjudged = "- **not run**: Nets | are accurate ([claim 2](scorecard.md#label_noise-2)). Published: yes.\n"
    assert unjudged in rest
    assert all(page.count(f"[claim {number}](") == 1 for number in (1, 2, 3))
    assert "The way" not in page


def test_what_supports_a_study_stands_on_a_page_of_its_own() -> None:
    page = support_page(TITLE, "label_noise", PICTURES, NO_STRATEGIES, NONE)
    head, only = page.split("\n## ")
    assert "[the study's page](../label_noise.md)" in head
    figure = "The way of the data\n\n![The way of the data](../figures/label_noise/pipeline.png)\n\nThe way.\n"
    assert only.startswith(figure)
    assert "<sub>Drawn.</sub>" in only
    assert "Nothing is there yet" not in page
    assert "Nothing is there yet" in support_page(TITLE, "label_noise", PICTURES[:2], NO_STRATEGIES, NONE)
    took = support_page(TITLE, "label_noise", PICTURES, NO_STRATEGIES, NONE, training=(9.04, 3, 4))
    assert "The victims of 3 of its 4 archived experiments took at most 9 core-hours to train;" in took


def test_strategies_stand_in_one_table_with_intervals_and_n():
    lucky = [
        "pair",
        "mnist",
        10,
        0.1,
        "bucket",
        3.0,
        -0.25,
        -0.4,
        -0.1,
        0.004,
        "permutation",
        "4+8 × 4",
        0.875,
        -0.2,
        "stronger",
    ]
    single = ["pair", "mnist", 10, 0.2, "alfa", np.nan, 0.05, 0.01, 0.09, 0.03, "t", "1+8 × 4", 1.0, 0.05, "weaker"]
    table = pd.DataFrame([dict(zip(STRATEGIES, one, strict=True)) for one in (lucky, single)])
    page = support_page(TITLE, "label_noise", PICTURES, table, NONE)
    assert "(l∞, ε = 0.1, 0.2) from random points" in page
    assert (
        "| pair | mnist | 10 | bucket 3 | -0.250 [-0.400, -0.100] | 0.004 | 4+8 × 4 | 88 % | -0.200 | **stronger** |"
        in page
    )
    assert (
        "| pair | mnist | 10 | alfa | 0.050 [0.010, 0.090] | 0.03 (t) | 1+8 × 4 | 100 % | 0.050 | **weaker** |" in page
    )
    words = {"pair": "4 → 5", "bucket": "distance", "mnist": "MNIST"}
    page = support_page(TITLE, "label_noise", PICTURES, table, NONE, words)
    assert "| 4 → 5 | MNIST | 10 | distance 3 | -0.250" in page
    assert "Every strategy" not in support_page(TITLE, "label_noise", PICTURES, table[:0], NONE)


def test_how_much_victims_differ_stands_in_a_table_of_its_own():
    many = ["pair", "mnist", 10, "8 × 4", 0.5, 0.4, 0.6, 0.2, 0.1, 0.15, 0.05, 0.1, 0.05, 0.2]
    one = ["own", "mnist", 10, "1 × 4", 0.5, 0.4, 0.6, np.nan, np.nan, 0.15, np.nan, 0.1, -np.inf, 0.2]
    table = pd.DataFrame([dict(zip(SPREAD, facts, strict=True)) for facts in (many, one)])
    page = support_page(TITLE, "label_noise", PICTURES, NO_STRATEGIES, table)
    assert "| 0.500 [0.400, 0.600] | 0.200 | 0.100 | 0.150 | 0.050 | 0.100 [0.050, 0.200] |" in page
    assert "| own | mnist | 10 | 1 × 4 | 0.500 [0.400, 0.600] | — | — | 0.150 | — | 0.100, at most 0.200 |" in page


@pytest.mark.parametrize(
    ("size", "words"),
    {
        "1+2 × 1": "1 and 2 draws, 1 repeat of each",
        "1 × 4": "1 draw, 4 repeats of each",
        "8+8 × 4": "8 draws, 4 repeats of each",
        "4+2+1 × 2": "4, 2 and 1 draws, 2 repeats of each",
        "5 × 4, 17 of 20 victims": "5 draws, 4 repeats of each, 17 of 20 victims",
        "12": "n = 12",
    }.items(),
)
def test_a_sentence_says_a_size_in_words(size, words):
    assert size_in_words(size) == words


def test_a_page_begins_with_what_was_found_where_the_study_says_so():
    page = study_page(TITLE, "label_noise", PICTURES, ROWS, [3, 1, 2])
    found = page.split("\n## ")[1].splitlines()
    assert found[0] == "What was found"
    assert (
        found[2]
        == "- [Others agree](scorecard.md#label_noise-3): **inconclusive**, 0.500 steps (95 %: 0.400 to 0.600), 5 draws, 4 repeats of each."
    )
    words = "- [Paths are short](scorecard.md#label_noise-1): **reproduced** in 1 of 2 (two); **refuted** in 1 of 2 (ten); 0.500 [0.400, 0.600] steps (ten, n = 5 × 4) to 0.500 [0.400, 0.600] steps (two, n = 5 × 4)."
    assert found[3] == words
    assert found[4] == "- Not run yet: 1 of the study's 3 statements."


def test_a_claim_stands_place_by_place_with_both_sides_and_who_fitted():
    sides = Selector(condition="random"), Selector(condition="medoids")
    own = replace(claim(7, "Medoids leave less", "own", two="own/two", ten="own/ten"), of=sides[:1], than=sides[1:])
    cells = row(7, "Medoids leave less: two", "reproduced") | {
        "test": "random − medoids; one-sided p < 0.001 against it (Holm over 2)"
    }
    rows = claim_rows([own], pd.DataFrame([cells, row(7, "Medoids leave less: ten", "not run", np.nan)]))
    flips = {"source_class": 0, "target_class": 1, "axis_value": np.nan}
    conditions = pd.DataFrame([{"condition": name, "strategy": name, **flips} for name in ("random", "medoids")])
    attack = {"attack": "pgd", "goal": "targeted", "attack_source": 0, "attack_target": 1, "epsilon": 0.1}
    victims = [
        {"condition": name, "draw": draw, "repeat": repeat, "axis_value": np.nan, "fitted_share": fitted}
        for name, fitted, repeats in (("random", 1.0, 2), ("medoids", 0.9, 3))
        for draw, repeat in np.ndindex(2, repeats)
    ]
    left = {"random": 0.6, "medoids": 0.3}
    robustness = [
        {
            **one,
            **attack,
            "adversarial_accuracy": left[one["condition"]] + 0.1 * one["draw"] + 0.2 * (one["repeat"] == 2),
        }
        for one in victims
    ]
    frames = {"conditions": conditions, "victims": pd.DataFrame(victims), "robustness": pd.DataFrame(robustness)}
    query = Query("own/two", frames, Headline("pgd", 0.1))
    lines = places(rows[0], [query], {"random": "random points"})
    assert lines[0] == "**Medoids leave less** ([claim 7](scorecard.md#label_noise-7))."
    assert (
        lines[2]
        == "|  | random points | medoids | random points − medoids | the same, first draw of medoids | p | n | fitted all poisons: random points, medoids | verdict |"
    )
    # The level of the two repeats that both have: the third one is not in the difference.
    levels = [mean_interval(np.array([[low] * 2, [low + 0.1] * 2]), bounds=(0.0, 1.0)) for low in (0.6, 0.3)]
    random, medoids = (f"{level.value:.3f} [{level.low:.3f}, {level.high:.3f}]" for level in levels)
    assert lines[4] == (
        f"| two | {random} | {medoids} | 0.500 [0.400, 0.600] | 0.350 | < 0.001 against it (Holm over 2) | 5 × 4 | 100 %, 0 % | **reproduced** |"
    )
    assert lines[5:] == ["", "Not run: ten."]
    column = replace(own, of=(Selector(condition="random", column="epochs"),))
    (other,) = claim_rows([column], pd.DataFrame([cells]))
    with pytest.raises(InputError, match="names claim 7, allowed are claims that compare all victims"):
        places(other, [query], {})
    assert tables(rows, [7], [query], {"random": "random points"}) == [lines]
    with pytest.raises(InputError, match=r"places names the claims \[8\], known are \[7\]; take them out"):
        tables(rows, [7, 8], [query], {})
    page = study_page(TITLE, "label_noise", PICTURES, ROWS, tables=[lines])
    assert page.index("## Place by place") < page.index("## Lengths")


def test_an_analogue_that_shows_the_opposite_is_called_so():
    cells = [row(1, "Paths are short: two", "reproduced"), row(1, "Paths are short: ten", "analogue", -0.5)]
    found = claim_rows(CLAIMS[:1], pd.DataFrame(cells))
    assert found[0].verdict_words == "reproduced (1; 1 analogue and the opposite)"
    page = study_page(TITLE, "label_noise", PICTURES, found, findings=[1])
    assert "**reproduced** in 1 of 2 (two); **analogue and the opposite** in 1 of 2 (ten)" in page
    agreeing = claim_rows(CLAIMS[:1], pd.DataFrame([cells[0], row(1, "Paths are short: ten", "analogue")]))
    assert "**analogue** in 1 of 2 (ten)" in study_page(TITLE, "label_noise", PICTURES, agreeing, findings=[1])


@pytest.mark.parametrize(
    ("second", "expected"), [("random − far", "random points − far ones"), ("random − near", "difference")]
)
def test_a_difference_is_named_by_its_sides_where_they_are_the_same_everywhere(second, expected):
    cells = [
        row(1, "Paths are short: two", "shown") | {"test": "random − far, signs flipped; p = 0.01"},
        row(1, "Paths are short: ten", "shown", 0.7) | {"test": f"{second}, signs flipped; p = 0.01"},
    ]
    found = claim_rows(
        CLAIMS[:1], pd.DataFrame(cells), labels={"label_noise": {"random": "random points", "far": "far ones"}}
    )
    page = study_page(TITLE, "label_noise", PICTURES, found, findings=[1])
    assert f"**shown** in 2 of 2; {expected} 0.500 [0.400, 0.600]" in page


def test_a_test_is_said_in_the_words_of_readers():
    test = "recipe.optimiser.weight_decay = 1 − none at budget = 85, paired by training set; one-sided p = 0.003 (Holm over 2)"
    cells = row(1, "Paths are short: two", "reproduced") | {"test": test}
    other = row(1, "Paths are short: ten", "refuted") | {
        "test": "small@plane_small − k_centre at budget = 0.2, no tables of own/k_centre"
    }
    labels = {"label_noise": {"small@plane_small": "a small λ", "k_centre": "k-centre"}}
    (found,) = claim_rows(CLAIMS[:1], pd.DataFrame([cells, other]), labels=labels)
    first, second = found.parts
    assert first["test"] == test.replace("recipe.optimiser.weight_decay", "weight decay").replace(
        "at budget = 85", "with 85 poisons"
    )
    assert first["measured"].startswith("weight decay = 1: 0.500 steps higher than none with 85 poisons (95")
    assert second["test"] == "a small λ − k-centre with 20 % of poisons, no tables of own/k_centre"
    words = "of 3, that of the lowest bound: input − random, rows permuted"
    labels = {"label_noise": {"input": "pixels", "random": "random points", "bucket": "path bucket"}}
    for given, said in (
        (words, words.replace("input − random", "pixels − random points")),
        ("first bucket − bucket 4", "first bucket − bucket 4"),
    ):
        (found,) = claim_rows(CLAIMS[:1], pd.DataFrame([cells | {"test": given}]), labels=labels)
        assert found.parts[0]["test"] == said
