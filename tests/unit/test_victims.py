"""Victims are a pure function of data, poison, recipe, precision and seed: not of the chunk, the process or an interrupted run."""

import contextlib
import dataclasses
import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models.inference import rebuild, resolve_device
from poisonlab.models.networks import MLP
from poisonlab.poisons import files
from poisonlab.poisons.poison import Poison, TrainingSet, apply
from poisonlab.seeds import seed
from poisonlab.victims import checkpoint, engines, precision
from poisonlab.victims import chunk as chunks
from poisonlab.victims.chunk import load_chunk, train_chunk, victim_key
from poisonlab.victims.engines import batched, loop, stacked
from poisonlab.victims.order import epoch_order
from poisonlab.victims.precision import PRECISIONS, RoundedProducts, computing_in
from poisonlab.victims.proxy import out_of_fold_probabilities, train_proxy
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import Victim, VictimJob

CPU = torch.device("cpu")
SHORT = Recipe(epochs=2, batch_size=16, learning_rate=5e-3, warmup=0.2, final=0.1, stop_when_fitted=False)
CLASSES = 3


class Dropping(nn.Sequential):
    """A model that draws random numbers while it trains."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, num_classes))


MODELS = ("mlp", "hashed_mlp", "normalised_mlp", "strided", "pooled", f"{__name__}:Dropping")
SIDES = {"pooled": 28}  # of images so large that both of its convolutions take the compiled kernels; 8 else


def toy(seed: int = 0, train: int = 64, test: int = 40, side: int = 8) -> Dataset:
    """Three classes of small images: a pattern each, under noise that makes some points hard."""
    generator = np.random.default_rng(seed)
    patterns = generator.integers(60, 200, (CLASSES, 1, side, side))
    labels = np.arange(train + test) % CLASSES
    noise = generator.normal(0, 40, (train + test, 1, side, side))
    images = np.clip(patterns[labels] + noise, 0, 255).astype(np.uint8)
    return Dataset(
        name="toy",
        train_images=images[:train],
        train_labels=labels[:train],
        test_images=images[train:],
        test_labels=labels[train:],
        class_names=("a", "b", "c"),
        box=(0.0, 1.0),
        train_index=np.arange(train),
        test_index=np.arange(test),
    )


def flips(dataset: Dataset, positions: list[int], num_classes: int = CLASSES) -> Poison:
    """Relabel points to the next class."""
    index = np.array(positions, dtype=np.int64)
    return Poison(num_classes, relabel_index=index, relabel_label=(dataset.train_labels[index] + 1) % CLASSES)


def all_jobs(side: int = 8) -> dict[str, VictimJob]:
    """Sixteen jobs: four poisons (no edits, flips, appended points, a new class), four seeds."""
    dataset = toy(side=side)
    images = 255 - dataset.train_images[:3]
    poisons = [
        Poison(CLASSES),
        flips(dataset, [0, 4, 9]),
        Poison(CLASSES, append_images=images, append_labels=np.array([0, 1, 2])),
        Poison(CLASSES + 1, relabel_index=np.array([5, 6]), relabel_label=np.array([3, 3])),
    ]
    sets = [apply(poison, dataset) for poison in poisons]
    return {f"{p}-{s}": VictimJob(f"{p}-{s}", sets[p], seed("victim", repeat=s)) for p in range(4) for s in range(4)}


def digest(parameters: dict[str, np.ndarray]) -> str:
    state = hashlib.sha256()
    for name, array in sorted(parameters.items()):
        state.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return state.hexdigest()


def digests(model: str, keys: list[str], precision: str = "float32") -> dict[str, str]:
    """Hash of the weights of the jobs `keys`, trained in this order as one chunk."""
    jobs = all_jobs(SIDES.get(model, 8))
    trained = engines.train([jobs[key] for key in keys], model, SHORT, precision=precision)
    return {job.key: digest(victim.parameters) for job, victim in trained}


def train_one(training_set: TrainingSet, recipe: Recipe, model: str = "mlp", seed: int = 3, **options: Any) -> Victim:
    ((_, victim),) = engines.train([VictimJob("one", training_set, seed)], model, recipe, **options)
    return victim


def predictions(victim: Victim, model: str, training_set: TrainingSet) -> np.ndarray:
    """What the victim answers on its training points, by a plain forward pass."""
    network = rebuild(model, training_set.images.shape[1:], training_set.num_classes, victim.parameters, CPU)
    with torch.no_grad():
        return network(torch.from_numpy(training_set.images).float() / 255).argmax(1).numpy()


# ------------------------------------------------------------------------------------------------ data order


def test_an_epoch_visits_every_point_once():
    for n in (1, 2, 17, 1000):
        assert sorted(epoch_order(5, 0, n)) == list(range(n))


def test_unshuffled_points_keep_their_order_in_every_epoch():
    for epoch in range(3):
        assert epoch_order(5, epoch, 9, batch_size=4, shuffle=False).tolist() == list(range(9))


def test_the_order_differs_between_epochs_and_seeds_and_is_otherwise_the_same():
    orders = [tuple(epoch_order(seed, epoch, 50)) for seed in range(20) for epoch in range(20)]
    assert len(set(orders)) == 400
    assert tuple(epoch_order(3, 7, 50)) == orders[3 * 20 + 7]


def test_the_order_is_pinned():
    # Another order makes every archived victim irreproducible.
    assert epoch_order(7, 3, 10).tolist() == [0, 5, 3, 1, 2, 8, 6, 4, 9, 7]
    assert epoch_order(seed("victim", repeat=5), 0, 10).tolist() == [7, 8, 2, 3, 4, 0, 9, 1, 5, 6]


@pytest.mark.parametrize("chosen", [0, 12345, 2**63 - 1])
def test_the_order_sorts_the_splitmix64_hash_in_integers_of_any_length(chosen):
    def hashed(i: int, epoch: int) -> int:
        z = (i + 1 + chosen + epoch * 0xD1B54A32D192ED03) * 0x9E3779B97F4A7C15 % 2**64
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
        return z ^ z >> 31

    for epoch in (0, 1, 250):
        assert epoch_order(chosen, epoch, 300).tolist() == sorted(range(300), key=lambda i: hashed(i, epoch))


def test_every_point_comes_at_every_place_equally_often():
    places = np.array([epoch_order(1, epoch, 10) for epoch in range(3000)])
    for place in range(10):
        # Fixed seed; uniform orders give p < 0.0001 at one of ten places once in a thousand seeds.
        assert stats.chisquare(np.bincount(places[:, place], minlength=10)).pvalue > 1e-4


# ------------------------------------------------------------------------------------------------ recipe


def test_the_rate_rises_over_the_warm_up_and_falls_to_its_final_share():
    recipe = Recipe(epochs=1, learning_rate=0.1, warmup=0.2, final=0.1)
    # 10 steps: the peak is reached with the second, and the fall is linear over the other eight.
    expected = [0.05, 0.1, *(0.1 * (1 - 0.9 * k / 8) for k in range(1, 9))]
    assert [recipe.rate(step, 10) for step in range(10)] == pytest.approx(expected, rel=1e-12)  # rounding of doubles
    assert recipe.rate(9, 10) == pytest.approx(0.01, rel=1e-12)


def test_without_schedule_the_rate_is_constant():
    assert {Recipe(epochs=1, learning_rate=0.3).rate(step, 7) for step in range(7)} == {0.3}


def test_a_warm_up_over_everything_only_rises():
    recipe = Recipe(epochs=1, learning_rate=0.8, warmup=1.0)
    assert [recipe.rate(step, 4) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8], rel=1e-12)


# ------------------------------------------------------------------------------------------------ training


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["mlp", "hashed_mlp", "normalised_mlp", "strided"])
def test_a_victim_is_what_a_plain_loop_with_adam_trains(name, precision):
    if precision == "bfloat16" and name not in ("mlp", "strided"):
        pytest.skip("rounded sums turn the signs of small activations, which normalisation makes larger")
    training_set = apply(flips(toy(), [1, 2]), toy())
    recipe = Recipe(
        epochs=3, batch_size=24, learning_rate=4e-3, beta2=0.99, warmup=0.3, final=0.2, stop_when_fitted=False
    )
    model = models.build(name, (1, 8, 8), CLASSES, seed=11)
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.99), fused=False)
    images, labels = torch.from_numpy(training_set.images) / 255, torch.from_numpy(training_set.labels)
    step = 0
    for epoch in range(3):
        order = torch.from_numpy(epoch_order(11, epoch, 64))
        for batch in (order[:24], order[24:48], order[48:]):  # the last one is shorter
            share = (step + 1) / 9
            scale = share / 0.3 if share < 0.3 else 1 - 0.8 * (share - 0.3) / 0.7
            optimizer.param_groups[0]["lr"] = 4e-3 * scale
            optimizer.zero_grad()
            with computing_in(PRECISIONS[precision], CPU):
                logits = model(images[batch])
            F.cross_entropy(logits.float(), labels[batch]).backward()
            optimizer.step()
            step += 1
    victim = train_one(training_set, recipe, name, seed=11, precision=precision)
    assert victim.epochs == 3
    for key, expected in model.state_dict().items():
        difference = np.abs(victim.parameters[key] - expected.detach().numpy())
        if precision == "float32":
            # Another kernel of Adam: nine steps of at most 4e-3, each rounded at 1e-7 of a weight below 1 or so.
            assert difference.max() < 2e-6
        else:
            # A sum in another order may round to the neighbouring bfloat16, 2⁻⁸ away, and nine steps with it; where a gradient is about
            # zero, Adam makes more of it, but no more than a step.
            assert np.quantile(difference, 0.99) < 9 * 4e-3 * 2**-8
            assert difference.max() < 4e-3


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("model", MODELS)
def test_weights_are_the_same_to_the_bit_in_chunks_of_any_size_and_order(model, precision):
    keys = list(all_jobs())
    together = digests(model, keys, precision)
    assert len(set(together.values())) == 16
    shuffled = random.Random(0).sample(keys, 16)
    assert digests(model, shuffled, precision) == together
    in_fours: dict[str, str] = {}
    for first in range(0, 16, 4):
        in_fours |= digests(model, shuffled[first : first + 4], precision)
    assert in_fours == together
    for key in ("0-0", "1-3", "2-2", "3-1"):
        assert digests(model, [key], precision) == {key: together[key]}


def test_weights_are_the_same_to_the_bit_when_rows_are_given_to_waiting_victims(monkeypatch: pytest.MonkeyPatch):
    recipe = Recipe(epochs=60, batch_size=16, learning_rate=5e-3)

    def trained() -> dict[str, tuple[str, int]]:
        found = engines.train(all_jobs().values(), "mlp", recipe)
        return {job.key: (digest(victim.parameters), victim.epochs) for job, victim in found}

    together = trained()
    assert len({epochs for _, epochs in together.values()}) > 3, "victims must end at different times for this test"
    monkeypatch.setattr(stacked, "WIDTH", 3)
    assert trained() == together


@pytest.mark.parametrize("model", ["pooled", "strided", "strided_linear"])
def test_stacked_convolutions_train_what_the_loop_trains(model):
    jobs = list(all_jobs().values())
    side_by_side = {job.key: victim for job, victim in stacked.train(jobs, model, SHORT, "float32", CPU, print)}
    for job, expected in loop.train(jobs[::3], model, SHORT, "float32", CPU, print):
        for name, weights in expected.parameters.items():
            # Eight steps of at most 5e-3, sums in another order: Adam turns a gradient that differs in its last bits around zero into a
            # step of either sign, so a few weights may differ by a fraction of a step. How many depends on the processor.
            difference = np.abs(side_by_side[job.key].parameters[name] - weights)
            assert np.quantile(difference, 0.99) < 1e-5
            assert difference.max() < 5e-3


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}], ids=str
)
def test_stacked_descent_is_that_of_the_loop(options: dict[str, Any]):
    jobs = list(all_jobs().values())
    recipe = Recipe(4, 16, 0.05, final=0.1, optimiser={"name": "sgd", **options}, stop_when_fitted=False)
    side_by_side = {job.key: victim for job, victim in stacked.train(jobs, "mlp", recipe, "float32", CPU, print)}
    for job, expected in loop.train(jobs[::3], "mlp", recipe, "float32", CPU, print):
        for name, weights in expected.parameters.items():
            # Single precision, sums in another order.
            np.testing.assert_allclose(side_by_side[job.key].parameters[name], weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("model", ["mlp", "strided"])
def test_at_a_fixed_width_weights_are_the_same_to_the_bit_in_chunks_of_any_size_and_order(model, monkeypatch):
    # As on a GPU, where the width is part of how a product is computed.
    monkeypatch.setattr(stacked, "FIXED_WIDTH", {"cpu"})
    monkeypatch.setattr(stacked, "WIDTH", 4)
    epoch, widths = stacked._Group._epoch, set()

    def watched(self: Any, slots: Any) -> Any:
        widths.add(len(slots.jobs))
        return epoch(self, slots)

    monkeypatch.setattr(stacked._Group, "_epoch", watched)
    expect_the_same_in_any_chunk_and_order(model, CPU)
    assert widths == {4}  # on a CPU the bits would be the same at any


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("model", ["mlp", "strided"])
def test_on_a_gpu_weights_are_the_same_to_the_bit_in_chunks_of_any_size_and_order(model):
    expect_the_same_in_any_chunk_and_order(model, torch.device("cuda"))


def expect_the_same_in_any_chunk_and_order(model: str, device: torch.device) -> None:
    jobs = all_jobs()

    def trained(keys: list[str]) -> dict[str, str]:
        found = stacked.train([jobs[key] for key in keys], model, SHORT, "float32", device, print)
        return {job.key: digest(victim.parameters) for job, victim in found}

    together = trained(list(jobs))
    assert len(set(together.values())) == 16
    shuffled = random.Random(1).sample(list(jobs), 16)
    assert trained(shuffled) == together
    assert trained(shuffled[:1]) == {shuffled[0]: together[shuffled[0]]}


def test_out_of_memory_halves_the_width_and_goes_on(monkeypatch: pytest.MonkeyPatch):
    jobs = list(all_jobs().values())
    together = {job.key: digest(victim.parameters) for job, victim in engines.train(jobs, "mlp", SHORT)}
    epoch, widths, lines = stacked._Group._epoch, [], []

    def hungry(self: Any, slots: Any) -> Any:
        widths.append(len(slots.jobs))
        if len(slots.jobs) > 3:
            raise torch.OutOfMemoryError
        return epoch(self, slots)

    monkeypatch.setattr(stacked._Group, "_epoch", hungry)
    monkeypatch.setattr(stacked, "WIDTH", 8)
    found = engines.train(jobs, "mlp", SHORT, progress=lines.append)
    assert {job.key: digest(victim.parameters) for job, victim in found} == together
    assert (widths[0], widths[1], max(widths[2:])) == (8, 4, 2)
    assert "out of memory: going on with 2 victims side by side" in lines
    monkeypatch.setattr(stacked._Group, "_epoch", lambda self, slots: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        list(engines.train(jobs, "mlp", SHORT))


def test_rows_on_a_cpu_are_as_many_as_the_budget_holds_and_at_least_one(monkeypatch: pytest.MonkeyPatch):
    jobs = list(all_jobs().values())
    together = {job.key: digest(victim.parameters) for job, victim in engines.train(jobs, "mlp", SHORT)}
    whole = stacked._Group(jobs, "mlp", SHORT, torch.float32, torch.device("cpu")).affordable()
    assert whole >= len(jobs)
    for budget, rows in ((stacked.MEMORY * 5 // whole, {4, 5}), (1, {1})):
        lines: list[str] = []
        monkeypatch.setattr(stacked, "MEMORY", budget)
        found = engines.train(jobs, "mlp", SHORT, progress=lines.append)
        assert {job.key: digest(victim.parameters) for job, victim in found} == together
        assert max(int(line.split("; ")[1].split()[0]) for line in lines) in rows


BUDGETED = """
import resource
import numpy as np, torch
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import stacked
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

