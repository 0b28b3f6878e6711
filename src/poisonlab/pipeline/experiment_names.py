"""What a schema cannot check of experiments and figures: that their parts exist and fit together. Imports no torch."""

import math
import re
from collections.abc import Mapping

from poisonlab import attacks, figures
from poisonlab.analyses import analysis
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.pipeline.references import Entry, dataset_of, entry_of, named
from poisonlab.poisons.strategies import strategy

TABLES = ("conditions", "victims", "robustness")
FURTHER = ("points", "detection", "checks")  # tables, and keys of an experiment that asks for them
MOST_JOBS = 10_000  # of an experiment: more take longer to plan than to train


def check_experiment(config: Entry, section: Entry, where: str, entry: Entry) -> None:
    study = where.partition(".")[0]
    poisons = {
        name: named(section["poisons"], own["poison"], f"{where}.poisons.{name}", f"{study}.poisons")
        for name, own in entry["poisons"].items()
    }
    chosen = {f"{where}.victims": list(entry["victims"].values())} | {
        f"{where}.poisons.{name}.victim": [own["victim"]] for name, own in entry["poisons"].items() if own["victim"]
    }
    every = [(place, name) for place, names in chosen.items() for name in names]
    victims = [named(section["victims"], name, place, f"{study}.victims") for place, name in every]
    for key in ("dataset", "redraw", "split"):
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
        if twice := sorted({*entry["attacks"]} & {*own["attacks"]}):
            raise InputError(
                f"{where}.poisons.{name}.attacks has {twice}, which all of the experiment meet; remove them there"
            )
        for attack in [*entry["attacks"], *own["attacks"]]:
            chosen = entry_of(config, "attacks", attack, f"{where}.attacks")
            _check_attacked(config, f"{where}: attack '{attack}'", chosen, poison)
            if chosen["goal"] == "target" and not all(
                isinstance(poison["flips"][key], int) for key in ("source", "target")
            ):
                raise InputError(
                    f"{where}: attack '{attack}' leads from one source class to one target class, the flips of "
                    f"'{name}' are "
                    f"{poison['flips']['source']} → {poison['flips']['target']}; choose an attack of goal next or "
                    "untargeted"
                )
        if entry["probes"] and poison["flips"]["target"] in ("new", "found"):
            raise InputError(
                f"{where}.probes: probes lead to training points of the poisons' label, which '{name}' does not "
                "have; set probes: false"
            )
    _check_headline(config, where, entry)
    if entry["points"] is not None:
        _check_points(config, where, entry, poisons)
    if entry["checks"] is not None:
        _check_checks(config, where, entry, poisons)
    if entry["maps"]:
        _check_maps(config, where, poisons)
    if section["run"] is None or where.rpartition(".")[2] in section["run"]:
        _check_size(config, where, entry, poisons, sum(len(_values(victim)) for victim in victims))


def _values(victim: Entry) -> list[float | None]:
    return next(iter(victim["sweep"].values())) if victim["sweep"] else [None]


def _check_attacked(config: Entry, where: str, chosen: Entry, poison: Entry) -> None:
    """Refuse an attack that cannot be made on the data of a poison, where they are known before they are read."""
    name, flips = poison["dataset"], poison["flips"]
    specification = config["datasets"][name]
    if (known := sources.inputs(name, specification)) is not None:
        shape, box = known
        names = sources.class_names(specification)
        classes = None if names is None else len(names) + (flips["target"] == "new")
        attacks.check_inputs(chosen, where, shape, classes, box)


def _check_size(config: Entry, where: str, entry: Entry, poisons: Mapping[str, Entry], variants: int) -> None:
    """Refuse more jobs than can be planned, and colours that do not fit the poisons."""
    jobs = 0
    for name, own in entry["poisons"].items():
        poison = poisons[name]
        draws = config["draws"] or own["draws"] or entry["draws"]
        if strategy.find(poison["strategy"]).deterministic and not (poison["redraw"] or poison["split"]):
            draws = 1
        repeats = config["repeats"] or own["repeats"] or entry["repeats"]
        jobs = max(jobs, math.ceil(draws / entry["draws_per_job"]) * math.ceil(repeats / entry["repeats_per_job"]))
        if "colours" in poison["needs"]:
            _check_colours(config, where, own["poison"], poison, draws)
    if jobs * variants > MOST_JOBS:
        raise InputError(
            f"{where}: its draws and repeats make {jobs * variants} training jobs, allowed are {MOST_JOBS}; lower "
            "draws or repeats, or "
            "raise draws_per_job or repeats_per_job"
        )


