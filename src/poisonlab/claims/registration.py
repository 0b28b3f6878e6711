"""The registered claims: what is measured, where, with which margins and least n, written down before the results."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from poisonlab.claims.evidence import LEVEL
from poisonlab.claims.quantifiers import MEAN, Quantifier
from poisonlab.claims.relations import Relation, relation
from poisonlab.claims.selectors import CHOSEN, Selector, selectors
from poisonlab.errors import InputError, one_line


@dataclass(frozen=True)
class Place:
    """Tables that a claim is judged by: one or more experiments, or one survey.

    Attributes:
        tables: keys "study/experiment" or "paths/name".
        dataset: the data set that the experiments must have used; None for any.
        epsilon: l∞ radius of the attack; None for a survey, or for that of the experiment's headline.
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


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One entry of a file of claims; its parts are one family for the correction of p-values.

    Attributes:
        published: what the source says, as text.
        settings: parameters of the relation, by name.
        minimum: condition → (draws, repeats); "draws" and "repeats" of every condition that is selected; or the least
            `proxies`, `points` and `among` of a survey.
        of, than: which victims are compared.
        victims: "all", or "fitted" where those that fit less than `query.FITTED` of their poisons are left out.
    """

    id: int
    study: str
    source: str
    statement: str
    published: str
    estimand: str
    relation: Relation
    settings: Mapping[str, Any]
    minimum: Mapping[str, Any]
    parts: tuple[Part, ...]
    of: tuple[Selector, ...] = ()
    than: tuple[Selector, ...] = ()
    quantifier: Quantifier = MEAN
    victims: str = "all"

    @property
    def statements(self) -> list[str]:
        """What each part says: the statement, and which part where there are several."""
        several = len(self.parts) > 1
        return [f"{self.statement}: {part.name}" if several else self.statement for part in self.parts]

    @property
    def unit(self) -> str:
        """Unit of the value, of the relation or the column; "" for a share, a difference of shares or their slope."""
        column = self.of[0].column if self.of else self.settings.get("column")
        return self.relation.unit or _UNITS.get(column or "", "")


_UNITS = {"epochs": "epochs", "feature_ratio": "times", "lipschitz_mean": "l1 / l∞", "lipschitz_max": "l1 / l∞"}


def load_claims(paths: str | Path | Iterable[str | Path]) -> list[Claim]:
    """Read the registered claims of one file, or of several, each in the order of its numbers.

    A file's folder is the study of its claims, unless an entry names another one.

    Raises:
        InputError: an entry lacks a key, has an unknown one, or names a relation, parameter or place that does not
            exist.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    claims = [claim for file in files for claim in _read(Path(file))]
    titles = [(claim.study, claim.id, claim.statement) for claim in claims]
    if twice := [title for title in titles if titles.count(title) > 1]:
        raise InputError(f"claim {twice[0][1]} has the statement '{twice[0][2]}' twice, allowed is once; drop one")
    return claims


def _read(path: Path) -> list[Claim]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"claims '{path}' cannot be read ({one_line(error)}); correct the file") from error
    content = _checked(content, {"claims": list}, {"places": dict}, f"'{path}'")
    places = {
        str(name): Part(
            str(name),
            _place(entry["judged_on"], f"places.{name}.judged_on"),
            _place(entry["analogue"], f"places.{name}.analogue") if "analogue" in entry else None,
        )
        for name, entry in content.get("places", {}).items()
        if _checked(entry, {"judged_on": dict}, {"analogue": dict}, f"places.{name}")
    }
    study = path.resolve().parent.name
    claims = [_claim(entry, places, study, f"claims[{n}]") for n, entry in enumerate(content["claims"])]
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
    if any(key.startswith("paths/") for key in tables) and len(tables) > 1:
        raise InputError(f"{where}.tables is {list(tables)}, a survey stands alone; name one survey or experiments")
    if not 0 < entry.get("epsilon", 1) < math.inf:
        raise InputError(f"{where}.epsilon is {entry['epsilon']}, allowed is a finite radius above 0; change it")
    return Place(tables, entry.get("dataset"), entry.get("epsilon"))


_REQUIRED = {
    **dict.fromkeys(("source", "statement", "estimand", "relation"), str),
    "id": int,
    "published": (str, int, float),
    "minimum": dict,
}
_OPTIONAL = {
    "study": str,
    "parts": list,
    "of": (dict, list),
    "than": (dict, list),
    "quantifier": (str, dict),
    "victims": str,
}


