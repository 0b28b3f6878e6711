"""A study's page: what was found, and every figure with its claims; and a page of what supports these."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from poisonlab.claims.evidence import interval_text
from poisonlab.claims.verdicts import NOT_PUBLISHED
from poisonlab.documents.claim_rows import ClaimRow, verdict_or_opposite
from poisonlab.documents.comparison import labels
from poisonlab.documents.scorecard import measured_text, table_line
from poisonlab.figures.captions import joined, named
from poisonlab.multiverse.verdicts import ELSEWHERE

_INTRODUCTION = """\
Written by the pipeline, numbers and verdicts included. A claim's number leads to its parts, tests and tables on the
[scorecard](scorecard.md). As n, 8+4 × 32 stands for a condition of 8 draws and one of 4, with the same 32
repeats. [More](support/{study}.md): further figures, and every strategy beside random points."""


_SHARED = """\
Rows of the same data and direction share their sets of poisons: they are not independent of each other."""


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: of its files.
        published: its number in the source, "" for one that the source does not have.
        source: what it draws again.
        claims: numbers of the claims that stand below it.
        tables: what it shows, "study/experiment" or "paths/name".
        support: whether it stands on the page of what supports the study's own.
    """

    name: str
    title: str
    published: str
    source: str
    claims: Sequence[int]
    tables: Sequence[str]
    support: bool
    caption: str

    @property
    def heading(self) -> str:
        """Its title, and its number in the source."""
        return f"{self.title} ({self.published})" if self.published else self.title


def study_page(
    title: str,
    study: str,
    pictures: Sequence[Picture],
    rows: Sequence[ClaimRow],
    findings: Sequence[int] = (),
    tables: Sequence[Sequence[str]] = (),
) -> str:
    """Write the page: what was found, then each figure with its caption, and below it its claims.

    A claim that several figures have stands below the one that shows most of what it is judged by.

    Args:
        title: of the study, as the page's heading.
        study: its name, which its figures' folder has.
        rows: its claims; those of no figure of the page come last.
        findings: numbers of the claims that the page begins with.
        tables: lines of each claim that is shown place by place.
    """
    lines = [f"# {title}", ""]
    if findings:
        lines += ["## What was found", "", *_found(rows, findings), ""]
    lines += [_INTRODUCTION.format(study=study), ""]
    if tables:
        lines += ["## Place by place", "", f"{_SHARED}\n", *(line for table in tables for line in (*table, ""))]
    shown = [picture for picture in pictures if not picture.support]
    homes = [_home(row, shown) for row in rows]
    for picture in shown:
        lines += _section(picture, f"figures/{study}")
        if own := [row for row, home in zip(rows, homes, strict=True) if home == picture]:
            lines += [*_claims(own), ""]
    if rest := [row for row, home in zip(rows, homes, strict=True) if home is None]:
        lines += ["## Claims that belong to none of these figures", "", *_claims(rest), ""]
    return "\n".join(lines)


def support_page(
    title: str,
    study: str,
    pictures: Sequence[Picture],
    strategies: pd.DataFrame,
    spread: pd.DataFrame,
    words: Mapping[str, str] = MappingProxyType({}),
    training: tuple[float, int, int] = (0.0, 0, 0),
) -> str:
    """Write the page of what supports a study's own: further figures, strategies beside random points, victims' spread,
    and what training them took.

    Args:
        strategies: columns of `comparison.COLUMNS`, every strategy beside random points.
        spread: columns of `comparison.SPREAD`, victims of random points.
        words: name of a condition, experiment or data set → what readers see instead.
        training: core-hours, of how many experiments, and how many there are, see `archive.archived_hours`.
    """
    lines = [f"# {title}: more", "", f"What supports [the study's page](../{study}.md).", ""]
    for picture in pictures:
        if picture.support:
            lines += _section(picture, f"../figures/{study}")
    if len(strategies):
        lines += ["## Every strategy beside random points", "", *_strategies(strategies, words), ""]
    if len(spread):
        lines += ["## How much victims of random points differ", "", *_spread(spread, words), ""]
    hours, known, every = training
    if known:
        took = (
            f"The victims of {known} of its {every} archived experiments took at most {hours:.2g} core-hours to train"
        )
        rest = "`provenance.json` has each experiment's part; attacks and poisons come on top"
        lines += ["## What training took", "", f"{took}; {rest}.", ""]
    if not any(line.startswith("## ") for line in lines):
        lines += ["Nothing is there yet: no further figure, and no strategy beside random points.", ""]
    return "\n".join(lines)


