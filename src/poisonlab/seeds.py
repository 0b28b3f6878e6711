"""Seeds by named axis: draws and repeats are crossed, and asking for more of either changes none of the others."""

import hashlib


def seed(stage: str, **axes: int) -> int:
    """Return a 63-bit seed for `stage` at the given position on its axes.

    The same (stage, axes) gives the same seed on every machine, whatever else runs. A victim's seed depends on its
    repeat alone, so that every draw and every condition meets the same initialisation and data order and differences
    are paired.

    Example: ``seed("poison", draw=2)`` for the points, ``seed("victim", repeat=5)`` for initialisation and order.
    """
    key = "|".join([stage, *(f"{name}={int(axes[name])}" for name in sorted(axes))])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "big") >> 1
