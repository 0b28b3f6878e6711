"""The scorecard: one row for each published claim, and below it how each part of it was measured and judged."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from poisonlab.claims import VERDICTS
from poisonlab.claims.evidence import interval_text
from poisonlab.documents.claim_rows import MIXED, ClaimRow

_INTRODUCTION = """\
Published claims against what was measured. Estimands, margins and least sizes are registered in
`studies/<study>/claims.yaml`, whose head says for which claims git shows that this was before their results; every
number and verdict below is computed from the result tables by `poisonlab.claims`, none is typed in. Intervals are 95 %,
for new draws and new repeats (for surveys: new proxies); n is draws × repeats, and 8+4 × 32 stands for a condition of 8
draws and one of 4, with the same 32 repeats. Without a unit, what was measured is a share, a difference of shares or a
slope between them. A claim has a part for each place where it is judged; its row shows what the first of them measured,
its number leads to all of them. `scorecard.csv` holds a row for each part.

In tests, "rows permuted" rearranges draws between the two sides, "signs flipped" those of the differences of the same
training set; what was chosen by its results was chosen on the even draws and is judged on the odd ones; a proxy is a
clean net. Strided, small, pooled, MLP and transformer are nets, see [models](../src/poisonlab/models)."""


def scorecard_page(rows: Sequence[ClaimRow], titles: Mapping[str, str]) -> str:
    """Write the page in markdown.

    Args:
        rows: of all studies, those of a study one after the other.
        titles: study → heading of its table.
    """
    claims, parts = Counter(row.verdict for row in rows), Counter(part["verdict"] for row in rows for part in row.parts)
    lines = ["# Scorecard", "", _INTRODUCTION, "", "| verdict | claims | parts | meaning |", "|---|---|---|---|"]
    lines += [f"| {name} | {claims[name]} | {parts[name]} | {words} |" for name, words in VERDICTS.items()]
    lines.append(f"| {MIXED} | {claims[MIXED]} | — | its parts have different verdicts |")
    for study in dict.fromkeys(row.study for row in rows):
        lines += ["", f"## {titles.get(study, study)}", "", *_claims([row for row in rows if row.study == study])]
    for row in rows:
        lines += ["", f"### {row.study} {row.number}"]
        for entry, own in row.entries.items():
            first = own[0]
            lines += ["", f"**{entry}** ({first['source']}; published: {first['published']}). {first['estimand']}", ""]
            lines += ["| part | measured | n | test | verdict | notes |", "|---|---|---|---|---|---|"]
            for part in own:
                cells = [part["part"] or "—", measured_text(part), part["n"] or "—", part["test"] or "—"]
                lines.append(table_line([*cells, f"**{part['verdict']}**", "; ".join(part["notes"])]))
    return "\n".join(lines) + "\n"


def _claims(rows: Sequence[ClaimRow]) -> list[str]:
    lines = ["| claim | statement | published | measured | n | verdict |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = [f"[{row.number}](#{row.heading})", row.says, row.published, row.measured_there or "—", row.n or "—"]
        lines.append(table_line([*cells, f"**{row.verdict_words}**"]))
    return lines


def table_line(cells: Sequence[object]) -> str:
    """A line of a table in markdown."""
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def measured_text(part: Mapping[str, Any]) -> str:
    """Value, interval and unit of a part of a claim; "—" without a value."""
    text = interval_text(part["value"], part["low"], part["high"])
    return f"{text} {part['unit']}" if text != "—" and part["unit"] and not pd.isna(part["unit"]) else text
