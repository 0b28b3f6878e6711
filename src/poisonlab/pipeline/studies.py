"""Studies are folders: found, read, and laid below what the user configures. Imports no torch."""

import copy
import difflib
import math
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from poisonlab.datasets.sources import expanded
from poisonlab.errors import InputError, one_line

Config = dict[str, Any]
# What studies share: a name means the same in all of them.
SHARED = ("datasets", "recipes", "models", "attacks", "proxies", "paths", "buckets", "analyses")
MOST_VALUES = 1_000_000  # in a configuration: more is a mistake, or aliases of aliases


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Config:
    """Return `below` with the values of `above` laid over it, mapping by mapping; as Snakemake merges configuration files."""
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        InputError: it is missing or no YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"'{path}' cannot be read ({one_line(error)}); correct the file") from error


def folder_of(study: str, root: Path) -> Path:
    """Return the folder of a study: a path, or a name below `studies/` of the repository or of the working directory.

    Raises:
        InputError: there is no such folder with a study.yaml, or its name is none that a file could have.
    """
    own = expanded(study, "studies")
    places = [own] if "/" in study else [root / "studies" / study, Path("studies") / study, own]
    for place in places:
        if (place / "study.yaml").is_file():
            name = place.resolve().name
            if not re.fullmatch(r"[a-z][a-z_0-9]*", name):
                raise InputError(
                    f"study folder '{place}' is called '{name}', allowed are a … z, 0 … 9 and _; rename it"
                )
            return place.resolve()
    known = sorted(file.parent.name for file in (root / "studies").glob("*/study.yaml"))
    near = difflib.get_close_matches(study, known, 1)
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise InputError(
        f"study '{study}' has no study.yaml in {', '.join(map(str, places))}; {hint}choose one of {', '.join(known)} or give a folder"
    )


def folders(config: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """Name → folder of every study that the configuration asks for.

    Raises:
        InputError: there is no such study, or two have one name.
    """
    names = config.get("studies", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"studies is {names!r}, allowed is a list of names or folders of studies; change it")
    found: dict[str, Path] = {}
    for given in names:
        folder = folder_of(given, root)
        if folder.name in found and found[folder.name] != folder:
            raise InputError(f"studies '{found[folder.name]}' and '{folder}' have one name; rename a folder")
        found[folder.name] = folder
    return found


def with_studies(config: Mapping[str, Any], root: Path) -> tuple[Config, dict[str, Path]]:
    """Lay the configuration over the files of its studies.

    A study's shared sections (`SHARED`) are lifted to the top; the rest stays under its name. `published.yaml` is laid over `study.yaml`
    where the configuration says `published: true`, as it must for the archive. The folders become importable, for code of a study's own.

    Returns:
        The configuration without defaults, and the studies' folders.

    Raises:
        InputError: a study is missing or unreadable, or two studies mean different things by one name.
    """
    given = plain(config)
    published = given.get("published", False) or given.get("source") == "archive"
    found = folders(given, root)
    below: Config = {}
    for name, folder in found.items():
        content = _content(folder / "study.yaml")
        extra = folder / "published.yaml"
        if published and extra.is_file():
            content = merged(content, _content(extra))
        for section in SHARED:
            entries = content.pop(section, None) or {}
            if not isinstance(entries, Mapping):
                raise InputError(
                    f"'{folder / 'study.yaml'}': {section} is {entries!r}, allowed is a mapping; change it"
                )
            shared = below.setdefault(section, {})
            for key, entry in entries.items():
                if key in shared and shared[key] != entry:
                    raise InputError(
                        f"study '{name}' means another thing by {section}.{key} than one of {', '.join(found)} before it; rename it"
                    )
                shared[key] = entry
        below[name] = content
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return copy.deepcopy(merged(below, {**given, "studies": list(found), "published": bool(published)})), found


def _content(path: Path) -> Config:
    content = plain(read_yaml(path) or {}, str(path))
    if not isinstance(content, dict):
        raise InputError(f"'{path}' holds {type(content).__name__}, allowed is a mapping; correct the file")
    return content


def plain(value: Any, where: str = "configuration") -> Any:
    """Return a copy of what YAML holds, made of mappings with words as keys, lists, words, finite numbers, true, false and null.

    Raises:
        InputError: it holds something else (a date, NaN, infinity, a key that is no word), or too much.
    """
    count = 0

    def copied(value: Any, key: str) -> Any:
        nonlocal count
        count += 1
        if count > MOST_VALUES:
            raise InputError(f"{where} holds more than {MOST_VALUES} values; remove aliases of aliases")
        if isinstance(value, Mapping):
            return {_word(name, key): copied(item, f"{key}.{name}".lstrip(".")) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [copied(item, f"{key}.{position}") for position, item in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{where}: {key} is {value}, allowed are finite numbers; change it")
        if value is None or isinstance(value, str | int | float):
            return value
        raise InputError(
            f"{where}: {key} is {value!r} ({type(value).__name__}), allowed are words, numbers, true, false and null; put it into quotes"
        )

    def _word(name: Any, key: str) -> str:
        if not isinstance(name, str):
            raise InputError(f"{where}: the key {name!r} in {key or 'the top level'} is no word; put it into quotes")
        return name

    try:
        return copied(value, "")
    except RecursionError:
        raise InputError(f"{where} is nested too deeply, or holds itself; remove the alias") from None
