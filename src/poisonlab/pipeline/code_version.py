"""The version of a stage's code: a hash over the modules that it imports.

It travels in the `params:` of every rule, so that an edit of a figure retrains nothing, an edit of PGD re-evaluates and
retrains nothing, and an edit of an engine retrains. Comments, docstrings and layout do not count.
"""

import ast
import atexit
import contextlib
import hashlib
import importlib.util
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
# What was read of a file, by a hash of its content: to read all takes a second.
_MEMORY = Path(importlib.util.cache_from_source(__file__)).with_suffix(".json")  # of this version of Python

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
MOST_REMEMBERED = 2000  # of which the package has a few hundred; the oldest are forgotten
_SAYS_NOTHING = {"ctx", "kind", "type_comment", "type_ignores"}  # fields that follow from others, or from layout


def _written(node: Any, imported: set[str]) -> str:
    """A syntax tree as text without docstrings; the names that it imports anywhere are added to `imported`.

    In one pass: planning reads every module of the package.
    """
    if isinstance(node, list):
        return f"[{','.join([_written(one, imported) for one in node])}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Import):
        imported.update(alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        imported.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    fields = [(name, getattr(node, name, None)) for name in node._fields if name not in _SAYS_NOTHING]
    if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
        fields = [(name, node.body[1:] if name == "body" else value) for name, value in fields]
    return f"{type(node).__name__}({','.join([_written(value, imported) for _, value in fields])})"


@cache
def _module_files(name: str, package: Path) -> tuple[Path, ...]:
    """Files that an import of a module executes: its own and those of the packages above it; none for a module that is
    not in this package.
    """
    first, *rest = name.split(".")
    if first != package.name:
        return ()
    paths = [package.joinpath(*rest[:depth]) for depth in range(len(rest) + 1)]
    return tuple(file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


def _registered_by(node: ast.stmt) -> str:
    """Name of the catalogue in which a function is registered, "" where it is no such function."""
    if isinstance(node, ast.FunctionDef):
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name):
                return decorator.func.id
    return ""


def _without_the_others(tree: ast.Module, function: str) -> ast.Module:
    """A module without what is registered beside `function` in the same catalogue; as it is where it registers nothing
    by this name.
    """
    catalogue = next((_registered_by(node) for node in tree.body if getattr(node, "name", "") == function), "")
    kept = [node for node in tree.body if getattr(node, "name", "") == function or _registered_by(node) != catalogue]
    return ast.Module(kept, []) if catalogue else tree


@cache
def _read(file: Path, function: str = "") -> tuple[str, tuple[Path, ...]]:
    """Hash of a file's code, and the package's files that it imports anywhere, also inside functions."""
    content, remembered = file.read_bytes(), _remembered()
    key = hashlib.sha256(b"\0".join([_reader(), function.encode(), content])).hexdigest()
    if key not in remembered:
        imported: set[str] = set()
        code = _written(_without_the_others(ast.parse(content), function), imported)
        remembered[key] = [hashlib.sha256(code.encode()).hexdigest(), sorted(imported)]
    code, names = remembered[key]
    return code, tuple(sorted({path for name in names for path in _module_files(name, _PACKAGE)}))


@cache
def _reader() -> bytes:
    """This module, whose other version may read a file in another way."""
    return Path(__file__).read_bytes()


@cache
def _remembered() -> dict[str, Any]:
    """What earlier processes have read; what this one adds is written when it ends."""
    known: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(_MEMORY.read_text())
    before = len(known)

    def remember() -> None:
        # Where the folder cannot be written, the next process reads again.
        with contextlib.suppress(OSError):
            if len(known) > before:
                _MEMORY.parent.mkdir(parents=True, exist_ok=True)
                own = _MEMORY.with_suffix(f".{os.getpid()}")
                own.write_text(json.dumps(dict(list(known.items())[-MOST_REMEMBERED:])))
                own.replace(_MEMORY)

    atexit.register(remember)
    return known


def code_version(*entries: str | Path) -> str:
    """Return a hash over `entries` and, transitively, the package's modules that they import.

    Args:
        entries: files (an adapter script), module names, or ``module:attribute``, whose attribute counts, too. What
            code looks up by name at run time, such as a figure or a model, is not seen in imports and is passed as an
            entry of its own; so is a module of the user. Where the attribute is a registered function, those that are
            registered beside it in its module do not count.
    """
    files: list[tuple[Path, str]] = []
    attributes: list[str] = []
    for given in entries:
        entry, _, attribute = (given, "", "") if isinstance(given, Path) else given.partition(":")
        attributes += [attribute] if attribute else []
        if isinstance(entry, Path) or entry.endswith(".py"):
            files.append((Path(entry), ""))
        elif found := _module_files(entry, _PACKAGE):
            files += [(file, attribute) for file in found]
        else:
            spec = importlib.util.find_spec(entry)
            if spec and spec.origin and spec.origin.endswith(".py"):
                files.append((Path(spec.origin), attribute))
    seen: dict[tuple[Path, str], str] = {}
    while files:
        part = files.pop()
        if part not in seen:
            seen[part], imported = _read(*part)
            files += [(file, "") for file in imported]
    return hashlib.sha256("".join([*sorted(seen.values()), *attributes]).encode()).hexdigest()[:16]
