"""One row for each published claim: its verdict over all its parts, and what was measured, in words with its sign."""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import yaml

from poisonlab.claims import Claim, Part, Place
from poisonlab.claims.selectors import Selector
from poisonlab.errors import InputError, one_line
from poisonlab.figures.captions import named
from poisonlab.figures.columns import title
from poisonlab.results.query import Headline

UNJUDGED = ("not run", "analogue")  # verdicts that are none
MIXED = "mixed"
_DIRECTIONS = {"falls": ("falls by", "rises by"), "rises": ("rises by", "falls by")}
_NAME = re.compile(
    r"(?<![/\w])(?:[a-z]\w*\.)*(?P<last>[a-z]\w*[_@][\w@]*)"
)  # of the configuration: dotted, or of several words
_BUDGET = re.compile(r"\bat budget = ([\d.]+)")
_OF_SEVERAL = re.compile(r"^of \d+, [^:−]*: ")  # which of several differences a test shows
_SIDES = re.compile(r"(?:^|(?<=: ))([a-z]\w*) − ([a-z]\w*)(?=[,;]|$)")  # of a difference of whole conditions
_DIFFERENCE = re.compile(r"(?P<of>[^,;:]+?) − (?P<than>[^,;]+)")


@dataclass(frozen=True)
class ClaimRow:
    """A claim by its number, with every entry and part that is registered under it.

    Attributes:
        statements: what its entries say, each once.
        counts: verdict → parts.
        verdict: of all parts that were judged, `MIXED` where they differ; else "analogue" or "not run".
        measured: of the first part that was judged, or else measured, in words; "" where nothing was.
        place: name of that part, "" where the claim has one.
        parts: what the page shows of each part: statement, measured (in words; value, low, high and unit are its
            numbers, quantity what they are), n, test, verdict, sides (of a comparison of whole conditions), tables,
            notes, estimand, source, published.
        quote: what the source says, in its own words; "" where none is given.
    """

    study: str
    number: int
    statements: Sequence[str]
    source: str
    published: str
    counts: Mapping[str, int]
    verdict: str
    measured: str
    place: str
    n: str
    parts: Sequence[Mapping[str, Any]]
    quote: str = ""

    @property
    def entries(self) -> dict[str, list[Mapping[str, Any]]]:
        """Statement of each entry → its parts."""
        found: dict[str, list[Mapping[str, Any]]] = {}
        for part in self.parts:
            found.setdefault(part["entry"], []).append(part)
        return found

    @property
    def heading(self) -> str:
        """Name by which a page in markdown links to its heading on the scorecard."""
        return f"{self.study}-{self.number}"

    @property
    def says(self) -> str:
        """What its first entry says, and how many more it has."""
        more = len(self.statements) - 1
        return self.statements[0] + (f" (and {more} more)" if more else "")

    @property
    def verdict_words(self) -> str:
        """The verdict, and of how many parts: "refuted (7 of 7)", "reproduced (4; 1 analogue and the opposite)", "mixed
        (3 reproduced, 2 inconclusive)".
        """
        counts = Counter(verdict_or_opposite(part, parts) for parts in self.entries.values() for part in parts)
        if self.verdict == MIXED:
            return f"{MIXED} ({', '.join(f'{n} {name}' for name, n in counts.items())})"
        if len(self.parts) == 1:
            return self.verdict
        own = self.counts[self.verdict]
        others = [f"{n} {name}" for name, n in counts.items() if name != self.verdict]
        return f"{self.verdict} ({'; '.join([str(own) if others else f'{own} of {own}', *others])})"

    @property
    def measured_there(self) -> str:
        """What was measured, behind the name of its part; "" where nothing was."""
        return f"{self.place}: {self.measured}" if self.place and self.measured else self.measured

    @property
    def anchor(self) -> str:
        """Name by which a page links to it."""
        return f"claim-{self.study}-{self.number}"