def _check_colours(config: Entry, where: str, name: str, poison: Entry, draws: int) -> None:
    """Refuse colours of other data, of another class, or of fewer nets than the poison has draws."""
    colours = poison["needs"]["colours"]
    chosen = config["analyses"][colours]
    dataset = dataset_of(config, "analyses", colours)
    settings = analysis.find(chosen["analysis"]).settings(chosen["parameters"], f"analyses.{colours}.parameters")
    source, nets = settings.get("class", poison["flips"]["source"]), settings.get("nets", draws)
    if (dataset, source) != (poison["dataset"], poison["flips"]["source"]):
        raise InputError(
            f"{where}: analyses.{colours} is of class {source} of '{dataset}', the source of poison '{name}' is class "
            f"{poison['flips']['source']} of '{poison['dataset']}'; choose the same"
        )
    if draws > nets:
        raise InputError(
            f"{where}: {draws} draws of poison '{name}' need a net of colours each, analyses.{colours} has "
            f"{nets}; lower draws or raise "
            f"analyses.{colours}.parameters.nets"
        )


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


def _check_proxy(config: Entry, where: str, name: str, poisons: Mapping[str, Entry]) -> None:
    proxy = entry_of(config, "proxies", name, where)
    dataset = next(iter(poisons.values()))["dataset"]
    if proxy["dataset"] != dataset:
        raise InputError(
            f"{where}: proxy '{name}' is of data set '{proxy['dataset']}', the poisons of '{dataset}'; choose one of "
            "the same"
        )


def _check_checks(config: Entry, where: str, entry: Entry, poisons: Mapping[str, Entry]) -> None:
    _check_proxy(config, f"{where}.checks", entry["checks"], poisons)
    headline = entry["headline"]
    if headline is None or config["attacks"][headline["attack"]].get("norm", "linf") != "linf":
        raise InputError(
            f"{where}.checks: robustness is checked at the headline's radius in l∞; name an attack of norm linf in "
            "headline"
        )


def _check_points(config: Entry, where: str, entry: Entry, poisons: Mapping[str, Entry]) -> None:
    _check_proxy(config, f"{where}.points", entry["points"], poisons)
    if any(poison["redraw"] or poison["split"] for poison in poisons.values()):
        raise InputError(f"{where}.points: draws change the training set, whose points have places; set points: null")
    headline = entry["headline"]
    if headline is None or config["attacks"][headline["attack"]]["goal"] != "target":
        raise InputError(
            f"{where}.points: points are attacked from the flips' source to their target class as the headline says; "
            "name a targeted attack in headline"
        )


def _check_maps(config: Entry, where: str, poisons: Mapping[str, Entry]) -> None:
    first = next(iter(poisons.values()))
    options = sources.options_of(first["dataset"], config["datasets"][first["dataset"]])
    flat = options.get("dimensions", 0) + options.get("noise", 0) == 2  # a toy in a plane
    swept = [next(iter(poison["sweep"])) for poison in poisons.values() if poison["sweep"]]
    if not ("bucket" in swept or (swept and flat)):
        raise InputError(
            f"{where}.maps: maps need a poison that is swept over buckets, or a toy of 2 dimensions and a swept "
            "poison; set maps: false"
        )


