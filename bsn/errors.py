"""The one exception for a user's mistake."""


class InputError(ValueError):
    """What was wrong, where, and what is allowed, in one line.

    The `bsn` command prints it without a traceback, and so does IPython, through
    `_render_traceback_`; anything else that escapes is a defect of this package.
    """

    def _render_traceback_(self):
        return [f"InputError: {self}"]
