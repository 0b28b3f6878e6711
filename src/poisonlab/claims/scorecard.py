"""The scorecard as a page and as a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from poisonlab.claims.evidence import interval_text
from poisonlab.claims.verdicts import COLUMNS
from poisonlab.results import storage

VERDICTS = {
    "reproduced": "the claim holds, on its own data set at the registered size",
    "refuted": "its opposite holds there, or an effect is too small to count",
    "depends": "it holds for some of the choices that its source leaves open, and fails for others",
    "inconclusive": "neither is shown; the column `test` says what would decide it",
    "not run": "the tables are not there",
    "analogue": "measured on a small stand-in data set, which never gives a verdict",
}


def measured_text(row: Mapping[Any, Any]) -> str:
    """Value, interval and unit of a row of the scorecard; "—" without a value."""
    text = interval_text(row["measured"], row["low"], row["high"])
    return f"{text} {row['unit']}" if text != "—" and row["unit"] and not pd.isna(row["unit"]) else text


def write_scorecard(frame: pd.DataFrame, markdown_path: str | Path, csv_path: str | Path) -> None:
    """Write the table of `judge` as markdown (with estimands and notes, where the frame carries them) and as csv."""
    counts = frame["verdict"].value_counts()
    lines = [
        "# Scorecard",
        "",
        "Published claims against what was measured. Estimands, margins and least sizes are registered in "
        "`studies/<study>/claims.yaml`, whose head says for which claims git shows that this was before their "
        "results; every "
        "number and verdict below is computed from the result tables by `poisonlab.claims`, none is typed in. "
        "Intervals "
        "are 95 %, for new draws and new repeats (for surveys: new proxies); n is draws × repeats. Without a unit, "
        "what "
        "was measured is a share, a difference of shares or a slope between them.",
        "",
        "| verdict | rows | meaning |",
        "|---|---|---|",
        *(f"| {name} | {counts.get(name, 0)} | {meaning} |" for name, meaning in VERDICTS.items()),
        "",
        "| claim | statement | published | measured | n | test | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    records = frame.to_dict("records")
    for row in records:
        measured = measured_text(row)
        cells = [row["claim"], row["statement"], row["published"], measured, row["n"] or "—", row["test"]]
        cells.append(f"**{row['verdict']}**")
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    if details := frame.attrs.get("details"):
        lines += ["", "## What exactly was measured"]
        last = None
        for row, detail in zip(records, details, strict=True):
            if (row["claim"], detail["estimand"]) != last:
                lines += [
                    "",
                    f"**Claim {row['claim']}** ({row['study']}, {detail['source']}). {detail['estimand']}",
                    "",
                ]
                last = (row["claim"], detail["estimand"])
            lines.append(f"- {detail['part']}: " + "; ".join([f"**{row['verdict']}**", *detail["notes"]]))
    with storage.atomic(markdown_path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    with storage.atomic(csv_path) as temporary:
        frame[COLUMNS].to_csv(temporary, index=False)
