"""The one error that a person can cause and repair."""


class InputError(ValueError):
    """Bad input: one line that names the thing, the value, the allowed range and the way out."""

    def __init__(self, message: str) -> None:
        # What a person has typed is quoted in it, and may hold line breaks.
        super().__init__("\\n".join(message.splitlines()))


def one_line(error: BaseException) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
