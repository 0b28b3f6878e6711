"""Clean proxies: the models that an attacker, or an analysis, plans with; at every age at which they are kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.results.storage import read_tensors, workspace, write_tensors


@dataclass(frozen=True)
class Proxy:
    """One proxy at one age.

    Attributes:
        model: specification, as `models.build` takes it.
        seed: its number; age: share of the recipe's epochs that it was trained for, 0 … 1.
        parameters: the model's state, name → array.
    """

    model: Any
    input_shape: tuple[int, ...]
    num_classes: int
    seed: int
    age: float
    parameters: Mapping[str, np.ndarray]

    def build(self, device: Any = "cpu") -> Any:
        """The network with these parameters, in evaluation mode, on a torch device."""
        import torch

        from poisonlab.models.inference import rebuild

        return rebuild(self.model, self.input_shape, self.num_classes, dict(self.parameters), torch.device(device))

    @staticmethod
    def load(path: str | Path) -> "list[Proxy]":
        """Read a proxy's file: every seed at every age, sorted by both.

        Raises:
            InputError: the file is damaged or holds no proxies.
        """
        tensors, facts = read_tensors(path)
        if "ages" not in facts:
            raise InputError(f"file '{path}' holds no proxies; delete it and run again")
        found = []
        for seed in range(facts["seeds"]):
            for age in sorted(facts["ages"]):
                prefix = f"{seed}/{age:g}/"
                own = {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
                shape = tuple(facts["input_shape"])
                found.append(Proxy(facts["model"], shape, facts["num_classes"], seed, age, own))
        return found

    @staticmethod
    def finished(path: str | Path) -> "list[Proxy]":
        """Each seed of a proxy's file at its last age."""
        return list({proxy.seed: proxy for proxy in Proxy.load(path)}.values())


def train_proxies(
    dataset: Dataset,
    settings: Mapping[str, Any],
    path: str | Path,
    version: str,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Train all seeds of a proxy and write them to `path`, where `Proxy.load` reads them.

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
    from poisonlab.victims.proxy import train_proxy

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


def answers(proxy: Proxy, dataset: Dataset, device: str) -> dict[str, np.ndarray]:
    """What a proxy makes of every training point: `features` [n, features], the inputs of its last linear layer, and `logits` [n, classes].

    Raises:
        InputError: the model has no linear layer.
    """
    import torch

    from poisonlab.models.inference import features, logits, resolve_device, to_float

    where = resolve_device(device)
    network = proxy.build(where)
    inputs = to_float(torch.from_numpy(dataset.train_images)).to(where)
    found = features(network, inputs)
    if found is None:
        raise InputError(
            f"model '{proxy.model}' has no linear layer whose inputs could be features; choose another model"
        )
    return {"features": found.cpu().numpy(), "logits": logits(network, inputs).cpu().numpy()}
