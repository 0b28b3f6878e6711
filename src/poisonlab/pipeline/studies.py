"""Studies are folders: found, read, and laid below what the user configures. Imports no torch."""

import copy
import math
import re
import sys
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import yaml

from poisonlab.datasets.sources import expanded
from poisonlab.errors import InputError, did_you_mean, one_line

Config = dict[str, Any]
# What studies share: a name means the same in all of them.
SHARED = ("datasets", "recipes", "models", "attacks", "proxies", "paths", "buckets", "analyses")
MOST_VALUES = 200_000  # in a configuration: more is a mistake, or aliases of aliases
LONGEST_NAME = 100  # of anything: names become names of files, which have 255 bytes at most, endings included


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Config:
    """Return `below` with the values of `above` laid over it, mapping by mapping.

    As Snakemake merges configuration files.
    """
    result = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else value
    return result


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Refuses a key that a mapping has twice, of which YAML keeps the last, and merges mappings in little memory."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        def name(key: yaml.Node) -> Any:
            return (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)

        seen = set()
        for key, _ in node.value:
            if name(key) in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is there twice", key.start_mark
                )
            seen.add(name(key))
        super().flatten_mapping(node)
        # `<<: [*a, *a]` puts every entry of `a` here twice; aliases of such mappings would double them again and again.
        node.value = list({name(key): (key, value) for key, value in node.value}.values())


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        InputError: it is missing or no YAML, or a mapping has a key twice.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (
        OSError,
        ValueError,
        yaml.YAMLError,
        RecursionError,
    ) as error:  # ValueError: no text, a date like 2024-13-01
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
            if not re.fullmatch(r"[a-z][a-z_0-9]*", name) or len(name) > LONGEST_NAME:
                raise InputError(
                    f"study folder '{place}' is called '{name}', allowed are up to {LONGEST_NAME} of a … z, 0 … 9 "
                    "and _, a letter first; "
                    "rename it"
                )
            return place.resolve()
    known = sorted(file.parent.name for file in (root / "studies").glob("*/study.yaml"))
    hint = did_you_mean(study, known)
    raise InputError(
        f"study '{study}' has no study.yaml in {', '.join(map(str, places))}; {hint}choose one of "
        f"{', '.join(known)} or give a folder"
    )


def folders(config: Mapping[str, Any], root: Path) -> dict[str, Path]:
    """Name → folder of every study that the configuration asks for.

    Raises:
        InputError: there is no such study, it is listed twice, or two have one name.
    """
    names = config.get("studies", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InputError(f"studies is {names!r}, allowed is a list of names or folders of studies; change it")
    found: dict[str, Path] = {}
    for given in names:
        folder = folder_of(given, root)
        if folder.name in found and found[folder.name] != folder:
            raise InputError(f"studies '{found[folder.name]}' and '{folder}' have one name; rename a folder")
        if folder.name in found:
            raise InputError(f"studies lists '{given}' twice; remove one")
        found[folder.name] = folder
    return found


def with_studies(
    config: Mapping[str, Any], root: Path, reserved: Container[str] = ()
) -> tuple[Config, dict[str, Path]]:
    """Lay the configuration over the files of its studies.

    A study's shared sections (`SHARED`) are lifted to the top; the rest stays under its name. `published.yaml` is laid
    over `study.yaml`
    where the configuration says `published: true`, as it must for the archive. A study's precision goes to the recipes
    of its files that
    say none, unless the configuration says one. The folders become importable, for code of a study's own.

    Args:
        reserved: keys of the configuration, which no study may be called.

    Returns:
        The configuration without defaults, and the studies' folders.

    Raises:
        InputError: a study is missing or unreadable or called like a key, or two studies mean different things by one
        name, or a study and the repository's own config.yaml.
    """
    given = plain(config)
    if given.get("source") == "archive":
        given["published"] = True
    for recipe in given["recipes"].values() if isinstance(given.get("recipes"), dict) else ():
        if isinstance(recipe, dict) and recipe.get("precision") is None:
            recipe.pop("precision", None)  # null keeps what the study says
    found = folders(given, root)
    below: Config = {}
    shipped = _content(root / "config.yaml") if (root / "config.yaml").is_file() else {}
    for name, folder in found.items():
        if name in reserved or name in SHARED:
            raise InputError(
                f"study '{folder}' is called like the key '{name}' of the configuration; rename the folder"
            )
        content = _content(folder / "study.yaml")
        extra = folder / "published.yaml"
        if given.get("published") is True and extra.is_file():
            content = merged(content, _content(extra))
        own = given.get(name)
        _choose_precision(content, own if isinstance(own, dict) else {}, given.get("precision"))
        for section in SHARED:
            entries = content.pop(section, None)
            entries = {} if entries is None else entries
            if not isinstance(entries, Mapping):
                raise InputError(
                    f"'{folder / 'study.yaml'}': {section} is {_shown(entries)}, allowed is a mapping; change it"
                )
            shared = below.setdefault(section, {})
            for key, entry in entries.items():
                if key in shared and shared[key] != entry:
                    raise InputError(
                        f"study '{name}' means another thing by {section}.{key} than one of {', '.join(found)} "
                        "before it; rename it"
                    )
                default = (shipped.get(section) or {}).get(key)
                if default not in (None, entry) and (given.get(section) or {}).get(key) == default:
                    raise InputError(
                        f"study '{name}' means another thing by {section}.{key} than config.yaml, which would win; "
                        "rename it"
                    )
                shared[key] = entry
        below[name] = content
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    return copy.deepcopy(merged(below, {**given, "studies": list(found)})), found


def _choose_precision(content: Config, own: Mapping[str, Any], everywhere: Any) -> None:
    """Give the recipes of a study's files its precision, or the user's for it, where neither they nor the configuration
    say one.
    """
    precision = own.get("precision") or content.get("precision")
    if everywhere is None and isinstance(precision, str) and isinstance(content.get("recipes"), dict):
        for recipe in content["recipes"].values():
            if isinstance(recipe, dict) and recipe.get("precision") is None:
                recipe["precision"] = precision


def _content(path: Path) -> Config:
    content = plain(read_yaml(path), f"'{path}'")
    if content is not None and not isinstance(content, dict):
        raise InputError(f"'{path}' holds {_shown(content)}, allowed is a mapping; correct the file")
    return content or {}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]} …"


def plain(value: Any, where: str = "configuration") -> Any:
    """Return a copy of what YAML holds: mappings with words as keys, lists, words, finite numbers, true, false, null.

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
        if isinstance(value, int) and abs(value) >= 2**63:
            raise InputError(
                f"{where}: {key} is a whole number of {value.bit_length()} bits, allowed are 63; change it"
            )
        if value is None or isinstance(value, str | int | float):
            return value
        raise InputError(
            f"{where}: {key} is {_shown(value)} ({type(value).__name__}), allowed are words, numbers, true, "
            "false, null; "
            "put it into quotes"
        )

    def _word(name: Any, key: str) -> str:
        if not isinstance(name, str):
            raise InputError(f"{where}: the key {name!r} in {key or 'the top level'} is no word; put it into quotes")
        return name

    try:
        return copied(value, "")
    except RecursionError:
        raise InputError(f"{where} is nested too deeply, or holds itself; remove the alias") from None
