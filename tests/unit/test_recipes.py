"""Recipes: optimisers, schedules, objectives and phases against plain torch, and what is refused."""

import dataclasses
import hashlib
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.pipeline import code_version as versions
from poisonlab.pipeline.code_version import code_version
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims import engines
from poisonlab.victims.engines import loop, stacked
from poisonlab.victims.objectives import Context, objective
from poisonlab.victims.optimisers import Optimiser, optimiser
from poisonlab.victims.order import epoch_order
from poisonlab.victims.recipe import Recipe, modules
from poisonlab.victims.schedules import schedule
from poisonlab.victims.victim import Victim, VictimJob

REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
BASE = {"epochs": 3, "batch_size": 24, "learning_rate": 4e-3, "stop_when_fitted": False}
BOX = (0.0, 1.0)


def training_set(n: int = 64, seed: int = 0) -> TrainingSet:
    """Three classes of noisy images, two poisons among them."""
    generator = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    patterns = generator.integers(60, 200, (3, 1, 8, 8))
    images = np.clip(patterns[labels] + generator.normal(0, 40, (n, 1, 8, 8)), 0, 255).astype(np.uint8)
    labels[:2] = (labels[:2] + 1) % 3
    return TrainingSet(images, labels, 3, np.arange(2))


def trained(settings: dict[str, Any], model: models.Specification = "mlp", **job: Any) -> Victim:
    recipe = Recipe.of(settings, "recipes.own")
    ((_, victim),) = engines.train([VictimJob("one", training_set(), 11, box=BOX, **job)], model, recipe)
    return victim


