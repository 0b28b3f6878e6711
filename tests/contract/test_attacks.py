"""What every registered attack keeps to, and one of one's own; what each says against independent references."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchattacks
from pyautoattack import AutoAttack
from torch import Tensor, nn

from poisonlab import attacks
from poisonlab.attacks import Verdicts
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models import build
from poisonlab.models.inference import rebuild

QUICK = {"steps": 8, "queries": 60}  # in place of a method's own, where it has such a parameter
RADII = {"linf": 0.08, "l2": 0.6}
OWN = '''
import torch
from poisonlab.attacks import Verdicts, attack

@attack("noise", source="", parameters={"tries": 20, "wrong": False}, norms=("linf",))
def noise(model, images, labels, epsilons, *, norm, targets, box, seed, progress, tries, wrong):
    """Uniform noise in the ball."""
    generator = torch.Generator().manual_seed(seed)
    fooled, correct = [], []
    for epsilon in epsilons:
        hit, right = (torch.zeros(len(labels), dtype=torch.bool) for _ in range(2))
        for _ in range(tries):
            offset = epsilon * (2 * torch.rand(images.shape, generator=generator) - 1)
            moved = images + offset if box is None else (images + offset).clamp(*box)
            with torch.no_grad():
                predicted = model(moved).argmax(1)
            right = torch.where(hit, right, predicted == labels)
            hit |= predicted != labels if targets is None else predicted == targets
        fooled.append(hit)
        correct.append(right)
    return Verdicts(torch.stack(fooled).float() if wrong else torch.stack(fooled), torch.stack(correct))
'''
NAMES = [*attacks.attack.entries(), "an_attack:noise"]
every_attack = pytest.mark.parametrize("name", NAMES)
every_norm = pytest.mark.parametrize(
    ("name", "norm"),
    [(name, norm) for name in NAMES for norm in (("linf",) if ":" in name else attacks.attack.find(name).norms)],
)


@pytest.fixture(autouse=True, scope="module")
def _own_module(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp("own")
    (folder / "an_attack.py").write_text(OWN)
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def model(digits_parameters: dict[str, np.ndarray]) -> nn.Module:
    return rebuild("mlp", (1, 8, 8), 10, digits_parameters, torch.device("cpu"))


@pytest.fixture(scope="module")
def points(digits: Dataset) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(digits.test_float()[:60]), torch.from_numpy(digits.test_labels[:60])


def chosen(name: str, epsilon: list[float], **entry: Any) -> dict[str, Any]:
    """Settings of a quick and, where it can be no other, untargeted attack."""
    method = attacks.attack.find(name)
    quick = {key: value for key, value in QUICK.items() if key in method.parameters}
    return attacks.settings({"method": name, "epsilon": epsilon, "goal": "untargeted", **quick, **entry}, "attacks.it")


def run(settings: dict[str, Any], model: nn.Module, images: Tensor, labels: Tensor, **options: Any) -> Verdicts:
    return attacks.run(settings, "attacks.it", model, images, labels, **options)


class Recording(nn.Module):
    """Keeps every input that it gets."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.inputs = model, []

    def forward(self, inputs: Tensor) -> Tensor:
        self.inputs.append(inputs.detach().clone())
        return self.model(inputs)


