"""Optimisers of the `loop` engine. They work on one vector of all weights.

An optimiser is registered with ``@optimiser`` and has the signature ``(weights, **parameters) -> Optimiser``; `weights`
is the vector, its gradient is `weights.grad`. Torch's own classes import its compiler first, which takes seconds in
every job; here are their operators.
"""

from typing import TYPE_CHECKING, Protocol

from poisonlab.registry import Catalogue
from poisonlab.victims.parts import Part

if TYPE_CHECKING:
    from torch import Tensor, nn

optimiser = Catalogue("optimiser", "poisonlab.victims.optimisers", Part)


class Optimiser(Protocol):
    """What the engine needs.

    `state` are the tensors that a step changes beside the weights; a checkpoint holds them.
    """

    state: "list[Tensor]"

    def step(self, rate: float) -> None:
        """One step at this learning rate."""
        ...


class _Adam:
    """torch.optim.Adam and AdamW (fused=True) of one vector."""

    def __init__(self, weights: "nn.Parameter", beta2: float, weight_decay: float | None) -> None:
        import torch

        assert weights.grad is not None
        self.weights, self.gradient, self.beta2 = weights.detach(), weights.grad, beta2
        self.operator = torch._fused_adam_ if weight_decay is None else torch._fused_adamw_
        self.weight_decay = weight_decay or 0.0
        # Both moments and the number of steps.
        self.state = [
            torch.zeros_like(self.weights),
            torch.zeros_like(self.weights),
            torch.zeros((), device=weights.device),
        ]

    def step(self, rate: float) -> None:
        first, second, steps = self.state
        steps += 1
        self.operator(
            [self.weights], [self.gradient], [first], [second], [], [steps], lr=rate, beta1=0.9, beta2=self.beta2,
            weight_decay=self.weight_decay, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


@optimiser("adam", parameters={"beta2": 0.999}, ranges={"beta2": "[0, 1)"}, source="Kingma & Ba (2015), Algorithm 1")
def adam(weights: "nn.Parameter", beta2: float) -> Optimiser:
    """Adam; beta2 is the decay of its second moment, that of the first is 0.9."""
    return _Adam(weights, beta2, None)


@optimiser(
    "adamw",
    parameters={"beta2": 0.999, "weight_decay": 0.01},
    ranges={"beta2": "[0, 1)", "weight_decay": "[0, inf)"},
    source="Loshchilov & Hutter (2019), Algorithm 2",
)
def adamw(weights: "nn.Parameter", beta2: float, weight_decay: float) -> Optimiser:
    """Adam whose weights shrink by rate × weight_decay in each step."""
    return _Adam(weights, beta2, weight_decay)


class _Sgd:
    """torch.optim.SGD of one vector."""

    def __init__(self, weights: "nn.Parameter", momentum: float, nesterov: bool, weight_decay: float) -> None:
        import torch

        assert weights.grad is not None
        self.weights, self.gradient = weights.detach(), weights.grad
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        self.state = [torch.zeros_like(self.weights)]  # the velocity

    def step(self, rate: float) -> None:
        (velocity,) = self.state
        gradient = self.gradient.add_(self.weights, alpha=self.weight_decay)
        velocity.mul_(self.momentum).add_(gradient)
        self.weights.sub_(gradient.add_(velocity, alpha=self.momentum) if self.nesterov else velocity, alpha=rate)


@optimiser(
    "sgd",
    parameters={"momentum": 0.0, "nesterov": False, "weight_decay": 0.0},
    ranges={"momentum": "[0, 1)", "weight_decay": "[0, inf)"},
    source="Sutskever et al. (2013), section 2",
)
def sgd(weights: "nn.Parameter", momentum: float, nesterov: bool, weight_decay: float) -> Optimiser:
    """Stochastic gradient descent; `weight_decay` × weights is added to the gradient, as torch does it."""
    return _Sgd(weights, momentum, nesterov, weight_decay)
