"""Relations: what a claim says of the victims that it selects. Each turns grids into evidence, for and against it.

A study's own relation is a function of the same arguments, decorated with @relation and named ``module:function`` in
the claim.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from poisonlab.claims.comparisons import PAIRED_BY
from poisonlab.registry import Catalogue, Entry

MORE = "more draws and repeats"
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Relation(Entry):
    """How a claim is judged. The function takes the data and the claim's parameters, and returns evidence.

    Attributes:
        required: parameters that a claim must give.
        selectors: which of `of` and `than` a claim must have; none where the function selects by itself.
        quantifiers: what it can speak of; the first is the default.
        partial: whether one experiment of several can refute the claim before the others have run.
        survey: whether it is about the paths of clean proxies, not about victims.
        unit: of the value; "" for the unit of the selected column.
        smallest_p: the least p that two conditions of so many draws allow, by the parameters; None where no p decides,
            or any size will do.
    """

    required: tuple[str, ...] = ()
    selectors: tuple[str, ...] = ()
    quantifiers: tuple[str, ...] = ("mean",)
    partial: bool = False
    survey: bool = False
    unit: str = ""
    smallest_p: Callable[[int, int, Settings], float] | None = None


relation = Catalogue("relation", "poisonlab.claims.relations", Relation)

ESTIMATED = ("mean", "percentile")
PAIRING = {
    # known: draws whose results were known at the registration, which judge nothing
    "paired_by": tuple(PAIRED_BY),
    "known": 0,
}
