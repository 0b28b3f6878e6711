"""Evidence becomes a verdict here, by the same rules for every claim; nothing here knows a claim by its number."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from poisonlab.claims.evidence import (
    FITTED_VICTIMS,
    LEVEL,
    Data,
    Design,
    Evidence,
    Side,
    Tables,
    interval_text,
    speaks_against,
)
from poisonlab.claims.registration import Claim, Part, Place
from poisonlab.claims.selectors import choose
from poisonlab.results.query import FITTED, Headline, NotRun, Query
from poisonlab.statistics import holm

COLUMNS = ["claim", "study", "statement", "published", "measured", "low", "high", "unit", "n", "test", "verdict"]

VERDICTS = {
    "reproduced": "the claim holds, on its own data set at the registered size",
    "shown": "so does a claim of this project's own, which nobody published",
    "refuted": "its opposite holds there, or an effect is too small to count",
    "depends": "decided by the study's recipe, but not alike by nine in ten combinations of what its source leaves "
    "open, as trained and of fitted victims alone",
    "inconclusive": "neither is shown; its test says what would decide it",
    "not run": "the tables are not there",
    "analogue": "measured on other data than published, a stand-in, which never gives a verdict",
}

NOT_PUBLISHED = "not published"  # what a claim of one's own says was published


@dataclass(frozen=True)
class _Result:
    """A part of a claim before its p-values are corrected.

    Attributes:
        evidence: None where the claim could not be measured.
        blocked: what a verdict would need before the evidence may be asked; None where nothing is in its way.
    """

    analogue: bool
    evidence: Evidence | None
    blocked: str | None
    notes: tuple[str, ...] = ()


Headlines = Mapping[str, Mapping[str, Any]]


def judge(
    claims: Sequence[Claim],
    tables: Tables,
    headlines: Headlines | None = None,
    seconds: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Judge every part of every claim.

    Args:
        tables: "study/experiment" → conditions, victims, robustness; "paths/name" → lengths, issues.
        headlines: "study/experiment" → the fields of its `Headline`; an experiment without one has the default.
        seconds: "study/experiment" → processor seconds that training one of its victims takes at most; with it, an open
            case says what it would take to decide it.

    Returns:
        One row per part, with the columns `COLUMNS`; low and high are 95 % bounds, NaN where a statement has none; unit
        is "" for shares, their differences and slopes. `frame.attrs["details"]` holds one mapping per row for
        the scorecard: part, notes.

    Raises:
        InputError: tables contradict themselves, e.g. two values for one victim.
    """
    rows, details = [], []
    for claim in claims:
        results = [_measure(claim, part, tables, headlines or {}) for part in claim.parts]
        columns = (claim.parts, claim.statements, results, *(_sides(results, side) for side in ("supports", "opposes")))
        for part, statement, result, supports, opposes in zip(*columns, strict=True):
            verdict, test = _verdict(result, supports, opposes, len(results), _longest(part, seconds or {}))
            evidence = result.evidence
            rows.append(
                {
                    "claim": claim.id,
                    "study": claim.study,
                    "statement": statement,
                    "published": claim.published,
                    "measured": evidence.value if evidence else math.nan,
                    "low": evidence.low if evidence else math.nan,
                    "high": evidence.high if evidence else math.nan,
                    "unit": claim.unit,
                    "n": evidence.n if evidence else "",
                    "test": test,
                    "verdict": verdict,
                }
            )
            details.append({"part": part.name, "notes": list(result.notes)})
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs["details"] = details
    return frame


def with_own_shown(scorecard: pd.DataFrame) -> pd.DataFrame:
    """The scorecard, in which a claim that nobody published is "shown": there was nothing to reproduce.

    Args:
        scorecard: of `judge`; its attributes stay.
    """
    own = (scorecard["published"] == NOT_PUBLISHED) & (scorecard["verdict"] == "reproduced")
    return scorecard.assign(verdict=scorecard["verdict"].mask(own, "shown"))


