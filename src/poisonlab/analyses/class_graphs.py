"""Class graphs: which points of a class lie within γ of each other, and which of them to choose (thesis,
section 6.1).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_array, eye_array
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError

METRICS = {"linf": "chebyshev", "l2": "euclidean", "l1": "manhattan"}  # as scikit-learn calls them
VARIANTS = ("fixed", "printed")
DECIMALS = 4  # of distances under linf
SAMPLED = 500  # points whose distances to all others give γ
QUANTILES = np.linspace(0, 1, 41)  # of the degrees
Space = tuple[np.ndarray, str]  # points [n, features] and the norm of their distances


def pixels(dataset: Dataset) -> np.ndarray:
    """Training points as vectors [n, features] float32."""
    return dataset.train_float().reshape(len(dataset.train_labels), -1)


def low_rank(points: np.ndarray, components: int) -> np.ndarray:
    """The first principal components of points [n, features], [n, ≤ components] (thesis, section 6.1.2)."""
    return PCA(min(components, *points.shape), svd_solver="covariance_eigh").fit_transform(points)


def representations(dataset: Dataset, features: np.ndarray, components: int) -> dict[str, Space]:
    """The spaces in which the thesis builds its graphs, each with the norm that the strategies take by default."""
    own = pixels(dataset)
    return {
        "input": (own, "linf"),
        "principal components": (low_rank(own, components), "l2"),
        "features": (features, "l2"),
    }


def distances(points: np.ndarray, norm: str) -> np.ndarray:
    """Distances [m, m] between the points [m, features] of a class, in the norm linf, l2 or l1.

    They take 8 m² bytes at most.

    Those in linf are rounded to four decimals: between images of 8 bits they are multiples of 1 / 255, of each of which
    single precision makes several numbers, and a γ among these would cut ties at random.
    """
    apart = pairwise_distances(points, metric=METRICS[norm])
    return apart.round(DECIMALS, out=apart) if norm == "linf" else apart


def threshold(apart: np.ndarray, density: float) -> float:
    """Return the γ at which a share `density` of all pairs is connected, with ties more: mean degree ≈ density · (m −
    1).

    The thesis gives no γ, and under l∞ on MNIST the degrees leap from none to hundreds between 0.99 and 1: the quantile
    of the distances is what can be set. Of large classes it is taken over the distances of every k-th point to all
    others.

    Args:
        apart: distances [m, m]. density: in (0, 1].

    Raises:
        InputError: a single point has no pairs.
    """
    if len(apart) < 2:
        raise InputError(
            f"a class with {len(apart)} training points has no graph, 2 or more have; add points, or leave the class "
            "out"
        )
    chosen = np.linspace(0, len(apart) - 1, min(SAMPLED, len(apart))).round().astype(int)
    others = np.ones((len(chosen), len(apart)), dtype=bool)
    others[np.arange(len(chosen)), chosen] = False
    return float(np.quantile(apart[chosen][others], density, method="inverted_cdf"))


def class_graph(apart: np.ndarray, gamma: float) -> csr_array:
    """Return the class graph G_γ^p (thesis, Definition 1) of points with these distances: its adjacency [m, m], zero on
    the diagonal.
    """
    connected = apart <= gamma
    np.fill_diagonal(connected, False)
    return csr_array(connected).astype(np.int64)


def degrees(graph: csr_array) -> np.ndarray:
    """Number of neighbours [m] of every point."""
    return np.asarray(graph.sum(axis=1)).ravel()


def degree_table(
    spaces: Mapping[str, Space],
    labels: np.ndarray,
    densities: Sequence[float],
    progress: Callable[[str], None] = lambda line: None,
) -> pd.DataFrame:
    """How many neighbours the points of each class have.

    Returns:
        A row for each space, class, density and quantile: gamma, the threshold of that graph; degree, at that quantile
            of its points.
    """
    rows = []
    for space, (points, norm) in spaces.items():
        for label in np.unique(labels):
            apart = distances(points[labels == label], norm)
            for density in densities:
                gamma = threshold(apart, density)
                counts = np.quantile(degrees(class_graph(apart, gamma)), QUANTILES, method="inverted_cdf")
                same = {
                    "space": space,
                    "norm": norm,
                    "label": int(label),
                    "density": density,
                    "gamma": gamma,
                    "n_points": len(apart),
                }
                rows += [{**same, "quantile": q, "degree": int(k)} for q, k in zip(QUANTILES, counts, strict=True)]
            progress(f"{space}: class {label} of {len(np.unique(labels))}")
    return pd.DataFrame(rows)


def by_degree(graph: csr_array, count: int) -> np.ndarray:
    """Positions [count] of the points of highest degree, highest first (thesis, Algorithm 3); of equals the last, as in
    its listing.
    """
    return np.argsort(degrees(graph), kind="stable")[::-1][:count]


def dominating(graph: csr_array, count: int, variant: str = "fixed") -> np.ndarray:
    """Positions [≤ count] that dominate as much of the graph as can be, in the order of their choice (thesis, Algorithm
    4).

    Each is the point that covers, with its neighbours, most points that are still uncovered: of covered and uncovered
    points alike (`fixed`), or of the uncovered alone, because the listing removes the covered from U before it adds
    what is left of them to D, which stays empty (`printed`). Of equals the first. There are fewer than `count` when all
    points are covered before.

    Raises:
        ValueError: there is no such variant.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant '{variant}' is none of {VARIANTS}")
    closed = csr_array(graph + eye_array(graph.shape[0], dtype=np.int64, format="csr"))
    uncovered = np.ones(graph.shape[0], dtype=bool)
    gain = degrees(closed)
    chosen: list[int] = []
    while len(chosen) < count and uncovered.any():
        # D ∪ U is every point: what was never covered is in U. A covered point of gain 0 is never the best while one is
        # uncovered.
        best = int(np.where(uncovered, gain, gain if variant == "fixed" else -1).argmax())
        chosen.append(best)
        reached = closed.indices[closed.indptr[best] : closed.indptr[best + 1]]
        newly = reached[uncovered[reached]]
        uncovered[newly] = False
        gain = gain - np.asarray(closed[newly].sum(axis=0)).ravel()
    return np.array(chosen, dtype=np.int64)
