"""Words that several captions share: names for readers, values with intervals, where the data come from, and n."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from poisonlab.figures.experiments import Experiment
    from poisonlab.statistics import Estimate

SCALES = {
    "published": "Published scale.",
    "reduced": "Reduced scale: fewer points, victims or epochs than published.",
    "analogue": "Analogue: other data than published, no verdict.",
    "own": "",  # nothing is published that it could differ from
}


# Words of the names of attacks that say a method; the goal, starts and radii stand in the caption anyway.
METHODS = {"pgd": "PGD", "fgsm": "FGSM", "apgd": "APGD", "dlr": "APGD-DLR", "square": "Square attack"}


def named(name: str, labels: Mapping[str, str]) -> str:
    """What readers see instead of a name of the configuration: its label, or else the name as words.

    Of "poison@victim" each part by itself. Of "condition 0.1", at a value of its sweep, the label of "condition *",
    whose {} is the value and {%} the value in per cent, or else that of the condition and the value.
    """
    if name in labels:
        return labels[name]
    condition, _, value = name.rpartition(" ")
    if condition and (pattern := labels.get(f"{condition} *")) is not None:
        return pattern.replace("{%}", percent(float(value))) if "{%}" in pattern else pattern.replace("{}", value)
    if condition:
        return f"{named(condition, labels)} {value}"
    return ", ".join(labels.get(part, part.replace("_", " ")) for part in name.split("@"))


def joined(words: Sequence[str]) -> str:
    """Write a list: "a, b and c"."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def counted(count: int, noun: str) -> str:
    """Write a number of things: "1 set", "3 sets"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def each(notes: Sequence[tuple[str, str]]) -> str:
    """Write what is said of each of several by name: once where it is the same of all."""
    if len({words for _, words in notes}) == 1:
        return notes[0][1]
    return "; ".join(f"{name}: {words}" for name, words in notes)


def value_text(estimate: Estimate, digits: int = 2, sign: str = "") -> str:
    """Write a mean with its 95 % interval, "0.42 [0.35, 0.49]", or alone where it has none; `sign` is "+" or ""."""
    value, low, high = (f"{one:{sign}.{digits}f}" for one in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]" if math.isfinite(estimate.low + estimate.high) else value


def most_and_least(names: Sequence[str], means: Sequence[Estimate], what: str) -> str:
    """Say which of several has the most and which the least of something."""
    known = [n for n in range(len(means)) if not math.isnan(means[n].value)]
    order = sorted(known, key=lambda n: means[n].value)
    if len(order) < 2:
        return f"The {what} is {value_text(means[order[0]])} ({names[order[0]]})." if order else f"No {what} is known."
    least, most = (f"{names[n]}, {value_text(means[n])}" for n in (order[0], order[-1]))
    return f"Most {what} is left by {most}, least by {least}."


def provenance(facts: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Say what is known of `dataset`, `model`, `recipe`, `step_size`, `clip` and `scale`, in one or two sentences.

    `trained` are words that stand in the place of `recipe`.

    Raises:
        InputError: the scale is none of `SCALES`.
    """
    known = []
    if facts.get("dataset") is not None:
        known.append(named(str(facts["dataset"]), labels))
    known += [part_of(key, str(facts[key]), labels) for key in ("model", "recipe") if facts.get(key) is not None]
    known += [facts["trained"]] if facts.get("trained") else []
    if facts.get("step_size") is not None:
        known.append(f"path steps of {facts['step_size']}" + " (not clipped to [0, 1])" * (facts.get("clip") is False))
    sentences = [f"Made with {', '.join(known)}."] if known else []
    scale = facts.get("scale")
    if scale is not None:
        if scale not in SCALES:
            raise InputError(f"scale '{scale}' is none of {list(SCALES)}; repair the column or option 'scale'")
        sentences.append(SCALES[scale])
    return " ".join(filter(None, sentences))


