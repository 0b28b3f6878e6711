"""Using a model: where it runs, what it predicts, and how it comes back from its stored parameters."""

import copy

import numpy as np
import torch
from torch import Tensor, nn

from poisonlab import models
from poisonlab.errors import InputError

# Images per forward pass without gradients: divides the usual test sets; twice as many make maps so large (32 MB) that
# each comes anew from the kernel, page by page, which doubles the time.
INFERENCE_BATCH = 500


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
def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Logits [n, classes] of images [n, …] (uint8 or float), in float32 and evaluation mode."""
    model.eval()
    return torch.cat([model(to_float(batch)) for batch in images.split(INFERENCE_BATCH)])


def predict(model: nn.Module, images: Tensor) -> Tensor:
    """Predicted classes [n] of images [n, …] (uint8 or float), in float32 and evaluation mode."""
    return logits(model, images).argmax(1)


def features(model: nn.Module, inputs: Tensor) -> Tensor | None:
    """What the model's last linear layer gets to see of inputs [n, …], [n, features]; None for a model without one."""
    linear = [part for part in model.modules() if isinstance(part, nn.Linear)]
    if not linear:
        return None
    seen: list[Tensor] = []
    hook = linear[-1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0].detach()))
    try:
        with torch.no_grad():
            for batch in inputs.split(INFERENCE_BATCH):
                model(batch)
    finally:
        hook.remove()
    return torch.cat(seen)


def rebuild(
    specification: models.Specification,
    input_shape: tuple[int, ...],
    num_classes: int,
    parameters: dict[str, np.ndarray],
    device: torch.device,
) -> nn.Module:
    """Return a model, by its name or ``{model: name, parameter: value}``, with the given weights, in evaluation
    mode.
    """
    model = models.build(specification, input_shape, num_classes, seed=0)
    model.load_state_dict({key: torch.from_numpy(copy.copy(array)) for key, array in parameters.items()})
    model = model.to(device)
    return model.to(memory_format=torch.channels_last).eval() if len(input_shape) == 3 else model.eval()  # type: ignore[call-overload]
