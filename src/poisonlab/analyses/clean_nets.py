"""Accuracies of clean proxies under attack, and an adversarial example of one of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from poisonlab.attacks.pgd import Attack, attack, perturb
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import logits, predict, resolve_device, to_float
from poisonlab.victims.proxies import Proxy

SEARCH = Attack(steps=40)  # that looks for the most confident example: a choice
AT_ONCE = 500  # images that it moves at a time


def attack_clean_nets(
    dataset: Dataset,
    proxies: Sequence[Proxy],
    settings: Mapping[str, Any],
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Measure clean proxies and find each one's most confident adversarial example of one class (thesis, Figure 2.1).

    Args:
        proxies: one for each seed; of several ages of one, the last counts.
        settings: `source`, the class of the example; `sure`, the confidence in it that a test image must have;
            `epsilon`, the l∞ radius within which the example is looked for; `far`, the radius at which adversarial
            accuracy is measured.

    Returns:
        One row per proxy: proxy_seed, n_points, natural_accuracy, far, adversarial_accuracy (untargeted, of all test
            points), epsilon, confidence (of the wrong class, 0 where no example is found); and of the first proxy:
            `images` [2, …] float32, the test image and the example, `probabilities` [2, classes], `labels` [2] its
            class and the wrong one.

    Raises:
        InputError: the data set has no such class.
    """
    dataset.check_class(settings["source"], "parameter source of 'clean_nets'")
    where = resolve_device(device)
    images = to_float(torch.from_numpy(dataset.test_images).to(where))
    labels = torch.from_numpy(dataset.test_labels).to(where)
    rows, example = [], {}
    last = {proxy.seed: proxy for proxy in sorted(proxies, key=lambda proxy: proxy.age)}
    for number, proxy in sorted(last.items()):
        network = proxy.build(where)
        free = dataset.free_on(where)
        verdicts = attack(network, images, labels, [settings["far"]], Attack(), box=dataset.box, free=free)
        found = _most_confident(network, images[labels == settings["source"]], settings, dataset)
        rows.append(
            {
                "proxy_seed": number,
                "n_points": len(labels),
                "natural_accuracy": float((predict(network, images) == labels).double().mean()),
                "far": settings["far"],
                "adversarial_accuracy": float((~verdicts.fooled).double().mean()),
                "epsilon": settings["epsilon"],
                "confidence": found["confidence"],
            }
        )
        if number == 0:
            example = {key: found[key] for key in ("images", "probabilities", "labels")}
        progress(f"{len(rows)} of {len(last)} proxies attacked")
    return pd.DataFrame(rows), example


def _most_confident(
    network: nn.Module, images: Tensor, settings: Mapping[str, Any], dataset: Dataset
) -> dict[str, Any]:
    """The example of class `source` that the network gives a wrong class with the highest confidence; the surest image
    if there is none.
    """
    source, epsilon = settings["source"], settings["epsilon"]
    before = logits(network, images).softmax(1)
    right, surest = before.argmax(1) == source, images[int(before[:, source].argmax())]
    own = images[right & (before[:, source] >= settings["sure"])]
    best: dict[str, Any] = {"confidence": 0.0, "images": torch.stack([surest, surest]), "wrong": source}
    for target in set(range(dataset.num_classes)) - {source} if len(own) else ():
        for batch in own.split(AT_ONCE):
            truth, aim = (torch.full((len(batch),), label, device=batch.device) for label in (source, target))
            free = dataset.free_on(batch.device)
            moved = perturb(network, batch, truth, epsilon, SEARCH, targets=aim, box=dataset.box, free=free)
            with torch.no_grad():
                probabilities = network(moved).softmax(1)
            confidence = torch.where(probabilities.argmax(1) == target, probabilities[:, target], 0)
            winner = int(confidence.argmax())
            if confidence[winner] > best["confidence"]:
                pair = torch.stack([batch[winner], moved[winner]])
                best = {"confidence": float(confidence[winner]), "images": pair, "wrong": target}
    with torch.no_grad():
        probabilities = network(best["images"]).softmax(1)
    return {
        "confidence": best["confidence"],
        "images": best["images"].cpu().numpy(),
        "probabilities": probabilities.cpu().numpy(),
        "labels": np.array([source, best["wrong"]]),
    }
