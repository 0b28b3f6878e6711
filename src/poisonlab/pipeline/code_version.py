"""The version of a stage's code: a hash over the modules that it imports.

It travels in the `params:` of every rule, so that an edit of a figure retrains nothing, an edit of PGD re-evaluates and
retrains nothing, and an edit of an engine retrains. Comments, docstrings and layout do not count.
"""

import ast
import hashlib
import importlib.util
from functools import cache
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def _strip_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body
            if (
                body
                and isinstance(body[0], ast.Expr)
                and isinstance(body[0].value, ast.Constant)
                and isinstance(body[0].value.value, str)
            ):
                node.body = body[1:]
    return tree


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
    imported: set[Path] = set()
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        imported.update(path for name in names for path in _module_files(name))
    code = hashlib.sha256(ast.dump(_strip_docstrings(tree)).encode()).hexdigest()
    return code, tuple(sorted(imported))


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
