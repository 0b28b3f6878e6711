"""How a victim is trained: everything but its data and its seed. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from poisonlab.errors import InputError
from poisonlab.registry import Catalogue
from poisonlab.victims.cleanings import cleaning
from poisonlab.victims.guards import guard
from poisonlab.victims.objectives import objective
from poisonlab.victims.optimisers import optimiser
from poisonlab.victims.parts import Choice, Part, choose
from poisonlab.victims.schedules import schedule

CATALOGUES: dict[str, Catalogue[Any]] = {
    "optimiser": optimiser,
    "schedule": schedule,
    "objective": objective,
    "guard": guard,
    "cleaning": cleaning,
}
OPTIONAL = ("guard", "cleaning")
# Parameters that stand in the recipe itself, and the part that they belong to.
SHARED = {"beta2": "optimiser", "warmup": "schedule", "final": "schedule"}


@dataclass(frozen=True)
class Recipe:
    """Training until every point is fitted or the epoch limit.

    A part is a name from its catalogue, or ``{name: …, parameter: value}``, or one of your own by ``module:function``.

    Attributes:
        epochs: limit; the learning rate's schedule spans it. With phases, the sum of theirs.
        batch_size: images per step.
        learning_rate: peak of the schedule.
        beta2: decay of the second moment of `adam` and `adamw`.
        warmup: share of all steps over which the rate rises linearly to its peak (`linear`, `cosine`).
        final: rate at the last step, as a share of the peak (`linear`); 1 is a constant rate.
        shuffle: a new order of the points in every epoch, instead of the data set's own with the poisons last.
        stop_when_fitted: stop as soon as every training point, poisons included, is classified as its training label.
            Looked at after epochs in which hardly any of the images that the objective was shown were wrong.
        optimiser, schedule, objective: the parts.
        guard: what looks at some of the training points after every epoch, keeps the best weights and may stop.
        cleaning: which training points are left out beforehand, by their labels; of the whole recipe, not of a phase.
        average: decay of a moving average of the weights over the steps of a phase; above 0 the victim is the average.
        anew: the phase begins with new weights, drawn for it.
        phases: recipes that run one after the other, each given by what differs from this one, and by its own epochs.
            The optimiser and the schedule begin anew in each; one that stops because everything is fitted hands over to
            the next.
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    beta2: float = 0.999
    warmup: float = 0.0
    final: float = 1.0
    shuffle: bool = True
    stop_when_fitted: bool = True
    optimiser: str | Mapping[str, Any] = "adam"
    schedule: str | Mapping[str, Any] = "linear"
    objective: str | Mapping[str, Any] = "cross_entropy"
    guard: str | Mapping[str, Any] | None = None
    cleaning: str | Mapping[str, Any] | None = None
    average: float = 0.0
    anew: bool = False
    phases: tuple[Mapping[str, Any], ...] = ()

    @staticmethod
    def of(settings: Mapping[str, Any], where: str) -> "Recipe":
        """Return the recipe of a configuration's entry; `where` names its place, for messages.

        Raises:
            InputError: a key is unknown, a value of another type, out of its range, NaN or infinite, a part does not
                exist or cannot be imported, or a key belongs to a part that is not chosen.
        """
        given = DEFAULTS | dict(settings)
        _KEYS.settings(settings, where)
        if not isinstance(given["phases"], list | tuple):
            raise InputError(f"{where}.phases is {given['phases']!r}, allowed is a list of recipes; correct it")
        phases = tuple(given["phases"])
        for number, phase in enumerate(phases, 1):
            place = f"{where}.phases.{number}"
            if not isinstance(phase, Mapping) or "epochs" not in phase or "phases" in phase:
                raise InputError(f"{place} is {phase!r}, allowed are keys of a recipe with epochs; correct it")
            _KEYS.settings(phase, place)
            if "cleaning" in phase:
                raise InputError(f"{place}.cleaning stands in a phase, allowed is one for all; move it to the recipe")
        total = sum(phase["epochs"] for phase in phases)
        if not phases and "epochs" not in settings:
            raise InputError(f"{where} lacks epochs; add the epoch limit, or phases")
        if phases and settings.get("epochs", total) != total:
            raise InputError(f"{where}.epochs is {settings['epochs']}, its phases have {total}; leave epochs out")
        recipe = Recipe(**(given | {"phases": phases} | ({"epochs": total} if phases else {})))
        places = [f"{where}.phases.{number}" for number in range(1, len(phases) + 1)] or [where]
        for place, stage in zip(places, recipe.stages, strict=True):
            stage._choose(place)
        _check_shared(settings, recipe.stages, where)
        for place, phase, stage in zip(places, phases, recipe.stages, strict=False):
            _check_shared(phase, (stage,), place)
        return recipe

    @cached_property
    def stages(self) -> tuple["Recipe", ...]:
        """The phases as recipes of their own; the recipe itself where it has none."""
        return tuple(replace(self, phases=(), **phase) for phase in self.phases) or (self,)

    @cached_property
    def parts(self) -> dict[str, Choice]:
        """The chosen parts of a recipe without phases; those of `OPTIONAL` where there are some."""
        return self._choose("recipe")

    def _choose(self, where: str) -> dict[str, Choice]:
        shared = {
            kind: {key: getattr(self, key) for key, owner in SHARED.items() if owner == kind} for kind in CATALOGUES
        }
        return {
            kind: choose(catalogue, getattr(self, kind), where, shared[kind])
            for kind, catalogue in CATALOGUES.items()
            if getattr(self, kind) is not None or kind not in OPTIONAL
        }

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step 0 … steps − 1 of a recipe without phases."""
        return self.parts["schedule"](self.learning_rate, (step + 1) / steps)


def modules(settings: Mapping[str, Any]) -> list[str]:
    """Names of the modules that a recipe's parts live in: they are part of the version of what is trained with it, see
    `code_version`.
    """
    stages = Recipe.of(settings, "recipe").stages
    return sorted({choice.entry.module for stage in stages for choice in stage.parts.values()})


def _check_shared(given: Mapping[str, Any], stages: tuple[Recipe, ...], where: str) -> None:
    """Refuse a parameter that no chosen part takes; its default says nothing and may stand."""
    for key, kind in SHARED.items():
        entries = [stage.parts[kind].entry for stage in stages]
        if given.get(key, DEFAULTS[key]) != DEFAULTS[key] and not any(key in entry.parameters for entry in entries):
            raise InputError(
                f"{where}.{key} is {given[key]}, but {kind} '{entries[0].name}' has no {key}; remove it or choose "
                f"another {kind}"
            )


DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(Recipe) if field.name != "epochs"}
_KEYS = Part(
    name="recipe",
    function=Recipe,
    parameters={"epochs": 1} | DEFAULTS | dict.fromkeys(CATALOGUES, None) | {"phases": None},
    ranges={"epochs": "[1, inf)", "batch_size": "[1, inf)", "learning_rate": "(0, inf)", "beta2": "[0, 1)",
            "warmup": "[0, 1]", "final": "[0, 1]", "average": "[0, 1)"},
)  # fmt: skip