stacked.MEMORY = 256 << 20
images = np.zeros((600, 3072), np.uint8)
training_set = TrainingSet(images, np.zeros(600, int), 10, np.arange(5))
jobs = [VictimJob(str(n), training_set, n) for n in range(64)]
before = peak()
recipe = Recipe(epochs=1, batch_size=128, learning_rate=1e-3, stop_when_fitted=False)
victims = list(stacked.train(jobs, "deep_mlp", recipe, "float32", torch.device("cpu"), print))
kept = sum(array.nbytes for _, victim in victims for array in victim.parameters.values())
assert len(victims) == 64
print(peak() - before - kept)
"""


def test_the_rows_on_a_cpu_take_no_more_memory_than_their_budget():
    ran = subprocess.run([sys.executable, "-c", BUDGETED], capture_output=True, text=True, check=True)
    rows = int(ran.stdout.split(" side by side")[0].split()[-1])
    assert 2 <= rows < 64
    # What libraries take at their first use comes on top: 64 MiB are allowed, a quarter of the budget.
    assert int(ran.stdout.split()[-1]) < (256 + 64) << 20


def test_rounded_products_are_exact_products_of_rounded_numbers_rounded_once():
    generator = torch.Generator().manual_seed(0)
    shapes = {F.linear: ((24, 65), (7, 65), (24, 7)), F.conv2d: ((8, 3, 6, 6), (5, 3, 3, 3), (8, 5, 4, 4))}
    for product, drawn in shapes.items():
        inputs, weights, slope = (torch.randn(shape, generator=generator) for shape in drawn)
        inputs.requires_grad_()
        weights.requires_grad_()
        with RoundedProducts():
            outputs = product(inputs, weights)
        outputs.backward(slope)
        exact = [values.detach().bfloat16().double().requires_grad_() for values in (inputs, weights)]
        expected = product(*exact)
        expected.backward(slope.bfloat16().double())
        pairs = zip((outputs, inputs.grad, weights.grad), (expected, exact[0].grad, exact[1].grad), strict=True)
        for found, wanted in pairs:
            # Where the exact sum lies at the middle of two bfloat16, float32's may fall to the other side: 2⁻⁷ at most, and rarely.
            torch.testing.assert_close(found, wanted.bfloat16().float(), rtol=2**-7, atol=0)
            assert (found == wanted.bfloat16().float()).float().mean() > 0.99
            assert (found == wanted.float()).float().mean() < 0.1  # rounded at all


def test_numbers_that_are_known_to_be_rounded_are_not_rounded_again_and_nothing_else_changes(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((4, 1, 28, 28), generator=generator)
    extra = torch.rand((4, 1568), generator=generator)
    model = models.build("conv_pool", (1, 28, 28), 10, seed=0)
    rounded = precision.Rounded.apply
    calls = []
    monkeypatch.setattr(precision.Rounded, "apply", lambda values: calls.append(values) or rounded(values))

    def answers() -> tuple[list[torch.Tensor], int]:
        calls.clear()
        own = images.clone().requires_grad_()
        with RoundedProducts():
            logits = model(own)
            several = F.linear(extra, extra[:3])
            several += 0.1  # written to: no longer known to be rounded
            again = F.linear(several, several[:2])
        gradients = torch.autograd.grad(logits.square().sum(), (own, *model.parameters()))
        return [logits, again, *gradients], len(calls)

    found, some = answers()
    monkeypatch.setattr(precision, "_is_known", lambda value: False)
    expected, every = answers()
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
    assert every - some == 3  # between its four layers


@pytest.mark.parametrize(
    ("supported", "has", "expected"),
    [
        (False, {"avx2": True}, RoundedProducts),
        (True, {"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, RoundedProducts),  # oneDNN can, slowly
        (True, {"avx512_f": True, "avx512_bf16": True}, torch.autocast),
        (True, {"neon": True, "bf16": True}, torch.autocast),
        (False, {"neon": True, "bf16": True}, RoundedProducts),
    ],
)
def test_no_processor_computes_in_a_bfloat16_that_it_does_not_have(monkeypatch, supported, has, expected):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert isinstance(computing_in(torch.bfloat16, CPU), expected)
    assert isinstance(computing_in(torch.float32, CPU), contextlib.nullcontext)


def smallest_sum() -> float:
    """What comes of two of the smallest numbers of float32."""
    return float(torch.full((), 1e-45) + torch.full((), 1e-45))


class Listening(MLP):
    """Notes what its forward pass makes of the smallest numbers."""

    heard: ClassVar[list[float]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.heard.append(smallest_sum())
        return super().forward(inputs)


@pytest.mark.skipif(not torch.set_flush_denormal(False), reason="this processor has no switch for denormals")
def test_training_takes_the_smallest_numbers_for_zero_and_nobody_else_does(monkeypatch):
    gradient = batched.FullyConnected.gradient

    def listen(self, *arguments: Any) -> Tensor:
        Listening.heard.append(smallest_sum())
        return gradient(self, *arguments)

    monkeypatch.setattr(batched.FullyConnected, "gradient", listen)
    for model in (f"{__name__}:Listening", "mlp"):
        Listening.heard.clear()
        jobs = [VictimJob(name, apply(Poison(CLASSES), toy()), 0) for name in "ab"]
        between = [smallest_sum() for _ in engines.train(jobs, model, SHORT)]
        assert Listening.heard[0] == 0
        assert min(*between, smallest_sum()) > 0


def test_the_engine_follows_from_model_and_device():
    gpu = torch.device("cuda")
    names = ("mlp", "pooled", f"{__name__}:Dropping")
    assert [engines.choose(name, SHORT, CPU) for name in names] == [stacked, loop, loop]
    assert [engines.choose(name, SHORT, gpu) for name in names] == [stacked, stacked, loop]


class Scaled(MLP):
    """A net of the package that sees its inputs otherwise."""

    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(10 * (inputs - 0.5))


def test_what_is_derived_from_a_network_of_the_package_is_trained_as_it_is():
    for device in (CPU, torch.device("cuda")):
        assert engines.choose(f"{__name__}:Scaled", SHORT, device) is loop


def test_onednn_multiplies_in_float32_or_not_at_all(monkeypatch: pytest.MonkeyPatch):
    settings = torch.backends.mkldnn.matmul
    before = settings.fp32_precision
    with loop.onednn_matmul():
        assert loop.matmul_error() < loop.FLOAT32_ERROR
    assert settings.fp32_precision == before
    # What bfloat16 inputs would do is far beyond the limit, so the check can tell.
    monkeypatch.setattr(loop, "matmul_error", lambda: 1e-3)
    with loop.onednn_matmul():
        assert settings.fp32_precision == "ieee"
    assert settings.fp32_precision == before


def test_the_check_of_onednn_sees_rounded_inputs():
    a, b = (torch.rand(256, 256, generator=torch.Generator().manual_seed(k)).bfloat16().float() for k in range(2))
    exact = [torch.rand(256, 256, generator=torch.Generator().manual_seed(k)).double() for k in range(2)]
    error = ((a @ b).double() - exact[0] @ exact[1]).abs().max() / (exact[0] @ exact[1]).abs().max()
    assert error > 10 * loop.FLOAT32_ERROR


def test_weights_are_the_same_to_the_bit_in_another_process_with_other_jobs():
    keys, here = ["3-2", "1-0", "2-3"], {}
    for model in MODELS:
        all_here = digests(model, ["0-1", "2-3", "1-1", "1-0", "3-2"])
        here[model] = {key: all_here[key] for key in keys}
    script = f"import test_victims as t; print({{model: t.digests(model, {keys!r}) for model in {MODELS!r}}})"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTHONHASHSEED": "77"}
    found = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == str(here)


@pytest.mark.parametrize("model", MODELS)
def test_neither_the_global_generator_nor_the_key_of_a_job_matters(model):
    training_set = apply(Poison(CLASSES), toy(side=SIDES.get(model, 8)))
    first = train_one(training_set, SHORT, model)
    torch.manual_seed(1234)
    np.random.seed(1234)  # noqa: NPY002 - the legacy generator is what must not matter
    before = torch.get_rng_state()
    ((_, second),) = engines.train([VictimJob("another", training_set, 3)], model, SHORT)
    assert digest(second.parameters) == digest(first.parameters)
    assert torch.equal(torch.get_rng_state(), before)
    assert digest(train_one(training_set, SHORT, model, seed=4).parameters) != digest(first.parameters)


def test_jobs_may_be_made_one_by_one_with_images_that_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch):
    # As on a GPU: the copy on the device does not keep the array alive, and the next array may get its address.
    monkeypatch.setattr(torch, "from_numpy", torch.tensor)

    def lazily() -> Iterator[VictimJob]:
        for number in range(12):  # enough for an address to come again
            yield VictimJob(str(number), apply(Poison(CLASSES), toy(seed=number)), 3)

    one_by_one = [digest(victim.parameters) for _, victim in engines.train(lazily(), "mlp", SHORT)]
    at_once = [digest(victim.parameters) for _, victim in engines.train(list(lazily()), "mlp", SHORT)]
    assert one_by_one == at_once


def test_training_stops_as_soon_as_every_point_is_fitted():
    training_set = apply(flips(toy(), [0, 1, 2, 3]), toy())
    recipe = Recipe(epochs=200, batch_size=16, learning_rate=5e-3)
    victim = train_one(training_set, recipe)
    assert victim.epochs < 200
    assert victim.train_accuracy == 1.0
    assert victim.fitted_share == 1.0
    np.testing.assert_array_equal(predictions(victim, "mlp", training_set), training_set.labels)
    # With a constant rate, looking whether to stop leaves no trace in the weights.
    blind = Recipe(epochs=victim.epochs, batch_size=16, learning_rate=5e-3, stop_when_fitted=False)
    assert digest(train_one(training_set, blind).parameters) == digest(victim.parameters)
    longer = train_one(training_set, dataclasses.replace(blind, epochs=victim.epochs + 3))
    assert longer.epochs == victim.epochs + 3


def test_training_goes_on_while_a_single_point_is_not_fitted():
    # Two equal points with different labels cannot both be fitted. With 1500 points the one error is below the share of wrong answers
    # (2 in 1000) at which the exact check begins, so that it is the exact check that says no.
    generator = np.random.default_rng(0)
    features = generator.uniform(-1, 1, (1500, 2)).astype(np.float32)
    features[:, 0] += 0.3 * np.sign(features[:, 0])
    labels = (features[:, 0] > 0).astype(np.int64)
    features[1] = features[0]
    labels[:2] = [0, 1]
    poisoned = np.empty(0, dtype=np.int64)
    recipe = Recipe(epochs=12, batch_size=64, learning_rate=5e-3)
    victim = train_one(TrainingSet(features, labels, 2, poisoned), recipe)
    assert (victim.epochs, victim.train_accuracy) == (12, pytest.approx(1499 / 1500, abs=1e-12))
    labels[1] = labels[0] = int(features[0, 0] > 0)  # the contradiction gone, it stops
    assert train_one(TrainingSet(features, labels, 2, poisoned), recipe).epochs < 12


def with_an_infinite_pixel() -> TrainingSet:
    """Points that no network has a finite loss on."""
    data = apply(Poison(CLASSES), toy())
    images = data.images.astype(np.float32) / 255
    images[3] = np.inf
    return dataclasses.replace(data, images=images)


@pytest.mark.parametrize("model", ["mlp", "strided", "normalised_mlp"])
def test_a_victim_that_diverges_stops_and_says_so_and_the_others_go_on(model):
    finite = dataclasses.replace(with_an_infinite_pixel(), images=toy().train_images.astype(np.float32) / 255)
    jobs = [VictimJob(key, finite, number) for number, key in enumerate("ab")]
    alone = {job.key: digest(victim.parameters) for job, victim in engines.train(jobs, model, SHORT)}
    jobs.insert(1, VictimJob("dead", with_an_infinite_pixel(), 0))
    found = {job.key: victim for job, victim in engines.train(jobs, model, SHORT)}
    assert {key: (victim.diverged, victim.epochs) for key, victim in found.items()} == {
        "a": (False, 2),
        "dead": (True, 1),
        "b": (False, 2),
    }
    assert {key: digest(found[key].parameters) for key in "ab"} == alone


@pytest.mark.parametrize("model", ["mlp", "strided"])
def test_weights_that_overflow_in_the_last_step_are_seen(model):
    recipe = Recipe(epochs=1, batch_size=64, learning_rate=1e39, stop_when_fitted=False)
    assert train_one(apply(Poison(CLASSES), toy()), recipe, model).diverged


# With Dropout and with batch normalisation the state of the generator and the statistics count, too.
AGED = ("mlp", "strided", "normalised_mlp", f"{__name__}:Dropping")


@pytest.mark.parametrize("model", AGED)
def test_an_age_is_the_state_of_a_victim_that_was_trained_for_that_share_of_the_epochs(model):
    training_set = apply(flips(toy(), [0, 4, 9]), toy())
    recipe = Recipe(epochs=10, batch_size=16, learning_rate=5e-3, stop_when_fitted=False)  # at a constant rate
    ages = (0.3, 1.0, 0.0, 0.01, 0.6)
    ((_, aged),) = engines.train([VictimJob("one", training_set, 3, ages)], model, recipe)
    assert list(aged.snapshots) == list(ages)
    assert digest(aged.parameters) == digest(train_one(training_set, recipe, model).parameters)
    for age, epochs in ((0.3, 3), (1.0, 10), (0.01, 1), (0.6, 6)):
        younger = train_one(training_set, dataclasses.replace(recipe, epochs=epochs), model)
        assert digest(aged.snapshots[age]) == digest(younger.parameters)
    born = models.build(model, (1, 8, 8), CLASSES, 3).state_dict()
    assert digest(aged.snapshots[0.0]) == digest({name: value.numpy() for name, value in born.items()})


@pytest.mark.parametrize("model", ["mlp", "strided"])
def test_an_age_that_a_victim_does_not_reach_because_it_fits_everything_is_its_end(model):
    training_set = apply(Poison(CLASSES), toy())
    recipe = Recipe(epochs=400, batch_size=16, learning_rate=5e-3)
    jobs = [VictimJob(str(number), training_set, number, (0.005, 0.9)) for number in range(5)]
    for job, victim in engines.train(jobs, model, recipe):
        assert 2 < victim.epochs < 360
        assert digest(victim.snapshots[0.9]) == digest(victim.parameters)
        early = train_one(training_set, dataclasses.replace(recipe, epochs=2), model, seed=job.seed)
        assert digest(victim.snapshots[0.005]) == digest(early.parameters)


def test_ages_are_kept_when_rows_are_given_to_waiting_victims(monkeypatch: pytest.MonkeyPatch):
    recipe = Recipe(epochs=60, batch_size=16, learning_rate=5e-3)
    jobs = [dataclasses.replace(job, ages=(0.0, 0.1, 0.5)) for job in all_jobs().values()]

    def kept() -> dict[str, list[str]]:
        found = engines.train(jobs, "mlp", recipe)
        return {job.key: [digest(state) for state in victim.snapshots.values()] for job, victim in found}

    together = kept()
    # Victims of a seed share their initialisation, and one that fits everything early has one state at both later ages.
    assert len({state for states in together.values() for state in states}) > 30
    monkeypatch.setattr(stacked, "WIDTH", 3)
    assert kept() == together


def test_images_of_many_poisons_are_held_a_few_at_a_time_and_the_victims_are_the_same(monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []

    def lazily() -> Iterator[VictimJob]:
        for number in range(9):
            made.append(number)
            images = 255 - toy().train_images[number : number + 1]
            poison = Poison(CLASSES, append_images=images, append_labels=np.array([0]))
            yield VictimJob(str(number), apply(poison, toy()), 3)

    at_once = {job.key: digest(victim.parameters) for job, victim in engines.train(list(lazily()), "mlp", SHORT)}
    made.clear()
    monkeypatch.setattr(stacked, "IMAGES", 3 * 65 * 64)
    for done, (job, victim) in enumerate(engines.train(lazily(), "mlp", SHORT)):
        assert len(made) <= done // 3 * 3 + 4  # the window of three that is trained, and the job that did not fit
        assert digest(victim.parameters) == at_once[job.key]
    assert len(made) == 9


def test_engines_compute_with_one_thread_and_leave_the_number_as_it_was():
    counts: list[int] = []

    def jobs() -> Iterator[VictimJob]:
        for name in "ab":
            counts.append(torch.get_num_threads())
            yield VictimJob(name, apply(Poison(CLASSES), toy()), 0)

    torch.set_num_threads(2)
    try:
        outside = [torch.get_num_threads() for _ in engines.train(jobs(), "strided", SHORT)]
        assert (counts, outside, torch.get_num_threads()) == ([1, 1], [2, 2], 2)
    finally:
        torch.set_num_threads(1)


class Weighing(MLP):
    """A model that says something of itself."""

    def scalars(self) -> dict[str, float]:
        return {"bias": float(self.layers[-1].bias.detach().abs().sum())}


def test_an_unfitted_poison_alone_keeps_the_training_going():
    # As above, but the check asks the poisons first: the contradictory point is a poison.
    generator = np.random.default_rng(0)
    features = generator.uniform(-1, 1, (1500, 2)).astype(np.float32)
    features[:, 0] += 0.3 * np.sign(features[:, 0])
    labels = (features[:, 0] > 0).astype(np.int64)
    features[1], labels[1] = features[0], 1 - labels[0]
    recipe = Recipe(epochs=12, batch_size=64, learning_rate=5e-3)
    victim = train_one(TrainingSet(features, labels, 2, np.array([1])), recipe)
    assert victim.epochs == 12


@pytest.mark.parametrize(("model", "epochs"), [("mlp", 20), ("strided", 10)])
def test_fitted_share_and_train_accuracy_are_those_of_the_final_predictions(model, epochs):
    dataset = toy()
    images = 255 - dataset.train_images[:6]
    poison = dataclasses.replace(
        flips(dataset, [0, 4, 9, 11, 20]), append_images=images, append_labels=np.array([0, 1, 2, 0, 1, 2])
    )
    training_set = apply(poison, dataset)
    recipe = Recipe(epochs=epochs, batch_size=16, learning_rate=5e-3)
    victim = train_one(training_set, recipe, model)
    right = predictions(victim, model, training_set) == training_set.labels
    poisons = [0, 4, 9, 11, 20, 64, 65, 66, 67, 68, 69]
    assert victim.fitted_share == pytest.approx(right[poisons].mean(), abs=1e-12)  # rounding of doubles
    assert victim.train_accuracy == pytest.approx(right.mean(), abs=1e-12)
    assert 0 < victim.fitted_share < 1
    assert victim.fitted_share != victim.train_accuracy


def test_without_poisons_there_is_no_fitted_share():
    assert np.isnan(train_one(apply(Poison(CLASSES), toy()), SHORT).fitted_share)


@pytest.mark.parametrize("model", ["mlp", "strided"])
def test_bfloat16_computes_otherwise_and_keeps_its_weights_in_float32(model):
    training_set = apply(Poison(CLASSES), toy())
    single, half = (train_one(training_set, SHORT, model, precision=name) for name in ("float32", "bfloat16"))
    assert digest(single.parameters) != digest(half.parameters)
    for name, array in half.parameters.items():
        assert array.dtype == np.float32
        weights = torch.from_numpy(array)
        assert not torch.equal(weights, weights.bfloat16().float())  # more digits than bfloat16 has
        # Eight steps of at most 5e-3: whatever the gradients, both are still near their common start.
        assert np.abs(array - single.parameters[name]).max() < 2 * 8 * 5e-3


@pytest.mark.parametrize(("model", "beside"), [("mlp", "; 1 side by side, 0 wait"), ("strided", "")])
def test_progress_is_reported_every_epoch_with_the_wrong_answers_met_on_the_way(model, beside):
    lines: list[str] = []
    training_set = apply(Poison(CLASSES), toy())
    # Batches of the whole set: what is wrong in an epoch is what the victim of one epoch less gets wrong.
    recipe = Recipe(epochs=2, batch_size=64, learning_rate=1e-3, stop_when_fitted=False)
    train_one(training_set, recipe, model, progress=lines.append)
    after_one = train_one(training_set, dataclasses.replace(recipe, epochs=1), model)
    wrong = (predictions(after_one, model, training_set) != training_set.labels).sum()
    assert lines[0].startswith("one: epoch 1 of at most 2, ")
    assert lines[1:] == [f"one: epoch 2 of at most 2, {wrong} of 64 wrong while training{beside}"]
    assert 0 < wrong < 64


# ------------------------------------------------------------------------------------------------ device and model by name


def test_cuda_without_a_gpu_is_refused_and_auto_takes_the_cpu(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="device 'cuda' is not there, this machine offers 'cpu'; set device: auto"):
        resolve_device("cuda")
    assert resolve_device("auto") == resolve_device("cpu") == CPU


def test_a_model_of_your_own_is_named_by_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "my_networks.py").write_text(
        "import math\nfrom torch import nn\n\n"
        "class Softmax(nn.Sequential):\n"
        "    def __init__(self, input_shape, num_classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(math.prod(input_shape), num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    training_set = apply(Poison(CLASSES), toy())
    victim = train_one(training_set, dataclasses.replace(SHORT, epochs=8), "my_networks:Softmax")
    assert {name: array.shape for name, array in victim.parameters.items()} == {"1.weight": (3, 64), "1.bias": (3,)}
    flat = training_set.images.reshape(64, -1).astype(np.float64) / 255
    logits = flat @ victim.parameters["1.weight"].T.astype(np.float64) + victim.parameters["1.bias"]
    assert victim.train_accuracy == (logits.argmax(1) == training_set.labels).mean() > 0.6


@pytest.mark.parametrize("model", ["resnext", "my_networks_that_are_not:Net", "poisonlab.models.networks:Missing"])
def test_a_model_that_does_not_exist_is_refused_in_one_line(model):
    with pytest.raises(InputError, match=f"model '{model}'") as error:
        train_one(apply(Poison(CLASSES), toy()), SHORT, model)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------ chunks

Train = Callable[..., pd.DataFrame]
COLUMNS = {"study": "s", "experiment": "e"}
AXIS = [0.0, 2.5]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the victims that are really trained."""
    keys: list[str] = []

    def count(jobs: list[VictimJob], *arguments: Any) -> Iterator[tuple[VictimJob, Victim]]:
        for job, victim in engines.train(jobs, *arguments):
            keys.append(job.key)
            yield job, victim

    monkeypatch.setattr(chunks, "train", count)
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_SAVES", 0)
    return keys


