"""Attacks: against two published libraries, and against a plain loop that knows no active set."""

import math

import foolbox
import numpy as np
import pytest
import torch
import torchattacks
from scipy import stats
from torch import Tensor, nn

from poisonlab.attacks.paths import path_lengths
from poisonlab.attacks.pgd import _random_offsets, attack, perturb
from poisonlab.attacks.steps import Attack, fgsm, r_fgsm
from poisonlab.datasets.dataset import Dataset
from poisonlab.errors import InputError
from poisonlab.models.inference import rebuild

# In double precision the two sides differ by rounding alone (1e-16 per operation, some hundreds of operations). In
# single precision a pixel whose gradient is nearly 0 could get the other sign by rounding, and a verdict could turn; in
# double that is out of reach.
ROUNDING = 1e-12
PLACES = (1, 7, 512)
BOX = (0.0, 1.0)
GOALS = ("untargeted", "targeted")
RADII = {"linf": [0.08, 0.0, 0.15, 0.03], "l2": [0.5, 0.0, 1.0, 0.2]}  # not sorted: no radius may lean on its neighbour


@pytest.fixture(scope="module")
def model(digits_parameters: dict[str, np.ndarray]) -> nn.Module:
    return rebuild("mlp", (1, 8, 8), 10, digits_parameters, torch.device("cpu")).double()


@pytest.fixture(scope="module")
def points(digits: Dataset) -> tuple[Tensor, Tensor, Tensor]:
    """Test images, labels and targets; 160 points, so that four radii need more than 512 places."""
    images, labels = torch.from_numpy(digits.test_images[:160]).double(), torch.from_numpy(digits.test_labels[:160])
    return images, labels, (labels + 1) % 10


def step_along(gradient: Tensor, norm: str) -> Tensor:
    return gradient.sign() if norm == "linf" else gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]


def to_ball(points: Tensor, centres: Tensor, epsilon: float, norm: str) -> Tensor:
    """Nearest points of the ε-ball and then of the box."""
    offset = points - centres
    if norm == "linf":
        offset = offset.clamp(-epsilon, epsilon)
    else:
        length = offset.flatten(1).norm(dim=1)[:, None, None, None]
        offset = torch.where(length > epsilon, offset * epsilon / length, offset)
    return (centres + offset).clamp(*BOX)


