"""The page of everything: one row for each claim, every victim, and nothing that is loaded from elsewhere."""

import base64
import gzip
import html
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from poisonlab.claims import COLUMNS, Claim, Part, Place
from poisonlab.claims.relations import relation
from poisonlab.documents.claim_rows import claim_rows, measured_words, read_quotes
from poisonlab.documents.index import Study, Tab, balance, first_findings, index_page
from poisonlab.documents.page import Picture
from poisonlab.documents.victims import victim_columns
from poisonlab.errors import InputError
from poisonlab.results.query import Headline, Query

ROOT = Path(__file__).parents[2]
TEMPLATES = ROOT / "workflow" / "report"


def claim(number: int, statement: str, *places: str, study: str = "mine", kind: str = "near") -> Claim:
    parts = tuple(Part(name, Place((f"{study}/{name}",)), Place((f"{study}/small",))) for name in places)
    return Claim(
        id=number, study=study, source="Fig. 1", statement=statement, published="yes", estimand="A share.",
        relation=relation.find(kind), settings={}, minimum={}, parts=parts,
    )  # fmt: skip


def row(number: int, statement: str, verdict: str, value: float = 0.5, test: str = "t interval", study: str = "mine"):
    facts = [number, study, statement, "yes", value, value - 0.1, value + 0.1, "", "5 × 4", test, verdict]
    return dict(zip(COLUMNS, facts, strict=True))


CLAIMS = [
    claim(1, "Flips hurt", "a", "b"),
    claim(1, "They hurt much", "a"),
    claim(2, "<b>Nets</b> & friends", "a"),
    claim(3, "Paths are short", "a"),
    claim(7, "Others agree", "a", study="theirs"),
]
SCORECARD = pd.DataFrame(
    [
        row(1, "Flips hurt: a", "refuted", -0.3, "bucket 5 (lowest on even draws) − random, rows permuted; p"),
        row(1, "Flips hurt: b", "inconclusive"),
        row(1, "They hurt much", "not run", np.nan, ""),
        row(2, "<b>Nets</b> & friends", "reproduced"),
        row(3, "Paths are short", "analogue"),
        row(7, "Others agree", "reproduced", study="theirs"),
    ]
)


def victims(name: str = "mine/a", repeats: int = 3) -> Query:
    """Two conditions, one of them at two values of an axis; another attack was met by the poisoned victims alone."""
    groups = [("clean", np.nan), ("bucket", 0.0), ("bucket", 1.0)]
    conditions = pd.DataFrame(
        [
            {
                "condition": condition, "axis": "bucket" if value == value else np.nan, "axis_value": value,
                "strategy": "none" if condition == "clean" else "path_bucket", "source_class": 0, "target_class": 1,
                "dataset": "digits", "model": "<net>", "recipe": "fast",
            }
            for condition, value in groups
        ]
    )  # fmt: skip
    keys = [
        {"condition": condition, "axis_value": value, "draw": 0, "repeat": repeat}
        for condition, value in groups
        for repeat in range(repeats)
    ]
    trained = pd.DataFrame(
        [
            {**key, "epochs": 9, "fitted_share": 0.5, "natural_accuracy": 0.98761, "order": n}
            for n, key in enumerate(keys)
        ]
    )
    attack = {"norm": "linf", "goal": "targeted", "steps": 20, "step_size": 0.1, "random_start": False, "restarts": 1}
    attack |= {"attack_source": 0, "attack_target": 1}
    met = [("weak", 0.05, key) for key in keys if key["condition"] == "bucket"] + [("pgd", 0.1, key) for key in keys]
    robustness = pd.DataFrame(
        [
            {**key, **attack, "attack": name, "epsilon": radius, "adversarial_accuracy": 0.25}
            for name, radius, key in met
        ]
    )
    tables = {"conditions": conditions, "victims": trained, "robustness": robustness}
    return Query(name, tables, Headline("pgd", 0.1))


@pytest.fixture(name="tab")
def fixture_tab(tmp_path: Path) -> Tab:
    Image.fromarray(np.arange(3000 * 30, dtype=np.uint8).reshape(30, 3000)).save(tmp_path / "curve.png")
    pictures = {
        str(tmp_path / "curve.png"): Picture(
            "curve", "A <curve>", "Fig. 1", "", [1], [], False, "What is seen. How it was made."
        ),
        str(tmp_path / "gone.png"): Picture("gone", "A sketch", "", "", [], [], True, "A sketch."),
    }
    studies = [
        Study("mine", "My study", "mine.md", [2, 3, 1], pictures, "figures/mine"),
        Study("theirs", "Theirs", "theirs.md", [7], {}, "figures/theirs"),
    ]
    quotes = {"mine": {1: "Flips <i>hurt</i> a lot."}}
    columns, every = victim_columns([victims()])
    return Tab("Archived", "Long runs.", studies, claim_rows(CLAIMS, SCORECARD, quotes), True, columns, every)


