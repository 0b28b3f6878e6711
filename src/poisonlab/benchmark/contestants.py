"""The contestants: for each workload what users do today, and what this package does.

A contestant prepares itself, calls `ready` (which returns when all workers are ready), works, and returns units of work per second.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from poisonlab import models
from poisonlab.attacks.paths import path_lengths
from poisonlab.attacks.pgd import Attack, attack
from poisonlab.models.inference import predict, to_float
from poisonlab.models.logistic import descend, hypergradient, validation_slope
from poisonlab.pipeline.jobs import keep_freed_memory
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.engines.loop import onednn_matmul
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

Ready = Callable[[], None]
Contestant = Callable[[Ready], float]

BATCH = 128
CLASSES = 10
SECONDS = 2.0  # least time of warming up, and of the measurement after it


# ---------------------------------------------------------------------------------------------------------------- data


def images_of(shape: tuple[int, ...], n: int) -> tuple[Tensor, Tensor]:
    """scikit-learn's digits at another size: n images [n, *shape] uint8, repeated as often as needed, and labels [n].

    Nothing is downloaded, and networks can learn them, so that attacks meet both easy and hard points.
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = np.arange(n) % len(digits.target)
    small = torch.from_numpy(digits.images[chosen] / 16).float()[:, None]
    resized = F.interpolate(small, size=shape[1:], mode="bilinear").expand(n, *shape)
    return (resized * 255).round().to(torch.uint8).contiguous(), torch.from_numpy(digits.target[chosen])


# ------------------------------------------------------------------------------------------------- training one network


class Usual(nn.Sequential):
    """The same networks as they are usually written: ReLU before pooling, channels first."""

    def __init__(self, name: str, input_shape: tuple[int, ...]) -> None:
        ours = models.build(name, input_shape, CLASSES, 0)
        layers: list[nn.Module] = []
        stages, convolutions = ours.stages, ours.convolutions
        for stage, convolution in zip(stages, convolutions, strict=True):  # type: ignore[arg-type]
            layers += [convolution, nn.ReLU()]
            if stage.pool > 1:
                layers.append(nn.MaxPool2d(stage.pool))
        layers.append(nn.Flatten())
        for layer in ours.layers:  # type: ignore[union-attr]
            layers += [layer, nn.ReLU()]
        super().__init__(*layers[:-1])


def _epochs(ready: Ready, epoch: Callable[[], int]) -> float:
    """Images per second of repeated epochs, after some that do not count."""
    _for_a_while(epoch)
    ready()
    return _for_a_while(epoch)


def _for_a_while(work: Callable[[], int]) -> float:
    """Do some work again and again, once at least; return what it did per second."""
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < SECONDS:
        done += work()
    return done / (time.perf_counter() - start)


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

        return _epochs(ready, epoch)

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

        return _epochs(ready, epoch)

    return run


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

        return _epochs(ready, epoch)

    return run


class _Enough(Exception):
    """Ends a training that has been timed for long enough."""


def loop_engine(name: str, shape: tuple[int, ...], n: int, precision: str) -> Contestant:
    """This package's `loop` engine, as a job of the pipeline runs it."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        images, labels = images_of(shape, n)
        training_set = TrainingSet(images.numpy(), labels.numpy(), CLASSES, np.empty(0, dtype=np.int64))
        begun, times = time.perf_counter(), list[float]()

        def progress(line: str) -> None:
            if time.perf_counter() - begun < SECONDS:
                return
            if not times:
                ready()
            times.append(time.perf_counter())
            if times[-1] - times[0] >= SECONDS:
                raise _Enough

        jobs = [VictimJob("benchmark", training_set, 0)]
        try:
            for _ in train(jobs, name, Recipe(1000, BATCH, stop_when_fitted=False), precision, progress=progress):
                pass
        except _Enough:
            pass
        return n * (len(times) - 1) / (times[-1] - times[0])

    return run


# --------------------------------------------------------------------------------------------- many fully connected nets

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

        return _repeat(ready, one, 1)

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

        return _repeat(ready, all_of_them, victims)

    return run


def stacked_engine(victims: int, once: bool = False) -> Contestant:
    """This package's `stacked` engine, as a job of the pipeline runs it; `once` as a job does, from a cold start."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        jobs = [VictimJob(str(k), _mlp_set(), k) for k in range(victims)]
        recipe = Recipe(MLP_EPOCHS, MLP_POINTS, stop_when_fitted=False)
        if not once:
            return _repeat(ready, lambda: list(train(jobs, "mlp", recipe)), victims)
        ready()
        start = time.perf_counter()
        list(train(jobs, "mlp", recipe))
        return victims / (time.perf_counter() - start)

    return run


