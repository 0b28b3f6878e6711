"""Models, by their names in the `catalogue`; readable without torch.

A model is built by a callable ``(input_shape, num_classes, **parameters) -> torch.nn.Module`` that returns logits [n,
num_classes]. One of your own is named ``module:Class`` in the configuration (`docs/own_model.md`). A class may have a
method ``scalars() -> {name: number}``, which becomes columns of the victims table.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError, one_line

if TYPE_CHECKING:
    import torch

# A name, or {model: name, parameter: value}.
Specification = str | Mapping[str, Any]


def _catalogue() -> Any:
    # By its name: what uses one model does not depend on the others. The one that it uses is part of its version, see
    # `code_version`.
    return importlib.import_module("poisonlab.models.catalogue").model


def parse(specification: Specification, where: str = "model") -> tuple[str, dict[str, Any]]:
    """Return a model's name and the values of all its parameters; those of one of your own are what is given.

    Raises:
        InputError: the specification is neither a name nor a mapping with `model`, the name is not in the catalogue nor
            of the form ``module:Class``, or a parameter is unknown or of another type.
    """
    given = {"model": specification} if isinstance(specification, str) else specification
    if not isinstance(given, Mapping) or not isinstance(given.get("model"), str):
        raise InputError(
            f"{where} is {specification!r}, allowed is a name or {{model: name, parameter: value}}; write it so"
        )
    name = given["model"]
    parameters = {key: value for key, value in given.items() if key != "model"}
    return name, parameters if ":" in name else _catalogue().find(name).settings(parameters, where)


def import_path(specification: Specification) -> str:
    """Return ``module:attribute`` of what builds a model: it is part of the version of what is trained, see
    `code_version`.

    Raises:
        InputError: see `parse`.
    """
    name, _ = parse(specification)
    return name if ":" in name else _catalogue().find(name).builds


def load(specification: Specification) -> "Callable[..., torch.nn.Module]":
    """Import what builds a model, without its parameters.

    Raises:
        InputError: it cannot be imported.
    """
    name, _ = parse(specification)
    if ":" not in name:
        return _catalogue().find(name).function()
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (Exception, SystemExit) as error:  # of the user's module: anything may be wrong in it
        raise InputError(
            f"model '{name}' cannot be imported ({type(error).__name__}: {one_line(error)}); give module:Class of an "
            "importable module"
        ) from error


def build(specification: Specification, input_shape: tuple[int, ...], num_classes: int, seed: int) -> "torch.nn.Module":
    """Build a model with weights drawn from its own generator, whatever was drawn before.

    Args:
        specification: a name, or ``{model: name, parameter: value}``.
        input_shape: (channels, height, width) or (features,).
        seed: 63-bit; the weights are a pure function of it.

    Raises:
        InputError: the model cannot be imported or built for this shape.
    """
    import torch

    name, parameters = parse(specification)
    factory = load(specification)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return factory(input_shape, num_classes, **parameters)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"model '{name}' cannot be built for inputs {input_shape} and {num_classes} classes ({one_line(error)}); "
            "it must be importable and callable as (input_shape, "
            f"num_classes{''.join(f', {key}' for key in parameters)})"
        ) from error
