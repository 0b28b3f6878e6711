"""How near a class lies to flips among its own points, and to the other classes."""

from typing import Any

import numpy as np

from poisonlab.analyses import Findings, Subject, analysis


@analysis(
    "nearness",
    source="this project's own",
    parameters={"budget": 10, "sets": 30, "classes": []},
    table="nearness",
    resources={"runtime": 60},
)
def nearness(subject: Subject) -> Findings:
    """How near a class lies to `budget` of its own points, and to the nearest training point of any other class.

    All distances are l2 in pixels, and means over the training points of the class (of more than 8000, so many of them
    that are drawn at random). A row for each of the `classes` (none named: all): dataset, source_class; random and
    random_sd, mean and standard deviation over so many random `sets` of the distance to the set's nearest point;
    medoids, the same distance to the class's medoids; other, the distance to the nearest point of another class.
    random_reach, medoids_reach and best_reach are the shares of the class that lie nearer to the set than to any other
    class: of random sets, of the medoids, and of points that are chosen for it one by one, each the one that adds most
    (by which no set reaches more than 1 / (1 − 1/e) = 1.58 times as much: Nemhauser, Wolsey & Fisher, 1978).
    """
    import pandas as pd
    from sklearn.metrics import pairwise_distances_argmin_min

    from poisonlab.analyses.class_graphs import distances, pixels
    from poisonlab.poisons.strategies.medoids import MOST_POINTS, coverage, medoids
    from poisonlab.seeds import seed

    own, points, labels = subject.parameters, pixels(subject.dataset), subject.dataset.train_labels
    rows: list[dict[str, Any]] = []
    for label in own["classes"] or np.unique(labels).tolist():
        generator = np.random.default_rng(seed("nearness", label=label))
        members = np.flatnonzero(labels == label)
        members = generator.choice(members, min(len(members), MOST_POINTS), replace=False)
        apart = distances(points[members], "l2")
        drawn = [generator.choice(len(apart), own["budget"], replace=False) for _ in range(own["sets"])]
        covered = [coverage(apart, chosen) for chosen in drawn]
        best = medoids(apart, own["budget"], generator, 0)
        _, other = pairwise_distances_argmin_min(points[members], points[labels != label])
        rows.append(
            {
                "dataset": subject.dataset.name,
                "source_class": label,
                "random": float(np.mean(covered)),
                "random_sd": float(np.std(covered, ddof=1)),
                "medoids": coverage(apart, best),
                "other": float(other.mean(dtype=np.float64)),
                "random_reach": float(np.mean([_reach(apart, other, chosen) for chosen in drawn])),
                "medoids_reach": _reach(apart, other, best),
                "best_reach": _reach(apart, other, _farthest_reaching(apart < other[:, None], own["budget"])),
            }
        )
        subject.progress(f"class {label}")
    return Findings(pd.DataFrame(rows))


def _reach(apart: np.ndarray, other: np.ndarray, chosen: np.ndarray) -> float:
    """Share of the points that lie nearer to a chosen one than to any other class."""
    return float((apart[:, chosen].min(axis=1) < other).mean())


def _farthest_reaching(nearer: np.ndarray, count: int) -> np.ndarray:
    """Points [count], each the one that reaches most of what those before it do not; nearer: [point, chosen]."""
    left, chosen = np.ones(len(nearer), dtype=bool), []
    for _ in range(count):
        chosen.append(int(nearer[left].sum(axis=0).argmax()))
        left &= ~nearer[:, chosen[-1]]
    return np.array(chosen)