def claim_rows(
    claims: Sequence[Claim],
    scorecard: pd.DataFrame,
    quotes: Mapping[str, Mapping[int, str]] | None = None,
    headlines: Mapping[str, Mapping[str, Any] | None] | None = None,
    labels: Mapping[str, Mapping[str, str]] | None = None,
) -> list[ClaimRow]:
    """Join the scorecard's rows, one for each part, to one row for each claim, in the order of the claims.

    Args:
        scorecard: columns of `claims.COLUMNS`; parts that it lacks are not shown. With the details of `claims.judge`,
            parts have notes.
        quotes: study → number of a claim → the source's own words.
        headlines: "study/experiment" → the fields of its `Headline`.
        labels: study → name of a condition or experiment → what readers see instead.
    """
    records = scorecard.to_dict("records")
    notes = [detail["notes"] for detail in scorecard.attrs.get("details", [])] or [[]] * len(records)
    judged = {
        (row["study"], row["statement"], row["claim"]): (row, own) for row, own in zip(records, notes, strict=True)
    }
    entries: dict[tuple[str, int], list[Claim]] = {}
    for claim in claims:
        entries.setdefault((claim.study, claim.id), []).append(claim)
    rows = []
    for (study, number), own in entries.items():
        parts: list[Mapping[str, Any]] = []
        for claim in own:
            for statement, part in zip(claim.statements, claim.parts, strict=True):
                if found := judged.get((study, statement, number)):
                    row, own_notes = found
                    parts.append(
                        {
                            **{str(key): value for key, value in row.items()},
                            "n": "" if pd.isna(row["n"]) else row["n"],
                            "test": "" if pd.isna(row["test"]) else _read(row["test"], (labels or {}).get(study, {})),
                            "part": part.name if len(claim.parts) > 1 else "",
                            "entry": claim.statement,
                            "value": row["measured"],
                            "notes": own_notes,
                            "measured": measured_words(
                                row,
                                claim.relation.name,
                                _column(claim, part, headlines or {}),
                                (labels or {}).get(study, {}),
                            ),
                            "quantity": _quantity(
                                row,
                                claim.relation.name,
                                _column(claim, part, headlines or {}),
                                (labels or {}).get(study, {}),
                            ),
                            "sides": _sides(claim),
                            "tables": _place(part, row["verdict"]).tables,
                            "estimand": claim.estimand,
                            "source": claim.source,
                        }
                    )
        if parts:
            words = (quotes or {}).get(study, {}).get(number, "")
            rows.append(_joined(study, number, own, parts, words))
    return rows


def _sides(claim: Claim) -> list[str]:
    """Conditions of a claim that compares all their victims by the headline's column."""
    chosen = [*claim.of, *claim.than]
    plain = claim.victims == "all" and all(one == Selector(condition=one.condition) for one in chosen)
    return [one.condition for one in chosen] if plain else []


def _place(part: Part, verdict: str) -> Place:
    return part.analogue if part.analogue and verdict == "analogue" else part.judged_on


def _column(claim: Claim, part: Part, headlines: Mapping[str, Mapping[str, Any] | None]) -> str:
    """What a claim's selector looks at: a column of its own, or that of its experiment's headline."""
    if not claim.of:
        return ""
    return claim.of[0].column or Headline.of(headlines.get(part.judged_on.tables[0])).column


def _joined(study: str, number: int, own: Sequence[Claim], parts: Sequence[Mapping[str, Any]], quote: str) -> ClaimRow:
    counts = Counter(part["verdict"] for part in parts)
    verdicts = [verdict for verdict in counts if verdict not in UNJUDGED]
    if not verdicts:
        verdicts = ["analogue" if "analogue" in counts else "not run"]
    judged = (part for part in parts if part["verdict"] not in UNJUDGED)
    shown = next(judged, None) or next((part for part in parts if part["measured"]), parts[0])
    return ClaimRow(
        study=study,
        number=number,
        statements=list(dict.fromkeys(claim.statement for claim in own)),
        source="; ".join(dict.fromkeys(claim.source for claim in own)),
        published=own[0].published,
        counts=counts,
        verdict=verdicts[0] if len(verdicts) == 1 else MIXED,
        measured=shown["measured"],
        place=shown["part"],
        n=shown["n"],
        parts=parts,
        quote=quote,
    )


def verdict_or_opposite(part: Mapping[str, Any], parts: Sequence[Mapping[str, Any]]) -> str:
    """The verdict of one of an entry's parts; "analogue and the opposite" where it shows the opposite of what all parts
    with a verdict measured.
    """
    signs = {one["value"] > 0 for one in parts if one["verdict"] not in UNJUDGED}
    if part["verdict"] != "analogue" or len(signs) != 1:
        return str(part["verdict"])
    opposite = part["high"] < 0 if signs == {True} else part["low"] > 0
    return "analogue and the opposite" if opposite else "analogue"


