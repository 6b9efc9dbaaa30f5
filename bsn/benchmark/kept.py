"""Reports of `bsn bench --json`, read again."""

import json
import pathlib

from bsn.errors import InputError
from bsn.paths import BOOK
from bsn.spec import check

PARTS = (
    "machine",
    "versions",
    "dataset",
    "rounds",
    "steps",
    "product_limit",
    "contestants",
    "ratios",
    "growth",
)


def read(name):
    """The report in the file `name`, relative to here, or one of the book's own.

    Raises:
        InputError: there is no such file, or it is no report.
    """
    check("benchmark", name)
    for path in (pathlib.Path(name), BOOK / name):
        try:
            report = json.loads(path.read_text())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            continue
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"benchmark: {path} cannot be read: {error}") from None
        if not isinstance(report, dict) or not set(PARTS) <= set(report):
            raise InputError(f"benchmark: {path} is not what bsn bench --json writes")
        return report
    raise InputError(f"benchmark: no file {name}; allowed: a path, or the name of a file of the book")
