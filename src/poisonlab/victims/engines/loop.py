"""The `loop` engine: one victim after the other, for any model on any device."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from poisonlab import models
from poisonlab.models.inference import INFERENCE_BATCH, predict, to_float
from poisonlab.victims.order import epoch_order
from poisonlab.victims.precision import PRECISIONS, computing_in, flushed_denormals
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import CHECK_BELOW, Progress, Victim, VictimJob

# Relative error of a product of random 256 × 256 matrices: float32 stays below it by a factor of ten, bfloat16 is above it by a hundred.
FLOAT32_ERROR = 1e-5


def train(
    jobs: Iterable[VictimJob], model: str, recipe: Recipe, precision: str, device: torch.device, progress: Progress
) -> Iterator[tuple[VictimJob, Victim]]:
    """Train the victims of `jobs`, see `poisonlab.victims.engines.train`."""
    on_device: dict[int, Tensor] = {}
    for job in jobs:
        # Poisons that only relabel share the images of their data set: one copy on the device serves the whole chunk.
        shared = id(job.training_set.images)
        if shared not in on_device:
            on_device = {shared: torch.from_numpy(job.training_set.images).to(device)}
        # A model may draw random numbers while it trains (dropout): they are its own, whatever was trained before.
        with torch.random.fork_rng(), onednn_matmul(), flushed_denormals():
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
    weights = _flatten(model)
    gradient = weights.grad
    assert gradient is not None
    adam = _Adam(weights, recipe.beta2)
    steps_per_epoch = -(-n // recipe.batch_size)
    step = epoch = 0
    fitted = False
    while epoch < recipe.epochs and not fitted:
        order = torch.from_numpy(epoch_order(job.seed, epoch, n, recipe.batch_size, recipe.shuffle)).to(device)
        wrong = torch.zeros((), dtype=torch.long, device=device)
        model.train()
        for batch in order.split(recipe.batch_size):
            inputs = to_float(images[batch])
            if inputs.dim() == 4:
                inputs = inputs.contiguous(memory_format=torch.channels_last)
            with computing_in(compute, device):
                logits = model(inputs)
            logits = logits.float()
            gradient.zero_()
            F.cross_entropy(logits, labels[batch]).backward()
            adam.step(recipe.rate(step, recipe.epochs * steps_per_epoch))
            wrong += (logits.detach().argmax(1) != labels[batch]).sum()
            step += 1
        epoch += 1
        errors = int(wrong)
        if recipe.stop_when_fitted and errors <= CHECK_BELOW * n:
            fitted = _fits_everything(model, images, labels, poisoned)
        progress(f"{job.key}: epoch {epoch} of at most {recipe.epochs}, {errors} of {n} wrong while training")
    answers = predict(model, images).cpu().numpy()
    state = {key: value.detach().cpu().contiguous().numpy().copy() for key, value in model.state_dict().items()}
    return Victim.judged(state, epoch, answers, job.training_set)


class _Adam:
    """torch.optim.Adam(fused=True) of one vector, by its operator: the class imports torch's compiler first, seconds in every job."""

    def __init__(self, weights: nn.Parameter, beta2: float) -> None:
        assert weights.grad is not None
        self.weights, self.gradient, self.beta2 = weights.detach(), weights.grad, beta2
        self.moments = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.steps = torch.zeros((), device=weights.device)

    def step(self, rate: float) -> None:
        """One step at this learning rate."""
        first, second = ([moment] for moment in self.moments)
        self.steps += 1
        torch._fused_adam_(
            [self.weights], [self.gradient], first, second, [], [self.steps], lr=rate, beta1=0.9, beta2=self.beta2,
            weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip


def _flatten(model: nn.Module) -> nn.Parameter:
    """Move the model's trainable parameters and their gradients into one vector each, for one step of Adam instead of one per tensor.

    The parameters become views of the vector that is returned, their gradients views of its gradient; convolutions keep the channels_last
    layout.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    sizes = [p.numel() for p in parameters]
    flat = nn.Parameter(torch.empty(sum(sizes), device=parameters[0].device))
    flat.grad = torch.zeros_like(flat)
    pieces = zip(parameters, flat.detach().split(sizes), flat.grad.split(sizes), strict=True)
    for parameter, weights, gradient in pieces:
        shape = parameter.shape
        if len(shape) == 4:
            last = (shape[0], shape[2], shape[3], shape[1])
            own, own_gradient = weights.view(last).permute(0, 3, 1, 2), gradient.view(last).permute(0, 3, 1, 2)
        else:
            own, own_gradient = weights.view(shape), gradient.view(shape)
        own.copy_(parameter.detach())
        parameter.data, parameter.grad = own, own_gradient
    return flat


def _fits_everything(model: nn.Module, images: Tensor, labels: Tensor, poisoned: Tensor) -> bool:
    """Whether every training point has its training label; the poisons are asked first, because they are fitted last."""
    if (predict(model, images[poisoned]) != labels[poisoned]).any() if len(poisoned) else False:
        return False
    batches = zip(images.split(INFERENCE_BATCH), labels.split(INFERENCE_BATCH), strict=True)
    return all((predict(model, batch) == answers).all() for batch, answers in batches)


@contextlib.contextmanager
def onednn_matmul() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices on the CPU where that is faster and just as exact.

    Asked for bfloat16, oneDNN computes in true float32 on a processor without matrix units (AMX), about twice as fast as the default
    library; on one with them it would round the inputs to bfloat16. A check against float64 tells the two apart.
    """
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = settings.fp32_precision
    settings.fp32_precision = "bf16"
    if matmul_error() > FLOAT32_ERROR:
        settings.fp32_precision = "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


def matmul_error() -> float:
    """Relative error (largest difference / largest value) of a float32 matrix product under the present settings."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(256, 256, generator=generator) for _ in range(2))
    exact = a.double() @ b.double()
    return float(((a @ b).double() - exact).abs().max() / exact.abs().max())
