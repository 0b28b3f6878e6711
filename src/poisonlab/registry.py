"""Catalogues: one way to register a strategy, a model, an attack, an objective, a need, an analysis or a figure.

A registration is one decorator with a name, parameters, a source and what it needs. Something of the user's own is
named ``module:function`` and registered in the same way. Reading a catalogue must be cheap, because the Snakefile does
it: a registered function imports torch, matplotlib and the like inside its body.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from poisonlab.errors import InputError, one_line


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is registered beside a function.

    Attributes:
        parameters: name → default value. A tuple lists the allowed values, the first of which is the default. Anything
            else in the configuration is an error, and so is a value of another type than the default's (None: any
            type).
        source: document, section, equation; "" for something that this project made up.
        needs: artefacts that the pipeline hands over, by name.
    """

    name: str
    function: Callable[..., Any]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    needs: tuple[str, ...] = ()

    @property
    def module(self) -> str:
        """Name of the module that the function lives in."""
        return self.function.__module__

    @property
    def defaults(self) -> dict[str, Any]:
        """Parameters that hold where the configuration says nothing."""
        return {name: value[0] if isinstance(value, tuple) else value for name, value in self.parameters.items()}

    def settings(self, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return all parameters, defaults filled in; `where` names the place in the configuration.

        Raises:
            InputError: a parameter is unknown, or its value is of another type than the default or none of the allowed
                ones.
        """
        if unknown := sorted(set(given) - set(self.parameters)):
            raise InputError(
                f"{where}: '{self.name}' has no parameters {unknown}, it takes {sorted(self.parameters)}; remove or "
                "correct them"
            )
        for name, value in given.items():
            if problem := _problem(value, self.parameters[name]):
                raise InputError(
                    f"{where}: parameter {name} of '{self.name}' is {value!r}, allowed is {problem}; change it"
                )
        return {**self.defaults, **given}


def _problem(value: Any, default: Any) -> str | None:
    """What is allowed instead of `value`; None where it may stand."""
    if isinstance(default, tuple):
        return None if value in default else f"one of {list(default)}"
    if default is None:
        return None
    kinds: tuple[type, ...] = (int, float) if isinstance(default, float) else (type(default),)
    # True is an int to Python and not to a person.
    if isinstance(value, bool) != isinstance(default, bool) or not isinstance(value, kinds):
        words = {
            bool: "true or false",
            int: "a whole number",
            float: "a number",
            str: "a word",
            list: "a list",
            dict: "a mapping",
        }
        return words.get(type(default), type(default).__name__)
    return None


E = TypeVar("E", bound=Entry)


class Catalogue(Generic[E]):
    """Entries of one kind, by name. Calling it registers: ``@strategy("random", source=…)``.

    Args:
        kind: what the entries are, for messages: "strategy".
        home: package whose modules hold the entries, or the one module that holds them; they are imported when the
            catalogue is read.
        entry: class of the entries.
        helpers: modules of `home` that register nothing and are not imported when the catalogue is read, because that
            is slow.
    """

    def __init__(self, kind: str, home: str, entry: type[E], helpers: tuple[str, ...] = ()) -> None:
        self.kind, self.home, self._entry, self._helpers = kind, home, entry, helpers
        self._entries: dict[str, E] = {}
        self._read = False

    def __call__(self, name: str, **facts: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Register a function as `name`; `facts` are the attributes of the entry."""

        def register(function: Callable[..., Any]) -> Callable[..., Any]:
            entry = self._entry(name=name, function=function, **facts)
            function.entry = entry  # type: ignore[attr-defined]
            if f"{function.__module__}.".startswith(f"{self.home}."):
                self._entries[name] = entry
            return function

        return register

    def entries(self) -> dict[str, E]:
        """Every entry of the package by name, sorted."""
        if not self._read:
            home = importlib.import_module(self.home)
            for module in pkgutil.iter_modules(getattr(home, "__path__", [])):
                if module.name not in self._helpers:
                    importlib.import_module(f"{self.home}.{module.name}")
            self._read = True
        return dict(sorted(self._entries.items()))

    def find(self, name: str) -> E:
        """Return the entry `name`, or the one of the user's own that ``module:function`` names.

        Raises:
            InputError: there is no such entry, its module cannot be imported, or the function is not registered as one
                of this kind.
        """
        if ":" not in name:
            known = self.entries()
            if name not in known:
                raise InputError(
                    f"{self.kind} '{name}' does not exist; choose one of {', '.join(known)} or 'module:function' of "
                    "your own"
                )
            return known[name]
        module, _, function = name.partition(":")
        try:
            found = getattr(importlib.import_module(module), function)
        except (Exception, SystemExit) as error:  # of the user's module: anything may be wrong in it
            raise InputError(
                f"{self.kind} '{name}' cannot be loaded ({type(error).__name__}: {one_line(error)}); put "
                f"{module or 'module'}.py into the "
                f"study's folder, the working directory or on PYTHONPATH, and register {function or 'a function'} "
                f"with @{self.kind}"
            ) from error
        entry = getattr(found, "entry", None)
        if not isinstance(entry, self._entry):
            raise InputError(f"{self.kind} '{name}' is not registered; decorate {function} with @{self.kind}")
        return entry
