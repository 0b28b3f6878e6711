"""Adversarial accuracy is what `evaluate` says it is, for every goal."""

import numpy as np
import pandas as pd
import pytest
import torch

from poisonlab.attacks import settings
from poisonlab.attacks.pgd import Attack, perturb
from poisonlab.evaluation.robustness import COLUMNS, evaluate, evaluate_chunk
from poisonlab.models.inference import predict, rebuild
from poisonlab.results.storage import write_table

CPU = torch.device("cpu")
PGD = {
    "method": "pgd",
    "norm": "linf",
    "epsilon": [0.0, 0.05, 0.1],
    "steps": 5,
    "step_size": None,
    "random_start": False,
    "restarts": 1,
}


@pytest.fixture(scope="module")
def model(digits, digits_parameters):
    return rebuild("mlp", digits.input_shape, digits.num_classes, digits_parameters, CPU)


def fooled_and_right(model, digits, chosen, epsilon, targets):
    """What each number of PGD steps from none to all does to the chosen test points, without the active set."""
    images, labels = torch.from_numpy(digits.test_float()[chosen]), torch.from_numpy(digits.test_labels[chosen])
    fooled = torch.zeros(len(images), dtype=torch.bool)
    right = torch.zeros_like(fooled)
    for steps in range(PGD["steps"] + 1):
        settings = Attack(steps=max(steps, 1), step_size=2.5 / PGD["steps"])
        moved = perturb(model, images, labels, epsilon, settings, targets=targets) if steps else images
        answers = predict(model, moved)
        hit = answers != labels if targets is None else answers == targets
        # A point leaves at its first success, so its last answer is the one that fooled the model.
        right = torch.where(fooled, right, answers == labels)
        fooled |= hit
    return fooled.numpy(), right.numpy()


def test_targeted_adversarial_accuracy_is_the_share_of_the_source_class_that_does_not_become_the_target(digits, model):
    rows = evaluate(model, digits, "pgd", {**PGD, "goal": "target"}, 4, 5, CPU)
    chosen = np.flatnonzero(digits.test_labels == 4)
    assert [row["epsilon"] for row in rows] == PGD["epsilon"]
    for row in rows:
        fooled, right = fooled_and_right(model, digits, chosen, row["epsilon"], torch.full((len(chosen),), 5))
        assert (row["goal"], row["attack_source"], row["attack_target"], row["n_points"]) == (
            "targeted",
            4,
            5,
            len(chosen),
        )
        # Verdicts are equal; the means are taken in other orders.
        assert row["adversarial_accuracy"] == pytest.approx(1 - fooled.mean(), abs=1e-12)
        assert row["still_correct"] == pytest.approx(right.mean(), abs=1e-12)


def test_untargeted_adversarial_accuracy_is_the_share_of_all_test_points_that_stays_correct(digits, model):
    rows = evaluate(model, digits, "pgd", {**PGD, "goal": "untargeted"}, 4, 5, CPU)
    answers = predict(model, torch.from_numpy(digits.test_images)).numpy()
    assert rows[0]["adversarial_accuracy"] == pytest.approx((answers == digits.test_labels).mean(), abs=1e-12)
    for row in rows:
        fooled, _ = fooled_and_right(model, digits, slice(None), row["epsilon"], None)
        assert (row["goal"], row["attack_source"], row["n_points"]) == ("untargeted", None, len(digits.test_labels))
        assert row["adversarial_accuracy"] == row["still_correct"] == pytest.approx(1 - fooled.mean(), abs=1e-12)
    assert rows[0]["adversarial_accuracy"] > rows[-1]["adversarial_accuracy"]


def test_the_goal_next_gives_every_class_what_its_own_targeted_attack_gives(digits, model):
    rows = evaluate(model, digits, "pgd", {**PGD, "goal": "next"}, 4, 5, CPU)
    assert len(rows) == digits.num_classes * len(PGD["epsilon"])
    for source in (4, 9):
        target = (source + 1) % digits.num_classes
        alone = evaluate(model, digits, "pgd", {**PGD, "goal": "target"}, source, target, CPU)
        assert [row for row in rows if row["attack_source"] == source] == alone


