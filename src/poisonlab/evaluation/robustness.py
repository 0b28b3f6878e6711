"""Evaluate victims: adversarial accuracy under the configured attacks."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from poisonlab import attacks
from poisonlab.attacks import catalogue  # noqa: F401 – so that an edit of an attack evaluates again, see `code_version`
from poisonlab.datasets.dataset import Dataset
from poisonlab.models.inference import rebuild, resolve_device, to_float

Row = dict[str, Any]
COLUMNS = (
    "study", "experiment", "condition", "axis_value", "dataset", "model", "recipe", "precision", "device", "draw",
    "repeat", "attack", "norm", "goal", "attack_source", "attack_target", "epsilon", *attacks.COLUMNS, "n_points",
    "adversarial_accuracy", "still_correct", "method",
)  # fmt: skip


def evaluate(
    model: nn.Module,
    dataset: Dataset,
    name: str,
    settings: Mapping[str, Any],
    source: int,
    target: int,
    device: torch.device,
    progress: Callable[[str], None] = lambda line: None,
) -> list[Row]:
    """Attack the test points and return one row per radius (and per pair of classes).

    Adversarial accuracy, targeted s → t: the share of all test points of class s whose attacked image is *not*
    classified t; untargeted: the share of all test points whose attacked image is still classified correctly.
    `still_correct` is the latter in both cases.
    `step_size` is the length of a step as a share of ε.

    Args:
        settings: an attack, as `attacks.settings` returns it; `goal` is `target` (source → target), `next` (every class
            to the next one) or `untargeted` (all test points).
        source: class of the poisons, in the poisoning experiment.
        target: their label.
    """
    goal, labels = settings["goal"], dataset.test_labels
    chosen = np.flatnonzero(labels == source) if goal == "target" else np.arange(len(labels))
    pairs: list[tuple[int | None, int | None]] = [(None, None)]
    targets = None
    if goal == "target":
        pairs, targets = [(source, target)], np.full(len(chosen), target)
    elif goal == "next":
        pairs = [(s, (s + 1) % dataset.num_classes) for s in range(dataset.num_classes)]
        targets = (labels + 1) % dataset.num_classes
    verdicts = attacks.run(
        settings,
        f"attacks.{name}",
        model,
        to_float(torch.from_numpy(dataset.test_images[chosen]).to(device)),
        torch.from_numpy(labels[chosen]).to(device),
        targets=None if targets is None else torch.from_numpy(targets).to(device),
        box=dataset.box,
        free=dataset.free_on(device),
        progress=progress,
    )
    fooled, correct = verdicts.fooled.cpu().numpy(), verdicts.correct.cpu().numpy()
    rows = []
    for from_class, to_class in pairs:
        of_class = slice(None) if from_class is None else labels[chosen] == from_class
        for position, epsilon in enumerate(settings["epsilon"]):
            rows.append(
                {
                    "attack": name,
                    "norm": settings["norm"],
                    "goal": "untargeted" if from_class is None else "targeted",
                    "attack_source": from_class,
                    "attack_target": to_class,
                    "epsilon": epsilon,
                    **attacks.columns(settings),
                    "n_points": int(fooled[position, of_class].size),
                    "adversarial_accuracy": float((~fooled[position, of_class]).mean()),
                    "still_correct": float(correct[position, of_class].mean()),
                    "method": settings["method"],
                }
            )
    return rows


def evaluate_chunk(
    victims: list[tuple[Row, int, dict[str, np.ndarray]]],
    dataset: Dataset,
    settings: Mapping[str, Any],
    device: str = "auto",
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """Evaluate every victim of a chunk under every attack.

    Args:
        victims: (identifying columns, number of classes, parameters) of each.
        settings: `model`, the specification of what was trained; `attacks`, condition → name → its settings; `flips`,
            condition → `source` and `target` of its poison.
    """
    where = resolve_device(device)
    rows = []
    for position, (identity, num_classes, parameters) in enumerate(victims):

        def with_count(line: str, position: int = position) -> None:
            progress(f"{position} of {len(victims)} victims evaluated; {line}")

        network = rebuild(settings["model"], dataset.input_shape, num_classes, parameters, where)
        for name, attack_settings in settings["attacks"][identity["condition"]].items():
            found = evaluate(
                network,
                dataset,
                name,
                attack_settings,
                *_pair(settings["flips"][identity["condition"]]),
                where,
                with_count,
            )
            rows += [{**identity, "device": where.type, **row} for row in found]
    progress(f"{len(victims)} of {len(victims)} victims evaluated")
    return pd.DataFrame(rows)[list(COLUMNS)]


def _pair(flips: Mapping[str, Any]) -> tuple[Any, Any]:
    return flips["source"], flips["target"]