class Linear(nn.Module):
    """Logits of images [n, 1, 8, 8], scaled."""

    def __init__(self, classes: int, scale: float = 1.0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(classes)
        self.weights = nn.Parameter(torch.randn(classes, 64, generator=generator) * scale)

    def forward(self, inputs: Tensor) -> Tensor:
        return (inputs.flatten(1) - 0.5) @ self.weights.T


def grey_images(count: int) -> Tensor:
    """Images so far from the ends of [0, 1] that the box does not bind within ε ≤ 0.3."""
    return 0.4 + 0.2 * torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


# -------------------------------------------------------------------------------- for every attack


@every_norm
@pytest.mark.parametrize("goal", ["untargeted", "targeted"])
def test_every_image_that_the_model_is_shown_lies_in_the_ball_and_in_the_box(model, points, name, norm, goal):
    images, labels = points
    targets = None
    if goal == "targeted":
        if not attacks.attack.find(name).targeted:
            pytest.skip("is untargeted only")
        targets = (labels + 1) % 10
    recording, epsilon = Recording(model), RADII[norm]
    goals = {"goal": "next"} if targets is not None else {}
    run(chosen(name, [epsilon], norm=norm, **goals), recording, images, labels, targets=targets)
    seen = torch.cat(recording.inputs)
    distances = torch.cdist(seen.flatten(1), images.flatten(1), p=torch.inf if norm == "linf" else 2)
    nearest = distances.amin(1)
    # float32: cdist in l2 squares and subtracts, which leaves some 1e-4 of a small distance
    assert nearest.max() <= epsilon + (1e-6 if norm == "linf" else 1e-3)
    assert nearest.max() > 0.5 * epsilon  # the ball is used
    assert seen.min() >= 0
    assert seen.max() <= 1


@every_norm
def test_at_radius_zero_an_attack_says_what_the_model_says_itself(model, points, name, norm):
    images, labels = points
    verdicts = run(chosen(name, [0.0], norm=norm), model, images, labels)
    wrong = model(images).argmax(1) != labels
    assert torch.equal(verdicts.fooled[0], wrong)
    assert torch.equal(verdicts.correct[0], ~wrong)


@every_norm
def test_a_larger_radius_fools_more_points(model, points, name, norm):
    images, labels = points
    small, large = RADII[norm] / 4, 2 * RADII[norm]
    # The radii are attacked apart, and not in the order of their sizes.
    fooled = run(chosen(name, [large, 0.0, small], norm=norm), model, images, labels).fooled.double().mean(1)
    slack = 2 / len(labels)  # two points: a step of another length may miss what a shorter one hits
    assert fooled[0] >= fooled[2] - slack
    assert fooled[2] >= fooled[1] - slack
    if ":" not in name:  # noise hardly fools anything
        assert fooled[0] > fooled[1] + 0.2


@every_attack
def test_the_seed_alone_decides_and_the_global_generator_is_left_as_it_was(model, points, name):
    images, labels = points
    settings = chosen(name, [0.05])
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first = run(settings, model, images, labels, seed=5)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(8)
    again = run(settings, model, images, labels, seed=5)
    assert torch.equal(first.fooled, again.fooled)
    assert torch.equal(first.correct, again.correct)


@every_attack
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_attacked_in_evaluation_mode_and_left_as_it_was(points, name, fails):
    images, labels = points
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.9), nn.Linear(32, 10)).train()
    model[1].eval().requires_grad_(False)
    before = [(part.training, [p.requires_grad for p in part.parameters()]) for part in model.modules()]
    settings = chosen(name, [0.05])
    if fails:
        with pytest.raises(RuntimeError):
            run(settings, model, torch.rand(2, 1, 4, 4), labels[:2])
    else:
        # Dropout of 90 % would not give the same verdicts twice.
        first, second = (run(settings, model, images, labels) for _ in range(2))
        assert torch.equal(first.fooled, second.fooled)
    assert [(part.training, [p.requires_grad for p in part.parameters()]) for part in model.modules()] == before
    assert all(parameter.grad is None for parameter in model.parameters())


@every_norm
def test_the_layout_of_images_and_network_in_memory_changes_nothing(name, norm):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 4)).eval()
    images = torch.rand(40, 3, 8, 8)
    labels = network(images).argmax(1)
    settings = chosen(name, [RADII[norm] / 8], norm=norm)
    plain = run(settings, network, images, labels).fooled
    across = images.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not across.is_contiguous()
    last = network.to(memory_format=torch.channels_last)
    for others in (images.to(memory_format=torch.channels_last), across):
        # Convolutions of another layout round otherwise: a point at the boundary may turn.
        assert (run(settings, last, others, labels).fooled != plain).sum() <= 1
    assert ":" in name or 0 < plain.double().mean() < 1


