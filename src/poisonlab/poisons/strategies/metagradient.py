"""Metagradient poisons: appended points that ascend on the loss of held-out points, through the whole training."""

from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.poisons import ascent
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy

if TYPE_CHECKING:
    from torch import Tensor

    from poisonlab.poisons.unrolled import Descent

SMOOTH = 0.7  # metasmoothness below which a metagradient is not to be trusted: a choice, see `metasmoothness`
WARMUP = 0.1  # share of the steps over which the learning rate rises
GATE, JUDGED = 2**31 - 1, 2**31 - 2  # in place of an ascent: the trainings of the gate, and those that judge
PARAMETERS: dict[str, Any] = {
    "model": ("smooth_cnn", *(name for name in ascent.SURROGATES if name != "smooth_cnn")),
    "seeds": 1,
    "outer": 3000,
    "held_out": 1000,
    "points": 0,
    "epochs": 10,
    "rate": 0.7,
    **ascent.PARAMETERS,
    "batch_size": 256,
}


@strategy(
    "metagradient",
    source="Engstrom et al., Optimizing ML Training with Metagradient Descent, 2025, sections 3 and 4.3",
    parameters=PARAMETERS,
    alone=True,
    resources={"mem_mb": 6000, "runtime": 1440},
)
def metagradient(request: Request) -> Poison:
    """Append copies of source points with the target label, edited by metagradients: derivatives through a whole
    training.

    All points are changed together, by so many `ascents` on the mean loss (`outer_loss`: cross_entropy or soft_error)
    of held-out points, at most so many (`outer`) and half of those there are, drawn anew in every ascent from the
    training points that no poison copies. A step changes pixels by `step`: all of them by its `update` sign, or
    normalised along the slope. The surrogate, `model`, is trained on what is left, so many `points` (0: all), and the
    poisons, by momentum SGD of so many `epochs` with `batch_size` and `momentum`; the learning rate rises to `rate`
    over a tenth of the steps and then falls to zero. Every ascent has new weights and a new order; the derivative is
    the mean over so many trainings (`seeds`).

    Settings are choices. Points are clipped to the box and, at the end, rounded to the 8-bit grid. Facts: `smoothness`
    (see `metasmoothness`; where it is below 0.7, the log says so), `objective_before` and `objective_after`, the loss,
    and `error_before` and `error_after`, of surrogates trained with the flips and with the poisons, on points that no
    ascent has used: the data set's validation set or training points, at most so many (`held_out`); `outer_first` and
    `outer_last`, the loss that the first and the last ascent saw; `unique` images, `seconds`. Where the loss rises on
    the outer points and not on these, the poisons have learned the outer points.

    Raises:
        InputError: a parameter is out of its range, the budget exceeds the class or leaves no point to hold out, or the
            surrogate cannot be built for the data.
    """
    ascent.check(request, "metagradient")
    begin = ascent.starts(request)
    if not len(begin.index):
        return ascent.poison_of(begin, request.dataset.train_images[:0], {})
    return Craft(request, begin).run()


def metasmoothness(weights: "Tensor", moved: "Tensor", further: "Tensor") -> float:
    """Empirical metasmoothness of a training: how far weights go on in the direction in which they began to change.

    Definition 2 of Engstrom et al. (2025): sign(A(z + hv) − A(z))ᵀ diag(d / ‖d‖₁) sign(A(z + 2hv) − A(z + hv)) with
    d = |A(z + 2hv) − A(z)|, in [−1, 1], 1 for a training that is linear in its data. Weights that are drawn anew at
    each of the three places have 0 in the mean, and weights that walk at random √2 − 1 = 0.41.

    Args:
        weights: [d], trained at z; the others from the same start in the same order.
        moved: [d], trained at z + hv.
        further: [d], trained at z + 2hv.
    """
    change = (further - weights).abs()
    agree = (moved - weights).sign() * (further - moved).sign()
    return float((agree * change).sum() / change.sum().clamp(min=1e-30))


