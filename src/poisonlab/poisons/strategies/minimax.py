"""Attacks on regularised logistic regression: points that are moved by hypergradients, and flips by their first-order
effect.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose, strategy

if TYPE_CHECKING:
    from torch import Tensor

SOURCE = "Carnerero-Cano et al., Regularization Can Help Mitigate Poisoning Attacks, 2021, section 2"
DEFENDER: dict[str, Any] = {
    "defender": ("learned", "fixed", "cross_validation"),
    "penalty": 0.01,
    "lowest": -8.0,
    "highest": 6.0,
}


@strategy(
    "minimax",
    source=f"{SOURCE}, equations 1 and 2, Appendix C",
    parameters={
        **DEFENDER,
        "edit": ("append", "replace"),
        "labels": ("target", "both"),
        "classes": ("pair", "all"),
        "hypergradient": ("implicit", "reverse", "forward"),
        "descent_steps": 200,
        "hyperiterations": 30,
        "step": 0.1,
        "penalty_step": 10.0,
        "batch": 17,
        "restarts": 0,
        "reach": 1.0,
    },
    resources={"runtime": 240},
)
def minimax(request: Request) -> Poison:
    """Append points with a wrong label that are moved to where they raise the validation loss of the trained model
    most.

    They begin as copies of validation points of the source class, and get the target's label; with `labels` both, also
    the other way round, drawn among both classes. In batches of `batch`, one after the other, their features ascend
    by hypergradients: in each of the `hyperiterations` the feature with the largest derivative moves by `step` of its
    range, the others in proportion. Points stay in the data set's box; without one, in the range of the training
    points, `reach` times as wide. `hypergradient` is implicit (the exact one), or reverse or forward mode through
    `descent_steps` steps of full-batch gradient descent (reverse is the source's Algorithm 1). A batch is started
    `restarts` further times from other points, and the start of the largest loss counts (footnote 4).

    The attacker knows how the `defender` comes to λ: learned (ln λ descends by `penalty_step` times its hypergradient
    in every hyperiteration, between `lowest` and `highest`: the minimax problem; before the first batch, and with
    implicit hypergradients after the last, it is the minimum itself), fixed (λ is `penalty`), or cross_validation (λ of
    least cross-entropy in five folds of the clean data). With `edit` replace, the poisons take the place of random
    training points of their old class, as in the source's Fig. 3.

    Points of uint8 end on the 8-bit grid, batch by batch; float features are not rounded. Other classes are left out
    or, with `classes` all (not in forward mode), told apart too, by softmax regression; without a validation set the
    training points stand in for it. Facts: `penalty` λ, `norm` ‖w‖ and `validation_loss`
    of the model trained on the poisons, all at its minimum (or after `descent_steps`).
    """
    import torch

    from poisonlab.poisons.bilevel import ascend

    scene, parameters = Scene(request), request.parameters
    search = scene.search()
    learn = parameters["defender"] == "learned"
    kept, replaced = scene.room()
    poisons, labels = kept[0][:0], kept[1][:0]
    starts, log_penalty = scene.starts(), scene.first_penalty(kept)
    still = dataclasses.replace(search, hyperiterations=0)
    size = max(1, parameters["batch"])
    for begin in range(0, request.flip.budget, size):
        end = min(begin + size, request.flip.budget)
        state = request.workspace.read(_name(request, end)) if request.workspace else None
        if state is None:
            clean = torch.cat([kept[0], poisons]), torch.cat([kept[1], labels])
            best = None
            for number in range(1 + parameters["restarts"]):
                own, answers = starts(begin, end, number)
                found = ascend(
                    clean, scene.validation, own, answers, log_penalty, search, scene.project, scene.scale, learn
                )
                # The points as they will be stored; λ has followed them.
                own = scene.stored(found.poisons)
                found = ascend(
                    clean, scene.validation, own, answers, found.log_penalty, still, scene.project, scene.scale, False
                )
                if best is None or found.losses[-1] > best[0].losses[-1]:
                    best = found, answers
            assert best is not None
            poisons, labels = torch.cat([poisons, best[0].poisons]), torch.cat([labels, best[1]])
            log_penalty = best[0].log_penalty
            if request.workspace:
                arrays = {"poisons": poisons.numpy(), "labels": labels.numpy()}
                request.workspace.write(_name(request, end), arrays, {"log_penalty": log_penalty})
            request.progress(
                f"{end} of {request.flip.budget} poisons: validation loss {best[0].losses[-1]:.4f}, ln λ "
                f"{log_penalty:.2f}"
            )
        else:
            poisons, labels = (torch.from_numpy(state[0][name]) for name in ("poisons", "labels"))
            log_penalty = float(state[1]["log_penalty"])
    clean = torch.cat([kept[0], poisons]), torch.cat([kept[1], labels])
    if learn and search.method == "implicit":
        log_penalty = scene.first_penalty(clean)  # the defender moves last
    end = ascend(
        clean, scene.validation, poisons[:0], labels[:0], log_penalty, still, scene.project, scene.scale, False
    )
    images, targets = scene.images(poisons), scene.classes(labels)
    facts = scene.facts(log_penalty, end.weights, end.losses[-1])
    if parameters["edit"] == "replace":
        edits: dict[str, Any] = {"replace_index": replaced, "replace_images": images, "replace_labels": targets}
    else:
        edits = {"append_images": images, "append_labels": targets}
    return Poison(request.dataset.num_classes, **edits, facts=facts)


@strategy("first_order_flips", source="this project's own", parameters=DEFENDER, deterministic=True)
def first_order_flips(request: Request) -> Poison:
    """Relabel the points whose flip raises the validation loss most, to first order, exactly: −y x·H⁻¹∇L/n for all
    points in one product.

    The model is the one that the `defender` trains on the clean data: λ learned (least validation loss, ln λ between
    `lowest` and `highest`), fixed (`penalty`), or of cross_validation. Other classes are left out; without a validation
    set the training points stand in for it. Facts: `penalty`, `norm` and `validation_loss` of that model, and `effect`,
    the sum of the chosen flips' effects.
    """
    from poisonlab.models.hypergradients import Problems, curvature, flip_effects, minimum
    from poisonlab.models.logistic import validation_slope

    pool, scene = request.pool(), Scene(request)
    log_penalty = scene.first_penalty(scene.train)
    arrays = [array[None] for array in (*scene.train, *scene.validation)]
    penalty = arrays[0].new_full((1,), log_penalty).exp()
    problem = Problems(arrays[0], arrays[1], penalty, arrays[2], arrays[3])
    weights = minimum(problem)
    loss, slope = validation_slope(weights, problem.validation, problem.validation_labels)
    effects = flip_effects(problem, curvature(problem, weights).solve(slope))[0].numpy()
    own = effects[np.searchsorted(scene.index, pool)]
    chosen = np.argsort(-own, kind="stable")[: request.flip.budget]
    facts = scene.facts(log_penalty, weights[0], float(loss)) | {"effect": float(own[chosen].sum())}
    return dataclasses.replace(request.relabel(np.sort(pool[chosen])), facts=facts)


def _name(request: Request, end: int) -> str:
    """Name of the checkpoint after so many poisons. Budgets share their first batches where the other points are the
    same.
    """
    import hashlib

    flip = request.flip
    others = flip.budget if request.parameters["edit"] == "replace" else 0
    settings = repr((sorted(request.parameters.items()), flip.source, flip.target, others))
    return f"{hashlib.sha256(settings.encode()).hexdigest()[:16]}-{end}"


class Scene:
    """What a request means as a problem of logistic regression. Features end with a column of ones.

    Attributes:
        train, validation: features [n, d] and labels in double precision, [n] with the target as 1, or of more than two
            classes [n, C]; index: [n], position in the data set.
        softmax: whether there are more than two classes.
        low, high, scale: [d], least and largest value of each feature, and their difference.
    """

    def __init__(self, request: Request) -> None:
        import torch

        dataset, flip = request.dataset, request.flip
        if flip.target >= dataset.num_classes:
            raise InputError(
                f"logistic regression tells classes of '{dataset.name}' (0 … {dataset.num_classes - 1}) apart, not "
                f"{flip.target}; change the poison's flips"
            )
        self.request, self.shape = request, dataset.input_shape
        self.eight_bit = dataset.train_images.dtype == np.uint8
        self.softmax = request.parameters.get("classes") == "all" and dataset.num_classes > 2
        told_apart = np.arange(dataset.num_classes) if self.softmax else [flip.source, flip.target]
        self.index = np.flatnonzero(np.isin(dataset.train_labels, told_apart))
        self.train = self.points(dataset.train_images[self.index], dataset.train_labels[self.index])
        self.validation, self.validation_classes = self.train, dataset.train_labels[self.index]
        if dataset.validation_images is not None and dataset.validation_labels is not None:
            own = np.isin(dataset.validation_labels, told_apart)
            self.validation_classes = dataset.validation_labels[own]
            self.validation = self.points(dataset.validation_images[own], self.validation_classes)
        low, high = self.train[0].amin(0), self.train[0].amax(0)
        middle, half = (low + high) / 2, request.parameters.get("reach", 1.0) * (high - low) / 2
        low, high = middle - half, middle + half
        if dataset.box is not None:
            low[:-1], high[:-1] = dataset.box
        self.low, self.high = low, high
        self.scale = torch.where(high > low, high - low, torch.ones_like(low))

    def points(self, images: np.ndarray, labels: np.ndarray) -> "tuple[Tensor, Tensor]":
        import torch

        from poisonlab.datasets.dataset import as_float

        features = torch.from_numpy(as_float(images)).flatten(1).double()
        ones = features.new_ones(len(features), 1)
        each = np.arange(self.request.dataset.num_classes)
        answers = labels[:, None] == each if self.softmax else labels == self.request.flip.target
        return torch.cat([features, ones], 1), torch.from_numpy(answers).double()

    def search(self) -> Any:
        from poisonlab.poisons.bilevel import Search

        own = self.request.parameters
        if self.softmax and own["hypergradient"] == "forward":
            raise InputError(
                "hypergradient is 'forward', which is for two classes; with classes: all, choose implicit or reverse"
            )
        return Search(
            own["hyperiterations"], own["step"], own["penalty_step"], own["hypergradient"], own["descent_steps"],
            (own["lowest"], own["highest"]),
        )  # fmt: skip

    def first_penalty(self, train: "tuple[Tensor, Tensor]") -> float:
        """ln λ of the defender on clean data."""
        from poisonlab.models.penalties import by_cross_validation, by_validation

        own = self.request.parameters
        bounds = own["lowest"], own["highest"]
        if not bounds[0] < bounds[1]:
            raise InputError(
                f"lowest is {bounds[0]:g} and highest {bounds[1]:g}, allowed is lowest < highest; correct it"
            )
        if own["defender"] == "learned":
            return by_validation(train, self.validation, bounds)
        if own["defender"] == "cross_validation":
            return by_cross_validation(train, bounds)
        if not own["penalty"] > 0:
            raise InputError(f"penalty is {own['penalty']:g}, allowed is above 0; change the parameter or its sweep")
        return float(np.log(own["penalty"]))

    def _wrong(self) -> list[int]:
        """Classes that give points."""
        flip = self.request.flip
        return [flip.source, flip.target] if self.request.parameters["labels"] == "both" else [flip.source]

    def room(self) -> "tuple[tuple[Tensor, Tensor], np.ndarray]":
        """The training points that stay, and the positions of those that are replaced."""
        flip, dataset = self.request.flip, self.request.dataset
        if self.request.parameters["edit"] == "append":
            return self.train, np.empty(0, dtype=np.int64)
        pool = self.index[np.isin(dataset.train_labels[self.index], self._wrong())]
        pool = pool[~np.isin(pool, self.request.taken)]
        where = f"classes {self._wrong()} in '{dataset.name}'"
        # A longer choice of the same generator begins like a shorter one: budgets share their first batches.
        choose(pool, flip.budget, np.random.default_rng(0), where)
        replaced = self.request.generator.permutation(pool)[: flip.budget]
        stays = ~np.isin(self.index, replaced)
        return (self.train[0][stays], self.train[1][stays]), replaced

    def starts(self) -> Any:
        """(first, last, start) → features and flipped labels of poisons, copies of validation points without duplicates
        as far as there are some.
        """
        import torch

        pool = np.flatnonzero(np.isin(self.validation_classes, self._wrong()))
        if not len(pool):
            raise InputError(
                f"validation set of '{self.request.dataset.name}' has no point of class {self.request.flip.source}, "
                "of which poisons begin as copies; raise the poison's split"
            )
        orders: dict[int, np.ndarray] = {}

        def start(first: int, last: int, number: int) -> "tuple[Tensor, Tensor]":
            if not orders:  # all orders at once: they do not depend on the budget
                for each in range(1 + self.request.parameters["restarts"]):
                    orders[each] = self.request.generator.permutation(pool)
            rows = torch.from_numpy(orders[number][np.arange(first, last) % len(pool)])
            return self.validation[0][rows].clone(), self._flipped(self.validation[1][rows])

        return start

    def _flipped(self, labels: "Tensor") -> "Tensor":
        """Source and target change places."""
        if not self.softmax:
            return 1 - labels
        places, flip = list(range(labels.shape[1])), self.request.flip
        places[flip.source], places[flip.target] = flip.target, flip.source
        return labels[:, places]

    def project(self, poisons: "Tensor") -> "Tensor":
        return poisons.clamp(self.low, self.high)

    def stored(self, poisons: "Tensor") -> "Tensor":
        """Poisons as their images will say."""
        return (poisons * 255).round() / 255 if self.eight_bit else poisons.float().double().clamp(self.low, self.high)

    def images(self, poisons: "Tensor") -> np.ndarray:
        features = poisons[:, :-1].numpy().reshape(-1, *self.shape)
        return np.round(features * 255).astype(np.uint8) if self.eight_bit else features.astype(np.float32)

    def classes(self, labels: "Tensor") -> np.ndarray:
        flip = self.request.flip
        if self.softmax:
            return labels.argmax(1).numpy()
        return np.where(labels.numpy() > 0, flip.target, flip.source).astype(np.int64)

    def facts(self, log_penalty: float, weights: "Tensor", loss: float) -> dict[str, float]:
        return {"penalty": float(np.exp(log_penalty)), "norm": float(weights.norm()), "validation_loss": loss}