@every_norm
@pytest.mark.parametrize("network", ["pooled", "strided", "conv_pool", "small_cnn"])
def test_the_networks_of_the_catalogue_can_be_attacked(name, norm, network):
    model = build(network, (1, 28, 28), 3, seed=0).to(memory_format=torch.channels_last)
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = model.eval()(images).argmax(1)
    epsilon = 0.3 if norm == "linf" else 5.0
    verdicts = run(chosen(name, [0.0, epsilon], norm=norm), model, images, labels)
    assert not verdicts.fooled[0].any()
    assert name not in ("pgd", "apgd_ce", "apgd_dlr", "apgd_margin") or verdicts.fooled[1].any()


# -------------------------------------------------------------------------------- against a closed form


@pytest.mark.parametrize("classes", [2, 3, 10])
@every_norm
def test_a_linear_model_is_fooled_where_its_margin_is_less_than_what_the_radius_can_move(name, norm, classes):
    # Untargeted, the ball reaches class c from class y where ε·‖w_c − w_y‖, of the dual norm, exceeds z_y − z_c.
    if classes < attacks.attack.find(name).least_classes:
        pytest.skip("needs more classes")
    model, images = Linear(classes), grey_images(200)
    logits = model(images).detach()
    labels = logits.argmax(1)
    epsilon = {"linf": 0.006, "l2": 0.04}[norm] * {2: 1, 3: 1, 10: 0.5}[classes]
    reach = (model.weights - model.weights[labels][:, None]).norm(
        p=1 if norm == "linf" else 2, dim=2
    ).detach() * epsilon
    excess = (reach - (logits.gather(1, labels[:, None]) - logits)).scatter(1, labels[:, None], -torch.inf).amax(1)
    fooled = run(
        chosen(name, [epsilon], norm=norm, **({"steps": 40} if name[:4] in ("pgd", "apgd") else {})),
        model,
        images,
        labels,
    ).fooled[0]
    clear = excess.abs() > 0.05 * reach.amax(1)  # nearer to the boundary rounding, and the last steps' length, decide
    assert 0.2 < (excess > 0).double().mean() < 0.95  # points of both kinds take part
    assert not (fooled & (excess < 0) & clear).any()
    if name in ("pgd", "fgsm", "apgd_ce", "apgd_dlr", "apgd_margin"):
        missed = (~fooled & (excess > 0) & clear).double().mean()
        # With two classes every gradient points to the other one. With more a step may follow the wrong one.
        assert missed == 0 if classes == 2 else missed < 0.1


# -------------------------------------------------------------------------------- against published libraries


@pytest.mark.parametrize("name", ["fgsm", "pgd"])
@pytest.mark.parametrize("goal", ["untargeted", "next"])
def test_fgsm_and_pgd_fool_the_points_that_torchattacks_fools(model, points, name, goal):
    images, labels = points
    targets = (labels + 1) % 10 if goal == "next" else None
    wanted, steps = torch.zeros(len(labels), dtype=torch.bool), QUICK["steps"]
    epsilon = 0.06 if goal == "untargeted" else 0.15
    # Any iterate counts: the image itself, and theirs after each number of steps.
    iterates = [images]
    for number in [1] if name == "fgsm" else range(1, steps + 1):
        length = epsilon if name == "fgsm" else 2.5 * epsilon / steps
        theirs = torchattacks.PGD(model, eps=epsilon, alpha=length, steps=number, random_start=False)
        theirs = torchattacks.FGSM(model, eps=epsilon) if name == "fgsm" else theirs
        if targets is not None:
            theirs.set_mode_targeted_by_label(quiet=True)
        iterates.append(theirs(images, labels if targets is None else targets))
    for iterate in iterates:
        predicted = model(iterate).argmax(1)
        wanted |= predicted != labels if targets is None else predicted == targets
    verdicts = run(chosen(name, [epsilon], goal=goal), model, images, labels, targets=targets)
    assert torch.equal(verdicts.fooled[0], wanted)
    assert 0.1 < wanted.double().mean() < 0.95


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "square"])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_verdicts_are_those_of_autoattack_for_every_point(digits, name, norm, classes):
    if (name, classes) == ("apgd_dlr", 2):
        pytest.skip("two classes have no such loss")
    model = build("mlp", (1, 8, 8), classes, seed=0).eval()
    images = torch.from_numpy(digits.test_float()[:300])  # more than are attacked at a time
    with torch.no_grad():
        list(model.parameters())[-1].sub_(model(images).mean(0))  # no class is the rule: margins are small
    labels = model(images).argmax(1)
    labels[:20] = (labels[:20] + 1) % classes  # some are wrong from the start
    epsilon = {"linf": 0.02, "l2": 0.15}[norm]
    fooled = run(chosen(name, [epsilon], norm=norm), model, images, labels, seed=3).fooled[0]
    theirs = AutoAttack(
        model, eps=epsilon, norm=norm.capitalize(), seed=3, version="custom", attacks=[name.replace("_", "-")]
    )
    theirs.square.n_queries = QUICK["queries"]
    # Made anew: its checkpoints follow the number of steps.
    theirs.apgd.__init__(model, n_iter=QUICK["steps"], eps=epsilon, norm=norm.capitalize(), device="cpu")
    parts = [theirs.run_standard_evaluation(images[part], labels[part]) for part in (slice(0, 250), slice(250, 300))]
    wanted = torch.cat([predicted for _, predicted in parts]) != labels
    assert torch.equal(fooled, wanted)
    assert fooled[:20].all()
    assert 0.05 < fooled[20:].double().mean() < 0.95


