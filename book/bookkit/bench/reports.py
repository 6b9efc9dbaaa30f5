"""Reports of `bsn bench --json`: what each begins with, and reading them again."""

import json
import pathlib
import platform
import sys
import time
from collections.abc import Iterable
from typing import Any

import jsonschema

from bookkit import environment, files
from bookkit.data import Data
from bookkit.parameters import check
from bookkit.paths import RECORDS, table
from bookkit.settings import Settings
from bsn.errors import InputError, shown

Report = dict[str, Any]

OWN = "book"  # what a chapter's parameter says for the book's own report
# parameter of a chapter -> the command that writes its file, the book's own
REPORTS = {
    "benchmark": ("bsn bench --json", "benchmark.json"),
    "scaling": ("bsn bench --workers --json", "cluster.json"),
}
FORMATS = jsonschema.FormatChecker(formats=())
FORMATS.checks("printable")(lambda value: not isinstance(value, str) or value.isprintable())


def header(data: Data, rounds: int, steps: int, settings: Settings, packages: Iterable[str]) -> Report:
    """Return what a report begins with: date, machine, versions, data and lengths."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": {
            "processor": environment.processor(),
            "cores": settings.threads,
            "system": platform.platform(),
        },
        "versions": environment.versions(packages),
        "dataset": data.name,
        "rounds": rounds,
        "steps": steps,
    }


def say(line: str) -> None:
    """Tell on stderr what is running."""
    print(f"bsn: {line}", file=sys.stderr, flush=True)


def read(name: str, parameter: str = "benchmark") -> Report:
    """Read the report for a chapter's parameter from a file, or, by the name "book", the book's own.

    Raises:
        InputError: there is no such file, or it is no such report.
    """
    check(parameter, name)
    command, own = REPORTS[parameter]
    path = RECORDS / own if name == OWN else pathlib.Path(name)
    try:
        if files.special(path):
            raise ValueError("not a file")
        report = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
        schema = table("reports")[parameter]
        jsonschema.Draft202012Validator(schema, format_checker=FORMATS).validate(report)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{parameter}: {path} is not what {command} writes ({error})") from None
    except jsonschema.ValidationError as error:
        raise InputError(
            f"{parameter}: {path} is not what {command} writes ({error.json_path}: {shown(error.instance)})"
        ) from None
    return report


def _refuse(number: str) -> None:
    raise ValueError(f"{number} is no number")
