"""The steps of a run: which there are, which are done, and how much work is in each. Imports no torch."""

import csv
import math
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.pipeline.plan import Plan
from poisonlab.victims.objectives import objective
from poisonlab.victims.parts import choose

IN_LOOPS = re.compile(r"(craft|draw_figures)_[a-z][a-z_0-9]*_\d+")  # rules of which a study has many
FOLDERS = ("collect_tables", "analyse")  # rules whose files of one step are a folder
POINTS = 1000  # taken for the test set, or for data of which nothing is known before they are read


@dataclass(frozen=True)
class Step:
    """A job of the pipeline: its rule, what it makes, and whether that is there and up to date."""

    rule: str
    name: str
    done: bool


@dataclass(frozen=True)
class Work:
    """How much a step does.

    Attributes:
        of: what its speed depends on, beside the rule: a model, a strategy, an analysis; "" where nothing is known.
        shape: of the images that a model gets, "1x28x28"; "" of vectors, or where it is not known.
        units: training: points × epochs, of all victims; evaluation: points × steps of the attacks; else 1.
        victims: that it trains.
    """

    of: str = ""
    units: float = 1.0
    victims: int = 0
    shape: str = ""


def steps(arguments: Sequence[str]) -> list[Step]:
    """Every step of a run, as Snakemake's summary gives them.

    Args:
        arguments: Snakemake's: targets, ``--config`` and the like.

    Raises:
        InputError: Snakemake cannot plan the run; its own words say why.
    """
    command = [sys.executable, "-m", "snakemake", *arguments, "--quiet", "all", "--summary"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(_reason(done.stderr))
    return parse(done.stdout)


def _reason(output: str) -> str:
    """What Snakemake says beside where it was and what it does."""
    said = [line.strip() for line in output.splitlines()]
    noise = ("Using ", "Building ", "Assuming ", "File ", "Traceback", "host:")
    return " ".join(line for line in said if line and not line.startswith(noise)) or "the run cannot be planned"


def parse(summary: str) -> list[Step]:
    """Steps of a table of ``snakemake --summary``, which has a row for each file."""
    found: dict[tuple[str, str], bool] = {}
    for row in csv.DictReader(summary.splitlines(), delimiter="\t"):
        key = step_of(row["rule"], row["output_file"])
        found[key] = found.get(key, True) and row["plan"] == "no update"
    return [Step(rule, name, done) for (rule, name), done in found.items()]


def step_of(rule: str, file: str) -> tuple[str, str]:
    """Rule and name of the step that makes a file."""
    if looped := IN_LOOPS.fullmatch(rule):
        return "craft_poisons" if looped[1] == "craft" else looped[1], rule
    if rule == "write_page":  # a page, and that of what supports it
        return rule, Path(file).stem
    place = Path(file).parent if rule in FOLDERS else Path(file).with_suffix("")
    return rule, "/".join(place.parts[1:]) or Path(file).name


def work(plan: Plan, step: Step) -> Work:
    """How much a step does, from the plan alone."""
    parts = step.name.split("/")
    if step.rule in ("train_victims", "evaluate_robustness"):
        study, experiment, variant, chunk = parts[-4:]
        return _of_victims(plan, step.rule, study, experiment, variant, chunk)
    if step.rule == "craft_poison":
        return Work(plan.poison(parts[-3], parts[-2])["strategy"])
    if step.rule == "analyse":
        return Work(plan.config["analyses"][parts[-1]]["analysis"])
    if step.rule == "train_proxy":
        proxy = plan.config["proxies"][parts[-1]]
        train, _ = points(plan, proxy["dataset"])
        settings = plan.proxy_settings(parts[-1])
        units = train * settings["seeds"] * passes(settings["recipe"])
        return Work(settings["model"]["model"], units, shape=spelt(shape_of(plan, proxy["dataset"])))
    return Work()


def _of_victims(plan: Plan, rule: str, study: str, experiment: str, variant: str, chunk: str) -> Work:
    settings = plan.evaluation_settings(study, experiment, variant, chunk)
    conditions, counts = plan.conditions(study, experiment), {}
    for name in settings["conditions"]:
        values = [None] if settings["value"] is not None else plan.sweep(study, conditions[name]["poison"])[1]
        counts[name] = len(settings["draws"]) * len(settings["repeats"]) * len(values)
    victims, model = sum(counts.values()), settings["model"]["model"]
    dataset = plan.dataset(study, experiment)
    (train, test), shape = points(plan, dataset), spelt(shape_of(plan, dataset))
    if rule == "train_victims":
        return Work(model, victims * train * passes(settings["recipe"]), victims, shape)
    attacked = sum(counts[name] * _attacked(own) for name, own in settings["attacks"].items())
    return Work(model, test * attacked, shape=shape)


def _attacked(attacks: Mapping[str, Mapping[str, Any]]) -> float:
    """Passes over the test set that attacks take, at most."""
    return 1 + sum(
        len(one["epsilon"]) * int(one.get("steps") or 1) * int(one.get("restarts") or 1) for one in attacks.values()
    )


def passes(recipe: Mapping[str, Any]) -> float:
    """Passes over the training set that a recipe takes, at most; each step of an attack on it is another."""
    phases = recipe.get("phases") or [{}]
    total = 0.0
    for phase in phases:
        whole = {**recipe, **phase}
        total += (whole.get("epochs") or 1) * (1 + _steps(whole.get("objective")))
    return total


def _steps(given: Any) -> int:
    """Steps of an objective's attack, at most: 1 where it has a radius and no steps, 0 where it has none."""
    parameters = choose(objective, given, "recipe").parameters if given else {}
    return int(parameters.get("steps", "epsilon" in parameters))


def shape_of(plan: Plan, dataset: str) -> tuple[int, ...] | None:
    """Shape of a point: what is known of the source, else of the prepared file, None where there is none."""
    known = sources.inputs(dataset, plan.config["datasets"][dataset])
    if known is not None:
        return known[0]
    return prepared[0][1:] if (prepared := _prepared(plan, dataset)) else None


def spelt(shape: tuple[int, ...] | None) -> str:
    return "x".join(map(str, shape)) if shape and len(shape) == 3 else ""


def _prepared(plan: Plan, dataset: str) -> list[tuple[int, ...]] | None:
    """Shapes of the training and the test images in a prepared file, None where there is none."""
    file = Path(plan.data_file(dataset))
    if not file.is_file():
        return None
    from safetensors import safe_open

    with safe_open(file, "numpy") as data:
        return [tuple(data.get_slice(f"{part}_images").get_shape()) for part in ("train", "test")]


def points(plan: Plan, dataset: str) -> tuple[int, int]:
    """Numbers of training and test points: of the prepared file, else what is known of the source, else `POINTS`."""
    if prepared := _prepared(plan, dataset):
        return prepared[0][0], prepared[1][0]
    return points_of_source(plan, dataset) or (POINTS, math.ceil(POINTS / 5))


def points_of_source(plan: Plan, dataset: str) -> tuple[int, int] | None:
    """The same before anything is read; None where only the data can tell."""
    specification = plan.config["datasets"][dataset]
    if sources.SOURCES[specification["source"]].kind == "toy":
        options = sources.options_of(dataset, specification)
        return options["n_train"], options["n_test"]
    if specification["source"] == "features":
        return points_of_source(plan, specification["of"])
    counts = sources.class_counts(specification)
    train = sum(counts.values()) if counts else 0
    return (train, math.ceil(train / 5)) if train else None


def pending(found: Iterable[Step]) -> list[Step]:
    """What is still to be made."""
    return [step for step in found if not step.done]