def part_of(kind: str, names: str, labels: Mapping[str, str]) -> str:
    """Name models or recipes, as `common_facts` lists them: each by the label of "model name", or else as words."""
    words: list[str] = []
    told = False  # whether the word before is one that `kind` stands before
    for one in dict.fromkeys(names.split(", ")):
        label = labels.get(f"{kind} {one}")
        words.append(one.replace("_", " ") if label is None and told else label or f"{kind} {one.replace('_', ' ')}")
        told = label is None
    return ", ".join(dict.fromkeys(words))


def trained_by(recipes: Iterable[tuple[str, str, str]], labels: Mapping[str, str]) -> str:
    """Name recipes with their precision, and which directions each trained where they differ.

    Args:
        recipes: (recipe, precision, direction) of each experiment.
    """
    directions: dict[tuple[str, str], dict[str, None]] = {}
    for recipe, precision, direction in recipes:
        directions.setdefault((recipe, precision), {})[direction] = None
    precisions = list(dict.fromkeys(precision for _, precision in directions))
    everywhere = set.intersection(*(set(own) for own in directions.values()))
    apart = len(directions) > 1 and not everywhere and all("→" in one for own in directions.values() for one in own)
    words = [
        part_of("recipe", recipe, labels) + f" in {precision}" * (len(precisions) > 1) + f" ({', '.join(own)})" * apart
        for (recipe, precision), own in directions.items()
    ]
    return ", ".join(words) + f" in {precisions[0]}" * (len(precisions) == 1)


def shared_n(estimates: Iterable[Estimate | None]) -> str:
    """Give the draws × repeats of several estimates at once: "5 × 4", or "3–5 × 4" where they differ.

    Victims that are missing from the grids are counted: "5 × 4, 2 missing".
    """
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return "0"
    draws, repeats = [estimate.n_draws for estimate in known], [estimate.n_repeats for estimate in known]
    missing = sum(estimate.n_missing for estimate in known)
    size = f"{span(min(draws), max(draws))} × {span(min(repeats), max(repeats))}"
    return f"{size}, {missing} missing" if missing else size


def span(low: float, high: float) -> str:
    """Write a range of whole numbers: "7–9", or "7" when both ends are equal."""
    return f"{low:.0f}" if low == high else f"{low:.0f}–{high:.0f}"


def percent(share: float, digits: int | None = None) -> str:
    """Write a share as per cent: "90 %", "99.5 %", or with a fixed number of digits "98.92 %"."""
    return f"{100 * share:.6g} %" if digits is None else f"{100 * share:.{digits}f} %"


def step_unit(step_size: float | None) -> str:
    """Name the unit of path lengths: "steps", or "steps of 0.01"."""
    return "steps" if step_size is None else f"steps of {step_size}"


def shared_facts(experiments: Sequence[Experiment], options: Mapping[str, Any], recipes: bool = True) -> dict[str, str]:
    """Fill the caption fields directions, budget and provenance, with or without the recipes of the victims.

    Raises:
        InputError: the experiments are of different scales.
    """
    import pandas as pd

    labels = options["labels"]

    def listed(key: str) -> str:
        values = [experiment.facts[key] for experiment in experiments if pd.notna(experiment.facts[key])]
        words = [named(value, labels) if isinstance(value, str) else f"{value:g}" for value in values]
        return ", ".join(dict.fromkeys(", ".join(words).split(", ")))  # a fact may be a list already

    scales = sorted({str(experiment.facts["scale"]) for experiment in experiments})
    if len(scales) > 1:
        names = [experiment.name for experiment in experiments]
        raise InputError(f"experiments {names} mix the scales {scales}; draw those of one scale by 'experiments'")
    known = {
        "dataset": listed("dataset") or None,
        "model": ", ".join(dict.fromkeys(str(one.facts["model"]) for one in experiments)),
        "trained": trained_by([(e.facts["recipe"], e.facts["precision"], e.direction) for e in experiments], labels)
        if recipes
        else "",
    }
    return {
        "directions": ", ".join(experiment.direction for experiment in experiments),
        "budget": listed("budget"),
        "provenance": provenance({**known, "scale": scales[0]}, labels),
    }


