"""Words that several captions share: where the data come from, at which scale, and how many victims."""

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
    "analogue": "Analogue: other data than the published figure's, so it shows the method and supports no verdict.",
}


def provenance(facts: Mapping[str, Any]) -> str:
    """Say what is known of `dataset`, `model`, `recipe`, `step_size`, `clip` and `scale`, in one or two sentences.

    Raises:
        InputError: the scale is none of `SCALES`.
    """
    words = {"dataset": "dataset", "model": "model", "recipe": "recipe", "step_size": "path steps of"}
    known = [f"{word} {facts[key]}" for key, word in words.items() if facts.get(key) is not None]
    if facts.get("step_size") is not None and facts.get("clip") is False:
        known[-1] += " (not clipped to [0, 1])"
    sentences = [f"Made with {', '.join(known)}."] if known else []
    scale = facts.get("scale")
    if scale is not None:
        if scale not in SCALES:
            raise InputError(f"scale '{scale}' is none of {list(SCALES)}; repair the column or option 'scale'")
        sentences.append(SCALES[scale])
    return " ".join(sentences)


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


def shared_facts(experiments: Sequence[Experiment], options: Mapping[str, Any]) -> dict[str, str]:
    """Fill the caption fields directions, budget and provenance.

    Raises:
        InputError: the experiments are of different scales.
    """
    import pandas as pd

    def listed(key: str) -> str:
        values = [experiment.facts[key] for experiment in experiments if pd.notna(experiment.facts[key])]
        return ", ".join(dict.fromkeys(value if isinstance(value, str) else f"{value:g}" for value in values))

    scales = sorted({str(experiment.facts["scale"]) for experiment in experiments})
    if len(scales) > 1:
        names = [experiment.name for experiment in experiments]
        raise InputError(f"experiments {names} mix the scales {scales}; draw those of one scale by 'experiments'")
    recipes: dict[str, dict[str, None]] = {}  # to its directions, each once
    for one in experiments:
        recipes.setdefault(f"{one.facts['recipe']} in {one.facts['precision']}", {})[one.direction] = None
    everywhere = set.intersection(*(set(directions) for directions in recipes.values()))
    made_by = [
        recipe if len(recipes) == 1 or everywhere else f"{recipe} ({', '.join(directions)})"
        for recipe, directions in recipes.items()
    ]
    known = {"dataset": listed("dataset") or None, "model": listed("model") or None, "recipe": ", ".join(made_by)}
    return {
        "directions": ", ".join(experiment.direction for experiment in experiments),
        "budget": listed("budget"),
        "provenance": provenance(
            {**known, "step_size": options.get("step_size"), "clip": options.get("clip"), "scale": scales[0]}
        ),
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


def definition(attacks: Sequence[pd.Series]) -> str:
    """Say what adversarial accuracy means under these attacks, one row of `robustness` each."""
    import pandas as pd

    if all(attack["goal"] == "targeted" and pd.isna(attack["attack_source"]) for attack in attacks):
        return (
            "the share of the test points of a class that, attacked, are not classified as the next class, mean over "
            "the classes"
        )
    if all(attack["goal"] == "targeted" for attack in attacks):
        return "the share of all test points of the source class that, attacked, are not classified as the target"
    return "the share of all test points that, attacked, are still classified correctly"


def describe_all(attacks: Iterable[pd.Series]) -> str:
    """Name attacks, each once."""
    return "; ".join(dict.fromkeys(map(describe, attacks)))


def describe(attack: pd.Series) -> str:
    """Name an attack, a row of `robustness`, with its goal, norm, radius, steps and starts."""
    norm = {"linf": "l∞", "l2": "l2"}.get(str(attack["norm"]), str(attack["norm"]))
    import pandas as pd

    # What a method does not have is not known of it.
    known = {key: attack[key] for key in ("steps", "step_size", "restarts") if not pd.isna(attack[key])}
    facts = [attack["goal"], norm, f"ε = {attack['epsilon']:g}"]
    if "steps" in known:
        size = f" of {known['step_size'] * attack['epsilon']:.3g}" if "step_size" in known else ""
        facts.append(f"{known['steps']:.0f} step{'' if known['steps'] == 1 else 's'}{size}")
    if attack["random_start"] is True or attack["random_start"] == 1:
        facts.append(f"{known['restarts']:.0f} random start{'' if known['restarts'] == 1 else 's'}")
    return f"{attack['attack']} ({', '.join(facts)})"
