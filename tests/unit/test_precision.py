"""The arithmetic of training: the same bits with any number of threads."""

import contextlib
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from poisonlab.datasets.dataset import Dataset
from poisonlab.poisons.poison import TrainingSet
from poisonlab.victims.engines import train
from poisonlab.victims.precision import one_thread
from poisonlab.victims.recipe import Recipe
from poisonlab.victims.victim import VictimJob


@pytest.fixture
def _two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.usefixtures("_two_threads")
def test_an_mlp_alone_has_the_bits_that_it_has_among_three_where_one_thread_computes(digits: Dataset):
    few = TrainingSet(digits.train_images[:60], digits.train_labels[:60], 10, np.arange(0))
    jobs = [VictimJob(str(seed), few, seed) for seed in range(3)]
    # With two threads and batches this small, weights differ in their last bits.
    recipe = Recipe(epochs=1, batch_size=10, learning_rate=5e-3, stop_when_fitted=False)

    def weights(chosen: list[VictimJob]) -> list[np.ndarray]:
        trained = train(chosen, "mlp", recipe)
        return [np.concatenate([array.ravel() for array in victim.parameters.values()]) for _, victim in trained]

    with one_thread():
        together = weights(jobs)
        alone = [weights([job])[0] for job in jobs]
    np.testing.assert_array_equal(alone, together)


@pytest.mark.usefixtures("_two_threads")
def test_the_number_of_threads_comes_back_after_an_error_too():
    with contextlib.suppress(InterruptedError), one_thread():
        with one_thread():
            pass
        assert torch.get_num_threads() == 1
        raise InterruptedError
    assert torch.get_num_threads() == 2
