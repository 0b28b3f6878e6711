"""Compiled kernels for processors, and the one switch that turns them off."""

import os

from poisonlab.errors import InputError

SWITCH = "POISONLAB_KERNELS"


def enabled() -> bool:
    """Whether compiled kernels may be used. Torch's own functions give the same results up to float32's rounding.

    The environment variable `POISONLAB_KERNELS` decides: `on` (the default) or `off`. Only this function reads it,
    at every call.

    Raises:
        InputError: the variable has another value.
    """
    value = os.environ.get(SWITCH, "on")
    if value not in ("on", "off"):
        raise InputError(f"environment variable {SWITCH} is '{value}'; set it to on or off, or unset it")
    return value == "on"
