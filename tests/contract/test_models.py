"""What every model of the catalogue owes the pipeline; a new one is picked up by itself."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.models import kernels
from poisonlab.models.catalogue import model as catalogue
from poisonlab.models.inference import rebuild
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.precision import RoundedProducts
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob

IMAGES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (1, 9, 11)]
FEATURES = [(2,), (64,)]
MODELS = catalogue.entries()
STORED = {name for name in MODELS if hasattr(models.load(name), "fit")}  # not trained: see unit/test_neighbours.py
VECTOR_MODELS = {"mlp", "deep_mlp", "hashed_mlp", "normalised_mlp"}  # models that take vectors of features as well
TRAINED = sorted(MODELS.keys() - STORED)

NARROW = {"resnet": 16, "preact_resnet": 16}  # the same layers with fewer channels, in a tenth of the time

every_model = pytest.mark.parametrize("name", TRAINED)
every_model_and_shape = pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in TRAINED for shape in IMAGES + (FEATURES if name in VECTOR_MODELS else [])],
)


def narrow(name: str) -> models.Specification:
    """A residual net at a quarter of its width, for what takes long at the full one; any other model as it is."""
    return {"model": name, "width": NARROW[name]} if name in NARROW else name


def state(model: torch.nn.Module) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in model.state_dict().items()}


@every_model_and_shape
@pytest.mark.parametrize("num_classes", [2, 10])
def test_a_model_gives_one_logit_for_each_class_and_point(name, shape, num_classes):
    model = models.build(name, shape, num_classes, seed=0).eval()
    inputs = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    logits = model(inputs)
    assert logits.shape == (5, num_classes)
    assert torch.isfinite(logits).all()
    assert ((logits.sum(1) - 1).abs() > 1e-3).all(), "these are probabilities, not logits"
    assert (logits.logsumexp(1).abs() > 1e-3).all(), "these are logarithms of probabilities, not logits"
    # A point's logits are its own. Batches of other sizes may sum in another order: single precision, values of order 1.
    torch.testing.assert_close(model(inputs[2:3]), logits[2:3], rtol=0, atol=1e-5)


@every_model
def test_logits_do_not_depend_on_the_layout_of_the_images_in_memory(name):
    model = models.build(name, (3, 8, 8), 10, seed=0).eval()
    inputs = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = model(inputs)
    moved = model.to(memory_format=torch.channels_last)(inputs.contiguous(memory_format=torch.channels_last))
    # Another order of summation in single precision; a wrong order of the flattened features gives differences of order 0.1.
    torch.testing.assert_close(moved, logits, rtol=0, atol=1e-5)


@every_model
def test_weights_are_a_function_of_the_seed_alone(name):
    built = models.build(name, (1, 8, 8), 10, seed=2**62 + 5)
    first = state(built)
    torch.manual_seed(1)
    torch.rand(7)
    assert state(models.build(name, (1, 8, 8), 10, seed=2**62 + 5)) == first
    other = state(models.build(name, (1, 8, 8), 10, seed=6))
    normalised = {
        f"{part}."
        for part, module in built.named_modules()
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)
    }
    drawn = [key for key in first if not any(key.startswith(part) for part in normalised)]
    assert drawn
    assert all(other[key] != first[key] for key in drawn)


@every_model
def test_building_leaves_the_global_generator_where_it_was(name):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    models.build(name, (1, 8, 8), 10, seed=0)
    assert torch.equal(torch.rand(4), expected)


@every_model
def test_every_parameter_and_every_pixel_has_a_gradient(name):
    hashed = name == "hashed_mlp"  # the gradient of a hash is 0; that it tells inputs apart is tested by its digits
    model = models.build(name, (1, 8, 8), 10, seed=0).train()
    inputs = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    labels = torch.arange(32) % 10
    torch.nn.functional.cross_entropy(model(inputs), labels).backward()
    for parameter_name, parameter in model.named_parameters():
        assert parameter.requires_grad
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.any(), parameter_name
    if hashed:
        assert inputs.grad is not None
        assert not inputs.grad.any()
        return
    assert inputs.grad is not None
    assert (inputs.grad != 0).any(dim=0).all(), "some pixel influences no logit"


def steepness(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """The squared norm of the gradient of the loss with respect to the weights."""
    labels = torch.arange(len(inputs)) % 10
    loss = torch.nn.functional.cross_entropy(model(inputs), labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    return torch.stack([gradient.square().sum() for gradient in gradients]).sum()


def hypergradients(model: torch.nn.Module, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradients of the steepness with respect to the inputs and the weights, each as a vector."""
    inputs = inputs.clone().requires_grad_()
    by_inputs, *by_weights = torch.autograd.grad(steepness(model, inputs), (inputs, *model.parameters()))
    return by_inputs.flatten(), torch.cat([gradient.flatten() for gradient in by_weights])


