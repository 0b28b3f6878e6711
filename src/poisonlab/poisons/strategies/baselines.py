"""Label flips from the literature, beside the thesis's own."""

import numpy as np

from poisonlab.errors import InputError
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, choose, strategy


@strategy(
    "loss_threshold",
    source="the usual selection by loss: the hard points, or the easy ones, of a clean model",
    needs=("logits",),
    parameters={"side": ("above", "below"), "quantile": 0.9},
)
def loss_threshold(request: Request) -> Poison:
    """Relabel points drawn uniformly from those whose cross-entropy on the clean proxy is above (or below) a quantile
    of their class.

    Above the `quantile` 0.9 are the tenth of the class that the proxy finds hardest. `side` is above or below.

    Raises:
        InputError: the quantile is not in [0, 1], or fewer points than the budget are left.
    """
    flip, dataset, side = request.flip, request.dataset, request.parameters["side"]
    quantile = float(request.parameters["quantile"])
    if not 0 <= quantile <= 1:
        raise InputError(f"quantile {quantile:g} is not in [0, 1]; change the parameter or its sweep")
    pool = request.pool()
    from scipy.special import log_softmax

    # In double precision, and by rank, because the losses of confident nets tie at 0.
    chances = log_softmax(request.needs["logits"][pool].astype(np.float64), axis=1)
    losses = -chances[np.arange(len(pool)), dataset.train_labels[pool]]
    rank = losses.argsort(kind="stable").argsort(kind="stable")
    cut = quantile * len(pool)
    left = pool[rank >= cut] if side == "above" else pool[rank < cut]
    where = f"class {flip.source} in '{dataset.name}' {side} the {quantile:g} quantile of the loss"
    return request.relabel(choose(left, flip.budget, request.generator, where))


@strategy(
    "alfa",
    source="Xiao, Xiao & Eckert, Adversarial Label Flips Attack on Support Vector Machines, ECAI 2012, Algorithm 1",
    parameters={"C": 1.0, "rounds": 10},
    deterministic=True,
    resources={"mem_mb": 4000, "runtime": 120},
)
def alfa(request: Request) -> Poison:
    """Relabel the points that cost a linear SVM most: ALFA, restricted to what the attacker may flip.

    The published attack lets the points choose between both labels, such that the sum of the chosen labels' hinge
    losses on the clean SVM minus those on the SVM that is trained on them is largest: what surprises the one and
    convinces the other. It alternates between a linear programme for the labels and training. With equal costs, and
    flips of one class alone, the programme's solution is the `budget` points of the source class with the largest gain.
    `C` is the SVM's, `rounds` the most alternations; it ends earlier when the choice repeats. The SVM tells source from
    target class; the other classes are left out. FALFA (Chang, Dobbie and Wicker 2023), whose linear programme makes
    the same search cheaper, is not here: where the programme has a closed form, little is left to be made cheaper.

    Raises:
        InputError: the data set has no target class (target: new), or the budget leaves no point of the source class.
    """
    from sklearn.svm import LinearSVC

    flip, dataset = request.flip, request.dataset
    if flip.target >= dataset.num_classes:
        raise InputError(
            f"strategy 'alfa' relabels to a class of '{dataset.name}' (0 … {dataset.num_classes - 1}), not to "
            f"{flip.target}; "
            "change the poison's flips"
        )
    pool = request.pool()
    if flip.budget == len(pool):
        raise InputError(
            f"strategy 'alfa' trains on points of both classes, and poison budget {flip.budget} relabels all of class "
            f"{flip.source} in "
            f"'{dataset.name}'; lower the poison's budget to at most {len(pool) - 1}"
        )
    both = np.concatenate([pool, np.flatnonzero(dataset.train_labels == flip.target)])
    points = dataset.train_float()[both].reshape(len(both), -1)
    truth = np.where(np.arange(len(both)) < len(pool), -1.0, 1.0)

    def margins(labels: np.ndarray) -> np.ndarray:
        """w·x + b at the source class's points, of the SVM that is trained on these labels."""
        machine = LinearSVC(C=request.parameters["C"], loss="hinge", random_state=0, max_iter=100_000)
        return machine.fit(points, labels).decision_function(points[: len(pool)])

    clean = gain(margins(truth))
    chosen = _most(clean, flip.budget)
    seen: list[bytes] = []
    while len(seen) < request.parameters["rounds"] and chosen.tobytes() not in seen:
        seen.append(chosen.tobytes())
        flipped = truth.copy()
        flipped[chosen] = 1.0
        chosen = _most(clean - gain(margins(flipped)), flip.budget)
    return request.relabel(pool[chosen])


def gain(margins: np.ndarray) -> np.ndarray:
    """Hinge loss of points that count as the target class (+1) over their loss as the source class (−1), at these
    margins w·x + b.
    """
    return np.maximum(0, 1 - margins) - np.maximum(0, 1 + margins)


def _most(values: np.ndarray, count: int) -> np.ndarray:
    """Positions of the largest values, sorted; of equals the first."""
    return np.sort(np.argsort(-values, kind="stable")[:count])