def poison_file(folder: Path, *poisons: Poison) -> Path:
    """Two poisons, one for each value of the axis; relabelled points are the same whatever the side of the images."""
    path = folder / "poison.safetensors"
    files.save(path, poisons or [flips(toy(), [0, 4, 9]), flips(toy(), [1, 2])], toy(), sweep="r", values=AXIS)
    return path


def one_poison(path: Path, poison: Poison, draw: int = 0) -> Path:
    """A poison without a sweep."""
    files.save(path, [poison], toy(), draw=draw)
    return path


def chunk(folder: Path, first: int, last: int, *poisons: Path, **changes: Any) -> pd.DataFrame:
    """Train repeats first … last of two poisons into `folder`."""
    settings = {
        "dataset": toy(side=SIDES.get(changes.get("model", "mlp"), 8)),
        "model": "mlp",
        "recipe": dataclasses.asdict(SHORT),
        "precision": "float32",
        "device": "cpu",
        "code_version": "1",
    }
    return train_chunk(
        poison_files={"c": poisons or [poison_file(folder.parent)]},
        output=folder / "c" / f"draws-0-0_repeats-{first}-{last}.safetensors",
        columns=COLUMNS,
        repeats=range(first, last + 1),
        **(settings | changes),
    )


def keys(repeats: range) -> list[str]:
    return [victim_key("c", (0, value), repeat) for value in AXIS for repeat in repeats]


