"""Contestants that train: one network, many small ones, a chunk; the peak."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from poisonlab import models
from poisonlab.benchmark import rates
from poisonlab.benchmark.rates import Contestant, Ready, epochs, repeat
from poisonlab.benchmark.usual import BATCH, Usual, clean_set, images_of
from poisonlab.models.inference import to_float
from poisonlab.pipeline.jobs import keep_freed_memory
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.engines.loop import onednn_matmul
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

# ------------------------------------------------------------------------------------------------- training one network


def dataloader_loop(name: str, shape: tuple[int, ...], n: int) -> Contestant:
    """The loop of most repositories: a module, a DataLoader, Adam."""

    def run(ready: Ready) -> float:
        images, labels = images_of(shape, n)
        data = torch.utils.data.TensorDataset(to_float(images), labels)
        loader = torch.utils.data.DataLoader(data, BATCH, shuffle=True)
        model = Usual(name, shape)
        optimizer = torch.optim.Adam(model.parameters())

        def epoch() -> int:
            for inputs, answers in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), answers).backward()
                optimizer.step()
            return n

        return epochs(ready, epoch)

    return run


def resident_loop(name: str, shape: tuple[int, ...], n: int) -> Contestant:
    """The same without a DataLoader: tensors are indexed by a permutation."""

    def run(ready: Ready) -> float:
        images, labels = images_of(shape, n)
        inputs = to_float(images)
        model = Usual(name, shape)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)

        def epoch() -> int:
            for batch in torch.randperm(n).split(BATCH):
                optimizer.zero_grad()
                F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
                optimizer.step()
            return n

        return epochs(ready, epoch)

    return run


HARDENED = {"epsilon": 0.1, "steps": 10, "step_size": 0.25}  # PGD inside training, of both contestants


def torchattacks_loop(name: str, shape: tuple[int, ...], n: int) -> Contestant:
    """Adversarial training as most repositories write it: the plain loop with torchattacks' PGD inside."""

    def run(ready: Ready) -> float:
        import torchattacks

        images, labels = images_of(shape, n)
        inputs = to_float(images)
        model = Usual(name, shape)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        epsilon = HARDENED["epsilon"]
        length, steps = HARDENED["step_size"] * epsilon, int(HARDENED["steps"])
        pgd = torchattacks.PGD(model, eps=epsilon, alpha=length, steps=steps, random_start=False)

        def epoch() -> int:
            for batch in torch.randperm(n).split(BATCH):
                moved = pgd(inputs[batch], labels[batch])
                optimizer.zero_grad()
                F.cross_entropy(model(moved), labels[batch]).backward()
                optimizer.step()
            return n

        return epochs(ready, epoch)

    return run


def adversarial_engine(name: str, shape: tuple[int, ...], n: int, precision: str) -> Contestant:
    """This package's `loop` engine with the objective `adversarial`, as a job of the pipeline runs it."""
    return loop_engine(name, shape, n, precision, {"name": "adversarial", **HARDENED})


