"""What a schema cannot check: that names, classes, budgets, parameters and files exist and fit together. Imports no torch."""

import ast
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from poisonlab import attacks, figures, models
from poisonlab.analyses.catalogue import analysis
from poisonlab.datasets import sources
from poisonlab.errors import InputError, one_line
from poisonlab.pipeline.studies import Config
from poisonlab.poisons.flips import SOURCES, TARGETS, class_number, pairs
from poisonlab.poisons.needs import need
from poisonlab.poisons.strategies import strategy
from poisonlab.victims import recipe as recipes

TABLES = ("conditions", "victims", "robustness")
Entry = Mapping[str, Any]


def check_names(config: Config, studies: list[str]) -> None:
    """Check everything that refers to something else; numbers take the place of classes' names, an attack gets its defaults.

    Raises:
        InputError: the first thing that does not exist or does not fit.
    """
    for name, specification in config["datasets"].items():
        sources.validate_specification(name, specification)
    mirror = config["mirror"]
    if mirror is not None and not sources.expanded(mirror, "mirror").is_dir():
        raise InputError(f"mirror '{mirror}' is not a folder; correct it or set mirror: null")
    for name in config["models"]:
        _check_model(config, name, f"models.{name}")
    for name, entry in config["recipes"].items():
        recipes.Recipe.of({key: value for key, value in entry.items() if key != "precision"}, f"recipes.{name}")
    for name, entry in config["attacks"].items():
        config["attacks"][name] = attacks.settings(entry, f"attacks.{name}")
    for name, entry in config["proxies"].items():
        _entry(config, "datasets", entry["dataset"], f"proxies.{name}.dataset")
        _entry(config, "recipes", entry["recipe"], f"proxies.{name}.recipe")
        _check_model(config, entry["model"], f"proxies.{name}.model")
    for name, entry in config["paths"].items():
        _entry(config, "proxies", entry["proxy"], f"paths.{name}.proxy")
    for name, entry in config["buckets"].items():
        _check_buckets(config, f"buckets.{name}", entry)
    for name, entry in config["analyses"].items():
        _check_analysis(config, f"analyses.{name}", entry)
    for study in studies:
        section = config[study]
        for name, entry in section["poisons"].items():
            _check_poison(config, f"{study}.poisons.{name}", entry)
        for name, entry in section["victims"].items():
            _check_victim(config, f"{study}.victims.{name}", entry)
        for name, entry in section["experiments"].items():
            _check_experiment(config, section, f"{study}.experiments.{name}", entry)
        for name in section["run"] or ():
            _named(section["experiments"], name, f"{study}.run", f"{study}.experiments")
        for name, entry in section["figures"].items():
            _check_figure(config, section, f"{study}.figures.{name}", f"{study}.experiments", entry)


def _named(entries: Entry, name: str, where: str, place: str) -> Any:
    if name not in entries:
        raise InputError(f"{where} names '{name}', which is not in {place} ({', '.join(entries)}); add or correct it")
    return entries[name]


def _entry(config: Entry, section: str, name: str, where: str) -> Any:
    return _named(config[section], name, where, section)


def _check_model(config: Entry, name: str, where: str) -> None:
    """Refuse a model that cannot exist; its module is looked at, not imported, for that would import torch."""
    specification = config["models"].get(name, name)
    own, _ = models.parse(specification, where)
    if ":" not in own:
        return
    module, _, attribute = own.partition(":")
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        spec = None
    if spec is None:
        raise InputError(
            f"{where} '{name}': there is no module '{module}'; put {module}.py into the study's folder, "
            "the working directory or on PYTHONPATH"
        )
    if spec.origin and spec.origin.endswith(".py") and attribute not in _defined(Path(spec.origin), where):
        raise InputError(
            f"{where} '{name}': module '{module}' has no '{attribute}'; define it there or correct the name"
        )


def _defined(file: Path, where: str) -> set[str]:
    """Names that a module's file defines or imports at its top."""
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError) as error:
        raise InputError(f"{where}: '{file}' cannot be read ({one_line(error)}); correct it") from error
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def _names(config: Entry, dataset: str) -> tuple[str, ...] | None:
    return sources.class_names(config["datasets"][dataset])


