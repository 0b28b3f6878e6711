"""Engines train victims. They share one interface and one contract.

The interface: `train(jobs, …)` yields each victim as it is finished. The contract: a victim is a pure function of its
initialisation and data order (its seed), its training set, recipe, precision and class of device; not of the other
jobs, their number or their order.

`stacked` trains victims side by side, one batched matrix product per layer for all of them: fully connected networks
everywhere, the package's convolutional ones on a GPU, by Adam on the cross-entropy. `loop` trains any model by any
recipe, one victim after the other. `stored` is for models that are not trained but have a method `fit`.
"""

from collections.abc import Iterable, Iterator
from types import ModuleType

import torch

from poisonlab import models
from poisonlab.models import networks
from poisonlab.models.networks import MLP, ConvolutionalNet
from poisonlab.victims.engines import loop, stacked, stored
from poisonlab.victims.precision import one_thread
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import Progress, UnderWay, Victim, VictimJob


def choose(model: models.Specification, recipe: Recipe, device: torch.device) -> ModuleType:
    """Return the engine for a model and a recipe, on this device.

    Raises:
        InputError: the model or a part of the recipe cannot be imported.
    """
    factory = models.load(model)
    if hasattr(factory, "fit"):
        return stored
    # On a CPU a convolutional net fills a core by itself; `make benchmark` compares with stacked ones (vmap).
    stackable = (MLP, ConvolutionalNet) if device.type == "cuda" else (MLP,)
    # The package's own classes alone: `stacked` computes what they do, and not what one derived from them may do
    # instead.
    known = isinstance(factory, type) and issubclass(factory, stackable) and factory.__module__ == networks.__name__
    return stacked if known and stacked.trains(recipe) else loop


def train(
    jobs: Iterable[VictimJob],
    model: models.Specification,
    recipe: Recipe,
    precision: str = "float32",
    device: torch.device | None = None,
    progress: Progress = lambda line: None,
    under_way: UnderWay | None = None,
) -> Iterator[tuple[VictimJob, Victim]]:
    """Train the victims of `jobs` and yield each as it is finished. Meanwhile torch computes with one thread.

    Args:
        jobs: asked for one by one, or as many as are trained side by side: their training sets may be made when they
            are needed.
        model: name in the catalogue, or ``module:Class``, or ``{model: name, parameter: value}``.
        precision: of the forward and backward pass; the weights, Adam's state and every evaluation are float32.
        progress: gets a line per epoch.
        under_way: where the `loop` engine saves the state of a victim, and looks for it.

    Raises:
        InputError: the model cannot be imported or built for these images.
    """
    device = device or torch.device("cpu")
    trained = choose(model, recipe, device).train(jobs, model, recipe, precision, device, progress, under_way)
    while True:
        # With more threads a product may be summed in another order, alone or among others.
        with one_thread():
            found = next(trained, None)
        if found is None:
            return
        yield found
        del found  # with its training set