def measured_words(
    row: Mapping[Any, Any],
    relation: str = "",
    column: str = "",
    labels: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Say what a row of the scorecard measured: which side is higher, by how much, and its 95 % interval.

    What is compared is read from the row's test, which names a difference as "one − other".

    Args:
        relation: of the claim; "falls" and "rises" say in which direction a positive value goes.
        column: what falls or rises.
        labels: what readers see instead of the names of what is compared.

    Returns:
        "" where nothing was measured.
    """
    value = row["measured"]
    if pd.isna(value):
        return ""
    unit = "" if pd.isna(row["unit"]) or not row["unit"] else f" {row['unit']}"
    test = "" if pd.isna(row["test"]) else str(row["test"])
    plain = re.sub(r" \([^)]*\)", "", test).partition(";")[0]
    found = _DIFFERENCE.match(_OF_SEVERAL.sub("", plain))
    if relation in _DIRECTIONS:
        up, down = _DIRECTIONS[relation]
        what = f"{title(column)} " if column else ""
        return f"{what}{up if value >= 0 else down} {_size(value)}{unit}{_signed_interval(row, up, down)}"
    if found:
        of, than = (_read(found[side].strip(), labels) for side in ("of", "than"))
        side = "higher" if value >= 0 else "lower"
        return f"{of}: {_size(value)}{unit} {side} than {than}{_signed_interval(row, 'higher', 'lower')}"
    if "difference" in plain:
        return f"{_size(value)}{unit} {'higher' if value >= 0 else 'lower'}{_signed_interval(row, 'higher', 'lower')}"
    low, high = row["low"], row["high"]
    interval = "" if pd.isna(low) or pd.isna(high) else f" (95 %: {number_text(low)} to {number_text(high)})"
    return f"{number_text(value)}{unit}{interval}"


def _quantity(row: Mapping[Any, Any], relation: str, column: str, labels: Mapping[str, str]) -> str:
    """What the number of a row is, in a few words: "ln λ rises by", "random points − medoids" of whole conditions,
    "difference" of others, or "" for a level or a share.
    """
    if relation in _DIRECTIONS:
        return f"{title(column)} {_DIRECTIONS[relation][0]}"
    test = "" if pd.isna(row["test"]) else str(row["test"])
    if sides := _SIDES.search(test):
        return " − ".join(labels.get(side, side) for side in sides.groups())
    return "difference" if " − " in test or "difference" in test else ""


def _read(words: str, labels: Mapping[str, str]) -> str:
    """Words of a test as readers see them: "epochs of mnist_plain", "recipe.optimiser.weight_decay = 1"."""
    words = _BUDGET.sub(lambda found: _poisons(float(found[1])), words)
    words = _SIDES.sub(lambda sides: " − ".join(labels.get(side, side) for side in sides.groups()), words)
    return labels.get(words) or _NAME.sub(lambda name: named(name["last"], labels), words)


def _poisons(budget: float) -> str:
    """A number of poisons, or a share of the training points below 1."""
    if not budget:
        return "without poisons"
    return f"with {budget:g} poisons" if budget >= 1 else f"with {100 * budget:g} % of poisons"


def _signed_interval(row: Mapping[Any, Any], up: str, down: str) -> str:
    """Both ends of the interval with their direction, that nearer to zero first; "" without an interval."""
    low, high = row["low"], row["high"]
    if pd.isna(low) or pd.isna(high):
        return ""
    if low >= 0 or high <= 0:
        near, far = sorted((abs(low), abs(high)))
        return f" (95 %: {_size(near)} to {_size(far)})"
    if up in ("higher", "lower"):
        return f" (95 %: {_size(low)} {down} to {_size(high)} {up})"
    return f" (95 %: {down} {_size(low)} to {up} {_size(high)})"


def _size(value: float) -> str:
    return number_text(abs(value))


def number_text(value: float) -> str:
    """Three decimals below 10, fewer above; the minus of print."""
    if math.isinf(value):
        return "∞"
    digits = 3 if abs(value) < 10 else 1 if abs(value) < 1000 else 0
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def read_quotes(path: str | Path) -> dict[int, str]:
    """Read a study's `quotes.yaml`: number of a claim → what its source says, in the source's own words.

    Raises:
        InputError: the file is no such mapping.
    """
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"quotes '{path}' cannot be read ({one_line(error)}); correct the file") from error
    if not isinstance(content, dict):
        raise InputError(f"quotes '{path}' holds {content!r}, allowed is a mapping of numbers to words; correct it")
    for number, words in content.items():
        if type(number) is not int or not isinstance(words, str):
            raise InputError(
                f"quotes '{path}': {number!r} is {words!r}, allowed is a number of a claim: words; correct it"
            )
    return content