def _check_needs(
    config: Entry, where: str, declared: tuple[str, ...], given: Entry, extra: tuple[str, ...] = ()
) -> None:
    for kind in declared:
        need.find(kind)
        if kind not in given:
            raise InputError(
                f"{where} needs {kind}; name one of {need.find(kind).section}: {where}.needs: {{{kind}: …}}"
            )
    for kind, name in given.items():
        entry = need.find(kind)
        if kind not in declared + extra:
            raise InputError(f"{where}.needs.{kind} is not asked for, allowed are {sorted(declared)}; remove it")
        _entry(config, entry.section, name, f"{where}.needs.{kind}")


def _check_buckets(config: Entry, where: str, entry: Config) -> None:
    paths = _entry(config, "paths", entry["paths"], f"{where}.paths")
    dataset = config["proxies"][paths["proxy"]]["dataset"]
    entry["source"] = class_number(entry["source"], _names(config, dataset), f"{where}.source")
    counts = sources.class_counts(config["datasets"][dataset])
    needed = entry["count"] * entry["minimum"]
    if counts is not None and needed > counts[entry["source"]]:
        raise InputError(
            f"{where}: {entry['count']} buckets of at least {entry['minimum']} points need {needed} images of class {entry['source']}, "
            f"'{dataset}' has {counts[entry['source']]}; lower count or minimum"
        )


def _check_analysis(config: Entry, where: str, entry: Entry) -> None:
    kind = analysis.find(entry["analysis"])
    kind.settings(entry["parameters"], f"{where}.parameters")
    _check_needs(config, where, kind.needs, entry["needs"])
    if entry["dataset"]:
        _entry(config, "datasets", entry["dataset"], f"{where}.dataset")
    if entry["recipe"]:
        _entry(config, "recipes", entry["recipe"], f"{where}.recipe")
    if entry["proxy"]:
        _entry(config, "proxies", entry["proxy"], f"{where}.proxy")
    if kind.of == "proxy" and not entry["proxy"]:
        raise InputError(f"{where}: analysis '{kind.name}' is of a proxy; name one: {where}.proxy")
    if kind.of == "dataset" and not (entry["dataset"] or entry["needs"]):
        raise InputError(f"{where}: analysis '{kind.name}' is of a data set; name one: {where}.dataset")


def _check_poison(config: Entry, where: str, entry: Config) -> None:
    kind = strategy.find(entry["strategy"])
    specification = _entry(config, "datasets", entry["dataset"], f"{where}.dataset")
    kind.settings(entry["parameters"], f"{where}.parameters")
    found = entry["flips"]["source"] == "found"
    _check_needs(
        config, where, kind.needs + (("logits",) if found and "logits" not in kind.needs else ()), entry["needs"]
    )
    for name in entry["needs"].values():
        _check_same_data(config, where, entry, name)
    _check_sweep(config, where, entry, kind)
    _check_flips(config, where, entry)
    if entry["redraw"] and sources.SOURCES[specification["source"]].kind != "toy":
        raise InputError(
            f"{where}.redraw: '{entry['dataset']}' is no toy whose points could be drawn anew; set redraw: false"
        )
    if entry["redraw"] and entry["split"]:
        raise InputError(f"{where} has both redraw and split, a draw changes one thing; remove one")
    if (changes := "redraw" if entry["redraw"] else "split" if entry["split"] else "") and kind.needs:
        raise InputError(
            f"{where}: strategy '{kind.name}' needs {', '.join(kind.needs)} of one training set, {changes} makes another for every draw; "
            f"remove {changes}"
        )


def _check_same_data(config: Entry, where: str, entry: Entry, name: str) -> None:
    for kind, used in entry["needs"].items():
        section = need.find(kind).section
        paths = config["paths"][config["buckets"][used]["paths"]] if section == "buckets" else None
        paths = config["paths"][used] if section == "paths" else paths
        proxy = used if section == "proxies" else paths["proxy"] if paths else None
        if proxy and config["proxies"][proxy]["dataset"] != entry["dataset"]:
            raise InputError(
                f"{where}.needs.{kind}: '{used}' is of data set '{config['proxies'][proxy]['dataset']}', the poison of "
                f"'{entry['dataset']}'; choose one of the same"
            )
        if section == "buckets" and config["buckets"][used]["source"] != entry["flips"]["source"]:
            raise InputError(
                f"{where}.needs.{kind}: '{used}' is of class {config['buckets'][used]['source']}, the poison's source is "
                f"{entry['flips']['source']}; choose the same"
            )