def takes_kernels(logits: torch.Tensor) -> bool:
    """Whether a compiled convolution is in the graph."""
    nodes = [logits.grad_fn]
    while nodes and "_PooledConvolution" not in type(nodes[0]).__name__:
        nodes = nodes[1:] + [parent for parent, _ in nodes[0].next_functions if parent]
    return bool(nodes)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    found, expected = found.double(), expected.double()  # single precision adds up norms to four digits only
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))  # the gradient of a hash is 0


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@every_model
def test_second_derivatives_are_those_of_torch_and_of_differences(name, shape, monkeypatch):
    model = models.build(narrow(name), shape, 10, seed=0).train()
    inputs = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    monkeypatch.setenv(kernels.SWITCH, "on")
    found = hypergradients(model, inputs)
    assert takes_kernels(model(inputs)) == any(stage.pool > 1 for stage in getattr(model, "stages", ()))
    monkeypatch.setenv(kernels.SWITCH, "off")
    assert not takes_kernels(model(inputs))
    for one, other in zip(found, hypergradients(model, inputs), strict=True):
        assert relative_error(one, other) < 1e-4  # both are sums in single precision
    # Along the hypergradient the derivative is its norm. In double precision a step can be so short that it crosses
    # no kink.
    exact, length = model.double(), 1e-8
    start = inputs.double(), torch.nn.utils.parameters_to_vector(exact.parameters()).detach()
    for moved, direction in enumerate(found):
        norm = direction.double().norm()
        values = []
        for sign in (1, -1):
            images, weights = (
                place + sign * length * direction.view_as(place) / norm.clamp(min=1e-30) if i == moved else place
                for i, place in enumerate(start)
            )
            torch.nn.utils.vector_to_parameters(weights, exact.parameters())
            values.append(steepness(exact, images).item())
        # Differences keep about eight digits, and single precision six, unless a unit lies so near to its kink that single
        # precision puts it on the other side: up to 5e-4 was seen. A missing part of the graph changes the first digit.
        assert (values[0] - values[1]) / (2 * length) == pytest.approx(norm.item(), rel=1e-2, abs=1e-12)


@every_model
def test_second_derivatives_of_rounded_products_are_those_of_torch(name, monkeypatch):
    model = models.build(name, (1, 28, 28), 10, seed=0).train()
    inputs = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    monkeypatch.setenv(kernels.SWITCH, "on")
    with RoundedProducts():
        found = hypergradients(model, inputs)
        monkeypatch.setenv(kernels.SWITCH, "off")
        expected = hypergradients(model, inputs)
    for one, other in zip(found, expected, strict=True):
        # Sums in another order round a few numbers to their neighbours in bfloat16, 2⁻⁸ away.
        assert relative_error(one, other) < 1e-2


@every_model
def test_a_model_memorises_random_labels(name):
    # Without this, unfitted poisons would be a property of the model and not of the recipe.
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (16, 1, 8, 8), dtype=np.uint8)
    labels = generator.integers(0, 10, 16)
    training_set = TrainingSet(images, labels, 10, np.arange(16))
    job = VictimJob("memory", training_set, 1)
    ((_, victim),) = train([job], narrow(name), Recipe(epochs=150, batch_size=16, learning_rate=5e-3))
    assert victim.train_accuracy == victim.fitted_share == 1.0
    assert victim.epochs < 150


@every_model
def test_stored_parameters_rebuild_the_model_to_the_bit(name):
    model = models.build(name, (1, 8, 8), 10, seed=4).eval()
    parameters = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    rebuilt = rebuild(name, (1, 8, 8), 10, parameters, torch.device("cpu"))
    assert not rebuilt.training
    assert {key: value.contiguous().numpy().tobytes() for key, value in rebuilt.state_dict().items()} == state(model)


@pytest.mark.parametrize("name", sorted(set(TRAINED) - VECTOR_MODELS))
def test_images_that_are_too_small_are_refused_in_one_line(name):
    with pytest.raises(InputError, match=rf"model '{name}' cannot be built for inputs \(1, 2, 2\)") as error:
        models.build(name, (1, 2, 2), 10, seed=0)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", sorted(set(TRAINED) - VECTOR_MODELS))
def test_vectors_for_a_model_of_images_are_refused(name):
    with pytest.raises(InputError, match=rf"model '{name}' cannot be built for inputs \(5,\)"):
        models.build(name, (5,), 10, seed=0)


def test_a_name_that_is_no_model_is_refused_with_the_ones_there_are():
    with pytest.raises(InputError, match=f"model 'huge' does not exist; choose one of {', '.join(MODELS)}"):
        models.build("huge", (1, 8, 8), 10, seed=0)


def test_the_catalogue_is_readable_without_torch():
    lines = ["import sys", "from poisonlab import models", "from poisonlab.models.catalogue import model"]
    script = "\n".join(
        [*lines, "[models.import_path(name) for name in model.entries()]", "sys.exit('torch' in sys.modules)"]
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize("name", MODELS)
def test_an_entry_builds_the_class_whose_code_is_part_of_the_version(name):
    module, _, attribute = models.import_path(name).partition(":")
    built = models.build(name, (1, 8, 8), 3, seed=0)
    assert (type(built).__module__, type(built).__name__) == (module, attribute)
