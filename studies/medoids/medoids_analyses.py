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
        drawn = [
            coverage(apart, generator.choice(len(apart), own["budget"], replace=False)) for _ in range(own["sets"])
        ]
        _, other = pairwise_distances_argmin_min(points[members], points[labels != label])
        rows.append(
            {
                "dataset": subject.dataset.name,
                "source_class": label,
                "random": float(np.mean(drawn)),
                "random_sd": float(np.std(drawn, ddof=1)),
                "medoids": coverage(apart, medoids(apart, own["budget"], generator, 0)),
                "other": float(other.mean(dtype=np.float64)),
            }
        )
        subject.progress(f"class {label}")
    return Findings(pd.DataFrame(rows))
