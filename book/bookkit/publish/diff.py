"""What moved between two builds: numbers in texts, tables and figures, and verdicts."""

import io
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import bs4
import nbformat
import pandas as pd

from bookkit import files, statistics
from bsn.errors import InputError, printable

VERDICTS = {statistics.AGREES, statistics.DIFFERS, statistics.HOLDS, statistics.FAILS, statistics.CLOSE}
VERDICTS |= {statistics.NOT_REPRODUCED}
GLUE = "application/papermill.record/"


def diff(first: str, second: str) -> list[str]:
    """Compare the builds in two folders, such as `_build`; return a line for each thing that moved.

    That is a number in a text, a cell of a table, the values of a figure, a chapter that only one build has.
    Verdicts that changed come first.

    Raises:
        InputError: a folder without a build, or with a notebook that cannot be read.
    """
    before, after = results(first), results(second)
    lines = []
    for chapter in sorted(before.keys() | after.keys()):
        if chapter not in before or chapter not in after:
            lines.append(f"{chapter}: only in {second if chapter in after else first}")
        else:
            lines += [f"{chapter}: {line}" for line in _compare(before[chapter], after[chapter])]
    lines = [printable(line) for line in lines]
    return sorted(lines, key=lambda line: not line.split(": ")[1].startswith("verdict "))


def results(folder: str) -> dict[str, dict[str, Any]]:
    """Read a build: chapter -> name of a text, a table's cell or a figure -> its text or data."""
    executed = pathlib.Path(folder) / "executed"
    paths = sorted(executed.rglob("*.ipynb")) if os.path.isdir(folder) else []
    if not paths:
        raise InputError(f"diff: {folder} has no executed/*.ipynb; expected the folder of a build, as _build")
    chapters = {}
    for path in paths:
        try:
            if files.special(path):
                raise ValueError("not a file")
            chapters[str(path.relative_to(executed).with_suffix(""))] = dict(
                _results(nbformat.read(path, as_version=4))
            )
        except Exception:  # nbformat, bs4 and pandas raise many kinds for what is malformed
            raise InputError(f"diff: {path} is not a notebook, or damaged") from None
    return chapters


def _results(notebook: Any) -> Iterator[tuple[str, Any]]:
    tables = figures = 0
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        data = output.get("data", {})
        for mime, value in data.items():
            if mime.startswith(GLUE):
                text = value.get("text/plain", value) if isinstance(value, dict) else value
                yield f"text {output.metadata.scrapbook.name}", str(text).strip("'")
        if "text/csv" in data:
            figures += 1
            yield f"figure {figures}", pd.read_csv(io.StringIO(data["text/csv"]), dtype=str).fillna("")
        elif "<table" in data.get("text/html", ""):
            tables += 1
            for cell, text in _cells(data["text/html"]):
                yield f"table {tables}, {cell}", text


def _cells(table: str) -> Iterator[tuple[str, str]]:
    """Yield the row's and the column's name, and the text, of each cell."""
    rows = bs4.BeautifulSoup(table, "html.parser").find_all("tr")
    head, *body = ([cell.get_text().strip() for cell in row.find_all(["th", "td"])] for row in rows)
    for row in body:
        name = ", ".join(row[:2]) if head[0] in ("experiment", "claim") else row[0]
        for column, text in zip(head[-len(row) :], row):
            yield f"{name}, {column}", text


def _compare(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, "–"), after.get(name, "–")
        if isinstance(old, str) and isinstance(new, str):
            if old != new:
                yield f"{'verdict ' if VERDICTS & {old, new} else ''}{name}: {old} -> {new}"
        elif not isinstance(old, pd.DataFrame) or not isinstance(new, pd.DataFrame):
            yield f"{name} is only in the {'second' if name in after else 'first'}"
        elif list(old.columns) != list(new.columns) or len(old) != len(new):
            sizes = [f"{len(data)} rows of {', '.join(data.columns)}" for data in (old, new)]
            yield f"{name}: {' -> '.join(sizes)}"
        elif rows := int((old != new).any(axis=1).sum()):
            gap = new.apply(pd.to_numeric, errors="coerce") - old.apply(pd.to_numeric, errors="coerce")
            most = gap.abs().fillna(0).max(axis=None)
            yield f"{name}: {rows} of {len(old)} rows moved, a number by {most:.4g} at most"
