"""What a schema cannot check.

That names, classes, budgets, parameters and files exist and fit together. Imports no torch.
"""

import math
from typing import Any

from poisonlab import attacks, models
from poisonlab.analyses import analysis
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.pipeline.experiment_names import check_experiment, check_figure
from poisonlab.pipeline.multiverse_names import check_multiverse
from poisonlab.pipeline.references import (
    Entry,
    check_model,
    check_values,
    class_names,
    dataset_of,
    entry_of,
    leads_back,
    named,
)
from poisonlab.pipeline.studies import Config
from poisonlab.poisons.flips import SOURCES, TARGETS, budgets, class_number, pairs
from poisonlab.poisons.needs import need
from poisonlab.poisons.strategies import strategy
from poisonlab.victims import recipe as recipes


def check_names(config: Config, studies: list[str]) -> None:
    """Check everything that refers to something else.

    Numbers take the place of classes' names, an attack gets its defaults.

    Raises:
        InputError: the first thing that does not exist or does not fit.
    """
    for name, specification in config["datasets"].items():
        sources.validate_specification(name, specification)
    mirror = config["mirror"]
    if mirror is not None and not sources.expanded(mirror, "mirror").is_dir():
        raise InputError(f"mirror '{mirror}' is not a folder; correct it or set mirror: null")
    for name in config["models"]:
        check_model(config, name, f"models.{name}")
    for name, entry in config["recipes"].items():
        recipes.Recipe.of({key: value for key, value in entry.items() if key != "precision"}, f"recipes.{name}")
    for name, entry in config["attacks"].items():
        config["attacks"][name] = attacks.settings(entry, f"attacks.{name}")
    for name, entry in config["proxies"].items():
        entry_of(config, "datasets", entry["dataset"], f"proxies.{name}.dataset")
        entry_of(config, "recipes", entry["recipe"], f"proxies.{name}.recipe")
        check_model(config, entry["model"], f"proxies.{name}.model")
    _check_features(config, {name: one for name, one in config["datasets"].items() if one["source"] == "features"})
    for name, entry in config["paths"].items():
        entry_of(config, "proxies", entry["proxy"], f"paths.{name}.proxy")
    for name, entry in config["buckets"].items():
        _check_buckets(config, f"buckets.{name}", entry)
    for name, entry in config["analyses"].items():
        _check_analysis(config, f"analyses.{name}", entry)
    for name, entry in config["analyses"].items():
        _check_data_of_analysis(config, f"analyses.{name}", entry, name)
    for study in studies:
        section = config[study]
        for name, entry in section["poisons"].items():
            _check_poison(config, f"{study}.poisons.{name}", entry)
        for name, entry in section["victims"].items():
            _check_victim(config, f"{study}.victims.{name}", entry)
        for name, entry in section["experiments"].items():
            check_experiment(config, section, f"{study}.experiments.{name}", entry)
        for name in section["multiverses"]:
            check_multiverse(config, study, name)
        for name in section["run"] or ():
            named(section["experiments"], name, f"{study}.run", f"{study}.experiments")
        for name, entry in section["figures"].items():
            check_figure(config, section, f"{study}.figures.{name}", f"{study}.experiments", entry)


def _check_features(config: Entry, derived: Entry) -> None:
    """Refuse features that wait for themselves, of points that their net was trained on, or of another shape."""
    datasets, proxies = config["datasets"], config["proxies"]
    for name, entry in derived.items():
        entry_of(config, "datasets", entry["of"], f"datasets.{name}.of")
        entry_of(config, "proxies", entry["proxy"], f"datasets.{name}.proxy")

    def made_of(name: str) -> list[str]:
        return [derived[name]["of"], proxies[derived[name]["proxy"]]["dataset"]] if name in derived else []

    def origin(name: str) -> Entry:
        return origin(derived[name]["of"]) if name in derived else datasets[name]

    for name in derived:
        if leads_back(name, made_of):
            raise InputError(
                f"datasets.{name} is made of '{name}' itself; name another proxy, or another data set as of"
            )
    for name in derived:
        of, trained = made_of(name)
        if sources.share_points(origin(of), origin(trained)):
            raise InputError(
                f"datasets.{name}.proxy: '{derived[name]['proxy']}' is trained on points of '{of}', whose features "
                "would be of what it knows by heart; name a proxy of other classes"
            )
        shapes = [
            inputs[0] for one in (of, trained) if (inputs := sources.inputs(one, datasets[one])) and inputs[0] != (0,)
        ]
        if len(set(shapes)) > 1:
            raise InputError(
                f"datasets.{name}: points of '{of}' have the shape {shapes[0]}, those of its proxy {shapes[1]}; name "
                "another proxy"
            )


