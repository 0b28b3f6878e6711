"""Clean proxies: the models that an attacker, or an analysis, plans with; at every age at which they are kept.

They are trained in `victims.proxy`: whoever only reads them does not depend on the engines.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.scaling import standardised
from poisonlab.errors import InputError
from poisonlab.results.storage import read_tensors


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


def featured(name: str, proxy: Proxy, dataset: Dataset, device: str) -> Dataset:
    """A data set of what a proxy makes of another's points: standardised features, [n, features] float32, without box.

    They are the inputs of its last linear layer. A net knows the points that it was trained on by heart, and their
    features tell classes apart as those of no further point do: the proxy is to be one of other points. Labels, classes
    and indices stay.

    Source: Carnerero-Cano et al., 2021, section 4 and Appendix C.2 (Inception's features of ImageNet).

    Raises:
        InputError: the proxy takes points of another shape, or has no linear layer.
    """
    if dataset.input_shape != proxy.input_shape:
        raise InputError(
            f"dataset '{name}' is of points of shape {dataset.input_shape} ('{dataset.name}'), its proxy takes "
            f"{proxy.input_shape}; change datasets.{name}.of or .proxy"
        )
    train, test = (
        answers(proxy, dataclasses.replace(dataset, train_images=images), device)["features"]
        for images in (dataset.train_images, dataset.test_images)
    )
    seen = dataclasses.replace(dataset, name=name, train_images=train, test_images=test)
    return standardised(dataclasses.replace(seen, centres=None, free=None, columns=None))


def answers(proxy: Proxy, dataset: Dataset, device: str) -> dict[str, np.ndarray]:
    """What a proxy makes of every training point: `features` [n, features], the inputs of its last linear layer, and
    `logits` [n, classes].

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