def plain_attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    norm: str,
    steps: int,
    targets: Tensor | None,
    offsets: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Thesis, Algorithm 1, all points in lockstep and every step taken; success of any iterate counts."""
    aims = labels if targets is None else targets
    points = images if offsets is None else to_ball(images + epsilon * offsets, images, epsilon, norm)
    fooled = torch.zeros(len(images), dtype=torch.bool)
    correct = torch.zeros(len(images), dtype=torch.bool)
    for step in range(steps + 1):
        points = points.detach().requires_grad_(True)
        logits = model(points)
        predicted = logits.argmax(1)
        correct = torch.where(fooled, correct, predicted == labels)  # of the first iterate that fools, else of the last
        fooled = fooled | (predicted != labels if targets is None else predicted == targets)
        if step < steps:
            loss = (logits.logsumexp(1) - logits.gather(1, aims[:, None])[:, 0]).sum()
            (gradient,) = torch.autograd.grad(loss, points)
            length = epsilon * (1 if steps == 1 else 2.5 / steps)
            moved = points.detach() + (1 if targets is None else -1) * length * step_along(gradient, norm)
            points = to_ball(moved, images, epsilon, norm)
    return fooled, correct


class Bump(nn.Module):
    """Class 1 where |x − 0.25| < 0.06, else class 0."""

    def forward(self, inputs: Tensor) -> Tensor:
        height = 0.06**2 - (inputs[:, 0] - 0.25) ** 2
        return torch.stack([torch.zeros_like(height), height], 1)


class Moody(nn.Module):
    """Dropout makes it another function in training mode; one part is frozen and stays in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Dropout(0.9)).eval().requires_grad_(False)
        self.trained = nn.Sequential(nn.ReLU(), nn.Dropout(0.9), nn.Linear(32, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.trained(self.frozen(inputs))

    def state(self) -> list[tuple[bool, list[bool]]]:
        """Mode and wish for gradients of every part."""
        return [(part.training, [p.requires_grad for p in part.parameters()]) for part in self.modules()]


# -------------------------------------------------------------------------------- against published libraries


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("norm", "steps"), [("linf", 1), ("linf", 10), ("l2", 10)])
def test_fgsm_and_pgd_give_the_images_of_torchattacks(model, points, norm, steps, goal):
    images, labels, targets = points
    epsilon = 0.1 if norm == "linf" else 0.8
    length = 0.25 * epsilon  # the default of 10 steps
    if steps == 1:
        theirs = torchattacks.FGSM(model, eps=epsilon)
    elif norm == "linf":
        theirs = torchattacks.PGD(model, eps=epsilon, alpha=length, steps=steps, random_start=False)
    else:
        # They divide by the norm of the *mean* gradient plus 1e-10, which moves these images by up to 2e-6: taken out.
        theirs = torchattacks.PGDL2(
            model, eps=epsilon, alpha=length, steps=steps, random_start=False, eps_for_division=1e-30
        )
    if goal == "targeted":
        theirs.set_mode_targeted_by_label(quiet=True)
    expected = theirs(images, targets if goal == "targeted" else labels)
    ours = perturb(model, images, labels, epsilon, Attack(norm, steps), targets=targets if goal == "targeted" else None)
    assert (expected - images).abs().max() > 0.05  # the attack did move
    torch.testing.assert_close(ours, expected, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize(("norm", "steps"), [("linf", 1), ("linf", 10), ("l2", 10)])
def test_fgsm_and_pgd_give_the_images_of_foolbox(model, points, norm, steps, goal):
    images, labels, targets = points
    epsilon = 0.1 if norm == "linf" else 0.8
    if steps == 1 and goal == "untargeted":
        theirs = foolbox.attacks.FGSM(random_start=False)
    else:  # their FGSM refuses targets; one step of PGD is the same thing
        kind = foolbox.attacks.LinfPGD if norm == "linf" else foolbox.attacks.L2PGD
        theirs = kind(rel_stepsize=1.0 if steps == 1 else 0.25, steps=steps, random_start=False)
    criterion = (
        foolbox.criteria.TargetedMisclassification(targets)
        if goal == "targeted"
        else foolbox.criteria.Misclassification(labels)
    )
    expected = theirs.run(foolbox.PyTorchModel(model, bounds=BOX), images, criterion, epsilon=epsilon)
    ours = perturb(model, images, labels, epsilon, Attack(norm, steps), targets=targets if goal == "targeted" else None)
    torch.testing.assert_close(ours, expected, rtol=0, atol=ROUNDING)


def test_a_step_is_two_and_a_half_radii_shared_by_the_steps_and_fgsm_takes_one_whole_radius():
    # the `robustness` library's recipe: 2.5·ε/steps
    assert Attack(steps=20).relative_step == 0.125
    assert Attack(steps=1).relative_step == 1.0
    assert Attack(steps=20, step_size=0.1).relative_step == 0.1


@pytest.mark.parametrize("goal", GOALS)
def test_r_fgsm_gives_the_images_of_its_paper(model, points, goal):
    # Tramèr et al. 2018: x' = x + α·sign(N(0, I)), then x' + (ε − α)·sign(∇ loss(x')), in the box; here α = 0.3 ε.
    images, labels, targets = points
    epsilon, aims = 0.1, targets if goal == "targeted" else labels
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(3)).sign()
    start = (images + 0.3 * epsilon * noise).clamp(*BOX).requires_grad_(True)
    torch.nn.functional.cross_entropy(model(start), aims).backward()
    direction = start.grad.sign() if goal == "untargeted" else -start.grad.sign()
    expected = (start.detach() + 0.7 * epsilon * direction).clamp(*BOX)
    chosen = targets if goal == "targeted" else None
    ours = perturb(model, images, labels, epsilon, r_fgsm(alpha=0.3), targets=chosen, seed=3)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-8)  # the share 0.3 passes through float32 in the noise
    assert torch.equal(
        perturb(model, images, labels, epsilon, r_fgsm(alpha=0.0)), perturb(model, images, labels, epsilon, fgsm())
    )


