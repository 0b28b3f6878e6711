"""What a schema cannot check of experiments and figures: that their parts exist and fit together. Imports no torch."""

from collections.abc import Mapping

from poisonlab import attacks, figures
from poisonlab.analyses.catalogue import analysis
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.pipeline.references import Entry, entry_of, named
from poisonlab.poisons.strategies import strategy

TABLES = ("conditions", "victims", "robustness")


def check_experiment(config: Entry, section: Entry, where: str, entry: Entry) -> None:
    study = where.partition(".")[0]
    poisons = {
        name: named(section["poisons"], own["poison"], f"{where}.poisons.{name}", f"{study}.poisons")
        for name, own in entry["poisons"].items()
    }
    victims = [named(section["victims"], name, f"{where}.victims", f"{study}.victims") for name in entry["victims"]]
    for key in ("dataset", "redraw"):
        if len(values := {str(poison[key]) for poison in poisons.values()}) > 1:
            raise InputError(
                f"{where}.poisons differ in {key} ({', '.join(sorted(values))}), an experiment has one; split it"
            )
    for name, poison in poisons.items():
        if poison["sweep"] and any(victim["sweep"] for victim in victims):
            raise InputError(
                f"{where}: poison '{name}' and a victim are both swept, a condition has one axis; remove one sweep"
            )
        own = entry["poisons"][name]
        for attack in [*entry["attacks"], *own["attacks"]]:
            goal = entry_of(config, "attacks", attack, f"{where}.attacks")["goal"]
            if goal == "target" and not all(isinstance(poison["flips"][key], int) for key in ("source", "target")):
                raise InputError(
                    f"{where}: attack '{attack}' leads from one source class to one target class, the flips of '{name}' are "
                    f"{poison['flips']['source']} → {poison['flips']['target']}; choose an attack of goal next or untargeted"
                )
        if entry["probes"] and poison["flips"]["target"] in ("new", "found"):
            raise InputError(
                f"{where}.probes: probes lead to training points of the poisons' label, which '{name}' does not have; set probes: false"
            )
    _check_headline(config, where, entry)
    if entry["maps"]:
        _check_maps(config, where, poisons)


def _check_headline(config: Entry, where: str, entry: Entry) -> None:
    if (headline := entry["headline"]) is None:
        return
    known = [*entry["attacks"], *(attack for own in entry["poisons"].values() for attack in own["attacks"])]
    if headline["attack"] not in known:
        raise InputError(f"{where}.headline.attack is '{headline['attack']}', allowed are {known}; correct it")
    radii = config["attacks"][headline["attack"]]["epsilon"]
    if headline["epsilon"] not in radii:
        raise InputError(
            f"{where}.headline.epsilon is {headline['epsilon']:g}, '{headline['attack']}' has {radii}; choose one"
        )


def _check_maps(config: Entry, where: str, poisons: Mapping[str, Entry]) -> None:
    first = next(iter(poisons.values()))
    options = sources.options_of(first["dataset"], config["datasets"][first["dataset"]])
    flat = options.get("dimensions", 0) + options.get("noise", 0) == 2  # a toy in a plane
    swept = [next(iter(poison["sweep"])) for poison in poisons.values() if poison["sweep"]]
    if not ("bucket" in swept or (swept and flat)):
        raise InputError(
            f"{where}.maps: maps need a poison that is swept over buckets, or a toy of 2 dimensions and a swept poison; set maps: false"
        )


def check_figure(config: Entry, section: Entry, where: str, place: str, entry: Entry) -> None:
    kind = figures.figure.find(entry["kind"])
    if unknown := sorted(set(entry["options"]) - set(kind.options)):
        raise InputError(
            f"{where}.options: unknown {unknown}, kind '{entry['kind']}' takes {sorted(kind.options)}; remove or correct them"
        )
    for experiment in entry["experiments"]:
        own = named(section["experiments"], experiment, f"{where}.experiments", place)
        _check_shown(config, where, entry["options"], own, experiment)
    given = {
        name: analysis.find(entry_of(config, "analyses", name, f"{where}.analyses")["analysis"])
        for name in entry["analyses"]
    }
    for asked in kind.needs:
        if asked in (*TABLES, "maps", "data", "poisons"):
            if not entry["experiments"]:
                raise InputError(f"{where}: kind '{entry['kind']}' shows experiments; name some: {where}.experiments")
        elif not any(asked in (one.table, one.arrays) for one in given.values()):
            raise InputError(
                f"{where}: kind '{entry['kind']}' shows the {asked} of an analysis; name one: {where}.analyses"
            )


def _check_shown(config: Entry, where: str, options: Entry, experiment: Entry, name: str) -> None:
    """Refuse an attack or a radius that no victim of an experiment meets."""
    known = {*experiment["attacks"], *(attack for own in experiment["poisons"].values() for attack in own["attacks"])}
    if (attack := options.get("attack")) is not None and attack not in known:
        raise InputError(
            f"{where}.options.attack is '{attack}', experiment '{name}' has {sorted(known)}; choose one of these"
        )
    radii = sorted({radius for one in known for radius in config["attacks"][one]["epsilon"]})
    if (epsilon := options.get("epsilon")) is not None and not any(abs(epsilon - radius) < 1e-9 for radius in radii):
        raise InputError(
            f"{where}.options.epsilon is {epsilon}, the attacks of experiment '{name}' have {radii}; choose one of these"
        )
