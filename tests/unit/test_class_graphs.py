"""Class graphs against a dense computation, dominating sets against networkx and brute force."""

import itertools

import networkx as nx
import numpy as np
import pytest
from scipy.sparse import csr_array

from poisonlab.analyses.class_graphs import (
    QUANTILES,
    by_degree,
    class_graph,
    degree_table,
    degrees,
    distances,
    dominating,
    low_rank,
    pixels,
    representations,
    threshold,
)
from poisonlab.datasets.prepare import prepare
from poisonlab.errors import InputError
from poisonlab.poisons.flips import Flip
from poisonlab.poisons.strategies import Request, strategy
from poisonlab.poisons.strategies.class_graphs import intersection

STRATEGIES = strategy.entries()
both_norms = pytest.mark.parametrize("norm", ["linf", "l2"])
both_variants = pytest.mark.parametrize("variant", ["fixed", "printed"])


def dense(points, norm):
    difference = points[:, None].astype(float) - points[None]
    return np.abs(difference).max(2) if norm == "linf" else np.sqrt((difference**2).sum(2))


def points(n=60, d=4, seed=0):
    return np.random.default_rng(seed).random((n, d)).astype(np.float32)


def as_graph(edges, n):
    matrix = np.zeros((n, n), dtype=np.int64)
    for a, b in edges:
        matrix[a, b] = matrix[b, a] = 1
    return csr_array(matrix)


def graphs(count):
    """Random graphs of 2 … 9 points, from empty to complete."""
    generator = np.random.default_rng(4)
    for _ in range(count):
        n, share = int(generator.integers(2, 10)), generator.random()
        yield as_graph([pair for pair in itertools.combinations(range(n), 2) if generator.random() < share], n)


def test_a_class_of_one_point_has_no_graph():
    with pytest.raises(InputError, match="a class with 1 training points has no graph, 2 or more have"):
        threshold(distances(points(n=1), "l2"), 0.5)


@both_norms
@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_graph_and_degrees_are_those_of_a_dense_computation(norm, density):
    own = points()
    expected_distances, apart = dense(own, norm), distances(own, norm)
    if norm == "linf":
        expected_distances = expected_distances.round(4)  # as they are kept
    # Those of l2 are computed from products in single precision.
    np.testing.assert_allclose(apart, expected_distances, atol=2e-6)
    pairs = expected_distances[np.triu_indices(60, 1)]
    gamma = threshold(apart, density)
    # In single precision a distance may round across γ, which is itself one of them: a thousandth is far more than that.
    assert (pairs < gamma * 0.999).mean() <= density
    assert (pairs < gamma * 1.001).mean() >= density
    between = gamma * 1.0005
    graph = class_graph(apart, between).toarray()
    expected = (expected_distances <= between) & ~np.eye(60, dtype=bool)
    np.testing.assert_array_equal(graph, expected)
    np.testing.assert_array_equal(degrees(csr_array(graph)), expected.sum(1))


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5])
def test_points_of_images_at_exactly_gamma_are_all_connected(density):
    # 8-bit images of few values have many equal distances; k / 255 in single precision differs with the two pixels it comes from.
    raw = np.random.default_rng(1).integers(0, 12, (80, 6)) * 21 + np.random.default_rng(2).integers(0, 3, (80, 6))
    whole = np.abs(raw[:, None] - raw[None]).max(2)  # in integers
    apart = distances(raw.astype(np.float32) / 255, "linf")
    gamma = threshold(apart, density)
    steps = round(gamma * 255)
    assert len(np.unique(np.float32(raw) / 255)) > 20  # so that there are pairs to round differently
    expected = (whole <= steps) & ~np.eye(80, dtype=bool)
    np.testing.assert_array_equal(class_graph(apart, gamma).toarray(), expected)
    assert (whole == steps).sum() > 10
    pairs = whole[np.triu_indices(80, 1)]
    assert (pairs < steps).mean() < density <= (pairs <= steps).mean()


