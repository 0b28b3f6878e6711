"""The jobs that train, attack and probe victims, and their files. Imports no torch."""

import csv
import gzip
import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from poisonlab import attacks
from poisonlab.errors import InputError
from poisonlab.pipeline.artefacts import remembered
from poisonlab.pipeline.conditions import Conditions, Variant
from poisonlab.pipeline.configuration import Config
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


def span(numbers: range) -> str:
    """Write a range into a file name, "0-7"; `jobs.numbers` reads it."""
    return f"{numbers[0]}-{numbers[-1]}"


def _parts(numbers: range, size: int) -> list[range]:
    return [numbers[first : first + size] for first in range(0, len(numbers), size)]


class Training(Conditions):
    """Conditions cut into jobs."""

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

    @remembered
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
            if all(
                Path(file).is_file()
                for folder, file in self._files(study, experiment, job, names).items()
                if folder != "points"  # a table of its own, which takes no training
            )
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

    def _all_chunks(self, study: str, experiment: str, condition: str) -> list[Chunk]:
        entry = self.experiment(study, experiment)
        draws, repeats = self._draws(study, experiment, condition), self._repeats(study, experiment, condition)
        parts = _parts(draws, entry["draws_per_job"]), _parts(repeats, entry["repeats_per_job"])
        return [Chunk(*part) for part in itertools.product(*parts)]

    @cached_property
    def archived(self) -> dict[tuple[str, str], set[tuple[str, float | None, int, int]]]:
        """(study, experiment) → (condition, axis value, draw, repeat) of every victim that the archive holds, or has
        left out as the copy of one that it holds.
        """
        victims: dict[tuple[str, str], set[tuple[str, float | None, int, int]]] = defaultdict(set)
        for name in ("victims", "copies"):
            for table in (self.root / "archive").glob(f"*/*/{name}.csv.gz"):
                with gzip.open(table, "rt") as rows:  # not with pandas, which every job would import to read the plan
                    victims[table.parts[-3], table.parts[-2]] |= {
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
        """What buckets come from: paths on the first clean proxy, or the archived buckets where an archived run is
        continued.
        """
        if self.config["skip_archived"] and (archived := self.archived_buckets(buckets)):
            return str(archived)
        return self.path_file(self.config["buckets"][buckets]["paths"])

    # ------------------------------------------------------------------------------------------------------------
    # files of jobs

    @remembered
    def _named_jobs(self, study: str, experiment: str) -> dict[str, tuple[Chunk, list[str]]]:
        """Jobs by the names in their files, "variant/chunk"."""
        return {f"{name}/{part.name}": (part, own) for (name, part), own in self.jobs(study, experiment).items()}

    def _job(self, study: str, experiment: str, variant: str, chunk: str) -> tuple[Chunk, list[str]]:
        """A job by the names in its files.

        Raises:
            InputError: the experiment has no such job.
        """
        jobs = self._named_jobs(study, experiment)
        if found := jobs.get(f"{variant}/{chunk}"):
            return found
        where = f"{study}.experiments.{experiment}"
        raise InputError(f"{where} has no job '{variant}/{chunk}', it has {list(jobs)}; choose one")

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
            "per_draw": self.experiment_per_draw(study, experiment),
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
        entry = self.experiment(study, experiment)
        flipped = any(self.poison(study, all_conditions[name]["poison"])["strategy"] != "none" for name in conditions)
        probed, pointed = entry["probes"] and flipped, entry["points"] is not None and flipped
        name = f"{study}/{experiment}/{job[0]}/{job[1].name}.parquet"
        folders = ["victims", "robustness", *(["probes"] if probed else []), *(["points"] if pointed else [])]
        return {folder: f"results/{folder}/{name}" for folder in folders}

    def chunk_files(self, study: str, experiment: str, folder: str) -> list[str]:
        """Files of all of an experiment's jobs under results/`folder`: victims, robustness, probes or points."""
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

    def collect_settings(self, study: str, experiment: str) -> Config:
        """What the tables of an experiment say beside its victims."""
        entry = self.experiment(study, experiment)
        rows = {}
        for name, own in self.conditions(study, experiment).items():
            poison, victim = self.poison(study, own["poison"]), self.config[study]["victims"][own["victim"]]
            axis, values = self.axis(study, own)
            rows[name] = {
                "axis": axis,
                "values": values,
                "strategy": poison["strategy"],
                "parameters": poison["parameters"],
                "budget": poison["budget"],
                "per": poison["per"],
                "flips": poison["flips"],
                "per_draw": self.per_draw(study, own["poison"]),
                "dataset": poison["dataset"],
                "model": victim["model"],
                "recipe": victim["recipe"],
                "precision": self.precision(victim["recipe"]),
                "poison": own["poison"],
                "victim": own["victim"],
            }
        return {"scale": entry["scale"], "conditions": rows}

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

    # --------------------------------------------------------------------------------------------------------- probes
    # and maps

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

    def point_settings(self, study: str, experiment: str, variant: str, chunk: str) -> Config:
        """What the verdicts of single test points depend on, beside their victims: the headline's attack at its one
        radius.
        """
        settings = self.evaluation_settings(study, experiment, variant, chunk)
        headline = self.experiment(study, experiment)["headline"]
        attack = self.config["attacks"][headline["attack"]]
        return {**settings, "attack": [headline["attack"], {**attack, "epsilon": [headline["epsilon"]]}]}

    def check_settings(self, study: str, experiment: str) -> Config:
        """What the checks of an experiment's victims depend on, beside their files: each job's settings, and the radius
        of the headline.
        """
        jobs = [(variant, chunk.name) for variant, chunk in self.jobs(study, experiment)]
        return {
            "jobs": [self.job_settings(study, experiment, *job) for job in jobs],
            "epsilon": self.experiment(study, experiment)["headline"]["epsilon"],
            "device": self.config["device"],
        }

    def check_poisons(self, study: str, experiment: str) -> list[str]:
        """Files of the poisons of an experiment's jobs, job by job."""
        jobs = self.jobs(study, experiment)
        return [file for variant, chunk in jobs for file in self.job_poisons(study, experiment, variant, chunk.name)]

    def checked_victims(self, study: str, experiment: str) -> list[str]:
        """Files of the victims of an experiment's jobs, job by job."""
        jobs = self.jobs(study, experiment)
        return [f"results/victims/{study}/{experiment}/{variant}/{chunk.name}.safetensors" for variant, chunk in jobs]

    def check_modules(self, study: str, experiment: str) -> list[str]:
        """What builds the victims that are checked, and the proxy beside them, as `code_version` takes it."""
        proxy = self.config["proxies"][self.experiment(study, experiment)["checks"]]
        models = [self.config[study]["victims"][name]["model"] for name in self.victims(study, experiment)]
        return sorted({module for model in [*models, proxy["model"]] for module in self.model_modules(model)})

    def detection_inputs(self, study: str, experiment: str) -> dict[tuple[str, int], str]:
        """(condition, draw) → file of its poison, of the draws whose flips are looked for."""
        entry, found = self.experiment(study, experiment), {}
        first = next(iter(entry["victims"].values()))
        for name, own in self.conditions(study, experiment).items():
            # A poison is looked for once, whatever is trained on it.
            if own["victim"] == first and self.poison(study, own["poison"])["strategy"] != "none":
                for draw in self._draws(study, experiment, name)[: entry["detection"]]:
                    found[name, draw] = self.poison_file(study, own["poison"], draw)
        return found

    def detection_settings(self, study: str, experiment: str) -> Config:
        """What the detection of flips depends on, beside its files: the experiment's first victim is the detector's."""
        return {
            "places": [[name, draw] for name, draw in self.detection_inputs(study, experiment)],
            "per_draw": self.experiment_per_draw(study, experiment),
            **next(iter(self.variants(study, experiment).values())).training,
        }

    def detector_modules(self, study: str, experiment: str) -> list[str]:
        """What builds and trains the detector, as `code_version` takes it."""
        return self.variant_modules(study, experiment, next(iter(self.variants(study, experiment))))

    def _mapped(self, study: str, experiment: str) -> Iterator[tuple[str, tuple[str, Chunk], list[str]]]:
        """Conditions whose victims may be mapped, with their jobs: those with a swept poison, of buckets where there
        are some.
        """
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
            f"{study}.experiments.{experiment} has no condition with a sweep and victims to train, of which maps "
            "could be drawn"
        )

    def map_settings(self, study: str, experiment: str) -> Config:
        """What maps depend on, beside their victims."""
        first = self.first_chunk(study, experiment)
        settings = self.probe_settings(study, experiment, first["variant"], first["chunk"])
        return {**settings, "conditions": [first["condition"]], "draws": settings["draws"][:1]}
