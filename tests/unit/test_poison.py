"""A poison is a set of edits: what is legal, and what the edited training set looks like."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.prepare import prepare
from poisonlab.errors import InputError
from poisonlab.poisons.crafting import DEFAULTS, craft
from poisonlab.poisons.poison import Poison, apply


def integers(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def picture(*values: float, dtype: type = np.float32) -> np.ndarray:
    """Images of one channel and 1×2 pixels, one for each pair of values."""
    return np.array(values, dtype=dtype).reshape(-1, 1, 1, 2)


@pytest.fixture
def dataset() -> Dataset:
    """Five points of three classes."""
    return Dataset(
        name="toy",
        train_images=picture(0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4),
        train_labels=integers(0, 1, 2, 0, 1),
        test_images=picture(0.5, 0.5),
        test_labels=integers(0),
        class_names=("a", "b", "c"),
        box=(0.0, 1.0),
        train_index=np.arange(5),
        test_index=integers(0),
    )


# ------------------------------------------------------------------------------------------------ apply


def test_relabelled_points_get_their_labels_and_the_images_are_shared(dataset):
    before = dataset.train_labels.copy()
    poisoned = apply(Poison(3, relabel_index=integers(3, 1), relabel_label=integers(2, 0)), dataset)
    assert poisoned.labels.tolist() == [0, 0, 2, 2, 1]
    assert poisoned.images is dataset.train_images
    assert poisoned.poisoned.tolist() == [3, 1]
    assert poisoned.num_classes == 3
    np.testing.assert_array_equal(dataset.train_labels, before)  # the data set itself is left alone


def test_replaced_points_get_their_images_and_labels(dataset):
    before = dataset.train_images.copy()
    poison = Poison(
        3, replace_index=integers(4, 0), replace_images=picture(0.8, 0.9, 1.0, 0.0), replace_labels=integers(1, 2)
    )
    poisoned = apply(poison, dataset)
    np.testing.assert_array_equal(poisoned.images, picture(1.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.8, 0.9))
    assert poisoned.labels.tolist() == [2, 1, 2, 0, 1]
    assert poisoned.poisoned.tolist() == [4, 0]
    np.testing.assert_array_equal(dataset.train_images, before)


def test_appended_points_stand_behind_the_others(dataset):
    poison = Poison(3, append_images=picture(0.7, 0.6, 0.5, 0.4), append_labels=integers(1, 1))
    poisoned = apply(poison, dataset)
    np.testing.assert_array_equal(poisoned.images[:5], dataset.train_images)
    np.testing.assert_array_equal(poisoned.images[5:], picture(0.7, 0.6, 0.5, 0.4))
    assert poisoned.images.dtype == np.float32
    assert poisoned.labels.tolist() == [0, 1, 2, 0, 1, 1, 1]
    assert poisoned.poisoned.tolist() == [5, 6]


def test_a_poison_may_bring_a_new_class(dataset):
    poisoned = apply(Poison(4, relabel_index=integers(2), relabel_label=integers(3)), dataset)
    assert poisoned.num_classes == 4
    assert poisoned.labels.tolist() == [0, 1, 3, 0, 1]


def test_all_kinds_of_edits_work_together_and_count_towards_the_budget(dataset):
    poison = Poison(
        4,
        relabel_index=integers(0),
        relabel_label=integers(1),
        replace_index=integers(2),
        replace_images=picture(0.9, 0.9),
        replace_labels=integers(0),
        append_images=picture(0.6, 0.6, 0.7, 0.7),
        append_labels=integers(3, 2),
    )
    poisoned = apply(poison, dataset)
    assert poison.budget == 4
    assert poisoned.labels.tolist() == [1, 1, 0, 0, 1, 3, 2]
    assert poisoned.poisoned.tolist() == [0, 2, 5, 6]
    expected = picture(0.0, 0.0, 0.1, 0.1, 0.9, 0.9, 0.3, 0.3, 0.4, 0.4, 0.6, 0.6, 0.7, 0.7)
    np.testing.assert_array_equal(poisoned.images, expected)


def test_the_empty_poison_changes_nothing(dataset):
    poisoned = apply(Poison(3), dataset)
    assert poisoned.images is dataset.train_images
    np.testing.assert_array_equal(poisoned.labels, dataset.train_labels)
    assert len(poisoned.poisoned) == Poison(3).budget == 0


# ------------------------------------------------------------------------------------------------ validate

NAN, TOO_BRIGHT = picture(float("nan"), 0.0), picture(1.5, 0.0)
ILLEGAL = {
    "position behind the end": ({"relabel_index": integers(5), "relabel_label": integers(1)}, "position 5 .*0 … 4"),
    "negative position": ({"relabel_index": integers(-1, 2), "relabel_label": integers(1, 1)}, "position -1 .*0 … 4"),
    "position relabelled twice": ({"relabel_index": integers(0, 0), "relabel_label": integers(1, 2)}, "twice"),
    "position relabelled and replaced": (
        {
            "relabel_index": integers(0),
            "relabel_label": integers(1),
            "replace_index": integers(0),
            "replace_labels": integers(1),
            "replace_images": picture(0.0, 0.0),
        },
        "twice",
    ),
    "positions that are no whole numbers": (
        {"relabel_index": np.array([0.0]), "relabel_label": integers(1)},
        "relabel_index is float64, allowed are whole numbers",
    ),
    "labels that are no whole numbers": (
        {"relabel_index": integers(0), "relabel_label": np.array([0.7])},
        "relabel_label is float64, allowed are whole numbers",
    ),
    "appended labels that are no whole numbers": (
        {"append_labels": np.ones(1), "append_images": picture(0.0, 0.0)},
        "append_labels is float64, allowed are whole numbers",
    ),
    "own label": ({"relabel_index": integers(0, 1), "relabel_label": integers(1, 1)}, "to its own label"),
    "label without a class": ({"relabel_index": integers(0), "relabel_label": integers(3)}, "label 3 .*0 … 2"),
    "negative label": ({"relabel_index": integers(0, 1), "relabel_label": integers(-1, 2)}, "label -1 .*0 … 2"),
    "fewer labels than positions": (
        {"relabel_index": integers(0, 1), "relabel_label": integers(1)},
        "2 relabel positions and 1 labels",
    ),
    "class taken away": ({"num_classes": 2}, "leaves 2 classes, 'toy' has 3"),
    "appended without images": ({"append_labels": integers(1)}, "1 append labels and no images"),
    "fewer images than labels": (
        {"append_labels": integers(1, 1), "append_images": picture(0.0, 0.0)},
        r"needs \(2, 1, 1, 2\) float32",
    ),
    "images of another shape": (
        {"append_labels": integers(1), "append_images": np.zeros((1, 1, 2, 2), np.float32)},
        r"append images are \(1, 1, 2, 2\)",
    ),
    "images of another type": (
        {"append_labels": integers(1), "append_images": picture(0.0, 0.0, dtype=np.float64)},
        "float64, 'toy' needs",
    ),
    "not a number": (
        {"replace_index": integers(0), "replace_labels": integers(1), "replace_images": NAN},
        "replace images hold NaN",
    ),
    "image out of the box": (
        {"replace_index": integers(0), "replace_labels": integers(1), "replace_images": TOO_BRIGHT},
        r"span 0 … 1\.5, allowed is \(0\.0, 1\.0\)",
    ),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_an_illegal_edit_is_refused_in_one_line(dataset, name):
    edits, message = ILLEGAL[name]
    poison = Poison(**{"num_classes": 3, **edits})
    for check in (poison.validate, lambda dataset: apply(poison, dataset)):
        with pytest.raises(InputError, match=message) as error:
            check(dataset)
        assert "\n" not in str(error.value)


def test_features_without_a_box_may_have_any_finite_value(dataset):
    free = dataclasses.replace(dataset, box=None)
    poison = Poison(3, append_images=TOO_BRIGHT, append_labels=integers(1))
    assert apply(poison, free).images[5].max() == 1.5
    with pytest.raises(InputError, match="NaN or infinity"):
        Poison(3, append_images=picture(np.inf, 0.0), append_labels=integers(1)).validate(free)


def test_points_that_are_left_out_are_gone_and_the_others_keep_their_edits(dataset):
    new = picture(0.9, 0.9)
    poison = Poison(
        3, relabel_index=integers(4), relabel_label=integers(2), append_images=new, append_labels=integers(1),
        drop_index=integers(2, 0),
    )  # fmt: skip
    changed = apply(poison, dataset)
    np.testing.assert_array_equal(changed.images, np.concatenate([dataset.train_images[[1, 3, 4]], new]))
    assert changed.labels.tolist() == [1, 0, 2, 1]
    assert changed.poisoned.tolist() == [2, 3]
    assert poison.budget == 4
    with pytest.raises(InputError, match="leaves out all 5 points of 'toy'; leave some in"):
        apply(Poison(3, drop_index=np.arange(5)), dataset)
    with pytest.raises(InputError, match="edits a position twice"):
        apply(dataclasses.replace(poison, drop_index=integers(4)), dataset)


def test_a_strategy_that_exceeds_its_budget_or_returns_no_poison_is_refused(tmp_path, monkeypatch):
    (tmp_path / "greedy.py").write_text(
        "from poisonlab.poisons.strategies import strategy\n\n\n"
        '@strategy("greedy", parameters={"more": 1})\n'
        "def greedy(request):\n"
        '    return request.relabel(request.pool()[: request.flip.budget + request.parameters["more"]])\n\n\n'
        '@strategy("forgetful")\n'
        "def forgetful(request):\n"
        "    request.relabel(request.pool()[: request.flip.budget])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    dataset, said = prepare("digits", {"source": "digits"}), []
    asked = {"strategy": "greedy:greedy", "flips": {"source": 1, "target": 7}, "budget": 5}
    with pytest.raises(InputError, match="strategy 'greedy' edits 6 points, its budget is 5; take no more than"):
        craft(dataset, asked)
    (fewer,) = craft(dataset, {**asked, "parameters": {"more": -2}}, progress=said.append)
    assert (fewer.budget, said) == (3, ["3 points are edited, of a budget of 5"])
    with pytest.raises(InputError, match="strategy 'forgetful' returned NoneType, it must return a Poison"):
        craft(dataset, {**asked, "strategy": "greedy:forgetful"})


def test_craft_takes_a_strategy_alone_with_the_defaults_of_a_study():
    dataset = prepare("digits", {"source": "digits"})
    (poison,) = craft(dataset, {"strategy": "random"})
    old, new = dataset.train_labels[poison.relabel_index], poison.relabel_label
    assert sorted(zip(old.tolist(), new.tolist(), strict=True)) == [(label, (label + 1) % 10) for label in range(10)]
    schema = yaml.safe_load((Path(__file__).parents[2] / "workflow/schemas/study.schema.yaml").read_text())
    asked = schema["$defs"]["poison"]["properties"]
    assert {key: asked[key]["default"] for key in ("parameters", "flips", "budget", "per")} == {
        key: DEFAULTS[key] for key in ("parameters", "flips", "budget", "per")
    }
    with pytest.raises(InputError, match="poison names no strategy"):
        craft(dataset, {})
    with pytest.raises(
        InputError, match=r"has no settings \['budgt'\], allowed are strategy, parameters, flips, budget"
    ):
        craft(dataset, {"strategy": "random", "budgt": 3})
