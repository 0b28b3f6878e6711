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


@cache
def _read(file: Path) -> tuple[str, tuple[Path, ...]]:
    """Hash of a file's code, and the package's files that it imports anywhere, also inside functions."""
    tree = ast.parse(file.read_text())
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
            entry of its own; so is a module of the user.
    """
    files: list[Path] = []
    attributes: list[str] = []
    for given in entries:
        entry: str | Path = given
        if isinstance(given, str):
            entry, _, attribute = given.partition(":")
            attributes += [attribute] if attribute else []
        if isinstance(entry, Path) or str(entry).endswith(".py"):
            files.append(Path(entry))
        elif found := _module_files(entry):
            files.extend(found)
        else:
            spec = importlib.util.find_spec(entry)
            if spec and spec.origin and spec.origin.endswith(".py"):
                files.append(Path(spec.origin))
    seen: dict[Path, str] = {}
    while files:
        file = files.pop()
        if file not in seen:
            seen[file], imported = _read(file)
            files.extend(imported)
    return hashlib.sha256("".join([*sorted(seen.values()), *attributes]).encode()).hexdigest()[:16]
