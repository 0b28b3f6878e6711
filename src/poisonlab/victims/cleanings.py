"""Cleanings: which training points a defender leaves out before a victim is trained.

A cleaning is registered with ``@cleaning`` and has the signature ``(images, labels, num_classes, **parameters) →
kept``: images [n, …] uint8 or float32 and labels [n] int64 of the training set, poisons included; kept [n] bool. It
sees the points alone, and neither the model nor the seed, so all victims of a training set lose the same points.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from poisonlab.errors import InputError
from poisonlab.registry import Catalogue
from poisonlab.victims.parts import Part

if TYPE_CHECKING:
    import numpy as np

    from poisonlab.poisons.poison import TrainingSet
    from poisonlab.victims.recipe import Recipe

cleaning = Catalogue("cleaning", "poisonlab.victims.cleanings", Part)


def clean(training_set: "TrainingSet", recipe: "Recipe") -> "tuple[TrainingSet, dict[str, float]]":
    """Return what a recipe's cleaning leaves of a training set, and how many points and poisons it left out.

    Raises:
        InputError: nothing is left of a class.
    """
    import numpy as np

    choice = recipe.stages[0].parts.get("cleaning")
    if choice is None:
        return training_set, {}
    images, labels = training_set.images, training_set.labels
    kept = np.asarray(choice(images, labels, training_set.num_classes), dtype=bool)
    if len(emptied := np.setdiff1d(labels, labels[kept])):
        raise InputError(
            f"cleaning '{choice.entry.name}' leaves no point of class {emptied[0]}; give it other parameters or leave "
            "it out"
        )
    poisoned = training_set.poisoned
    left = (np.cumsum(kept) - 1)[poisoned[kept[poisoned]]]
    facts = {"left_out": float((~kept).sum()), "left_out_poisons": float(len(poisoned) - len(left))}
    return replace(training_set, images=images[kept], labels=labels[kept], poisoned=left), facts


def shares_of_neighbours(images: "np.ndarray", labels: "np.ndarray", num_classes: int, neighbours: int) -> "np.ndarray":
    """Share of each class among the nearest other points of every point, in l2 of the pixels, [n, num_classes]."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    points = images.reshape(len(labels), -1).astype(np.float32)
    # A point is its own first neighbour; of copies one of them is, which has the same distances to all others.
    index = NearestNeighbors(n_neighbors=min(neighbours + 1, len(points)), algorithm="brute").fit(points)
    nearest = labels[index.kneighbors(points, return_distance=False)[:, 1:]]
    return (nearest[:, :, None] == np.arange(num_classes)).mean(axis=1)


@cleaning(
    "cleanlab",
    parameters={"neighbours": 10},
    ranges={"neighbours": "[1, inf)"},
    source="Northcutt, Jiang & Chuang, Confident Learning, 2021",
)
def cleanlab(images: "np.ndarray", labels: "np.ndarray", num_classes: int, neighbours: int) -> "np.ndarray":
    """Leave out what confident learning calls a label issue, by the classes of the nearest other points."""
    import numpy as np
    from cleanlab.filter import find_label_issues

    # Classes without a point, such as one that a poison may add, are unknown to cleanlab.
    present, own = np.unique(labels, return_inverse=True)
    shares = shares_of_neighbours(images, labels, num_classes, neighbours)[:, present]
    return ~find_label_issues(own, shares, n_jobs=1)


@cleaning(
    "neighbours",
    parameters={"neighbours": 10, "agreement": 0.5},
    ranges={"neighbours": "[1, inf)", "agreement": "[0, 1]"},
    source="Wilson, edited nearest neighbours, 1972",
)
def neighbours_agree(
    images: "np.ndarray", labels: "np.ndarray", num_classes: int, neighbours: int, agreement: float
) -> "np.ndarray":
    """Leave out points of which less than `agreement` of the nearest other points have their label."""
    import numpy as np

    shares = shares_of_neighbours(images, labels, num_classes, neighbours)
    return shares[np.arange(len(labels)), labels] >= agreement