def _names(config: Entry, dataset: str) -> tuple[str, ...] | None:
    return sources.class_names(config["datasets"][dataset])


def _class(config: Entry, dataset: str, label: int | str, where: str) -> int:
    """Number of a class. A number of the user's data is taken as it is: the job that reads them looks for it."""
    if isinstance(label, int) and _names(config, dataset) is None:
        return label
    return class_number(label, class_names(config, dataset), where)


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
        used = entry_of(config, entry.section, name, f"{where}.needs.{kind}")
        if entry.table and (table := analysis.find(used["analysis"]).table) != entry.table:
            raise InputError(
                f"{where}.needs.{kind}: analyses.{name} gives the table {table}, needed is {entry.table}; name "
                "another analysis"
            )


def _check_buckets(config: Entry, where: str, entry: Config) -> None:
    paths = entry_of(config, "paths", entry["paths"], f"{where}.paths")
    dataset = config["proxies"][paths["proxy"]]["dataset"]
    entry["source"] = _class(config, dataset, entry["source"], f"{where}.source")
    counts = sources.class_counts(config["datasets"][dataset])
    needed = entry["count"] * entry["minimum"]
    if counts is not None and needed > counts[entry["source"]]:
        raise InputError(
            f"{where}: {entry['count']} buckets of at least {entry['minimum']} points need {needed} images of "
            f"class {entry['source']}, "
            f"'{dataset}' has {counts[entry['source']]}; lower count or minimum"
        )


def _check_analysis(config: Entry, where: str, entry: Entry) -> None:
    kind = analysis.find(entry["analysis"])
    _check_needs(config, where, kind.needs, entry["needs"])
    if entry["dataset"]:
        entry_of(config, "datasets", entry["dataset"], f"{where}.dataset")
    if entry["recipe"]:
        entry_of(config, "recipes", entry["recipe"], f"{where}.recipe")
    if entry["proxy"]:
        entry_of(config, "proxies", entry["proxy"], f"{where}.proxy")
    if kind.of == "proxy" and not entry["proxy"]:
        raise InputError(f"{where}: analysis '{kind.name}' is of a proxy; name one: {where}.proxy")
    if kind.of == "dataset" and not (entry["dataset"] or entry["needs"]):
        raise InputError(f"{where}: analysis '{kind.name}' is of a data set; name one: {where}.dataset")


def _check_data_of_analysis(config: Entry, where: str, entry: Config, name: str) -> None:
    """Refuse an analysis that waits for itself, that is of two data sets, or of a class that its data do not have."""

    def waits_for(one: str) -> list[str]:
        needs = config["analyses"][one]["needs"]
        return [used for kind, used in needs.items() if need.find(kind).section == "analyses"]

    if leads_back(name, waits_for):
        raise InputError(f"{where}.needs lead back to '{name}' itself; name another analysis")
    used = [(need.find(kind).section, one) for kind, one in entry["needs"].items()]
    used += [("proxies", entry["proxy"])] if entry["proxy"] else []
    found = {data for data in (entry["dataset"], *(dataset_of(config, *one) for one in used)) if data}
    if len(found) > 1:
        raise InputError(f"{where} is of the data sets {sorted(found)}, allowed is one; correct what it names")
    kind = analysis.find(entry["analysis"])
    parameters = {**kind.defaults, **entry["parameters"]}
    for key in {"class", "source"} & set(kind.parameters) if found and ":" not in entry["analysis"] else ():
        if isinstance(parameters[key], int | str):
            number = _class(config, next(iter(found)), parameters[key], f"{where}.parameters.{key}")
            entry["parameters"] = {**entry["parameters"], key: number}
    kind.settings(entry["parameters"], f"{where}.parameters")


