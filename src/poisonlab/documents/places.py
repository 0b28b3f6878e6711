"""A claim place by place: the two sides that it compares, their difference, and how many fitted their poisons."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from poisonlab.claims.evidence import interval_text
from poisonlab.documents.claim_rows import ClaimRow
from poisonlab.documents.scorecard import table_line
from poisonlab.figures.captions import named
from poisonlab.results.query import NotRun, Query
from poisonlab.statistics import mean_interval

_P = re.compile(r"p (?:= )?(?P<p>(?:< )?[\d.e-]+)(?: (?P<corrected>\([^)]*\)))?")


def places(row: ClaimRow, experiments: Sequence[Query], words: Mapping[str, str]) -> list[str]:
    """Write a claim's parts as a table: what both sides leave, their difference, p, n, who fitted, and the verdict.

    Args:
        row: of a claim that compares two conditions of one experiment in each of its parts.
        experiments: a part whose experiment is not among them has not run.
        words: name of a condition → what readers see instead.
    """
    known = {query.name: query for query in experiments}
    sides = row.parts[0]["sides"]
    head = ["", *(named(side, words) for side in sides), "difference", "p", "n", "fitted all poisons", "verdict"]
    lines = [f"**{row.says}** ([claim {row.number}](scorecard.md#{row.heading})).", ""]
    cells = {part["part"]: _cells(part, known.get(part["tables"][0])) for part in row.parts}
    if any(cells.values()):
        lines += [table_line(head), "|---" * len(head) + "|"]
        lines += [table_line([place, *own]) for place, own in cells.items() if own]
    if waiting := [place for place, own in cells.items() if not own]:
        lines += [""] * any(cells.values()) + [f"Not run: {'; '.join(waiting)}."]
    return lines


def _cells(part: Mapping[str, Any], query: Query | None) -> list[str]:
    """A part's row behind its name, nothing where it has not run."""
    if query is None or pd.isna(part["value"]):
        return []
    try:
        found = [_side(query, side) for side in part["sides"]]
    except NotRun:
        return []
    p = _P.search(part["test"])
    return [
        *(level for level, _ in found),
        interval_text(part["value"], part["low"], part["high"]),
        " ".join(filter(None, p.groups())) if p else "—",
        part["n"],
        " and ".join(dict.fromkeys(fitted for _, fitted in found)),
        f"**{part['verdict']}**",
    ]


def _side(query: Query, condition: str) -> tuple[str, str]:
    """What a condition leaves, with its interval, and the share of its victims that fitted every poison."""
    (own,), (fitted,) = query.select(condition), query.select(condition, "fitted_share")
    level = mean_interval(own.grid, bounds=(0.0, 1.0))
    return interval_text(level.value, level.low, level.high), f"{100 * (fitted.grid == 1).mean():.0f} %"
