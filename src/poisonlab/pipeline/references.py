"""What the names of a configuration refer to: its own entries, and models of the user's. Imports no torch."""

import ast
import importlib
import importlib.util
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from poisonlab import models
from poisonlab.datasets import sources
from poisonlab.datasets.own import class_names as names_in_files
from poisonlab.errors import InputError, did_you_mean, one_line
from poisonlab.poisons.needs import need

Entry = Mapping[str, Any]


def named(entries: Entry, name: str, where: str, place: str) -> Any:
    """Return what `where` names among the entries of `place`.

    Raises:
        InputError: there is no such entry.
    """
    if name not in entries:
        known = [*list(entries)[:20], *(["…"] if len(entries) > 20 else [])]
        hint = did_you_mean(name, entries)
        raise InputError(
            f"{where} names '{name}', which is not in {place} ({', '.join(known)}); {hint}add or correct it"
        )
    return entries[name]


def entry_of(config: Entry, section: str, name: str, where: str) -> Any:
    """Return what `where` names in a section that studies share; raises as `named`."""
    return named(config[section], name, where, section)


def check_values(values: Sequence[float], where: str) -> None:
    """Refuse values that tables cannot tell apart: their rows are found with this tolerance.

    Raises:
        InputError: two are the same, or nearly.
    """
    ordered = sorted(map(float, values))
    for low, high in itertools.pairwise(ordered):
        if abs(high - low) <= 1e-8 + 1e-5 * max(abs(low), abs(high)):
            raise InputError(f"{where} has {low!r} and {high!r}, which rows cannot be told apart by; remove one")


def dataset_of(config: Entry, section: str, name: str) -> str | None:
    """Name of the data set that an artefact is of, None where it is of none or names what does not exist."""
    entry = config[section].get(name, {})
    if section == "buckets":
        return dataset_of(config, "paths", entry.get("paths"))
    if section == "paths":
        return dataset_of(config, "proxies", entry.get("proxy"))
    if section == "proxies" or entry.get("dataset"):
        return entry.get("dataset")
    if entry.get("proxy"):
        return dataset_of(config, "proxies", entry["proxy"])
    found = (dataset_of(config, need.find(kind).section, used) for kind, used in entry.get("needs", {}).items())
    return next(filter(None, found), None)


def class_names(config: Entry, dataset: str) -> tuple[str, ...]:
    """Names of a data set's classes, those of the user's data from their files.

    Raises:
        InputError: a file of the user's cannot be read.
    """
    entry = config["datasets"][dataset]
    if entry["source"] == "features":
        return class_names(config, entry["of"])
    return sources.class_names(entry) or names_in_files(dataset, entry)


def leads_back(name: str, following: Callable[[str], Iterable[str]]) -> bool:
    """Whether what follows from a name, and from that, leads back to the name."""
    waiting, seen = [name], set[str]()
    while waiting:
        new = set(following(waiting.pop())) - seen
        seen |= new
        waiting += new
    return name in seen


def check_model(config: Entry, name: str, where: str) -> None:
    """Refuse a model that cannot exist; its module is looked at, not imported, for that would import torch.

    Raises:
        InputError: it is not in the catalogue, or its module or class is not there, or a parameter is not allowed.
    """
    specification = config["models"].get(name, name)
    own, _ = models.parse(specification, where)
    if ":" not in own:
        return
    module, _, attribute = own.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (Exception, SystemExit):  # of a package of the user's, which this imports: anything may be wrong in it
        spec = None
    if spec is None:
        raise InputError(
            f"{where} '{own}': there is no module '{module}'; put {module or 'module'}.py into the study's folder, "
            "the working directory or on PYTHONPATH"
        )
    if spec.origin and spec.origin.endswith(".py"):
        found = _defined(Path(spec.origin), where)
        there = bool({attribute, "*", "__getattr__"} & found)
    else:  # compiled, or a folder
        there = hasattr(importlib.import_module(module), attribute)
    if not there:
        raise InputError(
            f"{where} '{own}': module '{module}' has no '{attribute}'; define it there or correct the name"
        )


def _defined(file: Path, where: str) -> set[str]:
    """Names that a module's file defines or imports outside of functions and classes."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError, RecursionError) as error:
        raise InputError(f"{where}: '{file}' cannot be read ({one_line(error)}); correct it") from error
    found: set[str] = set()
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        nodes.extend(ast.iter_child_nodes(node))
    return found
