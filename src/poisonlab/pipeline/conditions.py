"""What is poisoned and what is trained on it: poisons, victims, and conditions, which are both. Imports no torch."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from poisonlab.datasets import sources
from poisonlab.pipeline.artefacts import Artefacts, remembered
from poisonlab.pipeline.configuration import Config
from poisonlab.pipeline.names import swept
from poisonlab.poisons.strategies import Strategy, strategy


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
    """Draws of poisons that are crafted in one job: poison → draws."""

    name: str
    study: str
    poisons: dict[str, list[int]]

    @property
    def first(self) -> str:
        """A poison of the batch; the others have its data set and its needs."""
        return next(iter(self.poisons))


class Conditions(Artefacts):
    """Poisons with the jobs that craft them, victims, and conditions."""

    def experiment(self, study: str, name: str) -> Config:
        """Configuration of an experiment."""
        return self.config[study]["experiments"][name]

    # ----------------------------------------------------------------------------------------------------------------
    # poisons

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

    def per_draw(self, study: str, poison: str) -> Config | None:
        """What each draw changes of the data set, as `datasets.draws.of_draw` takes it."""
        entry = self.poison(study, poison)
        name = entry["dataset"]
        if entry["redraw"]:
            return {"toy": sources.options_of(name, self.config["datasets"][name])}
        return {"split": entry["split"]} if entry["split"] else None

    def poison_settings(self, study: str, poison: str) -> Config:
        """What a poison depends on, beside its files."""
        entry = self.poison(study, poison)
        name, values = self.sweep(study, poison)
        keys = ("strategy", "parameters", "flips", "budget", "per")
        return {
            **{key: entry[key] for key in keys},
            "sweep": name,
            "values": values,
            "per_draw": self.per_draw(study, poison),
            "needs": self.need_counts(entry["needs"]),
        }

    def poison_file(self, study: str, poison: str, draw: int) -> str:
        """File of one draw of a poison."""
        return f"results/poisons/{study}/{poison}/draw-{draw}.safetensors"

    @cached_property
    def batches(self) -> list[Batch]:
        """Poisons that are crafted together: those that one training job of the first experiment that uses them needs.

        Thus a further draw, poison or experiment makes nobody else's victims stale. They need the same artefacts, and
        their strategies
        take no time.
        """
        groups: dict[tuple[Any, ...], dict[str, list[int]]] = {}
        seen = set()
        experiments = [(study, name) for study in self.folders for name in self.config[study]["experiments"]]
        for study, experiment in experiments:
            each = self.experiment(study, experiment)["draws_per_job"]
            for condition, own in self.conditions(study, experiment).items():
                name = own["poison"]
                needs = sorted(self.poison(study, name)["needs"].items())
                for draw in self._draws(study, experiment, condition):
                    if (study, name, draw) not in seen and not self.strategy(study, name).alone:
                        seen.add((study, name, draw))
                        group = groups.setdefault((study, experiment, draw // each, *needs), {})
                        group.setdefault(name, []).append(draw)
        return [Batch(f"{key[0]}_{number}", key[0], poisons) for number, (key, poisons) in enumerate(groups.items())]

    def batch_outputs(self, batch: Batch) -> list[str]:
        """Files of a batch, poison by poison, draw by draw."""
        return [self.poison_file(batch.study, name, draw) for name, draws in batch.poisons.items() for draw in draws]

    def batch_settings(self, batch: Batch) -> Config:
        """What a batch depends on, beside its files."""
        return {
            name: {**self.poison_settings(batch.study, name), "draws": draws} for name, draws in batch.poisons.items()
        }

    def poison_modules(self, study: str, *poisons: str) -> list[str]:
        """What crafts poisons, as `code_version` takes it: their strategies, and what reads their needs."""
        needs = {kind: name for one in poisons for kind, name in self.poison(study, one)["needs"].items()}
        return sorted({self.strategy(study, one).module for one in poisons} | set(self.need_modules(needs)))

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

    # -------------------------------------------------------------------------------------------------------------
    # conditions

    @remembered
    def conditions(self, study: str, experiment: str) -> dict[str, Config]:
        """Condition → its poison, victim, draws, repeats and further attacks.

        "poison@victim" where there are several victims and the condition has none of its own.
        """
        entry = self.experiment(study, experiment)
        several = len(entry["victims"]) > 1
        return {
            f"{name}@{called}" if several and not own["victim"] else name: {**own, "victim": victim}
            for name, own in entry["poisons"].items()
            for called, victim in ({"": own["victim"]} if own["victim"] else entry["victims"]).items()
        }

    def victims(self, study: str, experiment: str) -> list[str]:
        """Names of the victims of an experiment, those that a condition has of its own last."""
        entry = self.experiment(study, experiment)
        own = [condition["victim"] for condition in entry["poisons"].values() if condition["victim"]]
        return list(dict.fromkeys([*entry["victims"].values(), *own]))

    def dataset(self, study: str, experiment: str) -> str:
        """The data set of an experiment."""
        first = next(iter(self.experiment(study, experiment)["poisons"].values()))
        return self.poison(study, first["poison"])["dataset"]

    def experiment_per_draw(self, study: str, experiment: str) -> Config | None:
        """As `per_draw`, of all of an experiment's poisons."""
        first = next(iter(self.experiment(study, experiment)["poisons"].values()))
        return self.per_draw(study, first["poison"])

    def buckets_of(self, study: str, experiment: str) -> str | None:
        """Name of the buckets of an experiment, if a poison needs some."""
        entries = [self.poison(study, own["poison"]) for own in self.experiment(study, experiment)["poisons"].values()]
        return next((entry["needs"]["buckets"] for entry in entries if "buckets" in entry["needs"]), None)

    @remembered
    def variants(self, study: str, experiment: str) -> dict[str, Variant]:
        """Victims of an experiment, one for each value of a sweep, by the name in their files."""
        found = {}
        for name in self.victims(study, experiment):
            entry = self.config[study]["victims"][name]
            training = self.training(entry["model"], entry["recipe"])
            if entry["sweep"] is None:
                found[name] = Variant(name, name, None, training)
                continue
            ((place, values),) = entry["sweep"].items()
            part, _, key = place.partition(".")
            for number, value in enumerate(values):
                own = {**training, part: swept(training[part], key, value)}
                found[f"{name}-{number}"] = Variant(f"{name}-{number}", name, value, own)
        return found

    def victim_sweep(self, study: str, victim: str) -> tuple[str, list[float | None]]:
        """Name and values of a victim's sweep; "" and [None] without one."""
        entry = self.config[study]["victims"][victim]
        return next(iter(entry["sweep"].items())) if entry["sweep"] else ("", [None])

    def axis(self, study: str, condition: Config) -> tuple[str, list[float | None]]:
        """Name and values of a condition's sweep axis, its poison's or its victim's; "" and [None] without one."""
        name, values = self.sweep(study, condition["poison"])
        return (name, values) if name else self.victim_sweep(study, condition["victim"])

    def _draws(self, study: str, experiment: str, condition: str) -> range:
        own, entry = self.conditions(study, experiment)[condition], self.experiment(study, experiment)
        if self.strategy(study, own["poison"]).deterministic and not self.per_draw(study, own["poison"]):
            return range(1)
        return _from(entry["first"], self.config["draws"] or own["draws"] or entry["draws"])

    def drawn_once(self, study: str, experiment: str) -> list[str]:
        """Conditions with one draw of a poison that leaves nothing to chance, where more draws are asked for."""
        found = []
        for name, own in self.conditions(study, experiment).items():
            asked = self.config["draws"] or own["draws"] or self.experiment(study, experiment)["draws"]
            clean = self.poison(study, own["poison"])["strategy"] == "none"
            if not clean and asked > 1 and len(self._draws(study, experiment, name)) == 1:
                found.append(name)
        return found

    def _repeats(self, study: str, experiment: str, condition: str) -> range:
        own, entry = self.conditions(study, experiment)[condition], self.experiment(study, experiment)
        return _from(entry["first"], self.config["repeats"] or own["repeats"] or entry["repeats"])


def _from(first: int, count: int) -> range:
    return range(first, first + count)
