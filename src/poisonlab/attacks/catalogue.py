"""The attacks of the package by name; see `attacks` for what each function gets. Readable without torch."""

from typing import Any

from poisonlab.attacks import Verdicts, attack, steps
from poisonlab.errors import InputError

CROCE = "Croce & Hein, Reliable Evaluation of Adversarial Robustness, ICML 2020"
APGD = {"steps": 100, "restarts": 1}  # AutoAttack's own


def _columns(how: steps.Attack) -> dict[str, Any]:
    return {
        "steps": how.steps,
        "step_size": how.relative_step,
        "random_start": how.random_start or how.random_sign > 0,
        "restarts": how.restarts,
    }


def _at_least_one(norm: str, **counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"{name} is {count}, allowed is a whole number of at least 1; change it")


def _by_steps(how: steps.Attack, model: Any, images: Any, labels: Any, epsilons: Any, **options: Any) -> Verdicts:
    from poisonlab.attacks import pgd

    return pgd.attack(model, images, labels, epsilons, how, **options)


def _by_apgd(*inputs: Any, targets: None, box: Any, **options: Any) -> Verdicts:
    from poisonlab.attacks import auto

    return auto.apgd(*inputs, **options)


@attack(
    "fgsm",
    source="Goodfellow, Shlens & Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4",
    holds=True,
    columns=lambda **chosen: _columns(steps.fgsm(**chosen)),
)
def fgsm(*inputs: Any, norm: str, **options: Any) -> Verdicts:
    """One step of length ε along the sign (linf) or the direction (l2) of the gradient."""
    return _by_steps(steps.fgsm(norm), *inputs, **options)


@attack(
    "r_fgsm",
    source="Tramèr et al., Ensemble Adversarial Training, ICLR 2018, section 4.1",
    holds=True,
    parameters={"alpha": 0.5},
    norms=("linf",),
    check=steps.r_fgsm,
    columns=lambda **chosen: _columns(steps.r_fgsm(**chosen)),
)
def r_fgsm(*inputs: Any, norm: str, alpha: float, **options: Any) -> Verdicts:
    """A step of length αε along random signs, then one of (1 − α)ε along the signs of the gradient."""
    return _by_steps(steps.r_fgsm(norm, alpha), *inputs, **options)


@attack(
    "pgd",
    source="thesis, Algorithm 1; Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, 2018",
    holds=True,
    parameters={"steps": 20, "step_size": None, "random_start": False, "restarts": 1},
    check=steps.Attack,
    columns=lambda **chosen: _columns(steps.Attack(**chosen)),
)
def pgd(*inputs: Any, targets: Any, box: Any, free: Any, seed: int, progress: Any, **chosen: Any) -> Verdicts:
    """Gradient steps that are projected to the ball; the best one counts. `steps.Attack` says the parameters."""
    options = {"targets": targets, "box": box, "free": free, "seed": seed, "progress": progress}
    return _by_steps(steps.Attack(**chosen), *inputs, **options)


@attack(
    "apgd_ce",
    source=f"{CROCE}, section 3",
    parameters=APGD,
    targeted=False,
    images=True,
    check=_at_least_one,
    columns=lambda **chosen: {"random_start": True},
)
def apgd_ce(*inputs: Any, **options: Any) -> Verdicts:
    """Auto-PGD on the cross-entropy: steps of twice ε that are halved when the loss stops rising."""
    return _by_apgd(*inputs, loss="ce", **options)


@attack(
    "apgd_dlr",
    source=f"{CROCE}, section 4",
    parameters=APGD,
    targeted=False,
    images=True,
    least_classes=3,
    instead="apgd_margin",
    check=_at_least_one,
    columns=lambda **chosen: {"random_start": True},
)
def apgd_dlr(*inputs: Any, **options: Any) -> Verdicts:
    """Auto-PGD on the difference of logits ratio, which large logits do not flatten."""
    return _by_apgd(*inputs, loss="dlr", **options)


@attack(
    "apgd_margin",
    source="this project: apgd_dlr without the denominator, which needs a third class",
    parameters=APGD,
    targeted=False,
    images=True,
    check=_at_least_one,
    columns=lambda **chosen: {"random_start": True},
)
def apgd_margin(*inputs: Any, **options: Any) -> Verdicts:
    """Auto-PGD on the logit margin: the largest other logit less the label's."""
    return _by_apgd(*inputs, loss="margin", **options)


@attack(
    "square",
    source="Andriushchenko et al., Square Attack, ECCV 2020",
    parameters={"queries": 5000, "restarts": 1},
    images=True,
    check=_at_least_one,
    columns=lambda **chosen: {"random_start": True},
)
def square(*inputs: Any, box: Any, **options: Any) -> Verdicts:
    """Random squares, kept where they lower the margin. It sees logits only: masked gradients do not stop it."""
    from poisonlab.attacks import auto

    return auto.square(*inputs, **options)