def digest(parameters: dict[str, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(array.tobytes() for _, array in sorted(parameters.items()))).hexdigest()


Loss = Callable[[nn.Module, Tensor, Tensor], Tensor]


def plain_loss(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(model(images), labels)


def plain_loop(
    phases: Sequence[tuple[int, Callable[[nn.Module], torch.optim.Optimizer], Loss]], name: str = "mlp"
) -> dict[str, Tensor]:
    """Weights of the victim by torch's own optimisers at a constant rate: phases of (epochs, optimiser, loss), batches of 24."""
    data = training_set()
    model = models.build(name, (1, 8, 8), 3, seed=11)
    images, labels = torch.from_numpy(data.images) / 255, torch.from_numpy(data.labels)
    epoch = 0
    for epochs, make, loss in phases:
        steps = make(model)
        for _ in range(epochs):
            for batch in torch.from_numpy(epoch_order(11, epoch, 64)).split(24):
                steps.zero_grad()
                loss(model, images[batch], labels[batch]).backward()
                steps.step()
            epoch += 1
    return model.state_dict()


def expect_close(victim: Victim, expected: dict[str, Tensor], atol: float) -> None:
    for name, weights in expected.items():
        torch.testing.assert_close(torch.from_numpy(victim.parameters[name]), weights, rtol=0, atol=atol)


# ------------------------------------------------------------------------------------------------ optimisers


@pytest.mark.parametrize(
    ("chosen", "make"),
    [
        ({"name": "adam", "beta2": 0.99}, lambda p: torch.optim.Adam(p, 4e-3, (0.9, 0.99))),
        ("adamw", lambda p: torch.optim.AdamW(p, 4e-3)),
        ({"name": "adamw", "weight_decay": 0.3}, lambda p: torch.optim.AdamW(p, 4e-3, weight_decay=0.3)),
        ("sgd", lambda p: torch.optim.SGD(p, 4e-3)),
        ({"name": "sgd", "momentum": 0.9}, lambda p: torch.optim.SGD(p, 4e-3, 0.9)),
        (
            {"name": "sgd", "momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
            lambda p: torch.optim.SGD(p, 4e-3, 0.9, nesterov=True, weight_decay=0.05),
        ),
    ],
)
@pytest.mark.parametrize("model", ["mlp", "strided"])
def test_an_optimiser_takes_the_steps_of_torchs_own(chosen, make, model):
    # Nine steps of at most 4e-3 (Adam) or 4e-3 times a gradient of order 1, each rounded at 1e-7 of a weight below 1 or so.
    expect_close(
        trained(BASE | {"optimiser": chosen}, model),
        plain_loop([(3, lambda net: make(net.parameters()), plain_loss)], model),
        2e-6,
    )


def test_a_flat_parameter_is_the_same_as_one_that_is_given_with_its_part():
    flat = trained(BASE | {"beta2": 0.9, "warmup": 0.3, "final": 0.2})
    parts = {"optimiser": {"name": "adam", "beta2": 0.9}, "schedule": {"name": "linear", "warmup": 0.3, "final": 0.2}}
    assert digest(flat.parameters) == digest(trained(BASE | parts).parameters)
    assert digest(flat.parameters) != digest(trained(BASE).parameters)


# ------------------------------------------------------------------------------------------------ schedules


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [  # of 8 steps at a peak of 2, by hand
        ("linear", [2] * 8),
        ("cosine", [1 + math.cos(math.pi * k / 8) for k in range(1, 9)]),
        ({"name": "cosine", "warmup": 0.5, "floor": 0.5}, [0.5, 1, 1.5, 2, *(1.5 + 0.5 * math.cos(math.pi * k / 4) for k in range(1, 5))]),
        ({"name": "cyclic", "top": 0.25}, [1, 2, 2 * 5 / 6, 2 * 4 / 6, 2 * 3 / 6, 2 * 2 / 6, 2 * 1 / 6, 0]),
        ({"name": "cyclic", "cycles": 2, "top": 0.5}, [1, 2, 1, 0, 1, 2, 1, 0]),
        ("steps", [2, 2, 2, 2, 0.2, 0.2, 0.02, 0.02]),
        ({"name": "steps", "milestones": [0.25], "factor": 0.5}, [2, 2, 1, 1, 1, 1, 1, 1]),
    ],
)  # fmt: skip
def test_a_schedule_gives_the_rates_of_its_formula(chosen, expected):
    recipe = Recipe.of({"epochs": 1, "learning_rate": 2, "schedule": chosen}, "recipes.own")
    assert [recipe.rate(step, 8) for step in range(8)] == pytest.approx(expected, abs=1e-12)  # rounding of doubles


# ------------------------------------------------------------------------------------------------ objectives


def test_the_penalty_of_l2_is_the_weight_decay_of_plain_gradient_descent():
    penalised = trained(BASE | {"optimiser": "sgd", "objective": {"name": "l2", "strength": 0.3}}, "strided")
    decayed = trained(BASE | {"optimiser": {"name": "sgd", "weight_decay": 0.3}}, "strided")
    expected = {name: torch.from_numpy(array) for name, array in decayed.parameters.items()}
    expect_close(penalised, expected, 1e-6)  # the gradient of the sum of squares is rounded once more
    squares = sum(np.square(array.astype(np.float64)).sum() for array in penalised.parameters.values())
    assert penalised.scalars == {"weight_norm": pytest.approx(math.sqrt(squares), rel=1e-6)}
    assert decayed.scalars == {}


def moved_by_hand(model: nn.Module, images: Tensor, labels: Tensor, epsilon: float, steps: int, size: float) -> Tensor:
    """PGD from the images themselves: Madry et al. (2018), equation before 2.1, in the box of the pixels."""
    points = images.clone()
    for _ in range(steps):
        points.requires_grad_(True)
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(points), labels, reduction="sum"), points)
        points = points.detach() + size * epsilon * gradient.sign()
        points = torch.minimum(torch.maximum(points, images - epsilon), images + epsilon).clamp(0, 1)
    return points