def test_images_of_8_bits_have_256_distances():
    values = np.arange(256, dtype=np.float32)[:, None] / 255
    apart = distances(values, "linf")
    assert len(np.unique(apart)) == 256
    np.testing.assert_array_equal(np.rint(255 * apart), np.abs(np.arange(256)[:, None] - np.arange(256)))


def test_the_greedy_choice_is_the_listing_s():
    apart = distances(points(), "l2")
    graph = class_graph(apart, threshold(apart, 0.2))
    own = degrees(graph)
    listed = sorted(range(60), key=lambda i: own[i])[-7:]
    assert by_degree(graph, 7).tolist() == listed[::-1]


def listing(neighbours, n, budget, variant):
    """Algorithm 4, line by line; `fixed` swaps lines 7 and 8."""
    s, d, u = [], set(), set(range(n))
    while budget > 0 and u:
        v = max(sorted(d | u), key=lambda x: len(u & ({x} | neighbours[x])))
        s.append(v)
        if variant == "fixed":
            d |= u & ({v} | neighbours[v])
            u -= {v} | neighbours[v]
        else:
            u -= {v} | neighbours[v]
            d |= u & ({v} | neighbours[v])
        budget -= 1
    return s


@both_variants
def test_the_dominating_set_is_the_listing_s(variant):
    for graph in graphs(200):
        n = graph.shape[0]
        neighbours = [set(np.flatnonzero(row).tolist()) for row in graph.toarray()]
        for budget in (1, 3, n):
            assert dominating(graph, budget, variant).tolist() == listing(neighbours, n, budget, variant)


@both_variants
def test_a_whole_dominating_set_dominates_and_is_as_small_as_its_bound_says(variant):
    for graph in graphs(100):
        n = graph.shape[0]
        found = set(dominating(graph, n, variant).tolist())
        network = nx.from_numpy_array(graph.toarray())
        assert nx.is_dominating_set(network, found)
        smallest = next(
            size
            for size in range(1, n + 1)
            if any(nx.is_dominating_set(network, set(chosen)) for chosen in itertools.combinations(range(n), size))
        )
        # ln Δ + 2 times the smallest (the thesis's footnote to Algorithm 4), where a covered point may be chosen as well.
        if variant == "fixed":
            assert len(found) <= (np.log(max(degrees(graph).max(), 1)) + 2) * smallest


def test_the_variants_differ_where_a_covered_point_covers_most():
    # A star of 0 with the leaves 1 … 5; leaf 1 has the further leaves 6, 7, 8 and is covered when 0 has been chosen.
    edges = [(0, leaf) for leaf in range(1, 6)] + [(1, leaf) for leaf in (6, 7, 8)]
    graph = as_graph(edges, 9)
    assert dominating(graph, 2, "fixed").tolist() == [0, 1]
    assert dominating(graph, 2, "printed").tolist() == [0, 6]


def test_an_unknown_variant_is_named():
    with pytest.raises(ValueError, match="variant 'other'"):
        dominating(as_graph([], 2), 1, "other")


def test_an_intersection_that_is_too_small_doubles_the_lists():
    first, second = np.arange(40), np.arange(40)[::-1]
    # Of 2b = 4 in each list none is in both, nor of 8 or 16; of 32 the places 8 … 31 are, all with the sum 39: the first two positions.
    assert intersection(first, second, 2).tolist() == [8, 9]
    assert intersection(np.array([3, 1, 2, 0]), np.array([1, 3, 0, 2]), 2).tolist() == [1, 3]


def test_an_intersection_takes_twice_the_budget_of_each_list_and_no_more():
    # 2b = 4: 7 and 8 are in both, with the sums 5 and 6; 0 has the sum 0 + 4 and lies outside one of them.
    first, second = np.array([0, 1, 7, 8, 2, 3, 4, 5]), np.array([6, 9, 8, 7, 0, 10, 11, 12])
    assert set(intersection(first, second, 2).tolist()) == {7, 8}


# ---- the strategies ------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return prepare("digits", {"source": "digits"})