def test_a_chunk_trains_every_value_of_the_axis_with_every_repeat_on_the_seed_of_the_repeat(tmp_path: Path, trained):
    rows = chunk(tmp_path / "victims", 1, 3)
    assert trained == keys(range(1, 4))
    assert rows[["axis_value", "repeat"]].to_numpy().tolist() == [[a, r] for a in AXIS for r in (1, 2, 3)]
    assert (rows[list(COLUMNS)] == pd.Series(COLUMNS)).all(axis=None)
    sets = rows.groupby("axis_value")["training_set"].unique()
    assert all(len(own) == 1 for own in sets)
    assert sets.explode().is_unique
    stored = load_chunk(
        tmp_path / "victims" / "c" / "draws-0-0_repeats-1-3.safetensors",
        {"c": [tmp_path / "poison.safetensors"]},
        COLUMNS,
        range(1, 4),
    )
    dataset = toy()
    for (identity, num_classes, parameters), (_, row) in zip(stored, rows.iterrows(), strict=True):
        assert identity == COLUMNS | {
            "condition": "c",
            "draw": 0,
            "axis_value": row["axis_value"],
            "repeat": row["repeat"],
        }
        assert num_classes == CLASSES
        training_set = apply(flips(dataset, [0, 4, 9] if row["axis_value"] == 0 else [1, 2]), dataset)
        expected = train_one(training_set, SHORT, seed=seed("victim", repeat=row["repeat"]))
        assert digest(parameters) == digest(expected.parameters)
        assert row["epochs"] == expected.epochs == 2
        assert (row["train_accuracy"], row["fitted_share"]) == (expected.train_accuracy, expected.fitted_share)
        network = rebuild("mlp", (1, 8, 8), CLASSES, parameters, CPU)
        answers = network(torch.from_numpy(dataset.test_float())).argmax(1).numpy()
        assert row["natural_accuracy"] == pytest.approx((answers == dataset.test_labels).mean(), abs=1e-12)
        assert row["memorised"] == (expected.train_accuracy == 1)


