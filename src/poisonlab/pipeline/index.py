"""What pages are made of. That of everything has the results of a run, and before them those of the archive."""

import os
from functools import cache
from pathlib import Path

from poisonlab.pipeline.plan import Plan, published_number
from poisonlab.pipeline.studies import Config, read_yaml

ARCHIVED = "Archived results", "Long runs at the published sizes, merged over time."
OWN = "This run", "Your own run. On embedded data it shows the methods; a verdict needs the published data and sizes."


def pictures(plan: Plan, study: str) -> dict[str, Config]:
    """File of the caption of a study's every figure → the other fields of its `page.Picture`, in their order."""
    found = {}
    for own, name in plan.drawn:
        if own == study:
            entry, kind = plan.figures[own, name], plan.figure_kind(own, name)
            shown = [f"{study}/{one}" for one in entry["experiments"]]
            found[f"{plan.documents}/figures/{study}/{name}.txt"] = {
                "name": name,
                "title": plan.figure_title(own, name),
                "published": published_number(name),
                "source": kind.source if entry["source"] is None else entry["source"],
                "claims": entry["claims"],
                "tables": shown + [plan.survey_of(one) for one in entry["analyses"]],
                "support": entry["support"],
            }
    return found


@cache
def tabs(plan: Plan) -> list[Config]:
    """Files and settings of the page's tabs; of a run, the archive's results come first where the repository has them.

    Links are relative to the page. `figures` is file of a PNG → the fields of its `page.Picture`, with the file of its
    caption.
    """
    own = _tab(plan, Path(plan.documents), "")
    documents = plan.root / "docs"
    here = [
        name for name, folder in plan.folders.items() if folder.resolve().parent == (plan.root / "studies").resolve()
    ]
    if plan.archive or not here or not (documents / "scorecard.csv").is_file():
        return [own]
    archived = Plan({**read_yaml(plan.root / "config.yaml"), "studies": here, "source": "archive"}, plan.root)
    return [_tab(archived, Path(os.path.relpath(documents)), f"{os.path.relpath(documents, plan.documents)}/"), own]


def index_inputs(plan: Plan) -> list[str]:
    """Files that the page is written from, beside the figures of this run."""
    files = []
    for tab in tabs(plan):
        files += [tab["scorecard"], *tab["claims"], *tab["quotes"].values()]
        files += [file for tables in tab["tables"].values() for file in tables.values()]
        if tab["prefix"]:
            files += [file for study in tab["studies"] for file in study["figures"]]
    return list(dict.fromkeys(files))


def _tab(plan: Plan, folder: Path, prefix: str) -> Config:
    """One tab: `folder` holds figures and scorecard, `prefix` leads to it from the page, "" from beside it."""
    studies = []
    for study in plan.folders:
        own = folder / "figures" / study
        figures = {
            str(own / f"{facts['name']}.png"): {**facts, "caption": str(own / f"{facts['name']}.txt")}
            for facts in pictures(plan, study).values()
            if not prefix or (own / f"{facts['name']}.txt").is_file()
        }
        studies.append(
            {
                "name": study,
                "title": plan.titles[study],
                "page": f"{prefix}{study}.md",
                "findings": plan.config[study]["findings"],
                "figures": figures,
                "folder": f"{prefix}figures/{study}",
            }
        )
    name, note = ARCHIVED if plan.archive else OWN
    quotes = {study: os.path.relpath(place / "quotes.yaml") for study, place in plan.folders.items()}
    return {
        "name": name,
        "note": note,
        "prefix": prefix,
        "studies": studies,
        "scorecard": str(folder / "scorecard.csv"),
        "claims": list(plan.claim_files().values()),
        "quotes": {study: file for study, file in quotes.items() if Path(file).is_file()},
        "tables": {key: files for key, files in plan.claim_inputs().items() if not key.startswith("paths/")},
        "headlines": plan.headlines(),
        "labels": plan.labels,
    }
