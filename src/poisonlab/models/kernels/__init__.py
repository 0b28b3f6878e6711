"""Compiled kernels for processors, and the one switch that turns them off."""

import os

from poisonlab.errors import InputError

SWITCH = "POISONLAB_KERNELS"


def enabled() -> bool:
    """Whether the compiled kernels may be used; torch's own functions take their place otherwise.

    The environment variable `POISONLAB_KERNELS` decides, `on` (the default) or `off`. It is read here alone, at every use. Results without
    the kernels are the same up to float32's rounding.

    Raises:
        InputError: the variable has another value.
    """
    value = os.environ.get(SWITCH, "on")
    if value not in ("on", "off"):
        raise InputError(f"environment variable {SWITCH} is '{value}'; set it to on or off, or unset it")
    return value == "on"
