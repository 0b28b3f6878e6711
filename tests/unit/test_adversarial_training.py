"""Objectives of adversarial training against their published formulas and torchattacks; guards, averages and new weights."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims import engines
from poisonlab.victims.engines import loop, stacked
from poisonlab.victims.guards import Judged, count, guard
from poisonlab.victims.guards.watching import catastrophic_overfitting, validation
from poisonlab.victims.objectives import Context, objective
from poisonlab.victims.objectives.adversarial import radii
from poisonlab.victims.optimisers import optimiser
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import Victim, VictimJob

BOX = (0.0, 1.0)
EPSILON = 0.1
# Float32 rounds images in [0, 1] at 6e-8 and sums of a step a few times as much.
ROUNDING = 1e-6


@pytest.fixture
def net() -> nn.Module:
    """A small network in training mode, without parts that behave otherwise there."""
    return models.build("strided", (1, 8, 8), 3, seed=1).train()


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(16, 1, 8, 8, generator=generator), torch.arange(16) % 3


def place(step: int = 7, epoch: int = 0, **changes: Any) -> Context:
    known = Context(5, step, 0.5, BOX, epoch=epoch, epoch_of_phase=epoch, positions=torch.arange(16), points=16)
    return dataclasses.replace(known, **changes)


def asked(name: str, net: nn.Module, batch: tuple[Tensor, Tensor], context: Context, **settings: Any) -> Any:
    """Loss, and the images that the network was trained on, one tensor for each pass."""
    seen: list[Tensor] = []
    hook = net.register_forward_pre_hook(lambda own, inputs: seen.append(inputs[0].detach()) if own.training else None)
    entry = objective.find(name)
    loss, _ = entry.function(net, *batch, context, **{**entry.defaults, **settings})
    hook.remove()
    return loss, seen


def signs(net: nn.Module, points: Tensor, labels: Tensor) -> Tensor:
    points = points.clone().requires_grad_(True)
    return torch.autograd.grad(F.cross_entropy(net(points), labels), points)[0].sign()


# ----------------------------------------------------------------------------------------- the attack inside training


@pytest.mark.parametrize("target", ["none", "least_likely"])
@pytest.mark.parametrize(("steps", "size"), [(1, 1.0), (10, 0.25)])
@pytest.mark.parametrize("name", ["adversarial", "mixed"])
def test_a_network_is_trained_on_the_images_of_torchattacks(net, batch, name, steps, size, target):
    settings = {"epsilon": EPSILON, "steps": steps, "step_size": size, "target": target}
    loss, seen = asked(name, net, batch, place(), **settings)
    theirs = torchattacks.PGD(net, eps=EPSILON, alpha=size * EPSILON, steps=steps, random_start=False)
    if target == "least_likely":
        theirs.set_mode_targeted_least_likely(quiet=True)
    expected = theirs(*batch)
    assert (expected - batch[0]).abs().max() > EPSILON / 2  # the attack did move
    torch.testing.assert_close(seen[-1], expected, rtol=0, atol=ROUNDING)
    whole = F.cross_entropy(net(expected), batch[1])
    whole = whole + F.cross_entropy(net(batch[0]), batch[1]) if name == "mixed" else whole
    torch.testing.assert_close(loss, whole, rtol=1e-5, atol=0)  # a mean of 16 numbers, each after a few sums


def test_r_fgsm_steps_along_random_signs_and_then_along_the_gradients(net, batch):
    images, labels = batch
    context = place()
    _, (points,) = asked("adversarial", net, batch, context, epsilon=EPSILON, steps=1, random_sign=0.5, step_size=0.5)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(context.seed())).sign()
    start = (images + EPSILON / 2 * noise).clamp(0, 1)
    expected = (start + EPSILON / 2 * signs(net, start, labels)).clamp(0, 1)
    torch.testing.assert_close(points, expected, rtol=0, atol=ROUNDING)


def test_the_margin_is_the_largest_other_logit_less_the_labels(net, batch):
    images, labels = batch
    _, (points,) = asked("adversarial", net, batch, place(), epsilon=EPSILON, steps=1, loss="margin")
    free = images.clone().requires_grad_(True)
    rows = [
        max(logits[other] for other in range(3) if other != label) - logits[label]
        for logits, label in zip(net(free), labels, strict=True)
    ]
    expected = (images + EPSILON * torch.autograd.grad(sum(rows), free)[0].sign()).clamp(0, 1)
    torch.testing.assert_close(points, expected, rtol=0, atol=ROUNDING)
    _, (plain,) = asked("adversarial", net, batch, place(), epsilon=EPSILON, steps=1)
    assert not torch.equal(plain, points)


def test_images_are_moved_against_the_model_that_the_phase_began_with_and_the_model_stays(net, batch):
    other = models.build("strided", (1, 8, 8), 3, seed=2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    for name in ("adversarial", "mixed"):
        context = place(start=other.state_dict())
        loss, seen = asked(name, net, batch, context, epsilon=EPSILON, steps=1, against="start")
        expected = torchattacks.FGSM(other, eps=EPSILON)(*batch)
        torch.testing.assert_close(seen[-1], expected, rtol=0, atol=ROUNDING)
        loss.backward()  # the graph has not seen the other weights
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


# ------------------------------------------------------------------------------------------------------ radii


def test_a_radius_is_drawn_from_a_normal_that_is_cut_off_at_zero():
    drawn = radii(place(), 0.03, "image", 0.05, 4000)
    assert isinstance(drawn, Tensor)
    assert drawn.min() >= 0
    known = stats.truncnorm(-0.03 / 0.05, math.inf, 0.03, 0.05)
    assert stats.kstest(drawn.numpy(), known.cdf).pvalue > 0.01  # fixed seed; one in a hundred would fail


@pytest.mark.parametrize(
    ("draw", "per_step", "per_epoch"), [("none", 1, 1), ("epoch", 1, 1), ("batch", 1, 2), ("image", 16, 32)]
)
def test_a_radius_is_drawn_as_often_as_is_asked_for(draw, per_step, per_epoch):
    def values(*places: Context) -> set[float]:
        found = [radii(one, 0.1, draw, 0.02, 16) for one in places]
        return {float(value) for one in found for value in (one if isinstance(one, Tensor) else [one])}

    assert len(values(place(0))) == per_step
    assert len(values(place(0), place(1))) == per_epoch
    assert len(values(place(0, 0), place(9, 1))) == (1 if draw == "none" else 2 * per_step)
    assert values(place(3, 2)) == values(place(3, 2))


def test_every_image_is_moved_by_its_own_radius(net, batch):
    images = torch.full_like(batch[0], 0.5)
    settings = {"epsilon": 0.1, "steps": 1, "draw": "image", "spread": 0.03}
    _, (points,) = asked("adversarial", net, (images, batch[1]), place(), **settings)
    drawn = radii(place(), 0.1, "image", 0.03, 16)
    assert isinstance(drawn, Tensor)
    torch.testing.assert_close((points - images).abs().flatten(1).amax(1), drawn, rtol=0, atol=ROUNDING)


# ------------------------------------------------------------------------------------------ against published formulas


def test_n_fgsm_is_algorithm_1(net, batch):
    images, labels = batch
    context = place()
    loss, (points,) = asked("n_fgsm", net, batch, context, epsilon=EPSILON, noise=2.0)
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(context.seed()))
    noise = 2 * EPSILON * (2 * uniform - 1)
    change = noise + EPSILON * signs(net, images + noise, labels)
    assert change.abs().max() > 2 * EPSILON  # not cut to ε
    expected = (images + change).clamp(0, 1)
    torch.testing.assert_close(points, expected, rtol=0, atol=ROUNDING)
    torch.testing.assert_close(loss, F.cross_entropy(net(expected), labels), rtol=1e-5, atol=0)


def test_trades_is_equation_5(net, batch):
    images, labels = batch
    context = place()
    loss, _ = asked("trades", net, batch, context, epsilon=EPSILON, beta=6.0, steps=10)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(context.seed()))
    moved, natural = images + 0.001 * noise, net(images).detach()

    def divergence(logits: Tensor, of: Tensor) -> Tensor:
        p = of.softmax(1)
        return (p * (p.log() - logits.log_softmax(1))).sum(1).mean()

    for _ in range(10):
        moved = moved.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(divergence(net(moved), natural), moved)
        moved = moved.detach() + EPSILON / 4 * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, images - EPSILON), images + EPSILON).clamp(0, 1)
    logits = net(images)
    expected = F.cross_entropy(logits, labels) + 6 * divergence(net(moved), logits)
    # Ten steps of signs: where a gradient is about 0 rounding may turn one, which moves a pixel by ε / 2.
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)
    for one, other in zip(*(torch.autograd.grad(of, [*net.parameters()]) for of in (loss, expected)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("steps", [1, 2])
def test_nuat_penalises_the_sum_of_the_singular_values(net, batch, steps):
    images, labels = batch
    context = place()
    loss, _ = asked("nuat", net, batch, context, epsilon=EPSILON, strength=4.0, noise=0.5, steps=steps)
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(context.seed()))
    moved, natural = images + EPSILON / 2 * (uniform.round() * 2 - 1), net(images).detach()

    def penalty(logits: Tensor, of: Tensor) -> Tensor:
        return 4 * torch.linalg.svdvals(logits - of).sum() / 16

    for _ in range(steps):
        moved = moved.clone().requires_grad_(True)
        logits = net(moved)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits, labels) + penalty(logits, natural), moved)
        moved = moved.detach() + EPSILON * gradient.sign()
        moved = torch.minimum(torch.maximum(moved, images - EPSILON), images + EPSILON).clamp(0, 1)
    logits = net(images)
    expected = F.cross_entropy(logits, labels) + penalty(net(moved), logits)
    torch.testing.assert_close(loss, expected, rtol=1e-3, atol=0)  # as for TRADES


@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_fgsm_with_a_prior_begins_where_it_ended_an_epoch_before(net, batch, momentum):
    images, labels = batch
    first = place(7, 0)
    uniform = torch.rand(images.shape, generator=torch.Generator().manual_seed(first.seed()))
    begin, summed = EPSILON * (2 * uniform - 1), torch.zeros_like(images)
    settings = {"epsilon": EPSILON, "step_size": 0.5, "strength": 10.0, "momentum": momentum}
    for epoch in range(3):
        context = dataclasses.replace(first, step=7 + epoch, epoch=epoch, epoch_of_phase=epoch)
        loss, (points, start) = asked("fgsm_pgi", net, batch, context, **settings)
        own = signs(net, (images + begin).clamp(0, 1), labels)
        change = (begin + EPSILON / 2 * own).clamp(-EPSILON, EPSILON)
        torch.testing.assert_close(start, (images + begin).clamp(0, 1), rtol=0, atol=ROUNDING)
        torch.testing.assert_close(points, (images + change).clamp(0, 1), rtol=0, atol=ROUNDING)
        apart = (net((images + change).clamp(0, 1)) - net((images + begin).clamp(0, 1))).square().mean()
        expected = F.cross_entropy(net((images + change).clamp(0, 1)), labels) + 10 * apart
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)
        summed = own + momentum * summed
        begin = (begin + EPSILON / 2 * summed.sign()).clamp(-EPSILON, EPSILON)


# ---------------------------------------------------------------------------------------------------- static mixing


@pytest.mark.parametrize("size", [16, 12, 10])
def test_a_batch_of_static_mixing_is_half_clean_a_quarter_fgsm_and_a_quarter_pgd(net, batch, size):
    images, labels = (part[:size] for part in batch)
    start = models.build("strided", (1, 8, 8), 3, seed=2)
    context = place(start=start.state_dict(), positions=torch.arange(size))
    _, (shown,) = asked("static_mix", net, (images, labels), context, fgsm_epsilon=0.05, epsilon=0.1, steps=3)
    quarter = size // 4
    clean = size - 2 * quarter
    changed = (shown != images).flatten(1).any(1)
    assert changed.tolist() == [False] * clean + [True] * (2 * quarter)
    theirs = torchattacks.FGSM(start, eps=0.05)(images, labels)
    part = slice(clean, clean + quarter)
    torch.testing.assert_close(shown[part], theirs[part], rtol=0, atol=ROUNDING)
    far = (shown - images).abs()[clean + quarter :]
    assert 0.05 < far.max() <= 0.1 + ROUNDING


def test_static_images_are_made_once_against_the_model_that_the_phase_began_with(net, batch):
    images, labels = batch
    context = place(start=models.build("strided", (1, 8, 8), 3, seed=2).state_dict())
    settings = {"fgsm_epsilon": 0.05, "epsilon": 0.1, "steps": 3}
    _, (first,) = asked("static_mix", net, batch, context, **settings)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(-1)  # whoever moved images against it now would move them elsewhere
    _, (again,) = asked("static_mix", net, batch, dataclasses.replace(context, step=99), **settings)
    assert torch.equal(first, again)
    turned = torch.arange(15, -1, -1)
    later = dataclasses.replace(context, positions=turned)
    _, (other,) = asked("static_mix", net, (images[turned], labels[turned]), later, **settings)
    assert context.memory["pgd made"].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert context.memory["fgsm made"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert (other != images[turned]).flatten(1).any(1).tolist() == [False] * 8 + [True] * 8


# ------------------------------------------------------------------------------------------------------- the engine


def training_set(n: int = 64) -> TrainingSet:
    """Three classes of noisy images, two poisons among them."""
    generator = np.random.default_rng(0)
    labels = np.arange(n) % 3
    patterns = generator.integers(60, 200, (3, 1, 8, 8))
    images = np.clip(patterns[labels] + generator.normal(0, 40, (n, 1, 8, 8)), 0, 255).astype(np.uint8)
    labels[:2] = (labels[:2] + 1) % 3
    return TrainingSet(images, labels, 3, np.arange(2))


def trained(settings: dict[str, Any], model: str = "mlp", **job: Any) -> Victim:
    recipe = Recipe.of({"batch_size": 24, "stop_when_fitted": False} | settings, "recipes.own")
    ((_, victim),) = engines.train([VictimJob("one", training_set(), 11, box=BOX, **job)], model, recipe)
    return victim


def same(one: Victim, other: Victim) -> bool:
    return all(np.array_equal(array, other.parameters[name]) for name, array in one.parameters.items())


STEPS: list[Tensor] = []


class Noting:
    """Plain descent that notes the weights after every step."""

    def __init__(self, weights: nn.Parameter) -> None:
        self.weights, self.state = weights, []

    def step(self, rate: float) -> None:
        assert self.weights.grad is not None
        self.weights.detach().sub_(self.weights.grad, alpha=rate)
        STEPS.append(self.weights.detach().clone())


@optimiser("noting")
def noting(weights: nn.Parameter) -> Noting:
    return Noting(weights)


def test_the_victim_is_the_moving_average_of_its_weights():
    STEPS.clear()
    settings = {"epochs": 5, "learning_rate": 0.5, "optimiser": f"{__name__}:noting"}
    victim = trained(settings | {"average": 0.6}, ages=(0.0, 1.0))
    mean = torch.cat([torch.from_numpy(array).flatten() for array in victim.snapshots[0.0].values()])
    for step, weights in enumerate(STEPS):
        decay = min(0.6, (1 + step) / (10 + step))
        mean = decay * mean + (1 - decay) * weights
    own = torch.cat([torch.from_numpy(array).flatten() for array in victim.parameters.values()])
    torch.testing.assert_close(own, mean, rtol=0, atol=1e-6)  # 15 steps of numbers below 1, rounded at 6e-8
    assert (own - STEPS[-1]).abs().max() > 0.01  # no last step
    assert all(np.array_equal(victim.snapshots[1.0][name], array) for name, array in victim.parameters.items())


def test_an_average_or_a_guard_is_nothing_that_the_stacked_engine_could_train_with():
    for extra in ({"average": 0.9}, {"guard": "validation"}):
        recipe = Recipe.of({"epochs": 2} | extra, "recipes.own")
        assert engines.choose("mlp", recipe, torch.device("cpu")) is loop
    assert engines.choose("mlp", Recipe.of({"epochs": 2}, "r"), torch.device("cpu")) is stacked


SEEN: list[int] = []


@objective("listening")
def listening(model: nn.Module, images: Tensor, labels: Tensor, context: Context) -> tuple[Tensor, Tensor]:
    """Cross-entropy; notes which training points it was asked about."""
    assert context.positions is not None
    SEEN.extend(context.positions.tolist())
    logits = model(images)
    return F.cross_entropy(logits, labels), logits


def test_points_that_are_held_out_are_not_trained_on():
    def places(**guard: Any) -> list[int]:
        SEEN.clear()
        trained({"epochs": 3, "objective": f"{__name__}:listening", "guard": guard})
        return sorted(SEEN)

    seen = places(name="validation", points=0.25, steps=1)
    assert (len(seen), len(set(seen))) == (3 * 48, 48)
    assert places(name="catastrophic_overfitting") == sorted([*range(64)] * 3)
    assert [count(0.25, 64), count(128, 64), count(0.001, 64)] == [16, 63, 1]


def test_early_stopping_keeps_the_weights_of_the_best_validation_accuracy():
    own = {"name": "validation", "points": 0.5, "steps": 1, "by": "natural", "patience": 3}
    settings = {"learning_rate": 0.02, "guard": own}
    victim = trained(settings | {"epochs": 60})
    best = round(victim.scalars["validation_epoch"])
    assert victim.epochs == best + 3 < 60
    short = trained(settings | {"epochs": 60, "guard": own | {"patience": 0}}, ages=(best / 60,))
    ages = short.snapshots[best / 60]
    assert all(np.array_equal(ages[name], array) for name, array in victim.parameters.items())


def test_a_phase_may_begin_with_new_weights_and_still_attack_those_that_it_found():
    first = {"epochs": 3, "learning_rate": 0.01}
    second = {"epochs": 3, "objective": {"name": "adversarial", "against": "start", "steps": 2}}
    victims = [trained({"phases": [first, second | more]}) for more in ({}, {"anew": True}, {"anew": True})]
    assert not same(victims[0], victims[1])
    assert same(victims[1], victims[2])
    alone = trained({"phases": [first, {"epochs": 1, "anew": True, "learning_rate": 1e-12}]}, "strided")
    fresh = models.build("strided", (1, 8, 8), 3, loop.seed("phase", victim=11, number=1)).state_dict()
    for name, weights in fresh.items():
        torch.testing.assert_close(torch.from_numpy(alone.parameters[name]), weights, rtol=0, atol=1e-8)


def test_a_victim_says_how_long_it_was_trained():
    short, long = (trained({"epochs": epochs, "objective": "adversarial"}).seconds for epochs in (2, 40))
    assert 0 < short < long


# ---------------------------------------------------------------------------------------- catastrophic overfitting


class Shown(nn.Module):
    """Answers images of 0.5 by a table: as they are, moved up (FGSM, PGD) or not, by shares of them."""

    def __init__(self, fgsm: float, pgd: float) -> None:
        super().__init__()
        self.wanted = fgsm, pgd
        self.passes = 0

    def forward(self, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return torch.stack([images.flatten(1).sum(1), -images.flatten(1).sum(1)], 1)
        share = self.wanted[self.passes % 2]
        self.passes += 1
        right = torch.arange(len(images)) < round(share * len(images))
        return torch.stack([right.float(), (~right).float()], 1)


def test_catastrophic_overfitting_is_named_when_pgd_collapses_and_fgsm_does_not():
    images, labels = torch.full((20, 1, 2, 2), 0.5), torch.zeros(20, dtype=torch.long)
    settings = {"points": 20, "epsilon": 0.03, "steps": 5, "step_size": 0.25, "drop": 0.2, "restore": True}

    def judged(*epochs: tuple[float, float]) -> tuple[list[tuple[bool, bool]], dict[str, Tensor]]:
        memory: dict[str, Tensor] = {}
        said = []
        for epoch, (fgsm, pgd) in enumerate(epochs, 1):
            context = Context(1, 9, 0.5, BOX, epoch=epoch, memory=memory)
            said.append(tuple(catastrophic_overfitting(Shown(fgsm, pgd), images, labels, context, **settings)))
        return said, memory

    said, memory = judged((0.5, 0.4), (0.6, 0.5), (0.9, 0.1))
    assert said == [(True, False), (True, False), (False, True)]
    assert {name: float(value) for name, value in memory.items() if "/" not in name} == {
        "catastrophic_overfitting": 1.0,
        "overfitting_epoch": 3.0,
        "watched_fgsm": pytest.approx(0.9),
        "watched_pgd": pytest.approx(0.1),
    }
    # Both fall: a step that was too long, and no overfitting to one-step attacks.
    said, memory = judged((0.6, 0.5), (0.3, 0.2), (0.6, 0.5))
    assert said == [(True, False)] * 3
    assert memory["catastrophic_overfitting"] == 0
    assert judged((0.6, 0.5), (0.9, 0.31))[1]["catastrophic_overfitting"] == 0  # by less than `drop`


@guard("scripted", parameters={"bad": 3})
def scripted(model: nn.Module, images: Tensor, labels: Tensor, context: Context, bad: int) -> Judged:
    """Keeps the weights of every epoch before `bad`, and stops there."""
    return Judged(keep=context.epoch < bad, stop=context.epoch == bad)


def test_a_guard_restores_the_last_good_weights_and_stops():
    settings = {"epochs": 6, "objective": {"name": "adversarial", "steps": 1}}
    victim = trained(settings | {"guard": f"{__name__}:scripted"})
    assert victim.epochs == 3
    plain = trained(settings, ages=(2 / 6,))
    assert all(np.array_equal(plain.snapshots[2 / 6][name], array) for name, array in victim.parameters.items())


def test_a_detector_that_restores_nothing_leaves_the_victim_as_it_is():
    settings = {"epochs": 4, "objective": {"name": "adversarial", "steps": 1}}
    watched = trained(settings | {"guard": {"name": "catastrophic_overfitting", "restore": False}})
    assert same(watched, trained(settings))
    assert set(watched.scalars) == {"catastrophic_overfitting", "watched_fgsm", "watched_pgd"}


def test_validation_images_that_are_static_are_made_once(net):
    data = training_set(16)
    images, labels = torch.from_numpy(data.images) / 255, torch.from_numpy(data.labels)
    settings = {
        "points": 0.5, "by": "mean", "fgsm_epsilon": 0.1, "epsilon": 0.1, "steps": 2, "step_size": None,
        "patience": 0, "static": True,
    }  # fmt: skip
    context = Context(1, 0, 0.5, BOX, memory={})
    net.eval()
    assert validation(net, images, labels, context, **settings) == (False, False)
    made = {name: context.memory[f"images/{name}"].clone() for name in ("fgsm", "pgd")}
    expected = torchattacks.FGSM(net, eps=0.1)(images, labels)
    torch.testing.assert_close(made["fgsm"], expected, rtol=0, atol=ROUNDING)
    other = models.build("strided", (1, 8, 8), 3, seed=2).eval()
    kept = validation(other, images, labels, dataclasses.replace(context, epoch=1), **settings)
    assert kept == (True, False)
    for name, moved in made.items():
        assert torch.equal(context.memory[f"images/{name}"], moved)
        share = float((other(moved).argmax(1) == labels).double().mean())
        assert float(context.memory[f"validation_{name}"]) == share


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"guard": "watchdog"}, "guard 'watchdog' does not exist; choose one of catastrophic_overfitting, validation"),
        ({"guard": {"name": "validation", "by": "luck"}}, "parameter by of 'validation' is 'luck', allowed is one of"),
        ({"average": 1.0}, r"average of 'recipe' is 1.0, allowed is a number in \[0, 1\)"),
        ({"objective": {"name": "adversarial", "spread": -1}}, r"spread of 'adversarial' is -1"),
    ],
)
def test_what_a_recipe_cannot_take_is_named(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe.of({"epochs": 1} | settings, "recipes.own")
