"""Relations that a study brings along, on tables whose answer is known."""

import importlib
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_new_claims import entry, judged, own, own_tables

from poisonlab.claims.evidence import Data
from poisonlab.results.query import Headline, NotRun, Query

STUDIES = Path(__file__).resolve().parents[2] / "studies"


def verdict(tmp_path: Path, study: str, tables: Any, relation: str, of: Any, **settings: Any) -> Any:
    module = f"{study}_relations"
    (tmp_path / "mine").mkdir(exist_ok=True)
    shutil.copy(STUDIES / study / f"{module}.py", tmp_path / "mine" / f"{module}.py")
    return judged(tmp_path, tables, entry(f"{module}:{relation}", of, {"draws": 4, "repeats": 2}, **settings))


@pytest.mark.parametrize(("sign", "expected"), [(1, "reproduced"), (-1, "refuted")])
def test_ranks_within_training_sets_that_disagree_between_them(tmp_path: Path, sign: int, expected: str) -> None:
    # in every set both grow along the axis, or one against the other; over sets at one value they do the contrary
    tables = own_tables({f"a@{value}": (0.1 * value, value) for value in range(4)}, sd=0)
    victims = tables["victims"]
    victims["natural_accuracy"] = victims["axis_value"] + 10.0 * victims["draw"]
    victims["train_accuracy"] = sign * victims["axis_value"] - 10.0 * victims["draw"]
    of = {**own("a"), "column": "natural_accuracy"}
    row = verdict(tmp_path, "regularization", tables, "goes_with", of, column="train_accuracy", margin=0.3)
    assert (row["verdict"], row["measured"]) == (expected, sign)
    victims.loc[victims["draw"] < 3, "train_accuracy"] = 1.0  # in half of the sets it never changes
    row = verdict(tmp_path, "regularization", tables, "goes_with", of, column="train_accuracy", margin=0.3)
    assert row["measured"] == sign / 2


def test_natural_accuracy_follows_nothing_where_adversarial_accuracy_is_the_same_at_every_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(STUDIES / "label_noise"))
    relations = importlib.import_module("label_noise_relations")
    tables = own_tables({f"at_distance@{r}": (1.0, r) for r in (0.0, 4.0)}, sd=0)
    data = Data([Query("own", tables, Headline("pgd", 0.1))], {}, [], 1)
    with pytest.raises(NotRun, match="own has the same adversarial accuracy at every distance"):
        relations.follows_on_a_smaller_scale(data, {"below": 0.5})
