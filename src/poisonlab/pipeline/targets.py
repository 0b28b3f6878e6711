"""Targets that nothing makes: refused before anything runs, with the nearest one that there is. Imports no torch."""

import difflib
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.references import named
from poisonlab.pipeline.run import parsed

# Parts of files' names → sections of the configuration: those that studies share, and a study's own.
SHARED_PARTS = {
    "dataset": "datasets", "proxy": "proxies", "paths": "paths", "buckets": "buckets", "analysis": "analyses",
}  # fmt: skip
OWN_PARTS = ("poison", "experiment", "multiverse", "figure")
IN_LOOPS = re.compile(r".*_\d+")  # names of rules of which a study has many


def check_targets(workflow: Any, plan: Plan) -> None:
    """Refuse targets of a run that no rule makes, or whose parts the configuration does not have.

    Does nothing where the Snakefile is a module of another one, whose targets are not all of this pipeline.

    Args:
        workflow: Snakemake's, with all of its rules.

    Raises:
        WorkflowError: for the first such target.
    """
    from snakemake.exceptions import WorkflowError

    try:
        _check(workflow, plan)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def _check(workflow: Any, plan: Plan) -> None:
    if Path(str(workflow.main_snakefile)).resolve() != (plan.root / "Snakefile").resolve():
        return
    rules = {rule.name: rule for rule in workflow.rules}
    for target in _asked_for():
        if target in rules or Path(target).exists():
            continue
        makers = [rule for rule in rules.values() if rule.is_producer(target)]
        if not makers:
            names = [name for name in rules if not IN_LOOPS.fullmatch(name)]
            raise InputError(_unmade(target, [*names, *files(plan)]))
        # Of several rules, those made in loops name their files in full.
        if all(rule.wildcard_names for rule in makers):
            check_parts(plan, target, makers[-1].get_wildcards(target))


def _asked_for() -> list[str]:
    """Targets on Snakemake's command line, which has not told the workflow of them when it reads the Snakefile."""
    if "snakemake" not in (Path(sys.argv[0]).name, Path(sys.argv[0]).parent.name):
        return []
    given = parsed(sys.argv[1:])
    return sorted(map(str, given.targets)) if given else []


def check_parts(plan: Plan, target: str, wildcards: Mapping[str, str]) -> None:
    """Refuse parts of a file's name that the configuration does not have.

    Args:
        wildcards: name → part, such as study → label_noise.

    Raises:
        InputError: for the first of them.
    """
    where = f"target '{target}'"
    if "study" in wildcards:
        named(plan.folders, wildcards["study"], where, "studies")
    for part, section in SHARED_PARTS.items():
        if part in wildcards:
            named(plan.config[section], wildcards[part], where, section)
    for part in OWN_PARTS:
        if part in wildcards:
            study, section = wildcards["study"], f"{part}s"
            named(plan.config[study][section], wildcards[part], where, f"{study}.{section}")


def files(plan: Plan) -> list[str]:
    """Files that a person asks for."""
    figures = [
        f"{plan.documents}/figures/{study}/{name}.{end}" for study, name in plan.figures for end in ("svg", "png")
    ]
    pages = [f"{plan.documents}/{folder}{study}.md" for study in plan.folders for folder in ("", "support/")]
    return [
        *figures,
        *plan.experiment_tables(),
        *pages,
        f"{plan.documents}/scorecard.md",
        f"{plan.documents}/index.html",
    ]


def _unmade(target: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(target, known, 1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return f"target '{target}' is made by no rule; {hint}correct it, or see what there is by snakemake --list"
