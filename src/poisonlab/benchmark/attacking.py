"""Contestants that attack: PGD and adversarial paths on a network that was trained for two epochs."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.attacks.paths import path_lengths
from poisonlab.attacks.pgd import Attack, attack
from poisonlab.benchmark.rates import Contestant, Ready, repeat
from poisonlab.benchmark.usual import CLASSES, as_usual, clean_set, images_of
from poisonlab.models.inference import predict, to_float
from poisonlab.pipeline.jobs import keep_freed_memory
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

ATTACKED, STEPS, PATH_STEPS = 1000, 20, 60


def _trained(name: str, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, Tensor]:
    """A network that was trained for two epochs, in this package's form, and points to attack."""
    images, labels = images_of(shape, 1792)
    recipe = Recipe(2, 64, 2e-3, stop_when_fitted=False)
    ((_, victim),) = train([VictimJob("attacked", clean_set(shape, 1792), 0)], name, recipe)
    model = models.build(name, shape, CLASSES, 0)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in victim.parameters.items()})
    return model.to(memory_format=torch.channels_last).eval(), to_float(images[:ATTACKED]), labels[:ATTACKED]  # type: ignore[call-overload]


def torchattacks_pgd(name: str, shape: tuple[int, ...], epsilon: float) -> Contestant:
    """torchattacks' PGD, in one batch after another. Counts points times the nominal number of steps."""

    def run(ready: Ready) -> float:
        import torchattacks

        model, images, labels = _trained(name, shape)
        usual = as_usual(model, name, shape)
        assert (predict(usual, images) == predict(model, images)).float().mean() > 0.999
        step = 2.5 / STEPS * epsilon
        pgd = torchattacks.PGD(usual, eps=epsilon, alpha=step, steps=STEPS, random_start=False)

        def work() -> None:
            for batch, answers in zip(images.split(500), labels.split(500), strict=True):
                usual(pgd(batch, answers))  # the verdict takes another pass

        return repeat(ready, work, ATTACKED * STEPS)

    return run


def active_set_pgd(name: str, shape: tuple[int, ...], epsilon: float) -> Contestant:
    """This package's PGD. Counts points times the nominal number of steps."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        model, images, labels = _trained(name, shape)
        return repeat(
            ready,
            lambda: attack(model, images, labels, [epsilon], Attack(steps=STEPS)),
            ATTACKED * STEPS,
        )

    return run


def fixed_paths(name: str, shape: tuple[int, ...], step: float) -> Contestant:
    """Adversarial paths by a fixed number of steps for every point; the first that is another class is the length."""

    def run(ready: Ready) -> float:
        model, images, labels = _trained(name, shape)
        usual = as_usual(model, name, shape)

        def work() -> None:
            for batch, answers in zip(images.split(500), labels.split(500), strict=True):
                points, lengths = batch.clone(), torch.full_like(answers, PATH_STEPS)
                for taken in range(PATH_STEPS):
                    points.requires_grad_()
                    logits = usual(points)
                    lengths = torch.where((logits.argmax(1) != answers) & (lengths > taken), taken, lengths)
                    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, answers, reduction="sum"), points)
                    points = (points + step * gradient.sign()).detach()

        return repeat(ready, work, ATTACKED)

    return run


def active_set_paths(name: str, shape: tuple[int, ...], step: float) -> Contestant:
    """This package's adversarial paths."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        model, images, labels = _trained(name, shape)
        return repeat(
            ready, lambda: path_lengths(model, lambda where: images[where], labels, step, PATH_STEPS), ATTACKED
        )

    return run


def fooled_share(name: str, shape: tuple[int, ...], epsilon: float) -> float:
    """Share of the points that PGD fools at this radius."""
    model, images, labels = _trained(name, shape)
    return float(attack(model, images, labels, [epsilon], Attack(steps=STEPS)).fooled.float().mean())
