"""A claim place by place: the two sides that it compares, their difference, and how many fitted their poisons."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from poisonlab.claims.evidence import interval_text
from poisonlab.documents.claim_rows import ClaimRow
from poisonlab.documents.scorecard import table_line
from poisonlab.errors import InputError
from poisonlab.figures.captions import named
from poisonlab.results.query import NotRun, Query
from poisonlab.statistics import mean_interval

_P = re.compile(r"p (?:= )?(?P<p>(?:< )?[\d.e-]+(?: against it)?)(?: (?P<corrected>\([^)]*\)))?")


def tables(
    rows: Sequence[ClaimRow], numbers: Sequence[int], experiments: Sequence[Query], words: Mapping[str, str]
) -> list[list[str]]:
    """`places` of the claims of these numbers, in their order.

    Raises:
        InputError: there is no such claim, or it compares something else.
    """
    if unknown := sorted(set(numbers) - {row.number for row in rows}):
        raise InputError(f"places names the claims {unknown}, known are {[row.number for row in rows]}; take them out")
    return [places(row, experiments, words) for number in numbers for row in rows if row.number == number]


def places(row: ClaimRow, experiments: Sequence[Query], words: Mapping[str, str]) -> list[str]:
    """Write a claim's parts as a table: what both sides leave, their difference, that of the second side's first draw
    alone, p, n, who fitted, and the verdict.

    Args:
        row: of a claim that compares two conditions of one experiment in each of its parts.
        experiments: a part whose experiment is not among them has not run.
        words: name of a condition → what readers see instead.

    Raises:
        InputError: the claim compares something else.
    """
    known, sides = {query.name: query for query in experiments}, row.parts[0]["sides"]
    if len(sides) != 2:
        raise InputError(
            f"places of '{row.study}' names claim {row.number}, allowed are claims that compare all victims of two "
            "conditions by the headline's column; take it out"
        )
    names = [named(side, words) for side in sides]
    first = f"the same, first draw of {names[1]}"
    head = ["", *names, " − ".join(names), first, "p", "n", f"fitted all poisons: {', '.join(names)}", "verdict"]
    lines = [f"**{row.says}** ([claim {row.number}](scorecard.md#{row.heading})).", ""]
    cells = {part["part"] or "there": _cells(part, known.get(part["tables"][0])) for part in row.parts}
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
        chosen = [query.select(side) for side in part["sides"]]
        fitted = [query.select(side, "fitted_share")[0].grid for side in part["sides"]]
    except NotRun:
        return []
    if any(len(cells) > 1 for cells in chosen):
        raise InputError(f"places: '{query.name}' sweeps a condition of {part['sides']}; take its claim out")
    grids = [cells[0].grid for cells in chosen]
    shared = min(grid.shape[1] for grid in grids)  # repeats that both have: their levels differ by the difference shown
    levels = [mean_interval(grid[:, :shared], bounds=(0.0, 1.0)) for grid in grids]
    p, (baseline, own) = _P.search(part["test"]), (grid[:, :shared] for grid in grids)
    return [
        *(interval_text(level.value, level.low, level.high) for level in levels),
        interval_text(part["value"], part["low"], part["high"]),
        f"{np.nanmean(baseline) - np.nanmean(own[0]):.3f}",
        " ".join(filter(None, p.groups())) if p else "—",
        part["n"],
        ", ".join(f"{100 * (own == 1).mean():.0f} %" for own in fitted),
        f"**{part['verdict']}**",
    ]
