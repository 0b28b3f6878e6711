"""Models, by their names in the `catalogue`; readable without torch.

A model is built by a callable ``(input_shape, num_classes) -> torch.nn.Module`` that returns logits [n, num_classes]. One of your own is
named ``module:Class`` in the configuration (`docs/own_model.md`).
"""

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from poisonlab.errors import InputError

if TYPE_CHECKING:
    import torch


def import_path(name: str) -> str:
    """Return ``module:attribute`` of the model `name`.

    Raises:
        InputError: the name is neither in the catalogue nor of the form ``module:Class``.
    """
    if ":" in name:
        return name
    # By its name: what uses one model does not depend on the others. The one that it uses is part of its version, see `code_version`.
    known = importlib.import_module("poisonlab.models.catalogue").MODELS
    if name not in known:
        raise InputError(
            f"model '{name}' does not exist; choose one of {', '.join(known)} or 'module:Class' of your own"
        )
    return known[name]


def load(name: str) -> "Callable[[tuple[int, ...], int], torch.nn.Module]":
    """Import what builds the model `name`.

    Raises:
        InputError: it cannot be imported.
    """
    module, _, attribute = import_path(name).partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"model '{name}' cannot be imported ({error}); give module:Class of an importable module"
        ) from error


def build(name: str, input_shape: tuple[int, ...], num_classes: int, seed: int) -> "torch.nn.Module":
    """Build the model `name` with weights drawn from its own generator, whatever was drawn before.

    Args:
        input_shape: (channels, height, width) or (features,).
        seed: 63-bit; the weights are a pure function of it.

    Raises:
        InputError: the model cannot be imported or built for this shape.
    """
    import torch

    factory = load(name)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return factory(input_shape, num_classes)
    except (AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"model '{name}' cannot be built for inputs {input_shape} and {num_classes} classes ({error}); "
            "it must be importable and callable as (input_shape, num_classes)"
        ) from error
