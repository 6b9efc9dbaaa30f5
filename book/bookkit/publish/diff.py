"""What moved between two builds: numbers in texts, tables and figures, and verdicts."""

import io
import pathlib

import bs4
import pandas as pd

from bookkit import statistics
from bsn.errors import InputError

VERDICTS = {statistics.AGREES, statistics.DIFFERS, statistics.HOLDS, statistics.FAILS, statistics.UNDECIDED}
TIME = "time"  # so begins the name of a table's column of run times
GLUE = "application/papermill.record/"


def diff(first, second):
    """Compare two builds, number by number.

    Args:
        first, second: folders of builds, as `_build`; each holds `executed/*.ipynb`.

    Returns:
        Lines, one for each thing that moved: a number in a text, a cell of a table, the values of a figure,
        a chapter that only one build has. Verdicts that changed come first.

    Raises:
        InputError: a folder without a build, or with a notebook that cannot be read.
    """
    before, after = (results(folder) for folder in (first, second))
    lines = []
    for chapter in sorted({*before, *after}):
        if chapter not in before or chapter not in after:
            lines.append(f"{chapter}: only in {second if chapter in after else first}")
            continue
        lines += [f"{chapter}: {line}" for line in _chapter(before[chapter], after[chapter])]
    return sorted(lines, key=lambda line: not line.split(": ")[1].startswith("verdict "))


def results(folder):
    """chapter -> what it says: {("text", key): value, ("table", n): cells, ("figure", n): DataFrame}."""
    import nbformat

    try:
        paths = sorted((pathlib.Path(folder) / "executed").glob("*.ipynb"))
    except (OSError, ValueError):  # no name of a folder
        paths = []
    if not paths:
        raise InputError(f"diff: {folder} has no executed/*.ipynb; expected the folder of a build, as _build")
    found = {}
    for path in paths:
        try:
            found[path.stem] = _said(nbformat.read(path, as_version=4))
        except Exception:  # of many kinds, for what is malformed
            raise InputError(f"diff: {path} is not a notebook, or damaged") from None
    return found


def _said(notebook):
    said, tables, figures = {}, 0, 0
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            made = output.get("data", {})
            for mime, value in made.items():
                if mime.startswith(GLUE):
                    said["text", output.metadata.scrapbook.name] = value
            if "text/csv" in made:
                figures += 1
                said["figure", str(figures)] = pd.read_csv(io.StringIO(made["text/csv"]), dtype=str)
            elif "<table" in made.get("text/html", ""):
                tables += 1
                said["table", str(tables)] = _cells(made["text/html"])
    return said


def _cells(table):
    """(row's name, column's name) -> the text of a cell."""
    rows = [
        [cell.get_text().strip() for cell in row.find_all(["th", "td"])]
        for row in bs4.BeautifulSoup(table, "html.parser").find_all("tr")
    ]
    head, *body = rows
    cells = {}
    for row in body:
        name = ", ".join(row[:2]) if head[0] in ("experiment", "claim") else row[0]
        named = zip(head[-len(row) :], row)
        cells |= {(name, column): cell for column, cell in named if not column.startswith(TIME)}
    return cells


def _chapter(before, after):
    for key in [*before, *(key for key in after if key not in before)]:
        kind, name = key
        if key not in before or key not in after:
            yield f"{kind} {name} is only in the {'second' if key in after else 'first'}"
        elif kind == "figure":
            yield from _figure(name, before[key], after[key])
        elif kind == "table":
            old, new = before[key], after[key]
            for cell in [*old, *(cell for cell in new if cell not in old)]:
                if old.get(cell) != new.get(cell):
                    yield _moved(
                        f"table {name}, {cell[0]}, {cell[1]}", old.get(cell, "–"), new.get(cell, "–")
                    )
        elif before[key] != after[key]:
            yield _moved(f"text {name}", _plain(before[key]), _plain(after[key]))


def _plain(value):
    return str(value.get("text/plain", value) if isinstance(value, dict) else value).strip("'")


def _moved(what, old, new):
    kind = "verdict " if VERDICTS & {old, new} else ""
    try:
        return f"{kind}{what}: {old} -> {new} ({float(new) - float(old):+.4g})"
    except ValueError:
        return f"{kind}{what}: {old} -> {new}"


def _figure(name, old, new):
    if list(old.columns) != list(new.columns) or len(old) != len(new):
        yield f"figure {name}: {len(old)} rows of {', '.join(old)} -> {len(new)} rows of {', '.join(new)}"
        return
    differ = (old.fillna("") != new.fillna("")).to_numpy()
    if not differ.any():
        return
    gaps = [
        (pd.to_numeric(new[column], "coerce") - pd.to_numeric(old[column], "coerce")).abs().max()
        for column in old
    ]
    most = max((gap for gap in gaps if gap == gap), default=0.0)
    moved = differ.any(axis=1).sum()
    yield f"figure {name}: {moved} of {len(old)} rows moved, a number by {most:.4g} at most"
