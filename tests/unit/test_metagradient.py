"""Metagradient poisons: what they ascend on, the gate before them, and a craft that goes on after a kill."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from poisonlab.datasets.dataset import Dataset
from poisonlab.datasets.splits import split
from poisonlab.errors import InputError
from poisonlab.poisons import ascent, unrolled
from poisonlab.poisons.crafting import craft
from poisonlab.poisons.poison import Poison
from poisonlab.poisons.strategies import metagradient
from poisonlab.poisons.strategies.metagradient import metasmoothness
from poisonlab.results.storage import Workspace

SMALL = {"ascents": 4, "epochs": 2, "points": 150, "model": "linear", "rate": 0.1, "batch_size": 64, "held_out": 100}
# A tenth of all training points, so that they change more than the next seed does.
STRONG = {"ascents": 12, "step": 0.08, "epochs": 5, "model": "linear", "rate": 0.2, "batch_size": 64, "outer": 500}


def crafted(dataset: Dataset, budget: int = 20, source: int = 1, target: int = 7, **more) -> Poison:
    settings = {
        "strategy": "metagradient",
        "parameters": SMALL | more.pop("parameters", {}),
        "flips": {"source": source, "target": target, "both": more.pop("both", False)},
        "budget": budget,
        "per": "pair",
        "sweep": "",
        "values": [None],
    }
    return craft(dataset, settings, {}, draw=2, device="cpu", **more)[0]


def content(poison: Poison) -> tuple:
    facts = {name: value for name, value in poison.facts.items() if name != "seconds"}
    return poison.append_images.tobytes(), poison.append_labels.tobytes(), facts


# ------------------------------------------------------------------------------------------------ the gate


def test_metasmoothness_is_the_agreement_of_signs_weighted_by_the_whole_change():
    start = torch.zeros(3)
    assert metasmoothness(start, torch.tensor([1.0, -2, 3]), torch.tensor([2.0, -4, 6])) == pytest.approx(1)
    assert metasmoothness(start, torch.tensor([4.0, -2, 3]), torch.tensor([2.0, -1, 1])) == pytest.approx(-1)
    # Weights of change 6 go on, weights of change 2 turn back.
    assert metasmoothness(start, torch.tensor([3.0, 4, 0]), torch.tensor([6.0, 2, 0])) == pytest.approx((6 - 2) / 8)
    assert metasmoothness(start, start, start) == 0


def test_chance_gives_the_metasmoothness_that_its_text_says():
    first, second, third = torch.randn(3, 10**6, generator=torch.Generator().manual_seed(0))
    # The standard error of a mean of 10⁶ numbers of order 1 is 0.001.
    assert metasmoothness(first, second, third) == pytest.approx(0, abs=0.005)
    assert metasmoothness(0 * first, second, second + third) == pytest.approx(np.sqrt(2) - 1, abs=0.005)


def smoothness_of(digits: Dataset, model: str, rate: float) -> tuple[float, float]:
    """Metasmoothness at flips of a tenth of the points, for a step of two hundredths, and the training accuracy."""
    generator = np.random.default_rng(0)
    images, labels = torch.from_numpy(digits.train_images[:500]), torch.from_numpy(digits.train_labels[:500])
    net = unrolled.network(model, (1, 8, 8), 10, 1)
    batches = unrolled.batches(1, 4, 500, 64)
    flips = (labels[450:] + 1) % 10
    own = unrolled.Descent(
        net, images[:450], labels[:450], flips, batches, unrolled.decayed(rate, len(batches), 0.1), 0.9
    )
    signs = torch.from_numpy(generator.choice(np.array([-1, 1], dtype=np.float32), size=(50, 1, 8, 8)))
    found = [unrolled.train(own, images[450:] + far * 0.02 * signs, 0).last.weights for far in range(3)]
    with torch.no_grad():
        right = float((net(found[0], images[:450]).argmax(1) == labels[:450]).float().mean())
    return metasmoothness(*found), right


def test_training_of_the_smooth_network_is_smoother_than_that_of_one_with_max_pooling_and_kinks(
    digits,
):
    # Rates at which both learn.
    smooth, accuracy = smoothness_of(digits, "smooth_cnn", 0.5)
    kinked, other_accuracy = smoothness_of(digits, "small_cnn", 0.2)
    assert min(accuracy, other_accuracy) > 0.5
    assert smooth > kinked


def test_a_training_that_is_not_smooth_is_said_to_be_so_in_the_log(digits, monkeypatch):
    lines: list[str] = []
    poison = crafted(digits, progress=lines.append)
    assert poison.facts["smoothness"] > metagradient.SMOOTH  # softmax regression
    assert not any("warning" in line for line in lines)
    monkeypatch.setattr(metagradient, "SMOOTH", 1.5)
    crafted(digits, progress=lines.append)
    assert sum("warning: metasmoothness" in line and "lower rate or fewer epochs" in line for line in lines) == 1


# ------------------------------------------------------------------------------------------------ the poison


@pytest.mark.parametrize("parameters", [{}, {"update": "normalised", "seeds": 2}, {"outer_loss": "soft_error"}])
def test_the_loss_on_points_that_no_ascent_used_rises_above_that_of_flips(digits, parameters):
    facts = crafted(digits, 100, parameters=STRONG | parameters).facts
    assert facts["outer_last"] > facts["outer_first"]
    assert facts["objective_after"] > 1.05 * facts["objective_before"]
    assert facts["unique"] == 100


def test_the_points_that_judge_are_used_by_no_ascent_and_the_outer_points_by_no_training(digits, monkeypatch):
    used: list[np.ndarray] = []
    tensors = ascent.tensors
    monkeypatch.setattr(
        ascent, "tensors", lambda data, index, device: (used.append(index), tensors(data, index, device))[1]
    )
    held: list[np.ndarray] = []
    divided = ascent.divided
    monkeypatch.setattr(ascent, "divided", lambda *given: (held.append(found := divided(*given)), found)[1])
    crafted(digits, parameters={"points": 0, "outer": 300})
    rest = held[0][2]
    assert len(rest) == len(digits.train_labels) - 100
    assert all(np.isin(index, rest).all() for index in used)
    # The gate, the judgement before, then outer points and training of each ascent, then the judgement after.
    outer, inner = used[2:-1:2], used[3:-1:2]
    assert [len(index) for index in outer] == [300] * 4
    assert all(not np.isin(one, two).any() for one, two in zip(outer, inner, strict=True))
    assert len(np.unique(np.concatenate(outer))) > 600  # drawn anew
    starts = crafted(digits, parameters={"ascents": 0}).append_images
    copied = {image.tobytes() for image in starts}
    assert all(digits.train_images[place].tobytes() not in copied for index in outer for place in index)


def test_a_validation_set_judges_where_the_data_set_has_one(digits, monkeypatch):
    divided = split(digits, 0, 0.3)
    asked: list[int] = []
    judged = ascent.judged
    monkeypatch.setattr(ascent, "judged", lambda *given: (asked.append(len(given[2])), judged(*given))[1])
    crafted(divided, parameters={"held_out": 200})
    assert asked == [200, 200]
    crafted(divided, parameters={"held_out": 5000})
    assert asked[2:] == [len(divided.validation_labels)] * 2


def test_a_step_follows_the_sign_of_the_derivative_of_the_whole_training(digits):
    one, starts = (crafted(digits, parameters={"ascents": number, "step": 0.01}) for number in (1, 0))
    moved = one.append_images - starts.append_images
    inside = (starts.append_images > 0.02) & (starts.append_images < 0.98)
    # A pixel without an influence stays; all others move by the step, in single precision.
    distance = np.abs(moved[inside])
    assert np.isclose(distance[distance > 0.005], 0.01, atol=1e-6).all()
    assert (distance[distance <= 0.005] < 1e-6).all()
    assert (distance > 0.005).mean() > 0.9


def test_points_are_bytes_where_the_data_are(digits):
    import dataclasses

    dataset = dataclasses.replace(digits, train_images=np.round(digits.train_images * 255).astype(np.uint8))
    poison = crafted(dataset)
    assert poison.append_images.dtype == np.uint8
    assert poison.append_images.tobytes() != crafted(dataset, parameters={"ascents": 0}).append_images.tobytes()


def test_what_is_not_allowed_is_refused_in_one_line(digits):
    for parameters, message in (
        ({"seeds": 0}, "strategy 'metagradient': seeds is 0, allowed is 1 or more"),
        ({"rate": 0.0}, "rate is 0, allowed is above 0"),
        ({"ascents": -1}, "ascents is -1, allowed is 0 or more"),
    ):
        with pytest.raises(InputError, match=message) as error:
            crafted(digits, parameters=parameters)
        assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------ going on after a kill


class Killed(Exception):
    """In place of a kill."""


@pytest.mark.parametrize("parameters", [{}, {"seeds": 2, "update": "normalised"}, {"model": "strided", "ascents": 3}])
def test_a_craft_that_ends_in_its_middle_goes_on_to_the_same_poison(digits, tmp_path, parameters):
    whole = crafted(digits, parameters=parameters)
    for last in (1, 2, 3):
        place = Workspace(tmp_path / str(last), "one")

        def progress(line: str, last: int = last) -> None:
            if line.startswith(f"ascent {last} "):
                raise Killed

        with pytest.raises(Killed):
            crafted(digits, parameters=parameters, workspace=place, progress=progress)
        lines: list[str] = []
        again = crafted(digits, parameters=parameters, workspace=place, progress=lines.append)
        assert content(again) == content(whole)
        ascents = [line for line in lines if line.startswith("ascent")]
        assert len(ascents) == parameters.get("ascents", 4) - last, "it began anew"


def test_of_several_pairs_those_that_are_done_are_not_crafted_again(digits, tmp_path):
    whole, place = crafted(digits, both=True), Workspace(tmp_path, "one")
    crafted(digits, both=True, workspace=place)
    lines: list[str] = []
    again = crafted(digits, both=True, workspace=place, progress=lines.append)
    assert lines == []
    assert content(again)[:2] == content(whole)[:2]


SCRIPT = """
import sys
from pathlib import Path
from poisonlab.datasets.prepare import prepare
from poisonlab.results.storage import Workspace
sys.path.insert(0, sys.argv[1])
from test_metagradient import crafted
digits = prepare("digits", {"source": "digits"})
place = Workspace(Path(sys.argv[2]), "one")
crafted(digits, parameters={"ascents": 8}, workspace=place, progress=lambda line: print(line, flush=True))
"""


def test_a_craft_that_is_killed_goes_on_to_the_same_poison(digits, tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("ascent 3 "):
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    lines: list[str] = []
    parameters = {"ascents": 8}
    again = crafted(digits, parameters=parameters, workspace=Workspace(tmp_path, "one"), progress=lines.append)
    assert int(lines[0].split()[1]) >= 4
    assert content(again) == content(crafted(digits, parameters=parameters))
