"""A victim's data order, the same on every device and for every chunk."""

import numpy as np


def epoch_order(seed: int, epoch: int, n: int, batch_size: int = 1, shuffle: bool = True) -> np.ndarray:
    """Return the order of n training points in an epoch: [n] int64, a permutation; 0 … n − 1 unshuffled, or where a
    batch holds all points.

    The order sorts an integer hash of (seed, epoch, i) stably, so that it is a pure function of its arguments. The hash
    is the finaliser of SplitMix64 (Steele, Lea & Flood, 2014).
    """
    if batch_size >= n or not shuffle:
        return np.arange(n)
    with np.errstate(over="ignore"):
        state = np.arange(1, n + 1, dtype=np.uint64) + (
            np.uint64(seed) + np.uint64(epoch) * np.uint64(0xD1B54A32D192ED03)
        )
        state *= np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return np.argsort(state, kind="stable")
