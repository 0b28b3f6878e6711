"""Evidence becomes a verdict here, by the same rules for every claim; nothing here knows a claim by its number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from poisonlab.claims.evidence import (
    FITTED,
    FITTED_VICTIMS,
    LEVEL,
    Data,
    Evidence,
    Experiment,
    NotRun,
    Tables,
    interval_text,
)
from poisonlab.claims.kinds import KINDS
from poisonlab.claims.registration import Claim, Part, Place
from poisonlab.statistics import holm

COLUMNS = ["claim", "study", "statement", "published", "measured", "low", "high", "unit", "n", "test", "verdict"]


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


def judge(claims: Sequence[Claim], tables: Tables) -> pd.DataFrame:
    """Judge every part of every claim.

    Args:
        tables: "study/experiment" → conditions, victims, robustness; "paths/name" → lengths, issues.

    Returns:
        One row per part, with the columns `COLUMNS`; low and high are 95 % bounds, NaN where a statement has none; unit is "" for
        shares, their differences and slopes.
        `frame.attrs["details"]` holds one mapping per row for `write_scorecard`: source, estimand, part, notes.

    Raises:
        InputError: tables contradict themselves, e.g. two values for one victim.
    """
    rows, details = [], []
    for claim in claims:
        results = [_measure(claim, part, tables) for part in claim.parts]
        for_it = _corrected([one.evidence.supports.p if one.evidence else None for one in results], results)
        against_it = _corrected([one.evidence.opposes.p if one.evidence else None for one in results], results)
        columns = (claim.parts, claim.statements, results, for_it, against_it)
        for part, statement, result, p_for, p_against in zip(*columns, strict=True):
            verdict, test = _verdict(result, p_for, p_against, len(results))
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
                    "unit": KINDS[claim.kind].unit_of(claim.options),
                    "n": evidence.n if evidence else "",
                    "test": test,
                    "verdict": verdict,
                }
            )
            details.append(
                {"source": claim.source, "estimand": claim.estimand, "part": part.name, "notes": list(result.notes)}
            )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame.attrs["details"] = details
    return frame


def _measure(claim: Claim, part: Part, tables: Tables) -> _Result:
    """Measure a part where it may be judged, or on its analogue where none of those tables is there."""
    for place, analogue in ((part.judged_on, False), (part.analogue, True)):
        if place and any(key in tables for key in place.tables):
            try:
                return _measure_at(claim, place, analogue, tables)
            except NotRun as reason:
                return _Result(analogue, None, str(reason))
    return _Result(False, None, f"no tables of {', '.join(part.judged_on.tables)}")


def _measure_at(claim: Claim, place: Place, analogue: bool, tables: Tables) -> _Result:
    def look(fitted: float) -> tuple[Data, Evidence]:
        there, missing = ([key for key in place.tables if (key in tables) == present] for present in (True, False))
        survey = tables[there[0]] if KINDS[claim.kind].survey else {}
        experiments = [] if survey else [Experiment(key, tables[key], place.epsilon or 0.0, fitted) for key in there]
        data = Data(experiments, survey, missing, len(claim.parts))
        return data, KINDS[claim.kind].function(data, claim.options)

    data, evidence = look(FITTED)
    used = {label: count for one in data.experiments for label, count in one.used.items()}
    few = [f"{label}: {n} of {total}" for label, (n, total) in used.items() if n < FITTED_VICTIMS * total]
    datasets, scales = (
        {value for one in data.experiments for value in one.tables["conditions"][column]}
        for column in ("dataset", "scale")
    )
    notes = [f"{'stand-in ' if analogue else ''}{', '.join(key for key in place.tables if key in tables)}"]
    if not analogue and place.dataset and (datasets != {place.dataset} or "analogue" in scales):
        analogue = True
        notes.append(
            f"no verdict on {', '.join(sorted(datasets))} ({', '.join(sorted(scales))}), only on {place.dataset}"
        )
    if used:
        counted, total = (sum(numbers) for numbers in zip(*used.values(), strict=True))
        others = ", the others do not count" if counted < total else ""
        notes.append(f"{counted} of {total} victims fitted at least {100 * FITTED:g} % of their poisons{others}")
        if counted < total:
            anyway = look(-math.inf)[1]
            notes.append(f"all victims would give {interval_text(anyway.value, anyway.low, anyway.high)}")
    blocked = None
    if scales - {"published"}:
        blocked = f"scale published, here {', '.join(sorted(scales))}"
    elif short := _shortfall(claim, data):
        blocked = f"the registered size: {short}"
    elif few:
        blocked = f"at least {100 * FITTED_VICTIMS:g} % of the victims of each condition to fit their poisons ({', '.join(few)})"
    return _Result(analogue, evidence, blocked, tuple(notes))


def _shortfall(claim: Claim, data: Data) -> str | None:
    """In which way the tables are smaller than registered."""
    for key, least in claim.minimum.items():
        for experiment in data.experiments:
            if short := experiment.shortfall(key, *least):
                return short
        if data.survey:
            table = data.survey["issues" if key == "among" else "lengths"]
            by_proxy = table.groupby("proxy_seed")["n_points"].sum()
            sizes = {"proxies": len(by_proxy), "points": by_proxy.min()}
            have = sizes[key] if key in sizes else table["n_among"].min()
            if have < least:
                return f"{have} {key}, registered are {least}"
    return None


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


def _verdict(result: _Result, p_for: float | None, p_against: float | None, parts: int) -> tuple[str, str]:
    """The verdict, and the text of the test."""
    evidence = result.evidence
    if evidence is None:
        return "not run", result.blocked or ""

    supported, opposed = (
        side.holds and (p is None or p <= LEVEL)
        for side, p in ((evidence.supports, p_for), (evidence.opposes, p_against))
    )
    # Of the side that decides; of an open case, of the one that is nearer to deciding it.
    against = opposed if opposed != supported else p_against is not None and p_for is not None and p_against < p_for
    p, test = p_against if against else p_for, evidence.test
    if p is not None:
        value = "not possible" if math.isnan(p) else "< 0.001" if p < 0.001 else f"= {p:.3f}"
        corrected = f" (Holm over {parts})" if parts > 1 else ""
        test += f"; one-sided p {value}{' against it' if against else ''}{corrected}"
    if result.analogue:
        return "analogue", test
    if result.blocked or supported == opposed:
        return "inconclusive", f"{test}; a verdict needs {result.blocked or evidence.needed}"
    return "reproduced" if supported else "refuted", test
