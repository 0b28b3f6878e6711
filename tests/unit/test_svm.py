"""Poisoning a support vector machine: its gradients against central differences, its ascent, its strategy and tables."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.svm import SVC

from poisonlab.analyses import Subject, analysis
from poisonlab.analyses.svm import attacked, differences, single_points
from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.datasets.fetch import fetch
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.splits import split
from poisonlab.errors import InputError
from poisonlab.figures import draw, figure
from poisonlab.models.svm import GRADIENTS, KERNELS, Fitted, Kernel, Surrogate, train
from poisonlab.poisons.flips import Flip
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import Request, strategy
from poisonlab.poisons.svm import SEARCHES, Ascent, ascend, draw_sets, start_and_ascend
from poisonlab.results.storage import Workspace

DIMENSIONS, DRAWS = 20, 30
STEP = 1e-5  # of differences: their own error is of the order of its square, and of 1e-16 / 1e-5 from rounding
SHORT = {"points": 40, "validation": 60, "unique": 3, "steps": 5, "step": 0.5}
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


def problem(kernel: str, number: int, classes: int = 2) -> Fitted:
    """A machine of 50 points, 100 that validate, and a point of class 0 that is labelled 1."""
    return attacked(Kernel(kernel, 0.05), 1.0, np.random.default_rng(number), classes, DIMENSIONS, 50, 100, 2.0)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


# ---------------------------------------------------------------------------------------------------- the machine


@every_kernel
@pytest.mark.parametrize("cost", [0.1, 1.0, 100.0])
def test_the_machine_is_scikit_learns_and_keeps_its_conditions_to_double_precision(kernel: str, cost: float):
    generator = np.random.default_rng(1)
    points, signs = generator.normal(size=(60, 5)), np.where(np.arange(60) % 3, 1.0, -1.0)
    points[signs > 0] += 0.7
    gram = Kernel(kernel, 0.5).gram(points, points)
    machine = train(gram, signs, cost)
    # scikit-learn's γ is half of Biggio's.
    reference = SVC(C=cost, kernel=kernel, gamma=0.25, tol=1e-10).fit(points, signs)
    # It keeps its kernel in single precision.
    np.testing.assert_allclose(machine.values(gram), reference.decision_function(points), atol=2e-4 * max(1, cost / 10))
    excess = signs * machine.values(gram) - 1
    assert abs(machine.alpha @ signs) < 1e-9 * cost
    assert np.abs(excess[machine.margin]).max() < 1e-9
    assert (excess[machine.error] < 1e-9).all()
    assert (excess[~machine.margin & ~machine.error] > -1e-9).all()
    assert (machine.alpha[machine.error] == cost).all()


@every_kernel
def test_a_start_from_a_neighbour_ends_at_the_same_machine(kernel: str):
    fitted = problem(kernel, 3)
    x = fitted.x + 0.5 * np.random.default_rng(0).normal(size=DIMENSIONS)
    (near,), (far,) = fitted.surrogate.fit(x, 1, start=fitted).machines, fitted.surrogate.fit(x, 1).machines
    np.testing.assert_allclose(near.alpha, far.alpha, atol=1e-8)
    assert near.bias == pytest.approx(far.bias, abs=1e-8)


@pytest.mark.parametrize(("kernel", "gamma"), [("linear", 0.5), ("rbf", 0.5), ("rbf", 0.02)])
def test_slopes_of_kernels_are_their_central_differences(kernel: str, gamma: float):
    generator, kind = np.random.default_rng(2), Kernel(kernel, gamma)
    points, weights, x = generator.normal(size=(7, 4)), generator.normal(size=7), generator.normal(size=4)
    found, own = kind.slope(points, weights, x), kind.own_slope(x)
    for place in range(4):
        move = np.eye(4)[place] * STEP
        up, down = ((x + side)[None] for side in (move, -move))
        expected = weights @ (kind.gram(points, up) - kind.gram(points, down))[:, 0] / (2 * STEP)
        assert found[place] == pytest.approx(expected, abs=1e-8)
        assert own[place] == pytest.approx((kind.gram(up, up) - kind.gram(down, down))[0, 0] / (2 * STEP), abs=1e-8)


def test_the_rbf_kernel_is_biggios():
    a, b = np.array([[0.0, 0.0]]), np.array([[1.0, 2.0]])
    assert Kernel("rbf", 0.5).gram(a, b)[0, 0] == pytest.approx(np.exp(-0.25 * 5))


# --------------------------------------------------------------------------------------------------- the gradient


@every_kernel
@pytest.mark.parametrize("classes", [2, 3])
def test_the_exact_gradient_is_that_of_central_differences_and_the_historical_one_is_not(kernel: str, classes: int):
    found: dict[str, list[float]] = {name: [] for name in GRADIENTS}
    for number in range(DRAWS):
        fitted = problem(kernel, number, classes)
        expected, kink = differences(fitted, 1, STEP)
        if kink:
            continue
        for name, cosines in found.items():
            cosines.append(cosine(fitted.gradient(name, np.random.default_rng(number)), expected))
        np.testing.assert_allclose(fitted.gradient(), expected, atol=1e-6 * np.abs(expected).max())
    assert len(found["exact"]) > 0.8 * DRAWS
    assert np.median(found["exact"]) >= 0.999
    assert np.median(found["historical"]) < 0.9


def test_the_gradient_of_the_multiclass_loss_is_the_sum_over_the_machines():
    fitted = problem("linear", 0, classes=3)
    parts = [
        dataclasses.replace(fitted, surrogate=alone, machines=[machine])
        for machine, positive in zip(fitted.machines, fitted.surrogate.positives, strict=True)
        for alone in [
            Surrogate(
                fitted.surrogate.kernel,
                1.0,
                (fitted.surrogate.points, fitted.surrogate.labels),
                (fitted.surrogate.validation, fitted.surrogate.validation_labels),
                [positive],
            )
        ]
    ]
    np.testing.assert_allclose(fitted.gradient(), sum(part.gradient() for part in parts), atol=1e-10)
    assert fitted.loss() == pytest.approx(sum(part.loss() for part in parts))


@every_kernel
@pytest.mark.parametrize("case", ["margin", "error"])
def test_a_point_that_is_a_margin_vector_or_an_error_vector_has_the_gradient_of_differences(kernel: str, case: str):
    """Points of class 0 with label 1 are errors mostly; towards class 1 there are margin vectors."""
    seen = 0
    for number in range(30):
        start = problem(kernel, number)
        other = start.surrogate.points[start.surrogate.labels == 1]
        for share in np.linspace(0, 1, 9):
            fitted = start.surrogate.fit((1 - share) * start.x + share * other[0], 1)
            if not getattr(fitted.machines[0], case)[-1]:
                continue
            expected, kink = differences(fitted, 1, STEP)
            if not kink:
                seen += 1
                np.testing.assert_allclose(fitted.gradient(), expected, atol=1e-6 * max(1.0, np.abs(expected).max()))
        if seen > 10:
            return
    assert seen > 0, f"no problem has such a case: {case}"


@every_kernel
def test_a_point_that_is_no_support_vector_has_no_gradient(kernel: str):
    fitted = problem(kernel, 0)
    # Copies of points of class 1 that lie beyond the margin.
    (clean,) = fitted.surrogate.fit().machines
    easy = np.flatnonzero((clean.alpha == 0) & (clean.signs > 0))
    fitted = fitted.surrogate.fit(fitted.surrogate.points[easy[0]] + 1e-3, 1)
    assert fitted.machines[0].alpha[-1] == 0
    for name in GRADIENTS:
        assert not fitted.gradient(name).any()
    expected, _ = differences(fitted, 1, STEP)
    assert np.abs(expected).max() < 1e-6  # rounding: 1e-14 of a loss of about 50, over 1e-5


def test_a_gradient_that_does_not_exist_is_refused():
    fitted = problem("linear", 0)
    with pytest.raises(InputError, match=r"gradient is 'steep' .* allowed is one of \['exact', 'historical'\]"):
        fitted.gradient("steep")
    with pytest.raises(InputError, match="with respect to no point"):
        fitted.surrogate.fit().gradient()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Kernel("cubic"), "kernel is 'cubic', allowed is one of"),
        (lambda: Kernel("rbf", 0.0), "gamma is 0, allowed is more than 0"),
        (lambda: Surrogate(Kernel("linear"), -1.0, *[(np.eye(2), np.arange(2))] * 2, (1,)), "cost is -1"),
        (lambda: Ascent(search="wide"), "search is 'wide', allowed is one of"),
        (lambda: Ascent(step=0.0), "steps is 100 and step 0, allowed are"),
    ],
)
def test_a_setting_outside_its_range_is_refused(make: Any, message: str):
    with pytest.raises(InputError, match=message):
        make()


# ----------------------------------------------------------------------------------------------------- the ascent


@every_kernel
@pytest.mark.parametrize("search", SEARCHES)
def test_the_ascent_raises_the_loss_and_stays_in_the_box(kernel: str, search: str):
    for number in range(5):
        fitted = problem(kernel, number)
        box = float(fitted.x.min()) - 0.1, float(fitted.x.max()) + 0.1
        point, losses = ascend(
            fitted.surrogate, fitted.x, 1, box, Ascent(30, 0.2, search), np.random.default_rng(number)
        )
        assert losses[0] == pytest.approx(fitted.loss())
        assert box[0] <= point.min() <= point.max() <= box[1]
        assert max(losses) > 1.02 * losses[0]
        assert fitted.surrogate.fit(point, 1).loss() == pytest.approx(max(losses))
        if search == "line":
            assert losses == sorted(losses)


def test_the_first_step_of_the_exact_ascent_has_the_length_and_direction_that_are_asked_for():
    fitted, length = problem("linear", 4), 1e-3
    point, _ = ascend(fitted.surrogate, fitted.x, 1, (-99, 99), Ascent(1, length), np.random.default_rng(0))
    assert np.linalg.norm(point - fitted.x) == pytest.approx(length)
    assert cosine(point - fitted.x, fitted.gradient()) == pytest.approx(1)


@every_kernel
def test_a_point_falls_short_of_the_margin_just_where_it_would_be_a_support_vector(kernel: str):
    fitted = problem(kernel, 1, classes=3)
    points = np.concatenate([fitted.surrogate.points[::3], fitted.surrogate.points[1::3] * 1.5])
    short = fitted.surrogate.fit().shortfall(points, 1)
    assert 0 < (short > 0).sum() < len(points) or kernel == "rbf"
    assert [fitted.surrogate.fit(point, 1).depends() for point in points] == (short > 0).tolist()


def test_a_step_out_of_the_machines_reach_is_taken_back_and_halved():
    fitted = problem("linear", 2)
    # Towards class 1 and far beyond it: the point is no support vector there.
    means = [fitted.surrogate.points[fitted.surrogate.labels == label].mean(axis=0) for label in (0, 1)]
    length = 40.0 * np.linalg.norm(means[1] - means[0])
    assert not fitted.surrogate.fit(fitted.x + 40 * (means[1] - means[0]), 1).depends()
    point, losses = ascend(fitted.surrogate, fitted.x, 1, (-99, 99), Ascent(20, length), np.random.default_rng(0))
    assert len(losses) == 21
    assert max(losses) > losses[0]
    assert fitted.surrogate.fit(point, 1).loss() == pytest.approx(max(losses))


def test_a_start_that_the_surrogate_does_not_see_is_passed_over():
    fitted = problem("linear", 0)
    (clean,) = fitted.surrogate.fit().machines
    easy = fitted.surrogate.points[np.flatnonzero((clean.alpha == 0) & (clean.signs > 0))[:2]]
    candidates = np.concatenate([easy, fitted.x[None]])
    place, point, losses = start_and_ascend(fitted.surrogate, candidates, 1, (-9, 9), Ascent(5, 0.2), [0])
    assert place == 2
    assert max(losses) > fitted.surrogate.fit().loss()
    # With no other start, the nearest to the margin is taken, and stays.
    place, point, losses = start_and_ascend(fitted.surrogate, easy, 1, (-9, 9), Ascent(5, 0.2), [0])
    np.testing.assert_array_equal(point, easy[place])
    assert losses == [pytest.approx(fitted.surrogate.fit().loss())]


# --------------------------------------------------------------------------------------------------- the strategy


@pytest.fixture(params=["uint8", "float32"])
def data(request: pytest.FixtureRequest) -> Dataset:
    """Three classes of 40 images of 4 × 4 pixels, brighter in one row each."""
    generator, labels = np.random.default_rng(5), np.arange(120) % 3
    images = generator.integers(0, 160, (120, 1, 4, 4))
    images[np.arange(120), 0, labels] += 70
    images = images.astype(np.uint8) if request.param == "uint8" else (images / 255).astype(np.float32)
    return make_dataset("own", (images, labels), (images[:3], labels[:3]), ("a", "b", "c"))


def request_of(data: Dataset, budget: int = 7, workspace: Workspace | None = None, **given: Any) -> Request:
    parameters = strategy.find("svm").settings({**SHORT, **given}, "own")
    return Request(data, Flip(0, 1, budget), {}, parameters, np.random.default_rng(3), workspace=workspace)


def crafted(data: Dataset, budget: int = 7, **given: Any) -> Poison:
    return strategy.find("svm").function(request_of(data, budget, **given))


def test_each_crafted_point_is_appended_about_equally_often_up_to_the_budget(data: Dataset):
    poison = crafted(data)
    points = poison.append_images.reshape(7, -1)
    _, counts = np.unique(points, axis=0, return_counts=True)
    assert sorted(counts) == [2, 2, 3]
    assert set(poison.append_labels) == {1}
    assert poison.facts["unique"] == 3
    assert len(np.unique(crafted(data, budget=2).append_images.reshape(2, -1), axis=0)) == 2
    assert crafted(data, budget=0).budget == 0


@pytest.mark.parametrize("multiclass", [False, True])
def test_crafted_points_raise_the_objective_more_than_their_starts_do(data: Dataset, multiclass: bool):
    facts = crafted(data, multiclass=multiclass, unique=5, steps=20).facts
    assert facts["objective_before"] < facts["objective_flipped"] < facts["objective_after"]
    assert all(0 <= facts[f"error_{when}"] <= 1 for when in ("before", "flipped", "after"))


def test_facts_are_those_of_the_points_as_they_are_appended(data: Dataset):
    request = request_of(data)
    poison = strategy.find("svm").function(request)
    training, validation = draw_sets(data, [0, 1], 40, 60, np.random.default_rng(3))
    points = poison.append_images[:3].reshape(3, -1) / (255 if data.train_images.dtype == np.uint8 else 1)
    surrogate = Surrogate(Kernel("linear"), 1.0, training, validation, (1,))
    fitted = surrogate.extended(points, 1).fit()
    assert poison.facts["objective_after"] == pytest.approx(fitted.loss(), abs=1e-4)  # single precision
    assert poison.facts["error_after"] == pytest.approx(fitted.error())
    assert poison.facts["objective_before"] == pytest.approx(surrogate.fit().loss())


class Killed(Exception):
    """What a test throws into a job."""


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_craft_that_was_interrupted_goes_on_to_the_same_poison(data: Dataset, tmp_path: Path, gradient: str):
    whole, place = crafted(data, gradient=gradient), Workspace(tmp_path, "1")
    lines: list[str] = []

    def interrupt(line: str) -> None:
        lines.append(line)
        if len(lines) == 2:
            raise Killed

    with pytest.raises(Killed):
        strategy.find("svm").function(
            dataclasses.replace(request_of(data, workspace=place, gradient=gradient), progress=interrupt)
        )
    rest: list[str] = []
    request = dataclasses.replace(request_of(data, workspace=place, gradient=gradient), progress=rest.append)
    resumed = strategy.find("svm").function(request)
    assert len(rest) == 1  # two of three points were finished
    np.testing.assert_array_equal(resumed.append_images, whole.append_images)
    same = {name: value for name, value in resumed.facts.items() if name != "seconds"}
    assert same == {name: value for name, value in whole.facts.items() if name != "seconds"}


def test_another_sweep_value_in_the_same_workspace_does_not_take_the_points(data: Dataset, tmp_path: Path):
    place = Workspace(tmp_path, "1")
    crafted(data, workspace=place)
    poison = crafted(data, workspace=place, steps=0)
    np.testing.assert_array_equal(poison.append_images, crafted(data, steps=0).append_images)


def test_the_surrogate_validates_on_points_that_it_is_not_trained_on(data: Dataset):
    generator = np.random.default_rng(0)
    training, validation = draw_sets(data, [0, 1], 30, 50, generator)
    assert np.bincount(training[1]).tolist() == [15, 15]
    assert np.bincount(validation[1]).tolist() == [25, 25]
    assert not {row.tobytes() for row in training[0]} & {row.tobytes() for row in validation[0]}
    # 40 points of a class are fewer than the 50 that are asked for: both sets get the same share.
    training, validation = draw_sets(data, [0, 1], 40, 60, generator)
    assert (len(training[1]), len(validation[1])) == (32, 48)
    held = split(data, 0, 0.2)
    _, validation = draw_sets(held, [0, 1], 40, 60, generator)
    known = {row.tobytes() for row in held.validation_images}
    assert len(validation[1]) == 16  # all that there are
    if data.train_images.dtype == np.float32:
        assert {row.astype(np.float32).tobytes() for row in validation[0]} <= known


@pytest.mark.parametrize(
    ("flip", "given", "message"),
    [
        (Flip(0, 3, 5), {}, r"strategy 'svm' gives a label of 'own' \(0 … 2\), not 3; change the poison's flips"),
        (Flip(0, 1, 50), {"unique": 50}, r"unique is 50, and the surrogate has 16 .* lower unique or raise points"),
        (Flip(0, 1, 5), {"unique": 0}, "unique is 0, allowed is 1 or more"),
        (Flip(0, 1, 5), {"points": 1}, "points is 1 and validation 60, allowed is at least 2"),
    ],
)
def test_what_cannot_be_crafted_is_refused_with_the_way_out(
    data: Dataset, flip: Flip, given: dict[str, Any], message: str
):
    with pytest.raises(InputError, match=message):
        strategy.find("svm").function(dataclasses.replace(request_of(data, **given), flip=flip))


# ------------------------------------------------------------------------------------------- analyses and figures


def subject(dataset: Dataset | None, name: str, **given: Any) -> Subject:
    parameters = analysis.find(name).settings(given, "own")
    return Subject(dataset, None, {}, "float32", {}, {}, parameters, "cpu", lambda line: None)


def test_the_table_of_gradients_says_that_the_exact_one_is_right_and_is_the_same_every_time():
    kind = analysis.find("svm_gradients")
    table = kind.function(subject(None, "svm_gradients", draws=4)).table
    pd.testing.assert_frame_equal(table, kind.function(subject(None, "svm_gradients", draws=4)).table)
    assert len(table) == 2 * 2 * 4
    smooth = table[~table["kink"]].groupby("gradient")
    assert smooth["cosine"].median()["exact"] > 0.999 > 0.9 > smooth["cosine"].median()["historical"]
    assert smooth["error"].median()["exact"] < 1e-6
    with pytest.raises(InputError, match="draws of svm_gradients is 0, allowed is 1 or more"):
        kind.function(subject(None, "svm_gradients", draws=0))


def test_a_difference_across_a_kink_is_flagged():
    fitted = problem("linear", 0)
    assert not differences(fitted, 1, STEP)[1]
    assert differences(fitted, 1, 1.0)[1]


def test_figures_draw_the_tables_as_the_analyses_make_them(data: Dataset):
    made = {
        "svm_gradients": analysis.find("svm_gradients").function(subject(None, "svm_gradients", draws=2)).table,
        "svm_single_point": single_points(
            data, {**analysis.find("svm_single_point").defaults, "pairs": [[0, 1], ["c", "b"]], "draws": 2, "steps": 3}
        ),
    }
    assert made["svm_single_point"]["pair"].unique().tolist() == ["a-b", "c-b"]
    for name, table in made.items():
        assert analysis.find(name).table in figure.find(name).needs
        draw(name, {name: table})


def test_a_pair_of_a_class_with_itself_is_refused(data: Dataset):
    parameters = {**analysis.find("svm_single_point").defaults, "pairs": [[1, "b"]]}
    with pytest.raises(InputError, match=r"pairs holds \[1, 'b'\], a class with itself; name two classes"):
        single_points(data, parameters)


def test_dots_of_the_figure_of_single_points_are_the_tables(data: Dataset):
    errors = [0.02, 0.04, 0.03, 0.05, 0.15, 0.25]
    table = pd.DataFrame(
        {"pair": "7-1", "draw": [0, 1] * 3, "what": np.repeat(["clean", "flipped", "crafted"], 2), "error": errors,
         "seconds": 0.5}
    )  # fmt: skip
    drawn, caption = draw("svm_single_point", {"svm_single_point": table})
    (panel,) = drawn.axes
    dots = [line.get_ydata() for line in panel.lines if line.get_gid() == "draw"]
    np.testing.assert_array_equal(np.concatenate(dots), errors)
    words = " ".join(caption.split())  # with plain spaces
    assert "from 3.0 % to 20.0 % [0.0 %, 83.5 %] (7-1)" in words  # t of two draws: 12.7 · 0.05 either way
    assert "published: into 15 % to 20 %, where 1 of 1 end." in words
    assert json.dumps(caption)


@pytest.fixture(scope="module")
def mnist(mirror: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    raw = tmp_path_factory.mktemp("raw")
    fetch("mnist", raw, mirror)
    return prepare("mnist", {"source": "mnist"}, raw)


def test_one_point_raises_the_error_on_mnist_as_published(mnist: Dataset):
    """Biggio et al.: from 2–5 % to 15–20 %. Found here, 10 draws: 7-1 1.8 to 17.5 %, 9-8 4.7 to 26.8 %, 4-0 0.8 to 21.7
    %; a flipped point raises none of them by more than 0.1 points.
    """
    parameters = {**analysis.find("svm_single_point").defaults, "pairs": [[7, 1]], "draws": 3}
    mean = single_points(mnist, parameters).groupby("what")["error"].mean()
    assert mean["clean"] < 0.04
    assert mean["flipped"] < 0.04
    assert mean["crafted"] > 0.12