def _claim(entry: Any, places: Mapping[str, Part], study: str, where: str) -> Claim:
    if not isinstance(entry, dict):
        raise InputError(f"{where} is {entry!r}, allowed is a mapping; correct it")
    own = {key: value for key, value in entry.items() if key not in _REQUIRED and key not in _OPTIONAL}
    entry = _checked({key: value for key, value in entry.items() if key not in own}, _REQUIRED, _OPTIONAL, where)
    where = f"claim {entry['id']} ('{entry['statement']}')"
    study = entry.get("study", study)
    kind = relation.find(entry["relation"])
    settings = kind.settings(own, where)
    if missing := [name for name in kind.required if name not in own]:
        raise InputError(f"{where} lacks {missing}, which the relation '{kind.name}' needs; add it")
    for name, value in own.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if (kind.parameters[name] is None and not number) or (number and not math.isfinite(value)):
            raise InputError(f"{where}.{name} is {value}, allowed is a finite number; change it")
    sides = []
    for side in ("of", "than"):
        if (side in entry) != (side in kind.selectors):
            has = "has" if side in entry else "lacks"
            takes = list(kind.selectors)
            raise InputError(f"{where} {has} '{side}', the relation '{kind.name}' takes {takes}; correct it")
        sides.append(selectors(entry[side], study, f"{where}.{side}") if side in entry else ())
    of, than = sides
    quantifier = Quantifier.read(entry.get("quantifier", kind.quantifiers[0]), where)
    if quantifier.kind not in kind.quantifiers:
        allowed = list(kind.quantifiers)
        raise InputError(f"{where} speaks of {quantifier.noun}, the relation '{kind.name}' of {allowed}; change one")
    if (victims := entry.get("victims", "all")) not in ("all", "fitted"):
        raise InputError(f"{where}.victims is '{victims}', allowed are all and fitted; change it")
    _check_minimum(entry["minimum"], kind, (*of, *than), f"{where}.minimum")
    parts = _parts(entry, places, kind, (*of, *than), where)
    _check_power(entry["minimum"], kind, settings, of, than or of, len(parts), quantifier, f"{where}.minimum")
    return Claim(
        **{key: entry[key] for key in ("id", "source", "statement", "estimand", "minimum")},
        study=study,
        published=str(entry["published"]),
        relation=kind,
        settings=settings,
        parts=parts,
        of=of,
        than=than,
        quantifier=quantifier,
        victims=victims,
    )


def _check_minimum(minimum: Mapping[str, Any], kind: Relation, chosen: Sequence[Selector], where: str) -> None:
    if kind.survey:
        _checked(minimum, {"proxies": int, "points": int}, {"among": int}, where)
    elif chosen and set(minimum) != {"draws", "repeats"}:
        _checked(minimum, {}, dict.fromkeys((one.condition for one in chosen), list), where)
    sized = kind.survey or set(minimum) == {"draws", "repeats"}
    if not minimum:
        raise InputError(
            f"{where} is empty, allowed is the least n: draws and repeats, or condition: [draws, repeats]; add it"
        )
    for key, least in minimum.items():
        numbers = least if isinstance(least, list) else [least]
        if len(numbers) != (1 if sized else 2) or not all(type(number) is int and number > 0 for number in numbers):
            raise InputError(
                f"{where}.{key} is {least}, allowed is {'a number from 1' if sized else '[draws, repeats]'}; change it"
            )


def _check_power(
    minimum: Mapping[str, Any], kind: Relation, settings: Mapping[str, Any], of: Sequence[Selector],
    than: Sequence[Selector], parts: int, quantifier: Quantifier, where: str,
) -> None:  # fmt: skip
    """Refuse a least size whose permutation test could not decide, whatever comes out.

    Victims without poisons, whose condition is called `none` or `clean`, are compared by intervals alone; draws that
    the values of an axis are joined to are not known here.
    """
    both = (*of, *than)
    clean = any(one.condition.partition("@")[0] in ("none", "clean") for one in both)
    if kind.smallest_p is None or quantifier != MEAN or clean or any(one.over == "draws" for one in both):
        return
    counts = [
        [
            minimum.get("draws", (minimum.get(one.condition) or [1])[0]) // (2 if one.value in CHOSEN else 1)
            for one in side
        ]
        for side in (of, than)
    ]
    known = settings.get("known", 0)
    for a, b in itertools.product(*counts):
        if known and not 0 < known < min(a, b):
            raise InputError(
                f"{where}.known is {known}, allowed is 0 to {min(a, b) - 1}, for {a} and {b} draws are registered; "
                "correct it"
            )
        if (least := kind.smallest_p(a, b, settings) * parts) > LEVEL:
            raise InputError(
                f"{where} has {a} and {b} draws, whose test cannot give a p below {least:.3f} over {parts} parts; a "
                f"verdict needs {LEVEL}, register more draws"
            )


def _parts(
    entry: Mapping[str, Any], places: Mapping[str, Part], kind: Relation, chosen: Sequence[Selector], where: str
) -> tuple[Part, ...]:
    """The parts that an entry names; without any, one part: the experiments of its selectors."""
    if "parts" not in entry:
        tables = tuple(dict.fromkeys(one.experiment for one in chosen if one.experiment))
        if not tables or not all(one.experiment for one in chosen):
            raise InputError(
                f"{where} does not say where it is judged; name the experiment of every selector, or its parts"
            )
        return (Part(", ".join(key.rpartition("/")[2] for key in tables), Place(tables), None),)
    if unknown := [part for part in entry["parts"] if part not in places]:
        raise InputError(f"{where} has the parts {unknown}, allowed are the places {sorted(places)}; correct it")
    parts = tuple(places[part] for part in entry["parts"])
    for part in parts:
        for place in (part.judged_on, part.analogue):
            if place and place.tables[0].startswith("paths/") != kind.survey:
                raise InputError(
                    f"{where} cannot be judged by {list(place.tables)}; choose another place for its relation"
                )
    elsewhere = {one.experiment for one in chosen if one.experiment} - {key for part in parts for key in part.tables}
    if elsewhere:
        raise InputError(
            f"{where} selects from {sorted(elsewhere)}, which is in none of its parts; correct one of them"
        )
    if not parts:
        raise InputError(f"{where} has no parts, allowed is 1 or more; name its places")
    return parts