# -------------------------------------------------------------------------------- verdicts of the active set


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("places", PLACES)
def test_the_active_set_gives_the_verdicts_of_a_plain_loop_for_every_radius(model, points, places, norm, goal):
    images, labels, targets = (
        array[: 40 if places < 512 else 160] for array in points
    )  # always more points than places
    chosen = targets if goal == "targeted" else None
    verdicts = attack(model, images, labels, RADII[norm], Attack(norm, 7), targets=chosen, places=places)
    for row, epsilon in enumerate(RADII[norm]):
        fooled, correct = plain_attack(model, images, labels, epsilon, norm, 7, chosen)
        assert torch.equal(verdicts.fooled[row], fooled), f"fooled at ε = {epsilon}"
        assert torch.equal(verdicts.correct[row], correct), f"correct at ε = {epsilon}"
    shares = verdicts.fooled.double().mean(1)
    assert 0.05 < shares[0] < 0.95 or 0.05 < shares[2] < 0.95  # points of both kinds took part


@pytest.mark.parametrize("goal", GOALS)
@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("places", PLACES)
def test_restarts_give_the_verdicts_of_plain_loops_from_the_same_random_starts(model, points, places, norm, goal):
    images, labels, targets = (array[:20] for array in points)
    chosen = targets if goal == "targeted" else None
    settings = Attack(norm, 4, random_start=True, restarts=3)
    verdicts = attack(model, images, labels, RADII[norm], settings, targets=chosen, seed=5, places=places)
    for row, epsilon in enumerate(RADII[norm]):
        fooled = torch.zeros(len(images), dtype=torch.bool)
        for restart in range(3):
            generator = torch.Generator().manual_seed(5 + restart)
            offsets = _random_offsets(images.shape, norm, generator).to(images)
            fooled |= plain_attack(model, images, labels, epsilon, norm, 4, chosen, offsets)[0]
        assert torch.equal(verdicts.fooled[row], fooled), f"fooled at ε = {epsilon}"


def test_a_point_is_fooled_if_any_iterate_fools_even_when_the_last_does_not():
    # Steps of 0.3 along the sign: 0 → 0.3 (inside the bump) → 0 (outside).
    image, label = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    settings = Attack(steps=2, step_size=0.6)
    verdicts = attack(Bump(), image, label, [0.5], settings, box=None)
    assert Bump()(perturb(Bump(), image, label, 0.5, settings, box=None)).argmax() == 0
    assert verdicts.fooled.tolist() == [[True]]
    assert verdicts.correct.tolist() == [[False]]


def test_at_radius_zero_fooled_is_what_the_model_gets_wrong_by_itself(model, points):
    images, labels, targets = points
    predicted = model(images).argmax(1)
    assert torch.equal(attack(model, images, labels, [0.0], Attack(steps=3)).fooled[0], predicted != labels)
    targeted = attack(model, images, labels, [0.0], Attack(steps=3), targets=targets)
    assert torch.equal(targeted.fooled[0], predicted == targets)
    assert torch.equal(targeted.correct[0], predicted == labels)


def test_more_restarts_only_add_fooled_points_and_the_seed_decides(model, points):
    images, labels, _ = points

    def fooled(seed: int, restarts: int) -> Tensor:
        return attack(model, images, labels, [0.09], Attack("linf", 2, 0.5, True, restarts), seed=seed).fooled[0]

    one, three = fooled(1, 1), fooled(1, 3)
    assert torch.equal(fooled(1, 3), three)
    assert not (one & ~three).any()
    assert (three & ~one).any()
    assert torch.equal(fooled(1, 1) | fooled(2, 1) | fooled(3, 1), three)  # restart r starts from seed + r
    assert not torch.equal(fooled(4, 1), one)


def test_random_starts_are_uniform_in_the_ball():
    n, dimension = 4000, 3
    # Kolmogorov-Smirnov tests on fixed seeds; uniform samples have a p-value above 0.001 on all but one seed in 1000.
    box = _random_offsets(torch.Size([n, 1, dimension]), "linf", torch.Generator().manual_seed(0)).flatten().numpy()
    assert stats.kstest(box, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    ball = _random_offsets(torch.Size([n, dimension]), "l2", torch.Generator().manual_seed(0)).numpy()
    radius = np.linalg.norm(ball, axis=1)
    assert stats.kstest(radius**dimension, "uniform").pvalue > 1e-3  # a ball of radius r holds r³ of the volume
    for axis in range(dimension):  # each coordinate of a uniform direction in three dimensions is uniform (Archimedes)
        assert stats.kstest(ball[:, axis] / radius, stats.uniform(-1, 2).cdf).pvalue > 1e-3


@pytest.mark.parametrize("random_start", [False, True])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.1), ("l2", 0.8)])
@pytest.mark.parametrize("steps", [1, 7])
def test_adversarial_images_stay_in_the_ball_and_in_the_box(model, points, norm, epsilon, steps, random_start):
    images, labels, targets = points
    for chosen in (None, targets):
        adversarial = perturb(
            model, images, labels, epsilon, Attack(norm, steps, random_start=random_start), targets=chosen, seed=3
        )
        offset = (adversarial - images).flatten(1)
        size = offset.abs().amax(1) if norm == "linf" else offset.norm(dim=1)
        assert size.max() <= epsilon + ROUNDING
        assert size.max() > 0.9 * epsilon  # the ball is used
        assert adversarial.min() >= 0
        assert adversarial.max() <= 1


