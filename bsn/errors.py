"""The one exception for a user's mistake."""

import reprlib

LONGEST = 1500  # characters of a message


class InputError(ValueError):
    """What was wrong, where, and what is allowed, in one line.

    The `bsn` command prints it without a traceback, and so does IPython, through
    `_render_traceback_`; anything else that escapes is a defect of this package.
    """

    def __init__(self, message):
        message = "".join(one if one.isprintable() else " " for one in str(message))
        super().__init__(message if len(message) <= LONGEST else message[:LONGEST] + " ...")

    def _render_traceback_(self):
        return [f"InputError: {self}"]


def shown(value):
    """A value as it stands in a message: short, whatever was given."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 200
    try:
        return brief.repr(value)
    except Exception:  # a number of thousands of digits, or an object whose repr fails
        return f"a {type(value).__name__} that cannot be shown"
