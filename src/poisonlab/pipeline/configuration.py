"""The configuration, checked before anything runs. Imports no torch."""

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from poisonlab import figures, models
from poisonlab.datasets import sources
from poisonlab.errors import InputError
from poisonlab.poisons import strategies

STUDIES = ("label_noise",)
NEEDS = ("buckets", "features", "logits", "colours")  # what a strategy may need: see `Plan.strategy_inputs`
Config = dict[str, Any]


def _with_defaults(schema_path: Path) -> Any:
    """A validator that also fills in the schema's defaults (the recipe of jsonschema's own documentation)."""
    schema = yaml.safe_load(schema_path.read_text())
    base = jsonschema.Draft202012Validator
    check_properties = base.VALIDATORS["properties"]

    def fill(validator: Any, properties: Any, instance: Any, parent: Any) -> Any:
        if isinstance(instance, dict):
            for key, subschema in properties.items():
                if "default" in subschema:
                    instance.setdefault(key, json.loads(json.dumps(subschema["default"])))
        yield from check_properties(validator, properties, instance, parent)

    return jsonschema.validators.extend(base, {"properties": fill})(schema)


def _one_line(error: jsonschema.ValidationError) -> str:
    """Say which key is wrong, what it holds, what is allowed, and what to do."""
    key = ".".join(str(part) for part in error.absolute_path) or "the top level"
    rule, limit, value = error.validator, error.validator_value, error.instance
    if rule == "additionalProperties":
        unknown = sorted(set(value) - set(error.schema.get("properties", {})))
        return f"unknown key {unknown} in {key}; allowed are {sorted(error.schema['properties'])}; remove or correct it"
    if rule == "required":
        missing = sorted(set(limit) - set(value))
        return f"{key} lacks {missing}; add it"
    allowed = {"enum": "one of", "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below",
               "type": "of type", "minItems": "a list of at least", "pattern": "a name like"}.get(str(rule), str(rule))  # fmt: skip
    return f"{key} is {value!r}, allowed is {allowed} {limit}; change it"


def check(config: Config, schema_path: Path) -> Config:
    """Return the configuration with every default filled in.

    Raises:
        InputError: the first thing that is not allowed: by the schema, or because a name, class, budget, strategy or file does not exist.
    """
    config = json.loads(json.dumps(config))
    # Snakemake reads `--config keep_victims=false` as a word: it knows True and False only.
    for key, value in config.items():
        config[key] = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    errors = sorted(
        _with_defaults(schema_path).iter_errors(config), key=lambda error: list(map(str, error.absolute_path))
    )
    if errors:
        raise InputError(f"configuration: {_one_line(errors[0])}")
    for study in STUDIES:
        for entry in config.get(study, {}).get("experiments", {}).values():
            if "buckets" in entry and entry["buckets"]["minimum"] is None:
                entry["buckets"]["minimum"] = 2 * entry["flip"]["budget"]
    _check_names(config)
    return config


def _entry(config: Config, section: str, name: str, where: str) -> dict[str, Any]:
    entries = config[section]
    if name not in entries:
        raise InputError(f"{where} names '{name}', which is not in {section} ({', '.join(entries)}); add or correct it")
    return entries[name]


def _check_names(config: Config) -> None:
    for name, specification in config["datasets"].items():
        sources.validate_specification(name, specification)
    mirror = config["mirror"]
    if mirror is not None and not Path(mirror).expanduser().is_dir():
        raise InputError(f"mirror '{mirror}' is not a folder; correct it or set mirror: null")
    for name, entry in config["paths"].items():
        _check_model(config, entry, f"paths.{name}")
        if entry["example"] is not None:
            _check_class(config, entry["dataset"], entry["example"]["source"], f"paths.{name}.example.source")
    for name, entry in config["covers"].items():
        _entry(config, "datasets", entry["dataset"], f"covers.{name}.dataset")
    for name, entry in config["graphs"].items():
        _check_graphs(config, f"graphs.{name}", entry)
    for name, entry in config["attacks"].items():
        if entry["restarts"] > 1 and not entry["random_start"]:
            raise InputError(
                f"attacks.{name} has {entry['restarts']} restarts from the same point; set random_start: true or restarts: 1"
            )
    for study in STUDIES:
        section = config.get(study, {"experiments": {}, "run": [], "figures": {}})
        for name, entry in section["experiments"].items():
            _check_experiment(config, f"{study}.experiments.{name}", entry)
        for name in section["run"]:
            if name not in section["experiments"]:
                raise InputError(
                    f"{study}.run names '{name}', which is not in {study}.experiments ({', '.join(section['experiments'])})"
                )
        for name, entry in section["figures"].items():
            _check_figure(config, study, name, entry)