class Craft:
    """One poison: every ascent changes all of its points."""

    def __init__(self, request: Request, begin: ascent.Starts) -> None:
        import torch

        from poisonlab.models.inference import resolve_device

        self.request, self.begin, self.parameters = request, begin, request.parameters
        self.device = resolve_device(request.device)
        held, answers, self.rest = ascent.divided(request, begin, self.parameters["held_out"], "metagradient")
        self.held = torch.from_numpy(held).to(self.device), torch.from_numpy(answers).to(self.device)
        self.free = self.rest[~np.isin(self.rest, begin.index)]
        self.starts = torch.from_numpy(begin.images).to(self.device)
        self.labels = torch.from_numpy(begin.labels).to(self.device)
        self.state = ascent.Progress.of(request, "metagradient", begin)

    def run(self) -> Poison:
        import torch

        state, parameters = self.state, self.parameters
        smoothness = state.once("smoothness", self.smoothness)
        if smoothness < SMOOTH:
            self.request.progress(
                f"warning: metasmoothness {smoothness:.2f} of '{parameters['model']}' is below {SMOOTH:g}: its weights "
                "do not change smoothly with the poisons, so that metagradients may lead nowhere; take smooth_cnn, a "
                "lower rate or fewer epochs"
            )
        before = state.once("before", lambda: self.judged(self.starts))
        points = torch.from_numpy(state.arrays["points"]).to(self.device) if state.arrays else self.starts
        losses = state.facts.setdefault("losses", [])  # that the ascents saw
        while len(losses) < parameters["ascents"]:
            points, loss = self.ascend(points, len(losses))
            losses.append(loss)
            state.arrays = {"points": points.cpu().numpy()}
            state.keep()
            self.request.progress(f"ascent {len(losses)} of {parameters['ascents']}: outer loss {loss:.4f}")
        images = ascent.rounded(points, self.request.dataset)
        as_trained = torch.from_numpy(ascent.as_float(images)).to(self.device)
        after = state.once("after", lambda: self.judged(as_trained))
        facts = {"smoothness": smoothness, "objective_before": before[0], "objective_after": after[0]}
        facts |= {"error_before": before[1], "error_after": after[1]}
        facts |= {"outer_first": losses[0], "outer_last": losses[-1]} if losses else {}
        return ascent.poison_of(self.begin, images, {**facts, "seconds": state.once("spent", lambda: state.seconds)})

    def ascend(self, points: "Tensor", number: int) -> tuple["Tensor", float]:
        """The poisons after ascent `number`, and the outer loss before it."""
        import torch

        from poisonlab.poisons import unrolled

        parameters = self.parameters
        chance = self.begin.generator(1, number)
        outer = chance.permutation(self.free)[: min(parameters["outer"], len(self.free) // 2)]
        inner = chance.permutation(self.rest[~np.isin(self.rest, outer)])
        images, answers = ascent.tensors(self.request.dataset, outer, self.device)
        total, slope = 0.0, torch.zeros_like(points)
        for training in range(parameters["seeds"]):
            run = unrolled.train(self.descent(inner, number, training), points)
            loss, by_weights = unrolled.outer_slope(
                run.descent.network, run.last.weights, images, answers, parameters["outer_loss"]
            )
            slope += unrolled.reverse(run, by_weights).poisons
            total += loss / parameters["seeds"]
        box = self.request.dataset.box
        return ascent.stepped(points, slope, parameters["step"], parameters["update"], box), total

    def descent(self, inner: np.ndarray, number: int, training: int) -> "Descent":
        """A training on the points at these positions, as many as are asked for, and the poisons."""
        from poisonlab.poisons import unrolled

        parameters = self.parameters
        own = self.begin.training_seed(ascent=number, training=training)
        images, labels = ascent.tensors(self.request.dataset, inner[: parameters["points"] or None], self.device)
        net = ascent.surrogate(parameters["model"], self.request.dataset, self.begin.classes, own, self.device)
        count = len(labels) + len(self.labels)
        batches = unrolled.batches(own, parameters["epochs"], count, parameters["batch_size"], self.device)
        rates = unrolled.decayed(parameters["rate"], len(batches), WARMUP)
        return unrolled.Descent(net, images, labels, self.labels, batches, rates, parameters["momentum"])

    def smoothness(self) -> float:
        """Metasmoothness at the starts, along a random sign for each pixel, for the step of an ascent."""
        import torch

        from poisonlab.poisons import unrolled

        signs = self.begin.generator(2).choice(np.array([-1, 1], dtype=np.float32), size=tuple(self.starts.shape))
        direction = self.parameters["step"] * torch.from_numpy(signs).to(self.device)
        descent = self.descent(self.rest, GATE, 0)
        return metasmoothness(
            *(unrolled.train(descent, self.starts + far * direction, 0).last.weights for far in range(3))
        )

    def judged(self, points: "Tensor") -> list[float]:
        """Loss and share of errors on the points that no ascent uses, means over trainings."""
        found = [
            ascent.judged(self.descent(self.rest, JUDGED, training), points, *self.held, self.parameters["outer_loss"])
            for training in range(self.parameters["seeds"])
        ]
        return np.mean(found, axis=0).tolist()
