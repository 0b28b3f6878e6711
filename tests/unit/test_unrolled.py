"""Reverse mode through training against one large graph, differences, a closed form and torch's own descent."""

import os
import weakref

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab.errors import InputError
from poisonlab.models import kernels, logistic
from poisonlab.poisons import unrolled
from poisonlab.poisons.unrolled import Descent, Network, State

CLASSES, POISONS = 3, 4
LINEAR = {"model": "mlp", "depth": 0}
NETS = [(LINEAR, (5,)), ({"model": "mlp", "width": 8}, (1, 8, 8)), ("strided", (1, 8, 8)), ("smooth_cnn", (3, 8, 8))]
every_net = pytest.mark.parametrize(("model", "shape"), NETS)
both_descents = pytest.mark.parametrize("momentum", [0.0, 0.9])


def problem(
    model, shape, momentum=0.9, size: int = 7, epochs: int = 3, penalty: float = 0.01, dtype=torch.float64
) -> tuple[Descent, Tensor, tuple[Tensor, Tensor]]:
    """A descent on 20 fixed points and four poisons in minibatches, the poisons, and thirty outer points."""
    generator = torch.Generator().manual_seed(1)

    def drawn(count: int) -> tuple[Tensor, Tensor]:
        images = torch.rand(count, *shape, generator=generator, dtype=torch.float64).to(dtype)
        return images, torch.randint(0, CLASSES, (count,), generator=generator)

    net = unrolled.network(model, shape, CLASSES, 3, dtype)
    (images, labels), (poisons, poison_labels), outer = drawn(20), drawn(POISONS), drawn(30)
    batches = unrolled.batches(5, epochs, 20 + POISONS, size)
    rates = unrolled.decayed(0.3, len(batches), 0.2)
    return Descent(net, images, labels, poison_labels, batches, rates, momentum, penalty), poisons, outer


def swept(descent: Descent, poisons: Tensor, outer: tuple[Tensor, Tensor], **more) -> unrolled.Derivative:
    run = unrolled.train(descent, poisons, **more)
    return unrolled.reverse(run, unrolled.outer_slope(descent.network, run.last.weights, *outer)[1])


