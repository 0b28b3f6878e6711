"""The one error that a person can cause and repair."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input: one line that names the thing, the value, the allowed range and the way out."""

    def __init__(self, message: str) -> None:
        # What a person has typed is quoted in it, and may hold line breaks.
        super().__init__("\\n".join(message.splitlines()))


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question with the known word that is nearest to a misspelt one, and a space; "" where none is near."""
    near = difflib.get_close_matches(str(word), list(known), 1)
    return f"did you mean '{near[0]}'? " if near else ""


def one_line(error: BaseException) -> str:
    """The error's text on one line."""
    return " ".join(str(error).split()) or type(error).__name__
