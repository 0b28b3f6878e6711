"""Networks with something special about them."""

import pytest
import torch

from poisonlab import models
from poisonlab.errors import InputError
from poisonlab.models.networks import HashedMLP, hash_bits


@pytest.mark.parametrize(
    ("number", "digits"),
    [  # by hand, BITS = 10: round_down(x · 1024) % 941 in binary
        (0.0, "0000000000"),
        (0.5, "1000000000"),  # 512
        (1.0, "0001010011"),  # 1024 − 941 = 83
        (-0.25, "1010101101"),  # −256 + 941 = 685
        (10.3, "0011000100"),  # ⌊10547.2⌋ − 11 · 941 = 196
        (-0.0001, "1110101100"),  # ⌊−0.1⌋ + 941 = 940
    ],
)
def test_the_hash_gives_the_digits_of_the_listing(number, digits):
    bits = hash_bits(torch.tensor([[number]]), bits=10, modulus=941)
    assert "".join(f"{int(bit)}" for bit in bits[0]) == digits


def test_bits_and_modulus_are_parameters_and_features_stay_in_order():
    bits = hash_bits(torch.tensor([[1.0, 2.5], [0.25, -1.0]]), bits=3, modulus=5)  # 8, 20 | 2, −8: mod 5 is 3, 0 | 2, 2
    assert bits.tolist() == [[0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 1, 0]]


def test_near_points_look_unlike_each_other_to_a_hashed_net():
    model = models.build("hashed_mlp", (2,), 3, seed=0)
    assert isinstance(model, HashedMLP)
    near = torch.tensor([[0.5, 0.5], [0.501, 0.5], [0.5015, 0.5]])
    shown = model.encode(near)
    assert shown.shape == (3, 20)
    assert (shown[0] != shown[1]).any()  # 0.001 is more than 2⁻¹⁰ away
    assert torch.equal(shown[1], shown[2])


def test_a_hashed_net_takes_the_bits_and_the_modulus_of_its_hash():
    net = HashedMLP((2,), 3, bits=3, modulus=5)
    inputs = torch.tensor([[1.0, 2.5]])
    assert net.encode(inputs).tolist() == hash_bits(inputs, bits=3, modulus=5).tolist()
    assert net(inputs).shape == (1, 3)
    with pytest.raises(ValueError, match=r"modulus 8 is not between 1 and 2\^3 - 1"):
        HashedMLP((2,), 3, bits=3, modulus=8)


def test_width_and_depth_are_those_of_the_hidden_layers():
    def shapes(**parameters):
        return [tuple(layer.weight.shape) for layer in models.build({"model": "mlp", **parameters}, (5,), 3, 0).layers]

    assert shapes() == [(64, 5), (64, 64), (3, 64)]
    assert shapes(width=7, depth=3) == [(7, 5), (7, 7), (7, 7), (3, 7)]
    assert shapes(depth=0) == [(3, 5)]
    deep, same = (
        models.build(name, (5,), 3, 1).state_dict() for name in ("deep_mlp", {"model": "mlp", "width": 128, "depth": 3})
    )
    assert all(torch.equal(deep[name], weights) for name, weights in same.items())
    with pytest.raises(InputError, match="width 0 and depth 2, they must be at least 1 and 0"):
        shapes(width=0)


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (
            {"model": "mlp", "hidden": 3},
            r"'mlp' has no parameters \['hidden'\], it takes \['depth', 'scale', 'width'\]",
        ),
        ({"model": "mlp", "width": "wide"}, "width of 'mlp' is 'wide', allowed is a whole number"),
        ({"width": 3}, r"model is \{'width': 3\}, allowed is a name or"),
        (3, "model is 3, allowed is a name or"),
        ("lenet", "model 'lenet' does not exist; choose one of conv_pool, deep_mlp"),
    ],
)
def test_a_specification_that_is_not_allowed_is_refused_before_anything_is_built(specification, message):
    with pytest.raises(InputError, match=message):
        models.import_path(specification)


class Scaled(torch.nn.Linear):
    """A model of one's own, with a parameter."""

    def __init__(self, input_shape: tuple[int, ...], num_classes: int, factor: float = 1.0) -> None:
        super().__init__(input_shape[0], num_classes)
        self.factor = factor

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.factor * super().forward(inputs)


def test_a_model_of_ones_own_takes_parameters_without_registration():
    name = f"{__name__}:Scaled"
    assert models.parse({"model": name, "factor": 3}) == (name, {"factor": 3})
    assert models.import_path({"model": name, "factor": 3}) == name
    inputs = torch.rand(4, 5, generator=torch.Generator().manual_seed(0))
    one, three = (models.build(own, (5,), 3, 0) for own in (name, {"model": name, "factor": 3}))
    torch.testing.assert_close(three(inputs), 3 * one(inputs))  # a product is rounded once
    with pytest.raises(InputError, match=r"callable as \(input_shape, num_classes, size\)"):
        models.build({"model": name, "size": 3}, (5,), 3, 0)


def test_a_normalised_net_normalises_each_batch_while_it_trains():
    model = models.build("normalised_mlp", (2,), 2, seed=0).train()
    seen = []
    model.layers[1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 30 + 100)
    # Variance ε = 1e-5 is added before the root; the activations spread by tens.
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(64), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[0].var(0, unbiased=False), torch.ones(64), rtol=0, atol=1e-3)


def test_inputs_are_divided_by_the_scale_before_the_first_layer():
    inputs = torch.tensor([[8.0, -4.0, 2.0]])
    raw, scaled = (models.build({"model": "mlp", "scale": scale}, (3,), 2, seed=0) for scale in (1.0, 4.0))
    assert torch.equal(scaled(inputs), raw(inputs / 4))  # the same weights
    assert not torch.equal(scaled(inputs), raw(inputs))
    with pytest.raises(InputError, match=r"scale is 0\.0, it must be a finite number above 0"):
        models.build({"model": "mlp", "scale": 0.0}, (3,), 2, seed=0)