def check_figure(config: Entry, section: Entry, where: str, place: str, entry: Entry) -> None:
    kind = figures.figure.find(entry["kind"])
    if unknown := sorted(set(entry["options"]) - set(kind.parameters)):
        raise InputError(
            f"{where}.options: unknown {unknown}, kind '{entry['kind']}' takes {sorted(kind.parameters)}; remove or "
            "correct them"
        )
    kind.settings(entry["options"], f"{where}.options")
    for experiment in entry["options"].get("lines") or ():  # overlays that change what is shown leave lines behind
        named(section["experiments"], experiment, f"{where}.options.lines", place)
    for experiment in entry["experiments"]:
        own = named(section["experiments"], experiment, f"{where}.experiments", place)
        _check_shown(config, where, entry["options"], own, experiment, entry["kind"] == "radii")
        if entry["kind"] == "conditions":
            _check_baseline(where, section, own, experiment, entry["options"].get("baseline"))
    for multiverse in entry["multiverses"]:
        named(section["multiverses"], multiverse, f"{where}.multiverses", f"{where.partition('.')[0]}.multiverses")
    given = {
        name: analysis.find(entry_of(config, "analyses", name, f"{where}.analyses")["analysis"])
        for name in entry["analyses"]
    }
    for asked in kind.needs:
        if asked in (*TABLES, *FURTHER, "maps", "data", "poisons"):
            if not entry["experiments"]:
                raise InputError(f"{where}: kind '{entry['kind']}' shows experiments; name some: {where}.experiments")
        elif asked == "specifications":
            if not entry["multiverses"]:
                raise InputError(f"{where}: kind '{entry['kind']}' shows multiverses; name one: {where}.multiverses")
        elif not any(asked in (one.table, one.arrays) for one in given.values()):
            raise InputError(
                f"{where}: kind '{entry['kind']}' shows the {asked} of an analysis; name one: {where}.analyses"
            )


def _check_shown(config: Entry, where: str, options: Entry, experiment: Entry, name: str, several: bool) -> None:
    """Refuse an attack or a radius that no victim of an experiment meets; a figure may take `several` attacks."""
    known = sorted({*experiment["attacks"], *(one for own in experiment["poisons"].values() for one in own["attacks"])})
    if (condition := options.get("condition")) not in (None, *experiment["poisons"]):
        raise InputError(
            f"{where}.options.condition is {condition!r}, experiment '{name}' has {list(experiment['poisons'])}; "
            "choose one of these"
        )
    for shown, one in (options.get("attacks") or {}).items():
        if isinstance(one, Mapping):
            _check_radius(config, f"{where}.options.attacks.{shown}", one, experiment, name, known)
    asked = options.get("attack")
    for one in asked if several and isinstance(asked, list) and asked else [asked]:
        _check_radius(config, f"{where}.options", {**options, "attack": one}, experiment, name, known)


def _check_baseline(where: str, section: Entry, experiment: Entry, name: str, baseline: str | None) -> None:
    """Refuse a comparison with a condition of no poison of the experiment, or, where none is named, with random points
    where there is not one condition of them at one value of its sweep.
    """
    if baseline is not None:
        if re.split(r"[@ ]", str(baseline))[0] not in experiment["poisons"]:
            raise InputError(
                f"{where}.options.baseline is {baseline!r}, experiment '{name}' has {list(experiment['poisons'])}; "
                "choose one of these"
            )
        return
    found = []
    for condition, own in experiment["poisons"].items():
        poison = section["poisons"].get(own["poison"], {})
        for victim in experiment["victims"].values():
            sweep = poison.get("sweep") or section["victims"].get(victim, {}).get("sweep")
            values = next(iter(sweep.values())) if sweep else [None]
            found += [condition] * len(values) * (poison.get("strategy") == "random")
    if len(found) != 1:
        raise InputError(
            f"{where}.options: experiment '{name}' has {len(found)} conditions of strategy 'random', counted by "
            "victims and values of a sweep; a comparison needs exactly 1: name one by baseline, of "
            f"{', '.join(experiment['poisons'])}"
        )


def _check_radius(config: Entry, where: str, options: Entry, experiment: Entry, name: str, known: list[str]) -> None:
    attack, epsilon = options.get("attack"), options.get("epsilon")
    if attack is not None and attack not in known:
        raise InputError(f"{where}.attack is {attack!r}, experiment '{name}' has {known}; choose one of these")
    if epsilon is None:
        return
    if attack is None and experiment["headline"]:
        attack = experiment["headline"]["attack"]
    meant = known if attack is None else [attack]
    radii = sorted({radius for one in meant for radius in config["attacks"][one]["epsilon"]})
    if not isinstance(epsilon, int | float) or not any(math.isclose(epsilon, one, abs_tol=1e-9) for one in radii):
        raise InputError(
            f"{where}.epsilon is {epsilon!r}, experiment '{name}' has {radii} for {', '.join(meant)}; "
            "choose one of these"
        )