def _repeat(ready: Ready, work: Callable[[], object], units: int) -> float:
    """Units per second of work that is repeated, after some that does not count."""

    def counted() -> int:
        work()
        return units

    return _epochs(ready, counted)


# ------------------------------------------------------------------------------------------------------- hypergradients

LR_POINTS, LR_FEATURES, LR_STEPS, LR_POISONS = 64, 16, 100, 8


def _logistic_problems(count: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(count, LR_POINTS, LR_FEATURES, generator=generator)
    return features, (features[..., 0] > 0).float(), torch.full((count,), 0.01)


def sequential_hypergradients() -> Contestant:
    """One problem after the other, automatic differentiation through the unrolled descent."""

    def run(ready: Ready) -> float:
        features, labels, penalty = _logistic_problems(1)

        def one() -> None:
            poison = features[0, -LR_POISONS:].clone().requires_grad_()
            points = torch.cat([features[0, :-LR_POISONS], poison])
            weights = torch.zeros(LR_FEATURES, requires_grad=True)
            for _ in range(LR_STEPS):
                loss = F.binary_cross_entropy_with_logits(points @ weights, labels[0])
                objective = loss + penalty[0] * (weights**2).sum() / 2
                weights = weights - 0.5 * torch.autograd.grad(objective, weights, create_graph=True)[0]
            torch.autograd.grad(F.binary_cross_entropy_with_logits(features[0] @ weights, labels[0]), poison)

        return _repeat(ready, one, 1)

    return run


def swept_hypergradients(count: int) -> Contestant:
    """This package's closed-form sweep, all problems at once."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        features, labels, penalty = _logistic_problems(count)

        def all_of_them() -> None:
            descent = descend(features, labels, penalty, LR_STEPS, 0.5)
            hypergradient(descent, validation_slope(descent.weights, features, labels)[1], LR_POISONS)

        return _repeat(ready, all_of_them, count)

    return run


# -------------------------------------------------------------------------------------------------------------- attacks

ATTACKED, STEPS, PATH_STEPS = 1000, 20, 60


def _trained(name: str, shape: tuple[int, ...]) -> tuple[nn.Module, Tensor, Tensor]:
    """A network that was trained for two epochs, in this package's form, and points to attack."""
    images, labels = images_of(shape, 1792)
    training_set = TrainingSet(images.numpy(), labels.numpy(), CLASSES, np.empty(0, dtype=np.int64))
    recipe = Recipe(2, 64, 2e-3, stop_when_fitted=False)
    ((_, victim),) = train([VictimJob("attacked", training_set, 0)], name, recipe)
    model = models.build(name, shape, CLASSES, 0)
    model.load_state_dict({key: torch.from_numpy(value) for key, value in victim.parameters.items()})
    return model.to(memory_format=torch.channels_last).eval(), to_float(images[:ATTACKED]), labels[:ATTACKED]  # type: ignore[call-overload]


def _as_usual(model: nn.Module, name: str, shape: tuple[int, ...]) -> nn.Module:
    """The same trained network as it is usually written."""
    usual = Usual(name, shape)
    own = [p.detach() for p in model.parameters()]
    channels = [p for p in own if p.dim() == 4][-1].shape[0]
    features = next(p.shape[1] for p in own if p.dim() == 2)
    side = int((features // channels) ** 0.5)
    for mine, other in zip(own, usual.parameters(), strict=True):
        if (
            mine.dim() == 2 and mine.shape[1] == features
        ):  # here flattened in the order height, width, channels; there channels first
            mine = mine.view(-1, side, side, channels).permute(0, 3, 1, 2).flatten(1)
        other.data.copy_(mine)
    return usual.eval()


def chunk(name: str, shape: tuple[int, ...], n: int, victims: int) -> Contestant:
    """A chunk of victims of one network, three epochs each, as a job of the pipeline trains it."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        images, labels = images_of(shape, n)
        training_set = TrainingSet(images.numpy(), labels.numpy(), CLASSES, np.empty(0, dtype=np.int64))
        jobs = [VictimJob(str(k), training_set, k) for k in range(victims)]
        ready()
        start = time.perf_counter()
        for _ in train(jobs, name, Recipe(3, BATCH, stop_when_fitted=False)):
            pass
        return victims / (time.perf_counter() - start)

    return run


def torchattacks_pgd(name: str, shape: tuple[int, ...], epsilon: float) -> Contestant:
    """torchattacks' PGD, in one batch after another. Counts points times the nominal number of steps."""

    def run(ready: Ready) -> float:
        import torchattacks

        model, images, labels = _trained(name, shape)
        usual = _as_usual(model, name, shape)
        assert (predict(usual, images) == predict(model, images)).float().mean() > 0.999
        step = 2.5 / STEPS * epsilon
        pgd = torchattacks.PGD(usual, eps=epsilon, alpha=step, steps=STEPS, random_start=False)

        def work() -> None:
            for batch, answers in zip(images.split(500), labels.split(500), strict=True):
                usual(pgd(batch, answers))  # the verdict takes another pass

        return _repeat(ready, work, ATTACKED * STEPS)

    return run


def active_set_pgd(name: str, shape: tuple[int, ...], epsilon: float) -> Contestant:
    """This package's PGD. Counts points times the nominal number of steps."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        model, images, labels = _trained(name, shape)
        return _repeat(
            ready,
            lambda: attack(model, images, labels, [epsilon], Attack(steps=STEPS)),
            ATTACKED * STEPS,
        )

    return run


def fixed_paths(name: str, shape: tuple[int, ...], step: float) -> Contestant:
    """Adversarial paths by a fixed number of steps for every point; the first that is another class is the length."""

    def run(ready: Ready) -> float:
        model, images, labels = _trained(name, shape)
        usual = _as_usual(model, name, shape)

        def work() -> None:
            for batch, answers in zip(images.split(500), labels.split(500), strict=True):
                points, lengths = batch.clone(), torch.full_like(answers, PATH_STEPS)
                for taken in range(PATH_STEPS):
                    points.requires_grad_()
                    logits = usual(points)
                    lengths = torch.where((logits.argmax(1) != answers) & (lengths > taken), taken, lengths)
                    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, answers, reduction="sum"), points)
                    points = (points + step * gradient.sign()).detach()

        return _repeat(ready, work, ATTACKED)

    return run


def active_set_paths(name: str, shape: tuple[int, ...], step: float) -> Contestant:
    """This package's adversarial paths."""

    def run(ready: Ready) -> float:
        keep_freed_memory()
        model, images, labels = _trained(name, shape)
        return _repeat(
            ready, lambda: path_lengths(model, lambda where: images[where], labels, step, PATH_STEPS), ATTACKED
        )

    return run


def fooled_share(name: str, shape: tuple[int, ...], epsilon: float) -> float:
    """Share of the points that PGD fools at this radius."""
    model, images, labels = _trained(name, shape)
    return float(attack(model, images, labels, [epsilon], Attack(steps=STEPS)).fooled.float().mean())


# ------------------------------------------------------------------------------------------------------------- the peak


def peak(precision: str) -> Contestant:
    """Products of large matrices: the arithmetic that the machine can do, in FLOP per second."""

    def run(ready: Ready) -> float:
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        a, b = (torch.rand(1024, 1024).to(dtype) for _ in range(2))
        with onednn_matmul():
            return _repeat(ready, lambda: a @ b, 2 * 1024**3)

    return run
