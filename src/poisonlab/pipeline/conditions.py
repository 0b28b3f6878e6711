"""Poisons × victims: conditions, the jobs that train them, and their files. Imports no torch."""

import csv
import gzip
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from poisonlab import attacks
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.pipeline.artefacts import Artefacts
from poisonlab.pipeline.configuration import Config
from poisonlab.poisons.strategies import Strategy, strategy
from poisonlab.victims.recipe import modules as recipe_modules

PROBED_POINTS = 500  # test points at which a victim's local Lipschitz constants are estimated


@dataclass(frozen=True)
class Chunk:
    """Some draws and repeats: one training job, of all conditions that have them."""

    draws: range
    repeats: range

    @property
    def name(self) -> str:
        """Its part of a file name."""
        return f"draws-{span(self.draws)}_repeats-{span(self.repeats)}"


@dataclass(frozen=True)
class Variant:
    """A victim at one value of its sweep.

    Attributes:
        name: its part of a file name; victim: its name in the study.
        value: of the swept number, None without a sweep.
        training: model, recipe, precision, kernels and device.
    """

    name: str
    victim: str
    value: float | None
    training: Config


@dataclass(frozen=True)
class Batch:
    """Poisons of one study, data set and set of needs that are crafted in one job."""

    name: str
    study: str
    poisons: tuple[str, ...]


def span(numbers: range) -> str:
    """Write a range into a file name, "0-7"; `jobs.numbers` reads it."""
    return f"{numbers[0]}-{numbers[-1]}"


def _parts(count: int, size: int) -> list[range]:
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


