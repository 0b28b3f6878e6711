"""Features that attacks leave out: an attack is then the same attack in the space of the others."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from poisonlab import attacks, models
from poisonlab.attacks.paths import path_lengths, path_points
from poisonlab.attacks.pgd import attack, perturb
from poisonlab.attacks.steps import Attack
from poisonlab.datasets.dataset import Dataset, make_dataset
from poisonlab.errors import InputError
from poisonlab.evaluation.masking import check
from poisonlab.evaluation.probes import lipschitz
from poisonlab.evaluation.robustness import evaluate
from poisonlab.poisons.poison import Poison, TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.guards import guard
from poisonlab.victims.objectives import Context, adversarial, objective
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

FREE = torch.tensor([True, False, True, True, False, True, False, True])
RADII = [0.5, 0.0, 1.0]
# In double precision the two sides differ by rounding alone, 1e-16 in each of some hundred operations.
ROUNDING = 1e-12
STEADY = [Attack(), Attack("l2"), Attack(steps=1)]
RANDOM = [
    Attack(steps=5, random_start=True, restarts=2),
    Attack(steps=1, step_size=0.5, random_sign=0.5),
    Attack("l2", steps=5, random_start=True, restarts=2),
]


class Restricted(nn.Module):
    """A model of the free features of one point, whose other features stay what they are."""

    def __init__(self, model: nn.Module, point: Tensor) -> None:
        super().__init__()
        self.model, self.point = model, point

    def forward(self, inputs: Tensor) -> Tensor:
        whole = self.point.repeat(len(inputs), 1)
        return self.model(torch.index_put(whole, (torch.arange(len(inputs))[:, None], FREE.nonzero()[:, 0]), inputs))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return models.build("mlp", (8,), 3, seed=0).double().eval()


@pytest.fixture(scope="module")
def points(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Points with the labels that the model gives them, so that an attack has something to do."""
    inputs = torch.randn(24, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        return inputs, model(inputs).argmax(1)


def data(free: np.ndarray | None = None) -> Dataset:
    generator = np.random.default_rng(0)
    inputs, labels = generator.normal(size=(24, 8)).astype(np.float32), np.arange(24) % 3
    whole = make_dataset("made", (inputs, labels), (inputs, labels), ("a", "b", "c"), None)
    return dataclasses.replace(whole, free=free)


@pytest.mark.parametrize("how", STEADY, ids=str)
@pytest.mark.parametrize("targeted", [False, True])
def test_pgd_is_pgd_on_the_free_features_with_the_others_as_they_are(model, points, how, targeted):
    images, labels = points
    targets = (labels + 1) % 3 if targeted else None
    moved = perturb(model, images, labels, 1.0, how, targets=targets, box=None, free=FREE)
    whole = attack(model, images, labels, RADII, how, targets=targets, box=None, free=FREE)
    assert whole.fooled.any()
    assert not whole.fooled.all()
    assert torch.equal(moved[:, ~FREE], images[:, ~FREE])
    for place in range(len(images)):
        inside, own = Restricted(model, images[place]), slice(place, place + 1)
        given = {"targets": None if targets is None else targets[own], "box": None}
        alone = perturb(inside, images[own][:, FREE], labels[own], 1.0, how, **given)
        found = attack(inside, images[own][:, FREE], labels[own], RADII, how, **given)
        torch.testing.assert_close(moved[place, FREE], alone[0], rtol=0, atol=ROUNDING)
        assert torch.equal(found.fooled[:, 0], whole.fooled[:, place])
        assert torch.equal(found.correct[:, 0], whole.correct[:, place])


@pytest.mark.parametrize("how", RANDOM, ids=str)
def test_a_random_start_is_that_of_the_space_of_the_free_features(how):
    """With a model that is the same everywhere in the other features, all points can be attacked at once."""
    small = models.build("mlp", (5,), 3, seed=0).double().eval()

    class Blind(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return small(inputs[:, FREE])

    images = torch.randn(24, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    labels = small(images[:, FREE]).argmax(1)
    here = attack(Blind(), images, labels, RADII, how, box=None, free=FREE, seed=3)
    there = attack(small, images[:, FREE], labels, RADII, how, box=None, seed=3)
    assert torch.equal(here.fooled, there.fooled)
    assert here.fooled.any()
    moved = perturb(Blind(), images, labels, 0.7, how, box=None, free=FREE, seed=3)
    alone = perturb(small, images[:, FREE], labels, 0.7, how, box=None, seed=3)
    torch.testing.assert_close(moved[:, FREE], alone, rtol=0, atol=ROUNDING)


def test_a_path_is_the_path_in_the_space_of_the_free_features(model, points):
    images, labels = points
    targets = (labels + 1) % 3
    steps, reached = path_lengths(model, lambda where: images[where], labels, 0.05, 60, targets=targets, free=FREE)
    paths = path_points(model, images, targets, 0.05, 60, free=FREE)
    for place, path in enumerate(paths):
        inside, own = Restricted(model, images[place]), images[place : place + 1, FREE]
        (alone,) = path_points(inside, own, targets[place : place + 1], 0.05, 60)
        torch.testing.assert_close(path[:, FREE], alone, rtol=0, atol=ROUNDING)
        assert torch.equal(path[:, ~FREE], images[place, ~FREE].expand(len(path), -1))
        assert steps[place] == len(alone) - 1
    assert reached.any()


def test_the_local_lipschitz_constant_is_that_of_the_free_features(model, points):
    images = points[0]
    found = lipschitz(model, images, FREE)
    for place in (0, 7):
        alone = lipschitz(Restricted(model, images[place]), images[place : place + 1, FREE])
        torch.testing.assert_close(found[place], alone[0].to(found), rtol=1e-6, atol=0)  # the sum is in float32


def test_nothing_is_left_out_where_all_features_are_free(model, points):
    all_free = torch.ones(8, dtype=torch.bool)
    for how in STEADY + RANDOM:
        moved = [perturb(model, *points, 0.5, how, box=None, free=free) for free in (None, all_free)]
        assert torch.equal(*moved)


@pytest.mark.parametrize("name", attacks.attack.entries())
def test_an_attack_of_the_catalogue_holds_features_or_says_that_it_cannot(name):
    """On images, which all of them take."""
    net = models.build("mlp", (1, 4, 4), 3, seed=0).eval()
    images = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    free = torch.ones(1, 4, 4, dtype=torch.bool)
    free[0, :, 2:] = False
    labels = net(images).argmax(1)  # so that there is something to do
    method, seen = attacks.attack.find(name), []
    chosen = attacks.settings({"method": name, "epsilon": [0.2], "goal": "untargeted"}, "attacks.it")
    net.register_forward_pre_hook(lambda own, inputs: seen.append(inputs[0].detach()))
    if not method.holds:
        with pytest.raises(
            InputError, match=f"attacks.it: '{name}' cannot leave features out, and 8 of 16 .*take fgsm"
        ):
            attacks.run(chosen, "attacks.it", net, images, labels, free=free)
        return
    attacks.run(chosen, "attacks.it", net, images, labels, free=free)
    held = {tuple(image[0, :, 2:].flatten().tolist()) for image in images}
    shown = torch.cat(seen)[:, 0]
    assert {tuple(image[:, 2:].flatten().tolist()) for image in shown} == held
    assert len(shown.unique(dim=0)) > len(images)


MOVING = ("adversarial", "mixed", "n_fgsm", "fgsm_pgi", "trades", "nuat", "static_mix")
EVERY_PART = [(objective, name) for name in objective.entries()] + [(guard, name) for name in guard.entries()]


@pytest.mark.parametrize(("catalogue", "name"), EVERY_PART, ids=lambda one: one if isinstance(one, str) else one.kind)
@pytest.mark.parametrize("epoch", [0, 1])
def test_what_moves_images_in_training_leaves_the_same_features_out(catalogue, name, epoch):
    net = models.build("mlp", (8,), 3, seed=0).train()
    images = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    labels, seen = torch.arange(16) % 3, []
    context = Context(
        5, 7, 0.5, None, epoch=epoch, epoch_of_phase=epoch, positions=torch.arange(16), points=16, free=FREE
    )
    net.register_forward_pre_hook(lambda own, inputs: seen.append(inputs[0].detach()))
    entry = catalogue.find(name)
    for _ in range(2):  # a guard looks at the state that the phase begins with first
        entry.function(net, images, labels, context, **entry.defaults)
    shown = torch.cat(seen)
    held = {tuple(point.tolist()) for point in images[:, ~FREE]}
    assert {tuple(point.tolist()) for point in shown[:, ~FREE]} == held
    moves = catalogue is guard or name in MOVING
    assert (len(shown[:, FREE].unique(dim=0)) > 16) == moves


def test_a_training_hands_the_features_to_its_objective(monkeypatch):
    seen, moved = [], adversarial.moved

    def noted(model: nn.Module, images: Tensor, *rest: object, **own: object) -> Tensor:
        seen.append((images, moved(model, images, *rest, **own)))
        return seen[-1][1]

    monkeypatch.setattr(adversarial, "moved", noted)
    dataset = data(FREE.numpy())
    own = TrainingSet(dataset.train_images, dataset.train_labels, 3, np.arange(0))
    recipe = Recipe.of({"epochs": 2, "batch_size": 8, "objective": "adversarial"}, "recipes.own")
    list(train([VictimJob("one", own, 0, free=dataset.free)], "mlp", recipe))
    assert len(seen) == 6
    for before, after in seen:
        assert torch.equal(before[:, ~FREE], after[:, ~FREE])
        assert (before[:, FREE] != after[:, FREE]).any()


def test_the_evaluation_of_a_data_set_leaves_its_features_out():
    dataset, net = data(FREE.numpy()), models.build("mlp", (8,), 3, seed=0).eval()
    settings = attacks.settings({"epsilon": [1.0], "goal": "untargeted"}, "attacks.it")
    (row,) = evaluate(net, dataset, "it", settings, 0, 1, torch.device("cpu"))
    verdicts = attack(
        net,
        torch.from_numpy(dataset.test_images),
        torch.from_numpy(dataset.test_labels),
        [1.0],
        Attack(),
        box=None,
        free=FREE,
    )
    (free,) = evaluate(net, data(), "it", settings, 0, 1, torch.device("cpu"))
    assert row["adversarial_accuracy"] == float((~verdicts.fooled).double().mean())
    assert row["adversarial_accuracy"] > free["adversarial_accuracy"]


def test_the_checks_of_robustness_leave_them_out(model, points):
    images, labels = points[0].float(), points[1]
    net, other = models.build("mlp", (8,), 3, seed=0).eval(), models.build("mlp", (8,), 3, seed=1).eval()
    narrow, wide = (check(net, images, labels, 1.0, None, other, free) for free in (FREE, None))
    assert narrow["plain"] > wide["plain"]


def test_a_data_set_with_features_left_out_comes_back_from_its_file_and_has_its_own_digest(tmp_path):
    held, plain = data(FREE.numpy()), data()
    held.save(tmp_path / "held.safetensors")
    back = Dataset.load(tmp_path / "held.safetensors")
    assert back.free is not None
    assert back.free.dtype == bool
    assert np.array_equal(back.free, FREE.numpy())
    assert back.digest == held.digest != plain.digest


def test_a_poison_may_copy_what_is_left_out_but_not_move_it():
    dataset = data(FREE.numpy())
    labels = np.array([1])
    for feature, allowed in ((0, True), (1, False)):
        images = dataset.train_images[:1].copy()
        images[0, feature] += 0.25
        poison = Poison(3, append_images=images, append_labels=labels)
        if allowed:
            poison.validate(dataset)
        else:
            with pytest.raises(
                InputError, match="move features of 'made' that attacks leave out; take a strategy that"
            ):
                poison.validate(dataset)
