"""Which combinations of choices are tried, and what a choice changes of a victim. Imports no torch."""

import functools
import itertools
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from poisonlab.errors import InputError

Combination = dict[str, str]  # choice → its value
Change = Mapping[str, Any]  # `recipe` and `model`: key → value; `times`: key of the recipe → factor
DIGITS = 12  # of a number that was multiplied: 0.003 × 0.1 is to be what one would write


# Columns of the table of judged combinations beside the choices, whose names no choice may have.
FACTS = ("study", "multiverse", "combination")
FOUND = (
    "claim", "statement", "part", "victims", "measured", "low", "high", "unit", "n", "verdict", "fitted", "trained",
    "seconds", "scale",
)  # fmt: skip


def combinations(choices: Mapping[str, Sequence[str]], sample: int | None = None) -> list[Combination]:
    """All combinations, or a sample in which values, and pairs of values of two choices, are about equally frequent.

    The sample grows at its end: a larger one begins with a smaller one.

    Args:
        choices: choice → its values.
        sample: number of combinations; None, or as many as there are, for all.
    """
    named = tuple((choice, tuple(values)) for choice, values in choices.items())
    return [dict(one) for one in _combinations(named, sample)]


@functools.cache  # planning asks for the same ones many times
def _combinations(choices: tuple[tuple[str, tuple[str, ...]], ...], sample: int | None) -> list[Combination]:
    names = [choice for choice, _ in choices]
    left = [dict(zip(names, each, strict=True)) for each in itertools.product(*(values for _, values in choices))]
    random.Random(0).shuffle(left)
    seen: Counter[tuple[tuple[str, str], ...]] = Counter()
    chosen = []
    for _ in range(len(left) if sample is None else min(sample, len(left))):
        # The first of the least seen: the order is random, and the same everywhere.
        best = min(left, key=lambda one: sum(seen[part] for part in _parts(one)))
        left.remove(best)
        seen.update(_parts(best))
        chosen.append(best)
    return chosen


def _parts(combination: Combination) -> list[tuple[tuple[str, str], ...]]:
    values = list(combination.items())
    return [*((one,) for one in values), *itertools.combinations(values, 2)]


def changed(training: Mapping[str, Any], changes: Sequence[Change], facts: Mapping[str, Any], where: str) -> Any:
    """Model, recipe and precision of a victim under the changes of a combination.

    Args:
        training: `model`, `recipe` and `precision` of a victim, and what stays.
        changes: one that names another `model` leaves that model's own parameters to the others; `precision` stands
            among the keys of the recipe.
        facts: options of the data set, which a word in a change of the model names.

    Raises:
        InputError: a word names no number, or a factor belongs to no number of the recipe.
    """
    recipe = {**training["recipe"], "precision": training["precision"]}
    others = [change["model"]["model"] for change in changes if "model" in change["model"]]
    model = {"model": others[-1]} if others else dict(training["model"])
    for change in changes:
        recipe |= change["recipe"]
        for key, value in change["model"].items():
            if key == "model":
                continue
            if isinstance(value, str) and not isinstance(facts.get(value), int | float):
                numbers = sorted(name for name, one in facts.items() if isinstance(one, int | float))
                raise InputError(f"{where}: model.{key} is '{value}', allowed are numbers and {numbers}; correct it")
            model[key] = float(facts[value]) if isinstance(value, str) else value
    for change in changes:
        for key, factor in change["times"].items():
            if not isinstance(recipe.get(key), int | float):
                raise InputError(f"{where}: times.{key} multiplies no number of the recipe; correct or remove it")
            recipe[key] = float(f"{recipe[key] * factor:.{DIGITS}g}")
    return {**training, "precision": recipe.pop("precision"), "recipe": recipe, "model": model}


def named(combination: Combination) -> str:
    """A combination in words."""
    return ", ".join(f"{choice} {value}" for choice, value in combination.items())
