"""Support vector machines, and the exact derivative of their validation loss with respect to one training point.

Biggio, Nelson & Laskov, Poisoning Attacks against Support Vector Machines, ICML 2012. f(x) = Σⱼ αⱼ yⱼ K(xⱼ, x) + b with
0 ≤ αⱼ ≤ C and Σⱼ αⱼ yⱼ = 0. Several classes are told apart one against the rest: one machine for each, and the sum of
their losses. All numbers are float64.

While no point changes its set (margin support vectors S with 0 < α < C and y f(x) = 1, error support vectors with α =
C, the rest with α = 0), the margin conditions of S and Σⱼ αⱼ yⱼ = 0 tie the change of (b, α_S) to that of x_c:

    [0, y_Sᵀ; y_S, Q_SS] [∂b; ∂α_S] = −[0; ∂(Σⱼ Q_Sj αⱼ)]        with Qᵢⱼ = yᵢ yⱼ K(xᵢ, xⱼ)

with the derivatives on the right taken at fixed α. The attacked point x_c may itself be a margin vector (its own
condition moves with it), an error vector (α_c stays at C), or no support vector: then nothing depends on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from poisonlab.errors import InputError

KERNELS = ("linear", "rbf")
GRADIENTS = ("exact", "historical")
ROUNDS = 12  # of corrections of the sets
SLACK = 1e-9  # of the margin conditions, y f(x) − 1


@dataclass(frozen=True)
class Kernel:
    """K(a, b): a·b ("linear"), or exp(−γ/2 ‖a − b‖²) ("rbf").

    Attributes:
        gamma: γ as Biggio et al. write it; scikit-learn's, of exp(−γ ‖a − b‖²), is half of it: their 0.5 is its 0.25.
    """

    name: str
    gamma: float = 0.5

    def __post_init__(self) -> None:
        if self.name not in KERNELS:
            raise InputError(f"kernel is '{self.name}', allowed is one of {list(KERNELS)}; change it")
        if not self.gamma > 0:
            raise InputError(f"gamma is {self.gamma:g}, allowed is more than 0; change it")

    def gram(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Kernel of points [n, d] and [m, d], [n, m]."""
        if self.name == "linear":
            return a @ b.T
        apart = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2 * a @ b.T
        return np.exp(-self.gamma / 2 * np.maximum(apart, 0))

    def slope(self, points: np.ndarray, weights: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Σᵢ weightsᵢ ∂K(pointsᵢ, x)/∂x, [d], of points [n, d], weights [n] and x [d]."""
        if self.name == "linear":
            return weights @ points
        weights = self.gamma * weights * self.gram(points, x[None])[:, 0]
        return weights @ points - weights.sum() * x

    def own_slope(self, x: np.ndarray) -> np.ndarray:
        """dK(x, x)/dx, [d]."""
        return 2 * x if self.name == "linear" else np.zeros_like(x)


@dataclass(frozen=True)
class Machine:
    """A trained machine of two classes.

    Attributes:
        signs: labels ±1 of its training points, [n]; alpha: their multipliers, [n]; bias: b.
        margin, error: which of them are margin and error support vectors, [n] bool.
    """

    signs: np.ndarray
    alpha: np.ndarray
    bias: float
    margin: np.ndarray
    error: np.ndarray

    def values(self, gram: np.ndarray) -> np.ndarray:
        """f of m points, [m], from the kernel of the training points with them, [n, m]."""
        return (self.alpha * self.signs) @ gram + self.bias


def train(gram: np.ndarray, signs: np.ndarray, cost: float, start: Machine | None = None) -> Machine:
    """Solve the soft-margin problem.

    scikit-learn's SVC finds the sets; within them the multipliers are computed anew from the margin conditions, because
    SVC keeps its kernel in single precision. Where the sets of `start` need few corrections, SVC is not asked.

    Args:
        gram: kernel of the training points, [n, n]. signs: labels ±1, [n]. cost: C > 0.
        start: machine of nearly the same points.
    """
    from sklearn.svm import SVC

    if start is not None and (found := _corrected(gram, signs, cost, start.margin, start.error)) is not None:
        return found
    fitted = SVC(C=cost, kernel="precomputed", tol=1e-9, random_state=0).fit(gram, signs)
    alpha = np.zeros(len(signs))
    alpha[fitted.support_] = np.abs(fitted.dual_coef_[0])
    margin, error = (alpha > 0) & (alpha < cost), alpha >= cost
    # Without a margin vector b is not determined; SVC takes the middle of what is allowed.
    rough = Machine(signs, alpha, float(fitted.intercept_[0]), margin, error)
    return _corrected(gram, signs, cost, margin, error) or rough


def _corrected(
    gram: np.ndarray, signs: np.ndarray, cost: float, margin: np.ndarray, error: np.ndarray
) -> Machine | None:
    """The solution, from a guess of the sets that is corrected until every condition holds; None if that fails."""
    for _ in range(ROUNDS):
        support = np.flatnonzero(margin)
        alpha = np.where(error, cost, 0.0)
        held = signs * (gram @ (alpha * signs))  # what the error vectors give, [n]
        right = np.append(-(alpha @ signs), 1 - held[support])
        try:
            bias, *alpha[support] = np.linalg.solve(_bordered(gram, signs, support), right)
        except np.linalg.LinAlgError:
            return None
        machine = Machine(signs, alpha, float(bias), margin, error)
        excess = signs * machine.values(gram) - 1
        low, high = margin & (alpha <= 0), margin & (alpha >= cost)
        join = (~margin & ~error & (excess < -SLACK)) | (error & (excess > SLACK))
        if not (low | high | join).any():
            return machine if np.abs(excess[support]).max() < SLACK else None
        margin, error = (margin & ~low & ~high) | join, (error & ~join) | high
    return None


def _bordered(gram: np.ndarray, signs: np.ndarray, support: np.ndarray) -> np.ndarray:
    """[0, y_Sᵀ; y_S, Q_SS], [1 + s, 1 + s]."""
    matrix = np.zeros((len(support) + 1, len(support) + 1))
    own = signs[support]
    matrix[0, 1:] = matrix[1:, 0] = own
    matrix[1:, 1:] = gram[np.ix_(support, support)] * np.outer(own, own)
    return matrix


class Surrogate:
    """The learner that an attacker knows: training points, validation points, and one machine for each of `positives`.

    A machine tells its class (+1) from all others (−1). With one of them the learner tells two classes apart; with all
    classes, the machine of the largest value decides.

    Attributes:
        gram: kernel of the training points, [n, n]; outer: with the validation points, [n, m].
    """

    def __init__(
        self,
        kernel: Kernel,
        cost: float,
        training: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray],
        positives: Sequence[int],
    ) -> None:
        """Take points [n, d] with their labels [n], twice.

        Raises:
            InputError: the cost is not positive.
        """
        if not cost > 0:
            raise InputError(f"cost is {cost:g}, allowed is more than 0; change it")
        self.kernel, self.cost, self.positives = kernel, cost, tuple(positives)
        self.points, self.labels = np.asarray(training[0], dtype=np.float64), training[1]
        self.validation, self.validation_labels = np.asarray(validation[0], dtype=np.float64), validation[1]
        self.gram = kernel.gram(self.points, self.points)
        self.outer = kernel.gram(self.points, self.validation)

    def extended(self, points: np.ndarray, label: int) -> "Surrogate":
        """The learner with more training points, [k, d], of one label."""
        training = np.concatenate([self.points, points]), np.append(self.labels, np.full(len(points), label))
        validation = self.validation, self.validation_labels
        return Surrogate(self.kernel, self.cost, training, validation, self.positives)

    def fit(self, x: np.ndarray | None = None, label: int = 0, start: "Fitted | None" = None) -> "Fitted":
        """Train on the training points and, where given, one more, the attacked point x [d].

        Args:
            start: the learner at a point near x.
        """
        gram, outer, labels = self.gram, self.outer, self.labels
        if x is not None:
            edge = self.kernel.gram(self.points, x[None])  # [n, 1]
            gram = np.block([[gram, edge], [edge.T, self.kernel.gram(x[None], x[None])]])
            outer = np.concatenate([outer, self.kernel.gram(x[None], self.validation)])
            labels = np.append(labels, label)
        before = start.machines if start is not None else [None] * len(self.positives)
        signs = [np.where(labels == positive, 1.0, -1.0) for positive in self.positives]
        machines = [train(gram, own, self.cost, old) for own, old in zip(signs, before, strict=True)]
        return Fitted(self, machines, gram, outer, x)


@dataclass(frozen=True)
class Fitted:
    """A trained surrogate. The attacked point `x` [d], if there is one, is its last training point."""

    surrogate: Surrogate
    machines: Sequence[Machine]
    gram: np.ndarray
    outer: np.ndarray
    x: np.ndarray | None

    def _slacks(self, machine: Machine, positive: int) -> tuple[np.ndarray, np.ndarray]:
        """Signs of the validation points, [m], and 1 − y f, [m]."""
        signs = np.where(self.surrogate.validation_labels == positive, 1.0, -1.0)
        return signs, 1 - signs * machine.values(self.outer)

    def _problems(self) -> "zip[tuple[Machine, int]]":
        return zip(self.machines, self.surrogate.positives, strict=True)

    def loss(self) -> float:
        """Σₖ max(0, 1 − yₖ f(xₖ)) over the validation points, and over the machines: the attacker's objective."""
        return float(sum(np.maximum(0, self._slacks(*problem)[1]).sum() for problem in self._problems()))

    def error(self, points: np.ndarray | None = None, labels: np.ndarray | None = None) -> float:
        """Share of points [m, d] with labels [m], by default the validation points, that are classified wrongly."""
        outer, truth = self.outer, self.surrogate.validation_labels
        if points is not None and labels is not None:
            x = self.surrogate.points if self.x is None else np.concatenate([self.surrogate.points, self.x[None]])
            outer, truth = self.surrogate.kernel.gram(x, np.asarray(points, dtype=np.float64)), labels
        values = np.array([machine.values(outer) for machine in self.machines])
        if len(values) == 1:
            return float(((values[0] > 0) != (truth == self.surrogate.positives[0])).mean())
        return float((np.array(self.surrogate.positives)[values.argmax(axis=0)] != truth).mean())

    def depends(self) -> bool:
        """Whether the attacked point is a support vector of any machine; if not, nothing depends on where it lies."""
        return any(machine.alpha[-1] > 0 for machine in self.machines)

    def shortfall(self, points: np.ndarray, label: int) -> np.ndarray:
        """How far points [m, d] of one label are from what no machine would change for, [m]: the largest 1 − y f(x).

        A point that is added is a support vector where this is positive. No point may be attacked.
        """
        outer = self.surrogate.kernel.gram(self.surrogate.points, points)
        slacks = [
            1 - (1 if label == positive else -1) * machine.values(outer) for machine, positive in self._problems()
        ]
        return np.max(slacks, axis=0)

    def sets(self) -> bytes:
        """What the loss is smooth within: the margin and error vectors, and the validation points with a loss."""
        parts = [
            part
            for problem in self._problems()
            for part in (problem[0].margin, problem[0].error, self._slacks(*problem)[1] > 0)
        ]
        return np.concatenate(parts).tobytes()

    def gradient(self, variant: str = "exact", generator: np.random.Generator | None = None) -> np.ndarray:
        """Derivative of the loss with respect to the attacked point, [d].

        Args:
            variant: "exact", by the conditions above; "historical", that of the public code which the CIFAR-3 report
                adapted: M_k = (1/ζ) Q_ks (ζ Q_ss⁻¹ − υυᵀ) + y_k υᵀ instead of the paper's M_k = −(1/ζ) (Q_ks (ζ Q_ss⁻¹
                − υυᵀ) + y_k υᵀ), over all support vectors instead of the margin ones, and with random numbers added to
                Q_ss.
            generator: of these numbers.

        Raises:
            InputError: the variant does not exist, or no point is attacked.
        """
        if variant not in GRADIENTS or self.x is None:
            raise InputError(
                f"gradient is '{variant}' with respect to {'no point' if self.x is None else 'a point'}, allowed is "
                f"one of {list(GRADIENTS)} with respect to an attacked point; change it"
            )
        total = np.zeros_like(self.x)
        for machine, positive in self._problems():
            signs, slack = self._slacks(machine, positive)
            pull = np.where(slack > 0, -signs, 0.0)  # ∂L/∂f(xₖ), [m]
            if machine.alpha[-1] > 0:
                weights = machine.alpha[-1] * machine.signs[-1] * pull
                total += self.surrogate.kernel.slope(self.surrogate.validation, weights, self.x)
                if variant == "exact":
                    total += self._through_the_conditions(machine, pull)
                else:
                    total += self._historical(machine, pull, generator or np.random.default_rng(0))
        return total

    def _through_the_conditions(self, machine: Machine, pull: np.ndarray) -> np.ndarray:
        """What the change of b and of the margin vectors' multipliers contributes, [d]."""
        assert self.x is not None
        support, kernel, fixed = np.flatnonzero(machine.margin), self.surrogate.kernel, self.surrogate.points
        if not len(support):
            return np.zeros_like(self.x)  # b is held
        right = np.append(pull.sum(), machine.signs[support] * (self.outer[support] @ pull))  # ∂L/∂(b, α_S)
        adjoint = np.zeros(len(machine.alpha))
        adjoint[support] = np.linalg.solve(_bordered(self.gram, machine.signs, support), right)[1:]
        along = machine.alpha[-1] * machine.signs[-1] * adjoint * machine.signs
        total = -kernel.slope(fixed, along[:-1], self.x)
        if machine.margin[-1]:
            weights = machine.alpha * machine.signs
            own = kernel.slope(fixed, weights[:-1], self.x) + weights[-1] * kernel.own_slope(self.x)
            total -= adjoint[-1] * machine.signs[-1] * own
        return total

    def _historical(self, machine: Machine, pull: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """What stands for the same in the historical formula, [d]."""
        assert self.x is not None
        support = np.flatnonzero(machine.alpha > 0)
        signs = machine.signs[support]
        within = _bordered(self.gram, machine.signs, support)[1:, 1:]
        within = within + generator.random(within.shape) * (0.01 * within.min() + 1e-4)
        inverse = np.linalg.inv(within)
        upsilon = inverse @ signs
        zeta = signs @ upsilon
        # Sums over the validation points with a loss: Q_ks, and y_k.
        across, labels = -signs * (self.outer[support] @ pull), -pull.sum()
        factor = across @ (zeta * inverse - np.outer(upsilon, upsilon)) / zeta + labels * upsilon
        along = np.zeros(len(machine.alpha))
        along[support] = machine.alpha[-1] * machine.signs[-1] * factor * signs
        own = along[-1] * self.x if self.surrogate.kernel.name == "linear" else 0.0
        return -(self.surrogate.kernel.slope(self.surrogate.points, along[:-1], self.x) + own)
