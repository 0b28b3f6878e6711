"""Reverse mode through training: the derivative of an outer loss of trained weights with respect to training points.

Stochastic gradient descent is swept back step by step, with one product of a vector and second derivatives for each
(Maclaurin, Duvenaud & Adams, 2015; back-gradient poisoning: Muñoz-González et al., 2017, where the descent is run
backwards instead of being kept; metagradients: Engstrom et al., 2025). The whole graph never exists. Every state of a
small net fits into memory; of a larger one every √T-th is kept, and those between are computed anew.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.models.inference import INFERENCE_BATCH
from poisonlab.models.kernels import SWITCH
from poisonlab.victims.order import epoch_order

MOST_BYTES = 256 << 20  # of kept states, unless the caller says how many


@contextlib.contextmanager
def without_kernels() -> Iterator[None]:
    """Compute with torch's own functions: the same sums on the way forth and back."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "off"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before


class Network:
    """A model as a function of one vector of weights.

    Args:
        module: without buffers; its parameters are the starting weights. It is moved to the type and the device.
        dtype: float32 or float64.

    Raises:
        InputError: the model has buffers, such as the running means of batch normalisation.
    """

    def __init__(self, module: nn.Module, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"):
        buffers = [name for name, _ in module.named_buffers()]
        if buffers:
            raise InputError(
                f"surrogate {type(module).__name__} has buffers ({buffers[0]}), and a derivative through training is "
                "of weights alone; choose a model without batch normalisation, such as smooth_cnn"
            )
        self.module = module.to(device=device, dtype=dtype).train()
        named = dict(self.module.named_parameters())
        self._shapes = {name: parameter.shape for name, parameter in named.items()}
        self._sizes = [parameter.numel() for parameter in named.values()]
        self.weights = torch.cat([parameter.detach().flatten() for parameter in named.values()])  # [d], at the start

    def __call__(self, weights: Tensor, inputs: Tensor) -> Tensor:
        """Logits [n, classes] of inputs [n, …] under weights [d]."""
        pieces = zip(self._shapes.items(), weights.split(self._sizes), strict=True)
        return functional_call(self.module, {name: piece.view(shape) for (name, shape), piece in pieces}, (inputs,))


def network(
    specification: models.Specification,
    shape: tuple[int, ...],
    classes: int,
    seed: int,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
) -> Network:
    """Build a model of the catalogue with weights that are a function of the seed alone.

    Raises:
        InputError: see `models.build` and `Network`.
    """
    return Network(models.build(specification, shape, classes, seed), dtype, device)


class State(NamedTuple):
    """Of a descent: weights [d] and velocity [d]."""

    weights: Tensor
    velocity: Tensor


@dataclass(frozen=True)
class Descent:
    """Gradient descent with momentum: g = ∇(mean cross-entropy of the batch + penalty · ‖w‖²/2), u ← momentum · u + g,
    w ← w − rate · u.

    Attributes:
        images: [n, …], labels: [n], of the fixed points. poison_labels: [p].
        batches: positions of each step's points, at least one; n + i is poison i.
        rates: length of each step.
        momentum: in [0, 1); 0 is plain descent.
    """

    network: Network
    images: Tensor
    labels: Tensor
    poison_labels: Tensor
    batches: Sequence[Tensor]
    rates: Sequence[float]
    momentum: float = 0.0
    penalty: float = 0.0

    def start(self) -> State:
        """The network's starting weights, at rest."""
        return State(self.network.weights, torch.zeros_like(self.network.weights))

    def loss(self, weights: Tensor, poisons: Tensor, batch: Tensor) -> Tensor:
        """Mean cross-entropy of a batch whose poisons are these: the only ones that are looked at, [k, …] in the order
        of the batch.
        """
        fixed, own = self.members(batch)
        inputs = torch.cat([self.images[fixed], poisons])
        labels = torch.cat([self.labels[fixed], self.poison_labels[own]])
        return F.cross_entropy(self.network(weights, inputs), labels)

    def members(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of a batch's fixed points and numbers of its poisons."""
        n = len(self.labels)
        return batch[batch < n], batch[batch >= n] - n

    def step(self, number: int, state: State, poisons: Tensor) -> State:
        """The state after step `number`, with poisons [p, …]."""
        batch = self.batches[number]
        weights = state.weights.detach().requires_grad_()
        loss = self.loss(weights, poisons[self.members(batch)[1]], batch)
        (gradient,) = torch.autograd.grad(loss, weights)
        velocity = self.momentum * state.velocity + gradient + self.penalty * state.weights
        return State(state.weights - self.rates[number] * velocity, velocity)


@dataclass(frozen=True)
class Run:
    """A descent that was run, with what the way back needs.

    Attributes:
        states: step → the state before it, from step `first` on, every `every` steps.
        last: the state at the end.
    """

    descent: Descent
    poisons: Tensor
    states: dict[int, State]
    last: State
    first: int
    every: int


def train(
    descent: Descent,
    poisons: Tensor,
    truncation: int | None = None,
    every: int | None = None,
    start: State | None = None,
    begin: int = 0,
) -> Run:
    """Run a descent with poisons [p, …], float in the network's type.

    Args:
        truncation: the way back takes so many of the last steps, and states before them are not kept; None: all.
        every: keep a state every so many steps; None: each where they take 256 MB at most, else every √truncation.
        start: the state before step `begin`, by default the network's own before the first.
    """
    steps = len(descent.batches)
    span = steps - begin if truncation is None else min(truncation, steps - begin)
    if every is None:
        state_bytes = 2 * descent.network.weights.numel() * descent.network.weights.element_size()
        every = 1 if span * state_bytes <= MOST_BYTES else math.ceil(math.sqrt(span))
    first, state, states = steps - span, start or descent.start(), {}
    with without_kernels():
        for step in range(begin, steps):
            if step >= first and (step - first) % every == 0:
                states[step] = state
            state = descent.step(step, state, poisons)
    return Run(descent, poisons, states, state, first, every)


class Derivative(NamedTuple):
    """Of an outer loss: with respect to the poisons [p, …] and to the penalty, a scalar."""

    poisons: Tensor
    penalty: Tensor


def reverse(run: Run, slope: Tensor) -> Derivative:
    """Derivative of an outer loss of the last weights, through the steps that the run was kept for.

    With b = a_u − rate · a_w, where a is the loss's derivative with respect to the state after a step, the state before
    it has a_w + ∇²L b + penalty · b and momentum · b; the step's poisons collect ∂(∇L · b)/∂x and the penalty w · b.

    Args:
        slope: [d], gradient of the outer loss with respect to the last weights, see `outer_slope`.
    """
    descent, poisons = run.descent, run.poisons
    by_weights, by_velocity = slope, torch.zeros_like(slope)
    points, penalty = torch.zeros_like(poisons), slope.new_zeros(())
    with without_kernels():
        for begin in reversed(run.states):
            for step, state in reversed(_between(run, begin)):
                back = by_velocity - descent.rates[step] * by_weights
                own = descent.members(descent.batches[step])[1]
                by_state, by_points = _curvature(descent, step, state.weights, poisons[own], back)
                by_weights = by_weights + by_state + descent.penalty * back
                by_velocity = descent.momentum * back
                penalty = penalty + state.weights @ back
                points.index_add_(0, own, by_points)
    return Derivative(points, penalty)


def _between(run: Run, begin: int) -> list[tuple[int, State]]:
    """Steps from a kept state to the next one, with the state before each."""
    state, found = run.states[begin], []
    end = min(begin + run.every, len(run.descent.batches))
    for step in range(begin, end):
        found.append((step, state))
        if step + 1 < end:
            state = run.descent.step(step, state, run.poisons)
    return found


def _curvature(descent: Descent, step: int, weights: Tensor, own: Tensor, back: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of ∇L · b with respect to the weights [d] and the step's poisons [k, …]."""
    weights, own = weights.detach().requires_grad_(), own.detach().requires_grad_()
    loss = descent.loss(weights, own, descent.batches[step])
    (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
    asked = (weights, own) if len(own) else (weights,)
    found = torch.autograd.grad(gradient @ back, asked, materialize_grads=True)
    return found[0], found[1] if len(own) else own.detach()


# ------------------------------------------------------------------------------------------------ outer loss, batches


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy [n]."""
    return F.cross_entropy(logits, labels, reduction="none")


def soft_error(logits: Tensor, labels: Tensor) -> Tensor:
    """One minus the probability of the label, [n]: a 0-1 loss with a derivative."""
    return 1 - logits.softmax(1).gather(1, labels[:, None])[:, 0]


OUTER = {"cross_entropy": cross_entropy, "soft_error": soft_error}


def outer_slope(
    net: Network, weights: Tensor, images: Tensor, labels: Tensor, loss: str = "cross_entropy"
) -> tuple[float, Tensor]:
    """Mean outer loss of weights [d] on images [m, …], labels [m], and its gradient [d].

    Args:
        loss: a name of `OUTER`.
    """
    weights = weights.detach().requires_grad_()
    value, slope = 0.0, torch.zeros_like(weights)
    with without_kernels():
        for points, answers in zip(images.split(INFERENCE_BATCH), labels.split(INFERENCE_BATCH), strict=True):
            part = OUTER[loss](net(weights, points), answers).sum() / len(labels)
            slope += torch.autograd.grad(part, weights)[0]
            value += part.item()
    return value, slope.detach()


def batches(seed: int, epochs: int, n: int, size: int, device: str | torch.device = "cpu") -> list[Tensor]:
    """Positions of the points of every step of so many epochs over n points, in the order in which victims see them."""
    orders = (epoch_order(seed, epoch, n, size) for epoch in range(epochs))
    return [batch for order in orders for batch in torch.from_numpy(order).to(device).split(size)]


def decayed(rate: float, steps: int, warmup: float = 0.0) -> list[float]:
    """Lengths of so many steps: a rise over the share `warmup` of them, then a linear fall to a step's share of it."""
    rise = round(warmup * steps)
    return [
        rate * ((step + 1) / (rise + 1) if step < rise else (steps - step) / (steps - rise)) for step in range(steps)
    ]
