"""The `stored` engine: models that are fitted by a method of their own.

`fit(inputs, labels)` gets what the model lists in `takes`, too, by name: the `training_set` as it is (with poisons and
validation points), the victim's `seed`, the `recipe`.
"""

from collections.abc import Iterable, Iterator

import torch

from poisonlab import models
from poisonlab.models.inference import predict, to_float
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import Progress, UnderWay, Victim, VictimJob


def train(
    jobs: Iterable[VictimJob],
    model: models.Specification,
    recipe: Recipe,
    precision: str,
    device: torch.device,
    progress: Progress,
    under_way: UnderWay | None = None,
) -> Iterator[tuple[VictimJob, Victim]]:
    """Fit the victims of `jobs`, see `poisonlab.victims.engines.train`; precision, and what a model does not take,
    change nothing.
    """
    for job in jobs:
        data = job.training_set
        images = torch.from_numpy(data.images).to(device)
        network = models.build(model, tuple(images.shape[1:]), data.num_classes, job.seed).to(device)
        offered = {"training_set": data, "seed": job.seed, "recipe": recipe}
        taken = {name: offered[name] for name in getattr(network, "takes", ())}
        network.fit(to_float(images), torch.from_numpy(data.labels).to(device), **taken)  # type: ignore[operator]
        parameters = {name: value.cpu().numpy() for name, value in network.state_dict().items()}
        scalars: dict[str, float] = getattr(network, "scalars", dict)()
        yield job, Victim.judged(parameters, 0, predict(network, images).cpu().numpy(), job, scalars=scalars)
