"""A study's page: every published figure drawn again, beside what its source says and what the claims came to."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from poisonlab.claims import Claim
from poisonlab.claims.evidence import interval_text
from poisonlab.claims.scorecard import measured_text
from poisonlab.documents.comparison import labels
from poisonlab.figures.captions import joined, named


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: of its files.
        published: its number in the source, "" for a figure that supports one.
        source: what it draws again.
        claims: numbers of the claims that stand below it.
        tables: what it shows, "study/experiment" or "paths/name".
    """

    name: str
    title: str
    published: str
    source: str
    claims: Sequence[int]
    tables: Sequence[str]
    caption: str


def study_page(
    title: str,
    study: str,
    pictures: Sequence[Picture],
    claims: Sequence[Claim],
    scorecard: pd.DataFrame,
    strategies: pd.DataFrame,
    spread: pd.DataFrame,
    findings: Sequence[int] = (),
    words: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Write the page: what was found, then each figure with its caption, and below it its claims.

    Of a claim that several figures have, each part stands below those that show most of what it is judged by.

    Args:
        title: of the study, as the page's heading.
        study: its name, which its figures' folder and its rows of the scorecard have.
        strategies: columns of `comparison.COLUMNS`, every strategy beside random points.
        spread: columns of `comparison.SPREAD`, victims of random points.
        findings: numbers of the claims that the page begins with.
        words: name of a condition, experiment or data set → what readers see instead.
        scorecard: columns of `claims.COLUMNS`; claims of no figure of the page come last, in one table.
    """
    rows = scorecard[scorecard["study"] == study].to_dict("records")
    lines = [f"# {title}", ""]
    if findings:
        lines += ["## What was found", "", *_found(claims, rows, findings), ""]
    lines += ["Written by the pipeline, as are its pictures, captions, numbers and verdicts;"]
    lines += [
        "the [scorecard](scorecard.md) says how each claim was measured and tested. In the column n, 8+4 × 32 "
        "stands for a condition of"
    ]
    lines += ["8 draws and one of 4, with the same 32 repeats.", ""]
    sources, tables = {}, {}
    for claim in claims:
        for statement, part in zip(claim.statements, claim.parts, strict=True):
            sources[statement], tables[statement] = claim.source, part.tables
    shown: set[int] = set()
    for picture in pictures:
        heading = f"{picture.title} ({picture.published})" if picture.published else picture.title
        lines += [f"## {heading}", "", f"![{heading}](figures/{study}/{picture.name}.png)", ""]
        lines += [f"After the {picture.source}.", ""] if picture.source else []
        seen, *method = picture.caption.strip().split("\n\n")
        lines += [seen, "", *(line for words in method for line in (f"<sub>{words}</sub>", ""))]
        own = [n for n, row in enumerate(rows) if picture in _places(row["claim"], tables[row["statement"]], pictures)]
        lines += [*_table([rows[n] for n in own], sources), ""] if own else []
        shown |= set(own)
    if len(strategies):
        lines += ["## Every strategy beside random points", "", *_strategies(strategies, words), ""]
    if len(spread):
        lines += ["## How much victims of random points differ", "", *_spread(spread, words), ""]
    if rest := [row for n, row in enumerate(rows) if n not in shown]:
        lines += ["## Claims that belong to none of these figures", "", *_table(rest, sources), ""]
    return "\n".join(lines)


def _found(claims: Sequence[Claim], rows: Sequence[Mapping[Any, Any]], findings: Sequence[int]) -> list[str]:
    """A line for each of these claims that has run: what it says, where it holds, and what was measured."""
    lines: list[str] = []
    waiting = 0
    for claim in [one for number in findings for one in claims if one.id == number]:
        parts = {name: part.name for name, part in zip(claim.statements, claim.parts, strict=True)}
        judged = [row for row in rows if row["statement"] in parts and row["verdict"] != "not run"]
        if not judged:
            waiting += 1
            continue
        verdicts: dict[str, list[str]] = {}
        for row in judged:
            verdicts.setdefault(row["verdict"], []).append(parts[row["statement"]])
        if len(judged) == 1:
            (row,) = judged
            place = f" ({parts[row['statement']]})" if len(parts) > 1 else ""
            words = [f"**{row['verdict']}**, {measured_text(row)}, {size_in_words(row['n'])}{place}"]
        else:
            words = [
                f"**{verdict}** in {len(there)} of {len(parts)}"
                + (f" ({', '.join(there)})" if 2 * len(there) <= len(parts) else "")
                for verdict, there in verdicts.items()
            ]
            ends = sorted((row["measured"], parts[row["statement"]]) for row in judged if not pd.isna(row["measured"]))
            if ends:
                words.append(f"measured {ends[0][0]:.3f} ({ends[0][1]}) to {ends[-1][0]:.3f} ({ends[-1][1]})")
        lines.append(f"- {claim.statement}: {'; '.join(words)}.")
    return [*lines, *([f"- Not run yet: {waiting} of {len(lines) + waiting} claims."] if waiting else [])]


def size_in_words(n: str) -> str:
    """Write a size for a sentence: "1+2 × 1" is "1 and 2 draws, 1 repeat of each"."""
    found = re.match(r"([\d+]+) × (\d+)", n)
    if not found:
        return f"n = {n}"
    draws, repeats = found[1].split("+"), found[2]
    words = joined(list(dict.fromkeys(draws)))
    of_each = f"{repeats} repeat{'' if repeats == '1' else 's'} of each"
    return f"{words} draw{'' if words == '1' else 's'}, {of_each}{n[found.end() :]}"


def _places(claim: int, tables: Sequence[str], pictures: Sequence[Picture]) -> list[Picture]:
    """Pictures below which a part of a claim stands: of those with the claim, those that show most of its tables."""
    having = {one.name: len(set(tables) & set(one.tables)) for one in pictures if claim in one.claims}
    return [one for one in pictures if one.name in having and having[one.name] == max(having.values())]


def _strategies(table: pd.DataFrame, words: Mapping[str, str]) -> list[str]:
    radii = ", ".join(f"{radius:g}" for radius in sorted(table["epsilon"].unique()))
    head = f"Difference in adversarial accuracy (l∞, ε = {radii}) from random points at the same budget; negative: "
    head += "easier to attack."
    lines = [f"{head} Paired by repeat, 95 % intervals, p with Holm's correction within an experiment;"]
    lines += [
        "victims that fitted at least 90 % of their poisons count, `fitted` is their share, `all victims` the "
        "difference over all. p",
        "permutes the draws. With (t) it is that of the interval's Student's t: draws so few, as the single set of "
        "points of a",
        "deterministic strategy, could not reach 0.05 over the number of rows, whatever the difference. Of a "
        "single set, it speaks of that",
        "very set.",
        "*Not fitted*: there are no victims to compare; *too few fitted*: fewer than half of a side's victims; "
        "*too few draws*: one draw",
        "of random points, or one repeat.",
        "",
    ]
    lines += [
        "| experiment | data | budget | strategy | difference | p | n | fitted | all victims | against random |",
        "|---" * 10 + "|",
    ]
    for row, name in zip(table.to_dict("records"), labels(table), strict=True):
        p = "—" if pd.isna(row["p"]) else f"{row['p']:.2g}{' (t)' if row['test'] == 't' else ''}"
        cells = [*_where(row, words), row["budget"], named(name, words)]
        cells += [interval_text(row["difference"], row["low"], row["high"]), p, row["n"]]
        cells += [f"{100 * row['fitted']:.0f} %", f"{row['all_victims']:.3f}", f"**{row['verdict']}**"]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return lines


def _spread(table: pd.DataFrame, words: Mapping[str, str]) -> list[str]:
    lines = [
        "Adversarial accuracy of all victims of random points that fitted at least 90 % of them: standard "
        "deviation of a new victim, and",
        "the parts of it due to which points are flipped, to the victim's initialisation and data order, and to "
        "the interplay of both",
        "(two-way random effects); and the 5th percentile, below which lies one victim in twenty. So few often "
        "give it no lower bound.",
        "",
        "| experiment | data | budget | n | mean | standard deviation | points | victim | interplay | 5th percentile |",
        "|---" * 10 + "|",
    ]
    for row in table.to_dict("records"):
        cells = [*_where(row, words), row["budget"], row["n"]]
        cells += [interval_text(row["mean"], row["low"], row["high"])]
        cells += ["—" if pd.isna(row[name]) else f"{row[name]:.3f}" for name in ("sd", "draw", "repeat", "rest")]
        tail = row["tail"], row["tail_low"], row["tail_high"]
        cells.append(f"{tail[0]:.3f}, at most {tail[2]:.3f}" if tail[1] == -math.inf else interval_text(*tail))
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return lines


def _where(row: Mapping[Any, Any], words: Mapping[str, str]) -> tuple[str, str]:
    """Experiment, with a condition behind a colon where several are told apart, and data set, as readers see them."""
    return ": ".join(named(part, words) for part in row["experiment"].split(": ")), named(row["dataset"], words)


def _table(rows: Sequence[Mapping[Any, Any]], sources: Mapping[str, str]) -> list[str]:
    lines = ["| claim | statement | source | published | measured | n | verdict |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        n = "—" if pd.isna(row["n"]) or not row["n"] else row["n"]
        cells = [row["claim"], row["statement"], sources.get(row["statement"], ""), row["published"]]
        cells += [measured_text(row), n, f"**{row['verdict']}**"]
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return lines