@pytest.mark.parametrize(("steps", "size"), [(1, 1.0), (3, 0.5)])
def test_adversarial_training_sees_the_images_that_pgd_has_moved_against_the_model_as_it_is(steps, size):
    def hardened(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return plain_loss(model, moved_by_hand(model, images, labels, 0.1, steps, size), labels)

    def half(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        return plain_loss(model, images, labels) + 0.5 * hardened(model, images, labels)

    def sgd(net: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), 4e-3)

    attack = {"epsilon": 0.1, "steps": steps, "step_size": size}
    settings = BASE | {"optimiser": "sgd", "objective": {"name": "adversarial", **attack}}
    # As for the optimisers; a pixel whose gradient is about 0 might get the other sign, and none does here.
    expect_close(trained(settings), plain_loop([(3, sgd, hardened)]), 2e-6)
    settings["objective"] = {"name": "mixed", "factor": 0.5, **attack}
    expect_close(trained(settings), plain_loop([(3, sgd, half)]), 2e-6)


def test_a_random_start_is_drawn_anew_in_each_step_and_the_same_whenever_a_victim_is_trained():
    seeds = [Context(11, step, 0.5, None).seed() for step in range(50)]
    assert len(set(seeds)) == 50
    chosen = {"name": "adversarial", "epsilon": 0.2, "steps": 2, "random_start": True}
    first, second = (trained(BASE | {"objective": chosen}) for _ in range(2))
    assert digest(first.parameters) == digest(second.parameters)
    fixed = trained(BASE | {"objective": chosen | {"random_start": False}})
    assert digest(first.parameters) != digest(fixed.parameters)


def test_adversarial_training_makes_a_model_harder_to_attack():
    data = training_set()
    images, labels = torch.from_numpy(data.images) / 255, torch.from_numpy(data.labels)
    losses = []
    for chosen in ("cross_entropy", {"name": "adversarial", "epsilon": 0.1}):
        victim = trained(BASE | {"epochs": 40, "objective": chosen})
        model = models.build("mlp", (1, 8, 8), 3, seed=0)
        model.load_state_dict({name: torch.from_numpy(array) for name, array in victim.parameters.items()})
        losses.append(float(plain_loss(model, moved_by_hand(model, images, labels, 0.1, 5, 0.5), labels).detach()))
    assert losses[1] < losses[0] / 2


# ------------------------------------------------------------------------------------------------ phases


def test_one_phase_is_the_recipe_itself_and_each_phase_begins_anew_with_its_optimiser():
    alone = trained(BASE)
    phase = {key: value for key, value in BASE.items() if key != "epochs"} | {"phases": [{"epochs": 3}]}
    assert digest(trained(phase).parameters) == digest(alone.parameters)
    phases = [{"epochs": 2}, {"epochs": 3, "optimiser": {"name": "sgd", "momentum": 0.9}}, {"epochs": 1}]
    victim = trained(phase | {"phases": phases})
    assert victim.epochs == 6
    adam = 2, lambda net: torch.optim.Adam(net.parameters(), 4e-3), plain_loss
    sgd = 3, lambda net: torch.optim.SGD(net.parameters(), 4e-3, 0.9), plain_loss
    expect_close(victim, plain_loop([adam, sgd, (1, *adam[1:])]), 4e-6)


def test_a_phase_that_fits_everything_hands_over_to_the_next():
    settings = {"batch_size": 16, "learning_rate": 5e-3}
    first = trained(settings | {"epochs": 200})
    assert (first.train_accuracy, first.epochs < 200) == (1, True)
    both = trained(settings | {"phases": [{"epochs": 200}, {"epochs": 7, "stop_when_fitted": False}]})
    assert both.epochs == first.epochs + 7


def test_a_parameter_of_the_recipe_holds_in_the_phases_that_take_it():
    recipe = Recipe.of({"beta2": 0.9, "phases": [{"epochs": 1}, {"epochs": 2, "optimiser": "sgd"}]}, "recipes.own")
    assert [dict(stage.parts["optimiser"].parameters) for stage in recipe.stages] == [
        {"beta2": 0.9},
        {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    ]
    assert (recipe.epochs, [stage.epochs for stage in recipe.stages]) == (3, [1, 2])


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "recipes.own lacks epochs"),
        ({"epochs": 0}, r"epochs of 'recipe' is 0, allowed is a number in \[1, inf\)"),
        ({"epochs": 2.5}, "epochs of 'recipe' is 2.5, allowed is a whole number"),
        ({"epochs": 1, "epoch": 1}, r"has no parameters \['epoch'\]"),
        ({"epochs": 1, "learning_rate": math.nan}, r"learning_rate of 'recipe' is nan, allowed is a number in \(0, inf\)"),
        ({"epochs": 1, "learning_rate": math.inf}, "learning_rate of 'recipe' is inf"),
        ({"epochs": 1, "learning_rate": "1e-3"}, "learning_rate of 'recipe' is '1e-3', allowed is a number"),
        ({"epochs": 1, "warmup": math.nan}, r"warmup of 'recipe' is nan, allowed is a number in \[0, 1\]"),
        ({"epochs": 1, "optimiser": "lbfgs"}, "optimiser 'lbfgs' does not exist; choose one of adam, adamw, sgd"),
        ({"epochs": 1, "optimiser": ["adam"]}, r"recipes.own.optimiser is \['adam'\], allowed is a name or"),
        ({"epochs": 1, "optimiser": {"momentum": 0.9}}, "recipes.own.optimiser is .* allowed is a name or"),
        ({"epochs": 1, "optimiser": {"name": "sgd", "momentum": 1}}, r"momentum of 'sgd' is 1, allowed is a number in \[0, 1\)"),
        ({"epochs": 1, "optimiser": {"name": "sgd", "beta": 1}}, r"'sgd' has no parameters \['beta'\]"),
        ({"epochs": 1, "optimiser": "sgd", "beta2": 0.9}, "recipes.own.beta2 is 0.9, but optimiser 'sgd' has no beta2; remove it"),
        ({"epochs": 1, "schedule": "steps", "warmup": 0.1}, "schedule 'steps' has no warmup"),
        ({"epochs": 1, "schedule": {"name": "steps", "milestones": [0.5, 1.5]}}, r"milestones of 'steps' is \[0.5, 1.5\]"),
        ({"epochs": 1, "objective": {"name": "adversarial", "epsilon": math.nan}}, "epsilon of 'adversarial' is nan"),
        ({"epochs": 1, "objective": {"name": "adversarial", "step_size": "big"}}, "step_size of 'adversarial' is 'big'"),
        ({"epochs": 1, "objective": "nowhere_to_be_found:loss"}, "objective 'nowhere_to_be_found:loss' cannot be loaded"),
        ({"epochs": 3, "phases": [{"epochs": 1}]}, "epochs is 3, its phases have 1; leave epochs out"),
        ({"phases": [{"learning_rate": 1}]}, r"recipes.own.phases.1 is .*, allowed are keys of a recipe with epochs"),
        ({"phases": [{"epochs": 1}, {"epochs": 1, "learning_rate": math.nan}]}, "recipes.own.phases.2: .* is nan"),
        ({"phases": [{"epochs": 1, "optimiser": "sgd", "beta2": 0.9}]}, "recipes.own.phases.1.beta2 is 0.9"),
        ({"phases": 3}, "recipes.own.phases is 3, allowed is a list"),
    ],
)  # fmt: skip
def test_a_recipe_that_cannot_be_is_refused_in_one_line(settings, message):
    with pytest.raises(InputError, match=message) as error:
        Recipe.of(settings, "recipes.own")
    assert "\n" not in str(error.value)
    assert "recipes.own" in str(error.value) or "does not exist" in str(error.value) or "loaded" in str(error.value)


