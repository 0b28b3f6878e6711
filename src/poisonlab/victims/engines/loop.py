"""The `loop` engine: one victim after the other, for any model and recipe on any device."""

import contextlib
import math
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from poisonlab import models
from poisonlab.models.inference import INFERENCE_BATCH, predict, to_float
from poisonlab.seeds import seed
from poisonlab.victims.guards import WATCHED, Guard, count
from poisonlab.victims.objectives import Context, Objective
from poisonlab.victims.order import epoch_order
from poisonlab.victims.precision import PRECISIONS, computing_in, flushed_denormals
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import CHECK_BELOW, Progress, UnderWay, Victim, VictimJob, Weights

# Relative error of a product of random 256 × 256 matrices: float32 stays below it by a factor of ten, bfloat16 is above
# it by a hundred.
FLOAT32_ERROR = 1e-5
State = dict[str, Tensor]  # a model's state or what is remembered, name → tensor


def train(
    jobs: Iterable[VictimJob],
    model: models.Specification,
    recipe: Recipe,
    precision: str,
    device: torch.device,
    progress: Progress,
    under_way: UnderWay | None = None,
) -> Iterator[tuple[VictimJob, Victim]]:
    """Train the victims of `jobs`, see `poisonlab.victims.engines.train`."""
    copied: weakref.ref[np.ndarray] | None = None
    copy: Tensor | None = None
    for job in jobs:
        images = job.training_set.images
        # Poisons that only relabel share the images of their data set: one copy on the device serves the whole chunk.
        if copied is None or copied() is not images or copy is None:
            copied, copy = weakref.ref(images), torch.from_numpy(images).to(device)
        # A model may draw random numbers while it trains (dropout): they are its own, whatever was trained before.
        with torch.random.fork_rng(), onednn_matmul(), flushed_denormals():
            torch.manual_seed(job.seed)
            victim = _Training(job, copy, model, recipe, PRECISIONS[precision], device).run(progress, under_way)
        yield job, victim
        # The next training set may only be made when this one is gone: a CPU's "copy" is the array itself.
        del job, victim, images
        copy = None if device.type == "cpu" else copy


@dataclass
class _Clock:
    """Where a training stands."""

    stage: int = 0  # the phase
    epoch: int = 0  # over all phases
    begun: int = 0  # epoch at which the phase began
    batch: int = 0  # of the epoch
    step: int = 0  # over all phases


