"""Maps show what a network says at the points of a plane, and where that plane lies."""

import numpy as np
import pytest
import torch
from torch import nn

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.evaluation.maps import KINDS, SLICE, map_plane, map_slice, map_victims
from poisonlab.poisons.poison import Poison

CPU = torch.device("cpu")
PATHS = {"step_size": 0.05, "max_steps": 200, "clip": False}


class Halves(nn.Module):
    """Class 1 where w · x > b."""

    def __init__(self, w, b):
        super().__init__()
        self.w, self.b = torch.tensor(w, dtype=torch.float32), b

    def forward(self, inputs):
        score = inputs.flatten(1) @ self.w - self.b
        return torch.stack([-score, score], 1)


def data(shape, n=40, seed=0):
    generator = np.random.default_rng(seed)
    images, labels, index = generator.random((n, *shape), dtype=np.float32), np.arange(n) % 2, np.arange(n)
    return Dataset("data", images, labels, images, labels, ("a", "b"), None, index, index)


def grid_of(extent, side):
    x, y = (np.linspace(low, high, side) for low, high in (extent[:2], extent[2:]))
    return np.stack(np.meshgrid(x, y), axis=-1)


def test_a_plane_is_mapped_row_by_row_from_below_around_all_training_points():
    toy = data((2,))
    poison = Poison(2, append_images=np.array([[0.5, 2.0]], dtype=np.float32), append_labels=np.array([1]))
    found = map_plane(Halves([0.0, 1.0], 0.7), poison, toy, CPU)
    grid = grid_of(found["extent"], len(found["classes"]))
    np.testing.assert_array_equal(found["classes"], grid[..., 1] > 0.7)
    np.testing.assert_array_equal(found["marks"][:-1], toy.train_images)
    np.testing.assert_array_equal(found["kinds"], [0] * 40 + [KINDS.index("poison")])
    left, right, bottom, top = found["extent"]
    assert right - left == top - bottom
    assert (found["marks"] > [left, bottom]).all()
    assert (found["marks"] < [right, top]).all()


def test_the_window_near_a_poison_holds_it_and_its_ten_nearest_training_points():
    toy = data((2,))
    poison = Poison(2, append_images=np.array([[0.1, 0.1]], dtype=np.float32), append_labels=np.array([1]))
    found = map_plane(Halves([1.0, 0.0], 0.15), poison, toy, CPU)
    grid = grid_of(found["near_extent"], len(found["near_classes"]))
    np.testing.assert_array_equal(found["near_classes"], grid[..., 0] > 0.15)
    nearest = np.sort(np.linalg.norm(toy.train_images - 0.1, axis=1))[:10]
    left, right, bottom, top = found["near_extent"]
    inside = (found["marks"] > [left, bottom]).all(1) & (found["marks"] < [right, top]).all(1)
    assert (np.sort(np.linalg.norm(found["marks"][inside] - 0.1, axis=1))[:11] == [0, *nearest]).all()
    assert right - left < found["extent"][1] - found["extent"][0]


def test_a_slice_goes_through_poison_neighbour_and_boundary_at_their_true_distances():
    images = data((1, 3, 4))
    index = np.array([0, 2])
    poison = Poison(2, relabel_index=index, relabel_label=np.array([1, 1]))
    w = np.random.default_rng(1).normal(size=12)
    clean, victim = Halves(w, float(w.sum() / 2 + 3)), Halves(w, -1000.0)  # the victim says 1 everywhere
    found = map_slice(victim, clean, poison, images, PATHS, CPU)
    origin, neighbour, boundary = found["marks"]
    np.testing.assert_array_equal(origin, [0, 0])
    others = images.train_images[(images.train_labels == 0) & ~np.isin(np.arange(40), index)]
    distance = np.linalg.norm((others - images.train_images[0]).reshape(len(others), -1), axis=1).min()
    # Single precision.
    np.testing.assert_allclose(np.linalg.norm(neighbour), distance, rtol=1e-5)
    assert boundary[0] > 0
    np.testing.assert_allclose(boundary[1], 0, atol=1e-5)
    assert (found["classes"] == 1).all()
    # The proxy's boundary is a straight line that the path's last step has just crossed.
    start = images.train_images[0].ravel() @ w - (w.sum() / 2 + 3)
    steps = np.ceil(-start / (0.05 * np.abs(w).sum()))
    np.testing.assert_allclose(boundary[0], 0.05 * steps * np.sqrt(12), rtol=1e-4)
    # What the proxy says anywhere on the plane follows from its two axes; points within rounding of its boundary may go either way.
    across = np.sign(w) / np.sqrt(12)
    up = min((other - images.train_images[0] for other in others), key=np.linalg.norm).ravel()
    up = up - (up @ across) * across
    up /= np.linalg.norm(up)
    score = start + grid_of(found["extent"], SLICE) @ [across @ w, up @ w]
    clear = np.abs(score) > 1e-4
    np.testing.assert_array_equal(found["clean"][clear], score[clear] > 0)
    assert 0.1 < (score > 0).mean() < 0.9


def test_the_slice_is_through_the_first_poison_that_was_fitted():
    images = data((1, 2, 2))
    poison = Poison(2, relabel_index=np.array([0, 2]), relabel_label=np.array([1, 1]))
    first, second = (images.train_images[i].ravel() for i in (0, 2))
    w = second - first
    fits_the_second = Halves(w, float((first + second) @ w / 2))
    clean = Halves(np.ones(4), 10.0)
    found = map_slice(fits_the_second, clean, poison, images, PATHS, CPU)
    middle = found["classes"][
        tuple(
            np.abs(axis).argmin()
            for axis in (grid_of(found["extent"], SLICE)[:, 0, 1], grid_of(found["extent"], SLICE)[0, :, 0])
        )
    ]
    assert middle == 1


def test_a_slice_needs_a_relabelled_point():
    with pytest.raises(
        InputError, match=r"relabels no training point around which a map could be drawn; set maps: false"
    ):
        map_slice(nn.Identity(), nn.Identity(), Poison(2), data((2,)), {}, CPU)


def test_maps_of_several_victims_are_stacked_with_their_values():
    toy = data((2,))
    from poisonlab import models

    network = models.build("mlp", (2,), 2, 0)
    parameters = {key: value.numpy() for key, value in network.state_dict().items()}
    arrays = map_victims(
        [(0.0, 2, parameters), (3.0, 2, parameters)], [Poison(2), Poison(2)], toy, "mlp", None, {}, "cpu"
    )
    assert arrays["axis_values"].tolist() == [0.0, 3.0]
    np.testing.assert_array_equal(arrays["classes"][0], map_plane(network, Poison(2), toy, CPU)["classes"])
    assert "clean" not in arrays
