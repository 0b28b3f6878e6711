"""A study's page shows each figure with its caption and the claims that name it."""

import numpy as np
import pandas as pd

from poisonlab.claims import COLUMNS, Claim
from poisonlab.comparison import COLUMNS as STRATEGIES
from poisonlab.page import Picture, study_page


def claim(number: int, statement: str, source: str) -> Claim:
    return Claim(number, "label_noise", source, statement, "yes", "share", "rising_curves", {}, {}, ())


def row(number: int, statement: str, verdict: str, value: float = 0.5) -> dict[str, object]:
    facts = [number, "label_noise", statement, "yes", value, value - 0.1, value + 0.1, "5 × 4", "t test", verdict]
    return dict(zip(COLUMNS, facts, strict=True))


PICTURES = [
    Picture("fig_4_6a", "Lengths", "Figs. 4.6a and 4.7", "All lengths.\n"),
    Picture("pipeline", "The way of the data", "", "The way.\n"),
]
CLAIMS = [claim(1, "Paths are short", "caption of Fig. 4.7"), claim(2, "Nets | are accurate", "section 4.6")]
SCORECARD = pd.DataFrame(
    [row(1, "Paths are short: class 1", "reproduced"), row(2, "Nets | are accurate", "not run", np.nan)]
)


def test_a_figure_stands_with_its_caption_and_the_claims_that_name_it():
    page = study_page("label_noise", PICTURES, CLAIMS, SCORECARD, pd.DataFrame(columns=STRATEGIES))
    first, second, rest = page.split("\n## ")[1:]
    assert first.startswith(
        "Lengths (Figs. 4.6a and 4.7)\n\n![Lengths (Figs. 4.6a and 4.7)](figures/label_noise/fig_4_6a.png)\n"
    )
    assert "All lengths." in first
    assert (
        "| 1 | Paths are short: class 1 | caption of Fig. 4.7 | yes | 0.500 [0.400, 0.600] | 5 × 4 | **reproduced** |"
        in first
    )
    assert second.startswith("The way of the data\n")
    assert "|" not in second
    # the number of a section is not that of a figure
    assert r"| 2 | Nets \| are accurate | section 4.6 | yes | — | 5 × 4 | **not run** |" in rest


def test_every_claim_stands_on_the_page_once_if_its_figures_are_apart():
    page = study_page("label_noise", PICTURES, CLAIMS, SCORECARD, pd.DataFrame(columns=STRATEGIES))
    assert page.count("Paths are short") == page.count("Nets \\|") == 1


def test_strategies_stand_in_one_table_with_intervals_and_n():
    lucky = ["pair", "mnist", 10, "bucket", 3.0, -0.25, -0.4, -0.1, 0.004, "4+8 × 4", 0.875, "stronger"]
    open_ = ["pair", "mnist", 10, "alfa", np.nan, 0.05, np.nan, np.nan, np.nan, "1+8 × 4", 1.0, "open"]
    table = pd.DataFrame([dict(zip(STRATEGIES, one, strict=True)) for one in (lucky, open_)])
    page = study_page("label_noise", PICTURES, CLAIMS, SCORECARD, table)
    assert "| pair | mnist | 10 | bucket 3 | -0.250 [-0.400, -0.100] | 0.004 | 4+8 × 4 | 88 % | **stronger** |" in page
    assert "| pair | mnist | 10 | alfa | 0.050 | — | 1+8 × 4 | 100 % | **open** |" in page
    assert "Every strategy" not in study_page("label_noise", PICTURES, CLAIMS, SCORECARD, table[:0])
