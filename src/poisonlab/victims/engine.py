"""The `loop` engine: one victim after the other, for any model on any device.

The interface that every engine keeps: `train(jobs, …)` yields each victim as it is finished, and a victim's weights do not depend on which
other jobs are in the list or on their order.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.poison import TrainingSet
from poisonlab.victims.order import epoch_order
from poisonlab.victims.recipe import Recipe

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
INFERENCE_BATCH = (
    1000  # images per forward pass without gradients: divides the usual test sets, a few MB of activations
)
# The exact check for "every point is fitted" costs a third of an epoch, so it waits until the epoch's running count of wrong answers,
# which comes for free, is at most this share of the training set.
CHECK_BELOW = 0.002

Progress = Callable[[str], None]


@dataclass(frozen=True)
class VictimJob:
    """One victim to train: `key` is its name in the chunk, `seed` gives initialisation and data order."""

    key: str
    training_set: TrainingSet
    seed: int


@dataclass(frozen=True)
class Victim:
    """A trained victim.

    Attributes:
        parameters: the model's state, name → float32 array.
        epochs: epochs trained; train_accuracy: share of training points, poisons included, with their training label.
        fitted_share: share of the poisons with the poison's label, NaN without poisons.
    """

    parameters: dict[str, np.ndarray]
    epochs: int
    train_accuracy: float
    fitted_share: float


def resolve_device(device: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means here.

    Raises:
        InputError: `cuda` is asked for and not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("device 'cuda' is not there, this machine offers 'cpu'; set device: auto or device: cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
    return torch.device(device)


def to_float(images: Tensor) -> Tensor:
    """Images as float32: uint8 means value / 255."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes [n] of images [n, …] (uint8 or float), in float32 and evaluation mode."""
    model.eval()
    return torch.cat([model(to_float(batch)).argmax(1) for batch in images.split(INFERENCE_BATCH)])


def _fits_everything(model: nn.Module, images: Tensor, labels: Tensor, poisoned: Tensor) -> bool:
    """Whether every training point has its training label; the poisons are asked first, because they are fitted last."""
    if (predict(model, images[poisoned]) != labels[poisoned]).any() if len(poisoned) else False:
        return False
    batches = zip(images.split(INFERENCE_BATCH), labels.split(INFERENCE_BATCH), strict=True)
    return all((predict(model, batch) == answers).all() for batch, answers in batches)


def train(
    jobs: Iterable[VictimJob],
    model: str,
    recipe: Recipe,
    precision: str = "float32",
    device: torch.device | None = None,
    progress: Progress = lambda line: None,
) -> Iterator[tuple[VictimJob, Victim]]:
    """Train the victims of `jobs` and yield each as it is finished.

    Args:
        model: name in the catalogue, or ``module:Class``.
        precision: of the forward and backward pass; the weights, Adam's state and every evaluation are float32.
        progress: gets one line per epoch.
    """
    device = device or torch.device("cpu")
    on_device: dict[int, Tensor] = {}
    for job in jobs:
        # Poisons that only relabel share the images of their data set: one copy on the device serves the whole chunk.
        shared = id(job.training_set.images)
        if shared not in on_device:
            on_device = {shared: torch.from_numpy(job.training_set.images).to(device)}
        # A model may draw random numbers while it trains (dropout): they are its own, whatever was trained before.
        with torch.random.fork_rng():
            torch.manual_seed(job.seed)
            victim = _train_one(job, on_device[shared], model, recipe, PRECISIONS[precision], device, progress)
        yield job, victim


def _train_one(
    job: VictimJob,
    images: Tensor,
    name: str,
    recipe: Recipe,
    compute: torch.dtype,
    device: torch.device,
    progress: Progress,
) -> Victim:
    labels = torch.from_numpy(job.training_set.labels).to(device)
    poisoned = torch.from_numpy(job.training_set.poisoned).to(device)
    n = len(labels)
    model = models.build(name, tuple(images.shape[1:]), job.training_set.num_classes, job.seed).to(device)
    if images.dim() == 4:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=recipe.learning_rate, betas=(0.9, recipe.beta2), fused=True)
    steps_per_epoch = -(-n // recipe.batch_size)
    step = epoch = 0
    fitted = False
    while epoch < recipe.epochs and not fitted:
        order = torch.from_numpy(epoch_order(job.seed, epoch, n)).to(device)
        wrong = torch.zeros((), dtype=torch.long, device=device)
        model.train()
        for batch in order.split(recipe.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(step, recipe.epochs * steps_per_epoch)
            inputs = to_float(images[batch])
            if inputs.dim() == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with torch.autocast(device.type, compute, enabled=compute != torch.float32):
                logits = model(inputs)
            logits = logits.float()
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(logits, labels[batch]).backward()
            optimizer.step()
            wrong += (logits.detach().argmax(1) != labels[batch]).sum()
            step += 1
        epoch += 1
        errors = int(wrong)
        if recipe.stop_when_fitted and errors <= CHECK_BELOW * n:
            fitted = _fits_everything(model, images, labels, poisoned)
        progress(f"{job.key}: epoch {epoch} of at most {recipe.epochs}, {errors} of {n} wrong while training")
    answers = predict(model, images)
    state = {key: value.detach().cpu().contiguous().numpy().copy() for key, value in model.state_dict().items()}
    return Victim(
        parameters=state,
        epochs=epoch,
        train_accuracy=float((answers == labels).double().mean()),
        fitted_share=float((answers[poisoned] == labels[poisoned]).double().mean()) if len(poisoned) else float("nan"),
    )


def rebuild(
    name: str, input_shape: tuple[int, ...], num_classes: int, parameters: dict[str, np.ndarray], device: torch.device
) -> nn.Module:
    """Return the model `name` with the given parameters, in evaluation mode."""
    model = models.build(name, input_shape, num_classes, seed=0)
    model.load_state_dict({key: torch.from_numpy(copy.copy(array)) for key, array in parameters.items()})
    model = model.to(device)
    return model.to(memory_format=torch.channels_last).eval() if len(input_shape) == 3 else model.eval()  # type: ignore[call-overload]
