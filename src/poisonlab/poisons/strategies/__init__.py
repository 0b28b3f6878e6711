"""The catalogue of poisoning strategies.

A strategy is one function with a registration: ``@strategy(...)`` says what it needs, which parameters and which sweep axis it has, and
where it comes from. The catalogue imports no torch, so that the Snakefile can wire inputs and resources from it; a strategy that needs
torch imports it inside its function. `tests/contract` picks every registered strategy up by itself.

A strategy of your own lives in any importable module; name it ``module:function`` in the configuration (`docs/own_strategy.md`).
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison, merge
from poisonlab.seeds import seed


@dataclass(frozen=True)
class Flip:
    """What an attacker may do: relabel `budget` points of class `source` to class `target`."""

    source: int
    target: int
    budget: int

    def pool(self, dataset: Dataset) -> np.ndarray:
        """Positions of the training points of the source class, [pool] int64."""
        return np.flatnonzero(dataset.train_labels == self.source)


def pairs(source: int | str, target: int | str, num_classes: int) -> list[tuple[int, int]]:
    """Return (class, its poisons' label) for every class that a configured flip poisons.

    Args:
        source: a class, or "all".
        target: a class, "next" (cyclically) or "new", a class that the data set does not have.
    """
    sources = range(num_classes) if source == "all" else [int(source)]
    return [
        (s, num_classes if target == "new" else (s + 1) % num_classes if target == "next" else int(target))
        for s in sources
    ]


@dataclass(frozen=True)
class Request:
    """Everything a strategy gets to see. The test set is hidden unless the strategy declares that it leaks."""

    dataset: Dataset
    flip: Flip
    needs: Mapping[str, Any]
    parameters: Mapping[str, Any]
    axis_value: float | None
    generator: np.random.Generator
    draw: int = 0  # its number, for artefacts that come in several copies; chance comes from the generator alone

    def pool(self) -> np.ndarray:
        """Positions of the training points of the source class, [pool] int64.

        Raises:
            InputError: the budget exceeds them.
        """
        pool = self.flip.pool(self.dataset)
        check_budget(self.flip.budget, pool, f"class {self.flip.source} in '{self.dataset.name}'")
        return pool

    def relabel(self, index: np.ndarray) -> Poison:
        """The poison that gives these training points, [m] positions, the target label."""
        labels = np.full(len(index), self.flip.target, dtype=np.int64)
        return Poison(self.dataset.num_classes, relabel_index=index.astype(np.int64), relabel_label=labels)


@dataclass(frozen=True)
class Strategy:
    """A registered strategy.

    Attributes:
        craft: the function, Request → Poison.
        needs: artefacts that the pipeline hands it: "buckets" (columns index, steps, bucket), "features" and "logits" (what a clean
            proxy's last layer gets and gives of every training point, [n, features] and [n, classes]), "colours" (columns net, index,
            degree, colour, fitted, score: see `colouring.score_points`).
        parameters: name → default value; anything else in the configuration is an error.
        axis: name of its sweep axis, if it has one.
        deterministic: the same poison for every draw.
        leaks: sees the test set, as a control; from every other strategy it is hidden.
        resources: what a job of it asks for beyond the defaults, e.g. {"gpu": 1}.
        source: document, section, equation.
    """

    name: str
    craft: Callable[[Request], Poison]
    needs: tuple[str, ...]
    parameters: Mapping[str, Any]
    axis: str | None
    deterministic: bool
    leaks: bool
    resources: Mapping[str, int]
    source: str

    @property
    def module(self) -> str:
        """Name of the module that the strategy's code lives in."""
        return self.craft.__module__


_CATALOGUE: dict[str, Strategy] = {}


def strategy(
    name: str,
    *,
    source: str,
    needs: tuple[str, ...] = (),
    parameters: Mapping[str, Any] | None = None,
    axis: str | None = None,
    deterministic: bool = False,
    leaks: bool = False,
    resources: Mapping[str, int] | None = None,
) -> Callable[[Callable[[Request], Poison]], Callable[[Request], Poison]]:
    """Register a function as the strategy `name`; see `Strategy` for the arguments."""

    def register(craft: Callable[[Request], Poison]) -> Callable[[Request], Poison]:
        entry = Strategy(name, craft, needs, parameters or {}, axis, deterministic, leaks, resources or {}, source)
        craft.strategy = entry  # type: ignore[attr-defined]
        if craft.__module__.startswith(f"{__name__}."):
            _CATALOGUE[name] = entry
        return craft

    return register


def catalogue() -> dict[str, Strategy]:
    """Every strategy of the package by name."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return dict(sorted(_CATALOGUE.items()))


def find(name: str) -> Strategy:
    """Return the strategy `name`, or the one of your own that ``module:function`` names.

    Raises:
        InputError: there is no such strategy, or the function is not registered with ``@strategy``.
    """
    if ":" not in name:
        known = catalogue()
        if name not in known:
            raise InputError(
                f"strategy '{name}' does not exist; choose one of {', '.join(known)} or 'module:function' of your own"
            )
        return known[name]
    module, _, function = name.partition(":")
    try:
        entry = getattr(importlib.import_module(module), function).strategy
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"strategy '{name}' cannot be loaded ({error}); put {module}.py on PYTHONPATH and register {function} with @strategy"
        ) from error
    return entry


def check_budget(budget: int, pool: np.ndarray, what: str) -> None:
    """Refuse a budget that exceeds the pool; `what` names it.

    Raises:
        InputError: it does.
    """
    if budget > len(pool):
        raise InputError(
            f"poison budget {budget} exceeds the {len(pool)} points of {what}; lower flip.budget to at most {len(pool)}"
        )


def choose(pool: np.ndarray, budget: int, generator: np.random.Generator, what: str) -> np.ndarray:
    """Draw `budget` different positions from `pool`, sorted.

    Raises:
        InputError: the budget exceeds the pool; `what` names the pool.
    """
    check_budget(budget, pool, what)
    return np.sort(generator.choice(pool, size=budget, replace=False))


def craft(dataset: Dataset, settings: Mapping[str, Any], needs: Mapping[str, Any], draw: int) -> list[Poison]:
    """Craft and validate the poisons of one condition and draw, one for each value of its sweep axis.

    Args:
        settings: name, parameters (over the registered defaults), axis_values and flip of the condition. The strategy is asked once for
            each pair of classes of the flip, with the same budget.
        needs: the artefacts that the strategy declares, by name.

    Raises:
        InputError: the data set has no such class, the strategy refuses, or its poison is not a legal one.
    """
    entry, poisons = find(settings["name"]), []
    for key in ("source", "target"):
        if isinstance(label := settings["flip"][key], int):
            dataset.check_class(label, f"flip.{key}")
    parameters = {**entry.parameters, **settings["parameters"]}
    visible = dataset if entry.leaks else dataset.without_test_set()
    for axis_value in settings["axis_values"]:
        # Every value of the axis starts from the same generator: a value's poison does not depend on which others are asked for.
        generator = np.random.default_rng(seed("poison", draw=draw))
        flip, parts = settings["flip"], []
        for source, target in pairs(flip["source"], flip["target"], dataset.num_classes):
            allowed = Flip(source, target, flip["budget"])
            part = entry.craft(Request(visible, allowed, needs, parameters, axis_value, generator, draw))
            parts.append(replace(part, num_classes=max(part.num_classes, target + 1)))
        poison = merge(parts)
        poison.validate(dataset)
        poisons.append(poison)
    return poisons
