"""What a claim is judged by: selected victims, and the evidence that a relation draws from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.claims.quantifiers import MEAN, Quantifier
from poisonlab.errors import InputError
from poisonlab.results.query import FITTED, Query, Selected
from poisonlab.statistics import Estimate, Tested, mean_interval, needed_repeats

LEVEL = 0.05
CONFIDENCE = 0.95
FITTED_VICTIMS = (
    0.5  # least share of a condition's victims that must fit their poisons: the rest could be another kind of victim
)

Tables = Mapping[str, Mapping[str, pd.DataFrame]]


@dataclass(frozen=True)
class Chosen:
    """Victims that a claim's selector has chosen, as one grid.

    Attributes:
        experiment: "study/experiment".
        name: of the condition, or the selector's label.
        place: value of the sweep axis in words, "r = 0"; "" where there is none, or values were joined.
        grid: [draws, repeats], NaN where there is no value.
        row: of the table `conditions`; the first where values were joined.
        labelled: whether the claim gives the name.
        halved: whether its even draws chose it; the grid has the odd ones.
    """

    experiment: str
    name: str
    place: str
    column: str
    grid: np.ndarray
    row: pd.Series
    labelled: bool = False
    halved: bool = False

    @property
    def short(self) -> str:
        """Name of the experiment without its study."""
        return self.experiment.rpartition("/")[2]

    def beside(self, other: "Chosen") -> str:
        """Its name next to another one's: what they differ in."""
        return self.name if self.labelled or self.experiment == other.experiment else self.short


@dataclass
class Data:
    """What a relation gets to see of one part of a claim.

    Attributes:
        queries: the experiments of the place whose tables are there.
        survey: tables of a survey of paths, for a claim about one.
        missing: experiments of the place whose tables are not there.
        parts: number of parts of the claim, run or not.
        fitted: whether victims that did not fit their poisons are left out.
        quantifier: whether the claim is about the mean, every victim or a percentile.
        of, than: what the claim's selectors have chosen.
        used: "experiment, condition" of poisons → (victims that fit, all victims), for everything that was selected.
        known: (experiment, condition, its label, column) → draws and repeats with a value, fitted or not: the fewest
            of several radii or attacks.
    """

    queries: Sequence[Query]
    survey: Mapping[str, pd.DataFrame]
    missing: Sequence[str]
    parts: int
    fitted: bool = False
    quantifier: Quantifier = MEAN
    of: list[Chosen] = field(default_factory=list)
    than: list[Chosen] = field(default_factory=list)
    used: dict[str, tuple[int, int]] = field(default_factory=dict)
    known: dict[tuple[str, str, str, str], tuple[int, int]] = field(default_factory=dict)

    def select(self, query: Query, condition: str, column: str | None = None, **how: Any) -> list[Selected]:
        """Select victims as `Query.select` does, and note how many fitted and how many are known."""
        found = query.select(condition, column, fitted=FITTED if self.fitted else None, **how)
        for one in found:
            key = query.name, one.row["condition"], one.label, one.column
            draws, repeats = self.known.get(key, one.known)  # of another radius, perhaps
            self.known[key] = min(draws, one.known[0]), min(repeats, one.known[1])
            if self.fitted and one.row["strategy"] != "none":
                self.used[f"{query.name}, {one.label}"] = (int(one.counts.sum()), len(one.victims))
        return found

    def grids(self, condition: str, column: str | None = None, **how: Any) -> list[np.ndarray]:
        """[draws, repeats] for each value of a condition's axis in the one experiment of the place."""
        return [one.grid for one in self.select(self.query, condition, column, **how)]

    @property
    def query(self) -> Query:
        """The one experiment of the place."""
        if len(self.queries) + len(self.missing) != 1:
            raise InputError(
                f"this relation is judged by 1 experiment, not by {len(self.queries)}; split the place of the claim"
            )
        return self.queries[0]

    @property
    def wide(self) -> float:
        """Confidence of an interval that is compared with a margin: one-sided tests at LEVEL / parts (Bonferroni)."""
        return self.corrected(1)

    def corrected(self, comparisons: int) -> float:
        """The same where one of so many comparisons alone may decide."""
        return max(CONFIDENCE, 1 - 2 * LEVEL / self.parts / comparisons)

    def shortfall(self, query: Query, condition: str, draws: int, repeats: int) -> str | None:
        """In which way a condition, or what is known of its victims, is smaller than draws × repeats.

        It is so where it is for any value of its axis that the claim speaks of. Without poisons, one draw is all there
        may be.
        """
        cells = query.select(condition, "draw")
        own = query.name, cells[0].row["condition"]
        selected = {label for experiment, name, label, _ in self.known if (experiment, name) == own}
        cells = [one for one in cells if one.label in selected] or cells
        draws = 1 if cells[0].row["strategy"] == "none" else draws
        for one in cells:
            have = one.victims["draw"].nunique(), one.victims["repeat"].nunique()
            if have[0] < draws or have[1] < repeats or len(one.victims) < draws * repeats:
                name, size = one.row["condition"], f"{have[0]} × {have[1]} ({len(one.victims)} victims)"
                return f"'{name}' is {size}, registered are {draws} × {repeats}"
        for (experiment, name, label, column), (known_draws, known_repeats) in self.known.items():
            if (experiment, name) == (query.name, cells[0].row["condition"]) and (
                known_draws < draws or known_repeats < repeats
            ):
                have = known_draws, known_repeats
                return f"{column} of '{label}' is known for {have[0]} × {have[1]}, registered are {draws} × {repeats}"
        return None


