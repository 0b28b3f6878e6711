"""Buckets of path lengths, and the survey of a data set's paths: their lengths, label issues and extreme images."""

import json
from collections.abc import Mapping

import numpy as np
import pandas as pd

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError

PATH_COLUMNS = ("index", "label", "target", "steps", "reached")  # of a table of traced paths


def cut_buckets(paths: pd.DataFrame, source_class: int, count: int, scheme: str, minimum: int) -> pd.DataFrame:
    """Cut the points of a class into disjoint buckets of growing path length (thesis, section 4.3.3).

    Args:
        paths: the table of `paths.trace`.
        count: number of buckets.
        scheme: `width` cuts the range of lengths into equal ranges, as the thesis says; the outermost take in the
            tails, such that each holds at least `minimum` points. `quantile` cuts into nearly equal numbers of points.
        minimum: points that every bucket must hold, at least the poison budget.

    Returns:
        One row per point of the class: index, steps, bucket (0 is nearest to the boundary), sorted by index.

    Raises:
        InputError: there are too few different lengths, or a bucket would hold fewer than `minimum` points.
    """
    points = paths.loc[paths["label"] == source_class, ["index", "steps"]].sort_values("index", ignore_index=True)
    steps = points["steps"].to_numpy()
    if len(steps) < count * minimum:
        raise InputError(
            f"{count} buckets of at least {minimum} points need {count * minimum} points of class {source_class}, "
            f"there are {len(steps)}; "
            "lower buckets.count or buckets.minimum"
        )
    ordered = np.sort(steps)
    if scheme == "width":
        low, high = ordered[minimum - 1], ordered[len(steps) - minimum]
        edges = np.ceil(low + (high - low + 1) * np.arange(1, count) / count)
    else:
        edges = ordered[np.round(len(steps) * np.arange(1, count) / count).astype(int)]
    bucket = np.searchsorted(edges, steps, side="right")
    held = np.bincount(bucket, minlength=count)
    if held.min() < minimum:
        raise InputError(
            f"bucket {held.argmin()} of class {source_class} holds {held.min()} points, at least {minimum} are needed "
            f"(lengths {ordered[0]} … {ordered[-1]}, {len(np.unique(steps))} different ones); lower buckets.count or "
            "paths.step_size"
        )
    return points.assign(bucket=bucket)


def lengths(name: str, traced: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
    """Histogram of the path lengths of each class on each proxy: paths, proxy_seed, label, target, steps, reached,
    n_points.
    """
    frames = [frame.assign(paths=name, proxy_seed=proxy_seed) for proxy_seed, frame in traced.items()]
    keys = ["paths", "proxy_seed", "label", "target", "steps", "reached"]
    return pd.concat(frames).groupby(keys, sort=True).size().rename("n_points").reset_index()


def issues_by_distance(name: str, traced: Mapping[int, pd.DataFrame], issues: pd.DataFrame, among: int) -> pd.DataFrame:
    """Label issues among the points nearest to the boundary, among the farthest and in the whole class (claim 42).

    Returns:
        One row per proxy and class: paths, proxy_seed, label, n_points of the class, n_among = min(among, n_points),
            and the numbers of issues among the n_among nearest (`nearest`), the n_among farthest (`farthest`) and in
            the class (`all`).
    """
    rows = []
    for proxy_seed, frame in traced.items():
        merged = frame.merge(issues, on="index", validate="one_to_one").sort_values(
            ["label", "steps", "index"], kind="stable"
        )
        for label, points in merged.groupby("label"):
            count = min(among, len(points))
            flags = points["issue"].to_numpy()
            rows.append(
                {
                    "paths": name,
                    "proxy_seed": proxy_seed,
                    "label": label,
                    "n_points": len(points),
                    "n_among": count,
                    "nearest": int(flags[:count].sum()),
                    "farthest": int(flags[-count:].sum()),
                    "all": int(flags.sum()),
                }
            )
    return pd.DataFrame(rows)


def extremes(
    dataset: Dataset, traced: pd.DataFrame, issues: pd.DataFrame, count: int
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Images nearest to and farthest from the boundary, per class (thesis, Figure 4.5): `count`, or as many as the
    smallest class has.

    Returns:
        Arrays `nearest_images` [classes, count, …], `nearest_steps`, `nearest_issue`, `nearest_index` [classes, count],
        the same for `farthest_`, and the metadata class_names and target_names (JSON lists).
    """
    merged = traced.merge(issues, on="index", validate="one_to_one").sort_values(
        ["label", "steps", "index"], kind="stable"
    )
    count = min(count, *merged.groupby("label").size())
    arrays: dict[str, list[np.ndarray]] = {}
    for _, points in merged.groupby("label"):
        for side, chosen in (("nearest", points.iloc[:count]), ("farthest", points.iloc[: -count - 1 : -1])):
            for column, values in (
                ("images", dataset.train_images[chosen["index"]]),
                ("steps", chosen["steps"].to_numpy()),
                ("issue", chosen["issue"].to_numpy()),
                ("index", dataset.train_index[chosen["index"]]),
            ):
                arrays.setdefault(f"{side}_{column}", []).append(values)
    names = list(dataset.class_names)
    targets = ["any other"] * len(names) if (traced["target"] < 0).all() else [*names[1:], names[0]]
    metadata: dict[str, object] = {"class_names": json.dumps(names), "target_names": json.dumps(targets)}
    return {name: np.stack(parts) for name, parts in arrays.items()}, metadata