def test_a_chunk_gives_a_row_for_every_victim_and_attack(digits, digits_parameters):
    identity = {
        "study": "s", "experiment": "e", "condition": "c", "axis_value": None, "draw": 0,
        "dataset": "digits", "model": "a name of a study's own", "recipe": "r", "precision": "float32",
    }  # fmt: skip
    victims = [({**identity, "repeat": repeat}, digits.num_classes, digits_parameters) for repeat in (0, 1)]
    attacks = {"pgd": {**PGD, "goal": "target"}, "fgsm": {**PGD, "goal": "target", "steps": 1}}
    lines: list[str] = []
    asked = {"model": "mlp", "attacks": {"c": attacks}, "flips": {"c": {"source": 4, "target": 5}}}
    frame = evaluate_chunk(victims, digits, asked, "cpu", lines.append)
    assert tuple(frame.columns) == COLUMNS
    assert any(line.startswith("1 of 2 victims evaluated; ") and line.endswith("points done") for line in lines)
    assert lines[-1] == "2 of 2 victims evaluated"
    assert frame.groupby(["repeat", "attack"]).size().to_dict() == {
        (repeat, attack): 3 for repeat in (0, 1) for attack in ("fgsm", "pgd")
    }
    # The same victim twice gives the same numbers; five steps of PGD fool at least as many points as one of FGSM here.
    first, second = (
        frame[frame["repeat"] == repeat].drop(columns="repeat").reset_index(drop=True) for repeat in (0, 1)
    )
    assert first.equals(second)
    largest = first[first["epsilon"] == 0.1].set_index("attack")["adversarial_accuracy"]
    assert largest["pgd"] <= largest["fgsm"]
    # Without a setting a step is 2.5 / steps of ε, a single one all of it.
    assert first.groupby("attack")[["step_size", "random_start", "restarts"]].first().T.to_dict("list") == {
        "fgsm": [1.0, False, 1], "pgd": [0.5, False, 1],
    }  # fmt: skip


def test_methods_stand_beside_each_other_in_one_table_that_can_be_stored(
    digits, digits_parameters, tmp_path, monkeypatch
):
    (tmp_path / "nothing_at_all.py").write_text(
        "import torch\n"
        "from poisonlab.attacks import Verdicts, attack\n\n"
        "@attack('idle')\n"
        "def idle(model, images, labels, epsilons, **options):\n"
        "    right = (model(images).argmax(1) == labels).repeat(len(epsilons), 1)\n"
        "    return Verdicts(~right, right)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    identity = {
        "study": "s", "experiment": "e", "condition": "c", "axis_value": None, "draw": 0, "repeat": 0,
        "dataset": "digits", "model": "mlp", "recipe": "r", "precision": "float32",
    }  # fmt: skip
    entries = {
        "pgd": {}, "auto": {"method": "apgd_dlr", "steps": 10}, "own": {"method": "nothing_at_all:idle"},
        "towards": {"method": "square", "queries": 50, "goal": "next", "epsilon": [0.3]},
    }  # fmt: skip
    attacks = {
        name: settings({"goal": "untargeted", "epsilon": [0.05], **entry}, f"attacks.{name}")
        for name, entry in entries.items()
    }
    frame = evaluate_chunk(
        [(identity, digits.num_classes, digits_parameters)],
        digits,
        {"model": "mlp", "attacks": {"c": attacks}, "flips": {"c": {"source": 4, "target": 5}}},
        "cpu",
    )
    write_table(frame, tmp_path / "robustness.parquet")
    stored = pd.read_parquet(tmp_path / "robustness.parquet")
    assert list(stored.columns)[-1] == "method"
    assert stored.groupby("attack").size().to_dict() == {"auto": 1, "own": 1, "pgd": 1, "towards": digits.num_classes}
    row = stored.drop_duplicates("attack").set_index("attack")
    assert row["method"].to_dict() == {name: attacks[name]["method"] for name in attacks}
    assert row["steps"].isna().to_dict() == {"pgd": False, "auto": False, "own": True, "towards": True}
    assert row["step_size"].isna().to_dict() == {"pgd": False, "auto": True, "own": True, "towards": True}
    assert row["random_start"].to_dict() == {"pgd": False, "auto": True, "own": None, "towards": True}
    # Nothing is attacked by `idle`, the two others leave less.
    assert row["adversarial_accuracy"]["own"] > max(row["adversarial_accuracy"][["pgd", "auto"]])
    targets = stored[stored["attack"] == "towards"]
    assert targets["goal"].unique().tolist() == ["targeted"]
    assert ((targets["attack_source"] + 1) % digits.num_classes == targets["attack_target"]).all()
    assert targets["adversarial_accuracy"].min() < 1
