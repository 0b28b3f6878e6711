"""Relations that a study brings along, on tables whose answer is known."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_new_claims import SMALL, entry, judged, own, own_tables

from poisonlab.claims.evidence import Data
from poisonlab.results.query import Headline, NotRun, Query

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def verdict(tmp_path: Path, study: str, tables: Any, relation: str, of: Any, **settings: Any) -> Any:
    module = f"{study}_relations"
    (tmp_path / "mine").mkdir(exist_ok=True)
    shutil.copy(STUDIES / study / f"{module}.py", tmp_path / "mine" / f"{module}.py")
    return judged(tmp_path, tables, entry(f"{module}:{relation}", of, {"draws": 4, "repeats": 2}, **settings))


def decays(*levels: float) -> Any:
    return own_tables({f"random@{value}": (level, value) for value, level in enumerate(levels)}, draws=10, repeats=2)


@pytest.mark.parametrize(("levels", "expected"), [((0.4, 0.5, 0.7), "reproduced"), ((0.7, 0.5, 0.4), "refuted")])
def test_a_chosen_value_is_judged_on_other_draws(tmp_path: Path, levels: tuple[float, ...], expected: str) -> None:
    of = own("random")
    row = verdict(tmp_path, "regularization", decays(*levels), "chosen_above_first", of, margin=0.05)
    assert row["verdict"] == expected
    # The first value itself differs from itself by nothing.
    assert row["measured"] == pytest.approx(max(levels) - levels[0], abs=4 * SMALL * np.sqrt(2 / 10))


def test_what_is_chosen_by_may_be_another_column(tmp_path: Path) -> None:
    tables = decays(0.4, 0.5, 0.7)
    victims = tables["victims"]
    victims["natural_accuracy"] = 1 - victims["natural_accuracy"]  # the other way round
    settings = {"of": own("random"), "margin": 0.05, "by": "natural_accuracy"}
    row = verdict(tmp_path, "regularization", tables, "chosen_above_first", **settings)
    assert (row["measured"], row["verdict"]) == (0, "refuted")


@pytest.mark.parametrize(("other", "expected"), [(0.8, "reproduced"), (0.3, "refuted")])
def test_one_falls_more_than_another(tmp_path: Path, other: float, expected: str) -> None:
    levels = {"a@0": (0.9, 0.0), "a@1": (0.6, 1.0), "b@0": (0.9, 0.0), "b@1": (other, 1.0)}
    row = verdict(tmp_path, "regularization", own_tables(levels), "falls_more", own("a"), than=own("b"), margin=0.05)
    assert row["verdict"] == expected
    assert row["measured"] == pytest.approx(0.3 - (0.9 - other), abs=4 * SMALL * np.sqrt(4 / 120))


def test_natural_accuracy_follows_nothing_where_adversarial_accuracy_is_the_same_at_every_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(STUDIES / "label_noise"))
    relations = importlib.import_module("label_noise_relations")
    tables = own_tables({f"at_distance@{r}": (1.0, r) for r in (0.0, 4.0)}, sd=0)
    data = Data([Query("own", tables, Headline("pgd", 0.1))], {}, [], 1)
    with pytest.raises(NotRun, match="own has the same adversarial accuracy at every distance"):
        relations.follows_on_a_smaller_scale(data, {"below": 0.5})


@pytest.mark.parametrize(("lowest", "expected"), [(0.6, "reproduced"), (0.9, "refuted")])
def test_the_best_of_an_axis_is_judged_on_other_draws(tmp_path: Path, lowest: float, expected: str) -> None:
    levels = {"other": (0.8, np.nan), "tuned@0": (0.95, 0.0), "tuned@1": (lowest, 1.0)}
    tables = own_tables(levels, draws=10, repeats=2)
    row = verdict(tmp_path, "cifar3", tables, "best_below", own("tuned"), than=own("other"), margin=0.05)
    assert row["verdict"] == expected
    assert row["measured"] == pytest.approx(0.8 - lowest, abs=4 * SMALL * np.sqrt(2 / 10))
