"""The colouring trick against brute force and small cases by hand."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from torch import nn

from poisonlab.analyses.colouring import SHOWN, colour, map_of, reached, score_points
from poisonlab.datasets.prepare import prepare
from poisonlab.errors import InputError
from poisonlab.evaluation.maps import SLICE
from poisonlab.poisons.strategies import Flip, Request
from poisonlab.poisons.strategies.colouring import colouring


def random_graph(m: int, share: float, seed: int) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).random((m, m)) < share, 1)
    return (upper | upper.T).astype(np.int64)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("m", "share"), [(12, 0.2), (40, 0.05), (40, 0.3), (60, 0.0)])
def test_neighbours_and_second_neighbours_have_different_colours(m, share, seed):
    adjacency = random_graph(m, share, seed)
    colours = colour(csr_array(adjacency))
    assert sorted(set(colours)) == list(range(colours.max() + 1))
    for a, b in itertools.combinations(range(m), 2):
        if adjacency[a, b] or (adjacency[a] & adjacency[b]).any():
            assert colours[a] != colours[b], f"{a} and {b}"
    sizes = np.bincount(colours)
    assert sizes.max() - sizes.min() <= 1  # no colour is that of many points, with or without neighbours
    if not adjacency.any():
        assert colours.max() == 0


def test_a_star_needs_a_colour_for_each_point_and_a_path_as_many_as_its_second_neighbours_and_one():
    star = np.zeros((6, 6), dtype=np.int64)
    star[0, 1:] = star[1:, 0] = 1
    assert len(set(colour(csr_array(star)))) == 6
    path = np.diag(np.ones(6, dtype=np.int64), 1) + np.diag(np.ones(6, dtype=np.int64), -1)
    assert len(set(colour(csr_array(path)))) == 5


class Nearest(nn.Module):
    """Each point of a line has the colour of the nearest centre."""

    def __init__(self, centres: list[float]) -> None:
        super().__init__()
        self.centres = torch.tensor(centres)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return -((inputs - self.centres) ** 2)


def test_a_score_counts_the_neighbours_from_which_the_point_s_colour_is_reached():
    # Points 0, 1, 3 on a line: borders at 0.5 and 2. Within 0.6, 1 is reached from 0 and 0 from 1; 3 is out of reach.
    images, graph = (
        torch.tensor([[0.0], [1.0], [3.0]]),
        csr_array(np.ones((3, 3), dtype=np.int64) - np.eye(3, dtype=np.int64)),
    )
    lines: list[str] = []
    counts = reached(Nearest([0.0, 1.0, 3.0]), images, np.arange(3), graph, 0.6, None, lines.append)
    assert lines[-1] == "from neighbours to colours: 6 of 6 points done"
    assert counts.tolist() == [1, 1, 0]
    # Within 1.1, the border at 2 is reached from both sides: 1 from 0 and from 3, 3 from 1.
    assert reached(Nearest([0.0, 1.0, 3.0]), images, np.arange(3), graph, 1.1, None).tolist() == [1, 2, 1]
    # Without an edge nobody attacks.
    lonely = csr_array(np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert reached(Nearest([0.0, 1.0, 3.0]), images, np.arange(3), lonely, 1.1, None).tolist() == [1, 1, 0]


def test_a_class_is_coloured_memorised_and_scored():
    digits = prepare("digits", {"source": "digits"})
    settings = {"class": 5, "model": "mlp", "density": 0.01, "epsilon": 0.2, "nets": 2}
    table, maps = score_points(
        digits, settings, {"epochs": 300, "batch_size": 32, "learning_rate": 5e-3}, "float32", "cpu"
    )
    nets = [own.drop(columns="net").reset_index(drop=True) for _, own in table.groupby("net")]
    assert [own["index"].tolist() for own in nets] == 2 * [np.flatnonzero(digits.train_labels == 5).tolist()]
    assert nets[0].drop(columns="score").equals(nets[1].drop(columns="score"))
    assert not nets[0].equals(nets[1])
    assert table["fitted"].all()
    assert (table["score"] <= table["degree"]).all()
    assert table["score"].sum() > 0
    assert maps["classes"].shape == (SHOWN, SLICE, SLICE)
    # The window holds the three points, each in a ball of radius 0 around itself.
    assert (maps["distances"].min(axis=(2, 3)) < 0.1).all()
    for draw, own in enumerate(nets):
        request = Request(digits, Flip(5, 6, 4), {"colours": table}, {}, np.random.default_rng(0), draw)
        chosen = own.set_index("index").loc[colouring(request).relabel_index, "score"]
        assert chosen.min() >= own["score"].sort_values().iloc[-4]
    with pytest.raises(
        InputError, match="draw 2 of strategy 'colouring' has no net of colours, there are 2; score with more"
    ):
        colouring(dataclasses.replace(request, draw=2))
    with pytest.raises(InputError, match="the colours are not those of class 4 in 'digits'"):
        colouring(dataclasses.replace(request, flip=Flip(4, 5, 4)))


def test_a_map_leads_from_a_neighbour_into_the_point_s_colour():
    # Points at (0, 0) and (1, 0); the border between their colours is at 0.5. From the neighbour, an attack within 0.6 crosses it.
    class Halves(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.stack([0.5 - inputs[:, 0], inputs[:, 0] - 0.5], 1)

    images = torch.tensor([[0.0, 0.0], [1.0, 0.1]])
    one = map_of(Halves(), images, np.array([0, 1]), csr_array(np.array([[0, 1], [1, 0]])), 1, 0.6, None)
    assert one["labels"].tolist() == [0, 1, 1]
    assert one["marks"][0].tolist() == [0, 0]
    left, right, bottom, top = one["extent"]
    x, y = one["marks"][2]
    column = int((x - left) / (right - left) * SLICE)
    row = int((y - bottom) / (top - bottom) * SLICE)
    assert one["classes"][row, column] == 1
    assert one["distances"][0][row, column] <= 0.6 + (right - left) / SLICE
    # Within 0.4 the border is out of reach: there is no such map.
    assert map_of(Halves(), images, np.array([0, 1]), csr_array(np.array([[0, 1], [1, 0]])), 1, 0.4, None) is None