def _measure(claim: Claim, part: Part, tables: Tables, headlines: Headlines) -> _Result:
    """Measure a part where it may be judged, or on its analogue where none of those tables is there."""
    for place, analogue in ((part.judged_on, False), (part.analogue, True)):
        if place and any(key in tables for key in place.tables):
            try:
                return _measure_at(claim, place, analogue, tables, headlines)
            except NotRun as reason:
                return _Result(analogue, None, str(reason))
    return _Result(False, None, f"no tables of {', '.join(part.judged_on.tables)}")


def _look(claim: Claim, place: Place, tables: Tables, headlines: Headlines, fitted: bool) -> tuple[Data, Evidence]:
    """Select what a claim speaks about, and draw the evidence from it."""
    there, missing = ([key for key in place.tables if (key in tables) == present] for present in (True, False))
    survey = tables[there[0]] if claim.relation.survey else {}
    queries = []
    for key in [] if survey else there:
        headline = Headline.of(headlines.get(key))
        queries.append(Query(key, tables[key], replace(headline, epsilon=place.epsilon or headline.epsilon)))
    if missing and not claim.relation.partial:
        raise NotRun(f"no tables of {', '.join(missing)}")
    data = Data(queries, survey, missing, len(claim.parts), fitted, claim.quantifier)
    choose(claim.of, claim.than, data)
    return data, claim.relation.function(data, claim.settings)


def _measure_at(claim: Claim, place: Place, analogue: bool, tables: Tables, headlines: Headlines) -> _Result:
    data, evidence = _look(claim, place, tables, headlines, claim.victims == "fitted")
    used = data.used
    few = [f"{label}: {n} of {total}" for label, (n, total) in used.items() if n < FITTED_VICTIMS * total]
    datasets, scales = (
        {value for one in data.queries for value in one.tables["conditions"][column]} for column in ("dataset", "scale")
    )
    notes = [f"{'stand-in ' if analogue else ''}{', '.join(key for key in place.tables if key in tables)}"]
    elsewhere = place.dataset is not None and datasets != {place.dataset}
    if not analogue and (elsewhere or scales & {"analogue", "own"}):
        analogue = True
        notes.append(
            f"no verdict on {', '.join(sorted(datasets))} ({', '.join(sorted(scales))}), only on "
            f"{place.dataset or 'a published scale'}"
        )
    if used:
        counted, total = (sum(numbers) for numbers in zip(*used.values(), strict=True))
        others = ", the others do not count" if counted < total else ""
        notes.append(f"{counted} of {total} victims fitted at least {100 * FITTED:g} % of their poisons{others}")
        if counted < total:
            anyway = _look(claim, place, tables, headlines, fitted=False)[1]
            notes.append(f"all victims would give {interval_text(anyway.value, anyway.low, anyway.high)}")
    blocked = None
    if scales - {"published"}:
        blocked = f"the published scale, here {', '.join(sorted(scales))}"
    elif short := _shortfall(claim, data):
        blocked = f"the registered size: {short}"
    elif few:
        blocked = f"at least {100 * FITTED_VICTIMS:g} % of the victims of each condition to fit their poisons "
        blocked += f"({', '.join(few)})"
    return _Result(analogue, evidence, blocked, tuple(notes))


def _shortfall(claim: Claim, data: Data) -> str | None:
    """In which way the tables are smaller than registered."""
    if data.survey:
        lengths, issues = data.survey["lengths"], data.survey["issues"]
        by_proxy = lengths.groupby("proxy_seed")["n_points"].sum()
        have = {"proxies": len(by_proxy), "points": by_proxy.min(), "among": issues["n_among"].min()}
        short = (
            f"{have[key]} {key}, registered are {least}" for key, least in claim.minimum.items() if have[key] < least
        )
        return next(short, None)
    sizes = [
        (name, query, *least)
        for name, least in claim.minimum.items()
        if name not in ("draws", "repeats")
        for query in _holding(data, name)
    ]
    if "draws" in claim.minimum:
        draws, repeats = claim.minimum["draws"], claim.minimum["repeats"]
        selected = {(experiment, condition) for experiment, condition, _, _ in data.known}
        sizes = [
            (name, query, draws, repeats)
            for query in data.queries
            for key, name in sorted(selected)
            if key == query.name
        ]
    for condition, query, draws, repeats in sizes:
        if short_of := data.shortfall(query, condition, draws, repeats):
            return short_of
    return None