def _check_sweep(config: Entry, where: str, entry: Entry, kind: Any) -> None:
    if entry["sweep"] is None:
        return
    ((name, values),) = entry["sweep"].items()
    if name != "budget" and name not in kind.parameters:
        raise InputError(
            f"{where}.sweep names '{name}', allowed are budget and the parameters of '{kind.name}', {sorted(kind.parameters)}; correct it"
        )
    if name in entry["parameters"]:
        raise InputError(f"{where}.sweep and {where}.parameters both give '{name}'; remove one")
    if values == "all":
        if name != "bucket":
            raise InputError(f"{where}.sweep.{name} is all, which only bucket may be; list its values")
        return
    for value in values if name != "budget" else ():
        kind.settings({name: value}, f"{where}.sweep")


def _check_flips(config: Entry, where: str, entry: Config) -> None:
    flips, specification = entry["flips"], config["datasets"][entry["dataset"]]
    names = _names(config, entry["dataset"])
    for key, words in (("source", SOURCES), ("target", TARGETS)):
        if flips[key] not in words:
            flips[key] = class_number(flips[key], names, f"{where}.flips.{key}")
    budget = entry["budget"]
    for value in [budget, *((entry["sweep"] or {}).get("budget") or [])]:
        if value <= 0 or (value >= 1 and value != int(value)):
            raise InputError(
                f"{where}.budget is {value:g}, allowed are whole numbers from 1 and shares between 0 and 1; change it"
            )
    if names is None or "found" in flips.values():
        return
    found = pairs(flips, names)
    counts = sources.class_counts(specification)
    if counts is None or entry["per"] == "all" or budget < 1 or entry["strategy"] == "none":
        return
    for source, _ in found:
        if budget > counts[source]:
            raise InputError(
                f"poison budget {budget:g} exceeds the {counts[source]} images of class {source} in "
                f"'{entry['dataset']}'; lower {where}.budget"
            )


def _check_victim(config: Entry, where: str, entry: Entry) -> None:
    _check_model(config, entry["model"], f"{where}.model")
    own = _entry(config, "recipes", entry["recipe"], f"{where}.recipe")
    if entry["sweep"] is None:
        return
    ((place, values),) = entry["sweep"].items()
    part, _, key = place.partition(".")
    if part not in ("recipe", "model") or not key:
        raise InputError(f"{where}.sweep names '{place}', allowed are recipe.<key> and model.<parameter>; correct it")
    for value in values if values != "all" else ():
        if part == "recipe":
            recipes.Recipe.of({**{k: v for k, v in own.items() if k != "precision"}, key: value}, f"{where}.sweep")
        else:
            given = config["models"].get(entry["model"], entry["model"])
            models.parse({**(given if isinstance(given, dict) else {"model": given}), key: value}, f"{where}.sweep")
    if values == "all":
        raise InputError(f"{where}.sweep.{place} is all, which only a poison's bucket may be; list its values")


def _check_experiment(config: Entry, section: Entry, where: str, entry: Entry) -> None:
    study = where.partition(".")[0]
    poisons = {
        name: _named(section["poisons"], own["poison"], f"{where}.poisons.{name}", f"{study}.poisons")
        for name, own in entry["poisons"].items()
    }
    victims = [_named(section["victims"], name, f"{where}.victims", f"{study}.victims") for name in entry["victims"]]
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
        for attack in [*entry["attacks"], *own["attacks"]]:
            goal = _entry(config, "attacks", attack, f"{where}.attacks")["goal"]
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


def _check_figure(config: Entry, section: Entry, where: str, place: str, entry: Entry) -> None:
    kind = figures.figure.find(entry["kind"])
    if unknown := sorted(set(entry["options"]) - set(kind.options)):
        raise InputError(
            f"{where}.options: unknown {unknown}, kind '{entry['kind']}' takes {sorted(kind.options)}; remove or correct them"
        )
    for experiment in entry["experiments"]:
        own = _named(section["experiments"], experiment, f"{where}.experiments", place)
        _check_shown(config, where, entry["options"], own, experiment)
    given = {
        name: analysis.find(_entry(config, "analyses", name, f"{where}.analyses")["analysis"])
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
