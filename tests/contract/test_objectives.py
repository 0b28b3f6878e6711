"""What every objective, guard, optimiser and schedule of the catalogues owes the engine; a new one is picked up by itself."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from poisonlab import models
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.guards import Judged, guard
from poisonlab.victims.objectives import Context, objective
from poisonlab.victims.optimisers import optimiser
from poisonlab.victims.parts import Choice
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.schedules import schedule
from poisonlab.victims.victim import VictimJob

every_objective = pytest.mark.parametrize("name", objective.entries())
every_guard = pytest.mark.parametrize("name", guard.entries())
every_optimiser = pytest.mark.parametrize("name", optimiser.entries())
every_schedule = pytest.mark.parametrize("name", schedule.entries())


def place(box: tuple[float, float] | None, n: int = 32) -> Context:
    """Some step of a training on n points, all of which are the batch."""
    return Context(5, 7, 0.5, box, positions=torch.arange(n), points=n)


def choice(catalogue, name: str) -> Choice:
    entry = catalogue.find(name)
    return Choice(entry, entry.defaults)


def points(vectors: bool, n: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    shape = (6,) if vectors else (1, 8, 8)
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0)), torch.arange(n) % 3


@every_objective
@pytest.mark.parametrize("vectors", [False, True])
def test_an_objective_gives_a_loss_with_a_gradient_for_every_parameter_and_the_logits_of_its_batch(name, vectors):
    images, labels = points(vectors)
    model = models.build("mlp" if vectors else "strided", images.shape[1:], 3, seed=0).train()
    context = place(None if vectors else (0.0, 1.0))
    before = images.clone()
    loss, logits = choice(objective, name)(model, images, labels, context)
    assert (loss.shape, logits.shape, logits.dtype) == ((), (32, 3), torch.float32)
    assert torch.isfinite(loss)
    # Every objective here is at least a cross-entropy, whose mean over three classes is about log 3 at the start.
    assert 0.5 < float(loss.detach()) < 5
    loss.backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
    assert torch.equal(images, before)


@every_objective
def test_an_objective_leaves_the_model_and_the_global_generator_as_they_were(name):
    images, labels = points(vectors=True)
    model = models.build("normalised_mlp", (6,), 3, seed=0).train()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    choice(objective, name)(model, images, labels, place(None))
    assert all(part.training for part in model.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)


@every_objective
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_victim_that_is_trained_by_an_objective_is_the_same_alone_and_among_others(name, precision):
    images, labels = points(vectors=False)
    own = TrainingSet((images * 255).byte().numpy(), labels.numpy(), 3, np.arange(2))
    recipe = Recipe.of({"epochs": 2, "batch_size": 12, "objective": name}, "recipes.own")
    jobs = [VictimJob(str(seed), own, seed, box=(0.0, 1.0)) for seed in range(3)]
    together = {job.key: victim.parameters for job, victim in train(jobs, "strided", recipe, precision)}
    ((_, alone),) = train(jobs[2:], "strided", recipe, precision)
    assert all(np.array_equal(array, together["2"][key]) for key, array in alone.parameters.items())
    assert not any(np.array_equal(array, together["1"][key]) for key, array in alone.parameters.items())


@every_guard
@pytest.mark.parametrize("vectors", [False, True])
def test_a_guard_judges_and_changes_nothing_but_its_memory(name, vectors):
    images, labels = points(vectors)
    model = models.build("mlp" if vectors else "strided", images.shape[1:], 3, seed=0).eval()
    before = [value.clone() for value in (images, *model.state_dict().values())]
    context = place(None if vectors else (0.0, 1.0))
    torch.manual_seed(3)
    state = torch.get_rng_state()
    said = [choice(guard, name)(model, images, labels, context) for _ in range(3)]
    assert all(isinstance(one, Judged) and {type(part) for part in one} == {bool} for one in said)
    assert any(one.keep for one in said)
    assert not any(one.stop for one in said)  # three times the same weights: nothing has become worse
    assert all(torch.equal(a, b) for a, b in zip(before, (images, *model.state_dict().values()), strict=True))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    columns = {key: value for key, value in context.memory.items() if "/" not in key}
    assert columns
    assert all(value.shape == () and torch.isfinite(value) for value in columns.values())


@every_optimiser
def test_an_optimiser_goes_on_from_its_state_to_the_bit(name):
    """`state` holds everything beside the weights: without it a victim that is resumed in its middle would differ."""
    gradients = torch.randn(6, 50, generator=torch.Generator().manual_seed(0))

    def fresh() -> nn.Parameter:
        weights = nn.Parameter(torch.linspace(-1, 1, 50))
        weights.grad = torch.zeros(50)
        return weights

    def steps(weights: nn.Parameter, own, rows) -> None:
        for row in rows:
            assert weights.grad is not None
            weights.grad.copy_(gradients[row])
            own.step(0.1)

    once = fresh()
    whole = choice(optimiser, name)(once)
    steps(once, whole, range(3))
    middle, state = once.detach().clone(), [tensor.clone() for tensor in whole.state]
    assert not torch.equal(middle, fresh())
    steps(once, whole, range(3, 6))
    again = fresh()
    other = choice(optimiser, name)(again)
    again.data.copy_(middle)
    for tensor, saved in zip(other.state, state, strict=True):
        tensor.copy_(saved)
    steps(again, other, range(3, 6))
    assert torch.equal(again, once)


@every_optimiser
def test_an_optimiser_minimises_a_square(name):
    weights = nn.Parameter(torch.tensor([3.0, -2.0]))
    weights.grad = torch.zeros(2)
    own = choice(optimiser, name)(weights)
    for _ in range(300):
        weights.grad.copy_(weights.detach())
        own.step(0.05)
    assert weights.detach().abs().max() < 0.05  # a step's length


@every_schedule
def test_a_schedule_stays_between_zero_and_its_peak_and_reaches_it(name):
    # Steps so fine that the peak of a cycle lies within a hundredth of one.
    rates = [choice(schedule, name)(0.3, (step + 1) / 1000) for step in range(1000)]
    assert min(rates) >= 0
    assert 0.297 < max(rates) <= 0.3


def test_the_catalogues_are_readable_without_torch():
    script = (
        "import sys; from poisonlab.victims.recipe import CATALOGUES, modules\n"
        "assert all(catalogue.entries() for catalogue in CATALOGUES.values())\n"
        "modules({'epochs': 1, 'objective': 'adversarial'}); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