def test_without_a_box_features_may_leave_the_unit_range(model, points):
    images, labels, _ = points
    adversarial = perturb(model, images, labels, 0.1, Attack(steps=1), box=None)
    # Every pixel moves a whole radius, out of [0, 1] where it starts at an end of it.
    torch.testing.assert_close((adversarial - images).abs(), torch.full_like(images, 0.1), rtol=0, atol=ROUNDING)
    free = attack(model, images, labels, [0.08], Attack(steps=7), box=None).fooled
    boxed = attack(model, images, labels, [0.08], Attack(steps=7)).fooled
    assert free.sum() > boxed.sum()


def test_perturb_with_a_random_start_depends_on_its_seed_alone(model, points):
    images, labels, _ = points
    settings = Attack("l2", 2, 0.1, random_start=True)
    first = perturb(model, images, labels, 0.5, settings, seed=1)
    torch.manual_seed(99)  # a global generator must not matter
    assert torch.equal(perturb(model, images, labels, 0.5, settings, seed=1), first)
    assert not torch.equal(perturb(model, images, labels, 0.5, settings, seed=2), first)


@pytest.mark.parametrize("radius", [-0.1, math.nan, math.inf])
def test_radii_that_are_no_finite_numbers_from_0_are_refused(model, points, radius):
    images, labels, _ = points
    with pytest.raises(InputError, match=rf"^epsilon is {radius}, allowed are finite numbers of at least 0"):
        attack(model, images, labels, [0.1, radius], Attack())
    with pytest.raises(InputError, match=rf"^epsilon is {radius}, allowed are finite numbers of at least 0"):
        perturb(model, images, labels, radius, Attack())


def test_impossible_attacks_are_refused():
    with pytest.raises(InputError, match="norm 'l1' does not exist; choose linf or l2"):
        Attack(norm="l1")
    with pytest.raises(InputError, match="0 steps and 1 restarts; both must be at least 1"):
        Attack(steps=0)
    with pytest.raises(InputError, match="4 restarts from the same point; set random_start"):
        Attack(restarts=4)
    for size in (0, -1.0, math.nan, math.inf, True, "long"):
        with pytest.raises(InputError, match=r"step_size is .*, allowed is a finite share of ε above 0"):
            Attack(step_size=size)
    with pytest.raises(InputError, match=r"random_sign is 0\.5; allowed is .* under linf"):
        Attack(norm="l2", random_sign=0.5)
    for alpha in (-0.1, 1.0, math.nan):
        with pytest.raises(InputError, match=r"alpha is .*, allowed is a share of ε of at least 0 and below 1"):
            r_fgsm(alpha=alpha)


# -------------------------------------------------------------------------------- the model is left as it was


@pytest.mark.parametrize("run", ["attack", "perturb", "path_lengths"])
def test_the_model_is_attacked_in_evaluation_mode_and_left_as_it_was(points, run):
    images, labels, _ = points
    images = images.float()
    torch.manual_seed(0)
    moody = Moody()
    moody.trained.train()
    before = moody.state()
    assert {mode for mode, _ in before} == {True, False}

    def result() -> Tensor:
        if run == "attack":
            return attack(moody, images, labels, [0.05], Attack(steps=3)).fooled
        if run == "perturb":
            return perturb(moody, images, labels, 0.05, Attack(steps=3))
        return path_lengths(moody, lambda where: images[where], labels, 1 / 64, 20)[0]

    first = result()
    assert torch.equal(result(), first)  # dropout of 90 % would not give the same result twice
    assert moody.state() == before
    assert all(parameter.grad is None for parameter in moody.parameters())


def test_the_model_is_left_as_it_was_when_its_forward_pass_fails(points):
    moody = Moody()
    before = moody.state()
    with pytest.raises(RuntimeError):
        attack(moody, torch.zeros(2, 3), points[1][:2], [0.1], Attack())
    assert moody.state() == before
