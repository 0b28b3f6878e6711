"""Attacks that are a few steps along the gradient: FGSM, R+FGSM and PGD. Imports no torch."""

import math
from dataclasses import dataclass

from poisonlab.errors import InputError


@dataclass(frozen=True)
class Attack:
    """An l_p-bounded attack by gradient steps.

    Attributes:
        norm: "linf" or "l2".
        steps: number of gradient steps.
        step_size: length of a step as a share of ε; None is the `robustness` library's 2.5 / steps, or 1 for one.
        random_start: start at a random point of the ball.
        restarts: number of starts; a point is fooled if one of them fools it.
        random_sign: share of ε, in [0, 1], that the start moves along random signs (linf only); 0 starts at the image.
    """

    norm: str = "linf"
    steps: int = 20
    step_size: float | None = None
    random_start: bool = False
    restarts: int = 1
    random_sign: float = 0.0

    def __post_init__(self) -> None:
        if self.norm not in ("linf", "l2"):
            raise InputError(f"attack norm '{self.norm}' does not exist; choose linf or l2")
        if self.steps < 1 or self.restarts < 1:
            raise InputError(f"attack has {self.steps} steps and {self.restarts} restarts; both must be at least 1")
        if self.restarts > 1 and not self.random_start:
            raise InputError(
                f"attack has {self.restarts} restarts from the same point; set random_start: true or restarts: 1"
            )
        size = self.step_size
        if size is not None and (
            isinstance(size, bool) or not isinstance(size, int | float) or not 0 < size < math.inf
        ):
            raise InputError(
                f"attack step_size is {size!r}, allowed is a finite share of ε above 0, or null; change it"
            )
        if not 0 <= self.random_sign <= 1 or (self.random_sign and (self.norm != "linf" or self.random_start)):
            raise InputError(
                f"attack random_sign is {self.random_sign}; allowed is a share of ε in [0, 1], under linf and without "
                "random_start; change one of them"
            )

    @property
    def relative_step(self) -> float:
        """Step length / ε."""
        if self.step_size is not None:
            return self.step_size
        return 1.0 if self.steps == 1 else 2.5 / self.steps


def fgsm(norm: str = "linf") -> Attack:
    """One step of length ε (Goodfellow, Shlens & Szegedy 2015)."""
    return Attack(norm, steps=1)


def r_fgsm(norm: str = "linf", alpha: float = 0.5) -> Attack:
    """A step of αε along random signs, then one of (1 − α)ε along the gradient's (Tramèr et al. 2018, R+FGSM).

    Raises:
        InputError: `alpha` is not in [0, 1).
    """
    if not 0 <= alpha < 1:
        raise InputError(f"alpha is {alpha}, allowed is a share of ε of at least 0 and below 1; change it")
    return Attack(norm, steps=1, step_size=1 - alpha, random_sign=alpha)
