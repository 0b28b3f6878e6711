"""Attacks: a catalogue of methods, and the entries of the configuration's `attacks`. Readable without torch.

A method is one registered function, of this package or of your own (``module:function``)::

    @attack("noise", source="", parameters={"tries": 1})
    def noise(model, images, labels, epsilons, *, norm, targets, box, seed, progress, tries) -> Verdicts: ...

    model     returns logits [n, classes]; it is frozen and in evaluation mode
    images    [n, …] float32; labels [n]; targets [n], or None for an untargeted attack
    epsilons  E radii ≥ 0 of the norm, "linf" or "l2", in the unit of the images
    box       range that attacked images stay in, None for features without one
    free      only where the registration says `holds=True`: bool, of the shape of one image, the features that may be
              moved, None for all of them; a method without it refuses data with features that attacks leave out
    seed      of every random number; progress gets lines of text
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

from poisonlab.errors import InputError
from poisonlab.registry import Catalogue, Entry

if TYPE_CHECKING:
    from torch import Tensor, nn

COLUMNS = ("steps", "step_size", "random_start", "restarts")  # of the table `robustness`
SHARED = ("method", "norm", "goal", "epsilon")  # keys of every entry; the others are parameters of its method


@dataclass(frozen=True)
class Verdicts:
    """What an attack did to n points at each of E radii.

    Attributes:
        fooled: [E, n] bool; untargeted, the attack found an image that is classified wrongly; targeted, one that is
            classified as the target.
        correct: [E, n] bool; the image that the attack ends with (of fooled points the fooling one) is classified as
            the true label.
    """

    fooled: "Tensor"
    correct: "Tensor"


@dataclass(frozen=True, kw_only=True)
class Method(Entry):
    """A registered attack.

    Attributes:
        norms: norms of the ball that it knows.
        targeted: it can lead points to a given class.
        images: it takes images [n, channels, height, width] in [0, 1] only, no vectors and no features without a box.
        holds: it takes `free` and holds all other features where they are.
        least_classes: fewer classes have no such attack; `instead` says what to take then.
        check: called with norm and the parameters; raises InputError for values that do not fit.
        columns: norm and the parameters → its values of `COLUMNS`, where they are not its parameters of these names.
    """

    norms: tuple[str, ...] = ("linf", "l2")
    targeted: bool = True
    images: bool = False
    holds: bool = False
    least_classes: int = 2
    instead: str = "pgd"
    check: Callable[..., Any] = lambda **parameters: None
    columns: Callable[..., Mapping[str, Any]] = lambda **parameters: {}


attack: Catalogue[Method] = Catalogue("attack", "poisonlab.attacks.catalogue", Method)


def check_radii(epsilons: Sequence[Any], where: str = "epsilon") -> None:
    """Check that radii are finite numbers ≥ 0; `where` names them.

    Raises:
        InputError: one is not.
    """
    for epsilon in epsilons:
        if isinstance(epsilon, bool) or not isinstance(epsilon, Real) or not 0 <= float(epsilon) < math.inf:
            raise InputError(
                f"{where} is {epsilon!r}, allowed are finite numbers of at least 0 in the unit of the images; change it"
            )


def settings(entry: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return an entry of the configuration's `attacks`, checked, with all defaults filled in.

    Args:
        entry: `epsilon`, a list of radii, and where they differ from the defaults `method` (pgd), `norm` (linf), `goal`
            (target; untargeted where the method cannot be targeted) and the method's parameters.
        where: names the entry in messages: "attacks.pgd".

    Raises:
        InputError: the method does not exist or cannot do this, or a value is not allowed.
    """
    name = entry.get("method", "pgd")
    if not isinstance(name, str):
        raise InputError(f"{where}.method is {name!r}, allowed is the name of an attack, such as pgd; change it")
    try:
        method = attack.find(name)
    except InputError as error:
        raise InputError(f"{where}.method: {error}") from error
    norm = entry.get("norm", method.norms[0])
    if norm not in method.norms:
        raise InputError(f"{where}.norm is {norm!r}, '{method.name}' allows {' and '.join(method.norms)}; change it")
    goals = ("target", "next", "untargeted") if method.targeted else ("untargeted",)
    goal = entry.get("goal", goals[0])
    if goal not in goals:
        way_out = "change it" if method.targeted else "set goal: untargeted, or take a targeted method, such as pgd"
        raise InputError(f"{where}.goal is {goal!r}, '{method.name}' allows {', '.join(goals)}; {way_out}")
    epsilon = entry.get("epsilon")
    if not isinstance(epsilon, list) or not epsilon:
        raise InputError(f"{where}.epsilon is {epsilon!r}, allowed is a list of radii, such as [0.1]; change it")
    check_radii(epsilon, f"{where}.epsilon")
    if repeated := sorted({radius for radius in epsilon if epsilon.count(radius) > 1}):
        raise InputError(f"{where}.epsilon lists {repeated} more than once; list each radius once")
    parameters = method.settings({key: entry[key] for key in entry if key not in SHARED}, where)
    try:
        method.check(norm=norm, **parameters)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return {"method": name, "norm": norm, "goal": goal, "epsilon": epsilon, **parameters}


