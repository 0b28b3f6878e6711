"""What a schema cannot check of multiverses: that every combination of choices makes a victim. Imports no torch."""

from typing import Any

from poisonlab import models
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.multiverse.grid import FACTS, FOUND, Combination, changed, combinations, named
from poisonlab.pipeline.references import Entry
from poisonlab.pipeline.references import named as entry_named
from poisonlab.victims.recipe import Recipe

PRECISIONS = ("float32", "bfloat16")  # as in `victims.precision`, which imports torch


def varied(
    config: Entry, study: str, name: str, experiment: str, training: Entry, combination: Combination
) -> dict[str, Any]:
    """Model, recipe, precision and the rest of an experiment's victims under a combination of a multiverse's choices.

    Raises:
        InputError: they are none that could be trained.
    """
    choices = config[study]["multiverses"][name]["choices"]
    poisons = config[study]["experiments"][experiment]["poisons"]
    dataset = config[study]["poisons"][next(iter(poisons.values()))["poison"]]["dataset"]
    facts = sources.options_of(dataset, config["datasets"][dataset])
    where = f"{study}.multiverses.{name} ({named(combination)}; {experiment})"
    found = changed(training, [choices[choice][value] for choice, value in combination.items()], facts, where)
    Recipe.of(found["recipe"], where)
    models.parse(found["model"], where)
    if found["precision"] not in PRECISIONS:
        allowed = ", ".join(PRECISIONS)
        raise InputError(f"{where}: recipe.precision is '{found['precision']}', allowed are {allowed}; correct it")
    return found


def check_multiverse(config: Entry, study: str, name: str) -> None:
    """Check everything that a multiverse refers to, and every combination.

    Raises:
        InputError: the first thing that does not exist or does not fit.
    """
    section, where = config[study], f"{study}.multiverses.{name}"
    entry = section["multiverses"][name]
    if name in section["experiments"]:
        raise InputError(f"{where} is called like an experiment, whose tables lie at its place; rename it")
    if taken := sorted({*FACTS, *FOUND} & set(entry["choices"])):
        raise InputError(f"{where}.choices has {taken}, which the table's own columns are called; rename them")
    for one in entry["experiments"]:
        own = entry_named(section["experiments"], one, f"{where}.experiments", f"{study}.experiments")
        if len(own["victims"]) > 1 or section["victims"][next(iter(own["victims"].values()))]["sweep"]:
            raise InputError(f"{where}: experiment '{one}' has several victims, allowed is one without sweep; split it")
        for key in ("draws", "repeats"):
            least = min(config[key] or condition[key] or own[key] for condition in own["poisons"].values())
            if (asked := config[key] or entry[key]) > least:
                raise InputError(
                    f"{where}.{key} is {asked}, experiment '{one}' has {least}; lower it, or raise "
                    f"{study}.experiments.{one}.{key}"
                )
        victim = section["victims"][next(iter(own["victims"].values()))]
        model, parameters = models.parse(config["models"].get(victim["model"], victim["model"]), where)
        recipe = dict(config["recipes"][victim["recipe"]])
        training = {
            "precision": recipe.pop("precision"),
            "recipe": recipe,
            "model": {"model": model, **parameters},
        }
        for combination in combinations({key: list(value) for key, value in entry["choices"].items()}, entry["sample"]):
            varied(config, study, name, one, training, combination)
