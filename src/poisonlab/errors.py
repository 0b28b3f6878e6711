"""The one error that a person can cause and repair."""


class InputError(ValueError):
    """Bad input: one line that names the thing, the value, the allowed range and the way out."""


def one_line(error: BaseException) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