def test_for_two_classes_the_margin_fools_what_the_cross_entropy_fools_and_goes_on_where_that_is_flat(digits):
    # The cross-entropy of two classes is a rising function of the margin: both have the same signs. Large logits
    # flatten the cross-entropy alone.
    images = grey_images(200)
    plain, steep = Linear(2), Linear(2, scale=2.0**10)
    labels = plain(images).argmax(1)

    def fooled(name: str, model: nn.Module) -> Tensor:
        return run(chosen(name, [0.02]), model, images, labels).fooled[0]

    assert torch.equal(fooled("apgd_margin", plain), fooled("apgd_ce", plain))
    assert torch.equal(fooled("apgd_margin", steep), fooled("apgd_margin", plain))  # a power of two changes no bit
    assert fooled("apgd_ce", steep).sum() < fooled("apgd_margin", steep).sum() / 2


# -------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("name", ["apgd_ce", "apgd_dlr", "apgd_margin", "square"])
def test_attacks_of_images_refuse_vectors_and_name_what_takes_them(name):
    model, vectors, labels = nn.Linear(64, 10), torch.randn(5, 64), torch.zeros(5, dtype=torch.long)
    message = rf"attacks\.it: '{name}' takes images .* in \[0, 1\] only, .*\(64,\) without a box; take fgsm or pgd"
    with pytest.raises(InputError, match=message):
        run(chosen(name, [0.1]), model, vectors, labels, box=None)
    for other in ("fgsm", "r_fgsm", "pgd", "an_attack:noise"):
        assert run(chosen(other, [10.0]), model, vectors, labels, box=None).fooled.any()


def test_dlr_refuses_two_classes_and_names_the_attack_to_take():
    with pytest.raises(InputError, match="'apgd_dlr' needs at least 3 classes, there are 2; take apgd_margin"):
        run(chosen("apgd_dlr", [0.1]), Linear(2), grey_images(3), torch.zeros(3, dtype=torch.long))


def test_square_under_l2_refuses_images_that_are_too_small():
    images, model = torch.rand(3, 1, 4, 16), Linear(3)
    with pytest.raises(InputError, match=r"at least 5 × 5 pixels, these have 4 × 16; take norm: linf or method: pgd"):
        run(chosen("square", [0.1], norm="l2"), model, images, torch.zeros(3, dtype=torch.long))


def test_an_attack_of_ones_own_that_returns_no_verdicts_is_refused(model, points):
    message = r"attacks\.it: 'noise' returned torch\.float32 \(1, 60\) as fooled, allowed is a bool tensor \(1, 60\)"
    with pytest.raises(InputError, match=message):
        run(chosen("an_attack:noise", [0.1], wrong=True), model, *points)


def test_the_catalogue_is_readable_without_torch():
    lines = ["import sys", "from poisonlab.attacks import attack, settings", "attack.entries()"]
    check = "settings({'epsilon': [0.1], 'method': 'square', 'goal': 'untargeted'}, 'attacks.it')"
    script = "\n".join([*lines, check, "sys.exit('torch' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
