"""The study that an audit writes, phase by phase: it can be read, edited and run like any other."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from poisonlab.analyses.path_surveys import cut_buckets
from poisonlab.audit.question import Question
from poisonlab.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

VECTORS = "mlp"
GREY, COLOUR = "pooled", "small_cnn"
RADII = {
    "vectors": [0.05, 0.1, 0.2, 0.5, 1.0],
    "grey": [0.02, 0.05, 0.1, 0.2, 0.3],
    "colour": [0.0078, 0.0157, 0.0314, 0.0627],
}
SMALL = 5000  # training points: fewer are trained in smaller batches, for more epochs, and more of them in a job
ATTACK = "audit_pgd"
BUCKETS = 4
CUT = {"scheme": "quantile"}  # equal numbers: of a small class, equal ranges of lengths would hold too few points
SIZES = ((3, 2), (4, 4), (8, 4), (8, 8), (16, 8))  # draws × repeats, until intervals are narrow or the time is spent
WAYS = {
    "early": "early stopping",
    "cleaned": "labels cleaned by cleanlab",
    "decayed": "weight decay",
    "hardened": "adversarial training",
}
HARDENING_STEPS = 5  # of the attack that adversarial training trains on
HEAD = """# Written by `poisonlab audit`, which reads nothing back but the sizes below `experiments`.
# Run it again, edited or not: poisonlab run --study {folder}
"""


@dataclass(frozen=True)
class Facts:
    """What is known once the data are prepared.

    Attributes:
        n_train: training points; counts: of each class; tested: test points of each class.
        classes: their names.
        kind: vectors, grey or colour.
    """

    n_train: int
    counts: tuple[int, ...]
    classes: tuple[str, ...]
    kind: str
    tested: tuple[int, ...] = ()

    @property
    def model(self) -> str:
        """The model where the user names none."""
        return {"vectors": VECTORS, "grey": GREY, "colour": COLOUR}[self.kind]


@dataclass(frozen=True)
class Choices:
    """What was chosen for the user, or by the user.

    Attributes:
        recipe: of the victims.
        pair: numbers of the source and target class.
        budget: number of wrong labels.
        budgets: numbers of wrong labels that are compared, `budget` among them.
        epsilons: radii; the middle one is the audit's.
        draws, repeats: sizes of the experiments.
        ways: defences that are tried.
        buckets: buckets of path lengths that are compared; 0: none, for the class has too few different lengths.
    """

    recipe: Mapping[str, Any] = field(default_factory=dict)
    pair: tuple[int, int] = (0, 1)
    budget: int = 1
    budgets: tuple[int, ...] = ()
    epsilons: tuple[float, ...] = ()
    draws: int = 3
    repeats: int = 2
    ways: tuple[str, ...] = tuple(WAYS)
    buckets: int = 0

    @property
    def epsilon(self) -> float:
        return self.epsilons[len(self.epsilons) // 2]


def candidates(facts: Facts) -> list[dict[str, Any]]:
    """Recipes that are tried: three rates each, as many epochs as small or large data take."""
    small = facts.n_train <= SMALL
    epochs = (200 if small else 60) if facts.kind == "vectors" else (100 if small else 30)
    rates = [0.001, 0.003, 0.01]
    shared = {"batch_size": 64 if small else 128, "beta2": 0.99, "warmup": 0.1, "final": 0.1}
    return [{"epochs": epochs, "learning_rate": rate, **shared} for rate in rates]


def first_looks(question: Question, facts: Facts) -> dict[str, Any]:
    """The study before its recipe is known."""
    name, model = question.name, question.model or facts.model
    budget = max(1, min(10, facts.n_train // 50))
    return {
        "title": f"Audit of {name.removeprefix('audit_')}: what would wrong labels do?",
        "datasets": {name: dict(question.dataset)},
        "analyses": {
            f"{name}_recipes": {
                "analysis": "recipe_trials",
                "dataset": name,
                "parameters": {"model": model, "recipes": candidates(facts), "budget": budget},
            }
        },
        "run": [],
    }


def clean_nets(question: Question, facts: Facts, choices: Choices) -> dict[str, Any]:
    """The study before its pair of classes and its radius are known."""
    found = first_looks(question, facts)
    name, model = question.name, question.model or facts.model
    found["recipes"] = {name: dict(choices.recipe)}
    found["proxies"] = {name: {"dataset": name, "model": model, "recipe": name, "seeds": 3}}
    radii = [question.epsilon] if question.epsilon else RADII[facts.kind]
    found["analyses"][f"{name}_pairs"] = {
        "analysis": "class_pairs",
        "proxy": name,
        "needs": {"models": name},
        "parameters": {"radii": radii},
    }
    return found


def whole(question: Question, facts: Facts, choices: Choices) -> dict[str, Any]:
    """The study with its experiments."""
    found = clean_nets(question, facts, choices)
    name, model = question.name, question.model or facts.model
    source, target = choices.pair
    recipe, budgets = dict(choices.recipe), list(choices.budgets)
    flips = {"dataset": name, "flips": {"source": source, "target": target}, "budget": choices.budget}
    jobs = {"draws_per_job": 4 if facts.n_train <= SMALL else 1, "repeats_per_job": 4}
    size = {"draws": choices.draws, "repeats": choices.repeats, **jobs}
    attacked = {"attacks": [ATTACK], "headline": {"attack": ATTACK, "epsilon": choices.epsilon}}
    words = {way: WAYS[way] for way in choices.ways}
    found |= {
        "recipes": {
            name: recipe,
            f"{name}_early": {
                **recipe,
                "guard": {
                    "name": "validation",
                    "points": 0.2,
                    "by": "natural",
                    "patience": 3,
                    "epsilon": choices.epsilon,
                    "fgsm_epsilon": choices.epsilon,
                },
            },
            f"{name}_cleaned": {**recipe, "cleaning": "cleanlab"},
            f"{name}_decayed": {
                **{key: value for key, value in recipe.items() if key != "beta2"},
                "optimiser": {"name": "adamw", "beta2": recipe["beta2"], "weight_decay": 1.0},
            },
            f"{name}_hardened": {
                **recipe,
                "objective": {"name": "adversarial", "epsilon": choices.epsilon, "steps": HARDENING_STEPS},
            },
        },
        "paths": {name: {"proxy": name}},
        "attacks": {ATTACK: {"epsilon": list(choices.epsilons)}},
        "poisons": {
            "clean": {**flips, "strategy": "none"},
            "random": {**flips, "strategy": "random"},
            "medoids": {**flips, "strategy": "medoids"},
            "random_budgets": {**flips, "strategy": "random", "sweep": {"budget": budgets}},
            "medoids_budgets": {**flips, "strategy": "medoids", "sweep": {"budget": budgets}},
        },
        "victims": {
            "plain": {"model": model, "recipe": name},
            **{way: {"model": model, "recipe": f"{name}_{way}"} for way in choices.ways},
        },
        "experiments": {
            "harm": {
                "poisons": {
                    "clean": "clean",
                    "random": "random_budgets",
                    "medoids": "medoids_budgets",
                },
                "victims": ["plain"],
                **attacked,
                **size,
            },
            "defences": {
                "poisons": ["clean", "random", "medoids"],
                "victims": ["plain", *choices.ways],
                **attacked,
                **size,
                "detection": 2,
            },
        },
        "labels": {
            name: name.removeprefix("audit_").replace("_", " "),
            "random": "random points",
            "clean": "no wrong labels",
            **{f"recipe {name}_{way}": own for way, own in words.items()},
            f"recipe {name}": "plain",
            **words,
        },
        "figures": {
            "budgets": {
                "kind": "sweep",
                "title": "Adversarial accuracy against the number of wrong labels",
                "experiments": ["harm"],
                "options": {"axis_label": "wrong labels", "epsilon": choices.epsilon, "lines": {"harm": {"label": ""}}},
            },
            "radii": {"kind": "radii", "experiments": ["harm"], "options": {"attack": ATTACK, "value": choices.budget}},
            "defences": {
                "kind": "matrix",
                "title": "What helps",
                "experiments": ["defences"],
                "options": {"labels": {"plain": "as it is", "clean": "no poisons", "random": "random points", **words}},
            },
            "detected": {
                "kind": "detected",
                "experiments": ["defences"],
                "options": {"conditions": ["medoids@plain", "random@plain"]},
            },
        },
        "run": None,
    }
    if choices.buckets:
        found["buckets"] = {
            name: {"paths": name, "source": source, **CUT, "count": choices.buckets, "minimum": choices.budget}
        }
        found["poisons"]["bucket"] = {
            **flips,
            "strategy": "path_bucket",
            "needs": {"buckets": name},
            "sweep": {"bucket": "all"},
        }
        found["experiments"]["buckets"] = {"poisons": ["bucket"], "victims": ["plain"], **attacked, **size}
    return found


def buckets(paths: "pd.DataFrame", source: int, budget: int) -> int:
    """The most buckets of path lengths, up to `BUCKETS`, that hold the budget of a class each; 0 where not two do."""
    for count in range(BUCKETS, 1, -1):
        with contextlib.suppress(InputError):
            cut_buckets(paths, source, count, CUT["scheme"], budget)
            return count
    return 0


def write(study: Mapping[str, Any], folder: Path) -> None:
    """Write study.yaml, unless it says so already: files that do not change need nothing to run again."""
    folder.mkdir(parents=True, exist_ok=True)
    text = HEAD.format(folder=f"./{folder.name}") + yaml.safe_dump(
        dict(study), sort_keys=False, allow_unicode=True, width=120
    )
    file = folder / "study.yaml"
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
