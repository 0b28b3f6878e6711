"""Slices of points by distance against plain loops, distances by hand, and the detection of flips that cannot be missed."""

import numpy as np
import pandas as pd
import pytest
from figure_inputs import inputs_of

from poisonlab.attacks import settings
from poisonlab.datasets.dataset import make_dataset
from poisonlab.errors import InputError
from poisonlab.evaluation.detection import detect, disagreement
from poisonlab.evaluation.points import SLICES, by_distance, measure_chunk
from poisonlab.figures import draw
from poisonlab.pipeline.experiment_names import FURTHER
from poisonlab.poisons.poison import Poison, apply
from poisonlab.results import tables


def two_heaps(generator, count=60):
    """Two classes of 8-bit 4 × 4 images, dark and bright."""
    labels = np.arange(count) % 2
    images = generator.integers(0, 60, (count, 1, 4, 4)) + 190 * labels[:, None, None, None]
    return images.astype(np.uint8), labels


@pytest.fixture
def heaps():
    generator = np.random.default_rng(0)
    return make_dataset("heaps", two_heaps(generator), two_heaps(generator, 24), ("dark", "bright"))


def flips(dataset, index):
    labels = 1 - dataset.train_labels[index]
    return Poison(2, relabel_index=np.array(index, dtype=np.int64), relabel_label=labels.astype(np.int64))


def test_every_test_point_of_the_source_class_has_its_verdict_and_its_distance(heaps):
    from poisonlab import models

    model = models.build("mlp", heaps.input_shape, 2, seed=1)
    parameters = {name: value.numpy() for name, value in model.state_dict().items()}
    poison = flips(heaps, [0, 4, 10])
    identity = dict.fromkeys(tables.KEY[:3], "own") | {"axis_value": np.nan, "draw": 0, "repeat": 0}
    attack = settings({"epsilon": [0.1]}, "attacks.pgd")
    found = measure_chunk([(identity, 2, parameters)], [poison], heaps, "mlp", ("pgd", attack), ("mlp", parameters))
    dark = np.flatnonzero(heaps.test_labels == 0)
    assert found["point"].tolist() == dark.tolist()
    for row in found.itertuples():
        own = heaps.test_images[row.point].astype(float) / 255
        apart = [np.sqrt(((heaps.train_images[flip] / 255 - own) ** 2).sum()) for flip in (0, 4, 10)]
        assert row.distance_pixels == pytest.approx(min(apart), rel=1e-5)  # float32
    assert {"distance_components", "distance_features"} <= set(found)
    appended = Poison(2, append_images=heaps.train_images[:1], append_labels=np.array([1]))
    with pytest.raises(InputError, match="no poison of this job relabels a point"):
        measure_chunk([(identity, 2, parameters)], [appended], heaps, "mlp", ("pgd", attack), ("mlp", parameters))
    # All 16 components turn the points, which leaves every distance as it is.
    assert np.allclose(found["distance_components"], found["distance_pixels"], rtol=1e-4)


def test_slices_hold_the_nearest_points_first():
    generator = np.random.default_rng(1)
    rows = []
    for repeat in range(2):
        for point in range(25):
            key = dict(zip(tables.KEY, ("s", "e", "c", np.nan, 0, repeat), strict=True))
            rows.append(
                {**key, "point": point, "fooled": bool(generator.random() < 0.5), "distance_pixels": generator.random()}
            )
    points = pd.DataFrame(rows)
    found = by_distance(points)
    for repeat in range(2):
        own = points[points["repeat"] == repeat].sort_values("distance_pixels")
        slices = found[found["repeat"] == repeat].sort_values("slice")
        assert slices["n_points"].sum() == 25
        assert len(slices) == SLICES
        taken = 0
        for row in slices.itertuples():
            part = own.iloc[taken : taken + row.n_points]
            assert row.distance == pytest.approx(part["distance_pixels"].mean())
            assert row.fooled == part["fooled"].mean()
            taken += row.n_points


def test_a_flip_among_its_own_class_disagrees_with_all_its_neighbours(heaps):
    training_set = apply(flips(heaps, [0, 4]), heaps)
    shares = disagreement(training_set)
    for point in range(len(shares)):
        apart = ((training_set.images.astype(float) - training_set.images[point]) ** 2).sum(axis=(1, 2, 3))
        nearest = [other for other in np.argsort(apart, kind="stable") if other != point][:10]
        # To rounding: the share of those that agree is counted.
        assert shares[point] == pytest.approx(np.mean(training_set.labels[nearest] != training_set.labels[point]))
    assert shares[[0, 4]].min() > np.delete(shares, [0, 4]).max()


def test_flips_that_stand_out_are_found_first_by_both_checks(heaps):
    recipe = {"epochs": 40, "batch_size": 8, "learning_rate": 0.01}
    found = detect(apply(flips(heaps, [0, 4]), heaps), heaps, "mlp", recipe).set_index(["check", "rule"])
    assert (found.loc[(slice(None), "first 10"), "found"] == 1).all()
    assert (found.loc[(slice(None), "first 1000"), "looked_at"] == 60).all()
    flagged = found.loc[("cleanlab", "flagged")]
    assert (flagged["hits"], flagged["found"]) == (2, 1)


def test_what_an_experiment_may_ask_for_is_what_the_archive_keeps():
    assert tuple(tables.FURTHER) == FURTHER


def test_of_a_swept_condition_one_value_is_looked_at_and_a_cross_says_where_cleanlab_stops():
    inputs = {name: table.copy() for name, table in inputs_of("detected").items()}
    swept = inputs["detection"].assign(condition="bucket", axis_value=5.0, found=0.25)
    inputs["detection"] = pd.concat(
        [inputs["detection"], swept, swept.assign(axis_value=6.0, found=1.0)], ignore_index=True
    )
    drawn, caption = draw("detected", inputs, {"conditions": ["random", "bucket"], "value": 5})
    left, right = drawn.axes
    crosses = [line.get_xydata().tolist() for line in left.lines if line.get_gid() == "flagged"]
    assert crosses == [[[40, 0.9]], [[40, 0.25]]]
    assert not [line for line in right.lines if line.get_gid() == "flagged"]
    assert " 0.25 of the flips among 40 labels (bucket 5)" in caption
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["random", "bucket 5"]
