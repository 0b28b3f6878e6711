"""The `stacked` engine: victims side by side, one batched matrix product per layer for all of them.

For fully connected networks everywhere, and for convolutional ones on a GPU. Each victim has a row in every array. A
row that is finished is given to the next victim that waits, so that the memory does not grow with their number. A CPU's
rows are as many as a budget holds, a GPU says when its memory does not suffice.
"""

import contextlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from poisonlab import models
from poisonlab.models.inference import to_float
from poisonlab.victims.engines import batched
from poisonlab.victims.order import epoch_order
from poisonlab.victims.precision import PRECISIONS, computes_bfloat16, computing_in, flushed_denormals
from poisonlab.victims.recipe import CATALOGUES, Recipe
from poisonlab.victims.victim import CHECK_BELOW, Progress, UnderWay, Victim, VictimJob, Weights

WIDTH = 64  # victims side by side: a choice, so few that a CPU's caches hold the activations of small nets
# Bytes of the rows on a CPU, half of what the rule `train_victims` asks for: a job that takes more is killed without a
# word.
MEMORY = 2 << 30
# Kinds of device on which the number of rows is part of how a product is computed: there it stays the same, and rows
# without a victim repeat one. Only a lack of memory changes it, and with it the last bits of what is trained from then
# on. A CPU computes row by row.
FIXED_WIDTH = {"cuda"}
BETA1, EPS = 0.9, 1e-8  # Adam's defaults, as in the `loop` engine
# Rows of parameters are padded to whole groups of vector registers, so that an element is computed by the same
# instructions whatever stands before it: torch's loops end with plain instructions, which may round otherwise.
ALIGNMENT = 64
COPIES = 8  # of its parameters that a row needs: weights, both moments, gradient, and those that come and go in a step
POINTS_AT_ONCE = 500  # training points of each victim per forward pass without gradients
IMAGES = 256 << 20  # bytes of different images that are held at a time, twice: as they come and side by side


OPTIMISERS = ("adam", "sgd")


def trains(recipe: Recipe) -> bool:
    """Whether this engine can train by a recipe: Adam or descent on the cross-entropy, in one phase."""
    (first, *more) = recipe.stages
    known = {"optimiser": OPTIMISERS, "objective": ("cross_entropy",)}
    kept = first.guard is None and not first.average
    return (
        not more
        and kept
        and all(
            any(first.parts[kind].entry is CATALOGUES[kind].find(name) for name in names)
            for kind, names in known.items()
        )
    )


def _windows(jobs: Iterable[VictimJob]) -> Iterator[list[VictimJob]]:
    """Jobs whose training sets have the same shapes, of as many jobs at a time as `IMAGES` holds of their different
    images.
    """
    held: dict[int, np.ndarray] = {}
    alike: dict[tuple[object, ...], list[VictimJob]] = {}
    for job in jobs:
        data = job.training_set
        if id(data.images) not in held:
            if held and sum(images.nbytes for images in held.values()) + data.images.nbytes > IMAGES:
                yield from alike.values()
                held, alike = {}, {}
            held[id(data.images)] = data.images
        alike.setdefault((data.images.shape[1:], len(data.labels), data.num_classes), []).append(job)
    yield from alike.values()


def train(
    jobs: Iterable[VictimJob],
    model: models.Specification,
    recipe: Recipe,
    precision: str,
    device: torch.device,
    progress: Progress,
    under_way: UnderWay | None = None,
) -> Iterator[tuple[VictimJob, Victim]]:
    """Train the victims of `jobs`, see `poisonlab.victims.engines.train`.

    Victims come in the order in which they are finished.

    When the memory does not suffice, half as many victims are trained side by side, and those that were under way begin
    again.
    """
    (recipe,) = recipe.stages
    width = WIDTH
    for left in _windows(jobs):
        while left:
            try:
                for job, victim in _Group(left, model, recipe, PRECISIONS[precision], device).train(width, progress):
                    left = [other for other in left if other is not job]
                    yield job, victim
                    del job, victim  # with its training set
            except torch.OutOfMemoryError:
                if width == 1:
                    raise
            if left:  # only here is nothing of the group held any more, neither by name nor by the error's traceback
                width //= 2
                progress(f"out of memory: going on with {width} victims side by side")
                if device.type == "cuda":
                    torch.cuda.empty_cache()


