"""Flips: which classes are poisoned, the labels that their points get, and how many points it may be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from poisonlab.errors import InputError, did_you_mean

SOURCES = ("all", "found")
TARGETS = ("next", "new", "others", "found")


@dataclass(frozen=True)
class Flip:
    """What an attacker may do with one pair of classes: give `budget` points of class `source` the label `target`."""

    source: int
    target: int
    budget: int


def class_number(label: int | str, names: Sequence[str], where: str) -> int:
    """Number of a class that is given by number or name.

    Raises:
        InputError: there is no such class.
    """
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return list(names).index(str(label))
    known = ", ".join(repr(name) for name in names)
    raise InputError(
        f"{where}: class {label} is not among 0 … {len(names) - 1} or {known}; "
        f"{did_you_mean(label, names)}choose one of these"
    )


def pairs(
    flips: Mapping[str, Any], names: Sequence[str], logits: np.ndarray | None = None, labels: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Return (class, label of its poisons) for every pair of classes that a configured flip poisons.

    Args:
        flips: `source` is a class, "all" or "found"; `target` a class, "next" (cyclically), "new" (a class that the
            data set does not have), "others" (each other class) or "found"; with `both`, each pair in both directions.
        names: of the classes, in the order of their numbers.
        logits: [n, classes] of a proxy, and labels: [n], of the training points; needed for "found", the most confused
            pair.

    Raises:
        InputError: a class does not exist, a class would keep its label, or there is nothing to find a pair from.
    """
    source, target, count = flips["source"], flips["target"], len(names)
    if "found" in (source, target):
        if source != target:
            raise InputError(
                f"flips.source is {source} and flips.target {target}; the pair is found, or neither: correct it"
            )
        if logits is None or labels is None:
            raise InputError("flips: found needs the logits of a proxy; add needs: {logits: <proxy>}")
        found = [most_confused(logits, labels)]
    else:
        sources = range(count) if source == "all" else [class_number(source, names, "flips.source")]
        found = [(s, t) for s in sources for t in _targets(s, target, names)]
    if flips.get("both"):
        found += [(t, s) for s, t in found if (t, s) not in found]
    for s, t in found:
        if s == t:
            raise InputError(f"flips relabel class {s} to itself; choose another target")
        if s >= count:
            raise InputError("flips: a new class has no points that could be relabelled; set both: false")
    return found


def _targets(source: int, target: int | str, names: Sequence[str]) -> list[int]:
    if target == "next":
        return [(source + 1) % len(names)]
    if target == "new":
        return [len(names)]
    if target == "others":
        return [label for label in range(len(names)) if label != source]
    return [class_number(target, names, "flips.target")]


def most_confused(logits: np.ndarray, labels: np.ndarray) -> tuple[int, int]:
    """The class whose points are most often taken for another one, and that one; ties go to the larger mean
    probability.

    Args:
        logits: [n, classes]; labels: [n].
    """
    chances = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    count = logits.shape[1]
    answers = logits.argmax(axis=1)
    best, found = (-1.0, -1.0), (0, 1)
    for source in range(count):
        own = labels == source
        for target in range(count):
            if target == source or not own.any():
                continue
            score = float((answers[own] == target).mean()), float(chances[own, target].mean())
            if score > best:
                best, found = score, (source, target)
    return found


def budgets(budget: float, per: str, pairs: int, points: int) -> list[int]:
    """Return the number of poisons of each pair.

    Args:
        budget: a whole number, or a share of the training set in (0, 1).
        per: "pair": the budget is each pair's; "all": it is divided among them, the first get what is left over.
        pairs: their number; points: of the training set.
    """
    count = round(budget * points) if 0 < budget < 1 else int(budget)
    if per == "pair":
        return [count] * pairs
    return [count // pairs + (position < count % pairs) for position in range(pairs)]