@dataclass(frozen=True)
class Side:
    """What speaks for a claim, or against it.

    Attributes:
        holds: whether the values and intervals say so.
        p: of the test that must agree, one-sided; None where none is needed, NaN where it cannot be made.
        smallest_p: the least that this size of the samples allows, where rows are rearranged.
    """

    holds: bool
    p: float | None = None
    smallest_p: float | None = None

    @property
    def decides(self) -> bool:
        """Whether the values, intervals and p all say so."""
        return self.holds and (self.p is None or self.p <= LEVEL)


def speaks_against(supports: Side, opposes: Side) -> bool:
    """Whether what speaks against a claim is to be shown: it decides alone, or it is the nearer one to deciding."""
    if supports.decides != opposes.decides:
        return opposes.decides
    return supports.p is not None and opposes.p is not None and opposes.p < supports.p


@dataclass(frozen=True)
class Design:
    """A size that would decide an open case: in words, and the victims of all of its conditions."""

    words: str
    victims: int

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Evidence:
    """Everything that a verdict rests on.

    Attributes:
        needed: what would decide an open case.
        against: whether the estimate is the one that speaks against the claim; None where one estimate speaks for both.
    """

    value: float
    low: float
    high: float
    n: str
    test: str
    supports: Side
    opposes: Side
    needed: str | Design
    against: bool | None = None

    @staticmethod
    def of(
        shown: Estimate,
        test: str,
        supports: Side,
        opposes: Side,
        needed: str | Design,
        against: bool | None = None,
    ) -> "Evidence":
        """Evidence that shows an estimate as it is."""
        return Evidence(shown.value, shown.low, shown.high, shown.n, test, supports, opposes, needed, against)


def enough(test: Tested) -> bool:
    """Whether draws and repeats were both sampled: one draw would make it a statement about that very draw."""
    return min(test.draws) >= 2 and test.n_repeats >= 2


def design(draws: Sequence[int], repeats: int, bound: str = "") -> Design:
    """A number of draws of each condition, with the same repeats."""
    words = f"{bound}about {'+'.join(map(str, dict.fromkeys(draws)))} × {repeats} (draws × repeats)"
    return Design(words, sum(draws) * repeats)


def plan_size(
    judged: tuple[np.ndarray, np.ndarray], draws: tuple[int, int], target: float, data: Data, permuted: bool = True
) -> str | Design:
    """The design that would show a difference of `target`, from the judged grids of conditions with so many draws.

    Draws and repeats grow in proportion until the interval has that half-width; then draws alone, until both conditions
    have two judged ones and, if rows are to be permuted, enough arrangements for the corrected level.
    """
    a, b = judged
    present = min(a.shape[1], b.shape[1])
    if min(len(a), len(b), present) == 0:
        return "victims of both conditions"
    bound, repeats = "", present
    try:
        repeats = needed_repeats(a, target, data.wide, other=b)[1]
    except InputError:  # too few values to know their spread
        bound = "more than "
    grown = [math.ceil(count * repeats / present) for count in draws]
    while True:
        left = [
            count // 2 if len(matrix) < whole else count
            for count, matrix, whole in zip(grown, judged, draws, strict=True)
        ]
        arrangements = math.comb(sum(left), left[0]) if sum(left) < 50 else math.inf
        if min(left) >= 2 and (not permuted or data.parts / arrangements <= LEVEL):
            break
        grown = [count + 1 for count in grown]
    if (grown, repeats) == (list(draws), present):  # the interval is narrow enough, its p not yet small enough
        grown, repeats = [count + 1 for count in grown], repeats + 1
    return design(grown, repeats, bound)


def more_repeats(differences: np.ndarray, target: float) -> Design:
    """The size at which the interval of paired differences has this half-width: repeats, with draws in proportion."""
    try:
        draws, repeats = needed_repeats(differences, target, CONFIDENCE)
    except InputError:
        draws, repeats = len(differences), 0
    return design([draws] * 2, max(repeats, differences.shape[1] + 1, 2))


def filled_mean(matrix: np.ndarray) -> float:
    """Mean of a grid for choosing the lowest one: no value is never chosen."""
    value = mean_interval(matrix).value
    return math.inf if math.isnan(value) else value


def interval_text(value: float, low: float, high: float) -> str:
    if math.isnan(value):
        return "—"
    return f"{value:.3f}" if math.isnan(low) or math.isnan(high) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