def common_facts(rows: pd.DataFrame, names: Iterable[str]) -> dict[str, Any]:
    """Return what rows of `conditions` have in common; different classes are NaN, anything else is listed."""
    facts = {}
    for name in names:
        values = list(rows[name].unique())
        if len(values) == 1:
            facts[name] = values[0]
        elif name in ("source_class", "target_class"):
            facts[name] = math.nan
        else:
            words = all(isinstance(value, str) for value in values)
            facts[name] = ", ".join(values if words else (f"{value:g}" for value in sorted(values)))
    return facts


def provenance_of(conditions: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """`provenance` of rows of `conditions`."""
    return provenance(common_facts(conditions, ("dataset", "model", "recipe", "scale")), labels)


def definition(attacks: Sequence[pd.Series]) -> str:
    """Say what adversarial accuracy means under these attacks, one row of `robustness` each."""
    import pandas as pd

    if all(attack["goal"] == "targeted" and pd.isna(attack["attack_source"]) for attack in attacks):
        return "share of each class's test points not taken for the next class, mean over classes"
    if all(attack["goal"] == "targeted" for attack in attacks):
        return "share of the source class's test points not taken for the target class"
    return "share of the test points still classified correctly"


def measured(attacks: Sequence[pd.Series]) -> str:
    """Say in a sentence what adversarial accuracy means, and under which attacks, rows of `robustness`; "" for none."""
    meanings: dict[str, list[pd.Series]] = {}
    for attack in attacks:
        meanings.setdefault(definition([attack]), []).append(attack)
    attacked = {describe_all(own) for own in meanings.values()}
    if len(attacked) == 1 and all(attack["goal"] == "targeted" for attack in attacks):
        several = ", mean over classes where poisons are of all" * (len(meanings) > 1)
        meaning = definition(attacks) + several
        return f"Adversarial accuracy under {attacked.pop()}: {meaning}. "
    words = [f"under {describe_all(own)}: {meaning}" for meaning, own in meanings.items()]
    return f"Adversarial accuracy {'; '.join(words)}. " if words else ""


def describe_all(attacks: Iterable[pd.Series]) -> str:
    """Name attacks, each once."""
    return "; ".join(dict.fromkeys(map(describe, attacks)))


def radius_text(radius: float) -> str:
    """Write a radius: "0.1", or "8/255" where that is what a long decimal means."""
    short, levels = f"{radius:g}", 255 * radius
    return f"{levels:.0f}/255" if len(short) > 5 and math.isclose(levels, round(levels), rel_tol=1e-9) else short


def describe(attack: pd.Series) -> str:
    """Name an attack, a row of `robustness`, with its goal, norm, radius, steps and starts."""
    norm = {"linf": "l∞", "l2": "l2"}.get(str(attack["norm"]), str(attack["norm"]))
    import pandas as pd

    # What a method does not have is not known of it.
    known = {key: attack[key] for key in ("steps", "step_size", "restarts") if not pd.isna(attack[key])}
    facts = [attack["goal"], norm, f"ε = {radius_text(attack['epsilon'])}"]
    if "steps" in known:
        size = f" of {known['step_size'] * attack['epsilon']:.3g}" if "step_size" in known else ""
        facts.append(f"{known['steps']:.0f} step{'' if known['steps'] == 1 else 's'}{size}")
    if attack["random_start"] is True or attack["random_start"] == 1:
        facts.append(f"{known['restarts']:.0f} random start{'' if known['restarts'] == 1 else 's'}")
    return f"{method(str(attack['attack']))} ({', '.join(facts)})"


def method(attack: str) -> str:
    """Name an attack of the configuration for readers: "PGD" of "pgd_next", or its name as words."""
    words = [METHODS[word] for word in attack.split("_") if word in METHODS]
    return words[-1] if words else attack.replace("_", " ")
