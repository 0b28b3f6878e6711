"""The clean proxy: the model that an attacker trains to plan with."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab import models
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models.inference import INFERENCE_BATCH, rebuild, resolve_device, to_float
from poisonlab.poisons.poison import Poison, TrainingSet, apply
from poisonlab.results.storage import workspace, write_tensors
from poisonlab.seeds import seed
from poisonlab.victims.engines import train
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import Victim, VictimJob


def train_proxy(
    dataset: Dataset,
    model: models.Specification,
    recipe: Mapping[str, Any],
    proxy_seed: int,
    precision: str = "float32",
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
    ages: Sequence[float] = (),
) -> Victim:
    """Train the clean proxy number `proxy_seed`.

    Its seed is not a victim's: the attacker does not know the victim's initialisation.

    Args:
        ages: shares of the recipe's epoch limit, 0 … 1; the states then are the proxy's `snapshots`.

    Raises:
        InputError: an age is not in 0 … 1, or model or recipe are not allowed.
    """
    if outside := [age for age in ages if not 0 <= age <= 1]:
        raise InputError(f"proxy ages {outside} are not in 0 … 1; give shares of the recipe's epochs")
    clean = apply(Poison(dataset.num_classes), dataset)
    job = VictimJob("proxy", clean, seed("proxy", proxy_seed=proxy_seed), tuple(ages), dataset.box, dataset.free)
    where = resolve_device(device)
    return next(train([job], model, Recipe.of(recipe, "recipe"), precision, where, progress))[1]


def train_proxies(
    dataset: Dataset,
    settings: Mapping[str, Any],
    path: str | Path,
    version: str,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Train all seeds of a proxy and write them to `path`, where `proxies.Proxy.load` reads them.

    Seeds that are trained stay beside `path` until all are: a killed job goes on with the next one.

    Args:
        settings: model, recipe, precision, device, seeds and ages.
        version: of everything that the proxy depends on.
    """
    with workspace(path, version) as place:
        tensors: dict[str, np.ndarray] = {}
        for seed in range(settings["seeds"]):
            kept = place.read(f"seed-{seed}")
            arrays = kept[0] if kept else _train(dataset, settings, seed, progress)
            place.write(f"seed-{seed}", arrays)
            tensors |= {f"{seed}/{name}": array for name, array in arrays.items()}
        facts = {
            "model": settings["model"],
            "seeds": settings["seeds"],
            "ages": list(settings["ages"]),
            "input_shape": list(dataset.input_shape),
            "num_classes": dataset.num_classes,
        }
        write_tensors(tensors, path, facts)


def _train(
    dataset: Dataset, settings: Mapping[str, Any], seed: int, progress: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Parameters of one seed as "<age>/<name>"."""
    trained = train_proxy(
        dataset,
        settings["model"],
        settings["recipe"],
        seed,
        settings["precision"],
        settings["device"],
        lambda line: progress(f"proxy {seed + 1} of {settings['seeds']}: {line}"),
        ages=tuple(settings["ages"]),
    )
    return {
        f"{age:g}/{name}": array for age, parameters in trained.snapshots.items() for name, array in parameters.items()
    }


def out_of_fold_probabilities(
    dataset: Dataset,
    model: models.Specification,
    recipe: Mapping[str, Any],
    folds: int,
    precision: str = "float32",
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> np.ndarray:
    """Class probabilities [n, classes] of every training point by a model that was not trained on it."""
    import torch

    where = resolve_device(device)
    fold_of = np.random.default_rng(seed("folds")).permutation(len(dataset.train_labels)) % folds
    probabilities = np.empty((len(fold_of), dataset.num_classes))
    for fold in range(folds):
        kept, held = fold_of != fold, fold_of == fold
        training_set = TrainingSet(
            dataset.train_images[kept], dataset.train_labels[kept], dataset.num_classes, np.empty(0, dtype=np.int64)
        )
        job = VictimJob(
            f"fold {fold + 1} of {folds}", training_set, seed("fold", fold=fold), (), dataset.box, dataset.free
        )
        ((_, trained),) = train([job], model, Recipe.of(recipe, "recipe"), precision, where, progress)
        network = rebuild(model, dataset.input_shape, dataset.num_classes, trained.parameters, where)
        images = torch.from_numpy(dataset.train_images[held]).to(where)
        with torch.no_grad():
            batches = [network(to_float(batch)).softmax(1) for batch in images.split(INFERENCE_BATCH)]
        probabilities[held] = torch.cat(batches).double().cpu().numpy()
    return probabilities
