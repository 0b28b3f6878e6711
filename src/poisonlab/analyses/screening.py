"""First looks at data that nobody knows yet: a recipe that fits them, and the class pairs that are the most exposed."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from poisonlab import models
from poisonlab.attacks.pgd import Attack, attack
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import predict, rebuild, resolve_device, to_float
from poisonlab.poisons.poison import Poison, apply
from poisonlab.seeds import seed
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob


def try_recipes(
    dataset: Dataset,
    model: models.Specification,
    recipes: Sequence[Mapping[str, Any]],
    budget: int,
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Train one victim by each recipe on the data with `budget` random points relabelled to the next class.

    Returns:
        One row per recipe: `recipe`, its position; `epochs` that it took, `train_accuracy`, `fitted_share` of the
        flips, `natural_accuracy` on the test set, `seconds` of a core.
    """
    where = resolve_device(device)
    flipped = np.random.default_rng(seed("recipe trial")).choice(len(dataset.train_labels), budget, replace=False)
    poison = Poison(
        dataset.num_classes,
        relabel_index=flipped,
        relabel_label=(dataset.train_labels[flipped] + 1) % dataset.num_classes,
    )
    job = VictimJob("trial", apply(poison, dataset), seed("victim", repeat=0), box=dataset.box, free=dataset.free)
    labels = torch.from_numpy(dataset.test_labels)
    images, rows = torch.from_numpy(dataset.test_images).to(where), []
    for number, recipe in enumerate(recipes):
        start = time.process_time()
        ((_, victim),) = train([job], model, Recipe(**recipe), device=where)
        network = rebuild(model, dataset.input_shape, dataset.num_classes, victim.parameters, where)
        rows.append(
            {
                "recipe": number,
                "epochs": victim.epochs,
                "train_accuracy": 0.0 if victim.diverged else victim.train_accuracy,
                "fitted_share": 0.0 if victim.diverged else victim.fitted_share,
                "natural_accuracy": float((predict(network, images).cpu() == labels).double().mean()),
                "seconds": time.process_time() - start,
            }
        )
        progress(f"{number + 1} of {len(recipes)} recipes tried")
    return pd.DataFrame(rows)


def attack_pairs(
    dataset: Dataset,
    networks: Mapping[int, torch.nn.Module],
    radii: Sequence[float],
    points: int,
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """How exposed each pair of classes is before anything is poisoned: targeted PGD (l∞) on clean nets.

    Args:
        networks: seed → clean net.
        radii: of the attack, in the data's unit.
        points: the most test points of a class that are attacked, evenly spaced.

    Returns:
        One row per net, ordered pair and radius: `proxy_seed`, `source`, `target`, `epsilon`, `n_points`,
        `adversarial_accuracy`, the share of the source's points that the attack does not lead to the target.
    """
    rows = []
    for count, (number, network) in enumerate(networks.items(), 1):
        where = next(iter(network.state_dict().values())).device
        free = dataset.free_on(where)
        for source in range(dataset.num_classes):
            own = np.flatnonzero(dataset.test_labels == source)
            own = own[np.linspace(0, len(own) - 1, min(points, len(own))).round().astype(int)]
            images = to_float(torch.from_numpy(dataset.test_images[own])).to(where)
            labels = torch.full((len(own),), source, device=where)
            for target in sorted(set(range(dataset.num_classes)) - {source}):
                aims = torch.full_like(labels, target)
                found = attack(network, images, labels, list(radii), Attack(), targets=aims, box=dataset.box, free=free)
                rows += [
                    {
                        "proxy_seed": number,
                        "source": source,
                        "target": target,
                        "epsilon": epsilon,
                        "n_points": len(own),
                        "adversarial_accuracy": 1 - float(fooled.double().mean()),
                    }
                    for epsilon, fooled in zip(radii, found.fooled, strict=True)
                ]
        progress(f"{count} of {len(networks)} clean nets attacked")
    return pd.DataFrame(rows)
