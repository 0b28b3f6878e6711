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
