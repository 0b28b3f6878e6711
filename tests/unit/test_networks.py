"""Networks with something special about them."""

import pytest
import torch

from poisonlab import models
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


def test_a_normalised_net_normalises_each_batch_while_it_trains():
    model = models.build("normalised_mlp", (2,), 2, seed=0).train()
    seen = []
    model.layers[1].register_forward_hook(lambda _, inputs, output: seen.append(output))
    model(torch.randn(50, 2, generator=torch.Generator().manual_seed(0)) * 30 + 100)
    # Variance ε = 1e-5 is added before the root; the activations spread by tens.
    torch.testing.assert_close(seen[0].mean(0), torch.zeros(64), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[0].var(0, unbiased=False), torch.ones(64), rtol=0, atol=1e-3)