def _holding(data: Data, condition: str) -> list[Query]:
    """Experiments of which the claim selected a condition; where it selected it of none, those that have it, or all."""
    selected = {(experiment, name) for experiment, name, _, _ in data.known}
    there: list[tuple[Query, bool]] = []
    for query in data.queries:
        with contextlib.suppress(NotRun):
            row = query.select(condition, "draw")[0].row
            there.append((query, (query.name, row["condition"]) in selected))
    return [query for query, own in there if own] or [query for query, _ in there] or list(data.queries)


def _sides(results: Sequence[_Result], name: str) -> list[Side]:
    """What speaks for each part, or against it, with corrected p."""
    sides = [getattr(one.evidence, name) if one.evidence else Side(False) for one in results]
    p, least = (_corrected([getattr(one, key) for one in sides], results) for key in ("p", "smallest_p"))
    return [replace(one, p=own, smallest_p=bound) for one, own, bound in zip(sides, p, least, strict=True)]


def _corrected(p: Sequence[float | None], results: Sequence[_Result]) -> list[float | None]:
    """The p of each part, corrected over the family; None where none is needed.

    Analogues are corrected among themselves: they are no evidence. A part without a p still counts.
    """
    corrected: list[float | None] = [None] * len(p)
    for analogue in (False, True):
        own = [one.analogue == analogue and value is not None for one, value in zip(results, p, strict=True)]
        adjusted = holm([math.nan if value is None or not mine else value for value, mine in zip(p, own, strict=True)])
        corrected = [float(a) if mine else c for a, mine, c in zip(adjusted, own, corrected, strict=True)]
    return corrected


def _longest(part: Part, seconds: Mapping[str, float]) -> float | None:
    """Seconds of a victim of the slowest of a part's experiments; None where they are not known."""
    known = [seconds[key] for key in part.judged_on.tables if key in seconds]
    return max(known) if known else None


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:.2g}" if hours < 10 else f"{hours:.0f}"


def _verdict(
    result: _Result, supports: Side, opposes: Side, parts: int, seconds: float | None = None
) -> tuple[str, str]:
    """The verdict, and the text of the test, from both sides with their corrected p."""
    evidence = result.evidence
    if evidence is None:
        return "not run", result.blocked or ""

    open_case = supports.decides == opposes.decides
    known = open_case and evidence.against is not None
    against = evidence.against if known else speaks_against(supports, opposes)
    shown, test = opposes if against else supports, evidence.test
    if (p := shown.p) is not None:
        value = "not possible" if math.isnan(p) else "< 0.001" if p < 0.001 else f"= {p:.3f}"
        corrected = f" (Holm over {parts})" if parts > 1 else ""
        test += f"; one-sided p {value}{' against it' if against else ''}{corrected}"
        if shown.smallest_p is not None and shown.smallest_p > LEVEL:
            test += f", which this size cannot bring below {shown.smallest_p:.3f}"
    if result.analogue:
        return "analogue", test
    if result.blocked or open_case:
        needed = evidence.needed
        if not result.blocked and seconds is not None and isinstance(needed, Design):
            needed = f"{needed}, at most {_hours(needed.victims * seconds)} core-hours of training"
        return "inconclusive", f"{test}; a verdict needs {result.blocked or needed}"
    return "reproduced" if supports.decides else "refuted", test
