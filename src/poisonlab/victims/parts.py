"""Parts of a recipe: optimiser, schedule and objective are entries of catalogues, chosen by a name with parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from poisonlab.errors import InputError
from poisonlab.registry import Catalogue, Entry

FINITE = "(-inf, inf)"


@dataclass(frozen=True, kw_only=True)
class Part(Entry):
    """What is registered beside a part's function.

    Attributes:
        ranges: parameter → interval of its values, such as "[0, 1)"; a number without one must be finite. For a list,
            each item counts.
    """

    ranges: Mapping[str, str] = field(default_factory=dict)

    def settings(self, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return all parameters, defaults filled in, see `Entry.settings`.

        Raises:
            InputError: also where a number is outside its range, NaN or infinite.
        """
        settings = super().settings(given, where)
        for name, value in given.items():
            interval = self.ranges.get(name, FINITE)
            allowed_none = value is None and self.defaults[name] is None
            for item in value if isinstance(value, list) else [value]:
                numeric = isinstance(item, int | float) and not isinstance(item, bool)
                wrong = not _within(item, interval) if numeric else name in self.ranges and not allowed_none
                if wrong:
                    raise InputError(
                        f"{where}: parameter {name} of '{self.name}' is {value!r}, allowed is a number in {interval}; "
                        "change it"
                    )
        return settings


def _within(value: float, interval: str) -> bool:
    low, high = (float(end) for end in interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    below = value <= high if interval[-1] == "]" else value < high
    return math.isfinite(value) and above and below


@dataclass(frozen=True)
class Choice:
    """An entry and the values of all its parameters; calling it calls the entry's function with them."""

    entry: Part
    parameters: Mapping[str, Any]

    def __call__(self, *arguments: Any) -> Any:
        return self.entry.function(*arguments, **self.parameters)


def choose(catalogue: Catalogue[Any], given: Any, where: str, shared: Mapping[str, Any] | None = None) -> Choice:
    """Return what `given`, a name or ``{name: …, parameter: value}``, chooses from a catalogue.

    Args:
        where: place in the configuration, for messages.
        shared: parameters by name, taken where the entry has them and `given` does not say otherwise.

    Raises:
        InputError: the name is not there, or a parameter is unknown or not allowed.
    """
    parameters = {"name": given} if isinstance(given, str) else given
    if not isinstance(parameters, Mapping) or not isinstance(parameters.get("name"), str):
        raise InputError(
            f"{where}.{catalogue.kind} is {given!r}, allowed is a name or {{name: …, parameter: value}}; write it so"
        )
    entry = catalogue.find(parameters["name"])
    own = {key: value for key, value in parameters.items() if key != "name"}
    taken = {key: value for key, value in (shared or {}).items() if key in entry.parameters}
    return Choice(entry, entry.settings(taken | own, f"{where}.{catalogue.kind}"))