class _Training:
    """The training of one victim."""

    def __init__(
        self,
        job: VictimJob,
        images: Tensor,
        model: models.Specification,
        recipe: Recipe,
        compute: torch.dtype,
        device: torch.device,
    ) -> None:
        self.job, self.images, self.recipe, self.compute, self.device = job, images, recipe, compute, device
        self.labels = torch.from_numpy(job.training_set.labels).to(device)
        self.poisoned = torch.from_numpy(job.training_set.poisoned).to(device)
        self.free = None if job.free is None else torch.from_numpy(job.free).to(device)
        self.model = models.build(model, tuple(images.shape[1:]), job.training_set.num_classes, job.seed).to(device)
        if images.dim() == 4:
            self.model = self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = _flatten(self.model)
        self.model_specification = model
        self.clock, self.diverged = _Clock(), False
        self.optimiser = recipe.stages[0].parts["optimiser"](self.weights)
        self.wrong = torch.zeros((), dtype=torch.long, device=device)  # answers in this epoch
        self.loss = torch.zeros((), device=device)  # sum over the steps of this epoch
        self.snapshots: dict[float, Weights] = {}
        # Of the phase, each name → tensor: what its objective and its guard remember; the model's state that it found,
        # the average over its steps, and what the guard keeps. And the points that it trains on and looks at.
        self.held: dict[str, State] = {kind: {} for kind in ("memory", "guard", "start", "average", "kept")}
        self.trained = self.watched = torch.arange(len(self.labels), device=device)
        self.seconds, self.since = 0.0, self._now()

    def run(self, progress: Progress, under_way: UnderWay | None) -> Victim:
        """Train to the end, from where an earlier run of the job was."""
        if under_way is None or not self._resume(under_way):
            self._begin_stage()
            self._keep_ages()
        stages = self.recipe.stages
        while not self._train_stage(stages[self.clock.stage], progress, under_way):
            self.clock.stage, self.clock.begun = self.clock.stage + 1, self.clock.epoch
            self.optimiser = stages[self.clock.stage].parts["optimiser"](self.weights)
            self._begin_stage()
        answers = predict(self.model, self.images).cpu().numpy()
        facts = {"diverged": self.diverged, "scalars": self._scalars(), "seconds": self._spent()}
        return Victim.judged(self._state(), self.clock.epoch, answers, self.job, self.snapshots, **facts)

    def _now(self) -> float:
        """Seconds of this process's processor time, on a GPU of the clock."""
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    def _spent(self) -> float:
        """Seconds of training so far, killed runs included."""
        return self.seconds + self._now() - self.since

    def _choose_points(self, stage: Recipe) -> None:
        """Divide the training set into points that are trained on and points that the guard looks at."""
        n = len(self.labels)
        self.trained = self.watched = torch.arange(n, device=self.device)
        if (choice := stage.parts.get("guard")) is not None:
            order = torch.from_numpy(epoch_order(seed("guard", victim=self.job.seed), 0, n)).to(self.device)
            self.watched = order[: count(choice.parameters.get("points", WATCHED), n)]
            if isinstance(choice.entry, Guard) and choice.entry.held_out:
                self.trained = order[len(self.watched) :].sort().values

    def _begin_stage(self) -> None:
        stage = self.recipe.stages[self.clock.stage]
        entry, choice = stage.parts["objective"].entry, stage.parts.get("guard")
        state = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.held = {kind: {} for kind in self.held}
        self.held["start"] = state if isinstance(entry, Objective) and entry.start else {}
        self._choose_points(stage)
        if choice is not None and isinstance(choice.entry, Guard) and choice.entry.begins:
            self._judge(stage)
        if stage.anew:
            own = seed("phase", victim=self.job.seed, number=self.clock.stage)
            shape, classes = tuple(self.images.shape[1:]), self.job.training_set.num_classes
            self.model.load_state_dict(models.build(self.model_specification, shape, classes, own).state_dict())
        if stage.average:
            self.held["average"] = {name: value.clone() for name, value in self.model.state_dict().items()}

    def _judge(self, stage: Recipe) -> bool:
        """Ask the guard, if there is one, whether to stop, and keep the weights that it wants."""
        if (choice := stage.parts.get("guard")) is None:
            return False
        steps_done = self.clock.epoch - self.clock.begun
        place = Context(
            self.job.seed, self.clock.step, max(steps_done, 1) / stage.epochs, self.job.box, self.clock.epoch,
            steps_done, self.watched, len(self.labels), self.held["guard"], free=self.free,
        )  # fmt: skip
        with self._averaged():
            self.model.eval()
            keep, stop = choice(self.model, to_float(self.images[self.watched]), self.labels[self.watched], place)
            if keep:
                self.held["kept"] = {name: value.clone() for name, value in self.model.state_dict().items()}
        return bool(stop)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """Give the model its averaged weights for a while, where there are some."""
        if not self.held["average"]:
            yield
            return
        own = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.held["average"])
        yield
        self.model.load_state_dict(own)

    @torch.no_grad()
    def _average(self, decay: float, step: int) -> None:
        """Move the average towards the weights; over the first steps faster, so that it forgets the beginning."""
        decay = min(decay, (1 + step) / (10 + step))
        for name, value in self.model.state_dict().items():
            mean = self.held["average"][name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def _train_stage(self, stage: Recipe, progress: Progress, under_way: UnderWay | None) -> bool:
        """Train a phase to its end, and say whether it was the last."""
        clock, n = self.clock, len(self.trained)
        fitted = stopped = False
        while clock.epoch - clock.begun < stage.epochs and not (fitted or stopped or self.diverged):
            self._train_epoch(stage, under_way)
            clock.epoch, clock.batch = clock.epoch + 1, 0
            errors = int(self.wrong)
            # A sum is finite where all its terms are, unless they are about as large as numbers get.
            self.diverged = not math.isfinite(self.loss + self.weights.detach().sum())
            self._keep_ages()
            stopped = self._judge(stage)
            if stage.stop_when_fitted and errors <= CHECK_BELOW * n:
                fitted = _fits_everything(self.model, self.images, self.labels, self.poisoned)
            progress(
                f"{self.job.key}: epoch {clock.epoch} of at most {self.recipe.epochs}, {errors} of {n} wrong while "
                "training"
            )
        if ends := self.held["kept"] or self.held["average"]:
            self.model.load_state_dict(ends)
        self.held["average"] = {}
        return self.diverged or clock.stage == len(self.recipe.stages) - 1

    def _train_epoch(self, stage: Recipe, under_way: UnderWay | None) -> None:
        """Train an epoch, or what is left of it."""
        clock, size = self.clock, stage.batch_size
        objective, gradient = stage.parts["objective"], self.weights.grad
        assert gradient is not None
        if clock.batch == 0:
            self.wrong.zero_()
            self.loss.zero_()
        order = epoch_order(self.job.seed, clock.epoch, len(self.trained), size, stage.shuffle)
        batches = self.trained[torch.from_numpy(order).to(self.device)].split(size)
        first = (clock.epoch - clock.begun) * len(batches)
        self.model.train()
        for batch in batches[clock.batch :]:
            inputs, labels = to_float(self.images[batch]), self.labels[batch]
            if inputs.dim() == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            step, steps = first + clock.batch, stage.epochs * len(batches)
            context = Context(
                self.job.seed, clock.step, (step + 1) / steps, self.job.box, clock.epoch, clock.epoch - clock.begun,
                batch, len(self.labels), self.held["memory"], self.held["start"], self.free,
            )  # fmt: skip
            gradient.zero_()
            with computing_in(self.compute, self.device):
                loss, logits = objective(self.model, inputs, labels, context)
            loss.backward()
            self.optimiser.step(stage.rate(step, steps))
            if stage.average:
                self._average(stage.average, step)
            self.wrong += (logits.detach().argmax(1) != labels).sum()
            self.loss += loss.detach()
            clock.batch, clock.step = clock.batch + 1, clock.step + 1
            if under_way is not None and under_way.due():
                under_way.save(self.job.key, *self._whole_state())

    def _keep_ages(self) -> None:
        for age in self.job.ages_at(self.clock.epoch, self.recipe.epochs):
            with self._averaged():
                self.snapshots[age] = self._state()

    def _scalars(self) -> dict[str, float]:
        """What the model and the last phase's objective and guard say of the trained model."""
        entry = self.recipe.stages[self.clock.stage].parts["objective"].entry
        assert isinstance(entry, Objective)
        own: dict[str, float] = getattr(self.model, "scalars", dict)()
        noted = {name: float(value) for name, value in self.held["guard"].items() if "/" not in name}
        return {**(entry.scalars(self.model) if entry.scalars else {}), **noted, **own}

    def _state(self) -> Weights:
        state = self.model.state_dict()
        return {key: value.detach().cpu().contiguous().numpy().copy() for key, value in state.items()}

    # ---- going on in the middle

    def _running(self) -> dict[str, Tensor]:
        """Tensors that change from step to step beside the model's state."""
        optimiser = {f"optimiser/{number}": tensor for number, tensor in enumerate(self.optimiser.state)}
        return {**optimiser, "wrong": self.wrong, "loss": self.loss}

    def _whole_state(self) -> tuple[Weights, dict[str, Any]]:
        """Everything that the rest of the training depends on."""
        arrays = {f"model/{name}": array for name, array in self._state().items()}
        arrays |= {name: tensor.cpu().numpy() for name, tensor in self._running().items()}
        for number, (_, state) in enumerate(self.snapshots.items()):
            arrays |= {f"snapshot-{number}/{name}": array for name, array in state.items()}
        for kind, held in self.held.items():
            arrays |= {f"{kind}/{name}": tensor.cpu().contiguous().numpy() for name, tensor in held.items()}
        arrays["random/cpu"] = torch.get_rng_state().numpy()
        if self.device.type == "cuda":
            arrays["random/cuda"] = torch.cuda.get_rng_state(self.device).numpy()
        return arrays, {"clock": asdict(self.clock), "ages": list(self.snapshots), "seconds": self._spent()}

    @torch.no_grad()
    def _resume(self, under_way: UnderWay) -> bool:
        """Go to where an earlier run of the job was, if it left its state."""
        saved = under_way.load(self.job.key)
        if saved is None:
            return False
        arrays, facts = saved

        def state_of(prefix: str) -> Weights:
            return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(f"{prefix}")}

        self.clock = _Clock(**facts["clock"])
        self.snapshots = {age: state_of(f"snapshot-{number}/") for number, age in enumerate(facts["ages"])}
        self.model.load_state_dict({name: torch.from_numpy(array) for name, array in state_of("model/").items()})
        self.held = {
            kind: {
                name: torch.from_numpy(array).to(self.device).clone() for name, array in state_of(f"{kind}/").items()
            }
            for kind in self.held
        }
        self.seconds, self.since = facts["seconds"], self._now()
        self._choose_points(self.recipe.stages[self.clock.stage])
        self.optimiser = self.recipe.stages[self.clock.stage].parts["optimiser"](self.weights)
        for name, tensor in self._running().items():
            tensor.copy_(torch.from_numpy(arrays[name]))
        torch.set_rng_state(torch.from_numpy(arrays["random/cpu"]))
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(torch.from_numpy(arrays["random/cuda"]), self.device)
        return True