def request(name, dataset, features, density=0.05, **parameters):
    told = {**STRATEGIES[name].defaults, "density": density, **parameters}
    return Request(dataset, Flip(3, 4, 6), {"features": features}, told, np.random.default_rng(0), 0)


def order(points, norm, select, variant):
    apart = distances(points, norm)
    graph = class_graph(apart, threshold(apart, 0.05))
    ranked = by_degree(graph, len(apart)).tolist()
    first = [] if select == "greedy" else dominating(graph, len(apart), variant).tolist()
    return [*first, *(point for point in ranked if point not in first)]


@pytest.mark.parametrize(
    ("select", "variant"), [("greedy", "fixed"), ("dominating", "fixed"), ("dominating", "printed")]
)
def test_every_strategy_chooses_by_the_graph_of_its_own_space(digits, select, variant):
    pool = np.flatnonzero(digits.train_labels == 3)
    features = np.random.default_rng(5).random((len(digits.train_labels), 9)).astype(np.float32)
    inside, low = pixels(digits), low_rank(pixels(digits), 7)
    chosen = {"select": select, "variant": variant}
    lists = {
        "class_graph_input": order(inside[pool], "linf", **chosen),
        "class_graph_pca": order(low[pool], "l2", **chosen),
        "class_graph_features": order(features[pool], "l2", **chosen),
    }
    lists["class_graph_both"] = intersection(
        np.array(lists["class_graph_features"]), np.array(lists["class_graph_input"]), 6
    ).tolist()
    for name, positions in lists.items():
        extra = {"components": 7} if name == "class_graph_pca" else {}
        poison = STRATEGIES[name].function(request(name, digits, features, **chosen, **extra))
        assert sorted(poison.relabel_index) == sorted(pool[positions[:6]]), name
    assert len({tuple(sorted(positions[:6])) for positions in lists.values()}) == 4


def test_what_a_strategy_may_not_be_told_is_named(digits):
    features = np.zeros((len(digits.train_labels), 2), dtype=np.float32)
    for name, value, allowed in (("select", "best", "greedy"), ("variant", "other", "printed"), ("norm", "l1", "linf")):
        with pytest.raises(InputError, match=f"parameter {name} of .* is '{value}', allowed is one of .*{allowed}"):
            STRATEGIES["class_graph_input"].settings({name: value}, "poisons.mine")
    with pytest.raises(InputError, match=r"density 0 of a class graph is not in \(0, 1\]"):
        STRATEGIES["class_graph_input"].function(request("class_graph_input", digits, features, density=0.0))


def test_the_degree_table_holds_the_quantiles_of_a_dense_count_of_each_class():
    points = np.random.default_rng(0).random((90, 3))
    labels = np.arange(90) % 3
    table = degree_table({"here": (points, "linf")}, labels, [0.1, 0.4])
    assert len(table) == 3 * 2 * len(QUANTILES)
    for (label, density), one in table.groupby(["label", "density"]):
        own = dense(points[labels == label], "linf")
        gamma = one["gamma"].iloc[0]
        assert gamma == pytest.approx(threshold(distances(points[labels == label], "linf"), density))
        counts = np.sort((own.round(4) <= gamma).sum(1) - 1)  # distances are rounded to four decimals
        assert one["degree"].iloc[[0, -1]].tolist() == [counts[0], counts[-1]]
        assert one["degree"].iloc[20] == counts[14]  # the lower one of the two in the middle of 30
        assert one["n_points"].eq(30).all()


def test_the_spaces_are_pixels_their_principal_components_and_features():
    digits = prepare("digits", {"source": "digits"})
    features = np.ones((len(digits.train_labels), 7))
    spaces = representations(digits, features, 5)
    assert [(points.shape[1], norm) for points, norm in spaces.values()] == [(64, "linf"), (5, "l2"), (7, "l2")]
    low = spaces["principal components"][0]
    # Principal components are uncorrelated, the first of the largest variance.
    covariance = np.cov(low.T.astype(float))
    assert np.all(np.diff(np.diag(covariance)) < 0)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)