@dataclass
class _Slots:
    """The victims that are being trained, one row each."""

    jobs: list[VictimJob]
    epochs: list[int]
    snapshots: list[dict[float, Weights]]  # age → state of each
    weights: Tensor  # [victims, parameters]
    first_moment: Tensor  # of Adam; of descent the velocity
    second_moment: Tensor  # of Adam
    labels: Tensor  # [victims, n]
    offset: Tensor  # [victims, 1] of its images among all images

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.weights, self.first_moment, self.second_moment, self.labels, self.offset

    def replace(self, rows: Sequence[int], others: "_Slots") -> None:
        """Put other victims into these rows."""
        for position, row in enumerate(rows):
            self.jobs[row], self.epochs[row] = others.jobs[position], others.epochs[position]
            self.snapshots[row] = others.snapshots[position]
        for own, new in zip(self.tensors, others.tensors, strict=True):
            own[list(rows)] = new

    def keep(self, rows: Sequence[int]) -> "_Slots":
        index = torch.tensor(rows, dtype=torch.long, device=self.weights.device)
        own = ([mine[row] for row in rows] for mine in (self.jobs, self.epochs, self.snapshots))
        return _Slots(*own, *(tensor[index] for tensor in self.tensors))  # type: ignore[arg-type]

    def fill(self, width: int) -> "_Slots":
        """Repeat the first victim up to the width."""
        return self.keep([*range(len(self.jobs)), *[0] * (width - len(self.jobs))])


