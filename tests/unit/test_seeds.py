"""Seeds by named axis."""

import hashlib
import itertools

import numpy as np
import torch

from poisonlab.seeds import seed


def test_seeds_are_the_same_on_every_machine_for_ever():
    # Pinned: a change of these numbers makes every archived victim irreproducible.
    assert seed("poison", draw=2) == 1547305867047716795
    assert seed("victim", repeat=5) == 3749698237018965057
    assert seed("folds") == 6163800183576899056


def test_the_order_of_the_axes_and_the_type_of_their_values_do_not_matter():
    assert seed("x", draw=1, repeat=2) == seed("x", repeat=2, draw=1)
    assert seed("x", draw=np.int64(1)) == seed("x", draw=1)  # type: ignore[arg-type]


def test_every_stage_and_every_position_on_its_axes_has_its_own_seed():
    names = itertools.product(("poison", "victim"), range(40), range(40))
    seeds = [seed(stage, draw=draw, repeat=repeat) for stage, draw, repeat in names]
    seeds += [seed("victim", repeat=repeat) for repeat in range(40)]
    assert len(set(seeds)) == len(seeds)
    assert seed("x", draw=1, repeat=2) != seed("x", draw=2, repeat=1)
    assert seed("x", draw=1, repeat=12) != seed("x", draw=11, repeat=2)


def test_a_seed_is_a_63_bit_number_that_numpy_and_torch_accept():
    seeds = [seed("range", repeat=repeat) for repeat in range(300)]
    assert all(0 <= value < 2**63 for value in seeds)
    assert max(seeds) > 2**62  # all bits are used: 300 draws miss the upper half with probability 2⁻³⁰⁰
    np.random.default_rng(max(seeds))
    torch.Generator().manual_seed(max(seeds))


def test_a_seed_is_half_the_blake2b_hash_of_its_name():
    digest = hashlib.blake2b(b"stage|draw=3|repeat=4", digest_size=8).hexdigest()
    assert seed("stage", repeat=4, draw=3) == int(digest, 16) // 2
