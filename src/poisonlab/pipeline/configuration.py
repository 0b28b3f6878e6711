"""The configuration with its studies, checked before anything runs. Imports no torch."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema

from poisonlab.errors import InputError
from poisonlab.pipeline import names
from poisonlab.pipeline.studies import Config, read_yaml, with_studies

# What JSON schema calls types.
TYPES = {"object": "a mapping", "array": "a list", "string": "a word or text", "number": "a number",
         "integer": "a whole number", "boolean": "true or false", "null": "null"}  # fmt: skip


def _with_defaults(validator: Any, properties: Any, instance: Any, parent: Any) -> Any:
    """Fill in a schema's defaults while it is checked (the recipe of jsonschema's own documentation)."""
    if isinstance(instance, dict):
        for key, subschema in properties.items():
            if "default" in subschema:
                instance.setdefault(key, json.loads(json.dumps(subschema["default"])))
    yield from jsonschema.Draft202012Validator.VALIDATORS["properties"](validator, properties, instance, parent)


_Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"properties": _with_defaults})


def _one_line(error: jsonschema.ValidationError, prefix: str) -> str:
    """Say which key is wrong, what it holds, what is allowed, and what to do."""
    if (
        error.context and error.validator == "anyOf"
    ):  # of the alternatives the one that comes nearest: it is of the right type
        near = [one for one in error.context if one.validator not in ("type", "const") or len(one.path)]
        if near:
            return _one_line(max(near, key=lambda one: len(one.absolute_path)), prefix)
    key = ".".join([*([prefix] if prefix else []), *(str(part) for part in error.absolute_path)]) or "the top level"
    rule, limit, value = error.validator, error.validator_value, _shown(error.instance)
    if rule == "additionalProperties":
        unknown = sorted(set(error.instance) - set(error.schema.get("properties", {})))
        return f"unknown key {unknown} in {key}; allowed are {sorted(error.schema['properties'])}; remove or correct it"
    if rule == "required":
        return f"{key} lacks {sorted(set(limit) - set(error.instance))}; add it"
    if rule == "uniqueItems":
        return f"{key} is {value}, each value may occur once; remove the copies"
    if rule == "anyOf":
        return f"{key} is {value}, allowed is: {error.schema.get('description', limit)} Change it"
    if rule in ("minProperties", "maxProperties"):
        bound = "at least" if rule == "minProperties" else "at most"
        return f"{key} is {value}, allowed is {bound} {limit} entry; change it"
    if error.schema.get("pattern") and rule in ("pattern", "maxLength"):
        most = error.schema["maxLength"]
        return f"{key} has the name {value}, allowed are up to {most} letters, digits and _, a letter first; rename it"
    if rule == "type":
        kinds = [limit] if isinstance(limit, str) else limit
        way = "change it"
        if _is_number(error.instance):
            way = "write it without quotes, and 1e-3 as 0.001; inside a mapping --config gives texts: use --configfile"
        return f"{key} is {value}, allowed is {' or '.join(TYPES[kind] for kind in kinds)}; {way}"
    words = {"enum": "one of", "minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above",
             "exclusiveMaximum": "below", "minItems": "a list of at least",
             "minLength": "a text of at least"}  # fmt: skip
    return f"{key} is {value}, allowed is {words.get(str(rule), str(rule))} {limit}; change it"


def _is_number(text: Any) -> bool:
    """Whether a text that stands where a number should would be one."""
    try:
        return isinstance(text, str) and math.isfinite(float(text))
    except ValueError:
        return False


def _shown(value: Any) -> str:
    """A value as Python writes it, its first characters where it is long."""
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]} …"


def _fill(value: Config, schema: Mapping[str, Any], prefix: str = "") -> None:
    """Fill in defaults and refuse what the schema does not allow."""
    errors = sorted(_Validator(schema).iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    if errors:
        raise InputError(f"configuration: {_one_line(errors[0], prefix)}")


def check(config: Mapping[str, Any], root: Path) -> tuple[Config, dict[str, Path]]:
    """Return the configuration with its studies and every default filled in, and the studies' folders.

    Raises:
        InputError: the first thing that is not allowed: by a schema, or because a name, class, budget, strategy or file
            does not exist.
    """
    given = dict(config)
    # Snakemake reads `--config keep_victims=false` as a word: it knows True and False only.
    for key, value in given.items():
        given[key] = {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
    schemas = {name: read_yaml(root / "workflow" / "schemas" / f"{name}.schema.yaml") for name in ("config", "study")}
    given.setdefault("studies", schemas["config"]["properties"]["studies"]["default"])
    filled, folders = with_studies(given, root, schemas["config"]["properties"])
    sections = {name: filled.pop(name) for name in folders}
    _fill(filled, schemas["config"])
    for name, section in sections.items():
        _fill(section, schemas["study"], name)
        for entry in section["experiments"].values():
            _spell_out(entry, schemas["study"])
            entry["scale"] = entry["scale"] or ("analogue" if (folders[name] / "claims.yaml").is_file() else "own")
    for recipe in filled["recipes"].values():
        recipe["precision"] = recipe["precision"] or filled["precision"] or "float32"
    filled |= sections
    names.check_names(filled, list(folders))
    return filled, folders


def _spell_out(experiment: Config, schema: Mapping[str, Any]) -> None:
    """Write every condition of an experiment as condition → {poison, draws, repeats, victim, attacks}, its
    victims as name in conditions → victim.
    """
    poisons, victims = experiment["poisons"], experiment["victims"]
    experiment["victims"] = {name: name for name in victims} if isinstance(victims, list) else victims
    named = {name: name for name in poisons} if isinstance(poisons, list) else poisons
    spelt = {}
    for name, own in named.items():
        spelt[name] = {"poison": own} if isinstance(own, str) else own
        _fill(spelt[name], {"$defs": schema["$defs"], **schema["$defs"]["condition"]})
    experiment["poisons"] = spelt