def test_a_recipe_comes_back_from_its_own_settings():
    recipe = Recipe.of({"batch_size": 7, "phases": [{"epochs": 2}, {"epochs": 1, "optimiser": "sgd"}]}, "recipes.own")
    assert Recipe.of(dataclasses.asdict(recipe), "recipes.own") == recipe


# ------------------------------------------------------------------------------------------------ engines and versions


def test_the_stacked_engine_trains_by_adam_or_descent_on_the_cross_entropy_in_one_phase_and_the_loop_by_anything():
    def chosen(**settings: Any) -> Any:
        return engines.choose("mlp", Recipe.of({"epochs": 2} | settings, "recipes.own"), CPU)

    assert chosen() is chosen(optimiser={"name": "adam", "beta2": 0.9}) is chosen(schedule="cosine") is stacked
    one = [{"epochs": 2, "learning_rate": 1}]
    two = [{"epochs": 1}, {"epochs": 1}]
    assert chosen(phases=one) is chosen(optimiser={"name": "sgd", "momentum": 0.9}) is stacked
    others: list[dict[str, Any]] = [{"optimiser": "adamw"}, {"objective": "l2"}, {"phases": two}]
    assert [chosen(**other) for other in others] == [loop] * 3


def test_an_edit_of_an_attack_makes_those_victims_stale_that_train_against_it(tmp_path, monkeypatch):
    shutil.copytree(REPOSITORY / "src" / "poisonlab", tmp_path / "poisonlab")
    monkeypatch.setattr(versions, "_PACKAGE", tmp_path / "poisonlab")
    recipes: dict[str, dict[str, Any]] = {
        "plain": {"epochs": 1},
        "penalised": {"epochs": 1, "objective": "l2"},
        "hardened": {"epochs": 1, "objective": "adversarial"},
        "in the end": {"phases": [{"epochs": 1}, {"epochs": 1, "objective": "mixed"}]},
    }

    def current() -> dict[str, str]:
        versions._read.cache_clear()
        script = REPOSITORY / "workflow" / "scripts" / "train_victims.py"
        return {name: code_version(script, *modules(recipe)) for name, recipe in recipes.items()}

    def stale(file: str) -> set[str]:
        before, path = current(), tmp_path / "poisonlab" / file
        path.write_text(f"{path.read_text()}\nANOTHER = 1\n")
        after = current()
        return {name for name in recipes if after[name] != before[name]}

    assert stale("attacks/pgd.py") == {"hardened", "in the end"}
    assert stale("victims/objectives/plain.py") == {"plain", "penalised", "in the end"}
    versions._read.cache_clear()


