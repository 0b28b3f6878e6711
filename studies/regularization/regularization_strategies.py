"""One point anywhere in the plane, which says how much harm it can do and which λ is best against it."""

import dataclasses
import math

import numpy as np

from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy
from poisonlab.poisons.strategies.minimax import Scene

UNREGULARISED = 1e-6


@strategy("anywhere", source="Carnerero-Cano et al., 2021, Fig. 1", parameters={"reach": 1.0, "place": 0})
def anywhere(request: Request) -> Poison:
    """Append points that are drawn uniformly from the range of the training points, `reach` times as wide, with the
    target's label; those of each `place`, from 0, are others.

    Facts: `harm`, the rise of the validation loss that they cause without regularisation (λ = 1e-6), and `best`, ln λ
    of the least validation loss of a model that is trained with them.
    """
    import torch

    from poisonlab.models.hypergradients import Problems, minimum
    from poisonlab.models.logistic import validation_slope
    from poisonlab.models.penalties import by_validation

    scene = Scene(request)
    count = request.flip.budget
    drawn = request.generator.random((request.parameters["place"] + 1, count, len(scene.low)))
    place = torch.from_numpy(drawn[-1])
    points = scene.stored(scene.low + (scene.high - scene.low) * place)
    points[:, -1] = 1
    train = torch.cat([scene.train[0], points]), torch.cat([scene.train[1], torch.ones(count).double()])

    def loss(points: tuple[torch.Tensor, torch.Tensor]) -> float:
        arrays = [array[None] for array in (*points, *scene.validation)]
        problem = Problems(arrays[0], arrays[1], torch.tensor([UNREGULARISED]).double(), arrays[2], arrays[3])
        return float(validation_slope(minimum(problem), arrays[2], arrays[3])[0])

    best = by_validation(train, scene.validation, (math.log(UNREGULARISED), 6.0))
    empty = Poison(request.dataset.num_classes)
    return dataclasses.replace(
        empty,
        append_images=scene.images(points),
        append_labels=np.full(count, request.flip.target, dtype=np.int64),
        facts={"harm": loss(train) - loss(scene.train), "best": best},
    )
