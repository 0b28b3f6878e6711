"""The thesis's Theorems 1 and 2: what label noise alone guarantees an attacker, checked by simulation and applied to a
data set.

Both say: if |ζ| balls of radius ρ hold probability c₁ together and at least c₂/|ζ| each, the truth is constant in each
of them, and the labels of n ≥ |ζ| log(|ζ|/δ) / (ηc₂) independent samples are wrong at rate η, then with probability 1 −
δ a classifier that fits every sample has adversarial risk of at least c₁ within 2ρ. Theorem 2 subtracts χ/κ from the
radius, if the classifier has margin χ at the samples and is κ-Lipschitz. (The thesis calls η the probability of a
*correct* label in its statement and uses it as the rate of noise in its bound and proof; the rate of noise is what
Sanyal et al., 2021, mean and what is meant here.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import distance

from poisonlab.errors import InputError

CLASSIFIERS = ("dictionary", "smooth", "truth")


def required_samples(balls: int, mass: float, noise: float, delta: float) -> int:
    """Smallest n of Theorems 1 and 2: ⌈|ζ| log(|ζ|/δ) / (ηc₂)⌉.

    Args:
        balls: |ζ| ≥ 1. mass: c₂ in (0, 1], |ζ| times the probability of the lightest ball. noise: η in (0, 1], rate of
            wrong labels.
        delta: δ in (0, 1), probability that the guarantee fails.

    Raises:
        InputError: an argument is out of its range.
    """
    for name, value, low, high in (("mass", mass, 0, 1), ("noise", noise, 0, 1), ("delta", delta, 0, 1)):
        if not low < value <= high:
            raise InputError(f"{name} is {value}, allowed is more than {low} and at most {high}; change it")
    if balls < 1:
        raise InputError(f"balls is {balls}, allowed is at least 1; change it")
    return math.ceil(balls * math.log(balls / delta) / (noise * mass))


def guaranteed_radius(radius: float, margin: float = 0.0, lipschitz: float = math.inf) -> float:
    """Attack radius of the guarantee: 2ρ − χ/κ (Theorem 2); 2ρ without a Lipschitz constant (Theorem 1).

    Args:
        radius: ρ > 0. margin: χ in [0, 1], difference between the two highest class probabilities at the samples.
            lipschitz: κ > 0, of the class probabilities in l1.

    Raises:
        InputError: an argument is out of its range.
    """
    if radius <= 0 or lipschitz <= 0 or not 0 <= margin <= 1:
        raise InputError(f"radius {radius}, margin {margin}, lipschitz {lipschitz}: allowed are > 0, 0 … 1, > 0")
    return 2 * radius - margin / lipschitz


def distances(points: np.ndarray, others: np.ndarray, norm: str) -> np.ndarray:
    """Distances [k, n] of points [k, d] and others [n, d] in norm linf or l2."""
    return distance.cdist(points, others, "chebyshev") if norm == "linf" else distance.cdist(points, others)


class Memoriser:
    """A classifier of two classes, ±1, that fits its samples and gives the truth wherever else it may.

    The attacker's worst case (thesis, chapter 3, Fig. 3.1). With a Lipschitz constant κ it is the largest κ-Lipschitz
    extension of the margins ±χ at the samples (McShane, 1934), seen from the truth's side; its probabilities, (1 ±
    margin)/2, are κ-Lipschitz in l1. Without one it is a dictionary, wrong at mislabelled samples only. The truth must
    be constant among the points that it is built from and asked about: one memoriser for one ball.
    """

    def __init__(
        self, samples: np.ndarray, labels: np.ndarray, truth: int, margin: float, lipschitz: float, norm: str = "linf"
    ) -> None:
        """Store samples [n, d] with labels [n] ±1."""
        self.samples, self.agrees = samples, labels == truth
        self.margin, self.lipschitz, self.norm = margin, lipschitz, norm

    @property
    def mislabelled(self) -> np.ndarray:
        """Samples [m, d] with a wrong label."""
        return self.samples[~self.agrees]

    def margins(self, points: np.ndarray) -> np.ndarray:
        """Margin [k] of the true class at points [k, d], −1 … 1: positive where the classifier is right."""
        far = distances(points, self.samples, self.norm)
        if math.isinf(self.lipschitz):
            return np.where((far[:, ~self.agrees] == 0).any(axis=1), -self.margin, self.margin)
        signed = np.where(self.agrees, self.margin, -self.margin)
        return np.minimum(1.0, (signed + self.lipschitz * far).min(axis=1, initial=1.0))

    def attack(self, points: np.ndarray, radius: float) -> np.ndarray:
        """Move points [k, d] by at most the radius straight towards their nearest mislabelled sample."""
        if not len(self.mislabelled):
            return points
        far = distances(points, self.mislabelled, self.norm)
        nearest = self.mislabelled[far.argmin(axis=1)]
        share = np.minimum(1.0, radius / np.maximum(far.min(axis=1), np.finfo(float).tiny))[:, None]
        return np.where(share == 1.0, nearest, points + share * (nearest - points))


@dataclass(frozen=True)
class Balls:
    """A distribution on which the premises of the theorems hold exactly: l∞ balls of equal mass, uniform in each.

    What is left of the mass, 1 − c₁, lies elsewhere and is never attacked, so that measured risks are lower bounds.
    """

    balls: int
    dimensions: int
    radius: float
    mass: float  # c₁ = c₂
    noise: float
    delta: float
    margin: float

    @property
    def required(self) -> int:
        """Samples that the theorems ask for."""
        return required_samples(self.balls, self.mass, self.noise, self.delta)

    def draw(self, generator: np.random.Generator, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """Draw n samples; for each ball its samples [k, d], relative to its centre, and whether their labels are wrong
        [k].
        """
        shares = np.full(self.balls + 1, self.mass / self.balls)
        shares[-1] = 1 - self.mass
        counts = generator.multinomial(n, shares)[:-1]
        return [(self.points(generator, k), generator.random(k) < self.noise) for k in counts]

    def points(self, generator: np.random.Generator, k: int) -> np.ndarray:
        """Draw k points of a ball, relative to its centre."""
        return generator.uniform(-self.radius, self.radius, (k, self.dimensions))


def simulate(
    setting: Balls, runs: int, shares: Sequence[float], radii: Sequence[float], seed: int, tested: int = 100
) -> pd.DataFrame:
    """Sample, mislabel, memorise and attack, again and again.

    Args:
        runs: independent runs at each number of samples.
        shares: numbers of samples as shares of what the theorems ask for.
        radii: attack radii as multiples of ρ, tried at the largest of the numbers; the guaranteed one is tried at each.
        tested: points attacked in each ball.

    Returns:
        One row per run, share, classifier and radius: run, share, n, classifier (`dictionary` and `smooth` memorise;
            `truth` does not, a broken premise), guaranteed (whether it is the guaranteed radius), radius (multiple of
            ρ), every_ball (whether each holds a mislabelled sample), fitted (share of the samples), lipschitz (κρ),
            risk (at least), mass (c₁), delta.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for share in shares:
        n = math.ceil(share * setting.required)
        for run in range(runs):
            drawn = setting.draw(generator, n)
            points = [setting.points(generator, tested) for _ in drawn]
            closest = min(distances(x[wrong], x[~wrong], "linf").min(initial=np.inf) for x, wrong in drawn)
            # The least κ for which margins ±χ can be extended; without differently labelled neighbours any would do.
            lipschitz = 2 * setting.margin / min(closest, 2 * setting.radius)
            every_ball = all(wrong.any() for _, wrong in drawn)
            for classifier in CLASSIFIERS:
                constant = lipschitz if classifier == "smooth" else math.inf
                nets = [
                    Memoriser(x, np.where(wrong & (classifier != "truth"), -1, 1), 1, setting.margin, constant)
                    for x, wrong in drawn
                ]
                right = [((net.margins(x) > 0) != wrong) for net, (x, wrong) in zip(nets, drawn, strict=True) if len(x)]
                fitted = float(np.concatenate(right).mean()) if right else 1.0
                promised = guaranteed_radius(setting.radius, setting.margin, constant) / setting.radius
                tried = [(value, False) for value in radii] if share == max(shares) else []
                for radius, guaranteed in [*tried, (promised, True)]:
                    wrong = [
                        net.margins(net.attack(x, radius * setting.radius)) <= 0
                        for net, x in zip(nets, points, strict=True)
                    ]
                    rows.append(
                        {
                            "run": run,
                            "share": share,
                            "n": n,
                            "classifier": classifier,
                            "guaranteed": guaranteed,
                            "radius": radius,
                            "every_ball": every_ball,
                            "fitted": fitted,
                            "lipschitz": constant * setting.radius,
                            "risk": setting.mass * float(np.mean(wrong)),
                            "mass": setting.mass,
                            "delta": setting.delta,
                        }
                    )
    return pd.DataFrame(rows)


