"""Reports of `bsn bench --json`, read again."""

import json
import pathlib

from bookkit.parameters import check
from bookkit.paths import RECORDS
from bsn.errors import InputError

# parameter of a chapter -> (the command that writes such a file, what is in it)
REPORTS = {
    "benchmark": (
        "bsn bench --json",
        {
            "machine", "versions", "dataset", "rounds", "steps", "contestants", "ratios",
        },
    ),
    "scaling": (
        "bsn bench --workers --json",
        {"machine", "versions", "dataset", "rounds", "steps", "nets", "batches", "runs"},
    ),
}  # fmt: skip


def read(name, parameter="benchmark"):
    """The report in the file `name`, relative to here, or one of the book's own.

    Args:
        parameter: that of the chapter, which says what kind of report it is: one of `REPORTS`.

    Raises:
        InputError: there is no such file, or it is no such report.
    """
    check(parameter, name)
    command, parts = REPORTS[parameter]
    for path in (pathlib.Path(name), RECORDS / name):
        try:
            report = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{parameter}: {path} cannot be read: {error}") from None
        if not isinstance(report, dict) or not parts <= set(report):
            raise InputError(f"{parameter}: {path} is not what {command} writes")
        return report
    raise InputError(f"{parameter}: no file {name}; expected a path, or the name of a file of the book")