def packed(page: str, name: str) -> str:
    letters = re.search(rf'id="{name}">([^<]*)<', page)
    assert letters
    return gzip.decompress(base64.b64decode(letters[1])).decode()


def test_a_claim_is_one_row_whose_verdict_speaks_of_all_its_parts():
    rows = claim_rows(CLAIMS, SCORECARD)
    assert [(one.study, one.number, one.verdict) for one in rows] == [
        ("mine", 1, "mixed"), ("mine", 2, "reproduced"), ("mine", 3, "analogue"), ("theirs", 7, "reproduced"),
    ]  # fmt: skip
    first = rows[0]
    assert first.statements == ["Flips hurt", "They hurt much"]
    assert first.counts == {"refuted": 1, "inconclusive": 1, "not run": 1}
    assert list(first.entries) == ["Flips hurt", "They hurt much"]
    assert (first.place, first.measured) == ("a", "bucket 5: 0.300 lower than random (95\u00a0%: 0.200 to 0.400)")
    assert rows[2].parts[0]["tables"] == ("mine/small",)  # an analogue was not measured where a verdict could be
    assert balance(rows) == "4 claims: 2 reproduced, 1 analogue, 1 mixed"


@pytest.mark.parametrize(
    ("value", "test", "kind", "words"),
    [
        (0.05, "r = 0 − r = 2 (lowest), rows permuted", "", "r = 0: 0.050 higher than r = 2 (95 %: 0.050 lower to 0.150 higher)"),
        (-0.05, "of 2, that of the lowest bound: a_b − c", "", "a b: 0.050 lower than c (95 %: 0.150 lower to 0.050 higher)"),
        (-0.05, "of 2, clearest below 0: a_b − c", "", "a b: 0.050 lower than c (95 %: 0.150 lower to 0.050 higher)"),
        (0.3, "90 % interval of the paired differences", "", "0.300 higher (95 %: 0.200 to 0.400)"),
        (0.3, "trend over 8 buckets", "falls", "accuracy falls by 0.300 (95 %: 0.200 to 0.400)"),
        (-0.3, "trend over 8 buckets", "falls", "accuracy rises by 0.300 (95 %: 0.200 to 0.400)"),
        (0.05, "trend over 8 buckets", "rises", "accuracy rises by 0.050 (95 %: falls by 0.050 to rises by 0.150)"),
        (-0.3, "slope over 8 buckets", "", "−0.300 (95 %: −0.400 to −0.200)"),
        (120.0, "mean; a − b is not meant", "", "120.0 (95 %: 119.9 to 120.1)"),
        (np.nan, "", "", ""),
    ],
)  # fmt: skip
def test_what_was_measured_is_said_with_its_sign(value: float, test: str, kind: str, words: str):
    assert measured_words(row(1, "x", "refuted", value, test), kind, "accuracy").replace("\u00a0", " ") == words


def test_findings_are_judged_claims_by_turns_of_the_studies(tab: Tab):
    by_study = {study.name: [one for one in tab.rows if one.study == study.name] for study in tab.studies}
    assert [(one.study, one.number, statement) for one, statement in first_findings(tab.studies, by_study)] == [
        ("mine", 2, "<b>Nets</b> & friends"),
        ("mine", 1, "Flips hurt"),
        ("theirs", 7, "Others agree"),
    ]  # fmt: skip - 3 has an analogue alone
    assert [one.number for one, _ in first_findings(tab.studies, by_study, 2)] == [2, 7]


def test_of_a_claim_the_refuted_statement_is_the_finding_and_claims_that_are_open_wait():
    table = SCORECARD.copy()
    table["verdict"] = ["reproduced", "inconclusive", "refuted", "inconclusive", "analogue", "inconclusive"]
    rows = claim_rows(CLAIMS, table)
    by_study = {name: [one for one in rows if one.study == name] for name in ("mine", "theirs")}
    studies = [Study(name, name, "", [2, 1, 7], {}, "") for name in by_study]
    found = [(one.number, statement) for one, statement in first_findings(studies, by_study, 2)]
    assert found == [(1, "They hurt much"), (7, "Others agree")]
    assert [one.number for one, _ in first_findings(studies, by_study)] == [1, 2, 7]
    assert [one.number for one, _ in first_findings(studies, by_study, 1)] == [1]


