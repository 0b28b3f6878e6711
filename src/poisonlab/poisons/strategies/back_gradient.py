"""Back-gradient poisoning: appended points that raise the validation loss of a surrogate trained on them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from poisonlab.poisons import ascent
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy

if TYPE_CHECKING:
    from torch import Tensor

    from poisonlab.poisons.unrolled import Descent, Run

KEEP_EVERY = 5  # ascents between checkpoints
JUDGED = 2**31 - 1  # in place of a group: the training that judges all of them
PARAMETERS: dict[str, Any] = {
    "model": tuple(ascent.SURROGATES),
    "group": 100,
    "points": 1000,
    "validation": 1000,
    "epochs": 20,
    "rate": 0.1,
    "penalty": 0.0,
    "truncation": 60,
    "retrain": 1,
    **ascent.PARAMETERS,
}


@strategy(
    "back_gradient",
    source="Muñoz-González et al., Towards Poisoning of Deep Learning Algorithms with Back-gradient Optimization, 2017",
    parameters=PARAMETERS,
    alone=True,
    resources={"mem_mb": 4000, "runtime": 600},
)
def back_gradient(request: Request) -> Poison:
    """Append copies of source points with the target label, edited so that a model trained on them errs elsewhere.

    The points are crafted in groups of so many (`group`), one group after the other, each by so many `ascents` on the
    loss (`outer_loss`: cross_entropy or soft_error) of held-out points: the data set's validation set, or training
    points that no poison copies, at most so many (`validation`). A step changes pixels by `step`: all of them by its
    `update` sign, or normalised along the slope. The surrogate, `model`, is trained on so many `points` (0: all that
    are not held out), the group, and of the groups that are done as large a share as of the training points; by
    momentum SGD of so many `epochs` at a constant `rate` with `batch_size`, `momentum` and an L2 `penalty`. The
    derivative is swept back through the last steps (`truncation`). A new surrogate is trained from new weights in every
    `retrain`-th ascent; in the others its last steps alone are trained anew, from the state before them.

    Settings are choices; the paper's are 1000 points and 1000 validation points at most, as far as is known. Points are
    clipped to the box and, at the end, rounded to the 8-bit grid. Facts: `objective_before` and `objective_after`, the
    loss of a surrogate trained with all flips and with all poisons on those held-out points, which the ascents have
    used: on others it rises less; `error_before` and `error_after` of the same; `unique` images, `seconds`.

    Raises:
        InputError: a parameter is out of its range, the budget exceeds the class or leaves no point to hold out, or the
            surrogate cannot be built for the data.
    """
    ascent.check(request, "back_gradient")
    begin = ascent.starts(request)
    if not len(begin.index):
        return ascent.poison_of(begin, request.dataset.train_images[:0], {})
    return _Craft(request, begin).run()


class _Craft:
    """The groups of one poison."""

    def __init__(self, request: Request, begin: ascent.Starts) -> None:
        import torch

        from poisonlab.models.inference import resolve_device

        self.request, self.begin, self.parameters = request, begin, request.parameters
        self.device = resolve_device(request.device)
        held, answers, rest = ascent.divided(request, begin, self.parameters["validation"], "back_gradient")
        self.outer = torch.from_numpy(held).to(self.device), torch.from_numpy(answers).to(self.device)
        chosen = rest[: self.parameters["points"] or None]
        self.share = len(chosen) / len(rest)
        self.fixed = ascent.tensors(request.dataset, chosen, self.device)
        self.starts = torch.from_numpy(begin.images).to(self.device)
        self.labels = torch.from_numpy(begin.labels).to(self.device)
        self.state = ascent.Progress.of(request, "back_gradient", begin)

    def run(self) -> Poison:
        import torch

        state, size = self.state, self.parameters["group"]
        before = state.once("before", lambda: self._judged(self.starts))
        place = state.facts.setdefault("place", [0, 0])  # group and ascent that come next
        done = torch.from_numpy(state.arrays["done"]).to(self.device) if "done" in state.arrays else self.starts[:0]
        groups = -(-len(self.starts) // size)
        for group in range(place[0], groups):
            done = torch.cat([done, self._group(group, place[1] if group == place[0] else 0, done, groups)])
            state.arrays = {"done": done.cpu().numpy()}
            state.facts["place"] = [group + 1, 0]
            state.keep()
        images = ascent.rounded(done, self.request.dataset)
        as_trained = torch.from_numpy(ascent.as_float(images)).to(self.device)
        after = state.once("after", lambda: self._judged(as_trained))
        facts = {"objective_before": before[0], "objective_after": after[0], "error_before": before[1]}
        facts |= {"error_after": after[1], "seconds": state.once("spent", lambda: state.seconds)}
        return ascent.poison_of(self.begin, images, facts)

    def _group(self, group: int, first: int, done: "Tensor", groups: int) -> "Tensor":
        """Craft a group [k, …] from ascent `first` on, where `done` are finished."""
        import torch

        from poisonlab.poisons import unrolled

        parameters, state = self.parameters, self.state
        span = slice(group * parameters["group"], (group + 1) * parameters["group"])
        points: Tensor = self.starts[span]
        kept: Sequence[Tensor] | None = None
        if first:
            points, *kept = (
                torch.from_numpy(state.arrays[name]).to(self.device) for name in ("points", "weights", "velocity")
            )
        for number in range(first, parameters["ascents"]):
            descent = self._descent(done, self.labels[span], group, number // parameters["retrain"])
            begin = max(0, len(descent.batches) - parameters["truncation"])
            if kept is None or number % parameters["retrain"] == 0:
                run = unrolled.train(descent, points, parameters["truncation"])
                kept = run.states[begin]
            else:
                run = unrolled.train(descent, points, start=unrolled.State(*kept), begin=begin)
            points, loss = self._ascend(run)
            if (number + 1) % KEEP_EVERY == 0:
                state.arrays |= {"points": points.cpu().numpy(), "done": done.cpu().numpy()}
                state.arrays |= {"weights": kept[0].cpu().numpy(), "velocity": kept[1].cpu().numpy()}
                state.facts["place"] = [group, number + 1]
                state.keep()
            self.request.progress(
                f"group {group + 1} of {groups}, ascent {number + 1} of {parameters['ascents']}: "
                f"validation loss {loss:.4f}"
            )
        return points

    def _ascend(self, run: "Run") -> tuple["Tensor", float]:
        """The poisons after one step, and the loss before it."""
        from poisonlab.poisons import unrolled

        parameters, weights = self.parameters, run.last.weights
        loss, slope = unrolled.outer_slope(run.descent.network, weights, *self.outer, parameters["outer_loss"])
        derivative = unrolled.reverse(run, slope).poisons
        box = self.request.dataset.box
        return ascent.stepped(run.poisons, derivative, parameters["step"], parameters["update"], box), loss

    def _descent(self, done: "Tensor", labels: "Tensor", group: int, training: int) -> "Descent":
        """A training on the fixed points, some of the poisons that are `done`, and poisons with these labels."""
        import torch

        from poisonlab.poisons import unrolled

        parameters = self.parameters
        chance = self.begin.generator(1, group, training)
        some = torch.from_numpy(chance.permutation(len(done))[: round(self.share * len(done))]).to(self.device)
        images = torch.cat([self.fixed[0], done[some]])
        answers = torch.cat([self.fixed[1], self.labels[some]])
        own = self.begin.training_seed(group=group, training=training)
        net = ascent.surrogate(parameters["model"], self.request.dataset, self.begin.classes, own, self.device)
        count = len(answers) + len(labels)
        batches = unrolled.batches(own, parameters["epochs"], count, parameters["batch_size"], self.device)
        rates = [parameters["rate"]] * len(batches)
        return unrolled.Descent(
            net, images, answers, labels, batches, rates, parameters["momentum"], parameters["penalty"]
        )

    def _judged(self, points: "Tensor") -> list[float]:
        """Loss and share of errors on the held-out points, of a surrogate trained with the share of these poisons."""
        descent = self._descent(points, self.labels[:0], JUDGED, 0)
        return list(ascent.judged(descent, points[:0], *self.outer, self.parameters["outer_loss"]))