def _check_poison(config: Entry, where: str, entry: Config) -> None:
    kind = strategy.find(entry["strategy"])
    specification = entry_of(config, "datasets", entry["dataset"], f"{where}.dataset")
    kind.settings(entry["parameters"], f"{where}.parameters")
    found = entry["flips"]["source"] == "found"
    _check_needs(
        config, where, kind.needs + (("logits",) if found and "logits" not in kind.needs else ()), entry["needs"]
    )
    _check_sweep(config, where, entry, kind)
    _check_flips(config, where, entry)
    _check_same_data(config, where, entry)
    if "bucket" in kind.parameters and "buckets" in entry["needs"]:
        _check_bucket(config, where, entry, kind)
    if entry["redraw"] and sources.SOURCES[specification["source"]].kind != "toy":
        raise InputError(
            f"{where}.redraw: '{entry['dataset']}' is no toy whose points could be drawn anew; set redraw: false"
        )
    if entry["redraw"] and entry["split"]:
        raise InputError(f"{where} has both redraw and split, a draw changes one thing; remove one")
    if (changes := "redraw" if entry["redraw"] else "split" if entry["split"] else "") and kind.needs:
        raise InputError(
            f"{where}: strategy '{kind.name}' needs {', '.join(kind.needs)} of one training set, {changes} makes "
            "another "
            f"for every draw; remove {changes}"
        )


def _check_same_data(config: Entry, where: str, entry: Entry) -> None:
    """Refuse artefacts of other data or of another class.

    Analyses are looked at where a poison is used, see `experiment_names`.
    """
    for kind, used in entry["needs"].items():
        section = need.find(kind).section
        dataset = dataset_of(config, section, used)
        if section != "analyses" and dataset != entry["dataset"]:
            raise InputError(
                f"{where}.needs.{kind}: '{used}' is of data set '{dataset}', the poison of '{entry['dataset']}'; "
                "choose one of the same"
            )
        if section == "buckets" and (own := config["buckets"][used]["source"]) != entry["flips"]["source"]:
            raise InputError(
                f"{where}.needs.{kind}: '{used}' is of class {own}, the poison's source is "
                f"{entry['flips']['source']}; choose the same"
            )


def _check_sweep(config: Entry, where: str, entry: Entry, kind: Any) -> None:
    if entry["sweep"] is None:
        return
    ((name, values),) = entry["sweep"].items()
    if name != "budget" and name not in kind.parameters:
        raise InputError(
            f"{where}.sweep names '{name}', allowed are budget and the parameters of '{kind.name}', "
            f"{sorted(kind.parameters)}; correct it"
        )
    if name in entry["parameters"]:
        raise InputError(f"{where}.sweep and {where}.parameters both give '{name}'; remove one")
    if values == "all":
        if name != "bucket":
            raise InputError(f"{where}.sweep.{name} is all, which only bucket may be; list its values")
        return
    check_values(values, f"{where}.sweep.{name}")
    for value in values if name != "budget" else ():
        kind.settings({name: value}, f"{where}.sweep")


