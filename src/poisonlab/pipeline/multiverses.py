"""Multiverses: which victims they train, in which jobs, and the files of their tables. Imports no torch."""

from functools import cached_property

from poisonlab import attacks, models
from poisonlab.multiverse.grid import Combination, combinations
from poisonlab.pipeline.configuration import Config
from poisonlab.pipeline.experiment_names import TABLES
from poisonlab.pipeline.multiverse_names import varied
from poisonlab.pipeline.training import PROBED_POINTS, Training, span
from poisonlab.victims.recipe import modules as recipe_modules


class Multiverses(Training):
    """Experiments under every combination of some choices."""

    def multiverse(self, study: str, name: str) -> Config:
        """Configuration of a multiverse."""
        return self.config[study]["multiverses"][name]

    @property
    def _every(self) -> list[tuple[str, str]]:
        return [(study, name) for study in self.folders for name in self.config[study]["multiverses"]]

    @cached_property
    def multiverses(self) -> list[tuple[str, str]]:
        """(study, multiverse) of those whose experiments all run; of the archive those that are there."""
        if self.archive:
            return [key for key in self._every if (self.root / self.multiverse_table(*key)).is_file()]
        runs = set(self.experiments)
        return [key for key in self._every if {(key[0], one) for one in self.multiverse(*key)["experiments"]} <= runs]

    def multiverse_table(self, study: str, name: str) -> str:
        """File of a multiverse's table: in this run's results or in the archive."""
        if self.archive:
            return str(self.root / "archive" / study / name / "specifications.csv.gz")
        return f"results/tables/{study}/{name}/specifications.parquet"

    @cached_property
    def combinations(self) -> dict[tuple[str, str], list[Combination]]:
        """(study, multiverse) → its combinations, in their order."""
        entries = {key: self.multiverse(*key) for key in self._every}
        return {
            key: combinations({choice: list(values) for choice, values in entry["choices"].items()}, entry["sample"])
            for key, entry in entries.items()
        }

    def multiverse_parts(self, study: str, name: str) -> dict[str, range]:
        """Jobs of a multiverse: part of a file name → its combinations."""
        count, each = len(self.combinations[study, name]), self.multiverse(study, name)["combinations_per_job"]
        parts = (range(first, min(first + each, count)) for first in range(0, count, each))
        return {span(part): part for part in parts}

    def multiverse_size(self, study: str, name: str) -> tuple[int, int]:
        """Draws and repeats of a multiverse."""
        entry = self.multiverse(study, name)
        return self.config["draws"] or entry["draws"], self.config["repeats"] or entry["repeats"]

    def part_tables(self, study: str, name: str, kind: str) -> list[str]:
        """Files of one of the tables of all of a multiverse's jobs."""
        return [
            f"results/multiverses/{study}/{name}/{part}/{kind}.parquet" for part in self.multiverse_parts(study, name)
        ]

    def multiverse_inputs(self, study: str, name: str) -> list[str]:
        """Data and poisons of a multiverse."""
        experiments = [self._varied(study, one, name) for one in self.multiverse(study, name)["experiments"]]
        files = [file for own in experiments for files in own["poisons"].values() for file in files]
        return list(dict.fromkeys([*(own["data"] for own in experiments), *files]))

    def multiverse_settings(self, study: str, name: str, part: str) -> Config:
        """What a job depends on, beside the content of its inputs: see `multiverse.running.run`."""
        entry, every = self.multiverse(study, name), self.combinations[study, name]
        return {
            "study": study,
            "repeats": list(range(self.multiverse_size(study, name)[1])),
            "experiments": {one: self._varied(study, one, name) for one in entry["experiments"]},
            "combinations": {
                str(number): {
                    "choices": every[number],
                    "training": {
                        one: varied(self.config, study, name, one, self._training(study, one), every[number])
                        for one in entry["experiments"]
                    },
                }
                for number in self.multiverse_parts(study, name)[part]
            },
        }

    def _training(self, study: str, experiment: str) -> Config:
        variant = next(iter(self.variants(study, experiment).values()))  # whatever a condition has of its own
        return variant.training

    def _varied(self, study: str, experiment: str, name: str) -> Config:
        """What an experiment's jobs depend on, whatever is chosen."""
        entry, conditions = self.experiment(study, experiment), self.conditions(study, experiment)
        draws = self.multiverse_size(study, name)[0]
        variant = next(iter(self.variants(study, experiment)))
        return {
            "data": self.data_file(self.dataset(study, experiment)),
            "poisons": {
                condition: [
                    self.poison_file(study, own["poison"], draw)
                    for draw in self._draws(study, experiment, condition)[:draws]
                ]
                for condition, own in sorted(conditions.items())
            },
            "per_draw": self.experiment_per_draw(study, experiment),
            "attacks": {
                condition: {
                    one: self.config["attacks"][one] for one in dict.fromkeys([*entry["attacks"], *own["attacks"]])
                }
                for condition, own in conditions.items()
            },
            "flips": {condition: self.poison(study, own["poison"])["flips"] for condition, own in conditions.items()},
            "columns": self.victim_columns(study, experiment, variant),
            "probed": PROBED_POINTS if entry["probes"] else 0,
            "described": self.collect_settings(study, experiment),
        }

    @cached_property
    def multiverse_modules(self) -> dict[tuple[str, str], list[str]]:
        """(study, multiverse) → what builds, trains and attacks its victims beside the engines, as `code_version` takes
        it.
        """
        return {key: self._modules(*key) for key in self._every}

    def _modules(self, study: str, name: str) -> list[str]:
        found: set[str] = set()
        for experiment in self.multiverse(study, name)["experiments"]:
            for own in self._varied(study, experiment, name)["attacks"].values():
                found |= {attacks.attack.find(one["method"]).module for one in own.values()}
        for part in self.multiverse_parts(study, name):
            for one in self.multiverse_settings(study, name, part)["combinations"].values():
                for own in one["training"].values():
                    found |= {models.import_path(own["model"]), *recipe_modules(own["recipe"])}
        return sorted(found)

    def judged_settings(self, study: str, name: str) -> Config:
        """What the claims are judged by beside the tables of the jobs and the claims themselves."""
        entry = self.multiverse(study, name)
        return {
            "columns": {"study": study, "multiverse": name, "scale": entry["scale"]},
            "combinations": dict(enumerate(self.combinations[study, name])),
            "size": list(self.multiverse_size(study, name)),
            "claims": entry["claims"],
            "headlines": {f"{study}/{one}": self.experiment(study, one)["headline"] for one in entry["experiments"]},
            "tables": list(TABLES),
        }