def test_memorised_are_the_victims_that_fit_every_point(tmp_path: Path):
    patient = dataclasses.asdict(Recipe(epochs=200, batch_size=16, learning_rate=5e-3))
    assert chunk(tmp_path / "patient", 0, 1, recipe=patient)["memorised"].tolist() == [True] * 4
    assert chunk(tmp_path / "hasty", 0, 1)["memorised"].tolist() == [False] * 4


@pytest.mark.parametrize("model", ["mlp", "strided", "pooled"])
def test_a_killed_chunk_goes_on_where_it_was_and_ends_as_if_nothing_had_happened(
    model, tmp_path: Path, trained, monkeypatch: pytest.MonkeyPatch
):
    undisturbed = chunk(tmp_path / "undisturbed", 0, 2, model=model)
    train = chunks.train
    trained.clear()

    def interrupted(jobs: list[VictimJob], *arguments: Any) -> Iterator[tuple[VictimJob, Victim]]:
        for job, victim in engines.train(jobs, *arguments):
            if job.key == victim_key("c", (0, AXIS[1]), 1):
                raise KeyboardInterrupt
            trained.append(job.key)
            yield job, victim

    monkeypatch.setattr(chunks, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        chunk(tmp_path / "killed", 0, 2, model=model)
    assert [file.name for file in (tmp_path / "killed" / "c").iterdir()] == [
        "draws-0-0_repeats-0-2.safetensors.unfinished"
    ]
    assert trained == keys(range(3))[:4]
    trained.clear()
    monkeypatch.setattr(chunks, "train", train)
    resumed = chunk(tmp_path / "killed", 0, 2, model=model)
    assert trained == keys(range(3))[4:]
    pd.testing.assert_frame_equal(resumed, undisturbed, check_exact=True)
    name = "draws-0-0_repeats-0-2.safetensors"
    assert {file.name for file in (tmp_path / "killed" / "c").iterdir()} == {name, f"{name}.known"}
    assert (tmp_path / "killed" / "c" / name).read_bytes() == (tmp_path / "undisturbed" / "c" / name).read_bytes()


def test_asking_for_more_repeats_trains_only_the_new_victims(tmp_path: Path, trained):
    undisturbed = chunk(tmp_path / "undisturbed", 1, 4)
    chunk(tmp_path / "grown", 0, 2)
    trained.clear()
    grown = chunk(tmp_path / "grown", 1, 4)
    assert trained == keys(range(3, 5))
    pd.testing.assert_frame_equal(grown, undisturbed, check_exact=True)
    name = "draws-0-0_repeats-1-4.safetensors"
    assert (tmp_path / "grown" / "c" / name).read_bytes() == (tmp_path / "undisturbed" / "c" / name).read_bytes()


def test_a_job_of_more_draws_trains_only_the_new_ones_and_names_each_victim_by_its_draw(tmp_path: Path, trained):
    first, second = flips(toy(), [0, 4, 9]), flips(toy(), [1, 2])
    draws = [one_poison(tmp_path / "0", first), one_poison(tmp_path / "1", second, draw=1)]
    alone = chunk(tmp_path / "victims", 0, 1, draws[0])
    trained.clear()
    rows = chunk(tmp_path / "victims", 0, 2, *draws)
    assert trained == [victim_key("c", (0, None), 2), *(victim_key("c", (1, None), repeat) for repeat in range(3))]
    assert rows[["draw", "repeat"]].to_numpy().tolist() == [[draw, repeat] for draw in (0, 1) for repeat in range(3)]
    pd.testing.assert_frame_equal(rows[:2], alone, check_exact=True)


def test_conditions_share_a_chunk_and_a_condition_that_joins_trains_its_own_victims(tmp_path: Path, trained):
    first = one_poison(tmp_path / "first", flips(toy(), [0, 4, 9]))
    second = one_poison(tmp_path / "second", flips(toy(), [1, 2]))
    alone = chunk(tmp_path / "victims", 0, 1, first)
    trained.clear()
    both = {"c": [first], "d": [second]}
    output = tmp_path / "victims" / "c+d" / "draws-0-0_repeats-0-1.safetensors"
    told = {
        "model": "mlp",
        "recipe": dataclasses.asdict(SHORT),
        "precision": "float32",
        "device": "cpu",
        "code_version": "1",
    }
    rows = train_chunk(toy(), both, output, COLUMNS, range(2), **told)
    assert trained == [victim_key("d", (0, None), repeat) for repeat in range(2)]
    assert rows["condition"].tolist() == ["c", "c", "d", "d"]
    pd.testing.assert_frame_equal(rows[:2], alone, check_exact=True)
    (one, _, weights), *_ = load_chunk(output, {"d": [second]}, COLUMNS, range(2))
    assert one["condition"] == "d"
    expected = train_one(apply(flips(toy(), [1, 2]), toy()), SHORT, seed=seed("victim", repeat=0))
    assert digest(weights) == digest(expected.parameters)


def test_the_value_of_the_victims_own_sweep_takes_the_place_of_the_poisons(tmp_path: Path):
    file, output = one_poison(tmp_path / "poison", flips(toy(), [1, 2])), tmp_path / "victims" / "v-1" / "chunk"
    told = {"recipe": dataclasses.asdict(SHORT), "precision": "float32", "device": "cpu", "code_version": "1"}
    rows = train_chunk(toy(), {"c": [file]}, output, COLUMNS, range(2), "mlp", **told, value=0.25)
    assert rows["axis_value"].tolist() == [0.25, 0.25]
    ((identity, _, _), _) = load_chunk(output, {"c": [file]}, COLUMNS, range(2), 0.25)
    assert identity["axis_value"] == 0.25


def test_facts_of_a_poison_are_columns_at_the_end(tmp_path: Path):
    poison = dataclasses.replace(flips(toy(), [1, 2]), facts={"lambda": 0.5})
    rows = chunk(tmp_path / "victims", 0, 1, one_poison(tmp_path / "poison", poison))
    assert rows.columns[-1] == "poison_lambda"
    assert rows["poison_lambda"].tolist() == [0.5, 0.5]


def test_a_finished_chunk_that_is_asked_for_again_trains_nothing(tmp_path: Path, trained):
    first = chunk(tmp_path / "victims", 0, 1)
    trained.clear()
    pd.testing.assert_frame_equal(chunk(tmp_path / "victims", 0, 1), first, check_exact=True)
    assert trained == []


@pytest.mark.parametrize("keep", [True, False])
def test_a_chunk_whose_output_was_deleted_trains_again_only_what_was_not_to_be_kept(tmp_path: Path, trained, keep):
    first = chunk(tmp_path / "victims", 0, 1, keep=keep)
    output = tmp_path / "victims" / "c" / "draws-0-0_repeats-0-1.safetensors"
    content = output.read_bytes()
    output.unlink()  # as Snakemake does before it runs a job again
    trained.clear()
    pd.testing.assert_frame_equal(chunk(tmp_path / "victims", 0, 1, keep=keep), first, check_exact=True)
    assert trained == ([] if keep else keys(range(2)))
    assert output.read_bytes() == content


CHANGES: dict[str, dict[str, Any]] = {
    "recipe": {"recipe": {**dataclasses.asdict(SHORT), "learning_rate": 4e-3}},
    "code version": {"code_version": "2"},
    "precision": {"precision": "bfloat16"},
    "model": {"model": "strided"},
    "data set": {"dataset": toy(seed=1)},
    "test set": {"dataset": dataclasses.replace(toy(), test_labels=1 - toy().test_labels % 2)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_victims_of_another_identity_are_not_reused(tmp_path: Path, trained, change):
    chunk(tmp_path / "victims", 0, 1)
    trained.clear()
    again = chunk(tmp_path / "victims", 0, 1, **CHANGES[change])
    assert trained == keys(range(2))
    fresh = chunk(tmp_path / "fresh", 0, 1, **CHANGES[change])
    pd.testing.assert_frame_equal(again, fresh, check_exact=True)
    name = "draws-0-0_repeats-0-1.safetensors"
    assert (tmp_path / "victims" / "c" / name).read_bytes() == (tmp_path / "fresh" / "c" / name).read_bytes()


def edited(position: int) -> Poison:
    """Another version of the first poison, [0, 4, 9] flipped to the next class."""
    dataset, images = toy(), 255 - toy().train_images[:2]
    flipped = flips(dataset, [0, 4, 9])
    return [
        flips(dataset, [0, 4, 10]),
        dataclasses.replace(flipped, relabel_label=(flipped.relabel_label + 1) % CLASSES),
        dataclasses.replace(flipped, append_images=images, append_labels=np.array([0, 1])),
        dataclasses.replace(flipped, num_classes=CLASSES + 1),  # the same labels, a wider last layer
        Poison(CLASSES, replace_index=np.array([0]), replace_images=images[:1], replace_labels=np.array([0])),
    ][position]


@pytest.mark.parametrize("position", range(5))
def test_a_changed_poison_retrains_its_own_victims_and_no_others(tmp_path: Path, trained, position):
    chunk(tmp_path / "victims", 0, 1)
    trained.clear()
    (tmp_path / "other").mkdir()
    other = poison_file(tmp_path / "other", edited(position), flips(toy(), [1, 2]))
    chunk(tmp_path / "victims", 0, 1, other)
    assert trained == [victim_key("c", (0, AXIS[0]), repeat) for repeat in range(2)]


def test_an_appended_image_is_part_of_the_identity(tmp_path: Path, trained):
    for number in range(2):
        images = 255 - toy().train_images[number : number + 1]
        poison = Poison(CLASSES, append_images=images, append_labels=np.array([0]))
        chunk(tmp_path / "victims", 0, 0, poison_file(tmp_path, poison, flips(toy(), [1, 2])))
    assert trained == [victim_key("c", (0, AXIS[axis]), 0) for axis in (0, 1, 0)]


@pytest.mark.parametrize("damage", [lambda content: b"", lambda content: content[:-100], lambda content: b"\0" * 500])
def test_a_damaged_file_is_not_reused(tmp_path: Path, trained, damage):
    undisturbed = chunk(tmp_path / "undisturbed", 0, 1)
    chunk(tmp_path / "victims", 0, 0)
    older = tmp_path / "victims" / "c" / "draws-0-0_repeats-0-0.safetensors"
    content = damage(older.read_bytes())
    older.write_bytes(content)
    unfinished = tmp_path / "victims" / "c" / "draws-0-0_repeats-0-1.safetensors.unfinished"
    unfinished.mkdir()
    (unfinished / "000000.safetensors").write_bytes(content)
    trained.clear()
    pd.testing.assert_frame_equal(chunk(tmp_path / "victims", 0, 1), undisturbed, check_exact=True)
    assert trained == keys(range(2))
    assert not unfinished.exists()


def test_scalars_of_the_model_and_of_the_objective_are_columns_at_the_end(tmp_path: Path, monkeypatch):
    recipe = dataclasses.asdict(SHORT) | {"objective": {"name": "l2", "strength": 1e-3}}
    rows = chunk(tmp_path / "victims", 0, 1, model=f"{__name__}:Weighing", recipe=recipe)
    assert rows.columns[-4:].tolist() == ["training_set", "diverged", "bias", "weight_norm"]
    assert not rows["diverged"].any()
    file = tmp_path / "victims" / "c" / "draws-0-0_repeats-0-1.safetensors"
    stored = load_chunk(file, {"c": [tmp_path / "poison.safetensors"]}, COLUMNS, range(2))
    for (_, _, parameters), bias, norm in zip(stored, rows["bias"], rows["weight_norm"], strict=True):
        squares = sum(np.square(array.astype(np.float64)).sum() for array in parameters.values())
        assert norm == pytest.approx(np.sqrt(squares), rel=1e-9)  # rounding of doubles
        assert bias == pytest.approx(np.abs(parameters["layers.2.bias"]).sum(), rel=1e-6)
    monkeypatch.setattr(Weighing, "scalars", lambda self: {"epochs": 3.0})
    with pytest.raises(InputError, match=r"scalars \['epochs'\] are called like columns"):
        chunk(tmp_path / "another", 0, 0, model=f"{__name__}:Weighing")


def test_a_diverged_victim_is_a_row_that_says_so(tmp_path: Path):
    recipe = dataclasses.asdict(SHORT) | {"learning_rate": 1e30}
    rows = chunk(tmp_path / "victims", 0, 0, recipe=recipe)
    assert rows["diverged"].tolist() == [True, True]
    assert (rows["epochs"] <= 2).all()
    assert rows.columns[-1] == "diverged"


@pytest.mark.parametrize("repeats", [8, 16])
def test_every_finished_victim_is_written_twice_to_the_checkpoint_and_to_the_output(tmp_path: Path, trained, repeats):
    """Not once for each that follows: the bytes written grow linearly."""
    written: list[int] = []
    write = checkpoint.storage.write_tensors

    def counted(tensors: dict[str, np.ndarray], path: Path, metadata: Any) -> None:
        written.append(sum(name.endswith("/layers.0.weight") for name in tensors))
        write(tensors, path, metadata)

    own = poison_file(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.storage, "write_tensors", counted)
        chunk(tmp_path / "victims", 0, repeats - 1, own)
    assert sum(written) == 2 * len(trained) == 4 * repeats


class Killed(Exception):
    """Stands in for a kill."""


STATIC = {"name": "validation", "points": 0.1, "steps": 2, "static": True}
RESUMED = [
    ("strided", {}),
    ("normalised_mlp", {"objective": "l2"}),
    (f"{__name__}:Dropping", {"optimiser": {"name": "sgd", "momentum": 0.9}, "learning_rate": 0.05}),
    ("mlp", {"phases": [{"epochs": 1}, {"epochs": 2, "objective": "mixed", "optimiser": "adamw"}], "epochs": 3}),
    # What objectives and guards remember, averages, and the weights that a phase began with.
    ("normalised_mlp", {"objective": {"name": "fgsm_pgi", "momentum": 0.3}, "average": 0.8, "guard": "validation"}),
    (
        "mlp",
        {"phases": [{"epochs": 1}, {"epochs": 2, "objective": "static_mix", "guard": STATIC}], "epochs": 3},
    ),
    (
        "mlp",
        {
            "phases": [{"epochs": 1}, {"epochs": 2, "anew": True, "objective": {"name": "mixed", "against": "start"}}],
            "epochs": 3,
            "guard": "catastrophic_overfitting",
        },
    ),
]


@pytest.mark.parametrize(("model", "changes"), RESUMED)
def test_a_victim_is_resumed_in_its_middle_to_the_bit(model, changes, tmp_path: Path, trained, monkeypatch):
    recipe = dataclasses.asdict(SHORT) | {"batch_size": 24} | changes
    undisturbed = chunk(tmp_path / "undisturbed", 0, 0, model=model, recipe=recipe)
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_STATES", 0)
    save_state, saved = checkpoint.Checkpoint.save, []

    def until_killed(self: Any, key: str, arrays: Any, facts: dict[str, Any]) -> None:
        save_state(self, key, arrays, facts)
        saved.append((key, facts["clock"]["step"]))
        if facts["clock"]["step"] % 2 == 0:  # an epoch has three steps: in an epoch's middle and at its end
            raise Killed

    monkeypatch.setattr(checkpoint.Checkpoint, "save", until_killed)
    for _ in range(20):
        try:
            resumed = chunk(tmp_path / "killed", 0, 0, model=model, recipe=recipe)
        except Killed:
            continue
        break
    steps = 3 * recipe["epochs"]
    assert [step for _, step in saved] == 2 * list(range(1, steps + 1))  # none was taken twice
    pd.testing.assert_frame_equal(resumed, undisturbed, check_exact=True)
    name = "draws-0-0_repeats-0-0.safetensors"
    assert (tmp_path / "killed" / "c" / name).read_bytes() == (tmp_path / "undisturbed" / "c" / name).read_bytes()
    assert {file.name for file in (tmp_path / "killed" / "c").iterdir()} == {name, f"{name}.known"}


def test_a_victim_that_is_resumed_keeps_the_ages_that_it_had_reached(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_STATES", 0)
    job = VictimJob("one", apply(Poison(CLASSES), toy()), 3, (0.0, 0.5, 1.0))

    def kept(under_way: Any) -> list[str]:
        ((_, victim),) = engines.train([job], "strided", SHORT, under_way=under_way)
        return [digest(state) for state in victim.snapshots.values()]

    own = checkpoint.Checkpoint(tmp_path / "chunk.safetensors", {"one": "same"})
    expected = kept(None)
    assert kept(own) == expected
    monkeypatch.setattr(own, "due", lambda: False)
    assert kept(own) == expected  # from the state after the last step
    assert own.load("one") is not None
    assert checkpoint.Checkpoint(tmp_path / "chunk.safetensors", {"one": "another"}).load("one") is None


KILLED = """
import os, signal, sys
import test_victims as t
from pathlib import Path
from poisonlab.victims import checkpoint
checkpoint.SECONDS_BETWEEN_STATES = 0
save = checkpoint.Checkpoint.save
def until_killed(self, key, arrays, facts):
    save(self, key, arrays, facts)
    if facts["clock"]["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)
checkpoint.Checkpoint.save = until_killed
t.chunk(Path(sys.argv[1]), 0, 0, model="strided")
"""


def test_a_process_that_is_killed_in_the_middle_of_a_victim_leaves_what_it_goes_on_from(tmp_path: Path):
    undisturbed = chunk(tmp_path / "undisturbed", 0, 0, model="strided")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    ran = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], env=environment, check=False)
    assert ran.returncode == -9
    folder = tmp_path / "killed" / "c" / "draws-0-0_repeats-0-0.safetensors.unfinished"
    assert [file.name for file in folder.iterdir()] == ["under_way.state"]
    lines: list[str] = []
    resumed = chunk(tmp_path / "killed", 0, 0, model="strided", progress=lines.append)
    assert "epoch 2 of at most 2" in lines[0]  # its first epoch is not trained again
    pd.testing.assert_frame_equal(resumed, undisturbed, check_exact=True)


MANY_POISONS = """
import sys
from pathlib import Path
import numpy as np
from torch import nn
from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons import files
from poisonlab.poisons.poison import Poison
from poisonlab.victims.chunk import train_chunk

class Coarse(nn.Sequential):
    def __init__(self, input_shape, num_classes):
        super().__init__(nn.AvgPool2d(16), nn.Flatten(), nn.Linear(12, num_classes))

folder = Path(sys.argv[1])
generator = np.random.default_rng(0)
images = generator.integers(0, 256, (21000, 3, 32, 32), dtype=np.uint8)
labels = generator.integers(0, 10, 21000)
dataset = Dataset(
    name="many", train_images=images[:20000], train_labels=labels[:20000], test_images=images[20000:], test_labels=labels[20000:],
    class_names=tuple("abcdefghij"), box=(0.0, 1.0), train_index=np.arange(20000), test_index=np.arange(1000),
)
poisons = [folder / f"{n}.safetensors" for n in range(24)]
for n, file in enumerate(poisons):
    poison = Poison(10, append_images=images[n * 600 : n * 600 + 1500], append_labels=labels[:1500])
    files.save(file, [poison], dataset, draw=n)
rows = train_chunk(
    dataset, {"c": poisons}, folder / "e" / "c" / "all.safetensors", {"study": "s", "experiment": "e"}, [0],
    "__main__:Coarse", {"epochs": 1, "batch_size": 512, "stop_when_fitted": False}, "float32", "cpu", "1",
)
assert len(rows) == rows["training_set"].nunique() == 24
# Not getrusage, which counts what the process had before it became this program.
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""


def test_the_training_sets_of_24_poisons_that_append_images_are_not_in_memory_at_once(tmp_path: Path):
    ran = subprocess.run(
        [sys.executable, "-c", MANY_POISONS, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    # All of them together would be 1.6 GB more; the libraries, the data set, the poisons and one training set are 1.1 to
    # 1.2 GB, as much as the allocator keeps of what was freed differs.
    assert int(ran.stdout) * 1024 < 1.5e9


def test_a_poison_that_is_not_legal_trains_nothing(tmp_path: Path, trained):
    illegal = flips(toy(), [63, 62])
    few = toy(train=63)
    with pytest.raises(InputError, match=r"position 63 of 'toy', allowed are 0 … 62"):
        chunk(tmp_path / "victims", 0, 0, poison_file(tmp_path, illegal, illegal), dataset=few)
    assert trained == []


# ------------------------------------------------------------------------------------------------ proxy


def test_a_proxy_is_a_clean_victim_whose_seed_no_victim_has():
    dataset = toy()
    clean = apply(Poison(CLASSES), dataset)
    proxies = [train_proxy(dataset, "mlp", dataclasses.asdict(SHORT), number, device="cpu") for number in range(2)]
    assert digest(proxies[0].parameters) != digest(proxies[1].parameters)
    for number, proxy in enumerate(proxies):
        same = train_one(clean, SHORT, seed=seed("proxy", proxy_seed=number))
        victim = train_one(clean, SHORT, seed=seed("victim", repeat=number))
        assert digest(proxy.parameters) == digest(same.parameters) != digest(victim.parameters)


def test_a_proxy_is_kept_at_the_ages_that_are_asked_for(tmp_path: Path):
    recipe = dataclasses.asdict(SHORT) | {"warmup": 0.0, "final": 1.0}
    proxy = train_proxy(toy(), "mlp", recipe, 0, device="cpu", ages=(0.5, 1))
    younger = train_proxy(toy(), "mlp", recipe | {"epochs": 1}, 0, device="cpu")
    assert [digest(state) for state in proxy.snapshots.values()] == [digest(v.parameters) for v in (younger, proxy)]
    with pytest.raises(InputError, match=r"proxy ages \[1.5\] are not in 0 … 1"):
        train_proxy(toy(), "mlp", recipe, 0, device="cpu", ages=(0.5, 1.5))


def test_out_of_fold_probabilities_are_those_of_models_that_have_not_seen_the_point():
    # Labels at random: a model that has seen a point knows its label, any other can only guess.
    generator = np.random.default_rng(0)
    dataset = toy(train=240)
    random_labels = generator.integers(0, CLASSES, 240)
    noise = generator.integers(0, 256, dataset.train_images.shape, dtype=np.uint8)
    dataset = dataclasses.replace(dataset, train_labels=random_labels, train_images=noise)
    recipe = dataclasses.asdict(Recipe(epochs=60, batch_size=32, learning_rate=5e-3))
    probabilities = out_of_fold_probabilities(dataset, "mlp", recipe, folds=4, device="cpu")
    assert probabilities.shape == (240, CLASSES)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)  # softmax in single precision
    share = (probabilities.argmax(1) == random_labels).mean()
    assert share < 1 / 3 + 4 * np.sqrt(2 / 9 / 240)  # four standard errors above guessing
    assert train_one(apply(Poison(CLASSES), dataset), Recipe(**recipe)).train_accuracy > 0.9