class _Group:
    """Victims whose training sets have the same shapes."""

    def __init__(
        self,
        jobs: Sequence[VictimJob],
        model: models.Specification,
        recipe: Recipe,
        compute: torch.dtype,
        device: torch.device,
    ) -> None:
        self.jobs, self.model, self.recipe, self.device = list(jobs), model, recipe, device
        optimiser = recipe.parts["optimiser"]
        self.settings = optimiser.parameters
        self.step = self._descend if optimiser.entry is CATALOGUES["optimiser"].find("sgd") else self._adam
        # Where the device computes in `compute`, everything is converted once a step; elsewhere products alone are
        # rounded.
        native = compute == torch.float32 or computes_bfloat16(device)
        self.compute = compute if native else torch.float32
        self.arithmetic = contextlib.nullcontext() if native else computing_in(compute, device)
        first = jobs[0].training_set
        self.shape, self.num_classes, self.n = first.images.shape[1:], first.num_classes, len(first.labels)
        # Poisons that only relabel share the images of their data set: one copy on the device serves all of them.
        distinct = list({id(job.training_set.images): job.training_set.images for job in jobs}.values())
        self.offset_of = {id(images): position * self.n for position, images in enumerate(distinct)}
        images = [torch.from_numpy(array) for array in distinct]
        self.images = (torch.cat(images) if len(images) > 1 else images[0]).to(device)
        template = models.build(model, self.shape, self.num_classes, seed=0)
        self.template = template.state_dict()
        self.parameters = sum(value.numel() for value in self.template.values())
        network = batched.of(template)
        assert network is not None, f"model {model!r} cannot be batched"
        self.network = network
        self.steps_per_epoch = -(-self.n // recipe.batch_size)

    def enter(self, jobs: list[VictimJob]) -> _Slots:
        """Rows of victims that begin."""
        built = [models.build(self.model, self.shape, self.num_classes, job.seed).state_dict() for job in jobs]
        rows = torch.stack([torch.cat([tensor.flatten() for tensor in state.values()]) for state in built])
        weights = F.pad(rows, (0, -rows.shape[1] % ALIGNMENT)).to(self.device)
        labels = torch.stack([torch.from_numpy(job.training_set.labels) for job in jobs]).to(self.device)
        offset = torch.tensor([[self.offset_of[id(job.training_set.images)]] for job in jobs], device=self.device)
        zeros = torch.zeros_like(weights)
        snapshots: list[dict[float, Weights]] = [{} for _ in jobs]
        slots = _Slots(jobs, [0] * len(jobs), snapshots, weights, zeros, zeros.clone(), labels, offset)
        self._keep_ages(slots, len(jobs))
        return slots

    def affordable(self) -> int:
        """How many rows `MEMORY` holds, at least one; on a GPU, which tells when there are too many, `WIDTH`."""
        if self.device.type != "cpu":
            return WIDTH
        # Of one point: the inputs and outputs of all layers.
        ends = sum(sum(value.shape) for value in self.template.values() if value.dim() == 2)
        points = min(self.n, max(POINTS_AT_ONCE, self.recipe.batch_size))
        return max(1, MEMORY // (4 * (COPIES * self.parameters + 2 * points * ends)))

    def train(self, width: int, progress: Progress) -> Iterator[tuple[VictimJob, Victim]]:
        """Train every victim, `width` at a time, or as many as the budget holds."""
        recipe, n = self.recipe, self.n
        width = min(width, self.affordable())
        waiting = deque(self.jobs)
        slots = self.enter([waiting.popleft() for _ in range(min(width, len(waiting)))])
        while slots.jobs:
            victims = len(slots.jobs)
            if self.device.type in FIXED_WIDTH:
                slots = slots.fill(width)
            with flushed_denormals():
                errors, diverged = self._epoch(slots)
            slots.epochs = [epoch + 1 for epoch in slots.epochs]
            self._keep_ages(slots, victims)
            progress(
                f"{slots.jobs[0].key}: epoch {slots.epochs[0]} of at most {recipe.epochs}, {errors[0]} of {n} wrong "
                "while training; "
                f"{victims} side by side, {len(waiting)} wait"
            )
            leaving = {row for row in range(victims) if slots.epochs[row] == recipe.epochs or diverged[row]}
            nearly = {row for row in range(victims) if recipe.stop_when_fitted and errors[row] <= CHECK_BELOW * n}
            if leaving | nearly:
                answers = self._predict(slots).cpu().numpy()
                for row in sorted(leaving | nearly):
                    job = slots.jobs[row]
                    if row in leaving or (answers[row] == job.training_set.labels).all():
                        leaving.add(row)
                        state = self._state(slots.weights[row])
                        dead = not all(np.isfinite(array).all() for array in state.values())
                        kept = slots.snapshots[row]
                        yield job, Victim.judged(state, slots.epochs[row], answers[row], job, kept, diverged=dead)
            free = sorted(leaving)
            new = [waiting.popleft() for _ in range(min(len(free), len(waiting)))]
            if new:
                slots.replace(free[: len(new)], self.enter(new))
            if empty := set(free[len(new) :]) | set(range(victims, len(slots.jobs))):
                slots = slots.keep([row for row in range(len(slots.jobs)) if row not in empty])

    def _keep_ages(self, slots: _Slots, victims: int) -> None:
        """Keep the weights of the first so many victims that are of an age to be kept."""
        for row in range(victims):
            for age in slots.jobs[row].ages_at(slots.epochs[row], self.recipe.epochs):
                slots.snapshots[row][age] = self._state(slots.weights[row])

    def _epoch(self, slots: _Slots) -> tuple[list[int], list[bool]]:
        """Train every victim for one epoch; return how many points each got wrong on the way, and whether it has
        diverged.
        """
        size = self.recipe.batch_size
        orders = [
            epoch_order(job.seed, epoch, self.n, size, self.recipe.shuffle)
            for job, epoch in zip(slots.jobs, slots.epochs, strict=True)
        ]
        order = torch.from_numpy(np.stack(orders)).to(self.device)
        wrong = torch.zeros(len(slots.jobs), dtype=torch.long, device=self.device)
        gradient = torch.zeros_like(slots.weights)
        columns = self._columns(slots.epochs)
        for batch, factors in zip(order.split(size, dim=1), columns, strict=True):
            inputs = to_float(self.images[slots.offset + batch]).to(self.compute)
            labels = slots.labels.gather(1, batch)
            with self.arithmetic:
                logits = self.network.gradient(slots.weights.to(self.compute), inputs, labels, gradient)
            wrong += (logits.argmax(2) != labels).sum(1)
            self.step(slots, gradient, *factors)
        # A loss that is not finite makes every gradient of the last layer's bias NaN, and with it the row's last
        # weight.
        diverged = ~torch.isfinite(slots.weights[:, self.parameters - 1])
        errors, dead = torch.stack([wrong, diverged.long()]).tolist()
        return errors, [bool(flag) for flag in dead]

    def _adam(self, slots: _Slots, gradient: Tensor, length: Tensor, spread: Tensor) -> None:
        """One step of Adam (Kingma & Ba, 2015, Algorithm 1) for every victim."""
        beta2: float = self.settings["beta2"]
        slots.first_moment.lerp_(gradient, 1 - BETA1)
        slots.second_moment.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        slots.weights.sub_(slots.first_moment.mul(length).div_(slots.second_moment.sqrt().div_(spread).add_(EPS)))

    def _descend(self, slots: _Slots, gradient: Tensor, rate: Tensor, _: Tensor) -> None:
        """One step of descent with momentum for every victim, as the optimiser `sgd` takes it."""
        momentum: float = self.settings["momentum"]
        gradient.add_(slots.weights, alpha=self.settings["weight_decay"])
        velocity = slots.first_moment.mul_(momentum).add_(gradient)
        slots.weights.sub_((gradient.add(velocity, alpha=momentum) if self.settings["nesterov"] else velocity) * rate)

    def _columns(self, epochs: Sequence[int]) -> Tensor:
        """Factors [steps, 2, victims, 1] of an epoch, each victim at its own: of Adam the length of a step and the
        spread of the gradients, of descent the rate and nothing.

        All at once: a transfer to a GPU in every step would make it wait for the host.
        """
        per_epoch = self.steps_per_epoch
        total = self.recipe.epochs * per_epoch
        beta2 = self.settings.get("beta2")

        def factors(step: int) -> tuple[float, float]:
            rate = self.recipe.rate(step, total)
            if beta2 is None:
                return rate, 0.0
            return rate / (1 - BETA1 ** (step + 1)), (1 - beta2 ** (step + 1)) ** 0.5

        of = {epoch: [factors(epoch * per_epoch + step) for step in range(per_epoch)] for epoch in set(epochs)}
        steps = [[of[epoch][step] for epoch in epochs] for step in range(per_epoch)]
        return torch.tensor(steps, dtype=torch.float32, device=self.device).transpose(1, 2)[..., None]

    @torch.no_grad()
    def _predict(self, slots: _Slots) -> Tensor:
        """Predicted classes [victims, n] of every victim's own training points, in float32."""
        positions = torch.arange(self.n, device=self.device)[None, :]
        parts = [slots.offset + part for part in positions.split(POINTS_AT_ONCE, dim=1)]
        return torch.cat(
            [self.network.logits(slots.weights, to_float(self.images[part])).argmax(2) for part in parts], dim=1
        )

    def _state(self, row: Tensor) -> dict[str, np.ndarray]:
        """A row of parameters under the names and in the shapes of the model's state."""
        sizes = [value.numel() for value in self.template.values()]
        named = zip(self.template.items(), row[: self.parameters].cpu().split(sizes), strict=True)
        return {key: piece.view(value.shape).numpy().copy() for (key, value), piece in named}