def _check_model(config: Config, entry: Mapping[str, Any], where: str) -> None:
    _entry(config, "datasets", entry["dataset"], f"{where}.dataset")
    _entry(config, "recipes", entry["recipe"], f"{where}.recipe")
    module = models.import_path(entry["model"]).partition(":")[0]
    try:
        # Only looked for: importing a model would import torch.
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise InputError(
            f"{where}.model '{entry['model']}': there is no module '{module}'; put {module}.py into the working directory or on PYTHONPATH"
        )


def _check_class(config: Config, dataset: str, label: int, where: str) -> None:
    """Refuse a class that the data set does not have, if it is known before its data are read."""
    names = sources.class_names(config["datasets"][dataset])
    if names is not None and label >= len(names):
        raise InputError(f"{where}: class {label} is not in '{dataset}' (0 … {len(names) - 1}); choose one of these")


def _check_graphs(config: Config, where: str, entry: Mapping[str, Any]) -> None:
    dataset = _entry(config, "paths", entry["paths"], f"{where}.paths")["dataset"]
    if (colouring := entry["colouring"]) is None:
        return
    _entry(config, "recipes", colouring["recipe"], f"{where}.colouring.recipe")
    _check_class(config, dataset, colouring["class"], f"{where}.colouring.class")


def _check_experiment(config: Config, where: str, entry: Mapping[str, Any]) -> None:
    _check_model(config, entry, where)
    for attack in [*entry["attacks"], *(a for c in entry["conditions"].values() for a in c["attacks"])]:
        _entry(config, "attacks", attack, f"{where}.attacks")
    flip, specification = entry["flip"], config["datasets"][entry["dataset"]]
    names, counts = sources.class_names(specification), sources.class_counts(specification)
    for key in ("source", "target"):
        if isinstance(flip[key], int):
            _check_class(config, entry["dataset"], flip[key], f"{where}.flip.{key}")
    one_pair = isinstance(flip["source"], int) and isinstance(flip["target"], int)
    if one_pair or names is not None:
        for source, target in strategies.pairs(flip["source"], flip["target"], len(names or ())):
            if source == target:
                raise InputError(f"{where}.flip relabels class {source} to itself; choose another target")
            if counts is not None and flip["budget"] > counts[source]:
                raise InputError(
                    f"poison budget {flip['budget']} exceeds the {counts[source]} images of class {source} in "
                    f"'{entry['dataset']}'; lower {where}.flip.budget"
                )
    for attack in [*entry["attacks"], *(a for c in entry["conditions"].values() for a in c["attacks"])]:
        if config["attacks"][attack]["goal"] == "target" and not one_pair:
            raise InputError(
                f"{where}: attack '{attack}' leads from one source class to one target class, the flip is {flip['source']} → "
                f"{flip['target']}; choose an attack of goal next or untargeted"
            )
    if entry["redraw"] and sources.SOURCES[specification["source"]].kind != "toy":
        raise InputError(
            f"{where}.redraw: '{entry['dataset']}' is no toy whose points could be drawn anew; set redraw: false"
        )
    if entry["probes"] and flip["target"] == "new":
        raise InputError(
            f"{where}.probes: probes lead to training points of the flip's target, and a new class has none; set probes: false"
        )
    axes = [strategies.find(condition["strategy"]).axis for condition in entry["conditions"].values()]
    options = sources.options_of(entry["dataset"], specification)
    flat = options.get("dimensions", 0) + options.get("noise", 0) == 2  # a toy in a plane
    if entry["maps"] and not ("bucket" in axes if "buckets" in entry else any(axes) and flat):
        raise InputError(
            f"{where}.maps: maps need buckets and a condition that takes its points from them, or a toy of 2 dimensions and a condition "
            "with a sweep axis; set maps: false"
        )
    for name, condition in entry["conditions"].items():
        strategy = strategies.find(condition["strategy"])
        if entry["redraw"] and strategy.needs:
            raise InputError(
                f"{where}.conditions.{name}: strategy '{strategy.name}' needs {', '.join(strategy.needs)} of one training set, "
                "redraw makes another for every draw; set redraw: false"
            )
        if unknown := sorted(set(condition["parameters"]) - set(strategy.parameters)):
            raise InputError(
                f"{where}.conditions.{name}: strategy '{strategy.name}' has no parameters {unknown}, it takes {sorted(strategy.parameters)}"
            )
        if unknown := sorted(set(strategy.needs) - set(NEEDS)):
            raise InputError(
                f"{where}.conditions.{name}: strategy '{strategy.name}' needs {unknown}, which the pipeline does not make; "
                f"allowed are {sorted(NEEDS)}"
            )
        if condition["values"] and strategy.axis is None:
            raise InputError(
                f"{where}.conditions.{name}.values: strategy '{strategy.name}' has no sweep axis; remove them"
            )
        if strategy.axis not in (None, "bucket") and not condition["values"]:
            raise InputError(
                f"{where}.conditions.{name} gives no values of the sweep axis '{strategy.axis}' of strategy '{strategy.name}'; add values"
            )
        if "buckets" in strategy.needs and "buckets" not in entry:
            raise InputError(
                f"{where}.conditions.{name}: strategy '{strategy.name}' needs buckets; add {where}.buckets"
            )
        if (asked := {"features", "logits"} & set(strategy.needs)) and not entry["features"]:
            raise InputError(
                f"{where}.conditions.{name}: strategy '{strategy.name}' needs {', '.join(sorted(asked))}; "
                f"name paths whose proxy gives them: {where}.features"
            )
        if "colours" in strategy.needs:
            _check_colouring(config, where, entry)
    if (
        entry["features"]
        and _entry(config, "paths", entry["features"], f"{where}.features")["dataset"] != entry["dataset"]
    ):
        raise InputError(
            f"{where}.features are of another data set than '{entry['dataset']}'; choose paths of the same"
        )
    if "buckets" in entry and not one_pair:
        raise InputError(
            f"{where}.buckets are of one class, the flip is {flip['source']} → {flip['target']}; give its source and target as numbers"
        )
    if "buckets" in entry:
        paths = _entry(config, "paths", entry["buckets"]["paths"], f"{where}.buckets.paths")
        if paths["dataset"] != entry["dataset"]:
            raise InputError(
                f"{where}.buckets.paths are of data set '{paths['dataset']}', the experiment's is '{entry['dataset']}'; "
                "choose paths of the same"
            )
        count, minimum = entry["buckets"]["count"], entry["buckets"]["minimum"]
        if counts is not None and count * minimum > counts[flip["source"]]:
            raise InputError(
                f"{where}.buckets: {count} buckets of at least {minimum} points need {count * minimum} images of class {flip['source']}, "
                f"'{entry['dataset']}' has {counts[flip['source']]}; lower buckets.count, buckets.minimum or flip.budget"
            )
        if paths["goal"] == "next" and names is not None and flip["target"] != (flip["source"] + 1) % len(names):
            raise InputError(
                f"{where}.buckets.paths lead to the next class, the flip {flip['source']} → {flip['target']} does not; use goal: untargeted"
            )


