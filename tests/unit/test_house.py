"""What keeps the house in order: short modules and rule files, imports that run one way, one way to register."""

import ast
import importlib
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from poisonlab.registry import Catalogue

REPOSITORY = Path(__file__).resolve().parents[2]
SOURCE = REPOSITORY / "src"
MODULES = {
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((SOURCE / "poisonlab").rglob("*.py"))
}
LINES_OF_A_MODULE, LINES_OF_A_RULE_FILE = 400, 80


def lengths(files: list[Path]) -> dict[str, int]:
    """Number of lines of each file."""
    return {str(file.relative_to(REPOSITORY)): len(file.read_text().splitlines()) for file in files}


def only_for_types(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imported(tree: ast.Module, known: set[str], package: str) -> set[str]:
    """Modules that a module's file imports when it is itself imported; not inside functions, not for types alone."""
    found: set[str] = set()
    nodes: list[ast.AST] = list(tree.body)
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or only_for_types(node):
            continue
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(filter(None, [package if node.level else "", node.module]))
            # `from package import module` imports the module; `from module import name` the module that has the name.
            found.update(name if (name := f"{base}.{alias.name}") in known else base for alias in node.names)
        nodes.extend(ast.iter_child_nodes(node))
    return found & known


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, directly or through others (strongly connected components)."""
    reached = {}
    for name in graph:
        seen, left = set(), [*graph[name]]
        while left:
            other = left.pop()
            if other not in seen:
                seen.add(other)
                left.extend(graph[other])
        reached[name] = seen
    groups = {tuple(sorted({a, *(b for b in reached[a] if a in reached[b])})) for a in graph if a in reached[a]}
    return sorted(map(list, groups))


def imports(skip: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """Module → the package's modules that it imports at import time."""
    known = set(MODULES)
    return {
        name: imported(
            ast.parse(file.read_text()), known, name if file.name == "__init__.py" else name.rpartition(".")[0]
        )
        for name, file in MODULES.items()
        if name not in skip
    }


def test_no_module_is_longer_than_400_lines():
    assert {n: count for n, count in lengths([*MODULES.values()]).items() if count > LINES_OF_A_MODULE} == {}


def test_no_rule_file_is_longer_than_80_lines():
    files = [REPOSITORY / "Snakefile", *(REPOSITORY / "workflow" / "rules").glob("*.smk")]
    assert len(files) > 5
    assert {name: count for name, count in lengths(files).items() if count > LINES_OF_A_RULE_FILE} == {}


def test_modules_import_each_other_in_one_direction():
    assert cycles(imports()) == []


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"a": "import b", "b": "import c", "c": ""}, []),
        ({"a": "import b", "b": "import c", "c": "from a import x"}, [["a", "b", "c"]]),
        ({"a": "import b", "b": "def f():\n    import a", "c": ""}, []),
        ({"a": "import b", "b": "if TYPE_CHECKING:\n    import a", "c": ""}, []),
        (
            {"a": "class A:\n    import b", "b": "try:\n    import a\nexcept ImportError:\n    pass", "c": ""},
            [["a", "b"]],
        ),
    ],
)
def test_a_cycle_of_imports_is_found(files: dict[str, str], expected: list[list[str]]):
    assert cycles({name: imported(ast.parse(text), set(files), "") for name, text in files.items()}) == expected


def catalogues() -> dict[str, Catalogue]:
    """Kind → catalogue, of every module that makes one."""
    found = {}
    for name, file in MODULES.items():
        if re.search(r"\bCatalogue(\[\w+\])?\(", file.read_text()) and name != "poisonlab.registry":
            module: ModuleType = importlib.import_module(name)
            found |= {one.kind: one for one in vars(module).values() if isinstance(one, Catalogue)}
    return found


KINDS = ("strategy", "model", "attack", "objective", "need", "analysis", "figure", "relation")


@pytest.mark.parametrize("kind", KINDS)
def test_everything_of_a_kind_is_registered_in_one_catalogue(kind: str):
    entries = catalogues()[kind].entries()
    assert entries
    for name, entry in entries.items():
        assert entry.function.entry is entry
        assert catalogues()[kind].find(name) is entry
        # The same decorator makes what lies elsewhere findable as module:function.
        if entry.function.__qualname__.isidentifier():
            assert catalogues()[kind].find(f"{entry.module}:{entry.function.__qualname__}") is entry


def test_a_wheel_has_every_file_of_the_pipeline() -> None:
    data = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    packed = {file for patterns in data.values() for pattern in patterns for file in REPOSITORY.glob(pattern)}
    needed = [REPOSITORY / "Snakefile", REPOSITORY / "config.yaml"]
    for folder in ("config", "workflow", "studies", "profiles"):
        needed += [
            file for file in (REPOSITORY / folder).rglob("*.*") if file.is_file() and "__pycache__" not in file.parts
        ]
    assert set(needed) <= packed
    for place, patterns in data.items():
        assert all(f"share/poisonlab/{Path(pattern).parent}".removesuffix("/.") == place for pattern in patterns), place
