"""Back-gradient poisons raise what they ascend on, and a craft that is killed goes on to the same poison."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.fetch import fetch
from poisonlab.datasets.prepare import prepare
from poisonlab.datasets.splits import split
from poisonlab.errors import InputError
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.poison import Poison
from poisonlab.results.storage import Workspace

SMALL = {"ascents": 6, "step": 0.03, "group": 8, "points": 200, "validation": 100, "epochs": 4, "truncation": 8}
# A tenth of all training points, so that they change more than the next seed does.
STRONG = {"ascents": 12, "step": 0.08, "group": 60, "points": 500, "validation": 500, "epochs": 10, "truncation": 500}


def crafted(dataset: Dataset, budget: int = 20, source: int | str = 1, target: int = 7, **more) -> Poison:
    settings = {
        "strategy": "back_gradient",
        "parameters": SMALL | more.pop("parameters", {}),
        "flips": {"source": source, "target": target, "both": more.pop("both", False)},
        "budget": budget,
        "per": "pair",
        "sweep": "",
        "values": [None],
    }
    return craft(dataset, settings, {}, draw=2, device="cpu", **more)[0]


def eight_bit(dataset: Dataset) -> Dataset:
    return dataclasses.replace(dataset, train_images=np.round(dataset.train_images * 255).astype(np.uint8))


def flips(dataset: Dataset, budget: int = 20) -> np.ndarray:
    """The copies that the poison of the same draw starts from."""
    return crafted(dataset, budget, parameters={"ascents": 0}).append_images


@pytest.mark.parametrize("update", ["sign", "normalised"])
def test_the_loss_of_a_new_surrogate_rises_above_that_of_flips(digits, update):
    losses: list[float] = []
    parameters = STRONG | {"update": update}
    facts = crafted(
        digits, 60, parameters=parameters, progress=lambda line: losses.append(float(line.split()[-1]))
    ).facts
    assert losses[-1] > 1.2 * losses[0]
    assert facts["objective_after"] > facts["objective_before"]
    assert facts["unique"] == 60
    assert facts["seconds"] > 0


def test_without_an_ascent_the_poison_is_flips_and_its_objective_stays(digits):
    poison = crafted(digits, parameters={"ascents": 0})
    assert poison.facts["objective_after"] == poison.facts["objective_before"]
    pool = digits.train_images[digits.train_labels == 1]
    assert all((image == pool).all(axis=(1, 2, 3)).any() for image in poison.append_images)
    assert (poison.append_labels == 7).all()
    assert len(poison.relabel_index) == 0


def test_every_point_of_every_group_is_edited_by_at_most_its_steps_and_stays_in_the_box(digits):
    poison, starts = crafted(digits), flips(digits)
    moved = np.abs(poison.append_images - starts)
    assert (moved.reshape(20, -1).max(axis=1) > 0).all()
    assert moved.max() <= 6 * 0.03 + 1e-6  # single precision
    assert poison.append_images.min() >= 0
    assert poison.append_images.max() <= 1


def test_where_pixels_are_bytes_the_poison_is_of_bytes_and_judged_as_such(digits):
    dataset = eight_bit(digits)
    poison = crafted(dataset)
    assert poison.append_images.dtype == np.uint8
    assert np.abs(poison.append_images.astype(int) - flips(dataset).astype(int)).max() <= round(6 * 0.03 * 255) + 1
    whole = crafted(dataset, parameters={"points": 0, "ascents": 0}).facts
    assert whole["objective_after"] == whole["objective_before"]  # bytes / 255 are what the poison began with


def test_a_validation_set_is_used_where_the_data_set_has_one(digits):
    divided = split(digits, 0, 0.3)
    other = dataclasses.replace(divided, validation_labels=(divided.validation_labels + 1) % 10)
    one, two = crafted(divided), crafted(other)
    np.testing.assert_array_equal(one.append_labels, two.append_labels)
    assert not np.array_equal(one.append_images, two.append_images)
    assert two.facts["objective_before"] > one.facts["objective_before"]


def test_truncation_changes_the_derivative_and_more_steps_than_there_are_do_not(digits):
    all_steps, beyond, few = (crafted(digits, 8, parameters={"truncation": number}) for number in (500, 10_000, 2))
    assert all_steps.append_images.tobytes() == beyond.append_images.tobytes()
    assert all_steps.append_images.tobytes() != few.append_images.tobytes()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"group": 0}, "group is 0, allowed is 1 or more"),
        ({"step": 0.0}, "step is 0, allowed is above 0"),
        ({"momentum": 1.0}, "momentum is 1, allowed is 0 up to below 1"),
        ({"truncation": 0}, "truncation is 0, allowed is 1 or more"),
        ({"model": "smooth_cnn"}, "model 'smooth_cnn' cannot be built for inputs"),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_line(parameters, message):
    points = np.random.default_rng(0).random((60, 5), dtype=np.float32)
    labels, index = np.arange(60) % 3, np.arange(60)
    vectors = Dataset("vectors", points, labels, points[:3], labels[:3], ("a", "b", "c"), (0, 1), index, index[:3])
    with pytest.raises(InputError, match=message) as error:
        crafted(vectors, 4, target=2, parameters=parameters)
    assert "\n" not in str(error.value)


def test_a_budget_that_leaves_nothing_to_hold_out_is_refused():
    points, labels = np.zeros((20, 5), dtype=np.float32), np.array([1] * 20)
    index = np.arange(20)
    one = Dataset("ones", points, labels, points[:3], labels[:3], ("a", "b"), (0, 1), index, index[:3])
    with pytest.raises(InputError, match=r"budget 20 leaves 0 of 20; lower the poison's budget"):
        crafted(one, 20, target=0)


# ------------------------------------------------------------------------------------------------ going on after a kill


class Killed(Exception):
    """In place of a kill."""


def killed_after(lines: int):
    """Progress that fails at its so manieth line."""
    seen: list[str] = []

    def progress(line: str) -> None:
        seen.append(line)
        if len(seen) == lines:
            raise Killed

    return progress


def content(poison: Poison) -> tuple:
    facts = {name: value for name, value in poison.facts.items() if name != "seconds"}
    return poison.append_images.tobytes(), poison.append_labels.tobytes(), facts


@pytest.mark.parametrize("parameters", [{}, {"retrain": 2}, {"retrain": 6, "update": "normalised"}])
def test_a_craft_that_ends_in_its_middle_goes_on_to_the_same_poison(digits, tmp_path, parameters):
    whole = crafted(digits, parameters=parameters)
    for lines in (3, 6, 12, 17):  # of three groups of six ascents
        place = Workspace(tmp_path / str(lines), "one")
        with pytest.raises(Killed):
            crafted(digits, parameters=parameters, workspace=place, progress=killed_after(lines))
        lines_after: list[str] = []
        again = crafted(digits, parameters=parameters, workspace=place, progress=lines_after.append)
        assert content(again) == content(whole)
        assert len(lines_after) <= 18 - lines + 5, "it began anew"


def test_of_several_pairs_those_that_are_done_are_not_crafted_again(digits, tmp_path):
    whole, place = crafted(digits, 8, both=True), Workspace(tmp_path, "one")
    with pytest.raises(Killed):
        crafted(digits, 8, both=True, workspace=place, progress=killed_after(9))
    lines: list[str] = []
    again = crafted(digits, 8, both=True, workspace=place, progress=lines.append)
    assert len(lines) <= 12 - 9 + 5
    assert content(again)[:2] == content(whole)[:2]
    names = {name for name in whole.facts if not name.startswith("seconds")}
    assert {name: again.facts[name] for name in names} == {name: whole.facts[name] for name in names}


SCRIPT = """
import sys
from pathlib import Path
from poisonlab.datasets.prepare import prepare
from poisonlab.results.storage import Workspace
sys.path.insert(0, sys.argv[1])
from test_back_gradient import crafted
digits = prepare("digits", {"source": "digits"})
crafted(digits, workspace=Workspace(Path(sys.argv[2]), "one"), progress=lambda line: print(line, flush=True))
"""


def test_a_craft_that_is_killed_goes_on_to_the_same_poison(digits, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("group 2 of 3, ascent 6"):
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    lines: list[str] = []
    again = crafted(digits, workspace=Workspace(tmp_path, "one"), progress=lines.append)
    assert lines[0].startswith("group 2 of 3, ascent ")
    assert content(again) == content(crafted(digits))


def test_checkpoints_of_other_parameters_are_not_taken(digits, tmp_path):
    place = Workspace(tmp_path, "one")
    with pytest.raises(Killed):
        crafted(digits, workspace=place, progress=killed_after(8))
    other = {"step": 0.02}
    assert content(crafted(digits, parameters=other, workspace=place)) == content(crafted(digits, parameters=other))


# ------------------------------------------------------------------------------------------------ real images


def test_on_mnist_the_loss_of_a_linear_classifier_rises_above_that_of_flips(tmp_path):
    folder = os.environ.get("POISONLAB_MIRROR")
    if not folder:
        pytest.skip("needs the real MNIST: set POISONLAB_MIRROR to a folder that holds it")
    fetch("mnist", tmp_path / "raw", Path(folder))
    dataset = prepare("mnist", {"source": "mnist"}, tmp_path / "raw")
    begun = time.monotonic()
    parameters = STRONG | {"ascents": 8, "group": 50, "epochs": 5, "validation": 1000}
    losses: list[float] = []
    facts = crafted(
        dataset,
        50,
        source=1,
        target=7,
        parameters=parameters,
        progress=lambda line: losses.append(float(line.split()[-1])),
    ).facts
    assert losses[-1] > 1.2 * losses[0]
    assert facts["seconds"] <= time.monotonic() - begun