# ------------------------------------------------------------------------------------------------ of one's own


@objective(
    "doubled", parameters={"factor": 2.0}, scalars=lambda model: {"layers": float(len(list(model.parameters())))}
)
def doubled(model: nn.Module, images: Tensor, labels: Tensor, context: Context, factor: float) -> tuple[Tensor, Tensor]:
    """A multiple of the cross-entropy."""
    logits = model(images)
    return factor * F.cross_entropy(logits, labels), logits


class Halved:
    """Gradient descent at half the rate."""

    def __init__(self, weights: nn.Parameter) -> None:
        self.weights, self.state = weights, []

    def step(self, rate: float) -> None:
        assert self.weights.grad is not None
        self.weights.detach().sub_(self.weights.grad, alpha=rate / 2)


@optimiser("halved")
def halved(weights: nn.Parameter) -> Optimiser:
    return Halved(weights)


@schedule("steady")
def steady(peak: float, progress: float) -> float:
    return peak


def test_parts_of_ones_own_are_named_by_their_module_and_are_part_of_the_version():
    own = {kind: f"{__name__}:{name}" for kind, name in (("objective", "doubled"), ("optimiser", "halved"))}
    settings = BASE | own | {"schedule": f"{__name__}:steady"}
    assert modules(settings) == [__name__]
    victim, plain = trained(settings, "strided"), trained(BASE | {"optimiser": "sgd"}, "strided")
    # Twice the loss at half the rate; both are powers of two, so that nothing is rounded.
    assert digest(victim.parameters) == digest(plain.parameters)
    assert victim.scalars == {"layers": 8.0}
    with pytest.raises(InputError, match=f"optimiser '{__name__}:Halved' is not registered; decorate Halved with"):
        Recipe.of(BASE | {"optimiser": f"{__name__}:Halved"}, "recipes.own")
