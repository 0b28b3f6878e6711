"""What a run will take: victims, processor seconds, bytes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from poisonlab import models
from poisonlab.datasets import sources
from poisonlab.pipeline.plan import Plan
from poisonlab.pipeline.rates import ANY, Rates, rate_for, seconds
from poisonlab.pipeline.steps import POINTS, Step, points, shape_of, work

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
    victims, spent, size, notes, sizes = 0, 0.0, 0.0, dict[str, None](), dict[str, float]()
    for step in steps:
        own = work(plan, step)
        victims += own.victims
        spent += seconds(rates, step.rule, own)
        size += OTHER_BYTES
        rate = rate_for(rates, step.rule, own)
        if rate.of.startswith(f"{ANY} "):
            notes[f"speed of '{own.of}' in {step.rule}, taken as that of most others on such images"] = None
        elif own.of and not rate.of:
            notes[f"speed of '{own.of}' in {step.rule}, taken as the mean of the others"] = None
        elif own.shape and own.shape not in rate.of:
            notes[f"speed of '{own.of}' on images of {own.shape} in {step.rule}, taken as on others"] = None
        if step.rule == "train_victims" and plan.config["keep_victims"]:
            key = "/".join(step.name.split("/")[-4:-1])
            if key not in sizes:
                sizes[key] = _of_weights(plan, *key.split("/"))
            size += own.victims * sizes[key]
        if step.rule == "prepare_data":
            dataset = step.name.split("/")[-1]
            found = _of_data(plan, dataset)
            size += found or 0
            if found is None:
                notes[f"size of data set '{dataset}', taken as {POINTS} training points"] = None
    return Spending(victims, spent, size, tuple(notes))


def _of_weights(plan: Plan, study: str, experiment: str, variant: str) -> float:
    """Bytes of a victim's weights, by building one; 0 where the shape of its inputs is not known yet."""
    dataset = plan.dataset(study, experiment)
    shape, names = shape_of(plan, dataset), plan.class_names(dataset)
    if shape is None:
        return 0.0
    network = models.build(plan.variants(study, experiment)[variant].training["model"], shape, len(names or (0, 1)), 0)
    return float(sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values()))


def _of_data(plan: Plan, dataset: str) -> float | None:
    """Bytes of a prepared data set and of what it is downloaded as, about; None where only the data can tell."""
    specification = plan.config["datasets"][dataset]
    known = sources.inputs(dataset, specification)
    if known is None:
        return None
    kind = sources.SOURCES[specification["source"]].kind
    copies = 2 if kind == "torchvision" else 1
    return copies * sum(points(plan, dataset)) * math.prod(known[0]) * (4.0 if kind == "toy" else 1.0)
