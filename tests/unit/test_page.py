"""A study's page shows each figure with its caption and the claims that name it."""

import numpy as np
import pandas as pd
import pytest

from poisonlab.claims import COLUMNS, Claim, Part, Place
from poisonlab.claims.relations import relation
from poisonlab.documents.comparison import COLUMNS as STRATEGIES
from poisonlab.documents.comparison import SPREAD
from poisonlab.documents.page import Picture, size_in_words, study_page

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
    Picture("fig_4_6a", "Lengths", "Fig. 4.6a", "thesis, Fig. 4.6a", [1, 3], ["paths/two"], CAPTION),
    Picture("fig_4_7", "More lengths", "Fig. 4.7", "thesis, Fig. 4.7", [1], ["paths/ten"], "All lengths.\n"),
    Picture("pipeline", "The way of the data", "", "", [], [], "The way.\n"),
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
NONE = pd.DataFrame(columns=SPREAD)


def test_a_figure_stands_with_its_caption_its_source_and_the_parts_of_its_claims_that_it_shows():
    page = study_page(TITLE, "label_noise", PICTURES, CLAIMS, SCORECARD, pd.DataFrame(columns=STRATEGIES), NONE)
    head, first, second, third, rest = page.split("\n## ")
    assert head.startswith("# On label noise\n")
    assert first.startswith("Lengths (Fig. 4.6a)\n\n![Lengths (Fig. 4.6a)](figures/label_noise/fig_4_6a.png)\n")
    assert "After the thesis, Fig. 4.6a.\n\n**All are short.** All lengths.\n\n<sub>One net.</sub>\n" in first
    words = (
        "| 1 | Paths are short: two | caption of Fig. 4.7 | yes | 0.500 [0.400, 0.600] steps | 5 × 4 | **reproduced** |"
    )
    assert words in first
    assert "| 1 | Paths are short: ten |" in second
    assert "| 3 | Others agree |" in first  # no figure that has the claim shows what it is judged by
    assert third.startswith("The way of the data\n")
    assert "|" not in third
    assert "After" not in third
    assert r"| 2 | Nets \| are accurate | section 4.6 | yes | — | 5 × 4 | **not run** |" in rest
    assert all(
        page.count(f"| {one} |") == 1 for one in ("Paths are short: two", "Paths are short: ten", "Others agree")
    )


def test_a_claim_stands_below_the_figure_that_shows_all_it_is_judged_by():
    wide = claim(4, "The curve rises", "", both=("label_noise/a", "label_noise/b"))
    some = Picture("some", "Some", "", "", [4], ["label_noise/a", "label_noise/c"], "Some.\n")
    whole = Picture("whole", "Whole", "", "", [4], ["label_noise/a", "label_noise/b"], "Whole.\n")
    scorecard = pd.DataFrame([row(4, "The curve rises", "refuted")])
    page = study_page(TITLE, "label_noise", [some, whole], [wide], scorecard, pd.DataFrame(columns=STRATEGIES), NONE)
    first, second = page.split("\n## ")[1:]
    assert "The curve rises" not in first
    assert "The curve rises" in second


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
    page = study_page(TITLE, "label_noise", PICTURES, CLAIMS, SCORECARD, table, NONE)
    assert "(l∞, ε = 0.1, 0.2) from random points" in page
    assert (
        "| pair | mnist | 10 | bucket 3 | -0.250 [-0.400, -0.100] | 0.004 | 4+8 × 4 | 88 % | -0.200 | **stronger** |"
        in page
    )
    assert (
        "| pair | mnist | 10 | alfa | 0.050 [0.010, 0.090] | 0.03 (t) | 1+8 × 4 | 100 % | 0.050 | **weaker** |" in page
    )
    words = {"pair": "4 → 5", "bucket": "distance", "mnist": "MNIST"}
    page = study_page(TITLE, "label_noise", PICTURES, CLAIMS, SCORECARD, table, NONE, words=words)
    assert "| 4 → 5 | MNIST | 10 | distance 3 | -0.250" in page
    assert "Every strategy" not in study_page(TITLE, "label_noise", PICTURES, CLAIMS, SCORECARD, table[:0], NONE)


def test_how_much_victims_differ_stands_in_a_table_of_its_own():
    many = ["pair", "mnist", 10, "8 × 4", 0.5, 0.4, 0.6, 0.2, 0.1, 0.15, 0.05, 0.1, 0.05, 0.2]
    one = ["own", "mnist", 10, "1 × 4", 0.5, 0.4, 0.6, np.nan, np.nan, 0.15, np.nan, 0.1, -np.inf, 0.2]
    table = pd.DataFrame([dict(zip(SPREAD, facts, strict=True)) for facts in (many, one)])
    page = study_page(TITLE, "label_noise", PICTURES, CLAIMS, SCORECARD, pd.DataFrame(columns=STRATEGIES), table)
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
    none = pd.DataFrame(columns=STRATEGIES)
    page = study_page(TITLE, "label_noise", PICTURES, CLAIMS, SCORECARD, none, NONE, findings=[3, 1, 2])
    found = page.split("\n## ")[1].splitlines()
    assert found[0] == "What was found"
    assert found[2] == "- Others agree: **inconclusive**, 0.500 [0.400, 0.600] steps, 5 draws, 4 repeats of each."
    words = "- Paths are short: **reproduced** in 1 of 2 (two); **refuted** in 1 of 2 (ten); measured 0.500 (ten) to 0.500 (two)."
    assert found[3] == words
    assert found[4] == "- Not run yet: 1 of 3 claims."
