"""The exception for a user's mistake."""

import reprlib
from typing import Any

MAX_LENGTH = 1500  # characters of a message


class InputError(ValueError):
    """What was wrong, where, and what was expected, in one line.

    The `bsn` command prints it without a traceback, and so does IPython, through
    `_render_traceback_`. Any other exception that escapes is a defect of this package.
    """

    ag_pass_through = True  # TensorFlow's AutoGraph would replace it by an error of its own
    _keras_call_info_injected = True  # and Keras would add its layer's arguments to the line

    def __init__(self, message: object) -> None:
        line = printable(str(message))
        super().__init__(line if len(line) <= MAX_LENGTH else line[:MAX_LENGTH] + " ...")

    def _render_traceback_(self) -> list[str]:
        return [f"InputError: {self}"]


def printable(text: str) -> str:
    """Return a text with spaces for characters that would control a terminal."""
    return "".join(character if character.isprintable() else " " for character in text)


def shown(value: Any) -> str:
    """Return a short text for a value in a message, whatever the value is."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 200
    try:
        return brief.repr(value)
    except Exception:  # a number of thousands of digits, or an object whose repr fails
        return f"a {type(value).__name__} that cannot be shown"


def refusal(what: str, value: Any, expected: str) -> InputError:
    """Return the error for a value that is not what was expected."""
    return InputError(f"{what} is {shown(value)}; expected {expected}")
