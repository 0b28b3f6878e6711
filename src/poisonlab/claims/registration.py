"""The registered claims: what is measured, where, and with which margins and least n, written down before there are results."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from poisonlab.claims.kinds import KINDS
from poisonlab.errors import InputError


@dataclass(frozen=True)
class Place:
    """Tables that a claim is judged by: one or more experiments, or one survey.

    Attributes:
        tables: keys "study/experiment" or "paths/name".
        dataset: the data set that the experiments must have used; None for a survey or an analogue.
        epsilon: l∞ radius of the attack; None for a survey.
    """

    tables: tuple[str, ...]
    dataset: str | None = None
    epsilon: float | None = None


@dataclass(frozen=True)
class Part:
    """One row of the scorecard: where it may be judged, and what stands in until then."""

    name: str
    judged_on: Place
    analogue: Place | None

    @property
    def tables(self) -> tuple[str, ...]:
        """Tables that it may be judged by, or its analogue."""
        return self.judged_on.tables + (self.analogue.tables if self.analogue else ())


@dataclass(frozen=True)
class Claim:
    """One entry of `config/claims.yaml`; its parts are one family for the correction of p-values.

    Attributes:
        minimum: strategy → (draws, repeats), or the least `proxies`, `points` and `among` of a survey.
    """

    id: int
    study: str
    source: str
    statement: str
    published: str
    estimand: str
    kind: str
    options: Mapping[str, Any]
    minimum: Mapping[str, Any]
    parts: tuple[Part, ...]

    @property
    def statements(self) -> list[str]:
        """What each part says: the statement, and which part where there are several."""
        several = len(self.parts) > 1
        return [f"{self.statement}: {part.name}" if several else self.statement for part in self.parts]


def load_claims(path: str | Path) -> list[Claim]:
    """Read the registered claims, in the order of their numbers.

    Raises:
        InputError: an entry lacks a key, has an unknown one, or names a kind, option or place that does not exist.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(
            f"claims '{path}' cannot be read ({' '.join(str(error).split())}); correct the file"
        ) from error
    content = _checked(content, {"places": dict, "claims": list}, {}, f"'{path}'")
    places = {
        str(name): Part(
            str(name),
            _place(entry["judged_on"], f"places.{name}.judged_on"),
            _place(entry["analogue"], f"places.{name}.analogue") if "analogue" in entry else None,
        )
        for name, entry in content["places"].items()
        if _checked(entry, {"judged_on": dict}, {"analogue": dict}, f"places.{name}")
    }
    claims = [_claim(entry, places, f"claims[{position}]") for position, entry in enumerate(content["claims"])]
    titles = [(claim.id, claim.statement) for claim in claims]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise InputError(f"claim {twice[0][0]} has the statement '{twice[0][1]}' twice, allowed is once; drop one")
    return sorted(claims, key=lambda claim: claim.id)


def _checked(entry: Any, required: Mapping[str, Any], optional: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The entry, if it is a mapping with these keys and types of values."""
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {entry!r}, allowed is a mapping with the keys {sorted(required)}; correct it")
    if missing := sorted(set(required) - set(entry)):
        raise InputError(f"{where} lacks {missing}; add it")
    allowed = {**required, **optional}
    if unknown := sorted(set(entry) - set(allowed), key=str):
        raise InputError(f"unknown key {unknown} in {where}; allowed are {sorted(allowed)}; remove or correct it")
    for key, kind in allowed.items():
        if key in entry and (not isinstance(entry[key], kind) or isinstance(entry[key], bool)):
            names = [one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,))]
            raise InputError(f"{where}.{key} is {entry[key]!r}, allowed is {' or '.join(names)}; change it")
    return entry


def _place(entry: Any, where: str) -> Place:
    entry = _checked(entry, {"tables": list}, {"dataset": str, "epsilon": (int, float)}, where)
    tables = tuple(str(key) for key in entry["tables"])
    if not tables or any(key.count("/") != 1 for key in tables):
        raise InputError(f"{where}.tables is {list(tables)}, allowed are names like study/experiment; correct it")
    surveys = sum(key.startswith("paths/") for key in tables)
    if surveys and len(tables) > 1:
        raise InputError(f"{where}.tables is {list(tables)}, a survey stands alone; name one survey or experiments")
    if not surveys and not entry.get("epsilon", 0) > 0:
        raise InputError(f"{where}.epsilon is {entry.get('epsilon')}, allowed is a radius above 0; add it")
    return Place(tables, entry.get("dataset"), entry.get("epsilon"))


def _claim(entry: Any, places: Mapping[str, Part], where: str) -> Claim:
    texts = dict.fromkeys(("study", "source", "statement", "estimand", "kind"), str)
    required = {**texts, "id": int, "published": (str, int, float), "options": dict, "minimum": dict, "parts": list}
    entry = _checked(entry, required, {}, where)
    where = f"claim {entry['id']} ('{entry['statement']}')"
    if (name := entry["kind"]) not in KINDS:
        raise InputError(f"{where} has the kind '{name}', allowed are {sorted(KINDS)}; correct it")
    kind = KINDS[name]
    _checked(entry["options"], kind.options, {}, f"{where}.options")
    named = dict.fromkeys(entry["options"].get("conditions", []), list)  # these may have a minimum of their own
    _checked(entry["minimum"], kind.minimum, named, f"{where}.minimum")
    for key, least in entry["minimum"].items():
        numbers = least if isinstance(least, list) else [least]
        if len(numbers) != (2 if {**named, **kind.minimum}[key] is list else 1) or not all(
            isinstance(number, int) and number > 0 for number in numbers
        ):
            raise InputError(
                f"{where}.minimum.{key} is {least}, allowed is [draws, repeats] or a number from 1; change it"
            )
    if unknown := [part for part in entry["parts"] if part not in places]:
        raise InputError(f"{where} has the parts {unknown}, allowed are the places {sorted(places)}; correct it")
    parts = tuple(places[part] for part in entry["parts"])
    for part in parts:
        for place in (part.judged_on, part.analogue):
            if place and place.tables[0].startswith("paths/") != kind.survey:
                raise InputError(f"{where} cannot be judged by {list(place.tables)}; choose another place for its kind")
    if not parts:
        raise InputError(f"{where} has no parts, allowed is 1 or more; name its places")
    return Claim(**{**entry, "published": str(entry["published"]), "parts": parts})
