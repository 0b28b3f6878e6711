"""What the names of a configuration refer to: its own entries, and models of the user's. Imports no torch."""

import ast
import difflib
import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poisonlab import models
from poisonlab.errors import InputError, one_line

Entry = Mapping[str, Any]


def named(entries: Entry, name: str, where: str, place: str) -> Any:
    if name not in entries:
        raise InputError(f"{where} names '{name}', which is not in {place} ({', '.join(entries)}); add or correct it")
    return entries[name]


def entry_of(config: Entry, section: str, name: str, where: str) -> Any:
    return named(config[section], name, where, section)


def check_model(config: Entry, name: str, where: str) -> None:
    """Refuse a model that cannot exist; its module is looked at, not imported, for that would import torch."""
    specification = config["models"].get(name, name)
    own, _ = models.parse(specification, where)
    if ":" not in own:
        return
    module, _, attribute = own.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        raise InputError(
            f"{where} '{name}': there is no module '{module}'; put {module}.py into the study's folder, "
            "the working directory or on PYTHONPATH"
        )
    if spec.origin and spec.origin.endswith(".py") and attribute not in _defined(Path(spec.origin), where):
        raise InputError(
            f"{where} '{name}': module '{module}' has no '{attribute}'; define it there or correct the name"
        )


def _defined(file: Path, where: str) -> set[str]:
    """Names that a module's file defines or imports at its top."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError) as error:
        raise InputError(f"{where}: '{file}' cannot be read ({one_line(error)}); correct it") from error
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found