class Conditions(Artefacts):
    """What is poisoned, what is trained on it, and in which jobs."""

    def experiment(self, study: str, name: str) -> Config:
        """Configuration of an experiment."""
        return self.config[study]["experiments"][name]

    @cached_property
    def experiments(self) -> list[tuple[str, str]]:
        """(study, experiment) of everything that runs."""
        chosen = [
            (study, name)
            for study in self.folders
            for name in (
                self.config[study]["experiments"] if self.config[study]["run"] is None else self.config[study]["run"]
            )
        ]
        return [key for key in chosen if self.jobs(*key)]

    # ---------------------------------------------------------------------------------------------------------------- poisons

    def poison(self, study: str, name: str) -> Config:
        """Configuration of a poison."""
        return self.config[study]["poisons"][name]

    def strategy(self, study: str, poison: str) -> Strategy:
        """The strategy of a poison."""
        return strategy.find(self.poison(study, poison)["strategy"])

    def sweep(self, study: str, poison: str) -> tuple[str, list[float | None]]:
        """Name and values of a poison's sweep; "" and [None] without one."""
        entry = self.poison(study, poison)
        if entry["sweep"] is None:
            return "", [None]
        ((name, values),) = entry["sweep"].items()
        if values == "all":
            values = list(range(self.config["buckets"][entry["needs"]["buckets"]]["count"]))
        return name, values

    def redraw(self, study: str, poison: str) -> Config | None:
        """Options of the toy whose training set every draw draws anew, None where the training set stays."""
        entry = self.poison(study, poison)
        name = entry["dataset"]
        return sources.options_of(name, self.config["datasets"][name]) if entry["redraw"] else None

    def poison_settings(self, study: str, poison: str) -> Config:
        """What a poison depends on, beside its files."""
        entry = self.poison(study, poison)
        name, values = self.sweep(study, poison)
        keys = ("strategy", "parameters", "flips", "budget", "per")
        return {
            **{key: entry[key] for key in keys},
            "sweep": name,
            "values": values,
            "redraw": self.redraw(study, poison),
            "needs": self.need_counts(entry["needs"]),
        }

    def poison_file(self, study: str, poison: str, draw: int) -> str:
        """File of one draw of a poison."""
        return f"results/poisons/{study}/{poison}/draw-{draw}.safetensors"

    def poison_draws(self, study: str, poison: str) -> int:
        """How many draws of a poison the experiments use."""
        draws = [
            self._draws(study, experiment, condition)
            for experiment in self.config[study]["experiments"]
            for condition, own in self.conditions(study, experiment).items()
            if own["poison"] == poison
        ]
        return max(draws, default=0)

    @cached_property
    def batches(self) -> list[Batch]:
        """Poisons that are crafted together: of one data set, from the same artefacts, by strategies that take no time."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        for study in self.folders:
            for name, entry in self.config[study]["poisons"].items():
                if not self.strategy(study, name).alone and self.poison_draws(study, name):
                    key = (study, entry["dataset"], *sorted(entry["needs"].items()))
                    groups.setdefault(key, []).append(name)
        return [Batch(f"{key[0]}_{number}", key[0], tuple(names)) for number, (key, names) in enumerate(groups.items())]

    def batch_outputs(self, batch: Batch) -> list[str]:
        """Files of a batch, poison by poison, draw by draw."""
        return [
            self.poison_file(batch.study, name, draw)
            for name in batch.poisons
            for draw in range(self.poison_draws(batch.study, name))
        ]

    def batch_settings(self, batch: Batch) -> Config:
        """What a batch depends on, beside its files."""
        return {
            name: {
                **self.poison_settings(batch.study, name),
                "draws": list(range(self.poison_draws(batch.study, name))),
            }
            for name in batch.poisons
        }

    def batch_resource(self, batch: Batch, name: str, default: int) -> int:
        """The most that a strategy of the batch asks for, or the default."""
        asked = [self.resource(self.strategy(batch.study, one).resources, name, default) for one in batch.poisons]
        return max(asked)

    def poison_resource(self, study: str, poison: str, name: str, default: int) -> int:
        """What a poison's strategy asks for, or the default."""
        return self.resource(self.strategy(study, poison).resources, name, default)

    def draw_settings(self, study: str, poison: str, draw: int) -> Config:
        """What one draw of a poison depends on, beside its files."""
        return {poison: {**self.poison_settings(study, poison), "draws": [draw]}}

    # ------------------------------------------------------------------------------------------------------------- conditions

    def conditions(self, study: str, experiment: str) -> dict[str, Config]:
        """Condition → its poison, victim, draws, repeats and further attacks; "poison@victim" where there are several victims."""
        entry = self.experiment(study, experiment)
        several = len(entry["victims"]) > 1
        return {
            f"{name}@{victim}" if several else name: {**own, "victim": victim}
            for name, own in entry["poisons"].items()
            for victim in entry["victims"]
        }

    def dataset(self, study: str, experiment: str) -> str:
        """The data set of an experiment."""
        first = next(iter(self.experiment(study, experiment)["poisons"].values()))
        return self.poison(study, first["poison"])["dataset"]

    def experiment_redraw(self, study: str, experiment: str) -> Config | None:
        """As `redraw`, of all of an experiment's poisons."""
        first = next(iter(self.experiment(study, experiment)["poisons"].values()))
        return self.redraw(study, first["poison"])

    def buckets_of(self, study: str, experiment: str) -> str | None:
        """Name of the buckets of an experiment, if a poison needs some."""
        entries = [self.poison(study, own["poison"]) for own in self.experiment(study, experiment)["poisons"].values()]
        return next((entry["needs"]["buckets"] for entry in entries if "buckets" in entry["needs"]), None)

    def variants(self, study: str, experiment: str) -> dict[str, Variant]:
        """Victims of an experiment, one for each value of a sweep, by the name in their files."""
        found = {}
        for name in self.experiment(study, experiment)["victims"]:
            entry = self.config[study]["victims"][name]
            training = self.training(entry["model"], entry["recipe"])
            if entry["sweep"] is None:
                found[name] = Variant(name, name, None, training)
                continue
            ((place, values),) = entry["sweep"].items()
            part, _, key = place.partition(".")
            for number, value in enumerate(values):
                own = training[part] if isinstance(training[part], dict) else {"model": training[part]}
                swept = {**training, part: {**own, key: value}}
                found[f"{name}-{number}"] = Variant(f"{name}-{number}", name, value, swept)
        return found

    def victim_sweep(self, study: str, victim: str) -> tuple[str, list[float | None]]:
        """Name and values of a victim's sweep; "" and [None] without one."""
        entry = self.config[study]["victims"][victim]
        return next(iter(entry["sweep"].items())) if entry["sweep"] else ("", [None])

    def axis(self, study: str, condition: Config) -> tuple[str, list[float | None]]:
        """Name and values of a condition's sweep axis, its poison's or its victim's; "" and [None] without one."""
        name, values = self.sweep(study, condition["poison"])
        return (name, values) if name else self.victim_sweep(study, condition["victim"])

    # ------------------------------------------------------------------------------------------------------------------- jobs

    def jobs(self, study: str, experiment: str) -> dict[tuple[str, Chunk], list[str]]:
        """Training jobs of an experiment: (variant, draws × repeats) → the conditions that have them, by name.

        With `only_finished` those whose victims are trained, evaluated and, where they are to be, probed.
        """
        jobs: dict[tuple[str, Chunk], list[str]] = {}
        conditions = self.conditions(study, experiment)
        for variant in self.variants(study, experiment).values():
            for name in sorted(conditions):
                if conditions[name]["victim"] == variant.victim:
                    for chunk in self._chunks(study, experiment, name, variant):
                        jobs.setdefault((variant.name, chunk), []).append(name)
        if not self.config["only_finished"]:
            return jobs
        return {
            job: names
            for job, names in jobs.items()
            if all(Path(file).is_file() for file in self._files(study, experiment, job, names).values())
        }

    def _chunks(self, study: str, experiment: str, condition: str, variant: Variant) -> list[Chunk]:
        """Ranges of draws × ranges of repeats that are to be trained, as narrow as what the archive lacks of them."""
        own = self.conditions(study, experiment)[condition]
        chunks = self._all_chunks(study, experiment, condition)
        if not self.config["skip_archived"]:
            return chunks
        needs = self.poison(study, own["poison"])["needs"]
        if "buckets" in needs and not self.archived_buckets(needs["buckets"]):
            return chunks  # paths that are traced here would cut other buckets than those of the archived victims
        _, values = self.sweep(study, own["poison"])
        values = [variant.value] if variant.value is not None else values
        archived = self.archived.get((study, experiment), set())
        lacking = [
            [
                (draw, repeat)
                for draw, repeat in itertools.product(chunk.draws, chunk.repeats)
                if not archived.issuperset((condition, value, draw, repeat) for value in values)
            ]
            for chunk in chunks
        ]
        return [
            Chunk(*(range(min(numbers), max(numbers) + 1) for numbers in zip(*left, strict=True)))
            for left in lacking
            if left
        ]

    def _draws(self, study: str, experiment: str, condition: str) -> int:
        own = self.conditions(study, experiment)[condition]
        if self.strategy(study, own["poison"]).deterministic and not self.poison(study, own["poison"])["redraw"]:
            return 1
        return self.config["draws"] or own["draws"] or self.experiment(study, experiment)["draws"]

    def _all_chunks(self, study: str, experiment: str, condition: str) -> list[Chunk]:
        own, entry = self.conditions(study, experiment)[condition], self.experiment(study, experiment)
        repeats = self.config["repeats"] or own["repeats"] or entry["repeats"]
        draws = self._draws(study, experiment, condition)
        parts = _parts(draws, entry["draws_per_job"]), _parts(repeats, entry["repeats_per_job"])
        return [Chunk(*part) for part in itertools.product(*parts)]

    @cached_property
    def archived(self) -> dict[tuple[str, str], set[tuple[str, float | None, int, int]]]:
        """(study, experiment) → (condition, axis value, draw, repeat) of every victim that the archive holds."""
        victims = {}
        for table in (self.root / "archive").glob("*/*/victims.csv.gz"):
            with gzip.open(table, "rt") as rows:  # not with pandas, which every job would import to read the plan
                victims[table.parts[-3], table.parts[-2]] = {
                    (
                        row["condition"],
                        float(value) if (value := row["axis_value"]) else None,
                        int(row["draw"]),
                        int(row["repeat"]),
                    )
                    for row in csv.DictReader(rows)
                }
        return victims

    def archived_buckets(self, buckets: str) -> Path | None:
        """Where the archive has these buckets, beside the victims of an experiment that uses them."""
        for study in self.folders:
            for experiment in self.config[study]["experiments"]:
                file = self.root / "archive" / study / experiment / "buckets.csv.gz"
                if self.buckets_of(study, experiment) == buckets and file.is_file():
                    return file
        return None

    def bucket_source(self, buckets: str) -> str:
        """What buckets come from: paths on the first clean proxy, or the archived buckets where an archived run is continued."""
        if self.config["skip_archived"] and (archived := self.archived_buckets(buckets)):
            return str(archived)
        return self.path_file(self.config["buckets"][buckets]["paths"])

    # ------------------------------------------------------------------------------------------------------------ files of jobs

    def _job(self, study: str, experiment: str, variant: str, chunk: str) -> tuple[Chunk, list[str]]:
        """A job by the names in its files.

        Raises:
            InputError: the experiment has no such job.
        """
        for (name, part), conditions in self.jobs(study, experiment).items():
            if (name, part.name) == (variant, chunk):
                return part, conditions
        known = [f"{name}/{part.name}" for name, part in self.jobs(study, experiment)]
        raise InputError(f"{study}.experiments.{experiment} has no job '{variant}/{chunk}', it has {known}; choose one")

    def job_poisons(self, study: str, experiment: str, variant: str, chunk: str) -> list[str]:
        """Files of the poisons of a job, condition by condition, draw by draw."""
        part, names = self._job(study, experiment, variant, chunk)
        conditions = self.conditions(study, experiment)
        return [self.poison_file(study, conditions[name]["poison"], draw) for name in names for draw in part.draws]

    def job_settings(self, study: str, experiment: str, variant: str, chunk: str) -> Config:
        """What a training job depends on, beside its files."""
        part, names = self._job(study, experiment, variant, chunk)
        own = self.variants(study, experiment)[variant]
        return {
            "conditions": names,
            "draws": list(part.draws),
            "repeats": list(part.repeats),
            "value": own.value,
            "redraw": self.experiment_redraw(study, experiment),
            **own.training,
        }

    def variant_modules(self, study: str, experiment: str, variant: str) -> list[str]:
        """What builds and trains a victim beside the engines, as `code_version` takes it."""
        own = self.variants(study, experiment)[variant]
        entry = self.config[study]["victims"][own.victim]
        return [*self.model_modules(entry["model"]), *recipe_modules(own.training["recipe"])]

    def _files(self, study: str, experiment: str, job: tuple[str, Chunk], conditions: list[str]) -> dict[str, str]:
        """Tables of a job by their folder; there is nothing to probe around a clean victim."""
        all_conditions = self.conditions(study, experiment)
        probed = self.experiment(study, experiment)["probes"] and any(
            self.poison(study, all_conditions[name]["poison"])["strategy"] != "none" for name in conditions
        )
        name = f"{study}/{experiment}/{job[0]}/{job[1].name}.parquet"
        folders = ("victims", "robustness", "probes") if probed else ("victims", "robustness")
        return {folder: f"results/{folder}/{name}" for folder in folders}

    def chunk_files(self, study: str, experiment: str, folder: str) -> list[str]:
        """Files of all of an experiment's jobs under results/`folder`: victims, robustness or probes."""
        files = (self._files(study, experiment, *job) for job in self.jobs(study, experiment).items())
        return [made[folder] for made in files if folder in made]

    def evaluation_settings(self, study: str, experiment: str, variant: str, chunk: str) -> Config:
        """What an evaluation depends on, beside its victims."""
        entry, conditions = self.experiment(study, experiment), self.conditions(study, experiment)
        _, names = self._job(study, experiment, variant, chunk)
        return {
            **self.job_settings(study, experiment, variant, chunk),
            "attacks": {
                name: {
                    attack: self.config["attacks"][attack]
                    for attack in dict.fromkeys([*entry["attacks"], *conditions[name]["attacks"]])
                }
                for name in names
            },
            "flips": {name: self.poison(study, conditions[name]["poison"])["flips"] for name in names},
            "columns": self.victim_columns(study, experiment, variant),
        }

    def evaluation_modules(self, study: str, experiment: str, variant: str, chunk: str) -> list[str]:
        """What builds and attacks a victim, as `code_version` takes it."""
        used = self.evaluation_settings(study, experiment, variant, chunk)["attacks"].values()
        methods = {attack["method"] for own in used for attack in own.values()}
        model = self.config[study]["victims"][self.variants(study, experiment)[variant].victim]["model"]
        return [*self.model_modules(model), *sorted({attacks.attack.find(name).module for name in methods})]

    def probe_modules(self, study: str, experiment: str, variant: str) -> list[str]:
        """What builds a victim, and the proxy beside it, as `code_version` takes it."""
        model = self.config[study]["victims"][self.variants(study, experiment)[variant].victim]["model"]
        paths = self.probe_paths(study, experiment)
        return [*self.model_modules(model), *(self.model_modules(self.proxy_of_paths(paths)["model"]) if paths else [])]

    def victim_columns(self, study: str, experiment: str, variant: str) -> dict[str, str]:
        """Columns of a victim's rows that name its data, model and recipe."""
        own = self.variants(study, experiment)[variant]
        entry = self.config[study]["victims"][own.victim]
        return {
            "dataset": self.dataset(study, experiment),
            "model": entry["model"],
            "recipe": entry["recipe"],
            "precision": own.training["precision"],
        }

    # --------------------------------------------------------------------------------------------------------- probes and maps

    def probe_paths(self, study: str, experiment: str) -> str | None:
        """Name of the paths along which victims are probed, if the experiment has buckets of some."""
        buckets = self.buckets_of(study, experiment)
        return self.config["buckets"][buckets]["paths"] if buckets else None

    def probe_proxy(self, study: str, experiment: str) -> list[str]:
        """File of the clean proxy along whose paths victims are probed, if the experiment has one."""
        paths = self.probe_paths(study, experiment)
        return [self.proxy_file(self.config["paths"][paths]["proxy"])] if paths else []

    def probe_settings(self, study: str, experiment: str, variant: str, chunk: str) -> Config:
        """What probes depend on, beside their victims."""
        paths = self.probe_paths(study, experiment)
        return {
            **self.job_settings(study, experiment, variant, chunk),
            "paths": self.path_settings(paths) if paths else {},
            "points": PROBED_POINTS,
        }

    def _mapped(self, study: str, experiment: str) -> Iterator[tuple[str, tuple[str, Chunk], list[str]]]:
        """Conditions whose victims may be mapped, with their jobs: those with a swept poison, of buckets where there are some."""
        buckets = self.buckets_of(study, experiment)
        for job, names in self.jobs(study, experiment).items():
            for name in names:
                axis, _ = self.sweep(study, self.conditions(study, experiment)[name]["poison"])
                if axis == "bucket" if buckets else axis:
                    yield name, job, names

    def map_files(self, study: str, experiment: str) -> list[str]:
        """File of the maps of an experiment's first victims, if it has any and they are trained here."""
        there = self.experiment(study, experiment)["maps"] and next(self._mapped(study, experiment), None)
        return [f"results/tables/{study}/{experiment}/maps.safetensors"] if there else []

    def first_chunk(self, study: str, experiment: str) -> Config:
        """The job that maps are drawn of: its victims, the condition, and the file of its first draw's poison.

        Raises:
            InputError: the experiment has no condition with a sweep and victims to train.
        """
        for name, (variant, chunk), _ in self._mapped(study, experiment):
            poison = self.conditions(study, experiment)[name]["poison"]
            return {
                "condition": name,
                "variant": variant,
                "chunk": chunk.name,
                "poison": self.poison_file(study, poison, chunk.draws[0]),
                "victims": f"results/victims/{study}/{experiment}/{variant}/{chunk.name}.safetensors",
            }
        raise InputError(
            f"{study}.experiments.{experiment} has no condition with a sweep and victims to train, of which maps could be drawn"
        )

    def map_settings(self, study: str, experiment: str) -> Config:
        """What maps depend on, beside their victims."""
        first = self.first_chunk(study, experiment)
        settings = self.probe_settings(study, experiment, first["variant"], first["chunk"])
        return {**settings, "conditions": [first["condition"]], "draws": settings["draws"][:1]}
