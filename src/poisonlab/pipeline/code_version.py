"""The version of a stage's code: a hash over the modules that it imports.

It travels in the `params:` of every rule, so that an edit of a figure retrains nothing, an edit of PGD re-evaluates and
retrains nothing, and an edit of an engine retrains. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]


_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
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


def _module_files(name: str) -> list[Path]:
    """Files that an import of a module executes: its own and those of the packages above it; none for a module of
    others.
    """
    first, *rest = name.split(".")
    if first != _PACKAGE.name:
        return []
    paths = [_PACKAGE.joinpath(*rest[:depth]) for depth in range(len(rest) + 1)]
    return [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]


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
    tree = _without_the_others(ast.parse(file.read_text()), function)
    imported: set[str] = set()
    code = hashlib.sha256(_written(tree, imported).encode()).hexdigest()
    return code, tuple(sorted({path for name in imported for path in _module_files(name)}))


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
        elif found := _module_files(entry):
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