def _section(picture: Picture, folder: str) -> list[str]:
    """A figure below its heading: what is seen, and how it was made in smaller letters."""
    alternative = picture.published or picture.title
    lines = [f"## {picture.heading}", "", f"![{alternative}]({folder}/{picture.name}.png)", ""]
    lines += [f"After: {picture.source}.", ""] if picture.source and not picture.published else []
    seen, *method = picture.caption.strip().split("\n\n")
    return [*lines, seen, "", *(line for words in method for line in (f"<sub>{words}</sub>", ""))]


def _home(row: ClaimRow, pictures: Sequence[Picture]) -> Picture | None:
    """The figure below which a claim stands: of those that have it, the first that shows most of its tables."""
    having = [picture for picture in pictures if row.number in picture.claims]
    tables = [set(part["tables"]) for part in row.parts]
    return max(having, key=lambda one: sum(len(part & set(one.tables)) for part in tables), default=None)


def _claims(rows: Sequence[ClaimRow]) -> list[str]:
    """A line for each claim: its verdict, what it says, and what was published and measured."""
    lines = []
    for row in rows:
        words = f"- **{row.verdict_words}**: {row.says} ([claim {row.number}](scorecard.md#{row.heading}))."
        published = f" Published: {row.published}." if row.published != NOT_PUBLISHED else ""
        measured = f" Measured: {row.measured_there}, n = {row.n}." if row.measured else ""
        lines.append(f"{words}{published}{measured}")
    return lines


def _found(rows: Sequence[ClaimRow], findings: Sequence[int]) -> list[str]:
    """A line for each entry of these claims that has run: what it says, where it holds, and what was measured."""
    lines: list[str] = []
    for row in [one for number in findings for one in rows if one.number == number]:
        for statement, parts in row.entries.items():
            if judged := [part for part in parts if part["verdict"] != "not run"]:
                link = f"[{statement}](scorecard.md#{row.heading})"
                lines.append(f"- {link}: {'; '.join(outcome(judged, len(parts)))}.")
    entries = [parts for row in rows for parts in row.entries.values()]
    if waiting := sum(all(part["verdict"] == "not run" for part in parts) for parts in entries):
        lines.append(f"- Not run yet: {waiting} of the study's {len(entries)} statements.")
    return lines


def outcome(judged: Sequence[Mapping[str, Any]], total: int) -> list[str]:
    """Verdicts of an entry's parts that have run, of so many, in bold, and what was measured."""
    if len(judged) == 1:
        (part,) = judged
        place = f" ({part['part']})" if part["part"] else ""
        words = [f"**{part['verdict']}**, {part['measured']}, {size_in_words(part['n'])}{place}"]
        return words + _elsewhere(judged)
    verdicts: dict[str, list[str]] = {}
    for part in judged:
        verdicts.setdefault(verdict_or_opposite(part, judged), []).append(part["part"])
    words = [
        f"**{verdict}** in {len(there)} of {total}" + (f" ({'; '.join(there)})" if 2 * len(there) <= total else "")
        for verdict, there in verdicts.items()
    ]
    if ends := sorted(
        (part for part in judged if not pd.isna(part["value"])), key=lambda part: (part["value"], part["part"])
    ):
        ends = [ends[0], ends[-1]]
        shown = [f"{measured_text(part).replace('-', '−')} ({part['part']}, n = {part['n']})" for part in ends]
        kinds = {part["quantity"] for part in ends}
        words.append(" ".join([*filter(None, kinds if len(kinds) == 1 else ["difference"]), " to ".join(shown)]))
    return words + _elsewhere(judged)


def _elsewhere(judged: Sequence[Mapping[str, Any]]) -> list[str]:
    """What other choices do to the first part that depends on them."""
    for part in judged:
        if part["verdict"] == "depends" and ELSEWHERE in part["test"]:
            found = part["test"].partition(ELSEWHERE)[2].partition(";")[0]
            return [f"{part['part']}: {found}" if part["part"] else found]
    return []


def size_in_words(n: str) -> str:
    """Write a size for a sentence: "1+2 × 1" is "1 and 2 draws, 1 repeat of each"."""
    found = re.match(r"([\d+]+) × (\d+)", n)
    if not found:
        return f"n = {n}"
    draws, repeats = found[1].split("+"), found[2]
    words = joined(list(dict.fromkeys(draws)))
    of_each = f"{repeats} repeat{'' if repeats == '1' else 's'} of each"
    return f"{words} draw{'' if words == '1' else 's'}, {of_each}{n[found.end() :]}"


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
        lines.append(table_line(cells))
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
        lines.append(table_line(cells))
    return lines


def _where(row: Mapping[Any, Any], words: Mapping[str, str]) -> tuple[str, str]:
    """Experiment, with a condition behind a colon where several are told apart, and data set, as readers see them."""
    return ": ".join(named(part, words) for part in row["experiment"].split(": ")), named(row["dataset"], words)
