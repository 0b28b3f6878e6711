"""Guards by accuracy: early stopping on a validation split, and catastrophic overfitting of one-step training."""

from typing import TYPE_CHECKING

from poisonlab.victims.guards import Judged, guard
from poisonlab.victims.objectives import Context

if TYPE_CHECKING:
    from torch import Tensor, nn

RANGES = {"points": "(0, inf)", "epsilon": "[0, inf)", "fgsm_epsilon": "[0, inf)", "steps": "[1, inf)"}


def _accuracy(model: "nn.Module", images: "Tensor", labels: "Tensor") -> float:
    from poisonlab.models.inference import predict

    return float((predict(model, images) == labels).double().mean())


def _moved(
    model: "nn.Module", images: "Tensor", labels: "Tensor", context: Context, epsilon: float, steps: int,
    step_size: float | None = None,
) -> "Tensor":  # fmt: skip
    """Images after FGSM (one step) or PGD from a random start."""
    import torch

    from poisonlab.attacks.pgd import Attack, perturb
    from poisonlab.models.inference import INFERENCE_BATCH

    how = Attack(steps=steps, step_size=step_size, random_start=steps > 1)
    parts = zip(images.split(INFERENCE_BATCH), labels.split(INFERENCE_BATCH), strict=True)
    box, free, own = context.box, context.free, context.seed()
    return torch.cat([perturb(model, *part, epsilon, how, box=box, free=free, seed=own) for part in parts])


def _note(context: Context, **numbers: float) -> None:
    import torch

    for name, value in numbers.items():
        context.memory[name] = torch.tensor(value, dtype=torch.float64)


def _noted(context: Context, name: str, default: float) -> float:
    return float(context.memory[name]) if name in context.memory else default


@guard(
    "validation",
    parameters={
        "points": 0.05,
        "by": ("natural", "fgsm", "pgd", "mean"),
        "fgsm_epsilon": 0.03,
        "epsilon": 0.03,
        "steps": 10,
        "step_size": None,
        "static": False,
        "patience": 0,
    },
    ranges=RANGES | {"step_size": "(0, inf)", "patience": "[0, inf)"},
    source="report on defences, Alternate Approach",
    held_out=True,
    begins=True,
)
def validation(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    points: float,
    by: str,
    fgsm_epsilon: float,
    epsilon: float,
    steps: int,
    step_size: float | None,
    static: bool,
    patience: int,
) -> Judged:
    """Keep the weights of the highest accuracy on points that are held out: of the images, of these after FGSM, after
    PGD, or the mean of the three. After `patience` epochs without a higher one it stops; 0: never.

    Attacked images are made against the model as it is, or, `static`, once against the one that the phase begins with:
    then they say little of the model's robustness.
    """
    attacks = {"fgsm": (fgsm_epsilon, 1, None), "pgd": (epsilon, steps, step_size)}
    began = "began/" in context.memory
    if not began:
        if static:
            for name, (radius, number, length) in attacks.items():
                context.memory[f"images/{name}"] = _moved(model, images, labels, context, radius, number, length)
        context.memory["began/"] = labels.new_ones(1)
        return Judged(keep=False, stop=False)
    found = {"natural": _accuracy(model, images, labels)}
    for name, (radius, number, length) in attacks.items():
        kept = context.memory.get(f"images/{name}")
        shown = _moved(model, images, labels, context, radius, number, length) if kept is None else kept
        found[name] = _accuracy(model, shown, labels)
    value = sum(found.values()) / 3 if by == "mean" else found[by]
    better = value > _noted(context, "best/", -1.0)
    waited = 0.0 if better else _noted(context, "waited/", 0.0) + 1
    _note(context, **{"waited/": waited})
    if better:
        own = {f"validation_{name}": number for name, number in found.items()}
        _note(context, **{"best/": value, "validation_epoch": context.epoch, **own})
    return Judged(keep=better, stop=bool(patience) and waited >= patience)


@guard(
    "catastrophic_overfitting",
    parameters={"points": 128, "epsilon": 0.03, "steps": 5, "step_size": 0.25, "drop": 0.2, "restore": True},
    ranges=RANGES | {"step_size": "(0, inf)", "drop": "(0, 1)"},
    source="Wong, Rice & Kolter (2020), section 5.4: early stopping by PGD on a training minibatch",
)
def catastrophic_overfitting(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    points: float,
    epsilon: float,
    steps: int,
    step_size: float,
    drop: float,
    restore: bool,
) -> Judged:
    """Name catastrophic overfitting, and where it is to `restore` keep the last weights before it and stop.

    It has come when, on a fixed minibatch of training points, the accuracy under PGD is more than `drop` below its best
    while that under FGSM is not below what it was then. Columns: `catastrophic_overfitting`, 1 or 0, the epoch in which
    it came, and both accuracies at the end.
    """
    fgsm, pgd = (
        _accuracy(model, _moved(model, images, labels, context, epsilon, number, length), labels)
        for number, length in ((1, None), (steps, step_size))
    )
    best, then = _noted(context, "best/", -1.0), _noted(context, "then/", -1.0)
    fell = best - pgd > drop and fgsm >= then
    before = _noted(context, "catastrophic_overfitting", 0.0) > 0
    if fell and not before:
        _note(context, overfitting_epoch=context.epoch)
    if pgd > best:
        _note(context, **{"best/": pgd, "then/": fgsm})
    _note(context, catastrophic_overfitting=float(fell or before), watched_fgsm=fgsm, watched_pgd=pgd)
    return Judged(keep=restore and not fell, stop=restore and fell)