def one_graph(
    descent: Descent, poisons: Tensor, outer: tuple[Tensor, Tensor], truncation: int | None = None
) -> tuple[Tensor, Tensor]:
    """The same derivatives by automatic differentiation of everything, written anew."""
    poisons, penalty = poisons.clone().requires_grad_(), torch.tensor(descent.penalty, dtype=poisons.dtype)
    penalty.requires_grad_()
    weights = descent.network.weights.clone().requires_grad_()
    velocity, steps = torch.zeros_like(weights), len(descent.batches)
    for step, batch in enumerate(descent.batches):
        if truncation is not None and step == steps - truncation:
            weights, velocity = weights.detach().requires_grad_(), velocity.detach()
        inputs = torch.cat([descent.images, poisons])[batch]
        labels = torch.cat([descent.labels, descent.poison_labels])[batch]
        loss = F.cross_entropy(descent.network(weights, inputs), labels) + penalty * weights.square().sum() / 2
        (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
        velocity = descent.momentum * velocity + gradient
        weights = weights - descent.rates[step] * velocity
    loss = F.cross_entropy(descent.network(weights, outer[0]), outer[1])
    by_poisons, by_penalty = torch.autograd.grad(loss, (poisons, penalty))
    return by_poisons, by_penalty


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


# ------------------------------------------------------------------------------------------------ derivatives


@every_net
@both_descents
@pytest.mark.parametrize("truncation", [None, 5])
def test_derivatives_are_those_of_one_graph_of_the_whole_training(model, shape, momentum, truncation):
    descent, poisons, outer = problem(model, shape, momentum)
    found = swept(descent, poisons, outer, truncation=truncation)
    expected = one_graph(descent, poisons, outer, truncation)
    assert expected[0].norm() > 1e-5
    # The same sums in another order, in double precision.
    assert relative_error(found.poisons, expected[0]) < 1e-11
    assert relative_error(found.penalty, expected[1]) < 1e-11


@every_net
@both_descents
def test_derivatives_are_those_of_central_differences(model, shape, momentum):
    descent, poisons, outer = problem(model, shape, momentum)
    found = swept(descent, poisons, outer)
    direction = torch.randn(poisons.shape, generator=torch.Generator().manual_seed(2), dtype=poisons.dtype)
    length = 1e-6  # short enough that no ReLU changes its side

    def trained(moved: Tensor, penalty: float) -> float:
        own = Descent(**{**vars(descent), "penalty": penalty})
        weights = unrolled.train(own, moved, truncation=0).last.weights
        return unrolled.outer_slope(own.network, weights, *outer)[0]

    ends = [trained(poisons + sign * length * direction, descent.penalty) for sign in (1, -1)]
    expected = float((found.poisons * direction).sum())
    # Differences of losses of order 1 are exact to 1e-16 / 1e-6 = 1e-10 here, of derivatives of 1e-3 or more.
    assert (ends[0] - ends[1]) / (2 * length) == pytest.approx(expected, rel=1e-6, abs=2e-9)
    ends = [trained(poisons, descent.penalty + sign * length) for sign in (1, -1)]
    assert (ends[0] - ends[1]) / (2 * length) == pytest.approx(float(found.penalty), rel=1e-6, abs=2e-9)


@every_net
def test_single_precision_gives_the_same_derivative_to_its_precision(model, shape):
    exact, single = (swept(*problem(model, shape, dtype=dtype)) for dtype in (torch.float64, torch.float32))
    assert relative_error(single.poisons.double(), exact.poisons) < 1e-4


@both_descents
def test_logistic_regression_has_its_closed_form(momentum):
    class Logistic(nn.Module):
        """Logits 0 and xᵀw: softmax cross-entropy is that of logistic regression."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(6))

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.stack([torch.zeros(len(inputs), dtype=inputs.dtype), inputs @ self.weight], 1)

    generator = torch.Generator().manual_seed(0)
    points = torch.randn(40, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (40,), generator=generator)
    closed = logistic.descend(points[None], labels[None].double(), points.new_full((1,), 0.05), 25, 0.4)
    _, slope = logistic.validation_slope(closed.weights, points[None, :10] + 1, labels[None, :10].double())
    expected, by_penalty = logistic.hypergradient(closed, slope, 5)

    everything = [torch.arange(40)] * 25
    own = Descent(
        Network(Logistic(), torch.float64), points[:35], labels[:35], labels[35:], everything, [0.4] * 25, 0.0, 0.05
    )
    run = unrolled.train(own, points[35:])
    assert relative_error(run.last.weights, closed.weights[0]) < 1e-12
    found = unrolled.reverse(run, unrolled.outer_slope(own.network, run.last.weights, points[:10] + 1, labels[:10])[1])
    assert relative_error(found.poisons, expected[0]) < 1e-12
    assert relative_error(found.penalty, by_penalty[0]) < 1e-12


@both_descents
def test_the_way_forth_is_torchs_own_descent(momentum):
    descent, poisons, _ = problem("strided", (1, 8, 8), momentum)
    module = unrolled.network("strided", (1, 8, 8), CLASSES, 3, torch.float64).module
    optimiser = torch.optim.SGD(module.parameters(), lr=1, momentum=momentum, weight_decay=descent.penalty)
    for batch, rate in zip(descent.batches, descent.rates, strict=True):
        optimiser.param_groups[0]["lr"] = rate
        optimiser.zero_grad()
        labels = torch.cat([descent.labels, descent.poison_labels])[batch]
        F.cross_entropy(module(torch.cat([descent.images, poisons])[batch]), labels).backward()
        optimiser.step()
    expected = torch.cat([parameter.detach().flatten() for parameter in module.parameters()])
    assert relative_error(unrolled.train(descent, poisons).last.weights, expected) < 1e-12  # double precision


def test_a_poison_has_a_derivative_where_it_is_in_a_batch_and_nowhere_else():
    descent, poisons, outer = problem(LINEAR, (5,), size=3)
    last = descent.batches[-2:]
    seen = {int(place) - 20 for batch in last for place in batch if place >= 20}
    assert 0 < len(seen) < POISONS
    found = swept(descent, poisons, outer, truncation=2).poisons
    assert {number for number in range(POISONS) if found[number].any()} == seen


# ------------------------------------------------------------------------------------------------ truncation and memory


@both_descents
def test_a_truncated_derivative_is_that_of_a_run_from_the_state_before_the_last_steps(momentum):
    descent, poisons, outer = problem("smooth_cnn", (3, 8, 8), momentum)
    run = unrolled.train(descent, poisons, truncation=5)
    assert run.first == len(descent.batches) - 5
    later = unrolled.train(descent, poisons, start=run.states[run.first], begin=run.first)
    slope = unrolled.outer_slope(descent.network, run.last.weights, *outer)[1]
    assert torch.equal(later.last.weights, run.last.weights)
    for one, other in zip(unrolled.reverse(run, slope), unrolled.reverse(later, slope), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("truncation", "every"), [(None, 3), (None, 5), (7, 3), (7, 100)])
def test_states_that_are_computed_anew_give_the_same_derivative(truncation, every):
    descent, poisons, outer = problem("smooth_cnn", (3, 8, 8))
    whole = swept(descent, poisons, outer, truncation=truncation, every=1)
    for one, other in zip(swept(descent, poisons, outer, truncation=truncation, every=every), whole, strict=True):
        assert torch.equal(one, other)


def most_states(descent: Descent, poisons: Tensor, outer: tuple[Tensor, Tensor], monkeypatch, **more) -> int:
    """The most states that were alive at once, there and back."""
    made: list[weakref.ref[Tensor]] = []
    counts = []
    step = Descent.step

    def counted(*arguments):
        state = step(*arguments)
        made.append(weakref.ref(state.weights))
        counts.append(sum(one() is not None for one in made))
        return state

    with monkeypatch.context() as patched:
        patched.setattr(Descent, "step", counted)
        swept(descent, poisons, outer, **more)
    return max(counts)


def test_memory_of_a_truncated_derivative_does_not_depend_on_the_length_of_training(monkeypatch):
    model = {"model": "mlp", "width": 7}
    found = [
        most_states(*problem(model, (5,), epochs=epochs), monkeypatch, truncation=6, every=every)
        for epochs, every in ((3, 1), (30, 1), (3, 3), (30, 3))
    ]
    # Those that are kept, the one that a step begins with, and the one that it makes.
    assert found[0] == found[1] == 6 + 1
    assert found[2] == found[3] < found[0]


def test_memory_grows_with_the_root_of_the_steps_where_states_are_many(monkeypatch):
    monkeypatch.setattr(unrolled, "MOST_BYTES", 1000)
    descent, poisons, outer = problem({"model": "mlp", "width": 7}, (5,), epochs=25)
    assert len(descent.batches) == 100
    run = unrolled.train(descent, poisons)
    assert run.every == len(run.states) == 10
    assert most_states(descent, poisons, outer, monkeypatch) <= 2 * 10 + 2


# ------------------------------------------------------------------------------------------------ the rest


def test_a_model_with_running_means_is_refused_in_one_line():
    with pytest.raises(
        InputError, match=r"surrogate NormalisedMLP has buffers .*choose a model without batch norm"
    ) as e:
        unrolled.network("normalised_mlp", (5,), 3, 0)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("switch", ["on", "off", None])
def test_compiled_kernels_are_off_while_it_computes_and_as_they_were_afterwards(switch, monkeypatch):
    monkeypatch.delenv(kernels.SWITCH, raising=False)
    if switch:
        monkeypatch.setenv(kernels.SWITCH, switch)
    seen = []
    loss = Descent.loss
    monkeypatch.setattr(Descent, "loss", lambda *given: (seen.append(kernels.enabled()), loss(*given))[1])
    swept(*problem("small_cnn", (3, 8, 8), epochs=1))
    assert set(seen) == {False}
    assert os.environ.get(kernels.SWITCH) == switch


def test_the_outer_loss_and_its_slope_do_not_depend_on_the_batches_it_is_summed_in(monkeypatch):
    descent, _, outer = problem("strided", (1, 8, 8))
    for name, loss in unrolled.OUTER.items():
        weights = descent.network.weights.clone().requires_grad_()
        value = loss(descent.network(weights, outer[0]), outer[1]).mean()
        value.backward()
        monkeypatch.setattr(unrolled, "INFERENCE_BATCH", 7)
        found, slope = unrolled.outer_slope(descent.network, weights, *outer, name)
        assert found == pytest.approx(value.item(), rel=1e-12)
        assert relative_error(slope, weights.grad) < 1e-12
    assert unrolled.soft_error(torch.zeros(1, 4), torch.tensor([2])).item() == pytest.approx(0.75)


def test_the_start_is_a_function_of_the_seed_and_a_run_may_begin_elsewhere():
    descent, poisons, _ = problem("smooth_cnn", (3, 8, 8))
    again = unrolled.network("smooth_cnn", (3, 8, 8), CLASSES, 3, torch.float64)
    other = unrolled.network("smooth_cnn", (3, 8, 8), CLASSES, 4, torch.float64)
    assert torch.equal(descent.network.weights, again.weights)
    assert not torch.equal(descent.network.weights, other.weights)
    moved = State(other.weights, torch.zeros_like(other.weights))
    from_other = unrolled.train(Descent(**{**vars(descent), "network": other}), poisons).last.weights
    assert torch.equal(unrolled.train(descent, poisons, start=moved).last.weights, from_other)