def cover(
    images: np.ndarray,
    labels: np.ndarray,
    radii: Sequence[float],
    norm: str,
    candidates: int,
    noise: float,
    delta: float,
    seed: int,
) -> pd.DataFrame:
    """Apply Theorem 1 to a data set: cover it greedily by balls around its own points and ask how many samples the
    bound takes.

    The data set stands for its distribution. A ball that holds two classes breaks the third premise and is left out.

    Args:
        images: [n, …] in [0, 1]. labels: [n]. radii: ρ. norm: linf or l2. candidates: random points that may be
            centres.

    Returns:
        One row per radius and number of balls (powers of two, and all of use): norm, radius, balls, covered (c₁), mass
        (c₂), required (n of the bound), n_points, noise, delta.
    """
    flat = images.reshape(len(images), -1).astype(np.float32)
    generator = np.random.default_rng(seed)
    centres = generator.choice(len(flat), min(candidates, len(flat)), replace=False)
    rows = []
    for radius, inside in zip(radii, _members(flat, centres, radii, norm), strict=True):
        pure = [members for members, own in zip(inside, labels[centres], strict=True) if (labels[members] == own).all()]
        covered, lightest = np.zeros(len(flat), dtype=bool), len(flat)
        sizes: list[tuple[int, float, float]] = []
        # Greedy cover: a ball's gain only falls, so the largest of the old gains need only be confirmed (Minoux, 1978).
        gains = np.array([len(members) for members in pure])
        while len(pure) and gains.max() > 0:
            best = int(gains.argmax())
            gain = int((~covered[pure[best]]).sum())
            if gain < gains[best]:
                gains[best] = gain
                continue
            covered[pure[best]] = True
            lightest = min(lightest, len(pure[best]))
            gains[best] = 0
            sizes.append((len(sizes) + 1, float(covered.mean()), (len(sizes) + 1) * lightest / len(flat)))
        for count, share, mass in sizes:
            if count & (count - 1) == 0 or count == len(sizes):
                rows.append(
                    {
                        "norm": norm,
                        "radius": radius,
                        "balls": count,
                        "covered": share,
                        "mass": min(mass, share),
                        "required": required_samples(count, min(mass, share), noise, delta),
                        "n_points": len(flat),
                        "noise": noise,
                        "delta": delta,
                    }
                )
    return pd.DataFrame(rows)


def _members(flat: np.ndarray, centres: np.ndarray, radii: Sequence[float], norm: str) -> list[list[np.ndarray]]:
    """For each radius, the positions of the points in the ball around each centre."""
    found: list[list[np.ndarray]] = [[] for _ in radii]
    for centre in centres:
        difference = flat - flat[centre]
        # In single precision, unlike `distances`: a large data set is not to be copied for every centre.
        far = np.abs(difference, out=difference).max(1) if norm == "linf" else np.linalg.norm(difference, axis=1)
        for members, radius in zip(found, radii, strict=True):
            members.append(np.flatnonzero(far <= radius))
    return found
