"""What a run will take: victims, processor seconds, bytes. Imports no torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from poisonlab.datasets import sources
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.rates import UNKNOWN, Rates, rate_for, seconds
from poisonlab.pipeline.steps import POINTS, Step, points, work

OTHER_BYTES = 50_000  # of what a step leaves beside weights and data: tables, logs, a figure's files


@dataclass(frozen=True)
class Spending:
    """What steps take together; `notes` say what was guessed."""

    victims: int
    seconds: float
    bytes: float
    notes: tuple[str, ...]


def spending(plan: Plan, steps: Sequence[Step], rates: Rates) -> Spending:
    """Add up what steps take."""
    victims, spent, size, notes = 0, 0.0, 0.0, dict[str, None]()
    for step in steps:
        own = work(plan, step)
        victims += own.victims
        spent += seconds(rates, step.rule, own)
        size += OTHER_BYTES
        if plan.config["keep_victims"]:
            size += own.victims * rate_for(rates, step.rule, own.of).bytes
        if step.rule == "prepare_data":
            found = _data(plan, step.name.split("/")[-1])
            size += found or 0
            if found is None:
                notes[f"size of data set '{step.name.split('/')[-1]}', taken as {POINTS} training points"] = None
        if own.of and (step.rule, own.of) not in rates and (step.rule, UNKNOWN) in rates:
            notes[f"speed of '{own.of}' in {step.rule}, taken as the mean of the others"] = None
    return Spending(victims, spent, size, tuple(notes))


def _data(plan: Plan, dataset: str) -> float | None:
    """Bytes of a prepared data set and of what it is downloaded as, about; None where only the data can tell."""
    specification = plan.config["datasets"][dataset]
    known = sources.inputs(dataset, specification)
    if known is None:
        return None
    toy = sources.SOURCES[specification["source"]].kind == "toy"
    downloaded = 2 if sources.SOURCES[specification["source"]].kind == "torchvision" else 1
    return downloaded * sum(points(plan, dataset)) * math.prod(known[0]) * (4.0 if toy else 1.0)