def _flatten(model: nn.Module) -> nn.Parameter:
    """Move the model's trainable parameters and their gradients into one vector each, for one step of Adam instead of
    one per tensor.

    The parameters become views of the vector that is returned, their gradients views of its gradient; convolutions keep
    the channels_last layout.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    sizes = [p.numel() for p in parameters]
    flat = nn.Parameter(torch.empty(sum(sizes), device=parameters[0].device))
    flat.grad = torch.zeros_like(flat)
    pieces = zip(parameters, flat.detach().split(sizes), flat.grad.split(sizes), strict=True)
    for parameter, weights, gradient in pieces:
        shape = parameter.shape
        if len(shape) == 4:
            last = (shape[0], shape[2], shape[3], shape[1])
            own, own_gradient = weights.view(last).permute(0, 3, 1, 2), gradient.view(last).permute(0, 3, 1, 2)
        else:
            own, own_gradient = weights.view(shape), gradient.view(shape)
        own.copy_(parameter.detach())
        parameter.data, parameter.grad = own, own_gradient
    return flat


def _fits_everything(model: nn.Module, images: Tensor, labels: Tensor, poisoned: Tensor) -> bool:
    """Whether every training point has its training label; the poisons are asked first, because they are fitted
    last.
    """
    if (predict(model, images[poisoned]) != labels[poisoned]).any() if len(poisoned) else False:
        return False
    batches = zip(images.split(INFERENCE_BATCH), labels.split(INFERENCE_BATCH), strict=True)
    return all((predict(model, batch) == answers).all() for batch, answers in batches)


@contextlib.contextmanager
def onednn_matmul() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices on the CPU where that is faster and just as exact.

    Asked for bfloat16, oneDNN computes in true float32 on a processor without matrix units (AMX), about twice as fast
    as the default library; on one with them it would round the inputs to bfloat16. A check against float64 tells the
    two apart.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    if matmul_error() > FLOAT32_ERROR:
        settings.fp32_precision = "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


def matmul_error() -> float:
    """Relative error (largest difference / largest value) of a float32 matrix product under the present settings."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(256, 256, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).abs().max() / exact.abs().max())
