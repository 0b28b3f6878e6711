"""Fine-tuning on adversarial images that are made once: what such an adversary teaches, and what it does not."""

from typing import TYPE_CHECKING

from poisonlab.victims.objectives import Context, objective
from poisonlab.victims.objectives.adversarial import as_started

if TYPE_CHECKING:
    from torch import Tensor, nn

    from poisonlab.attacks.pgd import Attack


@objective(
    "static_mix",
    parameters={"fgsm_epsilon": 0.03, "epsilon": 0.03, "steps": 14, "step_size": None},
    ranges={"fgsm_epsilon": "[0, inf)", "epsilon": "[0, inf)", "steps": "[1, inf)", "step_size": "(0, inf)"},
    source="report on defences, Alternate Approach, phase ii",
    start=True,
)
def static_mix(
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    fgsm_epsilon: float,
    epsilon: float,
    steps: int,
    step_size: float | None,
) -> "tuple[Tensor, Tensor]":
    """Mean cross-entropy of a batch that is half clean, a quarter moved by FGSM and a quarter by PGD, both against the
    model that the phase began with.

    An image is moved when its batch first asks for it, and kept: the model that it is moved against stays the same. The
    order of an epoch is random, so that its first half of a batch is clean, and every image comes in each form over the
    epochs. A batch that does not divide by four has its odd images clean. `epsilon`, `steps` and `step_size`, a share
    of ε, are those of PGD, which starts at random.
    """
    from torch.nn import functional as F

    from poisonlab.attacks.pgd import Attack

    quarter = len(labels) // 4
    clean = len(labels) - 2 * quarter
    shown = images.clone()
    attacks = {
        "fgsm": (slice(clean, clean + quarter), fgsm_epsilon, Attack(steps=1)),
        "pgd": (slice(clean + quarter, None), epsilon, Attack(steps=steps, step_size=step_size, random_start=True)),
    }
    for name, (part, radius, how) in attacks.items():
        if quarter:
            shown[part] = _kept(name, model, images, labels, context, part, radius, how)
    logits = model(shown).float()
    return F.cross_entropy(logits, labels), logits


def _kept(
    name: str,
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    context: Context,
    part: slice,
    radius: float,
    how: "Attack",
) -> "Tensor":
    """Images of a part of the batch, moved now or before."""
    import torch

    from poisonlab.attacks.pgd import perturb

    assert context.positions is not None
    rows, kept = context.positions[part], context.remembered(name, images)
    made = context.memory.setdefault(f"{name} made", torch.zeros(context.points, dtype=torch.uint8, device=rows.device))
    if (new := (made[rows] == 0).nonzero()[:, 0]).numel():
        own, answers = images[part][new], labels[part][new]
        with as_started(model, context.start):
            box, free, number = context.box, context.free, context.seed()
            kept[rows[new]] = perturb(model, own, answers, radius, how, box=box, free=free, seed=number)
        made[rows[new]] = 1
    return kept[rows].to(images)