def _check_colouring(config: Config, where: str, entry: Mapping[str, Any]) -> None:
    if entry["colouring"] is None:
        raise InputError(f"{where} needs colours; name graphs that have a colouring: {where}.colouring")
    graphs = _entry(config, "graphs", entry["colouring"], f"{where}.colouring")
    dataset, colouring = config["paths"][graphs["paths"]]["dataset"], graphs["colouring"]
    if colouring is None:
        raise InputError(
            f"{where}.colouring: graphs.{entry['colouring']} has no colouring; add graphs.{entry['colouring']}.colouring"
        )
    if (dataset, colouring["class"]) != (entry["dataset"], entry["flip"]["source"]):
        raise InputError(
            f"{where}.colouring is of class {colouring['class']} of '{dataset}', the flip's source is {entry['flip']['source']} of "
            f"'{entry['dataset']}'; choose the same"
        )


def _check_figure(config: Config, study: str, name: str, entry: Mapping[str, Any]) -> None:
    where = f"{study}.figures.{name}"
    if entry["kind"] not in figures.FIGURES:
        raise InputError(f"{where}.kind '{entry['kind']}' does not exist; choose one of {', '.join(figures.FIGURES)}")
    if unknown := sorted(set(entry["options"]) - set(figures.FIGURES[entry["kind"]].options)):
        raise InputError(
            f"{where}.options: unknown {unknown}, kind '{entry['kind']}' takes {sorted(figures.FIGURES[entry['kind']].options)}; "
            "remove or correct them"
        )
    section = config[study]
    for experiment in entry["experiments"]:
        if experiment not in section["experiments"]:
            raise InputError(
                f"{where}.experiments names '{experiment}', which is not in {study}.experiments ({', '.join(section['experiments'])})"
            )
    if entry["paths"]:
        _entry(config, "paths", entry["paths"], f"{where}.paths")
    if entry["graphs"]:
        graphs = _entry(config, "graphs", entry["graphs"], f"{where}.graphs")
        if "scores" in figures.FIGURES[entry["kind"]].needs and graphs["colouring"] is None:
            raise InputError(f"{where}.graphs: graphs.{entry['graphs']} has no colouring to show; add one")
    if entry["bound"]:
        section = "simulations" if "runs" in figures.FIGURES[entry["kind"]].needs else "covers"
        _entry(config, section, entry["bound"], f"{where}.bound")
