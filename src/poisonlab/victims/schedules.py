"""Schedules: the learning rate over a training, or over a phase of it.

A schedule is registered with ``@schedule`` and has the signature ``(peak, progress, **parameters) -> learning rate``.
`peak` is the recipe's learning rate; `progress` is the share of the steps that are done after this one, in (0, 1].
"""

import math

from poisonlab.registry import Catalogue
from poisonlab.victims.parts import Part

schedule = Catalogue("schedule", "poisonlab.victims.schedules", Part)


@schedule("linear", parameters={"warmup": 0.0, "final": 1.0}, ranges={"warmup": "[0, 1]", "final": "[0, 1]"})
def linear(peak: float, progress: float, warmup: float, final: float) -> float:
    """A linear rise over the share `warmup` of the steps, then a linear fall to `final` times the peak; 1 is a constant
    rate.
    """
    if progress < warmup:
        return peak * progress / warmup
    return peak * (1 - (1 - final) * _after(progress, warmup))


@schedule(
    "cosine",
    parameters={"warmup": 0.0, "floor": 0.0},
    ranges={"warmup": "[0, 1]", "floor": "[0, 1]"},
    source="Loshchilov & Hutter (2017), equation 5",
)
def cosine(peak: float, progress: float, warmup: float, floor: float) -> float:
    """A linear rise over the share `warmup` of the steps, then half a cosine down to `floor` times the peak."""
    if progress < warmup:
        return peak * progress / warmup
    return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * _after(progress, warmup))) / 2)


def _after(progress: float, warmup: float) -> float:
    """Share of the steps after the warm-up that are done."""
    return (progress - warmup) / (1 - warmup) if warmup < 1 else 1.0


@schedule(
    "cyclic",
    parameters={"cycles": 1, "top": 0.4},
    ranges={"cycles": "[1, inf)", "top": "(0, 1)"},
    source="Smith (2017); one cycle as in Wong, Rice & Kolter (2020), section 4.3",
)
def cyclic(peak: float, progress: float, cycles: int, top: float) -> float:
    """In each of `cycles` equal cycles a linear rise from 0 to the peak, at the share `top` of the cycle, and a linear
    fall to 0.
    """
    position = progress * cycles
    position -= math.ceil(position) - 1  # in (0, 1]: the last step of a cycle belongs to it
    return peak * (position / top if position < top else (1 - position) / (1 - top))


@schedule(
    "steps",
    parameters={"milestones": [0.5, 0.75], "factor": 0.1},
    ranges={"milestones": "(0, 1)", "factor": "(0, inf)"},
    source="He et al. (2016), section 4.2",
)
def steps(peak: float, progress: float, milestones: list[float], factor: float) -> float:
    """The peak, multiplied by `factor` at each of the `milestones`, which are shares of the steps."""
    return peak * factor ** sum(progress > milestone for milestone in milestones)
