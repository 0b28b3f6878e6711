"""What every strategy of the catalogue owes the pipeline; a new one is picked up by itself."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.flips import Flip
from poisonlab.poisons.poison import EDITS, Poison, apply
from poisonlab.poisons.strategies import Request, Strategy, strategy
from poisonlab.seeds import seed

SOURCE, TARGET, BUDGET, BUCKETS = 1, 2, 6, 3
CATALOGUE = strategy.entries()
CONTROLS_WITHOUT_EDITS = {"none"}  # the clean victim: whatever the budget, nothing is changed
PLACING = {"at_distance", "minimax", "svm", "test_flips"}  # new points, of which there is no limited pool

every_strategy = pytest.mark.parametrize("name", CATALOGUE)
every_strategy_that_keeps_out = pytest.mark.parametrize(
    "name", [name for name in CATALOGUE if not CATALOGUE[name].leaks]
)
every_editing_strategy = pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - CONTROLS_WITHOUT_EDITS))


class Sealed(np.ndarray):
    """An array that may be handed on, or emptied, but not looked at."""

    def _refuse(self, *arguments: Any, **_: Any) -> Any:
        raise AssertionError("the strategy has read the test set")

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if key == slice(0) else self._refuse()

    __iter__ = __array_ufunc__ = __array_function__ = __eq__ = __lt__ = __gt__ = _refuse  # type: ignore[assignment]
    sum = mean = max = min = copy = astype = tolist = tobytes = nonzero = argsort = reshape = flatten = ravel = _refuse  # type: ignore[assignment]


@pytest.fixture(params=["uint8 images", "float features"])
def dataset(request: pytest.FixtureRequest) -> Dataset:
    """Ninety points of three classes; the test set is sealed."""
    generator = np.random.default_rng(7)
    if request.param == "uint8 images":
        images = generator.integers(0, 256, (90, 1, 8, 8), dtype=np.uint8)
    else:
        images = generator.random((90, 5), dtype=np.float32)
    return Dataset(
        name="contract",
        train_images=images,
        train_labels=generator.permutation(np.arange(90) % 3),
        test_images=images[generator.permutation(90)[:9]].view(Sealed),
        test_labels=(np.arange(9) % 3).view(Sealed),
        class_names=("a", "b", "c"),
        box=(0.0, 1.0),
        train_index=np.arange(90),
        test_index=np.arange(9).view(Sealed),
    )


def buckets(dataset: Dataset) -> pd.DataFrame:
    """Ten points of the source class in each of three buckets."""
    index = np.flatnonzero(dataset.train_labels == SOURCE)
    bucket = np.random.default_rng(8).permutation(np.arange(len(index)) % BUCKETS)
    return pd.DataFrame({"index": index, "steps": 1 + 4 * bucket, "bucket": bucket})


def features(dataset: Dataset) -> np.ndarray:
    """Four features of every training point."""
    return np.random.default_rng(9).random((len(dataset.train_labels), 4), dtype=np.float32)


def paths(dataset: Dataset) -> list[pd.DataFrame]:
    """Paths of one proxy, of which every fourth is short."""
    index = np.arange(len(dataset.train_labels))
    return [pd.DataFrame({"index": index, "steps": np.where(index % 4, 30, 5)})]


def logits(dataset: Dataset) -> np.ndarray:
    """Logits of every training point."""
    return np.random.default_rng(10).normal(size=(len(dataset.train_labels), dataset.num_classes)).astype(np.float32)


def colours(dataset: Dataset) -> pd.DataFrame:
    """Scores of the points of the source class by eight nets, many of them equal."""
    index = np.flatnonzero(dataset.train_labels == SOURCE)
    score = np.random.default_rng(11).integers(0, 4, (8, len(index)))
    return pd.concat([pd.DataFrame({"net": net, "index": index, "score": score[net]}) for net in range(8)])


# What a strategy may declare that it needs, and for those that are usually swept the number and its values: a new one gets an entry here.
NEEDS: dict[str, Callable[[Dataset], Any]] = {
    "buckets": buckets, "paths": paths, "features": features, "logits": logits, "colours": colours,
}  # fmt: skip
SWEEPS: dict[str, list[float]] = {"bucket": [0, 2, 1], "r": [0.1, 0.2, 0.4]} | {
    "density": [0.05, 0.3, 0.1],
    "quantile": [0.5, 0.0, 0.25],
}
# For those whose defaults take too long here, or whose networks take no vectors: parameters over the registered ones.
SMALL: dict[str, dict[str, Any]] = {
    "back_gradient": {"ascents": 2, "epochs": 2, "truncation": 3, "group": 4},
    "metagradient": {"ascents": 2, "epochs": 2, "model": "linear", "rate": 0.1},
    "svm": {"points": 24, "validation": 24, "unique": 2, "steps": 3},
}


def sweep_of(name: str) -> tuple[str, list[float | None]]:
    """Name and values of the number that a strategy is swept over, "" and [None] for none."""
    found = next((number for number in SWEEPS if number in CATALOGUE[name].parameters), "")
    return found, [*SWEEPS.get(found, [None])]


def settings_of(
    name: str, source: int | str = SOURCE, target: int | str = TARGET, budget: float = BUDGET, **more: Any
) -> dict[str, Any]:
    """What the pipeline hands to `craft`."""
    flips = {"source": source, "target": target, "both": more.pop("both", False)}
    plain = {"strategy": name, "parameters": {}, "flips": flips, "budget": budget, "per": "pair", "sweep": ""}
    return {**plain, "values": [None], **more}


def readable(dataset: Dataset) -> Dataset:
    """The data set with its test set unsealed, for controls that leak."""
    arrays = {name: getattr(dataset, name).view(np.ndarray) for name in ("test_images", "test_labels", "test_index")}
    return dataclasses.replace(dataset, **arrays)


def request_for(name: str, dataset: Dataset, draw: int, value: float | None) -> Request:
    """What the pipeline hands to a strategy, but with the whole test set, sealed."""
    entry = CATALOGUE[name]
    generator = np.random.default_rng(seed("poison", draw=draw))
    flip, needs = Flip(SOURCE, TARGET, BUDGET), needs_of(entry, dataset)
    visible = readable(dataset) if entry.leaks else dataset
    number, _ = sweep_of(name)
    parameters = entry.defaults | SMALL.get(name, {}) | ({number: value} if number else {})
    return Request(visible, flip, needs, parameters, generator, draw)


def needs_of(entry: Strategy, dataset: Dataset) -> dict[str, Any]:
    return {need: NEEDS[need](dataset) for need in entry.needs}


def crafted(
    name: str, dataset: Dataset, draw: int = 0, budget: float = BUDGET, values: list[float | None] | None = None
) -> list[Poison]:
    """The poisons of every value of the strategy's sweep, through the pipeline's door."""
    entry = CATALOGUE[name]
    number, all_values = sweep_of(name)
    settings = settings_of(
        name, budget=budget, sweep=number, values=values or all_values, parameters=SMALL.get(name, {})
    )
    visible = readable(dataset) if entry.leaks else dataset
    return craft(visible, settings, needs_of(entry, dataset), draw)


def content(poison: Poison) -> dict[str, Any]:
    """A poison as something that can be compared: without the seconds that crafting took."""
    facts = {name: value for name, value in poison.facts.items() if name != "seconds"}
    return {
        name: (value.dtype, value.shape, value.tobytes()) if isinstance(value, np.ndarray) else value
        for name, value in {**vars(poison), "facts": facts}.items()
    }


def test_the_catalogue_holds_the_controls_and_the_thesis_strategy():
    assert {"none", "random", "path_bucket"} <= CATALOGUE.keys()


# ------------------------------------------------------------------------------------------------ the poison


@every_editing_strategy
@pytest.mark.parametrize("budget", [1, BUDGET])
def test_the_budget_is_spent_and_not_exceeded(name, dataset, budget):
    assert [poison.budget for poison in crafted(name, dataset, budget=budget)] == [budget] * len(sweep_of(name)[1])


@pytest.mark.parametrize("name", sorted(CONTROLS_WITHOUT_EDITS))
def test_the_clean_control_changes_nothing(name, dataset):
    for poison in crafted(name, dataset):
        assert poison.budget == 0
        assert apply(poison, dataset).images is dataset.train_images


@every_strategy
def test_edited_points_are_different_ones_of_the_source_class(name, dataset):
    for draw in range(5):
        for poison in crafted(name, dataset, draw):
            edited = np.concatenate([poison.relabel_index, poison.replace_index, poison.drop_index])
            assert edited.dtype == np.int64
            assert len(set(edited)) == len(edited)
            assert (dataset.train_labels[edited] == SOURCE).all()


@every_strategy
def test_labels_are_legal_and_relabelled_points_get_another_one(name, dataset):
    for poison in crafted(name, dataset):
        assert poison.num_classes >= dataset.num_classes
        for labels in (poison.relabel_label, poison.replace_labels, poison.append_labels):
            assert labels.dtype == np.int64
            assert ((labels >= 0) & (labels < poison.num_classes)).all()
        assert (poison.relabel_label != dataset.train_labels[poison.relabel_index]).all()


@every_strategy
def test_images_of_the_poison_are_in_the_box_and_of_the_kind_of_the_others(name, dataset):
    for poison in crafted(name, dataset):
        for images in (poison.replace_images, poison.append_images):
            if images is not None:
                assert images.dtype == dataset.train_images.dtype
                assert images.shape[1:] == dataset.input_shape
                values = images / 255 if images.dtype == np.uint8 else images
                assert np.isfinite(values).all()
                assert ((values >= 0) & (values <= 1)).all()


@every_strategy
def test_the_data_set_itself_is_left_alone(name, dataset):
    images, labels = dataset.train_images.copy(), dataset.train_labels.copy()
    crafted(name, dataset)
    np.testing.assert_array_equal(dataset.train_images, images)
    np.testing.assert_array_equal(dataset.train_labels, labels)


# ------------------------------------------------------------------------------------------------ randomness


@every_strategy
def test_the_same_draw_gives_the_same_poison_whatever_the_global_generator(name, dataset):
    first = [content(poison) for poison in crafted(name, dataset, draw=3)]
    np.random.seed(99)  # noqa: NPY002 - the legacy generator is what must not matter
    state = np.random.get_state()[1].copy()  # type: ignore[index,union-attr]  # noqa: NPY002
    assert [content(poison) for poison in crafted(name, dataset, draw=3)] == first
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # type: ignore[index]  # noqa: NPY002


@every_strategy
def test_another_draw_gives_another_poison_unless_the_strategy_is_deterministic(name, dataset):
    # Six of at least ten points: two of eight draws are equal with a probability below 28 / 210 for each value of the axis, and all
    # eight with one below 210⁻⁷.
    draws = [crafted(name, dataset, draw) for draw in range(8)]
    for position in range(len(draws[0])):
        different = {str(content(poisons[position])) for poisons in draws}
        assert len(different) == 1 if CATALOGUE[name].deterministic else len(different) >= 5


@every_strategy
def test_the_poison_of_an_axis_value_does_not_depend_on_which_others_are_asked_for(name, dataset):
    _, values = sweep_of(name)
    together = crafted(name, dataset)
    for value, poison in zip(values, together, strict=True):
        (alone,) = crafted(name, dataset, values=[value])
        assert content(alone) == content(poison)


@every_strategy
def test_a_strategy_draws_from_the_generator_of_its_request_alone(name, dataset):
    for value, expected in zip(sweep_of(name)[1], crafted(name, dataset, draw=4), strict=True):
        assert content(CATALOGUE[name].function(request_for(name, dataset, 4, value))) == content(expected)


# ------------------------------------------------------------------------------------------------ errors and secrets


@pytest.mark.parametrize("name", sorted(CATALOGUE.keys() - CONTROLS_WITHOUT_EDITS - PLACING))
def test_a_budget_beyond_the_pool_is_refused_in_one_line_that_says_the_way_out(name, dataset):
    with pytest.raises(
        InputError, match=r"^poison budget 31 exceeds the \d+ points of .*lower the poison's budget"
    ) as error:
        crafted(name, dataset, budget=31)  # the source class has 30 points
    assert "\n" not in str(error.value)
    assert "'contract'" in str(error.value)


@every_strategy_that_keeps_out
def test_nothing_is_read_from_the_test_set(name, dataset):
    for value in sweep_of(name)[1]:
        assert len(request_for(name, dataset, 0, value).dataset.test_labels) == 9  # there is something to read
        CATALOGUE[name].function(request_for(name, dataset, 0, value))


@pytest.mark.parametrize("leaks", [False, True])
def test_the_test_set_is_hidden_from_a_strategy_that_does_not_say_that_it_leaks(dataset, leaks, monkeypatch):
    seen: list[int] = []

    def spy(request: Request) -> Poison:
        seen.append(len(request.dataset.test_labels))
        return Poison(request.dataset.num_classes)

    strategy("spy", source="a test", leaks=leaks)(spy)
    monkeypatch.setattr(strategy, "find", lambda name: spy.entry)  # type: ignore[attr-defined]
    craft(dataset, settings_of("spy", budget=1), {}, draw=0)
    assert seen == [9 if leaks else 0]


def test_the_seal_of_the_test_set_holds(dataset):
    reads: list[Callable[[], Any]] = [
        lambda: dataset.test_images[0],
        lambda: dataset.test_labels == 1,
        lambda: np.flatnonzero(dataset.test_labels),
        lambda: np.concatenate([dataset.test_labels, dataset.test_labels]),
        lambda: dataset.test_images.mean(),
        lambda: dataset.test_images.astype(np.float32),
        lambda: dataset.test_images - 1,
        lambda: list(dataset.test_labels),
        lambda: dataset.test_float(),
    ]
    for read in reads:
        with pytest.raises(AssertionError, match="has read the test set"):
            read()


# ------------------------------------------------------------------------------------------------ catalogue


def test_the_catalogue_is_readable_without_torch():
    script = (
        "import sys; from poisonlab.poisons.strategies import strategy; names = list(strategy.entries())\n"
        "assert 'random' in names\n"
        "heavy = {'torch', 'torchvision', 'sklearn', 'matplotlib'} & sys.modules.keys()\n"
        "sys.exit(f'the catalogue imports {heavy}' if heavy else 0)"
    )
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


@every_strategy
def test_a_strategy_says_where_it_comes_from_and_what_it_and_its_parameters_do(name):
    entry = CATALOGUE[name]
    assert entry.name == name
    assert entry.source.strip()
    assert (entry.function.__doc__ or "").strip()
    for parameter in entry.parameters:
        assert parameter in entry.function.__doc__, f"parameter '{parameter}' of '{name}' is not documented"
    assert entry.resources.keys() <= {"gpu", "mem_mb", "runtime"}
    assert entry.module.startswith("poisonlab.poisons.strategies.")


@every_strategy
def test_every_need_of_the_catalogue_is_covered_here(name):
    assert set(CATALOGUE[name].needs) <= NEEDS.keys(), "add a factory to NEEDS of this file"


def test_a_name_that_is_no_strategy_is_refused_with_the_ones_there_are():
    with pytest.raises(InputError, match=f"strategy 'cunning' does not exist; choose one of {', '.join(CATALOGUE)}"):
        strategy.find("cunning")
    with pytest.raises(InputError, match=r"strategy 'no_such_module:f' cannot be loaded.*register f with @strategy"):
        strategy.find("no_such_module:f")
    with pytest.raises(InputError, match=r"strategy 'json:loads' is not registered; decorate loads with @strategy"):
        strategy.find("json:loads")


def test_a_strategy_of_your_own_is_found_by_its_import_path_and_stays_out_of_the_catalogue(
    tmp_path, monkeypatch, dataset
):
    (tmp_path / "my_strategies.py").write_text(
        "import numpy as np\nfrom poisonlab.poisons.poison import Poison\nfrom poisonlab.poisons.strategies import strategy\n\n"
        "@strategy('first', source='a test', parameters={'skip': 0}, deterministic=True)\n"
        "def first(request):\n"
        "    index = request.pool()[request.parameters['skip']:][:request.flip.budget]\n"
        "    return Poison(3, relabel_index=index, relabel_label=np.full(len(index), request.flip.target))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = strategy.find("my_strategies:first")
    assert (found.name, found.module, found.deterministic) == ("first", "my_strategies", True)
    (poison,) = craft(dataset, settings_of("my_strategies:first", 1, 2, 3, parameters={"skip": 2}), {}, draw=0)
    expected = np.flatnonzero(dataset.train_labels == 1)[2:5]
    np.testing.assert_array_equal(poison.relabel_index, expected)
    assert "first" not in strategy.entries()


@pytest.mark.parametrize(("key", "label"), [("source", 3), ("target", 7), ("target", -1)])
def test_a_class_that_the_data_set_does_not_have_is_refused(dataset, key, label):
    with pytest.raises(InputError, match=rf"flips\.{key}: class {label} is not among 0 … 2 or 'a', 'b', 'c'"):
        craft(dataset, settings_of("random", **{key: label}), {}, draw=0)


def test_parameters_that_are_not_given_have_their_registered_defaults(dataset, monkeypatch):
    seen: list[Any] = []

    def spy(request: Request) -> Poison:
        seen.append(request.parameters)
        return Poison(request.dataset.num_classes)

    strategy("spy", source="a test", parameters={"side": 2, "norm": 1})(spy)
    monkeypatch.setattr(strategy, "find", lambda name: spy.entry)  # type: ignore[attr-defined]
    craft(dataset, settings_of("spy", budget=1, parameters={"norm": 3}), {}, draw=0)
    assert seen == [{"side": 2, "norm": 3}]


def test_a_negative_distance_is_refused():
    with pytest.raises(InputError, match=r"r = -3 is no distance, allowed is 0 or more"):
        placed(toy(mean=10), -3.0)


def test_a_bucket_that_does_not_exist_is_refused(dataset):
    with pytest.raises(InputError, match=r"bucket 7 does not exist, allowed are 0 … 2; change buckets\.count"):
        crafted("path_bucket", dataset, values=[7])


def test_points_of_a_bucket_are_relabelled_from_that_bucket_alone(dataset):
    table = buckets(dataset)
    for value, poison in zip(SWEEPS["bucket"], crafted("path_bucket", dataset), strict=True):
        assert set(poison.relabel_index) <= set(table.loc[table["bucket"] == value, "index"])
        assert (poison.relabel_label == TARGET).all()


def toy(mean: float, dimensions: int = 8) -> Dataset:
    points = np.zeros((4, dimensions), dtype=np.float32)
    labels, index = np.array([0, 1, 0, 1]), np.arange(4)
    centres = np.outer([-mean, mean], np.ones(dimensions))
    return Dataset("toy", points, labels, points[:2], labels[:2], ("a", "b"), None, index, index[:2], centres)


def placed(dataset: Dataset, radius: float, target: int | str = "next", source: int | str = "all", budget: int = 200):
    return craft(dataset, settings_of("at_distance", source, target, budget, parameters={"r": radius}), {}, draw=0)[0]


def test_points_are_placed_at_the_distance_from_the_known_mean_of_their_class_in_every_direction():
    poison = placed(toy(mean=10), radius=3.0)
    assert poison.append_labels.tolist() == [1] * 200 + [0] * 200  # 200 of each class, with the next one's label
    for label, centre in ((1, -10), (0, 10)):
        offsets = poison.append_images[poison.append_labels == label].astype(float) - centre
        np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), 3, rtol=1e-5)  # single precision
        # Uniform on the sphere: means of 200 coordinates with variance r² / d, four and a half standard errors for 8 coordinates.
        assert (np.abs(offsets.mean(axis=0)) < 4.5 * 3 / np.sqrt(8 * 200)).all()
        np.testing.assert_allclose(np.cov(offsets.T), 9 / 8 * np.eye(8), atol=4.5 * 9 / 8 * np.sqrt(2 / 200))


def test_points_at_distance_0_are_the_means_themselves():
    np.testing.assert_array_equal(placed(toy(mean=2), 0.0, budget=1).append_images, np.outer([-2, 2], np.ones(8)))


def test_every_placed_point_lies_on_the_side_of_its_own_class_so_that_its_label_is_wrong():
    # The boundary is 0.5 · √8 = 1.4 from the means: many points at distance 4 lie beyond it.
    poison = placed(toy(mean=0.5), radius=4.0)
    sides = (poison.append_images.sum(axis=1) > 0).astype(int)
    np.testing.assert_array_equal(sides, 1 - poison.append_labels)


def test_a_distance_at_which_no_point_is_mislabelled_is_refused():
    # In one dimension, the only points at distance 3 from −1 are −4 and 2; from a mean between two others there is none at all.
    three = dataclasses.replace(
        toy(mean=1, dimensions=1), class_names=("a", "b", "c"), centres=np.array([[-1.0], [0.0], [1.0]])
    )
    with pytest.raises(InputError, match=r"r = 3 is too far from the mean of class 1 in 'toy'.*choose a smaller r"):
        placed(three, 3.0, source=1)


def test_poisons_of_every_class_for_a_new_class_give_the_victim_one_more_class(dataset):
    (poison,) = craft(dataset, settings_of("random", "all", "new", 4), {}, draw=0)
    assert poison.num_classes == 4
    assert poison.relabel_label.tolist() == [3] * 12
    assert sorted(dataset.train_labels[poison.relabel_index]) == [0] * 4 + [1] * 4 + [2] * 4


def test_the_next_class_is_cyclic_and_both_targets_poison_the_same_points(dataset):
    to_next, to_new = (
        craft(dataset, settings_of("random", "all", target, 4), {}, draw=5)[0] for target in ("next", "new")
    )
    np.testing.assert_array_equal(to_next.relabel_label, (dataset.train_labels[to_next.relabel_index] + 1) % 3)
    np.testing.assert_array_equal(to_next.relabel_index, to_new.relabel_index)
    assert to_next.num_classes == 3


@pytest.mark.parametrize("name", ["random", "path_bucket"])
def test_every_point_of_the_pool_is_chosen_equally_often(name, dataset):
    draws = [crafted(name, dataset, draw)[0].relabel_index for draw in range(400)]
    table = buckets(dataset)
    pool = (
        np.flatnonzero(dataset.train_labels == SOURCE) if name == "random" else table.loc[table["bucket"] == 0, "index"]
    )
    counts = np.array([sum(point in draw for draw in draws) for point in pool])
    share = BUDGET / len(pool)
    assert counts.sum() == 400 * BUDGET
    # Binomial: at most 60 counts in all lie within 4.5 standard errors on all but one seed in a thousand.
    assert (np.abs(counts - 400 * share) < 4.5 * np.sqrt(400 * share * (1 - share))).all()


# ------------------------------------------------------------------------------------------------ flips and budgets


def test_all_to_all_others_poisons_every_pair_and_no_point_twice(dataset):
    (poison,) = craft(dataset, settings_of("random", "all", "others", 5), {}, draw=1)
    pairs = list(zip(dataset.train_labels[poison.relabel_index], poison.relabel_label, strict=True))
    assert {pair: pairs.count(pair) for pair in pairs} == {(s, t): 5 for s in range(3) for t in range(3) if s != t}
    assert len(set(poison.relabel_index)) == 30


def test_a_class_may_be_named_and_a_pair_may_go_both_ways(dataset):
    (poison,) = craft(dataset, settings_of("random", "a", "c", 2, both=True), {}, draw=1)
    assert sorted(zip(dataset.train_labels[poison.relabel_index], poison.relabel_label, strict=True)) == [
        (0, 2), (0, 2), (2, 0), (2, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "per", "expected"),
    [(0.1, "pair", [9, 9, 9]), (0.1, "all", [3, 3, 3]), (10, "all", [4, 3, 3]), (7, "pair", [7, 7, 7])],
)
def test_a_budget_is_a_number_or_a_share_of_the_training_set_per_pair_or_in_all(dataset, budget, per, expected):
    (poison,) = craft(dataset, settings_of("random", "all", "next", budget, per=per), {}, draw=1)
    sources = dataset.train_labels[poison.relabel_index]
    assert [int((sources == label).sum()) for label in range(3)] == expected


def test_a_sweep_of_the_budget_crafts_one_poison_for_each(dataset):
    settings = settings_of("random", sweep="budget", values=[1, 3, 0.1])
    assert [poison.budget for poison in craft(dataset, settings, {}, draw=1)] == [1, 3, 9]


def test_the_most_confused_pair_is_found_from_a_proxys_logits(dataset):
    answers = np.eye(3, dtype=np.float32)[dataset.train_labels] * 4
    wrong = np.flatnonzero(dataset.train_labels == 2)[:7]
    answers[wrong] = [0, 9, 0]  # seven of class 2 are taken for class 1
    answers[np.flatnonzero(dataset.train_labels == 0)[:5]] = [0, 9, 0]
    settings = settings_of("random", "found", "found", 3)
    (poison,) = craft(dataset, settings, {"logits": answers}, draw=1)
    assert set(dataset.train_labels[poison.relabel_index]) == {2}
    assert set(poison.relabel_label) == {1}
    with pytest.raises(InputError, match="needs the logits of a proxy"):
        craft(dataset, settings, {}, draw=1)


def test_facts_of_a_strategy_are_the_poisons_and_of_several_pairs_each_ones_own(dataset, monkeypatch):
    def telling(request: Request) -> Poison:
        poison = request.relabel(request.pool()[: request.flip.budget])
        return dataclasses.replace(poison, facts={"objective": 10.0 * request.flip.source})

    strategy("telling", source="a test")(telling)
    monkeypatch.setattr(strategy, "find", lambda name: telling.entry)  # type: ignore[attr-defined]
    (one,) = craft(dataset, settings_of("telling", 1, 2, 1), {}, draw=0)
    (two,) = craft(dataset, settings_of("telling", 1, 2, 1, both=True), {}, draw=0)
    assert one.facts == {"objective": 10.0}
    assert two.facts == {"objective_1to2": 10.0, "objective_2to1": 20.0}
    assert {name for name in vars(one) if name not in ("num_classes", "facts")} == set(EDITS)
