"""Craft a poison: ask its strategy for every pair of classes and every value of its sweep, and check what it says."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.flips import Flip, budgets, pairs
from poisonlab.poisons.poison import Poison, merge
from poisonlab.poisons.strategies import Request, Strategy, strategy
from poisonlab.results.storage import Workspace
from poisonlab.seeds import seed

PIPELINE = ("draws", "needs", "per_draw")  # that it says of a poison, and that is done before crafting
# What holds where settings say nothing; the same as in a study.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "parameters": {},
        "flips": {"source": "all", "target": "next"},
        "budget": 1,
        "per": "pair",
        "sweep": "",
        "values": (None,),
    }
)


def craft(
    dataset: Dataset,
    settings: Mapping[str, Any],
    needs: Mapping[str, Any] = MappingProxyType({}),
    draw: int = 0,
    device: str = "auto",
    workspace: Workspace | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Poison]:
    """Craft and validate the poisons of one draw, one for each value of the sweep.

    Args:
        settings: `strategy`, `parameters` (over the registered defaults), `flips`, `budget` and `per` (see
            `flips.budgets`), `sweep` (name of the swept number, a parameter or "budget"; "" without one) and `values`.
            All but `strategy` may be left out: `DEFAULTS`.
        needs: the artefacts that the strategy declares, by name.
        device: see `Request`, as for the following.
        workspace: for a strategy that takes long.
        progress: writes a line to the log.

    Raises:
        InputError: the data set has no such class, the strategy refuses, or its poison is not a legal one.
    """
    if unknown := sorted(set(settings) - {"strategy", *PIPELINE, *DEFAULTS}):
        raise InputError(f"poison has no settings {unknown}, allowed are strategy, {', '.join(DEFAULTS)}; correct them")
    if "strategy" not in settings:
        raise InputError("poison names no strategy; give {'strategy': 'random'}, or another name of the catalogue")
    settings = {**DEFAULTS, **settings}
    entry = strategy.find(settings["strategy"])
    visible = dataset if entry.leaks else dataset.without_test_set()
    classes = pairs(settings["flips"], dataset.class_names, needs.get("logits"), dataset.train_labels)
    poisons = []
    for value in settings["values"]:
        budget, parameters = settings["budget"], dict(settings["parameters"])
        if settings["sweep"] == "budget":
            budget = value
        elif settings["sweep"]:
            parameters[settings["sweep"]] = value
        request = Request(
            visible,
            Flip(0, 0, 0),
            needs,
            entry.settings(parameters, f"strategy '{entry.name}'"),
            # Every value of the sweep starts from the same generator: its poison does not depend on which others are
            # asked for.
            np.random.default_rng(seed("poison", draw=draw)),
            draw,
            device=device,
            workspace=workspace,
            progress=progress,
        )
        counts = budgets(budget, settings["per"], len(classes), len(dataset.train_labels))
        flips = [Flip(source, target, count) for (source, target), count in zip(classes, counts, strict=True)]
        poison = merge(_parts(entry, request, flips))
        poison.validate(dataset)
        if poison.budget > sum(counts):
            raise InputError(
                f"strategy '{entry.name}' edits {poison.budget} points, its budget is {sum(counts)}; take no more than "
                "request.flip.budget of each pair of classes"
            )
        if poison.budget < sum(counts) and entry.name != "none":
            progress(f"{poison.budget} points are edited, of a budget of {sum(counts)}")
        poisons.append(poison)
    return poisons


def _parts(entry: Strategy, request: Request, flips: list[Flip]) -> list[Poison]:
    """The poison of each pair of classes; no point is edited for two of them."""
    parts: list[Poison] = []
    for flip in flips:
        taken = [index for part in parts for index in (part.relabel_index, part.replace_index, part.drop_index)]
        own = replace(request, flip=flip, taken=np.concatenate(taken) if taken else request.taken)
        part = entry.function(own)
        if not isinstance(part, Poison):
            raise InputError(
                f"strategy '{entry.name}' returned {type(part).__name__}, it must return a Poison; end it with, for "
                "example, return request.relabel(index)"
            )
        facts = (
            part.facts if len(flips) == 1 else {f"{k}_{flip.source}to{flip.target}": v for k, v in part.facts.items()}
        )
        parts.append(replace(part, num_classes=max(part.num_classes, flip.target + 1), facts=facts))
    return parts
