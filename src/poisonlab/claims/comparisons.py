"""Comparisons of selected victims in pairs: by permuted rows, by training set, or victim by victim."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poisonlab.claims.evidence import (
    CONFIDENCE,
    Chosen,
    Data,
    Design,
    Evidence,
    Side,
    enough,
    more_repeats,
    plan_size,
    speaks_against,
)
from poisonlab.errors import InputError
from poisonlab.statistics import Estimate, Tested, matched_difference, mean_interval, paired_difference

# What the draws of two conditions have in common: nothing, then rows are permuted; or the training set, then they are
# paired, too.
PAIRED_BY: dict[str, tuple[Callable[..., Tested], str]] = {
    "repeat": (paired_difference, "rows permuted"),
    "training set": (matched_difference, "paired by training set and repeat, signs of the training sets flipped"),
}
SMALL = 0.01  # difference that a plan aims at where no margin is registered and what was found is smaller


def smallest_p(a: int, b: int, settings: Mapping[str, Any]) -> float:
    """The least p of a difference between conditions of a and b draws, by the parameters of a relation."""
    a, b = a - settings["known"], b - settings["known"]
    return 1 / math.comb(a + b, a) if settings["paired_by"] == "repeat" else 0.5 ** min(a, b)


@dataclass(frozen=True)
class Pair:
    """Two choices of victims; a difference is the first's value minus the second's."""

    a: Chosen
    b: Chosen

    @property
    def words(self) -> str:
        """Names of both, and the place where they are compared, if it is one."""
        one, other = self.a.beside(self.b), self.b.beside(self.a)
        if one == other:
            return f"{one} at {self.a.place} − at {self.b.place}"
        place = f" at {self.a.place}" if self.a.place and self.a.place == self.b.place else ""
        return f"{one} − {other}{place}"

    def grids(self, paired_by: str) -> tuple[np.ndarray, np.ndarray]:
        """Both grids; by training set, the draws that both have where even draws chose one of them."""
        a, b = (
            one.grid[1::2]
            if paired_by == "training set" and other.halved > one.halved and len(one.grid) > 1
            else one.grid
            for one, other in ((self.a, self.b), (self.b, self.a))
        )
        return a, b

    @property
    def clean(self) -> bool:
        """Whether one has no poisons: its one training set is no sample of draws, so victims are compared one
        by one.
        """
        return "none" in (self.a.row["strategy"], self.b.row["strategy"])

    @property
    def differences(self) -> np.ndarray:
        """[draws, repeats], victim by victim; one clean training set is compared with every draw."""
        a, b = self.grids("training set")
        repeats = min(a.shape[1], b.shape[1])
        a, b = a[:, :repeats], b[:, :repeats]
        if not (self.clean and 1 in (len(a), len(b))):
            draws = min(len(a), len(b))
            a, b = a[:draws], b[:draws]
        return a - b


def pair(of: Sequence[Chosen], than: Sequence[Chosen]) -> list[Pair]:
    """Pair choices in their order; a single one is paired with each of the others.

    Raises:
        InputError: their numbers differ.
    """
    if len(of) != len(than) and 1 not in (len(of), len(than)):
        raise InputError(
            f"{len(of)} values of '{of[0].name}' cannot be paired with {len(than)} of '{than[0].name}'; choose by "
            "`value` or join by `over`"
        )
    count = max(len(of), len(than))
    return [Pair(of[n % len(of)], than[n % len(than)]) for n in range(count)]


LOWEST = "that of the lowest bound"  # in words, what `weakest` chooses


def weakest(tests: Sequence[Estimate]) -> int:
    """Position of the difference that is furthest from being above 0."""
    return min(range(len(tests)), key=lambda n: -math.inf if math.isnan(tests[n].low) else tests[n].low)


def all_above(
    grids: Sequence[tuple[np.ndarray, np.ndarray]],
    counts: Callable[[Tested], bool] = enough,
    compare: Callable[..., Tested] = paired_difference,
) -> tuple[list[Tested], Side]:
    """Test that the first grid of each pair is above the second: all of them must be (intersection–union)."""
    tests = [compare(a, b, CONFIDENCE, "greater") for a, b in grids]
    holds = all(test.low > 0 and counts(test) for test in tests)
    worst = (float(np.max([getattr(test, key) for test in tests])) for key in ("joint_p", "smallest_p"))
    return tests, Side(holds, *worst)


def smallest(
    grids: Sequence[tuple[np.ndarray, np.ndarray]],
    words: Sequence[str],
    rows: str,
    counts: Callable[[Tested], bool] = enough,
    compare: Callable[..., Tested] = paired_difference,
) -> tuple[int, Tested, str, Side, Side, bool]:
    """The difference that decides whether every first grid is above its second.

    Returns its position, itself, its test, both sides, and whether it is the one that speaks against that: one that is
    below, corrected for their number.
    """
    tests, supports = all_above(grids, counts, compare)
    reverse = [compare(b, a, 1 - (1 - CONFIDENCE) / len(grids), "greater") for a, b in grids]
    lowest = min(range(len(grids)), key=lambda n: reverse[n].joint_p)
    against = reverse[lowest]
    p, least = (min(1.0, value * len(grids)) for value in (against.joint_p, against.smallest_p))
    opposes = Side(against.low > 0 and counts(against), p, least)
    opposed = speaks_against(supports, opposes)
    shown = lowest if opposed else weakest(tests)
    text = f"{words[shown]}, {rows}"
    if len(grids) > 1:
        which, p_of = ("clearest below 0", f"p × {len(grids)}") if opposed else (LOWEST, "largest p of all")
        text = f"of {len(grids)}, {which}: {text}, {p_of}"
    return shown, tests[shown], text, supports, opposes, opposed


def larger_grids(
    grids: Sequence[tuple[np.ndarray, np.ndarray]],
    words: Sequence[str],
    data: Data,
    paired_by: str = "repeat",
    known: int = 0,
    margin: float | None = None,
    by: float = 0.0,
) -> Evidence:
    """Evidence that every first grid is above its second, `by` so much, without its first `known` draws.

    Against it speaks one that is below that; with a margin, one that is not shown to be above and whose interval ends
    below the margin.
    """
    compare, rows = PAIRED_BY[paired_by]
    grids = [(a[known:] - by, b[known:]) for a, b in grids]
    against: bool | None
    shown, one, text, supports, opposes, against = smallest(grids, words, rows, compare=compare)
    if margin is not None:
        tests, _ = all_above(grids, compare=compare)
        highs = [compare(a, b, data.corrected(len(grids))).high for a, b in grids]
        small = [high < margin and not test.low > 0 and enough(test) for test, high in zip(tests, highs, strict=True)]
        shown, opposes, against = weakest(tests), Side(any(small)), None
        one = tests[shown]
        text = f"{words[shown]}, {rows}"
        text = f"of {len(grids)}, {LOWEST}: {text}, largest p of all" if len(grids) > 1 else text
    size: str | Design = "more training sets"
    if paired_by == "repeat":
        target = max(abs(one.value), SMALL if margin is None else margin / 2)
        size = plan_size(grids[shown], (len(grids[shown][0]), len(grids[shown][1])), target, data)
    if by:
        one, text = replace(one, value=one.value + by, low=one.low + by, high=one.high + by), f"{text}, against {by:g}"
    return Evidence.of(one, text, supports, opposes, size, against)


def larger_victims(pairs: Sequence[Pair], data: Data, margin: float | None = None) -> Evidence:
    """The same, victim by victim: t intervals alone decide."""
    differences = [one.differences for one in pairs]
    found = [mean_interval(one, CONFIDENCE) for one in differences]
    inside = [mean_interval(one, data.wide) for one in differences]
    outside = [mean_interval(one, data.corrected(len(pairs))) for one in differences]
    shown = weakest(inside)
    text = f"{pairs[shown].words}, {100 * data.wide:.3g} % t interval over draws and repeats against 0"
    target = max(abs(found[shown].value), SMALL if margin is None else margin / 2)
    evidence = Evidence.of(
        found[shown],
        text if len(pairs) == 1 else f"of {len(pairs)}, {LOWEST}: {text}",
        Side(all(one.low > 0 for one in inside)),
        Side(any(_below(one, wider, margin) for one, wider in zip(inside, outside, strict=True))),
        more_repeats(differences[shown], target),
    )
    draws = [len(side.grid) for side in (pairs[shown].a, pairs[shown].b)]
    if len(set(draws)) == 1:
        return evidence
    own = f"{found[shown].n_draws} ×"  # draws of both, as one clean training set stands beside several
    return replace(evidence, n=found[shown].n.replace(own, f"{'+'.join(map(str, draws))} ×", 1))


def larger_percentiles(pairs: Sequence[Pair], data: Data, margin: float | None = None) -> Evidence:
    """The same for percentiles: their difference lies between the ends of both intervals, each with half of the error.

    That is Bonferroni's correction; the interval is wider than it need be, for it does not use the pairing.
    """

    def difference(one: Pair, confidence: float) -> Estimate:
        sides = (one.a, one.b)
        half = 1 - (1 - confidence) / 2
        a, b = (data.quantifier.estimate(side.grid, side.column, half) for side in sides)
        size = min(a.n_draws, b.n_draws), min(a.n_repeats, b.n_repeats)
        return Estimate(a.value - b.value, a.low - b.high, a.high - b.low, *size)

    found = [difference(one, CONFIDENCE) for one in pairs]
    inside = [difference(one, data.wide) for one in pairs]
    outside = [difference(one, data.corrected(len(pairs))) for one in pairs]
    shown = weakest(inside)
    text = f"{pairs[shown].words}, {data.quantifier.noun}s of the victims, intervals of both order statistics against 0"
    return Evidence.of(
        found[shown],
        text if len(pairs) == 1 else f"of {len(pairs)}, {LOWEST}: {text}",
        Side(all(one.low > 0 for one in inside)),
        Side(any(_below(one, wider, margin) for one, wider in zip(inside, outside, strict=True))),
        "more draws and repeats",
    )


def _below(found: Estimate, wider: Estimate, margin: float | None) -> bool:
    """Whether the wider interval says that a difference is below 0, or too small to count and not shown to be above."""
    return wider.high < 0 if margin is None else wider.high < margin and not found.low > 0