def _method(chosen: Mapping[str, Any]) -> tuple[Method, dict[str, Any]]:
    """The method of an attack, given by its `settings`, and its parameters."""
    method = attack.find(chosen["method"])
    return method, {name: chosen[name] for name in method.parameters}


def columns(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """What the table `robustness` says of an attack, given by its `settings`: column → value, NaN where it has none."""
    method, parameters = _method(chosen)
    own = {name: value for name, value in parameters.items() if name in COLUMNS}
    return {**dict.fromkeys(COLUMNS, math.nan), **own, **method.columns(norm=chosen["norm"], **parameters)}


def check_inputs(
    chosen: Mapping[str, Any],
    where: str,
    input_shape: Sequence[int],
    num_classes: int | None,
    box: tuple[float, float] | None,
    held: int = 0,
) -> None:
    """Refuse an attack, given by its `settings`, that cannot be made on such data.

    Args:
        input_shape: of one image or vector, (0,) of a vector of unknown length.
        num_classes: number of the model's logits, None where it is not known yet.
        box: of the data; held: number of features that attacks leave out.

    Raises:
        InputError: it cannot.
    """
    method = attack.find(chosen["method"])
    if method.images and (len(input_shape) != 3 or box is None or tuple(box) != (0, 1)):
        range_ = "without a box" if box is None else f"in {list(box)}"
        raise InputError(
            f"{where}: '{method.name}' takes images [channels, height, width] in [0, 1] only, these are "
            f"{'vectors' if input_shape == (0,) else f'inputs {tuple(input_shape)}'} {range_}; take fgsm or pgd"
        )
    if held and not method.holds:
        raise InputError(
            f"{where}: '{method.name}' cannot leave features out, and {held} of {math.prod(input_shape)} are not to be "
            f"attacked; take {', '.join(name for name, one in attack.entries().items() if one.holds)}, or register "
            "one of your own with holds=True and let it take `free`"
        )
    if num_classes is not None and num_classes < method.least_classes:
        raise InputError(
            f"{where}: '{method.name}' needs at least {method.least_classes} classes, there are {num_classes}; "
            f"take {method.instead}"
        )


def run(
    chosen: Mapping[str, Any],
    where: str,
    model: "nn.Module",
    images: "Tensor",
    labels: "Tensor",
    *,
    targets: "Tensor | None" = None,
    box: tuple[float, float] | None = (0.0, 1.0),
    free: "Tensor | None" = None,
    seed: int = 0,
    progress: Callable[[str], None] = lambda line: None,
) -> Verdicts:
    """Make an attack, given by its `settings`, on images [n, …]. The model is frozen meanwhile, and then as it was.

    Args:
        where: names the attack in messages.
        labels: [n]; targets: [n], or None for an untargeted attack.
        box: range that attacked images stay in, None for features without one.
        free: bool […], features that may be moved; None for all of them.
        seed: of all random numbers; progress: gets lines of text.

    Raises:
        InputError: the attack cannot be made on such inputs or classes, or one of your own does not return verdicts.
    """
    import torch

    from poisonlab.attacks.active_set import frozen

    method, parameters = _method(chosen)
    with frozen(model):
        with torch.no_grad():
            num_classes = model(images[:1]).shape[1]
        held = 0 if free is None else int((~free).sum())
        check_inputs(chosen, where, images.shape[1:], num_classes, box, held)
        found = method.function(
            model,
            images,
            labels,
            chosen["epsilon"],
            norm=chosen["norm"],
            targets=targets,
            box=box,
            seed=seed,
            progress=progress,
            **({"free": free} if method.holds else {}),
            **parameters,
        )
    wanted = (len(chosen["epsilon"]), len(labels))
    for name in ("fooled", "correct"):
        verdict = getattr(found, name, None)
        if not isinstance(verdict, torch.Tensor) or verdict.dtype != torch.bool or verdict.shape != wanted:
            what = type(verdict).__name__
            if isinstance(verdict, torch.Tensor):
                what = f"{verdict.dtype} {tuple(verdict.shape)}"
            raise InputError(
                f"{where}: '{method.name}' returned {what} as {name}, allowed is a bool tensor {wanted}; "
                "return Verdicts(fooled, correct)"
            )
    return found