def vmap_ensemble(name: str, shape: tuple[int, ...], n: int, width: int = 8) -> Contestant:
    """`torch.func`'s ensembling: `vmap` over the parameters of several networks. Counts the images of all of them."""

    def run(ready: Ready) -> float:
        images, labels = images_of(shape, n // width // BATCH * BATCH)
        inputs = to_float(images)
        networks = [Usual(name, shape) for _ in range(width)]
        parameters, _ = stack_module_state(networks)
        optimizer = torch.optim.Adam(parameters.values(), fused=True)

        def loss(own: dict[str, Tensor], batch: Tensor, answers: Tensor) -> Tensor:
            return F.cross_entropy(functional_call(networks[0], own, (batch,)), answers)

        gradients = vmap(grad(loss))

        def epoch() -> int:
            orders = torch.stack([torch.randperm(len(labels)) for _ in networks])
            for batch in orders.split(BATCH, dim=1):
                for key, gradient in gradients(parameters, inputs[batch], labels[batch]).items():
                    parameters[key].grad = gradient
                optimizer.step()
            return len(labels) * width

        return epochs(ready, epoch)

    return run


class _Enough(Exception):
    """Ends a training that has been timed for long enough."""


def loop_engine(
    name: str, shape: tuple[int, ...], n: int, precision: str, objective: str | Mapping[str, Any] = "cross_entropy"
) -> Contestant:
    """This package's `loop` engine, as a job of the pipeline runs it."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        training_set = clean_set(shape, n)
        begun, times = time.perf_counter(), list[float]()

        def progress(line: str) -> None:
            if time.perf_counter() - begun < rates.SECONDS:
                return
            if not times:
                ready()
            times.append(time.perf_counter())
            if times[-1] - times[0] >= rates.SECONDS:
                raise _Enough

        jobs = [VictimJob("benchmark", training_set, 0)]
        try:
            recipe = Recipe(1000, BATCH, stop_when_fitted=False, objective=objective)
            for _ in train(jobs, name, recipe, precision, progress=progress):
                pass
        except _Enough:
            pass
        return n * (len(times) - 1) / (times[-1] - times[0])

    return run


def chunk(name: str, shape: tuple[int, ...], n: int, victims: int) -> Contestant:
    """A chunk of victims of one network, three epochs each, as a job of the pipeline trains it."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        training_set = clean_set(shape, n)
        jobs = [VictimJob(str(k), training_set, k) for k in range(victims)]
        ready()
        start = time.perf_counter()
        for _ in train(jobs, name, Recipe(3, BATCH, stop_when_fitted=False)):
            pass
        return victims / (time.perf_counter() - start)

    return run


# --------------------------------------------------------------------------------------------- many fully connected
# nets

MLP_POINTS, MLP_EPOCHS = 64, 200


def _mlp_set() -> TrainingSet:
    generator = np.random.default_rng(0)
    features = generator.normal(0, 1, (MLP_POINTS, 2)).astype(np.float32)
    return TrainingSet(features, (features[:, 0] > 0).astype(np.int64), 2, np.empty(0, dtype=np.int64))


def sequential_mlps() -> Contestant:
    """One network after the other, full batches: the loop of the toy studies. Counts networks."""

    def run(ready: Ready) -> float:
        data = _mlp_set()
        features, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)

        def one() -> None:
            model = models.build("mlp", (2,), 2, 0)
            optimizer = torch.optim.Adam(model.parameters())
            for _ in range(MLP_EPOCHS):
                optimizer.zero_grad()
                F.cross_entropy(model(features), labels).backward()
                optimizer.step()

        return repeat(ready, one, 1)

    return run


def vmap_mlps(victims: int) -> Contestant:
    """`torch.func`'s ensembling of the same networks."""

    def run(ready: Ready) -> float:
        data = _mlp_set()
        features, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)

        def all_of_them() -> None:
            networks = [models.build("mlp", (2,), 2, k) for k in range(victims)]
            parameters, _ = stack_module_state(networks)
            optimizer = torch.optim.Adam(parameters.values(), fused=True)

            def loss(own: dict[str, Tensor]) -> Tensor:
                return F.cross_entropy(functional_call(networks[0], own, (features,)), labels)

            for _ in range(MLP_EPOCHS):
                for key, gradient in vmap(grad(loss))(parameters).items():
                    parameters[key].grad = gradient
                optimizer.step()

        return repeat(ready, all_of_them, victims)

    return run


def stacked_engine(victims: int, once: bool = False) -> Contestant:
    """This package's `stacked` engine, as a job of the pipeline runs it; `once` as a job does, from a cold start."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        jobs = [VictimJob(str(k), _mlp_set(), k) for k in range(victims)]
        recipe = Recipe(MLP_EPOCHS, MLP_POINTS, stop_when_fitted=False)
        if not once:
            return repeat(ready, lambda: list(train(jobs, "mlp", recipe)), victims)
        ready()
        start = time.perf_counter()
        list(train(jobs, "mlp", recipe))
        return victims / (time.perf_counter() - start)

    return run


# ------------------------------------------------------------------------------------------------------------- the peak


def peak(precision: str) -> Contestant:
    """Products of large matrices: the arithmetic that the machine can do, in FLOP per second."""

    def run(ready: Ready) -> float:
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        a, b = (torch.rand(1024, 1024).to(dtype) for _ in range(2))
        with onednn_matmul():
            return repeat(ready, lambda: a @ b, 2 * 1024**3)

    return run