def test_the_page_has_a_row_for_each_claim_and_its_figure_beside_the_sources_words(tab: Tab):
    page = index_page([tab], TEMPLATES)
    assert re.findall(r'<details class="claim" id="([^"]+)"', page) == [
        "claim-mine-1", "claim-mine-2", "claim-mine-3", "claim-theirs-7",
    ]  # fmt: skip
    article = page.partition('<article id="figure-mine-curve">')[2].partition("</article>")[0]
    assert 'src="data:image/webp;base64,' in article
    assert 'width="1200" height="12"' in article
    assert 'href="#claim-mine-1"' in article
    assert "Flips &lt;i&gt;hurt&lt;/i&gt; a lot." in article
    assert 'href="figures/mine/gone.svg"' in page
    assert "<article id=figure-mine-gone" not in page
    targets = set(re.findall(r'href="#([^"]+)"', page))
    assert targets <= set(re.findall(r'id="([^"]+)"', page))


def test_names_are_escaped(tab: Tab):
    page = index_page([tab], TEMPLATES)
    assert "<b>Nets" not in page
    assert html.escape("<b>Nets</b> & friends") in page
    assert "<curve>" not in page
    assert "<net>" not in page


def test_the_page_loads_nothing_and_is_the_same_each_time(tab: Tab):
    page = index_page([tab], TEMPLATES)
    assert page == index_page([tab], TEMPLATES)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert not re.findall(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    sources = re.findall(r'src="([^"]{,40})', page)
    assert sources
    assert all(one.startswith("data:") for one in sources)
    assert "window.vegaEmbed" in packed(page, "engine")


def test_victims_are_whole_numbers_and_unknown_is_none(tab: Tab):
    (one,) = json.loads(packed(index_page([tab], TEMPLATES), "data"))
    assert (one["study"], one["name"], one["dataset"], one["tab"]) == ("mine", "a", "digits", "")
    assert one["attacks"] == [["pgd", 0.1], ["weak", 0.05]]  # the headline's first
    assert one["groups"] == [
        ["clean", "", None, "<net>", "fast"],
        ["bucket", "bucket", 0.0, "<net>", "fast"],
        ["bucket", "bucket", 1.0, "<net>", "fast"],
    ]
    assert one["group"] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert one["repeat"] == [0, 1, 2] * 3
    assert one["natural"] == [9876] * 9
    assert one["adversarial"] == [[2500] * 9, [None] * 3 + [2500] * 6]


def test_of_too_many_victims_every_kth_is_there_and_the_page_says_so(tab: Tab):
    columns, every = victim_columns([victims(), victims("mine/b")], most=9)
    assert every == 2
    assert [len(one["group"]) for one in columns] == [5, 5]
    page = index_page([Tab(tab.name, tab.note, tab.studies, tab.rows, True, columns, every)], TEMPLATES)
    assert "every 2. one of each experiment" in page


def test_a_run_is_a_second_tab_with_its_own_anchors(tab: Tab):
    linked = Tab("Archived", "", tab.studies, tab.rows, False, tab.victims)
    page = index_page([linked, Tab("This run", "", tab.studies, tab.rows, True, tab.victims)], TEMPLATES)
    assert re.findall(r"<label for=\"tab-\d\">([^<]+)<", page) == ["Archived", "This run"]
    assert 'src="figures/mine/curve.svg"' in page.partition('id="results-1"')[0]
    anchors = re.findall(r' id="([^"]+)"', page)
    assert len(anchors) == len(set(anchors))
    assert [one["tab"] for one in json.loads(packed(page, "data"))] == ["Archived", "This run"]


def test_quotes_are_numbers_and_words(tmp_path: Path):
    (tmp_path / "quotes.yaml").write_text("1: It is so.\n")
    assert read_quotes(tmp_path / "quotes.yaml") == {1: "It is so."}
    (tmp_path / "quotes.yaml").write_text("one: It is so.\n")
    with pytest.raises(InputError, match="allowed is a number of a claim: words"):
        read_quotes(tmp_path / "quotes.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "studies").glob("*/quotes.yaml")), ids=lambda file: file.parent.name)
def test_quotes_are_of_registered_claims(file: Path):
    from poisonlab.claims import load_claims

    assert set(read_quotes(file)) <= {one.id for one in load_claims(file.with_name("claims.yaml"))}


def test_the_page_of_the_documentation_stays_below_4_mb():
    page = (ROOT / "docs" / "index.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 4_000_000
    assert "Figures beside their claims" in page