def _check_flips(config: Entry, where: str, entry: Config) -> None:
    # Copied: a poison of other data may have the same mapping, by an anchor.
    entry["flips"] = flips = dict(entry["flips"])
    specification = config["datasets"][entry["dataset"]]
    names = _names(config, entry["dataset"])
    for key, words in (("source", SOURCES), ("target", TARGETS)):
        if flips[key] not in words:
            flips[key] = _class(config, entry["dataset"], flips[key], f"{where}.flips.{key}")
    swept = "budget" in (entry["sweep"] or {})  # a curve may begin without poisons
    for value in _budgets(entry):
        if value < 0 or (value == 0 and not swept) or (value >= 1 and value != int(value)):
            raise InputError(
                f"{where}.budget is {value:g}, allowed are whole numbers from 1 and shares between 0 and 1, and in a "
                "sweep 0; change it"
            )
    if names is None or "found" in flips.values():
        return
    found = pairs(flips, names)
    counts = sources.class_counts(specification)
    if (
        counts is None or entry["strategy"] == "none" or ":" in entry["strategy"]
    ):  # one of one's own may add points instead
        return
    counts = _trained_on(counts, entry["split"])
    for value in _budgets(entry):
        wanted: dict[int, int] = {}
        for (source, _), budget in zip(
            found, budgets(value, entry["per"], len(found), sum(counts.values())), strict=True
        ):
            wanted[source] = wanted.get(source, 0) + budget
        for source, budget in wanted.items():
            if budget > counts[source]:
                raise InputError(
                    f"poison budget {budget} exceeds the {counts[source]} images of class {source} in "
                    f"'{entry['dataset']}'; lower {where}.budget"
                )
        if value and not any(wanted.values()):
            raise InputError(
                f"{where}.budget is the share {value:g} of {sum(counts.values())} points, which is no poison at "
                "all; raise it"
            )


def _trained_on(counts: dict[int, int], split: Any) -> dict[int, int]:
    """Training points of each class that a division leaves, at most."""
    if not split:
        return counts
    share, most = (split["share"], split["points"]) if isinstance(split, dict) else (split, None)
    drawn = {
        label: count if most is None else min(count, math.ceil(most / len(counts))) for label, count in counts.items()
    }
    return {label: math.ceil(count * (1 - share)) for label, count in drawn.items()}


def _budgets(entry: Entry) -> list[float]:
    """Every budget that a poison has."""
    return (entry["sweep"] or {}).get("budget") or [entry["budget"]]


def _check_bucket(config: Entry, where: str, entry: Entry, kind: Any) -> None:
    """Refuse a bucket that does not exist or need not hold the budget."""
    name = entry["needs"]["buckets"]
    buckets = config["buckets"][name]
    swept = (entry["sweep"] or {}).get("bucket")
    chosen = swept or [kind.settings(entry["parameters"], where)["bucket"]]
    for value in chosen if swept != "all" else ():
        if not 0 <= value < buckets["count"]:
            raise InputError(
                f"{where}: bucket {value} is not in buckets.{name}, allowed are 0 … {buckets['count'] - 1}; change it"
            )
    if (most := max(_budgets(entry))) > buckets["minimum"]:
        raise InputError(
            f"{where}.budget is {most:g}, a bucket of buckets.{name} may hold {buckets['minimum']} points; lower "
            "the budget or raise "
            f"buckets.{name}.minimum"
        )


def _check_victim(config: Entry, where: str, entry: Entry) -> None:
    check_model(config, entry["model"], f"{where}.model")
    own = entry_of(config, "recipes", entry["recipe"], f"{where}.recipe")
    if entry["sweep"] is None:
        return
    ((place, values),) = entry["sweep"].items()
    if values == "all":
        raise InputError(f"{where}.sweep.{place} is all, which only a poison's bucket may be; list its values")
    check_values(values, f"{where}.sweep.{place}")
    part, _, key = place.partition(".")
    if part not in ("recipe", "model") or not key:
        raise InputError(
            f"{where}.sweep names '{place}', allowed are recipe.<key>, recipe.<part>.<parameter>, model.<parameter>; "
            "correct it"
        )
    for value in values:
        if part == "recipe":
            recipes.Recipe.of(swept({k: v for k, v in own.items() if k != "precision"}, key, value), f"{where}.sweep")
        else:
            given = config["models"].get(entry["model"], entry["model"])
            models.parse(swept(given if isinstance(given, dict) else {"model": given}, key, value), f"{where}.sweep")


def swept(settings: Entry, key: str, value: float) -> Entry:
    """Settings with another value of a key, or of a part's parameter: `part.parameter`."""
    part, _, parameter = key.partition(".")
    if not parameter:
        return {**settings, key: value}
    own = settings.get(part)
    return {**settings, part: {**({"name": own} if isinstance(own, str) else own or {}), parameter: value}}
