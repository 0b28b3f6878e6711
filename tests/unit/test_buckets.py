"""Buckets of path lengths and the survey of a data set's paths, against tables small enough to check by eye."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from poisonlab.analyses.path_surveys import cut_buckets, extremes, issues_by_distance, lengths
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError


def table(steps: list[int], label: int = 3, first_index: int = 0) -> pd.DataFrame:
    """Paths of points of one class."""
    index = np.arange(first_index, first_index + len(steps))
    return pd.DataFrame({"index": index, "label": label, "target": label + 1, "steps": steps, "reached": True})


def held(buckets: pd.DataFrame) -> list[list[int]]:
    """Path lengths in each bucket, sorted."""
    return [sorted(group["steps"]) for _, group in buckets.groupby("bucket")]


# ------------------------------------------------------------------------------------------------ buckets


@pytest.mark.parametrize("scheme", ["width", "quantile"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_buckets_are_disjoint_ordered_and_cover_the_class(scheme, count):
    generator = np.random.default_rng(0)
    of_class = table((generator.gamma(4, 3, 300).astype(int) + 1).tolist(), label=3)
    others = table(generator.integers(0, 9, 100).tolist(), label=5, first_index=300)
    shuffled = pd.concat([others, of_class]).sample(frac=1, random_state=1)
    buckets = cut_buckets(shuffled, 3, count, scheme, minimum=20)
    # one row per point of the class, in the order of its positions: disjoint, nothing left out
    assert buckets["index"].tolist() == list(range(300))
    assert buckets["steps"].tolist() == of_class["steps"].tolist()
    assert sorted(buckets["bucket"].unique()) == list(range(count))
    by_bucket = held(buckets)
    assert min(map(len, by_bucket)) >= 20
    for nearer, farther in itertools.pairwise(by_bucket):
        assert nearer[-1] < farther[0]  # points of equal length share a bucket


def test_width_cuts_the_range_of_lengths_into_equal_ranges():
    buckets = cut_buckets(table([1, 1, 2, 3, 3, 4, 5, 6, 6]), 3, 3, "width", minimum=1)
    assert held(buckets) == [[1, 1, 2], [3, 3, 4], [5, 6, 6]]
    # five lengths in two ranges: 1 … 3.5 and 3.5 … 6
    assert held(cut_buckets(table([1, 2, 3, 4, 5]), 3, 2, "width", minimum=1)) == [[1, 2, 3], [4, 5]]


def test_width_lets_the_outermost_buckets_take_in_the_tails():
    # The range is cut between the second shortest and the second longest, 10 … 15: a stray 1 and a stray 90 cut nothing.
    steps = [1, 10, 11, 12, 13, 14, 15, 90]
    assert held(cut_buckets(table(steps), 3, 3, "width", minimum=2)) == [[1, 10, 11], [12, 13], [14, 15, 90]]


def test_width_keeps_the_shortest_lengths_in_the_first_bucket_when_many_are_equal():
    assert held(cut_buckets(table([4, 4, 4, 4, 5, 5]), 3, 2, "width", minimum=2)) == [[4, 4, 4, 4], [5, 5]]


def test_quantile_cuts_into_equal_numbers_of_points_whatever_their_lengths():
    steps = [1, 2, 3, 4, 50, 60, 70, 80, 900]
    assert held(cut_buckets(table(steps), 3, 3, "quantile", minimum=3)) == [[1, 2, 3], [4, 50, 60], [70, 80, 900]]
    # five points in thirds: the cuts are rounded to 2 and 3
    assert held(cut_buckets(table([1, 2, 3, 4, 5]), 3, 3, "quantile", minimum=1)) == [[1, 2], [3], [4, 5]]
    # points of equal length stay together, also where that makes the numbers unequal
    assert held(cut_buckets(table([1, 2, 2, 2, 3, 4]), 3, 2, "quantile", minimum=1)) == [[1], [2, 2, 2, 3, 4]]


def test_buckets_that_cannot_hold_the_minimum_are_refused_in_one_line():
    with pytest.raises(InputError) as error:
        cut_buckets(table([1, 2, 3, 4, 5]), 3, 3, "width", minimum=2)
    assert "3 buckets of at least 2 points need 6 points of class 3, there are 5" in str(error.value)
    assert "lower buckets.count or buckets.minimum" in str(error.value)
    with pytest.raises(InputError, match="class 7, there are 0"):
        cut_buckets(table([1, 2, 3]), 7, 1, "width", minimum=1)
    for scheme in ("width", "quantile"):
        with pytest.raises(InputError) as error:
            cut_buckets(
                table([4, 4, 4, 4, 5, 5, 5, 5]), 3, 3, scheme, minimum=2
            )  # two different lengths, three buckets
        assert "\n" not in str(error.value)
        assert "at least 2 are needed (lengths 4 … 5, 2 different ones)" in str(error.value)
        assert "lower buckets.count or paths.step_size" in str(error.value)


# ------------------------------------------------------------------------------------------------ summaries


def test_lengths_is_the_histogram_of_each_class_on_each_proxy():
    unreached = table([9], label=0, first_index=5).assign(reached=False)
    traced = {0: pd.concat([table([2, 2, 9], 0), table([2, 5], 1, 3), unreached]), 1: table([2], 0)}
    expected = pd.DataFrame(
        [
            ("digits", 0, 0, 1, 2, True, 2),
            ("digits", 0, 0, 1, 9, False, 1),
            ("digits", 0, 0, 1, 9, True, 1),
            ("digits", 0, 1, 2, 2, True, 1),
            ("digits", 0, 1, 2, 5, True, 1),
            ("digits", 1, 0, 1, 2, True, 1),
        ],
        columns=["paths", "proxy_seed", "label", "target", "steps", "reached", "n_points"],
    )
    pd.testing.assert_frame_equal(lengths("digits", traced), expected, check_dtype=False)


def test_issues_are_counted_among_the_nearest_and_the_farthest_points_of_each_class():
    # class 0 in order of length: 3 (issue), 1, 2 (issue), 0; class 1 has two points, fewer than `among`
    traced = {4: pd.concat([table([9, 2, 5, 1], 0), table([7, 6], 1, 4)])}
    issues = pd.DataFrame({"index": [5, 4, 3, 2, 1, 0], "issue": [True, True, True, True, False, False]})
    expected = pd.DataFrame(
        [("p", 4, 0, 4, 3, 2, 1, 2), ("p", 4, 1, 2, 2, 2, 2, 2)],
        columns=["paths", "proxy_seed", "label", "n_points", "n_among", "nearest", "farthest", "all"],
    )
    pd.testing.assert_frame_equal(issues_by_distance("p", traced, issues, among=3), expected)


def test_points_of_equal_length_are_ranked_by_their_position():
    traced = {0: table([1, 1, 1, 1], 0).sample(frac=1, random_state=0)}
    issues = pd.DataFrame({"index": range(4), "issue": [True, False, False, False]})
    row = issues_by_distance("p", traced, issues, among=1).iloc[0]
    assert (row["nearest"], row["farthest"]) == (1, 0)


def test_issues_must_be_known_for_the_same_points_once():
    with pytest.raises(ValueError, match="not a one-to-one merge"):
        issues_by_distance("p", {0: table([1, 2])}, pd.DataFrame({"index": [0, 0, 1], "issue": True}), 1)


def toy() -> Dataset:
    """Six points of two classes; every pixel of point i has the value i."""
    images = np.broadcast_to(np.arange(6, dtype=np.uint8)[:, None, None, None], (6, 1, 2, 2)).copy()
    return Dataset(
        name="toy",
        train_images=images,
        train_labels=np.array([0, 0, 0, 1, 1, 1]),
        test_images=images[:0],
        test_labels=np.empty(0, dtype=np.int64),
        class_names=("cat", "dog"),
        box=(0.0, 1.0),
        train_index=np.arange(100, 106),  # positions in the source's training set
        test_index=np.empty(0, dtype=np.int64),
    )


def test_extremes_are_the_nearest_and_the_farthest_images_outermost_first():
    traced = pd.concat([table([5, 9, 1], 0), table([2, 2, 8], 1, 3)])
    issues = pd.DataFrame({"index": range(6), "issue": [False, True, False, False, True, False]})
    arrays, names = extremes(toy(), traced, issues, count=2)
    assert arrays["nearest_index"].tolist() == [[102, 100], [103, 104]]
    assert arrays["nearest_steps"].tolist() == [[1, 5], [2, 2]]
    assert arrays["nearest_issue"].tolist() == [[False, False], [False, True]]
    assert arrays["nearest_images"][:, :, 0, 0, 0].tolist() == [[2, 0], [3, 4]]
    assert arrays["farthest_index"].tolist() == [[101, 100], [105, 104]]
    assert arrays["farthest_steps"].tolist() == [[9, 5], [8, 2]]
    assert arrays["farthest_issue"].tolist() == [[True, False], [False, True]]
    assert arrays["farthest_images"].shape == (2, 2, 1, 2, 2)
    assert arrays["farthest_images"][:, :, 0, 1, 1].tolist() == [[1, 0], [5, 4]]
    assert json.loads(names["class_names"]) == ["cat", "dog"]
    assert json.loads(names["target_names"]) == ["dog", "cat"]


def test_extremes_of_untargeted_paths_name_any_other_class_as_the_target():
    traced = pd.concat([table([5, 9, 1], 0), table([2, 2, 8], 1, 3)]).assign(target=-1)
    _, names = extremes(toy(), traced, pd.DataFrame({"index": range(6), "issue": False}), count=1)
    assert json.loads(names["target_names"]) == ["any other", "any other"]
